"""Proof of absence: look for an erased person everywhere, as somebody would who does not trust the eraser.

Enters: what may tell of them (``Traces``), a workspace. Leaves: an ``Absence``: where was looked, what was
found that should not be there, and what stays and why. The one rule: nothing here reads what the eraser
wrote down; every text column of every table, every version of the index and every byte of every file is
searched, and the answer names neither the person nor their works, only how many were looked for.

A byte search does not see into compressed pages of the database; its columns are searched as text for that,
and the file was written anew, so it has no pages but theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.eligibility import ELIGIBILITY_NAME
from fairbrush.corpus.traces import Traces
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.errors import CacheError
from fairbrush.index.segments import NAME_BYTES
from fairbrush.index.versions import VersionFiles, list_versions
from fairbrush.store import DATABASE_NAME, Store
from fairbrush.workspace import COPIES, EMBEDDINGS, INDEXES, RECORDS, REGENERATIONS, THUMBNAILS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "fairbrush.absence/1"
SHORTEST_NAME_BYTES = 4  # a shorter one is in any file by chance
_CHUNK_BYTES = 8 * 2**20
_OURS = (
    DATABASE_NAME,
    f"{DATABASE_NAME}.wal",
    EMBEDDINGS,
    THUMBNAILS,
    COPIES,
    INDEXES,
    RECORDS,
    REGENERATIONS,
)
_HEX = re.compile(rb"[0-9a-f]{64,}")

NOT_REACHED = (
    "backups and copies of the workspace made before: erase again after a restore, or delete them",
    "the artist's own image files, which are never touched, and files written elsewhere",
    "blocks of deleted files that the disk has not overwritten yet",
    "images that were regenerated in their style: regenerations/ can be deleted whole",
)

_ASKED = "an image somebody asked about or was paid for is this file: the record is hashed"
_OTHERS = "somebody else's name or text holds the same words"
_OWED = "a payee has money to come, or is paid for others; see payee erase"
_REASON = "the reason that was given for an erasure"
# (table, column) -> why a work's digest may be there still, and why a name may.
_WORKS_STAY = {
    **dict.fromkeys(
        [
            ("attribution", "image_sha256"),
            ("attribution", "body"),
            ("attribution_conflict", "body"),
            ("validation", "image_sha256"),
            ("validation", "body"),
            ("revenue", "image_sha256"),
            ("revenue_image", "image_sha256"),
            ("settlement_line", "image_sha256"),
            ("settlement", "body"),
            ("audit_population", "image_sha256"),
            ("audit_draw", "image_sha256"),
            ("audit_result", "image_sha256"),
            ("chain_leaf", "record_key"),
        ],
        _ASKED,
    )
}
_NAMES_STAY = {
    ("payee", "name"): _OWED,
    ("payee_account", "holder"): _OWED,
    ("payee_account", "iban"): _OWED,
    ("redaction_event", "reason"): _REASON,
    **dict.fromkeys(
        [
            ("artist", "name"),
            ("artist_alias", "alias"),
            ("creator", "name"),
            ("work", "path"),
            ("model", "model_id"),
            ("model", "base_model_id"),
            ("model", "developer"),
            ("membership", "model_id"),
            ("tuning_test", "model_id"),
            ("tuning_test", "base_model_id"),
            ("revenue", "reference"),
            ("policy", "body"),
        ],
        _OTHERS,
    ),
}
# Where the id may not stay: these are about the works, the names and the index.
_NO_ID = (
    "artist_alias",
    "work",
    "membership",
    "fidelity",
    "recognition",
    "tuning_test",
    "artist_distinctiveness",
    "redaction_pending",
    "payee_account",
)


@dataclass(frozen=True)
class Finding:
    """``place``: a table's column, or a file; ``what``: name, work, vector or id; ``why`` it may stay."""

    place: str
    what: str
    count: int
    why: str | None = None


@dataclass(frozen=True)
class Searched:
    """``what`` was searched there, and how much of it."""

    place: str
    what: str
    count: int


@dataclass(frozen=True)
class Absence:
    """``pseudonym``: rows that keep the random id, by table."""

    subject: str
    searched_for: dict[str, int]
    searched: tuple[Searched, ...] = ()
    found: tuple[Finding, ...] = ()
    stays: tuple[Finding, ...] = ()
    pseudonym: dict[str, int] = field(default_factory=dict)

    @property
    def is_absent(self) -> bool:
        return not self.found

    def document(self, *, now: datetime) -> dict[str, Any]:
        """The proof as JSON, with a digest of all the rest of it. now: UTC without a zone."""
        body = {
            "schema": SCHEMA,
            "subject": self.subject,
            "searched_at": f"{now.isoformat(timespec='seconds')}Z",
            "searched_for": self.searched_for,
            "searched": [vars(one) for one in self.searched],
            "found": [{"place": f.place, "what": f.what, "count": f.count} for f in self.found],
            "stays": [vars(one) for one in self.stays],
            "pseudonym": self.pseudonym,
            "not_reached": list(NOT_REACHED),
            "absent": self.is_absent,
        }
        return {**body, "digest": canonical_digest(body)}


def search_registry(store: Store, cache_folder: Path, traces: Traces) -> Absence:
    """Look in every table, every version of the index, and the cache, as their readers see them."""
    absence = Absence(
        traces.subject,
        {
            "names": len(traces.names),
            "works": len(traces.works),
            "paths": len(traces.paths),
            "names_others_bear_too": traces.shared_names,
            "works_others_have_too": traces.shared_works,
        },
    )
    absence = _search_tables(store, traces, absence)
    absence = _search_index(store.workspace / INDEXES, traces, absence)
    return _search_cache(cache_folder, traces, absence)


def search_files(absence: Absence, workspace: Path, cache_folder: Path, traces: Traces) -> Absence:
    """Look in every byte of every file. Close the store first: to open the database's file otherwise would
    let go of its lock (see fairbrush.store)."""
    needles = _Needles(traces)
    in_database = {one.what for one in absence.stays}
    findings, files, searched_bytes = [], 0, 0
    for file, is_ours in _all_files(workspace, cache_folder):
        shown = _shown(file, workspace, traces)
        if is_ours and (traces.names_in(file.name) or any(sha256 in file.name for sha256 in traces.works)):
            findings.append(Finding(shown, "name", 1))
        try:
            counts = needles.count(file)
            searched_bytes += file.stat().st_size
        except FileNotFoundError:
            continue  # a record that was drained meanwhile
        files += 1
        for what, count in counts.items():
            findings.append(
                Finding(shown, what, count, _why_in_file(file, workspace, what, is_ours, in_database))
            )
    return replace(
        absence,
        searched=(
            *absence.searched,
            Searched("files", "bytes", searched_bytes),
            Searched("files", "files", files),
        ),
        found=(*absence.found, *(one for one in findings if one.why is None)),
        stays=(*absence.stays, *(one for one in findings if one.why is not None)),
    )


def _search_tables(store: Store, traces: Traces, absence: Absence) -> Absence:
    connection = store.connection
    columns = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() JOIN duckdb_tables() USING (table_name)"
        " WHERE NOT duckdb_columns.internal AND data_type IN ('VARCHAR', 'JSON') ORDER BY ALL"
    ).fetchall()
    findings, texts = [], 0
    pseudonym: dict[str, int] = {}
    in_table = {
        table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchall()[0][0]
        for table in {table for table, _ in columns}
    }
    for table, column in columns:
        texts += in_table[table]
        if not in_table[table]:
            continue
        quoted = f'"{column}"'
        conditions = {"name": traces.found_in(quoted)}
        if traces.works:
            conditions["work"] = traces.works_in(quoted)
        if traces.paths and (table, column) != ("work", "sha256"):
            conditions["path"] = traces.paths_in(quoted)
        conditions["id"] = (f"contains({quoted}::VARCHAR, ?)", [traces.subject])
        counts = ", ".join(f"count(*) FILTER ({condition})" for condition, _ in conditions.values())
        parameters = [parameter for _, given in conditions.values() for parameter in given]
        (found,) = connection.execute(f'SELECT {counts} FROM "{table}"', parameters).fetchall()
        for what, count in zip(conditions, found, strict=True):
            if not count:
                continue
            if what == "id" and table not in _NO_ID:
                pseudonym[table] = max(count, pseudonym.get(table, 0))
                continue
            stays = _WORKS_STAY if what == "work" else _NAMES_STAY
            findings.append(Finding(f"{table}.{column}", what, count, stays.get((table, column))))
    return replace(
        absence,
        searched=(
            *absence.searched,
            Searched("database", "text columns", len(columns)),
            Searched("database", "texts", texts),
        ),
        found=(*absence.found, *(one for one in findings if one.why is None)),
        stays=(*absence.stays, *(one for one in findings if one.why is not None)),
        pseudonym=pseudonym,
    )


def _search_index(folder: Path, traces: Traces, absence: Absence) -> Absence:
    wanted = {bytes.fromhex(sha256) for sha256 in traces.works}
    findings, versions, works = [], list_versions(folder) if folder.is_dir() else [], 0
    for version in versions:
        place = f"index {version.space_id}/{version.label}"
        for _, segment in VersionFiles(folder, version.space_id).open_segments(version):
            if traces.subject in segment.position_of:
                findings.append(Finding(place, "id", 1))
            names = segment.path("names").read_bytes()
            listed = {names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES)}
            works += len(listed)
            if held := len(listed & wanted):
                findings.append(Finding(place, "work", held))
    return replace(
        absence,
        searched=(
            *absence.searched,
            Searched("index", "versions", len(versions)),
            Searched("index", "works", works),
        ),
        found=(*absence.found, *findings),
    )


def _search_cache(folder: Path, traces: Traces, absence: Absence) -> Absence:
    vectors, images = 0, 0
    try:
        with EmbeddingCache.open(folder, readonly=True) as cache:
            for space in cache.info().spaces:
                images += space.images
                vectors += len(cache.space(space.encoder_id, space.variant).get_many(traces.works))
    except CacheError:
        images = 0  # none, or one that cannot be read; its bytes are searched all the same
    found = [Finding("embedding cache", "vector", vectors)] if vectors else []
    return replace(
        absence,
        searched=(*absence.searched, Searched("embedding cache", "images", images)),
        found=(*absence.found, *found),
    )


def _all_files(workspace: Path, cache_folder: Path) -> Iterator[tuple[Path, bool]]:
    """Every file, each once, and whether it is one of ours."""
    seen = set()
    for folder, is_cache in ((cache_folder, True), (workspace, False)):
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if file.is_symlink() or not file.is_file() or file.resolve() in seen:
                continue
            seen.add(file.resolve())
            first = file.relative_to(folder).parts[0]
            is_ours = file.name.endswith(".mdb") if is_cache else first in _OURS or first.startswith(".")
            if is_ours or not is_cache:
                yield file, is_ours


def _shown(file: Path, workspace: Path, traces: Traces) -> str:
    """A file's name for the proof, which must not name the person itself."""
    shown = file.relative_to(workspace).as_posix() if file.is_relative_to(workspace) else str(file)
    tells = traces.names_in(shown) or any(sha256 in shown for sha256 in traces.works)
    return f"{shown.split('/')[0] if '/' in shown else ''}/(a file named so)" if tells else shown


def _why_in_file(file: Path, workspace: Path, what: str, is_ours: bool, in_database: set[str]) -> str | None:
    """Why a file may hold it: the database, and what is written from it, hold what its rows hold."""
    if not is_ours:
        return "a file of your own, which is not touched"
    derived = (workspace / DATABASE_NAME, workspace / f"{DATABASE_NAME}.wal", workspace / ELIGIBILITY_NAME)
    if file in derived and what in in_database:
        return "the rows above"
    return None


class _Needles:
    """Names and digests to look for in bytes."""

    def __init__(self, traces: Traces) -> None:
        self._hex = {sha256.encode() for sha256 in traces.works}
        self._raw = {bytes.fromhex(sha256) for sha256 in traces.works}
        forms = {form.lower() for name in traces.names for form in (name.encode(), _escaped(name))}
        self._names = sorted(form for form in forms if len(form) >= SHORTEST_NAME_BYTES)
        longest = max([64, *map(len, self._names)])
        self._overlap = longest + 1  # and a byte on either side

    def count(self, file: Path) -> dict[str, int]:
        """How often each kind is in a file, by place."""
        places: dict[str, set[int]] = {"name": set(), "work": set()}
        with file.open("rb") as stream:
            kept, start = b"", 0
            while chunk := stream.read(_CHUNK_BYTES):
                window = kept + chunk
                places["name"] |= {start + at for at in self._names_at(window)}
                places["work"] |= {start + at for at in self._works_at(window)}
                kept = window[-self._overlap :]
                start += len(window) - len(kept)
        return {what: len(at) for what, at in places.items() if at}

    def _names_at(self, window: bytes) -> Iterator[int]:
        """Where a name stands that is no part of a longer ASCII word, whatever the case of its ASCII."""
        lowered = window.lower()
        for name in self._names:
            at = lowered.find(name)
            while at >= 0:
                around = lowered[max(0, at - 1) : at] + lowered[at + len(name) : at + len(name) + 1]
                if not any(byte < 128 and chr(byte).isalnum() for byte in around):
                    yield at
                at = lowered.find(name, at + 1)

    def _works_at(self, window: bytes) -> Iterator[int]:
        if not self._hex:
            return
        for found in _HEX.finditer(window):
            run = found.group()
            yield from (found.start() + at for at in range(len(run) - 63) if run[at : at + 64] in self._hex)
        yield from (int(at) for at in self._candidates(window) if window[at : at + 32] in self._raw)

    def _candidates(self, window: bytes) -> NDArray[np.intp]:
        """Where three bytes are the first three of a digest."""
        import numpy as np

        octets = np.frombuffer(window, np.uint8)
        if len(octets) < NAME_BYTES:
            return np.empty(0, np.intp)
        wide = octets.astype(np.uint32)
        return np.flatnonzero(self._is_start[wide[:-2] | wide[1:-1] << 8 | wide[2:] << 16])

    @cached_property
    def _is_start(self) -> NDArray[np.bool_]:
        """bool (2**24,): which three bytes, little-endian, begin a digest."""
        import numpy as np

        is_start = np.zeros(1 << 24, np.bool_)
        is_start[[int.from_bytes(raw[:3], "little") for raw in self._raw]] = True
        return is_start


def _escaped(name: str) -> bytes:
    """As JSON of ASCII alone has it."""
    import json

    return json.dumps(name).strip('"').encode()
