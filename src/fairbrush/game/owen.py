"""Exact values of games whose players belong to unions: a creator's several entries.

Enters: a game or its numbers, and one union label a player. Leaves: float64 (n_players,), phi, summing to
``v(N)``. The one rule: a union gets what it would get as one player, however many entries it is split over.
Owen 1977, doi:10.1007/978-3-642-45494-3_7.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.game.blend import evened, interchangeable
from fairbrush.game.shapley import shapley_by_enumeration, shapley_of_nearest, worth_of_every_coalition
from fairbrush.game.unions import numbered
from fairbrush.game.values import Blend, Quotient, checked_gains, mapped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fairbrush.game.values import Facets, ValueFunction, WorthMap


def owen_of_nearest(gains: ArrayLike, unions: Sequence[Hashable]) -> NDArray[np.float64]:
    """Owen value of ``v(S) = max of gains over S``, in O(n log n).

    With gains sorted descending and ``d_j = g_(j) - g_(j+1)``:
    ``phi_(k) = sum over j >= k of d_j / (m_j c_j)``, where m_j unions have a member among the first j players
    and c_j of these are in the player's own. (In the game "somebody of the first j is there" the m_j unions
    are equals, and so are the c_j members inside; v is the sum of d_j times these games.)
    gains: float (n_players,), >= 0. Raises GameError.

    >>> owen_of_nearest([1.0, 1.0, 1.0], ["ann", "ann", "bob"]).tolist()
    [0.25, 0.25, 0.5]
    """
    worth = checked_gains(gains, axes=1)
    labels, union_of = numbered(unions, players=len(worth))
    return _owen_of_maximum(worth, union_of, how_many=len(labels))


def owen_of_facets(game: Facets, unions: Sequence[Hashable]) -> NDArray[np.float64]:
    """Owen value of facets: the sum of ``owen_of_nearest`` over them. float64 (n_players,).

    >>> from fairbrush.game.values import Facets
    >>> game = Facets([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]], delta=0.0, weights=[0.5, 0.5])
    >>> owen_of_facets(game, ["ann", "ann", "bob"]).tolist()
    [0.125, 0.125, 0.75]
    """
    labels, union_of = numbered(unions, players=game.players)
    phi = np.zeros(game.players)
    for weight, gains in zip(game.weights, game.gains, strict=True):
        phi += weight * _owen_of_maximum(gains, union_of, how_many=len(labels))
    return phi


def creators_of_blend(
    linear: ArrayLike,
    gram: ArrayLike,
    unions: Sequence[Hashable],
    *,
    worth_map: WorthMap | None = None,
) -> NDArray[np.float64]:
    """phi of a blend whose players are creators, each bringing all of their entries: float64 (n_entries,).

    A creator's total is the Shapley value of the quotient game, over 2^creators coalitions. Their entries
    share it in proportion to the airport game of their own worths: a choice, and not the Owen value, which
    would pay an entry for what it brings to other creators' blends. Raises GameError.

    >>> gram = [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    >>> creators_of_blend([0.6, 0.6, 0.8], gram, ["ann", "ann", "bob"]).round(9).tolist()
    [0.2, 0.2, 0.6]
    """
    game = Blend(linear, gram, worth_map=worth_map)
    creators = Quotient(game, unions)
    of_creator = shapley_by_enumeration(creators)
    alone = mapped(np.maximum(game.linear, 0.0) / np.sqrt(np.diagonal(game.gram)), worth_map)
    phi = np.zeros(game.players)
    for creator, total in enumerate(of_creator):
        entries = np.flatnonzero(creators.union_of == creator)
        part = shapley_of_nearest(alone[entries])
        whole = part.sum()
        # entries that bring nothing alone can only have helped together
        phi[entries] = total * part / whole if whole > 0.0 else total / len(entries)
    same = interchangeable(game.linear[None], game.gram[None])
    if same is not None:  # creators of one entry each who may swap get equal bits; others keep theirs
        single = np.bincount(creators.union_of)[creators.union_of] == 1
        same &= single[:, None] & single | np.eye(game.players, dtype=np.bool_)
    even: NDArray[np.float64] = evened(phi[None], same)[0]
    return even


def owen_by_enumeration(game: ValueFunction, unions: Sequence[Hashable]) -> NDArray[np.float64]:
    """Owen value of any game of at most 20 players: the oracle of the closed forms.

    A player joins S of its own union, after the whole of some other unions H:
    ``sum over H, S of h! (m-h-1)! / m! * s! (b-s-1)! / b! * (v(H + S + i) - v(H + S))`` with m unions and b
    members in the player's own. Raises GameError beyond 20 players.

    >>> from fairbrush.game.values import Nearest
    >>> owen_by_enumeration(Nearest([1.0, 1.0, 1.0], delta=0.0), ["ann", "ann", "bob"]).tolist()
    [0.25, 0.25, 0.5]
    """
    labels, union_of = numbered(unions, players=game.players)
    worth = worth_of_every_coalition(game)
    bits = [1 << player for player in range(game.players)]
    members = [[bits[player] for player in np.flatnonzero(union_of == union)] for union in range(len(labels))]
    phi = np.zeros(game.players)
    for player, union in enumerate(union_of):
        others = [sum(members[other]) for other in range(len(labels)) if other != union]
        before, weight_before = _subsets(others)
        inside, weight_inside = _subsets([bit for bit in members[union] if bit != bits[player]])
        already = before[:, None] | inside
        marginal = worth[already | bits[player]] - worth[already]
        phi[player] = (weight_before[:, None] * weight_inside * marginal).sum()
    return phi


def _subsets(blocks: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Every union of blocks of bits, with the chance that just these come before a given further block."""
    codes, size = np.zeros(1, np.intp), np.zeros(1, np.intp)
    for block in blocks:
        codes, size = np.concatenate([codes, codes | block]), np.concatenate([size, size + 1])
    n = len(blocks)
    chance = np.array([1.0 / ((n + 1) * comb(n, count)) for count in range(n + 1)])
    return codes, chance[size]


def _owen_of_maximum(
    gains: NDArray[np.float64], union_of: NDArray[np.intp], *, how_many: int
) -> NDArray[np.float64]:
    order = np.argsort(-gains, kind="stable")
    ranked, union = gains[order], union_of[order]
    first = np.zeros(len(gains), np.intp)
    first[np.unique(union, return_index=True)[1]] = 1
    steps = ranked - np.append(ranked[1:], 0.0)
    # tail[k] = sum over j >= k of d_j / m_j, added one by one: exact zeros stay 0, equal gains equal
    tail = np.append(np.cumsum((steps / np.maximum(np.cumsum(first), 1))[::-1])[::-1], 0.0).tolist()
    members = np.bincount(union, minlength=how_many).tolist()
    following = [(len(gains), 0.0)] * how_many  # a union's next member: where its tail starts, and its phi
    phi = np.empty(len(gains))
    for rank, own in reversed(list(enumerate(union.tolist()))):
        place, after = following[own]
        # from here to the next member, c is this player's number within the union
        value = after + (tail[rank] - tail[place]) / members[own]
        members[own] -= 1
        following[own] = (rank, value)
        phi[order[rank]] = value
    return phi
