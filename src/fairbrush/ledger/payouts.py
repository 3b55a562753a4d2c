"""Payouts: what payees are owed leaves the book through the bank.

Enters: balances of payable accounts, and what the bank says. Leaves: a ``Payout`` a payee and currency. The
one rule: a payout is proposed, then confirmed or failed, once and for good; money moves from payable to
transit, and from there to the bank or back to exactly the accounts it came from.

What an artist who is opted out now has earned stays owed and is held. What a payee owes back (a negative
account) is set off. What stays below the minimum of today's policy is carried forward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append
from fairbrush.chain.tables import PAYOUT_EVENTS, PAYOUTS
from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent
from fairbrush.errors import MoneyError
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post_all
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.currency import format_amount
from fairbrush.ledger.destinations import artist_accounts
from fairbrush.ledger.disputes import read_contests
from fairbrush.ledger.policies import NO_POLICY, acting_digest, policy_on
from fairbrush.store import Store, as_utc, next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PAYOUT_SCHEMA = "fairbrush.payout/1"
SHORTEST_PREFIX = 8  # of a payout's id, where a person types it


class HeldReason(StrEnum):
    """Why money that is owed is not paid now."""

    OPTED_OUT = "the artist is opted out"
    ARTIST_ERASED = "the artist is erased"
    PAYEE_ERASED = "the payee is erased"


@dataclass(frozen=True)
class Payout:
    """Money on its way to a payee, or there, or back. ``parts``: (subject, minor units) of its payable
    accounts, negative where a debt is set off. ``note``: the bank's reference, or why it failed. Times are
    UTC without a zone."""

    payout_id: str
    payee_id: str
    payee_name: str
    currency: str
    amount_minor: int
    parts: tuple[tuple[str, int], ...]
    status: PayoutStatus
    proposed_at: datetime
    changed_at: datetime
    note: str | None = None


@dataclass(frozen=True)
class Held:
    """One payable account that is left out of a payout."""

    payee_id: str
    payee_name: str
    subject: str
    currency: str
    amount_minor: int
    reason: HeldReason


@dataclass(frozen=True)
class CarriedForward:
    """What a payee is owed, or owes, and is too little to pay. ``minimum_minor``: at least 1."""

    payee_id: str
    payee_name: str
    currency: str
    amount_minor: int
    minimum_minor: int


@dataclass(frozen=True)
class Proposal:
    """What becomes of every payable account that is not empty."""

    payouts: tuple[Payout, ...]
    held: tuple[Held, ...]
    carried: tuple[CarriedForward, ...]


@dataclass(frozen=True)
class PayoutChange:
    """``changed``: False where the payout stood so already, and nothing was written."""

    payout: Payout
    changed: bool


@dataclass(frozen=True)
class PayeeBalance:
    """One payee and currency. ``payable_minor``: owed, without what is held; ``transit_minor``: proposed."""

    payee_id: str
    currency: str
    payable_minor: int = 0
    held_minor: int = 0
    transit_minor: int = 0
    paid_minor: int = 0


def propose(store: Store, *, now: datetime, payee_id: str | None = None, dry_run: bool = False) -> Proposal:
    """Propose a payout of what each payee, or one, is owed in each currency; all of them in one transaction.

    ``dry_run``: only say what would be proposed. Twice in a row proposes nothing new: the money is in
    transit.
    """
    moment = as_utc(now)
    if dry_run:
        return _plan(store.connection, moment, payee_id)
    with store.transaction() as connection:
        planned = _plan(connection, moment, payee_id)
        digest = acting_digest(connection, moment.date())
        append = Append(connection)
        append.insert(
            PAYOUTS,
            [(one.payout_id, one.payee_id, one.currency, one.amount_minor) for one in planned.payouts],
        )
        _record_events(append, connection, planned.payouts, PayoutStatus.PROPOSED, None, moment)
        post_all(
            append,
            connection,
            EntryKind.PAYOUT_PROPOSED,
            {one.payout_id: _departure(one) for one in planned.payouts},
            policy_digest=digest,
            now=moment,
        )
        append.commit(now=moment)
    return planned


def confirm(store: Store, *payout_ids: str, reference: str, now: datetime) -> list[PayoutChange]:
    """The bank has paid them: all are confirmed, or none. reference: the bank's own. Raises MoneyError for
    one that failed."""
    return _finish(store, payout_ids, PayoutStatus.CONFIRMED, reference, now)


def fail(store: Store, *payout_ids: str, reason: str, now: datetime) -> list[PayoutChange]:
    """They were not paid, all or none: the money is owed again, on the accounts it came from. What came from
    an artist who was erased meanwhile is owed to the payee without a name; what is contested meanwhile is set
    aside. Raises MoneyError for one that is
    confirmed."""
    return _finish(store, payout_ids, PayoutStatus.FAILED, reason, now)


def list_payouts(connection: DuckDBPyConnection, *, status: PayoutStatus | None = None) -> list[Payout]:
    """In the order in which they were proposed."""
    parts: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for payout_id, subject, amount in connection.execute(
        "SELECT reference, subject, -amount_minor FROM entry JOIN posting ON entry_number = number"
        " WHERE kind = ? AND account = ? ORDER BY number, line",
        [str(EntryKind.PAYOUT_PROPOSED), str(AccountKind.PAYABLE)],
    ).fetchall():
        parts[payout_id].append((subject, int(amount)))
    rows = connection.execute(
        """
        SELECT payout_id, payee_id, coalesce(any_value(payee.name), ''), any_value(currency),
               any_value(amount_minor), arg_max(status, sequence), min(recorded_at), max(recorded_at),
               arg_max(reason, sequence)
        FROM payout JOIN payout_event USING (payout_id) LEFT JOIN payee USING (payee_id)
        GROUP BY payout_id, payee_id ORDER BY min(sequence)
        """
    ).fetchall()
    payouts = [
        Payout(
            payout_id=row[0],
            payee_id=row[1],
            payee_name=row[2],
            currency=row[3],
            amount_minor=row[4],
            parts=tuple(parts[row[0]]),
            status=PayoutStatus(row[5]),
            proposed_at=row[6],
            changed_at=row[7],
            note=row[8],
        )
        for row in rows
    ]
    return [payout for payout in payouts if status in (None, payout.status)]


def withheld_now(payout: Payout, consents: Mapping[str, Consent]) -> HeldReason | None:
    """Why a proposed payout must not leave now: somebody opted out or was erased since it was proposed.

    consents: in effect now, by artist_id."""
    if not payout.payee_name:
        return HeldReason.PAYEE_ERASED
    reasons = [reason for subject, amount in payout.parts if (reason := _held(subject, amount, consents))]
    return min(reasons, default=None)


def payee_balances(
    connection: DuckDBPyConnection, consents: Mapping[str, Consent]
) -> dict[str, list[PayeeBalance]]:
    """By payee_id, then sorted by currency; payees who were never owed anything are not in it.

    consents: in effect now, by artist_id, for what is held."""
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (account, currency), amount in balances(connection, AccountKind.PAYABLE).items():
        is_held = _held(account.subject, amount, consents) is not None
        sums[account.holder, currency]["held_minor" if is_held else "payable_minor"] += amount
    for payout in list_payouts(connection):
        if payout.status is not PayoutStatus.FAILED:
            name = "paid_minor" if payout.status is PayoutStatus.CONFIRMED else "transit_minor"
            sums[payout.payee_id, payout.currency][name] += payout.amount_minor
    found: dict[str, list[PayeeBalance]] = defaultdict(list)
    for (payee_id, currency), amounts in sorted(sums.items()):
        found[payee_id].append(PayeeBalance(payee_id, currency, **amounts))
    return dict(found)


def _plan(connection: DuckDBPyConnection, now: datetime, payee_id: str | None) -> Proposal:
    consents = effective_consents(connection, now=now)
    names = _payee_names(connection)
    minimums = _minimums(connection, now.date())
    last_entries = _last_entries(connection)
    accounts: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for (account, currency), amount in sorted(balances(connection, AccountKind.PAYABLE).items()):
        if payee_id in (None, account.holder):
            accounts[account.holder, currency].append((account.subject, amount))
    payouts, held, carried = [], [], []
    for (holder, currency), owed in accounts.items():
        name = names.get(holder, "")
        parts = []
        for subject, amount in owed:
            reason = _held(subject, amount, consents) if name else HeldReason.PAYEE_ERASED
            if reason is None:
                parts.append((subject, amount))
            else:
                held.append(Held(holder, name, subject, currency, amount, reason))
        total, minimum = sum(amount for _, amount in parts), max(1, minimums.get(currency, 1))
        if total >= minimum:
            after = max(last_entries[holder, currency, subject] for subject, _ in parts)
            payout_id = _payout_id(holder, currency, parts, after)
            status = PayoutStatus.PROPOSED
            payouts.append(Payout(payout_id, holder, name, currency, total, tuple(parts), status, now, now))
        elif total:
            carried.append(CarriedForward(holder, name, currency, total, minimum))
    return Proposal(tuple(payouts), tuple(held), tuple(carried))


def _held(subject: str, amount: int, consents: Mapping[str, Consent]) -> HeldReason | None:
    """A debt is set off whoever's it is; nothing that names an erased artist moves."""
    match consents.get(subject):
        case Consent.ERASED:
            return HeldReason.ARTIST_ERASED
        case Consent.OPTED_OUT if amount > 0:
            return HeldReason.OPTED_OUT
        case _:
            return None


def _named(payouts: Sequence[Payout], id_or_prefix: str) -> Payout:
    wanted = id_or_prefix.strip().lower()
    found = [one for one in payouts if one.payout_id.startswith(wanted)]
    if len(wanted) < SHORTEST_PREFIX or not found:
        raise MoneyError(
            f"There is no payout {id_or_prefix!r}.",
            next_step=f"Give its id, or the first {SHORTEST_PREFIX} digits or more: fairbrush payout list",
        )
    if len(found) > 1:
        raise MoneyError(
            f"{len(found)} payouts begin with {id_or_prefix!r}.",
            next_step=f"Give more digits: {' or '.join(one.payout_id for one in found)}.",
        )
    return found[0]


def _payout_id(payee_id: str, currency: str, parts: Sequence[tuple[str, int]], after: int) -> str:
    """after: the last entry of these accounts, so that the same amounts again are another payout."""
    return canonical_digest(
        {
            "schema": PAYOUT_SCHEMA,
            "payee": payee_id,
            "currency": currency,
            "amount_minor": sum(amount for _, amount in parts),
            "accounts": [[subject, amount] for subject, amount in parts],
            "after_entry": after,
        }
    )


def _minimums(connection: DuckDBPyConnection, day: date) -> Mapping[str, int]:
    """None before the first policy is in effect."""
    if acting_digest(connection, day) == NO_POLICY:
        return {}
    return policy_on(connection, day).terms.minimum_payout


def _payee_names(connection: DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute("SELECT payee_id, coalesce(name, '') FROM payee").fetchall()
    return dict(rows)


def _last_entries(connection: DuckDBPyConnection) -> dict[tuple[str, str, str], int]:
    """The number of the last entry of each payable account: by holder, currency, subject."""
    rows = connection.execute(
        "SELECT holder, currency, subject, max(entry_number) FROM posting WHERE account = ? GROUP BY ALL",
        [str(AccountKind.PAYABLE)],
    ).fetchall()
    return {(holder, currency, subject): int(number) for holder, currency, subject, number in rows}


def _finish(
    store: Store, payout_ids: Sequence[str], status: PayoutStatus, note: str, now: datetime
) -> list[PayoutChange]:
    moment, text = as_utc(now), note.strip()
    if not text:
        what = "the bank's reference" if status is PayoutStatus.CONFIRMED else "the reason"
        raise MoneyError(f"A payout is not {status} without {what}.", next_step="Give it.")
    with store.transaction() as connection:
        known = list_payouts(connection)
        meant = {one.payout_id: one for one in (_named(known, wanted) for wanted in payout_ids)}
        for one in meant.values():
            if one.status not in (status, PayoutStatus.PROPOSED):
                raise _final(one)
        changing = [one for one in meant.values() if one.status is not status]
        append = Append(connection)
        _record_events(append, connection, changing, status, text, moment)
        consents = effective_consents(connection, now=moment)
        is_paid = status is PayoutStatus.CONFIRMED
        standings = read_contests(connection).standings
        contested = {
            account: Account(AccountKind.DISPUTED, dispute_id, artist_id)
            for artist_id, dispute_id in standings.items()
            for account in artist_accounts(connection, artist_id)
        }

        payable = balances(connection, AccountKind.PAYABLE)

        def returned(payout: Payout) -> list[Posting]:
            return _return(payout, consents, contested, payable)

        post_all(
            append,
            connection,
            EntryKind.PAYOUT_CONFIRMED if is_paid else EntryKind.PAYOUT_FAILED,
            {one.payout_id: _arrival(one) if is_paid else returned(one) for one in changing},
            policy_digest=acting_digest(connection, moment.date()),
            now=moment,
        )
        append.commit(now=moment)
    return [
        PayoutChange(replace(one, status=status, changed_at=moment, note=text), changed=True)
        if one.status is not status
        else PayoutChange(one, changed=False)
        for one in meant.values()
    ]


def _final(payout: Payout) -> MoneyError:
    return MoneyError(
        f"The payout {payout.payout_id} of {format_amount(payout.amount_minor, payout.currency)} "
        f"{payout.currency} {_SAID[payout.status]} on {payout.changed_at.date()}; that is final.",
        next_step=_NEXT[payout.status],
    )


_SAID = {PayoutStatus.CONFIRMED: "was confirmed", PayoutStatus.FAILED: "failed"}
_NEXT = {
    PayoutStatus.CONFIRMED: "Nothing was changed. Money that came back is settled with the payee by hand.",
    PayoutStatus.FAILED: "Nothing was changed. Its money is owed again: fairbrush payout propose",
}


def _departure(payout: Payout) -> list[Posting]:
    parts = (_payable(payout, subject, -amount) for subject, amount in payout.parts)
    return [*parts, _transit(payout, payout.amount_minor)]


def _arrival(payout: Payout) -> list[Posting]:
    paid = Posting(Account(AccountKind.BANK), payout.currency, payout.amount_minor)
    return [_transit(payout, -payout.amount_minor), paid]


def _return(
    payout: Payout,
    consents: Mapping[str, Consent],
    contested: Mapping[Account, Account],
    payable: dict[tuple[Account, str], int],
) -> list[Posting]:
    """contested: accounts whose money is set aside now, and where. payable: what is owed now; it is brought
    up to date."""
    postings = [_transit(payout, -payout.amount_minor)]
    for subject, amount in payout.parts:
        back = _payable(payout, "" if consents.get(subject) is Consent.ERASED else subject, amount)
        key = back.account, payout.currency
        payable[key] = payable.get(key, 0) + amount
        postings.append(back)
        # a debt is nobody's claim, and what is taken back meanwhile is made good first
        aside = min(amount, payable[key])
        if back.account in contested and aside > 0:
            payable[key] -= aside
            postings.append(replace(back, amount_minor=-aside))
            postings.append(replace(back, account=contested[back.account], amount_minor=aside))
    return postings


def _payable(payout: Payout, subject: str, amount_minor: int) -> Posting:
    return Posting(Account(AccountKind.PAYABLE, payout.payee_id, subject), payout.currency, amount_minor)


def _transit(payout: Payout, amount_minor: int) -> Posting:
    return Posting(Account(AccountKind.TRANSIT, payout.payout_id), payout.currency, amount_minor)


def _record_events(
    append: Append,
    connection: DuckDBPyConnection,
    payouts: Sequence[Payout],
    status: PayoutStatus,
    note: str | None,
    now: datetime,
) -> None:
    first = next_sequence(connection, "payout_event")
    rows = [
        (first + place, payout.payout_id, str(status), now, *committed(note).columns)
        for place, payout in enumerate(payouts)
    ]
    append.insert(PAYOUT_EVENTS, rows)
