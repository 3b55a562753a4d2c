"""Who plays a blend: of many candidates those whom the best non-negative mix needs.

Enters: ``linear`` and the Gram matrix of all candidates. Leaves: the mix's weights, and the survivors with
what their choice loses. The one rule: a candidate is left out only where the others explain the image as
well, or where the limit on players says so and the loss is told.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.game.blend import checked_blend, evened, interchangeable
from fairbrush.game.unions import numbered

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MOST_SURVIVORS = 10
_STATIONARY = 1e-13  # a gradient relative to the largest; a clone's is RIDGE over the number of clones


@dataclass(frozen=True)
class Survivors:
    """Who plays. ``indices``: intp (m,), ascending, of the candidates; ``weights``: float64 (m,), > 0, the
    blend nearest to the image. Worths are v of all candidates, of the survivors, and of the ``dropped`` who
    would have survived but for the limit. ``subadditive``: no two of all these point apart.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    worth_of_candidates: float
    worth_of_survivors: float
    worth_of_dropped: float
    dropped: int
    subadditive: bool

    @property
    def unexplained(self) -> float:
        """``v(candidates) - v(survivors)``: 0 unless somebody was dropped."""
        return max(0.0, self.worth_of_candidates - self.worth_of_survivors)


def survivors(
    linear: ArrayLike,
    gram: ArrayLike,
    *,
    unions: Sequence[Hashable] | None = None,
    most: int = MOST_SURVIVORS,
) -> Survivors:
    """Which of n candidates play: the support of the non-negative lasso, whose look-alikes it explains away.

    linear: float (n,), similarities less penalties; gram: float (n, n); unions: one label a candidate, each
    a union alone where None. Beyond ``most`` unions those of largest weight stay, ties by first candidate.
    Bring only candidates above the threshold: one below can still correct another that points away from it.
    Raises GameError where ``gram`` is no Gram matrix.

    >>> chosen = survivors([0.8, 0.79, -0.2], [[1.0, 0.999, 0.0], [0.999, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> chosen.indices.tolist(), chosen.unexplained
    ([0], 0.0)
    """
    gains, cone = checked_blend(linear, gram, leading=0)
    _, union_of = numbered(range(len(gains)) if unions is None else unions, players=len(gains))
    weights = _weights(gains, cone)
    worth = _worth(gains, weights)
    support = np.flatnonzero(weights > 0.0)
    heaviest = np.argsort(-np.bincount(union_of, weights=weights), kind="stable")[:most]
    kept = support[np.isin(union_of[support], heaviest)]
    if len(kept) == len(support):
        return Survivors(kept, weights[kept], worth, worth, 0.0, 0, True)
    fewer = _weights(gains[kept], cone[np.ix_(kept, kept)])
    stay = kept[fewer > 0.0]
    dropped = np.setdiff1d(support, stay)
    rest = _weights(gains[dropped], cone[np.ix_(dropped, dropped)])
    return Survivors(
        indices=stay,
        weights=fewer[fewer > 0.0],
        worth_of_candidates=worth,
        worth_of_survivors=_worth(gains[kept], fewer),
        worth_of_dropped=_worth(gains[dropped], rest),
        dropped=len(dropped),
        subadditive=bool((cone[np.ix_(support, support)] >= 0.0).all()),
    )


def nonnegative_weights(linear: ArrayLike, gram: ArrayLike) -> NDArray[np.float64]:
    """``argmin over w >= 0 of w'Gw / 2 - linear . w``: float64 (n,); clones get the same bits.

    The active-set method of Lawson & Hanson 1974, doi:10.1137/1.9781611971217, in Gram form: exact,
    finite and deterministic. With ``linear = similarities - penalties`` it is the non-negative lasso. The
    worth of all is ``sqrt(linear . w)``. Raises GameError where ``gram`` is no Gram matrix.

    >>> nonnegative_weights([0.6, 0.8, -0.1], np.eye(3)).round(12).tolist()
    [0.6, 0.8, 0.0]
    """
    return _weights(*checked_blend(linear, gram, leading=0))


def worth_of_blend(linear: NDArray[np.float64], gram: NDArray[np.float64]) -> float:
    """The worth of all of one checked blend (``checked_blend``), of any number of players."""
    return _worth(linear, _weights(linear, gram))


def _worth(linear: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(np.sqrt(max(0.0, float((linear * weights).sum()))))


def _weights(linear: NDArray[np.float64], gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a checked blend."""
    norm = np.sqrt(np.diagonal(gram))
    gains, cone = linear / norm, gram / (norm[:, None] * norm)
    weights = np.zeros(len(gains))
    inside, refused = np.zeros(len(gains), np.bool_), np.zeros(len(gains), np.bool_)
    stationary = _STATIONARY * float(np.abs(gains).max(initial=0.0))
    while True:
        gradient = np.where(inside | refused, -np.inf, gains - cone @ weights)
        if not len(gains) or gradient.max() <= stationary:
            break
        player = int(gradient.argmax())
        inside[player] = True
        found = _descend(gains, cone, weights, inside, player)
        # rounding alone can refuse a player: each other step makes the objective smaller, so this ends
        refused[:] = False if found else refused
        refused[player] = not found
    even: NDArray[np.float64] = evened(weights[None], interchangeable(linear[None], gram[None]))[0]
    return even / norm


def _descend(
    linear: NDArray[np.float64],
    gram: NDArray[np.float64],
    weights: NDArray[np.float64],
    inside: NDArray[np.bool_],
    newest: int,
) -> bool:
    """Move ``weights`` to the best on ``inside``, dropping whom that would make negative. False, and nothing
    moved, where the newest player itself would be.
    """
    face, goal = _unbounded(linear, gram, inside)
    if goal[face == newest][0] <= 0.0:
        inside[newest] = False
        return False
    while (goal <= 0.0).any():
        here = weights[face]
        falling = goal <= 0.0
        reach = np.where(falling, here / np.where(falling, here - goal, 1.0), np.inf)
        first = int(reach.argmin())
        weights[face] = np.maximum(here + reach[first] * (goal - here), 0.0)
        weights[face[first]] = 0.0
        inside[face[first]] = False
        face, goal = _unbounded(linear, gram, inside)
    weights[face] = goal
    return True


def _unbounded(
    linear: NDArray[np.float64], gram: NDArray[np.float64], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The players inside, and their best weights of any sign."""
    face = np.flatnonzero(inside)
    return face, np.asarray(np.linalg.solve(gram[face[:, None], face], linear[face]), np.float64)
