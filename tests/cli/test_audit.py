"""``fairbrush audit`` as a user types it, on a random-weight miniature of Stable Diffusion."""

import csv
import io
import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from calibrations import NOW, calibration, part
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from running import wait_until
from workspaces import Gallery, answer, command, rows

from fairbrush.corpus.changes import open_registry
from fairbrush.index.search import open_index
from fairbrush.style.kept_calibrations import keep_calibration

PARAMETERS = "{}, by {}\nSteps: 1, CFG scale: 5, Seed: 7, Size: 64x64, Model: v1"
RUN = ("audit", "run", "--seeds", 2)


@dataclass(frozen=True)
class Earned:
    """A workspace in which each image earned something; ``silent``: one that credits nobody, whose file
    tells no prompt."""

    workspace: Path
    images: dict[str, Path]
    artist: str


@pytest.fixture(scope="module")
def earned(gallery: Gallery, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Earned:
    folder = tmp_path_factory.mktemp("earned")
    workspace = Path(shutil.copytree(gallery.workspace, folder / "space"))
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write(f'[generators]\n"sd-1.5" = "{tiny}"\n')
    artist = gallery.answers[gallery.credited]["artists"][0]["artist"]
    other = next(name for name in gallery.works if name != artist)
    images = {}
    (folder / "art").mkdir()
    for name, by in {"fox": artist, "cat": other}.items():
        said = PngInfo()
        said.add_text("parameters", PARAMETERS.format(name, by))
        said.add_text("name", name)
        images[name] = folder / "art" / f"{name}.png"
        Image.open(gallery.credited).convert("RGB").save(images[name], pnginfo=said)
    images["silent"] = folder / "art" / "silent.png"
    unknown = next(path for path, document in gallery.answers.items() if not document["artists"])
    Image.open(unknown).convert("RGB").save(images["silent"])
    for words in (
        ["policy", "adopt", "--from", "2026-01-01"],
        ["attribute", folder / "art"],
        ["revenue", "import", revenue(folder, images)],
    ):
        ran = command(workspace, *words)
        assert ran.code == 0, ran.stderr
    return Earned(workspace, images, artist)


def revenue(folder: Path, images: dict[str, Path]) -> Path:
    lines = ["reference,amount,currency,image,date"]
    amounts = {"fox": "60.00", "cat": "30.00", "silent": "10.00"}
    lines += [f"INV-{name},{amounts[name]},EUR,{path},2026-01-05" for name, path in images.items()]
    (folder / "january.csv").write_text("\n".join(lines) + "\n")
    return folder / "january.csv"


@pytest.fixture
def space(earned: Earned, tmp_path: Path) -> Path:
    return Path(shutil.copytree(earned.workspace, tmp_path / "space"))


@pytest.fixture(scope="module")
def begun(earned: Earned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a plan of thirty draws, its first image measured; for reading and copying."""
    space = Path(shutil.copytree(earned.workspace, tmp_path_factory.mktemp("begun") / "space"))
    made = answer(space, "audit", "plan", "--period", "2026-01", "--budget", 30, "--seed", 3)
    assert len({one["image"] for one in made["drawn"]}) == 3
    ran = command(space, *RUN, "--budget", 1)
    assert ran.code == 0, ran.stderr
    assert "1 of 3 drawn images are measured, 2 wait." in ran.stderr
    return space


@pytest.fixture
def audit(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "space"))


def prompts(folder: Path, *lines: str) -> Path:
    (folder / "prompts.csv").write_text("\n".join(["image,prompt", *lines]) + "\n")
    return folder / "prompts.csv"


def images_in(workspace: Path) -> list[Path]:
    return sorted(file for file in (workspace / "regenerations").rglob("*.png") if file.name[0] != ".")


# ------------------------------------------------------------------ plan


def test_a_plan_says_what_is_drawn_and_what_that_buys(earned: Earned, space: Path) -> None:
    words = ["audit", "plan", "--period", "2026-01", "--budget", 6, "--seed", 5]
    made = answer(space, *words)
    assert (made["schema"], made["images"], made["draws"], made["seed"]) == (
        "fairbrush.audit_plan_made/1",
        3,
        6,
        5,
    )
    assert made["money"] == "50.00"  # half of it is the model's
    assert [one["position"] for one in made["drawn"]] == [1, 2, 3, 4, 5, 6]
    assert [one["creators"] for one in made["expected"]] == ["large", "nobody"]
    again = command(space, *words)
    assert (again.code, "this very plan was made before" in again.stderr) == (0, True)
    [row] = rows(space, "SELECT plan_id, draws FROM audit_plan")
    assert row == {"plan_id": made["plan_id"], "draws": 6}
    assert "half_width" in again.text
    assert answer(space, "audit", "plan", "--period", "2026-01", "--budget", 6)["seed"] != 5
    assert [one["draws"] for one in answer(space, "audit", "list")["plans"]] == [6, 6]
    drawn = csv.DictReader(io.StringIO(command(space, *words, "--csv").text))
    assert {one["image"] for one in drawn} == {one["image"] for one in made["drawn"]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["plan", "--period", "2025", "--budget", 5], "There is no revenue in 2025-01-01..2025-12-31"),
        (["plan", "--period", "never", "--budget", 5], "'never' is no period"),
        (["plan", "--period", "2026", "--budget", 0], "is not in the range"),
        (["plan", "--period", "2026", "--budget", 5, "--currency", "USD"], "no revenue in USD"),
        (["run"], "No audit is planned"),
        (["report"], "No audit is planned"),
        (["report", "0123456789ab"], "There is no plan"),
        (["report", "--group", "nobody"], "--group 'nobody' is not known"),
        (["run", "--template", "{content}"], "must say {content} and {artists}"),
    ],
)
def test_what_cannot_be_done_is_refused(earned: Earned, words: list[Any], problem: str) -> None:
    ran = command(earned.workspace, "audit", *words)
    assert (ran.code, ran.stdout) == (2, b""), ran.text
    assert problem in ran.stderr
    assert "\n  next: " in ran.stderr


# ------------------------------------------------------------------ run


def test_an_audit_goes_on_and_measures_what_validate_measures(
    earned: Earned, audit: Path, tmp_path: Path
) -> None:
    given = prompts(tmp_path, f'{earned.images["silent"]},"a house, at night"')
    ran = command(audit, *RUN, "--prompts", given, "--json")
    assert ran.code == 0, ran.stderr
    done = ran.json
    assert (done["measured"], done["failed"], done["waiting"]) == (3, 0, 0)
    assert len(done["images"]) == 2, "the first one was measured before"
    # of the silent image the record credits nobody and the prompt names nobody: there is nobody to measure
    found = rows(audit, "SELECT outcome, image_sha256, body FROM audit_result ORDER BY sequence")
    bodies = {row["image_sha256"]: json.loads(row["body"]) for row in found}
    assert sorted(row["outcome"] for row in found) == ["measured", "measured", "nobody"]
    for name in ("fox", "cat"):
        document = answer(audit, "validate", earned.images[name], "--seeds", 2)
        assert document["images_made"] == 0, "what was drawn for the audit is used again"
        [reading] = document["readings"]
        [body] = [one for one in bodies.values() if one["validations"] == [reading["validation_id"]]]
        clear = any(one["phi"] > 2 * one["phi_error"] for one in reading["creators"])
        shares = {one["creator_id"]: one["regenerated"] for one in reading["creators"] if one["regenerated"]}
        expected = shares if clear else {}
        assert {creator: float(share) for creator, share in body["shares"].items()} == pytest.approx(expected)
        assert float(body["nobody"]) == (0.0 if clear else 1.0)
    assert "house" not in json.dumps(bodies)
    again = answer(audit, *RUN)
    assert again["images"] == []
    assert command(audit, "ledger", "verify").code == 0


def test_an_image_that_fails_is_said_kept_and_tried_again(
    earned: Earned, audit: Path, tmp_path: Path
) -> None:
    ran = command(audit, *RUN)
    assert ran.code == 1
    assert "silent.png: failed: no prompt. Its file tells no prompt." in ran.stderr
    assert "--prompts FILE.csv" in ran.stderr
    report = command(audit, "audit", "report", "--json")
    assert "FAILED: 1 drawn images could not be measured (1 no prompt)" in report.stderr
    assert report.json["failures"] == {"no prompt": 1}
    given = prompts(tmp_path, f"{earned.images['silent']},a house")
    ran = command(audit, *RUN, "--prompts", given, "--json")
    assert (ran.code, ran.json["failed"]) == (0, 0)
    assert [
        row["outcome"] for row in rows(audit, "SELECT outcome FROM audit_result ORDER BY sequence")
    ].count("failed") == 1


def test_a_calibration_that_covers_another_model_now_is_in_no_audits_way(
    earned: Earned, audit: Path, tmp_path: Path
) -> None:
    index = open_index(audit / "indexes")
    other = calibration(encoder_id=index.encoder_id, space_id=index.space_id, models={"mine": part()})
    with open_registry(audit) as store:
        keep_calibration(store, audit, other, now=NOW)
    with (audit / "fairbrush.toml").open("a") as stream:
        name = other.calibration_id
        stream.write(f'[policy]\ncalibration = "{name}"\nb = "calibrated:{name}"\n')
    given = prompts(tmp_path, f"{earned.images['silent']},a house")
    ran = command(audit, *RUN, "--budget", 1, "--prompts", given, "--json")
    assert (ran.code, ran.json["measured"]) == (0, 2), ran.stderr


def test_images_that_moved_are_found_by_their_bytes(earned: Earned, audit: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(earned.images.values()):
        shutil.copy(path, moved / f"{number}.png")
    with_paths = rows(audit, "SELECT DISTINCT image_path FROM attribution")
    assert all(Path(row["image_path"]).is_relative_to(earned.workspace.parent) for row in with_paths)
    hidden = earned.workspace.parent / "hidden"
    (earned.workspace.parent / "art").rename(hidden)
    try:
        ran = command(audit, *RUN, "--budget", 1, "--json")
        assert (ran.code, [one["reason"] for one in ran.json["images"]]) == (1, ["no file"])
        refused = rows(audit, "SELECT reason, doing FROM refused_images")
        assert refused == [{"reason": "missing", "doing": "audit run"}]
        ran = command(audit, *RUN, "--images", moved, "--json")
        reasons = [one["reason"] for one in ran.json["images"]]
        assert sorted(map(str, reasons)) == ["None", "no prompt"]
        assert all(Path(one["file"]).parent == moved for one in ran.json["images"])
        ran = command(audit, *RUN, "--images", tmp_path / "none")
        assert (ran.code, "is no folder" in ran.stderr) == (2, True)
    finally:
        hidden.rename(earned.workspace.parent / "art")


def test_who_may_not_be_credited_any_more_is_not_measured(earned: Earned, audit: Path) -> None:
    assert command(audit, "artist", "consent", earned.artist, "opted_out").code == 0
    ran = command(audit, *RUN, "--json")
    assert ran.code == 1
    left = {Path(one["file"]).stem: one for one in ran.json["images"]}
    if "fox" in left:  # the prompt names nobody else
        assert left["fox"]["reason"] == "not creditable"
    if "cat" in left:  # the other one plays alone; what the artist was paid stays
        bodies = [json.loads(row["body"]) for row in rows(audit, "SELECT body FROM audit_result")]
        assert any(float(body["unaudited"]) == 1.0 for body in bodies)
    assert "NOT MEASURED" in (said := command(audit, "audit", "report").stderr) or "not creditable" in said


def test_an_audit_is_measured_in_one_way(earned: Earned, audit: Path, tiny: Path) -> None:
    before = images_in(audit)
    ran = command(audit, "audit", "run", "--seeds", 3)
    assert (ran.code, "was begun in another way: seeds 2" in ran.stderr) == (2, True), ran.stderr
    [protocol] = rows(audit, "SELECT body->'protocol' AS protocol FROM audit_result")
    index = open_index(audit / "indexes")
    measured_by = {"seeds": 2, "encoder": index.encoder_id, "space": index.space_id}
    assert json.loads(protocol["protocol"]).items() >= measured_by.items()
    toml = audit / "fairbrush.toml"
    toml.write_text(toml.read_text().partition("[generators]\n")[0])
    ran = command(audit, *RUN)
    assert (ran.code, "weights of sd-1.5" in ran.stderr) == (2, True)
    assert images_in(audit) == before


def test_an_image_is_measured_beside_the_answer_that_pays_not_todays(audit: Path) -> None:
    """Another calibration, b and value function are in fairbrush.toml by now; none of them is asked."""
    with open_registry(audit) as store:
        keep_calibration(store, audit, calibration(), now=NOW)
    toml = audit / "fairbrush.toml"
    policy = f'[policy]\ncalibration = "{calibration().calibration_id}"\nb = 0.25\nvalue = "nearest"\n'
    toml.write_text(policy + toml.read_text())
    assert command(audit, *RUN).code == 1  # for want of a prompt
    kept = rows(audit, "SELECT body->'identity'->>'attribution_id' AS record FROM validation")
    paying = rows(audit, "SELECT attribution_id AS record FROM audit_result WHERE outcome = 'measured'")
    assert len(paying) == 2
    assert {one["record"] for one in kept} == {one["record"] for one in paying}


def test_interrupted_in_the_middle_it_goes_on(audit: Path) -> None:
    first = len(images_in(audit))

    def interrupt() -> None:
        wait_until(lambda: len(images_in(audit)) > first)
        signal.raise_signal(signal.SIGINT)

    user = Thread(target=interrupt)
    user.start()
    stopped = command(audit, *RUN, "--batch", 1)
    user.join()
    assert (stopped.code, stopped.stdout) == (130, b""), stopped.stderr
    assert "the same command goes on" in stopped.stderr
    assert len(rows(audit, "SELECT 1 FROM audit_result WHERE outcome = 'measured'")) == 1
    ran = command(audit, *RUN, "--json")
    assert ran.code == 1  # for want of a prompt
    assert (ran.json["measured"], ran.json["failed"], ran.json["waiting"]) == (2, 1, 0)


# ------------------------------------------------------------------ report


def test_a_report_of_a_part_is_of_the_first_draws(begun: Path) -> None:
    report = answer(begun, "audit", "report")
    drawn = [
        row["image_sha256"] for row in rows(begun, "SELECT image_sha256 FROM audit_draw ORDER BY position")
    ]
    first = next(place for place, image in enumerate(drawn) if image != drawn[0])
    assert report["draws_used"] == first
    assert report["schema"] == "fairbrush.audit_report/1"
    assert sum(float(one["estimate"]) for one in report["totals"]) == pytest.approx(50.0, abs=0.02)
    assert any("Partial: the first" in note for note in report["notes"])
    assert len(report["images_judged"]) == 3
    text = command(begun, "audit", "report").text
    for words in ("Audit ", "Mis-paid: about", "Trust or regenerate: no image can be trusted"):
        assert words in text
    listed = list(csv.DictReader(io.StringIO(command(begun, "audit", "report", "--trust", "--csv").text)))
    assert [one["verdict"] for one in listed] == ["regenerate"] * 3
    by_payee = answer(begun, "audit", "report", "--group", "payee")
    assert by_payee["totals"][-1]["name"] == "(nobody)"
    refused = command(begun, "audit", "report", "--level", 2)
    assert (refused.code, "--level 2 is not between 0 and 1" in refused.stderr) == (2, True)


def test_an_erased_artist_is_in_no_report(earned: Earned, audit: Path) -> None:
    erased = answer(audit, "artist", "erase", earned.artist, "--yes")
    assert erased["proof"]["found"] == []
    ran = command(audit, "audit", "report", "--json")
    assert ran.code == 0, ran.stderr
    assert earned.artist not in ran.text
    assert "(erased)" in [one["name"] for one in ran.json["totals"]]
