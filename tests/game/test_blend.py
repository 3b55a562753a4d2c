"""Cones against slow solvers that share nothing with them: coordinate descent, and mixes tried."""

from itertools import combinations

import numpy as np
import pytest
from game.oracles import FEW, image_and_centroids
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.blend import RIDGE, evened, interchangeable, worth_of_every_blend
from fairbrush.game.selection import nonnegative_weights


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
    with pytest.raises(GameError, match=r"2\^17"):
        worth_of_every_blend(np.ones((1, 17)), np.eye(17)[None])
