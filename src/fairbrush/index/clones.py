"""Look-alikes: pairs of creators whose works an index version cannot tell apart.

Enters: an open ``StyleIndex``. Leaves: ``LookAlike`` pairs, and pairs of works that lie close together. The
one rule: a pair is named when, for half of the works of either, the other is credited and is at least as near
as their own creator's centroid without them. Who is near to nobody is no look-alike of everybody: no money
goes astray there, and ``distinctiveness`` says so.

Entries of one creator are one hand and never each other's look-alikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairbrush.index.distinctiveness import Hands, Homecoming, Share
from fairbrush.style.centroids import FEWEST_WORKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex

HALF = 0.5
ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class LookAlike:
    """Two creators, by id in order. one_as_other: works of ``one`` for which ``other`` is credited, and no
    less; None under five works. similarity: cosine of the two centroids in style space."""

    one: str
    other: str
    one_as_other: Share | None
    other_as_one: Share | None
    similarity: float

    @property
    def worst(self) -> float:
        """The larger share of the two."""
        return max(share.fraction for share in (self.one_as_other, self.other_as_one) if share)


def look_alikes(index: StyleIndex, homes: Iterable[Homecoming]) -> list[LookAlike]:
    """The pairs, least distinguishable first. ``homes``: as ``homecomings(index)`` gave them."""
    known = {home.creator_id: home for home in homes if len(home.own_z) >= FEWEST_WORKS}
    named = {
        tuple(sorted((creator_id, other)))
        for creator_id, home in known.items()
        for other in home.taken
        if home.taken_for(other).fraction >= HALF
    }
    hands = Hands.of_index(index)

    def share(creator_id: str, other: str) -> Share | None:
        return known[creator_id].taken_for(other) if creator_id in known else None

    pairs = [
        LookAlike(one, other, share(one, other), share(other, one), _centroid_cosine(hands, one, other))
        for one, other in named
    ]
    return sorted(pairs, key=lambda pair: (-pair.worst, -pair.similarity, pair.one, pair.other))


def close_pairs(
    rows: NDArray[np.float32],
    groups: Sequence[str],
    *,
    floor: float,
    turns: Sequence[NDArray[np.intp]] = (),
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows of different groups with an inner product of at least ``floor``, a block at a time.

    rows: float32 (n, dim). turns: orders of the columns, of which the best for the pair counts; a group under
    composition. Memory is that of ``ROWS_AT_A_TIME`` rows of the product, never n x n.

    >>> import numpy as np
    >>> rows = np.array([[1, 0], [0.8, 0.6], [1, 0]], np.float32)
    >>> list(close_pairs(rows, ["a", "b", "a"], floor=0.7))
    [(0, 1, 0.800000011920929), (1, 2, 0.800000011920929)]
    """
    import numpy as np

    _, group = np.unique(np.asarray(groups, object), return_inverse=True)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        stop = min(start + ROWS_AT_A_TIME, len(rows))
        product = rows[start:stop] @ rows[start:].T
        for turn in turns:
            np.maximum(product, rows[start:stop, turn] @ rows[start:].T, out=product)
        is_close = (product >= floor) & (group[start:stop, None] != group[None, start:])
        for one, other in zip(*np.nonzero(is_close), strict=True):
            if one < other:
                yield start + int(one), start + int(other), float(product[one, other])


def _centroid_cosine(hands: Hands, one: str, other: str) -> float:
    """Of the two centroids that are nearest to each other."""
    import numpy as np

    mine, theirs = (hands.rows_of(creator_id)[:, :-1].astype(np.float64) for creator_id in (one, other))
    return float((mine @ theirs.T).max())
