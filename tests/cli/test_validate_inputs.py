"""``fairbrush validate --inputs``: coalitions drawn from subsets of the images an image was mixed from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from validation.tiny import build, build_variation, write_adapter, write_image_encoder
from workspaces import Gallery, answer, command, rows

from fairbrush.validation.kept import recompute

QUICK = ("--seeds", 2, "--steps", 2)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``variation``, and ``text`` with ``ip-adapter.safetensors`` and ``image_encoder``; for reading only."""
    folder = tmp_path_factory.mktemp("models")
    build_variation(folder / "variation")
    build(folder / "text")
    write_adapter(folder / "text", folder / "ip-adapter.safetensors")
    write_image_encoder(folder / "image_encoder")
    return folder


@pytest.fixture
def inputs(gallery: Gallery) -> list[Path]:
    """A work each of two artists."""
    return [next(iter(works)) for works in list(gallery.works.values())[1:3]]


@pytest.fixture
def mixed(inputs: list[Path], tmp_path: Path) -> Path:
    first, second = (Image.open(path).convert("RGB").resize((256, 256)) for path in inputs)
    Image.blend(first, second, 0.5).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


@pytest.fixture
def weighted(inputs: list[Path]) -> tuple[str, ...]:
    return ("--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")


def made_in(workspace: Path) -> list[Path]:
    return list((workspace / "regenerations").glob("*/*.png"))


def test_a_mix_is_measured_by_image_variation(
    workspace: Path, models: Path, mixed: Path, inputs: list[Path], weighted: tuple[str, ...]
) -> None:
    words = (mixed, *weighted, "--weights", models / "variation", *QUICK)
    told = answer(workspace, "validate", *words)
    names = [path.parent.name for path in inputs]
    [reading] = told["readings"]
    assert [creator["artists"] for creator in reading["creators"]] == [[name] for name in names]
    assert [(one["path"], one["weight"]) for one in told["inputs"]] == [
        (str(inputs[0]), 0.6),
        (str(inputs[1]), 0.4),
    ]
    assert [one["creator"] for one in told["inputs"]] == [c["creator_id"] for c in reading["creators"]]
    assert (told["coalitions"], told["images"], told["images_made"]) == (8, 8, 8), "the model adds no image"
    assert reading["b_hat"] is None
    assert reading["model_phi"] == pytest.approx(0.0, abs=1e-12), "and is worth nothing"
    assert any("There is no prompt. The model alone" in note for note in told["notes"])
    assert told["value_function"] == "mix"
    assert sum(creator["fast"] for creator in reading["creators"]) == pytest.approx(1.0)
    assert told["image"]["made_with_seed"] is None

    again = answer(workspace, "validate", *words)
    assert again["images_made"] == 0
    assert again["readings"] == told["readings"]
    other = answer(workspace, "validate", *words[:2], f"{inputs[0]}:2", f"{inputs[1]}:3", *words[4:])
    assert other["images_made"] == 6, "only nobody's images do not depend on weights"
    assert other["readings"][0]["validation_id"] != reading["validation_id"]
    kept = rows(workspace, "SELECT b_hat, body::TEXT AS body FROM validation")
    assert [row["b_hat"] for row in kept] == [None, None]
    assert [recompute(json.loads(row["body"])).b.b for row in kept] == [None, None]
    sampled = answer(workspace, "validate", *words, "--budget", 5, "--no-record")
    assert (sampled["orders"], sampled["images_made"]) == (1, 0)
    assert sampled["coalitions"] in (4, 5), "as the model comes first or last"
    shown = command(workspace, "validate", *words, "--no-record")
    assert "b_hat: undefined, the model has no content of its own" in shown.text
    ignored = command(workspace, "validate", *words, "--prompt", "a lighthouse", "--no-record")
    assert "This model reads no text, so the prompt is not used." in ignored.stderr


def test_an_ip_adapter_draws_the_prompt_too(
    workspace: Path, models: Path, mixed: Path, inputs: list[Path], weighted: tuple[str, ...]
) -> None:
    name = inputs[0].parent.name
    model = ("--weights", models / "text", "--ip-adapter", models / "ip-adapter.safetensors")
    words = (mixed, *weighted, *model, *QUICK, "--prompt")
    told = answer(workspace, "validate", *words, f"a lighthouse by {name}")
    assert (told["images"], told["images_made"]) == (16, 16)
    assert any("artists the prompt names are left out" in note for note in told["notes"])
    assert told["readings"][0]["model_phi"] != 0.0
    bare = answer(workspace, "validate", *words, "a lighthouse", "--no-record")
    assert bare["images_made"] == 0, "the artist's name was taken out"
    weak = answer(workspace, "validate", *words, "a lighthouse", "--ip-adapter-scale", 0.3)
    assert weak["images_made"] == 16
    assert weak["generator"]["digest"] != told["generator"]["digest"]


def test_without_an_image_one_is_made_first(
    workspace: Path, models: Path, inputs: list[Path], weighted: tuple[str, ...]
) -> None:
    words = (*weighted, "--weights", models / "variation", *QUICK, "--seed", 5)
    ran = command(workspace, "validate", *words, "--json")
    assert ran.code == 0, ran.stderr
    told = ran.json
    made = Path(told["image"]["path"])
    assert told["image"]["made_with_seed"] == 4
    with Image.open(made) as image:
        assert image.size == (64, 64)
    assert made in made_in(workspace)
    assert len(made_in(workspace)) == 9
    assert f"with the seed 4: {made}" in ran.stderr
    given = answer(workspace, "validate", made, *words, "--no-record")
    assert given["readings"] == told["readings"]
    shown = command(workspace, "validate", *words, "--no-record").text
    assert f"made with the seed 4: {made}" in shown


def test_an_input_of_someone_who_opted_out_is_in_no_coalition(
    workspace: Path, models: Path, mixed: Path, inputs: list[Path], weighted: tuple[str, ...]
) -> None:
    words = (mixed, *weighted, "--weights", models / "variation", *QUICK)
    first, second = (path.parent.name for path in inputs)
    assert command(workspace, "artist", "consent", first, "opted_out").code == 0
    told = answer(workspace, "validate", *words)
    [creator] = told["readings"][0]["creators"]
    assert creator["artists"] == [second]
    assert [one["creator"] for one in told["inputs"]] == [None, creator["creator_id"]]
    assert any("1 of 2 inputs are of artists who may not be credited" in note for note in told["notes"])
    assert told["images"] == 4
    assert command(workspace, "artist", "consent", second, "opted_out").code == 0
    ran = command(workspace, "validate", *words)
    assert ran.code == 2
    assert "no artist of the inputs may be credited" in ran.stderr


def _refusals(models: Path, mixed: Path, inputs: list[Path]) -> Iterator[tuple[tuple[Any, ...], str]]:
    variation, text = ("--weights", models / "variation"), ("--weights", models / "text")
    both = (mixed, "--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")
    adapter = ("--ip-adapter", models / "ip-adapter.safetensors")
    yield (*both, *text), "draws from text alone. next: Inputs go into a diffusers folder"
    yield (*both, *variation, *adapter), "takes no IP-Adapter"
    yield (*both, *text, *adapter, "--image-encoder", models / "text" / "vae"), "no CLIPVisionModelWithProj"
    yield (mixed, "--prompt", "a fox", "--artists", inputs[0].parent.name, *variation), "reads no text"
    yield (*both, *variation, "--negative-prompt", "blur"), "takes no negative prompt"
    yield (*both, *variation, "--artists", "Ann"), "--artists does not go with --inputs"
    yield (*both, *variation, "--value", "nearest"), "--value does not go with --inputs"
    yield (mixed, *text, "--value", "mix"), "--value mix is what --inputs plays"
    yield (mixed, *text, *adapter), "--ip-adapter is for --inputs"
    yield (*both, *text, "--image-encoder", models), "--image-encoder needs --ip-adapter"
    yield (mixed, *both, *variation), "One image at a time, not 2"
    yield text, "There is no image"
    yield (mixed, "--inputs", f"{mixed}:1", *variation), "Nobody is known to have made the input"
    yield (mixed, "--inputs", mixed, *variation), "may be the image, or one more input"


def test_what_does_not_go_together_is_refused_by_name(
    workspace: Path, models: Path, mixed: Path, inputs: list[Path]
) -> None:
    for words, said in _refusals(models, mixed, inputs):
        ran = command(workspace, "validate", *words, "--steps", 2)
        assert (ran.code, ran.stdout) == (2, b""), words
        assert said in " ".join(ran.stderr.split()), ran.stderr
