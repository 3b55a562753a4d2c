"""The one door to encoders: specs, ids, joined vectors, and the bundled encoder on ONNX Runtime."""

import json
import os
import resource
import shutil
import statistics as stats
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fairbrush.embedding import encoder as encoder_module
from fairbrush.embedding.encoder import (
    BUNDLED,
    PARTS,
    Device,
    Encoder,
    EncoderSpec,
    JoinedEncoder,
    TowerOutput,
    bundled_parts,
    load_encoder,
    parse_spec,
    unit_rows,
)
from fairbrush.embedding.preprocess import Preprocess
from fairbrush.embedding.statistics import STATISTICS
from fairbrush.errors import EncoderError, EncoderSpecError, FairbrushError, WeightsNotFoundError

HEAVY = ("torch", "torchvision", "open_clip", "timm", "transformers", "diffusers", "matplotlib", "duckdb")


class MeanTower:
    """A real, if poor, tower: the embedding is an image's mean colour, the early layer its spread."""

    name = "mean"
    variant = "numpy-float32"
    device = "cpu"
    embed_dim = 3
    early_dim = 3

    def __init__(self, **identity: Any) -> None:
        self.identity = {"architecture": "mean", "weights": "0", **identity}
        self.preprocess = Preprocess(8, 8, mean=(0, 0, 0), std=(1, 1, 1))

    def encode(self, batch: np.ndarray) -> TowerOutput:
        return TowerOutput(batch.mean(axis=(2, 3)), batch.std(axis=(2, 3)))


class ShallowTower(MeanTower):
    early_dim = 0


def noise(seed: int, height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mean_id(*parts: str, decoder_id: str = "d1", **identity: Any) -> str:
    return JoinedEncoder(MeanTower(**identity), parts, decoder_id=decoder_id).encoder_id


def refusal(spec: str, error: type[FairbrushError] = EncoderSpecError) -> FairbrushError:
    with pytest.raises(error) as caught:
        load_encoder(spec, decoder_id="d1").embed([noise(0)])
    assert type(caught.value) is error
    return caught.value


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return load_encoder("mini", decoder_id="d1")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled encoder that a test may damage; ``mini`` means this copy."""
    folder = tmp_path / "a private folder"
    folder.mkdir()
    for name in ("encoder.json", "image_tower.onnx"):
        shutil.copy(BUNDLED / name, folder)
    monkeypatch.setattr(encoder_module, "BUNDLED", folder)
    return folder


# Specs


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("mini:clip", EncoderSpec("mini", "mini", "", ())),
        (" mini:clip+edges ", EncoderSpec("mini", "mini", "", ("edges",))),
        ("mini+texture+colour", EncoderSpec("mini", "mini", "", ("texture", "colour"))),
        ("open_clip:ViT-B-32/openai", EncoderSpec("open_clip", "ViT-B-32", "openai", ())),
        ("open_clip:ViT-B-32/~/w.pt", EncoderSpec("open_clip", "ViT-B-32", "~/w.pt", ())),
        (
            "open_clip:ViT-B-32//a+b/w+1.pt+early",
            EncoderSpec("open_clip", "ViT-B-32", "/a+b/w+1.pt", ("early",)),
        ),
        ("local-dir:/a+b", EncoderSpec("local-dir", "/a+b", "", ())),
        ("local-dir:C:/x+early+colour", EncoderSpec("local-dir", "C:/x", "", ("early", "colour"))),
    ],
)
def test_a_spec_names_kind_model_weights_and_parts(spec: str, parsed: EncoderSpec) -> None:
    assert parse_spec(spec) == parsed


def test_mini_alone_has_the_parts_it_was_shipped_with() -> None:
    shipped = json.loads((BUNDLED / "encoder.json").read_text())["parts"]
    assert parse_spec("mini").parts == bundled_parts() == tuple(shipped)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("", "mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER"),
        ("clip", "mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER"),
        ("local-dir:", "mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER"),
        ("open_clip:ViT-B-32", "open_clip:NAME/TAG"),
        ("open_clip:ViT-B-32/", "open_clip:NAME/TAG"),
        ("open_clip:/openai", "open_clip:NAME/TAG"),
        ("mini+colour+colour", "named twice"),
        ("mini+color", "early, colour, edges, texture"),
        ("mini+color+edges", "'color'"),
        ("mini+", "Known parts"),
    ],
)
def test_a_spec_that_cannot_be_read_says_what_can(spec: str, named: str) -> None:
    assert named in str(refusal(spec))


def test_early_layers_cannot_be_joined_to_a_tower_without_them() -> None:
    with pytest.raises(EncoderSpecError, match=r"Leave out \+early"):
        JoinedEncoder(ShallowTower(), ["early"], decoder_id="d1")


# Ids


def test_an_id_names_the_model_and_its_parts_before_the_digest() -> None:
    assert mean_id("early", "colour").partition("#")[0] == "mean+early+colour"
    assert mean_id("early") == mean_id("early")


def test_whatever_changes_a_vector_changes_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [
        mean_id(),
        mean_id("colour"),
        mean_id("edges"),
        mean_id("colour", "edges"),
        mean_id("edges", "colour"),
        mean_id("early", "colour"),
        mean_id(weights="1"),
        mean_id(architecture="median"),
        mean_id(preprocess=Preprocess(8, 8).as_dict()),
        mean_id(preprocess=Preprocess(8, 8, fill_color=255).as_dict()),
        mean_id(decoder_id="d2"),
    ]
    later = replace(STATISTICS["colour"], version=STATISTICS["colour"].version + 1)
    monkeypatch.setitem(STATISTICS, "colour", later)
    ids.append(mean_id("colour"))
    assert len(set(ids)) == len(ids)
    assert mean_id("edges") == ids[2]


def test_the_same_weights_in_another_folder_have_the_same_id(mini: Encoder, copied: Path) -> None:
    elsewhere = load_encoder("mini", decoder_id="d1")
    assert elsewhere.encoder_id == mini.encoder_id
    assert "/" not in mini.encoder_id
    np.testing.assert_array_equal(elsewhere.embed([noise(1)]), mini.embed([noise(1)]))


# Vectors


def test_the_cosine_of_two_vectors_is_the_mean_of_their_parts_cosines() -> None:
    pair = [noise(1, 128, 128), noise(2, 128, 128) // 2]
    output = MeanTower().encode(np.stack([MeanTower().preprocess(pixels) for pixels in pair]))
    measured = [np.stack([part.measure(pixels) for pixels in pair]) for part in STATISTICS.values()]
    cosines = [np.dot(*unit_rows(block)) for block in [output.embedding, output.early, *measured]]
    joined = JoinedEncoder(MeanTower(), PARTS, decoder_id="d1").embed(pair)
    assert joined[0] @ joined[1] == pytest.approx(np.mean(cosines), abs=1e-6)


def test_a_vector_is_its_parts_in_the_order_of_the_spec() -> None:
    pixels = noise(3)
    vector = JoinedEncoder(MeanTower(), ["texture", "colour"], decoder_id="d1").embed([pixels])[0]
    assert vector.shape == (3 + 45 + 125,)
    np.testing.assert_allclose(vector[3:48] * np.sqrt(3), STATISTICS["texture"].measure(pixels), atol=1e-6)
    np.testing.assert_allclose(vector[48:] * np.sqrt(3), STATISTICS["colour"].measure(pixels), atol=1e-6)


def test_a_part_of_zeros_stays_zeros_and_the_vector_finite() -> None:
    black = np.zeros((5, 5, 3), np.uint8)
    vector = JoinedEncoder(MeanTower(), ["colour"], decoder_id="d1").embed([black])[0]
    assert vector[3] == 1
    assert vector.sum() == 1


def test_mini_gives_unit_rows_of_its_dim_and_says_where_it_ran(mini: Encoder) -> None:
    vectors = mini.embed([noise(0), noise(1, 1, 1), noise(2, 1, 300), noise(3, 7, 5)])
    facts = json.loads((BUNDLED / "encoder.json").read_text())
    parts = {"early": facts["early_dim"], **{name: part.dim for name, part in STATISTICS.items()}}
    assert mini.dim == facts["embed_dim"] + sum(parts[name] for name in facts["parts"])
    assert vectors.shape == (4, mini.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (mini.device, mini.variant) == ("cpu", "onnx-float32")
    assert mini.embed([]).shape == (0, mini.dim)


def test_mini_embeds_a_batch_as_it_embeds_its_images_alone(mini: Encoder) -> None:
    images = [noise(seed, 40 + 30 * seed, 160 - 20 * seed) for seed in range(5)]
    alone = np.concatenate([mini.embed([pixels]) for pixels in images])
    np.testing.assert_allclose(mini.embed(images), alone, atol=1e-5)


def test_mini_gives_the_same_bits_for_the_same_image(mini: Encoder) -> None:
    np.testing.assert_array_equal(mini.embed([noise(5)]), mini.embed([noise(5)]))


def test_mini_clip_is_the_first_block_of_mini(mini: Encoder) -> None:
    clip = load_encoder("mini:clip", decoder_id="d1", device=Device.CPU, threads=1)
    first = mini.embed([noise(6)])[:, : clip.dim]
    np.testing.assert_allclose(unit_rows(first), clip.embed([noise(6)]), atol=1e-5)
    assert clip.encoder_id != mini.encoder_id


# A damaged installation


def test_a_flipped_byte_in_the_bundled_model_is_found_before_it_is_loaded(copied: Path) -> None:
    file = copied / "image_tower.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "pip install" in (refusal("mini", EncoderError).next_step or "")


@pytest.mark.parametrize("name", ["image_tower.onnx", "encoder.json"])
def test_an_absent_file_of_the_bundled_encoder_says_how_to_get_it_back(copied: Path, name: str) -> None:
    (copied / name).unlink()
    assert "pip install" in (refusal("mini", WeightsNotFoundError).next_step or "")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"mini"', b"{}", b"\xff\xfe", b'{"name": "mini", "identity": 3}'],
    ids=["empty", "cut", "list", "text", "no keys", "not UTF-8", "wrong kinds"],
)
@pytest.mark.parametrize("spec", ["mini", "mini:clip"])
def test_an_unreadable_encoder_json_is_an_error_with_a_way_out(
    copied: Path, spec: str, content: bytes
) -> None:
    (copied / "encoder.json").write_bytes(content)
    error = refusal(spec, EncoderError)
    assert "encoder.json" in error.message
    assert "pip install" in (error.next_step or "")


def test_a_wrong_preprocessing_in_encoder_json_is_named(copied: Path) -> None:
    facts = json.loads((copied / "encoder.json").read_text())
    facts["preprocess_cfg"]["interpolation"] = "nearest"
    (copied / "encoder.json").write_text(json.dumps(facts))
    assert "nearest" in refusal("mini", EncoderError).message


# A new process


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(BUNDLED.parents[2])}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=120
    )


def test_a_never_seen_image_is_embedded_without_any_heavy_library(tmp_path: Path) -> None:
    Image.fromarray(noise(7)).save(tmp_path / "new.png")
    arguments = ["embed", str(tmp_path / "new.png"), "--cache", str(tmp_path / "cache"), "--json"]
    script = (
        f"import sys; from fairbrush.cli.app import run; assert run({arguments}) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    answer = run_python("-c", script)
    assert json.loads(answer.stdout)["counts"]["new"] == 1
    assert answer.stderr.strip() == "[]"


def test_a_never_seen_image_in_a_new_process_takes_at_most_a_second_and_a_half(tmp_path: Path) -> None:
    """Processor time of the command and its decoding processes: a busy machine does not change it much."""
    Image.fromarray(noise(8, 512, 512)).save(tmp_path / "new.png")
    spent_s: list[float] = []
    for attempt in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cache = str(tmp_path / f"cache {attempt}")
        run_python("-m", "fairbrush", "embed", str(tmp_path / "new.png"), "--cache", cache)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert stats.median(spent_s) < 1.5, spent_s
