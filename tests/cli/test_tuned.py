"""``fairbrush tuned`` as a user types it, on a random-weight miniature of Stable Diffusion and a changed
one."""

import csv
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrations import NOW, calibration, part
from validation.tiny import change_tensors
from workspaces import Gallery, answer, command, rows

from fairbrush.corpus.changes import open_registry
from fairbrush.errors import ValidationError
from fairbrush.index.search import open_index
from fairbrush.style.kept_calibrations import keep_calibration
from fairbrush.validation.recognition.tuned_kept import recompute

QUICK = ["--steps", 1, "--batch", 16]
EFFECTS = ("named", "behind_name", "leak")
CONTENTS = ["a red fox", "a clock", "a house", "a key", "an owl"]


@dataclass(frozen=True)
class Examined:
    """``base`` and ``fine``: models whose weights the workspace knows; ``tuned``: the weights of ``fine``."""

    workspace: Path
    artists: list[str]
    contents: Path
    base_weights: Path
    weights: Path
    document: Any


@pytest.fixture(scope="session")
def examined(gallery: Gallery, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Examined:
    """One test of two artists, kept; for reading only."""
    folder = tmp_path_factory.mktemp("examined")
    workspace = Path(shutil.copytree(gallery.workspace, folder / "space"))
    weights = Path(shutil.copytree(tiny, folder / "fine"))
    change_tensors(weights / "unet/diffusion_pytorch_model.safetensors", lambda _, tensor: 1.1 * tensor)
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write(f'[generators]\nbase = "{tiny}"\nfine = "{weights}"\n')
    assert command(workspace, "model", "add", "base").code == 0
    assert command(workspace, "model", "add", "fine", "--base", "base").code == 0
    contents = folder / "contents.txt"
    contents.write_text("# what is drawn\n" + "\n".join(CONTENTS) + "\n")
    artists = sorted(gallery.works)
    words = ["--model", "fine", "--contents", contents, *QUICK]
    document = answer(workspace, "tuned", *artists[:2], *words)
    return Examined(workspace, artists, contents, tiny, weights, document)


@pytest.fixture
def space(examined: Examined, tmp_path: Path) -> Path:
    """A copy of that workspace to work on: its images are in it."""
    return Path(shutil.copytree(examined.workspace, tmp_path / "space"))


def asked(examined: Examined, *words: Any) -> list[Any]:
    return ["tuned", *words, "--contents", examined.contents, *QUICK]


def images_in(workspace: Path) -> set[Path]:
    return set((workspace / "regenerations").rglob("*.png"))


def refusal(workspace: Path, *words: Any) -> str:
    """What a command says that must not run, and makes no image."""
    before = images_in(workspace)
    ran = command(workspace, *words)
    assert (ran.code, ran.stdout) == (2, b""), ran.text
    assert "\n  next: " in ran.stderr
    assert images_in(workspace) == before
    return ran.stderr


def test_four_sets_are_drawn_and_those_without_a_name_are_shared(examined: Examined) -> None:
    document = examined.document
    assert document["schema"] == "fairbrush.tuned/1"
    assert (document["model"], document["base"]) == ("fine", "base")
    assert document["generator_digest"] != document["base_digest"]
    assert document["contents"] == CONTENTS
    assert document["sampling"]["seeds"] == [0]
    # two models, of each: without a name, and with either of two
    assert (document["images"], document["images_made"]) == (2 * 3 * 5, 2 * 3 * 5)
    assert [one["artist"] for one in document["artists"]] == examined.artists[:2]


def test_every_figure_hangs_together(examined: Examined) -> None:
    for one in examined.document["artists"]:
        effects = one["effects"]
        assert set(effects) == set(EFFECTS)
        for figure in ("nearer", "beyond_others"):
            whole = effects["behind_name"][figure] + effects["leak"][figure]
            assert effects["named"][figure] == pytest.approx(whole, abs=1e-12)
        assert all(e["low"] <= e["beyond_others"] <= e["high"] for e in effects.values())
        ranks = [p * (one["other_styles"] + 1) for p in (one["p"], *(e["p"] for e in effects.values()))]
        assert ranks == pytest.approx([round(rank) for rank in ranks])
        assert one["other_styles"] > 100  # the panel's hands, and the index's other artists
        assert one["p"] <= one["q"] <= 1.0
        assert one["strongest"] in EFFECTS


@pytest.mark.parametrize("covered", ["fine", "another"])
def test_the_policys_calibration_has_no_part_in_it(examined: Examined, space: Path, covered: str) -> None:
    index = open_index(space / "indexes")
    centre = np.linspace(-0.5, 0.5, index.dim, dtype=np.float32)
    kept = calibration(
        encoder_id=index.encoder_id, space_id=index.space_id, models={covered: part(centre=centre)}
    )
    with open_registry(space) as store:
        keep_calibration(store, space, kept, now=NOW)
    with (space / "fairbrush.toml").open("a") as stream:
        name = kept.calibration_id
        stream.write(f'[policy]\ncalibration = "{name}"\nb = "calibrated:{name}"\n')
    again = answer(space, *asked(examined, *examined.artists[:2], "--model", "fine"))
    assert again["artists"] == examined.document["artists"]


def test_what_was_found_is_kept_and_computed_again_to_the_bit(examined: Examined) -> None:
    kept = {row["artist_id"]: row for row in rows(examined.workspace, "SELECT * FROM tuning_test")}
    for one in examined.document["artists"]:
        row = kept.pop(one["artist_id"])
        assert (row["test_id"], row["p"], row["model_id"]) == (one["test_id"], one["p"], "fine")
        body = json.loads(row["body"])
        figures = recompute(body)
        assert figures.p_values.p == one["p"]
        for effect, found in figures.estimates.items():
            shown = one["effects"][effect]
            assert (found.value, found.low, found.high) == (
                shown["beyond_others"],
                shown["low"],
                shown["high"],
            )
            assert row[effect] == found.value
            assert row[f"p_{effect}"] == shown["p"] == figures.p_values.of_effect[effect]
        assert not any(word in row["body"] for word in (one["artist"], *CONTENTS))
        with pytest.raises(ValidationError, match="another fairbrush kept it"):
            recompute({**body, "schema": "fairbrush.tuning-test-body/2"})
        with pytest.raises(ValidationError, match="cannot be read"):
            recompute({"schema": body["schema"]})
    assert kept == {}


def test_a_second_run_draws_nothing_gives_the_same_and_keeps_nothing_twice(
    examined: Examined, space: Path
) -> None:
    again = answer(space, *asked(examined, *examined.artists[:2], "--model", "fine"))
    assert again["images_made"] == 0
    assert again["artists"] == examined.document["artists"]
    assert rows(space, "SELECT count(*) AS n FROM tuning_test") == [{"n": 2}]


def test_an_interrupted_test_goes_on_from_its_images(examined: Examined, space: Path) -> None:
    lost = sorted(images_in(space))[::3]
    for file in lost:
        file.unlink()
    again = answer(space, *asked(examined, *examined.artists[:2], "--model", "fine"))
    assert again["images_made"] == len(lost)
    for one, like in zip(again["artists"], examined.document["artists"], strict=True):
        assert one["test_id"] == like["test_id"]
        for effect in EFFECTS:  # batches differ in their last bits
            shown, before = (found["effects"][effect]["nearer"] for found in (one, like))
            assert shown == pytest.approx(before, abs=2e-3)


def test_one_artist_alone_has_the_same_p_and_a_q_of_its_own(examined: Examined, space: Path) -> None:
    words = ["--model", "fine", "--no-record"]
    [alone] = answer(space, *asked(examined, examined.artists[0], *words))["artists"]
    assert alone["p"] == examined.document["artists"][0]["p"] == alone["q"]


def test_the_words_say_what_no_evidence_means(examined: Examined, space: Path) -> None:
    ran = command(space, *asked(examined, examined.artists[0], "--model", "fine", "--error-level", 0.001))
    assert ran.code == 0
    assert f"No evidence that fine was tuned on {examined.artists[0]}" in ran.text
    assert "that is not evidence that it was not" in ran.text
    assert "nobody can be found" in ran.stderr  # 1 in 1,000 is finer than the ranks are
    lines = ran.text.splitlines()
    assert lines[0].split()[:4] == ["artist", "evidence", "p", "q"]


def test_who_is_found_is_said_with_what_that_means(examined: Examined, space: Path) -> None:
    words = asked(examined, examined.artists[0], "--model", "fine", "--error-level", 0.999)
    ran = command(space, *words)
    [one] = answer(space, *words)["artists"]
    nearer = one["effects"][one["strongest"]]["nearer"] > 0
    said = f"Evidence that fine differs from base towards {examined.artists[0]}'s works, beyond what happens"
    assert (said in ran.text) == one["found"] == nearer


def test_rows_are_the_same_in_csv(examined: Examined, space: Path) -> None:
    words = asked(examined, examined.artists[0], "--model", "fine", "--csv")
    [row] = csv.DictReader(io.StringIO(command(space, *words).text))
    one = examined.document["artists"][0]
    assert float(row["p"]) == one["p"]
    for effect in EFFECTS:
        assert float(row[effect]) == one["effects"][effect]["beyond_others"]
        assert float(row[f"{effect}_p"]) == one["effects"][effect]["p"]


def test_everybody_is_asked_about_but_who_opted_out_or_has_too_few_works(
    examined: Examined, space: Path, gallery: Gallery, tmp_path: Path
) -> None:
    out, one_work = examined.artists[2], tmp_path / "one"
    one_work.mkdir()
    shutil.copy(gallery.works[examined.artists[4]][0], one_work)
    assert command(space, "artist", "consent", out, "opted_out").code == 0
    assert command(space, "artist", "add", "Has One", one_work).code == 0
    assert command(space, "index", "extend").code == 0
    words = ["--model", "fine", "--no-record"]
    document = answer(space, *asked(examined, "--all", *words, "--budget", 0))
    measured = {one["artist"] for one in document["artists"]}
    assert measured | set(document["pending"]) == set(examined.artists) - {out}
    assert document["images_to_make"] == 2 * 5 * 2
    assert "1 artists" in document["notes"][0]
    said = refusal(space, *asked(examined, out, *words))
    assert "may not be measured" in said
    assert "--works DIR" in said
    assert "too few works" in refusal(space, *asked(examined, "Has One", *words))


def test_a_budget_is_kept_to_and_the_same_command_goes_on(examined: Examined, space: Path) -> None:
    whom = [*examined.artists[1:4], "--model", "fine"]
    words = asked(examined, *whom, "--budget", 12)
    first = answer(space, *words)
    # 10 images of the base for two more artists, then 2 of the fine-tune
    assert (first["images_made"], first["images_to_make"]) == (12, 8)
    assert [one["artist"] for one in first["artists"]] == examined.artists[1:2]
    assert first["pending"] == examined.artists[2:4]
    ran = command(space, *asked(examined, *whom, "--budget", 0))
    assert f"Not known yet: {', '.join(examined.artists[2:4])}. 8 images are missing" in ran.text
    second = answer(space, *words)
    assert (second["images_made"], second["images_to_make"], second["pending"]) == (8, 0, [])
    assert [one["artist"] for one in second["artists"]] == examined.artists[1:4]
    nobody = asked(examined, examined.artists[4], "--model", "fine", "--budget", 0)
    unknown = (
        f"Not known yet: {examined.artists[4]}. 10 images are missing (0 new); the same command goes on.\n"
    )
    assert command(space, *nobody).text == unknown
    rows_alone = command(space, *nobody, "--csv")
    assert (rows_alone.text.count("\n"), rows_alone.stderr) == (1, unknown)


def test_an_artist_is_told_of_their_tests(examined: Examined, space: Path, tmp_path: Path) -> None:
    answer(space, "artist", "export", examined.artists[0], tmp_path / "out")
    [told] = json.loads((tmp_path / "out/export.json").read_text())["tunings"]
    one = examined.document["artists"][0]
    assert (told["test_id"], told["model_id"], told["p"]) == (one["test_id"], "fine", one["p"])


def test_an_erased_artists_tests_are_erased(examined: Examined, space: Path) -> None:
    gone = examined.artists[0]
    erased = answer(space, "artist", "erase", gone, "--yes")
    assert erased["proof"]["found"] == []
    [left] = rows(space, "SELECT artist_id FROM tuning_test")
    assert left["artist_id"] == examined.document["artists"][1]["artist_id"]
    assert "No artist is called" in refusal(space, *asked(examined, gone, "--model", "fine"))


def test_somebody_whom_nobody_knows_is_tested_by_a_folder_of_works(
    examined: Examined, space: Path, gallery: Gallery
) -> None:
    known = examined.artists[0]
    words = ["--works", gallery.works[known][0].parent, "--name", known, "--model", "fine"]
    document = answer(space, *asked(examined, *words))
    [one] = document["artists"]
    assert document["images_made"] == 0  # the same prompts
    assert (one["artist"], one["artist_id"]) == (known, None)
    # the same works, and the artist who has them in the index is nobody else
    like = examined.document["artists"][0]
    assert one["other_styles"] == like["other_styles"]
    for effect in EFFECTS:
        assert one["effects"][effect]["nearer"] == pytest.approx(like["effects"][effect]["nearer"], abs=1e-6)
    assert rows(space, "SELECT count(*) AS n FROM tuning_test") == [{"n": 2}]


def test_a_trigger_stands_for_the_name(examined: Examined, space: Path) -> None:
    words = [examined.artists[0], "--model", "fine", "--trigger", "sks", "--no-record"]
    document = answer(space, *asked(examined, *words))
    assert document["images_made"] == 2 * 5
    [one] = document["artists"]
    before = examined.document["artists"][0]["effects"]
    assert one["effects"]["leak"]["nearer"] == before["leak"]["nearer"]
    assert one["effects"]["named"]["nearer"] != before["named"]["nearer"]


def test_a_lora_is_compared_with_the_model_it_is_put_on(examined: Examined, space: Path) -> None:
    lora = examined.base_weights.with_name("lora.safetensors")
    words = ["--model", "base", "--lora", f"{lora}={examined.artists[1]}", "--no-record"]
    document = answer(space, *asked(examined, *words))
    assert [one["artist"] for one in document["artists"]] == [examined.artists[1]]
    assert document["base_digest"] == examined.document["base_digest"]
    assert document["images_made"] == 2 * 5  # the base's images were there


def test_a_checkpoint_takes_what_it_lacks_from_its_base(examined: Examined, space: Path) -> None:
    checkpoint = examined.base_weights.with_name("one.safetensors")
    words = [examined.artists[0], "--model", "fine", "--weights", checkpoint, "--no-record"]
    document = answer(space, *asked(examined, *words))
    assert document["base_digest"] == examined.document["base_digest"]
    assert document["generator_digest"] not in (
        examined.document["generator_digest"],
        document["base_digest"],
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--model", "fine"], "Nobody is asked about"),
        (["nobody", "--model", "fine"], "nobody"),
        (["{0}", "--all", "--model", "fine"], "ARTIST does not go with --all"),
        (["{0}", "--model", "base"], "Nothing says which model base was tuned from"),
        (["{0}", "--model", "base", "--base-model", "base"], "nothing was tuned"),
        (["{0}", "--model", "nothing-1"], "'nothing-1' is not registered"),
        (["{0}", "--model", "fine", "--name", "Ann"], "--name is for --works"),
        (["{0}", "{1}", "--model", "fine", "--trigger", "sks"], "One trigger cannot stand for 2"),
        (["{0}", "--model", "fine", "--prompts", "3"], "--prompts does not go with --contents"),
        (["{0}", "--model", "fine", "--error-level", "1"], "is no error level"),
        (["{0}", "--model", "fine", "--trigger", " "], "--trigger is blank"),
        (["--works", ".", "--model", "fine", "--name", ""], "--name is blank"),
        (["{0}", "--model", "fine", "--base-model", "sd-9"], "base's diffusers folder: --base-weights"),
        (["{0}", "--model", "fine", "--base-weights", "nowhere"], "base's diffusers folder: --base-weights"),
        (["{0}", "--model", "fine", "--trigger", "owl"], "names 'owl'"),
        (["{0}", "--model", "fine", "--size", "60x60"], "multiples of 8"),
        (["--works", "nowhere", "--model", "fine"], "nowhere is no folder"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_any_image(
    examined: Examined, words: list[str], problem: str
) -> None:
    said = refusal(examined.workspace, *asked(examined, *(word.format(*examined.artists) for word in words)))
    assert problem in said
