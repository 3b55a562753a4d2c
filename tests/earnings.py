"""A registry with artists, creators and payees, and money on their accounts without a settlement."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import count
from pathlib import Path
from typing import Any

from fake_records import digest

from fairbrush.chain.log import Append, insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.registry import add_artist
from fairbrush.domain import Artist, Consent
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, post
from fairbrush.ledger.policies import NO_POLICY, Pins, adopt
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
REVENUE = Account(AccountKind.REVENUE)
_references = count()


@contextmanager
def open_world(folder: Path) -> Iterator[Store]:
    create_workspace(folder)
    with open_registry(folder) as store:
        yield store


def artist(store: Store, name: str, *, consent: Consent = Consent.OPTED_IN, **options: Any) -> Artist:
    return add_artist(store, name, consent=consent, now=NOW, **options)[0]


def payable(one: Artist) -> Account:
    return Account(AccountKind.PAYABLE, one.payee_id, one.artist_id)


def escrow(one: Artist) -> Account:
    return Account(AccountKind.ESCROW, one.artist_id)


def earn(store: Store, account: Account, amount_minor: int, currency: str = "EUR") -> None:
    """As a settlement books it; less than nought as its reversal does."""
    move(store, EntryKind.SETTLEMENT, REVENUE, account, amount_minor, currency)


def move(
    store: Store, kind: EntryKind, origin: Account, to: Account, amount_minor: int, currency: str
) -> None:
    with store.transaction() as connection:
        append = Append(connection)
        postings = [Posting(origin, currency, -amount_minor), Posting(to, currency, amount_minor)]
        reference = f"event {next(_references)}"
        post(append, connection, kind, postings, reference=reference, policy_digest=NO_POLICY, now=NOW)
        append.commit(now=NOW)


def adopt_minimum(store: Store, *, since: date = date(2026, 1, 1), **amounts: str) -> str:
    """A policy whose minimum_payout is ``amounts``; gives its digest."""
    pins = Pins("0123456789abcdef", "v0001")
    if not pins.digests(store.connection):
        row = (digest("v0001"), "v0001", None, "mini", pins.space_id, 5, 30, 0.25, NOW)
        with store.transaction() as connection:
            insert_chained(connection, INDEX_VERSIONS, [row], now=NOW)
    table = {"minimum_payout": amounts}
    return adopt(store, table, effective_from=since, now=NOW, current=pins).digest
