"""``fairbrush policy`` as a user types it: what is said, what is adopted, and what stays as it was."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from workspaces import Gallery, answer, command, rows

from fairbrush.ledger.policies import policy_table
from fairbrush.ledger.policy import read_policy
from fairbrush.ledger.terms import TERM_NAMES, read_terms
from fairbrush.store import utc_now
from fairbrush.workspace import create_workspace

TODAY = utc_now().date()
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A workspace without an index."""
    create_workspace(tmp_path / "bare")
    return tmp_path / "bare"


def write_policy(workspace: Path, text: str) -> None:
    """What fairbrush.toml says under [policy], and nothing else."""
    (workspace / "fairbrush.toml").write_text(f"[policy]\n{text}\n")


def versions(workspace: Path) -> list[tuple[int, str]]:
    found = rows(workspace, "SELECT version, effective_from::TEXT AS day FROM policy ORDER BY version")
    return [(row["version"], row["day"]) for row in found]


def test_what_is_adopted_is_shown_listed_and_in_effect(workspace: Path) -> None:
    write_policy(workspace, 'b = 0.4\nplatform_fee = 0.15\nminimum_payout = { EUR = "10.00", JPY = 500 }')
    before = command(workspace, "policy", "show", "--json")
    assert (before.code, before.json["in_effect"], before.json["differing"]) == (0, None, [])
    assert "No policy is in effect today" in before.stderr
    adopted = answer(workspace, "policy", "adopt")
    assert adopted["schema"] == "fairbrush.policy_adoption/1"
    assert (adopted["version"], adopted["effective_from"], adopted["new"]) == (1, str(TODAY), True)
    assert adopted["index"].endswith("/v0001")
    assert adopted["policy"]["platform_fee"] == "0.15"
    shown = answer(workspace, "policy", "show")
    assert shown["in_effect"]["digest"] == adopted["digest"]
    assert shown["in_effect"]["policy"] == shown["file"] == adopted["policy"]
    assert shown["file"]["minimum_payout"] == {"EUR": "10.00", "JPY": "500"}
    assert shown["differing"] == []
    (listed,) = answer(workspace, "policy", "list")["policies"]
    assert (listed["version"], listed["in_effect"], listed["policy"]["b"]) == (1, True, "0.4")


def test_the_same_again_changes_nothing_and_says_so(workspace: Path) -> None:
    first = answer(workspace, "policy", "adopt")
    again = command(workspace, "policy", "adopt", "--json")
    assert (again.code, again.json) == (0, first | {"new": False})
    assert "Nothing was changed: version 1 says the same" in again.stderr
    assert versions(workspace) == [(1, str(TODAY))]


def test_a_changed_file_differs_until_it_is_adopted(workspace: Path) -> None:
    answer(workspace, "policy", "adopt")
    write_policy(workspace, 'platform_fee = 0.1\nunattributed = "escrow"')
    ran = command(workspace, "policy", "show", "--json")
    assert ran.json["differing"] == ["platform_fee", "unattributed"]
    assert ran.json["in_effect"]["policy"]["platform_fee"] == "0"
    assert "differs from version 1: platform_fee, unattributed." in ran.stderr
    table = command(workspace, "policy", "show").stdout.decode()
    assert ["platform_fee", "0.1", "0", "True"] in [line.split() for line in table.splitlines()]
    assert answer(workspace, "policy", "adopt")["version"] == 2
    assert answer(workspace, "policy", "show")["differing"] == []


def test_a_policy_may_begin_in_the_past_or_the_future_and_is_said_to(workspace: Path) -> None:
    past = command(workspace, "policy", "adopt", "--from", YESTERDAY)
    assert (past.code, "what is settled already stays as it was" in past.stderr) == (0, True)
    write_policy(workspace, "platform_fee = 0.1")
    coming = command(workspace, "policy", "adopt", "--from", TOMORROW)
    assert f"Version 2 is in effect from {TOMORROW} on." in coming.stderr
    shown = command(workspace, "policy", "show", "--json")
    assert (shown.json["in_effect"]["version"], shown.json["differing"]) == (1, ["platform_fee"])
    assert f"Version 2 is in effect from {TOMORROW} on." in shown.stderr
    assert [one["in_effect"] for one in answer(workspace, "policy", "list")["policies"]] == [True, False]


def test_a_newer_index_is_a_difference_to_adopt(workspace: Path, gallery: Gallery) -> None:
    assert answer(workspace, "policy", "adopt")["index"].endswith("/v0001")
    work = next(iter(gallery.works.values()))[0]
    assert command(workspace, "artist", "add", "Newcomer", work).code == 0
    assert command(workspace, "index", "extend").code == 0
    assert answer(workspace, "policy", "show")["differing"] == ["index"]
    write_policy(workspace, 'index = "v0001"')
    assert answer(workspace, "policy", "show")["differing"] == []
    write_policy(workspace, "")
    assert answer(workspace, "policy", "adopt")["index"].endswith("/v0002")


def test_check_reads_the_file_and_no_database(bare: Path) -> None:
    write_policy(bare, "platform_fee = 0.1\nfine_tune_weights = { absent = 0.25 }")
    (bare / "fairbrush.duckdb").unlink()
    document = answer(bare, "policy", "check")
    assert document["schema"] == "fairbrush.policy_check/1"
    assert document["policy"]["fine_tune_weights"] == {"absent": "0.25"}
    lines = [line.split() for line in command(bare, "policy", "check").stdout.decode().splitlines()]
    assert ["platform_fee", "0.1", "file"] in lines
    assert ["minimum_claim", "0", "default"] in lines


def test_what_policy_check_says_means_the_same_when_it_is_written_into_the_file(bare: Path) -> None:
    write_policy(bare, 'b = "0.250"\nminimum_payout = { KWD = 1.5 }\nmembership_unknown = 0.000001')
    said = answer(bare, "policy", "check")["policy"]
    table = {name: value for name, value in said.items() if value is not None}
    assert policy_table(read_policy(table), read_terms(table)) == said
    assert (said["b"], said["minimum_payout"], said["membership_unknown"]) == (
        "0.25",
        {"KWD": "1.500"},
        "0.000001",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("platform_fee = 2", "platform_fee must be a number from 0 to 1"),
        ("fee = 0.1", "fee is not known"),
        ('b = "calibrated:abc"', "b = 'abc': A calibration is named by its id"),
        ('calibration = "abc"', "calibration = 'abc': A calibration is named by its id"),
        ('unattributed = "me"', "One of fund, escrow, model, platform"),
        ('minimum_payout = { EUR = "0.001" }', "minimum_payout.EUR: 0.001 EUR has more decimals"),
    ],
)
def test_a_policy_that_cannot_be_meant_cannot_run(bare: Path, text: str, message: str) -> None:
    write_policy(bare, text)
    for word in ("check", "adopt", "show"):
        ran = command(bare, "policy", word)
        assert (ran.code, ran.stdout, message in ran.stderr) == (2, b"", True), ran.stderr
    write_policy(bare, "")
    assert versions(bare) == []


def test_adopting_needs_an_index_a_known_model_and_a_day(bare: Path, workspace: Path) -> None:
    ran = command(bare, "policy", "adopt")
    assert (ran.code, "next: Build one: fairbrush index build" in ran.stderr) == (2, True)
    write_policy(workspace, 'model = "absent"')
    ran = command(workspace, "policy", "adopt")
    assert (ran.code, "no model 'absent' is registered" in ran.stderr) == (2, True)
    ran = command(workspace, "policy", "adopt", "--from", "soon")
    assert (ran.code, "--from 'soon' is not a day" in ran.stderr) == (2, True)
    assert versions(bare) == versions(workspace) == []
    assert answer(bare, "policy", "list")["policies"] == []


def test_payment_terms_change_no_look_ups_id(workspace: Path, gallery: Gallery) -> None:
    before = answer(workspace, "attribute", gallery.credited, "--no-record")
    write_policy(workspace, 'platform_fee = 0.1\nunattributed = "escrow"\nindex = "v0001"')
    with_terms = answer(workspace, "attribute", gallery.credited, "--no-record")
    # a look-up leaves the values of terms to those who pay
    write_policy(workspace, 'platform_fee = "much"')
    with_bad_terms = answer(workspace, "attribute", gallery.credited, "--no-record")
    ids = [document["attributions"][0]["attribution_id"] for document in (before, with_terms, with_bad_terms)]
    assert ids == [ids[0]] * 3
    write_policy(workspace, "b = 0.4")
    other = answer(workspace, "attribute", gallery.credited, "--no-record")
    assert other["attributions"][0]["attribution_id"] != ids[0]


def test_a_new_workspaces_file_shows_terms_that_can_be_meant(bare: Path) -> None:
    text = (bare / "fairbrush.toml").read_text()
    start = text.index("# [policy]")
    commented = text[start : text.index("# Where the weights")]
    lines = [line.removeprefix("# ") for line in commented.splitlines() if " = " in line]
    table = tomllib.loads("\n".join(lines))
    assert set(table) - set(TERM_NAMES) == {"b", "w", "model"}
    assert read_policy(table).b == "0.5"
    assert read_terms(table).minimum_payout == {"EUR": 1000}
