"""The cones of a blend: the worth of every coalition of centroids.

Enters: ``linear``, what each player brings alone, and the Gram matrix of the players' centroids. Leaves: the
worths of all 2^m coalitions. The one rule: whoever solves a blend takes its Gram matrix from
``checked_blend``, off-diagonals shrunk by ``RIDGE``, so that clones are two players and not a singularity.

The worth of S is ``max of linear_S . w over w >= 0 with w'Gw <= 1``. Its square is the maximum of
``2 linear . w - w'Gw``; the optimum lies on a face T of S where ``G_T w_T = linear_T`` and ``w_T >= 0``, and
any such T is feasible. So ``v(S)^2 = max over feasible T within S of linear_T' G_T^-1 linear_T``, exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# As if each centroid had a 3e-5 part of its own. Rounding moves a pivot by 1e-15, so a clone's pivot (1e-9)
# keeps six digits; a worth grows by less than 5e-10 of itself where no two centroids point apart.
RIDGE = 1e-9
MOST_TABLED = 16  # 2^16 worths take about 0.04 s
_CHUNK = 1 << 21  # residuals held at a time: 16 MB
_SYMMETRIC = 1e-9  # relative; a Gram matrix in float32 is further off


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
            next_step="Let selection.survivors choose the players.",
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
