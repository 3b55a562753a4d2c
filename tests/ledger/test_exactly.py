"""Fractions as text."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.ledger.exactly import fraction_text, parse_fraction


@given(st.fractions())
def test_a_fraction_reads_back_as_it_was_and_is_written_plainly(number: Fraction) -> None:
    assert fraction_text(number) == f"{number.numerator}/{number.denominator}"
    assert parse_fraction(fraction_text(number)) == number


@pytest.mark.parametrize("power", [3999, 4000, 4001, 12_000, 20_003])
def test_numbers_too_long_for_python_to_print_read_back_too(power: int) -> None:
    number = Fraction(-(10**power) - 7, 3**power)
    assert parse_fraction(fraction_text(number)) == number
