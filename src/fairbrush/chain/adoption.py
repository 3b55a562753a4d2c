"""The chain's beginning in a workspace that is older than it.

Enters: an open store. Leaves: one batch with a leaf for each consent, erasure, index version and look-up
there already is. The one rule: only where the chain has no record at all, and never had one; from then on a
row without a leaf is one that somebody slipped in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import ChainedTable, Leaf, append_leaves, last_batch
from fairbrush.chain.tables import (
    ATTRIBUTIONS,
    CHAINED_TABLES,
    CONSENT_EVENTS,
    INDEX_VERSIONS,
    REDACTIONS,
)
from fairbrush.store import Store, utc_now

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OLDER = (ATTRIBUTIONS, CONSENT_EVENTS, INDEX_VERSIONS, REDACTIONS)  # than the chain


def adopt_earlier_rows(store: Store) -> int:
    """Begin the chain with the rows there are; gives how many, 0 where it has begun, or was deleted."""
    connection = store.connection
    if last_batch(connection) is not None or had_chain(connection):
        return 0
    with store.transaction():
        for table in ("consent_event", "redaction_event"):
            reasons = connection.execute(
                f"SELECT sequence, reason FROM {table} WHERE reason IS NOT NULL AND reason_salt IS NULL"
            ).fetchall()
            for sequence, reason in reasons:
                told = committed(reason)
                connection.execute(
                    f"UPDATE {table} SET reason_salt = ?, reason_commitment = ? WHERE sequence = ?",
                    [told.salt, told.commitment, sequence],
                )
        leaves = [leaf for table in CHAINED_TABLES for leaf in _leaves_of(store, table)]
        append_leaves(connection, leaves, now=utc_now())
    return len(leaves)


def had_chain(connection: DuckDBPyConnection) -> bool:
    """Whether there is anything that was never written without a chain."""
    marks = [f"SELECT 1 FROM {table.table}" for table in CHAINED_TABLES if table not in _OLDER]
    marks += [
        f"SELECT 1 FROM {table.table} WHERE reason_commitment IS NOT NULL"
        for table in (CONSENT_EVENTS, REDACTIONS)
    ]
    return bool(connection.execute(f"{' UNION ALL '.join(marks)} LIMIT 1").fetchall())


def _leaves_of(store: Store, table: ChainedTable) -> list[Leaf]:
    rows = store.connection.execute(
        f"SELECT {', '.join(table.columns)} FROM {table.table} ORDER BY {', '.join(table.key)}"
    ).fetchall()
    return [table.leaf(dict(zip(table.columns, row, strict=True))) for row in rows]
