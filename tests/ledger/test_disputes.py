"""Disputes: what is contested is set aside, a ruling is an event with a reason, the money follows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from disputed_worlds import (
    FUND,
    HALF_E12,
    NOW,
    World,
    adopt_policy,
    escrow,
    make_world,
    open_world,
    payable,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairbrush.chain.commitment import commitment
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.people import add_creator
from fairbrush.corpus.registry import find_artist
from fairbrush.domain import Artist, Consent
from fairbrush.errors import DisputeError, RecordError
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.contests import Contest, Decision
from fairbrush.ledger.disputes import (
    Assigned,
    Dispute,
    Divided,
    Rejected,
    State,
    Subject,
    find_dispute,
    read_contests,
    read_disputes,
    set_aside,
)
from fairbrush.ledger.disputing import contest_attribution, contest_standing, resolve_dispute
from fairbrush.store import Store

MODEL = Account(AccountKind.MODEL, "sd-1.5")


@pytest.fixture(scope="module")
def first_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Closed: to be copied."""
    with open_world(tmp_path_factory.mktemp("first") / "space") as made:
        return made


@pytest.fixture
def world(first_world: World, tmp_path: Path) -> Iterator[World]:
    with open_registry(Path(shutil.copytree(first_world.store.workspace, tmp_path / "space"))) as store:
        yield replace(first_world, store=store)


def contest(world: World, artist: str = "ann", *, creator_id: str | None = None) -> Dispute:
    artist_id = getattr(world, artist).artist_id
    creator_id = creator_id or world.rival.creator_id
    return contest_standing(world.store, artist_id, creator_id=creator_id, reason="These are mine.", now=NOW)


def resolve(world: World, dispute: Dispute, ruling: Rejected | Divided | Assigned) -> Dispute:
    return resolve_dispute(world.store, dispute.dispute_id, ruling, reason="We looked.", now=NOW)


def disputed(dispute: Dispute, artist_id: str) -> Account:
    return Account(AccountKind.DISPUTED, dispute.dispute_id, artist_id)


def entries(world: World) -> list[str]:
    rows = world.store.connection.execute("SELECT kind FROM entry ORDER BY number").fetchall()
    return [kind for (kind,) in rows]


# standing


def test_contested_artist_is_owed_nothing_and_nobody_else_is_touched(world: World) -> None:
    world.earn(ann=70, bo=20, cy=10)
    dispute = contest(world)
    assert world.balances() == {
        disputed(dispute, world.ann.artist_id): 70,
        payable(world.bo): 20,
        escrow(world.cy): 10,
    }
    assert set_aside(world.store.connection) == {dispute.dispute_id: {"EUR": 70}}
    assert read_contests(world.store.connection).standings == {world.ann.artist_id: dispute.dispute_id}


def test_every_currency_is_set_aside_but_no_debt_and_nothing_of_an_earlier_payee(
    world: World,
) -> None:
    earlier = Account(AccountKind.PAYABLE, world.bo.payee_id, world.ann.artist_id)
    overpaid = Account(AccountKind.PAYABLE, world.rival.payee_id, world.ann.artist_id)
    nobodys = Account(AccountKind.PAYABLE, world.ann.payee_id)
    world.book({payable(world.ann): 70, earlier: 5, escrow(world.ann): 3, overpaid: -2, nobodys: 1})
    world.book({payable(world.ann): 900}, currency="JPY")
    dispute = contest(world)
    aside = disputed(dispute, world.ann.artist_id)
    assert world.balances() == {aside: 73, earlier: 5, overpaid: -2, nobodys: 1}
    assert world.balances("JPY") == {aside: 900}


@pytest.mark.parametrize("artist", ["ann", "cy"])
def test_rejected_contest_leaves_it_as_it_was(world: World, artist: str) -> None:
    world.earn(ann=70, cy=10)
    before = world.balances()
    dispute = contest(world, artist)
    resolved = resolve(world, dispute, Rejected())
    assert world.balances() == before
    assert resolved.state is State.REJECTED
    assert read_contests(world.store.connection).standings == {}
    assert entries(world) == ["settlement", EntryKind.DISPUTE_OPENED, EntryKind.DISPUTE_RESOLVED]


def test_what_was_set_aside_follows_consent_given_meanwhile(world: World) -> None:
    world.earn(ann=70, cy=10)
    of_ann, of_cy = contest(world), contest(world, "cy")
    set_consent(world.store, world.ann.artist_id, Consent.OPTED_OUT, now=NOW)
    set_consent(world.store, world.cy.artist_id, Consent.OPTED_IN, now=NOW)
    for dispute in (of_ann, of_cy):
        resolve(world, dispute, Rejected())
    assert world.balances() == {escrow(world.ann): 70, payable(world.cy): 10}


def test_upheld_contest_gives_the_entry_and_the_money_to_the_creator(world: World) -> None:
    world.earn(ann=70)
    resolved = resolve(world, contest(world), Assigned(world.rival.creator_id))
    owner = find_artist(world.store, world.ann.artist_id).artist
    assert (owner.creator_id, owner.payee_id) == (world.rival.creator_id, world.rival.payee_id)
    assert world.balances() == {payable(owner): 70}
    assert resolved.state is State.UPHELD


@pytest.mark.parametrize(
    ("unattributed", "account"),
    [
        (None, FUND),
        ("fund", FUND),
        ("escrow", Account(AccountKind.ESCROW)),
        ("platform", Account(AccountKind.PLATFORM)),
        ("model", Account(AccountKind.MODEL, "sd-1.5")),
    ],
)
def test_what_is_nobodys_goes_where_the_policy_sends_it(
    world: World, unattributed: str | None, account: Account
) -> None:
    if unattributed:
        adopt_policy(world.store, {"unattributed": unattributed})
    world.earn(ann=70)
    resolve(world, contest(world), Assigned(None))
    assert world.balances() == {account: 70}
    assert find_artist(world.store, world.ann.artist_id).artist.creator_id == world.ann.creator_id


def test_erased_artist_is_paid_by_no_ruling(world: World) -> None:
    world.earn(ann=70)
    dispute = contest(world)
    erase_artist(world.store, world.ann.artist_id, now=NOW)
    with pytest.raises(DisputeError, match="erased"):
        resolve(world, dispute, Assigned(world.rival.creator_id))
    resolve(world, dispute, Rejected())
    assert world.balances() == {FUND: 70}


def test_artist_may_be_contested_again_once_it_is_decided(world: World) -> None:
    first = contest(world)
    with pytest.raises(DisputeError, match=rf"contested already.*{first.dispute_id}"):
        contest(world)
    resolve(world, first, Rejected())
    second = contest(world)
    assert second.dispute_id != first.dispute_id
    assert [one.state for one in read_disputes(world.store.connection)] == [State.REJECTED, State.OPEN]


def test_dispute_over_nothing_earned_books_nothing(world: World) -> None:
    resolve(world, contest(world), Rejected())
    assert entries(world) == []


# attribution


def contest_shares(
    world: World, attribution_id: str, *artists: Artist, unattributed: bool = False
) -> Dispute:
    """Of all that it credits, where nobody is named and the unattributed part is not claimed."""
    named = [artist.artist_id for artist in artists]
    return contest_attribution(
        world.store,
        attribution_id,
        creator_id=world.rival.creator_id,
        artist_ids=named if named or unattributed else None,
        claims_unattributed=unattributed,
        reason="This is my style.",
        now=NOW,
    )


@pytest.fixture
def shared(world: World) -> str:
    """A look-up that gives Ann and Bo 0.2 each, the model 0.5 and nobody 0.1, with 10.00 EUR of revenue."""
    adopt_policy(world.store, {})
    attribution_id = world.look_up("x", world.ann, world.bo, unattributed_e12=10**11)
    world.bring_in("x", 1000)
    return attribution_id


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("contested", "unattributed", "aside"),
    [
        ([], False, {"ann": 200, "bo": 200}),
        (["ann"], False, {"ann": 200}),
        (["bo"], True, {"bo": 200, "": 100}),
        ([], True, {"": 100}),
    ],
)
def test_contested_shares_are_set_aside_whether_or_not_they_were_settled(
    world: World, shared: str, when: str, contested: list[str], unattributed: bool, aside: dict[str, int]
) -> None:
    if when == "after":
        world.settle()
    dispute = contest_shares(
        world, shared, *(getattr(world, name) for name in contested), unattributed=unattributed
    )
    if when == "before":
        world.settle()
    ids = {"": "", "ann": world.ann.artist_id, "bo": world.bo.artist_id}
    paid = {payable(world.ann): 200, payable(world.bo): 200, FUND: 100, MODEL: 500}
    for name in aside:
        paid.pop(FUND if not name else payable(getattr(world, name)))
    set_aside_now = {disputed(dispute, ids[name]): amount for name, amount in aside.items()}
    assert world.balances() == paid | set_aside_now


@pytest.mark.parametrize("when", ["before", "after"])
def test_rejected_contest_of_shares_leaves_them_as_they_were(world: World, shared: str, when: str) -> None:
    if when == "after":
        world.settle()
    dispute = contest_shares(world, shared, world.ann, unattributed=True)
    world.settle()
    resolve(world, dispute, Rejected())
    assert world.balances() == {payable(world.ann): 200, payable(world.bo): 200, FUND: 100, MODEL: 500}
    world.bring_in("x", 100)
    world.settle()
    assert world.balances() == {payable(world.ann): 220, payable(world.bo): 220, FUND: 110, MODEL: 550}


@pytest.mark.parametrize("when", ["never", "before", "after"])
def test_ruling_divides_what_was_contested_and_later_revenue_follows_it(
    world: World, shared: str, when: str
) -> None:
    if when == "before":
        world.settle()
    dispute = contest_shares(world, shared, world.ann, unattributed=True)  # 0.3 of the image
    if when == "after":
        world.settle()
    give = {world.cy.artist_id: Fraction(1, 3), world.bo.artist_id: Fraction(1, 2)}
    resolved = resolve(world, dispute, Divided(give))
    assert resolved.resolution is not None
    assert resolved.resolution.decision == Decision(
        dispute.dispute_id,
        tuple(sorted({world.bo.artist_id: 35 * 10**10, world.cy.artist_id: 10**11}.items())),
        5 * 10**10,
    )
    read = find_dispute(world.store.connection, dispute.dispute_id).resolution
    assert read == resolved.resolution
    world.settle()
    assert world.balances() == {payable(world.bo): 350, escrow(world.cy): 100, FUND: 50, MODEL: 500}
    world.bring_in("x", 100)
    world.settle()
    assert world.balances() == {payable(world.bo): 385, escrow(world.cy): 110, FUND: 55, MODEL: 550}


def test_nothing_given_is_unattributed(world: World, shared: str) -> None:
    world.settle()
    resolve(world, contest_shares(world, shared), Divided())
    assert world.balances() == {FUND: 500, MODEL: 500}


def test_decided_shares_can_be_contested_again(world: World, shared: str) -> None:
    world.settle()
    first = contest_shares(world, shared, world.ann)
    with pytest.raises(DisputeError, match=rf"contested already.*{first.dispute_id}"):
        contest_shares(world, shared, world.bo)
    resolve(world, first, Divided({world.cy.artist_id: Fraction(1)}))
    with pytest.raises(DisputeError, match="not credited"):
        contest_shares(world, shared, world.ann)
    second = contest_shares(world, shared, world.cy)
    assert world.balances()[disputed(second, world.cy.artist_id)] == 200
    contests = read_contests(world.store.connection)
    assert contests.open == {shared: second.contest}
    assert contests.decided[shared].dispute_id == first.dispute_id
    resolve(world, second, Divided({world.ann.artist_id: Fraction(1)}))
    assert world.balances() == {payable(world.ann): 200, payable(world.bo): 200, FUND: 100, MODEL: 500}
    assert read_contests(world.store.connection).decided[shared].dispute_id == second.dispute_id
    assert find_dispute(world.store.connection, first.dispute_id).contest.artist_ids == {world.ann.artist_id}


@pytest.mark.parametrize("first", ["standing", "shares"])
def test_what_two_disputes_hold_waits_for_both(world: World, shared: str, first: str) -> None:
    world.settle()
    if first == "standing":
        of_ann, of_share = contest(world), contest_shares(world, shared, world.ann)
    else:
        of_share, of_ann = contest_shares(world, shared, world.ann), contest(world)
    resolve(world, of_ann, Rejected())
    assert world.balances()[disputed(of_share, world.ann.artist_id)] == 200
    of_ann = contest(world)
    resolve(world, of_share, Rejected())
    assert world.balances()[disputed(of_ann, world.ann.artist_id)] == 200
    resolve(world, of_ann, Rejected())
    assert world.balances() == {payable(world.ann): 200, payable(world.bo): 200, FUND: 100, MODEL: 500}


def test_shares_of_an_artist_erased_meanwhile_are_nobodys(world: World, shared: str) -> None:
    world.settle()
    dispute = contest_shares(world, shared)
    erase_artist(world.store, world.ann.artist_id, now=NOW)
    with pytest.raises(DisputeError, match="erased"):
        resolve(world, dispute, Divided({world.ann.artist_id: Fraction(1)}))
    resolve(world, dispute, Rejected())
    assert world.balances() == {payable(world.bo): 200, FUND: 300, MODEL: 500}


def test_what_contests_nothing_or_divides_too_much_is_refused(world: World, shared: str) -> None:
    nothing = world.look_up("nothing")
    for unknown in ("0" * 64, shared[:7]):
        with pytest.raises(RecordError, match="There is no record"):
            contest_shares(world, unknown)
    for attribution_id, artists, unattributed, message in (
        (shared, [world.cy], False, "not credited"),
        (nothing, [], False, "--unattributed"),
        (world.look_up("all", world.ann), [], True, "--unattributed"),
    ):
        with pytest.raises(DisputeError, match=message):
            contest_shares(world, attribution_id, *artists, unattributed=unattributed)
    dispute = contest_shares(world, shared[:8])
    give: dict[str, Fraction]
    for give, message in (
        ({world.ann.artist_id: Fraction(2, 3), world.bo.artist_id: Fraction(1, 2)}, "at most 1"),
        ({world.ann.artist_id: Fraction(-1)}, "not be negative"),
        ({"nobody": Fraction(1)}, "not registered"),
    ):
        with pytest.raises(DisputeError, match=message):
            resolve(world, dispute, Divided(give))
    with pytest.raises(DisputeError, match="given to artists"):
        resolve(world, dispute, Assigned(world.rival.creator_id))
    assert read_disputes(world.store.connection) == [dispute]


parts = st.lists(st.fractions(0, 1, max_denominator=97), max_size=3).filter(lambda some: sum(some) <= 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("revenue"), st.sampled_from("xy"), st.integers(1, 10**6)),
        st.tuples(st.just("settle")),
        st.tuples(st.just("contest"), st.sampled_from("xy"), st.sets(st.integers(0, 2)), st.booleans()),
        st.tuples(st.just("contest artist"), st.integers(0, 2)),
        st.tuples(st.just("reject"), st.integers(0, 3)),
        st.tuples(st.just("uphold"), st.integers(0, 3), parts),
        st.tuples(
            st.just("consent"),
            st.integers(0, 2),
            st.sampled_from([Consent.OPTED_IN, Consent.OPTED_OUT, Consent.UNCLAIMED]),
        ),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """For the property: each example brings artists and look-ups of its own."""
    with open_world(tmp_path_factory.mktemp("shared") / "space") as made:
        adopt_policy(made.store, {"unattributed": "escrow"})
        yield made.store


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
def test_whatever_is_contested_and_decided_the_book_balances(
    shared_store: Store, steps: list[tuple[Any, ...]]
) -> None:
    world = make_world(shared_store)
    connection = shared_store.connection
    run = world.ann.artist_id
    ids = {
        "x": world.look_up(f"{run} x", *world.artists, unattributed_e12=10**11 + 7),
        "y": world.look_up(f"{run} y", world.bo),
    }
    brought_in = 0
    for step in steps:
        waiting = [one for one in read_disputes(connection) if one.state is State.OPEN]
        with suppress(DisputeError):  # refused, and then nothing was changed
            match step:
                case "revenue", name, amount:
                    world.bring_in(f"{run} {name}", amount)
                    brought_in += amount
                case ("settle",):
                    world.settle()
                case "contest", name, places, unattributed:
                    contested = [world.artists[place] for place in sorted(places)]
                    contest_shares(world, ids[name], *contested, unattributed=unattributed)
                case "contest artist", place:
                    contest(world, ("ann", "bo", "cy")[place])
                case "reject", place:
                    if place < len(waiting):
                        resolve(world, waiting[place], Rejected())
                case "uphold", place, some:
                    if place < len(waiting):
                        give = dict(zip((one.artist_id for one in world.artists), some, strict=False))
                        is_standing = waiting[place].subject is Subject.STANDING
                        to = world.rival.creator_id if some else None
                        resolve(world, waiting[place], Assigned(to) if is_standing else Divided(give))
                case "consent", place, consent:
                    set_consent(shared_store, world.artists[place].artist_id, consent, now=NOW)
        check_book(world)
    for one in read_disputes(connection):
        if one.state is State.OPEN:
            resolve(world, one, Rejected())
    world.settle()
    check_book(world)
    assert not [account for account in world.balances() if account.kind is AccountKind.DISPUTED]
    entries_before = len(entries(world))
    world.settle()
    assert len(entries(world)) == entries_before


def check_book(world: World) -> None:
    connection = world.store.connection
    off = connection.execute(
        "SELECT entry_number FROM posting GROUP BY entry_number, currency HAVING sum(amount_minor) <> 0"
    ).fetchall()
    assert off == []
    disputes = read_disputes(connection)
    closed = {one.dispute_id for one in disputes if one.state is not State.OPEN}
    assert closed.isdisjoint(set_aside(connection))
    for one in disputes:
        if one.resolution is not None and one.resolution.decision is not None:
            decision = one.resolution.decision
            assert HALF_E12 + decision.unattributed_e12 + sum(e12 for _, e12 in decision.shares_e12) == 10**12


# refusals


def test_who_is_not_registered_can_neither_contest_nor_be_contested(world: World) -> None:
    erased = add_creator(world.store, "Gone", now=NOW)
    world.store.connection.execute("UPDATE creator SET name = NULL WHERE creator_id = ?", [erased.creator_id])
    erase_artist(world.store, world.bo.artist_id, now=NOW)
    for creator_id, message in (("nobody", "not registered"), (erased.creator_id, "erased")):
        with pytest.raises(DisputeError, match=f"creator {creator_id} is {message}"):
            contest(world, creator_id=creator_id)
    with pytest.raises(DisputeError, match="is erased"):
        contest(world, "bo")
    with pytest.raises(DisputeError, match="not registered"):
        contest_standing(world.store, "nobody", creator_id=world.rival.creator_id, reason="mine", now=NOW)
    assert read_disputes(world.store.connection) == []


@pytest.mark.parametrize("reason", ["", " \n", "\udcff"])
def test_reason_is_required(world: World, reason: str) -> None:
    dispute = contest(world)
    with pytest.raises(DisputeError, match="reason"):
        contest_standing(
            world.store, world.bo.artist_id, creator_id=world.rival.creator_id, reason=reason, now=NOW
        )
    with pytest.raises(DisputeError, match="reason"):
        resolve_dispute(world.store, dispute.dispute_id, Rejected(), reason=reason, now=NOW)
    assert [one.state for one in read_disputes(world.store.connection)] == [State.OPEN]


def test_ruling_that_does_not_fit_changes_nothing(world: World) -> None:
    world.earn(ann=70)
    dispute = contest(world)
    before = world.balances()
    for ruling, message in (
        (Divided({world.bo.artist_id: Fraction(1)}), "no shares can be given"),
        (Assigned("nobody"), "not registered"),
    ):
        with pytest.raises(DisputeError, match=message):
            resolve(world, dispute, ruling)
    world.store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [world.rival.payee_id])
    with pytest.raises(DisputeError, match=r"payee .* is erased"):
        resolve(world, dispute, Assigned(world.rival.creator_id))
    assert world.balances() == before
    assert find_dispute(world.store.connection, dispute.dispute_id) == dispute


def test_dispute_is_resolved_once(world: World) -> None:
    world.earn(ann=70)
    dispute = contest(world)
    resolve(world, dispute, Rejected())
    with pytest.raises(DisputeError, match="resolved already: rejected"):
        resolve(world, dispute, Assigned(None))
    assert world.balances() == {payable(world.ann): 70}


def test_dispute_is_found_by_the_beginning_of_its_id(world: World) -> None:
    dispute = contest(world)
    connection = world.store.connection
    assert find_dispute(connection, dispute.dispute_id[:8]) == dispute
    for prefix, message in ((dispute.dispute_id[:7], "at least 8"), ("0" * 8, "No dispute"), ("", "8")):
        with pytest.raises(DisputeError, match=message):
            find_dispute(connection, prefix)


# records


def test_dispute_is_read_back_as_it_was_whatever_was_decided(world: World) -> None:
    dispute = contest(world)
    expected = Contest(dispute.dispute_id, frozenset({world.ann.artist_id}), unattributed=False)
    connection = world.store.connection
    assert find_dispute(connection, dispute.dispute_id).contest == expected
    resolved = resolve(world, dispute, Assigned(None))
    assert find_dispute(connection, dispute.dispute_id).contest == expected
    assert read_disputes(connection) == [resolved] == [replace(dispute, resolution=resolved.resolution)]


def test_every_event_has_its_leaf_and_binds_its_reason(world: World) -> None:
    resolve(world, contest(world), Rejected())
    connection = world.store.connection
    events = connection.execute(
        "SELECT event, reason, reason_salt, reason_commitment FROM dispute_event ORDER BY sequence"
    ).fetchall()
    assert [(event, reason) for event, reason, _, _ in events] == [
        ("opened", "These are mine."),
        ("resolved", "We looked."),
    ]
    assert all(commitment(reason, salt) == bound for _, reason, salt, bound in events)
    leaves = connection.execute(
        "SELECT record_key FROM chain_leaf WHERE kind = 'dispute' ORDER BY position"
    ).fetchall()
    assert leaves == [("1",), ("2",)]
