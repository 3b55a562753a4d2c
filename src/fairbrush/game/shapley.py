"""Exact Shapley values: by enumeration for any game of few players, in closed form for ``nearest``.

Enters: a game (values.py) or its gains. Leaves: float64 (n_players,), phi, summing to ``v(N)``. The one
rule: exact or refused; nothing here samples. Shapley 1953, doi:10.1515/9781400881970-018.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fairbrush.game.values import ValueFunction

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
    n = game.players
    if n > MOST_ENUMERATED:
        raise GameError(
            f"{n} players have 2^{n} coalitions; at most {MOST_ENUMERATED} players are enumerated.",
            next_step="Use the value function's closed form.",
        )
    worth = _worth_of_every_coalition(game)
    codes = np.arange(1 << n, dtype=np.uint32)
    size = np.zeros(1 << n, np.intp)
    for player in range(n):
        size += (codes >> player) & 1
    # |S|! (n-|S|-1)! / n! = 1 / (n * C(n-1, |S|)), without the factorials
    weight = np.array([1.0 / (n * comb(n - 1, s)) for s in range(n)])
    phi = np.zeros(n)
    for player in range(n):
        without = codes[(codes >> player) & 1 == 0]
        marginal = worth[without | (1 << player)] - worth[without]
        phi[player] = weight[size[without]] @ marginal
    return phi


def _worth_of_every_coalition(game: ValueFunction) -> NDArray[np.float64]:
    """float64 (2^n,): entry c is the worth of the players whose bit is set in c."""
    n = game.players
    bits = np.arange(n, dtype=np.uint32)
    parts = []
    for start in range(0, 1 << n, _CHUNK):
        codes = np.arange(start, min(start + _CHUNK, 1 << n), dtype=np.uint32)
        parts.append(game.worth((codes[:, None] >> bits) & 1 == 1))
    return np.concatenate(parts)


def shapley_of_nearest(gains: ArrayLike) -> NDArray[np.float64]:
    """phi of ``v(S) = max of gains over S``, in O(n log n).

    With gains sorted descending, ``d_j = g_(j) - g_(j+1)`` and ``g_(n+1) = 0``:
    ``phi_(k) = sum over j >= k of d_j / j``. Littlechild & Owen 1973, doi:10.1287/mnsc.20.3.370.
    Equal gains get equal bits. gains: float (n_players,), >= 0.

    >>> shapley_of_nearest([1.0, 3.0, 1.0]).round(12).tolist()
    [0.333333333333, 2.333333333333, 0.333333333333]
    """
    worth = _checked(gains)
    order = np.argsort(-worth, kind="stable")
    steps = _steps(worth[order])
    phi = np.empty_like(worth)
    # cumsum adds in order, one by one: the same bits on every machine
    phi[order] = np.cumsum((steps / np.arange(1, len(worth) + 1))[::-1])[::-1]
    return phi


def veto_value_of_model(gains: ArrayLike) -> float:
    """The Shapley value of a model without which nobody explains anything: shown, never paid.

    In the game ``u(S) = max of gains over S`` if the model is in S, else 0, the model's marginal is what
    precedes it, so it gets ``sum of d_j * j / (j + 1)``: of n look-alikes it takes n / (n + 1).

    >>> veto_value_of_model([1.0, 1.0, 1.0])
    0.75
    """
    worth = _checked(gains)
    rank = np.arange(1, len(worth) + 1)
    return float((_steps(np.sort(worth)[::-1]) * rank / (rank + 1)).sum())


def _steps(descending: NDArray[np.float64]) -> NDArray[np.float64]:
    """``d_j = g_(j) - g_(j+1)``, with nothing after the last."""
    steps: NDArray[np.float64] = descending - np.append(descending[1:], 0.0)
    return steps


def _checked(gains: ArrayLike) -> NDArray[np.float64]:
    worth = np.asarray(gains, np.float64)
    if worth.ndim != 1 or not np.isfinite(worth).all() or (worth < 0).any():
        raise GameError(
            f"Gains must be finite and >= 0, one a player; got shape {worth.shape}.",
            next_step="Subtract the threshold and clip at 0 first (values.Nearest).",
        )
    return worth
