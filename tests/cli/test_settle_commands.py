"""``fairbrush settle`` and ``fairbrush settlements`` as a user types them."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from fake_records import digest
from money import E12, adopted, artist, bring, cancel, everything, held, look_up, publish, record
from workspaces import answer, command

from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Consent
from fairbrush.ledger import settlement
from fairbrush.ledger.records import write_pending
from fairbrush.workspace import create_workspace


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Two lines that can be settled, of ann who is opted in and bo who is unclaimed; a fee of a tenth."""
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        publish(store)
        artist(store, "ann")
        artist(store, "bo", consent=Consent.UNCLAIMED)
        adopted(store, platform_fee=0.1)
        record(store, look_up("x", {"ann": E12 // 4, "bo": E12 // 8}, model_e12=E12 // 2))
        bring(store, "r1", 1000, image="x")
        bring(store, "r2", 1000, image="x", currency="JPY")
    return tmp_path / "space"


def test_settle_prints_what_each_party_earned_and_the_totals(space: Path) -> None:
    ran = command(space, "settle", "2026-01")
    assert (ran.code, ran.stderr) == (0, "")
    assert (
        ran.text
        == """\
settlement  account   party   for  amount  currency  amount_minor  party_id  for_id
         1  escrow    bo           1.13    EUR                113  bo
         1  fund                   1.12    EUR                112
         1  model     sd-1.5       4.50    EUR                450  sd-1.5
         1  payable   ann     ann  2.25    EUR                225  p-ann     ann
         1  platform               1.00    EUR                100
         1  escrow    bo           113     JPY                113  bo
         1  fund                   112     JPY                112
         1  model     sd-1.5       450     JPY                450  sd-1.5
         1  payable   ann     ann  225     JPY                225  p-ann     ann
         1  platform               100     JPY                100

currency  revenue  platform  models  artists  escrow  disputed  unattributed
EUR       10.00    1.00      4.50    2.25     1.13    0.00      1.12
JPY       1000     100       450     225      113     0         112
"""
    )


def test_json_has_the_same_and_the_digest_of_the_policy(space: Path) -> None:
    document = answer(space, "settle", "2026-01")
    assert document["schema"] == "fairbrush.settle/1"
    assert (document["period"], document["dry_run"]) == ("2026-01-01..2026-01-31", False)
    (one,) = document["settlements"]
    assert (one["number"], one["kind"], one["lines"], one["images"]) == (1, "settlement", 2, 2)
    assert len(one["policy_digest"]) == len(one["settlement_id"]) == 64
    assert document["totals"][0]["artists"] == "2.25"
    assert document["unsettled"] == []


def test_a_dry_run_prints_the_same_and_leaves_the_books_alone(space: Path) -> None:
    with open_registry(space) as store:
        before = everything(store)
    dry = answer(space, "settle", "2026-01", "--dry-run")
    with open_registry(space) as store:
        assert everything(store) == before
    real = answer(space, "settle", "2026-01")
    assert {**dry, "dry_run": False} == real


def test_settling_again_says_that_nothing_is_left(space: Path) -> None:
    command(space, "settle", "2026-01")
    again = command(space, "settle", "2026-01")
    assert (again.code, again.stderr) == (0, "Nothing is left to settle.\n")


def test_a_line_without_a_record_stays_open_is_named_and_exits_1(space: Path) -> None:
    with open_registry(space) as store:
        bring(store, "r3", 50, image="unknown")
    ran = command(space, "settle", "2026", "--json")
    assert ran.code == 1
    assert ran.stderr == (
        "unsettled: r3: 1 of 1 images have no record under policy 1 (index v0001, model sd-1.5, value blend, "
        f"b 0.5, w 1). Missing: {digest('unknown')}.\n"
        "  next: fairbrush attribute IMAGES; answers under another index or split pay none of these.\n"
    )
    (line,) = ran.json["unsettled"]
    assert (line["reference"], line["amount"], line["currency"]) == ("r3", "0.50", "EUR")
    assert line["images_missing"] == [digest("unknown")]
    assert len(ran.json["settlements"]) == 1


def test_look_ups_that_wait_are_brought_in_first(space: Path) -> None:
    with open_registry(space) as store:
        bring(store, "r3", 50, image="new")
    write_pending(space / "records", [look_up("new", {"ann": E12})])
    assert command(space, "settle", "2026").code == 0
    with open_registry(space) as store:
        assert held(store)["payable p-ann ann"] == 270


def test_a_correction_takes_the_line_back_and_settles_it_again(space: Path) -> None:
    command(space, "settle", "2026-01")
    document = answer(space, "settle", "--correct", "r2", "--reason", "asked to")
    assert [(one["kind"], one["lines"]) for one in document["settlements"]] == [
        ("reversal", 1),
        ("settlement", 1),
    ]
    assert document["totals"][0] | {"currency": "JPY"} == {
        "currency": "JPY",
        "revenue": "0",
        **dict.fromkeys(("platform", "models", "artists", "escrow", "disputed", "unattributed"), "0"),
    }
    listed = answer(space, "settlements")["settlements"]
    assert [(one["number"], one["totals"], one["reverses"]) for one in listed] == [
        (1, "10.00 EUR, 1000 JPY", None),
        (2, "-1000 JPY", 1),
        (3, "1000 JPY", None),
    ]


def test_a_line_to_correct_is_named_as_it_was_when_it_was_added(space: Path) -> None:
    command(space, "settle", "2026-01")
    with open_registry(space) as store:
        bring(store, "Caf\u00e9", 50, image="x")
    command(space, "settle", "2026-01")
    document = answer(space, "settle", "--correct", " Cafe\u0301 ", "--reason", "asked to")
    assert [one["kind"] for one in document["settlements"]] == ["reversal", "settlement"]


def test_a_cancelled_line_that_nothing_is_settled_of_is_said_to_be_cancelled(space: Path) -> None:
    command(space, "revenue", "cancel", "r1", "--reason", "refunded")
    ran = command(space, "settle", "--correct", "r1", "--reason", "w")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "'r1' is cancelled" in ran.stderr


def test_more_than_the_book_can_hold_is_refused_before_anything_is_written(space: Path) -> None:
    with open_registry(space) as store:
        for reference in ("huge", "as huge"):
            bring(store, reference, 2**62, image="x")
        before = everything(store)
    for words in (["settle", "2026", "--dry-run"], ["settle", "2026"]):
        ran = command(space, *words)
        assert (ran.code, ran.stdout) == (2, b"")
        assert "What is settled in EUR is more than one entry of the book can be." in ran.stderr
    with open_registry(space) as store:
        assert everything(store) == before


def test_the_parts_of_a_settlement_are_shown_to_the_last_fraction(space: Path) -> None:
    settled = answer(space, "settle", "2026-01")["settlements"][0]
    for name in ("1", settled["settlement_id"][:10]):
        shown = answer(space, "settlements", "--show", name)
        exact = {(part["account"], part["currency"]): part["exact_minor"] for part in shown["parts"]}
        assert exact["escrow", "EUR"] == "225/2"
        assert shown["settlement_id"] == settled["settlement_id"]


def test_all_settlements_are_computed_again_and_one_that_differs_is_told(space: Path) -> None:
    settled = answer(space, "settle", "2026-01")["settlements"][0]
    again = answer(space, "settlements", "--recompute")["settlements"]
    assert [(one["settlement_id"], one["outcome"]) for one in again] == [(settled["settlement_id"], "same")]
    with open_registry(space) as store:
        store.connection.execute("UPDATE settlement_part SET amount_minor = 0 WHERE account = 'escrow'")
    ran = command(space, "settlements", "--recompute", "--json")
    assert ran.code == 1
    (told,) = ran.json["settlements"]
    assert told["outcome"] == "different"
    assert "escrow" in told["detail"]


@pytest.mark.parametrize(
    ("words", "told", "next_step"),
    [
        (["settle"], "Name a PERIOD", "fairbrush settle 2026-01"),
        (["settle", "2026", "--correct", "r1", "--reason", "w"], "Name a PERIOD", "one"),
        (["settle", "--correct", "r1"], "belong together", "Say why"),
        (["settle", "2026", "--reason", "w"], "belong together", "Say why"),
        (["settle", "--correct", "r1", "--reason", "w", "--dry-run"], "no --dry-run", "Leave one"),
        (["settlements", "--recompute", "--show", "1"], "all of them", "Leave out"),
        (["settle", "January"], "'January' is no period", "2026-Q1"),
        (["settle", "--correct", "r9", "--reason", "w"], "No revenue has the reference 'r9'", "revenue list"),
        (["settle", "--correct", "r1", "--reason", "w"], "'r1' is not settled", "settle 2026-01-01"),
        (["settlements", "--show", "7"], "No settlement is called '7'", "fairbrush settlements"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_next_step(
    space: Path, words: list[str], told: str, next_step: str
) -> None:
    ran = command(space, *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert told in ran.stderr
    assert next_step in ran.stderr


def test_without_a_policy_nothing_is_settled_and_the_next_step_is_to_adopt_one(tmp_path: Path) -> None:
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        for day in range(1, 29):
            bring(store, f"r{day}", 1, image="x", day=date(2026, 1, day))
    ran = command(tmp_path / "space", "settle", "2026")
    assert ran.code == 2
    # the first day: such a policy holds for all of the lines
    assert "next: Adopt one: fairbrush policy adopt --from 2026-01-01" in ran.stderr


# all or nothing


def test_ctrl_c_in_the_middle_of_writing_leaves_nothing(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_registry(space) as store:
        before = everything(store)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(settlement, "post", interrupted)
    ran = command(space, "settle", "2026")
    assert ran.code == 130
    with open_registry(space) as store:
        assert everything(store) == before


KILLED = """
import os, signal, sys
from fairbrush.ledger import settlement
from fairbrush.cli.app import run

before, where = settlement.{what}, {after}

def killed(*words, **named):
    if where:
        before(*words, **named)
    os.kill(os.getpid(), signal.SIGKILL)

settlement.{what} = killed
run(["--workspace", sys.argv[1], "settle", "2026"])
"""


@pytest.mark.parametrize(("what", "after"), [("post", False), ("_Work.write", True)])
def test_a_kill_before_the_commit_leaves_nothing_and_the_next_run_settles_all(
    space: Path, what: str, after: bool
) -> None:
    with open_registry(space) as store:
        before = everything(store)
    program = KILLED.format(what=what, after=after)
    ran = subprocess.run([sys.executable, "-c", program, str(space)], check=False, capture_output=True)
    assert ran.returncode == -9, ran.stderr
    with open_registry(space) as store:
        assert everything(store) == before
    assert command(space, "settle", "2026").code == 0
    with open_registry(space) as store:
        assert sum(held(store).values()) == 1000


def test_a_cancelled_line_is_only_taken_back(space: Path) -> None:
    command(space, "settle", "2026")
    with open_registry(space) as store:
        (revenue_id,) = store.connection.execute(
            "SELECT revenue_id FROM revenue WHERE reference = 'r1'"
        ).fetchall()[0]
        cancel(store, revenue_id)
    document = answer(space, "settle", "--correct", "r1", "--reason", "refunded")
    assert [one["kind"] for one in document["settlements"]] == ["reversal"]
    with open_registry(space) as store:
        assert held(store) == {}
