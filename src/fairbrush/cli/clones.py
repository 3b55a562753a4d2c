"""``fairbrush artist clones``, and the warnings of the commands by which works come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    say,
)
from fairbrush.cli.registry import registry, shown_name, workspace_settings
from fairbrush.errors import FairbrushError

if TYPE_CHECKING:
    from fairbrush.clones import ClonePair, CopiedWork
    from fairbrush.index.clones import LookAlike
    from fairbrush.index.distinctiveness import Share

SHOWN = 5
COLUMNS = (
    "kind",
    "artist",
    "other",
    "evidence",
    "similarity",
    "creator",
    "other_creator",
    "same_creator",
    "artist_id",
    "other_artist_id",
    "creator_id",
    "other_creator_id",
)
CLONES_STEP = "fairbrush artist clones shows the evidence. If two are one person: fairbrush creator assign."

NoCheckFlag = Annotated[
    bool, typer.Option("--no-check", help="Do not compare the works and the style with those of others.")
]


def clones(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only pairs with this artist (name, alias or id).")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the artists who share pictures, or whose works the index cannot tell apart."""
    from fairbrush.clones import find_clones
    from fairbrush.corpus.registry import find_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, workspace = workspace_settings(context)
    artist_id = None
    if name is not None:
        with registry(context, readonly=True) as store:
            artist_id = find_artist(store, name).artist.artist_id
    found = find_clones(workspace, wait_s=settings.database_wait_s, artist_id=artist_id)
    rows = [_row(pair) for pair in found.pairs]
    document = {
        "schema": "fairbrush.clones/1",
        "index_version": found.index_version,
        "pairs": [row | _details(pair) for row, pair in zip(rows, found.pairs, strict=True)],
    }
    emit(rows, format_, columns=COLUMNS, document=document, output=output)
    if found.index_version is None:
        say("Only copies were looked for: there is no index to find look-alikes in.")
        say("  next: fairbrush index build")


def warn_of_clones(
    context: typer.Context, new_works: Mapping[str, Collection[str]], *, compare_style: bool
) -> None:
    """Say on stderr whose pictures, and whose style, new works are; what goes wrong here stops nothing.

    ``new_works``: SHA-256s by artist id. Embedding many artists is left to ``index extend``.
    """
    from fairbrush.clones import MOST_NEW

    n_works = sum(map(len, new_works.values()))
    if n_works > MOST_NEW:
        say(f"{n_works} new works were not compared with those of others: fairbrush artist clones does it.")
    try:
        warned = _warn_of_copies(context, new_works) if 0 < n_works <= MOST_NEW else 0
        warned += sum(_warn_of_style(context, artist_id) for artist_id in new_works if compare_style)
    except FairbrushError as error:
        say(f"Added, but not compared with all others: {error.message}")
        return
    if warned:
        say(f"  next: {CLONES_STEP}")


def warn_of_look_alikes(n_pairs: int) -> None:
    """What ``index build`` and ``extend`` say of the version they published."""
    if n_pairs:
        pairs = "1 pair of creators" if n_pairs == 1 else f"{n_pairs} pairs of creators"
        say(f"{pairs} cannot be told apart by their works: fairbrush artist clones")


def _warn_of_copies(context: typer.Context, new_works: Mapping[str, Collection[str]]) -> int:
    from fairbrush.clones import copies_of_new

    settings, workspace = workspace_settings(context)
    copies = copies_of_new(workspace, new_works, wait_s=settings.database_wait_s)
    if copies:
        names = _names(context)
        for copy in copies[:SHOWN]:
            owner = names.get(copy.other.artist_id, copy.other.artist_id)
            say(f"copy: {copy.work.path} looks like a work of {owner}: {copy.likeness}, {copy.other.path}.")
        if len(copies) > SHOWN:
            say(f"copy: {len(copies) - SHOWN} more.")
    return len(copies)


def _warn_of_style(context: typer.Context, artist_id: str) -> int:
    from fairbrush.clones import resembled
    from fairbrush.embedding.session import EmbeddingSession

    settings, workspace = workspace_settings(context)
    alike = resembled(
        workspace, artist_id, partial(EmbeddingSession.open, settings), wait_s=settings.database_wait_s
    )
    names = _names(context) if alike else {}
    own = names.get(artist_id, artist_id)
    for one in alike[:SHOWN]:
        other, share = names.get(one.artist_id, one.artist_id), one.taken
        say(f"look-alike: {share.k} of {share.n} works of {own} would be credited to {other}, and no less.")
    return len(alike)


def _names(context: typer.Context) -> dict[str, str]:
    from fairbrush.corpus.registry import list_artists

    with registry(context, readonly=True) as store:
        return {entry.artist.artist_id: shown_name(entry.artist.name) for entry in list_artists(store)}


def _row(pair: ClonePair) -> dict[str, Any]:
    return {
        "kind": "look-alike" if pair.look_alike else "copies",
        "artist": shown_name(pair.one.artist.name),
        "other": shown_name(pair.other.artist.name),
        "evidence": _look_alike_evidence(pair.look_alike) if pair.look_alike else _copy_evidence(pair),
        "similarity": pair.similarity,
        "creator": shown_name(pair.one.creator_name),
        "other_creator": shown_name(pair.other.creator_name),
        "same_creator": pair.same_creator,
        "artist_id": pair.one.artist.artist_id,
        "other_artist_id": pair.other.artist.artist_id,
        "creator_id": pair.one.artist.creator_id,
        "other_creator_id": pair.other.artist.creator_id,
    }


def _copy_evidence(pair: ClonePair) -> str:
    from fairbrush.corpus.likeness import Likeness

    ones, others = ({copy.work.sha256 for copy in pair.copies}, {copy.other.sha256 for copy in pair.copies})
    kinds = Counter(copy.likeness for copy in pair.copies)
    which = ", ".join(f"{kinds[kind]} {kind}" for kind in Likeness if kinds[kind])
    return f"{len(ones)} of {pair.one.n_works} works as {len(others)} of {pair.other.n_works}: {which}"


def _look_alike_evidence(alike: LookAlike) -> str:
    ways = [
        f"{share.k} of {share.n}{what}"
        for share, what in (
            (alike.one_as_other, " works credited to the other no less"),
            (alike.other_as_one, " the other way"),
        )
        if share
    ]
    return ", ".join(ways)


def _details(pair: ClonePair) -> dict[str, Any]:
    alike = pair.look_alike
    return {
        "works": [_copied_work(copy) for copy in pair.copies],
        "credited_to_other": share_document(alike.one_as_other) if alike else None,
        "other_credited_to_it": share_document(alike.other_as_one) if alike else None,
    }


def _copied_work(copy: CopiedWork) -> dict[str, Any]:
    return {
        "likeness": str(copy.likeness),
        "similarity": copy.similarity,
        "path": str(copy.work.path),
        "sha256": copy.work.sha256,
        "other_path": str(copy.other.path),
        "other_sha256": copy.other.sha256,
    }


def share_document(share: Share | None) -> dict[str, Any] | None:
    """A share with its interval at 95 %, as JSON has it."""
    if share is None:
        return None
    return {
        "count": share.k,
        "of": share.n,
        "share": share.fraction,
        "low": share.low,
        "high": share.high,
    }


def share_text(share: Share | None) -> str | None:
    """A share as a person reads it: the count, and the interval at 95 %."""
    return None if share is None else f"{share.k} of {share.n} ({share.low:.0%} to {share.high:.0%})"
