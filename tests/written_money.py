"""Money read back from a statement: what its English pages say, in minor units, adds up and is the book's."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

from pypdf import PdfReader

from fairbrush.reports.pages.statement_moved import Place

SIGNS = {"€": ("EUR", 2), "JP¥": ("JPY", 0), "KWD": ("KWD", 3)}
_AMOUNT = re.compile(r"(-?)(€|JP¥|KWD)\s?([0-9,]+(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class Amount:
    currency: str
    minor: int


def amounts(text: str) -> list[Amount]:
    """
    >>> amounts("-€1,234.56 and JP¥7, or KWD 0.005")
    [Amount(currency='EUR', minor=-123456), Amount(currency='JPY', minor=7), Amount(currency='KWD', minor=5)]
    """
    found = []
    for minus, sign, digits in _AMOUNT.findall(text):
        currency, decimals = SIGNS[sign]
        assert len(digits.partition(".")[2]) == decimals, f"{currency} has {decimals} decimals: {digits}"
        minor = int(digits.replace(",", "").replace(".", ""))
        found.append(Amount(currency, -minor if minus else minor))
    return found


def by_currency(found: Iterable[Amount]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in found:
        sums[one.currency] = sums.get(one.currency, 0) + one.minor
    return sums


@dataclass
class Written(HTMLParser):
    """A page: all its text, and its tables by caption: rows of cells, without the row of columns."""

    html: str
    text: str = ""
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._caption = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._open.append(tag)
        if tag == "caption":
            self._caption = ""
        if tag == "tbody":
            self.tables[self._caption] = []
        if tag == "tr" and "thead" not in self._open:
            self.tables[self._caption].append([])
        if tag in ("td", "th") and "thead" not in self._open:
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:  # those without an end
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        if {"td", "th"} & {*self._open} and "thead" not in self._open:
            self.tables[self._caption][-1][-1] += data


def pdf_text(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def assert_adds_up(
    html: str, closing: Mapping[str, Mapping[Place, int]], *, pdf: bytes | None = None
) -> None:
    """A statement's tables sum to their totals, and these to one another; its accounts end with what the book
    has, by currency and place; paper says the same as the browser."""
    page = Written(html)
    accounts = {
        caption.removeprefix("Your accounts in "): {
            row[0]: [one.minor for cell in row[1:] for one in amounts(cell)] for row in rows
        }
        for caption, rows in page.tables.items()
        if caption.startswith("Your accounts in ")
    }
    nothing = [0] * (len(Place) + 1)
    glance: list[Amount] = []
    for currency, rows in accounts.items():
        *parts, end = rows.values()
        assert all(sum(row[:-1]) == row[-1] for row in rows.values())
        assert [sum(column) for column in zip(*parts, strict=True)] == end
        earned = rows.get("Earned in settlements", nothing)[-1]
        earned += rows.get("Taken back by corrections", nothing)[-1]
        paid = -rows.get("Paid out", nothing)[-1]
        moved = end[-1] - parts[0][-1] - earned + paid
        figures = (parts[0][-1], earned, *([moved] if moved else []), paid, end[-1])
        glance += [Amount(currency, minor) for minor in figures]
        assert _total(page, "Settlements booked in this period").get(currency, 0) == earned
        assert _total(page, "What was not paid at the end").get(currency, 0) == end[-1]
        assert _paid(page).get(currency, 0) == paid
    written = amounts(page.text)
    assert written[: len(glance)] == glance
    ends = {currency: [*rows.values()][-1][:-1] for currency, rows in accounts.items()}
    held = {currency: [places[place] for place in Place] for currency, places in closing.items()}
    assert {one: end for one, end in ends.items() if any(end)} == {
        one: end for one, end in held.items() if any(end)
    }
    if pdf is not None:
        assert amounts(pdf_text(pdf)) == written


def _rows(page: Written, caption: str) -> list[list[str]]:
    return [row for name, rows in page.tables.items() if name.startswith(caption) for row in rows]


def _total(page: Written, caption: str) -> dict[str, int]:
    """By currency; what the rows sum to is what stands below them."""
    rows = _rows(page, caption)
    totals = [row for row in rows if row[0].startswith("Together, in ")]
    summed = by_currency(one for row in rows if row not in totals for one in amounts(row[-1]))
    assert by_currency(one for row in totals for one in amounts(row[-1])) == summed
    return summed


def _paid(page: Written) -> dict[str, int]:
    rows = [row for row in _rows(page, "Payouts of this period") if "paid" in row]
    return by_currency(one for row in rows for one in amounts(row[-1]))
