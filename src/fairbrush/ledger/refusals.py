"""Images that were refused: a line of a pending file each, later a row a path, reason and command.

Enters: paths that gave no image, and why. Leaves: lines, then rows of ``refusal``. The one rule: the same
refusal again moves its last time, so a broken file that is asked about every day is one row.

Pending files are those of ``fairbrush.ledger.records``, with another header; nothing here imports duckdb.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.chain.canonical import canonical_json, parse_canonical
from fairbrush.domain import Doing
from fairbrush.errors import RecordError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REFUSALS_SCHEMA = "fairbrush.refusals/1"
_FIELDS = ("path", "reason", "detail", "doing")
_ROWS_AT_ONCE = 20_000
_UPSERT = """
    INSERT INTO refusal
    SELECT unnest(?::TEXT[]), unnest(?::TEXT[]), unnest(?::TEXT[]), unnest(?::TEXT[]),
        unnest(?::TIMESTAMP[]), unnest(?::TIMESTAMP[])
    ON CONFLICT (path, reason, doing) DO UPDATE SET
        detail = CASE WHEN excluded.last_at >= last_at THEN excluded.detail ELSE detail END,
        first_at = least(first_at, excluded.first_at), last_at = greatest(last_at, excluded.last_at)
"""


class Refused(Protocol):
    """Whatever says which path gave no image, and why."""

    @property
    def path(self) -> Path: ...

    @property
    def reason(self) -> str: ...

    @property
    def detail(self) -> str: ...


@dataclass(frozen=True)
class RefusedImage:
    """``path``: absolute, as text that is UTF-8. ``refused_at``: UTC without a zone."""

    path: str
    reason: str
    detail: str
    doing: str
    refused_at: datetime

    @classmethod
    def of(cls, refused: Refused, *, doing: Doing, now: datetime) -> RefusedImage:
        """now: with a zone."""
        assert now.tzinfo is not None, "a time without a zone means another time elsewhere"
        absolute = os.path.abspath(refused.path)  # noqa: PTH100 - a link stays one
        moment = now.astimezone(UTC).replace(tzinfo=None)
        return cls(_utf8(absolute), str(refused.reason), _utf8(refused.detail), str(doing), moment)


def refusal_line(refused: RefusedImage) -> bytes:
    """As a pending file has it."""
    texts = {name: getattr(refused, name) for name in _FIELDS}
    return canonical_json({**texts, "refused_at": refused.refused_at.isoformat(timespec="microseconds")})


def read_refusal_line(line: bytes) -> RefusedImage:
    """Raises RecordError."""
    fields = parse_canonical(line)
    try:
        texts = {name: fields[name] for name in _FIELDS}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("a field is no text")
        return RefusedImage(**texts, refused_at=datetime.fromisoformat(fields["refused_at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"A refusal lacks what a refusal has: {error!r}.") from error


def insert_refusals(connection: DuckDBPyConnection, refused: Sequence[RefusedImage]) -> None:
    """Inside the caller's transaction; the same again changes nothing but the last time."""
    rows: dict[tuple[str, str, str], list[Any]] = {}
    for one in refused:
        key = one.path, one.reason, one.doing
        row = rows.setdefault(key, [*key, one.detail, one.refused_at, one.refused_at])
        row[4] = min(row[4], one.refused_at)
        if one.refused_at >= row[5]:
            row[3], row[5] = one.detail, one.refused_at
    known = list(rows.values())
    for first in range(0, len(known), _ROWS_AT_ONCE):
        columns = [list(column) for column in zip(*known[first : first + _ROWS_AT_ONCE], strict=True)]
        connection.execute(_UPSERT, columns)


def _utf8(text: str) -> str:
    """With what is no UTF-8 of a file's name, and NUL, escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
