"""The money of an artist who is erased: it stays in the book, and nothing names the artist any more.

Enters: an artist's id, inside the transaction that erases it. Leaves: one entry. The one rule: whole balances
move and their total stays: what was held for the artist goes where what nobody can be credited with goes,
what is owed to a payee stays owed to the same payee.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.chain.log import Append
from fairbrush.ledger.book import Account, AccountKind, Entry, EntryKind, Posting, balances, post
from fairbrush.ledger.destinations import unattributed_account
from fairbrush.ledger.policies import acting_digest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def close_accounts(
    append: Append, connection: DuckDBPyConnection, artist_id: str, *, reference: str, now: datetime
) -> Entry | None:
    """Empty the accounts of an artist, as part of the batch ``append``; None where they hold nothing.

    escrow and disputed -> the unattributed part's account by the policy in effect now, the fund where there
    is none; payable -> the same payee's account without an artist. now: UTC without a zone.
    """
    held = balances(connection, AccountKind.ESCROW, AccountKind.DISPUTED, AccountKind.PAYABLE)
    unattributed = unattributed_account(connection, now.date())
    postings = []
    for (account, currency), amount in held.items():
        if artist_id != _artist_of(account):
            continue
        to = (
            Account(AccountKind.PAYABLE, account.holder)
            if account.kind is AccountKind.PAYABLE
            else unattributed
        )
        postings += [Posting(account, currency, -amount), Posting(to, currency, amount)]
    digest = acting_digest(connection, now.date())
    return post(
        append, connection, EntryKind.ERASURE, postings, reference=reference, policy_digest=digest, now=now
    )


def owed(connection: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """What is open for each payee, in minor units by currency: owed, and on its way. An amount of nought
    is there where several accounts cancel out, which is open all the same."""
    paid_by = dict(connection.execute("SELECT payout_id, payee_id FROM payout").fetchall())
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (account, currency), amount in balances(connection, AccountKind.PAYABLE, AccountKind.TRANSIT).items():
        payee_id = account.holder if account.kind is AccountKind.PAYABLE else paid_by.get(account.holder, "")
        sums[payee_id][currency] += amount
    return {payee_id: dict(amounts) for payee_id, amounts in sums.items()}


def open_amounts(amounts: Mapping[str, int]) -> str:
    """
    >>> open_amounts({"EUR": 1250, "JPY": 7})
    '12.50 EUR, 7 JPY'
    """
    from fairbrush.ledger.currency import format_amount

    return ", ".join(f"{format_amount(minor, code)} {code}" for code, minor in sorted(amounts.items()))


def _artist_of(account: Account) -> str:
    """Whose money an account holds, where it is an artist's."""
    return account.holder if account.kind is AccountKind.ESCROW else account.subject
