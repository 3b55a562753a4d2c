"""From phi to shares of one bill: the model's, each artist's, and what stays unattributed.

Enters: phi of the style game, how much style it explains, and the policy's b and w as exact fractions.
Leaves: a ``Split``, as floats and as integers of 10^-12 that sum to 10^12. The one rule: everything
between phi and the integers is exact arithmetic, so the same phi gives the same money on every machine.

With A = A(N): the model gets ``b + (1-w)(1-b)A``, artists together ``w(1-b)A``, and ``(1-b)(1-A)`` is
unattributed: the style of nobody registered is never spread over those who are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import GameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fairbrush.game.selection import Survivors

E12 = 10**12


@dataclass(frozen=True)
class Split:
    """One bill of 1. ``artists`` and ``artists_e12`` follow the order of the ids given."""

    model: float
    unattributed: float
    artists: tuple[float, ...]
    model_e12: int
    unattributed_e12: int
    artists_e12: tuple[int, ...]


@dataclass(frozen=True)
class Certificate:
    """How exact phi is. ``bound``: the most any kept artist's share of the bill can be too high."""

    kind: str
    exact: bool
    bound: float


def split(
    phi: ArrayLike, *, ids: Sequence[str], explained: float, content: Fraction, to_artists: Fraction
) -> Split:
    """Share one bill. phi: float (n,), of any scale; explained: A(N); content: b; to_artists: w.

    A negative phi is paid as 0 and the others are scaled to fill A(N). Where no phi is positive nobody
    has explained anything, so all of the style is unattributed. Raises GameError on numbers out of range.

    >>> half = Fraction(1, 2)
    >>> split([2.5, 0.5], ids=["a", "b"], explained=1.0, content=half, to_artists=Fraction(1)).artists
    (0.4166666666666667, 0.08333333333333333)
    """
    weights = _payable(phi, ids)
    _check_fractions(explained=explained, content=content, to_artists=to_artists)
    whole = sum(weights)
    style = (1 - content) * Fraction(explained) if whole else Fraction(0)
    model = content + (1 - to_artists) * style
    unattributed = 1 - content - style
    # all quotas over one denominator: integers from here on
    each = to_artists * style
    scale = math.lcm(model.denominator, unattributed.denominator, each.denominator * max(whole, 1))
    step = each.numerator * (scale // (each.denominator * max(whole, 1)))
    quotas = [
        model.numerator * (scale // model.denominator),
        unattributed.numerator * (scale // unattributed.denominator),
        *(weight * step for weight in weights),
    ]
    assert sum(quotas) == scale
    integers = largest_remainder(quotas, keys=[(0, ""), (1, ""), *((2, name) for name in ids)])
    shares = [quota / scale for quota in quotas]
    return Split(
        model=shares[0],
        unattributed=shares[1],
        artists=tuple(shares[2:]),
        model_e12=integers[0],
        unattributed_e12=integers[1],
        artists_e12=tuple(integers[2:]),
    )


def largest_remainder(
    quotas: Sequence[int], *, keys: Sequence[tuple[int, str]], units: int = E12
) -> tuple[int, ...]:
    """``units`` shared in proportion to integer quotas: each rounded down, the rest one by one to the
    largest remainders, ties by key. Each result is within 1 of its quota; a quota of 0 gets 0.

    >>> largest_remainder([1, 1, 1], keys=[(0, "c"), (0, "a"), (0, "b")], units=100)
    (33, 34, 33)
    """
    whole = sum(quotas)
    parts = [divmod(quota * units, whole) for quota in quotas]
    left = units - sum(floor for floor, _ in parts)
    first = sorted(range(len(quotas)), key=lambda index: (-parts[index][1], keys[index]))[:left]
    lucky = set(first)
    return tuple(floor + (index in lucky) for index, (floor, _) in enumerate(parts))


def exact_certificate(kind: str) -> Certificate:
    """Every player was in the game."""
    return Certificate(kind=kind, exact=True, bound=0.0)


def blend_certificate(chosen: Survivors, *, artists_part: float) -> Certificate:
    """``blend`` solved on selection.survivors: exact unless the limit on players dropped some.

    Where no two of the would-be survivors' centroids point apart, v is subadditive: those dropped add at
    most ``v(dropped)`` to any coalition, so each kept one has at most
    ``v(dropped) + v(candidates) - v(survivors)`` too much of v, here as a share of the bill. Elsewhere the
    bound is all that artists get, ``artists_part = w(1-b)A``.
    """
    kind = "blend, 2^m coalitions"
    if not chosen.dropped:
        return exact_certificate(kind)
    part = 1.0
    if chosen.subadditive and chosen.worth_of_candidates > 0.0:
        part = (chosen.worth_of_dropped + chosen.unexplained) / chosen.worth_of_candidates
    return Certificate(kind=f"{kind}, truncated", exact=False, bound=min(part, 1.0) * artists_part)


def _payable(phi: ArrayLike, ids: Sequence[str]) -> list[int]:
    """Integers in the exact proportions of ``max(0, phi)``."""
    values = np.asarray(phi, np.float64)
    if values.shape != (len(ids),) or not np.isfinite(values).all() or len(set(ids)) != len(ids):
        raise GameError(
            f"phi must be finite, one a different id; got shape {values.shape} for {len(ids)} ids.",
            next_step="Verify the index: fairbrush index verify.",
        )
    ratios = [max(value, 0.0).as_integer_ratio() for value in values.tolist()]
    # a float's denominator is a power of two: the largest is a common one
    common = max((denominator for _, denominator in ratios), default=1)
    return [numerator * (common // denominator) for numerator, denominator in ratios]


def _check_fractions(**named: float | Fraction) -> None:
    for name, value in named.items():
        if not 0 <= value <= 1:
            raise GameError(f"{name} must lie in [0, 1], not {value}.", next_step="Correct the policy.")
