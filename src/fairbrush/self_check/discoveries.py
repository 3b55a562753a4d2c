"""Discoveries: which of many images to list, so that few of those listed are there by chance.

Enters: p-values. Leaves: which are listed. The one rule: of those listed at a level, at most that part is
expected to be chance (Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x). That is proved for
p-values that are independent or depend on each other positively (Benjamini & Yekutieli 2001,
doi:10.1214/aos/1013699998); for those of check-me it is measured (docs/check-me.md). Images that resemble
each other are found, or missed, together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def adjusted(p_values: ArrayLike) -> NDArray[np.float64]:
    """The smallest level at which each would be listed: float64 (n,).

    >>> adjusted([0.01, 0.04, 0.03, 0.5]).round(6).tolist()
    [0.04, 0.053333, 0.053333, 0.5]
    """
    found = np.asarray(p_values, np.float64)
    order = np.argsort(found, kind="stable")
    scaled = found[order] * len(found) / np.arange(1, len(found) + 1)
    levels = np.empty(len(found))
    levels[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return levels


def fewest_listed(least: float, tested: int, level: float) -> int:
    """How many images must have the smallest p-value there is, ``least``, for any of them to be listed.

    >>> fewest_listed(1 / 140, 100, 0.05), fewest_listed(1 / 19183, 100, 0.05)
    (15, 1)
    """
    return max(1, int(np.ceil(tested * least / level - 1e-9)))


def listed_among(own: ArrayLike, others: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Which p-values would be listed if each, alone, were asked about together with others: bool (n,).

    own: float (n,); others: float (m,).

    >>> listed_among([0.03, 0.01], [0.9], 0.05).tolist()
    [False, True]
    """
    rest = np.sort(np.asarray(others, np.float64))
    asked = np.asarray(own, np.float64)
    is_listed = np.zeros(len(asked), bool)
    for place, p in enumerate(asked):
        all_p = np.sort(np.append(rest, p))
        passing = np.flatnonzero(all_p <= level * np.arange(1, len(all_p) + 1) / len(all_p))
        is_listed[place] = len(passing) > 0 and p <= all_p[passing[-1]]
    return is_listed
