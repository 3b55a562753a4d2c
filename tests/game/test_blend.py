"""Cones against slow solvers that share nothing with them: coordinate descent, and the KKT conditions."""

from itertools import combinations

import numpy as np
import pytest
from game.oracles import FEW, image_and_centroids
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.blend import (
    RIDGE,
    evened,
    interchangeable,
    nonnegative_weights,
    survivors,
    worth_of_every_blend,
)


def by_coordinate_descent(linear, gram, *, ridge=RIDGE, sweeps=20_000):
    """argmin over w >= 0 of w'Gw / 2 - linear . w, one coordinate at a time."""
    cone = (1 - ridge) * gram + ridge * np.diag(np.diag(gram))
    w = np.zeros(len(linear))
    for _ in range(sweeps):
        before = w.copy()
        for i in range(len(w)):
            w[i] = max(0.0, w[i] + (linear[i] - cone[i] @ w) / cone[i, i])
        if np.abs(w - before).max(initial=0.0) <= 1e-17:
            break
    return w


@pytest.mark.parametrize("penalty", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(6))
def test_every_coalitions_worth_equals_coordinate_descent(seed, penalty):
    players = 2 + seed % 4
    x, centroids = image_and_centroids(players, seed)
    linear, gram = centroids @ x - penalty, centroids @ centroids.T
    worth = worth_of_every_blend(linear[None], gram[None])[0]
    for code in range(1 << players):
        members = [player for player in range(players) if code >> player & 1]
        part, cone = linear[members], gram[np.ix_(members, members)]
        assert worth[code] == pytest.approx(
            np.sqrt(max(0, part @ by_coordinate_descent(part, cone))), abs=1e-12
        )


@pytest.mark.parametrize("seed", range(5))
def test_worth_is_the_cosine_to_the_best_of_many_mixes(seed):
    """From below by mixes tried, and attained by the mix found."""
    x, centroids = image_and_centroids(4, seed)
    worth = worth_of_every_blend((centroids @ x)[None], (centroids @ centroids.T)[None])[0, -1]
    mixes = np.random.default_rng(seed).exponential(size=(20_000, 4)) ** 2 @ centroids
    assert (mixes @ x / np.linalg.norm(mixes, axis=1)).max() <= worth + 1e-9
    found = nonnegative_weights(centroids @ x, centroids @ centroids.T) @ centroids
    assert found @ x / np.linalg.norm(found) == pytest.approx(worth, abs=1e-9)


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
    st.integers(1, 9), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from([2, 3, 16])
)
@FEW
def test_monotonicity_and_agreement_of_the_two_solvers(players, seed, penalty, dim):
    x, centroids = image_and_centroids(players, seed, dim=dim)
    linear, gram = centroids @ x - penalty, centroids @ centroids.T
    worth = worth_of_every_blend(linear[None], gram[None])[0]
    codes = np.arange(1 << players)
    assert worth[0] == 0.0
    assert worth.min() >= 0.0
    for player in range(players):
        assert (worth[codes | 1 << player] >= worth[codes]).all()
        alone = max(linear[player], 0.0)
        assert worth[1 << player] == pytest.approx(alone, abs=1e-14)
    assert worth[-1] == pytest.approx(np.sqrt(linear @ nonnegative_weights(linear, gram)), abs=1e-12)


def test_a_clone_adds_less_than_the_ridge():
    x, centroids = image_and_centroids(3, 0)
    cloned = np.concatenate([centroids] * 4)
    few = worth_of_every_blend((centroids @ x)[None], (centroids @ centroids.T)[None])[0, -1]
    many = worth_of_every_blend((cloned @ x)[None], (cloned @ cloned.T)[None])[0, -1]
    assert few <= many <= few * (1 + RIDGE)


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


def test_nobody_above_the_threshold_is_no_survivor():
    for gains in ([], [-0.1, -0.2], [0.0, -0.3]):
        chosen = survivors(gains, np.eye(len(gains)))
        assert chosen.indices.tolist() == []
        assert (chosen.worth_of_candidates, chosen.dropped) == (0.0, 0)


@pytest.mark.parametrize("players", [0, 1, 3, 6])
def test_a_game_has_the_same_bits_alone_as_among_others(players):
    drawn = [
        image_and_centroids(players, seed) if players else (np.ones(2), np.ones((0, 2))) for seed in range(7)
    ]
    linear = np.array([centroids @ x for x, centroids in drawn])
    gram = np.array([centroids @ centroids.T for _, centroids in drawn])
    together = worth_of_every_blend(linear, gram)
    for game in range(7):
        assert (worth_of_every_blend(linear[game : game + 1], gram[game : game + 1]) == together[game]).all()


def test_players_who_may_swap_are_found_and_evened():
    linear = np.array([[0.5, 0.5, 0.5, 0.2]])
    gram = np.eye(4)[None].copy()
    gram[0, 0, 3] = gram[0, 3, 0] = gram[0, 1, 3] = gram[0, 3, 1] = 0.3
    same = interchangeable(linear, gram)
    pairs = [(i, j) for i, j in combinations(range(4), 2) if same[0, i, j]]
    assert pairs == [(0, 1)]
    assert evened(np.array([[1.0, 2.0, 5.0, 7.0]]), same).tolist() == [[1.5, 1.5, 5.0, 7.0]]
    assert interchangeable(np.array([[0.1, 0.2]]), np.eye(2)[None]) is None


def test_matrices_that_are_no_gram_matrix_are_refused():
    with pytest.raises(GameError, match="negative eigenvalue"):
        worth_of_every_blend([[0.5, 0.5]], [[[1.0, 1.1], [1.1, 1.0]]])
    with pytest.raises(GameError, match="negative eigenvalue"):
        survivors([0.5, 0.4], [[1.0, 1.0 + 1e-7], [1.0 + 1e-7, 1.0]])
    with pytest.raises(GameError, match="no centroid is 0"):
        nonnegative_weights([0.5, 0.5], [[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(GameError, match="symmetric"):
        nonnegative_weights([0.5, 0.5], [[1.0, 0.2], [0.0, 1.0]])
    with pytest.raises(GameError, match=r"shapes \(2,\), \(3, 3\)"):
        nonnegative_weights([0.5, 0.5], np.eye(3))
    with pytest.raises(GameError, match=r"2\^17"):
        worth_of_every_blend(np.ones((1, 17)), np.eye(17)[None])
