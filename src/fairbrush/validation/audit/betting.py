"""At most how much of the money goes to wrong hands: an upper bound by betting against it.

Enters: losses of the audited draws, their importance weights. Leaves: a bound. The one rule: it holds at its
level for every distribution of losses and every n, not only for many draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.audit.sampling import HEAVIEST

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BETS = 100  # fractions of the capital, all at once


def upper_bound(values: ArrayLike, weights: ArrayLike, level: float = 0.95) -> float:
    """The level's upper confidence bound on the revenue-weighted mean of ``values``.

    values: float (n,), in [0, 1], of independent draws; weights: float (n,), ``importance_weights``, in
    [0, 1/0.9]. Waudby-Smith & Ramdas 2024, arXiv:2010.09686. Raises ValidationError.

    >>> round(upper_bound([0.0] * 100, [1.0] * 100), 3)
    0.049
    """
    losses, heavy = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if losses.shape != heavy.shape or losses.ndim != 1 or not len(losses):
        raise ValidationError("One weight a value, and at least one.", next_step="Give the audited draws.")
    if (
        not ((losses >= 0.0) & (losses <= 1.0)).all()
        or not ((heavy >= 0.0) & (heavy <= HEAVIEST + 1e-9)).all()
    ):
        raise ValidationError(
            f"Values must lie in [0, 1] and weights in [0, {HEAVIEST:.4f}].",
            next_step="Use importance_weights(revenue, pi, positions).",
        )
    saved = 1.0 - np.minimum(losses * heavy / HEAVIEST, 1.0)  # independent, mean 1 - 0.9 mean loss
    return min(bound_of_mean(saved, level) * HEAVIEST, 1.0)


def bound_of_mean(saved: NDArray[np.float64], level: float) -> float:
    """1 less a lower confidence bound on the mean of ``saved``, float64 (n,), in [0, 1]."""
    fractions = (np.arange(BETS) + 0.5) / BETS
    needed = np.log(1.0 / (1.0 - level))

    def log_capital(mean: float) -> float:
        of_bets = np.log1p(fractions[:, None] * (saved[None, :] / mean - 1.0)).sum(axis=1)
        top = of_bets.max()
        return float(top + np.log(np.exp(of_bets - top).mean()))

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if middle > 0.0 and log_capital(middle) < needed:
            high = middle
        else:
            low = middle
    return 1.0 - low
