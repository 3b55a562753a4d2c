"""Unions: closed forms against enumeration, enumeration against orderings, and split registrations."""

import numpy as np
import pytest
from game.oracles import FEW, GAIN, by_orderings, image_and_centroids, random_game, unions_stay_together
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.owen import creators_of_blend, owen_by_enumeration, owen_of_facets, owen_of_nearest
from fairbrush.game.shapley import (
    shapley_by_enumeration,
    shapley_of_blend,
    shapley_of_facets,
    shapley_of_nearest,
)
from fairbrush.game.values import Blend, Facets, Nearest, Quotient, worth_of_all

MEMBERS = st.lists(st.tuples(GAIN, st.integers(0, 4)), min_size=1, max_size=10)


@pytest.mark.parametrize("unions", ["aabbb", "abcde", "aaaaa", "abaca", "abbbc"])
def test_enumeration_equals_the_average_over_orderings_that_keep_unions_together(unions):
    game = random_game(5, seed=7)
    expected = by_orderings(5, game.of, unions_stay_together(unions))
    np.testing.assert_allclose(owen_by_enumeration(game, unions), expected, atol=1e-12)


@given(MEMBERS)
@FEW
def test_owen_of_nearest_equals_enumeration_with_ties_and_zeros(members):
    gains, unions = zip(*members, strict=True)
    phi = owen_of_nearest(gains, unions)
    expected = owen_by_enumeration(Nearest(gains, delta=0.0), unions)
    assert np.abs(phi - expected).max() <= 1e-12
    assert phi.sum() == pytest.approx(max(gains), abs=1e-12)
    assert (phi[np.array(gains) == 0.0] == 0.0).all()


@given(st.integers(1, 9), st.integers(0, 10**6))
@FEW
def test_owen_of_facets_equals_enumeration(players, seed):
    rng = np.random.default_rng(seed)
    game = Facets(rng.choice([0.0, 0.5, *rng.random(3)], (3, players)), delta=0.1, weights=rng.random(3))
    unions = rng.integers(0, 4, players).tolist()
    assert np.abs(owen_of_facets(game, unions) - owen_by_enumeration(game, unions)).max() <= 1e-12


@given(st.lists(GAIN, max_size=30))
@FEW
def test_unions_of_one_and_one_union_of_all_are_the_shapley_value(gains):
    phi = shapley_of_nearest(gains)
    np.testing.assert_allclose(owen_of_nearest(gains, range(len(gains))), phi, atol=1e-15)
    np.testing.assert_allclose(owen_of_nearest(gains, ["ann"] * len(gains)), phi, atol=1e-12)
    facets = Facets([gains], delta=0.0, weights=[0.5])
    np.testing.assert_allclose(
        owen_of_facets(facets, range(len(gains))), shapley_of_facets(facets), atol=1e-15
    )


@given(MEMBERS)
@FEW
def test_a_union_gets_the_shapley_value_of_the_quotient_game(members):
    gains, unions = zip(*members, strict=True)
    creators = Quotient(Nearest(gains, delta=0.0), unions)
    totals = np.bincount(creators.union_of, weights=owen_of_nearest(gains, unions))
    np.testing.assert_allclose(totals, shapley_by_enumeration(creators), atol=1e-12)


@pytest.mark.parametrize("entries", [2, 5, 20])
def test_splitting_a_creators_rows_over_entries_changes_nobodys_total(entries):
    x, centroids = image_and_centroids(4, 6)
    once, split = list("abcd"), list("a" * entries + "bcd")
    which = np.array([0] * entries + [1, 2, 3])
    z, gram = centroids @ x, centroids @ centroids.T
    facets = np.stack([z, z[::-1], 2 * z])

    def totals(phi):
        return np.array([phi[:entries].sum(), *phi[entries:]])

    np.testing.assert_allclose(
        totals(owen_of_nearest(np.maximum(z, 0)[which], split)),
        owen_of_nearest(np.maximum(z, 0), once),
        atol=1e-12,
    )
    before, after = (Facets(part, delta=0.1, weights=[0.2, 0.3, 0.5]) for part in (facets, facets[:, which]))
    np.testing.assert_allclose(totals(owen_of_facets(after, split)), owen_of_facets(before, once), atol=1e-12)
    # a clone adds up to half the ridge
    np.testing.assert_allclose(
        totals(creators_of_blend(z[which], gram[np.ix_(which, which)], split)),
        creators_of_blend(z, gram, once),
        atol=1e-9,
    )


def test_without_unions_two_registrations_would_take_two_thirds():
    assert shapley_of_nearest([1.0, 1.0, 1.0])[:2].sum() == pytest.approx(2 / 3)
    assert owen_of_nearest([1.0, 1.0, 1.0], ["ann", "ann", "bob"])[:2].sum() == pytest.approx(1 / 2)


def test_equal_entries_of_one_creator_get_equal_bits():
    gains, unions = [0.7, 0.3, 0.7, 0.7, 0.31], ["ann", "bob", "ann", "ann", "cy"]
    phi = owen_of_nearest(gains, unions)
    assert phi[0] == phi[2] == phi[3]
    x, centroids = image_and_centroids(2, 0)
    which = [0, 0, 1]
    blend = creators_of_blend((centroids @ x)[which], (centroids @ centroids.T)[np.ix_(which, which)], "aab")
    assert blend[0] == blend[1]


def test_creators_with_one_identical_entry_each_get_equal_bits():
    x, centroids = image_and_centroids(4, 3)
    which = [0, 1, 2, 0, 3, 0]
    s, gram = (centroids @ x)[which], (centroids @ centroids.T)[np.ix_(which, which)]
    phi = creators_of_blend(s, gram, "abbcde")
    assert phi[0] == phi[3] == phi[5]
    assert phi.sum() == pytest.approx(worth_of_all(Blend(s, gram)), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_creators_of_a_blend_bring_all_their_entries(seed):
    x, centroids = image_and_centroids(6, seed)
    s, gram, unions = centroids @ x, centroids @ centroids.T, list("aabbbc")
    phi = creators_of_blend(s, gram, unions)

    def worth(creators):
        entries = [entry for entry in range(6) if "abc".index(unions[entry]) in creators]
        return worth_of_all(Blend(s[entries], gram[np.ix_(entries, entries)]))

    expected = by_orderings(3, worth)
    np.testing.assert_allclose([phi[:2].sum(), phi[2:5].sum(), phi[5]], expected, atol=1e-12)
    assert phi.sum() == pytest.approx(worth_of_all(Blend(s, gram)), abs=1e-12)
    np.testing.assert_allclose(creators_of_blend(s, gram, range(6)), shapley_of_blend(s, gram), atol=1e-12)


def test_numbers_that_are_no_game_are_refused():
    with pytest.raises(GameError, match="one union label each; got 1"):
        owen_of_nearest([0.5, 0.2], ["ann"])
    with pytest.raises(GameError, match=">= 0"):
        owen_of_nearest([-0.5], ["ann"])
    assert owen_of_nearest([], []).shape == (0,)
