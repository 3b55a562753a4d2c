"""``fairbrush validate`` as a user types it, on a random-weight miniature of Stable Diffusion."""

import csv
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from running import Fairbrush, Ran, wait_until
from validation.tiny import build, build_encoder, change_tensors, flag_everything
from workspaces import Gallery, answer, command, rows

from fairbrush.errors import ValidationError
from fairbrush.validation.kept import Figures, recompute

PARAMETERS = (
    "a fox, by {}\nNegative prompt: blur\n"
    "Steps: 2, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 7, Size: 64x64, Model: v1"
)


@dataclass(frozen=True)
class Measured:
    """``artist``: whom the fast answer credits, and the prompt of ``image`` names; ``others``: the rest."""

    workspace: Path
    image: Path
    artist: str
    others: list[str]
    document: Any


def generated(gallery: Gallery, file: Path, parameters: str) -> Path:
    """A work as a PNG that says how it was generated."""
    said = PngInfo()
    said.add_text("parameters", parameters)
    Image.open(gallery.credited).convert("RGB").save(file, pnginfo=said)
    return file


@pytest.fixture(scope="session")
def measured(gallery: Gallery, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A workspace that knows where its model lies, and one study made in it; for reading only."""
    folder = tmp_path_factory.mktemp("measured")
    workspace = Path(shutil.copytree(gallery.workspace, folder / "space"))
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write(f'[generators]\n"sd-1.5" = "{tiny}"\n')
    artist = gallery.answers[gallery.credited]["artists"][0]["artist"]
    image = generated(gallery, folder / "fox.png", PARAMETERS.format(artist))
    document = answer(workspace, "validate", image, "--seeds", 2)
    return Measured(workspace, image, artist, [name for name in gallery.works if name != artist], document)


@pytest.fixture
def space(measured: Measured, tmp_path: Path) -> Path:
    """A copy of that workspace to work on: the images of the study are in it."""
    return Path(shutil.copytree(measured.workspace, tmp_path / "space"))


def images_in(workspace: Path) -> list[Path]:
    return sorted(file for file in (workspace / "regenerations").rglob("*.png") if file.name[0] != ".")


def players(document: Any) -> list[list[str]]:
    return [creator["artists"] for creator in document["readings"][0]["creators"]]


def refusal(workspace: Path, *words: Any) -> str:
    """What a command says that must not run, and makes no image."""
    before = images_in(workspace)
    ran = command(workspace, "validate", *words)
    assert (ran.code, ran.stdout) == (2, b""), ran.text
    assert "\n  next: " in ran.stderr
    assert images_in(workspace) == before
    return ran.stderr


def recorded(workspace: Path) -> list[Any]:
    """The bodies, in the order of their ids."""
    found = rows(workspace, "SELECT body FROM validation ORDER BY validation_id")
    return [json.loads(row["body"]) for row in found]


# ------------------------------------------------------------------ what the file says, and flags


def test_prompt_seed_and_sampler_are_what_the_images_file_says(measured: Measured) -> None:
    document = measured.document
    assert document["schema"] == "fairbrush.validation/1"
    assert document["sampling"] == {
        **{"seeds": [7, 8], "steps": 2, "guidance": 5.0, "sampler": "DPM++ 2M Karras"},
        **{"width": 64, "height": 64},
    }
    assert players(document) == [[measured.artist]]
    assert (document["coalitions"], document["images"], document["images_made"]) == (4, 8, 8)
    assert document["orders"] is None
    [note] = document["notes"]
    assert "Measured by the encoder that answered" in note


def test_flags_stand_before_what_the_file_says(measured: Measured, space: Path) -> None:
    flags = ["--seed", 3, "--steps", 1, "--sampler", "Euler", "--guidance", 3, "--size", "32x48"]
    document = answer(space, "validate", measured.image, "--seeds", 1, *flags)
    assert document["sampling"] == {
        **{"seeds": [3], "steps": 1, "guidance": 3.0, "sampler": "Euler"},
        **{"width": 32, "height": 48},
    }
    for flag in (["--negative-prompt", "rain"], ["--negative-prompt", ""], ["--prompt", "a cat"]):
        changed = answer(space, "validate", measured.image, "--seeds", 1, *flag)
        # the images of creators alone and of nobody have no content in their prompt
        assert changed["images_made"] == (2 if flag[0] == "--prompt" else 4)
        assert changed["sampling"]["seeds"] == [7]


def test_without_the_files_metadata_the_prompt_must_be_given(measured: Measured, space: Path) -> None:
    said = refusal(space, measured.image, "--no-metadata")
    assert "does not say with which prompt it was made" in said
    assert '--prompt "..."' in said
    words = ["--no-metadata", "--prompt", "a fox", "--seeds", 1, "--steps", 1]
    document = answer(space, "validate", measured.image, *words)
    assert document["sampling"] == {
        **{"seeds": [0], "steps": 1, "guidance": 7.5, "sampler": None, "width": 64, "height": 64}
    }
    assert any("The prompt names none of the players" in note for note in document["notes"])


def test_a_whole_block_of_parameters_may_be_pasted_as_the_prompt(measured: Measured, space: Path) -> None:
    block = "a fox\nNegative prompt: blur\nSteps: 1, Sampler: Euler a, Seed: 99"
    sampling = answer(space, "validate", measured.image, "--seeds", 1, "--prompt", block)["sampling"]
    assert (sampling["seeds"], sampling["steps"], sampling["sampler"]) == ([99], 1, "Euler a")
    assert sampling["guidance"] == 5.0  # which only the file says


def test_the_largest_seed_is_used_as_it_is_and_a_larger_one_refused(
    measured: Measured, space: Path, gallery: Gallery, tmp_path: Path
) -> None:
    text = PARAMETERS.format(measured.artist).replace("Seed: 7", f"Seed: {2**64 - 1}")
    image = generated(gallery, tmp_path / "large.png", text)
    document = answer(space, "validate", image, "--seeds", 2, "--steps", 1)
    assert document["sampling"]["seeds"] == [2**64 - 1, 0]
    assert "is not in the range" in refusal(space, image, "--seed", 2**64)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--size", "60x60"], "multiples of 8"),
        (["--size", "0x64"], "no image size"),
        (["--size", "big"], "is no size"),
        (["--sampler", "nonsense"], "The sampler 'nonsense' is not known"),
        (["--guidance", "nan"], "guidance of nan"),
        (["--steps", "5000"], "Use --steps 1 to 1000"),
        (["--seeds", "5000"], "is not in the range"),
        (["--precision", "float8"], "--precision 'float8'"),
        (["--prompt", ""], "no content"),
        (["--template", "{content} by {artist}"], "must say {content} and {artists}"),
        (["--template", "\udcff {content} by {artists}"], "surrogate"),
        (["--negative-prompt", "\udcff"], "surrogate"),
        (["--model", "nothing-1"], "'nothing-1' is not registered"),
        (["--budget", "3"], "A budget of 3 coalitions is too small for 1 creators"),
        (["--weights", "nowhere"], "no model at nowhere"),
        (["--weights", "~nobody-called-so/model"], "Could not determine home"),
        (["--lora", "~nobody-called-so/a.safetensors=Ann"], "Could not determine home"),
        (["--second-encoder", "mini:clip"], "mini:clip has the weights of the encoder that answered"),
        (["--second-encoder", "nonsense"], "'nonsense' is not an encoder"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_image(
    measured: Measured, words: list[str], problem: str
) -> None:
    assert problem in refusal(measured.workspace, measured.image, "--seed", 555, *words)


def test_a_prompt_longer_than_the_model_reads_is_refused(measured: Measured) -> None:
    said = refusal(measured.workspace, measured.image, "--prompt", "a fox " + "very " * 500)
    assert "The model does not read the prompt to its end" in said
    assert len(said) < 300
    assert "--template" in said


def test_an_image_that_is_none_is_refused(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    for file in (tmp_path / "bad.png", tmp_path / "none.png"):
        ran = command(measured.workspace, "validate", file, "--prompt", "a fox")
        assert (ran.code, ran.stdout) == (2, b"")
        assert str(file) in ran.stderr


def test_a_file_name_that_is_no_utf8_is_recorded(measured: Measured, space: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copy(measured.image, os.fsdecode(bytes(tmp_path) + b"/\xff.png")))
    ran = command(space, "validate", odd, "--seeds", 1)
    assert ran.code == 0, ran.stderr
    paths = [row["image_path"] for row in rows(space, "SELECT image_path FROM validation")]
    assert sorted(paths) == sorted([str(measured.image), f"{tmp_path}/\\udcff.png"])


# ------------------------------------------------------------------ who plays


def test_an_artist_the_prompt_names_plays_beside_those_the_fast_answer_credits(
    measured: Measured, space: Path
) -> None:
    other = measured.others[0]
    words = [measured.image, "--seeds", 1, "--steps", 1, "--prompt", f"a fox, by {other}"]
    document = answer(space, "validate", *words)
    assert players(document) == [[measured.artist], [other]]
    assert [creator["fast"] for creator in document["readings"][0]["creators"]] == [1.0, 0.0]
    assert document["coalitions"] == 8
    assert command(space, "artist", "consent", other, "opted_out").code == 0
    document = answer(space, "validate", *words)
    assert players(document) == [[measured.artist]]
    assert any(f"no coalition's prompt: {other}." in note for note in document["notes"])


def test_who_is_asked_for_plays_and_nobody_else(measured: Measured, space: Path) -> None:
    one, two, *_ = measured.others
    words = [measured.image, "--seeds", 1, "--steps", 1]
    document = answer(space, "validate", *words, "--artists", f"{one}, {two}")
    assert players(document) == [[one], [two]]
    [reading] = document["readings"]
    assert [creator["fast"] for creator in reading["creators"]] == [None, None]
    assert players(answer(space, "validate", *words, "--artists", one, "--artists", two)) == [[one], [two]]


@pytest.mark.parametrize("why", ["unknown", "opted out", "erased", "not trained on"])
def test_an_artist_who_may_not_be_credited_is_refused(measured: Measured, space: Path, why: str) -> None:
    other = measured.others[0]
    change = {
        "unknown": ["artist", "list"],
        "opted out": ["artist", "consent", other, "opted_out"],
        "erased": ["artist", "erase", other, "--yes"],
        "not trained on": ["model", "roster", "sd-1.5", other, "--trained", "no", "--source", "a list"],
    }[why]
    assert command(space, *change).code == 0
    said = refusal(space, measured.image, "--artists", "Nobody Known" if why == "unknown" else other)
    expected = "No artist is called" if why in ("unknown", "erased") else "may not be credited"
    assert expected in said


def test_where_nobody_can_play_the_error_says_how_to_name_somebody(
    measured: Measured, gallery: Gallery
) -> None:
    unknown = next(path for path, document in gallery.answers.items() if not document["artists"])
    said = refusal(measured.workspace, unknown, "--prompt", "a fox")
    assert "Nobody can play" in said
    assert "--artists NAME,NAME" in said


def test_two_entries_of_one_creator_are_one_player_with_both_names(measured: Measured, space: Path) -> None:
    one, two = measured.artist, measured.others[0]
    for words in (["add", "Studio"], ["assign", one, "Studio"], ["assign", two, "Studio"]):
        assert command(space, "creator", *words).code == 0
    words = [measured.image, "--seeds", 1, "--steps", 1, "--artists", f"{one},{two}"]
    assert players(answer(space, "validate", *words)) == [[one, two]]
    [row] = csv.DictReader(io.StringIO(command(space, "validate", *words, "--csv").text))
    assert row["creator"] == f"{one} + {two}"


def test_whom_a_lora_was_tuned_on_plays_though_the_base_model_does_not_know_them(
    measured: Measured, space: Path, tiny: Path
) -> None:
    other = measured.others[0]
    words = [measured.image, "--seeds", 1, "--steps", 1]
    lora = ["--lora", f"{tiny.with_name('lora.safetensors')}={other}"]
    roster = ["model", "roster", "sd-1.5", other, "--trained", "no", "--source", "a list"]
    assert command(space, *roster).code == 0
    assert "may not be credited" in refusal(space, *words, "--artists", other)
    document = answer(space, "validate", *words, *lora)
    assert players(document) == [[measured.artist], [other]]
    assert document["generator"]["digest"] != measured.document["generator"]["digest"]
    assert document["images_made"] == document["images"] == 8
    unknown = ["--lora", lora[1].replace(other, "Nobody Known")]
    assert "No artist is called 'Nobody Known'" in refusal(space, *words, *unknown)
    assert command(space, "artist", "consent", other, "opted_out").code == 0
    assert "may not be credited" in refusal(space, *words, *lora)


# ------------------------------------------------------------------ models that cannot be used


def test_where_there_are_no_weights_the_error_says_where_to_get_them(
    measured: Measured, space: Path, fairbrush: Fairbrush
) -> None:
    toml = space / "fairbrush.toml"
    toml.write_text(toml.read_text().partition("[generators]\n")[0])
    ran = fairbrush("--workspace", space, "validate", measured.image)
    assert ran.code == 2
    assert "The weights of sd-1.5 (stable-diffusion-v1-5/stable-diffusion-v1-5) are not in" in ran.stderr
    assert "--weights DIR; or --weights sd-1.5 --allow-download" in ran.stderr
    assert command(space, "model", "add", "mine", "--base", "sd-1.5").code == 0
    said = refusal(space, measured.image, "--model", "mine")
    assert 'write "mine" = "DIR" under [generators] in fairbrush.toml' in said


@pytest.mark.parametrize("extra", ["diffusers", "transformers", "peft"])
def test_a_missing_extra_is_named(
    measured: Measured, tiny: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    lora = ["--lora", f"{tiny.with_name('lora.safetensors')}={measured.artist}"] if extra == "peft" else []
    said = refusal(measured.workspace, measured.image, "--seed", 555, *lora)
    assert extra in said
    assert 'next: pip install "fairbrush[validate]"' in said


def test_another_kind_of_pipeline_is_refused(measured: Measured, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"))
    said = refusal(measured.workspace, measured.image, "--weights", folder)
    assert "is a StableDiffusionInpaintPipeline: no pipeline that makes images from text alone" in said


def test_images_that_are_no_numbers_are_refused(measured: Measured, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    change_tensors(file, lambda name, tensor: tensor * float("nan") if "conv_out" in name else tensor)
    said = refusal(measured.workspace, measured.image, "--seeds", 2, "--weights", folder)
    assert "8 of 8 images could not be made" in said
    assert "is not finite in float32" in said
    assert "And 3 more." in said
    assert "the weights are damaged" in said


def test_what_a_safety_checker_replaced_is_refused_until_the_user_judges(
    measured: Measured, space: Path, tmp_path: Path
) -> None:
    folder = build(tmp_path / "model", seed=1, safety_checker=True)
    flag_everything(folder)
    words = [measured.image, "--seeds", 1, "--weights", folder]
    said = refusal(space, *words)
    assert "4 of 4 images could not be made. The safety checker replaced" in said
    assert "--no-safety-checker" in said
    assert answer(space, "validate", *words, "--no-safety-checker")["images_made"] == 4


# ------------------------------------------------------------------ resuming


def test_more_seeds_make_only_what_is_missing(measured: Measured, space: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in images_in(space)}
    document = answer(space, "validate", measured.image, "--seeds", 3)
    assert (document["images"], document["images_made"]) == (12, 4)
    assert len(images_in(space)) == 12
    assert {file: file.stat().st_mtime_ns for file in before} == before


# the model's files and their digest, and a slow painter in the model's place
SLOWLY = """
import sys, time
from dataclasses import replace
import numpy as np
from fairbrush.cli.app import run
from fairbrush.validation import order

class Painter:
    def unread(self, prompt):
        return ""

    def generate(self, requests, sampling):
        time.sleep(0.1 * len(requests))
        shape = (sampling.height, sampling.width, 3)
        return np.stack([np.random.default_rng(r.seed).integers(0, 255, shape, np.uint8) for r in requests])

def described(*words, **options):
    lazy = known(*words, **options)
    painter = Painter()
    painter.model_digest = lazy.model_digest
    return replace(lazy, load=lambda: painter)

known, order.describe_generator = order.describe_generator, described
sys.exit(run(sys.argv[1:]))
"""


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(
    measured: Measured, space: Path, fairbrush: Fairbrush
) -> None:
    shutil.rmtree(space / "regenerations")
    words = ["validate", measured.image, "--seeds", "4", "--batch", "1"]
    process = fairbrush.start("--workspace", space, *words, program=("-c", SLOWLY))
    wait_until(lambda: len(images_in(space)) >= 2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    there = {file: file.stat().st_mtime_ns for file in images_in(space)}
    assert (process.returncode, stdout) == (130, b""), stderr
    assert 2 <= len(there) < 16
    [said, last] = stderr.decode().splitlines()
    counted, goes_on = said.split(" of 16 images are there: ")
    # the last may have been written when Ctrl-C came, and not counted
    assert len(there) - 1 <= int(counted) <= len(there)
    assert (goes_on, last) == ("the same command goes on from them.", "fairbrush: Interrupted.")
    assert answer(space, *words)["images_made"] == 16 - len(there)
    assert {file: file.stat().st_mtime_ns for file in there} == there


REPORT = """
import sys
from fairbrush.cli.app import run
code = run(sys.argv[1:])
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
sys.exit(code)
"""


def test_with_every_image_there_no_torch_is_loaded(
    measured: Measured, space: Path, fairbrush: Fairbrush
) -> None:
    words = ["--workspace", space, "validate", measured.image, "--seeds", "2", "--json"]
    ran = fairbrush(*words, program=("-c", REPORT))
    assert ran.code == 0
    heavy = {"torch", "torchvision", "open_clip", "diffusers", "transformers", "onnxruntime", "rich", "PIL"}
    assert set(ran.stderr.splitlines()[-1].split()) & heavy == set()
    assert ran.json == {**measured.document, "images_made": 0}


# ------------------------------------------------------------------ a budget, a second encoder


def assert_figures(figures: Figures, reading: Any) -> None:
    """Equal to the bit: JSON gives a float64's shortest decimal, which reads back to it."""
    split, b = figures.split, figures.b
    errors = [None] * len(split.phi) if split.phi_error is None else split.phi_error.tolist()
    creators = reading["creators"]
    assert split.phi.tolist() == [reading["model_phi"], *(one["phi"] for one in creators)]
    assert errors == [reading["model_phi_error"], *(one["phi_error"] for one in creators)]
    shares = [None] * len(creators) if split.shares is None else split.shares.tolist()
    assert shares == [one["regenerated"] for one in creators]
    assert (b.b, b.standard_error) == (reading["b_hat"], reading["b_hat_error"])
    agreement = figures.agreement
    assert (agreement.mis_paid, agreement.rank_correlation) == (
        reading["mis_paid"],
        reading["rank_correlation"],
    )


def test_a_budget_measures_a_sample_of_which_the_record_says_all(measured: Measured, space: Path) -> None:
    names = ",".join([measured.artist, *measured.others[:2]])
    words = [measured.image, "--artists", names, "--seeds", 2, "--steps", 1]
    assert "Give a --budget of 6 or more" in refusal(space, *words, "--budget", 5)
    document = answer(space, "validate", *words, "--budget", 8)
    assert (document["orders"], document["coalitions"] <= 8) == (2, True)
    assert document["images"] == 2 * document["coalitions"]
    [row] = rows(space, "SELECT * FROM validation WHERE NOT is_exact")
    body = json.loads(row["body"])
    assert len(body["surrogate"]) == 16
    assert [len(order) for [*pair] in body["identity"]["orders"] for order in pair] == [4, 4]
    assert_figures(recompute(body), document["readings"][0])
    assert (row["b_hat"], row["mis_paid"]) == tuple(
        document["readings"][0][name] for name in ("b_hat", "mis_paid")
    )
    whole = answer(space, "validate", *words, "--budget", 16)
    assert (whole["orders"], whole["coalitions"]) == (None, 16)
    assert whole["images_made"] == 32 - document["images"]


def test_an_exact_record_gives_its_figures_again(measured: Measured) -> None:
    [body] = recorded(measured.workspace)
    assert_figures(recompute(body), measured.document["readings"][0])
    for damaged in ({}, {**body, "schema": "x"}, {**body, "style": [["x"]]}):
        with pytest.raises(ValidationError):
            recompute(damaged)


def test_an_independent_encoder_gives_a_second_reading(
    measured: Measured, space: Path, tmp_path: Path
) -> None:
    spec = f"local-dir:{build_encoder(tmp_path / 'encoder')}"
    words = [measured.image, "--seeds", 2]
    document = answer(space, "validate", *words, "--second-encoder", spec)
    assert document["images_made"] == 0
    first, second = document["readings"]
    assert first == measured.document["readings"][0]
    assert (first["is_independent"], second["is_independent"]) == (False, True)
    assert second["encoder_id"] != first["encoder_id"]
    assert second["model_phi"] != first["model_phi"]
    assert document["notes"] == []
    found = rows(space, "SELECT is_independent FROM validation ORDER BY 1")
    assert [row["is_independent"] for row in found] == [False, True]
    text = command(space, "validate", *words, "--second-encoder", spec).text
    assert "Measured by the encoder that answered, " in text
    assert "Measured by an independent encoder, " in text
    # the vectors that gave the answer are cached, but this encoder is not theirs
    toml = space / "fairbrush.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("encoder =")]
    toml.write_text("\n".join([f'encoder = "{spec}"', *lines]))
    assert "was built with mini" in refusal(space, *words)


# ------------------------------------------------------------------ records


def test_a_study_is_recorded_once(measured: Measured, space: Path) -> None:
    again = answer(space, "validate", measured.image, "--seeds", 2)
    assert again == {**measured.document, "images_made": 0}
    [reading] = measured.document["readings"]
    [row] = rows(space, "SELECT * FROM validations")
    assert (row["image"], row["model"], row["coalitions"], row["seeds"], row["is_exact"]) == (
        *(str(measured.image), "sd-1.5", 4, 2, True),
    )
    assert (row["mis_paid"], row["measured_by"]) == (reading["mis_paid"], "the answering one")
    [share] = rows(space, "SELECT * FROM validation_share")
    [creator] = reading["creators"]
    assert share == {
        "validation_id": reading["validation_id"],
        **{name: creator[name] for name in ("creator_id", "fast", "regenerated")},
        "regenerated_error": creator["regenerated_error"],
    }


def test_no_record_records_nothing(measured: Measured, space: Path) -> None:
    words = [measured.image, "--seeds", 1]
    assert answer(space, "validate", *words, "--no-record")["images_made"] == 0
    assert len(recorded(space)) == 1
    assert command(space, "validate", *words).code == 0
    assert len(recorded(space)) == 2


def test_erasing_an_artist_clears_the_path_of_a_study_that_asked_for_a_work_of_theirs(
    gallery: Gallery, measured: Measured, space: Path
) -> None:
    named = f"a fox, by {measured.artist}"
    same = ["--seed", 7, "--seeds", 2, "--steps", 2, "--guidance", 5, "--sampler", "DPM++ 2M Karras"]
    answer(space, "validate", gallery.credited, "--prompt", named, "--negative-prompt", "blur", *same)
    paths = "SELECT image_path FROM validation"
    assert str(gallery.credited) in [row["image_path"] for row in rows(space, paths)]
    assert command(space, "artist", "erase", measured.artist, "--yes").code == 0
    assert [row["image_path"] for row in rows(space, paths)].count(None) == 1


def test_neither_prompt_nor_name_is_recorded(measured: Measured) -> None:
    found = json.dumps(rows(measured.workspace, "SELECT * EXCLUDE image_path FROM validation"))
    assert "fox" not in found
    assert measured.artist not in found


def test_a_workspace_without_studies_has_an_empty_view(tmp_path: Path) -> None:
    assert command(tmp_path, "init", tmp_path / "fresh").code == 0
    assert rows(tmp_path / "fresh", "select * from validations") == []


@contextmanager
def held(fairbrush: Fairbrush, workspace: Path) -> Iterator[int]:
    """Another process has the database open; gives its number."""
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    database = workspace / "fairbrush.duckdb"
    with fairbrush.start(database, program=("-c", hold), stdin=-1) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        assert holder.stdin
        holder.stdin.close()


def test_a_busy_database_costs_the_record_but_not_the_answer(
    measured: Measured, space: Path, fairbrush: Fairbrush
) -> None:
    toml = space / "fairbrush.toml"
    toml.write_text(toml.read_text().replace("# database_wait_s = 10.0", "database_wait_s = 0.2 #"))
    words = [measured.image, "--seeds", 1, "--steps", 1, "--json"]
    with held(fairbrush, space) as holder:
        busy = command(space, "validate", *words)
    assert busy.code == 75
    assert busy.json["images_made"] == 4
    assert f"in use by process {holder}" in busy.stderr
    assert "What was measured is not recorded." in busy.stderr
    assert "Run the same command again" in busy.stderr
    again = command(space, "validate", *words)
    assert (again.code, again.json["images_made"]) == (0, 0)
    assert again.json["readings"] == busy.json["readings"]
    assert len(recorded(space)) == 2


# ------------------------------------------------------------------ formats


def test_all_formats_agree(measured: Measured, tmp_path: Path) -> None:
    def said(*words: Any) -> Ran:
        ran = command(measured.workspace, "validate", measured.image, "--seeds", 2, "--no-record", *words)
        assert ran.code == 0, ran.stderr
        return ran

    [reading] = measured.document["readings"]
    [creator] = reading["creators"]
    one = json.loads(said("--nl").stdout)
    assert one == {
        "creator": measured.artist,
        **{"fast": creator["fast"], "regenerated": creator["regenerated"]},
        "error": creator["regenerated_error"],
        **{"phi": creator["phi"], "phi_error": creator["phi_error"], "measured_by": reading["encoder_id"]},
    }
    [row] = csv.DictReader(io.StringIO(said("--csv").text))
    assert {name: row[name] for name in ("creator", "measured_by")} == {
        name: one[name] for name in ("creator", "measured_by")
    }
    assert float(row["phi"]) == one["phi"]
    file = tmp_path / "answer.parquet"
    said("--format", "parquet", "-o", file)
    with duckdb.connect() as connection:
        [(phi,)] = connection.read_parquet(str(file)).project("phi").fetchall()
    assert phi == one["phi"]
    text = said().text
    assert f"mis-paid share of the creators' money: {reading['mis_paid']:.3f}" in text
    assert "8 images (0 new): 4 coalitions, all of them, 2 seeds each." in text


def test_hostile_names_are_shown_escaped(measured: Measured, space: Path) -> None:
    hostile = "=cmd()\x1b[31m\nred"
    with duckdb.connect(str(space / "fairbrush.duckdb")) as connection:
        connection.execute("UPDATE artist SET name = ? WHERE name = ?", [hostile, measured.artist])
        connection.execute("UPDATE registry_state SET revision = revision + 1")
    assert command(space, "artist", "list").code == 0  # brings eligibility.json up to date
    words = [measured.image, "--seeds", 1, "--steps", 1, "--prompt", f"a fox, by {measured.others[0]}"]
    ran = command(space, "validate", *words)
    assert ran.code == 0, ran.stderr
    assert r"=cmd()\x1b[31m\nred" in ran.text
    assert "\x1b" not in ran.text + ran.stderr
    text = command(space, "validate", *words, "--csv").text
    assert f"'{hostile}" in [row["creator"] for row in csv.DictReader(io.StringIO(text, newline=""))]
