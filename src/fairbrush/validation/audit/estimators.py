"""What each creator should have got: the fast answer's totals, corrected by the audited images.

Enters: revenue and fast shares of all images, measured shares of those drawn. Leaves: ``Totals``. The one
rule: whatever the fast answer says, the estimate is right on average, and the columns sum to the revenue.

It is the survey difference estimator (Särndal, Swensson & Wretman 1992, doi:10.1007/978-1-4612-4378-6, 6.3
and 2.9), which is prediction-powered inference with lambda = 1 (Angelopoulos et al. 2023, arXiv:2301.09633).
One lambda for all, and that 1: with a lambda of each creator's own, fitted on the few draws that show them,
totals no longer sum to the revenue and intervals no longer hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.audit.sampling import checked_probabilities, checked_revenue
from fairbrush.validation.audit.shares import Shares, difference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Chosen by simulation (scripts/simulate_audit.py): of .1 to .3 and of 3 to 12, those that covered best.
SMOOTHING = 0.2  # the part of a fast share that is drawn towards what is typical
POOLED_DRAWS = 8.0  # what the pooled variance counts beside a creator's own


@dataclass(frozen=True, eq=False)
class Totals:
    """Money of each column, nobody last: all arrays float64 (columns,), in the revenue's unit.

    ``fast``: what the fast answer gives; ``estimate``: unbiased, may be negative or above the revenue;
    ``standard_error``: of the estimate; ``low``, ``high``: the interval at ``level``, cut to [0, revenue], so
    that it need not hold the estimate. ``kappa``: how wrong the fast shares are: 0 where they are all right,
    1 where a share ``s`` stands for all or nothing with chance ``s``.
    """

    fast: NDArray[np.float64]
    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    kappa: float
    level: float


def audited_totals(
    revenue: ArrayLike,
    fast: ArrayLike | Shares,
    positions: NDArray[np.intp],
    measured: ArrayLike | Shares,
    pi: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Totals:
    """``T_a = sum_t r_t fast_ta + mean over draws of (r_i / pi_i) (measured_ia - fast_ia)``.

    revenue: float (N,); fast: (N, columns), dense or ``Shares``, the last column nobody; positions: intp
    (n,), as drawn, repeats included; measured: (n, columns), a row a draw; pi: float (N,). groups: int
    (columns - 1,), the group of each creator, from 0: then the columns are groups, and nobody.
    Raises ValidationError.

    >>> pi = [0.7, 0.25, 0.05]
    >>> fast = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> measured = [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    >>> audited_totals([6.0, 2.0, 0.0], fast, np.array([0, 1]), measured, pi).estimate.round(3).tolist()
    [3.857, 4.143, 0.0]
    """
    money, chances = checked_revenue(revenue), checked_probabilities(pi)
    of_all, of_drawn = Shares.of(fast), Shares.of(measured)
    _refuse_misfits(money, of_all, positions, of_drawn, chances)
    if groups is not None:
        of_all, of_drawn = of_all.grouped(groups), of_drawn.grouped(groups)
    n, whole = len(positions), float(money.sum())
    apart = difference(of_drawn, of_all.take(positions))
    scale = money[positions] / chances[positions]
    base = of_all.totals(money)
    estimate = base + apart.totals(scale) / n
    own = _own_variance(apart, scale)
    model = model_variance(money, of_all, chances)
    kappa = _kappa(own, model, n)
    seen = _draws_seen(apart, scale)
    variance = (seen * own + POOLED_DRAWS * kappa * model) / (seen + POOLED_DRAWS)
    error = np.sqrt(variance / n)
    reach = NormalDist().inv_cdf(0.5 + level / 2.0) * error
    unknown = math.log(1.0 / (1.0 - level)) * _one_error(apart, scale, whole) / n
    high = np.where(base > 0.0, estimate + reach, np.maximum(estimate + reach, unknown))
    return Totals(
        fast=base,
        estimate=estimate,
        standard_error=error,
        low=np.clip(estimate - reach, 0.0, whole),
        high=np.clip(high, 0.0, whole),
        kappa=kappa,
        level=level,
    )


def model_variance(money: NDArray[np.float64], fast: Shares, pi: NDArray[np.float64]) -> NDArray[np.float64]:
    """``E_pi[(r/pi)^2 s~ (1 - s~)]`` of each column: float64 (columns,).

    It is the variance of one draw's ``(r/pi) (measured - fast)`` if the share s~ stood for all or nothing
    with chance s~. ``s~ = (1 - e) fast + e typical``; typical is half the column's part of all money and half
    an equal part, so that it is above 0 for a creator whom the fast answer never credits.
    """
    weights = money**2 / pi
    once, squared, whole = fast.totals(weights), fast.totals(weights, power=2), float(weights.sum())
    typical = SMOOTHING * (fast.totals(money) / money.sum() + 1.0 / fast.shape[1]) / 2.0
    keep = 1.0 - SMOOTHING
    mean = keep * once + typical * whole
    mean_square = keep**2 * squared + 2.0 * keep * typical * once + typical**2 * whole
    variance: NDArray[np.float64] = np.maximum(mean - mean_square, 0.0)
    return variance


def _own_variance(apart: Shares, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of one draw's ``(r/pi) (measured - fast)``, by column, as seen."""
    n = len(scale)
    about_zero = apart.totals(scale**2, power=2) - apart.totals(scale) ** 2 / n
    return np.maximum(about_zero, 0.0) / max(n - 1, 1)


def _draws_seen(apart: Shares, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many draws say something of a column's variance: ``(sum d^2)^2 / sum d^4``, 0 where none."""
    second, fourth = apart.totals(scale**2, power=2), apart.totals(scale**4, power=4)
    return np.divide(second**2, fourth, out=np.zeros_like(second), where=fourth > 0.0)


def _kappa(own: NDArray[np.float64], model: NDArray[np.float64], n: int) -> float:
    """Summed empirical over summed model variances, as if one draw more had found all or nothing: an audit
    that sees no error does not prove that there is none."""
    whole = float(model.sum())
    seen = float(own.sum()) / whole if whole > 0.0 else 0.0
    return (n * seen + 1.0) / (n + 1.0)


def _one_error(apart: Shares, scale: NDArray[np.float64], whole: float) -> float:
    """The money that one draw typically moves to a creator it was not given to, weighted by that money, as if
    one draw more had moved all of its own."""
    moved, squared = float(apart.totals(scale, size=True).sum()), float(apart.totals(scale**2, power=2).sum())
    return (squared + whole**2) / (moved + whole)


def _refuse_misfits(
    money: NDArray[np.float64],
    fast: Shares,
    positions: NDArray[np.intp],
    measured: Shares,
    pi: NDArray[np.float64],
) -> None:
    n_images, n = len(money), len(positions)
    if fast.shape[0] != n_images or len(pi) != n_images or measured.shape != (n, fast.shape[1]) or not n:
        raise ValidationError(
            f"{n_images} amounts, {len(pi)} probabilities, {n} draws, fast shares {fast.shape} and measured "
            f"shares {measured.shape} do not fit together.",
            next_step="Give a fast row an image, and a measured row a draw over the same columns.",
        )
    if positions.min() < 0 or positions.max() >= n_images:
        raise ValidationError(
            f"A draw's position lies outside of the {n_images} images.", next_step="Plan the audit again."
        )
