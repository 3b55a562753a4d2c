import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairbrush.errors import StyleSpaceError
from fairbrush.style.space import fit_style_space


def panel(rng: np.random.Generator, *, hands: int = 12, works: int = 6, dim: int = 8):
    """Hands around their own means, with far more spread along the first axis: the nuisance."""
    means = rng.normal(size=(hands, 1, dim))
    nuisance = rng.normal(size=(hands, works, dim)) * np.array([9.0] + [0.3] * (dim - 1))
    vectors = (means + nuisance).reshape(-1, dim).astype(np.float32)
    return vectors, [f"hand {i}" for i in range(hands) for _ in range(works)]


def test_within_hand_spread_becomes_the_same_in_every_direction():
    vectors, hands = panel(np.random.default_rng(0), works=400)
    space = fit_style_space(vectors, hands, shrinkage=1e-6)
    moved = (vectors - space.centre) @ space.whitening
    around = np.concatenate(
        [moved[i : i + 400] - moved[i : i + 400].mean(0) for i in range(0, len(moved), 400)]
    )
    assert_allclose(around.T @ around / (len(around) - 12), np.eye(8), atol=2e-3)


def test_full_shrinkage_only_centres_and_scales():
    vectors, hands = panel(np.random.default_rng(1))
    space = fit_style_space(vectors, hands, shrinkage=1.0)
    scale = space.whitening[0, 0]
    assert_allclose(space.whitening, scale * np.eye(8), atol=1e-9)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(0)
    assert_allclose(space.apply(vectors), centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-9)


def test_a_power_of_one_half_is_undone_by_another_and_an_origin_can_stay():
    vectors, hands = panel(np.random.default_rng(6))
    half, quarter, whole = (
        fit_style_space(vectors, hands, power=power).whitening for power in (0.5, 0.25, 1.0)
    )
    assert_allclose(quarter @ quarter, half, atol=1e-9)
    assert_allclose(half @ half, whole, atol=1e-9)
    stays = fit_style_space(vectors, hands, centred=False)
    assert not stays.centre.any()
    assert_allclose(stays.whitening, half, atol=1e-12)


def test_whitening_finds_the_hand_that_the_nuisance_hides():
    rng = np.random.default_rng(2)
    vectors, hands = panel(rng, hands=40)
    space = fit_style_space(vectors, hands)
    means = rng.normal(size=(10, 8))
    works = np.array([9.0] + [0.3] * 7) * rng.normal(size=(10, 20, 8)) + means[:, None]

    def nearest(queries, centroids):
        return (queries @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T).argmax(1)

    raw = np.concatenate([nearest(works[i, 10:], works[:, :10].mean(1)) == i for i in range(10)])
    whitened = np.stack([space.apply(works[i].astype(np.float32)) for i in range(10)])
    fair = np.concatenate([nearest(whitened[i, 10:], whitened[:, :10].mean(1)) == i for i in range(10)])
    assert fair.mean() > raw.mean() + 0.2


def test_the_order_of_works_does_not_matter_and_the_id_names_the_numbers():
    vectors, hands = panel(np.random.default_rng(3))
    order = np.random.default_rng(4).permutation(len(vectors))
    space = fit_style_space(vectors, hands)
    shuffled = fit_style_space(vectors[order], [hands[i] for i in order])
    assert_allclose(shuffled.whitening, space.whitening, rtol=1e-9)
    assert fit_style_space(vectors, hands).space_id == space.space_id
    assert fit_style_space(vectors, hands, shrinkage=0.5).space_id != space.space_id


def test_vectors_come_out_with_unit_rows_and_a_zero_row_stays_finite():
    vectors, hands = panel(np.random.default_rng(5))
    space = fit_style_space(vectors, hands)
    assert_allclose(np.linalg.norm(space.apply(vectors), axis=1), 1, atol=1e-12)
    assert np.isfinite(space.apply(space.centre[None].astype(np.float32))).all()


@pytest.mark.parametrize("hands", [["a", "b", "c"], ["a", "a", "a"]])
def test_a_panel_without_two_different_works_by_one_hand_is_refused(hands):
    vectors = np.ones((3, 4), np.float32)
    with pytest.raises(StyleSpaceError, match="two different works"):
        fit_style_space(vectors, hands)
