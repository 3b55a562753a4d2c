"""The book: double entry, append-only.

Enters: postings of one event. Leaves: an ``Entry``, and balances. The one rule: the postings of an entry sum
to nought in every currency, and nothing is ever changed; a correction is another entry.

Credit is positive: a positive balance is owed to the account's holder. ``revenue`` goes down by what was
settled, ``bank`` up by what was paid out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.log import Append
from fairbrush.chain.tables import ENTRIES, POSTINGS
from fairbrush.errors import BookError
from fairbrush.store import next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ENTRY_SCHEMA = "fairbrush.entry/1"


class AccountKind(StrEnum):
    """Whose money it is. In brackets: the account's holder, then its subject."""

    REVENUE = "revenue"  # what came in
    PLATFORM = "platform"
    FUND = "fund"  # of what nobody can be credited with
    MODEL = "model"  # (model_id) of a developer without a payee
    PAYABLE = "payable"  # (payee_id, artist_id; "model:" and model_id; nothing once the artist is erased)
    ESCROW = "escrow"  # (artist_id) unclaimed or opted out; (nothing) of what is unattributed
    DISPUTED = "disputed"  # (dispute_id, artist_id; nothing for what is unattributed)
    TRANSIT = "transit"  # (payout_id) proposed, and neither confirmed nor failed
    BANK = "bank"  # paid out


class EntryKind(StrEnum):
    """What an entry books."""

    SETTLEMENT = "settlement"
    REVERSAL = "reversal"
    CLAIM = "claim"  # escrow -> payable
    ERASURE = "erasure"  # escrow -> unattributed; payable -> payable of nobody
    DISPUTE_OPENED = "dispute_opened"  # -> disputed
    DISPUTE_RESOLVED = "dispute_resolved"  # disputed ->
    PAYOUT_PROPOSED = "payout_proposed"  # payable -> transit
    PAYOUT_CONFIRMED = "payout_confirmed"  # transit -> bank
    PAYOUT_FAILED = "payout_failed"  # transit -> payable


@dataclass(frozen=True, order=True)
class Account:
    kind: AccountKind
    holder: str = ""
    subject: str = ""


@dataclass(frozen=True, order=True)
class Posting:
    """``amount_minor``: credit positive, never nought."""

    account: Account
    currency: str
    amount_minor: int


@dataclass(frozen=True)
class Entry:
    number: int
    entry_id: str
    kind: EntryKind
    reference: str
    policy_digest: str
    postings: tuple[Posting, ...]


def post(
    append: Append,
    connection: DuckDBPyConnection,
    kind: EntryKind,
    postings: Iterable[Posting],
    *,
    reference: str,
    policy_digest: str,
    now: datetime,
) -> Entry | None:
    """Write one entry inside the caller's transaction, as part of the batch ``append``; None where nothing
    moves. Postings of one account are summed, and sorted: the same postings make the same entry_id.

    reference: what it books; one event is booked once. now: UTC without a zone. Raises BookError where the
    postings do not balance, or this very entry was written before.
    """
    lines = merged(postings)
    check_balance(lines)
    if not lines:
        return None
    entry_id = canonical_digest(_body(kind, reference, policy_digest, lines))
    if connection.execute("SELECT 1 FROM entry WHERE entry_id = ?", [entry_id]).fetchall():
        raise BookError(f"The entry {entry_id} is in the book already.", next_step="Nothing was changed.")
    number = next_sequence(connection, "entry", column="number")
    append.insert(ENTRIES, [(number, entry_id, str(kind), reference, policy_digest, now)])
    rows = [
        (
            number,
            place,
            str(line.account.kind),
            line.account.holder,
            line.account.subject,
            line.currency,
            line.amount_minor,
            policy_digest,
        )
        for place, line in enumerate(lines, start=1)
    ]
    append.insert(POSTINGS, rows)
    return Entry(number, entry_id, kind, reference, policy_digest, tuple(lines))


def merged(postings: Iterable[Posting]) -> list[Posting]:
    """One posting an account and currency, sorted, without those of nought."""
    sums: dict[tuple[Account, str], int] = defaultdict(int)
    for one in postings:
        sums[one.account, one.currency] += one.amount_minor
    return sorted(Posting(*key, amount) for key, amount in sums.items() if amount)


def check_balance(postings: Sequence[Posting]) -> None:
    """Raises BookError where the postings of a currency do not sum to nought."""
    sums: dict[str, int] = defaultdict(int)
    for one in postings:
        sums[one.currency] += one.amount_minor
    off = {currency: total for currency, total in sums.items() if total}
    if off:
        raise BookError(f"The entry does not balance: {off}.", next_step="Please report this: nothing moved.")


def balances(
    connection: DuckDBPyConnection, *kinds: AccountKind, before: int | None = None
) -> dict[tuple[Account, str], int]:
    """What each account holds, by currency, without those that hold nothing.

    kinds: only these; all where none is named. before: only entries with a smaller number.
    """
    rows = connection.execute(
        "SELECT account, holder, subject, currency, sum(amount_minor)::BIGINT FROM posting"
        " WHERE (len(?::TEXT[]) = 0 OR list_contains(?::TEXT[], account))"
        " AND (?::BIGINT IS NULL OR entry_number < ?::BIGINT)"
        " GROUP BY ALL HAVING sum(amount_minor) <> 0 ORDER BY ALL",
        [[str(kind) for kind in kinds], [str(kind) for kind in kinds], before, before],
    ).fetchall()
    return {
        (Account(AccountKind(kind), holder, subject), currency): int(amount)
        for kind, holder, subject, currency, amount in rows
    }


def _body(
    kind: EntryKind, reference: str, policy_digest: str, postings: Sequence[Posting]
) -> Mapping[str, Any]:
    return {
        "schema": ENTRY_SCHEMA,
        "kind": str(kind),
        "reference": reference,
        "policy_digest": policy_digest,
        "postings": [
            [str(one.account.kind), one.account.holder, one.account.subject, one.currency, one.amount_minor]
            for one in postings
        ],
    }
