"""Distinctiveness: whether an artist's style can be told apart from the others of an index version.

Enters: an open ``StyleIndex``. Leaves: a ``Homecoming`` a creator, and from it a ``Distinctiveness``. The one
rule: every work is judged against its own creator *without* it, as in ``recognisability``; so
nobody looks distinct by being compared with themselves.

Entries of one creator share centroids and are one hand here. Everybody in the version counts, those who
opted out too: they take no money, and confuse as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from fairbrush.style.centroids import FEWEST_WORKS, own_affinities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex

Z_95 = 1.959964


class Verdict(StrEnum):
    """``UNRECOGNISABLE``: q <= delta, most own works would credit nobody, whoever else is registered."""

    DISTINCT = "distinct"
    HARD = "hard to tell apart"
    UNRECOGNISABLE = "cannot be told apart with this encoder"
    TOO_FEW = "too few works to say"


@dataclass(frozen=True)
class Share:
    """``k`` of ``n``, with the Wilson interval at 95 % (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> one = Share(5, 10)
    >>> one.fraction, round(one.low, 3), round(one.high, 3)
    (0.5, 0.237, 0.763)
    """

    k: int
    n: int

    @property
    def fraction(self) -> float:
        return self.k / self.n

    @property
    def low(self) -> float:
        return max(0.0, self._middle - self._reach)

    @property
    def high(self) -> float:
        return min(1.0, self._middle + self._reach)

    @property
    def _middle(self) -> float:
        return (self.k + Z_95**2 / 2) / (self.n + Z_95**2)

    @property
    def _reach(self) -> float:
        spread: float = (self.k * (self.n - self.k) / self.n + Z_95**2 / 4) ** 0.5
        return Z_95 * spread / (self.n + Z_95**2)


@dataclass(frozen=True, eq=False)
class Homecoming:
    """Where the works of one creator come home to.

    own_z, rival_z: float64 (n_works,), each work's affinity to its own creator without it, and to the
    nearest other creator. as_near: how many works are at least as near to another creator as to their own,
    by creator id, zeros left out. taken: how many of these are above the version's threshold there, so that
    the other is credited no less. as_near_count: int64 (n_works,), other creators at least as near. rivals:
    the nearest other creator of each work; empty, like rival_z, where there is nobody else.
    """

    creator_id: str
    artist_ids: tuple[str, ...]
    own_z: NDArray[np.float64]
    rival_z: NDArray[np.float64]
    rivals: tuple[str, ...]
    as_near: Mapping[str, int]
    taken: Mapping[str, int]
    as_near_count: NDArray[np.int64]

    def taken_for(self, creator_id: str) -> Share:
        """Works for which this other creator is credited, and no less than their own."""
        return Share(self.taken.get(creator_id, 0), len(self.own_z))


@dataclass(frozen=True)
class Distinctiveness:
    """What can be said of one artist in one version. Everything but ``works`` is None where it is too few.

    works: of all entries of the creator. recognisability: ``q``. margin: the median, over own works, of the
    affinity to their own creator less that to the nearest other. nearest_artist_id: an entry of the creator
    who most often is at least as near. home: own works nearer to their own creator than to any other.
    credited: own works above the index's threshold. look_alikes: ``1 / mean(1 / (1 + k)) - 1`` with k the
    other creators at least as near to a work: choosing blindly among all who are at least as near names the
    right one once in ``1 + look_alikes`` times. A perfect copy under another name makes it 1.
    """

    artist_id: str
    verdict: Verdict
    works: int
    recognisability: float | None = None
    margin: float | None = None
    nearest_artist_id: str | None = None
    look_alikes: float | None = None
    home: Share | None = None
    credited: Share | None = None


def homecomings(index: StyleIndex) -> Iterator[Homecoming]:
    """One for each creator with two works or more, by creator id; a work alone has nothing to come home to.

    Costs one matrix product of all works and all creators, a creator at a time. Raises IndexDamagedError.
    """
    import numpy as np

    hands = Hands.of_index(index)
    for creator_id, artist_ids in hands.entries.items():
        works = index.pooled_works(creator_id)
        if len(works) > 1:
            rows = hands.rows_of(creator_id)
            own_z = own_affinities(
                works.astype(np.float64),
                index.strangers,
                count=len(rows),
                h=-float(rows[0, -1]),
                rule=index.manifest.rule,
            )
            yield come_home(works, own_z, hands, creator_id=creator_id, artist_ids=artist_ids)


@dataclass(frozen=True, eq=False)
class Hands:
    """The creators of an index, each one hand.

    entries: artist ids by creator id. rows: float32 (n_rows, dim + 1), creator after creator in the same
    order; firsts: int (n_creators,), where each one's begin. delta: the threshold above which somebody is
    credited.
    """

    entries: Mapping[str, tuple[str, ...]]
    rows: NDArray[np.float32]
    firsts: NDArray[np.intp]
    delta: float

    @classmethod
    def of_index(cls, index: StyleIndex) -> Hands:
        import numpy as np

        order = sorted(index.entries_of)
        # every entry of a creator has the creator's rows
        positions = [index.artist_ids.index(index.entries_of[creator_id][0]) for creator_id in order]
        rows = [index.rows[index.owners == position] for position in positions]
        firsts = np.cumsum([0, *map(len, rows)])[:-1]
        named = {creator_id: tuple(index.entries_of[creator_id]) for creator_id in order}
        return cls(named, np.concatenate([index.rows[:0], *rows]), firsts, index.delta)

    def rows_of(self, creator_id: str) -> NDArray[np.float32]:
        """float32 (n_centroids, dim + 1)."""
        position = self.position[creator_id]
        last = self.firsts[position + 1] if position + 1 < len(self.firsts) else len(self.rows)
        return self.rows[self.firsts[position] : last]

    def affinities(self, works: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 (n_works, n_creators): to the nearest centroid of each. works: unit rows in style space."""
        import numpy as np

        if not len(self.firsts):
            return np.empty((len(works), 0))
        z = (works @ self.rows[:, :-1].T).astype(np.float64) + self.rows[:, -1]
        best: NDArray[np.float64] = np.maximum.reduceat(z, self.firsts, axis=1)
        return best

    @cached_property
    def creator_ids(self) -> tuple[str, ...]:
        return tuple(self.entries)

    @cached_property
    def position(self) -> dict[str, int]:
        return {creator_id: row for row, creator_id in enumerate(self.creator_ids)}


def come_home(
    works: NDArray[np.float32],
    own_z: NDArray[np.float64],
    hands: Hands,
    *,
    creator_id: str,
    artist_ids: Sequence[str],
) -> Homecoming:
    """Judge one creator's works against everybody else. The creator may be none of ``hands``: a newcomer.

    works: float32 (n_works, dim), unit rows in style space, two or more; own_z: ``own_affinities`` of them.
    """
    import numpy as np

    z = hands.affinities(works)
    if creator_id in hands.position:
        z[:, hands.position[creator_id]] = -np.inf
    nearer = z >= own_z[:, None]
    has_others = len(hands.entries) > (creator_id in hands.position)
    nearest = z.argmax(axis=1) if has_others else np.empty(0, np.intp)
    return Homecoming(
        creator_id,
        tuple(artist_ids),
        own_z,
        z[np.arange(len(nearest)), nearest],
        tuple(hands.creator_ids[other] for other in nearest),
        _counted(nearer, hands),
        _counted(nearer & (z > hands.delta), hands),
        nearer.sum(axis=1),
    )


def _counted(is_so: NDArray[np.bool_], hands: Hands) -> dict[str, int]:
    """How many works, by creator; is_so: (n_works, n_creators)."""
    import numpy as np

    counts = is_so.sum(axis=0)
    return {hands.creator_ids[row]: int(counts[row]) for row in np.flatnonzero(counts)}


def distinctiveness(index: StyleIndex, homes: Iterable[Homecoming]) -> list[Distinctiveness]:
    """Of every artist of an open index, by artist id. ``homes``: as ``homecomings(index)`` gave them."""
    found = {home.creator_id: home for home in homes}
    first_entry = {creator: ids[0] for creator, ids in Hands.of_index(index).entries.items()}
    judged = {creator_id: judge(home, index.delta, first_entry) for creator_id, home in found.items()}
    answers = []
    for artist_id in index.artist_ids:
        creator_id = index.creator_of(artist_id)
        if creator_id in judged:
            answers.append(replace(judged[creator_id], artist_id=artist_id))
        else:
            answers.append(Distinctiveness(artist_id, Verdict.TOO_FEW, works=1))
    return answers


def judge(home: Homecoming, delta: float, entry_of: Mapping[str, str]) -> Distinctiveness:
    """``entry_of``: an artist id to name each creator by."""
    import numpy as np

    n = len(home.own_z)
    if n < FEWEST_WORKS:
        return Distinctiveness(home.artist_ids[0], Verdict.TOO_FEW, n)
    q = float(np.median(home.own_z))
    margin = float(np.median(home.own_z - home.rival_z)) if home.rivals else None
    rival = _main_rival(home)
    if q <= delta:
        verdict = Verdict.UNRECOGNISABLE
    elif margin is not None and margin <= 0:
        verdict = Verdict.HARD
    else:
        verdict = Verdict.DISTINCT
    return Distinctiveness(
        home.artist_ids[0],
        verdict,
        n,
        recognisability=q,
        margin=margin,
        nearest_artist_id=None if rival is None else entry_of[rival],
        look_alikes=float(1 / np.mean(1 / (1 + home.as_near_count)) - 1),
        home=Share(int((home.as_near_count == 0).sum()), n),
        credited=Share(int((home.own_z > delta).sum()), n),
    )


def _main_rival(home: Homecoming) -> str | None:
    """Who is at least as near most often, then who most often is the nearest other; ties by creator id."""
    nearest = {creator_id: home.rivals.count(creator_id) for creator_id in set(home.rivals)}
    known = sorted({*home.as_near, *nearest})
    return min(known, key=lambda c: (-home.as_near.get(c, 0), -nearest.get(c, 0)), default=None)
