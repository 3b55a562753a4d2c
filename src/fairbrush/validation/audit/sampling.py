"""Which images an audit regenerates: drawn mostly by revenue, a little by chance.

Enters: the revenue of each image of a period, a seeded rng. Leaves: probabilities, positions, weights. The
one rule: every image can be drawn and each one's probability is known, so what was drawn speaks for all.

A draw takes image t with probability ``pi_t = 0.9 r_t / R + 0.1 / N``, with replacement. By revenue, because
that is where the money is (Hansen & Hurwitz 1943, doi:10.1214/aoms/1177731356); a little by chance, so that
images of small revenue are looked at too. No draw then weighs more than ``(r_t / R) / pi_t <= 1 / 0.9``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REVENUE_PART = 0.9
HEAVIEST = 1.0 / REVENUE_PART  # no draw weighs more


def draw_probabilities(revenue: ArrayLike) -> NDArray[np.float64]:
    """``0.9 r_t / R + 0.1 / N``. revenue: float (N,), none negative; leaves float64 (N,), sum 1.

    Raises ValidationError where there is no revenue to audit.

    >>> draw_probabilities([6.0, 2.0, 0.0, 0.0]).round(12).tolist()
    [0.7, 0.25, 0.025, 0.025]
    """
    money = checked_revenue(revenue)
    pi: NDArray[np.float64] = REVENUE_PART * money / money.sum() + (1.0 - REVENUE_PART) / len(money)
    return pi


def draw(pi: ArrayLike, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of n draws with replacement: intp (n,). pi: float (N,), sum 1.

    The same seed with a larger n begins with the same draws, so an audit can be extended: an image at
    position t is drawn where a uniform number falls into its part of the running sum of pi.
    Raises ValidationError.

    >>> draw([0.7, 0.25, 0.025, 0.025], 5, np.random.default_rng(1)).tolist()
    [0, 2, 0, 1, 0]
    """
    chances = checked_probabilities(pi)
    if n < 1:
        raise ValidationError(f"An audit draws at least one image, not {n}.", next_step="Raise --budget.")
    ends = np.cumsum(chances)
    return np.minimum(np.searchsorted(ends, rng.random(n), side="right"), len(chances) - 1)


def importance_weights(revenue: ArrayLike, pi: ArrayLike, positions: NDArray[np.intp]) -> NDArray[np.float64]:
    """``(r_i / R) / pi_i`` of each draw: float64 (n,), from 0 to 1 / 0.9, 1 on average over draws.

    >>> pi = [0.7, 0.25, 0.025, 0.025]
    >>> importance_weights([6.0, 2.0, 0.0, 0.0], pi, np.array([0, 3])).round(6).tolist()
    [1.071429, 0.0]
    """
    money, chances = checked_revenue(revenue), checked_probabilities(pi)
    weights: NDArray[np.float64] = money[positions] / money.sum() / chances[positions]
    return weights


def effective_draws(weights: NDArray[np.float64]) -> float:
    """How many equal draws these are worth: ``(sum w)^2 / sum w^2`` (Kish 1965, Survey Sampling, 11.7).

    >>> effective_draws(np.array([1.0, 1.0, 0.0, 0.0]))
    2.0
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def checked_revenue(revenue: ArrayLike) -> NDArray[np.float64]:
    """float64 (N,). Raises ValidationError."""
    money = np.asarray(revenue, np.float64)
    if money.ndim != 1 or not np.isfinite(money).all() or (money < 0.0).any():
        raise ValidationError(
            "Revenue must be a row of amounts, none of them negative.",
            next_step="Audit refunds with the sales they undo, image by image.",
        )
    if not money.sum() > 0.0:
        raise ValidationError(
            f"None of the {len(money)} images earned anything, so there is nothing to audit.",
            next_step="Choose a period and a currency with revenue.",
        )
    return money


def checked_probabilities(pi: ArrayLike) -> NDArray[np.float64]:
    """float64 (N,). Raises ValidationError."""
    chances = np.asarray(pi, np.float64)
    if chances.ndim != 1 or not (chances > 0.0).all() or abs(chances.sum() - 1.0) > 1e-6:
        raise ValidationError(
            "Probabilities of drawing must be above 0 and sum to 1.",
            next_step="Use draw_probabilities(revenue).",
        )
    return chances
