"""A small world of money: artists whose ids are their names, look-ups, policies and revenue, written straight
into the tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from fake_records import digest

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.commitment import committed
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS, REVENUE, REVENUE_EVENTS
from fairbrush.corpus.registry import add_artist
from fairbrush.domain import Consent
from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.policies import AdoptedPolicy, Pins, adopt
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.records import Record, drain, write_pending
from fairbrush.store import Store, insert_rows, next_sequence

NOW = datetime(2026, 6, 1, 12)
JANUARY = date(2026, 1, 1)
PINS = Pins("0123456789abcdef", "v0001")
MANIFEST = digest("manifest")
E12 = 10**12


def publish(store: Store, manifest: str = MANIFEST, *, version: str = "v0001") -> None:
    row = (manifest, version, None, "mini", PINS.space_id, 5, 30, 0.25, NOW)
    with store.transaction() as connection:
        insert_chained(connection, INDEX_VERSIONS, [row], now=NOW)


def artist(
    store: Store,
    name: str,
    *,
    consent: Consent = Consent.OPTED_IN,
    creator: str | None = None,
    now: datetime = NOW,
) -> None:
    """An artist, creator and payee with the ids ``name``, ``c-name`` and ``p-name``."""
    ids = iter([f"p-{name}", f"c-{name}", name] if creator is None else [name])
    add_artist(store, name, consent=consent, creator=creator, now=now, new_id=lambda: next(ids))


def adopted(store: Store, *, day: date = JANUARY, **table: Any) -> AdoptedPolicy:
    return adopt(store, table, effective_from=day, now=NOW, current=PINS)


def look_up(
    image: object,
    shares: Mapping[str, int],
    *,
    model_e12: int = 0,
    model_id: str = "sd-1.5",
    value: str = "blend",
    split: Policy | None = None,
    manifest: str = MANIFEST,
    hint: str | None = None,
    calibration: str | None = None,
    recorded_at: datetime = NOW,
) -> Record:
    """A record of the image called ``image``; what nobody gets is unattributed. hint: makes another one of
    the same image."""
    policy = split or Policy()
    identity = {
        "image_sha256": digest(image),
        "encoder_id": "mini",
        "encoder_variant": "torch-fp32",
        "index_manifest_digest": manifest,
        "eligibility_digest": digest("all"),
        "value_function": {"name": value, "parameters": {}},
        "calibration_id": calibration,
        "model_id": model_id,
        "policy_digest": policy.digest,
        "hint": hint,
        "algorithm": "1",
    }
    body = {
        "schema": "fairbrush.record/1",
        "identity": identity,
        "policy": {"b": policy.b, "w": policy.w, "model": policy.model},
        "model_share_e12": model_e12,
        "unattributed_e12": E12 - model_e12 - sum(shares.values()),
        "shares": [
            {
                "artist_id": name,
                "creator_id": f"c-{name}",
                "payee_id": f"p-{name}",
                "share_e12": share,
                "phi": "0.5",
                "similarity": "0.75",
                "z": "0.25",
                "rank": rank,
            }
            for rank, (name, share) in enumerate(shares.items(), start=1)
        ],
    }
    about = {"path": None, "index_version": "v0001", "reason": None, "evidence": {}}
    return Record(body=body, about=about, recorded_at=recorded_at.replace(tzinfo=UTC))


def record(store: Store, *records: Record) -> None:
    """Into the database, in this order, each a batch of its own."""
    folder = store.workspace / "records"
    for one in records:
        write_pending(folder, [one])
        drain(store.connection, folder)


def bring(
    store: Store,
    reference: str,
    amount: int,
    *,
    image: object | None = None,
    images: Mapping[Any, int] | None = None,
    currency: str = "EUR",
    day: date = JANUARY,
    model: str | None = None,
) -> str:
    """A revenue line; its id. images: weights, for one that is spread."""
    revenue_id = canonical_digest({"reference": reference})
    spread = None if images is None else "weight"
    row = (
        revenue_id,
        reference,
        currency,
        amount,
        day,
        day,
        None if image is None else digest(image),
        model,
        spread,
        None if images is None else digest(sorted(images.items())),
        NOW,
    )
    with store.transaction() as connection:
        insert_chained(connection, REVENUE, [row], now=NOW)
        weights = [(revenue_id, digest(name), weight) for name, weight in (images or {}).items()]
        insert_rows(connection, "revenue_image", weights)
    return revenue_id


def cancel(store: Store, revenue_id: str) -> None:
    with store.transaction() as connection:
        sequence = next_sequence(connection, "revenue_event")
        row = (sequence, revenue_id, "cancelled", NOW, *committed("a mistake").columns)
        insert_chained(connection, REVENUE_EVENTS, [row], now=NOW)


def held(store: Store, currency: str = "EUR") -> dict[str, int]:
    """What every account holds, as ``payable p-ann ann``, but revenue."""
    return {
        shown(account): amount
        for (account, own), amount in balances(store.connection).items()
        if own == currency and account.kind is not AccountKind.REVENUE
    }


def shown(account: Account) -> str:
    return " ".join(filter(None, [str(account.kind), account.holder, account.subject]))


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All that money is kept in, and the chain over it."""
    tables = ("settlement", "settlement_line", "settlement_standing", "settlement_part", "entry", "posting")
    return {
        table: store.connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        for table in (*tables, "chain_batch")
    }
