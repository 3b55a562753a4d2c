"""Exact solvers against independent oracles: orderings, published games, and the axioms."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from game.oracles import FEW, GAIN, Listed, by_orderings, random_game, unions_stay_together
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.shapley import shapley_by_enumeration, shapley_of_nearest, veto_value_of_model
from fairbrush.game.values import Nearest, explained, worth_of_all


@given(st.lists(GAIN, min_size=1, max_size=10))
@FEW
def test_closed_form_equals_enumeration_with_ties_and_zeros(gains):
    game = Nearest(gains, delta=0.0)
    assert np.abs(shapley_of_nearest(game.gains) - shapley_by_enumeration(game)).max() <= 1e-12


@pytest.mark.parametrize("players", [1, 2, 3, 5, 6])
def test_enumeration_equals_the_average_over_orderings(players):
    game = random_game(players, seed=players)
    np.testing.assert_allclose(shapley_by_enumeration(game), by_orderings(players, game.of), atol=1e-12)


def test_castro_2009_airport_game_of_100_players():
    """Castro, Gomez & Tejada 2009, doi:10.1016/j.cor.2008.04.004: the exact values of its section 4."""
    how_many = [8, 12, 6, 14, 8, 9, 13, 10, 10, 10]
    costs = np.repeat(np.arange(1.0, 11.0), how_many)
    expected, paid, still_there = [], Fraction(0), 100
    for count in how_many:  # each strip of runway is paid by those who need it
        paid += Fraction(1, still_there)
        still_there -= count
        expected += [float(paid)] * count
    phi = shapley_of_nearest(costs)
    np.testing.assert_allclose(phi, expected, atol=1e-12)
    np.testing.assert_allclose(phi[[0, -1]], [0.01, 0.01 + 1 / 92 + 1 / 80 + 1 / 74 + 1 / 60 + 1 / 52 + 1 / 43
                                              + 1 / 30 + 1 / 20 + 1 / 10], atol=1e-12)  # fmt: skip
    assert phi.sum() == pytest.approx(10.0, abs=1e-12)


def test_glove_game_gives_the_scarce_glove_two_thirds():
    glove = Listed(3, lambda coalition: float(2 in coalition and len(coalition) > 1))
    np.testing.assert_allclose(shapley_by_enumeration(glove), [1 / 6, 1 / 6, 2 / 3], atol=1e-12)


@given(st.lists(GAIN, min_size=1, max_size=7))
@FEW
def test_veto_value_of_the_model_equals_enumeration(gains):
    model = len(gains)

    def worth(coalition):
        return max((gains[p] for p in coalition if p != model), default=0.0) if model in coalition else 0.0

    assert veto_value_of_model(gains) == pytest.approx(
        shapley_by_enumeration(Listed(model + 1, worth))[model], abs=1e-12
    )


@pytest.mark.parametrize("look_alikes", [1, 2, 9, 1789])
def test_veto_model_takes_n_of_n_plus_1_from_look_alikes(look_alikes):
    assert veto_value_of_model(np.ones(look_alikes)) == pytest.approx(look_alikes / (look_alikes + 1))


@pytest.mark.parametrize("seed", range(4))
def test_half_to_artists_is_the_owen_value_with_the_model_as_veto_player(seed):
    """Unions {model} | {creators}: the model gets half of A(N), creators half their own Shapley value."""
    gains = [*np.random.default_rng(seed).choice([0.0, 0.2, 0.5, 0.9], 4).tolist(), 0.7]
    style = Nearest(gains, delta=0.0)
    model = len(gains)

    def worth(coalition):
        return max((gains[p] for p in coalition if p != model), default=0.0) if model in coalition else 0.0

    owen = by_orderings(model + 1, worth, unions_stay_together([0] * model + [1]))
    np.testing.assert_allclose(owen[:model], shapley_of_nearest(style.gains) / 2, atol=1e-12)
    assert owen[model] == pytest.approx(worth_of_all(style) / 2, abs=1e-12)


@pytest.mark.parametrize("w", [0.5, 0.6, 0.75, 1.0])
def test_w_between_half_and_one_is_the_owen_value_of_a_mixed_game(w):
    """u = (2-2w) veto + (2w-1) additive."""
    gains, model = [0.9, 0.4, 0.4, 0.0], 4

    def worth(coalition):
        style = max((gains[p] for p in coalition if p != model), default=0.0)
        return (2 - 2 * w) * style * (model in coalition) + (2 * w - 1) * style

    owen = by_orderings(5, worth, unions_stay_together([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(owen[:model], w * shapley_of_nearest(gains), atol=1e-12)
    assert owen[model] == pytest.approx((1 - w) * 0.9, abs=1e-12)


@given(st.lists(GAIN, min_size=0, max_size=300))
@FEW
def test_efficiency_phi_sums_to_the_worth_of_all(gains):
    assert shapley_of_nearest(gains).sum() == pytest.approx(max(gains, default=0.0), abs=1e-12)


@given(st.lists(GAIN, min_size=1, max_size=30), st.randoms())
@FEW
def test_symmetry_equal_gains_get_equal_bits_and_order_does_not_matter(gains, random):
    phi = shapley_of_nearest(gains)
    order = random.sample(range(len(gains)), len(gains))
    assert (shapley_of_nearest(np.array(gains)[order]) == phi[order]).all()
    assert len(set(zip(gains, phi.tolist(), strict=True))) == len(set(gains))


@given(st.lists(GAIN, min_size=1, max_size=12))
@FEW
def test_dummy_a_player_who_adds_nothing_gets_nothing_and_changes_nobody(gains):
    with_dummy = shapley_of_nearest([*gains, 0.0])
    assert with_dummy[-1] == 0.0
    np.testing.assert_allclose(with_dummy[:-1], shapley_of_nearest(gains), atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_linearity_over_a_sum_of_games(seed):
    left, right = random_game(6, seed), Nearest(np.random.default_rng(seed).random(6), delta=0.3)
    both = Listed(6, lambda coalition: 0.0)
    both.worth = lambda coalitions: 2.0 * left.worth(coalitions) + right.worth(coalitions)
    np.testing.assert_allclose(
        shapley_by_enumeration(both),
        2.0 * shapley_by_enumeration(left) + shapley_of_nearest(right.gains),
        atol=1e-12,
    )


@given(st.lists(GAIN, min_size=1, max_size=30), st.data())
@FEW
def test_monotonicity_a_closer_artist_never_gets_less(gains, data):
    player = data.draw(st.integers(0, len(gains) - 1))
    closer = list(gains)
    closer[player] += data.draw(st.floats(0, 1))
    assert shapley_of_nearest(closer)[player] >= shapley_of_nearest(gains)[player] - 1e-12


def test_worth_of_every_coalition_is_the_best_gain_above_the_threshold():
    game = Nearest([0.5, -0.2, 0.3], delta=0.2)
    rows = np.array(list(product([False, True], repeat=3)))
    expected = [max(0.3 * row[0], 0.1 * row[2]) for row in rows]
    np.testing.assert_allclose(game.worth(rows), expected, atol=1e-15)


def test_explained_style_is_the_fraction_of_the_worth_of_all_and_nothing_of_nothing():
    everyone = np.ones((1, 2), bool)
    assert explained(Nearest([0.4, 0.3], delta=0.2), everyone, recognised=0.7).tolist() == [0.7]
    assert explained(Nearest([0.1, 0.2], delta=0.2), everyone, recognised=1.0).tolist() == [0.0]
    with pytest.raises(GameError, match=r"\[0, 1\], not 1.5"):
        explained(Nearest([0.4, 0.3], delta=0.2), everyone, recognised=1.5)


def test_numbers_that_are_no_game_are_refused():
    with pytest.raises(GameError, match="finite"):
        Nearest([0.1, float("nan")], delta=0.0)
    with pytest.raises(GameError, match=">= 0"):
        shapley_of_nearest([-0.1])
    with pytest.raises(GameError, match=r"2\^21"):
        shapley_by_enumeration(Nearest(np.ones(21), delta=0.0))


def test_no_players_is_a_game_of_nothing():
    assert shapley_of_nearest([]).shape == (0,)
    assert worth_of_all(Nearest([], delta=0.0)) == 0.0
    assert veto_value_of_model([]) == 0.0
    assert shapley_by_enumeration(Nearest([], delta=0.0)).shape == (0,)


def test_sixteen_players_are_enumerated_and_agree():
    gains = np.random.default_rng(0).random(16)
    np.testing.assert_allclose(
        shapley_by_enumeration(Nearest(gains, delta=0.0)), shapley_of_nearest(gains), atol=1e-12
    )
