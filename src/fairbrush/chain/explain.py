"""What was done to a batch whose leaves do not give its root, where that can be proven.

Enters: such batches, and what was found of rows and leaves. Leaves: findings that name the records. The one
rule: a guess counts only when the leaves, put as guessed, give the very root that was committed.

Tried are: a leaf of a row that has none now, in the place of one that is gone or of no row; the order in
which the leaves, or their rows, still lie in their tables; and two leaves that changed places. What none of
these explains stays a finding about the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from fairbrush.chain import merkle
from fairbrush.chain.findings import BATCH, LEAF, Damage, Finding, Findings
from fairbrush.chain.log import Batch, ChainedTable, hash_of_leaf
from fairbrush.chain.rows import row_reader, stream
from fairbrush.chain.tables import CHAINED_TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST_LEAVES = 1_000_000  # that are looked at in all
_MOST_CANDIDATES = 64
_MOST_SWAPS = 50_000


@dataclass(frozen=True)
class Broken:
    """A batch whose leaves, as they are stored, do not give its root."""

    batch: Batch

    @property
    def positions(self) -> range:
        return range(self.batch.first_position, self.batch.first_position + self.batch.leaves)


@dataclass(frozen=True)
class _Named:
    """A leaf as it is stored; ``position`` is where it stands now."""

    position: int
    kind: str
    key: str
    hash: bytes


_Arrangement = dict[int, list[_Named]]  # by batch: its leaves in the order that is guessed


def explain(connection: DuckDBPyConnection, findings: Findings, broken: Sequence[Broken]) -> None:
    """Replace findings about batches by findings about records, where the root proves them."""
    open_ = _restored_leaves(connection, findings, _small(broken))
    for guess in (_stored_order, _order_of_rows, _swaps):
        if not open_:
            return
        for arrangement in guess(connection, open_):
            proven = [one for one in open_ if _gives_root(one, arrangement.get(one.batch.batch, []))]
            for one in proven:
                _tell_moved(findings, one, arrangement[one.batch.batch])
            open_ = [one for one in open_ if one not in proven]


def _small(broken: Sequence[Broken]) -> list[Broken]:
    chosen, total = [], 0
    for one in broken:
        total += max(one.batch.leaves, 0)
        if one.batch.leaves > 0 and total <= _MOST_LEAVES:
            chosen.append(one)
    return chosen


def _gives_root(broken: Broken, leaves: Sequence[_Named]) -> bool:
    if len(leaves) != broken.batch.leaves:
        return False
    return merkle.root([leaf.hash for leaf in leaves]).hex() == broken.batch.root


def _tell_moved(findings: Findings, broken: Broken, leaves: Sequence[_Named]) -> None:
    findings.drop(BATCH, str(broken.batch.batch))
    for position, leaf in zip(broken.positions, leaves, strict=True):
        if leaf.position != position:
            detail = f"it was committed at position {position}, and its leaf stands at {leaf.position}"
            findings.drop(leaf.kind, leaf.key)
            findings.add(Finding(Damage.REORDERED, leaf.kind, leaf.key, detail, position))


def _restored_leaves(
    connection: DuckDBPyConnection, findings: Findings, broken: Sequence[Broken]
) -> list[Broken]:
    """Name rows whose leaf was taken out or altered; gives the batches that this does not explain."""
    first = findings.kept()
    rows = [one for one in first if one.what is Damage.INSERTED and one.position is None]
    candidates = [
        (one, hash_of_leaf(one.kind, one.key, digest))
        for one in rows[:_MOST_CANDIDATES]
        for digest in _digests_of_row(connection, one.kind, one.key)
    ]
    suspects = [one for one in first if one.what is Damage.REMOVED and one.kind != BATCH]
    return [
        one
        for one in broken
        if not candidates or not _restored(connection, findings, one, candidates, suspects)
    ]


def _restored(
    connection: DuckDBPyConnection,
    findings: Findings,
    broken: Broken,
    candidates: Sequence[tuple[Finding, bytes]],
    suspects: Sequence[Finding],
) -> bool:
    stored = {leaf.position: leaf.hash for leaf in _leaves_of(connection, broken, "position")}
    levels = merkle.levels([stored.get(position, b"") for position in broken.positions])
    for suspect in suspects:
        if suspect.position is None or suspect.position not in broken.positions:
            continue
        place = suspect.position - broken.batch.first_position
        for row, leaf in candidates:
            if merkle.root_with(levels, {place: leaf}).hex() == broken.batch.root:
                for name in ((suspect.kind, suspect.key), (row.kind, row.key)):
                    findings.drop(*name)
                findings.drop(BATCH, str(broken.batch.batch))
                is_gone = suspect.kind == LEAF
                what = Damage.REMOVED if is_gone else Damage.ALTERED
                detail = "its leaf is gone from the chain" if is_gone else "its leaf names another record"
                findings.add(Finding(what, row.kind, row.key, detail, suspect.position))
                return True
    return False


def _digests_of_row(connection: DuckDBPyConnection, kind: str, key: str) -> list[str]:
    for table in CHAINED_TABLES:
        if table.kind == kind:
            reader = row_reader(connection, table)
            query = f"SELECT {', '.join(reader.values)} FROM {table.table} WHERE {reader.key} = ?"
            return [digest for row in stream(connection, query, [key]) if (digest := reader.digest(row))]
    return []


def _stored_order(connection: DuckDBPyConnection, broken: Sequence[Broken]) -> Iterator[_Arrangement]:
    """As the leaves lie in their table: who alters positions does not move them there."""
    leaves = [leaf for one in broken for leaf in _leaves_of(connection, one, "rowid")]
    yield {one.batch.batch: _leaves_of(connection, one, "rowid") for one in broken}
    if len(broken) > 1:
        lying = _leaves_among(connection, broken)
        if len(lying) == len(leaves):
            yield _sliced(lying, broken)


def _sliced(leaves: Sequence[_Named], broken: Sequence[Broken]) -> _Arrangement:
    arrangement, start = {}, 0
    for one in broken:
        arrangement[one.batch.batch] = list(leaves[start : start + one.batch.leaves])
        start += one.batch.leaves
    return arrangement


def _order_of_rows(connection: DuckDBPyConnection, broken: Sequence[Broken]) -> Iterator[_Arrangement]:
    """As the rows of each kind lie in their table, which is as they were inserted."""
    yield {
        one.batch.batch: _by_rows(connection, one, _leaves_of(connection, one, "position")) for one in broken
    }


def _by_rows(connection: DuckDBPyConnection, broken: Broken, leaves: Sequence[_Named]) -> list[_Named]:
    standing = {leaf.position: leaf for leaf in leaves}
    kinds = {leaf.kind for leaf in leaves}
    ordered = {
        table.kind: iter(_positions_by_row(connection, table, broken))
        for table in CHAINED_TABLES
        if table.kind in kinds
    }
    found = []
    for leaf in leaves:
        position = next(ordered.get(leaf.kind, iter(())), None)
        if position is None or position not in standing:
            return []
        found.append(standing[position])
    return found


def _positions_by_row(connection: DuckDBPyConnection, table: ChainedTable, broken: Broken) -> list[int]:
    key = row_reader(connection, table).key
    rows = stream(
        connection,
        f"SELECT position FROM chain_leaf JOIN (SELECT {key} AS row_key, rowid AS place FROM {table.table})"
        " ON record_key = row_key WHERE kind = ? AND position >= ? AND position < ? ORDER BY place",
        [table.kind, broken.positions.start, broken.positions.stop],
    )
    return [position for (position,) in rows]


def _swaps(connection: DuckDBPyConnection, broken: Sequence[Broken]) -> Iterator[_Arrangement]:
    """Two leaves that changed places, within a batch or between two."""
    stored = {one.batch.batch: _leaves_of(connection, one, "position") for one in broken}
    whole = [one for one in broken if len(stored[one.batch.batch]) == one.batch.leaves]
    for one in whole:
        leaves = stored[one.batch.batch]
        if len(leaves) * len(leaves) <= _MOST_SWAPS:
            yield from _swapped_within(one, leaves)
    for first, second in combinations(whole, 2):
        if first.batch.leaves * second.batch.leaves <= _MOST_SWAPS:
            yield from _swapped_between(first, second, stored)


def _swapped_within(broken: Broken, leaves: list[_Named]) -> Iterator[_Arrangement]:
    levels = merkle.levels([leaf.hash for leaf in leaves])
    for i, j in combinations(range(len(leaves)), 2):
        if merkle.root_with(levels, {i: leaves[j].hash, j: leaves[i].hash}).hex() == broken.batch.root:
            guess = list(leaves)
            guess[i], guess[j] = leaves[j], leaves[i]
            yield {broken.batch.batch: guess}
            return


def _swapped_between(
    first: Broken, second: Broken, stored: dict[int, list[_Named]]
) -> Iterator[_Arrangement]:
    here, there = stored[first.batch.batch], stored[second.batch.batch]
    levels = merkle.levels([leaf.hash for leaf in here])
    for i, j in product(range(len(here)), range(len(there))):
        if merkle.root_with(levels, {i: there[j].hash}).hex() == first.batch.root:
            yield {
                first.batch.batch: [*here[:i], there[j], *here[i + 1 :]],
                second.batch.batch: [*there[:j], here[i], *there[j + 1 :]],
            }
            return


def _leaves_of(connection: DuckDBPyConnection, broken: Broken, order: str) -> list[_Named]:
    rows = stream(
        connection,
        f"SELECT position, kind, record_key, digest FROM chain_leaf WHERE position >= ? AND position < ?"
        f" ORDER BY {order}",
        [broken.positions.start, broken.positions.stop],
    )
    return [
        _Named(position, kind, key, hash_of_leaf(kind, key, digest)) for position, kind, key, digest in rows
    ]


def _leaves_among(connection: DuckDBPyConnection, broken: Sequence[Broken]) -> list[_Named]:
    """The leaves of several batches together, as they lie."""
    spans = " OR ".join(
        f"(position >= {one.positions.start} AND position < {one.positions.stop})" for one in broken
    )
    return _named(connection, f"{spans} ORDER BY rowid")


def _named(connection: DuckDBPyConnection, which: str) -> list[_Named]:
    rows = stream(
        connection,
        "SELECT position, coalesce(kind, ''), coalesce(record_key, ''), coalesce(digest, '') FROM chain_leaf"
        f" WHERE {which}",
    )
    return [
        _Named(position, kind, key, hash_of_leaf(kind, key, digest)) for position, kind, key, digest in rows
    ]
