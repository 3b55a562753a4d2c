"""Periods."""

from datetime import date

import pytest

from fairbrush.errors import MoneyError
from fairbrush.ledger.period import Period, parse_period


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", date(2026, 1, 1), date(2026, 12, 31)),
        ("2026-Q4", date(2026, 10, 1), date(2026, 12, 31)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-12-31", date(2026, 12, 31), date(2026, 12, 31)),
        (" 2026-01-03..2026-02-01 ", date(2026, 1, 3), date(2026, 2, 1)),
    ],
)
def test_a_period_holds_both_its_ends(text: str, first: date, last: date) -> None:
    period = parse_period(text)
    assert period == Period(first, last)
    assert first in period
    assert last in period
    assert parse_period(str(period)) == period


@pytest.mark.parametrize(
    "text",
    [
        *("", "26", "2026-13", "2026-00", "2026-Q5", "2026-02-30", "0000", "2026-1", ".."),
        "2026-01..2026-02",
        *("2026-W01..2026-W02", "2026-W01-1..2026-W02-1", "20260103..20260201"),
    ],
)
def test_what_is_no_period_is_refused_with_examples(text: str) -> None:
    with pytest.raises(MoneyError, match="is no period") as refused:
        parse_period(text)
    assert "2026-Q1" in str(refused.value.next_step)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(MoneyError, match="cannot end on 2026-01-01 when it begins on 2026-01-02"):
        parse_period("2026-01-02..2026-01-01")
