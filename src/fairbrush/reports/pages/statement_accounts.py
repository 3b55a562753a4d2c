"""A creator's part of the book: what was kept for them, what moved, what is kept now.

Enters: an open database, a creator, a period. Leaves: a ``Sheet`` a currency. The one rule: an account is one
creator's or nobody's, so that all creators' sheets and what is nobody's are the whole book; and everything
belongs to the day on which it was booked, so that one period's end is the next one's beginning.

A payee may be paid for several creators: its account of an artist is the creator's who earned by that artist
through it last. What a payout moves is told apart again by the accounts that it took it from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.period import Period

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Place(StrEnum):
    """Where a creator's money lies: kinds of accounts of the book."""

    PAYABLE = "payable"
    ESCROW = "escrow"
    DISPUTED = "disputed"
    TRANSIT = "transit"


@dataclass(frozen=True)
class Moved:
    """One posting on an account of a creator, or the creator's part of one in transit. ``holder``: the payee,
    the artist, the dispute or the payout; ``artist_id``: empty once nobody is named. Times are UTC."""

    number: int
    kind: EntryKind
    reference: str
    booked_at: datetime
    place: Place
    holder: str
    artist_id: str
    currency: str
    amount_minor: int


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


# Whose each account is. An account of nobody (creator_id NULL) is a model's, or was left by erased artists of
# several creators whom one payee serves.
_OWNED = """
    earned AS (
        SELECT artist_id, payee_id, creator_id, recorded_at
        FROM settlement_standing JOIN settlement USING (settlement_id)
        WHERE treatment = 'paid' AND dispute_id IS NULL
        UNION ALL SELECT artist_id, payee_id, creator_id, recorded_at FROM claim_event),
    through AS (
        SELECT artist_id, payee_id, arg_max(creator_id, row(recorded_at, creator_id)) AS creator_id
        FROM earned GROUP BY artist_id, payee_id),
    alone AS (
        SELECT payee_id, any_value(creator_id) AS creator_id FROM through
        GROUP BY payee_id HAVING count(DISTINCT creator_id) = 1),
    account AS (
        SELECT DISTINCT account, holder, subject,
            CASE account WHEN 'escrow' THEN holder ELSE subject END AS artist_id
        FROM posting WHERE account IN ('payable', 'escrow', 'disputed')),
    owned AS (
        SELECT account, holder, subject, account.artist_id,
            CASE WHEN account <> 'payable' THEN artist.creator_id
                WHEN subject = '' THEN alone.creator_id
                ELSE coalesce(through.creator_id, artist.creator_id) END AS creator_id
        FROM account
        LEFT JOIN artist ON artist.artist_id = account.artist_id
        LEFT JOIN through ON through.artist_id = account.artist_id AND through.payee_id = holder
        LEFT JOIN alone ON alone.payee_id = holder)
"""

_MOVED = f"""
    WITH {_OWNED},
    own AS (
        SELECT number, kind, reference, recorded_at, account, holder, artist_id, currency, amount_minor
        FROM posting JOIN entry ON number = entry_number JOIN owned USING (account, holder, subject)
        WHERE creator_id = $creator)
    SELECT * FROM own
    UNION ALL
    SELECT entry.number, entry.kind, entry.reference, entry.recorded_at, 'transit', entry.reference,
        artist_id, currency, CASE entry.kind WHEN 'payout_proposed' THEN -amount_minor ELSE amount_minor END
    FROM entry JOIN own AS part ON part.reference = entry.reference
    WHERE part.kind = 'payout_proposed'
        AND entry.kind IN ('payout_proposed', 'payout_confirmed', 'payout_failed')
    ORDER BY ALL
"""


def read_moved(connection: DuckDBPyConnection, creator_id: str) -> list[Moved]:
    """All that was ever booked on a creator's accounts, in order."""
    rows = connection.execute(_MOVED, {"creator": creator_id}).fetchall()
    return [
        Moved(number, EntryKind(kind), reference, booked_at, Place(account), holder, artist_id, *money)
        for number, kind, reference, booked_at, account, holder, artist_id, *money in rows
    ]


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
