"""Where settled money is now: claims, models' payees, erasures and disputes move all an account holds.

Enters: the book, an account, and since when. Leaves: the accounts that its money moved on to. The one rule:
only those entries are followed, and no further than what they moved; what was paid out stays with whom it was
paid to, who may then owe it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.ledger.book import Account, AccountKind, EntryKind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MODEL_SUBJECT = "model:"  # begins the subject of a payable account of a model's developer

_SOURCES = {
    EntryKind.CLAIM: {AccountKind.ESCROW},
    EntryKind.MODEL_ASSIGNED: {AccountKind.MODEL},
    EntryKind.ERASURE: {AccountKind.ESCROW, AccountKind.DISPUTED, AccountKind.PAYABLE},
    EntryKind.DISPUTE_OPENED: {AccountKind.ESCROW, AccountKind.PAYABLE},
    EntryKind.DISPUTE_RESOLVED: {AccountKind.DISPUTED},
    EntryKind.PAYOUT_FAILED: {AccountKind.PAYABLE},  # what came back into a dispute
}

Passed = dict[tuple[int, str, Account], Fraction]  # by entry, currency and source


@dataclass(frozen=True)
class Move:
    """An entry that moved accounts' money on: ``accounts`` are both ends, in one currency. ``limits``: what
    it moved from accounts that something may have been paid from before, and no more than that."""

    number: int
    kind: EntryKind
    reference: str
    currency: str
    accounts: tuple[Account, ...]
    limits: Mapping[Account, int] = field(default_factory=dict)

    def target(self, source: Account) -> Account:
        """Where what ``source`` held went; ``source`` itself where the entry did not move it."""
        if source not in self.accounts or not self._leaves(source):
            return source
        artist_id = artist_of(source)
        others = [account for account in self.accounts if account != source and not self._leaves(account)]
        of_artist = [account for account in others if artist_id and artist_of(account) == artist_id]
        pseudonyms = [a for a in others if a.kind is AccountKind.PAYABLE and a.subject == ""]
        same_payee = [
            account
            for account in pseudonyms
            if source.kind is AccountKind.PAYABLE and account.holder == source.holder
        ]
        of_nobody = [a for a in others if not artist_of(a) and a not in pseudonyms]
        found = of_artist or same_payee or of_nobody
        return found[0] if found else source

    def _leaves(self, account: Account) -> bool:
        """Whether an account of this entry is one that was emptied, by what kind it is."""
        if account.kind not in _SOURCES[self.kind]:
            return False
        if self.kind is EntryKind.DISPUTE_RESOLVED:
            return account.holder == self.reference
        if self.kind is EntryKind.MODEL_ASSIGNED:
            return True
        return artist_of(account) != ""


def artist_of(account: Account) -> str:
    """The artist whose earnings an account holds; empty for none."""
    match account.kind:
        case AccountKind.PAYABLE:
            return "" if account.subject.startswith(MODEL_SUBJECT) else account.subject
        case AccountKind.ESCROW:
            return account.holder
        case AccountKind.DISPUTED:
            return account.subject
        case _:
            return ""


def read_moves(connection: DuckDBPyConnection, *, after: int, until: int) -> list[Move]:
    """The moves by entries with a number above ``after`` and up to ``until``, in order."""
    rows = connection.execute(
        "SELECT number, kind, reference, posting.currency, account, holder, subject,"
        " posting.amount_minor, payee_id"
        " FROM entry JOIN posting ON entry_number = number LEFT JOIN payout ON payout_id = reference"
        " WHERE number > ? AND number <= ? AND kind IN (SELECT unnest(?::TEXT[])) ORDER BY number, line",
        [after, until, [str(kind) for kind in _SOURCES]],
    ).fetchall()
    accounts: dict[tuple[int, str, str, str], list[Account]] = defaultdict(list)
    limits: dict[tuple[int, str, str, str], dict[Account, int]] = defaultdict(dict)
    for number, kind, reference, currency, named, holder, subject, amount, payee_id in rows:
        entry, account = (number, kind, reference, currency), Account(AccountKind(named), holder, subject)
        if kind == EntryKind.PAYOUT_FAILED:
            if account.kind is AccountKind.DISPUTED:
                source = Account(AccountKind.PAYABLE, payee_id, subject)
                accounts[entry] += [source, account]
                limits[entry][source] = amount
            continue
        accounts[entry].append(account)
        if kind == EntryKind.DISPUTE_OPENED and account.kind is AccountKind.PAYABLE:
            limits[entry][account] = -amount
    return [
        Move(
            number,
            EntryKind(kind),
            reference,
            currency,
            tuple(found),
            limits[number, kind, reference, currency],
        )
        for (number, kind, reference, currency), found in accounts.items()
    ]


def follow(account: Account, currency: str, moves: Sequence[Move]) -> Account:
    """Where the last of an account's money is after these moves."""
    for move in moves:
        if move.currency == currency:
            account = move.target(account)
    return account


def follow_carry(account: Account, currency: str, moves: Sequence[Move]) -> Account:
    """Where what was rounded away of an account lies after these moves: with the money, wherever all of it
    was moved on. Of who is erased it stays, for the unattributed part."""
    for move in moves:
        if move.currency == currency and move.kind is not EntryKind.ERASURE and account not in move.limits:
            account = move.target(account)
    return account


def follow_amount(
    account: Account, currency: str, amount: Fraction, moves: Sequence[Move], passed: Passed
) -> dict[Account, Fraction]:
    """Where an amount that was earned is to be taken from after these moves: where each moved it on, and, of
    what no longer was there to be moved, the account it was paid from.

    passed: what was followed through moves with a limit before; this amount is added.
    """
    places = {account: amount}
    for move in moves:
        if move.currency != currency:
            continue
        for source in list(places):
            target, part = move.target(source), places[source]
            if target == source:
                continue
            if source in move.limits:
                way = (move.number, currency, source)
                before = passed.get(way, Fraction(0))
                part = min(part, move.limits[source] - before)
                passed[way] = before + part
            places[source] -= part
            places[target] = places.get(target, Fraction(0)) + part
    return {place: part for place, part in places.items() if part}
