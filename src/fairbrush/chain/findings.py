"""What a verification found: the first of it in the order of the chain, and how much there is in all.

Enters: findings, in any order. Leaves: the first few. The one rule: memory is bounded however much is wrong.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH = "batch"  # the kind of a finding that is about a batch as a whole
LEAF = "leaf"  # of a leaf that is gone, and nobody can say whose it was
CHECKPOINT = "checkpoint"

_MOST_REMEMBERED = 100_000  # records that are told apart when they are counted
_CHUNK = 1000


class Damage(StrEnum):
    """What was done to a record."""

    ALTERED = "altered"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    DAMAGED = "damaged"  # a batch whose leaves or whose head are not those that were committed
    TRUNCATED = "truncated"  # fewer batches than a checkpoint saw
    REWRITTEN = "rewritten"  # other batches than a checkpoint saw


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``kind`` and ``key`` name the record, or ``BATCH`` and its number.
    ``position``: of its leaf in the chain; None where it has none."""

    what: Damage
    kind: str
    key: str
    detail: str
    position: int | None = None

    @property
    def _order(self) -> tuple[float, bool, str, int, str]:
        """Records before the batch that they are in; what has no place in the chain comes last."""
        place = math.inf if self.position is None else self.position
        return place, self.kind == BATCH, self.kind, len(self.key), self.key


class Findings:
    """Collects findings; one record is counted once, by what was found first.

    >>> found = Findings(limit=1)
    >>> found.add(Finding(Damage.ALTERED, "consent", "9", "", 8))
    >>> found.add(Finding(Damage.REMOVED, "consent", "2", "", 1))
    >>> found.count, [one.key for one in found.first()]
    (2, ['2'])
    """

    def __init__(self, *, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._kept: dict[tuple[str, str], Finding] = {}
        self._seen: set[tuple[str, str]] = set()

    def add(self, finding: Finding) -> None:
        name = (finding.kind, finding.key)
        if name in self._seen:
            return
        if len(self._seen) < _MOST_REMEMBERED:
            self._seen.add(name)
        self.count += 1
        self._kept[name] = finding
        if len(self._kept) > 4 * self._limit + 100:
            self._kept = {(one.kind, one.key): one for one in self.first()}

    def keys(self, kind: str) -> set[str]:
        """Records of a kind of which something was found."""
        return {key for one, key in self._seen if one == kind}

    def drop(self, kind: str, key: str) -> None:
        """Another finding explains this one."""
        if self._kept.pop((kind, key), None) is not None:
            self._seen.discard((kind, key))
            self.count -= 1

    def first(self) -> list[Finding]:
        """At most ``limit``, in the order of the chain."""
        return self.kept()[: self._limit]

    def kept(self) -> list[Finding]:
        """All that are still known one by one, in the order of the chain."""
        return sorted(self._kept.values(), key=lambda one: one._order)


class Altered:
    """Findings about rows whose place in the chain is still to be looked up, many at once."""

    def __init__(self, connection: DuckDBPyConnection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._waiting: list[Finding] = []

    def add(self, kind: str, key: str, detail: str, *, what: Damage = Damage.ALTERED) -> None:
        self._waiting.append(Finding(what, kind, key, detail))
        if len(self._waiting) >= _CHUNK:
            self.flush()

    def keys(self, kind: str) -> set[str]:
        """Rows of a kind that were found to be wrong in themselves."""
        return self._findings.keys(kind)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        keys = defaultdict(set)
        for one in waiting:
            keys[one.kind].add(one.key)
        places = {
            (kind, key): position
            for kind, wanted in keys.items()
            for key, position in self._connection.cursor()
            .execute(
                "SELECT record_key, min(position) FROM chain_leaf"
                " WHERE kind = ? AND record_key IN (SELECT unnest(?::TEXT[])) GROUP BY record_key",
                [kind, sorted(wanted)],
            )
            .fetchall()
        }
        for one in waiting:
            self._findings.add(replace(one, position=places.get((one.kind, one.key))))
