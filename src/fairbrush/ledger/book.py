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
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.log import Append
from fairbrush.chain.tables import ENTRIES, POSTINGS
from fairbrush.errors import BookError
from fairbrush.store import next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ENTRY_SCHEMA = "fairbrush.entry/1"
MOST_POSTED = 2**63 - 1  # minor units of one posting: a BIGINT


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
    MODEL_ASSIGNED = "model_assigned"  # model -> payable
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
    written = post_all(append, connection, kind, {reference: postings}, policy_digest=policy_digest, now=now)
    return written[0] if written else None


def post_all(
    append: Append,
    connection: DuckDBPyConnection,
    kind: EntryKind,
    postings: Mapping[str, Iterable[Posting]],
    *,
    policy_digest: str,
    now: datetime,
) -> list[Entry]:
    """``post`` for many events of one kind, by reference; those of which nothing moves are left out."""
    first = next_sequence(connection, "entry", column="number")
    entries: list[Entry] = []
    for reference, event in postings.items():
        lines = merged(event)
        check_balance(lines)
        if lines:
            entry_id = entry_digest(kind, reference, policy_digest, map(posting_line, lines))
            number = first + len(entries)
            entries.append(Entry(number, entry_id, kind, reference, policy_digest, tuple(lines)))
    known = connection.execute(
        "SELECT entry_id FROM entry WHERE list_contains(?::TEXT[], entry_id)",
        [[entry.entry_id for entry in entries]],
    ).fetchall()
    if known:
        raise BookError(f"The entry {known[0][0]} is in the book already.", next_step="Nothing was changed.")
    append.insert(
        ENTRIES,
        [(one.number, one.entry_id, str(kind), one.reference, policy_digest, now) for one in entries],
    )
    append.insert(
        POSTINGS,
        [
            (one.number, place, *posting_line(line), policy_digest)
            for one in entries
            for place, line in enumerate(one.postings, start=1)
        ],
    )
    return entries


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
        "SELECT account, holder, subject, currency, sum(amount_minor) FROM posting"
        " WHERE (len(?::TEXT[]) = 0 OR list_contains(?::TEXT[], account))"
        " AND (?::BIGINT IS NULL OR entry_number < ?::BIGINT)"
        " GROUP BY ALL HAVING sum(amount_minor) <> 0 ORDER BY ALL",
        [[str(kind) for kind in kinds], [str(kind) for kind in kinds], before, before],
    ).fetchall()
    return {
        (Account(AccountKind(kind), holder, subject), currency): int(amount)
        for kind, holder, subject, currency, amount in rows
    }


Line = tuple[str, str, str, str, int]  # account, holder, subject, currency, amount_minor


def posting_line(posting: Posting) -> Line:
    """A posting as the database has it."""
    account = posting.account
    return str(account.kind), account.holder, account.subject, posting.currency, posting.amount_minor


def entry_digest(kind: str, reference: str, policy_digest: str, lines: Iterable[Line]) -> str:
    """The entry_id: SHA-256 of what an entry says. lines: in their order."""
    return canonical_digest(
        {
            "schema": ENTRY_SCHEMA,
            "kind": str(kind),
            "reference": reference,
            "policy_digest": policy_digest,
            "postings": [list(line) for line in lines],
        }
    )
