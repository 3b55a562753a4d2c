"""Value functions: what a coalition of artists explains of one image's style.

Enters: what the index measured of one image (affinities, threshold). Leaves: ``worth(coalitions)``, one
float64 a coalition. The one rule: every value function is 0 for nobody and has the same signature, so that
a solver need not know which one it solves; all but ``Reconstruction`` are >= 0 and monotone.

A *coalition matrix* is boolean (n_coalitions, n_players): row r, column i says whether player i is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairbrush.errors import GameError
from fairbrush.game.blend import MOST_TABLED, checked_blend, worth_of_every_blend
from fairbrush.game.selection import worth_of_blend
from fairbrush.game.unions import numbered

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


# A calibration's: monotone, 0 for 0, elementwise on float64 of any shape (style/calibration.py).
WorthMap = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


class ValueFunction(Protocol):
    """One image's game: ``players`` of them, and the worth of any coalition. ``name`` is what is recorded."""

    @property
    def name(self) -> str: ...

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
    Calibrated it is the airport game of the mapped gains: a monotone m of a maximum is the maximum of m.

    >>> game = Nearest([0.5, 0.3, 0.1], delta=0.2)
    >>> game.gains.round(12).tolist()
    [0.3, 0.1, 0.0]
    >>> game.worth(np.array([[False, True, True], [False, False, False]])).round(12).tolist()
    [0.1, 0.0]
    """

    name = "nearest"

    def __init__(self, z: ArrayLike, *, delta: float, worth_map: WorthMap | None = None) -> None:
        """z: float (n_players,), affinities; delta: the image-level threshold. Raises GameError."""
        affinity = np.asarray(z, np.float64)
        if affinity.ndim != 1 or not np.isfinite(affinity).all() or not np.isfinite(delta):
            raise GameError(
                f"Affinities must be finite, one a player; got shape {affinity.shape}, delta {delta}.",
                next_step="Verify the index: fairbrush index verify.",
            )
        self.gains: NDArray[np.float64] = mapped(np.maximum(affinity - delta, 0.0), worth_map)

    @property
    def players(self) -> int:
        return len(self.gains)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not self.players:
            return np.zeros(len(coalitions))
        best: NDArray[np.float64] = np.where(coalitions, self.gains, 0.0).max(axis=1)
        return best


class Facets:
    """``v(S) = sum over facets p of w_p max over i in S of (z_pi - delta_p)_+``: nearest, a crop at a time.

    For spatial collages: each facet has its own nearest artist. A calibration maps the gains of each facet.

    >>> game = Facets([[0.9, 0.1], [0.1, 0.6]], delta=0.1, weights=[0.5, 0.5])
    >>> game.worth(np.array([[True, False], [True, True]])).round(12).tolist()
    [0.4, 0.65]
    """

    name = "facets"

    def __init__(
        self, z: ArrayLike, *, delta: ArrayLike, weights: ArrayLike, worth_map: WorthMap | None = None
    ) -> None:
        """z: float (n_facets, n_players), affinities; delta: one threshold, or float (n_facets,); weights:
        float (n_facets,), >= 0. Raises GameError.
        """
        affinity, threshold = np.asarray(z, np.float64), np.asarray(delta, np.float64)
        self.weights: NDArray[np.float64] = np.asarray(weights, np.float64)
        if (
            affinity.ndim != 2
            or self.weights.shape != affinity.shape[:1]
            or threshold.shape not in ((), affinity.shape[:1])
            or not all(np.isfinite(part).all() for part in (affinity, threshold, self.weights))
            or (self.weights < 0).any()
        ):
            raise GameError(
                f"Facets take finite affinities (n_facets, n_players) and weights >= 0, one a facet;"
                f" got shapes {affinity.shape}, {threshold.shape}, {self.weights.shape}.",
                next_step="Verify the index: fairbrush index verify.",
            )
        gains: NDArray[np.float64] = np.maximum(affinity - np.atleast_1d(threshold)[:, None], 0.0)
        self.gains = mapped(gains, worth_map)

    @property
    def players(self) -> int:
        return int(self.gains.shape[1])

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = np.zeros(len(coalitions))
        if self.players:
            for weight, gains in zip(self.weights, self.gains, strict=True):
                total += weight * np.where(coalitions, gains, 0.0).max(axis=1)
        return total


class Blend:
    """``v(S) = max of linear_S . w over w >= 0 with w'Gw <= 1``: the nearest blend of its artists.

    With ``linear`` the similarities of a unit x to unit centroids it is the norm of x's projection on their
    cone, the best cosine of x to any non-negative mix. With ``linear = s_i - lambda_i`` it is the gain over
    the threshold, and a single player brings what ``nearest`` gives it. Exact for the Gram matrix with its
    off-diagonals shrunk by 1e-9: all coalitions at once (blend.py), or one by one beyond 16 players. A
    calibration maps the worth of every coalition.

    >>> game = Blend([0.6, 0.8], np.eye(2))
    >>> game.worth(np.array([[True, False], [True, True]])).round(12).tolist()
    [0.6, 1.0]
    """

    name = "blend"

    def __init__(self, linear: ArrayLike, gram: ArrayLike, *, worth_map: WorthMap | None = None) -> None:
        """linear: float (n_players,); gram: float (n_players, n_players), centroids'. Raises GameError."""
        self.linear: NDArray[np.float64] = np.asarray(linear, np.float64)
        self.gram: NDArray[np.float64] = np.asarray(gram, np.float64)
        self.worth_map = worth_map
        self._checked = checked_blend(self.linear, self.gram, leading=0)
        self._of_every: NDArray[np.float64] | None = None

    @property
    def players(self) -> int:
        return len(self.linear)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self.players > MOST_TABLED:
            worths = [self._worth_of_one(np.flatnonzero(row)) for row in coalitions]
            return mapped(np.array(worths, np.float64), self.worth_map)
        if self._of_every is None:
            self._of_every = mapped(
                worth_of_every_blend(self.linear[None], self.gram[None])[0], self.worth_map
            )
        return self._of_every[coalitions @ (1 << np.arange(self.players))]

    def _worth_of_one(self, members: NDArray[np.intp]) -> float:
        linear, gram = self._checked
        return worth_of_blend(linear[members], gram[np.ix_(members, members)])


class Reconstruction:
    """``v(S) = |x|^2 - |x - sum over S of w_i c_i|^2``: what the coalition's part of one blend redraws.

    The weights are fixed: those of the best blend of all (selection.nonnegative_weights). The one value
    function that may fall when an artist joins, and be below 0: look-alikes together overshoot.

    >>> game = Reconstruction([0.6, 0.8], np.eye(2), weights=[0.6, 0.8])
    >>> game.worth(np.array([[True, False], [True, True]])).round(12).tolist()
    [0.36, 1.0]
    """

    name = "reconstruction"

    def __init__(self, similarities: ArrayLike, gram: ArrayLike, *, weights: ArrayLike) -> None:
        """similarities: float (n_players,), <x, c_i>; gram: float (n_players, n_players); weights: float
        (n_players,). Raises GameError.
        """
        self.similarities: NDArray[np.float64] = np.asarray(similarities, np.float64)
        self.gram: NDArray[np.float64] = np.asarray(gram, np.float64)
        self.weights: NDArray[np.float64] = np.asarray(weights, np.float64)
        shape = self.similarities.shape
        if (
            len(shape) != 1
            or self.weights.shape != shape
            or self.gram.shape != shape * 2
            or not all(np.isfinite(part).all() for part in (self.similarities, self.gram, self.weights))
        ):
            raise GameError(
                f"A reconstruction takes finite numbers: one similarity and weight a player, one a pair; got"
                f" shapes {shape}, {self.weights.shape}, {self.gram.shape}.",
                next_step="Verify the index: fairbrush index verify.",
            )

    @property
    def players(self) -> int:
        return len(self.similarities)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        present = np.where(coalitions, self.weights, 0.0)
        worth: NDArray[np.float64] = (present * (2.0 * self.similarities - present @ self.gram)).sum(axis=1)
        return worth


class TopKMean:
    """``v(S)``: the sum of the coalition's K largest gains, over K. K = 1 is nearest; K >= n is additive.

    >>> TopKMean([0.9, 0.6, 0.3], k=2).worth(np.array([[True, True, True]])).round(12).tolist()
    [0.75]
    """

    name = "top-k mean"

    def __init__(self, gains: ArrayLike, *, k: int) -> None:
        """gains: float (n_players,), >= 0; k >= 1. Raises GameError."""
        self.gains: NDArray[np.float64] = checked_gains(gains, axes=1)
        self.k = k
        if k < 1:
            raise GameError(f"A mean of the best {k} is none.", next_step="Choose k >= 1.")

    @property
    def players(self) -> int:
        return len(self.gains)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        best = -np.sort(-np.where(coalitions, self.gains, 0.0), axis=1)[:, : self.k]
        worth: NDArray[np.float64] = best.sum(axis=1) / self.k
        return worth


class Quotient:
    """A game of unions: each brings all of its members. Owen 1977, doi:10.1007/978-3-642-45494-3_7.

    >>> creators = Quotient(Nearest([0.5, 0.3, 0.4], delta=0.0), ["ann", "bob", "ann"])
    >>> creators.labels, creators.worth(np.array([[True, False], [False, True]])).tolist()
    (('ann', 'bob'), [0.5, 0.3])
    """

    def __init__(self, game: ValueFunction, unions: Sequence[Hashable]) -> None:
        """unions: one label a player; players of one label are one union. Raises GameError."""
        self.game = game
        self.labels, self.union_of = numbered(unions, players=game.players)

    @property
    def name(self) -> str:
        return f"{self.game.name}, unions"

    @property
    def players(self) -> int:
        return len(self.labels)

    def worth(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return self.game.worth(coalitions[:, self.union_of])


def checked_gains(gains: ArrayLike, *, axes: int) -> NDArray[np.float64]:
    """gains as float64, one a player, in ``axes`` axes. Raises GameError unless finite and >= 0."""
    worth = np.asarray(gains, np.float64)
    if worth.ndim != axes or not np.isfinite(worth).all() or (worth < 0).any():
        raise GameError(
            f"Gains must be finite and >= 0, one a player; got shape {worth.shape}.",
            next_step="Subtract the threshold and clip at 0 first (values.Nearest).",
        )
    return worth


def mapped(worths: NDArray[np.float64], worth_map: WorthMap | None) -> NDArray[np.float64]:
    """What a calibration makes of worths; the same array where there is none."""
    return worths if worth_map is None else worth_map(worths)


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
