"""Erase an artist or a payee everywhere, and drop what an interrupted erasure left.

Enters: a workspace's store. Leaves: counts of what was dropped. The rule: the registry and the book say
first, in one transaction, that the artist is erased (no look-up credits them and no money goes to them from
then on); the rest follows, and can be run again at any time. Last, the database is written anew: no byte of
what was deleted is left in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.log import Append
from fairbrush.corpus import erasure
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.erasure import (
    PendingErasure,
    erased_ids,
    finish_erasure,
    forget_pending,
    pending_erasures,
)
from fairbrush.corpus.people import find_payee
from fairbrush.corpus.registry import find_artist
from fairbrush.corpus.traces import Traces, artist_traces, payee_traces
from fairbrush.corpus.works import drop_work_files
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.cache_wipe import Wiped
from fairbrush.errors import (
    DatabaseBusyError,
    ErasureUnfinishedError,
    FairbrushError,
    IndexDamagedError,
    IndexUnusableError,
    RegistryError,
    StyleSpaceError,
)
from fairbrush.index import erase as index_erase
from fairbrush.index.distinctiveness import homecomings
from fairbrush.index.history import forget_distinctiveness, record_distinctiveness, record_versions
from fairbrush.index.search import open_index
from fairbrush.index.versions import list_versions
from fairbrush.ledger.book import AccountKind, Posting
from fairbrush.ledger.closing import close_accounts, open_amounts, owed
from fairbrush.ledger.records import discard_drained, load_pending
from fairbrush.ledger.refused_files import RedactedFiles, redact_refused
from fairbrush.store import Compacted, as_utc, utc_now
from fairbrush.workspace import INDEXES, RECORDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store

# Tables with a free text beside its salt; the text may name anybody.
_REASONED = (
    "consent_event",
    "revenue_event",
    "settlement",
    "payout_event",
    "claim_event",
    "dispute_event",
)
FINISH_STEP = "Put that right; the next command that changes the registry, or index build, finishes it."


@dataclass(frozen=True)
class Dropped:
    """``index_versions``: rewritten without the artist. ``cache`` and ``database``: their files, written
    anew; None where there was nothing to do."""

    index_versions: int = 0
    vector_rows_dropped: int = 0
    files_dropped: int = 0
    records_cleared: int = 0
    cache: Wiped | None = None
    database: Compacted | None = None


@dataclass(frozen=True)
class Erased:
    """``traces``: what may still be looked for, to prove that it is gone. ``money``: what moved in the book.
    ``owed``: by payee who keeps a name until it is paid, minor units by currency. ``texts_cleared``: reasons
    and sources that named them. ``refused``: damaged records."""

    works: int
    traces: Traces
    dropped: Dropped
    money: tuple[Posting, ...] = ()
    owed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    paths_cleared: int = 0
    texts_cleared: int = 0
    refused: RedactedFiles = field(default_factory=RedactedFiles)
    was_interrupted: bool = False


def erase_artist(
    store: Store,
    artist_id: str,
    cache_folder: Path,
    *,
    reason: str | None = None,
    now: datetime | None = None,
) -> Erased:
    """Erase an artist from the registry, the book, the records, the index and every file of ours.

    One whose erasure was interrupted is finished; what it was called is not known any more. Raises
    RegistryError for an unknown or erased artist, ErasureUnfinishedError.
    """
    interrupted = next((one for one in pending_erasures(store) if one.artist_id == artist_id), None)
    traces = artist_traces(store, artist_id)
    if interrupted is not None:
        dropped = drop_erased(store, cache_folder)
        return Erased(len(interrupted.work_sha256s), traces, dropped, was_interrupted=True)
    artist = find_artist(store, artist_id).artist
    moment = as_utc(now) if now else utc_now()
    # before the commit: a damaged record is no record, and who is erased is not known by name afterwards
    refused = redact_refused(store.workspace / RECORDS, traces)
    with registry_change(store) as connection:
        drained = load_pending(connection, store.workspace / RECORDS, forget=erased_ids(store) | {artist_id})
        open_before = owed(connection)
        pending = erasure.erase_artist(store, artist_id, reason=reason, owed=set(open_before), now=moment)
        append = Append(connection)
        entry = close_accounts(
            append, connection, artist_id, reference=_redaction(connection, artist_id), now=moment
        )
        append.commit(now=moment)
        paths, texts = _forget_mentions(connection, traces, artist.creator_id)
        open_now = owed(connection)
    discard_drained(drained)
    money = entry.postings if entry else ()
    payees = {one.account.holder for one in money if one.account.kind is AccountKind.PAYABLE}
    return Erased(
        works=len(pending.work_sha256s),
        traces=traces,
        dropped=drop_erased(store, cache_folder),
        money=money,
        owed={payee: open_now[payee] for payee in sorted({*payees, artist.payee_id}) if payee in open_now},
        paths_cleared=paths,
        texts_cleared=texts,
        refused=refused,
    )


def erase_payee(store: Store, payee_id: str, cache_folder: Path) -> Erased:
    """Forget what a payee is called and where its money goes. The id stays, with what was paid to it.

    Raises RegistryError while a balance is open or somebody's money goes there, ErasureUnfinishedError.
    """
    payee_id = find_payee(store, payee_id).payee_id
    if any(one.artist_id == payee_id for one in pending_erasures(store)):
        traces = Traces(payee_id)
        return Erased(0, traces, drop_erased(store, cache_folder), was_interrupted=True)
    traces = payee_traces(store, payee_id)
    refused = redact_refused(store.workspace / RECORDS, traces)
    with registry_change(store) as connection:
        if payee_id in (open_now := owed(connection)):
            raise RegistryError(
                f"The payee {payee_id} has money to come, owed or on its way:"
                f" {open_amounts(open_now[payee_id])}.",
                next_step="Pay it first: fairbrush payout propose, then payout confirm.",
            )
        erasure.erase_payee(store, payee_id)
        paths, texts = _forget_mentions(connection, traces, creator_id=None)
    dropped = drop_erased(store, cache_folder)
    return Erased(0, traces, dropped, paths_cleared=paths, texts_cleared=texts, refused=refused)


def drop_erased(store: Store, cache_folder: Path) -> Dropped:
    """Clear index, cache, thumbnails, copies and the evidence in records, write the database anew, then say
    that it is done.

    Nothing to do is no error. Raises ErasureUnfinishedError; what was dropped is, and the rest waits.
    """
    pending = pending_erasures(store)
    if not pending:
        return Dropped()
    try:
        return _drop(store, cache_folder, pending)
    except DatabaseBusyError:
        raise  # somebody else has the database now, and may finish this
    except IndexDamagedError as damaged:
        raise ErasureUnfinishedError(
            f"{_who(pending)} cannot be taken out of a damaged index version. {damaged.message}",
            next_step="Delete that version's v....json (fairbrush index verify names it), then run"
            " fairbrush index build, which finishes this.",
        ) from damaged
    except FairbrushError as error:
        raise ErasureUnfinishedError(
            f"{_who(pending)} is not dropped everywhere yet. {error.message}", next_step=FINISH_STEP
        ) from error
    except OSError as error:
        raise ErasureUnfinishedError(
            f"{_who(pending)} is not dropped everywhere yet: {error.filename}: {error.strerror or error}.",
            next_step=FINISH_STEP,
        ) from error


def _who(pending: Sequence[PendingErasure]) -> str:
    ids = ", ".join(one.artist_id for one in pending)
    return f"Erased from the registry and credited no more, but {ids}"


def _drop(store: Store, cache_folder: Path, pending: Sequence[PendingErasure]) -> Dropped:
    folder = store.workspace / INDEXES
    versions = sum(len(index_erase.erase_artist(folder, one.artist_id)) for one in pending)
    if versions:
        staying = list_versions(folder)
        record_versions(store, staying)
        forget_distinctiveness(store, staying)
        with suppress(IndexUnusableError, StyleSpaceError):  # for reports; index extend measures it again
            index = open_index(folder)
            record_distinctiveness(store, index, homecomings(index))
    unshared = sorted({sha256 for one in pending for sha256 in one.unshared_sha256s})
    rows, wiped = 0, None
    if unshared and cache_folder.is_dir() and any(cache_folder.iterdir()):
        with EmbeddingCache.open(cache_folder) as cache:
            rows = cache.forget(unshared)
            wiped = cache.wipe()
    files = drop_work_files(store.workspace, unshared)
    cleared = sum(_clear_evidence(store, one) for one in pending)
    forget_pending(store, pending)
    compacted = store.compact()
    finish_erasure(store, pending)
    return Dropped(versions, rows, files, cleared, wiped, compacted)


def _redaction(connection: DuckDBPyConnection, artist_id: str) -> str:
    """What the entry of an erasure books."""
    rows = connection.execute(
        "SELECT max(sequence) FROM redaction_event WHERE artist_id = ?", [artist_id]
    ).fetchall()
    return f"redaction/{rows[0][0]}"


def _forget_mentions(
    connection: DuckDBPyConnection, traces: Traces, creator_id: str | None
) -> tuple[int, int]:
    """Clear what names an erased person in text that is hashed nowhere: paths of look-ups; reasons, with
    those of disputes that their creator opened, and sources; and refused images that lie among their works or
    name them. How many paths, how many texts."""
    named, names = traces.found_in("image_path")
    at_work, works = traces.paths_in("image_path")
    paths = 0
    for table in ("attribution", "validation"):
        paths += _changed(
            connection,
            f"UPDATE {table} SET image_path = NULL WHERE {named} OR {at_work} RETURNING 1",
            [*names, *works],
        )
    paths += _forget_refused(connection, traces)
    path = "(about ->> '$.path')"
    named, names = traces.found_in(path)
    at_work, works = traces.paths_in(path)
    for table in ("attribution", "attribution_conflict"):
        _changed(
            connection,
            f"""UPDATE {table} SET about = json_merge_patch(about, '{{"path": null}}'::JSON)"""
            f" WHERE {named} OR {at_work} RETURNING 1",
            [*names, *works],
        )
    texts = 0
    named, names = traces.found_in("reason")
    for table in _REASONED:
        texts += _changed(
            connection,
            f"UPDATE {table} SET reason = NULL, reason_salt = NULL WHERE reason IS NOT NULL AND {named}"
            " RETURNING 1",
            names,
        )
    if creator_id is not None:
        texts += _changed(
            connection,
            "UPDATE dispute_event SET reason = NULL, reason_salt = NULL WHERE reason IS NOT NULL"
            " AND creator_id = ? AND creator_id IN (SELECT creator_id FROM creator WHERE name IS NULL)"
            " RETURNING 1",
            [creator_id],
        )
    named, names = traces.found_in("source")
    for table, nothing in (("membership", "NULL"), ("fidelity", "'(erased)'")):
        texts += _changed(
            connection, f"UPDATE {table} SET source = {nothing} WHERE {named} RETURNING 1", names
        )
    return paths, texts


def _forget_refused(connection: DuckDBPyConnection, traces: Traces) -> int:
    """A file nobody could read tells by its place alone whose it may be."""
    wanted = [
        traces.found_in("path"),
        traces.found_in("detail"),
        traces.paths_in("path"),
        traces.beside_works("path"),
    ]
    condition = " OR ".join(one for one, _ in wanted)
    parameters = [parameter for _, given in wanted for parameter in given]
    return _changed(connection, f"DELETE FROM refusal WHERE {condition} RETURNING 1", parameters)


def _changed(connection: DuckDBPyConnection, statement: str, parameters: Sequence[object]) -> int:
    return len(connection.execute(statement, parameters).fetchall())


def _clear_evidence(store: Store, erased: PendingErasure) -> int:
    """Take an artist's works out of every record, of those that were waiting too; how many had any.

    Gone are the works as evidence, and the path of a look-up that asked for such a work itself: it may hold
    the name. What is hashed holds none of it, so digests stay.
    """
    evidence = json.dumps({"evidence": {erased.artist_id: None}})
    works = list(erased.work_sha256s)
    with store.transaction() as connection:
        drained = load_pending(connection, store.workspace / RECORDS, forget=erased_ids(store))
        for table in ("attribution", "validation"):
            connection.execute(
                f"UPDATE {table} SET image_path = NULL WHERE list_contains(?::VARCHAR[], image_sha256)",
                [works],
            )
        cleared = 0
        for table in ("attribution", "attribution_conflict"):
            asked_for = "list_contains(?::VARCHAR[], body ->> '$.identity.image_sha256')"
            connection.execute(
                f"""UPDATE {table} SET about = json_merge_patch(about, '{{"path": null}}'::JSON)"""
                f" WHERE {asked_for}",
                [works],
            )
            changed = connection.execute(
                f"UPDATE {table} SET about = json_merge_patch(about, ?::JSON)"
                " WHERE json_exists(about, ?) RETURNING attribution_id",
                [evidence, f'$.evidence."{erased.artist_id}"'],
            ).fetchall()
            cleared += len(changed)
    discard_drained(drained)
    return cleared
