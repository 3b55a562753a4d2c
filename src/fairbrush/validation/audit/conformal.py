"""Which fast answers may be trusted unseen, and which should be regenerated first.

Enters: a score per audited draw, higher is surer, and how much of it was mis-paid. Leaves: a ``TrustRule``.
The one rule: what is promised is promised of images drawn by revenue, on average over audits, no more.
Angelopoulos, Bates, Fisch, Lei & Schuster 2024, Conformal Risk Control, arXiv:2208.02814.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.validation.audit.sampling import HEAVIEST

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class TrustRule:
    """Trust an image whose score is above ``threshold``; ``inf`` trusts none, ``-inf`` all.

    ``target``: the mis-paid money on trusted images, as a part of all revenue, is on average at most this.
    ``risk``: the same as seen in the audit, with the correction for few draws left out; ``trusted_part``:
    of the revenue, as seen; ``mis_paid_of_trusted``: ``risk / trusted_part``, as seen, promised by nothing;
    None where nothing is trusted.
    """

    threshold: float
    target: float
    draws: int
    trusted_draws: int
    trusted_part: float
    risk: float
    mis_paid_of_trusted: float | None

    def trusts(self, score: float) -> bool:
        return score > self.threshold


def trust_threshold(scores: ArrayLike, losses: ArrayLike, weights: ArrayLike, target: float) -> TrustRule:
    """The lowest threshold at which the mean of ``loss 1(score > threshold)`` is controlled at target.

    scores, losses, weights: float (n,), of independent draws; losses in [0, 1].
    """
    surety, heavy = np.asarray(scores, np.float64), np.asarray(weights, np.float64)
    loss = np.asarray(losses, np.float64)
    n = len(surety)
    candidates = np.concatenate([[-math.inf], np.unique(surety)])
    threshold = math.inf
    for candidate in candidates[::-1]:
        if (float((heavy * loss)[surety > candidate].sum()) + HEAVIEST) / (n + 1) > target:
            break
        threshold = float(candidate)
    trusted = surety > threshold
    part = float(heavy[trusted].sum()) / n
    risk = float((heavy * loss)[trusted].sum()) / n
    return TrustRule(
        threshold, target, n, int(trusted.sum()), part, risk, risk / part if part > 0.0 else None
    )


def bound_of_one(losses: ArrayLike, weights: ArrayLike, level: float = 0.95) -> float:
    """What the mis-paid share of one more image, drawn by revenue, stays at or below, with chance level."""
    loss, heavy = np.asarray(losses, np.float64), np.asarray(weights, np.float64)
    for bound in np.unique(np.concatenate([[0.0], loss])):
        if (float(heavy[loss > bound].sum()) + HEAVIEST) / (len(loss) + 1) <= 1.0 - level:
            return float(bound)
    return 1.0
