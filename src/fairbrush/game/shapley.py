"""Exact Shapley values: by enumeration for any game of few players, in closed form where there is one.

Enters: a game (values.py) or its numbers. Leaves: float64 (n_players,), phi, summing to ``v(N)``; the
``_many`` solvers take and leave one game a row, each with the bits it gets alone. The one rule: exact or
refused; nothing here samples. Shapley 1953, doi:10.1515/9781400881970-018. Unions are in owen.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError
from fairbrush.game.blend import evened, interchangeable, worth_of_every_blend
from fairbrush.game.values import checked_gains, mapped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fairbrush.game.values import Facets, Reconstruction, ValueFunction, WorthMap

MOST_ENUMERATED = 20  # 2^20 coalitions: a second and 100 MB
_CHUNK = 1 << 16  # coalitions valued at a time


def shapley_by_enumeration(game: ValueFunction) -> NDArray[np.float64]:
    """phi of any game of at most 20 players, from the worth of all 2^n coalitions.

    ``phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S))``.
    Raises GameError beyond 20 players.

    >>> from fairbrush.game.values import Nearest
    >>> shapley_by_enumeration(Nearest([3.0, 1.0], delta=0.0)).tolist()
    [2.5, 0.5]
    """
    phi: NDArray[np.float64] = shapley_of_worths(worth_of_every_coalition(game)[None], players=game.players)[
        0
    ]
    return phi


def veto_value_of_model_in(game: ValueFunction) -> float:
    """The Shapley value of a model without which nobody in ``game`` explains anything: shown, never paid.

    In ``u(S) = v(S minus model)`` if the model is in S, else 0, the model's marginal is what precedes it:
    ``sum over S of |S|! (n - |S|)! / (n + 1)! * v(S)``. Raises GameError beyond 20 players.

    >>> from fairbrush.game.values import Blend
    >>> round(veto_value_of_model_in(Blend([0.6, 0.8], np.eye(2))), 12)
    0.566666666667
    """
    n = game.players
    # |S|! (n-|S|)! / (n+1)! = 1 / ((n + 1) * C(n, |S|))
    weight = np.array([1.0 / ((n + 1) * comb(n, size)) for size in range(n + 1)])
    return float((weight[_sizes(n)] * worth_of_every_coalition(game)).sum())


def worth_of_every_coalition(game: ValueFunction) -> NDArray[np.float64]:
    """float64 (2^n,): entry c is the worth of the players whose bit is set in c.

    Raises GameError beyond 20 players.
    """
    n = game.players
    if n > MOST_ENUMERATED:
        raise GameError(
            f"{n} players have 2^{n} coalitions; at most {MOST_ENUMERATED} players are enumerated.",
            next_step="Use the value function's closed form.",
        )
    bits = np.arange(n, dtype=np.uint32)
    parts = []
    for start in range(0, 1 << n, _CHUNK):
        codes = np.arange(start, min(start + _CHUNK, 1 << n), dtype=np.uint32)
        parts.append(game.worth((codes[:, None] >> bits) & 1 == 1))
    return np.concatenate(parts)


def shapley_of_worths(worths: NDArray[np.float64], *, players: int) -> NDArray[np.float64]:
    """phi (n_games, n) of games given by the worths of all coalitions (n_games, 2^n)."""
    codes, size = np.arange(1 << players), _sizes(players)
    # |S|! (n-|S|-1)! / n! = 1 / (n * C(n-1, |S|)), without the factorials
    weight = np.array([1.0 / (players * comb(players - 1, s)) for s in range(players)])
    phi = np.zeros((len(worths), players))
    for player in range(players):
        without = codes[(codes >> player) & 1 == 0]
        # take leaves contiguous rows, which are summed in one order however many there are
        marginal = worths.take(without | (1 << player), axis=1) - worths.take(without, axis=1)
        phi[:, player] = (marginal * weight[size[without]]).sum(axis=1)
    return phi


@lru_cache(maxsize=8)
def _sizes(players: int) -> NDArray[np.intp]:
    """intp (2^n,): how many players each coalition has."""
    codes = np.arange(1 << players)
    size = np.zeros(1 << players, np.intp)
    for player in range(players):
        size += (codes >> player) & 1
    size.flags.writeable = False
    return size


def shapley_of_nearest(gains: ArrayLike) -> NDArray[np.float64]:
    """phi of ``v(S) = max of gains over S``, in O(n log n).

    With gains sorted descending, ``d_j = g_(j) - g_(j+1)`` and ``g_(n+1) = 0``:
    ``phi_(k) = sum over j >= k of d_j / j``. Littlechild & Owen 1973, doi:10.1287/mnsc.20.3.370.
    Equal gains get equal bits. gains: float (n_players,), >= 0.

    >>> shapley_of_nearest([1.0, 3.0, 1.0]).round(12).tolist()
    [0.333333333333, 2.333333333333, 0.333333333333]
    """
    phi: NDArray[np.float64] = _airports(checked_gains(gains, axes=1)[None])[0]
    return phi


def shapley_of_nearest_many(gains: ArrayLike) -> NDArray[np.float64]:
    """``shapley_of_nearest`` of each row. gains: float (n_games, n_players), >= 0; leaves the same shape.

    >>> shapley_of_nearest_many([[3.0, 1.0], [0.0, 2.0]]).tolist()
    [[2.5, 0.5], [0.0, 2.0]]
    """
    return _airports(checked_gains(gains, axes=2))


def shapley_of_facets(game: Facets) -> NDArray[np.float64]:
    """phi of facets: the sum of their airport games, as the Shapley value is linear. float64 (n_players,).

    >>> from fairbrush.game.values import Facets
    >>> shapley_of_facets(Facets([[3.0, 1.0], [0.0, 2.0]], delta=0.0, weights=[1.0, 0.5])).tolist()
    [2.5, 1.5]
    """
    phi: NDArray[np.float64] = (game.weights[:, None] * _airports(game.gains)).sum(axis=0)
    return phi


def shapley_of_top_k_mean(gains: ArrayLike, *, k: int) -> NDArray[np.float64]:
    """phi of ``TopKMean``: ``phi_(j) - phi_(j+1) = d_j min(k, j) / (k j)``, in O(n log n).

    The recursion of KNN-Shapley, Jia et al. 2019, arXiv:1908.08619, doi:10.14778/3342263.3342637.
    gains: float (n_players,), >= 0. Raises GameError where k < 1.

    >>> shapley_of_top_k_mean([3.0, 1.0], k=2).tolist()
    [1.5, 0.5]
    """
    if k < 1:
        raise GameError(f"A mean of the best {k} is none.", next_step="Choose k >= 1.")
    phi: NDArray[np.float64] = _airports(checked_gains(gains, axes=1)[None], best=k)[0]
    return phi


def shapley_of_reconstruction(game: Reconstruction) -> NDArray[np.float64]:
    """phi of ``Reconstruction``: ``phi_i = w_i (2 s_i - (G w)_i)``, as each pair shares its overlap equally.

    May be negative: recorded as measured, paid as 0 (shares.split).

    >>> from fairbrush.game.values import Reconstruction
    >>> game = Reconstruction([0.6, 0.8], np.eye(2), weights=[0.6, 0.8])
    >>> shapley_of_reconstruction(game).round(12).tolist()
    [0.36, 0.64]
    """
    phi: NDArray[np.float64] = game.weights * (2.0 * game.similarities - game.gram @ game.weights)
    return phi


def shapley_of_blend(
    linear: ArrayLike, gram: ArrayLike, *, worth_map: WorthMap | None = None
) -> NDArray[np.float64]:
    """phi of ``Blend``, from all 2^m coalitions: float64 (m,). Players who may swap get equal bits.

    linear: float (m,); gram: float (m, m). Raises GameError beyond 16 players, or for no Gram matrix.

    >>> shapley_of_blend([0.6, 0.8], np.eye(2)).round(12).tolist()
    [0.4, 0.6]
    """
    gains, cone = np.asarray(linear)[None], np.asarray(gram)[None]
    phi: NDArray[np.float64] = shapley_of_blend_many(gains, cone, worth_map=worth_map)[0]
    return phi


def shapley_of_blend_many(
    linear: ArrayLike, gram: ArrayLike, *, worth_map: WorthMap | None = None
) -> NDArray[np.float64]:
    """``shapley_of_blend`` of each game: the replicates of a bootstrap at once.

    linear: float (n_games, m); gram: float (n_games, m, m); leaves float64 (n_games, m).

    >>> shapley_of_blend_many([[0.6, 0.8], [0.5, 0.5]], [np.eye(2), np.ones((2, 2))]).round(9).tolist()
    [[0.4, 0.6], [0.25, 0.25]]
    """
    gains, grams = np.asarray(linear, np.float64), np.asarray(gram, np.float64)
    worths = mapped(worth_of_every_blend(gains, grams), worth_map)
    return evened(shapley_of_worths(worths, players=gains.shape[1]), interchangeable(gains, grams))


def veto_value_of_model(gains: ArrayLike) -> float:
    """``veto_value_of_model_in`` the game ``max of gains over S``, in O(n log n): shown, never paid.

    The model gets ``sum of d_j * j / (j + 1)``: of n look-alikes it takes n / (n + 1).

    >>> veto_value_of_model([1.0, 1.0, 1.0])
    0.75
    """
    worth = checked_gains(gains, axes=1)
    rank = np.arange(1, len(worth) + 1)
    return float((_steps(np.sort(worth)[::-1]) * rank / (rank + 1)).sum())


def _airports(gains: NDArray[np.float64], *, best: int = 1) -> NDArray[np.float64]:
    """phi of each row's game of the mean of the ``best`` gains."""
    order = np.argsort(-gains, axis=1, kind="stable")
    rank = np.arange(1, gains.shape[1] + 1)
    part = _steps(np.take_along_axis(gains, order, axis=1)) * np.minimum(rank, best) / (rank * best)
    phi = np.empty_like(gains)
    # cumsum adds in order, one by one: the same bits on every machine
    np.put_along_axis(phi, order, np.cumsum(part[:, ::-1], axis=1)[:, ::-1], axis=1)
    return phi


def _steps(descending: NDArray[np.float64]) -> NDArray[np.float64]:
    """``d_j = g_(j) - g_(j+1)`` along the last axis, with nothing after the last."""
    after = np.zeros_like(descending)
    after[..., :-1] = descending[..., 1:]
    return descending - after
