"""Exact earnings of one currency made whole amounts, with what is carried from settlement to settlement.

Enters: what each account earned exactly, what is carried, and the whole amount. Leaves: a ``Part`` an
account. The one rule: it is rounded once for each payee, over all of the payee's accounts together, and what
was rounded away is carried, so that nothing is ever lost, however small.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from fairbrush.ledger.apportion import apportion
from fairbrush.ledger.book import Account, AccountKind


@dataclass(frozen=True, order=True)
class Part:
    """``exact``: earned, and moved here of what was carried elsewhere; ``amount_minor``: posted."""

    account: Account
    currency: str
    exact: Fraction
    amount_minor: int


@dataclass(frozen=True, order=True)
class Carried:
    """A carried fraction that moved from an account that is to receive nothing more."""

    source: Account
    target: Account
    currency: str
    amount: Fraction


def whole_parts(
    currency: str,
    earned: Mapping[Account, Fraction],
    carries: Mapping[Account, Fraction],
    moved: Iterable[Carried],
) -> list[Part]:
    """The parts of one currency, by account; those of accounts without any are left out.

    carries: of all accounts of this currency, before ``moved``; their sum is nought.
    """
    exact: dict[Account, Fraction] = defaultdict(Fraction, earned)
    for carried in moved:
        exact[carried.source] -= carried.amount
        exact[carried.target] += carried.amount
    due = {
        account: exact.get(account, Fraction(0)) + carries.get(account, Fraction(0))
        for account in exact.keys() | carries.keys()
    }
    total = sum(earned.values(), Fraction(0))
    assert total.denominator == 1, f"{total} {currency} is no whole amount"
    by_party: dict[Account, list[Account]] = defaultdict(list)
    for account in due:
        by_party[party(account)].append(account)
    shared = apportion(
        {one: _sum(due, accounts) for one, accounts in by_party.items()},
        int(total),
        exact={one: _sum(earned, accounts) for one, accounts in by_party.items()},
    )
    amounts: dict[Account, int] = {}
    for one, accounts in by_party.items():
        amounts |= apportion({account: due[account] for account in accounts}, shared[one], exact=earned)
    return [
        Part(account, currency, exact.get(account, Fraction(0)), amounts[account])
        for account in sorted(due)
        if exact.get(account) or amounts[account]
    ]


def party(account: Account) -> Account:
    """Who is rounded together: a payee with all of its accounts; any other account is its own."""
    return Account(AccountKind.PAYABLE, account.holder) if account.kind is AccountKind.PAYABLE else account


def _sum(amounts: Mapping[Account, Fraction], accounts: Iterable[Account]) -> Fraction:
    return sum((amounts.get(account, Fraction(0)) for account in accounts), Fraction(0))
