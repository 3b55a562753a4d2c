"""``fairbrush calibrate``: fit the fast answer to what regeneration measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.drawing import (
    BatchOption,
    DeviceOption,
    drawing_progress,
)
from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import workspace_settings
from fairbrush.domain import Value
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.style.calibration import AffinityMap
    from fairbrush.validation.calibration.report import Compared, Fitted

COLUMNS = ("figure", "before", "after", "low", "high", "images", "judged_by")
MAP_AT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def calibrate(
    context: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Images of this model; may be repeated.  [default: all that were validated]"),
    ] = None,
    value: Annotated[
        Value | None,
        typer.Option(
            help="The value function to calibrate.  [default: the policy's, blend]",
            show_default=False,
            metavar="<nearest|blend|facets>",
        ),
    ] = None,
    readings: Annotated[
        str,
        typer.Option(
            help="Fit to what the encoder that answers measured, or an independent one: answering, "
            "independent or auto, which is the independent one where it measured every image."
        ),
    ] = "auto",
    most_false_credit: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="The part of strangers' works that a lower threshold may let through.  [default: 0.1]",
            show_default=False,
        ),
    ] = None,
    unnamed: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of what the model draws when nobody is named, to centre its images by."),
    ] = None,
    draw_unnamed: Annotated[
        int, typer.Option(min=0, max=10_000, help="Let every model draw so many of these; 64 are plenty.")
    ] = 0,
    weights: Annotated[
        Path | None, typer.Option(help="The weights that draw them.  [default: as fairbrush validate]")
    ] = None,
    batch: BatchOption = 4,
    device: DeviceOption = Device.AUTO,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and report, and keep nothing.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Fit the fast answer to the images that fairbrush validate measured, and keep the fit under an id.

    Nothing is applied: fairbrush attribute --calibration ID, or [policy] calibration, does that. Before and
    after are cross-validated: no image's fit has seen an image that shares an artist with it.
    """
    from fairbrush.validation.calibration.calibrate import (
        MOST_FALSE_CREDIT,
        FitOrder,
        Readings,
        fit_calibration,
        keep_fit,
    )
    from fairbrush.validation.calibration.report import to_json
    from fairbrush.validation.order import Order

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if readings not in tuple(Readings):
        raise ConfigError(
            f"--readings {readings!r} is not known.", next_step=f"One of {', '.join(Readings)}."
        )
    settings, _ = workspace_settings(context)
    order = FitOrder(
        models=tuple(dict.fromkeys(model or ())),
        value=value,
        readings=Readings(readings),
        most_false_credit=MOST_FALSE_CREDIT if most_false_credit is None else most_false_credit,
        unnamed=tuple(unnamed or ()),
        draw=draw_unnamed,
        drawing=Order(None, weights=weights, batch=batch, device=device),
    )
    with drawing_progress() as report:
        fitted = fit_calibration(settings, order, report=report)
    if not dry_run:
        keep_fit(settings, fitted)  # first: an id that is told can be used
    if format_ is Format.TABLE:
        write_answer("\n".join(_words(fitted)) + "\n", output)
    else:
        emit(
            list(_rows(fitted)),
            format_,
            columns=COLUMNS,
            document=to_json(fitted, is_kept=not dry_run),
            output=output,
        )
    _say_next(fitted, is_kept=not dry_run)


def _say_next(fitted: Fitted, *, is_kept: bool) -> None:
    if not fitted.is_recommended:
        say("Not recommended: on images it was not fitted on, it is not better beyond its error.")
    if not is_kept:
        say("Nothing was kept.")
    elif fitted.is_recommended:
        say("Nothing is applied yet.")
        say(f"  next: fairbrush attribute IMAGE --calibration {fitted.calibration.calibration_id[:12]}")


def _rows(fitted: Fitted) -> Iterator[Row]:
    for one in fitted.judged:
        images = fitted.predicted
        change = (one.change.low, one.change.high)
        yield _row("mis_paid", one.before.mis_paid, one.after.mis_paid, change, images, one)
        yield _row("rank_correlation", one.before.rank, one.after.rank, None, one.after.ranked, one)
        yield _row("images_credited", one.before.credited, one.after.credited, None, images, one)
        yield _row("paid_to_others", one.before.to_others, one.after.to_others, None, images, one)
    yield _row("panel_credited", fitted.panel.before, fitted.panel.after, None, fitted.panel.images)
    for model_id, drawn in fitted.unnamed.items():
        yield _row(f"unnamed_credited {model_id}", drawn.before, drawn.after, None, drawn.images)
    for model_id, part in fitted.models.items():
        bounds = None
        if part.b is not None and part.error is not None:
            bounds = (max(0.0, part.b - 1.96 * part.error), min(1.0, part.b + 1.96 * part.error))
        yield _row(f"b {model_id}", None, part.b, bounds, part.images)


def _row(
    figure: str,
    before: float | None,
    after: float | None,
    interval: tuple[float, float] | None,
    images: int,
    judged: Compared | None = None,
) -> Row:
    """``low`` and ``high``: of b; of mis_paid, of the change."""
    low, high = interval or (None, None)
    by = judged.encoder_id if judged else None
    return dict(zip(COLUMNS, (figure, before, after, low, high, images, by), strict=True))


def _words(fitted: Fitted) -> Iterator[str]:
    calibration = fitted.calibration
    judge = fitted.judged[0]
    whose = "an independent encoder" if judge.is_independent else "the encoder that answers"
    yield f"Calibration {calibration.calibration_id} for {calibration.value}"
    yield f"{fitted.images} images, {fitted.artists} artists; regeneration as {whose} measured it"
    yield from (f"  {count} left out: {reason}" for reason, count in fitted.left_out.items())
    if fitted.other_versions:
        yield f"  {fitted.other_versions} measured beside another version of the index: answered again"
    yield ""
    yield f"shift of the threshold   {calibration.shift:+.4f}"
    yield f"map                      {_map(calibration.map)}"
    centred = any(part.centre is not None for part in calibration.models.values())
    yield f"centre                   {'what the model draws without a name' if centred else 'as it is'}"
    for model_id, part in fitted.models.items():
        measured = "undefined" if part.b is None else f"{part.b:.3f} ± {part.error:.3f}"
        alone = f"{part.defined} of {part.images} images tell it alone"
        yield f"{f'b of {model_id}':<25}{measured}, {alone}"
    yield ""
    yield (
        f"Cross-validated: {fitted.predicted} of {fitted.images} images, each by a fit on the"
        f" {fitted.trained_on:.0f} (on average) that share no artist with it"
    )
    for one in fitted.judged:
        yield ""
        yield from _compared(one, fitted)
    yield ""
    yield from _credit(fitted)
    yield ""
    yield table(list(_prices(fitted))).rstrip("\n")
    yield ""
    yield _verdict(fitted)


def _map(map_: AffinityMap) -> str:
    from fairbrush.style.calibration import Power

    if isinstance(map_, Power):
        return "as it is" if map_.gamma == 1.0 else f"worth to the power of {map_.gamma:g}"
    import numpy as np

    drawn = zip(MAP_AT, map_(np.array(MAP_AT)).tolist(), strict=True)
    return "isotonic, " + ", ".join(f"{x:g}: {y:.3f}" for x, y in drawn)


def _compared(one: Compared, fitted: Fitted) -> Iterator[str]:
    by = "an independent encoder" if one.is_independent else "the encoder that answers"
    yield f"Judged by {by}, {one.encoder_id}"
    rows: list[Row] = [
        {
            "": "mis-paid share of the creators' money",
            "before": f"{one.before.mis_paid:.3f}",
            "after": f"{one.after.mis_paid:.3f}",
            "change": f"{one.change.mean:+.3f} [{one.change.low:+.3f}, {one.change.high:+.3f}]",
        },
        {
            "": "rank correlation, and of how many images",
            "before": _rank(one.before.rank, one.before.ranked),
            "after": _rank(one.after.rank, one.after.ranked),
            "change": "",
        },
        {
            "": "images where somebody is credited",
            "before": f"{one.before.credited} of {fitted.predicted}",
            "after": f"{one.after.credited} of {fitted.predicted}",
            "change": "",
        },
        {
            "": "paid to creators whom regeneration did not ask about",
            "before": f"{one.before.to_others:.3f}",
            "after": f"{one.after.to_others:.3f}",
            "change": "",
        },
    ]
    yield table(rows).rstrip("\n")


def _rank(rank: float | None, images: int) -> str:
    return "-" if rank is None else f"{rank:.2f} ({images})"


def _credit(fitted: Fitted) -> Iterator[str]:
    panel = fitted.panel
    yield (
        f"False credit: somebody is credited for {panel.before:.1%} of {panel.images} works by strangers"
        f" before, {panel.after:.1%} after; at most {fitted.most_false_credit:.1%} was allowed"
        + (", and a lower threshold would have fitted better." if fitted.bounded else ".")
    )
    for model_id, drawn in fitted.unnamed.items():
        yield (
            f"Of {drawn.images} images that {model_id} drew without a name: {drawn.before:.1%} before,"
            f" {drawn.after:.1%} after."
        )


def _prices(fitted: Fitted) -> Iterator[Row]:
    """What each threshold costs."""
    for price in fitted.prices:
        yield {
            "strangers credited": f"{price.level:.1%}",
            "shift": f"{price.shift:+.4f}",
            "mis-paid": f"{price.mis_paid:.3f}",
            "images credited": f"{price.credited} of {fitted.predicted}",
            "without a name": "-" if price.unnamed is None else f"{price.unnamed:.1%}",
        }


def _verdict(fitted: Fitted) -> str:
    change = fitted.judged[0].change
    if fitted.changes_nothing:
        return "The fit changes nothing: no allowed change comes nearer to regeneration."
    if fitted.is_recommended:
        more = fitted.panel.after - fitted.panel.before
        price = f" It credits somebody for {more:.1%} more of strangers' works." if more > 0.0 else ""
        return f"Better beyond its error: {-change.mean:.3f} of the creators' money is mis-paid less.{price}"
    return "Not recommended: the change lies within its error."
