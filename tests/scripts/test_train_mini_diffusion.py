"""The miniature generator's training, at a few steps; and what is measured of it, on numbers made up."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from validation.tiny import load_generator

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_mini_diffusion as bench  # noqa: E402
import retrain_truth  # noqa: E402
import train_mini_diffusion as training  # noqa: E402
from fairbrush.embedding.encoder import Device  # noqa: E402
from fairbrush.embedding.torchvision_ops import make_torchvision_importable  # noqa: E402
from fairbrush.validation.generators import Request, Sampling  # noqa: E402

QUICK = training.Recipe(autoencoder_steps=2, base_steps=2, artist_steps=2, autoencoder_batch=4, batch=4)


def pictures(rng):
    pixels = rng.integers(0, 256, (24, training.SIDE, training.SIDE, 3), dtype=np.uint8)
    artists = ["Ann", "Bo", "Hand one", "Hand two"] * 6
    in_gallery = np.array([artist in ("Ann", "Bo") for artist in artists])
    return training.Pictures(pixels, [f"fox {n}" for n in range(24)], artists, in_gallery)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    make_torchvision_importable()
    folder = tmp_path_factory.mktemp("mini")
    known = pictures(np.random.default_rng(0))
    training.train_base(known, folder / "base", QUICK)
    training.train_artists(folder / "base", known, folder / "full", QUICK)
    training.train_artists(folder / "base", known, folder / "without", QUICK, without=["Bo"])
    return folder


def test_the_trained_folder_loads_through_the_door_of_sd_15_and_draws(trained):
    generator = load_generator(trained / "full", device=Device.CPU)
    sampling = Sampling(steps=2, guidance=3.0, scheduler=None, width=generator.side, height=generator.side)
    one, other = generator.generate([Request("a fox by Ann", 1), Request("a fox by Ann", 2)], sampling)
    assert generator.side == training.SIDE
    assert one.shape == (training.SIDE, training.SIDE, 3)
    assert not np.array_equal(one, other)
    assert generator.unread("a fox by Ann") == ""


def test_an_artist_left_out_is_in_no_picture_and_on_the_roster_as_not_trained(trained):
    facts = json.loads((trained / "without/training.json").read_text())
    assert facts["artists"] == {"Ann": 6}
    assert facts["without"] == ["Bo"]
    assert (trained / "without/roster.csv").read_text() == "name,trained:mini-diffusion\nAnn,yes\nBo,no\n"
    known = pictures(np.random.default_rng(0)).without(["Bo"])
    assert "Bo" not in known.artists
    assert len(known.artists) == len(known.titles) == len(known.pixels) == len(known.in_gallery) == 18


def test_the_first_stage_sees_no_gallery_artist(trained):
    assert json.loads((trained / "base/training.json").read_text())["pictures"] == 12


def test_the_weights_are_small_enough_to_ship(trained):
    size = sum(file.stat().st_size for file in (trained / "full").rglob("*.safetensors"))
    assert size < 40e6


def test_the_tokenizer_reads_every_byte_and_tells_artists_apart(trained):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(trained / "full/tokenizer")
    ids = tokenizer("a fox by Ann").input_ids
    assert ids != tokenizer("a fox by Bo").input_ids
    assert tokenizer.unk_token_id not in tokenizer("žluťoučký kůň 馬").input_ids[1:-1]


def test_sampling_gives_each_part_its_fraction():
    known = pictures(np.random.default_rng(0))
    draw = training.ArtistSampler(known, np.random.default_rng(0), gallery_fraction=0.75)
    rows = draw.rows(4000)
    assert known.in_gallery[rows].mean() == pytest.approx(0.75, abs=0.03)
    none = training.ArtistSampler(known, np.random.default_rng(0), gallery_fraction=0.0)
    assert not known.in_gallery[none.rows(400)].any()
    alone = replace(known, in_gallery=np.ones_like(known.in_gallery))
    with np.errstate(all="raise"):
        whole = training.ArtistSampler(alone, np.random.default_rng(0), gallery_fraction=1.0)
    assert whole.weight.sum() == pytest.approx(1.0)


def test_an_effect_is_what_an_absence_changes_beyond_a_retraining():
    east, north = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    between = (east + north) / np.sqrt(2)
    styles = {
        "full": east,
        "control-1": east,
        "control-2": between,
        "without-Ann": north,
        "without-Bo": east,
    }
    kept = (1 + np.sqrt(0.5)) / 2
    np.testing.assert_allclose(retrain_truth.effects(styles, ["Ann", "Bo"]), [[kept, kept - 1]])


def test_the_permutation_test_sees_a_style_and_only_a_style():
    rng = np.random.default_rng(0)
    obeyed = np.tile(np.arange(5), (20, 1))
    assert bench.permutation_p(obeyed, rng) < 0.001
    everything_resembles_one = np.zeros((20, 5), int)
    assert bench.permutation_p(everything_resembles_one, rng) == 1.0


def test_a_wilson_interval_is_as_published():
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I: 81 of 263
    assert bench.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_report_asks_every_image_that_names_a_removed_artist():
    prompts = retrain_truth.prompts_of(["Ann", "Bo"], ["Cy"], 3)
    assert [len(prompts), sum(one.artists == ("Cy",) for one in prompts)] == [12, 3]
    effect = np.array([[float(artist in one.artists) for artist in ("Ann", "Bo")] for one in prompts])
    found = [
        SimpleNamespace(
            fast=dict.fromkeys(retrain_truth.FAST, np.array([*row, 0.0])),
            readings=[SimpleNamespace(split=SimpleNamespace(shares=row[::-1] / max(row.sum(), 1)))],
            prompted=np.array([*row, 0.0]),
        )
        for row in effect
    ]
    text = retrain_truth.report(prompts, ["Ann", "Bo"], effect, found)
    assert "| Ann | 3 | 1.000 [1.000, 1.000] | 0.000 [0.000, 0.000] |" in text
    assert "| fast blend | 0.000 [0.000, 0.000] |" in text
    # right of the three images of both, wrong of the six of one
    assert "| regenerated | 0.667 [0.667, 0.667] |" in text


def test_a_generator_trained_otherwise_is_not_taken_for_this_one(trained, tmp_path):
    (tmp_path / "full").symlink_to(trained / "without")
    with pytest.raises(SystemExit, match="was trained otherwise"):
        retrain_truth.retrain(
            trained / "base", pictures(np.random.default_rng(0)), tmp_path, QUICK, artists=[], controls=0
        )
