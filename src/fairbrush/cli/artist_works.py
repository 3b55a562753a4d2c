"""``fairbrush artist add``, ``works`` and ``import``: artists and their works come into the registry.

Enters: paths and rosters. Leaves: what was added and what was refused. The one rule: works are read before
the registry is opened for writing, so a long reading keeps nobody waiting.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.clones import NoCheckFlag, warn_of_clones
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
)
from fairbrush.cli.registry import (
    CopyFlag,
    NewFlag,
    registry,
    report_works,
    workspace_settings,
)
from fairbrush.domain import Consent, Doing
from fairbrush.errors import ExitCode

if TYPE_CHECKING:
    from fairbrush.corpus.registry import ArtistEntry
    from fairbrush.corpus.roster_import import RosterResult
    from fairbrush.corpus.works import AddedWorks, PreparedWorks
    from fairbrush.store import Store

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name, an alias or an artist id.")]
WorksArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="WORKS...", help="Images, and folders searched for images.")
]


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the artist is called.")],
    works: WorksArgument = None,
    consent: Annotated[Consent, typer.Option(help="What the artist allows.")] = Consent.UNCLAIMED,
    creator: Annotated[
        str | None, typer.Option(help="Who made the works, if registered; else a creator of this name.")
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(help="Another name (repeat the option).")] = None,
    new: NewFlag = False,
    copy: CopyFlag = False,
    no_check: NoCheckFlag = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Add an artist with works. The files stay where they are; a thumbnail of each is kept."""
    from fairbrush.corpus.registry import add_artist, refuse_taken_name

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if works and not new:
        # before the works are read, which may take long; asked again when the artist is added
        with registry(context, readonly=True) as store:
            refuse_taken_name(store, name)
    prepared = _prepare(context, [works or []], copy=copy, doing=Doing.ARTIST_ADD)[0]
    with registry(context) as store:
        artist, added = add_artist(
            store,
            name,
            prepared.works,
            consent=consent,
            creator=creator,
            aliases=alias or (),
            allow_same_name=new,
            source="artist add",
        )
    row = {"artist": artist.name, "artist_id": artist.artist_id, "consent": str(artist.consent)}
    _answer_works(row, prepared, added, format_, output)
    _finish_works(context, artist.artist_id, prepared, no_check=no_check)


def add_more(
    context: typer.Context,
    name: NameArgument,
    works: WorksArgument = None,
    copy: CopyFlag = False,
    no_check: NoCheckFlag = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Give an artist more works; without paths, list the works there are."""
    from fairbrush.corpus.registry import add_works, find_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        entry = find_artist(store, name)
        if not works:
            emit(work_rows(store, entry), format_, columns=("path", "sha256"), output=output)
            return
    prepared = _prepare(context, [works], copy=copy, doing=Doing.ARTIST_WORKS)[0]
    with registry(context) as store:
        added = add_works(store, entry.artist.artist_id, prepared.works)
    row = {"artist": entry.artist.name, "artist_id": entry.artist.artist_id}
    _answer_works(row, prepared, added, format_, output)
    _finish_works(context, entry.artist.artist_id, prepared, no_check=no_check)


def import_(
    context: typer.Context,
    roster: Annotated[
        Path,
        typer.Argument(
            help="A CSV with a column name, and maybe works, creator, payee, consent, aliases, trained, "
            "trained:MODEL; or a folder with a folder of works for each artist."
        ),
    ],
    copy: CopyFlag = False,
    no_check: NoCheckFlag = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Import many artists, all at once or not at all. Importing the same again changes nothing."""
    from fairbrush.corpus.roster_file import RowStatus, read_roster
    from fairbrush.corpus.roster_import import import_roster

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    read = read_roster(roster)
    with_works = [row for row in read.rows if row.works]
    prepared = _prepare(context, [row.works for row in with_works], copy=copy, doing=Doing.ARTIST_IMPORT)
    works = {row.name: one for row, one in zip(with_works, prepared, strict=True)}
    with registry(context) as store:
        result = import_roster(store, read, works)
    _answer_import(result, format_, output)
    if not no_check:
        new_works = {
            row.artist_id: {work.sha256 for work in works[row.name].works}
            for row in result.rows
            if row.artist_id and row.name in works and row.status is not RowStatus.UNCHANGED
        }
        warn_of_clones(context, new_works, compare_style=False)
    if result.refused_works or result.counts[RowStatus.REFUSED]:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _prepare(context: typer.Context, groups: list[Any], *, copy: bool, doing: Doing) -> list[PreparedWorks]:
    """Read the works of each group of paths, and keep which were refused. Raises WorkspaceError where there
    is no workspace."""
    from fairbrush.corpus.images import decoding_workers, image_limits
    from fairbrush.corpus.works import prepare_works
    from fairbrush.ledger.records import note_refusals
    from fairbrush.workspace import RECORDS

    settings, workspace = workspace_settings(context)
    workers = decoding_workers(settings)
    prepared = prepare_works(groups, workspace, image_limits(settings), workers=workers, copy=copy)
    refusals = [refusal for one in prepared for refusal in one.refusals]
    note_refusals(workspace / RECORDS, refusals, doing=doing, now=datetime.now(UTC))
    return prepared


def _answer_works(
    row: dict[str, Any], prepared: PreparedWorks, added: AddedWorks, format_: Format, output: Path | None
) -> None:
    row |= {"works_added": added.added, "works_known": added.known, "refused": len(prepared.refusals)}
    document = {
        "schema": "fairbrush.artist_works/1",
        **row,
        "refusals": _refusal_rows(prepared.refusals),
        "duplicates": _duplicate_rows(added.duplicates),
    }
    emit([row], format_, document=document, output=output)
    report_works(prepared.refusals, added.duplicates)


def _finish_works(context: typer.Context, artist_id: str, prepared: PreparedWorks, *, no_check: bool) -> None:
    """After the answer: what was recorded stays, whatever comes of the comparison."""
    if not no_check:
        new_works = {artist_id: {work.sha256 for work in prepared.works}}
        warn_of_clones(context, new_works, compare_style=bool(prepared.works))
    if prepared.refusals:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _answer_import(result: RosterResult, format_: Format, output: Path | None) -> None:
    rows: list[dict[str, Any]] = [
        {
            "line": row.line or None,
            "artist": row.name,
            "status": str(row.status),
            "artist_id": row.artist_id,
            "detail": row.detail,
        }
        for row in result.rows
    ]
    counts = {str(status): n for status, n in result.counts.items()}
    document = {
        "schema": "fairbrush.import/1",
        "counts": counts,
        "artists": rows,
        "refusals": _refusal_rows(result.refused_works),
        "duplicates": _duplicate_rows(result.duplicates),
    }
    emit([counts] if format_ is Format.TABLE else rows, format_, document=document, output=output)
    for row in rows:
        if row["status"] == "refused":
            where = f"line {row['line']}" if row["line"] else "folder"
            say(f"refused: {where}: {row['artist']!r}: {row['detail']}")
    report_works(result.refused_works, result.duplicates)


def work_rows(store: Store, entry: ArtistEntry) -> list[Row]:
    from fairbrush.corpus.works import list_works

    return [
        {"path": str(work.path), "sha256": work.sha256} for work in list_works(store, entry.artist.artist_id)
    ]


def _refusal_rows(refusals: list[Any]) -> list[Row]:
    return [{"path": str(r.path), "reason": str(r.reason), "detail": r.detail} for r in refusals]


def _duplicate_rows(duplicates: list[Any]) -> list[Row]:
    return [
        {
            "path": d.path,
            "sha256": d.sha256,
            "artist_id": d.artist_id,
            "other_artist_ids": list(d.other_artist_ids),
            "same_creator": d.same_creator,
        }
        for d in duplicates
    ]
