"""``fairbrush revenue``: what came in, for which images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    help_when_alone,
    say,
)
from fairbrush.cli.registry import registry, say_drained, workspace_settings
from fairbrush.errors import ConfigError, ExitCode
from fairbrush.ledger.choices import LineState, Outcome, Spread

if TYPE_CHECKING:
    from fairbrush.ledger.revenue import Recorded
    from fairbrush.ledger.revenue_file import Images

app = typer.Typer(help="Record what came in for images, list it, and cancel what was wrong.")
app.callback(invoke_without_command=True)(help_when_alone)

ReferenceArgument = Annotated[
    str, typer.Argument(help="Your own name for this line. The same line again changes nothing.")
]
LINE_COLUMNS = (
    "reference",
    "amount",
    "currency",
    "earned_from",
    "earned_to",
    "model",
    "image",
    "spread",
    "images",
    "state",
)


@app.command()
def add(
    context: typer.Context,
    reference: ReferenceArgument,
    amount: Annotated[str, typer.Argument(help="Digits and a point, such as 12.50.")],
    currency: Annotated[str, typer.Argument(help="Its code in ISO 4217, such as EUR.")],
    image: Annotated[
        str | None, typer.Option(metavar="FILE|SHA256", help="The image that earned it.")
    ] = None,
    date: Annotated[
        str | None, typer.Option(help="With --image: the day it was earned.  [default: today]")
    ] = None,
    period: Annotated[
        str | None,
        typer.Option(help="Instead of --image: spread it over the images of 2026-01, 2026-Q1 or 2026."),
    ] = None,
    over: Annotated[
        Path | None,
        typer.Option(
            help="With --period: a CSV with a column image or sha256, and maybe weight or count.  "
            "[default: the images answered in the period]"
        ),
    ] = None,
    by: Annotated[Spread | None, typer.Option(help="With --period: how it goes to the images.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model that made the images.  [default: the policy's]")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record what came in for one image, or in a period for many."""
    from fairbrush.corpus.images import image_limits
    from fairbrush.ledger.period import parse_period
    from fairbrush.ledger.revenue import add_line, find_line, image_line, is_answered, parse_day, period_line
    from fairbrush.ledger.revenue_file import Images
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if (image is None) == (period is None):
        raise ConfigError("A line is for one image or for a period.", next_step="Add --image or --period.")
    if (date and image is None) or ((over or by) and period is None):
        raise ConfigError(
            "--date goes with --image; --over and --by go with --period.", next_step="Leave the other out."
        )
    settings, _ = workspace_settings(context)
    images = Images(image_limits(settings))
    if image is not None:
        line = image_line(
            reference,
            amount,
            currency=currency,
            image_sha256=images.sha256(image),
            day=None if date is None else parse_day(date),
            model_id=model,
        )
    else:
        assert period is not None, "one of the two is given"
        spread, weights = _spread_over(over, by, images)
        line = period_line(
            reference,
            amount,
            currency=currency,
            earned=parse_period(period),
            spread=spread,
            images=weights,
            model_id=model,
        )
    _drain(context)
    with registry(context) as store:
        added = add_line(store, line, now=utc_now())
        recorded = find_line(store.connection, line.reference)
        has_answer = image is None or is_answered(store.connection, line.image_sha256)
    row = {"outcome": str(added.outcome), **_line_row(recorded)}
    emit([row], format_, document={"schema": "fairbrush.revenue_added/1", **row}, output=output)
    if added.outcome is Outcome.CANCELLED:
        say(f"{recorded.reference} was cancelled: it will not be settled.")
        say("  next: use another reference for what did come in.")
    elif period is not None and over is None and recorded.earned.last >= utc_now().date():
        say(f"The period is not over: images answered from now on get nothing of {recorded.reference}.")
    elif not has_answer:
        say("No answer to this image is recorded yet: the line stays open until there is one.")
        say("  next: fairbrush attribute IMAGE")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV with columns reference, amount, currency, and image or sha256; maybe date and model; "
            "or period, and maybe by and over, instead of an image."
        ),
    ],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record many lines. Bad rows are listed and stop no others; importing the same again changes nothing."""
    from fairbrush.corpus.images import image_limits
    from fairbrush.ledger.revenue_file import import_revenue
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    _drain(context)
    with registry(context) as store:
        result = import_revenue(store, file, limits=image_limits(settings), now=utc_now())
    counts = {
        "added": result.added,
        "there_already": result.there,
        "cancelled": result.cancelled,
        "refused": len(result.refused),
    }
    refused = [
        {"line": row.line, "reference": row.reference, "problem": row.problem} for row in result.refused
    ]
    emit(
        [counts] if format_ is Format.TABLE else refused,
        format_,
        columns=("line", "reference", "problem"),
        document={"schema": "fairbrush.revenue_import/1", "counts": counts, "refused": refused},
        output=output,
    )
    for row in result.refused:
        say(f"refused: line {row.line}: {row.reference!r}: {row.problem}")
    if result.refused:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


@app.command("list")
def list_(
    context: typer.Context,
    period: Annotated[
        str | None, typer.Option(help="Only what was earned up to a day of this period.")
    ] = None,
    state: Annotated[LineState | None, typer.Option(help="Only these.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List what came in, and what is settled of it."""
    from fairbrush.ledger.period import parse_period
    from fairbrush.ledger.revenue import list_lines

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    days = None if period is None else parse_period(period)
    with registry(context, readonly=True) as store:
        lines = list_lines(store.connection, period=days, state=state)
    rows = [_line_row(line) for line in lines]
    document = {"schema": "fairbrush.revenue/1", "lines": rows}
    emit(rows, format_, columns=LINE_COLUMNS, document=document, output=output)


@app.command()
def cancel(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The line's reference.")],
    reason: Annotated[str, typer.Option(help="Why it is not to be paid out.")],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Cancel a line: it is not settled any more, and what it settled is reversed."""
    from fairbrush.ledger.revenue import cancel_line, find_line
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context) as store:
        before = cancel_line(store, reference, reason=reason, now=utc_now())
        after = find_line(store.connection, before.reference)
    row = {"was": str(before.state), **_line_row(after)}
    emit([row], format_, document={"schema": "fairbrush.revenue_cancelled/1", **row}, output=output)
    if before.state is LineState.CANCELLED:
        say("It was cancelled already: nothing was changed.")


def _drain(context: typer.Context) -> None:
    """Look-ups that are still pending come first: their images may have earned this."""
    from fairbrush.reports.recorded import drain_records

    settings, workspace = workspace_settings(context)
    say_drained(drain_records(workspace, wait_s=settings.database_wait_s))


def _spread_over(over: Path | None, by: Spread | None, images: Images) -> tuple[Spread, Any]:
    from fairbrush.ledger.revenue_file import read_images

    return (by or Spread.COUNT, None) if over is None else read_images(over, images, by=by)


def _line_row(line: Recorded) -> dict[str, Any]:
    from fairbrush.ledger.currency import format_amount

    return {
        "reference": line.reference,
        "amount": format_amount(line.amount_minor, line.currency),
        "currency": line.currency,
        "earned_from": line.earned.first.isoformat(),
        "earned_to": line.earned.last.isoformat(),
        "model": line.model_id,
        "image": line.image_sha256,
        "spread": None if line.spread is None else str(line.spread),
        "images": line.n_images,
        "state": str(line.state),
    }
