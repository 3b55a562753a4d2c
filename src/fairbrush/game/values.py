"""Value functions: what a coalition of artists explains of one image's style.

Enters: what the index measured of one image (affinities, threshold). Leaves: ``worth(coalitions)``, one
float64 a coalition. The one rule: every value function is >= 0, monotone, and 0 for nobody, and has the
same signature, so that a solver need not know which one it solves.

A *coalition matrix* is boolean (n_coalitions, n_players): row r, column i says whether player i is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ValueFunction(Protocol):
    """One image's game: ``players`` of them, and the worth of any coalition."""

    @property
    def players(self) -> int:
        """How many players; the columns of a coalition matrix."""
        ...

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        """float64 (n_coalitions,) of bool (n_coalitions, n_players)."""
        ...


class Nearest:
    """``v(S) = max over i in S of (z_i - delta)_+``: the affinity of the coalition's nearest artist.

    An airport game (Littlechild & Owen 1973, doi:10.1287/mnsc.20.3.370) with gains for runway costs.

    >>> game = Nearest([0.5, 0.3, 0.1], delta=0.2)
    >>> game.gains.round(12).tolist()
    [0.3, 0.1, 0.0]
    >>> game.worth(np.array([[False, True, True], [False, False, False]])).round(12).tolist()
    [0.1, 0.0]
    """

    name = "nearest"

    def __init__(self, z: ArrayLike, *, delta: float) -> None:
        """z: float (n_players,), affinities; delta: the image-level threshold. Raises GameError."""
        affinity = np.asarray(z, np.float64)
        if affinity.ndim != 1 or not np.isfinite(affinity).all() or not np.isfinite(delta):
            raise GameError(
                f"Affinities must be finite, one a player; got shape {affinity.shape}, delta {delta}.",
                next_step="Verify the index: fairbrush index verify.",
            )
        self.gains: NDArray[np.float64] = np.maximum(affinity - delta, 0.0)

    @property
    def players(self) -> int:
        return len(self.gains)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not self.players:
            return np.zeros(len(coalitions))
        best: NDArray[np.float64] = np.where(coalitions, self.gains, 0.0).max(axis=1)
        return best


def worth_of_all(game: ValueFunction) -> float:
    """``v(N)``."""
    return float(game.worth(np.ones((1, game.players), np.bool_))[0])


def explained(
    game: ValueFunction, coalitions: NDArray[np.bool_], *, recognised: float
) -> NDArray[np.float64]:
    """``A(S) = G v(S) / v(N)`` in [0, 1], the style each coalition explains; 0 where ``v(N) = 0``.

    ``recognised`` is G in [0, 1]: how fully the style is recognised at all. 1 until it is calibrated.

    >>> explained(Nearest([2.0, 1.0], delta=0.0), np.array([[False, True]]), recognised=0.5).tolist()
    [0.25]
    """
    if not 0.0 <= recognised <= 1.0:
        raise GameError(f"G must lie in [0, 1], not {recognised}.", next_step="Fit the calibration again.")
    whole = worth_of_all(game)
    if whole <= 0.0:
        return np.zeros(len(coalitions))
    return recognised * (game.worth(coalitions) / whole)
