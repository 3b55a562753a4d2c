"""At most how much of the money goes to wrong hands: an upper bound, by betting against every larger mean.

Enters: losses of the audited draws in the order of drawing, and their importance weights. Leaves: a bound.
The one rule: it holds at its level for any losses in [0, 1], at every n, not only for many draws, and
whenever one stops.

Somebody who bets, draw by draw, that the mean is below m, at odds that are fair if it is m, multiplies a
capital of 1 by ``1 - nu_i (x_i - m)``. If the mean is m or more, the chance that the capital ever reaches 20
is at most 1/20 (Ville's inequality), so an m at which it did is ruled out at 95 %. How much is bet depends on
earlier draws alone. Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting,
doi:10.1093/jrsssb/qkad009, arXiv:2010.09686; one-sided with a fixed n as in Bates et al. 2021,
Distribution-free, risk-controlling prediction sets, arXiv:2101.02703.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.audit.sampling import HEAVIEST

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_HALVINGS = 40  # of [0, 1]: to 1e-12


def upper_bound(
    values: ArrayLike, weights: ArrayLike, level: float = 0.95, *, planned: int | None = None
) -> float:
    """The upper confidence bound at ``level`` on the revenue-weighted mean of ``values``.

    values: float (n,), in [0, 1], of independent draws **in the order of drawing**: sorting them by what was
    measured voids the bound; weights: float (n,), ``importance_weights``, in [0, 1/0.9]. planned: draws, of
    which these are the first n; None: n. Where it was fixed before, the bound holds whenever one stops, for
    whatever reason. Raises ValidationError.

    >>> round(upper_bound([0.0] * 100, [1.0] * 100), 3)
    0.034
    >>> round(upper_bound([0.0] * 100, [1.0] * 100, planned=400), 3)
    0.037
    """
    losses, heavy = checked_losses(values, weights)
    _refuse_level(level)
    bound = float(upper_bounds((losses * heavy / HEAVIEST)[None, :], level, planned=planned)[0])
    return min(bound * HEAVIEST, 1.0)


def upper_bounds(x: NDArray[np.float64], level: float, *, planned: int | None = None) -> NDArray[np.float64]:
    """The same of the plain means of many samples: float64 (samples,). x: float64 (samples, n), in [0, 1].

    Bets are ``nu_i = min(1, sqrt(2 log(1 / (1 - level)) / (planned variance so far)))``. Each factor rises
    with m, so the values of m that are ruled out have no gaps, and bisection finds where they begin.
    """
    samples, n = x.shape
    planned = planned or n
    assert planned >= n, "more draws than were planned"
    needed = math.log(1.0 / (1.0 - level))
    seen = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(x, axis=1)) / (seen + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2, axis=1)) / (seen + 1)
    before = np.concatenate([np.full((samples, 1), 0.25), variance[:, :-1]], axis=1)
    bets = np.minimum(1.0, np.sqrt(2.0 * needed / (planned * before)))
    kept, ruled_out = np.zeros(samples), np.ones(samples)
    for _ in range(_HALVINGS):
        middle = (kept + ruled_out) / 2.0
        capital = np.cumsum(np.log1p(-bets * (x - middle[:, None])), axis=1)
        rejects = capital.max(axis=1) >= needed
        ruled_out = np.where(rejects, middle, ruled_out)
        kept = np.where(rejects, kept, middle)
    return ruled_out


def checked_losses(values: ArrayLike, weights: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both float64 (n,). Raises ValidationError."""
    losses, heavy = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if losses.shape != heavy.shape or losses.ndim != 1 or not len(losses):
        raise ValidationError(
            f"Every draw needs a loss and a weight; got {losses.shape} and {heavy.shape}.",
            next_step="Regenerate an image at least, and give its draws.",
        )
    fits = (losses >= 0.0) & (losses <= 1.0) & (heavy >= 0.0) & (heavy <= HEAVIEST * (1.0 + 1e-9))
    if not fits.all():
        at = int(np.flatnonzero(~fits)[0])
        raise ValidationError(
            f"Draw {at}: a loss of {losses[at]} with weight {heavy[at]}; they lie in [0, 1] and [0, 1/0.9].",
            next_step="Use mis_paid(measured, fast) and importance_weights(revenue, pi, positions).",
        )
    return losses, np.minimum(heavy, HEAVIEST)


def _refuse_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValidationError(f"A level lies between 0 and 1, not {level}.", next_step="Use 0.95.")
