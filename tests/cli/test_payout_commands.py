"""Payouts, bank accounts and claims as a user types them: answers, exit codes, and what is left behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from earnings import adopt_minimum, artist, earn, escrow, payable
from running import Ran
from workspaces import answer, command, rows

from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Consent
from fairbrush.ledger import bank_details
from fairbrush.workspace import create_workspace

GERMAN, FRENCH = "DE89370400440532013000", "FR1420041010050500013M02606"
DEBTOR = ("--debtor-name", "Fairbrush", "--debtor-iban", "NL91ABNA0417164300")
needs_extra = pytest.mark.skipif(util.find_spec("sepaxml") is None, reason="the extra sepa is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Ann is owed 12.50 EUR and 7 JPY, Bo 3.00 EUR; Zoe's style is unclaimed, and 20.00 EUR kept for it."""
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        ann, bo = artist(store, "Ann"), artist(store, "Bo")
        earn(store, payable(ann), 1250)
        earn(store, payable(ann), 7, "JPY")
        earn(store, payable(bo), 300)
        earn(store, escrow(artist(store, "Zoe", consent=Consent.UNCLAIMED)), 2000)
    return tmp_path / "space"


def money(folder: Path) -> Any:
    return rows(folder, "SELECT account, holder, subject, currency, amount_minor FROM posting ORDER BY ALL")


def refused(folder: Path, *words: Any) -> str:
    """What is said about a command that cannot run; it changes nothing."""
    before = money(folder)
    ran = command(folder, *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert money(folder) == before
    return ran.stderr


def propose(folder: Path) -> dict[tuple[str, str], str]:
    """The ids of the payouts proposed, by payee and currency."""
    document = answer(folder, "payout", "propose")
    return {(one["payee"], one["currency"]): one["payout_id"] for one in document["payouts"]}


def test_what_is_proposed_confirmed_and_failed_is_listed_so(folder: Path) -> None:
    ids = propose(folder)
    assert set(ids) == {("Ann", "EUR"), ("Ann", "JPY"), ("Bo", "EUR")}
    assert propose(folder) == {}
    confirmed = answer(folder, "payout", "confirm", ids["Ann", "EUR"][:32], "--reference", "B-1")
    assert [(one["status"], one["note"], one["changed"]) for one in confirmed["payouts"]] == [
        ("confirmed", "B-1", True)
    ]
    answer(folder, "payout", "fail", ids["Bo", "EUR"], "--reason", "account closed")
    listed = answer(folder, "payout", "list")
    assert listed["schema"] == "fairbrush.payouts/1"
    assert {
        (one["payee"], one["amount"], one["currency"], one["status"], one["note"])
        for one in listed["payouts"]
    } == {
        ("Ann", "12.50", "EUR", "confirmed", "B-1"),
        ("Ann", "7", "JPY", "proposed", None),
        ("Bo", "3.00", "EUR", "failed", "account closed"),
    }
    assert [one["payee"] for one in answer(folder, "payout", "list", "--status", "failed")["payouts"]] == [
        "Bo"
    ]
    assert set(propose(folder)) == {("Bo", "EUR")}


def test_confirming_twice_changes_nothing_and_says_so(folder: Path) -> None:
    payout_id = propose(folder)["Ann", "EUR"]
    command(folder, "payout", "confirm", payout_id, "--reference", "B-1")
    before = money(folder)
    ran = command(folder, "payout", "confirm", payout_id, "--reference", "B-2", "--json")
    assert (ran.code, ran.json["payouts"][0]["changed"]) == (0, False)
    assert "(B-1): nothing was changed" in ran.stderr
    assert money(folder) == before
    talk = refused(folder, "payout", "fail", payout_id, "--reason", "came back")
    assert "that is final" in talk


def test_of_several_payouts_all_are_confirmed_or_none(folder: Path) -> None:
    ids = propose(folder)
    command(folder, "payout", "fail", ids["Bo", "EUR"], "--reason", "closed")
    talk = refused(folder, "payout", "confirm", ids["Ann", "EUR"], ids["Bo", "EUR"], "--reference", "B-1")
    assert "next: Nothing was changed. Its money is owed again: fairbrush payout propose" in talk
    assert len(answer(folder, "payout", "list", "--status", "confirmed")["payouts"]) == 0
    both = answer(folder, "payout", "confirm", ids["Ann", "EUR"], ids["Ann", "JPY"], "--reference", "B-1")
    assert [one["changed"] for one in both["payouts"]] == [True, True]


def test_a_proposal_lists_what_is_held_and_what_is_too_little(folder: Path) -> None:
    with open_registry(folder) as store:
        adopt_minimum(store, EUR="10.00")
    command(folder, "artist", "consent", "Ann", "opted_out")
    document = answer(folder, "payout", "propose", "--dry-run")
    assert (document["payouts"], document["dry_run"]) == ([], True)
    assert {(one["payee"], one["amount"], one["currency"]) for one in document["held"]} == {
        ("Ann", "12.50", "EUR"),
        ("Ann", "7", "JPY"),
    }
    assert all(one["detail"].startswith("the artist is opted out: ") for one in document["held"])
    assert [(one["payee"], one["amount"], one["detail"]) for one in document["carried_forward"]] == [
        ("Bo", "3.00", "less than 10.00 EUR")
    ]
    table = command(folder, "payout", "propose").text
    assert table.splitlines()[0].split() == ["payout_id", "payee", "amount", "currency", "status", "detail"]
    assert "carried forward" in table
    assert answer(folder, "payout", "list")["payouts"] == []


def test_a_payee_alone_and_its_balance(folder: Path) -> None:
    assert set(propose_one(folder, "Ann")) == {("Ann", "EUR"), ("Ann", "JPY")}
    command(folder, "artist", "consent", "Bo", "opted_out")
    document = answer(folder, "payee", "balance")
    assert document["schema"] == "fairbrush.payee_balances/1"
    found = {
        (one["payee"], one["currency"]): (one["payable"], one["held"], one["in_transit"], one["paid"])
        for one in document["balances"]
    }
    assert found == {
        ("Ann", "EUR"): ("0.00", "0.00", "12.50", "0.00"),
        ("Ann", "JPY"): ("0", "0", "7", "0"),
        ("Bo", "EUR"): ("0.00", "3.00", "0.00", "0.00"),
    }
    for one in answer(folder, "payout", "list")["payouts"]:
        command(folder, "payout", "confirm", one["payout_id"], "--reference", "B")
    ann = answer(folder, "payee", "balance", "Ann")["balances"]
    assert [(one["in_transit"], one["paid"]) for one in ann] == [("0.00", "12.50"), ("0", "7")]
    assert answer(folder, "payee", "balance", "Zoe")["balances"] == []


def propose_one(folder: Path, payee: str) -> dict[tuple[str, str], str]:
    document = answer(folder, "payout", "propose", "--payee", payee)
    return {(one["payee"], one["currency"]): one["payout_id"] for one in document["payouts"]}


def test_what_cannot_be_meant_is_refused(folder: Path) -> None:
    assert "no payout 'abc'" in refused(folder, "payout", "confirm", "abc", "--reference", "B")
    assert "--reference" in refused(folder, "payout", "confirm", "0" * 64)
    assert "No payee is called 'Nobody'" in refused(folder, "payout", "propose", "--payee", "Nobody")
    payout_id = propose(folder)["Ann", "EUR"]
    assert "without the bank's reference" in refused(
        folder, "payout", "confirm", payout_id, "--reference", " "
    )


# export


def export_file(folder: Path, name: str, *words: str) -> tuple[Ran, Path]:
    file = folder.parent / name
    return command(folder, "payout", "export", file, *words, "--json"), file


def test_a_table_of_all_payouts_is_written_and_they_stay_proposed(folder: Path) -> None:
    ids = propose(folder)
    before = money(folder)
    ran, file = export_file(folder, "out.csv")
    assert (ran.code, ran.json["format"], ran.json["file"]) == (0, "csv", str(file))
    with file.open(encoding="utf-8", newline="") as stream:
        written = {row["payout_id"]: (row["payee"], row["amount"]) for row in csv.DictReader(stream)}
    assert written[ids["Ann", "JPY"]] == ("Ann", "7")
    assert len(written) == 3
    assert money(folder) == before
    assert len(answer(folder, "payout", "list", "--status", "proposed")["payouts"]) == 3


@needs_extra
def test_a_transfer_is_written_and_what_it_cannot_take_is_listed(folder: Path) -> None:
    command(folder, "payee", "account", "Ann", "--iban", GERMAN)
    ids = propose(folder)
    day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    ran, file = export_file(folder, "out.xml", *DEBTOR, "--execution-date", day)
    assert ran.code == 1
    assert "2 of 3 proposed payouts are not in the file" in ran.stderr
    assert {one["payout_id"]: one["written"] for one in ran.json["payouts"]} == {
        ids["Ann", "EUR"]: True,
        ids["Ann", "JPY"]: False,
        ids["Bo", "EUR"]: False,
    }
    tree = ElementTree.parse(file)
    found = {element.tag.partition("}")[2]: element.text for element in tree.iter()}
    assert (found["MsgId"], found["EndToEndId"]) == (ran.json["message_id"], ids["Ann", "EUR"][:32])
    assert (found["InstdAmt"], found["Dt"]) == ("12.50", day)
    command(folder, "payout", "fail", ids["Ann", "JPY"], ids["Bo", "EUR"], "--reason", "paid by hand")
    ran, _ = export_file(folder, "named", "--format", "pain.001", *DEBTOR)
    assert (ran.code, ran.json["message_id"]) == (0, found["MsgId"])


@needs_extra
def test_where_nothing_can_be_transferred_no_file_is_written(folder: Path) -> None:
    propose(folder)
    ran, file = export_file(folder, "out.xml", *DEBTOR)
    assert (ran.code, ran.json["file"], file.exists()) == (1, None, False)
    assert "Nothing was written" in ran.stderr


def test_without_a_proposal_there_is_nothing_to_export(folder: Path) -> None:
    ran, file = export_file(folder, "out.csv")
    assert (ran.code, ran.json["payouts"], file.exists()) == (0, [], False)
    assert "no payout can be exported" in ran.stderr


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("out.txt", (), "ends neither in .csv nor in .xml"),
        ("out.xml", (), "needs the account that pays"),
        ("out.xml", ("--debtor-name", "Me", "--debtor-iban", "DE00"), "That is no IBAN"),
        ("out.xml", (*DEBTOR, "--debtor-bic", "x"), "is no BIC"),
        ("out.xml", (*DEBTOR, "--execution-date", "tomorrow"), "is not a day"),
        ("out.xml", (*DEBTOR, "--execution-date", "2099-W01"), "is not a day"),
        ("out.csv", DEBTOR, "A CSV names no debtor"),
        ("out.csv", ("--execution-date", "2026-03-01"), "A CSV has no execution date"),
        ("no/such/folder.csv", (), "cannot be written"),
    ],
)
def test_an_export_that_cannot_be_meant_writes_nothing(
    folder: Path, name: str, words: tuple[str, ...], message: str
) -> None:
    propose(folder)
    assert message in refused(folder, "payout", "export", folder.parent / name, *words)
    assert not (folder.parent / name).exists()


def test_an_export_into_a_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    propose(folder)
    monkeypatch.chdir(folder)
    assert "is a folder" in refused(folder, "payout", "export", ".", "--format", "csv")
    assert "is a folder" in refused(folder, "payout", "export", folder.parent, "--format", "csv")


# bank accounts


def test_a_bank_account_is_shown_masked_and_forgotten(folder: Path) -> None:
    nothing = answer(folder, "payee", "account", "Ann")
    assert (nothing["schema"], nothing["iban"]) == ("fairbrush.payee_account/1", None)
    ran = command(
        folder, "payee", "account", "Ann", "--iban", GERMAN, "--holder", "A. Nn", "--bic", "COBADEFFXXX"
    )
    assert ran.code == 0
    assert GERMAN not in ran.text + ran.stderr
    shown = answer(folder, "payee", "account", "Ann")
    assert (shown["holder"], shown["iban"], shown["bic"]) == ("A. Nn", "DE** **** 3000", "COBADEFFXXX")
    assert answer(folder, "payee", "account", "Ann", "--remove")["iban"] is None
    assert "No account was known" in command(folder, "payee", "account", "Ann", "--remove").stderr
    assert rows(folder, "SELECT * FROM payee_account") == []


def test_a_wrong_iban_is_refused_and_the_old_one_stays(folder: Path) -> None:
    command(folder, "payee", "account", "Ann", "--iban", FRENCH)
    wrong = GERMAN[:-1] + "1"
    talk = refused(folder, "payee", "account", "Ann", "--iban", wrong)
    assert "check digits" in talk
    assert wrong not in talk
    assert "--remove forgets" in refused(folder, "payee", "account", "Ann", "--remove", "--iban", GERMAN)
    assert "belong to --iban" in refused(folder, "payee", "account", "Ann", "--holder", "B")
    assert answer(folder, "payee", "account", "Ann")["iban"] == "FR** **** 2606"


def test_without_the_extra_it_is_said_what_was_not_verified(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_details, "knows_banks", lambda: False)
    ran = command(folder, "payee", "account", "Ann", "--iban", GERMAN)
    assert ran.code == 0
    assert "check digits are right" in ran.stderr
    assert "pip install 'fairbrush[sepa]'" in ran.stderr


# claims


def test_a_claimed_style_is_paid_what_was_kept_for_it(folder: Path) -> None:
    command(folder, "payee", "add", "Agency")
    claimed = answer(folder, "artist", "claim", "Zoe", "--payee", "Agency", "--evidence", "a letter")
    assert claimed["schema"] == "fairbrush.claim/1"
    assert (claimed["artist"], claimed["creator"], claimed["payee"]) == ("Zoe", "Zoe", "Agency")
    assert claimed["released"] == [{"currency": "EUR", "amount": "20.00", "amount_minor": 2000}]
    shown = answer(folder, "artist", "show", "Zoe")
    assert (shown["consent"], shown["payee"]) == ("opted_in", "Agency")
    assert [(one["source"], one["reason"]) for one in shown["consents"]][-1] == ("artist claim", "a letter")
    assert ("Agency", "EUR") in propose(folder)
    eligible = json.loads((folder / "indexes" / "eligibility.json").read_text(encoding="utf-8"))
    assert claimed["payee_id"] in json.dumps(eligible)


def test_a_claim_shows_what_was_released_in_a_table(folder: Path) -> None:
    ran = command(folder, "artist", "claim", "Zoe", "--evidence", "a letter")
    assert ran.code == 0
    assert "20.00 EUR" in ran.text


def test_a_claim_that_is_not_to_be_believed_is_refused(folder: Path) -> None:
    assert "--evidence" in refused(folder, "artist", "claim", "Zoe")
    assert "opted in" in refused(folder, "artist", "claim", "Ann", "--evidence", "a letter")
    command(folder, "artist", "claim", "Zoe", "--evidence", "a letter")
    talk = refused(folder, "artist", "claim", "Zoe", "--creator", "Bo", "--evidence", "a letter")
    assert "fairbrush dispute open" in talk
    command(folder, "artist", "consent", "Zoe", "opted_out")
    assert "is opted out" in refused(folder, "artist", "claim", "Zoe", "--evidence", "a letter")
