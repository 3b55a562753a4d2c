"""Drop what erased artists still have outside the registry: also after an erase that was interrupted.

Enters: a workspace's store. Leaves: counts of what was dropped. The rule: the registry says first that the
artist is erased (no look-up credits them from then on); this follows, and can be run again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.erasure import PendingErasure, erased_ids, finish_erasure, pending_erasures
from fairbrush.corpus.works import drop_work_files
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.errors import (
    ErasureUnfinishedError,
    FairbrushError,
    IndexDamagedError,
    IndexUnusableError,
    StyleSpaceError,
)
from fairbrush.index import erase as index_erase
from fairbrush.index.distinctiveness import homecomings
from fairbrush.index.history import forget_distinctiveness, record_distinctiveness, record_versions
from fairbrush.index.search import open_index
from fairbrush.index.versions import list_versions
from fairbrush.ledger.records import discard_drained, load_pending
from fairbrush.workspace import INDEXES, RECORDS

if TYPE_CHECKING:
    from fairbrush.store import Store

FINISH_STEP = "Put that right; the next command that changes the registry, or index build, finishes it."


@dataclass(frozen=True)
class Dropped:
    """``index_versions``: rewritten without the artist."""

    index_versions: int
    vector_rows_dropped: int
    files_dropped: int
    records_cleared: int


def drop_erased(store: Store, cache_folder: Path) -> Dropped:
    """Clear index, cache, thumbnails, copies and the evidence in records, then say that it is done.

    Nothing to do is no error. Raises ErasureUnfinishedError; what was dropped is, and the rest waits.
    """
    pending = pending_erasures(store)
    if not pending:
        return Dropped(0, 0, 0, 0)
    try:
        return _drop(store, cache_folder, pending)
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
    rows = 0
    if unshared and cache_folder.is_dir() and any(cache_folder.iterdir()):
        with EmbeddingCache.open(cache_folder) as cache:
            rows = cache.forget(unshared)
    files = drop_work_files(store.workspace, unshared)
    cleared = sum(_clear_evidence(store, one) for one in pending)
    finish_erasure(store, pending)
    return Dropped(versions, rows, files, cleared)


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
