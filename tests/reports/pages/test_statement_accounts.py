"""Creators' accounts over random histories of money: they chain from period to period, and are the book."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from lived_history import Lived
from money import E12, PINS, adopted, artist, bring, look_up, publish, record
from money_histories import CREATORS
from written_money import assert_adds_up

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.people import assign_artist, assign_creator
from fairbrush.domain import Consent
from fairbrush.ledger.bank_details import set_bank_account
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.disputes import Assigned, Divided, Rejected, State, read_disputes
from fairbrush.ledger.disputing import contest_attribution, contest_standing, resolve_dispute
from fairbrush.ledger.moves import MODEL_SUBJECT, artist_of
from fairbrush.ledger.payouts import confirm, fail, list_payouts, propose
from fairbrush.ledger.period import Period, parse_period
from fairbrush.ledger.policies import adopt
from fairbrush.ledger.settlement import correct, settle
from fairbrush.reports.pages.statement import Statement, read_statement, statement_document
from fairbrush.reports.pages.statement_accounts import closing_accounts, sheets
from fairbrush.reports.pages.statement_money import Role, Why
from fairbrush.reports.pages.statement_moved import Moved, Place, read_moved
from fairbrush.reports.pages.statement_page import statement_html, statement_pdf
from fairbrush.reports.pages.words import Words
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

PERIODS = 4
KINDS = {
    AccountKind.PAYABLE: Place.PAYABLE,
    AccountKind.ESCROW: Place.ESCROW,
    AccountKind.DISPUTED: Place.DISPUTED,
}


def periods(store: Store, rng: random.Random) -> list[Period]:
    """Consecutive ones, of random lengths, from before the first entry to after the last."""
    ((first, last),) = store.connection.execute(
        "SELECT min(recorded_at)::DATE, max(recorded_at)::DATE FROM entry"
    ).fetchall()
    days = (last - first).days + 1
    cuts = sorted({first + timedelta(days=rng.randint(0, days)) for _ in range(PERIODS - 1)})
    starts = [first - timedelta(days=1), *cuts]
    ends = [*(cut - timedelta(days=1) for cut in cuts), last + timedelta(days=3)]
    return [Period(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]


def creators(store: Store) -> list[str]:
    rows = store.connection.execute("SELECT creator_id FROM creator ORDER BY 1").fetchall()
    return [creator_id for (creator_id,) in rows]


def booked_until(store: Store, day: date) -> Counter[tuple[Account, str]]:
    """The book's balances at the end of a day, added up here."""
    sums: Counter[tuple[Account, str]] = Counter()
    for kind, holder, subject, currency, amount in store.connection.execute(
        "SELECT account, holder, subject, currency, amount_minor FROM posting"
        " JOIN entry ON number = entry_number WHERE recorded_at::DATE <= ?",
        [day],
    ).fetchall():
        sums[Account(AccountKind(kind), holder, subject), currency] += amount
    return sums


@cache
def moved_of(store: Store, creator_id: str) -> list[Moved]:
    """Of a store in which nothing happens any more."""
    return read_moved(store.connection, creator_id)


def assert_together_the_book(store: Store, period: Period) -> None:
    """What artists' accounts hold is in one creator's accounts each; what is left is the platform's, the
    fund's, models', or of erased artists whose payee serves several."""
    owned: dict[tuple[Place, str, str, str], int] = {}
    for creator_id in creators(store):
        for key, amount in closing_accounts(moved_of(store, creator_id), period).items():
            is_shared = key[0] in (Place.PAYABLE, Place.TRANSIT) and key[2]
            assert is_shared or key not in owned, "any other account is one creator's"
            owned[key] = owned.get(key, 0) + amount
    for (account, currency), amount in booked_until(store, period.last).items():
        artist_id, place = artist_of(account), KINDS.get(account.kind)
        is_of_model = account.subject.startswith(MODEL_SUBJECT)
        own = (
            None
            if place is None or is_of_model
            else owned.pop((place, account.holder, artist_id, currency), None)
        )
        assert own in (None, amount)
        assert own or not amount or not artist_id, f"{account} is nobody's"
    on_their_way: Counter[str] = Counter()
    for (place, _, _, currency), amount in owned.items():
        assert place is Place.TRANSIT, "every other account is in the book"
        on_their_way[currency] += amount
    for (account, currency), amount in booked_until(store, period.last).items():
        if account.kind is AccountKind.TRANSIT:
            on_their_way[currency] -= amount
    assert max(on_their_way.values(), default=0) <= 0, "the rest is models' and what nobody is named for"


def assert_in_transit_by_artist(store: Store, period: Period) -> None:
    """At the end of a history: what of each artist is on its way, as the payouts themselves say."""
    expected: Counter[tuple[str, str, str]] = Counter()
    for payout in list_payouts(store.connection, status=PayoutStatus.PROPOSED):
        for subject, amount in payout.parts:
            if subject and not subject.startswith("model:"):
                expected[payout.payout_id, subject, payout.currency] += amount
    found: Counter[tuple[str, str, str]] = Counter()
    for creator_id in creators(store):
        moved = moved_of(store, creator_id)
        for (place, holder, artist_id, currency), amount in closing_accounts(moved, period).items():
            if place is Place.TRANSIT and artist_id:
                found[holder, artist_id, currency] += amount
    assert found == {key: amount for key, amount in expected.items() if amount}


def assert_chains(store: Store, consecutive: list[Period]) -> None:
    for creator_id in creators(store):
        moved = moved_of(store, creator_id)
        before: dict[str, dict[Place, int]] = {}
        for period in consecutive:
            found = {sheet.currency: sheet for sheet in sheets(moved, period)}
            for currency in found.keys() | before.keys():
                nothing = dict.fromkeys(Place, 0)
                opening = found[currency].opening if currency in found else nothing
                assert opening == before.get(currency, nothing), f"{creator_id}, {period}, {currency}"
            before = {currency: dict(sheet.closing) for currency, sheet in found.items()}
            for sheet in found.values():
                moves = sum(movement.total for movement in sheet.movements)
                assert sheet.opening_total + moves == sheet.closing_total
                parts = sheet.earned + sheet.taken_back + sheet.otherwise - sheet.paid
                assert sheet.opening_total + parts == sheet.closing_total


def assert_statements_sum(store: Store, period: Period, now: datetime) -> None:
    """Tables of a statement sum to its sheets, and what was confirmed is what was paid."""
    for creator_id in creators(store):
        found = read_statement(store, creator_id, period, now=now)
        for sheet in found.sheets:
            settled = sum(one.total for one in found.settled if one.currency == sheet.currency)
            kept = sum(one.amount_minor for one in found.kept if one.currency == sheet.currency)
            paid = sum(
                one.amount_minor
                for one in found.paid
                if one.currency == sheet.currency
                and one.status is PayoutStatus.CONFIRMED
                and one.changed_at.date() in period
            )
            assert (settled, kept, paid) == (sheet.earned + sheet.taken_back, sheet.closing_total, sheet.paid)
        assert {one.currency for one in found.kept} <= {sheet.currency for sheet in found.sheets}
        assert statement_document(found)["number"] == found.number


def assert_pages_add_up(store: Store, period: Period, now: datetime, *, papers: int) -> None:
    """Of each creator's page, and of the papers of those with most accounts."""
    words = Words.of("en")
    statements = [read_statement(store, one, period, now=now) for one in creators(store)]
    statements.sort(key=lambda one: -sum(len(sheet.movements) for sheet in one.sheets))
    for place, found in enumerate(statements):
        closing: dict[str, Counter[Place]] = {}
        moved = moved_of(store, found.creator_id)
        for (where, _, _, currency), amount in closing_accounts(moved, period).items():
            closing.setdefault(currency, Counter())[where] += amount
        pdf = statement_pdf(found, store.workspace, words) if place < papers else None
        assert_adds_up(statement_html(found, store.workspace, words), closing, pdf=pdf)


def assert_what_is_due_goes_next(store: Store, period: Period, now: datetime) -> None:
    """What a statement calls due is what the next proposal pays; what is too little it does not."""
    proposed = {(one.payee_id, one.currency) for one in propose(store, now=now, dry_run=True).payouts}
    told: dict[Why, set[tuple[str, str]]] = {why: set() for why in Why}
    for creator_id in creators(store):
        for one in read_statement(store, creator_id, period, now=now).kept:
            told[one.why].add((one.about, one.currency))
    assert told[Why.DUE]
    assert told[Why.BELOW_MINIMUM]
    assert told[Why.DUE] <= proposed
    assert not told[Why.BELOW_MINIMUM] & proposed


def test_statements_of_all_creators_chain_and_are_the_book(lived: Lived) -> None:
    store, now = lived.store, lived.now
    consecutive = periods(store, random.Random(0))
    assert_chains(store, consecutive)
    for period in consecutive:
        assert_together_the_book(store, period)
        assert_statements_sum(store, period, now)
    assert_in_transit_by_artist(store, consecutive[-1])
    assert set(CREATORS) <= {*creators(store)}


def test_pages_and_papers_of_all_creators_add_up_and_are_the_book(lived: Lived) -> None:
    *_, middle, last = periods(lived.store, random.Random(0))
    assert_pages_add_up(lived.store, middle, lived.now, papers=0)
    assert_pages_add_up(lived.store, last, lived.now, papers=2)
    assert_what_is_due_goes_next(lived.store, last, lived.now)


def at_payees(store: Store, creator_id: str) -> list[Moved]:
    """A creator's movements of what payees are owed for artist entries: the past of it never changes."""
    moved = read_moved(store.connection, creator_id)
    return [one for one in moved if one.artist_id and one.place in (Place.PAYABLE, Place.TRANSIT)]


def happen(store: Store, rng: random.Random, number: int, now: datetime) -> None:
    """One thing that moves what a payee is owed for ann, whom creators hand on to one another."""
    things = ("settle", "assign", "payout", "finish", "contest", "decide", "correct")
    match rng.choices(things, (5, 4, 2, 1, 1, 2, 1))[0]:
        case "settle":
            bring(store, f"invoice {number}", rng.choice((61, 122, 1001)), image="one")
            settle(store, parse_period("2026-01"), now=now)
        case "assign":
            assign_artist(store, "ann", rng.choice(SHARING))
        case "payout":
            propose(store, now=now)
        case "finish":
            for payout in list_payouts(store.connection, status=PayoutStatus.PROPOSED):
                if rng.random() < 0.6:
                    fail(store, payout.payout_id, reason="no such account", now=now)
                else:
                    confirm(store, payout.payout_id, reference="B-1", now=now)
        case "contest" if not is_open(store):
            if rng.random() < 0.5:
                contest_standing(store, "ann", creator_id="c-bo", reason="that is me", now=now)
            else:
                ((answer,),) = store.connection.execute("SELECT attribution_id FROM attribution").fetchall()
                contest_attribution(store, answer, creator_id="c-bo", reason="that is mine", now=now)
        case "decide":
            for one in read_disputes(store.connection):
                if one.state is State.OPEN:
                    is_over_shares = one.subject_id != "ann"
                    ruling = rng.choice((Rejected(), Rejected() if is_over_shares else Assigned("c-bo")))
                    resolve_dispute(store, one.dispute_id, ruling, reason="looked at", now=now)
        case "correct":
            lines = store.connection.execute("SELECT revenue_id FROM revenue ORDER BY 1").fetchall()
            correct(store, revenue_ids=[rng.choice(lines)[0]], why="a mistake", now=now)


def is_open(store: Store) -> bool:
    return any(one.state is State.OPEN for one in read_disputes(store.connection))


SHARING = ("c-ann", "c-bo", "c-cy")  # one payee is paid for the first two


@pytest.mark.parametrize("seed", [0, 7])
def test_the_past_of_an_entry_that_is_handed_on_stays(settled_in_june: Store, seed: int) -> None:
    store, rng, now = settled_in_june, random.Random(seed), datetime(2026, 6, 11)
    for name in ("bo", "cy"):
        artist(store, name)
    assign_creator(store, "c-bo", "p-ann")
    adopted(store, day=date(2026, 1, 2), platform_fee="0", minimum_payout={"EUR": "0.01"})
    past: dict[str, list[Moved]] = {creator_id: at_payees(store, creator_id) for creator_id in SHARING}
    for number in range(30):
        now += timedelta(hours=rng.choice((0, 1, 30)))
        happen(store, rng, number, now)
        for creator_id in SHARING:
            found = at_payees(store, creator_id)
            assert found[: len(past[creator_id])] == past[creator_id]
            past[creator_id] = found
    consecutive = periods(store, rng)
    assert_chains(store, consecutive)
    for period in consecutive:
        assert_together_the_book(store, period)
    assert_in_transit_by_artist(store, consecutive[-1])
    assert_statements_sum(store, consecutive[-1], now)
    together = {one.number for one in past["c-ann"] if one.kind is EntryKind.PAYOUT_PROPOSED}
    assert together & {one.number for one in past["c-bo"]}, "a payout of what both earned by one entry"


@pytest.fixture
def settled_in_june(tmp_path: Path) -> Iterator[Store]:
    """An artist who is owed 61 cents from June on."""
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        publish(store)
        artist(store, "ann")
        adopted(store, platform_fee="0", minimum_payout={"EUR": "1"})
        record(store, look_up("one", {"ann": E12 // 2}))
        bring(store, "invoice", 122, image="one")
        settle(store, parse_period("2026-01"), now=datetime(2026, 6, 10))
        yield store


@pytest.mark.parametrize("at", [datetime(2026, 6, 15), datetime(2026, 7, 1)])
def test_a_period_that_is_over_is_told_as_it_was_known_then(settled_in_june: Store, at: datetime) -> None:
    def told(now: datetime) -> Statement:
        return read_statement(settled_in_june, "c-ann", parse_period("2026-06"), now=now)

    before = told(datetime(2026, 7, 2))
    [kept] = before.kept
    assert (kept.why, kept.amount_minor, kept.minimum_minor) == (Why.BELOW_MINIMUM, 61, 100)
    late = datetime(2026, 7, 5)
    set_consent(settled_in_june, "ann", Consent.OPTED_OUT, at=at, now=late)
    adopt(
        settled_in_june,
        {"minimum_payout": {"EUR": "0.10"}},
        effective_from=date(2026, 6, 1),
        now=late,
        current=PINS,
    )
    artist(settled_in_june, "ann again", creator="c-ann", now=late)
    after = told(datetime(2026, 8, 1))
    assert (after.kept, after.use.entries, after.number) == (before.kept, before.use.entries, before.number)
    [now_held] = read_statement(settled_in_june, "c-ann", parse_period("2026-07"), now=late).kept
    assert now_held.why is Why.OPTED_OUT


def test_an_account_that_was_given_after_a_payout_is_not_the_one_it_went_to(settled_in_june: Store) -> None:
    store = settled_in_june

    def accounts() -> list[str | None]:
        found = read_statement(store, "c-ann", parse_period("2026-06"), now=datetime(2026, 8, 1))
        assert found.number == statement_document(found)["number"]
        return [one.account for one in found.paid]

    bring(store, "another", 400, image="one")
    settle(store, parse_period("2026-01"), now=datetime(2026, 6, 11))
    set_bank_account(store, "p-ann", "DE89370400440532013000", now=datetime(2026, 6, 12))
    [payout] = propose(store, now=datetime(2026, 6, 13)).payouts
    confirm(store, payout.payout_id, reference="B-1", now=datetime(2026, 6, 14))
    assert accounts() == ["DE** **** 3000"]
    set_bank_account(store, "p-ann", "FR1420041010050500013M02606", now=datetime(2026, 7, 1))
    assert accounts() == [None]


def test_what_a_dispute_gave_after_a_period_is_not_told_in_it(settled_in_june: Store) -> None:
    store = settled_in_june
    for name in ("bo", "cy"):
        artist(store, name)
    ((answer,),) = store.connection.execute("SELECT attribution_id FROM attribution").fetchall()
    dispute = contest_attribution(
        store, answer, creator_id="c-bo", reason="that is mine", now=datetime(2026, 6, 20)
    )

    def told(month: str) -> Statement:
        return read_statement(store, "c-cy", parse_period(month), now=datetime(2026, 8, 1))

    before = told("2026-06")
    given = Divided({"cy": Fraction(1, 4)})
    resolve_dispute(store, dispute.dispute_id, given, reason="so it is", now=datetime(2026, 7, 5))
    assert (told("2026-06").contested, told("2026-06").number) == ((), before.number)
    [one] = told("2026-07").contested
    assert (one.role, one.state) == (Role.GIVEN, State.UPHELD)


def test_who_is_given_an_entry_gets_nothing_of_what_another_earned_by_it(settled_in_june: Store) -> None:
    store, june, july = settled_in_june, parse_period("2026-06"), parse_period("2026-07")

    def told(creator_id: str, period: Period) -> Statement:
        return read_statement(store, creator_id, period, now=datetime(2026, 8, 1))

    def money(one: Statement) -> tuple[object, ...]:
        return one.sheets, one.settled, one.lines, one.paid, one.kept

    artist(store, "bo")
    assign_creator(store, "c-bo", "p-ann")
    before = told("c-ann", june)
    [kept] = before.kept
    assert (kept.why, kept.amount_minor) == (Why.BELOW_MINIMUM, 61)
    assign_artist(store, "ann", "c-bo")
    assigned = told("c-ann", june)
    assert money(assigned) == money(before)

    bring(store, "another", 400, image="one")
    settle(store, parse_period("2026-01"), now=datetime(2026, 7, 10))
    [payout] = propose(store, now=datetime(2026, 7, 11)).payouts
    assert payout.amount_minor == 261
    fail(store, payout.payout_id, reason="closed", now=datetime(2026, 7, 12))
    [again] = propose(store, now=datetime(2026, 7, 13)).payouts
    confirm(store, again.payout_id, reference="B-1", now=datetime(2026, 7, 14))
    assert told("c-ann", june).number == assigned.number
    assert money(told("c-ann", june)) == money(before)
    assert money(told("c-bo", june)) == ((), (), (), (), ())
    for creator_id, earned, paid in (("c-ann", 0, 61), ("c-bo", 200, 200)):
        found = told(creator_id, july)
        [sheet] = found.sheets
        assert (sheet.earned, sheet.paid, sheet.closing_total) == (earned, paid, 0)
        assert {one.amount_minor for one in found.paid} == {paid}

    first = store.connection.execute("SELECT revenue_id FROM revenue WHERE reference = 'invoice'").fetchall()
    correct(store, revenue_ids=[first[0][0]], why="a mistake", now=datetime(2026, 7, 20))
    back = {creator_id: told(creator_id, july).sheets[0] for creator_id in ("c-ann", "c-bo")}
    assert {one: sheet.taken_back for one, sheet in back.items()} == {"c-ann": -61, "c-bo": 0}
    assert {one: sheet.closing_total for one, sheet in back.items()} == {"c-ann": -61, "c-bo": 61}
