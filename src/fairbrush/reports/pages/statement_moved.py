"""All that was ever booked for a creator, each amount as it was theirs when it was booked.

Enters: an open database, a creator. Leaves: a ``Moved`` for each posting, or part of one, that is theirs. The
one rule: what a settlement brought is the creator's whom it named, whoever earns on the same account later;
what leaves an account is taken from those whose it is. So every amount is one creator's or nobody's.

``statement_owners`` tells apart what one payee is owed for several creators of one artist entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.ledger.book import EntryKind
from fairbrush.reports.pages.statement_owners import Booked, read_own

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
    """What of one posting is a creator's. ``holder``: the payee, the artist, the dispute or the payout;
    ``artist_id``: empty once nobody is named. Times are UTC."""

    number: int
    kind: EntryKind
    reference: str
    booked_at: datetime
    place: Place
    holder: str
    artist_id: str
    currency: str
    amount_minor: int


# What is held for an artist entry is of whoever is behind it now; what was left by erased artists, of whom
# the payee was paid for, or of nobody where it was paid for several.
_HELD = """
    WITH earned AS (
        SELECT payee_id, creator_id FROM settlement_standing WHERE treatment = 'paid' AND dispute_id IS NULL
        UNION SELECT payee_id, creator_id FROM claim_event),
    alone AS (
        SELECT payee_id FROM earned GROUP BY payee_id
        HAVING count(DISTINCT creator_id) = 1 AND any_value(creator_id) = $creator),
    entries AS (SELECT artist_id FROM artist WHERE creator_id = $creator)
    SELECT number, kind, reference, recorded_at, account, holder,
        CASE account WHEN 'escrow' THEN holder ELSE subject END, currency, amount_minor
    FROM posting JOIN entry ON number = entry_number
    WHERE CASE account
        WHEN 'escrow' THEN holder IN (FROM entries)
        WHEN 'disputed' THEN subject IN (FROM entries)
        WHEN 'payable' THEN subject = '' AND holder IN (FROM alone)
        ELSE false END
"""

_PAYOUTS = """
    SELECT number, kind, reference, recorded_at FROM entry
    WHERE kind IN ('payout_proposed', 'payout_confirmed', 'payout_failed')
        AND list_contains($payouts::TEXT[], reference)
"""


def read_moved(connection: DuckDBPyConnection, creator_id: str) -> list[Moved]:
    """In order."""
    held = [
        Moved(number, EntryKind(kind), reference, booked_at, Place(account), *rest)
        for number, kind, reference, booked_at, account, *rest in connection.execute(
            _HELD, {"creator": creator_id}
        ).fetchall()
    ]
    moved = [*held, *map(_payable, read_own(connection, creator_id))]
    moved += _on_the_way(connection, moved)
    return sorted(moved, key=lambda one: (one.number, one.place, one.holder, one.artist_id, one.currency))


def _payable(own: Booked) -> Moved:
    return Moved(
        own.number,
        own.kind,
        own.reference,
        own.booked_at,
        Place.PAYABLE,
        own.holder,
        own.artist_id,
        own.currency,
        own.amount_minor,
    )


def _on_the_way(connection: DuckDBPyConnection, moved: Sequence[Moved]) -> list[Moved]:
    """What a payout moves, by the accounts that it took it from."""
    parts: dict[str, list[Moved]] = defaultdict(list)
    for one in moved:
        if one.kind is EntryKind.PAYOUT_PROPOSED:
            parts[one.reference].append(one)
    rows = connection.execute(_PAYOUTS, {"payouts": sorted(parts)}).fetchall()
    found = []
    for number, name, payout_id, booked_at in rows:
        kind = EntryKind(name)
        sign = -1 if kind is EntryKind.PAYOUT_PROPOSED else 1
        found += [
            Moved(
                number,
                kind,
                payout_id,
                booked_at,
                Place.TRANSIT,
                payout_id,
                part.artist_id,
                part.currency,
                sign * part.amount_minor,
            )
            for part in parts[payout_id]
        ]
    return found
