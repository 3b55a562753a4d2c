"""Records of look-ups: acknowledged as small files, drained into DuckDB later.

Enters: ``Record``s, and refused images. Leaves: fsynced files in ``records/pending/``, then rows in DuckDB.
The one rule: from the moment ``write_pending`` returns, a record is in exactly one place that counts: its
pending file, or the database, whenever the process is killed. A file leaves ``pending/`` only after the
commit that holds it.

    records/pending/<time>-<random>.jsonl   a header (count, SHA-256 of the rest), then one record a line,
                                            or one refusal
    records/refused/                        damaged files, each with a .reason.txt beside it

A look-up only writes, so nothing here imports duckdb: a caller hands its connection to ``drain``.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, parse_canonical
from fairbrush.chain.log import append_leaves
from fairbrush.chain.tables import ATTRIBUTIONS
from fairbrush.domain import Doing
from fairbrush.durable import flush_folder, write_durably
from fairbrush.errors import RecordError
from fairbrush.ledger.record_rows import Row, read_record_line, without_evidence
from fairbrush.ledger.refusals import (
    REFUSALS_SCHEMA,
    Refused,
    RefusedImage,
    insert_refusals,
    read_refusal_line,
    refusal_line,
)
from fairbrush.store import utc_now

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PENDING_SCHEMA = "fairbrush.pending/1"
SHORTEST_PREFIX = 8  # of an id, where a person types it
MOST_PENDING = 64  # files left behind by single look-ups before one of them drains them all
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Record:
    """One look-up. ``body`` is hashed and for ever; ``about`` (path, evidence, wording) is neither.

    Both hold text and whole numbers only. ``body["identity"]`` is what the attribution_id is the digest of.
    """

    body: Mapping[str, Any]
    about: Mapping[str, Any]
    recorded_at: datetime

    @property
    def attribution_id(self) -> str:
        return canonical_digest(self.body["identity"])

    @property
    def digest(self) -> str:
        return canonical_digest(self.body)


@dataclass(frozen=True)
class Conflict:
    """An answer that came again under a known id with another body; now in attribution_conflict."""

    attribution_id: str
    stored_digest: str
    new_digest: str


@dataclass(frozen=True)
class RefusedFile:
    """A pending file that is not what was written. ``file`` is where it lies now."""

    file: Path
    reason: str


@dataclass(frozen=True)
class DrainReport:
    """``recorded``: new in the database; ``repeated``: there already; ``files``: what they came in, and
    refused images."""

    recorded: int = 0
    repeated: int = 0
    conflicts: tuple[Conflict, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    files: tuple[Path, ...] = ()


def write_pending(folder: Path, records: Sequence[Record]) -> Path | None:
    """One fsynced file of records in ``folder/pending``; once this returns they are acknowledged.

    Returns the file, None for no records. Raises RecordError where it cannot be written.
    """
    if not records:
        return None
    written_at = min(record.recorded_at for record in records).astimezone(UTC)
    return _write_file(folder, PENDING_SCHEMA, map(_line, records), at=written_at)


def note_refusals(folder: Path, refused: Sequence[Refused], *, doing: Doing, now: datetime) -> Path | None:
    """One fsynced file of refused images, beside the records; None where there are none, or where it cannot
    be written: a note of what was refused, and said, stops nothing. now: with a zone."""
    images = [RefusedImage.of(one, doing=doing, now=now) for one in refused]
    if not images:
        return None
    with contextlib.suppress(RecordError):
        return _write_file(folder, REFUSALS_SCHEMA, map(refusal_line, images), at=now.astimezone(UTC))
    return None


def _write_file(folder: Path, schema: str, lines: Iterable[bytes], *, at: datetime) -> Path:
    content = b"".join(line + b"\n" for line in lines)
    header = {
        "schema": schema,
        "records": content.count(b"\n"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    name = f"{at:%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}{_SUFFIX}"
    pending = folder / "pending"
    try:
        if not pending.is_dir():
            pending.mkdir(parents=True, exist_ok=True)
            flush_folder(folder)
        write_durably(pending / name, [canonical_json(header), b"\n", content])
        return pending / name
    except OSError as error:
        raise RecordError(
            f"{pending} cannot be written: {error.strerror or error}.",
            next_step="Free space or correct permissions and ask again, or answer with --no-record.",
        ) from error


def find_attribution(connection: DuckDBPyConnection, prefix: str) -> str:
    """The attribution_id that begins so. Raises RecordError where none, or several, do."""
    wanted = prefix.strip().lower()
    found = connection.execute(
        "SELECT attribution_id FROM attribution WHERE starts_with(attribution_id, ?) ORDER BY 1 LIMIT 3",
        [wanted],
    ).fetchall()
    if len(wanted) < SHORTEST_PREFIX or not found:
        raise RecordError(
            f"There is no record {prefix!r}.",
            next_step="fairbrush report lookups shows the ids; eight characters of one are enough.",
        )
    if len(found) > 1:
        raise RecordError(
            f"{prefix!r} is the beginning of several records.", next_step="Write more of the id."
        )
    return str(found[0][0])


def pending_files(folder: Path) -> list[Path]:
    """The files that wait in ``folder/pending``, oldest first."""
    pending = folder / "pending"
    if not pending.is_dir():
        return []
    return sorted(file for file in pending.iterdir() if _is_pending(file.name))


def pending_count(folder: Path) -> int:
    """How many files wait. Cheap: a look-up calls it each time."""
    return len(pending_files(folder))


def drain(connection: DuckDBPyConnection, folder: Path) -> DrainReport:
    """Load all pending files in one transaction of ``connection``, then remove them.

    Idempotent by attribution_id: the first record of an id stays; the same again is counted; another body
    under the same id is a conflict, kept aside. A damaged file moves to ``folder/refused``.
    """
    connection.begin()
    try:
        report = load_pending(connection, folder)
        connection.commit()
    except BaseException:  # Ctrl-C too: all of it or nothing
        # the first error is the one to see; a lost connection has nothing to roll back
        with contextlib.suppress(Exception):
            connection.rollback()
        raise
    discard_drained(report)
    return report


def load_pending(
    connection: DuckDBPyConnection, folder: Path, *, forget: Collection[str] = ()
) -> DrainReport:
    """``drain`` within the caller's transaction; call ``discard_drained`` once that has committed.

    ``forget``: erased artists, whose works do not come back as evidence in a record that was waiting.
    """
    content, files, refused = _read_all(folder)
    records = [one for one in content if isinstance(one, Row)]
    records = [without_evidence(record, forget) for record in records] if forget else records
    report = _insert(connection, records)
    insert_refusals(connection, [one for one in content if isinstance(one, RefusedImage)])
    return replace(report, refused=tuple(refused), files=tuple(files))


def discard_drained(report: DrainReport) -> None:
    """Remove the files of a committed drain. Killed before or within, the next drain finds repeats."""
    for file in report.files:
        file.unlink(missing_ok=True)
    for parent in {file.parent for file in report.files}:
        flush_folder(parent)


def _line(record: Record) -> bytes:
    assert record.recorded_at.tzinfo is not None, "a time without a zone means another time elsewhere"
    return canonical_json(
        {
            "attribution_id": record.attribution_id,
            "digest": record.digest,
            "recorded_at": record.recorded_at.astimezone(UTC).isoformat(timespec="microseconds"),
            "body": record.body,
            "about": record.about,
        }
    )


def _is_pending(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _read_all(folder: Path) -> tuple[list[Row | RefusedImage], list[Path], list[RefusedFile]]:
    rows: list[Row | RefusedImage] = []
    files: list[Path] = []
    refused: list[RefusedFile] = []
    for file in pending_files(folder):
        try:
            rows += _read_file(file.read_bytes())
        except FileNotFoundError:
            continue  # drained by another thread between the listing and here
        except OSError as error:
            # it may be readable next time: reported, but left where it is
            refused.append(RefusedFile(file, f"cannot be read: {error.strerror or error}"))
        except RecordError as error:
            refused.append(_refuse(file, error.message, folder / "refused"))
        else:
            files.append(file)
    return rows, files, refused


def _refuse(file: Path, reason: str, refused: Path) -> RefusedFile:
    """Move a damaged file aside; the reason first, so that no refused file is without one."""
    try:
        refused.mkdir(exist_ok=True)
        (refused / f"{file.name}.reason.txt").write_text(f"{reason}\n", encoding="utf-8")
        moved = file.replace(refused / file.name)
        for parent in (refused, file.parent):
            flush_folder(parent)
    except OSError as error:
        return RefusedFile(file, f"{reason} It could not be moved aside: {error.strerror or error}.")
    return RefusedFile(moved, reason)


def _read_file(content: bytes) -> Sequence[Row | RefusedImage]:
    """The records, or refusals, of one pending file. Raises RecordError where anything is not as written."""
    first, newline, lines = content.partition(b"\n")
    header = parse_canonical(first) if newline else None
    schema = header.get("schema") if isinstance(header, dict) else None
    if not isinstance(header, dict) or schema not in (PENDING_SCHEMA, REFUSALS_SCHEMA):
        raise RecordError(f"The file has no {PENDING_SCHEMA} header.")
    if hashlib.sha256(lines).hexdigest() != header.get("sha256"):
        raise RecordError(f"The file is damaged: {len(lines)} bytes of records do not match their digest.")
    read = read_record_line if schema == PENDING_SCHEMA else read_refusal_line
    rows: list[Row | RefusedImage] = [read(line) for line in lines.splitlines()]
    if len(rows) != header.get("records"):
        raise RecordError(f"The file holds {len(rows)} records, its header says {header.get('records')}.")
    return rows


def _insert(connection: DuckDBPyConnection, rows: Sequence[Row]) -> DrainReport:
    known = _known_digests(connection, rows)
    new: list[Row] = []
    conflicting: list[tuple[Row, str]] = []
    repeated = 0
    for row in rows:
        stored = known.get(row.attribution_id)
        if stored is None:
            known[row.attribution_id] = row.digest
            new.append(row)
        elif stored == row.digest:
            repeated += 1
        else:
            conflicting.append((row, stored))
    if new:
        with connection.appender("attribution") as appender:
            appender.append_rows(
                (r.attribution_id, *r.attribution, r.recorded_at, r.body, r.digest, r.about) for r in new
            )
        leaves = [
            ATTRIBUTIONS.leaf(
                {
                    "attribution_id": row.attribution_id,
                    "body_digest": row.digest,
                    "recorded_at": row.recorded_at,
                }
            )
            for row in new
        ]
        append_leaves(connection, leaves, now=utc_now())
    if any(row.shares for row in new):
        with connection.appender("attribution_share") as appender:
            appender.append_rows(share for row in new for share in row.shares)
    for row, stored in conflicting:
        connection.execute(
            "INSERT INTO attribution_conflict VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [row.attribution_id, row.digest, stored, row.recorded_at, row.body, row.about],
        )
    return DrainReport(
        recorded=len(new),
        repeated=repeated,
        conflicts=tuple(Conflict(row.attribution_id, stored, row.digest) for row, stored in conflicting),
    )


def _known_digests(connection: DuckDBPyConnection, rows: Sequence[Row]) -> dict[str, str]:
    """The digest of each of these ids that the database already holds."""
    if not rows:
        return {}
    found = connection.execute(
        "SELECT attribution_id, body_digest FROM attribution"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[]))",
        [sorted({row.attribution_id for row in rows})],
    ).fetchall()
    return dict(found)
