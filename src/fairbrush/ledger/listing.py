"""The book as it reads: postings in order, those of an account or of somebody.

Enters: an open database. Leaves: ``BookedPosting``s, and balances. The one rule: nothing is summed over
currencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class BookedPosting:
    """A posting and its entry. ``recorded_at``: UTC without a zone."""

    number: int
    entry_kind: EntryKind
    reference: str
    recorded_at: datetime
    line: int
    posting: Posting


def booked_postings(
    connection: DuckDBPyConnection,
    *,
    account: AccountKind | None = None,
    party: str | None = None,
    limit: int | None = None,
) -> list[BookedPosting]:
    """Postings in the order they were booked. party: who holds the account, or whom it is about.
    limit: only the last."""
    rows = connection.execute(
        "SELECT number, entry.kind, reference, recorded_at, line, account, holder, subject, currency,"
        " amount_minor FROM entry JOIN posting ON entry_number = number"
        " WHERE ($1::TEXT IS NULL OR account = $1) AND ($2::TEXT IS NULL OR holder = $2 OR subject = $2)"
        " ORDER BY number DESC, line DESC LIMIT coalesce($3::BIGINT, 9223372036854775807)",
        [None if account is None else str(account), party, limit],
    ).fetchall()
    return [
        BookedPosting(
            number,
            EntryKind(kind),
            reference,
            recorded_at,
            line,
            Posting(Account(AccountKind(account_kind), holder, subject), currency, amount_minor),
        )
        for (
            number,
            kind,
            reference,
            recorded_at,
            line,
            account_kind,
            holder,
            subject,
            currency,
            amount_minor,
        ) in reversed(rows)
    ]


def balances_of(
    connection: DuckDBPyConnection, *, account: AccountKind | None = None, party: str | None = None
) -> dict[tuple[Account, str], int]:
    """``balances``, only of a kind of account, only of somebody."""
    found = balances(connection, *([] if account is None else [account]))
    return {
        (one, currency): amount
        for (one, currency), amount in found.items()
        if party is None or party in (one.holder, one.subject)
    }
