"""Amounts of money: whole minor units of an ISO 4217 currency.

Enters: text such as ``12.50`` and a code such as ``EUR``. Leaves: an integer, and text again. The one rule:
what has more decimals than the currency has is refused, not rounded; nothing is ever a float.
"""

from __future__ import annotations

import re
from functools import cache

from fairbrush.errors import MoneyError

_AMOUNT = re.compile(r"[+-]?\d{1,16}(\.\d*)?")
MOST_MINOR = 2**53  # of one amount: what spreadsheets and JSON readers still hold exactly


@cache
def minor_digits(currency: str) -> int:
    """How many decimals a currency has: 0 for JPY, 2 for EUR, 3 for KWD. Raises MoneyError."""
    from iso4217 import Currency

    try:
        found = Currency(currency).exponent if currency.isascii() and currency.isupper() else None
    except ValueError:
        found = None
    if found is None:
        raise MoneyError(
            f"{currency!r} is no currency of ISO 4217 that money is paid in.",
            next_step="Write its three capital letters, as EUR, USD or JPY.",
        )
    return int(found)


def parse_amount(text: str, currency: str) -> int:
    """Minor units. Raises MoneyError.

    >>> parse_amount("12.5", "EUR"), parse_amount("12", "JPY"), parse_amount("0.125", "KWD")
    (1250, 12, 125)
    """
    digits = minor_digits(currency)
    if not _AMOUNT.fullmatch(text.strip()):
        raise MoneyError(f"{text!r} is no amount.", next_step="Write digits and a point, as 12.50.")
    whole, _, part = text.strip().partition(".")
    part = part.rstrip("0") if len(part) > digits else part
    if len(part) > digits:
        raise MoneyError(
            f"{text} {currency} has more decimals than {currency} has ({digits}).",
            next_step="Round it yourself, or state it in smaller units.",
        )
    minor = int(whole.lstrip("+-") + part.ljust(digits, "0"))
    if minor > MOST_MINOR:
        raise MoneyError(f"{text} {currency} is more than one amount can be.", next_step="Check the amount.")
    return -minor if whole.startswith("-") else minor


def format_amount(minor: int, currency: str) -> str:
    """
    >>> format_amount(-1250, "EUR"), format_amount(5, "KWD"), format_amount(7, "JPY")
    ('-12.50', '0.005', '7')
    """
    digits = minor_digits(currency)
    text = str(abs(minor)).rjust(digits + 1, "0")
    text = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"-{text}" if minor < 0 else text
