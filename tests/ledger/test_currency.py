"""Amounts: what is written is what is kept, to the last minor unit, or it is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from fairbrush.errors import MoneyError
from fairbrush.ledger.currency import MOST_MINOR, format_amount, minor_digits, parse_amount

PAID_IN = [one.code for one in Currency if one.exponent is not None and one.code not in ("ANG", "BGN", "CUC")]
currencies = st.sampled_from(PAID_IN)
minors = st.integers(-MOST_MINOR, MOST_MINOR)


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4), ("UYW", 4)])
def test_a_currency_has_the_decimals_that_iso_4217_says(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


@given(minors, currencies)
def test_an_amount_comes_back_from_its_text(minor: int, currency: str) -> None:
    assert parse_amount(format_amount(minor, currency), currency) == minor


@given(minors, currencies)
def test_the_text_is_the_decimal_number(minor: int, currency: str) -> None:
    text = format_amount(minor, currency)
    assert Decimal(text) * 10 ** minor_digits(currency) == minor
    assert len(text.partition(".")[2]) == minor_digits(currency)


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=6), currencies)
def test_a_decimal_is_kept_exactly_or_refused(number: Decimal, currency: str) -> None:
    exact = number * 10 ** minor_digits(currency)
    text = format(number, "f")
    if exact == exact.to_integral_value():
        assert parse_amount(text, currency) == int(exact)
    else:
        with pytest.raises(MoneyError, match=r"decimals than|thousand"):
            parse_amount(text, currency)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.5", "EUR", 1250),
        ("12.", "EUR", 1200),
        (" 12.5000 ", "EUR", 1250),
        ("+0.01", "EUR", 1),
        ("1000.00", "JPY", 1000),
        ("1.000", "KWD", 1000),
        ("0.001", "KWD", 1),
        ("0.0001", "CLF", 1),
        ("90071992547409.92", "EUR", MOST_MINOR),
    ],
)
def test_what_is_meant_is_understood(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    ["", " ", ".5", "1,50", "1 000", "1e3", "0x10", "nan", "inf", "--1", "12.5 EUR", "१२", "１２", "1_000",
     "12.345", "1.000", "120.000",
     "1" * 17, "9" * 10_000, "0." + "0" * 10_000, "90071992547409.93", "1\n2", "\x00"],
)  # fmt: skip
def test_what_is_no_amount_of_euros_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(MoneyError) as refused:
        parse_amount(text, "EUR")
    assert refused.value.next_step
    assert len(refused.value.message) < 150


@pytest.mark.parametrize(
    "code",
    ["XAU", "XXX", "XTS", "XDR", "DEM", "HRK", "BGN", "eur", "EURO", "", "€", "ＥＵＲ", "E" * 99],
)
def test_what_nobody_is_paid_in_is_refused(code: str) -> None:
    with pytest.raises(MoneyError) as refused:
        parse_amount("1", code)
    assert refused.value.next_step
    assert len(refused.value.message) < 150


def test_an_older_book_in_a_withdrawn_currency_is_still_read() -> None:
    assert format_amount(1250, "BGN") == "12.50"
