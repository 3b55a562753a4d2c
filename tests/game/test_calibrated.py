"""Games of mapped worths against the definition: every ordering of players, random maps, random unions."""

import numpy as np
import pytest
from calibrations import MAPS
from game.oracles import FEW, GAIN, by_orderings, image_and_centroids, unions_stay_together
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.game.owen import creators_of_blend, owen_of_facets, owen_of_nearest
from fairbrush.game.shapley import shapley_by_enumeration, shapley_of_blend, shapley_of_nearest
from fairbrush.game.values import Blend, Facets, Nearest, Quotient, worth_of_all
from fairbrush.style.calibration import Power

UNIONS = st.lists(st.sampled_from("abc"), min_size=5, max_size=5)


def mapped_by_definition(game, worth_map, players):
    """m(v(S)) of the game that is not calibrated, coalition by coalition."""

    def worth(coalition):
        row = np.isin(np.arange(players), list(coalition))[None]
        return float(worth_map(game.worth(row))[0])

    return worth


@given(st.lists(GAIN, min_size=1, max_size=5), MAPS, UNIONS)
@FEW
def test_nearest_is_the_definition_of_mapped_worths(gains, worth_map, unions):
    n = len(gains)
    game = Nearest(gains, delta=0.0, worth_map=worth_map)
    worth = mapped_by_definition(Nearest(gains, delta=0.0), worth_map, n)
    assert shapley_of_nearest(game.gains) == pytest.approx(by_orderings(n, worth), abs=1e-12)
    assert worth_of_all(game) == worth(range(n))
    expected = by_orderings(n, worth, unions_stay_together(unions[:n]))
    assert owen_of_nearest(game.gains, unions[:n]) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(GAIN, GAIN, GAIN, GAIN), min_size=1, max_size=3), MAPS, UNIONS)
@FEW
def test_facets_are_the_definition_with_each_facet_mapped(rows, worth_map, unions):
    weights = np.arange(1.0, len(rows) + 1)
    game = Facets(rows, delta=0.0, weights=weights, worth_map=worth_map)

    def worth(coalition):
        best = [max((row[player] for player in coalition), default=0.0) for row in rows]
        return float((weights * worth_map(np.array(best))).sum())

    expected = by_orderings(4, worth, unions_stay_together(unions[:4]))
    assert owen_of_facets(game, unions[:4]) == pytest.approx(expected, abs=1e-12)
    assert shapley_by_enumeration(game) == pytest.approx(by_orderings(4, worth), abs=1e-12)


@given(st.integers(1, 5), st.integers(0, 10**6), MAPS, UNIONS)
@FEW
def test_a_blend_is_the_definition_of_mapped_worths_and_creators_are_its_quotient(n, seed, worth_map, unions):
    x, centroids = image_and_centroids(n, seed)
    linear, gram = centroids @ x, centroids @ centroids.T
    worth = mapped_by_definition(Blend(linear, gram), worth_map, n)
    phi = shapley_of_blend(linear, gram, worth_map=worth_map)
    assert phi == pytest.approx(by_orderings(n, worth), abs=1e-10)
    assert (phi >= 0.0).all()
    own = unions[:n]
    labels = list(dict.fromkeys(own))
    of_creators = by_orderings(
        len(labels), lambda these: worth([i for i in range(n) if labels.index(own[i]) in these])
    )
    entries = creators_of_blend(linear, gram, own, worth_map=worth_map)
    sums = [sum(entries[i] for i in range(n) if own[i] == label) for label in labels]
    assert sums == pytest.approx(of_creators, abs=1e-10)
    quotient = Quotient(Blend(linear, gram, worth_map=worth_map), own)
    assert sums == pytest.approx(shapley_by_enumeration(quotient), abs=1e-12)


@given(st.integers(1, 6), st.integers(0, 10**6), UNIONS)
@FEW
def test_gamma_1_is_the_game_that_is_not_calibrated_bit_for_bit(n, seed, unions):
    x, centroids = image_and_centroids(n, seed)
    linear, gram = centroids @ x, centroids @ centroids.T
    one = Power(1.0)
    assert shapley_of_blend(linear, gram, worth_map=one).tobytes() == shapley_of_blend(linear, gram).tobytes()
    own = [*unions, "c"][:n]
    mapped, plain = creators_of_blend(linear, gram, own, worth_map=one), creators_of_blend(linear, gram, own)
    assert mapped.tobytes() == plain.tobytes()
    gains = Nearest(linear, delta=0.1, worth_map=one).gains
    assert gains.tobytes() == Nearest(linear, delta=0.1).gains.tobytes()


@given(st.integers(2, 5), st.integers(0, 10**6), MAPS)
@FEW
def test_look_alikes_share_alike_and_who_brings_nothing_gets_nothing(n, seed, worth_map):
    x, centroids = image_and_centroids(n, seed)
    linear, gram, twins = centroids @ x, centroids @ centroids.T, [*range(n), 0]
    phi = shapley_of_blend(linear[twins], gram[np.ix_(twins, twins)], worth_map=worth_map)
    assert phi[0].tobytes() == phi[-1].tobytes()
    aside = np.zeros((n + 1, centroids.shape[1] + 1))
    aside[:n, :-1], aside[n, -1] = centroids, 1.0
    with_dummy = shapley_of_blend(aside @ np.append(x, 0.0), aside @ aside.T, worth_map=worth_map)
    assert with_dummy[n] == pytest.approx(0.0, abs=1e-12)
    without = shapley_of_blend(linear, gram, worth_map=worth_map)
    assert with_dummy[:n] == pytest.approx(without, abs=1e-9)
