"""Splits from a part of the coalitions: right on average, exactly, and with honest errors."""

import doctest
from itertools import permutations

import numpy as np
import pytest
from game.oracles import FEW
from hypothesis import given
from hypothesis import strategies as st

import fairbrush.validation.budget
from fairbrush.errors import ValidationError
from fairbrush.validation.budget import (
    MOST_EXACT,
    MOST_PLANNED,
    Plan,
    least_budget,
    measured_split,
    plan_permutations,
    surrogate_of,
)
from fairbrush.validation.measured import Measurement, everyone, exact_split, owen_with_model


def random_worths(creators, seed, *, rows=1):
    worths = np.random.default_rng(seed).normal(0.1, 1, (rows, 2 << creators))
    worths[:, 0] = 0.0
    return worths


def measure(worths, plan):
    """What the plan's coalitions measure in games (n_seeds, 2^(n+1)), beside an empty prompt of 0.1."""
    return Measurement(plan.creators, plan.coalitions, worths[:, plan.coalitions].T + 0.1)


def planned(creators, draws):
    orders = np.array(draws)
    met = np.cumsum(1 << orders, axis=-1)
    return Plan(creators, np.union1d([0, 1], met), orders)


def every_order(creators):
    """Model first or last, creators in any order."""
    for order in permutations(range(1, creators + 1)):
        yield [0, *order]
        yield [*order, 0]


class Scripted:
    """Stands in for a generator: gives these orders, one after the other."""

    def __init__(self, orders):
        self.orders = list(orders)

    def permutation(self, _):
        return np.array(self.orders.pop(0), np.intp)


@pytest.mark.parametrize("creators", [1, 2, 3, 4])
@pytest.mark.parametrize("surrogate_seed", [None, 5])
def test_one_order_is_right_on_average_over_all_orders(creators, surrogate_seed):
    worths = random_worths(creators, 1)
    surrogate = None if surrogate_seed is None else random_worths(creators, surrogate_seed)[0]
    splits = [
        measured_split(measure(worths, plan), plan, surrogate=surrogate)
        for plan in (planned(creators, [[order]]) for order in every_order(creators))
    ]
    np.testing.assert_allclose(
        np.mean([s.phi for s in splits], axis=0), owen_with_model(worths)[0], atol=1e-12
    )


@pytest.mark.parametrize("creators", [1, 2, 3, 4])
def test_an_order_and_its_reverse_are_right_on_average_over_all_orders(creators):
    worths, surrogate = random_worths(creators, 2), random_worths(creators, 3)[0]
    splits = [
        measured_split(measure(worths, plan), plan, surrogate=surrogate)
        for plan in (planned(creators, [[order, order[::-1]]]) for order in every_order(creators))
    ]
    np.testing.assert_allclose(
        np.mean([s.phi for s in splits], axis=0), owen_with_model(worths)[0], atol=1e-12
    )


@pytest.mark.parametrize(("creators", "budgets"), [(2, range(6, 8)), (3, range(8, 16))])
def test_stopping_at_the_budget_favours_nobody(creators, budgets):
    """The average over everything that may be drawn: every sequence of different orders is as likely."""
    worths = random_worths(creators, 4, rows=2)
    sequences = list(permutations(permutations(range(creators))))
    for budget in budgets:
        phi = []
        for sequence in sequences:
            plan = plan_permutations(creators, budget=budget, rng=Scripted(sequence))
            phi.append(measured_split(measure(worths, plan), plan).phi)
        np.testing.assert_allclose(
            np.mean(phi, axis=0), owen_with_model(worths).mean(axis=0), atol=1e-12, err_msg=f"{budget}"
        )


@pytest.mark.parametrize("budget", [8, 20, 33])
def test_random_plans_are_right_on_average(budget):
    creators = 5
    worths, surrogate = random_worths(creators, 7), random_worths(creators, 8)[0]
    rng = np.random.default_rng(9)
    phi = []
    for _ in range(2000):
        plan = plan_permutations(creators, budget=budget, rng=rng)
        phi.append(measured_split(measure(worths, plan), plan, surrogate=surrogate).phi)
    error = np.std(phi, axis=0) / 2000**0.5
    assert (np.abs(np.mean(phi, axis=0) - owen_with_model(worths)[0]) <= 4 * error + 1e-12).all()


@given(st.integers(2, 8), st.integers(0, 300), st.integers(0, 10**6))
@FEW
def test_a_plan_keeps_to_its_budget_and_its_split_sums_to_the_whole(creators, more, seed):
    budget = least_budget(creators) + more
    plan = plan_permutations(creators, budget=budget, rng=np.random.default_rng(seed))
    assert len(plan.coalitions) <= budget
    assert {0, 1, everyone(creators)} <= set(plan.coalitions.tolist())
    worths = random_worths(creators, seed, rows=3)
    surrogate = random_worths(creators, seed + 1)[0]
    split = measured_split(measure(worths, plan), plan, surrogate=surrogate)
    assert split.phi.sum() == pytest.approx(worths[:, -1].mean(), abs=1e-9)
    if plan.orders is not None and plan.orders.shape[1] == 2:
        model = owen_with_model(worths)[:, 0]
        assert split.phi[0] == pytest.approx(model.mean(), abs=1e-9)
        different = {tuple(order) for draw in plan.orders for order in draw.tolist()}
        assert len(different) == split.orders


@pytest.mark.parametrize("budget", [7, 12])
def test_a_perfect_surrogate_needs_one_draw(budget):
    worths = random_worths(4, 11)
    plan = plan_permutations(4, budget=budget, rng=np.random.default_rng(0))
    split = measured_split(measure(worths, plan), plan, surrogate=worths[0])
    np.testing.assert_allclose(split.phi, owen_with_model(worths)[0], atol=1e-12)


def test_without_a_surrogate_it_is_plain_sampling_of_orders():
    worths = random_worths(4, 12, rows=3)
    plan = plan_permutations(4, budget=20, rng=np.random.default_rng(1))
    orders = plan.orders.reshape(-1, 5)
    expected = np.zeros(5)
    for order in orders:
        before = 0
        for player in order:
            after = before | 1 << player
            expected[player] += (worths[:, after] - worths[:, before]).mean() / len(orders)
            before = after
    split = measured_split(measure(worths, plan), plan)
    assert split.orders == len(orders) > 2
    np.testing.assert_allclose(split.phi, expected, atol=1e-12)


@pytest.mark.parametrize(("creators", "budget"), [(0, 2), (1, 4), (3, 16), (3, 99), (10, None), (11, 4096)])
def test_a_budget_for_all_coalitions_gives_the_exact_split(creators, budget):
    plan = plan_permutations(creators, budget=budget, rng=np.random.default_rng(0))
    assert plan.orders is None
    worths = random_worths(creators, 13, rows=2)
    split, expected = measured_split(measure(worths, plan), plan), exact_split(measure(worths, plan))
    np.testing.assert_array_equal(split.phi, expected.phi)
    np.testing.assert_array_equal(split.phi_error, expected.phi_error)
    assert split.orders is None


def test_one_draw_or_one_seed_tells_no_standard_error():
    worths = random_worths(4, 14, rows=2)
    for budget in (7, 10, 15):
        plan = plan_permutations(4, budget=budget, rng=np.random.default_rng(0))
        split = measured_split(measure(worths, plan), plan)
        assert len(plan.orders) == 1
        assert split.phi_error is None
        assert split.share_error is None
    plan = plan_permutations(4, budget=16, rng=np.random.default_rng(0))
    assert len(plan.orders) > 1
    assert measured_split(measure(worths[:1], plan), plan).phi_error is None
    assert measured_split(measure(worths, plan), plan).phi_error is not None


@pytest.mark.parametrize(
    ("creators", "budget", "noise", "most"),
    [(3, 12, 0.0, 1.4), (4, 16, 0.0, 1.3), (6, 60, 0.0, 1.2), (6, 60, 0.5, 1.2)],
)
def test_errors_are_what_other_orders_and_seeds_would_have_given(creators, budget, noise, most):
    """Never much less; more where few orders are left to draw, as if these were endless."""
    rng = np.random.default_rng(15)
    codes, seeds = np.arange(2 << creators), 8
    together = (codes[:, None] >> np.arange(creators + 1) & 1).sum(axis=1)
    worths = 0.3 * random_worths(creators, 16) + together
    splits = []
    for _ in range(600):
        plan = plan_permutations(creators, budget=budget, rng=rng)
        by_seed = worths + rng.normal(0, noise, (seeds, len(codes)))
        splits.append(measured_split(measure(by_seed, plan), plan))
    for true, told in [
        (np.var([s.phi for s in splits], axis=0), np.mean([s.phi_error**2 for s in splits], axis=0)),
        (np.var([s.shares for s in splits], axis=0), np.mean([s.share_error**2 for s in splits], axis=0)),
    ]:
        ratio = np.sqrt(told[true > 1e-20] / true[true > 1e-20])
        assert (ratio >= 0.9).all()
        assert (ratio <= most).all()


def test_the_surrogate_gives_the_model_nothing_and_scales_the_creators():
    style = np.array([0.0, 0.6, 0.5, 1.0])
    surrogate = surrogate_of(style, scale=0.5)
    codes = np.arange(8)
    np.testing.assert_array_equal(surrogate, 0.5 * style[codes >> 1])
    np.testing.assert_allclose(owen_with_model(surrogate[None])[0], [0.0, 0.275, 0.225], atol=1e-12)


@pytest.mark.parametrize(("creators", "least"), [(0, 2), (1, 4), (2, 5), (4, 7), (12, 15)])
def test_a_budget_without_one_order_is_refused_and_names_the_least(creators, least):
    rng = np.random.default_rng(0)
    with pytest.raises(ValidationError, match=f"--budget of {least} or more"):
        plan_permutations(creators, budget=least - 1, rng=rng)
    assert len(plan_permutations(creators, budget=least, rng=rng).coalitions) <= least


def test_too_many_creators_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValidationError, match="have 4096 coalitions"):
        plan_permutations(MOST_EXACT + 1, budget=None, rng=rng)
    with pytest.raises(ValidationError, match="17 creators are too many"):
        plan_permutations(MOST_PLANNED + 1, budget=1000, rng=rng)


@pytest.mark.parametrize("surrogate", [np.zeros(8), np.ones(16), np.full(16, np.nan)])
def test_a_surrogate_that_is_no_game_is_refused(surrogate):
    plan = plan_permutations(3, budget=8, rng=np.random.default_rng(0))
    with pytest.raises(ValidationError, match="16 finite worths"):
        measured_split(measure(random_worths(3, 0), plan), plan, surrogate=surrogate)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(fairbrush.validation.budget).failed == 0
