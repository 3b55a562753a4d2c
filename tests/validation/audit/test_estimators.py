"""Totals are right on average and sum to the revenue; their intervals hold in worlds whose truth is known."""

import doctest
import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import fairbrush.validation.audit.estimators as estimators
import simulate_audit
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.estimators import SMOOTHING, audited_totals, model_variance
from fairbrush.validation.audit.sampling import draw, draw_probabilities
from fairbrush.validation.audit.shares import Shares
from simulate_audit import OWN, Fast, Tally, World, audits, world

SMALL, MIDDLE, LARGE = 2, 3, 4  # columns of a Tally


def tiny(seed: int = 0) -> World:
    return world(Fast.NOISE, np.random.default_rng(seed), images=30, creators=5)


def dense(sparse: Shares) -> np.ndarray:
    found = np.zeros(sparse.shape)
    found[sparse.rows, sparse.columns] = sparse.parts
    return found


@pytest.mark.parametrize("kind", Fast)
def test_the_estimate_is_exactly_unbiased_for_any_fast_answer(kind: Fast) -> None:
    of = world(kind, np.random.default_rng(4), images=40, creators=6)
    pi, mean = draw_probabilities(of.revenue), np.zeros(7)
    for at in range(40):  # every audit of one draw, by its chance
        one = np.array([at])
        mean += pi[at] * audited_totals(of.revenue, of.fast, one, of.truth.take(one), pi).estimate
    np.testing.assert_allclose(mean, of.truth.totals(of.revenue), atol=1e-9 * of.revenue.sum())


@pytest.mark.parametrize("n", [1, 7, 300])
def test_columns_sum_to_the_revenue_at_every_draw(n: int) -> None:
    of = world(Fast.MISSING, np.random.default_rng(n), images=200, creators=50, heavy=True)
    pi = draw_probabilities(of.revenue)
    at = draw(pi, n, np.random.default_rng(1))
    found = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi)
    assert found.estimate.sum() == pytest.approx(of.revenue.sum(), rel=1e-12)
    assert found.fast.sum() == pytest.approx(of.revenue.sum(), rel=1e-12)


def test_an_audit_that_sees_no_error_keeps_the_fast_totals_and_is_not_certain() -> None:
    of = tiny()
    pi = draw_probabilities(of.revenue)
    at = draw(pi, 50, np.random.default_rng(0))
    found = audited_totals(of.revenue, of.fast, at, of.fast.take(at), pi)
    np.testing.assert_allclose(found.estimate, of.fast.totals(of.revenue), rtol=1e-12)
    assert found.kappa == pytest.approx(1 / 51)
    assert (found.standard_error > 0.0).all()


def test_the_model_variance_is_that_of_the_dense_formula() -> None:
    of = tiny(1)
    money, pi = of.revenue, draw_probabilities(of.revenue)
    fast = dense(of.fast)
    typical = 0.5 * money @ fast / money.sum() + 0.5 / fast.shape[1]
    smooth = (1 - SMOOTHING) * fast + SMOOTHING * typical
    expected = (money**2 / pi) @ (smooth * (1 - smooth))
    np.testing.assert_allclose(model_variance(money, of.fast, pi), expected, rtol=1e-10)


def test_where_a_creator_is_seen_often_the_variance_is_the_textbook_one() -> None:
    of = world(Fast.NOISE, np.random.default_rng(2), images=300, creators=3)
    pi = draw_probabilities(of.revenue)
    at = draw(pi, 3_000, np.random.default_rng(2))
    found = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi)
    scaled = (of.revenue / pi)[at, None] * (dense(of.truth) - dense(of.fast))[at]
    textbook = scaled.std(axis=0, ddof=1) / math.sqrt(3_000)
    np.testing.assert_allclose(found.standard_error, textbook, rtol=0.02)


def test_a_group_is_estimated_as_the_sum_of_its_creators() -> None:
    of = tiny(3)
    pi = draw_probabilities(of.revenue)
    at = draw(pi, 20, np.random.default_rng(3))
    alone = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi).estimate
    found = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi, groups=[1, 0, 1, 1, 0])
    expected = [alone[[1, 4]].sum(), alone[[0, 2, 3]].sum(), alone[5]]
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-9)


def test_dense_and_sparse_shares_give_the_same_totals() -> None:
    of = tiny(4)
    pi = draw_probabilities(of.revenue)
    at = draw(pi, 20, np.random.default_rng(3))
    sparse = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi)
    full = audited_totals(of.revenue, dense(of.fast), at, dense(of.truth)[at], pi)
    np.testing.assert_array_equal(sparse.low, full.low)
    np.testing.assert_array_equal(sparse.estimate, full.estimate)


def test_intervals_stay_between_nothing_and_the_revenue_where_estimates_do_not() -> None:
    pi = draw_probabilities([1.0] * 100)
    fast = np.tile([1.0, 0.0, 0.0], (100, 1))
    measured = np.array([[0.0, 1.0, 0.0]] * 3)
    fast[50:] = [0.0, 1.0, 0.0]
    found = audited_totals([1.0] * 100, fast, np.array([0, 1, 2]), measured, pi)
    assert found.estimate.tolist() == [-50.0, 150.0, 0.0]
    assert found.low.min() == 0.0
    assert found.high.max() == 100.0


def test_who_is_never_credited_nor_seen_may_still_have_the_money_of_three_draws() -> None:
    of = tiny(5)
    pi, n = draw_probabilities([1.0] * 30), 100
    fast = np.column_stack([np.zeros(30), dense(of.fast)])
    at = draw(pi, n, np.random.default_rng(0))
    found = audited_totals([1.0] * 30, fast, at, fast[at], pi)
    assert found.fast[0] == 0.0
    assert found.high[0] == pytest.approx(30.0 * math.log(20.0) / n)


@pytest.fixture(scope="module")
def tally() -> Tally:
    """30 audits a world: 7 kinds of fast answer, 20 to 1,789 creators, two tails, 50, 100 and 400 draws."""
    rng, found = np.random.default_rng(5), Tally()
    worlds = itertools.product(Fast, simulate_audit.CREATORS)
    for place, (kind, creators) in enumerate(worlds):
        of = world(kind, rng, images=1_500, creators=creators, heavy=place % 2 == 1)
        for n in (50, 100, 400):
            seen = audits(of, n, 30, rng)
            found.add(seen, ["all", kind, f"{n} draws"])
            found.add(seen, [OWN], rival=OWN)
    return found


@pytest.mark.parametrize("rows", ["all", "50 draws", "100 draws", "400 draws", *map(str, Fast)])
def test_95_percent_covers_93_to_97_for_large_middle_and_small_creators(tally: Tally, rows: str) -> None:
    slack = 0.0 if rows == "all" else 0.015  # of 90 to 630 audits, whose creators err together
    for column in (SMALL, MIDDLE, LARGE):
        rate = tally.rate(rows, column)
        assert rate is not None
        assert 0.93 - slack <= rate <= 0.97 + slack, (rows, simulate_audit.BY_EXPECTED[column], rate)


def test_who_is_hardly_ever_drawn_is_covered_more_often_never_less(tally: Tally) -> None:
    for kind in Fast:
        for column in (0, 1):
            rate = tally.rate(kind, column)
            assert rate is not None
            assert rate >= 0.945  # 90 audits


def test_a_creators_own_variance_alone_would_not_do(tally: Tally) -> None:
    small, large = tally.rate(OWN, SMALL), tally.rate(OWN, LARGE)
    assert small is not None
    assert large is not None
    assert small < 0.65
    assert large < 0.9


def test_groups_of_creators_are_covered_as_creators_are() -> None:
    rng, held = np.random.default_rng(6), []
    for kind in Fast:
        of = world(kind, rng, images=1_000, creators=200)
        for n in (50, 200):
            held.append(audits(of, n, 40, rng, groups=rng.integers(4, size=200)).covered)
    assert 0.93 <= np.mean(held) <= 0.97


def test_what_does_not_fit_together_is_refused() -> None:
    pi, fast = [0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(ValidationError, match="do not fit"):
        audited_totals([1.0, 1.0], fast, np.array([0, 1]), fast[:1], pi)
    with pytest.raises(ValidationError, match="do not fit"):
        audited_totals([1.0, 1.0], fast, np.array([], np.intp), np.empty((0, 2)), pi)
    with pytest.raises(ValidationError, match="outside of the 2 images"):
        audited_totals([1.0, 1.0], fast, np.array([2]), fast[:1], pi)


def test_examples_run() -> None:
    assert doctest.testmod(estimators).failed == 0
