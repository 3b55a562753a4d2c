"""Lifts: what naming an artist does to images, beside what it does to them in the eyes of other styles.

Enters: cosines of images to styles, ``before`` and ``after`` naming, of the same contents. Leaves: a lift a
style, a p-value of the artist's own, a graded fidelity, and which of many artists are told at a stated error
level. The one rule: styles are the units of the test, contents are not. That a name changes images, and
always in the same way, is no sign that the model knows whose it is; that it moves them to the artist's own
works more than to other people's is.

Null hypothesis: the name means nothing to the model. It may move images far, but in a direction that knows
nothing of whose style is whose; then the artist's own style is one of the styles like any other, and its rank
among them is uniform (exchangeability, as in a randomisation test; Phipson & Smyth 2010,
doi:10.2202/1544-6115.1585). A test over contents (flipping signs) would find every name that has an effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.errors import GeneratorError, ValidationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FEWEST_CONTENTS = 4
LEVEL = 0.05
REPLICATES = 1000
INTERVAL = (2.5, 97.5)  # percentiles
FLATTEST = 1e-9  # spread of a style's cosines over contents: less is rounding


@dataclass(frozen=True, eq=False)
class Lifts:
    """raw: float64 (n_styles,), how much nearer images came to each style, in cosine, the mean over contents;
    spread: float64 (n_styles,), the standard deviation of ``before`` over contents; standardised: raw over
    spread, so that styles that tell contents apart strongly are not first by that alone."""

    raw: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def standardised(self) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = self.raw / self.spread
        return scaled


def lifts_of(before: ArrayLike, after: ArrayLike) -> Lifts:
    """before, after: float (n_contents, n_styles), of the same contents, the mean over each one's seeds.

    A style's own offset cancels. Raises ValidationError for other shapes, under four contents, numbers that
    are not finite, or a style to which all contents are alike, as where all images are the same.

    >>> before = [[0.1, 0.2], [0.3, 0.2], [0.1, 0.4], [0.3, 0.4]]
    >>> lifts = lifts_of(before, [[0.5, 0.2], [0.7, 0.2], [0.5, 0.4], [0.7, 0.4]])
    >>> lifts.raw.round(12).tolist(), lifts.standardised.round(3).tolist()
    ([0.4, 0.0], [3.464, 0.0])
    """
    first, second = (np.asarray(cosines, np.float64) for cosines in (before, after))
    if first.ndim != 2 or first.shape != second.shape or not first.shape[1]:
        raise ValidationError(
            f"Before and after need a row a content and a column a style; got {first.shape}, {second.shape}."
        )
    if len(first) < FEWEST_CONTENTS:
        raise ValidationError(
            f"{len(first)} contents say too little; at least {FEWEST_CONTENTS} are needed.",
            next_step="Give more contents.",
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValidationError("A cosine is not finite.", next_step="Regenerate that image.")
    spread = first.std(axis=0, ddof=1)
    if (spread <= FLATTEST).any():
        raise ValidationError(
            "Without the artist's name all contents look alike to a style: the model draws one image,"
            " whatever it is asked.",
            next_step="Give other contents, or check the weights.",
        )
    return Lifts((second - first).mean(axis=0), spread)


def rank_p_value(own: float, nulls: ArrayLike) -> float:
    """``(1 + nulls at or above own) / (1 + nulls)``: never 0; exact where ``own`` is like any of them.

    nulls: float (n_nulls,).

    >>> rank_p_value(3.0, [0.0, 3.0, 1.0])
    0.5
    """
    others = np.asarray(nulls, np.float64)
    return float((1 + (others >= own).sum()) / (1 + others.size))


@dataclass(frozen=True)
class Fidelity:
    """How far naming the artist brings images towards the artist's own works.

    ``raw``: 0 as far as the name brings them to the median other style, 1 as near as the artist's own works
    lie; ``value``: within [0, 1]; ``low`` and ``high``: its 95 % interval. ``baseline``: the mean cosine
    without the name; ``own``: the median cosine of the artist's works to the artist without them. All but
    these two are None where it is undefined: ``own`` is not above ``baseline``, so there is no way to go.
    """

    raw: float | None
    low: float | None
    high: float | None
    baseline: float
    own: float

    @property
    def value(self) -> float | None:
        return None if self.raw is None else min(max(self.raw, 0.0), 1.0)


def typical_movement(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """How much nearer naming brings each content's image to the median other style: float64 (n_contents,).

    before, after: float (n_contents, n_nulls), of the other styles.

    >>> typical_movement([[0.0, 0.0, 0.5]], [[0.25, 0.0, 1.5]]).tolist()
    [0.25]
    """
    moved = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    typical: NDArray[np.float64] = np.median(moved, axis=1)
    return typical


def fidelity_of(
    before: ArrayLike,
    after: ArrayLike,
    typical: ArrayLike,
    works: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Fidelity:
    """``(mean after - mean before - mean typical) / (q - mean before)``; see ``Fidelity``.

    before, after: float (n_contents,), cosines to the artist; typical: as ``typical_movement``; works: float
    (n_works,), each work's cosine to the artist without it. The interval is a percentile bootstrap (Efron &
    Tibshirani 1993, chapter 13): contents and works are drawn anew, apart from each other. The deviations of
    means over contents are stretched by ``sqrt(n / (n - 1))``, since a bootstrap of few takes them too small.
    A replicate that has no way to go counts as 0 for the lower end and as 1 for the upper one. It covers
    other contents and works, not another protocol or encoder. Raises ValidationError.

    >>> before = np.array([0.1, 0.3, 0.1, 0.3])
    >>> found = fidelity_of(before, before + 0.3, [0.05] * 4, [0.7] * 5, rng=np.random.default_rng(0))
    >>> round(found.raw, 12), found.low < 0.5 < found.high
    (0.5, True)
    """
    first, second, usual = (np.asarray(numbers, np.float64) for numbers in (before, after, typical))
    mine = np.asarray(works, np.float64)
    if (
        first.ndim != 1
        or not first.shape == second.shape == usual.shape
        or not len(first)
        or mine.ndim != 1
        or not mine.size
    ):
        raise ValidationError(
            f"Fidelity needs a number a content and the artist's own works; got {first.shape},"
            f" {second.shape}, {usual.shape} and {mine.shape}."
        )
    baseline, q = float(first.mean()), float(np.median(mine))
    if q <= baseline:
        return Fidelity(None, None, None, baseline, q)
    gained = second - first - usual
    low, high = _interval(first, gained, mine, rng, replicates)
    return Fidelity(float(gained.mean()) / (q - baseline), low, high, baseline, q)


def _interval(
    before: NDArray[np.float64],
    gained: NDArray[np.float64],
    works: NDArray[np.float64],
    rng: np.random.Generator,
    replicates: int,
) -> tuple[float, float]:
    n = len(gained)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n
    weights = 1 / n + (weights - 1 / n) * np.sqrt(n / max(1, n - 1))
    up = weights @ gained
    q = np.median(works[rng.integers(len(works), size=(replicates, len(works)))], axis=1)
    way = q - weights @ before
    is_known = way > 0.0
    found = np.clip(np.divide(up, way, out=np.zeros_like(up), where=is_known), 0.0, 1.0)
    low = np.percentile(np.where(is_known, found, 0.0), INTERVAL[0])
    high = np.percentile(np.where(is_known, found, 1.0), INTERVAL[1])
    return float(low), float(high)


def adjusted_p_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """The smallest level at which each is told apart: float64 (n,). At most ``level`` of those at or below
    ``level`` are expected to be false (Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x).

    Holds where p-values are independent or depend on each other positively (Benjamini & Yekutieli 2001,
    doi:10.1214/aos/1013699998). Raises GeneratorError where scipy is not installed.

    >>> adjusted_p_values([0.01, 0.04, 0.03, 0.5]).round(6).tolist()
    [0.04, 0.053333, 0.053333, 0.5]
    """
    control = false_discovery_control()
    found = np.asarray(p_values, np.float64)
    if not found.size:
        return found
    adjusted: NDArray[np.float64] = control(found, method="bh")
    return adjusted


def false_discovery_control() -> Any:
    """scipy's. Called early too, so that it is missed before hours of drawing. Raises GeneratorError."""
    try:
        from scipy.stats import false_discovery_control as control
    except ImportError as error:
        raise GeneratorError(
            f"Statistics over many artists need scipy ({error}).",
            next_step='pip install "fairbrush[validate]"',
        ) from error
    return control


def fewest_told(nulls: int, tested: int, level: float) -> int:
    """How many artists must rank first for any of them to be told: a p-value among ``nulls`` styles is never
    below ``1 / (nulls + 1)``, and of ``tested`` artists k are told only at ``k level / tested``.

    >>> fewest_told(168, 13, 0.05), fewest_told(1943, 1789, 0.05)
    (2, 19)
    """
    needed = tested / (level * (nulls + 1))
    return max(1, int(np.ceil(needed - 1e-9)))
