"""Centroids: where an artist's style lies, in one place or in several.

Enters: an artist's works in style space. Leaves: float32 centroids, how near strangers come to the nearest of
them, and how well the artist's own works are recognised. The one rule: an artist has several centroids only
where works that were left out say so; so an artist of one period keeps one, and the numbers depend on the
works alone, not on the order they came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairbrush.errors import VectorRefusedError
from fairbrush.style.affinity import Height, OffsetRule, offset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.strangers import Strangers

COUNTS = (1, 3, 6)  # centroids tried
WORKS_A_CENTROID = 3
FOLDS = 4
TO_THE_MEAN = 0.5
FEWEST_WORKS = 5
MOST_ROUNDS = 50
SHORTEST = 1e-6


@dataclass(frozen=True, eq=False)
class FittedStyle:
    """centroids: float32 (n_centroids, dim), unit rows; h: the artist's offset, a float32 number;
    recognisability: None under five works."""

    centroids: NDArray[np.float32]
    h: float
    recognisability: float | None


def fit_style(
    works: NDArray[np.float64], strangers: Strangers, *, rule: Height = OffsetRule.QUANTILE
) -> FittedStyle:
    """Fit 1, 3 or 6 centroids, whichever brings works that were left out nearest, strangers considered.

    Four folds of the works are left out in turn; a count of centroids is as good as the mean affinity of the
    works left out. A maximum over more centroids is nearer to everybody: h, measured on the same maximum,
    takes that back. ``recognisability`` is the median affinity of the works left out: ``q <= delta`` means
    that this artist cannot be told apart with this encoder.

    works: float64 (n, dim), unit rows, sorted by the works' hash. Raises VectorRefusedError.
    """
    import numpy as np

    tried = [count for count in COUNTS if count * WORKS_A_CENTROID <= len(works)]
    left_out = {count: _left_out_affinities(works, strangers, count, rule) for count in tried[1:] and tried}
    best = max(left_out, key=lambda count: (float(left_out[count].mean()), -count), default=1)
    centroids = fit_centroids(works, best)
    h = offset(centroids, strangers, rule=rule)
    own = left_out[best] if best > 1 else _without_each(works) - h
    known = len(works) >= FEWEST_WORKS
    return FittedStyle(centroids, h, float(np.median(own)) if known else None)


def own_affinities(
    works: NDArray[np.float64], strangers: Strangers, *, count: int, h: float, rule: Height
) -> NDArray[np.float64]:
    """float64 (n_works,): each work's affinity to its artist without it, as ``fit_style`` judges it.

    count and h: of the fitted style; works: unit rows sorted by hash, two or more.
    """
    if count == 1:
        return _without_each(works) - h
    return _left_out_affinities(works, strangers, count, rule)


def fit_centroids(works: NDArray[np.float64], count: int = 1) -> NDArray[np.float32]:
    """``count`` unit rows: spherical k-means (Dhillon & Modha 2001, doi:10.1023/A:1007612920971), each moved
    half-way to the artist's mean direction, since a few works place a period badly. One is the mean itself.

    works: float64 (n, dim), unit rows. Raises VectorRefusedError where the works cancel out.

    >>> import numpy as np
    >>> fit_centroids(np.array([[0.6, 0.8], [0.6, -0.8]])).tolist()
    [[1.0, 0.0]]
    """
    import numpy as np

    assert len(works), "an artist has at least one work"
    works = works.astype(np.float64)
    mean = _unit_mean(works)
    if count == 1:
        return mean[None].astype(np.float32)
    moved = TO_THE_MEAN * mean + (1 - TO_THE_MEAN) * _spherical_k_means(works, mean, count)
    unit: NDArray[np.float32] = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return unit


def periods(works: NDArray[np.float64], centroids: NDArray[np.floating]) -> NDArray[np.intp]:
    """int (n_works,): the centroid each work went into, of centroids fitted on these works.

    A centroid is ``(m + c) / |m + c|`` of the mean direction m and its period's c, and ``m`` times it is
    ``|m + c| / 2``; so comparing ``(m . u)(x . u)`` over centroids u compares ``x . c``.
    """
    import numpy as np

    if len(centroids) == 1:
        return np.zeros(len(works), np.intp)
    rows = centroids.astype(np.float64)
    scaled = rows * (rows @ _unit_mean(works.astype(np.float64)))[:, None]
    nearest: NDArray[np.intp] = (works @ scaled.T).argmax(axis=1)
    return nearest


def _left_out_affinities(
    works: NDArray[np.float64], strangers: Strangers, count: int, rule: Height
) -> NDArray[np.float64]:
    """float64 (n_works,): each work's affinity to centroids fitted without its fold."""
    import numpy as np

    folds = np.arange(len(works)) % FOLDS
    affinities = np.empty(len(works))
    for fold in range(FOLDS):
        inside = folds == fold
        centroids = fit_centroids(works[~inside], count)
        h = offset(centroids, strangers, rule=rule)
        affinities[inside] = (works[inside] @ centroids.astype(np.float64).T).max(axis=1) - h
    return affinities


def _without_each(works: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (n_works,): each work's cosine to the mean direction of the others."""
    import numpy as np

    others = works.sum(axis=0) - works
    length = np.maximum(np.linalg.norm(others, axis=1), SHORTEST)
    cosines: NDArray[np.float64] = (works * others).sum(axis=1) / length
    return cosines


def _spherical_k_means(
    works: NDArray[np.float64], mean: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """float64 (count, dim), unit rows. Starts at the work farthest from the mean, then at the one farthest
    from those taken, so that the same works give the same periods; ends when no work changes sides."""
    import numpy as np

    starts = [int((works @ mean).argmin())]
    while len(starts) < count:
        starts.append(int((works @ works[starts].T).max(axis=1).argmin()))
    centres = works[starts]
    sides = None
    for _ in range(MOST_ROUNDS):
        nearest = (works @ centres.T).argmax(axis=1)
        if sides is not None and (nearest == sides).all():
            break
        sides = nearest
        for side in range(count):
            if (inside := works[sides == side]).any():
                centre = inside.mean(axis=0)
                if (length := np.linalg.norm(centre)) > SHORTEST:
                    centres[side] = centre / length
    return centres


def _unit_mean(works: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    mean: NDArray[np.float64] = works.mean(axis=0)
    length = np.linalg.norm(mean)
    if not length > SHORTEST:
        raise VectorRefusedError(
            f"The {len(works)} works of an artist point in opposite directions and have no mean.",
            next_step="Add more works, or leave some out.",
        )
    return mean / length


@dataclass(frozen=True, eq=False)
class ArtistStyle:
    """What a creator's centroids were fitted on. works: float64 (n_works, dim), pooled over the creator's
    entries; centroids: float64 (n_centroids, dim), unit rows."""

    works: NDArray[np.float64]
    centroids: NDArray[np.float64]


def influence(style: ArtistStyle, nearest: int, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each work moves one centroid along some directions: float64 (n_works, n_directions).

    The derivative of ``u . y`` by a work's weight in the means that centroid u is made of, for each direction
    y (float64 (n_directions, dim)); scaled by ``sqrt(n / (n - 1))``, so that the sum of its squares over the
    works is the variance that another sample of works would give ``u . y`` (the infinitesimal jackknife:
    Efron 1982, doi:10.1137/1.9781611970319, chapter 6). A single work says nothing of it: zeros. Of a period
    that no work went into, as where an artist has the same picture several times, the work nearest to its
    centroid stands for it.
    """
    import numpy as np

    n = len(style.works)
    if n == 1:
        return np.zeros((1, len(directions)))
    mean = style.works.mean(axis=0)
    parts = [(1.0, np.arange(n), mean)]
    if len(style.centroids) > 1:
        own = np.flatnonzero(periods(style.works, style.centroids) == nearest)
        if not len(own):
            own = (style.works @ style.centroids[nearest]).argmax(keepdims=True)
        parts = [(TO_THE_MEAN, np.arange(n), mean), (1 - TO_THE_MEAN, own, style.works[own].mean(axis=0))]
    # u = v / |v|, where v is the sum of unit means, each with its weight
    v = sum((weight * centre / np.linalg.norm(centre) for weight, _, centre in parts), np.zeros(len(mean)))
    length = float(np.linalg.norm(v))
    unit = v / length
    across = (directions - np.outer(directions @ unit, unit)) / length
    moved = np.zeros((n, len(directions)))
    for weight, inside, centre in parts:
        size = float(np.linalg.norm(centre))
        along = across - np.outer(across @ centre, centre) / size**2
        moved[inside] += weight * (style.works[inside] - centre) @ along.T / (len(inside) * size)
    scaled: NDArray[np.float64] = moved * np.sqrt(n / (n - 1))
    return scaled
