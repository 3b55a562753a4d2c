"""Tables that people open in a spreadsheet: text there must stay text, and CSV.

Enters: rows of plain values, or a cell. Leaves: CSV, or a safe cell. The one rule: no text from anybody is
read as a formula (CWE-1236), and the apostrophe that sees to it can be taken away again without loss.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain, islice
from typing import Any

_SIGNS = "=+\\-@＝＋－＠"
_PASSED_OVER = "'\" \N{NO-BREAK SPACE}"  # before a sign: a spreadsheet may drop these
# Where a formula could begin: at the start, and after what some spreadsheets take for the end of a cell. A
# spreadsheet set to German splits a CSV at semicolons, whatever is quoted.
_AT_START = rf"(?=[{_PASSED_OVER}]*[{_SIGNS}\t\r\n])"
_AFTER_END = rf"(?=[{_PASSED_OVER}]*[{_SIGNS}])"
_FORMULA = re.compile(rf"\A{_AT_START}|(?<=[;\t\r\n]){_AFTER_END}")
_ESCAPED = re.compile(rf"\A'{_AT_START}|(?<=[;\t\r\n])'{_AFTER_END}")
_LINES_AT_ONCE = 1_024
_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")


def is_like_formula(text: str) -> bool:
    """Whether a spreadsheet could run it; an amount below zero is a number, and runs nothing."""
    return _FORMULA.search(text) is not None and _NUMBER.fullmatch(text) is None


def no_formula(text: str) -> str:
    """A cell that a spreadsheet takes for text: an apostrophe stands before what could begin a formula.

    >>> no_formula("=1+1"), no_formula("Ann"), no_formula("-12.50"), no_formula("Ann;@Bo")
    ("'=1+1", 'Ann', '-12.50', "Ann;'@Bo")
    """
    return _FORMULA.sub("'", text) if is_like_formula(text) else text


def formula_undone(cell: str) -> str:
    """The text that ``no_formula`` got, for reading our own tables again.

    >>> formula_undone(no_formula("=1+1")), formula_undone("'tis")
    ('=1+1', "'tis")
    """
    return _ESCAPED.sub("", cell)


def csv_text(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A header and ``rows``: numbers, dates and DECIMALs by their digits, nested values as JSON."""
    return "".join(csv_parts(rows, names))


def csv_parts(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """The same, some thousand lines at a time."""
    if not names:
        return
    lines = chain(
        [[no_formula(name) for name in names]], ([csv_cell(row[name]) for name in names] for row in rows)
    )
    # Python's writer leaves a lone carriage return unquoted, and readers take it for the end of the line.
    first = list(islice(lines, _LINES_AT_ONCE))
    dialect = csv.unix_dialect if any(map(_has_return, first)) else csv.excel
    yield _csv_of(first, dialect)
    while part := list(islice(lines, _LINES_AT_ONCE)):
        if dialect is csv.excel and any(map(_has_return, part)):  # too late to quote every cell of the table
            yield "".join(_csv_of([line], csv.excel, "\r\n").removesuffix("\r\n") + "\n" for line in part)
        else:
            yield _csv_of(part, dialect)


def _has_return(line: Sequence[str]) -> bool:
    return any("\r" in cell for cell in line)


def _csv_of(lines: Sequence[Sequence[str]], dialect: type[csv.Dialect], line_end: str = "\n") -> str:
    """What the end of a line holds is quoted within a cell."""
    stream = io.StringIO()
    csv.writer(stream, dialect=dialect, lineterminator=line_end).writerows(lines)
    return stream.getvalue()


def csv_cell(value: Any) -> str:
    """
    >>> csv_cell(Decimal("-0.50")), csv_cell(-3), csv_cell(None), csv_cell(["=1"])
    ('-0.50', '-3', '', '["=1"]')
    """
    if value is None:
        return ""
    return as_digits(value) if isinstance(value, int | float | Decimal) else no_formula(as_text(value))


def as_digits(number: int | float | Decimal) -> str:
    return format(number, "f") if isinstance(number, Decimal) else str(number)


def as_text(value: Any) -> str:
    """What is no number, in words: dates in ISO 8601, bytes as hex, nested values as JSON."""
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_nested)
    return str(value)


def _nested(value: Any) -> str:
    return as_digits(value) if isinstance(value, Decimal) else as_text(value)
