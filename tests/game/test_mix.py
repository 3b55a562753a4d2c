"""The game of a mix against its definition, in plain loops over vectors."""

from itertools import chain, combinations

import numpy as np
import pytest
from game.oracles import FEW, by_orderings
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.mix import Mix, shapley_of_mix, worth_of_every_mix
from fairbrush.game.shapley import worth_of_every_coalition

PLAYERS = st.integers(1, 6)
SEEDS = st.integers(0, 10**6)


def drawn(players, seed, *, dim=4):
    """A unit image and each player's weighted sum; few dimensions, so that some point away from it."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(dim)
    rows = rng.standard_normal((players, dim)) * rng.uniform(0.05, 1.0, (players, 1))
    return x / np.linalg.norm(x), rows


def best_cosine(x, rows, coalition):
    """v by the definition: every sub-coalition's sum is looked at."""
    members = sorted(coalition)
    subsets = chain.from_iterable(combinations(members, size) for size in range(1, len(members) + 1))
    best = 0.0
    for subset in subsets:
        mixed = sum(rows[player] for player in subset)
        best = max(best, float(x @ mixed) / float(np.linalg.norm(mixed)))
    return best


def game_of(x, rows, **options):
    gram = rows @ rows.T
    return Mix(rows @ x, gram, weights=np.sqrt(gram.diagonal()), **options)


@given(PLAYERS, SEEDS)
@FEW
def test_worths_are_the_definition_and_never_fall(players, seed):
    x, rows = drawn(players, seed)
    worth = worth_of_every_coalition(game_of(x, rows))
    codes = np.arange(1 << players)
    expected = [best_cosine(x, rows, [p for p in range(players) if code >> p & 1]) for code in codes]
    np.testing.assert_allclose(worth, expected, atol=1e-9)
    assert worth[0] == 0.0
    assert worth.max() <= 1.0
    for player in range(players):
        assert (worth[codes | 1 << player] >= worth).all(), "to the last bit"


@given(PLAYERS, SEEDS, st.data())
@FEW
def test_phi_is_the_average_over_orderings_of_those_who_may_be_paid(players, seed, data):
    x, rows = drawn(players, seed)
    paid = data.draw(st.integers(0, players))
    game = game_of(x, rows, paid=paid)
    phi = shapley_of_mix(game)
    np.testing.assert_allclose(phi, by_orderings(paid, lambda s: best_cosine(x, rows, s)), atol=1e-9)
    assert (phi >= 0.0).all()
    whole = best_cosine(x, rows, range(players))
    part = best_cosine(x, rows, range(paid)) / whole if whole else 0.0
    assert game.part_of_paid == pytest.approx(part, abs=1e-9)
    assert 0.0 <= game.part_of_paid <= 1.0
    assert phi.sum() == pytest.approx(part * whole, abs=1e-9)


@given(st.integers(2, 5), SEEDS)
@FEW
def test_equal_inputs_get_equal_bits(players, seed):
    x, rows = drawn(players, seed)
    rows[-1] = rows[0]
    gram = rows @ rows.T
    gram[-1] = gram[0]
    gram[:, -1] = gram[:, 0]
    gram = np.triu(gram) + np.triu(gram, 1).T
    linear = rows @ x
    linear[-1] = linear[0]
    phi = shapley_of_mix(Mix(linear, gram, weights=np.ones(players)))
    assert phi[0] == phi[-1]


@given(PLAYERS, SEEDS, st.sampled_from([1e-3, 0.5, 1024.0]))
@FEW
def test_only_the_proportions_of_the_weights_count(players, seed, scale):
    x, rows = drawn(players, seed)
    np.testing.assert_allclose(
        shapley_of_mix(game_of(x, scale * rows)), shapley_of_mix(game_of(x, rows)), atol=1e-9
    )


def test_an_input_that_the_image_does_not_show_gets_nothing():
    x = np.array([1.0, 0.0])
    assert shapley_of_mix(game_of(x, np.array([[0.5, 0.0], [-0.2, 0.5]]))).tolist() == [1.0, 0.0]


def test_inputs_that_cancel_have_no_direction():
    """Their sum is 0 but for rounding: that must not become any cosine."""
    x, axis = np.array([0.6, 0.8]), np.array([1.0, 0.0])
    gram = 0.25 * np.array([[1.0, -1.0], [-1.0, 1.0 + 1e-15]])
    worth = worth_of_every_mix(np.array([0.3, -0.3 + 1e-16]), gram, np.array([0.5, 0.5]))
    assert worth.tolist() == [0.0, 0.6, 0.0, 0.6]
    alone = Mix([1e-17], [[1e-17]], weights=[1.0])  # one creator's own two inputs
    assert (alone.part_of_paid, alone.worth(np.array([[True]]))) == (0.0, [0.0])
    assert game_of(x, np.stack([0.5 * axis, -0.5 * axis])).worth(np.array([[True, True]])) == [0.6]


def test_an_image_like_none_of_its_inputs_is_worth_nothing():
    game = game_of(np.array([1.0, 0.0]), np.array([[-1.0, 0.0], [0.0, 1.0]]))
    assert (game.part_of_paid, shapley_of_mix(game).tolist()) == (0.0, [0.0, 0.0])


@pytest.mark.parametrize(
    ("linear", "gram", "options"),
    [
        ([0.5, float("nan")], np.eye(2), {}),
        ([0.5, 0.5], np.eye(3), {}),
        ([0.5, 0.5], [[1.0, 0.5], [0.4, 1.0]], {}),
        ([0.5, 0.5], np.eye(2), {"weights": [1.0, -1.0]}),
        ([0.5, 0.5], np.eye(2), {"paid": 3}),
        (np.ones(17), np.eye(17), {}),
    ],
)
def test_what_is_no_mix_is_refused(linear, gram, options):
    with pytest.raises(GameError, match="A mix takes"):
        Mix(linear, gram, **{"weights": np.ones(len(linear))} | options)
