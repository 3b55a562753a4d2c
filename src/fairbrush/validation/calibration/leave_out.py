"""Cross-validation with images of one artist never on both sides.

Enters: losses of each image under each change, and who played in it. Leaves: for each image the change that
was fitted on the others. The one rule: no image of a fit shares a player with the image it predicts.

Each image is left out with all that share a creator with it. A fit sees of an image its row of one table of
losses, so all of these fits are exact, and no game is played again.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.validation.calibration.fit import choose

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


def apart(players: Sequence[Collection[Hashable]]) -> NDArray[np.bool_]:
    """bool (n, n): row t says which images share no player with image t.

    >>> apart([{"ann", "bo"}, {"bo", "cy"}, {"di"}]).tolist()
    [[False, False, True], [False, False, True], [True, True, False]]
    """
    number = {name: at for at, name in enumerate(dict.fromkeys(name for mine in players for name in mine))}
    member = np.zeros((len(players), max(1, len(number))), np.float32)
    for row, mine in enumerate(players):
        member[row, [number[name] for name in mine]] = 1.0
    shared: NDArray[np.bool_] = member @ member.T > 0.0
    return ~(shared | np.eye(len(players), dtype=bool))


@dataclass(frozen=True, eq=False)
class LeftOutFits:
    """chosen: intp (n_images,), the change fitted on the images apart from each, -1 where these are too few;
    trained_on: intp (n_images,), how many they are."""

    chosen: NDArray[np.intp]
    trained_on: NDArray[np.intp]

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """bool (n_images,)."""
        return self.chosen >= 0


def leave_out(
    losses: NDArray[np.float64],
    apart_from: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    *,
    least: int,
) -> LeftOutFits:
    """Fit for each image on those apart from it. losses: float64 (n_images, n_changes); apart_from: as
    ``apart``; least: images a fit needs.

    >>> losses = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    >>> leave_out(losses, apart([{"a"}, {"b"}, {"c"}]), np.array([True, True]), least=2).chosen.tolist()
    [1, 0, 0]
    """
    trained_on = apart_from.sum(axis=1)
    chosen = [
        choose(losses[others], allowed) if count >= least else -1
        for others, count in zip(apart_from, trained_on.tolist(), strict=True)
    ]
    return LeftOutFits(np.array(chosen, np.intp), trained_on)


@dataclass(frozen=True)
class Interval:
    """A mean over images and its 95 % interval, both nan of no image; of one cluster the interval is."""

    mean: float
    low: float
    high: float


def clustered_mean(
    values: NDArray[np.float64], clusters: Sequence[Hashable], *, rng: np.random.Generator
) -> Interval:
    """The mean of float64 (n_images,), with a percentile interval over redrawn clusters of images.

    Images of one cluster are drawn together, each cluster as often as a multinomial says (Davison & Hinkley
    1997, Bootstrap Methods, 3.8, doi:10.1017/CBO9780511802843).
    """
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    number = {name: at for at, name in enumerate(dict.fromkeys(clusters))}
    cluster_of = np.array([number[name] for name in clusters])
    n = len(number)
    mean = float(values.mean())
    if n < 2:
        return Interval(mean, np.nan, np.nan)
    sums = np.bincount(cluster_of, weights=values, minlength=n)
    counts = np.bincount(cluster_of, minlength=n)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def clusters_of(measured: Sequence[Mapping[str, float]], ids: Sequence[str]) -> list[str]:
    """Whose an image mainly is by what was measured: the creator of the largest share, ties by id; an image
    of nobody's stands alone. ids: of the images."""
    return [
        min(shares, key=lambda name: (-shares[name], name)) if shares else f"image {sha256}"
        for shares, sha256 in zip(measured, ids, strict=True)
    ]
