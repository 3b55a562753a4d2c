"""Claims: what was kept for a style goes to the verified creator behind it, once, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from earnings import NOW, artist, earn, escrow, open_world, payable
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain.commitment import commitment
from fairbrush.corpus.consent import consent_history, effective_consents, set_consent
from fairbrush.corpus.eligibility import ELIGIBILITY_NAME
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.people import add_creator, add_payee, assign_artist
from fairbrush.corpus.registry import find_artist
from fairbrush.domain import Consent
from fairbrush.errors import RegistryError
from fairbrush.ledger import claims
from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.claims import claim
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.payouts import propose
from fairbrush.store import Store

DAY = timedelta(days=1)
LETTER = "a signed letter"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_world(tmp_path / "space") as opened:
        yield opened


def snapshot(store: Store) -> tuple[Any, ...]:
    tables = ("artist", "creator", "payee", "consent_event", "claim_event", "entry", "posting", "chain_leaf")
    return tuple(store.connection.execute(f"SELECT * FROM {t} ORDER BY ALL").fetchall() for t in tables)


def refused(store: Store, artist_id: str, message: str, **options: Any) -> RegistryError:
    """A claim that must fail, and change nothing."""
    before = snapshot(store)
    with pytest.raises(RegistryError, match=message) as error:
        claim(store, artist_id, **({"evidence": LETTER, "now": NOW + DAY} | options))
    assert snapshot(store) == before
    return error.value


def test_a_claim_opts_in_and_moves_the_escrow_to_the_artists_own_payee(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    bo = artist(store, "Bo", consent=Consent.UNCLAIMED)
    earn(store, escrow(ann), 700)
    earn(store, escrow(ann), 30, "JPY")
    earn(store, escrow(bo), 5)
    earn(store, Account(AccountKind.ESCROW), 9)
    done = claim(store, "Ann", evidence=LETTER, now=NOW)
    assert (done.artist_id, done.creator_id, done.payee_id) == (ann.artist_id, ann.creator_id, ann.payee_id)
    assert done.released == (("EUR", 700), ("JPY", 30))
    assert balances(store.connection, AccountKind.ESCROW, AccountKind.PAYABLE) == {
        (payable(ann), "EUR"): 700,
        (payable(ann), "JPY"): 30,
        (escrow(bo), "EUR"): 5,
        (Account(AccountKind.ESCROW), "EUR"): 9,
    }
    last = consent_history(store, ann.artist_id)[-1]
    assert (last.consent, last.source, last.reason) == (Consent.OPTED_IN, "artist claim", LETTER)
    assert [one.amount_minor for one in propose(store, now=NOW).payouts] == [700, 30]


def test_the_evidence_is_committed_to_and_can_be_forgotten(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    claim(store, "Ann", evidence=LETTER, now=NOW)
    row = store.connection.execute("SELECT * FROM claim_event").fetchall()[0]
    assert row[:6] == (1, ann.artist_id, ann.creator_id, ann.payee_id, NOW, LETTER)
    assert row[7] == commitment(LETTER, row[6])
    leaves = store.connection.execute("SELECT record_key FROM chain_leaf WHERE kind = 'claim'").fetchall()
    assert leaves == [("1",)]


def test_the_look_up_sees_the_claim_at_once(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    bo = add_creator(store, "Bo", now=NOW)
    claim(store, "Ann", creator="Bo", evidence=LETTER, now=NOW)
    read = json.loads((store.workspace / ELIGIBILITY_NAME).read_text(encoding="utf-8"))
    kept = json.dumps(read)
    assert ann.artist_id in kept
    assert bo.payee_id in kept
    assert ann.payee_id not in kept


def test_a_claim_for_a_registered_creator_pays_that_creators_payee(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    zoe = add_creator(store, "Zoe", now=NOW)
    earn(store, escrow(ann), 700)
    done = claim(store, "Ann", creator="zoe", evidence=LETTER, now=NOW)
    assert (done.creator_id, done.payee_id) == (zoe.creator_id, zoe.payee_id)
    to = Account(AccountKind.PAYABLE, zoe.payee_id, ann.artist_id)
    assert balances(store.connection, AccountKind.PAYABLE) == {(to, "EUR"): 700}


def test_a_claim_for_a_payee_gives_it_to_the_artists_own_creator(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    agency = add_payee(store, "Agency", now=NOW)
    done = claim(store, "Ann", payee="Agency", evidence=LETTER, now=NOW)
    assert (done.creator_id, done.payee_id) == (ann.creator_id, agency.payee_id)


def test_a_creator_who_stands_behind_others_too_keeps_its_payee(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    hand = artist(store, "Hand", consent=Consent.UNCLAIMED, creator="Ann")
    agency = add_payee(store, "Agency", now=NOW)
    done = claim(store, "Hand", payee="Agency", evidence=LETTER, now=NOW)
    assert done.creator_id != ann.creator_id
    assert (done.creator_name, done.payee_id) == ("Hand", agency.payee_id)
    assert find_artist(store, "Ann", now=NOW).artist.payee_id == ann.payee_id
    assert find_artist(store, hand.artist_id, now=NOW).artist.payee_id == agency.payee_id


def test_an_artist_whose_creator_was_erased_gets_one_of_its_own(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    store.connection.execute("UPDATE creator SET name = NULL WHERE creator_id = ?", [ann.creator_id])
    done = claim(store, "Ann", evidence=LETTER, now=NOW)
    assert done.creator_id != ann.creator_id
    assert (done.creator_name, done.payee_name) == ("Ann", "Ann")


def test_what_was_kept_because_the_payee_is_erased_goes_to_a_new_one(store: Store) -> None:
    ann = artist(store, "Ann")
    hand = artist(store, "Hand", creator="Ann")
    add_payee(store, "Agency", now=NOW)
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [ann.payee_id])
    earn(store, escrow(ann), 700)
    earn(store, escrow(hand), 30)
    refused(store, "Ann", "claimed already", creator=add_creator(store, "Zoe", now=NOW).creator_id)
    done = claim(store, "Ann", payee="Agency", evidence=LETTER, now=NOW)
    assert (done.creator_id, done.payee_name, done.released) == (ann.creator_id, "Agency", (("EUR", 700),))
    assert claim(store, "Hand", evidence=LETTER, now=NOW).payee_id == done.payee_id


def test_a_new_payee_is_made_where_the_old_one_is_erased(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [ann.payee_id])
    done = claim(store, "Ann", evidence=LETTER, now=NOW)
    assert (done.creator_id, done.payee_name) == (ann.creator_id, "Ann")
    assert done.payee_id != ann.payee_id


def test_naming_the_payee_there_is_changes_nobody(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    artist(store, "Hand", consent=Consent.UNCLAIMED, creator="Ann")
    done = claim(store, "Hand", payee=ann.payee_id, evidence=LETTER, now=NOW)
    assert (done.creator_id, done.payee_id) == (ann.creator_id, ann.payee_id)


def test_a_claim_without_escrow_is_a_claim(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    assert claim(store, "Ann", evidence=LETTER, now=NOW).released == ()
    assert effective_consents(store.connection, now=NOW)[ann.artist_id] is Consent.OPTED_IN
    assert store.connection.execute("SELECT count(*) FROM entry").fetchall() == [(0,)]


def test_a_second_claim_is_refused_and_told_of_disputes(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    add_creator(store, "Zoe", now=NOW)
    claim(store, "Ann", evidence=LETTER, now=NOW)
    for options in ({}, {"creator": "Zoe"}):
        error = refused(store, ann.artist_id, "claimed already, by the creator 'Ann'", **options)
        assert "fairbrush dispute open" in str(error)


def test_a_claimed_artist_who_opted_out_and_in_again_gets_the_escrow_of_the_time_between(
    store: Store,
) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    add_creator(store, "Zoe", now=NOW)
    claim(store, "Ann", evidence=LETTER, now=NOW)
    set_consent(store, ann.artist_id, Consent.OPTED_OUT, now=NOW)
    earn(store, escrow(ann), 700)
    refused(store, "Ann", "is opted out")
    set_consent(store, ann.artist_id, Consent.OPTED_IN, now=NOW)
    refused(store, "Ann", "claimed already", creator="Zoe")
    refused(store, "Ann", "claimed already", payee="Zoe")
    assert claim(store, "Ann", evidence=LETTER, now=NOW + DAY).released == (("EUR", 700),)
    assert balances(store.connection, AccountKind.PAYABLE) == {(payable(ann), "EUR"): 700}


def test_an_artist_set_back_to_unclaimed_still_belongs_to_who_claimed_it(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    add_creator(store, "Zoe", now=NOW)
    claim(store, "Ann", evidence=LETTER, now=NOW)
    set_consent(store, ann.artist_id, Consent.UNCLAIMED, now=NOW)
    earn(store, escrow(ann), 700)
    refused(store, "Ann", "claimed already", creator="Zoe")
    assert claim(store, "Ann", creator="Ann", evidence=LETTER, now=NOW + DAY).released == (("EUR", 700),)


def test_an_artist_who_is_opted_in_cannot_be_taken_over(store: Store) -> None:
    ann = artist(store, "Ann")
    add_creator(store, "Zoe", now=NOW)
    refused(store, "Ann", "opted in", creator="Zoe")
    earn(store, escrow(ann), 700)
    refused(store, "Ann", "claimed already", creator="Zoe")
    assert claim(store, "Ann", evidence=LETTER, now=NOW + DAY).released == (("EUR", 700),)


def test_opted_out_and_erased_artists_are_not_claimed(store: Store) -> None:
    out = artist(store, "Out", consent=Consent.OPTED_OUT)
    gone = artist(store, "Gone", consent=Consent.UNCLAIMED)
    earn(store, escrow(out), 5)
    earn(store, escrow(gone), 5)
    erase_artist(store, gone.artist_id, now=NOW)
    assert "artist consent" in str(refused(store, out.artist_id, "is opted out"))
    refused(store, gone.artist_id, "erased")


def test_nothing_is_claimed_while_the_standing_is_disputed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    bo = artist(store, "Bo", consent=Consent.UNCLAIMED)
    contests = Contests(standings={ann.artist_id: "d" * 64})
    monkeypatch.setattr(claims, "read_contests", lambda connection: contests)
    refused(store, "Ann", "is disputed: dddd")
    assert claim(store, "Bo", evidence=LETTER, now=NOW).payee_id == bo.payee_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evidence": " "}, "needs its evidence"),
        ({"creator": "Ann", "payee": "Ann"}, "not both"),
        ({"creator": "Nobody"}, "No creator is called 'Nobody'"),
        ({"payee": "Nobody"}, "No payee is called 'Nobody'"),
    ],
)
def test_a_claim_that_cannot_be_meant_changes_nothing(
    store: Store, options: dict[str, str], message: str
) -> None:
    earn(store, escrow(artist(store, "Ann", consent=Consent.UNCLAIMED)), 5)
    refused(store, "Ann", message, **options)


def test_money_is_not_claimed_for_people_who_are_erased(store: Store) -> None:
    earn(store, escrow(artist(store, "Ann", consent=Consent.UNCLAIMED)), 5)
    zoe = add_creator(store, "Zoe", now=NOW)
    store.connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [zoe.payee_id])
    refused(store, "Ann", "erased", creator="Zoe")
    refused(store, "Ann", "erased", payee=zoe.payee_id)


@settings(max_examples=12, deadline=None)
@given(amounts=st.lists(st.tuples(st.sampled_from(["EUR", "JPY", "KWD"]), st.integers(-50, 100)), max_size=6))
def test_a_claim_moves_each_balance_whole_whatever_it_is(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[tuple[str, int]]
) -> None:
    with open_world(tmp_path_factory.mktemp("claims") / "space") as store:
        ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
        sums: dict[str, int] = {}
        for currency, amount in amounts:
            earn(store, escrow(ann), amount, currency)
            sums[currency] = sums.get(currency, 0) + amount
        claim(store, "Ann", evidence=LETTER, now=NOW)
        found = balances(store.connection, AccountKind.ESCROW, AccountKind.PAYABLE)
        assert found == {(payable(ann), currency): amount for currency, amount in sums.items() if amount}


def test_a_creator_assigned_after_the_claim_is_who_gets_what_is_kept_later(store: Store) -> None:
    ann = artist(store, "Ann", consent=Consent.UNCLAIMED)
    zoe = add_creator(store, "Zoe", now=NOW)
    claim(store, "Ann", evidence=LETTER, now=NOW)
    assign_artist(store, ann.artist_id, zoe.creator_id)
    earn(store, escrow(ann), 700)
    assert claim(store, "Ann", evidence=LETTER, now=NOW + DAY).payee_id == zoe.payee_id
