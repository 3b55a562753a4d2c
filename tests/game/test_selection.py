"""Who plays a blend: the conditions of the optimum, clones, look-alikes, and the limit on players."""

import numpy as np
import pytest
from game.oracles import FEW, image_and_centroids
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.blend import RIDGE, worth_of_every_blend
from fairbrush.game.selection import nonnegative_weights, survivors


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("players", [1, 5, 32, 64])
def test_weights_fulfil_the_conditions_of_the_optimum(players, seed):
    """Even with fewer dimensions than players, and clones."""
    x, centroids = image_and_centroids(players, seed, dim=[4, 16, 128][seed % 3])
    centroids[players // 2 :] = centroids[: players - players // 2] if seed % 2 else centroids[players // 2 :]
    linear, gram = centroids @ x - 0.1 * (seed % 4), centroids @ centroids.T
    w = nonnegative_weights(linear, gram)
    slope = linear - ((1 - RIDGE) * gram + RIDGE * np.eye(players)) @ w
    assert w.min() >= 0.0
    assert slope.max() <= 1e-12
    assert np.abs(slope[w > 0]).max(initial=0.0) <= 1e-12


@given(
    st.integers(2, 12), st.integers(0, 10**6), st.sampled_from([0.0, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, 1e-5])
)
@FEW
def test_both_solvers_agree_on_clones_and_near_clones(players, seed, apart):
    rng = np.random.default_rng(seed)
    x, centroids = image_and_centroids(players, seed, dim=int(rng.integers(2, 20)))
    centroids[1:] = np.where(rng.random((players - 1, 1)) < 0.6, centroids[:1], centroids[1:])
    centroids += apart * rng.standard_normal(centroids.shape)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    linear, gram = centroids @ x - rng.choice([0.0, 0.1, 0.5]), centroids @ centroids.T
    worth = worth_of_every_blend(linear[None], gram[None])[0, -1]
    assert worth == pytest.approx(np.sqrt(max(0, linear @ nonnegative_weights(linear, gram))), abs=1e-11)


@pytest.mark.parametrize("copies", [2, 3, 8, 30])
def test_identical_clones_all_survive_with_equal_weights(copies):
    x, centroids = image_and_centroids(3, 1)
    cloned = np.concatenate([centroids[:1]] * copies + [centroids[1:]])
    linear, gram = cloned @ x, cloned @ cloned.T
    linear[:copies], gram[:copies, :copies] = linear[0], 1.0
    gram[:copies, copies:], gram[copies:, :copies] = gram[0, copies:], gram[copies:, :1]
    np.fill_diagonal(gram, 1.0)
    chosen = survivors(linear, gram, most=64)
    alone = nonnegative_weights(centroids @ x, centroids @ centroids.T)
    assert chosen.indices[:copies].tolist() == list(range(copies))
    assert len(set(chosen.weights[:copies].tolist())) == 1
    assert chosen.weights[:copies].sum() == pytest.approx(alone[0], abs=1e-8)


def test_look_alikes_are_explained_away_and_the_blended_survive():
    rng = np.random.default_rng(5)
    hands = rng.standard_normal((3, 128))
    look_alikes = hands[rng.integers(0, 3, 29)] + 0.8 * rng.standard_normal((29, 128))
    centroids = np.concatenate([hands, look_alikes])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    x = centroids[:3].T @ [0.5, 0.3, 0.2]
    chosen = survivors(centroids @ (x / np.linalg.norm(x)) - 0.1, centroids @ centroids.T)
    assert {0, 1, 2} <= set(chosen.indices.tolist())
    assert len(chosen.indices) <= 6
    assert (chosen.dropped, chosen.unexplained) == (0, 0.0)


def test_beyond_the_limit_the_largest_weights_stay_and_what_is_lost_is_told():
    gains = np.array([0.5, 0.1, 0.4, 0.2, 0.3])
    chosen = survivors(gains, np.eye(5), most=3)
    assert chosen.indices.tolist() == [0, 2, 4]
    np.testing.assert_allclose(chosen.weights, [0.5, 0.4, 0.3], atol=1e-15)
    assert chosen.dropped == 2
    assert chosen.worth_of_candidates == pytest.approx(np.sqrt(0.55))
    assert chosen.unexplained == pytest.approx(np.sqrt(0.55) - np.sqrt(0.50))
    assert chosen.worth_of_dropped == pytest.approx(np.sqrt(0.05))


def test_the_limit_counts_creators_so_one_split_over_many_entries_drops_nobody():
    gains = np.array([0.9] * 12 + [0.02, 0.01])
    gram = np.eye(14)
    gram[:12, :12] = 1.0
    chosen = survivors(gains, gram, unions=["ann"] * 12 + ["bob", "cy"], most=2)
    assert chosen.indices.tolist() == list(range(13))
    assert chosen.dropped == 1
    assert survivors(gains, gram, most=2).indices.tolist() == [0, 1]


def test_a_candidate_without_gain_survives_where_it_corrects_another():
    """Why only those above the threshold may be candidates."""
    assert survivors([0.5, -0.1], [[1.0, -0.4], [-0.4, 1.0]]).indices.tolist() == [0, 1]
    assert survivors([0.5, -0.1], np.eye(2)).indices.tolist() == [0]


def test_nobody_above_the_threshold_is_no_survivor():
    for gains in ([], [-0.1, -0.2], [0.0, -0.3]):
        chosen = survivors(gains, np.eye(len(gains)))
        assert chosen.indices.tolist() == []
        assert (chosen.worth_of_candidates, chosen.dropped) == (0.0, 0)


def test_matrices_that_are_no_gram_matrix_are_refused():
    with pytest.raises(GameError, match="no centroid is 0"):
        nonnegative_weights([0.5, 0.5], [[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(GameError, match="symmetric"):
        nonnegative_weights([0.5, 0.5], [[1.0, 0.2], [0.0, 1.0]])
    with pytest.raises(GameError, match=r"shapes \(2,\), \(3, 3\)"):
        nonnegative_weights([0.5, 0.5], np.eye(3))
    with pytest.raises(GameError, match="negative eigenvalue"):
        survivors([0.5, 0.4], [[1.0, 1.0 + 1e-7], [1.0 + 1e-7, 1.0]])
