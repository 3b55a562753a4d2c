"""Amounts of money: whole minor units of an ISO 4217 currency.

Enters: text such as ``12.50`` and a code such as ``EUR``. Leaves: an integer, and text again. The one rule:
what has more decimals than the currency has is refused, not rounded; nothing is ever a float.
"""

from __future__ import annotations

import re
from functools import cache

from fairbrush.errors import MoneyError

_AMOUNT = re.compile(r"[+-]?[0-9]{1,16}(\.[0-9]{0,16})?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}\.000")
_CODE = re.compile(r"[A-Z]{3}")
MOST_MINOR = 2**53  # of one amount: what spreadsheets and JSON readers still hold exactly
_SHOWN_CHARACTERS = 40
# decimals of codes that ISO 4217 has withdrawn lately: nothing new is booked in them, and an older book,
# written beside an older list, is still read
_WITHDRAWN = {
    "ANG": 2,
    "BGN": 2,
    "CUC": 2,
    "HRK": 2,
    "SLL": 2,
    "VEF": 2,
    "ZWL": 2,
}


def minor_digits(currency: str) -> int:
    """How many decimals a currency has that is paid in today: 0 for JPY, 2 for EUR, 3 for KWD, 4 for CLF.

    Raises MoneyError where it is none, was withdrawn (BGN), or has no minor unit (gold, XXX).
    """
    if currency in _WITHDRAWN:
        raise MoneyError(
            f"{currency} has been withdrawn from ISO 4217.",
            next_step="State the amount in the currency that replaced it.",
        )
    digits = _listed_digits(currency)
    if digits is None:
        raise MoneyError(
            f"{shown(currency)} is no currency of ISO 4217 that money is paid in.",
            next_step="Write its three capital letters, as EUR, USD or JPY.",
        )
    return digits


@cache
def _listed_digits(currency: str) -> int | None:
    if not _CODE.fullmatch(currency):
        return None
    from iso4217 import Currency

    try:
        exponent = Currency(currency).exponent
    except ValueError:
        return None
    return None if exponent is None else int(exponent)


def parse_amount(text: str, currency: str) -> int:
    """Minor units. Raises MoneyError.

    >>> parse_amount("12.5", "EUR"), parse_amount("12", "JPY"), parse_amount("0.125", "KWD")
    (1250, 12, 125)
    """
    digits = minor_digits(currency)
    trimmed = text.strip()
    if not _AMOUNT.fullmatch(trimmed):
        raise MoneyError(
            f"{shown(text)} is no amount.",
            next_step="Write digits and a point, nothing else, as 1250.00.",
        )
    if digits < 3 and _THOUSANDS.fullmatch(trimmed):
        raise MoneyError(
            f"{trimmed} {currency} may mean a thousand times as much.",
            next_step="Write no separators of thousands, and no more decimals than the currency has.",
        )
    whole, _, part = trimmed.partition(".")
    part = part.rstrip("0") if len(part) > digits else part
    if len(part) > digits:
        raise MoneyError(
            f"{trimmed} {currency} has more decimals than {currency} has ({digits}).",
            next_step="Round it yourself, or state it in smaller units.",
        )
    minor = int(whole.lstrip("+-") + part.ljust(digits, "0"))
    if minor > MOST_MINOR:
        raise MoneyError(
            f"{trimmed} {currency} is more than one amount can be.",
            next_step="Check it, or state parts.",
        )
    return -minor if whole.startswith("-") else minor


def format_amount(minor: int, currency: str) -> str:
    """
    >>> format_amount(-1250, "EUR"), format_amount(5, "KWD"), format_amount(7, "JPY")
    ('-12.50', '0.005', '7')
    """
    digits = _WITHDRAWN[currency] if currency in _WITHDRAWN else minor_digits(currency)
    text = str(abs(minor)).rjust(digits + 1, "0")
    text = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"-{text}" if minor < 0 else text


def shown(text: str) -> str:
    """What a user wrote, quoted, and cut where it is long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
