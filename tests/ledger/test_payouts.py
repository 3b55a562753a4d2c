"""Payouts: what is owed is paid once, to whom it may be paid, and the book balances."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from earnings import NOW, adopt_minimum, artist, earn, move, open_world, payable
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain.tables import CHAINED_TABLES, PAYOUT_EVENTS, PAYOUTS
from fairbrush.corpus.consent import ConsentEvent, effective_consents, record_consents, set_consent
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.people import add_payee
from fairbrush.domain import Consent
from fairbrush.errors import MoneyError
from fairbrush.ledger.book import Account, AccountKind, EntryKind, balances
from fairbrush.ledger.disputes import Rejected
from fairbrush.ledger.disputing import contest_standing, resolve_dispute
from fairbrush.ledger.payouts import (
    CarriedForward,
    HeldReason,
    PayeeBalance,
    PayoutStatus,
    confirm,
    fail,
    list_payouts,
    payee_balances,
    propose,
    withheld_now,
)
from fairbrush.ledger.policies import NO_POLICY
from fairbrush.store import Store

BANK = Account(AccountKind.BANK)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_world(tmp_path / "space") as opened:
        yield opened


def opt_out(store: Store, artist_id: str) -> None:
    set_consent(store, artist_id, Consent.OPTED_OUT, now=NOW)


def transit(payout_id: str) -> Account:
    return Account(AccountKind.TRANSIT, payout_id)


def owed(store: Store, payee_id: str) -> dict[str, int]:
    """What is not paid yet, by currency, without what is nought."""
    sums = {
        one.currency: one.payable_minor + one.held_minor + one.transit_minor
        for one in payee_balances(store.connection, {}).get(payee_id, [])
    }
    return {currency: amount for currency, amount in sums.items() if amount}


# propose


def test_a_payee_gets_one_payout_a_currency_of_all_that_it_is_owed(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Ann's left hand", creator="Ann")
    earn(store, payable(ann), 700)
    earn(store, payable(hand), 300)
    earn(store, payable(ann), 50, "JPY")
    payouts = propose(store, now=NOW).payouts
    assert [(one.payee_id, one.currency, one.amount_minor) for one in payouts] == [
        (ann.payee_id, "EUR", 1000),
        (ann.payee_id, "JPY", 50),
    ]
    assert dict(payouts[0].parts) == {ann.artist_id: 700, hand.artist_id: 300}
    in_transit = {
        account.holder: amount
        for (account, _), amount in balances(store.connection, AccountKind.TRANSIT).items()
    }
    assert in_transit == {payouts[0].payout_id: 1000, payouts[1].payout_id: 50}
    assert balances(store.connection, AccountKind.PAYABLE) == {}
    assert list_payouts(store.connection) == list(payouts)


def test_what_is_proposed_is_not_proposed_again(store: Store) -> None:
    earn(store, payable(artist(store, "Ann")), 700)
    assert len(propose(store, now=NOW).payouts) == 1
    again = propose(store, now=NOW)
    assert (again.payouts, again.held, again.carried) == ((), (), ())


def test_a_dry_run_says_the_same_and_writes_nothing(store: Store) -> None:
    earn(store, payable(artist(store, "Ann")), 700)
    said = propose(store, now=NOW, dry_run=True)
    assert list_payouts(store.connection) == []
    assert propose(store, now=NOW) == said


def test_one_payee_can_be_paid_alone(store: Store) -> None:
    ann, bo = artist(store, "Ann"), artist(store, "Bo")
    earn(store, payable(ann), 700)
    earn(store, payable(bo), 300)
    assert [one.payee_id for one in propose(store, now=NOW, payee_id=bo.payee_id).payouts] == [bo.payee_id]
    assert owed(store, ann.payee_id) == {"EUR": 700}


def test_less_than_the_minimum_is_carried_forward_until_it_is_enough(store: Store) -> None:
    digest = adopt_minimum(store, EUR="10.00")
    ann = artist(store, "Ann")
    earn(store, payable(ann), 999)
    earn(store, payable(ann), 1, "JPY")
    first = propose(store, now=NOW)
    assert first.carried == (CarriedForward(ann.payee_id, "Ann", "EUR", 999, 1000),)
    assert [(one.currency, one.amount_minor) for one in first.payouts] == [("JPY", 1)]
    earn(store, payable(ann), 1)
    second = propose(store, now=NOW)
    assert [one.amount_minor for one in second.payouts] == [1000]
    rows = store.connection.execute("SELECT DISTINCT policy_digest FROM entry WHERE kind = 'payout_proposed'")
    assert rows.fetchall() == [(digest,)]


def test_a_minimum_counts_from_the_day_it_is_in_effect(store: Store) -> None:
    adopt_minimum(store, since=(NOW + DAY).date(), EUR="10.00")
    earn(store, payable(artist(store, "Ann")), 5)
    assert propose(store, now=NOW + DAY, dry_run=True).payouts == ()
    assert [one.amount_minor for one in propose(store, now=NOW).payouts] == [5]
    rows = store.connection.execute("SELECT policy_digest FROM entry WHERE kind = 'payout_proposed'")
    assert rows.fetchall() == [(NO_POLICY,)]


def test_a_debt_is_set_off_and_one_that_is_larger_is_carried_forward(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Hand", creator="Ann")
    earn(store, payable(ann), 100)
    earn(store, payable(hand), -30)
    earn(store, payable(ann), 10, "JPY")
    earn(store, payable(hand), -11, "JPY")
    proposal = propose(store, now=NOW)
    assert [(one.currency, one.amount_minor) for one in proposal.payouts] == [("EUR", 70)]
    assert [(one.currency, one.amount_minor) for one in proposal.carried] == [("JPY", -1)]
    assert {a for a, _ in balances(store.connection, AccountKind.PAYABLE)} == {payable(ann), payable(hand)}
    assert owed(store, ann.payee_id) == {"EUR": 70, "JPY": -1}


def test_an_opted_out_artist_is_never_paid_and_stays_owed(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Hand", creator="Ann")
    earn(store, payable(ann), 100)
    earn(store, payable(hand), 30)
    opt_out(store, hand.artist_id)
    proposal = propose(store, now=NOW)
    assert [one.parts for one in proposal.payouts] == [((ann.artist_id, 100),)]
    assert [(one.subject, one.amount_minor, one.reason) for one in proposal.held] == [
        (hand.artist_id, 30, HeldReason.OPTED_OUT)
    ]
    consents = effective_consents(store.connection, now=NOW)
    assert payee_balances(store.connection, consents)[ann.payee_id] == [
        PayeeBalance(ann.payee_id, "EUR", payable_minor=0, held_minor=30, transit_minor=100)
    ]
    set_consent(store, hand.artist_id, Consent.OPTED_IN, now=NOW + DAY)
    assert [one.parts for one in propose(store, now=NOW + DAY).payouts] == [((hand.artist_id, 30),)]


def test_an_opt_out_that_is_still_to_come_holds_nothing_yet(store: Store) -> None:
    ann = artist(store, "Ann")
    earn(store, payable(ann), 100)
    set_consent(store, ann.artist_id, Consent.OPTED_OUT, at=NOW + DAY, now=NOW)
    assert propose(store, now=NOW + DAY, dry_run=True).payouts == ()
    assert len(propose(store, now=NOW).payouts) == 1


def test_the_debt_of_an_opted_out_artist_is_still_set_off(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Hand", creator="Ann")
    earn(store, payable(ann), 100)
    earn(store, payable(hand), -30)
    opt_out(store, hand.artist_id)
    assert [one.amount_minor for one in propose(store, now=NOW).payouts] == [70]


def test_nothing_that_names_an_erased_artist_is_proposed_and_its_settled_debt_is(store: Store) -> None:
    payee = add_payee(store, "Gallery Nord")
    ann = artist(store, "Ann")
    forgotten = Account(AccountKind.PAYABLE, payee.payee_id, "")
    earn(store, forgotten, 40)
    earn(store, Account(AccountKind.PAYABLE, payee.payee_id, ann.artist_id), 60)
    erase_artist(store, ann.artist_id, now=NOW)
    proposal = propose(store, now=NOW)
    assert [one.parts for one in proposal.payouts] == [(("", 40),)]
    assert [(one.subject, one.reason) for one in proposal.held] == [(ann.artist_id, HeldReason.ARTIST_ERASED)]


def test_an_erased_payee_is_never_proposed(store: Store) -> None:
    ann = artist(store, "Ann")
    earn(store, payable(ann), 100)
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [ann.payee_id])
    proposal = propose(store, now=NOW)
    assert proposal.payouts == ()
    assert [(one.amount_minor, one.reason) for one in proposal.held] == [(100, HeldReason.PAYEE_ERASED)]


def test_a_developers_account_is_paid_like_an_artists(store: Store) -> None:
    payee = add_payee(store, "Model Makers")
    earn(store, Account(AccountKind.PAYABLE, payee.payee_id, "model:sd-1.5"), 100)
    assert [one.parts for one in propose(store, now=NOW).payouts] == [(("model:sd-1.5", 100),)]


def test_the_same_accounts_make_the_same_id_and_the_same_amounts_later_another(store: Store) -> None:
    ann = artist(store, "Ann")
    earn(store, payable(ann), 100)
    said = [propose(store, now=NOW + days * DAY, dry_run=True).payouts[0].payout_id for days in (0, 9)]
    first = propose(store, now=NOW).payouts[0].payout_id
    assert said == [first, first]
    fail(store, first, reason="closed", now=NOW)
    second = propose(store, now=NOW).payouts[0].payout_id
    assert second != first
    confirm(store, second, reference="B1", now=NOW)
    earn(store, payable(ann), 100)
    assert propose(store, now=NOW).payouts[0].payout_id not in (first, second)


# confirm and fail


def test_a_confirmed_payout_is_in_the_bank_for_good(store: Store) -> None:
    ann = artist(store, "Ann")
    earn(store, payable(ann), 100)
    payout_id = propose(store, now=NOW).payouts[0].payout_id
    [done] = confirm(store, payout_id, reference="  B-77 ", now=NOW + DAY)
    assert (done.changed, done.payout.status, done.payout.note) == (True, PayoutStatus.CONFIRMED, "B-77")
    assert (done.payout.proposed_at, done.payout.changed_at) == (NOW, NOW + DAY)
    assert balances(store.connection, AccountKind.BANK) == {(BANK, "EUR"): 100}
    assert owed(store, ann.payee_id) == {}
    before = balances(store.connection)
    [again] = confirm(store, payout_id, reference="other", now=NOW + DAY)
    assert (again.changed, again.payout) == (False, done.payout)
    with pytest.raises(MoneyError, match="was confirmed on 2026-06-02; that is final"):
        fail(store, payout_id, reason="came back", now=NOW + DAY)
    assert balances(store.connection) == before
    assert list_payouts(store.connection) == [done.payout]


def test_a_failed_payout_returns_exactly_as_it_came_and_is_final(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Hand", creator="Ann")
    earn(store, payable(ann), 100)
    earn(store, payable(hand), -30)
    before = balances(store.connection)
    payout_id = propose(store, now=NOW).payouts[0].payout_id
    opt_out(store, ann.artist_id)
    [done] = fail(store, payout_id, reason="account closed", now=NOW)
    assert (done.changed, done.payout.status, done.payout.note) == (
        True,
        PayoutStatus.FAILED,
        "account closed",
    )
    assert balances(store.connection) == before
    assert [one.changed for one in fail(store, payout_id, reason="again", now=NOW)] == [False]
    with pytest.raises(MoneyError, match="failed on 2026-06-01; that is final"):
        confirm(store, payout_id, reference="B", now=NOW)
    assert balances(store.connection) == before


def test_what_came_from_an_artist_erased_meanwhile_returns_without_a_name(store: Store) -> None:
    payee = add_payee(store, "Gallery Nord")
    ann = artist(store, "Ann")
    earn(store, Account(AccountKind.PAYABLE, payee.payee_id, ann.artist_id), 60)
    payout = propose(store, now=NOW).payouts[0]
    erase_artist(store, ann.artist_id, now=NOW)
    consents = effective_consents(store.connection, now=NOW)
    assert withheld_now(payout, consents) is HeldReason.ARTIST_ERASED
    fail(store, payout.payout_id, reason="closed", now=NOW)
    forgotten = Account(AccountKind.PAYABLE, payee.payee_id, "")
    assert balances(store.connection, AccountKind.PAYABLE) == {(forgotten, "EUR"): 60}
    assert [one.parts for one in propose(store, now=NOW).payouts] == [(("", 60),)]


@pytest.mark.parametrize("note", ["", "  "])
def test_what_the_bank_did_is_said_in_words(store: Store, note: str) -> None:
    earn(store, payable(artist(store, "Ann")), 100)
    payout_id = propose(store, now=NOW).payouts[0].payout_id
    with pytest.raises(MoneyError, match="without the bank's reference"):
        confirm(store, payout_id, reference=note, now=NOW)
    with pytest.raises(MoneyError, match="without the reason"):
        fail(store, payout_id, reason=note, now=NOW)
    assert [one.status for one in list_payouts(store.connection)] == [PayoutStatus.PROPOSED]


def test_a_payout_is_found_by_the_digits_a_bank_returns(store: Store) -> None:
    earn(store, payable(artist(store, "Ann")), 100)
    payout = propose(store, now=NOW).payouts[0]
    for wanted in (payout.payout_id, payout.payout_id[:32].upper(), payout.payout_id[:8]):
        [changed] = confirm(store, wanted, reference="B", now=NOW)
        assert changed.payout.payout_id == payout.payout_id
    for wanted in (payout.payout_id[:7], "", "0" * 64):
        with pytest.raises(MoneyError, match="no payout"):
            confirm(store, wanted, reference="B", now=NOW)


def test_every_payout_and_event_has_its_leaf_and_a_note_is_not_hashed(store: Store) -> None:
    ann = artist(store, "Ann")
    earn(store, payable(ann), 100)
    confirm(store, propose(store, now=NOW).payouts[0].payout_id, reference="secret", now=NOW)
    store.connection.execute("UPDATE payout_event SET reason = NULL, reason_salt = NULL")
    for table in CHAINED_TABLES:
        cursor = store.connection.execute(f"SELECT * FROM {table.table}")
        names = [column[0] for column in cursor.description or ()]
        leaves = {table.leaf(dict(zip(names, row, strict=True))) for row in cursor.fetchall()}
        kept = store.connection.execute(
            "SELECT record_key, digest FROM chain_leaf WHERE kind = ?", [table.kind]
        ).fetchall()
        assert {(leaf.key, leaf.digest) for leaf in leaves} == set(kept)
        assert (len(leaves) > 0) >= (table in (PAYOUTS, PAYOUT_EVENTS))


def test_a_payout_named_twice_is_confirmed_once_and_of_several_all_or_none(store: Store) -> None:
    for name in ("Ann", "Bo", "Kim"):
        earn(store, payable(artist(store, name)), 100)
    ann, bo, kim = (one.payout_id for one in propose(store, now=NOW).payouts)
    assert [one.changed for one in confirm(store, ann, ann[:8], reference="B", now=NOW)] == [True]
    fail(store, bo, reason="closed", now=NOW)
    with pytest.raises(MoneyError, match="that is final"):
        confirm(store, kim, bo, reference="B", now=NOW)
    assert [one.payout_id for one in list_payouts(store.connection, status=PayoutStatus.PROPOSED)] == [kim]
    changes = confirm(store, ann, kim, reference="B", now=NOW)
    assert [(one.payout.payout_id, one.changed) for one in changes] == [(ann, False), (kim, True)]
    assert balances(store.connection, AccountKind.BANK) == {(BANK, "EUR"): 200}
    assert confirm(store, reference="B", now=NOW) == []


# properties


@pytest.fixture(scope="module")
def world() -> Iterator[Store]:
    """Ann and her hand share a payee, Bo has one; at least 0.50 EUR are paid out. Wiped for each example."""
    with tempfile.TemporaryDirectory() as folder, open_world(Path(folder) / "space") as store:
        adopt_minimum(store, EUR="0.50")
        for name, creator in (("Ann", None), ("Hand", "Ann"), ("Bo", None)):
            artist(store, name, creator=creator)
        yield store


WIPED = ("entry", "posting", "payout", "payout_event", "consent_event", "chain_leaf", "chain_batch")
CURRENCIES = ("EUR", "JPY")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("earn"), st.integers(0, 2), st.sampled_from(CURRENCIES), st.integers(-60, 90)),
        st.tuples(st.sampled_from(["opt out", "opt in", "erase"]), st.integers(0, 2)),
        st.tuples(st.just("propose")),
        st.tuples(st.sampled_from(["confirm", "fail"]), st.integers(0, 5)),
    ),
    max_size=14,
)


class Books:
    """The same rules on plain dicts: what is owed, on its way and paid."""

    def __init__(self, artists: list[tuple[str, str]]) -> None:
        self.artists = artists  # (artist_id, payee_id)
        self.owed: dict[tuple[str, str, str], int] = defaultdict(int)  # payee, artist, currency
        self.out: dict[str, dict[tuple[str, str, str], int]] = {}  # a payout's parts
        self.paid: dict[str, int] = defaultdict(int)
        self.consents = {artist_id: Consent.OPTED_IN for artist_id, _ in artists}

    def expected(self) -> dict[tuple[str, str], int]:
        """What a proposal pays now, by payee and currency."""
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for (payee_id, artist_id, currency), amount in self.owed.items():
            if amount < 0 or self.consents.get(artist_id) is not Consent.OPTED_OUT:
                sums[payee_id, currency] += amount
        return {key: a for key, a in sums.items() if a >= (50 if key[1] == "EUR" else 1)}


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_nothing_is_paid_twice_and_nobody_who_is_opted_out_and_the_book_balances(
    world: Store, steps: list[tuple[object, ...]]
) -> None:
    for table in WIPED:
        world.connection.execute(f"DELETE FROM {table}")
    rows = world.connection.execute(
        "SELECT artist_id, payee_id FROM artist JOIN creator USING (creator_id) ORDER BY artist_id"
    ).fetchall()
    books = Books(rows)
    for step in steps:
        match step:
            case ("earn", int(who), str(currency), int(amount)):
                artist_id, payee_id = rows[who]
                subject = "" if books.consents[artist_id] is Consent.ERASED else artist_id
                earn(world, Account(AccountKind.PAYABLE, payee_id, subject), amount, currency)
                books.owed[payee_id, subject, currency] += amount
            case ("erase", int(who)) if books.consents[rows[who][0]] is not Consent.ERASED:
                forget(world, books, *rows[who])
            case ("opt out" | "opt in" as what, int(who)):
                consent = Consent.OPTED_OUT if what == "opt out" else Consent.OPTED_IN
                if books.consents[rows[who][0]] is not Consent.ERASED:
                    state(world, books, rows[who][0], consent)
            case ("propose",):
                propose_and_compare(world, books)
            case ("confirm" | "fail" as what, int(which)) if books.out:
                payout_id = sorted(books.out)[which % len(books.out)]
                finish(world, books, what, payout_id)
        compare(world, books)


def state(world: Store, books: Books, artist_id: str, consent: Consent) -> None:
    with world.transaction() as connection:
        record_consents(connection, [ConsentEvent(artist_id, consent, NOW, NOW, "test")])
    books.consents[artist_id] = consent


def forget(world: Store, books: Books, artist_id: str, payee_id: str) -> None:
    """What an erasure does to the book."""
    state(world, books, artist_id, Consent.ERASED)
    for currency in CURRENCIES:
        if amount := books.owed.pop((payee_id, artist_id, currency), 0):
            named = Account(AccountKind.PAYABLE, payee_id, artist_id)
            nameless = Account(AccountKind.PAYABLE, payee_id, "")
            move(world, EntryKind.ERASURE, named, nameless, amount, currency)
            books.owed[payee_id, "", currency] += amount


def propose_and_compare(world: Store, books: Books) -> None:
    expected = books.expected()
    proposal = propose(world, now=NOW)
    assert {(one.payee_id, one.currency): one.amount_minor for one in proposal.payouts} == expected
    for one in proposal.payouts:
        parts = {(one.payee_id, subject, one.currency): amount for subject, amount in one.parts}
        for (_, subject, _), amount in parts.items():
            assert books.consents.get(subject) is not Consent.ERASED
            assert amount < 0 or books.consents.get(subject) is not Consent.OPTED_OUT
        assert one.payout_id not in books.out
        books.out[one.payout_id] = parts
        for key, amount in parts.items():
            books.owed[key] -= amount
    assert propose(world, now=NOW).payouts == ()


def finish(world: Store, books: Books, what: str, payout_id: str) -> None:
    parts = books.out.pop(payout_id)
    act = {
        "confirm": lambda: confirm(world, payout_id, reference="B", now=NOW),
        "fail": lambda: fail(world, payout_id, reason="R", now=NOW),
    }
    assert [one.changed for one in act[what]()] == [True]
    for (payee_id, subject, currency), amount in parts.items():
        if what == "confirm":
            books.paid[currency] += amount
        else:
            kept = "" if books.consents.get(subject) is Consent.ERASED else subject
            books.owed[payee_id, kept, currency] += amount
    assert [one.changed for one in act[what]()] == [False]
    with pytest.raises(MoneyError, match="that is final"):
        act["fail" if what == "confirm" else "confirm"]()


def compare(world: Store, books: Books) -> None:
    found = balances(world.connection)
    for currency in CURRENCIES:
        assert sum(amount for (_, other), amount in found.items() if other == currency) == 0
        assert found.get((BANK, currency), 0) == books.paid[currency]
    owed = {
        (account.holder, account.subject, currency): amount
        for (account, currency), amount in found.items()
        if account.kind is AccountKind.PAYABLE
    }
    assert owed == {key: amount for key, amount in books.owed.items() if amount}
    on_the_way = {a.holder: amount for (a, _), amount in found.items() if a.kind is AccountKind.TRANSIT}
    assert on_the_way == {payout_id: sum(parts.values()) for payout_id, parts in books.out.items()}
    confirmed = list_payouts(world.connection, status=PayoutStatus.CONFIRMED)
    assert sum(one.amount_minor for one in confirmed) == sum(books.paid.values())


def test_money_of_a_failed_payout_is_set_aside_while_its_artist_is_contested(tmp_path: Path) -> None:
    with open_world(tmp_path / "space") as store:
        ann, rival = artist(store, "Ann"), artist(store, "Rival")
        earn(store, payable(ann), 70)
        (payout,) = propose(store, now=NOW).payouts
        dispute = contest_standing(
            store, ann.artist_id, creator_id=rival.creator_id, reason="These are mine.", now=NOW
        )
        fail(store, payout.payout_id, reason="no such account", now=NOW)
        aside = Account(AccountKind.DISPUTED, dispute.dispute_id, ann.artist_id)
        assert balances(store.connection, AccountKind.PAYABLE, AccountKind.DISPUTED) == {(aside, "EUR"): 70}
        assert propose(store, now=NOW).payouts == ()
        resolve_dispute(store, dispute.dispute_id, Rejected(), reason="They are Ann's.", now=NOW)
        assert balances(store.connection, AccountKind.PAYABLE) == {(payable(ann), "EUR"): 70}
