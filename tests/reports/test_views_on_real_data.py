"""The views of money over histories that the real code wrote, held against what the library itself says of
them; and every view over the small platform of the story."""

import random
import shutil
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from money_histories import begin
from story import HOSTILE, Story
from workspaces import command

from fairbrush.corpus.consent import effective_consents
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.disputes import read_disputes, set_aside
from fairbrush.ledger.moves import MODEL_SUBJECT, artist_of
from fairbrush.ledger.payouts import PayoutStatus, list_payouts, payee_balances
from fairbrush.ledger.revenue import list_lines
from fairbrush.ledger.settled import Purpose, SettlementKind, by_purpose, list_settlements
from fairbrush.reports.catalogue import install_views, read_views
from fairbrush.reports.sql import connect_read_only
from fairbrush.store import DATABASE_NAME, Store, utc_now
from fairbrush.workspace import create_workspace

UNATTRIBUTED = "fund", "escrow of nobody"
OWED = "payable", "escrow", "disputed"


def read(connection, query: str) -> list[dict]:
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def assert_views_agree(connection) -> None:
    """With the functions the commands use, to the minor unit."""
    assert_earnings_by_creator(connection)
    assert_earnings_by_payee(connection)
    assert_earnings_by_model(connection)
    assert_earnings_by_period(connection)
    assert_revenue_by_month(connection)
    assert_held_over_time(connection)
    assert_disputes(connection)


def assert_earnings_by_creator(connection) -> None:
    creator_of = dict(connection.execute("SELECT artist_id, creator_id FROM artist").fetchall())
    expected: dict = defaultdict(Counter)
    kinds = AccountKind.PAYABLE, AccountKind.ESCROW, AccountKind.DISPUTED
    for (account, currency), amount in balances(connection, *kinds).items():
        of_erased = account.kind is AccountKind.PAYABLE and account.subject == ""
        if artist_of(account) or of_erased:
            expected[creator_of.get(artist_of(account)), currency][str(account.kind)] += amount
    for payout in list_payouts(connection):
        for subject, amount in payout.parts:
            if payout.status is not PayoutStatus.FAILED and not subject.startswith(MODEL_SUBJECT):
                expected[creator_of.get(subject), payout.currency][str(payout.status)] += amount
    names = {"payable": "owed", "proposed": "in_transit", "confirmed": "paid"}
    shown = {}
    for row in read(connection, "SELECT * FROM earnings_by_creator"):
        parts = {place: row[f"{names.get(place, place)}_minor"] for place in (*OWED, "proposed", "confirmed")}
        assert row["earned_minor"] == sum(parts.values())
        shown[row["creator_id"], row["currency"]] = Counter({at: n for at, n in parts.items() if n})
    assert shown == {key: held for key, of in expected.items() if (held := nonzero(of))}


def nonzero(sums: Counter) -> Counter:
    return Counter({key: amount for key, amount in sums.items() if amount})


def assert_earnings_by_payee(connection) -> None:
    consents = effective_consents(connection, now=utc_now())
    expected = {
        (one.payee_id, one.currency): (
            one.payable_minor + one.held_minor, one.held_minor, one.transit_minor, one.paid_minor)
        for of in payee_balances(connection, consents).values() for one in of
    }  # fmt: skip
    shown = {}
    for row in read(connection, "SELECT * FROM earnings_by_payee"):
        figures = [row[f"{name}_minor"] for name in ("owed", "held", "in_transit", "paid")]
        assert row["earned_minor"] == figures[0] + figures[2] + figures[3]
        shown[row["payee_id"], row["currency"]] = tuple(figures)
    # an account that was emptied has no balance, and a row of noughts here
    assert {key: of for key, of in shown.items() if any(of)} == {
        key: of for key, of in expected.items() if any(of)
    }


def assert_earnings_by_model(connection) -> None:
    expected: Counter = Counter()
    for (account, currency), amount in balances(connection, AccountKind.MODEL, AccountKind.PAYABLE).items():
        if account.kind is AccountKind.MODEL:
            expected[account.holder, currency] += amount
        elif account.subject.startswith(MODEL_SUBJECT):
            expected[account.subject.removeprefix(MODEL_SUBJECT), currency] += amount
    for payout in list_payouts(connection):
        for subject, amount in payout.parts:
            if payout.status is not PayoutStatus.FAILED and subject.startswith(MODEL_SUBJECT):
                expected[subject.removeprefix(MODEL_SUBJECT), payout.currency] += amount
    shown = read(connection, "SELECT * FROM earnings_by_model")
    assert nonzero(Counter({(row["model"], row["currency"]): row["developer_minor"] for row in shown})) == (
        nonzero(expected)
    )
    settled, named = Counter(), Counter()
    for row in shown:
        settled[row["currency"]] += row["revenue_minor"]
        named[row["currency"]] += row["lines"]
    lines = [one for one in list_lines(connection) if one.state == "settled"]
    assert nonzero(named) == Counter(one.currency for one in lines)
    for currency in named:
        assert settled[currency] == sum(one.amount_minor for one in lines if one.currency == currency)


def assert_earnings_by_period(connection) -> None:
    expected: dict = defaultdict(Counter)
    counts: Counter = Counter()
    for one in list_settlements(connection):
        for currency, purposes in by_purpose(one.parts).items():
            key = one.period.first, one.period.last, currency
            expected[key].update(purposes)
            counts[*key, one.kind] += 1
    shown = {}
    for row in read(connection, "SELECT * FROM earnings_by_period"):
        key = row["period_from"], row["period_to"], row["currency"]
        shown[key] = {purpose: row[f"{purpose}_minor"] for purpose in Purpose}
        assert row["revenue_minor"] == sum(shown[key].values())
        assert row["settlements"] == counts[*key, SettlementKind.SETTLEMENT]
        assert row["reversals"] == counts[*key, SettlementKind.REVERSAL]
    assert shown == {key: dict(of) for key, of in expected.items()}
    in_book = {
        currency: -amount for (_, currency), amount in balances(connection, AccountKind.REVENUE).items()
    }
    booked: Counter = Counter()
    for (_, _, currency), purposes in shown.items():
        booked[currency] += sum(purposes.values())
    assert nonzero(booked) == in_book


def assert_revenue_by_month(connection) -> None:
    expected: dict = defaultdict(Counter)
    for one in list_lines(connection):
        of = expected[one.earned.last.replace(day=1), one.currency]
        of["lines"] += 1
        of["amount"] += one.amount_minor
        of[str(one.state)] += one.amount_minor
    assert {
        (row["month"], row["currency"]): Counter(
            lines=row["lines"],
            **{name: row[f"{name}_minor"] for name in ("amount", "settled", "open", "cancelled")},
        )
        for row in read(connection, "SELECT * FROM revenue_by_month")
    } == {key: Counter(settled=0, open=0, cancelled=0) | of for key, of in expected.items()}


def held(connection, *, before: int | None = None) -> dict[str, Counter]:
    """What the book holds, by currency."""
    sums: dict[str, Counter] = defaultdict(Counter)
    kinds = AccountKind.FUND, AccountKind.ESCROW, AccountKind.DISPUTED, AccountKind.PAYABLE
    for (account, currency), amount in balances(connection, *kinds, before=before).items():
        is_nobodys = account.kind is AccountKind.FUND or (
            account.kind is AccountKind.ESCROW and account.holder == ""
        )
        sums[currency]["unattributed" if is_nobodys else str(account.kind)] += amount
    return sums


def assert_held_over_time(connection) -> None:
    last: dict[str, dict] = {}
    for row in read(connection, "SELECT * FROM held_over_time ORDER BY entry"):
        at_entry = held(connection, before=row["entry"] + 1)[row["currency"]]
        before = last.get(row["currency"], defaultdict(int))
        for name in ("unattributed", "escrow", "disputed"):
            assert row[f"{name}_minor"] == at_entry[name]
            assert row[f"{name}_change_minor"] == at_entry[name] - before[f"{name}_minor"]
        last[row["currency"]] = row
    now = held(connection)
    for currency, row in last.items():
        for name in ("unattributed", "escrow", "disputed"):
            assert row[f"{name}_minor"] == now[currency][name]
    months = {row["currency"]: row for row in read(connection, "SELECT * FROM held_by_month ORDER BY month")}
    for currency, row in months.items():
        assert row["owed_minor"] == now[currency]["payable"]
        for name in ("unattributed", "escrow", "disputed"):
            assert row[f"{name}_minor"] == now[currency][name]


def assert_disputes(connection) -> None:
    aside = set_aside(connection)
    shown: dict = defaultdict(dict)
    for row in read(connection, "SELECT * FROM disputes"):
        key = row["dispute_id"], row["subject_id"], row["creator_id"], row["state"], row["resolved_at"]
        shown[key] |= {row["currency"]: row["set_aside_minor"]} if row["currency"] else {}
    assert shown == {
        (one.dispute_id, one.subject_id, one.creator_id, str(one.state),
         one.resolution and one.resolution.resolved_at): aside.get(one.dispute_id, {})
        for one in read_disputes(connection)
    }  # fmt: skip


def test_views_of_money_agree_with_the_book_over_a_random_history(tmp_path: Path) -> None:
    create_workspace(tmp_path / "space")
    with Store.open(tmp_path / "space") as store:
        history = begin(store, random.Random("views 0"))
        install_views(store.connection)
        for number in range(50):
            history.step()
            if number % 25 == 24:
                assert_views_agree(store.connection)
        assert history.done["settle"] > 3
        for view in read_views():
            store.connection.execute(f"SELECT * FROM {view.name}").fetchall()


@pytest.fixture(scope="module")
def connection(story: Story):
    with connect_read_only(story.workspace / DATABASE_NAME) as connection:
        yield connection


def test_views_of_money_agree_with_the_book_of_the_story(connection) -> None:
    assert_views_agree(connection)
    assert read(connection, "SELECT sum(earned_minor)::BIGINT AS n FROM earnings_by_creator") == [
        {"n": 5168 + 445 + 1}  # artists, escrow and disputed of both months; 1 cent was nobody's in a dispute
    ]


def test_an_erased_artist_is_in_no_view_by_name(connection, story: Story) -> None:
    for view in read_views():
        if view.name != "earnings_by_payee":  # a payee who is owed money keeps the name
            text = repr(connection.execute(f"SELECT * FROM {view.name}").fetchall())
            assert story.names["jarno"] not in text, view.name
    assert read(connection, "SELECT DISTINCT artist FROM top_artists WHERE artist LIKE '(%'") == [
        {"artist": "(erased)"}
    ]
    known = {row["artist"] for row in read(connection, "SELECT artist FROM consent_history")}
    assert known == {"(erased)", HOSTILE, *(story.names[one] for one in ("alan", "andy", "danny"))}


def test_the_consent_in_effect_is_the_one_without_an_end(connection) -> None:
    rows = read(connection, "SELECT artist_id, consent FROM consent_history WHERE until IS NULL")
    in_effect = {row["artist_id"]: row["consent"] for row in rows}
    assert in_effect == {
        artist_id: str(consent)
        for artist_id, consent in effective_consents(connection, now=utc_now() + timedelta(days=1)).items()
    }


def test_mixes_say_what_the_answer_said(connection, story: Story) -> None:
    answer = story.answers["mix"]
    shares = {one["artist_id"]: one["share_e12"] for one in answer["artists"]}
    assert [
        (row["input_sha256"], row["weight"], row["artist_id"], int(row["artist_share"] * 10**12))
        for row in read(connection, "SELECT * FROM mixes ORDER BY input")
    ] == [
        (one["sha256"], one["weight"], one["artist_id"], shares[one["artist_id"]]) for one in answer["inputs"]
    ]


def test_confidence_and_answers_that_credit_nobody_are_counted(connection, story: Story) -> None:
    words = Counter(one["confidence"] or "not asked" for one in story.answers.values())
    rows = read(connection, "SELECT confidence, lookups, nobody_credited FROM answers_by_confidence")
    assert {row["confidence"]: row["lookups"] for row in rows} == words
    nobodys = [one["attribution_id"] for one in story.answers.values() if not one["artists"]]
    assert sum(row["nobody_credited"] for row in rows) == len(nobodys)
    (row,) = read(connection, "SELECT * FROM nobody_credited")
    assert (row["attribution_id"], row["nearest"]) == (nobodys[0], "(erased)")
    assert f"{row['nearest_z']:.3f}" in row["reason"]


def test_a_refused_image_of_a_run_over_a_folder_is_told(connection, story: Story) -> None:
    (row,) = read(connection, "SELECT path, reason, doing FROM refused_images")
    broken = story.images["both"].with_name("broken.png")
    assert row == {"path": str(broken), "reason": "truncated", "doing": "attribute"}


def test_the_command_shows_a_view(story: Story, tmp_path: Path) -> None:
    workspace = shutil.copytree(story.workspace, tmp_path / "space")  # the other is open, and locked down
    ran = command(workspace, "report", "earnings_by_period", "--csv")
    assert ran.code == 0, ran.stderr
    header, october, *_ = ran.stdout.decode().splitlines()
    assert header.startswith("period_from,period_to,currency,revenue_minor,platform_minor")
    assert october.startswith("2026-10-01,2026-10-31,EUR,11250,1126,5062,3376,844,561,281")
