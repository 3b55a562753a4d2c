"""The chain: digests of records in the order in which they were committed.

Enters: rows of the tables that must not be rewritten. Leaves: the rows, a leaf each in ``chain_leaf``, and a
row in ``chain_batch`` with the Merkle root of the batch and a head that carries the head before. The one
rule: a row and its leaf are written in one transaction, and neither is ever changed. What may have to be
forgotten (names, paths, reasons) stands in columns that are not hashed, or as a salted commitment.

    leaf    SHA-256(00 . canonical JSON of [kind, key, digest])
    root    of the batch's leaves (fairbrush.chain.merkle)
    head    SHA-256(02 . canonical JSON of {batch, committed_at, first_position, leaves, previous_head, root})
    log     the Merkle root over all heads, for proofs of length O(log n)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from fairbrush.chain import merkle
from fairbrush.chain.canonical import canonical_json, decimal_text, flat_json
from fairbrush.store import insert_rows, table_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NO_HEAD = "0" * 64


@dataclass(frozen=True)
class ChainedTable:
    """A table whose rows have leaves. ``key``: the columns that name a row; ``hashed``: those its digest is
    of."""

    kind: str
    table: str
    key: tuple[str, ...]
    hashed: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that is needed to know a row's leaf."""
        return tuple(dict.fromkeys((*self.key, *self.hashed)))

    def leaf(self, row: dict[str, Any]) -> Leaf:
        """row: at least ``columns``, as the database gives them."""
        key = "/".join(str(row[name]) for name in self.key)
        hashed = flat_json({name: plain(row[name]) for name in self.hashed})
        return Leaf(self.kind, key, hashlib.sha256(hashed).hexdigest())


@dataclass(frozen=True)
class Leaf:
    """One record: what kind it is, what names it, and the SHA-256 of its body."""

    kind: str
    key: str
    digest: str

    @property
    def hash(self) -> bytes:
        return hash_of_leaf(self.kind, self.key, self.digest)


def hash_of_leaf(kind: str, key: str, digest: str) -> bytes:
    """The Merkle leaf of canonical JSON, written here since there are millions."""
    content = f"[{encode_basestring(kind)},{encode_basestring(key)},{encode_basestring(digest)}]"
    return merkle.leaf_hash(content.encode())


@dataclass(frozen=True)
class Batch:
    """What was committed together. ``committed_at``: UTC without a zone."""

    batch: int
    first_position: int
    leaves: int
    root: str
    previous_head: str
    committed_at: datetime

    @property
    def head(self) -> str:
        body = {
            "batch": self.batch,
            "committed_at": plain(self.committed_at),
            "first_position": self.first_position,
            "leaves": self.leaves,
            "previous_head": self.previous_head,
            "root": self.root,
        }
        return hashlib.sha256(b"\2" + canonical_json(body)).hexdigest()


def plain(value: Any) -> Any:
    """A column's value as canonical JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return decimal_text(value) if isinstance(value, float) else value


def insert_chained(
    connection: DuckDBPyConnection, table: ChainedTable, rows: Sequence[Sequence[Any]], *, now: datetime
) -> Batch | None:
    """Insert rows (all columns, in the table's order) and append their leaves, inside the caller's
    transaction. For rows of several tables that belong together, see ``Append``."""
    append = Append(connection)
    append.insert(table, rows)
    return append.commit(now=now)


class Append:
    """Rows of one or several tables that make one batch. ``commit`` inside the same transaction."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._leaves: list[Leaf] = []

    def insert(self, table: ChainedTable, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows (all columns, in the table's order) and remember their leaves."""
        names = table_columns(self._connection, table.table)
        self._leaves += [table.leaf(dict(zip(names, row, strict=True))) for row in rows]
        insert_rows(self._connection, table.table, rows)

    def add(self, leaves: Sequence[Leaf]) -> None:
        """Leaves of rows that were inserted otherwise."""
        self._leaves += leaves

    def commit(self, *, now: datetime) -> Batch | None:
        """Write the leaves and their batch; None where there are none. now: UTC without a zone."""
        leaves, self._leaves = self._leaves, []
        return append_leaves(self._connection, leaves, now=now)


def append_leaves(connection: DuckDBPyConnection, leaves: Sequence[Leaf], *, now: datetime) -> Batch | None:
    """One batch at the end of the chain, inside the caller's transaction. now: UTC without a zone."""
    if not leaves:
        return None
    last = last_batch(connection)
    batch = Batch(
        batch=0 if last is None else last.batch + 1,
        first_position=0 if last is None else last.first_position + last.leaves,
        leaves=len(leaves),
        root=merkle.root([leaf.hash for leaf in leaves]).hex(),
        previous_head=NO_HEAD if last is None else last.head,
        committed_at=now,
    )
    insert_rows(
        connection,
        "chain_leaf",
        [
            (batch.first_position + place, batch.batch, leaf.kind, leaf.key, leaf.digest)
            for place, leaf in enumerate(leaves)
        ],
    )
    insert_rows(connection, "chain_batch", [batch_row(batch)])
    return batch


def batch_row(batch: Batch) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    return (
        batch.batch,
        batch.first_position,
        batch.leaves,
        batch.root,
        batch.previous_head,
        batch.head,
        batch.committed_at,
    )


def last_batch(connection: DuckDBPyConnection) -> Batch | None:
    """The end of the chain as it is stored, unverified; None before the first record."""
    # not ORDER BY ... LIMIT 1: over row groups whose rows were all deleted DuckDB 2.0 finds none
    rows = connection.execute(f"{_BATCHES} WHERE batch = (SELECT max(batch) FROM chain_batch)").fetchall()
    return Batch(*rows[0]) if rows else None


def read_batches(connection: DuckDBPyConnection) -> list[Batch]:
    """All batches in order, as they are stored, unverified."""
    return [Batch(*row) for row in connection.execute(f"{_BATCHES} ORDER BY batch").fetchall()]


_BATCHES = "SELECT batch, first_position, leaves, root, previous_head, committed_at FROM chain_batch"
