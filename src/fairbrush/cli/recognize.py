"""``fairbrush recognize``: how exactly a model reproduces artists' styles by their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.drawing import (
    AllowDownloadFlag,
    BaseOption,
    BatchOption,
    DeviceOption,
    ImageBudgetOption,
    NoSafetyCheckerFlag,
    OwnContentsOption,
    PrecisionOption,
    TemplateOption,
    drawing_progress,
    parse_precision,
    parse_size,
    parse_template,
)
from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    say,
)
from fairbrush.cli.registry import workspace_settings
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ConfigError, ExitCode
from fairbrush.validation.recognition.controls import Control

if TYPE_CHECKING:
    from fairbrush.validation.recognition.kept import Verdicts
    from fairbrush.validation.recognition.recognition import Recognition
    from fairbrush.validation.recognition.recognize import Survey

COLUMNS = ("artist", "fidelity", "low", "high", "p_value", "adjusted", "reproducible")
JSON_SCHEMA = "fairbrush.recognition/1"
USUAL_PROMPTS = 20
MOST_NAMED = 5  # in one line


def recognize(
    context: typer.Context,
    artists: Annotated[
        list[str] | None, typer.Argument(metavar="[ARTIST...]", help="Names or ids.", show_default=False)
    ] = None,
    everybody: Annotated[
        bool,
        typer.Option("--all", help="Everybody who may be credited and has five works or more in the index."),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="The model to measure.  [default: the policy's, sd-1.5]")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights: a diffusers folder, or a .safetensors checkpoint with --base.  [default: what "
            "[generators] in fairbrush.toml says; for sd-1.5 the local hub cache]"
        ),
    ] = None,
    base: BaseOption = None,
    budget: ImageBudgetOption = None,
    error_level: Annotated[
        float, typer.Option(help="The part of those called reproducible that may be so falsely.")
    ] = 0.05,
    prompts: Annotated[
        int | None,
        typer.Option(min=1, help=f"How many of our own contents.  [default: {USUAL_PROMPTS}]"),
    ] = None,
    contents: OwnContentsOption = None,
    template: TemplateOption = None,
    control: Annotated[
        Control, typer.Option(help="What an image with a name is compared with: an invented name, or none.")
    ] = Control.INVENTED,
    negative_prompt: Annotated[str | None, typer.Option(help="[default: none]")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Images of each content.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="The first seed.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="[default: 25]")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="The CFG scale.  [default: 7.5]")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Such as DPM++ 2M Karras.  [default: the model's]")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="[default: the model's own]")
    ] = None,
    batch: BatchOption = 4,
    device: DeviceOption = Device.AUTO,
    precision: PrecisionOption = None,
    no_safety_checker: NoSafetyCheckerFlag = False,
    allow_download: AllowDownloadFlag = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Measure how exactly a model reproduces artists' styles by name, and keep it for policies.

    Images with an artist's name are held against twins with an invented one, and the artist's style against
    everybody else's. Images are kept: an interrupted run goes on. Needs: pip install "fairbrush[validate]".
    """
    from fairbrush.validation.order import Order
    from fairbrush.validation.recognition.contents import first_contents, read_contents
    from fairbrush.validation.recognition.kept import keep_survey
    from fairbrush.validation.recognition.recognize import Wanted
    from fairbrush.validation.recognition.recognize import recognize as measure

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if bool(artists) == everybody:
        raise ConfigError(
            "Whom to measure is not said." if not everybody else "--all leaves no ARTIST to name.",
            next_step="Name artists, or give --all.",
        )
    if not 0 < error_level < 1:
        raise ConfigError(f"--error-level {error_level} is no part.", next_step="Write 0.05 for 5 %.")
    if contents is not None and prompts is not None:
        raise ConfigError("--prompts is of our own contents, and --contents of yours.", next_step="Give one.")
    settings, _ = workspace_settings(context)
    order = Order(
        image=None,
        negative_prompt=negative_prompt,
        model=model,
        weights=weights,
        base=base,
        template=parse_template(template),
        seeds=seeds,
        first_seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        size=parse_size(size),
        batch=batch,
        device=device,
        precision=parse_precision(precision),
        safety_checker=not no_safety_checker,
        allow_download=allow_download,
    )
    texts = first_contents(prompts or USUAL_PROMPTS) if contents is None else read_contents(contents)
    wanted = Wanted(tuple(artists or ()), texts, control, budget)
    with drawing_progress() as report:
        survey = measure(settings, order, wanted, report=report)
    verdicts = keep_survey(settings, survey, level=error_level)
    rows = [_row(one, verdicts) for one in survey.measured if one.artist_id in verdicts.by_artist]
    emit(rows, format_, columns=COLUMNS, document=_document(survey, verdicts), output=output)
    for line in _talk(survey, verdicts):
        say(line)
    if survey.refused:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _row(one: Recognition, verdicts: Verdicts) -> Row:
    verdict, fidelity = verdicts.by_artist[one.artist_id], one.figures.fidelity
    return {
        "artist": one.name,
        "fidelity": fidelity.value,
        "low": fidelity.low,
        "high": fidelity.high,
        "p_value": one.figures.p_value,
        "adjusted": verdict.adjusted,
        "reproducible": verdict.is_reproducible,
    }


def _document(survey: Survey, verdicts: Verdicts) -> dict[str, Any]:
    """The schema ``fairbrush.recognition/1``."""
    protocol = survey.protocol
    sampling = protocol.sampling
    return {
        "schema": JSON_SCHEMA,
        "model": survey.model_id,
        "generator_digest": survey.model_digest,
        "encoder_id": survey.encoder_id,
        "space_id": survey.space_id,
        "protocol": {
            "digest": survey.protocol_id,
            "contents": list(protocol.contents),
            "seeds": protocol.seeds,
            "first_seed": protocol.first_seed,
            "template": protocol.template.both,
            "control": Control.INVENTED if protocol.controls else Control.UNNAMED,
            "control_names": list(protocol.controls),
            "negative_prompt": protocol.negative_prompt,
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "sampler": sampling.scheduler,
            "width": sampling.width,
            "height": sampling.height,
        },
        "error_level": verdicts.level,
        "other_protocols": verdicts.other_protocols,
        "artists_decided_over": len(verdicts.by_artist),
        "artists_reproducible": sum(one.is_reproducible for one in verdicts.by_artist.values()),
        "artists": [
            _artist_json(one, verdicts) for one in survey.measured if one.artist_id in verdicts.by_artist
        ],
        "pending": list(survey.pending),
        "refused": [{"artist": one.name, "reason": one.reason} for one in survey.refused],
        "passed_over": survey.passed_over,
        "images_made": survey.made,
        "images_to_make": survey.to_make,
        "notes": list(survey.notes),
    }


def _artist_json(one: Recognition, verdicts: Verdicts) -> dict[str, Any]:
    fidelity, cosines = one.figures.fidelity, one.cosines
    return {
        "artist_id": one.artist_id,
        **_row(one, verdicts),
        "raw": fidelity.raw,
        "baseline": fidelity.baseline,
        "own": fidelity.own,
        "lift": one.figures.lift,
        "nulls": len(cosines.nulls),
        "images": one.images,
        "recognition_id": one.recognition_id,
        "before": cosines.before.tolist(),
        "after": cosines.after.tolist(),
        "typical": cosines.typical.tolist(),
        "null_lifts": cosines.nulls.tolist(),
        "own_works": cosines.works.tolist(),
    }


def _talk(survey: Survey, verdicts: Verdicts) -> list[str]:
    """What a reader of the figures must know."""
    lines = list(survey.notes)
    lines += [f"{one.name}: {one.reason}." for one in survey.refused]
    if survey.passed_over:
        lines.append(f"{survey.passed_over} artists have too few works in the index to be measured.")
    if undefined := [one.name for one in survey.measured if one.figures.fidelity.raw is None]:
        lines.append(
            f"Fidelity is undefined, so not reproducible, for {_some(undefined)}: their own works are no"
            " nearer to each other than images that do not name them are."
        )
    tested = len(verdicts.by_artist)
    if tested:
        told = sum(one.is_reproducible for one in verdicts.by_artist.values())
        lines.append(
            f"{told} of {tested} artists measured of this model are reproducible, at an error level of"
            f" {verdicts.level:g}; the encoder that answers measured."
        )
        if verdicts.fewest > 1:
            lines.append(
                f"With so few styles to compare with, nobody is called reproducible unless {verdicts.fewest}"
                f" of the {tested} come out first."
            )
    if tested and verdicts.other_protocols:
        lines.append(
            f"This model was measured under {verdicts.other_protocols} other protocols too. The error level"
            " is of one protocol, chosen before its answers were seen."
        )
    if survey.to_make:
        lines.append(
            f"{survey.to_make} images are still to be made, for {len(survey.pending)} artists"
            f" ({_some(survey.pending)}): the same command goes on."
        )
    return lines


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
