"""Labels of unions as numbers.

Enters: one label a player, such as its creator's id. Leaves: the different labels, and each player's number.
The one rule: numbers follow the order of first mention.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def numbered(unions: Sequence[Hashable], *, players: int) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """The different labels in order of first mention, and intp (n_players,): the number of each player's.

    >>> numbered(["ann", "bob", "ann"], players=3)
    (('ann', 'bob'), array([0, 1, 0]))
    """
    if len(unions) != players:
        raise GameError(
            f"{players} players need one union label each; got {len(unions)}.",
            next_step="Name each player's creator; one who has none is a union alone.",
        )
    number: dict[Hashable, int] = {}
    union_of = np.array([number.setdefault(label, len(number)) for label in unions], np.intp)
    return tuple(number), union_of
