"""``fairbrush cache``: what the embedding cache holds, whether it is sound, and what to drop of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
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
)
from fairbrush.config import load_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.embedding.cache import EmbeddingCache

app = typer.Typer(
    help="The embedding cache: what it holds, whether it is sound, what to drop.", no_args_is_help=True
)
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of the embedding cache.")]


@contextmanager
def _opened(context: typer.Context, folder: Path | None, *, readonly: bool) -> Iterator[EmbeddingCache]:
    from fairbrush.embedding.cache import EmbeddingCache

    settings = load_settings(workspace=context.obj)
    if folder is not None:
        settings = replace(settings, cache=folder)
    with EmbeddingCache.open(settings.cache_folder, readonly=readonly) as cache:
        yield cache


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
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv)
    with _opened(context, cache, readonly=True) as opened:
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
    emit(
        rows, format_, document={"schema": "fairbrush.cache_info/1", **facts, "encoders": rows}, output=output
    )
    if format_ is Format.TABLE:
        size = f"{found.bytes_on_disk / 1e6:.1f} MB, {found.reusable_bytes / 1e6:.1f} MB of it reusable"
        typer.echo(f"{found.path}: {size}", err=True)


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
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv)
    with _opened(context, cache, readonly=True) as opened:
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
        emit(damaged, format_, document=document, output=output)
    for problem in result.structure:
        typer.echo(f"structure: {problem}", err=True)
    typer.echo(f"{result.rows_checked} vectors checked, {len(damaged)} damaged.", err=True)
    if not result.is_sound:
        remedy = "delete the cache's folder" if result.structure else "fairbrush cache prune --damaged"
        typer.echo(f"  next: {remedy}; the vectors are computed again when they are asked for.", err=True)
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
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv)
    if not (encoder or variant or keep or damaged):
        raise ConfigError(
            "Nothing was named to drop.",
            next_step="Use --encoder ID, --keep ID or --damaged; fairbrush cache info lists the ids.",
        )
    with _opened(context, cache, readonly=False) as opened:
        result = opened.prune(
            encoder_id=encoder, variant=variant, keep_encoders=set(keep) if keep else None, damaged=damaged
        )
    row = asdict(result)
    emit([row], format_, document={"schema": "fairbrush.cache_prune/1", **row}, output=output)


def _utc(moment: Any) -> str:
    return str(moment.isoformat(timespec="seconds"))
