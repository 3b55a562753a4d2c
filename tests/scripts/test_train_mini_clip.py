"""The recipe of the bundled encoder: its loss, its sampling, and that what it saves loads."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
recipe = pytest.importorskip("train_mini_clip", reason="needs resvg-py, of the dev extra")


def training_set(works: int = 100) -> "recipe.TrainingSet":
    rng = np.random.default_rng(0)
    hands = [f"hand {i}" for i in range(6) for _ in range(works)]
    pixels = rng.integers(0, 255, (len(hands), recipe.SIDE, recipe.SIDE, 3), np.uint8)
    held_out = np.arange(len(hands)) % works < 24
    is_icon = np.array([hand not in ("hand 0", "hand 1") for hand in hands])
    return recipe.TrainingSet(pixels, [f"thing by {hand}" for hand in hands], hands, held_out, is_icon)


def test_no_held_out_work_is_ever_sampled_and_labels_are_the_hands():
    data = training_set()
    sampler = recipe.HandSampler(data, np.random.default_rng(1), hands=4, works=4)
    for _ in range(200):
        rows, labels = sampler.batch()
        assert not data.held_out[rows].any()
        assert [sampler.names[label] for label in labels] == [data.hands[row] for row in rows]
        assert len(set(labels)) == 4


def test_the_supervised_contrastive_loss_is_its_definition():
    import torch

    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(6, 5), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    labels[-1] = 0
    expected = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        total = sum(torch.exp(vectors[i] @ vectors[j] / 0.1) for j in others)
        same = [j for j in others if labels[j] == labels[i]]
        expected -= sum(torch.log(torch.exp(vectors[i] @ vectors[j] / 0.1) / total) for j in same) / len(same)
    loss = recipe.supervised_contrastive(vectors, labels, temperature=0.1)
    assert loss.item() == pytest.approx(expected.item() / 6, rel=1e-5)


def test_augmentation_crops_and_mirrors_but_keeps_the_colours():
    import torch

    flat = torch.tensor([200, 90, 10], dtype=torch.uint8).expand(8, recipe.SIDE, recipe.SIDE, 3)
    seen = recipe.augment(flat, torch.Generator().manual_seed(0))
    expected = (torch.tensor([200.0, 90, 10]) / 255 - torch.tensor(recipe.MEAN)) / torch.tensor(recipe.STD)
    assert torch.allclose(seen, expected.view(1, 3, 1, 1).expand_as(seen), atol=1e-5)
    half = torch.zeros(64, recipe.SIDE, recipe.SIDE, 3, dtype=torch.uint8)
    half[:, :, : recipe.SIDE // 2] = 255
    left = recipe.augment(half, torch.Generator().manual_seed(0))[:, 0, :, 0]
    assert 10 < (left.mean(1) > 0).sum() < 54  # the bright half is now left, now right


def test_what_a_short_run_saves_loads_through_the_encoder_door(tmp_path: Path):
    from fairbrush.embedding.encoder import load_encoder

    options = {"tower": "mnv4s050", "embed_dim": 16, "hands": 3, "steps": 3, "lr": 1e-3}
    options |= {"clip_weight": 0.5, "seed": 0, "report": 2, "out": tmp_path}
    recipe.train(training_set(works=30), argparse.Namespace(**options))
    facts = json.loads((tmp_path / "training.json").read_text())
    assert [point["step"] for point in facts["curve"]] == [2, 3]
    assert all(np.isfinite(point["loss"]) for point in facts["curve"])
    encoder = load_encoder(f"local-dir:{tmp_path}+early", decoder_id="test")
    assert encoder.embed([np.full((50, 80, 3), 128, np.uint8)]).shape == (1, encoder.dim)
