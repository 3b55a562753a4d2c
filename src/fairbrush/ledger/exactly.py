"""Exact fractions as text, ``n/d``, however long.

The one rule: what is read back is the same number. Python refuses to print whole numbers of more than 4,300
digits at once, which sums over many spreads can reach; they are printed and read in pieces.
"""

from __future__ import annotations

from fractions import Fraction

_DIGITS = 4000  # of one piece
_PIECE = 10**_DIGITS


def fraction_text(number: Fraction) -> str:
    """
    >>> fraction_text(Fraction(-3, 6)), fraction_text(Fraction(4))
    ('-1/2', '4/1')
    """
    sign = "-" if number < 0 else ""
    return f"{sign}{_digits(abs(number.numerator))}/{_digits(number.denominator)}"


def parse_fraction(text: str) -> Fraction:
    """
    >>> parse_fraction("-1/2")
    Fraction(-1, 2)
    """
    numerator, _, denominator = text.partition("/")
    sign = -1 if numerator.startswith("-") else 1
    return Fraction(sign * _whole(numerator.lstrip("-")), _whole(denominator))


def _digits(number: int) -> str:
    pieces = []
    while number >= _PIECE:
        number, low = divmod(number, _PIECE)
        pieces.append(str(low).rjust(_DIGITS, "0"))
    return "".join([str(number), *reversed(pieces)])


def _whole(text: str) -> int:
    first = len(text) % _DIGITS or _DIGITS
    number = int(text[:first])
    for start in range(first, len(text), _DIGITS):
        number = number * _PIECE + int(text[start : start + _DIGITS])
    return number
