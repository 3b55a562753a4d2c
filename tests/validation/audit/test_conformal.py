"""Trusting by the rule mis-pays what was promised or less; what was not promised is told apart."""

import doctest
import math
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import fairbrush.validation.audit.conformal as conformal
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.conformal import bound_of_one, fewest_draws, trust_threshold
from fairbrush.validation.audit.sampling import HEAVIEST, draw_probabilities, importance_weights
from simulate_audit import SCORES, simulated_trust

REPETITIONS = 500


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(("n", "target"), [(20, 0.1), (100, 0.05), (100, 0.1), (50, 0.2)])
def test_the_realised_risk_is_at_or_below_the_target(score: str, n: int, target: float) -> None:
    found = simulated_trust(SCORES[score], n, target, REPETITIONS, np.random.default_rng(n))
    risk, _, above = found.mean(axis=0)
    slack = 3 * found.std(axis=0, ddof=1) / math.sqrt(REPETITIONS)
    assert risk <= target + slack[0]
    assert above <= target + slack[2]


def test_the_expected_risk_is_at_or_below_the_target_in_every_audit_of_three_draws_there_is() -> None:
    """No simulation: all audits of a small population, each with its chance, in exact order of draws."""
    revenue = np.array([6.0, 3.0, 1.0, 0.0])
    scores, losses = np.array([3.0, 2.0, 2.0, 1.0]), np.array([0.1, 0.6, 0.0, 1.0])
    pi, part = draw_probabilities(revenue), revenue / revenue.sum()
    for target in (0.3, 0.4, 0.5):
        risk = 0.0
        for audit in product(range(4), repeat=3):
            at = np.array(audit)
            rule = trust_threshold(scores[at], losses[at], importance_weights(revenue, pi, at), target)
            risk += pi[at].prod() * (part @ (losses * (scores > rule.threshold)))
        assert 0.0 < risk <= target


def test_the_threshold_is_the_lowest_that_keeps_the_corrected_mean() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        n = int(rng.integers(5, 60))
        scores, losses = rng.integers(4, size=n).astype(float), rng.random(n) ** 3
        weights, target = rng.random(n) * HEAVIEST, float(rng.uniform(0.05, 0.5))
        fits = [
            c
            for c in (-math.inf, 0.0, 1.0, 2.0, 3.0)
            if (weights @ (losses * (scores > c)) + HEAVIEST) / (n + 1) <= target
            and (c == -math.inf or c in scores)
            and (scores > c).any()
        ]
        assert trust_threshold(scores, losses, weights, target).threshold == min(fits, default=math.inf)


def test_too_few_draws_trust_nobody_even_without_an_error() -> None:
    for target in (0.02, 0.05, 0.1, 0.3):
        n = fewest_draws(target)
        assert trust_threshold([1.0] * n, [0.0] * n, [1.0] * n, target).threshold == -math.inf
        rule = trust_threshold([1.0] * (n - 1), [0.0] * (n - 1), [1.0] * (n - 1), target)
        assert rule.threshold == math.inf
        assert rule.bound is None
        assert rule.trusted_draws == 0
        assert rule.risk_among_trusted is None
    assert Fraction(10, 9) / (fewest_draws(0.1) + 1) <= Fraction(1, 10) < Fraction(10, 9) / fewest_draws(0.1)


def test_equal_scores_are_trusted_together_or_not_at_all() -> None:
    losses = [0.0] * 20 + [1.0] * 20
    rule = trust_threshold([1.0] * 40, losses, [1.0] * 40, 0.2)
    assert (rule.threshold, rule.trusted_draws) == (math.inf, 0)
    assert trust_threshold([1.0] * 40, losses, [1.0] * 40, 0.6).trusted_draws == 40


def test_a_rule_tells_what_it_promises_from_what_it_saw() -> None:
    rule = trust_threshold([2.0] * 50 + [1.0] * 50, [0.1] * 50 + [0.9] * 50, [1.0] * 100, 0.1)
    assert rule.threshold == 1.0
    assert rule.trusts(1.5)
    assert not rule.trusts(1.0)
    assert (rule.target, rule.draws, rule.trusted_draws) == (0.1, 100, 50)
    assert rule.trusted_part == pytest.approx(0.5)
    assert rule.risk == pytest.approx(0.05)
    assert rule.risk_among_trusted == pytest.approx(0.1)
    assert rule.bound == pytest.approx((5.0 + HEAVIEST) / 101)


def test_a_score_that_misleads_keeps_the_promise_by_trusting_little_of_which_most_is_mis_paid() -> None:
    found = simulated_trust(SCORES["misleads"], 300, 0.05, 200, np.random.default_rng(0))
    risk, trusted, _ = found.mean(axis=0)
    assert risk <= 0.05
    assert risk / trusted > 0.3


def test_the_bound_of_one_image_is_its_quantile_with_room_for_one_more() -> None:
    losses = np.arange(100) / 100
    # weights of 0.9 * (10/9) = 1 of 101: at most ten of a hundred may lie above
    assert bound_of_one(losses, np.ones(100), 0.9) == pytest.approx(0.91)
    assert bound_of_one([0.0] * 9, [1.0] * 9, 0.9) == 1.0


def test_targets_and_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValidationError, match="between 0 and 1"):
        trust_threshold([1.0], [0.1], [1.0], 0.0)
    with pytest.raises(ValidationError, match="finite score"):
        trust_threshold([math.nan], [0.1], [1.0], 0.1)
    with pytest.raises(ValidationError, match="finite score"):
        trust_threshold([1.0, 2.0], [0.1], [1.0], 0.1)
    with pytest.raises(ValidationError, match="Draw 0"):
        trust_threshold([1.0], [1.1], [1.0], 0.1)


def test_examples_run() -> None:
    assert doctest.testmod(conformal).failed == 0
