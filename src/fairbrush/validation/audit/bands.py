"""Large, middle and small creators, and how precisely n draws would measure each of them.

Enters: the fast answer's money. Leaves: a band a creator, and what a budget buys. The one rule: bands are
read off the fast answer alone, before anything is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.audit.estimators import model_variance
from fairbrush.validation.audit.sampling import checked_revenue, draw_probabilities
from fairbrush.validation.audit.shares import Shares

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_HALF, _MOST = 0.5, 0.9  # of the creators' money


class Band(StrEnum):
    """By what the fast answer gives a creator; their order is that of ``size_bands``' codes."""

    LARGE = "large"
    MIDDLE = "middle"
    SMALL = "small"
    UNCREDITED = "uncredited"
    NOBODY = "nobody"


BANDS = tuple(Band)


@dataclass(frozen=True)
class Reach:
    """What n draws say of one band: medians over its creators, in the revenue's unit.

    ``fast``: the money it has by the fast answer; ``expected_draws``: those on that money; ``half_width``: of
    the interval, before it is cut to [0, revenue]; for the uncredited its upper end.
    """

    band: Band
    creators: int
    fast: float
    expected_draws: float
    half_width: float


def size_bands(totals: ArrayLike) -> NDArray[np.intp]:
    """The band of each creator: intp (creators,), 0 large to 3 uncredited; totals: float (creators,), fast.

    Large are the fewest who together have half of the creators' money, middle those who then bring it to nine
    tenths, small the rest; who has nothing is uncredited.

    >>> [BANDS[code].value for code in size_bands([5.0, 60.0, 35.0, 0.0])]
    ['small', 'large', 'middle', 'uncredited']
    """
    money = np.asarray(totals, np.float64)
    order = np.argsort(-money, kind="stable")
    before = np.empty_like(money)  # the part that those ahead have
    before[order] = (np.cumsum(money[order]) - money[order]) / max(float(money.sum()), math.ulp(0.0))
    codes = np.where(before < _HALF, 0, np.where(before < _MOST, 1, 2))
    return np.where(money > 0.0, codes, BANDS.index(Band.UNCREDITED)).astype(np.intp)


def plan_precision(
    revenue: ArrayLike, fast: ArrayLike | Shares, n: int, *, kappa: float = 1.0, level: float = 0.95
) -> tuple[Reach, ...]:
    """The half-widths to expect of n draws, by band, with nobody last; bands without creators are left out.

    kappa: of an earlier audit (``Totals.kappa``); 1 supposes that fast shares stand for all or nothing.
    Raises ValidationError.

    >>> fast = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    >>> [(one.band.value, round(one.half_width, 1)) for one in plan_precision([6.0, 2.0, 2.0], fast, 100)]
    [('large', 0.7), ('middle', 0.7), ('nobody', 0.6)]
    """
    if n < 1:
        raise ValidationError(f"An audit draws at least one image, not {n}.", next_step="Raise --budget.")
    money, shares = checked_revenue(revenue), Shares.of(fast)
    whole, totals = float(money.sum()), shares.totals(money)
    variance = kappa * model_variance(money, shares, draw_probabilities(money))
    width = NormalDist().inv_cdf(0.5 + level / 2.0) * np.sqrt(variance / n)
    unknown = math.log(1.0 / (1.0 - level)) * whole / n
    width = np.where(totals > 0.0, width, np.maximum(width, unknown))
    codes = np.append(size_bands(totals[:-1]), BANDS.index(Band.NOBODY))
    return tuple(
        Reach(
            band=band,
            creators=int(members.sum()),
            fast=float(np.median(totals[members])),
            expected_draws=n * float(np.median(totals[members])) / whole,
            half_width=float(np.median(width[members])),
        )
        for band, members in ((band, codes == code) for code, band in enumerate(BANDS))
        if members.any()
    )
