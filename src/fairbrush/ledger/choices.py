"""Closed sets of money that the command line names: a look-up loads them, and nothing else of money.

Enters: nothing. Leaves: enumerations. The one rule: only the standard library is imported here.
"""

from __future__ import annotations

from enum import StrEnum


class Spread(StrEnum):
    """How a period's revenue goes to its images."""

    COUNT = "count"
    WEIGHT = "weight"


class LineState(StrEnum):
    OPEN = "open"
    SETTLED = "settled"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """What became of a line that was handed in."""

    ADDED = "added"
    THERE = "there already"
    CANCELLED = "cancelled"  # there already, and cancelled: it is not settled
    REFUSED = "refused"


class PayoutStatus(StrEnum):
    """Where a payout stands. Confirmed and failed are final."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class ExportFormat(StrEnum):
    CSV = "csv"
    PAIN_001 = "pain.001"
