"""``fairbrush embed``: make sure every image has its vector in the cache."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
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
    Row,
    choose_format,
    emit,
    listing,
    say,
    write_answer,
)
from fairbrush.cli.progress import progress
from fairbrush.config import CONFIG_NAME, Settings, home_expanded, load_settings
from fairbrush.domain import Doing, EmbedOutcome, EmbedStatus
from fairbrush.errors import ExitCode, FairbrushError, NoInputError

if TYPE_CHECKING:
    from fairbrush.embedding.encoder import Encoder

SCHEMA = "fairbrush.embed/1"


def embed(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Images, and folders that are searched for images.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, and +PART.  [default: mini]"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.  [default: auto]")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the embedding cache.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode images; 0: one a core.")
    ] = None,
    allow_download: Annotated[
        bool, typer.Option("--allow-download", help="Let open_clip fetch absent weights from their hub.")
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Embed images, and keep the vectors in the cache.

    What is cached already is not computed again, whatever the file is called now.
    """
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    flags: dict[str, Any] = {
        "encoder": encoder,
        "device": device,
        "cache": home_expanded(cache) if cache else None,
        "workers": workers,
    }
    settings = replace(
        load_settings(workspace=context.obj),
        **{name: value for name, value in flags.items() if value is not None},
    )
    _embed(paths, settings, format_, output, allow_download=allow_download)


def _embed(
    paths: Sequence[Path], settings: Settings, format_: Format, output: Path | None, *, allow_download: bool
) -> None:
    from fairbrush.embedding.session import EmbeddingSession

    started = time.monotonic()
    session = EmbeddingSession.open(settings, allow_download=allow_download)
    with session:
        found = session.find(paths)
        outcomes = [
            EmbedOutcome(r.path, EmbedStatus.FAILED, None, str(r.reason), r.detail) for r in found.refusals
        ]
        if not found.images and not outcomes:
            raise NoInputError(
                f"No images in {', '.join(map(str, paths))}.",
                next_step="Looked for PNG, JPEG, WebP, GIF, BMP and TIFF files, in sub-folders too; "
                "hidden ones are left out.",
            )
        with progress(len(found.images)) as report:
            try:
                for outcome in session.embed(found.images):
                    outcomes.append(outcome)
                    report(outcome)
            except (KeyboardInterrupt, FairbrushError):
                _note_failed(outcomes, settings)
                kept = sum(outcome.status is not EmbedStatus.FAILED for outcome in outcomes)
                say(
                    f"{kept} of {len(found.images)} images are embedded and kept. "
                    "The same command goes on from there."
                )
                raise
        _note_failed(outcomes, settings)
        elapsed_s = time.monotonic() - started
        if session.space.damaged_reads:
            say(f"The cache {session.cache_folder} held damaged vectors of these images: computed again.")
        _answer(
            _in_input_order(outcomes, paths, found.images),
            session.encoder,
            session.cache_folder,
            elapsed_s,
            format_,
            output,
        )
    if any(outcome.status is EmbedStatus.FAILED for outcome in outcomes):
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _note_failed(outcomes: Sequence[EmbedOutcome], settings: Settings) -> None:
    """Keep which images failed, and why, where there is a workspace."""
    from fairbrush.ledger.records import note_refusals
    from fairbrush.workspace import RECORDS

    if settings.workspace is None or not (settings.workspace / CONFIG_NAME).is_file():
        return
    failed = [outcome for outcome in outcomes if outcome.status is EmbedStatus.FAILED]
    note_refusals(settings.workspace / RECORDS, failed, doing=Doing.EMBED, now=datetime.now(UTC))


def _in_input_order(
    outcomes: Sequence[EmbedOutcome], arguments: Sequence[Path], images: Sequence[Path]
) -> list[EmbedOutcome]:
    """By the argument that names the file or a folder above it, then as the folder was searched."""
    named = {path: position for position, path in reversed(list(enumerate(arguments)))}
    place = {path: position for position, path in enumerate(images)}

    def order(outcome: EmbedOutcome) -> tuple[int, int]:
        above = (outcome.path, *outcome.path.parents)
        return min(named.get(path, len(named)) for path in above), place.get(outcome.path, len(place))

    return sorted(outcomes, key=order)


def _answer(
    outcomes: Sequence[EmbedOutcome],
    encoder: Encoder,
    cache_folder: Path,
    elapsed_s: float,
    format_: Format,
    output: Path | None,
) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    rows: list[Row] = [
        {
            "path": str(outcome.path),
            "status": str(outcome.status),
            "sha256": outcome.sha256,
            "reason": outcome.reason,
            "detail": outcome.detail,
        }
        for outcome in outcomes
    ]
    totals: dict[str, Any] = {str(status): counts[status] for status in EmbedStatus}
    summary = {"images": len(outcomes), **totals, "elapsed_s": round(elapsed_s, 3)}
    document = {
        "schema": SCHEMA,
        "encoder": {"id": encoder.encoder_id, "variant": encoder.variant, "device": encoder.device},
        "cache": str(cache_folder),
        "counts": summary,
        "images": rows,
    }
    if format_ is Format.TABLE:
        facts = {
            "encoder": encoder.encoder_id,
            "ran on": f"{encoder.device}, {encoder.variant}",
            "vector": f"{encoder.dim} numbers",
            "cache": str(cache_folder),
        }
        write_answer(listing({**summary, **facts}), output)
    else:
        ran = {"encoder_id": encoder.encoder_id, "variant": encoder.variant, "device": encoder.device}
        emit([{**row, **ran} for row in rows], format_, document=document, output=output)
    for outcome in outcomes:
        if outcome.status is EmbedStatus.FAILED:
            say(f"failed: {outcome.path}: {outcome.reason}. {outcome.detail}")
