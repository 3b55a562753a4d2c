"""``fairbrush validate``: how far the fast answer is from regenerating the image for every coalition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.attribute import refuse_mix
from fairbrush.cli.drawing import (
    AllowDownloadFlag,
    BaseOption,
    BatchOption,
    DeviceOption,
    NoSafetyCheckerFlag,
    PrecisionOption,
    TemplateOption,
    TunedLoraOption,
    drawing_progress,
    parse_loras,
    parse_precision,
    parse_size,
    parse_template,
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
    printable,
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import workspace_settings
from fairbrush.domain import CHOOSABLE_VALUES, Doing, Value
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.validation.study import Reading
    from fairbrush.validation.validate import Study

COLUMNS = ("creator", "fast", "regenerated", "error", "phi", "phi_error", "measured_by")


def validate(
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="The image that was generated; with --inputs it is made first where none is named.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What it was made from; not kept.  [default: what the file says]")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH:WEIGHT[=ARTIST]",
            help="An image that it was mixed from, and how much it weighed (1 where left out): the inputs' "
            "creators play, and a prompt may be left out. Repeat it, or let more PATH:WEIGHT follow.",
        ),
    ] = None,
    artists: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Who plays; may be repeated.  [default: whom the fast answer credits and the prompt names]",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model that generated it.  [default: the policy's, sd-1.5]")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights: a diffusers folder, or a .safetensors checkpoint with --base.  [default: what "
            "[generators] in fairbrush.toml says; for sd-1.5 the local hub cache]"
        ),
    ] = None,
    base: BaseOption = None,
    lora: TunedLoraOption = None,
    ip_adapter: Annotated[
        Path | None,
        typer.Option(help="An IP-Adapter's .safetensors, with which a text-to-image model takes --inputs."),
    ] = None,
    image_encoder: Annotated[
        Path | None,
        typer.Option(help="The adapter's image encoder.  [default: the folder image_encoder beside it]"),
    ] = None,
    ip_adapter_scale: Annotated[
        float | None, typer.Option(help="How strongly the adapter is applied.  [default: 1]")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Images of each coalition.")] = 4,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**64 - 1, help="The first seed.  [default: what the file says, 0]"),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many coalitions; the rest is estimated.  [default: all]"),
    ] = None,
    template: TemplateOption = None,
    negative_prompt: Annotated[str | None, typer.Option(help="[default: what the file says]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="[default: what the file says, 25]")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="The CFG scale.  [default: what the file says, 7.5]")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Such as DPM++ 2M Karras.  [default: what the file says, the model's]")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="[default: what the file says, the model's own]"),
    ] = None,
    second_encoder: Annotated[
        str | None,
        typer.Option(help="Measure with this one too: it must have been trained independently."),
    ] = None,
    value: Annotated[
        Value | None,
        typer.Option(
            help="Of the fast answer.  [default: the policy's, blend]",
            show_default=False,
            metavar=f"<{'|'.join(CHOOSABLE_VALUES)}>",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="ID|none",
            help="Of the fast answer, as for attribute.  [default: the policy's]",
            show_default=False,
        ),
    ] = None,
    batch: BatchOption = 4,
    device: DeviceOption = Device.AUTO,
    precision: PrecisionOption = None,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Do not read what the image's file says.")
    ] = False,
    no_safety_checker: NoSafetyCheckerFlag = False,
    allow_download: AllowDownloadFlag = False,
    no_record: Annotated[bool, typer.Option("--no-record", help="Measure, and keep no record.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Regenerate an image for every coalition, and hold the fast answer against it.

    Players are the model, with the prompt's content, and the creators, with their names; with --inputs the
    inputs' creators, with these images. Images are kept and used again: an interrupted run goes on. Needs:
    pip install "fairbrush[validate]".
    """
    from fairbrush.mixing import parted
    from fairbrush.validation.adapters import adapter_at
    from fairbrush.validation.kept import to_json
    from fairbrush.validation.order import Order
    from fairbrush.validation.validate import keep_study
    from fairbrush.validation.validate import validate as measure

    refuse_mix(value)
    arguments, mixed = parted(images or [], inputs or (), image_needed=False)
    _refuse_combinations(
        arguments,
        is_mix=bool(mixed),
        of_names={"--artists": artists, "--lora": lora, "--template": template, "--value": value},
        of_adapter={"--image-encoder": image_encoder, "--ip-adapter-scale": ip_adapter_scale},
        has_adapter=ip_adapter is not None,
    )
    adapter = None
    if ip_adapter is not None:
        scale = 1.0 if ip_adapter_scale is None else ip_adapter_scale
        adapter = adapter_at(ip_adapter, encoder=image_encoder, scale=scale)
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    order = Order(
        image=Path(arguments[0]) if arguments else None,
        inputs=mixed,
        adapter=adapter,
        prompt=prompt,
        negative_prompt=negative_prompt,
        artists=tuple(name.strip() for names in artists or () for name in names.split(",") if name.strip()),
        model=model,
        weights=weights,
        base=base,
        loras=parse_loras(lora),
        template=parse_template(template),
        seeds=seeds,
        first_seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        size=parse_size(size),
        budget=budget,
        batch=batch,
        value=value,
        calibration=calibration,
        second_encoder=second_encoder,
        device=device,
        precision=parse_precision(precision),
        safety_checker=not no_safety_checker,
        allow_download=allow_download,
        metadata=not no_metadata,
    )
    with drawing_progress() as report:
        refused_by = None if no_record else Doing.VALIDATE
        study = measure(settings, order, refused_by=refused_by, report=report)
    rows = [row for reading in study.readings for row in _rows(study, reading)]
    if format_ is Format.TABLE:
        write_answer(_words(study), output)
    else:
        emit(rows, format_, columns=COLUMNS, document=to_json(study), output=output)
    for note in study.notes:
        say(note)
    if not no_record:
        keep_study(settings, study)  # last: where the database is busy, the answer is there


def _refuse_combinations(
    images: Sequence[str],
    *,
    is_mix: bool,
    of_names: dict[str, object],
    of_adapter: dict[str, object],
    has_adapter: bool,
) -> None:
    """Raises ConfigError for what would otherwise be ignored in silence."""
    if len(images) > 1:
        raise ConfigError(
            f"One image at a time, not {len(images)}.",
            next_step="Further inputs of a mix are written PATH:WEIGHT.",
        )
    if not images and not is_mix:
        raise ConfigError("There is no image.", next_step="Name one, or what to mix: --inputs a.png b.png:1")
    named = [name for name, said in of_names.items() if said]
    if is_mix and named:
        raise ConfigError(
            f"{named[0]} does not go with --inputs: the players are the inputs' creators.",
            next_step="Leave out one of them.",
        )
    if has_adapter and not is_mix:
        raise ConfigError("--ip-adapter is for --inputs, and there are none.", next_step="Leave it out.")
    lonely = [name for name, said in of_adapter.items() if said is not None]
    if lonely and not has_adapter:
        raise ConfigError(f"{lonely[0]} needs --ip-adapter.", next_step="Name the adapter too.")


def _rows(study: Study, reading: Reading) -> Iterator[Row]:
    split = reading.split
    for place, player in enumerate(study.question.players):
        yield {
            "creator": " + ".join(player.names),
            "fast": _at(reading.fast, place),
            "regenerated": _at(split.shares, place),
            "error": _at(split.share_error, place),
            "phi": float(split.phi[place + 1]),
            "phi_error": _at(split.phi_error, place + 1),
            "measured_by": reading.encoder_id,
        }


def _words(study: Study) -> str:
    """One table a reading, and what it says in a few lines."""
    parts = []
    for reading in study.readings:
        witness = "an independent encoder" if reading.is_independent else "the encoder that answered"
        shown = [
            {name: _rounded(row[name]) for name in COLUMNS if name != "measured_by"}
            for row in _rows(study, reading)
        ]
        lines = [f"Measured by {witness}, {reading.encoder_id}", table(shown).rstrip("\n")]
        lines += [*_findings(study, reading), ""]
        parts.append("\n".join(printable(line) for block in lines for line in block.split("\n")))
    how = "all of them" if study.plan.orders is None else "a sample of them; the rest is estimated"
    if study.made_with_seed is not None:
        parts.append(
            printable(f"The image, made with the seed {study.made_with_seed}: {study.question.image}")
        )
    seeds = len(study.question.seeds)
    parts.append(
        f"{study.images} images ({study.made} new): {len(study.plan.coalitions)} coalitions, {how},"
        f" {seeds} {'seed' if seeds == 1 else 'seeds'} each.\n"
    )
    return "\n".join(parts)


def _findings(study: Study, reading: Reading) -> Sequence[str]:
    agreement, b = reading.agreement, reading.b
    lines = []
    if reading.fast is None:
        lines.append("the fast answer credits none of them")
    if reading.split.shares is None:
        lines.append("regeneration credits none of them: no name brings the style nearer")
    lines.append(f"mis-paid share of the creators' money: {agreement.mis_paid:.3f}")
    if agreement.rank_correlation is not None:
        lines.append(f"rank correlation (Kendall's tau-b): {agreement.rank_correlation:.2f}")
    if not study.question.content:
        lines.append("b_hat: undefined, the model has no content of its own")
    elif b.b is None:
        lines.append("b_hat: undefined, the whole prompt comes no nearer to the image than no prompt")
    else:
        error = "" if b.standard_error is None else f" ± {b.standard_error:.3f}"
        clipped = ", clipped" if b.clipped else ""
        lines.append(f"b_hat: {b.b:.3f}{error}{clipped}; the policy says {study.attribution.policy.b}")
    return lines


def _at(numbers: Any, place: int) -> float | None:
    return None if numbers is None else float(numbers[place])


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
