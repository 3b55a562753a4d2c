"""Cones of centroids: the worth of every coalition of a blend, and who survives of many candidates.

Enters: ``linear``, what each player brings alone, and the Gram matrix of the players' centroids. Leaves:
worths of all 2^m coalitions, non-negative weights, survivors. The one rule: both face the same Gram matrix,
its off-diagonals shrunk by ``RIDGE``, so that clones are two players who get the same, not a singularity.

The worth of S is ``max of linear_S . w over w >= 0 with w'Gw <= 1``. Its square is the maximum of
``2 linear . w - w'Gw``; the optimum lies on a face T of S where ``G_T w_T = linear_T`` and ``w_T >= 0``, and
any such T is feasible. So ``v(S)^2 = max over feasible T within S of linear_T' G_T^-1 linear_T``, exactly.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# As if each centroid had a 3e-5 part of its own. Rounding moves a pivot by 1e-15, so a clone's pivot (1e-9)
# keeps six digits; a worth grows by less than 5e-10 of itself where no two centroids point apart.
RIDGE = 1e-9
MOST_TABLED = 16  # 2^16 worths take about 0.1 s
MOST_SURVIVORS = 10
_CHUNK = 1 << 21  # residuals held at a time: 16 MB
_SYMMETRIC = 1e-9  # relative; a Gram matrix in float32 is further off
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


def worth_of_every_blend(linear: ArrayLike, gram: ArrayLike) -> NDArray[np.float64]:
    """Worths of all coalitions of many blends. linear: float (n_games, m); gram: float (n_games, m, m).

    Leaves float64 (n_games, 2^m): column c is the worth of the players whose bit is set in c. Only sums,
    products and roots of single numbers, so a game gets the same bits alone as among others.
    Raises GameError beyond 16 players, or where ``gram`` is no Gram matrix.

    >>> worth_of_every_blend([[0.6, 0.8]], [[[1.0, 0.0], [0.0, 1.0]]]).round(12).tolist()
    [[0.0, 0.6, 0.8, 1.0]]
    """
    gains, grams = checked_blend(linear, gram, leading=1)
    games, m = gains.shape
    if m > MOST_TABLED:
        raise GameError(
            f"{m} players have 2^{m} blends; at most {MOST_TABLED} are listed.",
            next_step="Let blend.survivors choose the players.",
        )
    worth = np.empty((games, 1 << m))
    step = max(1, _CHUNK // (max(m, 1) << m))
    for start in range(0, games, step):
        part = slice(start, start + step)
        worth[part] = _best_faces(*_faces(gains[part], grams[part]))
    return worth


def _faces(
    linear: NDArray[np.float64], gram: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(n_games, 2^m)`` squared worths of all faces, and ``(n_games, 2^m, m)`` residuals of all players.

    Outer-product Cholesky, all subsets at once: step k eliminates player k from every subset of the players
    before it. The residual of j after T is what j brings that T does not explain.
    """
    games, m = linear.shape
    squared = np.zeros((games, 1))
    residual = linear[:, None, :]
    rows = gram[:, None, :, :]  # of the players not yet eliminated: (games, 2^k, m - k, m)
    for k in range(m):
        root = np.sqrt(rows[:, :, 0, k])
        step = residual[:, :, k] / root
        row = rows[:, :, 0, :] / root[:, :, None]
        squared = np.concatenate([squared, squared + step * step], axis=1)
        residual = np.concatenate([residual, residual - step[:, :, None] * row], axis=1)
        rest = rows[:, :, 1:, :]
        rows = np.concatenate([rest, rest - row[:, :, k + 1 :, None] * row[:, :, None, :]], axis=1)
    return squared, residual


def _best_faces(squared: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """The worth of each coalition: the best of the feasible faces within it."""
    games, m = len(squared), residual.shape[2]
    best = squared
    for player in range(m):
        # the weight of j in T has the sign of j's residual after the rest of T
        halves = best.reshape(games, -1, 2, 1 << player)
        after_the_rest = residual.reshape(games, -1, 2, 1 << player, m)[:, :, 0, :, player]
        halves[:, :, 1, :][after_the_rest < 0.0] = 0.0
    for player in range(m):
        halves = best.reshape(games, -1, 2, 1 << player)
        np.maximum(halves[:, :, 1, :], halves[:, :, 0, :], out=halves[:, :, 1, :])
    return np.sqrt(best)


def nonnegative_weights(linear: ArrayLike, gram: ArrayLike) -> NDArray[np.float64]:
    """``argmin over w >= 0 of w'Gw / 2 - linear . w``: float64 (n,); clones get the same bits.

    The active-set method of Lawson & Hanson 1974, doi:10.1137/1.9781611971217, in Gram form: exact,
    finite and deterministic. With ``linear = similarities - penalties`` it is the non-negative lasso. The
    worth of all is ``sqrt(linear . w)``. Raises GameError where ``gram`` is no Gram matrix.

    >>> nonnegative_weights([0.6, 0.8, -0.1], np.eye(3)).round(12).tolist()
    [0.6, 0.8, 0.0]
    """
    return _weights(*checked_blend(linear, gram, leading=0))


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


def numbered(unions: Sequence[Hashable], *, players: int) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """The different labels in order of first mention, and intp (n_players,): the number of each player's.

    >>> numbered(["ann", "bob", "ann"], players=3)
    (('ann', 'bob'), array([0, 1, 0]))
    """
    if len(unions) != players:
        raise GameError(
            f"{players} players need one union label each; got {len(unions)}.",
            next_step="Name each player's creator; one who has none is a union alone.",
        )
    number: dict[Hashable, int] = {}
    union_of = np.array([number.setdefault(label, len(number)) for label in unions], np.intp)
    return tuple(number), union_of


def worth_of_blend(linear: NDArray[np.float64], gram: NDArray[np.float64]) -> float:
    """The worth of all of one checked blend (``checked_blend``), of any number of players."""
    return _worth(linear, _weights(linear, gram))


def interchangeable(linear: NDArray[np.float64], gram: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """bool (n_games, m, m): which players may swap and leave the same numbers; None where nobody may."""
    equal: NDArray[np.bool_] = linear[:, :, None] == linear[:, None, :]
    m = linear.shape[1]
    equal[:, range(m), range(m)] = False
    if not equal.any():
        return None
    game, one, other = np.nonzero(equal)
    between = (np.arange(m) == one[:, None]) | (np.arange(m) == other[:, None])
    same = ((gram[game, one] == gram[game, other]) | between).all(axis=1)
    same &= gram[game, one, one] == gram[game, other, other]
    equal[game, one, other] = same
    equal[:, range(m), range(m)] = True
    return equal


def evened(values: NDArray[np.float64], same: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Equal bits for players who may swap: the mean over each class. values: float64 (n_games, m)."""
    if same is None:
        return values
    means: NDArray[np.float64] = np.where(same, values[:, None, :], 0.0).sum(axis=2) / same.sum(axis=2)
    # a mean of one is that one
    return np.where(same.sum(axis=2) > 1, means, values)


def checked_blend(
    linear: ArrayLike, gram: ArrayLike, *, leading: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """linear and the shrunk Gram matrix, as float64; ``leading``: how many axes come before the players'."""
    gains, cone = np.asarray(linear, np.float64), np.asarray(gram, np.float64)
    if gains.ndim != leading + 1 or cone.shape != (*gains.shape, gains.shape[-1]):
        raise GameError(
            f"A blend takes one number a player and one a pair; got shapes {gains.shape}, {cone.shape}.",
            next_step="Verify the index: fairbrush index verify.",
        )
    norms = np.diagonal(cone, axis1=-2, axis2=-1)
    turned = np.swapaxes(cone, -1, -2)
    largest = norms.max(initial=0.0)
    if (
        not (np.isfinite(gains).all() and np.isfinite(cone).all())
        or (norms <= 0.0).any()
        or (np.abs(cone - turned) > _SYMMETRIC * largest).any()
    ):
        raise GameError(
            "A Gram matrix is finite and symmetric, and no centroid is 0.",
            next_step="Compute it in float64 from the centroids.",
        )
    shrunk = (1.0 - RIDGE) * (0.5 * (cone + turned))
    players = np.arange(gains.shape[-1])
    shrunk[..., players, players] = norms * (1.0 - RIDGE / 2)
    try:
        # half of the ridge is left to spare: no pivot of any subset is lost to rounding
        np.linalg.cholesky(shrunk)
    except np.linalg.LinAlgError as error:
        raise GameError(
            "This Gram matrix has a negative eigenvalue, so it is none.",
            next_step="Compute it in float64 from the centroids.",
        ) from error
    shrunk[..., players, players] = norms
    return gains, shrunk


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
