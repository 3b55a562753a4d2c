"""``fairbrush recognize`` as a user types it, on a random-weight miniature of Stable Diffusion."""

import csv
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import Ran
from workspaces import Gallery, answer, command, rows

from fairbrush.validation.recognition.controls import INVENTED
from fairbrush.validation.recognition.recognition import recompute

QUICK = ("--prompts", 4, "--seeds", 1, "--steps", 1, "--batch", 32)


@dataclass(frozen=True)
class Surveyed:
    """A workspace in which everybody was measured; for reading only."""

    workspace: Path
    names: list[str]
    document: Any
    talk: str


@pytest.fixture(scope="session")
def surveyed(gallery: Gallery, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Surveyed:
    workspace = Path(shutil.copytree(gallery.workspace, tmp_path_factory.mktemp("surveyed") / "space"))
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write(f'[generators]\n"sd-1.5" = "{tiny}"\n')
    ran = recognize(workspace, "--all", "--json")
    assert ran.code == 0, ran.stderr
    return Surveyed(workspace, sorted(gallery.works), ran.json, ran.stderr)


@pytest.fixture
def space(surveyed: Surveyed, tmp_path: Path) -> Path:
    return Path(shutil.copytree(surveyed.workspace, tmp_path / "space"))


def recognize(workspace: Path, *words: Any) -> Ran:
    return command(workspace, "recognize", *QUICK, *words)


def images_in(workspace: Path) -> int:
    return sum(file.name[0] != "." for file in (workspace / "regenerations").rglob("*.png"))


def stated(workspace: Path) -> dict[str, Any]:
    return {row["artist"]: row for row in answer(workspace, "model", "fidelity", "sd-1.5")["artists"]}


def refusal(workspace: Path, *words: Any) -> str:
    """What a command says that must not run, and makes no image."""
    before = images_in(workspace)
    ran = command(workspace, "recognize", *words)
    assert (ran.code, ran.stdout) == (2, b""), ran.text
    assert "\n  next: " in ran.stderr
    assert images_in(workspace) == before
    return ran.stderr


# ------------------------------------------------------------------ what is answered and kept


def test_everybody_is_measured_on_the_same_contents_and_noise_beside_invented_names(
    surveyed: Surveyed,
) -> None:
    document = surveyed.document
    assert document["schema"] == "fairbrush.recognition/1"
    assert [one["artist"] for one in document["artists"]] == surveyed.names
    assert document["protocol"]["contents"] == [
        "a house",
        "a dog",
        "a woman reading",
        "a bridge over a river",
    ]
    assert (document["images_made"], document["images_to_make"]) == (
        24,
        0,
    )  # six times four
    assert images_in(surveyed.workspace) == 24
    assert document["protocol"]["control"] == "invented"
    assert document["protocol"]["control_names"] == list(INVENTED[:4])
    assert (document["pending"], document["refused"], document["artists_decided_over"]) == ([], [], 5)
    for one in document["artists"]:
        assert one["images"] == len(one["before"]) == 4
        assert len(one["own_works"]) == 6
        lift = (np.mean(one["after"]) - np.mean(one["before"])) / np.std(one["before"], ddof=1)
        assert one["lift"] == pytest.approx(lift, abs=1e-9)
        at_or_above = sum(null >= one["lift"] for null in one["null_lifts"])
        assert one["p_value"] == (1 + at_or_above) / (1 + one["nulls"])
        assert one["own"] == pytest.approx(np.median(one["own_works"]))
    assert {one["nulls"] for one in document["artists"]} == {4 + 139}  # the other four, and the panel's hands


def test_who_is_reproducible_is_decided_over_all_of_them_and_stated_for_policies(surveyed: Surveyed) -> None:
    figures = stated(surveyed.workspace)
    assert sorted(figures) == surveyed.names
    for one in surveyed.document["artists"]:
        figure = figures[one["artist"]]
        assert figure["fidelity"] == pytest.approx(one["fidelity"] or 0.0, abs=1e-6)
        assert figure["reproducible"] is one["reproducible"]
        assert one["reproducible"] is (one["adjusted"] <= 0.05 and one["fidelity"] is not None)
        assert f"recognition {one['recognition_id'][:16]}: p = " in figure["source"]
        assert "at a false discovery rate of 0.05 over 5 artists" in figure["source"]
    assert "of 5 artists measured of this model are reproducible, at an error level of 0.05" in surveyed.talk


def test_all_figures_can_be_computed_again_from_what_is_kept(surveyed: Surveyed) -> None:
    kept = rows(surveyed.workspace, "SELECT * FROM recognition ORDER BY recognition_id")
    assert len(kept) == 5
    for row in kept:
        again = recompute(json.loads(row["body"]))
        fidelity = again.fidelity
        assert again.p_value == row["p_value"]
        assert (fidelity.value, fidelity.low, fidelity.high, fidelity.raw) == (
            *(row["fidelity"], row["low"], row["high"], row["raw"]),
        )
        assert not any(name in row["body"] for name in surveyed.names)


def test_the_same_again_makes_no_image_and_keeps_nothing_twice(surveyed: Surveyed, space: Path) -> None:
    again = recognize(space, "--all", "--json")
    assert again.code == 0
    assert again.json == {**surveyed.document, "images_made": 0}
    assert len(rows(space, "SELECT 1 AS one FROM recognition")) == 5


def test_the_answer_comes_in_every_format(surveyed: Surveyed, space: Path) -> None:
    name = surveyed.names[0]
    [row] = csv.DictReader(io.StringIO(recognize(space, name, "--csv").text))
    assert list(row) == ["artist", "fidelity", "low", "high", "p_value", "adjusted", "reproducible"]
    assert row["artist"] == name
    assert json.loads(recognize(space, name, "--nl").text)["artist"] == name
    assert recognize(space, name).text.startswith("artist ")


def test_one_more_artist_is_decided_together_with_those_kept_before(
    gallery: Gallery, surveyed: Surveyed, tmp_path: Path
) -> None:
    space = Path(shutil.copytree(gallery.workspace, tmp_path / "fresh"))
    shutil.copy(surveyed.workspace / "fairbrush.toml", space)
    shutil.copytree(surveyed.workspace / "regenerations", space / "regenerations")
    first, second, third, *_ = surveyed.names
    assert recognize(space, first).code == 0
    assert "over 1 artists" in stated(space)[first]["source"]
    words = ["model", "fidelity", "sd-1.5", third, "0.25", "--reproducible", "--source", "our own tests"]
    assert recognize(space, third).code == 0
    assert command(space, *words).code == 0
    document = recognize(space, second, "--json").json
    assert (document["artists_decided_over"], document["images_made"]) == (3, 0)
    figures = stated(space)
    assert "over 3 artists" in figures[first]["source"]
    assert figures[third]["source"] == "our own tests"  # until that artist is measured again
    assert recognize(space, third).code == 0
    assert "over 3 artists" in stated(space)[third]["source"]


# ------------------------------------------------------------------ a budget, and interruptions


def test_a_budget_is_spent_on_images_that_all_share_first_and_the_same_command_goes_on(
    surveyed: Surveyed, space: Path
) -> None:
    shutil.rmtree(space / "regenerations")
    made, names = [], surveyed.names
    for budget in (0, 3, 6, 6):
        ran = recognize(space, "--all", "--budget", budget, "--json")
        assert ran.code == 0
        document = ran.json
        made.append((document["images_made"], document["images_to_make"], len(document["artists"])))
        assert [one["artist"] for one in document["artists"]] + document["pending"] == names
        assert document["other_protocols"] == 0
        assert "images are still to be made" in ran.stderr
    assert made == [(0, 24, 0), (3, 21, 0), (6, 15, 1), (6, 9, 2)]
    last = recognize(space, "--all", "--json").json
    assert last["images_made"] == 9
    assert [one["artist"] for one in last["artists"]] == names
    for one, before in zip(last["artists"], surveyed.document["artists"], strict=True):
        np.testing.assert_allclose(
            one["after"], before["after"], atol=0.01
        )  # batches differ in the last bits


def test_an_image_that_was_damaged_is_made_again(surveyed: Surveyed, space: Path) -> None:
    next((space / "regenerations").rglob("*.png")).write_bytes(b"half")
    document = recognize(space, "--all", "--json").json
    assert (document["images_made"], document["images_to_make"], len(document["artists"])) == (1, 0, 5)


def test_where_the_database_is_busy_images_are_kept_and_nothing_else(
    surveyed: Surveyed, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairbrush.errors import DatabaseBusyError
    from fairbrush.validation import keeping

    def busy(*_: Any, **__: Any) -> Any:
        raise DatabaseBusyError("Another process holds the database.")

    monkeypatch.setattr(keeping, "open_registry", busy)
    name = surveyed.names[0]
    ran = recognize(space, name, "--seed", 9)
    assert (ran.code, ran.stdout) == (75, b"")
    assert "What was measured is not recorded" in ran.stderr
    assert images_in(space) == 24 + 8
    monkeypatch.undo()
    assert recognize(space, name, "--seed", 9, "--json").json["images_made"] == 0


# ------------------------------------------------------------------ what artists are compared with


def test_images_without_any_name_are_another_protocol(surveyed: Surveyed, space: Path) -> None:
    name = surveyed.names[0]
    document = recognize(space, name, "--control", "unnamed", "--json").json
    assert (document["protocol"]["control"], document["protocol"]["control_names"]) == ("unnamed", [])
    assert document["images_made"] == 4  # four of nobody; the artist's are there
    assert (document["artists_decided_over"], document["other_protocols"]) == (1, 1)
    assert document["artists"][0]["after"] == surveyed.document["artists"][0]["after"]
    assert document["artists"][0]["before"] != surveyed.document["artists"][0]["before"]
    # what was stated under the one is not decided anew when somebody is measured under the other
    source = stated(space)[name]["source"]
    assert recognize(space, surveyed.names[1]).code == 0
    assert stated(space)[name]["source"] == source
    assert f"recognition {document['artists'][0]['recognition_id'][:16]}: " in source


def test_who_is_called_like_somebody_invented_is_not_what_others_are_compared_with(
    surveyed: Surveyed, space: Path
) -> None:
    words = ["artist", "alias", surveyed.names[0], "--add", INVENTED[1]]
    assert command(space, *words).code == 0
    document = recognize(space, surveyed.names[1], "--json").json
    assert document["protocol"]["control_names"] == [INVENTED[0], *INVENTED[2:5]]
    assert document["images_made"] == 3
    assert document["artists_decided_over"] == 1  # held against other images than those kept before


# ------------------------------------------------------------------ who is measured


def test_who_may_not_be_credited_or_was_erased_is_refused_and_the_others_are_measured(
    surveyed: Surveyed, space: Path
) -> None:
    out, gone, untrained, fine, _ = surveyed.names
    assert command(space, "artist", "consent", out, "opted_out").code == 0
    [gone_id] = [one["artist_id"] for one in surveyed.document["artists"] if one["artist"] == gone]
    assert command(space, "artist", "erase", gone, "--yes").code == 0
    left = [row["artist_id"] for row in rows(space, "SELECT artist_id FROM recognition")]
    assert (len(left), gone_id in left, len(stated(space))) == (4, False, 4)
    roster = ["model", "roster", "sd-1.5", untrained, "--trained", "no", "--source", "a list"]
    assert command(space, *roster).code == 0
    ran = recognize(space, out, gone, untrained, fine, "--json")
    assert ran.code == 1
    assert [one["artist"] for one in ran.json["artists"]] == [fine]
    reasons = {one["artist"]: one["reason"] for one in ran.json["refused"]}
    assert reasons[out] == reasons[untrained] == "may not be credited for images of sd-1.5"
    assert reasons[gone] == f"No artist is called {gone!r}"
    assert len(recognize(space, "--all", "--json").json["artists"]) == 2


def test_too_few_works_or_a_name_too_long_for_the_model_are_refused_and_the_others_measured(
    surveyed: Surveyed, space: Path
) -> None:
    long = "very " * 35 + "long"
    for name, count in (("Few Works", 3), (long, 5)):
        folder = space.parent / name[:3]
        folder.mkdir()
        for number in range(count):
            colour = (40 * number, 40 * count, 200 - 40 * number)
            Image.new("RGB", (64, 64), colour).save(folder / f"{number}.png")
        assert command(space, "artist", "add", name, folder).code == 0
    assert command(space, "index", "extend").code == 0
    ran = recognize(space, "Few Works", long, surveyed.names[0], "--json")
    assert ran.code == 1
    assert [one["artist"] for one in ran.json["artists"]] == surveyed.names[:1]
    assert "Few Works: has too few works in the index, 3, to know the style by; 5 are needed." in ran.stderr
    assert "the model does not read the prompt to its end: it stops before" in ran.stderr
    everybody = recognize(space, "--all", "--json")
    assert (everybody.code, everybody.json["passed_over"], len(everybody.json["artists"])) == (1, 1, 5)


# ------------------------------------------------------------------ what cannot run


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "Whom to measure is not said"),
        (["--all", "Ann"], "--all leaves no ARTIST to name"),
        (["--all", "--error-level", "1.5"], "--error-level 1.5 is no part"),
        (["--all", "--prompts", "3"], "3 contents say too little; at least 4 are needed"),
        (["--all", "--prompts", "4000"], "so 4000 cannot be taken"),
        (["--all", "--contents", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--all", "--contents", "nowhere.txt", "--prompts", "4"], "of our own contents"),
        (["--all", "--template", "{content} by {artist}"], "must say {content} and {artists}"),
        (["--all", "--model", "nothing-1"], "'nothing-1' is not registered"),
        (["--all", "--weights", "nowhere"], "no model at nowhere"),
        (["--all", "--size", "big"], "is no size"),
        (["--all", "--control", "nobody"], "'nobody' is not one of 'invented', 'unnamed'"),
        (["--all", "--template", "{content} " + "as always " * 80 + "by {artists}"], "to their end"),
        (["--all", "--precision", "float8"], "--precision 'float8'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_image(
    surveyed: Surveyed, words: list[str], problem: str
) -> None:
    assert problem in refusal(surveyed.workspace, *words)


def test_own_contents_are_read_from_a_file_and_bad_ones_refused(
    surveyed: Surveyed, space: Path, tmp_path: Path
) -> None:
    file = tmp_path / "contents.txt"
    file.write_text("# ours\na fox\n\n a cat \na tree\na boat\n")
    words = ["--seeds", 1, "--steps", 1, "--contents", file]
    document = command(space, "recognize", surveyed.names[0], *words, "--json").json
    assert document["protocol"]["contents"] == ["a fox", "a cat", "a tree", "a boat"]
    assert (document["artists_decided_over"], document["other_protocols"]) == (1, 1)
    for text, problem in (("a fox\na fox\n", "says 'a fox' twice"), ("# none\n", "has no contents")):
        file.write_text(text)
        assert problem in refusal(space, surveyed.names[0], "--contents", file)


@pytest.mark.parametrize("extra", ["diffusers", "scipy.stats"])
def test_a_missing_extra_is_named_before_any_image(
    surveyed: Surveyed, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    said = refusal(surveyed.workspace, "--all", "--seed", 555)
    assert extra.split(".")[0] in said
    assert 'next: pip install "fairbrush[validate]"' in said


# ------------------------------------------------------------------ money


@pytest.mark.parametrize("rule", ["filter", "weight"])
def test_policies_pay_by_what_was_measured(
    gallery: Gallery, surveyed: Surveyed, space: Path, rule: str
) -> None:
    name = gallery.answers[gallery.credited]["artists"][0]["artist"]
    assert command(space, "artist", "consent", name, "opted_in").code == 0
    with (space / "fairbrush.toml").open("a") as stream:
        stream.write(f'[policy]\nreproducibility = "{rule}"\nplatform_fee = 0.0\n')
    assert command(space, "attribute", gallery.credited).code == 0
    assert command(space, "policy", "adopt", "--from", "2020-01-01").code == 0
    words = ["revenue", "add", "R1", "1000000.00", "EUR", "--image", gallery.credited, "--date", "2026-01-05"]
    assert command(space, *words).code == 0
    [share] = [one["share"] for one in gallery.answers[gallery.credited]["artists"]]
    for level in (0.0001, 0.9999):
        assert recognize(space, name, "--error-level", level).code == 0
        figure = stated(space)[name]
        copied = Path(shutil.copytree(space, space.with_name(f"at-{level}")))
        [settlement] = answer(copied, "settle", "2026-01")["settlements"]
        paid = sum(one["amount_minor"] for one in settlement["parts"] if one["account"] == "payable")
        whole = 10**8 * share
        expected = whole * figure["fidelity"] if rule == "weight" else whole * figure["reproducible"]
        assert paid == pytest.approx(expected, abs=2)
