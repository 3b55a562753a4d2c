"""Disputes: what is contested is set aside, a ruling is an event with a reason, the money follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from disputed_worlds import (
    FUND,
    NOW,
    World,
    adopt_policy,
    escrow,
    open_world,
    payable,
)

from fairbrush.chain.commitment import commitment
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.people import add_creator
from fairbrush.corpus.registry import find_artist
from fairbrush.domain import Consent
from fairbrush.errors import DisputeError
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.contests import Contest
from fairbrush.ledger.disputes import (
    Assigned,
    Dispute,
    Divided,
    Rejected,
    State,
    contest_of,
    find_dispute,
    forget_reasons,
    read_contests,
    read_disputes,
    set_aside,
)
from fairbrush.ledger.disputing import contest_standing, resolve_dispute


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path / "space") as made:
        yield made


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


def test_escrow_and_every_payee_and_currency_are_set_aside_but_no_debt(world: World) -> None:
    earlier = Account(AccountKind.PAYABLE, world.bo.payee_id, world.ann.artist_id)
    overpaid = Account(AccountKind.PAYABLE, world.rival.payee_id, world.ann.artist_id)
    nobodys = Account(AccountKind.PAYABLE, world.ann.payee_id)
    world.book({payable(world.ann): 70, earlier: 5, escrow(world.ann): 3, overpaid: -2, nobodys: 1})
    world.book({payable(world.ann): 900}, currency="JPY")
    dispute = contest(world)
    aside = disputed(dispute, world.ann.artist_id)
    assert world.balances() == {aside: 78, overpaid: -2, nobodys: 1}
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
    assert contest_of(connection, dispute.dispute_id) == expected
    resolved = resolve(world, dispute, Assigned(None))
    assert contest_of(connection, dispute.dispute_id) == expected
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


def test_words_are_forgotten_and_the_rest_stays(world: World) -> None:
    of_ann = contest(world)
    contest(world, "bo")
    resolve(world, of_ann, Assigned(world.bo.creator_id))
    connection = world.store.connection
    assert forget_reasons(connection, artist_ids=["nobody"]) == 0
    assert forget_reasons(connection, creator_ids=[world.bo.creator_id]) == 2
    assert forget_reasons(connection, creator_ids=[world.bo.creator_id]) == 0
    first, second = read_disputes(connection)
    assert (first.reason, second.reason) == (None, "These are mine.")
    assert first.resolution is not None
    assert (first.resolution.reason, first.resolution.ruling) == (None, Assigned(world.bo.creator_id))
    assert forget_reasons(connection, artist_ids=[world.bo.artist_id]) == 1
    texts = connection.execute("SELECT reason, reason_salt FROM dispute_event").fetchall()
    assert texts == [(None, None)] * 3
