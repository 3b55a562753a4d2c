"""Drop what erased artists still have outside the registry: also after an erase that was interrupted.

Enters: a workspace's store. Leaves: counts of what was dropped. The rule: the registry says first that the
artist is erased (no look-up credits them from then on); this follows, and can be run again at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.erasure import finish_erasure, pending_erasures
from fairbrush.corpus.works import drop_work_files
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.index import erase as index_erase
from fairbrush.ledger.records import discard_drained, load_pending
from fairbrush.workspace import INDEXES, RECORDS

if TYPE_CHECKING:
    from fairbrush.store import Store


@dataclass(frozen=True)
class Dropped:
    """``index_versions``: rewritten without the artist."""

    index_versions: int
    vector_rows_dropped: int
    files_dropped: int
    records_cleared: int


def drop_erased(store: Store, cache_folder: Path) -> Dropped:
    """Clear index, cache, thumbnails, copies and the evidence in records, then say that it is done."""
    pending = pending_erasures(store)
    folder = store.workspace / INDEXES
    versions = sum(len(index_erase.erase_artist(folder, one.artist_id)) for one in pending)
    unshared = sorted({sha256 for one in pending for sha256 in one.unshared_sha256s})
    rows = 0
    if unshared and cache_folder.is_dir() and any(cache_folder.iterdir()):
        with EmbeddingCache.open(cache_folder) as cache:
            rows = cache.forget(unshared)
    files = drop_work_files(store.workspace, unshared)
    cleared = sum(_clear_evidence(store, one.artist_id) for one in pending)
    finish_erasure(store, pending)
    return Dropped(versions, rows, files, cleared)


def _clear_evidence(store: Store, artist_id: str) -> int:
    """Take an artist's works out of every record's evidence, records that were waiting too.

    What is hashed holds none of it, so digests stay.
    """
    patch = json.dumps({"evidence": {artist_id: None}})
    with store.transaction() as connection:
        drained = load_pending(connection, store.workspace / RECORDS)
        cleared = 0
        for table in ("attribution", "attribution_conflict"):
            changed = connection.execute(
                f"UPDATE {table} SET about = json_merge_patch(about, ?::JSON)"
                " WHERE json_exists(about, ?) RETURNING attribution_id",
                [patch, f'$.evidence."{artist_id}"'],
            ).fetchall()
            cleared += len(changed)
    discard_drained(drained)
    return cleared
