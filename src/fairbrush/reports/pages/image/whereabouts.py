"""Where the parts of a settled line are: paid out, owed, held, or moved on since.

Enters: the book, and each division of a line, from the first to the last. Leaves: a place for each part of
the one that stands, and what was paid out too much. The one rule: what was paid before a division was taken
back was paid; it counts for the next division, and the rest is owed back until a payout has set it off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING

from fairbrush.domain import Consent
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.moves import MODEL_SUBJECT, Move, artist_of, read_moves
from fairbrush.ledger.payouts import list_payouts
from fairbrush.reports.pages.image.earned import MoneyPart, Place, Returning, Step
from fairbrush.reports.pages.image.people import Person

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


Debts = dict[tuple[Account, Place], Fraction]  # by how it left


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

    def place(self, divisions: Sequence[Division], currency: str) -> tuple[list[MoneyPart], list[Returning]]:
        """The parts of the last of a line's divisions, none where it was taken back; and what was paid by
        divisions that were taken back, and is no part of that one."""
        debts: Debts = {}
        back: dict[Account, Fraction] = defaultdict(Fraction)
        since = 0
        for one in divisions:
            debts = self._set_off(debts, back, currency, since, one.entry)
            came: dict[Account, Fraction] = defaultdict(Fraction)
            debts = self._set_off(debts, came, currency, one.entry, one.taken_back)
            spare, found, paid = dict(debts), [], []
            for part in one.parts:
                stay = self._stay(part.account, currency, one.entry, one.taken_back)
                if stay.left is None:
                    found += self._unpaid(part, stay.account, spare)
                    continue
                found.append(MoneyPart(part.step, part.exact_minor, part.artist, stay.left))
                paid.append((stay.account, stay.left, part.exact_minor))
                # the payout was smaller by what had been paid before: that counts for this part
                came[stay.account] -= min(came[stay.account], part.exact_minor)
            for account, amount in came.items():
                back[account] += amount
            if one.taken_back is None:
                return found, self._returning(spare, back)
            for account, left, amount in paid:
                key = self._moved_on(account, currency, one.entry, one.taken_back), left
                debts[key] = debts.get(key, Fraction(0)) + amount
            since = one.taken_back
        debts = self._set_off(debts, back, currency, since, None)
        return [], self._returning(debts, back)

    def _returning(self, owed: Debts, back: Mapping[Account, Fraction]) -> list[Returning]:
        sums: dict[Account, Fraction] = defaultdict(Fraction)
        for (account, _), amount in owed.items():
            sums[account] += amount
        return [
            Returning(step_of(one), self._people.get(artist_of(one)), sums[one], back.get(one, Fraction(0)))
            for one in dict.fromkeys((*sums, *back))
            if sums[one] or back.get(one)
        ]

    def _set_off(
        self, debts: Debts, back: dict[Account, Fraction], currency: str, after: int, until: int | None
    ) -> Debts:
        """What is still owed back after some entries, and by whom. ``back``: gets what a payout set off."""
        kept: Debts = {}
        for (account, place), amount in debts.items():
            holder, is_set_off = self._debt(account, currency, after, until)
            if is_set_off:
                back[holder] += amount
            else:
                kept[holder, place] = kept.get((holder, place), Fraction(0)) + amount
        return kept

    def _debt(self, account: Account, currency: str, after: int, until: int | None) -> tuple[Account, bool]:
        """Whose debt it is after some entries, and whether a payout has set it off by then."""
        for move in self._moves_of(currency, after, until):
            target = account if account in move.limits else move.target(account)
            if target == account:
                continue
            if self._left(account, currency, after=after, until=move.number):
                return account, True
            account, after = target, move.number
        return account, self._left(account, currency, after=after, until=until) is not None

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

    def _moved_on(self, account: Account, currency: str, after: int, until: int) -> Account:
        """Whose debt it was from the reversal ``until`` on what had been paid."""
        for move in self._moves_of(currency, after, until):
            if account not in move.limits:
                account = move.target(account)
        person = self._people.get(artist_of(account))
        if person is None or person.consent is not Consent.ERASED:
            return account
        taken = self._connection.execute(
            "SELECT DISTINCT subject FROM posting"
            " WHERE entry_number = ? AND account = 'payable' AND holder = ?",
            [until, account.holder],
        ).fetchall()
        was_erased = ("",) in taken and (account.subject,) not in taken
        return Account(AccountKind.PAYABLE, account.holder) if was_erased else account

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
        moves = [*read_moves(self._connection, after=0, until=last or 0), *self._made_nameless()]
        return sorted(moves, key=attrgetter("number"))

    def _made_nameless(self) -> list[Move]:
        """Payouts that failed after their artist was erased: the money came back under nobody's name."""
        rows = self._connection.execute(
            """
            SELECT failed.number, failed.reference, currency, holder, subject
            FROM entry AS proposed JOIN posting ON entry_number = proposed.number
            JOIN entry AS failed ON failed.reference = proposed.reference AND failed.kind = 'payout_failed'
            WHERE proposed.kind = 'payout_proposed' AND account = 'payable' AND subject <> ''
                AND subject NOT IN (
                    SELECT subject FROM posting AS back WHERE back.entry_number = failed.number)
            """
        ).fetchall()
        return [
            Move(
                number,
                EntryKind.ERASURE,
                reference,
                currency,
                (Account(AccountKind.PAYABLE, holder, subject), Account(AccountKind.PAYABLE, holder)),
            )
            for number, reference, currency, holder, subject in rows
        ]

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


def step_of(account: Account) -> Step:
    """What an account is credited for, but for what is nobody's and somebody's by the rules."""
    match account.kind:
        case AccountKind.PLATFORM:
            return Step.FEE
        case AccountKind.MODEL:
            return Step.MODEL
        case AccountKind.PAYABLE if account.subject.startswith(MODEL_SUBJECT):
            return Step.MODEL
        case AccountKind.DISPUTED if not account.subject:
            return Step.UNATTRIBUTED
        case _:
            return Step.ARTIST
