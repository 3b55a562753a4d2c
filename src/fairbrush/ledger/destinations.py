"""Where money goes that is no longer held back.

Enters: an artist, a day. Leaves: an ``Account``. The one rule: it follows what the registry, the disputes and
the policy say now, not what they said when the money was earned.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.disputes import read_contests
from fairbrush.ledger.policies import NO_POLICY, acting_digest, policy_on
from fairbrush.ledger.terms import Unattributed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FUND = Account(AccountKind.FUND)


def artist_accounts(connection: DuckDBPyConnection, artist_id: str) -> frozenset[Account]:
    """The accounts of an artist as who they are now: what is held for them, and what is owed to the payee of
    their creator. What an earlier payee is owed was settled with that payee, and is not among them."""
    rows = connection.execute(
        "SELECT payee_id FROM artist JOIN creator USING (creator_id) WHERE artist_id = ?", [artist_id]
    ).fetchall()
    held = Account(AccountKind.ESCROW, artist_id)
    return frozenset({held, *(Account(AccountKind.PAYABLE, payee_id, artist_id) for (payee_id,) in rows)})


def artist_account(connection: DuckDBPyConnection, artist_id: str, *, now: datetime) -> Account:
    """Where what an artist earned goes now: to the payee of its creator, unless it is held back or nobody is
    left to be paid."""
    consent = effective_consents(connection, now=now)[artist_id]
    contested = read_contests(connection).standings.get(artist_id)
    if consent is Consent.ERASED:
        return unattributed_account(connection, now.date())
    if contested is not None:
        return Account(AccountKind.DISPUTED, contested, artist_id)
    ((payee_id, payee_name),) = connection.execute(
        "SELECT payee_id, payee.name FROM artist JOIN creator USING (creator_id) JOIN payee USING (payee_id)"
        " WHERE artist_id = ?",
        [artist_id],
    ).fetchall()
    if consent is not Consent.OPTED_IN or payee_name is None:
        return Account(AccountKind.ESCROW, artist_id)
    return Account(AccountKind.PAYABLE, payee_id, artist_id)


def unattributed_account(connection: DuckDBPyConnection, day: date) -> Account:
    """Where the policy in effect on a day sends what is nobody's; the fund where there is no policy."""
    if acting_digest(connection, day) == NO_POLICY:
        return FUND
    policy = policy_on(connection, day)
    match policy.terms.unattributed:
        case Unattributed.FUND:
            return FUND
        case Unattributed.ESCROW:
            return Account(AccountKind.ESCROW)
        case Unattributed.PLATFORM:
            return Account(AccountKind.PLATFORM)
        case Unattributed.MODEL:
            return developer_account(connection, policy.split.model)


def developer_account(connection: DuckDBPyConnection, model_id: str) -> Account:
    """A model's: its payee's, or the model's own until somebody is paid for it."""
    rows = connection.execute(
        "SELECT payee_id FROM model JOIN payee USING (payee_id) WHERE model_id = ? AND name IS NOT NULL",
        [model_id],
    ).fetchall()
    if not rows:
        return Account(AccountKind.MODEL, model_id)
    return Account(AccountKind.PAYABLE, rows[0][0], f"model:{model_id}")
