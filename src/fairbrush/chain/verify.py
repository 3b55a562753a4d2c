"""Whether the records are those that were committed, and which is the first that is not.

Enters: an open database. Leaves: a ``Verification``. The one rule: whatever was done to one cell of a
protected row, of a leaf or of a batch, to a whole row or to the order, is found, and named as exactly as what
is left allows; memory stays bounded, and nothing is repaired.

    1. the chain: batches and leaves without a gap, each batch's Merkle root, each head and the one before
    2. the rows: each leaf has its row, with that digest, and each row of a protected table has one leaf
    3. what else is said of a row elsewhere in the database: the checks that the caller brings

What cannot be seen without a checkpoint that is kept elsewhere (fairbrush.chain.checkpoint): that the end of
the chain was cut off together with its rows, or that all heads from some batch on were computed again over
other rows. A row that was altered together with its leaf is seen, but only its batch can be named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fairbrush.chain import merkle
from fairbrush.chain.adoption import had_chain
from fairbrush.chain.explain import Broken, explain
from fairbrush.chain.findings import BATCH, LEAF, Altered, Damage, Finding, Findings
from fairbrush.chain.log import NO_HEAD, Batch, ChainedTable, hash_of_leaf
from fairbrush.chain.rows import row_reader, stream, told_where_unreadable
from fairbrush.chain.tables import CHAINED_TABLES
from fairbrush.errors import ChainError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DEFAULT_LIMIT = 20
_MOST_BROKEN = 1000  # batches that are explained
_MOST_REPEATED = 1000  # keys
_LEAVES_A_PART = 1_000_000  # of one table that are joined at a time

Check = Callable[["DuckDBPyConnection", Altered, list[str]], None]


@dataclass(frozen=True)
class Seen:
    """The chain after so many batches."""

    batches: int
    leaves: int
    head: str
    log_root: str


@dataclass(frozen=True)
class Verification:
    """``count``: how much is wrong; ``findings``: the first of it. ``notes``: what is no damage and yet to be
    said. ``seen``: the chain after the numbers of batches that were asked for; ``end``: after all."""

    end: Seen
    count: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seen: dict[int, Seen] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        return self.count == 0


@told_where_unreadable()
def verify_records(
    connection: DuckDBPyConnection,
    *,
    checks: Sequence[Check] = (),
    limit: int = DEFAULT_LIMIT,
    at: Collection[int] = (),
) -> Verification:
    """Verify chain and rows. ``at``: numbers of batches, for ``seen``.

    Raises ChainError where there are records and no chain, and none is known of, or what is stored cannot be
    read.
    """
    if not at:
        require_chain(connection)
    findings = Findings(limit=limit)
    walk = _Walk(connection, findings, at)
    walk.run()
    for table in CHAINED_TABLES:
        _verify_rows(connection, table, findings)
    _verify_kinds(connection, findings)
    notes: list[str] = []
    altered = Altered(connection, findings)
    for check in checks:
        check(connection, altered, notes)
    altered.flush()
    explain(connection, findings, walk.broken)
    return _verification(walk, findings, notes)


@told_where_unreadable()
def verify_chain(
    connection: DuckDBPyConnection, *, limit: int = DEFAULT_LIMIT, at: Collection[int] = ()
) -> Verification:
    """Verify the chain alone, not the rows that its leaves are of. Raises ChainError as verify_records."""
    require_chain(connection)
    findings = Findings(limit=limit)
    walk = _Walk(connection, findings, at)
    walk.run()
    return _verification(walk, findings, [])


def require_chain(connection: DuckDBPyConnection) -> None:
    """Raises ChainError where there are records and the chain has not begun, or all of it is gone."""
    if connection.execute("SELECT 1 FROM chain_batch UNION ALL SELECT 1 FROM chain_leaf LIMIT 1").fetchall():
        return
    counts = {
        table.table: connection.execute(f"SELECT count(*) FROM {table.table}").fetchall()[0][0]
        for table in CHAINED_TABLES
    }
    if not (rows := sum(counts.values())):
        return
    if had_chain(connection):
        raise ChainError(
            f"There are {rows} records, and the chain over them was deleted.",
            next_step="Restore a backup: fairbrush restore BACKUP DIR",
        )
    raise ChainError(
        f"There are {rows} records and no chain over them: it has not begun, or it was deleted.",
        next_step="The next command that writes begins it with the records as they are then;"
        " if there was one before, restore a backup: fairbrush restore BACKUP DIR",
    )


def _verification(walk: _Walk, findings: Findings, notes: list[str]) -> Verification:
    return Verification(
        end=walk.here(),
        count=findings.count,
        findings=tuple(findings.first()),
        notes=tuple(notes),
        seen=walk.seen,
    )


@dataclass(frozen=True)
class _StoredBatch:
    batch: Batch
    stored_head: str


@dataclass(frozen=True)
class _StoredLeaf:
    position: int
    batch: int
    kind: str
    key: str
    digest: str


class _Walk:
    """Once along all batches and leaves, in order."""

    def __init__(self, connection: DuckDBPyConnection, findings: Findings, at: Collection[int]) -> None:
        self.broken: list[Broken] = []
        self.seen: dict[int, Seen] = {}
        self._at = set(at)
        self._found = findings
        self._log = merkle.RootBuilder()
        self._heads = (NO_HEAD, NO_HEAD)  # of the batch before: as stored, and as computed again
        self._batches = _batches(connection)
        self._leaves = _leaves(connection)
        self._leaf = next(self._leaves, None)
        self._position = 0

    def here(self) -> Seen:
        return Seen(self._log.count, self._position, self._heads[0], self._log.root().hex())

    def run(self) -> None:
        expected = 0
        for stored in self._batches:
            number = stored.batch.batch
            is_gap = number != expected
            if number > expected:
                self._complain(Damage.REMOVED, expected, f"batches {expected} to {number - 1} are gone")
            elif number < expected:
                self._complain(Damage.INSERTED, number, f"a second batch {number}")
            self._verify_batch(stored, is_gap=is_gap)
            expected = number + 1
            if self._log.count in self._at:
                self.seen[self._log.count] = self.here()
        while (leaf := self._leaf) is not None:
            self._found.add(_leaf_finding(Damage.INSERTED, leaf, f"its leaf {leaf.position} is in no batch"))
            self._leaf = next(self._leaves, None)

    def _verify_batch(self, stored: _StoredBatch, *, is_gap: bool) -> None:
        batch = stored.batch
        if not is_gap and batch.first_position != self._position:
            where = f"it begins at position {batch.first_position}, and the one before ends at"
            self._complain(Damage.DAMAGED, batch.batch, f"{where} {self._position}")
        if not is_gap and batch.previous_head not in self._heads:
            self._complain(Damage.DAMAGED, batch.batch, "the head it carries is not that of the one before")
        root, misplaced = self._read_leaves(batch, is_gap=is_gap)
        is_same_head = batch.head == stored.stored_head
        is_same_root = root == batch.root
        if not is_same_head:
            self._complain(Damage.ALTERED, batch.batch, "its head is not the digest of what it says")
        elif not is_same_root:
            self._complain(
                Damage.DAMAGED,
                batch.batch,
                f"its leaves {batch.first_position} to {batch.first_position + batch.leaves - 1} are not"
                " those that were committed: one was altered, put in, taken out or moved",
            )
        if not is_same_root and len(self.broken) < _MOST_BROKEN:
            self.broken.append(Broken(batch))
        # where its head is not its own, it may be the batch that says another number
        for leaf in misplaced if is_same_head or not is_same_root else ():
            what = Damage.ALTERED if is_same_root else Damage.REORDERED
            where = f"its leaf stands in batch {batch.batch} and says that it is of batch {leaf.batch}"
            self._found.add(_leaf_finding(what, leaf, where))
        self._heads = (stored.stored_head, batch.head)
        self._log.append(merkle.leaf_hash(stored.stored_head.encode()))
        self._position = batch.first_position + batch.leaves

    def _read_leaves(self, batch: Batch, *, is_gap: bool) -> tuple[str, list[_StoredLeaf]]:
        """The root of the leaves at the batch's positions, and those that say they are elsewhere."""
        builder = merkle.RootBuilder()
        misplaced: list[_StoredLeaf] = []
        position, end = batch.first_position, batch.first_position + batch.leaves
        while (leaf := self._leaf) is not None and leaf.position < end:
            if leaf.position >= position:
                if leaf.position > position:
                    self._gap(position, leaf.position)
                builder.append(hash_of_leaf(leaf.kind, leaf.key, leaf.digest))
                position = leaf.position + 1
                if leaf.batch != batch.batch and len(misplaced) < _MOST_BROKEN:
                    misplaced.append(leaf)
            elif not is_gap:
                place = f"its leaf stands at position {leaf.position}, which is another's"
                self._found.add(_leaf_finding(Damage.INSERTED, leaf, place))
            self._leaf = next(self._leaves, None)
        if position < end:
            self._gap(position, end)
        return builder.root().hex(), misplaced

    def _gap(self, first: int, end: int) -> None:
        detail = f"the leaves {first} to {end - 1} are gone" if end - first > 1 else "the leaf is gone"
        self._found.add(Finding(Damage.REMOVED, LEAF, str(first), detail, first))

    def _complain(self, what: Damage, batch: int, detail: str) -> None:
        self._found.add(Finding(what, BATCH, str(batch), detail, self._position))


def _batches(connection: DuckDBPyConnection) -> Iterator[_StoredBatch]:
    rows = stream(
        connection,
        "SELECT coalesce(batch, -1), coalesce(first_position, -1), coalesce(leaves, -1), coalesce(root, ''),"
        " coalesce(previous_head, ''), committed_at, coalesce(head, '') FROM chain_batch ORDER BY 1, rowid",
    )
    for batch, first_position, leaves, root, previous_head, committed_at, head in rows:
        # a year that Python has not comes as text
        moment = committed_at if isinstance(committed_at, datetime) else datetime.max
        yield _StoredBatch(Batch(batch, first_position, leaves, root, previous_head, moment), head)


# no column may be NULL, but who can alter a table can lift that
_LEAF_COLUMNS = (
    "coalesce(position, -1), coalesce(batch, -1), coalesce(kind, ''), coalesce(record_key, ''),"
    " coalesce(digest, '')"
)


def _leaves(connection: DuckDBPyConnection) -> Iterator[_StoredLeaf]:
    for row in stream(connection, f"SELECT {_LEAF_COLUMNS} FROM chain_leaf ORDER BY 1, rowid"):
        yield _StoredLeaf(*row)


def _leaf_finding(what: Damage, leaf: _StoredLeaf, detail: str) -> Finding:
    return Finding(what, leaf.kind, leaf.key, detail, leaf.position)


def _verify_rows(connection: DuckDBPyConnection, table: ChainedTable, findings: Findings) -> None:
    """Every leaf of the table's kind against its row."""
    reader = row_reader(connection, table)
    repeated = _repeated_keys(connection, table, reader.key)
    count = connection.execute(f"SELECT count(*) FROM {table.table}").fetchall()[0][0]
    parts = 1 + count // _LEAVES_A_PART
    names = [f"v{place}" for place in range(len(reader.values))]
    named = ", ".join(f"{value} AS {name}" for value, name in zip(reader.values, names, strict=True))
    for part in range(parts):
        of_part = f"hash({{}}) % {parts} = {part}" if parts > 1 else "true"
        rows = stream(
            connection,
            f"""
            SELECT position, coalesce(record_key, ''), digest, row_key, {", ".join(names)}
            FROM (SELECT position, record_key, coalesce(digest, '') AS digest FROM chain_leaf
                    WHERE kind = ? AND {of_part.format("record_key")})
            FULL JOIN (SELECT {reader.key} AS row_key, {named} FROM {table.table}
                    WHERE {of_part.format(reader.key)})
                ON record_key = row_key
            """,
            [table.kind],
        )
        for position, leaf_key, leaf_digest, row_key, *values in rows:
            if leaf_digest is not None and row_key is not None:
                if reader.digest(values) != leaf_digest and leaf_key not in repeated:
                    findings.add(_altered(table.kind, leaf_key, position))
            elif leaf_digest is not None:
                findings.add(_removed(table.kind, leaf_key, position))
            else:
                findings.add(_inserted(table.kind, row_key))
    for key in sorted(repeated):
        _verify_repeated(connection, table, key, findings)


def _altered(kind: str, key: str, position: int) -> Finding:
    return Finding(Damage.ALTERED, kind, key, "it is not what was committed", position)


def _removed(kind: str, key: str, position: int | None) -> Finding:
    return Finding(Damage.REMOVED, kind, key, "it was committed, and is gone", position)


def _inserted(kind: str, key: str) -> Finding:
    return Finding(Damage.INSERTED, kind, key, "it was never committed")


def _repeated_keys(connection: DuckDBPyConnection, table: ChainedTable, key: str) -> set[str]:
    """Keys of several leaves or rows, which a join would multiply."""
    rows = connection.execute(
        f"""
        (SELECT record_key FROM chain_leaf WHERE kind = ? GROUP BY record_key HAVING count(*) > 1
            LIMIT {_MOST_REPEATED})
        UNION
        (SELECT row_key FROM (SELECT {key} AS row_key FROM {table.table}) GROUP BY row_key HAVING count(*) > 1
            LIMIT {_MOST_REPEATED})
        """,
        [table.kind],
    ).fetchall()
    return {row[0] for row in rows}


def _verify_repeated(
    connection: DuckDBPyConnection, table: ChainedTable, key: str, findings: Findings
) -> None:
    """Rows and leaves of one key, matched by digest."""
    reader = row_reader(connection, table)
    leaves: dict[str, list[int]] = defaultdict(list)
    for position, digest in stream(
        connection,
        "SELECT position, digest FROM chain_leaf WHERE kind = ? AND record_key = ? ORDER BY position",
        [table.kind, key],
    ):
        leaves[digest].append(position)
    rows = Counter(
        reader.digest(values)
        for values in stream(
            connection, f"SELECT {', '.join(reader.values)} FROM {table.table} WHERE {reader.key} = ?", [key]
        )
    )
    without_row = sorted(p for digest, places in leaves.items() for p in places[rows[digest] :])
    without_leaf = sum(max(0, n - len(leaves.get(digest or "", ()))) for digest, n in rows.items())
    first = min((places[0] for places in leaves.values()), default=None)
    if without_row and without_leaf:
        findings.add(_altered(table.kind, key, without_row[0]))
    elif without_row:
        findings.add(_removed(table.kind, key, without_row[0]))
    elif without_leaf:
        times = sum(rows.values())
        detail = f"it is there {times} times, and was committed {times - without_leaf} times"
        findings.add(Finding(Damage.INSERTED, table.kind, key, detail, first))


def _verify_kinds(connection: DuckDBPyConnection, findings: Findings) -> None:
    """Leaves of a kind that no table is of."""
    rows: Iterator[tuple[Any, ...]] = stream(
        connection,
        f"SELECT {_LEAF_COLUMNS} FROM chain_leaf WHERE NOT list_contains(?::TEXT[], coalesce(kind, ''))",
        [[table.kind for table in CHAINED_TABLES]],
    )
    for row in rows:
        findings.add(_leaf_finding(Damage.REMOVED, _StoredLeaf(*row), "there are no records of its kind"))
