"""Draws by revenue: every image can come, as often as it should, and the same seed draws the same."""

import doctest

import numpy as np
import pytest

import fairbrush.validation.audit.sampling as sampling
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.sampling import (
    HEAVIEST,
    draw,
    draw_probabilities,
    effective_draws,
    importance_weights,
)

REVENUE = np.array([50.0, 0.0, 30.0, 20.0])


def test_nine_tenths_of_a_chance_go_by_revenue_and_the_rest_alike() -> None:
    np.testing.assert_allclose(draw_probabilities(REVENUE), [0.475, 0.025, 0.295, 0.205], rtol=1e-12)


def test_images_come_as_often_as_their_probability_says() -> None:
    pi = draw_probabilities(REVENUE)
    counts = np.bincount(draw(pi, 40_000, np.random.default_rng(3)), minlength=4)
    errors = (counts / 40_000 - pi) / np.sqrt(pi * (1 - pi) / 40_000)
    assert np.abs(errors).max() < 3.5


def test_a_larger_audit_begins_with_the_draws_of_a_smaller_one() -> None:
    pi = draw_probabilities(np.random.default_rng(0).lognormal(size=500))
    smaller, larger = (draw(pi, n, np.random.default_rng(5)) for n in (40, 90))
    np.testing.assert_array_equal(larger[:40], smaller)


def test_weights_turn_means_over_draws_into_means_over_revenue() -> None:
    pi, values = draw_probabilities(REVENUE), np.array([0.1, 0.9, 0.3, 0.7])
    weights = importance_weights(REVENUE, pi, np.arange(4))
    assert pi @ weights == pytest.approx(1.0, abs=1e-12)
    assert pi @ (weights * values) == pytest.approx(REVENUE @ values / 100.0, abs=1e-12)


def test_no_draw_weighs_more_than_ten_ninths_however_heavy_the_tail() -> None:
    revenue = np.random.default_rng(1).pareto(0.3, 1_000)
    pi = draw_probabilities(revenue)
    weights = importance_weights(revenue, pi, np.arange(1_000))
    assert 1.0 < weights.max() <= HEAVIEST
    assert weights.min() >= 0.0


def test_equal_draws_count_in_full_and_an_unequal_one_less() -> None:
    assert effective_draws(np.full(7, 0.8)) == pytest.approx(7.0)
    assert effective_draws(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_draws(np.zeros(3)) == 0.0


@pytest.mark.parametrize("revenue", [[0.0, 0.0], [], [1.0, -1.0], [1.0, np.nan], [np.inf]])
def test_revenue_that_nothing_can_be_drawn_by_is_refused(revenue: list[float]) -> None:
    with pytest.raises(ValidationError):
        draw_probabilities(revenue)


@pytest.mark.parametrize("pi", [[0.5, 0.4], [1.0, 0.0], [[1.0]]])
def test_probabilities_that_leave_an_image_out_or_do_not_sum_are_refused(pi: list[float]) -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        draw(pi, 3, np.random.default_rng(0))


def test_an_audit_of_no_draws_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one image"):
        draw([1.0], 0, np.random.default_rng(0))


def test_examples_run() -> None:
    assert doctest.testmod(sampling).failed == 0
