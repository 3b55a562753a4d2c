"""The fit: which change of the fast answer comes nearest to regeneration.

Enters: losses of every image under every change of a grid; pairs of fast and measured worths. Leaves: the
change to make, and an isotonic map. The one rule: of changes that are as good within their error the smallest
is taken, and none that lets more strangers' works through than was allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.errors import CalibrationError
from fairbrush.style.calibration import Isotonic
from fairbrush.validation.calibration.answers import Answers, Change, Shares, mis_paid, singleton_worths
from fairbrush.validation.calibration.evidence import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex

GAMMAS = (0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
LEVELS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_PAIRS = 400  # for an isotonic map
_SAME = 1e-9  # losses this near are one


def grid_of(index: StyleIndex, *, centre: bool) -> tuple[Change, ...]:
    """Every change to try, the smallest first, which is none at all.

    Thresholds are those that so many of the panel's works would pass; the shift is how far each lies from the
    index's own.
    """
    shifts = {index.delta_at(level) - index.delta for level in LEVELS} | {0.0}
    changes = [
        Change(shift, gamma, centred, index.passing_at(index.delta + shift))
        for shift, gamma, centred in itertools.product(shifts, GAMMAS, (False, True) if centre else (False,))
    ]
    return tuple(sorted(changes, key=lambda change: change.size))


def losses_on_grid(
    answers: Answers, targets: Sequence[Shares], grid: Sequence[Change]
) -> NDArray[np.float64]:
    """What each change mis-pays on each image: float64 (n_images, n_changes)."""
    losses = np.empty((len(targets), len(grid)))
    for image, target in enumerate(targets):
        known: dict[tuple[float, bool, float], float] = {}
        for place, change in enumerate(grid):
            game = answers.game(image, shift=change.shift, centred=change.centred)
            # the map moves nothing where fewer than two share
            few = len({player.creator_id for player in game.players}) < 2
            key = (change.shift, change.centred, 1.0 if few else change.gamma)
            if key not in known:
                known[key] = mis_paid(answers.shares(image, change), target)
            losses[image, place] = known[key]
    return losses


def admissible(grid: Sequence[Change], *, most_false_credit: float) -> NDArray[np.bool_]:
    """Which changes may be chosen: bool (n_changes,). Not to lower the threshold is always allowed."""
    return np.array([change.shift >= 0.0 or change.level <= most_false_credit for change in grid])


def choose(losses: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int:
    """The smallest change that is not worse than the best by more than one standard error of the difference.

    What a fit of few images gains beyond that is mostly their noise (the rule of one standard error: Breiman,
    Friedman, Olshen & Stone 1984, Classification and Regression Trees, 3.4.3). losses: float64 (n_images,
    n_changes), the smallest change first.

    >>> losses = np.array([[0.5, 0.4, 0.4, 0.1], [0.5, 0.3, 0.4, 0.1]])
    >>> choose(losses, np.array([True, True, True, False]))
    1
    >>> choose(np.array([[0.5, 0.5], [0.5, 0.4], [0.5, 0.5]]), np.array([True, True]))  # one image's doing
    0
    """
    means = np.where(allowed, losses.mean(axis=0), np.inf)
    excess = losses - losses[:, [int(means.argmin())]]
    error = excess.std(axis=0, ddof=1) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
    return int((allowed & (excess.mean(axis=0) <= error + _SAME)).argmax())


@dataclass(frozen=True, eq=False)
class Pairs:
    """Worths of single creators: fast, as the value function has them, and measured, as parts of what all add
    to the model. Each float64 (n_pairs,); image: intp (n_pairs,), which image each is of."""

    fast: NDArray[np.float64]
    measured: NDArray[np.float64]
    weight: NDArray[np.float64]
    image: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.fast)

    def of(self, images: NDArray[np.bool_]) -> Pairs:
        """Those of some images: bool (n_images,)."""
        kept = images[self.image]
        return Pairs(self.fast[kept], self.measured[kept], self.weight[kept], self.image[kept])


def pairs_of(answers: Answers, readings: Sequence[Measured], change: Change) -> Pairs:
    """The pairs of all images under a change of thresholds and centre. Who is worth nothing to the fast
    answer is in none: a map leaves them at 0."""
    rows: list[tuple[float, float, float, int]] = []
    for image, read in enumerate(readings):
        if not read.single_weight:
            continue
        fast = singleton_worths(answers.game(image, shift=change.shift, centred=change.centred))
        rows += [
            (fast[creator], part, read.single_weight, image)
            for creator, part in read.singles.items()
            if creator in fast
        ]
    table = np.array(rows, np.float64).reshape(-1, 4)
    return Pairs(table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.intp))


def isotonic_map(pairs: Pairs) -> Isotonic | None:
    """The monotone map nearest to the pairs by weighted least squares; None where it would be 0 everywhere.

    Pooling adjacent violators (Best & Chakravarti 1990, doi:10.1007/BF01580873). A knot a level, at the
    weighted mean of its fast worths, so that m rises between them and not in steps; levels at or below 0 are
    one with the knot (0, 0). Raises CalibrationError without scipy.

    >>> def of(fast, measured):
    ...     return Pairs(np.array(fast), np.array(measured), np.ones(len(fast)), np.zeros(len(fast), np.intp))
    >>> isotonic_map(of([0.1, 0.2, 0.3, 0.4], [0.2, 0.6, 0.4, 1.0])).knots
    ((0.0, 0.0), (0.1, 0.2), (0.25, 0.5), (0.4, 1.0))
    """
    regress = _isotonic_regression()
    if not len(pairs):
        return None
    order = np.lexsort((pairs.measured, pairs.fast))
    fast, weight = pairs.fast[order], pairs.weight[order]
    fast, of_worth = np.unique(fast, return_inverse=True)  # one value, one level
    mass = np.bincount(of_worth, weights=weight)
    mean = np.bincount(of_worth, weights=weight * pairs.measured[order]) / mass
    blocks = regress(mean, weights=mass).blocks
    knots = [(0.0, 0.0)]
    for start, end in itertools.pairwise(blocks.tolist()):
        inside = slice(start, end)
        level = float(np.average(mean[inside], weights=mass[inside]))
        # nine digits: no knots that differ by rounding alone
        at = round(float(np.average(fast[inside], weights=mass[inside])), 9)
        if level > 0.0 and at > knots[-1][0]:
            knots.append((at, max(round(level, 9), knots[-1][1])))
    return Isotonic(tuple(knots)) if knots[-1][1] > 0.0 else None


def _isotonic_regression() -> Callable[..., Any]:
    try:
        from scipy.optimize import isotonic_regression
    except ImportError as error:
        raise CalibrationError(
            f"An isotonic map needs scipy ({error}).", next_step='pip install "fairbrush[validate]"'
        ) from error
    found: Callable[..., Any] = isotonic_regression
    return found


@dataclass(frozen=True)
class PooledPart:
    """b of one model over its images. ``b``, ``error``: None where the content of all prompts together is not
    clearly drawn, or of fewer than two images; ``images``: with content; ``defined``: by themselves."""

    b: float | None
    error: float | None
    images: int
    defined: int


def pooled_part(readings: Iterable[Measured]) -> PooledPart:
    """The content part of a model: what it brings alone over what whole prompts bring, summed over images.

    A ratio of sums, since a single image's ratio is undefined or wild where its content is hardly drawn; its
    standard error takes images as clusters of seeds: that of ``x_t - ratio y_t`` over images (Cochran 1977,
    Sampling Techniques, 2.11). Undefined where the mean of y is not above 0 by two standard errors.

    >>> def image(alone, whole):
    ...     return Measured("", {}, {}, 0.0, (alone, whole), True)
    >>> pooled_part([image(0.2, 0.4), image(0.3, 0.6), image(0.1, 0.2)])
    PooledPart(b=0.5, error=0.0, images=3, defined=3)
    """
    found = [read for read in readings if read.content is not None]
    table = np.array([read.content for read in found], np.float64).reshape(-1, 2)
    defined = sum(read.b_is_defined for read in found)
    n = len(table)
    if n < 2:
        return PooledPart(None, None, n, defined)
    alone, whole = table.T
    if whole.mean() <= 2.0 * whole.std(ddof=1) / n**0.5:
        return PooledPart(None, None, n, defined)
    ratio = alone.sum() / whole.sum()
    error = float((alone - ratio * whole).std(ddof=1) / n**0.5 / whole.mean())
    return PooledPart(min(max(float(ratio), 0.0), 1.0), error, n, defined)
