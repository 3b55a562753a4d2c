"""``fairbrush tuned``: was this model tuned on this artist?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.drawing import (
    AllowDownloadFlag,
    BatchOption,
    DeviceOption,
    ImageBudgetOption,
    NoSafetyCheckerFlag,
    OwnContentsOption,
    PrecisionOption,
    TemplateOption,
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
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.validation.recognition.tuned import Examination, Verdict

CONTENTS = 24
COLUMNS = (
    "artist",
    "artist_id",
    "evidence",
    "p",
    "q",
    *(f"{effect}{end}" for effect in ("named", "behind_name", "leak") for end in ("", "_low", "_high", "_p")),
    "other_styles",
)
WHERE = {
    frozenset({"behind_name"}): "behind the name",
    frozenset({"leak"}): "without the name too",
    frozenset({"behind_name", "leak"}): "behind the name, and without it too",
}


def tuned(
    context: typer.Context,
    artists: Annotated[
        list[str] | None, typer.Argument(metavar="[ARTIST]...", help="Who is asked about: names or ids.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Ask about everybody in the index.")] = False,
    works: Annotated[
        Path | None,
        typer.Option(help="Instead: a folder with works of somebody whom nobody knows yet; nothing is kept."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What prompts call them, with --works.  [default: the folder's name]")
    ] = None,
    trigger: Annotated[
        str | None,
        typer.Option(help="What prompts say instead of the artist's name, such as a DreamBooth's word."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The fine-tune; with --lora the model it is put on.  [default: the policy's]"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights: a diffusers folder, or a .safetensors checkpoint.  [default: what "
            "[generators] in fairbrush.toml says]"
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="What it was tuned from.  [default: as fairbrush model add --base says]"),
    ] = None,
    base_weights: Annotated[
        Path | None,
        typer.Option(help="The base's weights: a diffusers folder.  [default: what [generators] says]"),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:SCALE]=ARTIST,ARTIST",
            help="The fine-tune is the model with this LoRA; its artists are asked about where none is "
            "named.",
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(min=1, help=f"How many of our own contents.  [default: {CONTENTS}]"),
    ] = None,
    contents: OwnContentsOption = None,
    template: TemplateOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Images of each content and set.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="The first seed.")] = 0,
    budget: ImageBudgetOption = None,
    error_level: Annotated[
        float,
        typer.Option(help="How many of those found may be there by chance, of all found, on average."),
    ] = 0.05,
    negative_prompt: Annotated[str | None, typer.Option(help="[default: none]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="[default: 25]")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="The CFG scale.  [default: 7.5]")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Such as DPM++ 2M Karras.  [default: each model's own]")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="[default: the base's own]")
    ] = None,
    batch: BatchOption = 4,
    device: DeviceOption = Device.AUTO,
    precision: PrecisionOption = None,
    no_safety_checker: NoSafetyCheckerFlag = False,
    allow_download: AllowDownloadFlag = False,
    no_record: Annotated[bool, typer.Option("--no-record", help="Test, and keep no record.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Test whether a fine-tune was tuned on an artist: it and its base draw with the name and without.

    What the fine-tune does to the artist's style is held against what it does to other artists' styles.
    Images are kept and used again: an interrupted run goes on. Needs: pip install "fairbrush[validate]".
    """
    from fairbrush.validation.order import Order
    from fairbrush.validation.recognition.contents import first_contents, read_contents
    from fairbrush.validation.recognition.four_sets import TunedOrder
    from fairbrush.validation.recognition.tuned import examine
    from fairbrush.validation.recognition.tuned_kept import keep_examination, to_json

    loras = parse_loras(lora)
    _refuse_combinations(
        {"ARTIST": artists, "--all": everybody, "--works": works},
        asked_by_lora=bool(loras),
        lonely="--name" if name is not None and works is None else None,
        of_base={"--base-model": base_model, "--base-weights": base_weights} if loras else {},
    )
    for flag, said in (("--name", name), ("--trigger", trigger)):
        if said is not None and not said.strip():
            raise ConfigError(f"{flag} is blank.", next_step="Say what prompts call the artist.")
    if prompts is not None and contents is not None:
        raise ConfigError("--prompts does not go with --contents.", next_step="Leave out one of them.")
    if not 0.0 < error_level < 1.0:
        raise ConfigError(f"--error-level {error_level} is no error level.", next_step="Use 0.05.")
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    order = TunedOrder(
        drawing=Order(
            image=None,
            negative_prompt=negative_prompt,
            model=model,
            weights=weights,
            loras=loras,
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
        ),
        contents=first_contents(prompts or CONTENTS) if contents is None else read_contents(contents),
        artists=tuple(artists or ()),
        everybody=everybody,
        works=works,
        name=name,
        trigger=trigger,
        base_model=base_model,
        base_weights=base_weights,
        budget=budget,
        level=error_level,
    )
    with drawing_progress() as report:
        found = examine(settings, order, report=report)
    rows = [_row(one) for one in found.artists]
    if format_ is Format.TABLE:
        write_answer(_words(found), output)
    else:
        emit(rows, format_, columns=COLUMNS, document=to_json(found), output=output)
        for line in _unknown_yet(found):
            say(line)
    for note in found.notes:
        say(note)
    if not no_record:
        keep_examination(settings, found)  # last: where the database is busy, the answer is there


def _refuse_combinations(
    asked: dict[str, object], *, asked_by_lora: bool, lonely: str | None, of_base: dict[str, object]
) -> None:
    """Raises ConfigError for what would otherwise be ignored in silence."""
    ways = [name for name, said in asked.items() if said]
    if len(ways) > 1:
        raise ConfigError(f"{ways[0]} does not go with {ways[1]}.", next_step="Leave out one of them.")
    if not ways and not asked_by_lora:
        raise ConfigError("Nobody is asked about.", next_step="Name artists, or give --all or --works DIR.")
    if lonely is not None:
        raise ConfigError(f"{lonely} is for --works, and there are none.", next_step="Leave it out.")
    given = [name for name, said in of_base.items() if said is not None]
    if given:
        raise ConfigError(
            f"{given[0]} does not go with --lora: its base is the model it is put on.",
            next_step="Name that with --model and --weights.",
        )


def _row(one: Verdict) -> Row:
    row: dict[str, object] = {
        "artist": one.subject.label,
        "artist_id": one.subject.artist_id,
        "evidence": one.is_found,
        "p": one.p_values.p,
        "q": one.q,
    }
    for effect, found in one.estimates.items():
        row[str(effect)] = found.value
        row[f"{effect}_low"], row[f"{effect}_high"] = found.low, found.high
        row[f"{effect}_p"] = one.p_values.of_effect[effect]
    return {**row, "other_styles": one.others}


def _words(found: Examination) -> str:
    """A table, and what it says in a few lines."""
    rows = [
        {
            "artist": one.subject.label,
            "evidence": "yes" if one.is_found else "no",
            "p": f"{one.p_values.p:.3f}",
            "q": f"{one.q:.3f}",
            **{
                str(effect): f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
                for effect, e in one.estimates.items()
            },
        }
        for one in found.artists
    ]
    if not rows:
        return "\n".join(map(printable, _unknown_yet(found))) + "\n"
    sets, seeds = 2 * (1 + len(found.artists)), len(found.seeds)
    each = f"{seeds} {'seed' if seeds == 1 else 'seeds'} each"
    lines = [
        *table(rows).rstrip("\n").split("\n"),
        *_sentences(found),
        "",
        f"{found.images} images ({found.made} new): {sets} sets, {len(found.contents)} contents, {each}."
        " Effects: cosine in style space beyond the mean of other styles, 95 % intervals over contents.",
    ]
    return "\n".join(map(printable, lines)) + "\n"


def _sentences(found: Examination) -> Iterator[str]:
    base = found.base_id or "its base"
    for one in found.artists:
        if one.is_found:
            yield (
                f"Evidence that {found.model_id} differs from {base} towards {one.subject.label}'s works,"
                f" beyond what happens to other artists': {_where(one, found.level)}."
            )
    yield from _unknown_yet(found)
    without = sum(not one.is_found for one in found.artists)
    if without:
        whom = found.artists[0].subject.label if len(found.artists) == 1 else f"{without} of them"
        yield f"No evidence that {found.model_id} was tuned on {whom}; that is not evidence that it was not."


def _unknown_yet(found: Examination) -> Iterator[str]:
    if found.pending:
        yield (
            f"Not known yet: {', '.join(found.pending)}. {found.to_make} images are missing ({found.made}"
            " new); the same command goes on."
        )


def _where(one: Verdict, level: float) -> str:
    """Where the tuning sits, as the single effects say."""
    clear = frozenset(str(e) for e, p in one.p_values.of_effect.items() if p <= level and e != "named")
    return WHERE.get(clear, "with the name")
