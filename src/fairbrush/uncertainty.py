"""How sure an answer is: what shares another sample of each artist's works would have given.

Enters: one image's game, and the works its centroids were fitted on. Leaves: an interval a share, how
steady the split is, and a word for it. The one rule: a replicate goes through everything an answer goes
through (threshold, selection, game), so an interval includes 0 where the threshold was a near thing.

A parametric bootstrap over works: each work's weight is drawn, its influence on the centroid moves
similarities and Gram matrix, and the game is played again. What is not in it: the panel's sample (offsets and
threshold stay), and that an artist may draw otherwise elsewhere than in the works that are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.domain import Value
from fairbrush.game.blend import worth_of_every_blend
from fairbrush.game.shapley import shapley_of_nearest_many, shapley_of_worths
from fairbrush.game.values import mapped
from fairbrush.style.centroids import influence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.game.values import WorthMap
    from fairbrush.style.centroids import ArtistStyle

REPLICATES = 200
LEVEL = 0.95
MOST_CONTENDERS = 6
SAME = 0.5
STEADY = 0.9
ALONE = 0.8


class Confidence(StrEnum):
    """What an answer is worth, in a word. How often each is right is measured: docs/accuracy.md.

    ``CLEAR``: nine of ten other samples of works would pay the same hands at least half of what they are
    paid here, and one artist gets at least four fifths of what artists get. ``MIXED``: as steady, but others
    share. ``WEAK``: somebody is credited, and another sample of works might well have credited somebody else
    or nobody; so wherever somebody is credited for a single work, which tells nothing of another sample.
    ``UNKNOWN``: nobody is credited.
    """

    CLEAR = "clear"
    MIXED = "mixed"
    WEAK = "weak"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Contender:
    """A creator who plays or nearly does. ``nearest``: which of the style's centroids is, of each facet; the
    first is the whole image's, and so has this similarity to it."""

    creator_id: str
    similarity: float
    h: float
    nearest: tuple[int, ...]
    style: ArtistStyle


@dataclass(frozen=True)
class Uncertainty:
    """parts: (low, high) of what artists get together, by creator; unattributed: (low, high) of the style;
    steadiness: the share of replicates that give at least half of it to the same hands as the answer, or
    credit nobody where the answer does not."""

    parts: dict[str, tuple[float, float]]
    unattributed: tuple[float, float]
    steadiness: float


def bootstrap(
    query: NDArray[np.float64],
    contenders: Sequence[Contender],
    *,
    value: Value,
    delta: float,
    entry: float,
    answer: Mapping[str, float],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
    worth_map: WorthMap | None = None,
) -> Uncertainty:
    """Play the game of an image ``replicates`` times. query: float64 (dim,) or (n_facets, dim), unit rows in
    style space, the whole image first; answer: what artists get together, by creator: parts that sum to 1,
    or nothing where nobody is credited; worth_map: of the calibration that the answer was given under.
    """
    facets = np.atleast_2d(query)
    centroids = np.stack([one.style.centroids[one.nearest[0]] for one in contenders])
    nearest = np.stack([one.style.centroids[list(one.nearest)] for one in contenders], axis=1)
    similarities = np.tile(np.einsum("pd,pcd->pc", facets, nearest), (replicates, 1, 1))
    is_mix = value in (Value.BLEND, Value.RECONSTRUCTION)  # the others need no Gram matrix
    gram = np.tile(centroids @ centroids.T, (replicates, 1, 1)) if is_mix else None
    others = np.arange(len(contenders))
    for position, one in enumerate(contenders):
        drawn = rng.standard_normal((replicates, len(one.style.works)))
        for centroid in sorted(set(one.nearest)):
            seen = np.flatnonzero(np.equal(one.nearest, centroid))
            similarities[:, seen, position] += drawn @ influence(one.style, centroid, facets[seen])
        if gram is not None:
            moved = drawn @ influence(one.style, one.nearest[0], centroids)
            aside = np.where(others == position, 0.0, moved)
            gram[:, position, :] += aside
            gram[:, :, position] += aside
    h = np.array([one.h for one in contenders])
    grams = None if gram is None else _as_grams(gram)
    phi = _phi_many(value, similarities, grams, h, delta=delta, entry=entry, worth_map=worth_map)
    whole = phi.sum(axis=1, keepdims=True)
    credited = whole[:, 0] > 0.0
    parts = np.where(whole > 0.0, phi / np.where(whole > 0.0, whole, 1.0), 0.0)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(parts, tails, axis=0)
    names = [one.creator_id for one in contenders]
    same = np.minimum(parts, [answer.get(name, 0.0) for name in names]).sum(axis=1) >= SAME
    gone = np.quantile(np.where(credited, 0.0, 1.0), tails)
    return Uncertainty(
        parts={name: (float(low[i]), float(high[i])) for i, name in enumerate(names)},
        unattributed=(float(gone[0]), float(gone[1])),
        steadiness=float((same if answer else ~credited).mean()),
    )


def confidence(steadiness: float, largest_part: float) -> Confidence:
    """The word for an answer that credits somebody. largest_part: of what artists get."""
    if steadiness < STEADY:
        return Confidence.WEAK
    return Confidence.CLEAR if largest_part >= ALONE else Confidence.MIXED


def _phi_many(
    value: Value,
    similarities: NDArray[np.float64],
    gram: NDArray[np.float64] | None,
    h: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    worth_map: WorthMap | None,
) -> NDArray[np.float64]:
    """float64 (replicates, m), >= 0; a row of zeros where nobody is credited.

    similarities: float64 (replicates, n_facets, m).
    """
    z = similarities - h
    if value is Value.NEAREST:
        return shapley_of_nearest_many(mapped(np.maximum(z[:, 0] - delta, 0.0), worth_map))
    known = z[:, 0].max(axis=1) > delta
    if value is Value.FACETS:
        gains_in = mapped(np.maximum(z - entry, 0.0), worth_map)
        of_facets = [shapley_of_nearest_many(gains_in[:, p]) for p in range(z.shape[1])]
        return np.where(known[:, None], np.mean(of_facets, axis=0), 0.0)
    assert gram is not None, "a mix needs its Gram matrices"
    gains = z[:, 0] - entry
    playing = gains > 0.0
    # whoever is below the entry is no candidate: with no gain at all, and at right angles to everybody
    gains = np.where(playing, gains, -1.0)
    gram = np.where(playing[:, :, None] & playing[:, None, :], gram, np.eye(len(h)))
    chosen = _supports(worth_of_every_blend(gains, gram))[:, None]
    if value is Value.BLEND:
        worths = mapped(worth_of_every_blend(similarities[:, 0], gram), worth_map)
        within = np.arange(worths.shape[1]) & chosen
        phi = shapley_of_worths(np.take_along_axis(worths, within, axis=1), players=len(h))
    else:
        inside: NDArray[np.bool_] = ((chosen >> np.arange(len(h))) & 1).astype(np.bool_)
        apart = np.where(inside[:, :, None] & inside[:, None, :], gram, np.eye(len(h)))
        weights = np.linalg.solve(apart, np.where(inside, gains, 0.0)[:, :, None])[:, :, 0]
        overlap = (gram @ weights[:, :, None])[:, :, 0]
        phi = np.maximum(weights * (2.0 * similarities[:, 0] - overlap), 0.0)
    return np.where(known[:, None], phi, 0.0)


def _supports(worths: NDArray[np.float64]) -> NDArray[np.intp]:
    """intp (n,): of each blend the smallest coalition that is worth as much as all, as bits."""
    codes = np.arange(worths.shape[1])
    sizes = np.array([int(code).bit_count() for code in codes])
    best: NDArray[np.bool_] = np.equal(worths, worths[:, -1:])
    found: NDArray[np.intp] = np.where(best, sizes, len(codes)).argmin(axis=1)
    return found


def _as_grams(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ones on the diagonal, and positive definite: a first-order step may leave the cosines' bounds."""
    m = gram.shape[-1]
    gram[:, range(m), range(m)] = 1.0
    least = np.linalg.eigvalsh(gram)[:, 0]
    shrink = np.where(least < 1e-6, (1.0 - 1e-6) / (1.0 - np.minimum(least, 0.0)), 1.0)
    mixed: NDArray[np.float64] = shrink[:, None, None] * gram
    mixed[:, range(m), range(m)] = 1.0
    return mixed
