"""How wrong one split is, and how sure an average over many is.

Enters: shares paid and true shares; scores with the artists of each image. Leaves: scores, and estimates
with 95 % intervals. The one rule: what is not paid to anybody is a recipient whose true part is what no
artist is due, so paying nobody is an error too, and is charged.

Intervals resample artists, the unit that another gallery would differ in: every image weighs as much as its
artists were drawn, multiplied where there are several (Owen 2007, doi:10.1214/07-AOAS122). All images of the
same artists count as one, their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class SplitScore:
    """One image's score, in parts of its style.

    ``mispaid``: total variation between paid and true, nobody being a recipient. ``mispaid_paid``: the same
    between the true shares and the paid ones scaled to 1; nan where nobody is paid. ``to_wrong``: what was
    paid beyond what was due. ``unattributed``: what nobody got. ``credits``: 1 where anybody is paid.
    """

    mispaid: float
    mispaid_paid: float
    to_wrong: float
    unattributed: float
    credits: float


def score_split(paid: Mapping[str, float], true: Mapping[str, float]) -> SplitScore:
    """Compare one split with the truth. Both are parts of the style by recipient and sum to at most 1.

    >>> score_split({"Ann": 0.6}, {"Ann": 0.5, "Bo": 0.5})
    SplitScore(mispaid=0.5, mispaid_paid=0.5, to_wrong=0.1, unattributed=0.4, credits=1.0)
    """
    total, due = math.fsum(paid.values()), math.fsum(true.values())
    unattributed = max(0.0, 1 - total)
    distance = _distance(paid, true) + abs(unattributed - max(0.0, 1 - due))
    scaled = {name: part / total for name, part in paid.items()} if total > 0 else {}
    return SplitScore(
        mispaid=_tidy(distance / 2),
        mispaid_paid=_tidy(_distance(scaled, true) / 2) if scaled else math.nan,
        to_wrong=_tidy(math.fsum(max(0.0, part - true.get(name, 0.0)) for name, part in paid.items())),
        unattributed=_tidy(unattributed),
        credits=float(total > 0),
    )


def _distance(paid: Mapping[str, float], true: Mapping[str, float]) -> float:
    # sorted, so that the same split gives the same bits in every process
    names = sorted({*paid, *true})
    return math.fsum(abs(paid.get(name, 0.0) - true.get(name, 0.0)) for name in names)


def _tidy(value: float) -> float:
    return round(value, 12)


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval, and how many images and groups of artists it is over."""

    mean: float
    low: float
    high: float
    images: int
    groups: int


class Resampling:
    """How often each image's artists are drawn, the same draws for every score of these images.

    ``clusters``: the artists of each image. With fewer than two artists there is no interval.
    ``each_image_counts``: images of the same artists count each and not together, where a definition says so.
    """

    def __init__(
        self, clusters: Sequence[tuple[str, ...]], *, seed: int, each_image_counts: bool = False
    ) -> None:
        import numpy as np

        groups = sorted(set(clusters))
        names = sorted({name for group in groups for name in group})
        place = {name: position for position, name in enumerate(names)}
        number = {group: position for position, group in enumerate(groups)}
        self._group_of = np.array([number[cluster] for cluster in clusters], np.intp)
        self._n_groups = len(groups)
        self._each_image_counts = each_image_counts
        rng = np.random.default_rng([seed, len(names)])
        draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
        self._weights = np.ones((RESAMPLES, len(groups)))
        for position, group in enumerate(groups):
            for name in group:
                self._weights[:, position] *= draws[:, place[name]]

    def estimate(self, values: NDArray[np.float64]) -> Estimate:
        """The mean of one score per image; nan is left out. values: float64 (n_images,)."""
        means, draws = self._means(values)
        return self._estimate(values, means, draws)

    def ratio(self, values: NDArray[np.float64], base: NDArray[np.float64]) -> Estimate:
        """The mean of one score over that of another, drawn together."""
        means, draws = self._means(values)
        base_means, base_draws = self._means(base)
        return self._estimate(values, means / base_means, draws / base_draws)

    def difference(self, values: NDArray[np.float64], base: NDArray[np.float64]) -> Estimate:
        """The mean of one score less that of another on the same images."""
        return self.estimate(values - base)

    def _means(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Over groups, of the groups' means; and the same for every draw."""
        import numpy as np

        known = ~np.isnan(values)
        count = np.bincount(self._group_of[known], minlength=self._n_groups)
        total = np.bincount(self._group_of[known], weights=values[known], minlength=self._n_groups)
        here = count > 0
        if not here.any():
            return math.nan, np.full(RESAMPLES, np.nan)
        group_means = total[here] / count[here]
        size = count[here] if self._each_image_counts else np.ones(int(here.sum()))
        weights = self._weights[:, here] * size
        drawn = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(size @ group_means / size.sum()), (weights @ group_means) / drawn

    def _estimate(self, values: NDArray[np.float64], mean: float, draws: NDArray[np.float64]) -> Estimate:
        import numpy as np

        known = ~np.isnan(values)
        groups = len(set(self._group_of[known].tolist()))
        finite = draws[np.isfinite(draws)]
        low, high = math.nan, math.nan
        if groups > 1 and len(finite):
            low, high = (float(q) for q in np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        return Estimate(float(mean), low, high, int(known.sum()), groups)
