"""What a page says, and how it writes numbers, money and days, in the reader's language.

Enters: English messages, as gettext has them. Leaves: text. The one rule: a message is whole (names are
put in by ``%(name)s``, never joined), so that it can be translated; a test finds every message without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache
from io import BytesIO
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.errors import ReportError
from fairbrush.ledger.currency import format_amount

if TYPE_CHECKING:
    from gettext import NullTranslations

LOCALES = Path(__file__).parent / "locale"
INSTALL = 'pip install "fairbrush[report]"'
_NO_BREAK = "\N{NO-BREAK SPACE}"
# CLDR, currencySpacing: KWD 0.005, which Babel writes without the space
_LETTER_BY_DIGIT = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")


class Language(StrEnum):
    """English is what the messages are written in; every other one has a folder of catalogues."""

    ENGLISH = "en"
    GERMAN = "de"


def later(message: str) -> str:
    """Mark a message that is translated where it is shown."""
    return message


@dataclass(frozen=True)
class Words:
    """One language. Everything it gives is plain text: the page escapes it.

    >>> english = Words.of("en")
    >>> english.text("%(count)s works by %(artist)s", count=3, artist="100 % Ann")
    '3 works by 100 % Ann'
    >>> english.money(-123456, "EUR"), english.percent(0.0525)
    ('-€1,234.56', '5.3%')
    >>> Words.of("de").money(-123456, "EUR").replace(chr(160), " ")
    '-1.234,56 €'
    >>> english.fine_money(Fraction(2, 3), "EUR"), english.fine_money(Fraction(-1, 2), "JPY")
    ('€0.0067', '-JP¥0.50')
    """

    language: Language
    translations: NullTranslations
    locale: Any

    @classmethod
    def of(cls, language: str) -> Words:
        """Raises ConfigError where the extra ``report`` is not installed."""
        return _words(Language(language))

    def text(self, message: str, **fields: object) -> str:
        translated: str = self.translations.gettext(message)
        return translated % fields if fields else translated

    def plural(self, one: str, many: str, count: int, **fields: object) -> str:
        """``%(num)s`` is the count."""
        translated: str = self.translations.ngettext(one, many, count)
        return translated % {"num": self.number(count), **fields}

    def number(self, value: float | Decimal, *, digits: int | None = None) -> str:
        """``digits``: decimals, exactly; else as many as there are, at most three."""
        from babel.numbers import format_decimal

        pattern = None if digits is None else "#,##0" + ("." + "0" * digits if digits else "")
        written: str = format_decimal(value, format=pattern, locale=self.locale)
        return written

    def percent(self, fraction: float | Decimal, *, digits: int = 1) -> str:
        """A fraction of 1, rounded half up: ``5.3%``. What is more than nothing never reads as nothing."""
        pattern = self._with_decimals(self.locale.percent_formats[None], digits)
        least = Decimal(1).scaleb(-digits - 2)
        value = Decimal(str(fraction))
        is_less = 0 < value < least
        shown = least if is_less else value.quantize(least, ROUND_HALF_UP)
        written: str = pattern.apply(shown, self.locale)
        return f"<{_NO_BREAK}{written}" if is_less else written

    def money(self, amount_minor: int, currency: str) -> str:
        """Minor units, written with as many decimals as the currency has. Raises MoneyError."""
        amount = Decimal(format_amount(amount_minor, currency))
        return self._amount(amount, currency, -int(amount.as_tuple().exponent))

    def fine_money(self, exact_minor: Fraction, currency: str, *, finer: int = 2) -> str:
        """A fraction of minor units, with so many decimals more than the currency has, rounded half up."""
        usual = -int(Decimal(format_amount(0, currency)).as_tuple().exponent)
        scaled = floor(abs(exact_minor) * 10**finer + Fraction(1, 2))
        amount = Decimal(scaled if exact_minor >= 0 else -scaled).scaleb(-usual - finer)
        return self._amount(amount, currency, usual + finer)

    def _amount(self, amount: Decimal, currency: str, digits: int) -> str:
        pattern = self._with_decimals(self.locale.currency_formats["standard"], digits)
        written = pattern.apply(amount, self.locale, currency=currency, currency_digits=False)
        return _LETTER_BY_DIGIT.sub(_NO_BREAK, written)

    @staticmethod
    def _with_decimals(pattern: Any, digits: int) -> Any:
        """The language's pattern, with exactly this many decimals."""
        exact = copy(pattern)
        exact.frac_prec = (digits, digits)
        return exact

    def day(self, day: date) -> str:
        from babel.dates import format_date

        written: str = format_date(day, format="long", locale=self.locale)
        return written

    def moment(self, moment: datetime) -> str:
        """A time in UTC, said to be that. Times without a zone are UTC, as everywhere in the database."""
        from babel.dates import format_time

        known = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        time = format_time(known, "HH:mm", tzinfo=UTC, locale=self.locale)
        return f"{self.day(known.date())}, {time}{_NO_BREAK}UTC"

    def listing(self, names: list[str]) -> str:
        """``Ann, Bo and Cy``."""
        from babel.lists import format_list

        written: str = format_list(names, locale=self.locale)
        return written


def visible(text: object) -> str:
    """Text that cannot reorder or hide what is around it: control and bidi characters are shown escaped.

    >>> visible("Ann" + chr(0x202E) + "Bo" + chr(7))
    'Ann\\\\u202eBo\\\\x07'
    """
    return "".join(c.encode("unicode_escape").decode() if _steers(c) else c for c in str(text))


def _steers(character: str) -> bool:
    code = ord(character)
    return (
        (code < 0x20 and character not in "\n\t")
        or 0x7F <= code < 0xA0
        or code in (0x061C, 0xFEFF)
        or 0x200E <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF  # half a character, of a file name that is no UTF-8
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE
    )


def catalogue_files(language: Language) -> list[Path]:
    return sorted((LOCALES / language).glob("*.po"))


@cache
def _words(language: Language) -> Words:
    try:
        from babel import Locale
        from babel.support import NullTranslations, Translations
    except ImportError as error:
        raise ReportError(f"Pages need more packages ({error}).", next_step=INSTALL) from error
    if language is Language.ENGLISH:
        return Words(language, NullTranslations(), Locale.parse("en_GB"))
    merged = Translations()
    for file in catalogue_files(language):
        merged.merge(_compiled(file, Translations))
    return Words(language, merged, Locale.parse(language))


def _compiled(file: Path, translations: Callable[..., Any]) -> Any:
    """Read as text and compiled here: no built file can fall behind its source."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with file.open("rb") as stream:
        catalogue = read_po(stream, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return translations(compiled)
