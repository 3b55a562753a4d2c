"""``fairbrush cache``: what the embedding cache holds, whether it is sound, and what to drop of it."""

from __future__ import annotations

from dataclasses import asdict, fields
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
from fairbrush.config import home_expanded, load_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.embedding.cache import EmbeddingCache

app = typer.Typer(help="Look at the embedding cache, check it, drop vectors.")
app.callback(invoke_without_command=True)(help_when_alone)
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of the embedding cache.")]


def _folder(context: typer.Context, named: Path | None) -> Path:
    settings = load_settings(workspace=context.obj)
    return home_expanded(named) if named is not None else settings.cache_folder


@app.command()
def info(
    context: typer.Context,
    cache: CacheOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show which encoders' vectors the cache holds, and how large it is."""
    from fairbrush.embedding.cache import EmbeddingCache, SpaceInfo

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with EmbeddingCache.open(_folder(context, cache), readonly=True) as opened:
        found = opened.info()
    rows = [
        asdict(space) | {"first_written": _utc(space.first_written), "last_written": _utc(space.last_written)}
        for space in found.spaces
    ]
    facts: dict[str, Any] = {
        "path": str(found.path),
        "bytes_on_disk": found.bytes_on_disk,
        "reusable_bytes": found.reusable_bytes,
        "max_bytes": found.max_bytes,
    }
    document = {"schema": "fairbrush.cache_info/1", **facts, "encoders": rows}
    emit(rows, format_, columns=[f.name for f in fields(SpaceInfo)], document=document, output=output)
    if format_ is Format.TABLE:
        size = f"{found.bytes_on_disk / 1e6:.1f} MB, {found.reusable_bytes / 1e6:.1f} MB of it reusable"
        say(f"{found.path}: {size}")


@app.command()
def verify(
    context: typer.Context,
    cache: CacheOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Check every vector against its checksum."""
    from fairbrush.embedding.cache import DamagedRow, EmbeddingCache
    from fairbrush.embedding.cache_file import cache_option

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    folder = _folder(context, cache)
    with EmbeddingCache.open(folder, readonly=True) as opened:
        result = opened.verify()
    damaged = [asdict(row) for row in result.damaged]
    document = {
        "schema": "fairbrush.cache_verify/1",
        "sound": result.is_sound,
        "rows_checked": result.rows_checked,
        "damaged": damaged,
        "structure": list(result.structure),
    }
    if damaged or format_ is not Format.TABLE:
        columns = [f.name for f in fields(DamagedRow)]
        emit(damaged, format_, columns=columns, document=document, output=output)
    for problem in result.structure:
        say(f"structure: {problem}")
    say(f"{result.rows_checked} vectors checked, {len(damaged)} damaged.")
    if not result.is_sound:
        prune_damaged = f"fairbrush cache prune --damaged {cache_option(folder)}"
        remedy = f"delete data.mdb and lock.mdb in {folder}" if result.structure else prune_damaged
        say(f"  next: {remedy}; the vectors are computed again when they are asked for.")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


@app.command()
def prune(
    context: typer.Context,
    encoder: Annotated[str | None, typer.Option(help="Drop the vectors of this encoder id.")] = None,
    variant: Annotated[str | None, typer.Option(help="With --encoder: of this variant alone.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Drop the vectors of every encoder id but these (repeat the option)."),
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Drop the vectors whose checksum is wrong.")
    ] = False,
    cache: CacheOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Drop vectors. They are computed again when they are asked for."""
    from fairbrush.embedding.cache import EmbeddingCache

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if not (encoder or variant or keep or damaged):
        raise ConfigError(
            "Nothing was named to drop.",
            next_step="Use --encoder ID, --keep ID or --damaged; fairbrush cache info lists the ids.",
        )
    if variant and not encoder:
        raise ConfigError(
            "--variant was given without --encoder.",
            next_step="Name the encoder as well; fairbrush cache info lists the ids.",
        )
    folder = _folder(context, cache)
    # readonly first: to prune a cache that is not there must not make one
    with EmbeddingCache.open(folder, readonly=True), EmbeddingCache.open(folder) as opened:
        _refuse_unknown_encoders(opened, {*(keep or ()), *([encoder] if encoder else ())})
        result = opened.prune(
            encoder_id=encoder, variant=variant, keep_encoders=set(keep) if keep else None, damaged=damaged
        )
    row = asdict(result)
    emit([row], format_, document={"schema": "fairbrush.cache_prune/1", **row}, output=output)


def _refuse_unknown_encoders(cache: EmbeddingCache, named: set[str]) -> None:
    """A mistyped id drops nothing; in --keep it would drop everything."""
    if not named:
        return
    held = {space.encoder_id for space in cache.info().spaces}
    for encoder_id in sorted(named - held):
        raise ConfigError(
            f"The cache holds no vectors of an encoder {encoder_id!r}.",
            next_step=f"It holds: {', '.join(sorted(held)) or 'none'}.",
        )


def _utc(moment: Any) -> str:
    return str(moment.isoformat(timespec="seconds"))
