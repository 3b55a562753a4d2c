"""Where the money went, where it is, and who earned it, from settlements and the book.

Enters: an open store, and a period. Leaves: ``Flow``s, ``Ranking``s. The one rule: amounts are whole minor
units, nothing is summed over currencies, and every flow sums to the revenue that was settled, to the unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.choices import LineState
from fairbrush.ledger.moves import artist_of
from fairbrush.ledger.payouts import Proposal, propose
from fairbrush.ledger.period import Period
from fairbrush.ledger.revenue import line_totals
from fairbrush.ledger.settled import Purpose, purpose

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store

TOP = 10


@dataclass(frozen=True)
class Revenue:
    """What came in, in one currency and state by state: how many lines, and their sum in minor units."""

    currency: str
    lines: Mapping[LineState, int]
    amounts: Mapping[LineState, int]

    @property
    def received_minor(self) -> int:
        """Without what was cancelled."""
        return self.amounts[LineState.SETTLED] + self.amounts[LineState.OPEN]


class Place(StrEnum):
    """Where settled money is."""

    PAID = "paid"
    PROPOSED = "proposed"
    OWED = "owed"
    WITHHELD = "withheld"  # owed for an artist who opted out, or who is erased
    ESCROW = "escrow"
    DISPUTED = "disputed"
    UNATTRIBUTED = "unattributed"
    MODELS = "models"  # of developers without a payee
    PLATFORM = "platform"


@dataclass(frozen=True)
class Flow:
    """One currency: what settlements of a period were for, every purpose there; they sum to what these
    settlements gave out."""

    currency: str
    purposes: Mapping[Purpose, int]

    @property
    def settled_minor(self) -> int:
        return sum(self.purposes.values())


@dataclass(frozen=True)
class Standing:
    """One currency of the book now: where everything is that was ever settled. ``settled_minor``: what the
    account of revenue went down by; the places sum to it."""

    currency: str
    places: Mapping[Place, int]
    settled_minor: int


@dataclass(frozen=True)
class Earner:
    """A creator. ``name``: None once erased. ``share_e12``: the sum of their shares in look-ups;
    ``earned_minor``: settled for them, ``escrow_minor``: what of it was to wait for a claim or a consent,
    ``disputed_minor``: for a decision."""

    creator_id: str
    name: str | None
    lookups: int = 0
    share_e12: int = 0
    earned_minor: int = 0
    escrow_minor: int = 0
    disputed_minor: int = 0


@dataclass(frozen=True)
class Ranking:
    """Who got most: in a currency, or (None) by shares of look-ups. ``first``: the largest; ``parts``: the
    part of all of each, in their order; ``half``: how many creators get half of it together."""

    currency: str | None
    first: tuple[Earner, ...]
    parts: tuple[float, ...]
    creators: int
    others: int
    half: int

    @property
    def first_part(self) -> float:
        """Of all that creators get, the part of these first ones."""
        return min(sum(self.parts), 1.0)

    @property
    def others_part(self) -> float:
        return 1.0 - self.first_part


def read_revenue(connection: DuckDBPyConnection, period: Period | None) -> list[Revenue]:
    """By the last day each line was earned on; by currency, most lines first."""
    lines: dict[str, dict[LineState, int]] = defaultdict(lambda: dict.fromkeys(LineState, 0))
    amounts: dict[str, dict[LineState, int]] = defaultdict(lambda: dict.fromkeys(LineState, 0))
    for total in line_totals(connection, period=period):
        lines[total.currency][total.state] = total.lines
        amounts[total.currency][total.state] = total.amount_minor
    ordered = sorted(lines, key=lambda currency: (-sum(lines[currency].values()), currency))
    return [Revenue(currency, lines[currency], amounts[currency]) for currency in ordered]


def read_flows(connection: DuckDBPyConnection, period: Period | None) -> dict[str, Flow]:
    """By currency, of settlements and reversals whose period ends in this one."""
    sums: dict[str, dict[Purpose, int]] = defaultdict(lambda: dict.fromkeys(Purpose, 0))
    for (account, currency), amount in _settled_parts(connection, period).items():
        sums[currency][purpose(account)] += amount
    return {currency: Flow(currency, purposes) for currency, purposes in sorted(sums.items())}


def read_standings(store: Store, *, now: datetime) -> tuple[dict[str, Standing], Proposal]:
    """Where all settled money is now, by currency; and what a payout would propose."""
    proposal = propose(store, now=now, dry_run=True)
    places: dict[str, dict[Place, int]] = defaultdict(lambda: dict.fromkeys(Place, 0))
    settled: dict[str, int] = defaultdict(int)
    for (account, currency), amount in balances(store.connection).items():
        if account.kind is AccountKind.REVENUE:
            settled[currency] -= amount
        else:
            places[currency][_place(account)] += amount
    for held in proposal.held:
        places[held.currency][Place.WITHHELD] += held.amount_minor
        places[held.currency][Place.OWED] -= held.amount_minor
    found = {
        currency: Standing(currency, places[currency], settled[currency])
        for currency in sorted(places.keys() | settled.keys())
    }
    return found, proposal


def read_rankings(connection: DuckDBPyConnection, period: Period | None) -> list[Ranking]:
    """By earned money, a currency each, most money lines first; by shares where nothing was settled."""
    creators = {
        artist_id: (creator_id, name)
        for artist_id, creator_id, name in connection.execute(
            "SELECT artist_id, creator_id, creator.name FROM artist LEFT JOIN creator USING (creator_id)"
        ).fetchall()
    }
    names = dict(creators.values())
    shared = _shares(connection, period)
    earned: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for (account, currency), amount in _settled_parts(connection, period).items():
        artist_id = artist_of(account)
        if artist_id:
            creator_id, _ = creators.get(artist_id, (artist_id, None))
            earned[currency][creator_id][0] += amount
            earned[currency][creator_id][1] += amount if account.kind is AccountKind.ESCROW else 0
            # a correction takes back where the money is by then, which may be where a dispute left it
            earned[currency][creator_id][2] += amount if account.kind is AccountKind.DISPUTED else 0
    rankings = []
    for currency, sums in sorted(earned.items()):
        earners = [
            Earner(one, names.get(one), *shared.get(one, (0, 0)), *amounts)
            for one, amounts in sums.items()
            if amounts[0] > 0
        ]
        if earners:
            rankings.append(_ranking(currency, earners, [one.earned_minor for one in earners]))
    if rankings:
        return rankings
    earners = [Earner(one, names.get(one), *sums) for one, sums in shared.items() if sums[1]]
    return [_ranking(None, earners, [one.share_e12 for one in earners])] if earners else []


def _ranking(currency: str | None, earners: Sequence[Earner], amounts: Sequence[int]) -> Ranking:
    ordered = sorted(zip(amounts, earners, strict=True), key=lambda pair: (-pair[0], pair[1].creator_id))
    whole = sum(amounts)
    sum_, half = 0, 0
    while 2 * sum_ < whole:
        sum_ += ordered[half][0]
        half += 1
    first = ordered[:TOP]
    return Ranking(
        currency,
        tuple(earner for _, earner in first),
        tuple(amount / whole for amount, _ in first),
        len(ordered),
        len(ordered) - len(first),
        half,
    )


def _settled_parts(connection: DuckDBPyConnection, period: Period | None) -> dict[tuple[Account, str], int]:
    first, last = (None, None) if period is None else (period.first, period.last)
    rows = connection.execute(
        "SELECT account, holder, subject, currency, sum(amount_minor)"
        " FROM settlement_part JOIN settlement USING (settlement_id)"
        " WHERE $1::DATE IS NULL OR period_to BETWEEN $1 AND $2 GROUP BY ALL ORDER BY ALL",
        [first, last],
    ).fetchall()
    return {
        (Account(AccountKind(kind), holder, subject), currency): int(amount)
        for kind, holder, subject, currency, amount in rows
    }


def _shares(connection: DuckDBPyConnection, period: Period | None) -> dict[str, tuple[int, int]]:
    """By creator: how many look-ups give them something, and the sum of it in 10^-12."""
    first, last = (None, None) if period is None else (period.first, period.last)
    rows = connection.execute(
        "SELECT coalesce(artist.creator_id, share.creator_id), count(DISTINCT attribution_id), sum(share_e12)"
        " FROM attribution_share share JOIN attribution USING (attribution_id)"
        " LEFT JOIN artist USING (artist_id) WHERE share_e12 > 0 AND ($1::DATE IS NULL"
        " OR recorded_at >= $1::DATE AND recorded_at < $2::TIMESTAMP + INTERVAL 1 DAY) GROUP BY 1",
        [first, last],
    ).fetchall()
    return {creator_id: (lookups, int(share)) for creator_id, lookups, share in rows}


def _place(account: Account) -> Place:
    """Of an account that is not revenue's."""
    match account.kind:
        case AccountKind.BANK:
            return Place.PAID
        case AccountKind.TRANSIT:
            return Place.PROPOSED
        case AccountKind.PAYABLE:
            return Place.OWED
        case AccountKind.DISPUTED:
            return Place.DISPUTED
        case AccountKind.MODEL:
            return Place.MODELS
        case AccountKind.PLATFORM:
            return Place.PLATFORM
        case AccountKind.ESCROW if account.holder:
            return Place.ESCROW
        case _:
            return Place.UNATTRIBUTED
