"""What an audit draws from: the images that earned something in a period, each with the record that pays.

Enters: a connection, a period, a currency. Leaves: a ``Population``. The one rule: money is what the
paying record gives creators, to the last fraction; where it credits nobody, what it leaves unattributed. What
was settled is taken as it was settled; what is open as it would be settled now. A line that cannot be settled
is in no population, and that is told.

What is unattributed beside credited creators is neither theirs nor in doubt: regeneration says among whom the
style is split, not how much of it is recognised.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.chain.canonical import canonical_json
from fairbrush.errors import AuditError, PolicyError
from fairbrush.ledger.exactly import fraction_text, parse_fraction
from fairbrush.ledger.lines import (
    CANCELLED_LINES,
    LineImage,
    RevenueLine,
    choose_records,
    open_lines,
    read_lines,
    settled_images,
    settled_lines,
)
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import AdoptedPolicy, adopted_policies, policy_on
from fairbrush.store import insert_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

E12 = 10**12


@dataclass(frozen=True, slots=True)
class Unit:
    """One image, the record that pays for it, and how many minor units that record gives creators, or, where
    it credits nobody, leaves unattributed."""

    image_sha256: str
    attribution_id: str
    amount: Fraction


@dataclass(frozen=True)
class LeftOut:
    """Lines of the period and currency that no record, or no policy, can settle, and what they brought in.
    ``images``: of the first, those without a record."""

    lines: int = 0
    amount_minor: int = 0
    images: int = 0


@dataclass(frozen=True)
class Population:
    """``units``: by image and record, each once; ``policies``: digests of those that split the money;
    ``erased``: units whose record credits somebody who has been erased since."""

    period: Period
    currency: str
    units: tuple[Unit, ...]
    policies: tuple[str, ...]
    left_out: LeftOut = LeftOut()
    erased: int = 0

    @property
    def total(self) -> Fraction:
        return sum((unit.amount for unit in self.units), Fraction(0))

    @property
    def digest(self) -> str:
        return units_digest(self.units)


def units_digest(units: Iterable[Unit]) -> str:
    """SHA-256 of the canonical JSON of ``[[image_sha256, attribution_id, "n/d"], ...]``, however many.

    >>> units_digest([])[:16], units_digest([Unit("a", "b", Fraction(1, 2))])[:16]
    ('4f53cda18c2baa0c', '92a597cbb3aa7c5a')
    """
    hashed = hashlib.sha256(b"[")
    for place, unit in enumerate(units):
        row = canonical_json([unit.image_sha256, unit.attribution_id, fraction_text(unit.amount)])
        hashed.update(b"," + row if place else row)
    hashed.update(b"]")
    return hashed.hexdigest()


def amounts(units: Sequence[Unit]) -> NDArray[np.float64]:
    """Minor units, as numbers to compute with: float64 (n,)."""
    return np.array([float(unit.amount) for unit in units], np.float64)


def read_population(
    connection: DuckDBPyConnection, period: Period, *, currency: str | None = None
) -> Population:
    """Everything that earned something in the period. currency: may be left out where there is only one.

    Raises AuditError where there is no revenue, several currencies, or nothing that can be audited, and
    PolicyError where no policy was ever adopted.
    """
    earned = _lines(connection, period)
    chosen = _one_currency(earned, period, currency)
    lines = {line.revenue_id: line for line in earned if line.currency == chosen}
    work = _Work(connection)
    policies = {one.digest: one for one in adopted_policies(connection)}
    settled = settled_lines(connection, revenue_ids=sorted(lines))
    for settlement_id, ids in settled.items():
        policy = policies[_policy_of(connection, settlement_id)]
        work.add([lines[one] for one in ids], settled_images(connection, settlement_id, ids), policy)
    still_open = [line for line in open_lines(connection, period) if line.revenue_id in lines]
    for policy, own in _by_policy(connection, still_open, work):
        work.add_open(own, policy)
    if not any(work.amounts.values()):
        raise AuditError(
            f"Nothing that earned {chosen} in {period} can be audited: {_why_nothing(work)}",
            next_step="Answer its images, and see what is missing: fairbrush settle --dry-run",
        )
    units = tuple(Unit(*key, amount) for key, amount in sorted(work.amounts.items()))
    return Population(
        period, chosen, units, tuple(sorted(work.policies)), work.left_out, _erased(connection, units)
    )


def keep_population(connection: DuckDBPyConnection, plan_id: str, units: Sequence[Unit]) -> None:
    """Inside the caller's transaction."""
    rows = [(plan_id, unit.image_sha256, unit.attribution_id, fraction_text(unit.amount)) for unit in units]
    insert_rows(connection, "audit_population", rows)


def kept_units(connection: DuckDBPyConnection, plan_id: str) -> tuple[Unit, ...]:
    """What a plan drew from, in the order of its digest."""
    rows = connection.execute(
        "SELECT image_sha256, attribution_id, amount FROM audit_population WHERE plan_id = ?"
        " ORDER BY image_sha256, attribution_id",
        [plan_id],
    ).fetchall()
    return tuple(Unit(image, record, parse_fraction(amount)) for image, record, amount in rows)


class _Work:
    """Sums the parts of images over lines."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self.amounts: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        self.policies: set[str] = set()
        self.left_out = LeftOut()
        self._connection = connection

    def add(self, lines: Sequence[RevenueLine], images: Sequence[LineImage], policy: AdoptedPolicy) -> None:
        """Lines that can be settled. images: by line; each has a record."""
        by_id = {line.revenue_id: line for line in lines}
        in_question = _parts_in_question(self._connection, images)
        for revenue_id, group in groupby(images, key=attrgetter("revenue_id")):
            own = list(group)
            whole = sum(image.weight for image in own)
            a_weight = by_id[revenue_id].amount_minor * (1 - policy.terms.platform_fee) / whole
            for image in own:
                assert image.attribution_id is not None, "a line without a record is left out"
                part = in_question[image.attribution_id]
                self.amounts[image.image_sha256, image.attribution_id] += a_weight * image.weight * part
        if images:
            self.policies.add(policy.digest)

    def add_open(self, lines: Sequence[RevenueLine], policy: AdoptedPolicy) -> None:
        """Lines that nobody settled yet, as they would be."""
        found = choose_records(self._connection, lines, policy)
        by_line = {key: list(own) for key, own in groupby(found, key=attrgetter("revenue_id"))}
        ready = []
        for line in lines:
            own = by_line.get(line.revenue_id, [])
            missing = sum(image.attribution_id is None for image in own)
            if missing or not sum(image.weight for image in own):
                self.leave_out([line], images=missing)
            else:
                ready.append(line)
        images = [image for line in ready for image in by_line[line.revenue_id]]
        self.add(ready, images, policy)

    def leave_out(self, lines: Sequence[RevenueLine], *, images: int = 0) -> None:
        before = self.left_out
        self.left_out = LeftOut(
            before.lines + len(lines),
            before.amount_minor + sum(line.amount_minor for line in lines),
            before.images + images,
        )


def _lines(connection: DuckDBPyConnection, period: Period) -> list[RevenueLine]:
    rows = connection.execute(
        "SELECT revenue_id FROM revenue WHERE earned_to BETWEEN ? AND ?"
        f" AND revenue_id NOT IN ({CANCELLED_LINES})",
        [period.first, period.last],
    ).fetchall()
    return read_lines(connection, [revenue_id for (revenue_id,) in rows])


def _one_currency(lines: Sequence[RevenueLine], period: Period, asked: str | None) -> str:
    known = sorted({line.currency for line in lines})
    if not known:
        raise AuditError(
            f"There is no revenue in {period}.", next_step="See what there is: fairbrush revenue list"
        )
    if asked is None and len(known) > 1:
        raise AuditError(
            f"The revenue of {period} is in {len(known)} currencies: {', '.join(known)}.",
            next_step=f"An audit is of one of them: --currency {known[0]}",
        )
    chosen = known[0] if asked is None else asked.strip().upper()
    if chosen not in known:
        raise AuditError(
            f"There is no revenue in {chosen} in {period}.", next_step=f"There is some in {', '.join(known)}."
        )
    return chosen


def _by_policy(
    connection: DuckDBPyConnection, lines: Sequence[RevenueLine], work: _Work
) -> list[tuple[AdoptedPolicy, list[RevenueLine]]]:
    """The open lines by the policy of their day; those of a day without one are left out."""
    groups: dict[int, tuple[AdoptedPolicy, list[RevenueLine]]] = {}
    for line in sorted(lines, key=attrgetter("earned_to", "revenue_id")):
        try:
            policy = policy_on(connection, line.earned_to)
        except PolicyError:
            if not adopted_policies(connection):
                raise
            work.leave_out([line])
        else:
            groups.setdefault(policy.version, (policy, []))[1].append(line)
    return [groups[version] for version in sorted(groups)]


def _policy_of(connection: DuckDBPyConnection, settlement_id: str) -> str:
    [[digest]] = connection.execute(
        "SELECT policy_digest FROM settlement WHERE settlement_id = ?", [settlement_id]
    ).fetchall()
    return str(digest)


def _parts_in_question(connection: DuckDBPyConnection, images: Sequence[LineImage]) -> dict[str, Fraction]:
    """What of an image's worth each record gives creators; where it credits nobody, what is unattributed."""
    wanted = sorted({image.attribution_id for image in images if image.attribution_id is not None})
    rows = connection.execute(
        "SELECT attribution_id, unattributed_e12, CAST(coalesce(sum(share_e12), 0) AS BIGINT)"
        " FROM attribution LEFT JOIN attribution_share USING (attribution_id)"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[])) GROUP BY ALL",
        [wanted],
    ).fetchall()
    return {record: Fraction(credited or unattributed, E12) for record, unattributed, credited in rows}


def _erased(connection: DuckDBPyConnection, units: Sequence[Unit]) -> int:
    [[count]] = connection.execute(
        "SELECT count(DISTINCT attribution_id) FROM attribution_share"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[]))"
        " AND artist_id IN (SELECT artist_id FROM redaction_event)",
        [[unit.attribution_id for unit in units]],
    ).fetchall()
    return int(count)


def _why_nothing(work: _Work) -> str:
    if work.left_out.lines:
        return f"{work.left_out.lines} lines have no record under the policy of their day."
    return "the model gets all of it."
