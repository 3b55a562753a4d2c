"""From phi to money: exact integers, the zero and negative rules, and the truncation bound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.errors import GameError
from fairbrush.game.selection import survivors
from fairbrush.game.shapley import shapley_of_blend
from fairbrush.game.shares import E12, blend_certificate, largest_remainder, split

HALF, ONE = Fraction(1, 2), Fraction(1)
PHI = st.just(0.0) | st.floats(-1, 1) | st.floats(0, 1e-300) | st.floats(0, 1e300)
UNIT = st.fractions(0, 1, max_denominator=10**6)


def share(phi, *, explained=1.0, content=HALF, to_artists=ONE):
    ids = [f"artist-{index:05d}" for index in range(len(phi))]
    return split(phi, ids=ids, explained=explained, content=content, to_artists=to_artists)


@given(st.lists(PHI, max_size=40), st.floats(0, 1), UNIT, UNIT)
@settings(max_examples=300, deadline=None)
def test_integers_sum_to_a_bill_exactly_and_floats_to_one(phi, explained, content, to_artists):
    answer = share(phi, explained=explained, content=content, to_artists=to_artists)
    integers = [answer.model_e12, answer.unattributed_e12, *answer.artists_e12]
    floats = [answer.model, answer.unattributed, *answer.artists]
    assert sum(integers) == E12
    assert abs(sum(floats) - 1) <= 1e-12
    assert min(integers) >= 0
    assert max(abs(i - f * E12) for i, f in zip(integers, floats, strict=True)) <= 1.001
    for value, paid in zip(phi, answer.artists_e12, strict=True):
        assert value > 0 or paid == 0


def test_2000_artists_of_all_sizes_sum_exactly():
    rng = np.random.default_rng(3)
    phi = rng.random(2000) * 10.0 ** rng.integers(-320, 1, 2000)
    answer = share(phi, explained=0.3, content=Fraction(1, 3), to_artists=Fraction(2, 3))
    assert answer.model_e12 + answer.unattributed_e12 + sum(answer.artists_e12) == E12
    assert abs(answer.model + answer.unattributed + sum(answer.artists) - 1) <= 1e-12


def test_model_artists_and_unattributed_follow_the_policy():
    """b = 0.4, w = 0.75, A = 0.5: model .4 + .25*.6*.5, artists .75*.6*.5, rest .6*.5."""
    answer = share([3.0, 1.0], explained=0.5, content=Fraction(2, 5), to_artists=Fraction(3, 4))
    assert (answer.model_e12, answer.unattributed_e12) == (475_000_000_000, 300_000_000_000)
    assert answer.artists_e12 == (168_750_000_000, 56_250_000_000)


def test_nobody_near_leaves_all_style_unattributed():
    for phi in ([], [0.0, 0.0], [-1.0]):
        answer = share(phi, explained=1.0)
        assert (answer.model, answer.unattributed, sum(answer.artists)) == (0.5, 0.5, 0)


def test_negative_phi_is_paid_nothing_and_the_rest_fills_what_is_explained():
    answer = share([0.6, -0.2, 0.2])
    assert answer.artists_e12 == (375_000_000_000, 0, 125_000_000_000)


def test_equal_artists_get_equal_floats_and_the_last_unit_goes_by_id():
    answer = share([1.0, 1.0, 1.0])
    assert len(set(answer.artists)) == 1
    assert answer.artists_e12 == (166_666_666_667, 166_666_666_667, 166_666_666_666)


def test_ties_go_by_id_whatever_the_order():
    forward = split([1.0] * 3, ids=["a", "b", "c"], explained=1.0, content=HALF, to_artists=ONE)
    backward = split([1.0] * 3, ids=["c", "b", "a"], explained=1.0, content=HALF, to_artists=ONE)
    assert forward.artists_e12 == backward.artists_e12[::-1]


@given(st.lists(st.integers(0, 10**30), min_size=1, max_size=50).filter(any), st.integers(1, 10**15))
def test_largest_remainder_shares_every_unit_and_stays_within_one(quotas, units):
    parts = largest_remainder(quotas, keys=[(0, str(i)) for i in range(len(quotas))], units=units)
    assert sum(parts) == units
    for quota, part in zip(quotas, parts, strict=True):
        assert abs(part - Fraction(quota * units, sum(quotas))) < 1


@given(st.integers(3, 8), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_dropping_survivors_of_a_blend_overpays_a_kept_one_by_at_most_the_bound(players, most, seed):
    rng = np.random.default_rng(seed)
    centroids = np.abs(rng.standard_normal((players, 12)))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    x = rng.dirichlet(np.full(players, 0.5)) @ centroids
    s, gram = centroids @ x / np.linalg.norm(x), centroids @ centroids.T
    full, kept = survivors(s, gram, most=players), survivors(s, gram, most=most)
    certificate = blend_certificate(kept, artists_part=0.5)
    assert certificate.exact == (len(full.indices) <= most)

    def shares_of(chosen):
        phi = np.zeros(players)
        members = chosen.indices
        phi[members] = shapley_of_blend(s[members], gram[np.ix_(members, members)])
        return phi / phi.sum() * 0.5

    over = (shares_of(kept) - shares_of(full))[kept.indices]
    assert over.max() <= certificate.bound + 1e-12
    assert certificate.bound <= 0.5


def test_a_blend_that_keeps_every_survivor_is_exact_and_one_that_points_apart_is_not_bounded():
    everybody = blend_certificate(survivors([0.5, 0.2], np.eye(2)), artists_part=0.5)
    assert (everybody.kind, everybody.exact, everybody.bound) == ("blend, 2^m coalitions", True, 0.0)
    part = blend_certificate(survivors([0.5, 0.2], np.eye(2), most=1), artists_part=0.5)
    assert part.kind == "blend, 2^m coalitions, truncated"
    whole = 0.29**0.5
    assert part.bound == pytest.approx((0.2 + whole - 0.5) / whole * 0.5)
    apart = blend_certificate(survivors([0.5, 0.2], [[1, -0.1], [-0.1, 1]], most=1), artists_part=0.5)
    assert (apart.exact, apart.bound) == (False, 0.5)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(GameError, match="finite"):
        share([float("inf")])
    with pytest.raises(GameError, match="explained must lie"):
        share([1.0], explained=1.2)
    with pytest.raises(GameError, match="different id"):
        split([1.0, 1.0], ids=["a", "a"], explained=1.0, content=HALF, to_artists=ONE)
