"""A registry of a few artists, look-ups that credit them, and money in the book."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from fake_records import digest, record

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.log import Append, insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS
from fairbrush.chain.tables import REVENUE as REVENUE_LINES
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.people import add_creator
from fairbrush.corpus.registry import add_artist
from fairbrush.domain import Artist, Consent, Creator
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.policies import NO_POLICY, Pins, adopt
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.records import drain, write_pending
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
JANUARY = date(2026, 1, 1)
PINS = Pins("0123456789abcdef", "v0001")
REVENUE = Account(AccountKind.REVENUE)
HALF_E12 = 5 * 10**11
FUND = Account(AccountKind.FUND)


@dataclass(frozen=True)
class World:
    """Ann and Bo opted in, Cy is unclaimed; ``rival`` has no artist and contests."""

    store: Store
    ann: Artist
    bo: Artist
    cy: Artist
    rival: Creator

    @property
    def artists(self) -> tuple[Artist, ...]:
        return self.ann, self.bo, self.cy

    def earn(self, **amounts: int) -> None:
        """Settle EUR cents: payable to who is opted in, in escrow for Cy."""
        self.book(
            {
                payable(artist) if artist.consent is Consent.OPTED_IN else escrow(artist): amount
                for artist in self.artists
                if (amount := amounts.get(artist.name.casefold()))
            }
        )

    def book(self, earned: dict[Account, int], *, currency: str = "EUR") -> None:
        connection = self.store.connection
        number = len(connection.execute("FROM entry").fetchall())
        with self.store.transaction():
            append = Append(connection)
            postings = [Posting(account, currency, amount) for account, amount in earned.items()]
            postings.append(Posting(REVENUE, currency, -sum(earned.values())))
            post(
                append,
                connection,
                EntryKind.SETTLEMENT,
                postings,
                reference=f"settlement {number}",
                policy_digest=NO_POLICY,
                now=NOW,
            )
            append.commit(now=NOW)

    def balances(self, currency: str = "EUR") -> dict[Account, int]:
        """What each account holds, but for revenue."""
        held = balances(self.store.connection)
        return {
            account: amount for (account, of), amount in held.items() if of == currency and account != REVENUE
        }

    def look_up(self, name: str, *artists: Artist, unattributed_e12: int = 0, is_drained: bool = True) -> str:
        """The attribution_id of a recorded look-up as the policy pins it: half is the model's, the rest is
        these artists' alike, but for what is unattributed."""
        folder = self.store.workspace / "records"
        ids = tuple(artist.artist_id for artist in artists)
        one = record(name, artists=ids, model_e12=HALF_E12 + unattributed_e12)
        body = {
            **one.body,
            "identity": {**one.body["identity"], "policy_digest": Policy().digest},
            "model_share_e12": HALF_E12,
            "unattributed_e12": one.body["unattributed_e12"] + unattributed_e12,
        }
        one = replace(one, body=body)
        write_pending(folder, [one])
        if is_drained:
            drain(self.store.connection, folder)
        return one.attribution_id

    def bring_in(self, name: str, amount_minor: int, *, currency: str = "EUR") -> None:
        """Revenue of the image of the look-up ``name`` in January."""
        connection = self.store.connection
        reference = f"invoice {len(connection.execute('FROM revenue').fetchall())}"
        row = (
            canonical_digest({"reference": reference}),
            reference,
            currency,
            amount_minor,
            JANUARY,
            JANUARY,
            digest(name),
            None,
            None,
            None,
            NOW,
        )
        with self.store.transaction():
            insert_chained(connection, REVENUE_LINES, [row], now=NOW)

    def settle(self) -> None:
        from fairbrush.ledger.settlement import settle

        settle(self.store, parse_period("2026-01"), now=NOW)


def payable(artist: Artist) -> Account:
    return Account(AccountKind.PAYABLE, artist.payee_id, artist.artist_id)


def escrow(artist: Artist) -> Account:
    return Account(AccountKind.ESCROW, artist.artist_id)


def adopt_policy(store: Store, table: dict[str, object], *, day: date = JANUARY) -> None:
    if not PINS.digests(store.connection):
        row = (digest("v0001"), PINS.version, None, "mini", PINS.space_id, 3, 9, 0.25, NOW)
        with store.transaction() as connection:
            insert_chained(connection, INDEX_VERSIONS, [row], now=NOW)
    adopt(store, {"value": "nearest", **table}, effective_from=day, now=NOW, current=PINS)


def make_world(store: Store) -> World:
    artists = [
        add_artist(store, name, consent=consent, allow_same_name=True, now=NOW)[0]
        for name, consent in (
            ("Ann", Consent.OPTED_IN),
            ("Bo", Consent.OPTED_IN),
            ("Cy", Consent.UNCLAIMED),
        )
    ]
    return World(store, *artists, add_creator(store, "Rival", allow_same_name=True, now=NOW))


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    create_workspace(folder)
    with open_registry(folder) as store:
        yield make_world(store)
