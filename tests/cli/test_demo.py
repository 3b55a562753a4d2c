"""``fairbrush demo``: one run in an empty folder, read as text and as data, recounted from the database."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import Fairbrush, Ran, wait_until, without_network

from fairbrush.demo import (
    GALLERY,
    HALVES,
    LEFT_OUT,
    MIXED_HANDS,
    MIXTURES,
    Verdict,
    claim_folder,
    judge,
    mixed_png,
)
from fairbrush.durable import DRAFT_PREFIX
from fairbrush.errors import WorkspaceError

WIDEST = 100
LONGEST_S = 60
STEPS = ["workspace", "artists", "queries", "index", "answers", "records"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fairbrush, Ran]:
    """A first run, as a newcomer makes it, without a network; ``Fairbrush`` ends a run after a minute."""
    fairbrush = Fairbrush(tmp_path_factory.mktemp("demo"))
    ran = fairbrush("demo", env=without_network(tmp_path_factory.mktemp("offline")))
    assert ran.code == 0, ran.stderr
    return fairbrush, ran


@pytest.fixture(scope="module")
def again(shown: tuple[Fairbrush, Ran]) -> Any:
    """The second run in the same folder, as data."""
    return shown[0]("demo", "--json").json


def sql(fairbrush: Fairbrush, query: str) -> list[dict[str, Any]]:
    return fairbrush("--workspace", "fairbrush-demo", "sql", query, "--json").json


def test_the_text_says_each_step_the_answers_where_they_lie_and_what_is_next(shown: tuple[Fairbrush, Ran]):
    lines = shown[1].text.splitlines()
    assert [line.split()[0] for line in lines[:6]] == STEPS
    headings = [line for line in lines if line.endswith(":")]
    assert [heading.split()[0] for heading in headings] == ["Who", "What", "All", "In", "Type"]
    assert max(map(len, lines)) <= WIDEST
    assert shown[1].stderr == ""


def test_every_figure_is_the_one_the_database_holds(shown: tuple[Fairbrush, Ran], again: Any):
    fairbrush, ran = shown
    stored = {row["attribution_id"]: row for row in sql(fairbrush, "SELECT * FROM lookups")}
    shares: dict[str, dict[str, float]] = {key: {} for key in stored}
    for row in sql(fairbrush, "SELECT * FROM by_artist"):
        shares[row["attribution_id"]][row["artist"]] = row["share"]
    assert len(stored) == len(again["answers"]) == 19
    for answer in again["answers"]:
        attribution = answer["attribution"]
        row = stored[attribution["attribution_id"]]
        assert row["model_share"] == pytest.approx(attribution["model_share"], abs=1e-12)
        assert row["unattributed"] == pytest.approx(attribution["unattributed"], abs=1e-12)
        paid = {one["artist"]: one["share"] for one in attribution["artists"]}
        assert shares[attribution["attribution_id"]] == pytest.approx(paid, abs=1e-12)
        printed = re.search(rf"^{Path(attribution['image']['path']).stem} .*$", ran.text, re.MULTILINE)
        assert printed
        assert printed[0].endswith(answer["verdict"])
        assert f"{100 * attribution['unattributed']:.1f}" in printed[0]
    top = sql(fairbrush, "SELECT * FROM top_artists LIMIT 5")
    assert again["top_artists"] == [pytest.approx(row) for row in top]


def test_the_words_are_counted_from_the_answers(shown: tuple[Fairbrush, Ran], again: Any):
    words = " ".join(shown[1].text.split())
    recounted: dict[str, dict[str, int]] = {}
    known = {entry.name for entry in (GALLERY / "references").iterdir()} - {LEFT_OUT}
    for answer in again["answers"]:
        credited = [one["artist"] for one in answer["attribution"]["artists"]]
        assert LEFT_OUT not in credited
        assert answer["verdict"] == judge(answer["drawn_by"], credited, known)
        counts = recounted.setdefault(answer["kind"], dict.fromkeys(["asked", *Verdict], 0))
        counts["asked"] += 1
        counts[answer["verdict"]] += 1
    assert again["summary"] == recounted
    single, mixed, unknown = (recounted[kind] for kind in ("single", "mixed", "unknown"))
    assert (single["asked"], mixed["asked"], unknown["asked"]) == (12, 3, 4)
    assert f"{single['right']} of 12 images went to the artist who drew them" in words
    assert f"{mixed['right']} of 3 mixtures went to both artists, {mixed['partly']} to one of them" in words
    assert f"{unknown['right']} of 4 images by {LEFT_OUT}, who is not registered, credited nobody" in words


def test_running_it_again_changes_no_record_and_no_index(shown: tuple[Fairbrush, Ran], again: Any):
    fairbrush, _ = shown
    details = {step["step"]: step["detail"] for step in again["steps"]}
    assert details["records"] == "0 new in fairbrush.duckdb, 19 there already"
    assert details["artists"].endswith("there already")
    assert again["index"]["version"] == "v0001"
    assert sum(step["elapsed_s"] for step in again["steps"]) < LONGEST_S
    assert sql(fairbrush, "SELECT count(*) AS n FROM attribution") == [{"n": 19}]


def test_the_proposed_commands_work_and_the_unknown_artist_becomes_known(
    shown: tuple[Fairbrush, Ran], again: Any
):
    fairbrush, ran = shown
    folder = fairbrush.home / "fairbrush-demo"
    printed = [line.partition("  #")[0].strip() for line in ran.text.partition("Type next:")[2].splitlines()]
    printed = [line for line in printed if line]
    assert printed == ["cd fairbrush-demo", *again["next"]]
    for command in again["next"]:
        done = fairbrush(*shlex.split(command)[1:], cwd=folder)
        assert done.code == 0, (command, done.stderr)
    third = fairbrush("demo", "--json").json
    assert third["left_out_is_known"]
    assert third["index"]["artists"] == 13
    credited = {one["artist"] for answer in third["answers"] for one in answer["attribution"]["artists"]}
    assert MIXED_HANDS[1] not in credited, "an opt-out stays, and counts"
    assert all(LEFT_OUT not in command for command in third["next"])


def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(fairbrush: Fairbrush, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    ran = fairbrush("demo", "mine")
    assert ran.code == 2
    assert "is not empty and holds no demo: thesis.txt" in ran.stderr
    assert "next: " in ran.stderr
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert fairbrush("demo", tmp_path / "mine" / "thesis.txt").code == 2


def test_anothers_file_of_the_same_name_is_not_taken_for_a_demo(tmp_path: Path):
    for content in ('{"schema": "somebody/1"}', "[]", "not json", '{"schema": "fairbrush.demo_state/1"}'):
        (tmp_path / "demo.json").write_text(content)
        with pytest.raises(WorkspaceError, match="not what a demo writes"):
            claim_folder(tmp_path)


def test_what_a_killed_run_left_of_its_mark_does_not_stop_the_next(tmp_path: Path):
    draft = tmp_path / f"{DRAFT_PREFIX}4711-demo.json"
    draft.write_text("{")
    claim_folder(tmp_path)
    assert (tmp_path / "demo.json").exists()


def test_a_run_that_was_stopped_is_gone_on_with(fairbrush: Fairbrush, tmp_path: Path):
    started = fairbrush.start("demo", "d")
    wait_until(lambda: any((tmp_path / "d").glob("thumbnails/*.webp")))
    started.send_signal(2)
    _, stderr = started.communicate(timeout=30)
    assert started.returncode == 130
    assert b"go on with: fairbrush demo d" in stderr
    assert json.loads((tmp_path / "d" / "demo.json").read_text())["imported"] is False
    assert fairbrush("--workspace", "d", "artist", "list", "--json").json["artists"] == []
    claim_folder(tmp_path / "d")
    shutil.rmtree(tmp_path / "d" / "thumbnails")
    claim_folder(tmp_path / "d")


def test_a_mixture_has_both_works_in_it_and_the_same_bytes_each_time():
    one, other = sorted((GALLERY / "queries").rglob("*.webp"))[:2]
    made = {way: mixed_png(one, other, mix) for way, mix in MIXTURES.items()}
    assert made == {way: mixed_png(one, other, mix) for way, mix in MIXTURES.items()}
    assert len(set(made.values())) == 3
    red, blue = Image.new("RGB", (256, 256), "red"), Image.new("RGB", (256, 256), "blue")
    for mix in MIXTURES.values():
        mixed = mix([red, blue], HALVES)
        assert mixed.size == (256, 256)
        pixels = {mixed.getpixel(place) for place in ((60, 128), (196, 128), (250, 250))}
        assert pixels in (
            {(255, 0, 0), (0, 0, 255)},
            {(255, 0, 0), (0, 0, 255), (255, 255, 255)},
        ) or pixels <= {
            (127, 0, 127),
            (128, 0, 127),
            (127, 0, 128),
        }


@pytest.mark.parametrize(
    ("drawn_by", "credited", "verdict"),
    [
        (["Ann"], ["Ann", "Bo"], Verdict.RIGHT),
        (["Ann"], ["Bo", "Ann"], Verdict.WRONG),
        (["Ann"], [], Verdict.MISSED),
        (["Ann", "Bo"], ["Bo", "Ann"], Verdict.RIGHT),
        (["Ann", "Bo"], ["Bo"], Verdict.PARTLY),
        (["Ann", "Bo"], ["Cy"], Verdict.WRONG),
        (["Ann", "Bo"], [], Verdict.MISSED),
        (["Dee"], [], Verdict.RIGHT),
        (["Dee"], ["Ann"], Verdict.WRONG),
    ],
)
def test_an_answer_is_judged_by_who_may_be_credited(
    drawn_by: list[str], credited: list[str], verdict: Verdict
):
    assert judge(drawn_by, credited, {"Ann", "Bo", "Cy"}) is verdict
