"""A creator's part of the book by currency: what was kept for them, what moved, what is kept now.

Enters: what was booked for a creator, a period. Leaves: a ``Sheet`` a currency. The one rule: everything
belongs to the day on which it was booked, so that one period's end is the next one's beginning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.period import Period
from fairbrush.reports.pages.statement_moved import Moved, Place


@dataclass(frozen=True)
class Movement:
    """What entries of one kind did to each place, in minor units."""

    kind: EntryKind
    amounts: Mapping[Place, int]

    @property
    def total(self) -> int:
        return sum(self.amounts.values())


@dataclass(frozen=True)
class Sheet:
    """One currency: what was kept before a period, what moved in it, what is kept after it."""

    currency: str
    opening: Mapping[Place, int]
    movements: tuple[Movement, ...]
    closing: Mapping[Place, int]

    def moved(self, *kinds: EntryKind) -> int:
        """How the balance changed by entries of these kinds."""
        return sum(movement.total for movement in self.movements if movement.kind in kinds)

    @property
    def earned(self) -> int:
        return self.moved(EntryKind.SETTLEMENT)

    @property
    def taken_back(self) -> int:
        return self.moved(EntryKind.REVERSAL)

    @property
    def paid(self) -> int:
        """What left for the payee's bank; 0 or more, but for a debt that was set off."""
        return -self.moved(EntryKind.PAYOUT_CONFIRMED)

    @property
    def otherwise(self) -> int:
        """What claims, disputes and erasures brought or took."""
        return self.closing_total - self.opening_total - self.earned - self.taken_back + self.paid

    @property
    def opening_total(self) -> int:
        return sum(self.opening.values())

    @property
    def closing_total(self) -> int:
        return sum(self.closing.values())


def sheets(moved: Iterable[Moved], period: Period) -> tuple[Sheet, ...]:
    """By currency; those in which nothing was kept and nothing moved are left out."""
    opening: dict[str, dict[Place, int]] = defaultdict(lambda: dict.fromkeys(Place, 0))
    within: dict[str, dict[EntryKind, dict[Place, int]]] = defaultdict(dict)
    for one in moved:
        day = one.booked_at.date()
        if day < period.first:
            opening[one.currency][one.place] += one.amount_minor
        elif day <= period.last:
            amounts = within[one.currency].setdefault(one.kind, dict.fromkeys(Place, 0))
            amounts[one.place] += one.amount_minor
    found = []
    for currency in sorted(
        {currency for currency, held in opening.items() if any(held.values())} | {*within}
    ):
        before = opening[currency]
        order = [kind for kind in EntryKind if kind in within[currency]]
        movements = tuple(Movement(kind, within[currency][kind]) for kind in order)
        after = {place: before[place] + sum(one.amounts[place] for one in movements) for place in Place}
        found.append(Sheet(currency, before, movements, after))
    return tuple(found)


def closing_accounts(moved: Iterable[Moved], period: Period) -> dict[tuple[Place, str, str, str], int]:
    """(place, holder, artist_id, currency) -> minor units at the end of a period, without what is nought."""
    sums: dict[tuple[Place, str, str, str], int] = defaultdict(int)
    for one in moved:
        if one.booked_at.date() <= period.last:
            sums[one.place, one.holder, one.artist_id, one.currency] += one.amount_minor
    return {key: amount for key, amount in sorted(sums.items()) if amount}
