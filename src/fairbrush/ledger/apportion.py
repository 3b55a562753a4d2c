"""Whole minor units from exact fractions: largest remainder, and nobody pays for another's rounding.

Enters: what is due to each, as exact fractions, and the whole amount there is. Leaves: whole numbers that sum
to it. The one rule: of all such whole numbers they are nearest to what is due (least sum of squares), under
the bound that nobody who earned something, or nothing, gets less than nothing.

Where all that is due is positive and sums to the total, this is Hamilton's method of largest remainders. It
differs where a carry makes something due negative: such a one is not made to pay it back, the carry stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import floor
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Any)  # anything that can be sorted


def apportion(
    due: Mapping[Key, Fraction], total: int, *, exact: Mapping[Key, Fraction] | None = None
) -> dict[Key, int]:
    """The nearest whole amounts that sum to ``total``, in the order of the keys; ties by key.

    exact: what each earned, where ``due`` is that and a carry; one that is not in it earned nothing.

    >>> apportion({"a": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(4, 3)}, 2)
    {'a': 1, 'b': 0, 'c': 1}
    """
    earned = due if exact is None else exact
    keys = sorted(due)
    held = [earned.get(key, 0) >= 0 for key in keys]
    if not keys or (all(held) and total < 0):
        assert total == 0, f"{total} cannot be shared among {len(keys)} that must not pay"
        return {}

    def lowered(level: int) -> list[int]:
        """Each due rounded down, all moved by one level: nearest among the amounts of their own sum."""
        amounts = [floor(due[key]) + level for key in keys]
        return [max(amount, 0) if h else amount for amount, h in zip(amounts, held, strict=True)]

    level = _highest_level(lambda level: sum(lowered(level)) <= total)
    amounts, above = lowered(level), lowered(level + 1)
    rising = [place for place in range(len(keys)) if above[place] > amounts[place]]
    rising.sort(key=lambda place: (amounts[place] - due[keys[place]], place))
    for place in rising[: total - sum(amounts)]:
        amounts[place] += 1
    return dict(zip(keys, amounts, strict=True))


def _highest_level(fits: Callable[[int], bool]) -> int:
    """The greatest whole number that fits, where all below it do too; nought in all but odd cases."""
    low, step = 0, 1
    while not fits(low):
        low, step = low - step, 2 * step
    high, step = low + 1, 1
    while fits(high):
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
