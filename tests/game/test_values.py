"""What a coalition is worth, against the definitions, and the axioms of every value function."""

import numpy as np
import pytest
from game.oracles import FEW, image_and_centroids
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.blend import worth_of_every_blend
from fairbrush.game.selection import nonnegative_weights
from fairbrush.game.shapley import worth_of_every_coalition
from fairbrush.game.values import Blend, Facets, Nearest, Quotient, Reconstruction, TopKMean, worth_of_all

MONOTONE = ["nearest", "facets", "blend", "blend over a threshold", "top-k mean", "quotient"]


def game_of(kind, players, seed):
    rng = np.random.default_rng(seed)
    x, centroids = image_and_centroids(players, seed)
    z, gram = centroids @ x, centroids @ centroids.T
    facets = np.stack([z + 0.3 * rng.standard_normal(players) for _ in range(3)])
    return {
        "nearest": lambda: Nearest(z, delta=0.1),
        "facets": lambda: Facets(facets, delta=[0.0, 0.1, 0.2], weights=[0.5, 0.3, 0.2]),
        "blend": lambda: Blend(z, gram),
        "blend over a threshold": lambda: Blend(z - 0.2, gram),
        "reconstruction": lambda: Reconstruction(z, gram, weights=nonnegative_weights(z - 0.1, gram)),
        "top-k mean": lambda: TopKMean(np.maximum(z, 0.0), k=1 + seed % 4),
        "quotient": lambda: Quotient(Blend(z, gram), [player // 2 for player in range(players)]),
    }[kind]()


@pytest.mark.parametrize("kind", [*MONOTONE, "reconstruction"])
@given(players=st.integers(1, 7), seed=st.integers(0, 10**6))
@FEW
def test_nobody_is_worth_nothing_and_all_but_reconstruction_are_monotone(kind, players, seed):
    game = game_of(kind, players, seed)
    worth = worth_of_every_coalition(game)
    assert worth.dtype == np.float64
    assert worth[0] == 0.0
    assert worth[-1] == pytest.approx(worth_of_all(game), abs=1e-15)
    if kind in MONOTONE:
        codes = np.arange(len(worth))
        assert worth.min() >= 0.0
        for player in range(game.players):
            assert (worth[codes | 1 << player] >= worth[codes] - 1e-15).all()


@pytest.mark.parametrize("kind", [*MONOTONE, "reconstruction"])
def test_the_same_input_gives_the_same_bits(kind):
    first, again = (worth_of_every_coalition(game_of(kind, 6, 3)).tobytes() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("seed", range(5))
def test_blend_over_a_threshold_gives_a_single_player_what_nearest_gives(seed):
    x, centroids = image_and_centroids(6, seed)
    s, alone = centroids @ x, np.eye(6, dtype=bool)
    blend = Blend(s - 0.15, centroids @ centroids.T)
    np.testing.assert_allclose(blend.worth(alone), Nearest(s, delta=0.15).worth(alone), atol=1e-15)


def test_blend_of_many_players_is_solved_one_coalition_at_a_time():
    x, centroids = image_and_centroids(20, 2)
    linear, gram = centroids @ x, centroids @ centroids.T
    rows = np.random.default_rng(0).random((40, 20)) < 0.3
    for row, worth in zip(rows, Blend(linear, gram).worth(rows), strict=True):
        members = np.flatnonzero(row)
        listed = worth_of_every_blend(linear[members][None], gram[np.ix_(members, members)][None])
        assert worth == pytest.approx(listed[0, -1], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_facets_are_the_weighted_sum_of_each_facets_nearest(seed):
    rng = np.random.default_rng(seed)
    z, delta, weights = rng.random((3, 5)), rng.random(3) / 2, rng.random(3)
    rows = rng.random((20, 5)) < 0.5
    expected = sum(w * Nearest(row, delta=d).worth(rows) for w, row, d in zip(weights, z, delta, strict=True))
    np.testing.assert_allclose(Facets(z, delta=delta, weights=weights).worth(rows), expected, atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_reconstruction_is_what_the_parts_of_the_blend_redraw(seed):
    x, centroids = image_and_centroids(5, seed)
    weights = np.random.default_rng(seed).random(5)
    game = Reconstruction(centroids @ x, centroids @ centroids.T, weights=weights)
    rows = np.random.default_rng(seed).random((20, 5)) < 0.5
    redrawn = (rows * weights) @ centroids
    expected = x @ x - ((x - redrawn) ** 2).sum(axis=1)
    np.testing.assert_allclose(game.worth(rows), expected, atol=1e-12)


def test_top_k_mean_is_nearest_for_one_and_additive_for_all():
    gains = np.array([0.5, 0.0, 0.3, 0.3])
    rows = np.random.default_rng(0).random((20, 4)) < 0.5
    np.testing.assert_allclose(TopKMean(gains, k=1).worth(rows), Nearest(gains, delta=0.0).worth(rows))
    np.testing.assert_allclose(TopKMean(gains, k=4).worth(rows), rows @ gains / 4, atol=1e-15)
    assert TopKMean(gains, k=2).worth(np.array([[True, True, True, False]])).tolist() == [0.4]


def test_numbers_that_are_no_game_are_refused():
    with pytest.raises(GameError, match=r"\(2, 2\), \(3,\), \(2,\)"):
        Facets(np.zeros((2, 2)), delta=[0.0] * 3, weights=[1.0, 1.0])
    with pytest.raises(GameError, match="weights >= 0"):
        Facets(np.zeros((2, 2)), delta=0.0, weights=[1.0, -1.0])
    with pytest.raises(GameError, match="one number a player"):
        Blend([0.5], np.eye(2))
    with pytest.raises(GameError, match="finite"):
        Reconstruction([0.5, np.nan], np.eye(2), weights=[1.0, 1.0])
    with pytest.raises(GameError, match="best 0"):
        TopKMean([0.5], k=0)
    with pytest.raises(GameError, match="2 players need one union label each; got 1"):
        Quotient(Nearest([0.1, 0.2], delta=0.0), ["ann"])


def test_no_players_and_no_facets_are_games_of_nothing():
    empty = np.zeros((0, 0))
    for game in (
        Blend([], empty),
        Facets(np.zeros((2, 0)), delta=0.0, weights=[1.0, 1.0]),
        TopKMean([], k=2),
    ):
        assert worth_of_all(game) == 0.0
    assert worth_of_all(Reconstruction([], empty, weights=[])) == 0.0
    assert worth_of_all(Facets(np.zeros((0, 3)), delta=0.0, weights=[])) == 0.0
