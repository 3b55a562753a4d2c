"""Whole amounts from exact ones, against every whole vector there is."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.ledger.apportion import apportion

F = Fraction
fractions = st.fractions(min_value=-4, max_value=4, max_denominator=12)


@st.composite
def cases(draw: st.DrawFn, most: int = 4) -> tuple[dict[str, F], dict[str, F], int]:
    """What is due, what was earned, and a total that can be shared."""
    names = "abcdefgh"[: draw(st.integers(1, most))]
    due = {name: draw(fractions) for name in names}
    exact = {name: draw(st.sampled_from([F(-1), F(0), F(1, 2)])) for name in names}
    lowest = 0 if all(amount >= 0 for amount in exact.values()) else -9
    return due, exact, draw(st.integers(lowest, 9))


def distance(due: dict[str, F], amounts: dict[str, int]) -> F:
    return sum(((due[name] - amounts[name]) ** 2 for name in due), F(0))


def best(due: dict[str, F], exact: dict[str, F], total: int) -> F:
    """The least sum of squares, by trying every vector near enough to be the best."""
    spans = [range(0 if exact[name] >= 0 else -25, 26) for name in list(due)[:-1]]
    last = list(due)[-1]
    found = []
    for head in product(*spans):
        tail = total - sum(head)
        if tail >= 0 or exact[last] < 0:
            found.append(distance(due, dict(zip(due, (*head, tail), strict=True))))
    return min(found)


@given(cases(most=3))
@settings(max_examples=150, deadline=None)
def test_no_whole_vector_within_the_bound_is_nearer(case: tuple[dict[str, F], dict[str, F], int]) -> None:
    due, exact, total = case
    amounts = apportion(due, total, exact=exact)
    assert distance(due, amounts) == best(due, exact, total)


@given(cases(most=8), st.randoms())
@settings(max_examples=300, deadline=None)
def test_amounts_sum_to_the_total_and_nobody_who_earned_pays(case, random) -> None:
    due, exact, total = case
    amounts = apportion(due, total, exact=exact)
    assert sum(amounts.values()) == total
    assert list(amounts) == sorted(due)
    assert all(amounts[name] >= 0 for name in due if exact[name] >= 0)
    shuffled = list(due)
    random.shuffle(shuffled)
    assert apportion({name: due[name] for name in shuffled}, total, exact=exact) == amounts


@given(st.lists(st.fractions(0, 50, max_denominator=30), min_size=1, max_size=12))
def test_positive_dues_are_rounded_by_largest_remainder(dues: list[F]) -> None:
    dues.append(F(-sum(dues) % 1))  # to a whole total
    due = dict(enumerate(dues))
    total = int(sum(dues))
    floors = {key: floor(amount) for key, amount in due.items()}
    by_remainder = sorted(due, key=lambda key: (floors[key] - due[key], key))
    for key in by_remainder[: total - sum(floors.values())]:
        floors[key] += 1
    assert apportion(due, total) == floors


def test_who_owes_a_fraction_from_before_is_not_made_to_pay_it() -> None:
    assert apportion({"a": F(-3, 4), "b": F(7, 4)}, 1, exact={"a": F(0), "b": F(1)}) == {"a": 0, "b": 1}


def test_a_reversal_may_take_back() -> None:
    assert apportion({"a": F(-3, 2), "b": F(-1, 2)}, -2) == {"a": -1, "b": -1}


def test_a_total_far_from_what_is_due_takes_no_time() -> None:
    assert apportion({"a": F(1, 2), "b": F(0)}, 10**30 + 1) == {"a": 10**30 // 2 + 1, "b": 10**30 // 2}


def test_nothing_among_nobody_is_nothing() -> None:
    assert apportion({}, 0) == {}
