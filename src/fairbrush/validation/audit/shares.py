"""Who gets which part of each image: a table of images and creators that is nearly all zeros.

Enters: triplets (image, column, part). Leaves: a ``Shares``, which sums columns without ever being dense. The
one rule: the parts of every image sum to 1; the last column is nobody, to whom goes what no creator gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SUM = 1e-6  # how far from 1 the parts of an image may add up


@dataclass(frozen=True, eq=False)
class Shares:
    """A sparse table of shares, (images, columns). The last column is nobody.

    rows, columns: intp (k,), each pair at most once, in order of rows; parts: float64 (k,), those above 0.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    parts: NDArray[np.float64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, table: ArrayLike | Shares) -> Shares:
        """From a dense float (images, columns). Raises ValidationError.

        >>> Shares.of([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]).parts.tolist()
        [0.75, 0.25, 1.0]
        """
        if isinstance(table, Shares):
            return table
        dense = np.asarray(table, np.float64)
        rows, columns = np.nonzero(dense)
        return cls.of_triplets(rows, columns, dense[rows, columns], shape=(dense.shape[0], dense.shape[1]))

    @classmethod
    def of_triplets(
        cls, rows: ArrayLike, columns: ArrayLike, parts: ArrayLike, *, shape: tuple[int, int]
    ) -> Shares:
        """From triplets in any order; what one image gives one column in several parts is added up.

        Raises ValidationError.

        >>> Shares.of_triplets([0, 0, 0], [1, 0, 1], [0.25, 0.5, 0.25], shape=(1, 3)).parts.tolist()
        [0.5, 0.5]
        """
        found = _joined(
            np.asarray(rows, np.intp), np.asarray(columns, np.intp), np.asarray(parts, np.float64), shape
        )
        sums = np.bincount(found.rows, weights=found.parts, minlength=shape[0])
        wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= _SUM))
        if len(wrong) or (found.parts < 0.0).any():
            row = [*wrong, *found.rows[found.parts < 0.0]][0]
            raise ValidationError(
                f"The shares of an image must be 0 or more and sum to 1; see row {row} of {shape[0]}.",
                next_step="Give nobody, the last column, what no creator gets.",
            )
        return found

    def take(self, positions: NDArray[np.intp]) -> Shares:
        """The rows at these positions, which may repeat."""
        starts = np.searchsorted(self.rows, positions, side="left")
        counts = np.searchsorted(self.rows, positions, side="right") - starts
        rows = np.repeat(np.arange(len(positions)), counts)
        entries = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - starts, counts)
        return Shares(rows, self.columns[entries], self.parts[entries], (len(positions), self.shape[1]))

    def grouped(self, groups: ArrayLike) -> Shares:
        """Creators added up by group, nobody on its own. groups: int (columns - 1,), from 0.

        Raises ValidationError.

        >>> table = Shares.of([[0.5, 0.25, 0.0, 0.25]]).grouped([0, 0, 1])
        >>> table.columns.tolist(), table.parts.tolist(), table.shape
        ([0, 2], [0.75, 0.25], (1, 3))
        """
        of_creators = np.asarray(groups, np.intp)
        if of_creators.shape != (self.shape[1] - 1,) or (of_creators < 0).any():
            raise ValidationError(
                f"{self.shape[1] - 1} creators need a group each, from 0; got {of_creators.shape}.",
                next_step="Give nobody no group.",
            )
        n_groups = int(of_creators.max(initial=-1)) + 1
        of_columns = np.append(of_creators, n_groups)
        return _joined(self.rows, of_columns[self.columns], self.parts, (self.shape[0], n_groups + 1))

    def totals(
        self, weights: NDArray[np.float64], *, power: int = 1, size: bool = False
    ) -> NDArray[np.float64]:
        """``sum_t weights_t parts_ta^power``: float64 (columns,). size: of ``|parts|``."""
        parts = np.abs(self.parts) if size else self.parts
        entries = weights[self.rows] * parts**power
        return np.asarray(np.bincount(self.columns, weights=entries, minlength=self.shape[1]), np.float64)


def difference(measured: Shares, fast: Shares) -> Shares:
    """``measured - fast``, entry by entry; its rows sum to 0 and its parts may be negative."""
    return _joined(
        np.concatenate([measured.rows, fast.rows]),
        np.concatenate([measured.columns, fast.columns]),
        np.concatenate([measured.parts, -fast.parts]),
        measured.shape,
    )


def mis_paid(measured: Shares, fast: Shares) -> NDArray[np.float64]:
    """Half of the sum of differences of each image: float64 (images,), from 0 to 1.

    >>> mis_paid(Shares.of([[0.5, 0.5, 0.0]]), Shares.of([[1.0, 0.0, 0.0]])).tolist()
    [0.5]
    """
    apart = difference(measured, fast)
    sums = np.bincount(apart.rows, weights=np.abs(apart.parts), minlength=apart.shape[0])
    return np.minimum(sums / 2.0, 1.0)


def _joined(
    rows: NDArray[np.intp], columns: NDArray[np.intp], parts: NDArray[np.float64], shape: tuple[int, int]
) -> Shares:
    keys, places = np.unique(rows * shape[1] + columns, return_inverse=True)
    sums = np.bincount(places, weights=parts, minlength=len(keys))
    kept = sums != 0.0
    return Shares(keys[kept] // shape[1], keys[kept] % shape[1], sums[kept], shape)
