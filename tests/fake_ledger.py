"""A database with rows in every protected table, each committed to the chain as the program does it."""

import shutil
import tempfile
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
from fake_records import digest, open_database, record

from fairbrush.chain import tables
from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append, insert_chained
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, post
from fairbrush.ledger.records import drain, write_pending

NOON = datetime(2026, 1, 2, 12)
DAY = date(2026, 1, 2)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute, microseconds=minute * 7)


@cache
def _whole() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fairbrush-test-"))
    with open_database(folder / "whole.duckdb") as connection:
        fill(connection, folder)
    return folder / "whole.duckdb"


def copy_whole(file: Path) -> duckdb.DuckDBPyConnection:
    """A connection to a database of its own in which every protected table has rows."""
    shutil.copy(_whole(), file)
    return duckdb.connect(str(file))


def fill(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    _people(connection)
    for names in (["moon", "sun", "star"], ["sea"], [f"cloud {n}" for n in range(7)]):
        write_pending(folder, [record(name) for name in names])
        drain(connection, folder)
    _policies(connection)
    _calibration(connection)
    _revenue(connection)
    _settlement(connection)
    _payout(connection)
    _audit(connection)
    _events(connection)


def _transaction(connection, append: Append, minute: int) -> None:
    connection.begin()
    append.commit(now=at(minute))
    connection.commit()


def _people(connection) -> None:
    consents = [
        (n, artist, consent, at(n), at(n), "test", *committed(f"because {n}").columns)
        for n, (artist, consent) in enumerate(
            [("ada", "opted_in"), ("bo", "unclaimed"), ("cy", "opted_out"), ("bo", "opted_in")], start=1
        )
    ]
    insert_chained(connection, tables.CONSENT_EVENTS, consents[:3], now=at(3))
    insert_chained(connection, tables.CONSENT_EVENTS, consents[3:], now=at(4))
    erased = [(1, "dee", at(5), 3, *committed("asked to").columns), (2, "eli", at(6), 0, None, None, None)]
    insert_chained(connection, tables.REDACTIONS, erased, now=at(6))
    versions = [
        (digest(f"v000{n}"), f"v000{n}", None if n == 1 else "v0001", "mini", "space", n, 4 * n, n / 3, at(n))
        for n in (1, 2)
    ]
    insert_chained(connection, tables.INDEX_VERSIONS, versions, now=at(7))


def _policies(connection) -> None:
    for version in (1, 2):
        body = {"version": version, "effective_from": f"2026-01-0{version}", "terms": {"fee": "1/10"}}
        row = (
            version,
            canonical_digest(body),
            date(2026, 1, version),
            canonical_json(body).decode(),
            at(10 + version),
        )
        insert_chained(connection, tables.POLICIES, [row], now=at(10 + version))


def _calibration(connection) -> None:
    body = {"encoder_id": "mini", "map": {"gamma": "0.7", "kind": "power"}}
    row = (canonical_digest(body), "blend", "mini", "space", canonical_json(body).decode(), at(15))
    insert_chained(connection, tables.CALIBRATIONS, [row], now=at(15))


def _revenue(connection) -> None:
    images = [[digest("moon"), 10**6], [digest("sun"), 2 * 10**6]]
    spread = sorted(images)
    rows = [
        (digest("r1"), "r1", "EUR", 1000, DAY, DAY, digest("moon"), None, None, None, at(20)),
        (digest("r2"), "r2", "JPY", 50, DAY, DAY, None, "sd-1.5", "weight", canonical_digest(spread), at(20)),
    ]
    insert_chained(connection, tables.REVENUE, rows, now=at(20))
    connection.executemany("INSERT INTO revenue_image VALUES (?, ?, ?)", [(digest("r2"), *i) for i in images])
    event = (1, digest("r2"), "cancelled", at(21), *committed("twice in the list").columns)
    insert_chained(connection, tables.REVENUE_EVENTS, [event], now=at(21))


def _settlement(connection) -> None:
    body = {"lines": [digest("r1")]}
    settlement = canonical_digest(body)
    append = Append(connection)
    append.insert(
        tables.SETTLEMENTS,
        [
            (
                settlement,
                1,
                "settlement",
                DAY,
                DAY,
                digest("policy"),
                None,
                canonical_json(body).decode(),
                at(30),
                *committed("a mistake").columns,
            ),
        ],
    )
    append.insert(
        tables.SETTLEMENT_LINES,
        [(settlement, digest("r1"), digest("moon"), record("moon").attribution_id, None, "dispute-1")],
    )
    standing = ("creator-ada", "payee-ada", "opted_in", "paid", "1/1")
    append.insert(
        tables.SETTLEMENT_STANDINGS,
        [
            (settlement, "sd-1.5", "ada", *standing, None),
            (settlement, "sd-1.5", "bo", *standing, "dispute-2"),
        ],
    )
    append.insert(
        tables.SETTLEMENT_PARTS,
        [
            (settlement, "payable", "payee-ada", "ada", "EUR", "1999/2", 1000),
            (settlement, "revenue", "", "", "EUR", "-1000/1", -1000),
        ],
    )
    post(
        append,
        connection,
        EntryKind.SETTLEMENT,
        [
            Posting(Account(AccountKind.REVENUE), "EUR", -1000),
            Posting(Account(AccountKind.PAYABLE, "payee-ada", "ada"), "EUR", 600),
            Posting(Account(AccountKind.MODEL, "sd-1.5"), "EUR", 400),
        ],
        reference=settlement,
        policy_digest=digest("policy"),
        now=at(30),
    )
    _transaction(connection, append, 30)


def _payout(connection) -> None:
    append = Append(connection)
    append.insert(tables.PAYOUTS, [("payout-1", "payee-ada", "EUR", 600)])
    append.insert(tables.PAYOUT_EVENTS, [(1, "payout-1", "proposed", at(40), None, None, None)])
    post(
        append,
        connection,
        EntryKind.PAYOUT_PROPOSED,
        [
            Posting(Account(AccountKind.PAYABLE, "payee-ada", "ada"), "EUR", -600),
            Posting(Account(AccountKind.TRANSIT, "payout-1"), "EUR", 600),
        ],
        reference="payout-1",
        policy_digest=digest("policy"),
        now=at(40),
    )
    _transaction(connection, append, 40)
    failed = (2, "payout-1", "failed", at(41), *committed("account closed").columns)
    insert_chained(connection, tables.PAYOUT_EVENTS, [failed], now=at(41))


def _events(connection) -> None:
    claim = (1, "bo", "creator-bo", "payee-bo", at(50), *committed("signed letter").columns)
    insert_chained(connection, tables.CLAIMS, [claim], now=at(50))
    body = {"contested": ["ada"], "dispute_id": "dispute-1"}
    who = ("attribution", record("moon").attribution_id, "creator-bo", canonical_json(body).decode())
    disputes = [
        (n, "dispute-1", event, *who, canonical_digest(body), at(50 + n), *committed(f"{event} ü").columns)
        for n, event in enumerate(("opened", "resolved"), start=1)
    ]
    insert_chained(connection, tables.DISPUTE_EVENTS, disputes, now=at(52))


def _audit(connection) -> None:
    unit = (digest("moon"), record("moon").attribution_id)
    plan = {"draws": 2, "seed": 1}
    plan_id = canonical_digest(plan)
    append = Append(connection)
    row = (plan_id, 1, DAY, DAY, "EUR", 2, canonical_json(plan).decode(), at(45))
    append.insert(tables.AUDIT_PLANS, [row])
    append.insert(tables.AUDIT_DRAWS, [(plan_id, position, *unit, "0.5") for position in (1, 2)])
    _transaction(connection, append, 45)
    for sequence, outcome in enumerate(("failed", "measured"), start=1):
        body = {"outcome": outcome, "plan_id": plan_id}
        told = (digest("protocol"), canonical_json(body).decode(), canonical_digest(body), at(45 + sequence))
        insert_chained(
            connection,
            tables.AUDIT_RESULTS,
            [(sequence, plan_id, *unit, outcome, *told)],
            now=at(45 + sequence),
        )
