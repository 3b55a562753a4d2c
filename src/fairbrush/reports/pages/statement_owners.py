"""Whose what a payee is owed for an artist entry is, where the entry was another creator's before.

Enters: an open database, a creator. Leaves: their part of every posting on such accounts. The one rule: it is
told from what was booked before, in its order, so that nothing that comes later changes it. What a settlement
or a claim brings is the creator's whom it names; what a reversal takes back is theirs whom the reversed
settlement named; a payout, a dispute or an erasure takes what each creator has there, and what comes back is
theirs again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from fairbrush.ledger.book import AccountKind, EntryKind
from fairbrush.ledger.disputes import Assigned, read_disputes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Parts = dict[str, int]  # creator_id -> minor units


@dataclass(frozen=True)
class Booked:
    """A posting, or a creator's part of one, on an account of an artist entry. ``holder``: the payee, or the
    dispute."""

    number: int
    kind: EntryKind
    reference: str
    booked_at: datetime
    account: AccountKind
    holder: str
    artist_id: str
    currency: str
    amount_minor: int


@dataclass(frozen=True)
class _Named:
    """Whom a settlement named for an artist; ``is_paid``: what it brought is in the payee's account."""

    payee_id: str
    creator_id: str
    is_paid: bool


@dataclass(frozen=True)
class _Known:
    """``named``: by (settlement_id, artist_id); ``reverses``: by reversal; ``numbers``: of settlements'
    entries; ``claims``: by reference; ``rulings``: by dispute; ``behind``: each artist now."""

    named: Mapping[tuple[str, str], Sequence[_Named]]
    reverses: Mapping[str, str]
    numbers: Mapping[str, int]
    claims: Mapping[str, str]
    rulings: Mapping[str, str]
    behind: Mapping[str, str]


def read_own(connection: DuckDBPyConnection, creator_id: str) -> list[Booked]:
    """A creator's part of what was booked on payees' accounts of artist entries, in order."""
    rulings = _rulings(connection)
    given = {artist_id for artist_id, owner in rulings.values() if owner == creator_id}
    rows = connection.execute(
        "SELECT artist_id FROM artist WHERE creator_id = $creator"
        " UNION SELECT artist_id FROM settlement_standing WHERE creator_id = $creator"
        " UNION SELECT artist_id FROM claim_event WHERE creator_id = $creator",
        {"creator": creator_id},
    ).fetchall()
    artist_ids = sorted(given.union(artist_id for (artist_id,) in rows))
    books = _Books(_known(connection, artist_ids, rulings))
    return [
        replace(one, amount_minor=parts[creator_id])
        for one, parts in books.divided(_read_booked(connection, artist_ids))
        if parts.get(creator_id)
    ]


def _rulings(connection: DuckDBPyConnection) -> dict[str, tuple[str, str]]:
    """dispute_id -> (artist_id, creator_id), where a dispute said whose an entry is."""
    return {
        one.dispute_id: (one.subject_id, one.resolution.ruling.creator_id)
        for one in read_disputes(connection)
        if one.resolution is not None
        and isinstance(one.resolution.ruling, Assigned)
        and one.resolution.ruling.creator_id is not None
    }


def _read_booked(connection: DuckDBPyConnection, artist_ids: Sequence[str]) -> list[Booked]:
    rows = connection.execute(
        "SELECT number, kind, reference, recorded_at, account, holder, subject, currency, amount_minor"
        " FROM posting JOIN entry ON number = entry_number"
        " WHERE account IN ('payable', 'disputed') AND list_contains(?::TEXT[], subject)"
        " ORDER BY number, subject, currency, account, holder",
        [artist_ids],
    ).fetchall()
    return [
        Booked(number, EntryKind(kind), reference, booked_at, AccountKind(account), *rest)
        for number, kind, reference, booked_at, account, *rest in rows
    ]


def _known(
    connection: DuckDBPyConnection, artist_ids: Sequence[str], rulings: Mapping[str, tuple[str, str]]
) -> _Known:
    named: dict[tuple[str, str], list[_Named]] = defaultdict(list)
    for settlement_id, artist_id, *told in connection.execute(
        "SELECT settlement_id, artist_id, payee_id, creator_id,"
        " bool_or(treatment = 'paid' AND dispute_id IS NULL) FROM settlement_standing"
        " WHERE list_contains(?::TEXT[], artist_id) GROUP BY ALL ORDER BY ALL",
        [artist_ids],
    ).fetchall():
        named[settlement_id, artist_id].append(_Named(*told))
    settlements = connection.execute(
        "SELECT settlement_id, reverses, entry.number FROM settlement"
        " JOIN entry ON reference = settlement_id AND entry.kind = settlement.kind"
    ).fetchall()
    of_artists = "WHERE list_contains(?::TEXT[], artist_id)"
    claims = connection.execute(
        f"SELECT sequence::TEXT, creator_id FROM claim_event {of_artists}", [artist_ids]
    ).fetchall()
    behind = connection.execute(
        f"SELECT artist_id, creator_id FROM artist {of_artists}", [artist_ids]
    ).fetchall()
    return _Known(
        named=named,
        reverses={one: reversed_id for one, reversed_id, _ in settlements if reversed_id is not None},
        numbers={one: number for one, _, number in settlements},
        claims=dict(claims),
        rulings={dispute_id: owner for dispute_id, (_, owner) in rulings.items()},
        behind=dict(behind),
    )


@dataclass
class _Books:
    """What each creator has, while entries are read in their order. ``balances``: by (payee, artist,
    currency); ``aside``: by dispute too; ``sent``: by (payout, artist); ``last``: who was named for (payee,
    artist) last; ``arrived``: what claims and disputes brought there, by entry."""

    known: _Known
    balances: dict[tuple[str, str, str], Parts] = field(default_factory=lambda: defaultdict(dict))
    aside: dict[tuple[str, str, str, str], Parts] = field(default_factory=lambda: defaultdict(dict))
    sent: dict[tuple[str, str], tuple[str, Parts]] = field(default_factory=dict)
    last: dict[tuple[str, str], str] = field(default_factory=dict)
    arrived: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def divided(self, booked: Iterable[Booked]) -> Iterator[tuple[Booked, Parts]]:
        """Each posting on a payee's account, and whose it is: parts that sum to it."""
        for _, group in groupby(booked, key=lambda one: (one.number, one.artist_id, one.currency)):
            postings = list(group)
            if postings[0].kind is EntryKind.SETTLEMENT:
                for named in self._named(postings[0].reference, postings[0].artist_id):
                    self.last[named.payee_id, postings[0].artist_id] = named.creator_id
            if postings[0].kind is EntryKind.PAYOUT_FAILED:
                self._set_aside_of_failed(postings)
            for one in postings:
                if one.account is AccountKind.PAYABLE:
                    parts = self._parts(one)
                    rest = one.amount_minor - sum(parts.values())
                    if rest:
                        _add(parts, {self._owner(one): rest})
                    _add(self.balances[one.holder, one.artist_id, one.currency], parts)
                    yield one, parts

    def _parts(self, one: Booked) -> Parts:
        """As far as it is told; what is left is of whoever was named last."""
        match one.kind:
            case EntryKind.SETTLEMENT:
                return self._of_named(one, one.reference)
            case EntryKind.REVERSAL:
                reversed_id = self.known.reverses[one.reference]
                return self._of_named(one, reversed_id) or self._of_arrived(one, reversed_id)
            case EntryKind.CLAIM:
                return self._arriving(one, self.known.claims[one.reference])
            case EntryKind.DISPUTE_RESOLVED:
                return self._decided(one)
            case EntryKind.PAYOUT_FAILED:
                return self.sent.pop((one.reference, one.artist_id), ("", {}))[1]
            case EntryKind.PAYOUT_PROPOSED | EntryKind.DISPUTE_OPENED | EntryKind.ERASURE:
                return self._leaving(one)
        return {}

    def _named(self, settlement_id: str, artist_id: str) -> Sequence[_Named]:
        return self.known.named.get((settlement_id, artist_id), ())

    def _owner(self, one: Booked) -> str:
        return self.last.get((one.holder, one.artist_id)) or self.known.behind[one.artist_id]

    def _of_named(self, one: Booked, settlement_id: str) -> Parts:
        for named in self._named(settlement_id, one.artist_id):
            if named.is_paid and named.payee_id == one.holder:
                return {named.creator_id: one.amount_minor}
        return {}

    def _of_arrived(self, one: Booked, settlement_id: str) -> Parts:
        """Of what was held when it was settled: whose it was when it came to the payee."""
        settled = self.known.numbers.get(settlement_id, 0)
        for number, creator_id in self.arrived[one.holder, one.artist_id]:
            if number > settled:
                return {creator_id: one.amount_minor}
        return {}

    def _arriving(self, one: Booked, creator_id: str) -> Parts:
        self.last[one.holder, one.artist_id] = creator_id
        self.arrived[one.holder, one.artist_id].append((one.number, creator_id))
        return {creator_id: one.amount_minor}

    def _decided(self, one: Booked) -> Parts:
        """What a dispute gives: by its ruling, else back to those from whom it was set aside."""
        ruled = self.known.rulings.get(one.reference)
        if ruled is not None:
            return self._arriving(one, ruled)
        self.arrived[one.holder, one.artist_id].append((one.number, self._owner(one)))
        aside = self.aside.pop((one.reference, one.holder, one.artist_id, one.currency), {})
        return _taken(aside, one.amount_minor)

    def _leaving(self, one: Booked) -> Parts:
        taken = _taken(self.balances[one.holder, one.artist_id, one.currency], -one.amount_minor)
        if one.kind is EntryKind.PAYOUT_PROPOSED:
            self.sent[one.reference, one.artist_id] = one.holder, dict(taken)
        if one.kind is EntryKind.DISPUTE_OPENED:
            _add(self.aside[one.reference, one.holder, one.artist_id, one.currency], taken)
        return {creator_id: -amount for creator_id, amount in taken.items()}

    def _set_aside_of_failed(self, postings: Sequence[Booked]) -> None:
        """What of a payout did not come back to its payee's account, for a dispute."""
        for one in postings:
            sent = self.sent.get((one.reference, one.artist_id))
            if one.account is AccountKind.DISPUTED and sent is not None:
                payee_id, parts = sent
                taken = _taken(parts, one.amount_minor)
                _add(self.aside[one.holder, payee_id, one.artist_id, one.currency], taken)
                _add(parts, {creator_id: -amount for creator_id, amount in taken.items()})


def _add(parts: Parts, more: Mapping[str, int]) -> None:
    for creator_id, amount in more.items():
        parts[creator_id] = parts.get(creator_id, 0) + amount


def _taken(parts: Mapping[str, int], amount: int) -> Parts:
    """What each gives of an amount: all they have where that is the amount, else who came first gives first.

    >>> _taken({"ann": 50, "bo": -20}, 30)
    {'ann': 50, 'bo': -20}
    >>> _taken({"ann": 50, "bo": 20}, 60)
    {'ann': 50, 'bo': 10}
    """
    if sum(parts.values()) == amount:
        return dict(parts)
    taken: Parts = {}
    for creator_id, held in parts.items():
        given = max(0, min(held, amount))
        if given:
            taken[creator_id] = given
            amount -= given
    return taken
