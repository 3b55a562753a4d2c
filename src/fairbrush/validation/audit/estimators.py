"""What each creator should have got: the fast answer's totals, corrected by the audited images.

Enters: revenue and fast shares of all images, measured shares of those drawn. Leaves: ``Totals``. The one
rule: whatever the fast answer says, the estimate is right on average, and the columns sum to the revenue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.validation.audit.sampling import checked_revenue
from fairbrush.validation.audit.shares import Shares, difference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SMOOTHING = 0.1


@dataclass(frozen=True, eq=False)
class Totals:
    """Money of each column, creators first and nobody last: all float64 (columns,), in the revenue's unit.

    ``fast``: what the fast answer gives; ``estimate``: unbiased, may be negative or above the revenue;
    ``standard_error``: of the estimate; ``low``, ``high``: the interval at ``level``, cut to [0, revenue].
    ``kappa``: how large the fast answer's errors are, 0 to about 1: 1 where each share ``s`` stands for all
    or nothing with chance ``s``.
    """

    fast: NDArray[np.float64]
    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    kappa: float
    level: float


@dataclass(frozen=True)
class Precision:
    """What n draws buy: the expected half-width of the intervals, as parts of the revenue."""

    band: str
    creators: int
    fast: float
    half_width: float


def audited_totals(
    revenue: ArrayLike,
    fast: ArrayLike | Shares,
    positions: NDArray[np.intp],
    measured: ArrayLike | Shares,
    pi: ArrayLike,
    *,
    groups: NDArray[np.intp] | None = None,
    level: float = 0.95,
) -> Totals:
    """The survey difference estimator of each column's money.

    revenue: float (N,); fast: (N, columns), dense or ``Shares``; positions: intp (n,), as drawn; measured:
    (n, columns), a row each draw; pi: float (N,); groups: intp (columns,): totals of groups instead.
    """
    money, chances = checked_revenue(revenue), np.asarray(pi, np.float64)
    of_all, of_drawn = Shares.of(fast), Shares.of(measured)
    if groups is not None:
        n_groups = int(groups.max()) + 1
        of_all, of_drawn = of_all.merged(groups, n_groups), of_drawn.merged(groups, n_groups)
    n, whole = len(positions), float(money.sum())
    apart = difference(of_drawn, of_all.take(positions))
    scale = money[positions] / chances[positions]
    correction = apart.totals(scale) / n
    empirical = (apart.totals(scale**2, power=2) / n - correction**2) * (n / max(n - 1, 1))
    model = model_variance(money, of_all, chances)
    kappa = float(empirical.sum() / model.sum()) if model.sum() > 0.0 else 0.0
    error = np.sqrt(np.maximum(kappa * model, empirical * 0.0) / n)
    base = of_all.totals(money)
    estimate = base + correction
    z = _normal_quantile(level)
    return Totals(
        fast=base,
        estimate=estimate,
        standard_error=error,
        low=np.clip(estimate - z * error, 0.0, whole),
        high=np.clip(estimate + z * error, 0.0, whole),
        kappa=kappa,
        level=level,
    )


def model_variance(
    money: NDArray[np.float64], fast: Shares, pi: NDArray[np.float64], *, smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """``E_pi[(r/pi)^2 s~(1 - s~)]``, s~ the fast share drawn a little towards the population's."""
    c = money**2 / pi
    once, squared, all_c = fast.totals(c), fast.totals(c, power=2), float(c.sum())
    typical = fast.totals(money) / money.sum()
    typical = (typical + 1.0 / len(typical)) / 2.0
    e, keep = smoothing, 1.0 - smoothing
    variance: NDArray[np.float64] = (
        keep * once
        + e * typical * all_c
        - keep**2 * squared
        - 2 * e * keep * typical * once
        - (e * typical) ** 2 * all_c
    )
    return variance


def plan_precision(
    revenue: ArrayLike, fast: ArrayLike | Shares, n: int, *, kappa: float = 1.0, level: float = 0.95
) -> tuple[Precision, ...]:
    """The expected half-width for large, middle and small creators, and nobody, at n draws."""
    raise NotImplementedError


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + level / 2.0)
