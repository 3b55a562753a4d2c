"""The bound on mis-paid money holds at 95 %, in the cases that are hard, and is tighter than Hoeffding's."""

import doctest
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import fairbrush.validation.audit.betting as betting
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.betting import upper_bound, upper_bounds
from fairbrush.validation.audit.sampling import HEAVIEST, draw, draw_probabilities, importance_weights
from simulate_audit import LOSSES, simulated_bounds

REPETITIONS = 1_000
SLACK = 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("n", [20, 50, 200])
def test_the_bound_holds_in_95_audits_of_100_or_more(losses: str, n: int) -> None:
    rng = np.random.default_rng(n)
    found, truth = simulated_bounds(LOSSES[losses], n, REPETITIONS, rng)
    assert (found.bounds >= truth - 1e-9).mean() >= 0.95 - SLACK


def test_the_bound_holds_where_all_that_is_mis_paid_lies_on_the_images_that_are_hardly_drawn() -> None:
    rng, revenue = np.random.default_rng(0), np.array([1000.0] * 5 + [1.0] * 995)
    pi, losses = draw_probabilities(revenue), np.array([0.0] * 5 + [1.0] * 995)
    truth, covered = losses @ revenue / revenue.sum(), []
    for _ in range(300):
        at = draw(pi, 60, rng)
        covered.append(upper_bound(losses[at], importance_weights(revenue, pi, at)) >= truth)
    assert np.mean(covered) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("wholly", [0.05, 0.15, 0.5])
def test_the_bound_of_the_draws_that_were_planned_holds_whenever_one_stops(wholly: float) -> None:
    """Somebody looks after each few draws and reports the lowest bound there ever was."""
    x = (np.random.default_rng(5).random((REPETITIONS, 100)) < wholly).astype(float)
    looks = [upper_bounds(x[:, :seen], 0.95, planned=100) for seen in range(5, 101, 5)]
    lowest = np.min(looks, axis=0)
    assert (lowest >= wholly - 1e-9).mean() >= 0.95 - SLACK
    assert lowest == pytest.approx(looks[-1]), "more draws only lower it"


def test_a_mis_paid_share_of_16_percent_is_bounded_by_236_203_182_permille_at_50_100_300_draws() -> None:
    rng = np.random.default_rng(1)
    for n, expected in ((50, 0.236), (100, 0.203), (300, 0.182)):
        x = rng.beta(0.63, 3.31, (REPETITIONS, n)) / HEAVIEST  # equal revenue: every weight is 1
        assert (upper_bounds(x, 0.95) * HEAVIEST).mean() == pytest.approx(expected, abs=0.004)


def test_the_bound_is_tighter_than_hoeffdings_wherever_losses_are_not_all_or_nothing() -> None:
    for name in ("none", "0.3 each", "uniform", "mean .16, s.d. .165 (Beta .63, 3.31)"):
        found, _ = simulated_bounds(LOSSES[name], 100, 200, np.random.default_rng(2))
        hoeffding = found.seen + HEAVIEST * math.sqrt(math.log(20.0) / 200)
        assert found.bounds.mean() < hoeffding.mean() - 0.05


def test_with_no_loss_ever_seen_the_bound_is_nearly_the_exact_binomial_one() -> None:
    for n in (30, 100, 1_000):
        exact = HEAVIEST * (1.0 - 0.05 ** (1 / n))  # Clopper-Pearson of 0 in n
        assert exact <= upper_bound([0.0] * n, [1.0] * n) < 1.25 * exact


def test_more_loss_or_a_higher_level_never_lowers_the_bound() -> None:
    rng = np.random.default_rng(3)
    losses, weights = rng.random(80) * 0.5, rng.random(80)
    assert upper_bound(losses + 0.3, weights) >= upper_bound(losses, weights)
    assert upper_bound(losses, weights, 0.99) > upper_bound(losses, weights, 0.9)


def test_the_bound_is_where_the_capital_first_fails_to_reach_twenty() -> None:
    """Against the definition, bet by bet, on a grid of means."""
    x = np.random.default_rng(4).beta(1, 4, 60)

    def reaches(mean: float) -> bool:
        capital, seen, squares = 1.0, 0.5, 0.25
        for number, value in enumerate(x, start=1):
            bet = min(1.0, math.sqrt(2 * math.log(20) / (len(x) * squares / number)))
            capital *= 1 - bet * (value - mean)
            if capital >= 20:
                return True
            seen += value
            squares += (value - seen / (number + 1)) ** 2
        return False

    grid = np.linspace(0.001, 0.999, 999)
    ruled_out = [reaches(mean) for mean in grid]
    first = ruled_out.index(True)
    assert all(ruled_out[first:])
    assert grid[first - 1] <= upper_bounds(x[None, :], 0.95)[0] <= grid[first]


def test_nothing_but_wholly_mis_paid_images_bounds_nothing() -> None:
    assert upper_bound([1.0] * 40, [HEAVIEST] * 40) == 1.0


@pytest.mark.parametrize(
    ("values", "weights"),
    [([], []), ([0.1], [0.1, 0.2]), ([1.1], [1.0]), ([0.1], [1.2]), ([-0.1], [1.0]), ([float("nan")], [1.0])],
)
def test_losses_and_weights_out_of_range_are_refused(values: list[float], weights: list[float]) -> None:
    with pytest.raises(ValidationError):
        upper_bound(values, weights)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValidationError, match="between 0 and 1"):
        upper_bound([0.1], [1.0], level)


def test_examples_run() -> None:
    assert doctest.testmod(betting).failed == 0
