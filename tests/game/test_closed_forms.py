"""Each solver against enumeration, the axioms, many games against one; what mixtures and clones get."""

import numpy as np
import pytest
from game.oracles import FEW, GAIN, Listed, image_and_centroids
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.selection import nonnegative_weights
from fairbrush.game.shapley import (
    shapley_by_enumeration,
    shapley_of_blend,
    shapley_of_blend_many,
    shapley_of_facets,
    shapley_of_nearest,
    shapley_of_nearest_many,
    shapley_of_reconstruction,
    shapley_of_top_k_mean,
    veto_value_of_model,
    veto_value_of_model_in,
)
from fairbrush.game.values import Blend, Facets, Nearest, Reconstruction, TopKMean, worth_of_all

PLAYERS, SEED = st.integers(1, 7), st.integers(0, 10**6)


def solved(game):
    """phi in closed form, whichever the game is."""
    match game:
        case Blend():
            return shapley_of_blend(game.linear, game.gram)
        case Facets():
            return shapley_of_facets(game)
        case Reconstruction():
            return shapley_of_reconstruction(game)
        case TopKMean():
            return shapley_of_top_k_mean(game.gains, k=game.k)
        case Nearest():
            return shapley_of_nearest(game.gains)


def games_of(players, seed):
    rng = np.random.default_rng(seed)
    x, centroids = image_and_centroids(players, seed)
    s, gram = centroids @ x, centroids @ centroids.T
    # ties and zeros on purpose
    z = rng.choice([0.0, 0.25, 0.5, *rng.random(2)], (3, players))
    return [
        Nearest(z[0], delta=0.1),
        Facets(z, delta=[0.0, 0.1, 0.3], weights=rng.random(3)),
        TopKMean(z[0], k=1 + seed % 9),
        Blend(s, gram),
        Blend(s - 0.2, gram),
        Reconstruction(s, gram, weights=rng.random(players)),
    ]


@given(PLAYERS, SEED)
@FEW
def test_closed_forms_equal_enumeration_and_sum_to_the_worth_of_all(players, seed):
    for game in games_of(players, seed):
        phi = solved(game)
        assert np.abs(phi - shapley_by_enumeration(game)).max() <= 1e-12, game.name
        assert phi.sum() == pytest.approx(worth_of_all(game), abs=1e-12), game.name


@given(PLAYERS, SEED)
@FEW
def test_a_dummy_gets_exactly_nothing_and_changes_nobody(players, seed):
    """A player with no gain, far from everybody, with no weight in the blend."""

    def with_dummy(matrix):
        return np.block([[matrix, np.zeros((players, 1))], [np.zeros((1, players)), np.ones((1, 1))]])

    nearest, facets, top, blend, over, rebuilt = games_of(players, seed)
    thresholds = np.array([0.0, 0.1, 0.3])
    joined = [
        Nearest([*nearest.gains, 0.0], delta=0.0),
        Facets(
            np.c_[facets.gains + thresholds[:, None], [0.0] * 3], delta=thresholds, weights=facets.weights
        ),
        TopKMean([*top.gains, 0.0], k=top.k),
        Blend([*blend.linear, 0.0], with_dummy(blend.gram)),
        Blend([*over.linear, -0.2], with_dummy(over.gram)),
        Reconstruction(
            [*rebuilt.similarities, 0.0], with_dummy(rebuilt.gram), weights=[*rebuilt.weights, 0.0]
        ),
    ]
    for game, alone in zip(joined, [nearest, facets, top, blend, over, rebuilt], strict=True):
        assert solved(game)[-1] == 0.0, game.name
        np.testing.assert_allclose(solved(game)[:-1], solved(alone), atol=1e-12)


@given(PLAYERS, SEED)
@FEW
def test_symmetry_the_order_of_players_does_not_matter(players, seed):
    order = np.random.default_rng(seed).permutation(players)
    nearest, facets, top, blend, _, rebuilt = games_of(players, seed)
    square = np.ix_(order, order)
    shuffled = [
        Nearest(nearest.gains[order], delta=0.0),
        Facets(facets.gains[:, order], delta=0.0, weights=facets.weights),
        TopKMean(top.gains[order], k=top.k),
        Blend(blend.linear[order], blend.gram[square]),
        Reconstruction(rebuilt.similarities[order], rebuilt.gram[square], weights=rebuilt.weights[order]),
    ]
    for game, before in zip(shuffled, [nearest, facets, top, blend, rebuilt], strict=True):
        np.testing.assert_allclose(solved(game), solved(before)[order], atol=1e-12)


@given(PLAYERS, SEED, st.floats(0.1, 10))
@FEW
def test_linearity_in_the_weights_of_facets_and_in_the_scale_of_gains(players, seed, factor):
    nearest, facets, top, blend, *_ = games_of(players, seed)
    more = Facets(facets.gains, delta=0.0, weights=facets.weights + factor)
    even = Facets(facets.gains, delta=0.0, weights=np.full(3, factor))
    np.testing.assert_allclose(solved(more), solved(facets) + solved(even), atol=1e-11)
    np.testing.assert_allclose(
        shapley_of_nearest(factor * nearest.gains), factor * solved(nearest), atol=1e-12
    )
    larger = shapley_of_top_k_mean(factor * top.gains, k=top.k)
    np.testing.assert_allclose(larger, factor * solved(top), atol=1e-12)
    np.testing.assert_allclose(
        shapley_of_blend(factor * blend.linear, blend.gram), factor * solved(blend), atol=1e-11
    )


@given(st.lists(GAIN, min_size=1, max_size=40), st.integers(1, 50))
@FEW
def test_top_k_mean_follows_the_recursion_of_knn_shapley(gains, k):
    gains = np.sort(gains)[::-1]
    phi = shapley_of_top_k_mean(gains, k=k)
    rank = np.arange(1, len(gains))
    np.testing.assert_allclose(
        phi[:-1] - phi[1:], (gains[:-1] - gains[1:]) * np.minimum(k, rank) / (k * rank), atol=1e-12
    )
    assert phi[-1] == pytest.approx(gains[-1] * min(k, len(gains)) / (k * len(gains)), abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_reconstruction_by_the_best_blend_pays_nobody_less_than_nothing(seed):
    x, centroids = image_and_centroids(8, seed)
    s, gram = centroids @ x, centroids @ centroids.T
    weights = nonnegative_weights(s, gram)
    phi = shapley_of_reconstruction(Reconstruction(s, gram, weights=weights))
    np.testing.assert_allclose(phi, weights * s, atol=1e-8)
    assert phi.sum() == pytest.approx(worth_of_all(Blend(s, gram)) ** 2, abs=1e-8)


def test_reconstruction_by_too_heavy_weights_is_measured_below_nothing():
    game = Reconstruction([0.9, 0.1], [[1.0, 0.8], [0.8, 1.0]], weights=[1.0, 0.5])
    np.testing.assert_allclose(shapley_of_reconstruction(game), [0.4, -0.55], atol=1e-12)


@pytest.mark.parametrize("clones", [2, 3, 5])
def test_identical_clones_split_equally_to_the_last_bit(clones):
    x, centroids = image_and_centroids(3, 4)
    which = np.array([0] * clones + [1, 2])
    s, gram = (centroids @ x)[which], (centroids @ centroids.T)[np.ix_(which, which)]
    phi, alone = shapley_of_blend(s, gram), shapley_of_blend((centroids @ x), centroids @ centroids.T)
    assert len(set(phi[:clones].tolist())) == 1
    assert phi[0] > 0
    assert phi.sum() == pytest.approx(alone.sum(), rel=1e-9)
    assert len(set(shapley_of_nearest(np.maximum(s, 0.0))[:clones].tolist())) == 1


@pytest.mark.parametrize("players", [0, 1, 4, 6, 10])
def test_many_blends_at_once_have_the_bits_of_one_at_a_time(players):
    drawn = [image_and_centroids(max(players, 1), seed) for seed in range(20)]
    linear = np.array([(centroids @ x)[:players] for x, centroids in drawn])
    gram = np.array([(centroids @ centroids.T)[:players, :players] for _, centroids in drawn])
    linear[3:5], gram[3:5] = 0.5, np.eye(players)  # equals among others that have none
    many = shapley_of_blend_many(linear, gram)
    assert many.shape == (20, players)
    for row, alone in enumerate(map(shapley_of_blend, linear, gram)):
        assert (many[row] == alone).all()


@given(st.integers(0, 30), st.integers(0, 20), SEED)
@FEW
def test_many_airports_at_once_have_the_bits_of_one_at_a_time(games, players, seed):
    gains = np.random.default_rng(seed).choice([0.0, 0.3, 0.7, 0.71], (games, players))
    many = shapley_of_nearest_many(gains)
    assert many.shape == gains.shape
    for row, alone in zip(many, gains, strict=True):
        assert (row == shapley_of_nearest(alone)).all()


@given(st.lists(GAIN, max_size=8), SEED)
@FEW
def test_veto_value_of_the_model_is_the_same_by_enumeration_in_any_game(gains, seed):
    assert veto_value_of_model_in(Nearest(gains, delta=0.0)) == pytest.approx(
        veto_value_of_model(gains), abs=1e-12
    )
    for game in games_of(4, seed):

        def worth(coalition, game=game):
            row = np.array([[player in coalition for player in range(4)]])
            return float(game.worth(row)[0]) if 4 in coalition else 0.0

        expected = shapley_by_enumeration(Listed(5, worth))[4]
        assert veto_value_of_model_in(game) == pytest.approx(expected, abs=1e-12), game.name


def mixture(seed):
    """70 % of one style and 30 % of another, nearly orthogonal, in 256 dimensions with noise."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((2, 256))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    x = [0.7, 0.3] @ centroids
    x = x / np.linalg.norm(x) + 0.3 / 16 * rng.standard_normal(256)
    return centroids @ x / np.linalg.norm(x), centroids @ centroids.T


def test_of_a_70_30_blend_nearest_pays_the_second_a_few_percent_and_blend_a_quarter():
    """Measured over 40 draws with a threshold just under the second's similarity, .36. A blend whose linear
    part is the gains pays as nearest does: it is the similarities that the game must be played on.
    """
    delta, paid = 0.36, []
    for seed in range(40):
        s, gram = mixture(seed)
        rules = (
            shapley_of_nearest(np.maximum(s - delta, 0)),
            shapley_of_blend(s, gram),
            shapley_of_blend(s - delta, gram),
        )
        paid.append([phi[1] / phi.sum() for phi in rules])
    nearest, blend, over = np.median(paid, axis=0)
    assert 0.005 <= nearest <= 0.03
    assert 0.22 <= blend <= 0.26
    assert over == pytest.approx(nearest, abs=0.002)
    assert min(row[1] - row[0] for row in paid) >= 0.15


def test_more_players_than_can_be_listed_are_refused():
    with pytest.raises(GameError, match=r"2\^17 blends"):
        shapley_of_blend(np.ones(17), np.eye(17))
    with pytest.raises(GameError, match=r"2\^21"):
        veto_value_of_model_in(Nearest(np.ones(21), delta=0.0))
    with pytest.raises(GameError, match="best 0"):
        shapley_of_top_k_mean([1.0], k=0)
