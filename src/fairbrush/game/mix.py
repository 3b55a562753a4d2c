"""The game of an image that was mixed from given images: what part of the mix gives how like an image.

Enters: what each player's inputs are together, seen from the image and from one another. Leaves: the worth of
all 2^m coalitions, and the exact Shapley values of those who may be paid. The one rule: whoever may not be
paid counts in what all inputs explain, and is in nobody's coalition.

Player k brings ``m_k``, the weighted sum of its inputs' unit vectors. With x the image's unit vector,
``u(S) = max(0, cos(x, sum of m_k over S))``: how like the image the mix of S alone is. It may fall when
somebody joins whom the image does not show, so ``v(S) = max of u(T) over T within S``, its monotone cover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError
from fairbrush.game.blend import MOST_TABLED, evened, interchangeable
from fairbrush.game.shapley import shapley_by_enumeration

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# A mix of unit vectors whose squared length is at most this part of its squared weight has no direction:
# opposite inputs cancel. Rounding moves a squared length by about 1e-15 of that.
VANISHING = 1e-9


class Mix:
    """``v(S)``: the best cosine, at least 0, of the image to the mix of some of the coalition's inputs.

    >>> game = Mix([0.6 * 0.6, 0.4 * 0.8], np.diag([0.36, 0.16]), weights=[0.6, 0.4])
    >>> game.worth(np.array([[True, False], [False, True], [True, True]])).round(6).tolist()
    [0.6, 0.8, 0.94299]
    """

    name = "mix"

    def __init__(
        self, linear: ArrayLike, gram: ArrayLike, *, weights: ArrayLike, paid: int | None = None
    ) -> None:
        """linear: float (n,), ``<x, m_k>``; gram: float (n, n), ``<m_k, m_l>``; weights: float (n,), what
        each one's inputs weigh; paid: how many may be paid, the first ones: they alone are the players; all
        where None. Raises GameError.
        """
        self.linear: NDArray[np.float64] = np.asarray(linear, np.float64)
        self.gram: NDArray[np.float64] = np.asarray(gram, np.float64)
        weight = np.asarray(weights, np.float64)
        n = self.linear.size
        self.players = n if paid is None else paid
        if (
            self.linear.shape != (n,)
            or weight.shape != (n,)
            or self.gram.shape != (n, n)
            or not all(np.isfinite(part).all() for part in (self.linear, self.gram, weight))
            or not np.array_equal(self.gram, self.gram.T)
            or (weight < 0.0).any()
            or not 0 <= self.players <= n <= MOST_TABLED
        ):
            raise GameError(
                f"A mix takes finite numbers, one and a weight a player and a symmetric one a pair, of at"
                f" most {MOST_TABLED} players; got shapes {self.linear.shape}, {weight.shape},"
                f" {self.gram.shape}, {self.players} of them paid.",
                next_step="Verify the index: fairbrush index verify.",
            )
        self._of_every = worth_of_every_mix(self.linear, self.gram, weight)

    @property
    def part_of_paid(self) -> float:
        """``v(those who may be paid) / v(all)``: the rest is explained by the others' inputs alone."""
        whole = float(self._of_every[-1])
        return float(self._of_every[(1 << self.players) - 1]) / whole if whole > 0.0 else 0.0

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        worth: NDArray[np.float64] = self._of_every[coalitions @ (1 << np.arange(self.players))]
        return worth


def worth_of_every_mix(
    linear: NDArray[np.float64], gram: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 (2^n,): entry c is v of the players whose bit is set in c. Sums of single numbers, so the same
    bits on every machine. linear, weights: float64 (n,); gram: float64 (n, n).
    """
    n = len(linear)
    along, squared, weight = np.zeros(1), np.zeros(1), np.zeros(1)
    for player in range(n):
        overlap = np.zeros(1)
        for other in range(player):
            overlap = np.concatenate([overlap, overlap + gram[other, player]])
        along = np.concatenate([along, along + linear[player]])
        squared = np.concatenate([squared, squared + (2.0 * overlap + gram[player, player])])
        weight = np.concatenate([weight, weight + weights[player]])
    is_like = (along > 0.0) & (squared > VANISHING * weight * weight)
    best = np.where(is_like, along / np.sqrt(np.where(is_like, squared, 1.0)), 0.0)
    best = np.minimum(best, 1.0)
    for player in range(n):
        halves = best.reshape(-1, 2, 1 << player)
        np.maximum(halves[:, 1, :], halves[:, 0, :], out=halves[:, 1, :])
    return best


def shapley_of_mix(game: Mix) -> NDArray[np.float64]:
    """phi of those who may be paid, from all coalitions: float64 (players,), sums to what they are worth.

    Players who may swap get equal bits.

    >>> shapley_of_mix(Mix([0.2, 0.2, 0.1], np.eye(3) / 9, weights=[1 / 3] * 3, paid=2)).round(6).tolist()
    [0.424264, 0.424264]
    """
    phi = shapley_by_enumeration(game)
    paid = slice(game.players)
    same = interchangeable(game.linear[None, paid], game.gram[None, paid, paid])
    even: NDArray[np.float64] = evened(phi[None], same)[0]
    return even
