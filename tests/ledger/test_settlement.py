"""Settlements: every line once, to the minor unit; corrections that change only what they name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from fake_records import digest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from money import (
    E12,
    JANUARY,
    NOW,
    adopted,
    artist,
    bring,
    cancel,
    everything,
    held,
    look_up,
    publish,
    record,
    shown,
)

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.log import Append
from fairbrush.corpus.changes import open_registry, registry_change
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.membership import Membership, add_model, record_memberships
from fairbrush.corpus.people import add_payee
from fairbrush.domain import Consent, Trained
from fairbrush.errors import PolicyError, RegistryError, SettlementError
from fairbrush.ledger import standings
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post
from fairbrush.ledger.closing import close_accounts, owed
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.ledger.developers import assign_developer
from fairbrush.ledger.disputes import Assigned
from fairbrush.ledger.disputing import contest_standing, resolve_dispute
from fairbrush.ledger.payouts import confirm, fail, propose
from fairbrush.ledger.period import Period, parse_period
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.settled import list_settlements, read_carries, recheck, recheck_all
from fairbrush.ledger.settlement import SettlementReport, correct, settle
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

YEAR = parse_period("2026")
HALF = E12 // 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Ann and bo, opted in, and a published index; no policy."""
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as opened:
        publish(opened)
        artist(opened, "ann")
        artist(opened, "bo")
        yield opened


def settled(store: Store, period: Period = YEAR) -> SettlementReport:
    """Settle, and hold what was written against what it must be."""
    report = settle(store, period, now=NOW)
    assert_sound(store)
    return report


def assert_sound(store: Store) -> None:
    """Every settlement is what it must be, every currency sums to nought, and so do its carries."""
    assert recheck_all(store.connection) == {}
    for one in list_settlements(store.connection)[-1:]:
        assert recheck(store.connection, one.settlement_id) == []
    for carried in read_carries(store.connection, before=10**6).values():
        assert sum(carried.values()) == 0
    sums: dict[str, int] = {}
    for (_, currency), amount in balances(store.connection).items():
        sums[currency] = sums.get(currency, 0) + amount
    assert set(sums.values()) <= {0}


def leaves(store: Store) -> int:
    return int(store.connection.execute("SELECT count(*) FROM chain_leaf").fetchall()[0][0])


# one line


def test_one_image_pays_platform_model_artists_and_the_fund(store: Store) -> None:
    adopted(store, platform_fee=0.1)
    record(store, look_up("x", {"ann": E12 * 3 // 10, "bo": E12 // 10}, model_e12=HALF))
    bring(store, "r1", 1000, image="x")
    report = settled(store)
    assert held(store) == {
        "platform": 100,
        "model sd-1.5": 450,
        "payable p-ann ann": 270,
        "payable p-bo bo": 90,
        "fund": 90,
    }
    assert report.settlements[0].totals == {"EUR": 1000}
    assert (report.settlements[0].lines, report.settlements[0].images, report.unsettled) == (1, 1, ())


def test_settling_again_settles_nothing_and_writes_nothing(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    bring(store, "r1", 100, image="x")
    settled(store)
    before = everything(store)
    again = settle(store, YEAR, now=NOW + timedelta(days=1))
    assert (again.settlements, again.unsettled) == ((), ())
    assert everything(store) == before


def test_a_dry_run_says_what_would_be_settled_and_writes_nothing(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 3, "bo": E12 // 3}))
    bring(store, "r1", 100, image="x")
    before = everything(store)
    dry = settle(store, YEAR, now=NOW, dry_run=True)
    assert everything(store) == before
    real = settled(store)
    assert real.settlements == dry.settlements
    assert (dry.is_written, real.is_written) == (False, True)


def test_the_same_input_makes_the_same_postings_bit_for_bit(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        create_workspace(tmp_path / name)
        with open_registry(tmp_path / name) as store:
            publish(store)
            artist(store, "ann")
            artist(store, "bo")
            adopted(store, platform_fee=0.07)
            images = [look_up(n, {"ann": E12 // 7, "bo": E12 // 3}) for n in range(5)]
            record(store, *images)
            for number in range(5) if name == "one" else reversed(range(5)):
                bring(store, f"r{number}", 17, image=number)
            settled(store)
            found.append({table: rows for table, rows in everything(store).items() if table != "chain_batch"})
    assert found[0] == found[1]


def test_all_of_a_settlement_is_one_batch_of_the_chain(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": HALF}))
    bring(store, "r1", 100, image="x")
    batches = "SELECT count(*) FROM chain_batch"
    before, n_leaves = store.connection.execute(batches).fetchall()[0][0], leaves(store)
    settled(store)
    assert store.connection.execute(batches).fetchall()[0][0] == before + 1
    # settlement, line, ann's standing, two parts, entry, three postings
    assert leaves(store) == n_leaves + 9


# which record


def test_the_record_first_in_the_chain_pays_whatever_time_another_claims(store: Store) -> None:
    adopted(store)
    record(
        store,
        look_up("x", {"ann": E12}, recorded_at=NOW),
        look_up("x", {"bo": E12}, hint="asked again", recorded_at=NOW - timedelta(days=99)),
    )
    bring(store, "r1", 100, image="x")
    settled(store)
    assert held(store) == {"payable p-ann ann": 100}


@pytest.mark.parametrize(
    "other",
    [
        {"value": "nearest"},
        {"split": Policy(b="0.25")},
        {"manifest": digest("another index")},
        {"model_id": "tuned"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_record_made_under_anything_else_than_what_is_pinned_does_not_pay(store: Store, other) -> None:
    adopted(store)
    add_model(store, "tuned", base="sd-1.5", now=NOW)
    record(store, look_up("x", {"ann": E12}, **other))
    bring(store, "r1", 100, image="x")
    report = settled(store)
    assert report.settlements == ()
    (line,) = report.unsettled
    assert (line.reference, line.missing) == ("r1", (digest("x"),))
    assert line.reason == (
        "1 of 1 images have no record under policy 1 (index v0001, model sd-1.5, value blend, b 0.5, w 1)."
    )
    assert held(store) == {}
    record(store, look_up("x", {"bo": E12}))
    assert settled(store).unsettled == ()
    assert held(store) == {"payable p-bo bo": 100}


def test_an_index_version_that_an_erasure_rewrote_pays_by_either_manifest(store: Store) -> None:
    adopted(store)
    publish(store, digest("rewritten"))
    record(store, look_up("x", {"ann": E12}), look_up("y", {"bo": E12}, manifest=digest("rewritten")))
    bring(store, "r1", 10, image="x")
    bring(store, "r2", 20, image="y")
    settled(store)
    assert held(store) == {"payable p-ann ann": 10, "payable p-bo bo": 20}


def test_a_line_with_one_image_without_a_record_stays_open_and_the_others_are_settled(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    bring(store, "r1", 100, image="x")
    bring(store, "r2", 100, images={"x": 1, "unknown": 1})
    report = settled(store)
    assert [line.reference for line in report.unsettled] == ["r2"]
    assert report.unsettled[0].missing == (digest("unknown"),)
    assert held(store) == {"payable p-ann ann": 100}


# policies


def test_a_policy_that_changes_within_the_period_makes_two_settlements(store: Store) -> None:
    adopted(store, platform_fee=0.1)
    adopted(store, platform_fee=0.5, day=date(2026, 2, 1))
    record(store, look_up("x", {"ann": E12}))
    bring(store, "r1", 100, image="x", day=date(2026, 1, 31))
    bring(store, "r2", 100, image="x", day=date(2026, 2, 1))
    report = settled(store)
    assert [one.totals for one in report.settlements] == [{"EUR": 100}, {"EUR": 100}]
    assert held(store) == {"platform": 60, "payable p-ann ann": 140}
    assert dry_run_digests(report) == [policy_digest(store, 1), policy_digest(store, 2)]


def dry_run_digests(report: SettlementReport) -> list[str]:
    return [one.policy_digest for one in report.settlements]


def policy_digest(store: Store, version: int) -> str:
    query = "SELECT policy_digest FROM policy WHERE version = ?"
    return str(store.connection.execute(query, [version]).fetchall()[0][0])


def test_a_line_from_before_the_first_policy_stays_open_and_says_so(store: Store) -> None:
    adopted(store, day=date(2026, 2, 1))
    bring(store, "r1", 100, image="x", day=JANUARY)
    (line,) = settled(store).unsettled
    assert line.reason == "No policy is in effect on 2026-01-01."


def test_without_any_policy_nothing_is_settled_and_the_next_step_is_named(store: Store) -> None:
    bring(store, "r1", 100, image="x")
    with pytest.raises(PolicyError) as refused:
        settle(store, YEAR, now=NOW)
    assert "fairbrush policy adopt" in str(refused.value.next_step)


# spread


def test_a_period_line_is_spread_over_its_images_by_weight(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}), look_up("y", {"bo": E12}))
    bring(store, "r1", 100, images={"x": 3_000_000, "y": 1_000_000})
    settled(store)
    assert held(store) == {"payable p-ann ann": 75, "payable p-bo bo": 25}


# remainders


def test_ten_percent_of_one_cent_images_is_paid_when_each_is_settled_alone(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 10}, model_e12=E12 * 9 // 10))
    for number in range(20):
        bring(store, f"r{number}", 1, image="x")
        settle(store, YEAR, now=NOW)
    assert_sound(store)
    assert held(store) == {"model sd-1.5": 18, "payable p-ann ann": 2}


def test_currencies_keep_to_themselves(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 3}))
    for currency in ("EUR", "JPY", "KWD"):
        bring(store, currency, 100, image="x", currency=currency)
    settled(store)
    assert {currency: held(store, currency) for currency in ("EUR", "JPY", "KWD")} == {
        currency: {"payable p-ann ann": 33, "fund": 67} for currency in ("EUR", "JPY", "KWD")
    }


def test_a_payee_of_two_artists_is_rounded_once(store: Store) -> None:
    artist(store, "ann's other name", creator="c-ann")
    adopted(store)
    record(
        store, look_up("x", {"ann": E12 * 4 // 10, "ann's other name": E12 * 4 // 10, "bo": E12 * 2 // 10})
    )
    bring(store, "r1", 1, image="x")
    settled(store)
    # the payee's 0.8 outweighs bo's 0.2; alone neither of its 0.4 is more than the other
    assert held(store) == {"payable p-ann ann": 1}


# standings


def test_what_opted_out_and_unclaimed_artists_earn_waits_in_escrow(store: Store) -> None:
    adopted(store)
    set_consent(store, "ann", Consent.OPTED_OUT, now=NOW)
    set_consent(store, "bo", Consent.UNCLAIMED, now=NOW)
    record(store, look_up("x", {"ann": HALF, "bo": HALF}))
    bring(store, "r1", 100, image="x")
    settled(store)
    assert held(store) == {"escrow ann": 50, "escrow bo": 50}


def test_the_terms_may_send_what_is_withheld_to_the_unattributed(store: Store) -> None:
    adopted(store, opted_out="unattributed", unclaimed="unattributed", unattributed="platform")
    set_consent(store, "ann", Consent.OPTED_OUT, now=NOW)
    set_consent(store, "bo", Consent.UNCLAIMED, now=NOW)
    record(store, look_up("x", {"ann": HALF, "bo": HALF}))
    bring(store, "r1", 100, image="x")
    settled(store)
    assert held(store) == {"platform": 100}


def test_what_an_erased_artist_would_earn_is_unattributed(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": HALF, "bo": HALF}))
    bring(store, "r1", 100, image="x")
    erase_artist(store, "ann", now=NOW)
    settled(store)
    assert held(store) == {"payable p-bo bo": 50, "fund": 50}


def test_a_fraction_carried_for_an_artist_who_is_erased_goes_to_the_unattributed(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 * 4 // 10, "bo": E12 * 6 // 10}))
    bring(store, "r1", 1, image="x")
    settled(store)
    assert held(store) == {"payable p-bo bo": 1}
    erase_artist(store, "ann", now=NOW)
    record(store, look_up("y", {"bo": E12 * 6 // 10}))
    bring(store, "r2", 1, image="y")
    settled(store)
    assert held(store) == {"payable p-bo bo": 1, "fund": 1}
    assert "ann" not in {shown(account) for account in read_carries(store.connection, before=99)["EUR"]}


def test_what_an_artist_earns_whose_payee_is_erased_waits_in_escrow(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": HALF}, model_e12=HALF))
    bring(store, "r1", 100, image="x")
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = 'p-ann'")
    store.connection.execute("UPDATE model SET payee_id = 'p-ann'")
    settled(store)
    assert held(store) == {"escrow ann": 50, "model sd-1.5": 50}


@pytest.mark.parametrize(
    ("rule", "trained", "ann"),
    [
        ("ignore", Trained.NO, 100),
        ("filter", Trained.NO, 0),
        ("filter", Trained.UNKNOWN, 100),
        ("weight", Trained.NO, 0),
        ("weight", Trained.UNKNOWN, 25),
        ("weight", Trained.YES, 100),
    ],
)
def test_membership_counts_as_the_terms_say(store: Store, rule: str, trained: Trained, ann: int) -> None:
    adopted(store, membership=rule, membership_unknown=0.25)
    record_memberships(store, [Membership("sd-1.5", "ann", trained)], now=NOW)
    record(store, look_up("x", {"ann": E12}))
    bring(store, "r1", 100, image="x")
    settled(store)
    expected = {"payable p-ann ann": ann, "fund": 100 - ann}
    assert held(store) == {account: amount for account, amount in expected.items() if amount}


@pytest.mark.parametrize(("rule", "ann"), [("filter", 0), ("weight", 40)])
def test_reproducibility_counts_as_the_terms_say(store: Store, rule: str, ann: int) -> None:
    adopted(store, reproducibility=rule)
    record(store, look_up("x", {"ann": E12}))
    bring(store, "r1", 100, image="x")
    before = everything(store)
    with pytest.raises(SettlementError, match=r"nobody measured ann by sd-1\.5"):
        settle(store, YEAR, now=NOW)
    assert everything(store) == before
    store.connection.execute("INSERT INTO fidelity VALUES ('sd-1.5', 'ann', 400000, false, 'me', ?)", [NOW])
    settled(store)
    expected = {"payable p-ann ann": ann, "fund": 100 - ann}
    assert held(store) == {account: amount for account, amount in expected.items() if amount}


def test_a_fine_tune_inherits_how_well_its_base_reproduces_a_style(store: Store) -> None:
    add_model(store, "tuned", base="sd-1.5", now=NOW)
    adopted(store, reproducibility="weight")
    store.connection.execute("INSERT INTO fidelity VALUES ('sd-1.5', 'ann', 400000, true, 'me', ?)", [NOW])
    record(store, look_up("x", {"ann": E12}, model_id="tuned"))
    bring(store, "r1", 100, image="x", model="tuned")
    settled(store)
    assert held(store) == {"payable p-ann ann": 40, "fund": 60}


def test_a_share_below_the_minimum_claim_is_unattributed(store: Store) -> None:
    adopted(store, minimum_claim=0.1)
    record(store, look_up("x", {"ann": E12 // 10, "bo": E12 // 10 - 1}))
    bring(store, "r1", 10**12, image="x")
    settled(store)
    assert held(store) == {"payable p-ann ann": 10**11, "fund": 9 * 10**11}


def test_a_record_of_an_artist_who_is_not_registered_settles_nothing(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"nobody": E12}))
    bring(store, "r1", 100, image="x")
    with pytest.raises(SettlementError, match="not in the registry: nobody"):
        settle(store, YEAR, now=NOW)
    assert held(store) == {}


def test_fine_tunes_share_the_models_part_up_to_the_base(store: Store) -> None:
    add_model(store, "tuned", base="sd-1.5", now=NOW)
    add_model(store, "twice", base="tuned", now=NOW)
    add_payee(store, "Maker", now=NOW, new_id=lambda: "p-maker")
    store.connection.execute("UPDATE model SET payee_id = 'p-maker' WHERE model_id = 'tuned'")
    adopted(store, fine_tune_weight=0.5, fine_tune_weights={"twice": 0.2}, unattributed="model")
    record(store, look_up("x", {}, model_e12=HALF, model_id="twice"))
    bring(store, "r1", 100, image="x", model="twice")
    settled(store)
    assert held(store) == {"model twice": 20, "payable p-maker model:tuned": 40, "model sd-1.5": 40}


# disputes


def contested(monkeypatch: pytest.MonkeyPatch, contests: Contests) -> None:
    monkeypatch.setattr(standings, "read_contests", lambda connection: contests)


def test_what_is_contested_is_set_aside_and_what_was_decided_is_followed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted(store)
    one, two = look_up("x", {"ann": HALF, "bo": HALF - 10**11}), look_up("y", {"ann": E12})
    record(store, one, two)
    contested(
        monkeypatch,
        Contests(
            standings={"bo": "d-bo"},
            open={one.attribution_id: Contest("d-x", frozenset({"ann"}), unattributed=True)},
            decided={two.attribution_id: Decision("d-y", (("bo", E12 // 4),), E12 * 3 // 4)},
        ),
    )
    bring(store, "r1", 100, image="x")
    bring(store, "r2", 100, image="y")
    settled(store)
    assert held(store) == {"disputed d-x ann": 50, "disputed d-x": 10, "disputed d-bo bo": 65, "fund": 75}
    lines = "SELECT contested_by, decided_by FROM settlement_line ORDER BY ALL"
    assert set(store.connection.execute(lines).fetchall()) == {("d-x", None), (None, "d-y")}


def test_a_fraction_that_was_set_aside_is_not_taken_back_from_a_dispute_that_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted(store)
    one = look_up("x", {"ann": E12 * 3 // 10, "bo": E12 * 7 // 10})
    record(store, one)
    with monkeypatch.context() as patch:
        contest = Contest("d-x", frozenset({"ann"}), unattributed=False)
        contested(patch, Contests(open={one.attribution_id: contest}))
        x = bring(store, "r1", 1, image="x")
        settled(store)
    assert held(store) == {"payable p-bo bo": 1}
    correct(store, revenue_ids=[x], why="it is over", now=NOW)
    assert_sound(store)
    assert held(store) == {"payable p-bo bo": 1}
    assert {shown(a) for a in read_carries(store.connection, before=9)["EUR"]} == {
        "payable p-ann ann",
        "payable p-bo bo",
    }


# corrections


def test_a_correction_takes_back_its_lines_and_settles_them_by_what_is_known_now(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}), look_up("y", {"ann": HALF, "bo": HALF}))
    x = bring(store, "r1", 100, image="x")
    bring(store, "r2", 50, image="y")
    settled(store)
    set_consent(store, "ann", Consent.OPTED_OUT, now=NOW)
    (report,) = correct(store, revenue_ids=[x], why="she left before", now=NOW)
    assert_sound(store)
    back, again = report.settlements
    assert (back.kind, back.totals, again.kind, again.totals) == (
        "reversal",
        {"EUR": -100},
        "settlement",
        {"EUR": 100},
    )
    assert back.reverses == list_settlements(store.connection)[0].settlement_id
    assert held(store) == {"escrow ann": 100, "payable p-ann ann": 25, "payable p-bo bo": 25}
    assert store.connection.execute("SELECT reason FROM settlement ORDER BY number").fetchall() == [
        (None,),
        ("she left before",),
        (None,),
    ]


def test_a_correction_by_the_record_names_every_line_it_settled(store: Store) -> None:
    adopted(store)
    one = look_up("x", {"ann": E12})
    record(store, one, look_up("y", {"bo": E12}))
    bring(store, "r1", 100, image="x")
    bring(store, "r2", 7, images={"x": 1, "y": 1})
    bring(store, "r3", 1, image="y")
    settled(store)
    (report,) = correct(store, attribution_ids=[one.attribution_id], why="w", now=NOW)
    assert_sound(store)
    assert [(one.lines, one.totals["EUR"]) for one in report.settlements] == [(2, -107), (2, 107)]


def test_a_cancelled_line_is_only_taken_back_and_never_settled_again(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    x = bring(store, "r1", 100, image="x")
    settled(store)
    cancel(store, x)
    (report,) = correct(store, revenue_ids=[x], why="w", now=NOW)
    assert [one.totals for one in report.settlements] == [{"EUR": -100}]
    assert held(store) == {}
    assert settled(store).settlements == ()
    assert correct(store, revenue_ids=[x], why="w", now=NOW) == []


def test_a_line_may_be_corrected_again_and_again(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 3, "bo": E12 // 3}))
    x = bring(store, "r1", 100, image="x")
    settled(store)
    for consent in (Consent.OPTED_OUT, Consent.OPTED_IN, Consent.UNCLAIMED, Consent.OPTED_IN):
        set_consent(store, "ann", consent, now=NOW)
        correct(store, revenue_ids=[x], why="w", now=NOW)
        assert_sound(store)
    assert held(store) == {"payable p-ann ann": 33, "payable p-bo bo": 33, "fund": 34}


def test_money_that_was_paid_out_is_owed_and_set_off_against_what_comes(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    x = bring(store, "r1", 100, image="x")
    settled(store)
    move(store, EntryKind.PAYOUT_PROPOSED, payable("ann"), Account(AccountKind.TRANSIT, "po"), 100)
    cancel(store, x)
    correct(store, revenue_ids=[x], why="w", now=NOW)
    assert held(store) == {"payable p-ann ann": -100, "transit po": 100}
    bring(store, "r2", 150, image="x")
    settled(store)
    assert held(store) == {"payable p-ann ann": 50, "transit po": 100}


def payable(name: str) -> Account:
    return Account(AccountKind.PAYABLE, f"p-{name}", name)


def move(
    store: Store, kind: EntryKind, source: Account, target: Account, amount: int, ref: str = "1"
) -> None:
    with store.transaction() as connection:
        append = Append(connection)
        moves = [Posting(source, "EUR", -amount), Posting(target, "EUR", amount)]
        post(append, connection, kind, moves, reference=ref, policy_digest="0" * 64, now=NOW)
        append.commit(now=NOW)


def test_a_correction_follows_the_money_through_a_claim(store: Store) -> None:
    adopted(store)
    set_consent(store, "ann", Consent.UNCLAIMED, now=NOW)
    record(store, look_up("x", {"ann": E12}), look_up("y", {"ann": E12}))
    x = bring(store, "r1", 100, image="x")
    bring(store, "r2", 10, image="y")
    settled(store)
    assert held(store) == {"escrow ann": 110}
    set_consent(store, "ann", Consent.OPTED_IN, now=NOW)
    move(store, EntryKind.CLAIM, Account(AccountKind.ESCROW, "ann"), payable("ann"), 110)
    cancel(store, x)
    correct(store, revenue_ids=[x], why="w", now=NOW)
    assert_sound(store)
    assert held(store) == {"payable p-ann ann": 10}


def test_a_correction_follows_the_money_through_a_dispute(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    x = bring(store, "r1", 100, image="x")
    settled(store)
    aside = Account(AccountKind.DISPUTED, "d1", "ann")
    move(store, EntryKind.DISPUTE_OPENED, payable("ann"), aside, 100, "d1")
    cancel(store, x)
    correct(store, revenue_ids=[x], why="w", now=NOW)
    assert_sound(store)
    assert held(store) == {}


def test_a_correction_after_an_erasure_takes_from_where_the_money_went(store: Store) -> None:
    adopted(store)
    set_consent(store, "bo", Consent.UNCLAIMED, now=NOW)
    record(store, look_up("x", {"ann": HALF, "bo": HALF}), look_up("y", {"ann": HALF, "bo": HALF}))
    x = bring(store, "r1", 101, image="x")
    bring(store, "r2", 10, image="y")
    settled(store)
    owed = held(store)
    erase_artist(store, "ann", now=NOW)
    erase_artist(store, "bo", now=NOW)
    nobody = Account(AccountKind.PAYABLE, "p-ann")
    move(store, EntryKind.ERASURE, payable("ann"), nobody, owed["payable p-ann ann"], "1")
    bo = Account(AccountKind.ESCROW, "bo")
    move(store, EntryKind.ERASURE, bo, Account(AccountKind.FUND), owed["escrow bo"], "2")
    correct(store, revenue_ids=[x], why="w", now=NOW)
    assert_sound(store)
    found = held(store)
    # what was paid for ann stays with the payee; what was held for bo is nobody's
    assert found == {"payable p-ann": 55, "fund": 56}


# all of it at once


amounts = st.integers(1, 1000)
names = st.sampled_from(["ann", "bo"])
consents = st.sampled_from([Consent.OPTED_IN, Consent.OPTED_OUT, Consent.UNCLAIMED])
events = st.one_of(
    st.tuples(st.just("line"), st.tuples(st.integers(0, 3), amounts, st.sampled_from(["EUR", "JPY"]))),
    st.tuples(st.just("spread"), st.tuples(st.integers(1, 5), st.integers(1, 5), amounts)),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("consent"), st.tuples(names, consents)),
    st.tuples(st.just("erase"), names),
    st.tuples(st.just("correct"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
)


@given(st.lists(events, min_size=4, max_size=12), st.integers(0, 10))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_every_line_is_settled_once_to_the_minor_unit(history, fee_tenths: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        create_workspace(Path(folder) / "space")
        with open_registry(Path(folder) / "space") as store:
            publish(store)
            for name in ("ann", "bo", "cy"):
                artist(store, name)
            adopted(store, platform_fee=fee_tenths / 10)
            for number in range(4):
                record(store, look_up(number, {"ann": E12 // 3, "bo": E12 // (number + 5), "cy": E12 // 7}))
            check_history(store, history)


def check_history(store: Store, history: list[tuple[str, object]]) -> None:
    lines: list[tuple[str, str, int]] = []
    gone: set[str] = set()
    erased: set[str] = set()
    for number, (what, how) in enumerate(history):
        if what == "line":
            image, amount, currency = how
            lines.append(
                (bring(store, str(number), amount, image=image, currency=currency), currency, amount)
            )
        elif what == "spread":
            first, second, amount = how
            lines.append((bring(store, str(number), amount, images={0: first, 1: second}), "EUR", amount))
        elif what == "settle":
            settle(store, YEAR, now=NOW)
        elif what == "consent" and how[0] not in erased:
            set_consent(store, how[0], how[1], now=NOW)
        elif what == "erase" and how not in erased:
            erased.add(how)
            erase_artist(store, how, now=NOW)
        elif what in ("correct", "cancel") and lines:
            revenue_id = lines[how % len(lines)][0]
            if what == "cancel" and revenue_id not in gone:
                gone.add(revenue_id)
                cancel(store, revenue_id)
            correct(store, revenue_ids=[revenue_id], why="w", now=NOW)
    settle(store, YEAR, now=NOW)
    assert_sound(store)
    for currency in ("EUR", "JPY"):
        brought = sum(
            amount for revenue_id, own, amount in lines if own == currency and revenue_id not in gone
        )
        assert sum(held(store, currency).values()) == brought
    assert settle(store, YEAR, now=NOW).settlements == ()


@given(
    st.lists(st.tuples(st.integers(0, 3), amounts, st.sampled_from([*Consent][:3])), min_size=1, max_size=6),
    st.permutations(range(6)),
)
# escrow is claimed between two lines that are kept there: what was rounded away goes with it
@example([(0, 1, Consent.UNCLAIMED), (0, 1, Consent.OPTED_IN), (0, 1, Consent.UNCLAIMED)], [*range(6)])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_taking_every_line_back_leaves_nothing_anywhere(lines, order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        create_workspace(Path(folder) / "space")
        with open_registry(Path(folder) / "space") as store:
            publish(store)
            for name in ("ann", "bo", "cy"):
                artist(store, name)
            adopted(store, platform_fee=0.07)
            for number in range(4):
                record(store, look_up(number, {"ann": E12 // 3, "bo": E12 // (number + 5), "cy": E12 // 7}))
            ids = []
            for number, (image, amount, consent) in enumerate(lines):
                set_consent(store, "ann", consent, now=NOW)
                ids.append(bring(store, str(number), amount, image=image))
                settle(store, YEAR, now=NOW)
                escrow = held(store).get("escrow ann", 0)
                if consent is Consent.OPTED_IN and escrow:
                    account = Account(AccountKind.ESCROW, "ann")
                    move(store, EntryKind.CLAIM, account, payable("ann"), escrow, str(number))
            for revenue_id in [ids[place] for place in order if place < len(ids)]:
                cancel(store, revenue_id)
                correct(store, revenue_ids=[revenue_id], why="w", now=NOW)
            assert_sound(store)
            assert held(store) == {}


def test_an_alteration_of_anything_a_settlement_was_made_from_is_found(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": HALF, "bo": HALF}))
    bring(store, "r1", 101, image="x")
    settled(store)
    (one,) = list_settlements(store.connection)
    parts = "UPDATE settlement_part SET amount_minor = amount_minor + 1 WHERE subject = 'ann'"
    shares = (
        "UPDATE attribution_share SET share_e12 = share_e12 + CASE artist_id WHEN 'ann' THEN 9 ELSE -9 END"
    )
    for statement, told in {
        parts: "part of payable p-ann ann",
        "UPDATE settlement_standing SET factor = '1/2' WHERE artist_id = 'ann'": "standings",
        "UPDATE posting SET amount_minor = amount_minor + 1 WHERE subject = 'ann'": "entry in the book",
        "UPDATE revenue SET amount_minor = 99": "part of payable",
        shares: "part of",
        "DELETE FROM settlement_line": "lines",
    }.items():
        store.connection.begin()
        store.connection.execute(statement)
        assert any(told in problem for problem in recheck(store.connection, one.settlement_id)), statement
        store.connection.rollback()


def test_nothing_is_lost_of_a_fraction(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 3, "bo": E12 // 3}))
    bring(store, "r1", 1, image="x")
    settled(store)
    assert {shown(a): f for a, f in read_carries(store.connection, before=9)["EUR"].items()} == {
        "fund": Fraction(-2 * (E12 // 3), E12),
        "payable p-ann ann": Fraction(E12 // 3, E12),
        "payable p-bo bo": Fraction(E12 // 3, E12),
    }


def test_what_was_held_for_a_model_goes_to_its_payee_and_is_taken_back_from_there(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 3}, model_e12=HALF))
    first = bring(store, "r1", 1001, image="x")
    settled(store)
    lab = add_payee(store, "Lab", now=NOW)
    assert assign_developer(store, "sd-1.5", "Lab", now=NOW) == [("EUR", 500)]
    own = f"payable {lab.payee_id} model:sd-1.5"
    assert (held(store)[own], held(store).get("model sd-1.5")) == (500, None)
    assert assign_developer(store, "sd-1.5", "Lab", now=NOW) == []
    bring(store, "r2", 1001, image="x")
    settled(store)
    # the half cent that was carried came along
    assert (held(store)[own], held(store).get("model sd-1.5")) == (1001, None)
    correct(store, revenue_ids=[first], why="again", now=NOW)
    assert_sound(store)
    cancel(store, first)
    correct(store, revenue_ids=[first], why="refunded", now=NOW)
    assert_sound(store)
    assert held(store)[own] in (500, 501)
    assert "model sd-1.5" not in held(store)


def test_an_erased_payee_is_not_paid_for_a_model(store: Store) -> None:
    lab = add_payee(store, "Lab", now=NOW)
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [lab.payee_id])
    with pytest.raises(RegistryError, match="is erased"):
        assign_developer(store, "sd-1.5", lab.payee_id, now=NOW)


# what left before it was contested


def paid_out(store: Store, *, is_confirmed: bool = True) -> str:
    (payout,) = propose(store, now=NOW).payouts
    if is_confirmed:
        confirm(store, payout.payout_id, reference="B-1", now=NOW)
    return payout.payout_id


def contested_by_bo(store: Store) -> str:
    """Bo says that they are ann."""
    return contest_standing(store, "ann", creator_id="c-bo", reason="me", now=NOW).dispute_id


def test_what_was_paid_before_a_contest_is_owed_by_who_was_paid(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    paid = bring(store, "r1", 100, image="x")
    settled(store)
    paid_out(store)
    bring(store, "r2", 60, image="x")
    settled(store)
    dispute_id = contested_by_bo(store)
    bring(store, "r3", 7, image="x")
    settled(store)
    assert held(store) == {f"disputed {dispute_id} ann": 67, "bank": 100}
    cancel(store, paid)
    correct(store, revenue_ids=[paid], why="refunded", now=NOW)
    # as if it had been taken back before it was contested
    assert held(store) == {f"disputed {dispute_id} ann": 7, "payable p-ann ann": -40, "bank": 100}
    other = canonical_digest({"reference": "r2"})
    cancel(store, other)
    correct(store, revenue_ids=[other], why="refunded", now=NOW)
    assert held(store) == {f"disputed {dispute_id} ann": 7, "payable p-ann ann": -100, "bank": 100}
    resolve_dispute(store, dispute_id, Assigned("c-bo"), reason="shown", now=NOW)
    assert held(store) == {"payable p-bo ann": 7, "payable p-ann ann": -100, "bank": 100}
    assert_sound(store)


@pytest.mark.parametrize("is_failed_first", [True, False])
def test_what_comes_back_into_a_contest_is_taken_back_from_there(
    store: Store, *, is_failed_first: bool
) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12}))
    failed = bring(store, "r1", 100, image="x")
    settled(store)
    payout_id = paid_out(store, is_confirmed=False)
    dispute_id = contested_by_bo(store)
    if is_failed_first:
        fail(store, payout_id, reason="no such account", now=NOW)
        assert held(store) == {f"disputed {dispute_id} ann": 100}
    cancel(store, failed)
    correct(store, revenue_ids=[failed], why="refunded", now=NOW)
    if not is_failed_first:
        assert held(store) == {f"transit {payout_id}": 100, "payable p-ann ann": -100}
        fail(store, payout_id, reason="no such account", now=NOW)
    assert held(store) == {}
    assert_sound(store)


# corrections keep what was right


def erase(store: Store, name: str) -> None:
    with registry_change(store) as connection:
        erase_artist(store, name, owed=set(owed(connection)), now=NOW)
        append = Append(connection)
        close_accounts(append, connection, name, reference=f"redaction/{name}", now=NOW)
        append.commit(now=NOW)


def test_a_correction_leaves_what_was_settled_for_an_erased_artist_with_the_payee(store: Store) -> None:
    adopted(store)
    record(store, look_up("x", {"ann": E12 // 2, "bo": E12 // 4}))
    first = bring(store, "r1", 1000, image="x")
    settled(store)
    for payout in propose(store, now=NOW).payouts:
        confirm(store, payout.payout_id, reference="B-1", now=NOW)
    erase(store, "ann")
    correct(store, revenue_ids=[first], why="looked at again", now=NOW)
    assert_sound(store)
    assert held(store) == {"bank": 750, "fund": 250}
    correct(store, revenue_ids=[first], why="and again", now=NOW)
    assert_sound(store)
    assert held(store) == {"bank": 750, "fund": 250}
    # what comes later is never theirs
    bring(store, "r2", 1000, image="x")
    settled(store)
    assert held(store) == {"bank": 750, "fund": 1000, "payable p-bo bo": 250}


def test_a_correction_keeps_the_policy_that_settled_the_line(store: Store) -> None:
    adopted(store, platform_fee="0.1")
    record(store, look_up("x", {"ann": E12 // 2}))
    first = bring(store, "r1", 1000, image="x")
    settled(store)
    before = held(store)
    adopted(store, platform_fee="0.5", value="nearest")
    (report,) = correct(store, revenue_ids=[first], why="looked at again", now=NOW)
    assert report.unsettled == ()
    assert held(store) == before
    assert_sound(store)
