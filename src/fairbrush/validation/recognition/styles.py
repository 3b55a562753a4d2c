"""The styles that images are held against: each creator of an index, and each hand of its panel.

Enters: an open ``StyleIndex``. Leaves: ``Styles``, and from them the cosine of an image to the nearest
centroid of each. The one rule: a creator's entries are one style, and a style is of two works or more.
Everybody counts, those who opted out too: an unknown name is compared with them, and nothing is said of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.index.distinctiveness import Hands
from fairbrush.style.centroids import fit_centroids, own_affinities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex
    from fairbrush.style.strangers import Strangers

FEWEST_WORKS = 2


@dataclass(frozen=True, eq=False)
class Styles:
    """creator_ids: of the first columns, sorted; the panel's hands follow. rows: float64 (n_centroids, dim),
    style after style; firsts: intp (n_styles,), where each one's begin."""

    creator_ids: tuple[str, ...]
    rows: NDArray[np.float64]
    firsts: NDArray[np.intp]

    @classmethod
    def of_index(cls, index: StyleIndex) -> Styles:
        """Raises IndexDamagedError."""
        hands = Hands.of_index(index)
        known = [one for one in hands.creator_ids if len(index.pooled_works(one)) >= FEWEST_WORKS]
        centroids = [hands.rows_of(one)[:, :-1].astype(np.float64) for one in known]
        centroids += panel_centroids(index.strangers)
        firsts = np.cumsum([0, *map(len, centroids)])[:-1]
        return cls(tuple(known), np.concatenate([np.empty((0, index.dim)), *centroids]), firsts)

    def __len__(self) -> int:
        return len(self.firsts)

    def column_of(self, creator_id: str) -> int:
        return self.creator_ids.index(creator_id)

    def cosines(self, styled: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (n, n_styles), to the nearest centroid of each, of unit rows (n, dim) in style space.

        One row at a time: a matrix product rounds a row differently with other rows beside it.

        >>> two = Styles(("a",), np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), np.array([0, 2]))
        >>> two.cosines(np.array([[0.6, 0.8]])).tolist()
        [[0.8, 0.96]]
        """
        found = np.empty((len(styled), len(self)))
        for place, row in enumerate(styled):
            found[place] = np.maximum.reduceat(self.rows @ row, self.firsts)
        return found


def panel_centroids(strangers: Strangers) -> list[NDArray[np.float64]]:
    """The mean direction of each hand of the panel that has two works or more: float64 (1, dim) each.

    Of the works as an index keeps them, each in a space fitted without it (``style.strangers``).
    """
    hands = [strangers.wide[strangers.hands == hand] for hand in range(strangers.n_hands)]
    return [fit_centroids(works).astype(np.float64) for works in hands if len(works) >= FEWEST_WORKS]


def own_cosines(index: StyleIndex, creator_id: str) -> NDArray[np.float64]:
    """Each of a creator's works' cosine to the creator without it: float64 (n_works,).

    As the index judges how recognisable a creator is; see ``style.centroids.own_affinities``.
    """
    hands = Hands.of_index(index)
    rows = hands.rows_of(creator_id)
    h = -float(rows[0, -1])
    works = index.pooled_works(creator_id).astype(np.float64)
    return own_affinities(works, index.strangers, count=len(rows), h=h, rule=index.manifest.rule) + h
