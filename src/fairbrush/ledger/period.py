"""Periods: a year, a quarter, a month, a day, or days from one to another.

Enters: text such as ``2026-Q1``. Leaves: a ``Period``. The one rule: both of its days are inside it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from fairbrush.errors import MoneyError

_NAMED = re.compile(r"(?P<year>\d{4})(-(Q(?P<quarter>[1-4])|(?P<month>\d{2})(-(?P<day>\d{2}))?))?", re.ASCII)

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, order=True)
class Period:
    """From ``first`` to ``last``, inclusive.

    >>> print(Period(date(2026, 1, 1), date(2026, 3, 31)))
    2026-01-01..2026-03-31
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise MoneyError(
                f"A period cannot end on {self.last} when it begins on {self.first}.",
                next_step="Write the earlier day first.",
            )

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def parse_period(text: str) -> Period:
    """Raises MoneyError.

    >>> print(parse_period("2026-Q1"), parse_period("2028-02"), parse_period("2026-01-03..2026-02-01"))
    2026-01-01..2026-03-31 2028-02-01..2028-02-29 2026-01-03..2026-02-01
    """
    first, dots, last = text.strip().partition("..")
    try:
        if dots:
            return Period(_day(first), _day(last))
        return _named(first)
    except ValueError:
        raise MoneyError(
            f"{text!r} is no period.",
            next_step="Write 2026, 2026-Q1, 2026-01, 2026-01-03 or 2026-01-03..2026-02-01.",
        ) from None


def _day(text: str) -> date:
    """Raises ValueError for a week, too, of which Python would take the Monday."""
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _named(text: str) -> Period:
    """Raises ValueError."""
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year = int(found["year"])
    if found["day"]:
        day = _day(text)
        return Period(day, day)
    if found["quarter"]:
        first_month, last_month = 3 * int(found["quarter"]) - 2, 3 * int(found["quarter"])
    elif found["month"]:
        first_month = last_month = int(found["month"])
    else:
        first_month, last_month = 1, 12
    first = date(year, first_month, 1)  # before monthrange, whose error is another
    return Period(first, date(year, last_month, monthrange(year, last_month)[1]))
