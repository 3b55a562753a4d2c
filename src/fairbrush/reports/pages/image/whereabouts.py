"""Where the parts of a settled line are: paid out, owed, held, or moved on since.

Enters: the book, and each division of a line, from the first to the one that stands. Leaves: a place for
each part, and what was paid out too much. The one rule: what was paid before a division was taken back was
paid; it counts for the next division, until a payout has set it off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from fairbrush.domain import Consent
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.moves import Move, artist_of, read_moves
from fairbrush.ledger.payouts import list_payouts
from fairbrush.reports.pages.image.earned import MoneyPart, Place, Step
from fairbrush.reports.pages.image.people import Person

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Credited:
    """A part of a line as it was settled, and the account that was credited."""

    step: Step
    exact_minor: Fraction
    artist: Person | None
    account: Account


@dataclass(frozen=True)
class Division:
    """A settlement of a line: the number of its entry in the book, and of the one that took it back."""

    entry: int
    taken_back: int | None
    parts: tuple[Credited, ...]


@dataclass(frozen=True)
class _Stay:
    """Where a part got to. ``since``: the entry that brought it there, or paid it; ``left``: how it left."""

    account: Account
    since: int
    left: Place | None


class Whereabouts:
    """Where money is that a settlement credited: moved on since, or paid out."""

    def __init__(self, connection: DuckDBPyConnection, people: Mapping[str, Person]) -> None:
        self._connection = connection
        self._people = people

    def divisions(self, revenue_id: str) -> list[tuple[str, int, int | None]]:
        """Of a line, in order: the settlement, its entry, and the entry that took it back."""
        rows = self._connection.execute(
            """
            SELECT settlement_id, entry.number, (
                SELECT min(taken.number)
                FROM settlement_line back JOIN settlement reversal USING (settlement_id)
                JOIN entry taken ON taken.reference = reversal.settlement_id AND taken.kind = 'reversal'
                WHERE back.revenue_id = $1 AND reversal.reverses = settled.settlement_id)
            FROM (SELECT DISTINCT settlement_id FROM settlement_line WHERE revenue_id = $1) line
            JOIN settlement settled USING (settlement_id)
            JOIN entry ON entry.reference = settlement_id AND entry.kind = 'settlement'
            WHERE settled.kind = 'settlement' ORDER BY entry.number
            """,
            [revenue_id],
        ).fetchall()
        return [(settlement_id, entry, taken_back) for settlement_id, entry, taken_back in rows]

    def place(self, divisions: Sequence[Division], currency: str) -> tuple[list[MoneyPart], Fraction]:
        """The parts of the last of a line's divisions; and what was paid by those before it, is no part of
        it, and has not been set off."""
        ahead: dict[tuple[Account, Place], Fraction] = {}
        found: list[MoneyPart] = []
        spare: dict[tuple[Account, Place], Fraction] = {}
        for one in divisions:
            until = one.taken_back
            ahead = {
                key: amount
                for key, amount in ahead.items()
                if not self._left(key[0], currency, after=one.entry, until=until)
            }
            spare, found, paid = dict(ahead), [], []
            for part in one.parts:
                stay = self._stay(part.account, currency, one.entry, until)
                if stay.left is not None:
                    paid.append((stay, part.exact_minor))
                    found.append(MoneyPart(part.step, part.exact_minor, part.artist, stay.left))
                else:
                    found += self._unpaid(part, stay.account, spare)
            for stay, amount in paid:
                assert stay.left is not None
                key = stay.account, stay.left
                ahead[key] = ahead.get(key, Fraction(0)) + amount
            if until is not None:
                ahead = self._moved_on(ahead, currency, one.entry, until)
        return found, sum(spare.values(), Fraction(0))

    def _unpaid(
        self, part: Credited, account: Account, spare: dict[tuple[Account, Place], Fraction]
    ) -> list[MoneyPart]:
        """A part that no payout has taken: paid by a division before, as far as that goes."""
        rest, found = part.exact_minor, []
        for key in [key for key in spare if key[0] == account]:
            covered = min(rest, spare[key])
            spare[key] -= covered
            rest -= covered
            found.append(MoneyPart(part.step, covered, part.artist, key[1]))
        found.append(MoneyPart(part.step, rest, part.artist, rests(account, self._people)))
        return [one for one in found if one.exact_minor]

    def _moved_on(
        self, ahead: Mapping[tuple[Account, Place], Fraction], currency: str, entry: int, until: int
    ) -> dict[tuple[Account, Place], Fraction]:
        """Under whose account a reversal looks for what was paid."""
        found: dict[tuple[Account, Place], Fraction] = {}
        for (account, place), amount in ahead.items():
            for move in self._moves_of(currency, entry, until):
                if account not in move.limits:
                    account = move.target(account)
            found[account, place] = found.get((account, place), Fraction(0)) + amount
        return found

    def _stay(self, account: Account, currency: str, entry: int, until: int | None) -> _Stay:
        """What an account held left it with the next payout, or was moved on before that."""
        since = entry
        for move in self._moves_of(currency, entry, until):
            target = move.target(account)
            if target == account:
                continue
            if left := self._left(account, currency, after=since, until=move.number):
                return _Stay(account, since, left)
            account, since = target, move.number
        return _Stay(account, since, self._left(account, currency, after=since, until=until))

    def _left(self, account: Account, currency: str, *, after: int, until: int | None) -> Place | None:
        """A payout takes all that a payable account holds, so the first that did not fail took this."""
        for number, status in self._departures.get((account, currency), ()):
            if number > after and (until is None or number < until) and status is not PayoutStatus.FAILED:
                return Place.PAID if status is PayoutStatus.CONFIRMED else Place.ON_ITS_WAY
        return None

    def _moves_of(self, currency: str, after: int, until: int | None) -> list[Move]:
        return [
            move
            for move in self._moves
            if move.currency == currency and move.number > after and (until is None or move.number < until)
        ]

    @cached_property
    def _moves(self) -> list[Move]:
        ((last,),) = self._connection.execute("SELECT max(number) FROM entry").fetchall()
        return read_moves(self._connection, after=0, until=last or 0)

    @cached_property
    def _departures(self) -> dict[tuple[Account, str], list[tuple[int, PayoutStatus]]]:
        """The payouts of each payable account and currency, by their entries."""
        status = {payout.payout_id: payout.status for payout in list_payouts(self._connection)}
        found: dict[tuple[Account, str], list[tuple[int, PayoutStatus]]] = defaultdict(list)
        for payout_id, number, holder, subject, currency in self._connection.execute(
            "SELECT reference, number, holder, subject, currency FROM entry JOIN posting"
            " ON entry_number = number WHERE kind = ? AND account = ? ORDER BY number",
            [str(EntryKind.PAYOUT_PROPOSED), str(AccountKind.PAYABLE)],
        ).fetchall():
            account = Account(AccountKind.PAYABLE, holder, subject)
            found[account, currency].append((number, status[payout_id]))
        return found


def rests(account: Account, people: Mapping[str, Person]) -> Place:
    """Where what an account holds is, as long as no payout takes it."""
    artist = people.get(artist_of(account))
    match account.kind:
        case AccountKind.PLATFORM:
            return Place.PLATFORM
        case AccountKind.FUND:
            return Place.FUND
        case AccountKind.DISPUTED:
            return Place.DISPUTED
        case AccountKind.PAYABLE if artist is None or artist.consent is Consent.OPTED_IN:
            return Place.OWED
        case AccountKind.PAYABLE | AccountKind.ESCROW if artist and artist.consent is Consent.OPTED_OUT:
            return Place.OPTED_OUT  # no payout takes what is owed to them
        case AccountKind.ESCROW if artist and artist.consent is Consent.UNCLAIMED:
            return Place.UNCLAIMED
        case AccountKind.PAYABLE if artist and artist.consent is not Consent.ERASED:
            return Place.OWED
        case _:
            return Place.HELD
