"""Which of many to list: as scipy does, and as a slow reading of the rule does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from fairbrush.self_check.discoveries import adjusted, fewest_listed, listed_among

P_VALUES = st.lists(st.integers(1, 40).map(lambda n: n / 40), min_size=1, max_size=30)


def listed(p_values: list[float], level: float) -> list[bool]:
    """Benjamini & Hochberg 1995, as they write it."""
    m, ordered = len(p_values), sorted(p_values)
    passing = [p for rank, p in enumerate(ordered, start=1) if p <= rank * level / m + 1e-12]
    return [bool(passing) and p <= passing[-1] for p in p_values]


@given(P_VALUES)
def test_adjusted_levels_are_those_of_scipy(p_values: list[float]):
    assert adjusted(p_values) == pytest.approx(false_discovery_control(p_values))


@given(P_VALUES, st.sampled_from([0.049, 0.21, 0.51]))
def test_an_image_is_listed_when_its_level_is_at_most_the_one_asked_for(p_values: list[float], level: float):
    assert (adjusted(p_values) <= level).tolist() == listed(p_values, level)


@given(P_VALUES, P_VALUES)
def test_an_own_work_is_judged_as_one_more_image(own: list[float], others: list[float]):
    expected = [listed([p, *others], 0.211)[0] for p in own]
    assert listed_among(own, others, 0.211).tolist() == expected


def test_nothing_asked_is_nothing_listed():
    assert adjusted([]).tolist() == []
    assert listed_among([0.04], [], 0.05).tolist() == [True]


@pytest.mark.parametrize(("tested", "fewest"), [(1, 1), (959, 1), (960, 2), (2000, 3)])
def test_so_many_must_be_as_near_as_can_be(tested: int, fewest: int):
    least = 1 / 19183
    assert fewest_listed(least, tested, 0.05) == fewest
    at_best = np.full(tested, 0.9)
    for count in (fewest - 1, fewest):
        at_best[:count] = least
        assert (adjusted(at_best) <= 0.05).sum() == (count if count == fewest else 0)
