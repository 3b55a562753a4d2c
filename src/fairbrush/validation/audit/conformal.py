"""Which fast answers may be trusted unseen, and which should be regenerated first.

Enters: a score of each audited draw, higher is surer, and how much of it was mis-paid. Leaves: a
``TrustRule``. The one rule: what is promised is promised of images drawn by revenue, on average over audits,
no more.

Conformal risk control: Angelopoulos, Bates, Fisch, Lei & Schuster 2024, arXiv:2208.02814. Draws come
with probability pi_t, the promise is for r_t / R: each loss is weighted by ``w = (r/R) / pi <= 1 / 0.9``.

Why that is exact. Let ``L_i(c) = w_i loss_i 1(score_i > c)``: it never rises with c, is right-continuous and
at most B = 1 / 0.9. One more draw by pi is exchangeable with those audited, so with the lowest c at which
``(sum_i L_i(c) + B) / (n + 1) <= target`` its expected L is at most the target (theorem 1 there). And the
expectation by pi of ``w loss 1(..)`` is the expectation by revenue of ``loss 1(..)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.audit.betting import checked_losses
from fairbrush.validation.audit.sampling import HEAVIEST

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class TrustRule:
    """Trust an image whose score is above ``threshold``: -inf trusts all, inf trusts none.

    ``target``: promised. Of images drawn by revenue, the mis-paid part of the money on those that are
    trusted, **as a part of all money**, is on average at most this. ``bound``: what the rule kept at or below
    the target, None where no draws are enough; ``draws``: those audited.
    As seen in the audit, and promised by nothing: ``trusted_draws``; ``trusted_part``, of the money;
    ``risk``, mis-paid and trusted, of all money; ``risk_among_trusted``, of the trusted money, None where
    nothing is.
    """

    threshold: float
    target: float
    draws: int
    bound: float | None
    trusted_draws: int
    trusted_part: float
    risk: float
    risk_among_trusted: float | None

    def trusts(self, score: float) -> bool:
        return score > self.threshold


def trust_threshold(scores: ArrayLike, losses: ArrayLike, weights: ArrayLike, target: float) -> TrustRule:
    """The lowest threshold at which trusting is still within the target.

    scores, losses, weights: float (n,), of independent draws; losses in [0, 1]. Scores must have been fixed
    before the audit, and be those that further images will get. Ties are trusted together or not at all.
    Raises ValidationError.

    >>> rule = trust_threshold([0.1, 0.5, 0.9] * 20, [1.0, 0.1, 0.0] * 20, [1.0] * 60, target=0.1)
    >>> rule.threshold, round(rule.bound, 3), round(rule.trusted_part, 3), round(rule.risk, 3)
    (0.1, 0.051, 0.667, 0.033)
    """
    loss, heavy = checked_losses(losses, weights)
    surety = np.asarray(scores, np.float64)
    if surety.shape != loss.shape or not np.isfinite(surety).all():
        raise ValidationError(
            f"{len(loss)} draws need a finite score each; got {surety.shape}.",
            next_step="Leave out of the rule what has no score.",
        )
    _refuse_target(target)
    threshold = _lowest(surety, heavy * loss, target, lowest=-math.inf)
    trusted = surety > threshold
    if not trusted.any():  # surer than all that was audited is no reason to trust
        threshold = math.inf
    part, risk = float(heavy[trusted].sum()) / len(loss), float((heavy * loss)[trusted].sum()) / len(loss)
    return TrustRule(
        threshold=threshold,
        target=target,
        draws=len(loss),
        bound=None if threshold == math.inf else (len(loss) * risk + HEAVIEST) / (len(loss) + 1),
        trusted_draws=int(trusted.sum()),
        trusted_part=part,
        risk=risk,
        risk_among_trusted=risk / part if part > 0.0 else None,
    )


def bound_of_one(losses: ArrayLike, weights: ArrayLike, level: float = 0.95) -> float:
    """What the mis-paid part of one more image, drawn by revenue, does not exceed, with chance ``level``.

    Split conformal prediction: risk control of ``1(loss > bound)``. The chance is over audit and image
    together, not of this image given the audit. 1 where draws are too few. Raises ValidationError.

    >>> bound_of_one([0.1] * 30 + [0.4] * 2, [1.0] * 32, level=0.9)
    0.1
    """
    loss, heavy = checked_losses(losses, weights)
    _refuse_target(1.0 - level)
    return min(_lowest(loss, heavy, 1.0 - level, lowest=0.0), 1.0)


def fewest_draws(target: float) -> int:
    """Draws below which nothing is trusted at this target, even if no error is ever seen.

    >>> fewest_draws(0.1), fewest_draws(0.05)
    (11, 22)
    """
    _refuse_target(target)
    return max(math.ceil(HEAVIEST / target - 1e-9) - 1, 1)


def _lowest(
    values: NDArray[np.float64], losses: NDArray[np.float64], target: float, *, lowest: float
) -> float:
    """The lowest c at which ``(sum of losses of values above c + B) / (n + 1) <= target``; inf where none."""
    order = np.argsort(values, kind="stable")
    above = np.append(np.cumsum(losses[order][::-1])[::-1], 0.0)  # the sum of losses from here on
    candidates = np.unique(np.append(values[values > lowest], lowest))
    sums = above[np.searchsorted(values[order], candidates, side="right")]
    fits = (sums + HEAVIEST) / (len(values) + 1) <= target
    return float(candidates[fits][0]) if fits.any() else math.inf


def _refuse_target(target: float) -> None:
    if not 0.0 < target < 1.0:
        raise ValidationError(
            f"A target is a part of the money between 0 and 1, not {target}.", next_step="Use 0.1."
        )
