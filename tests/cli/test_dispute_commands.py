"""``fairbrush dispute`` as a user types it: answers, exit codes, and where the money is afterwards."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from disputed_worlds import adopt_policy, open_world
from workspaces import answer, command

from fairbrush.corpus.changes import open_registry
from fairbrush.ledger.book import AccountKind, balances


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Ann and Bo opted in and are owed 0.70 and 0.20 EUR, Cy has 0.10 in escrow; Rival has no artist."""
    with open_world(tmp_path / "space") as world:
        world.earn(ann=70, bo=20, cy=10)
    return tmp_path / "space"


def held(space: Path) -> dict[str, int]:
    """By kind of account."""
    with open_registry(space, readonly=True) as store:
        found = balances(store.connection)
    kinds = {str(account.kind): 0 for account, _ in found if account.kind is not AccountKind.REVENUE}
    for (account, _), amount in found.items():
        if account.kind is not AccountKind.REVENUE:
            kinds[str(account.kind)] += amount
    return kinds


def contest(space: Path, artist: str = "Ann") -> Any:
    return answer(space, "dispute", "open", "--artist", artist, "--by", "rival", "--reason", "They are mine")


def test_standing_from_open_to_resolved(space: Path) -> None:
    opened = contest(space)
    assert opened["schema"] == "fairbrush.dispute/1"
    assert (opened["state"], opened["over"], opened["by"]) == ("open", "standing", "Rival")
    assert [one["artist"] for one in opened["contested"]] == ["Ann"]
    assert (opened["set_aside"], opened["reason"]) == ({"EUR": "0.70"}, "They are mine")
    assert held(space) == {"disputed": 70, "payable": 20, "escrow": 10}
    prefix = opened["dispute_id"][:8]
    assert answer(space, "dispute", "show", prefix) == opened
    resolved = answer(space, "dispute", "resolve", prefix, "--to", "Rival", "--reason", "Sketches")
    assert (resolved["state"], resolved["set_aside"]) == ("upheld", {})
    assert resolved["ruling"] == {"kind": "to", "creator": "Rival", "creator_id": opened["by_id"]}
    assert resolved["ruling_reason"] == "Sketches"
    assert held(space) == {"payable": 90, "escrow": 10}
    assert answer(space, "artist", "show", "Ann")["creator"] == "Rival"


def test_list_shows_what_waits_and_what_is_set_aside(space: Path) -> None:
    of_ann, of_bo = contest(space), contest(space, "Bo")
    ran = command(space, "dispute", "resolve", of_ann["dispute_id"], "--rejected", "--reason", "No")
    assert ran.code == 0, ran.stderr
    listed = answer(space, "dispute", "list")
    assert listed["schema"] == "fairbrush.disputes/1"
    assert [(one["dispute_id"], one["state"]) for one in listed["disputes"]] == [
        (of_ann["dispute_id"], "rejected"),
        (of_bo["dispute_id"], "open"),
    ]
    assert answer(space, "dispute", "list", "--open")["disputes"] == [
        {k: v for k, v in of_bo.items() if k != "schema"}
    ]
    table = command(space, "dispute", "list", "--open").text.splitlines()
    assert " ".join(table[0].split()) == "dispute_id state over subject_id by contested set_aside ruling"
    assert table[1].split()[0] == of_bo["dispute_id"][:16]
    assert "0.20 EUR" in table[1]


def test_shares_from_open_to_resolved(tmp_path: Path) -> None:
    space = tmp_path / "space"
    with open_world(space) as world:
        adopt_policy(world.store, {})
        attribution_id = world.look_up("x", world.ann, world.bo, is_drained=False)
        world.bring_in("x", 1000)
    # the record still waits in a file
    words = ("--attribution", attribution_id[:8], "--by", "Rival", "--reason", "My style")
    opened = answer(space, "dispute", "open", *words)
    assert (opened["over"], opened["subject_id"]) == ("attribution", attribution_id)
    assert {one["artist"] for one in opened["contested"]} == {"Ann", "Bo"}
    assert (opened["claims_unattributed"], opened["set_aside"]) == (False, {})
    again = command(space, "dispute", "open", *words)
    assert (again.code, opened["dispute_id"] in again.stderr) == (2, True)
    with open_registry(space) as store:
        replace(world, store=store).settle()
    assert held(space) == {"disputed": 500, "model": 500}
    gift = ("--give", "Cy:1/4", "--give", "bo:0.5", "--reason", "Two hands")
    ran = command(space, "dispute", "resolve", opened["dispute_id"][:8], "--give", "Bo:1", *gift)
    assert (ran.code, "twice" in ran.stderr) == (2, True)
    resolved = answer(space, "dispute", "resolve", opened["dispute_id"][:8], *gift)
    assert resolved["ruling"]["kind"] == "give"
    assert {one["artist"]: one["part"] for one in resolved["ruling"]["artists"]} == {"Bo": "1/2", "Cy": "1/4"}
    assert held(space) == {"escrow": 125, "fund": 125, "model": 500, "payable": 250}
    again = command(space, "dispute", "resolve", opened["dispute_id"][:8], "--rejected", "--reason", "No")
    assert (again.code, "resolved already: upheld" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "contested"),
    [([], "Ann"), (["--unattributed"], "(unattributed)"), (["--unattributed", "--contest", "ann"], "both")],
)
def test_what_is_contested_is_what_was_named(tmp_path: Path, words: list[str], contested: str) -> None:
    with open_world(tmp_path / "space") as world:
        attribution_id = world.look_up("x", world.ann, unattributed_e12=10**11)
    subject = ("--attribution", attribution_id, "--by", "Rival", "--reason", "Mine")
    ran = command(tmp_path / "space", "dispute", "open", *subject, *words, "--csv")
    (row,) = csv.DictReader(io.StringIO(ran.text))
    assert row["contested"] == ("Ann, (unattributed)" if contested == "both" else contested)


def test_nobodys_money_leaves_and_the_next_step_is_told(space: Path) -> None:
    dispute_id = contest(space)["dispute_id"]
    ran = command(space, "dispute", "resolve", dispute_id, "--nobody", "--reason", "A forger")
    assert ran.code == 0
    assert "next: fairbrush artist consent" in ran.stderr
    assert "nobody" in ran.text
    assert held(space) == {"fund": 70, "payable": 20, "escrow": 10}


def test_no_dispute_is_an_answer(space: Path) -> None:
    assert command(space, "dispute", "list").text == "(nothing)\n"
    assert answer(space, "dispute", "list") == {"schema": "fairbrush.disputes/1", "disputes": []}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["open", "--by", "Rival", "--reason", "x"], "--attribution or --artist"),
        (["open", "--artist", "Ann", "--attribution", "0" * 64, "--by", "Rival", "--reason", "x"], "over"),
        (["open", "--artist", "Ann", "--unattributed", "--by", "Rival", "--reason", "x"], "--attribution"),
        (["open", "--artist", "Ann", "--by", "Rivale", "--reason", "x"], "Did you mean 'Rival'"),
        (["open", "--artist", "Ann", "--by", "Rival", "--reason", " "], "needs a reason"),
        (["open", "--artist", "Ann", "--by", "Rival"], "reason"),
        (["open", "--attribution", "0" * 64, "--by", "Rival", "--reason", "x"], "no record"),
        (["open", "--attribution", "0" * 7, "--by", "Rival", "--reason", "x"], "eight characters"),
        (["show", "0" * 8], "No dispute"),
        (["resolve", "0" * 8, "--rejected", "--reason", "x"], "No dispute"),
        (["resolve", "0" * 8, "--reason", "x"], "one ruling"),
        (["resolve", "0" * 8, "--rejected", "--nobody", "--reason", "x"], "one ruling"),
        (["resolve", "0" * 8, "--give", "Ann", "--reason", "x"], "ARTIST:PART"),
        (["resolve", "0" * 8, "--give", "Ann:-1", "--reason", "x"], "ARTIST:PART"),
        (["resolve", "0" * 8, "--give", "Ann:1/0", "--reason", "x"], "ARTIST:PART"),
        (["resolve", "0" * 8, "--give", "Ann:50%", "--reason", "x"], "ARTIST:PART"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(space: Path, words: list[str], message: str) -> None:
    ran = command(space, "dispute", *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert message in ran.stderr
    assert "next: " in ran.stderr
    assert held(space) == {"payable": 90, "escrow": 10}
    assert answer(space, "dispute", "list")["disputes"] == []


def test_an_altered_event_is_told(space: Path) -> None:
    opened = answer(space, "dispute", "open", "--by", "bo", "--artist", "ann", "--reason", "me")
    with open_registry(space) as store, store.transaction() as connection:
        connection.execute("UPDATE dispute_event SET body = '{}'")
    for words in (["list"], ["resolve", opened["dispute_id"], "--rejected", "--reason", "no"]):
        ran = command(space, "dispute", *words)
        assert (ran.code, "fairbrush ledger verify" in ran.stderr) == (2, True)
