"""Rows as a workbook of one sheet, for Excel and LibreOffice.

Enters: rows of plain values, or the database's own (dates, DECIMALs). Leaves: an .xlsx file, in a stream.
The one rule: a whole number or a DECIMAL is there to its last digit, or is text; and text is never a formula.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from importlib.util import find_spec
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fairbrush.errors import ReportError
from fairbrush.spreadsheets import as_digits, as_text, is_like_formula

if TYPE_CHECKING:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

MOST_ROWS = 1_048_575  # below the header
MOST_COLUMNS = 16_384
LONGEST_TEXT = 32_767
_DIGITS = 15  # that Excel keeps of a number
_FIRST_DAY = date(1900, 3, 1)  # Excel believes that there was a 29th of February before it
_NARROWEST, _WIDEST = 8, 60
_MEASURED_ROWS = 1_000
# what XML cannot hold, or would change
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_LIKE_ESCAPE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")  # Excel would read _x0041_ as A


def write_workbook(
    rows: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    stream: IO[bytes],
    *,
    title: str = "fairbrush",
) -> int:
    """A bold header that stays in view and filters, then ``rows``; gives how many cells had to be cut, as
    their text was longer than a cell can be.

    Raises ReportError where the extra ``report`` is not installed, or the answer is larger than a sheet.
    """
    if len(names) > MOST_COLUMNS:
        raise _too_large(f"{len(names):,} columns", f"{MOST_COLUMNS:,}")
    openpyxl = _openpyxl()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(re.sub(r"[\[\]:*?/\\']", " ", title).strip()[:31] or "fairbrush")
    sheet.freeze_panes = "A2"
    waiting = iter(rows)
    first = list(islice(waiting, _MEASURED_ROWS))
    for number, name in enumerate(names, start=1):
        width = max(map(_width, [name, *(_shown(row[name]) for row in first)]))
        letter = openpyxl.utils.get_column_letter(number)
        sheet.column_dimensions[letter].width = min(max(width + 2, _NARROWEST), _WIDEST)
    try:
        sheet.append(list(_header(sheet, names)))
        count, cut = _append(sheet, chain(first, waiting), names)
        if names:
            sheet.auto_filter.ref = f"A1:{openpyxl.utils.get_column_letter(len(names))}{count + 1}"
        book.save(stream)
    except BaseException:  # Ctrl-C too: nothing is left in the temporary folder
        _drop_draft(sheet)
        raise
    return cut


def _append(
    sheet: WriteOnlyWorksheet, rows: Iterable[Mapping[str, Any]], names: Sequence[str]
) -> tuple[int, int]:
    """How many rows, and how many cells were cut."""
    count = cut = 0
    for count, row in enumerate(rows, start=1):
        if count > MOST_ROWS:
            raise _too_large(f"more than {MOST_ROWS:,} rows", "no more below its header")
        values = [_fitting(row[name]) for name in names]
        cut += sum(isinstance(value, str) and len(value) > LONGEST_TEXT for value in values)
        sheet.append([_cell(sheet, value) for value in values])
    return count, cut


def _too_large(has: str, holds: str) -> ReportError:
    return ReportError(
        f"The answer has {has}; a sheet holds {holds}.",
        next_step="Ask for less, or take --format parquet or csv.",
    )


def _drop_draft(sheet: WriteOnlyWorksheet) -> None:
    """openpyxl removes what it wrote aside when Python ends by itself, which Ctrl-C need not let it."""
    if sheet._writer is not None:
        with suppress(Exception):  # it need not end well, but without a complaint of Python's later
            sheet.close()
        Path(sheet._writer.out).unlink(missing_ok=True)


def sheet_text(text: str) -> str:
    """As a cell can hold it: what XML cannot say is escaped.

    >>> sheet_text("a" + chr(27) + "[31m"), sheet_text("_x0041_")
    ('a\\\\x1b[31m', '_x005F_x0041_')
    """
    lines = text.replace("\r\n", "\n")
    escaped = _UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), lines)
    return _LIKE_ESCAPE.sub("_x005F_", escaped)


def _openpyxl() -> Any:
    if find_spec("openpyxl") is None:
        from fairbrush.reports.pages.words import INSTALL

        raise ReportError("A workbook needs more packages (openpyxl).", next_step=f"Install them: {INSTALL}")
    import openpyxl

    return openpyxl


def _header(sheet: WriteOnlyWorksheet, names: Sequence[str]) -> Iterator[WriteOnlyCell]:
    from openpyxl.styles import Font

    bold = Font(bold=True)
    for name in names:
        cell = _text_cell(sheet, sheet_text(name))
        cell.font = bold
        yield cell


def _fitting(value: Any) -> Any:
    """The value where Excel keeps it as it is, else its text; an empty text is an empty cell."""
    if value is None or isinstance(value, bool) or _is_exact(value):
        return value
    return _words(value) or None


def _cell(sheet: WriteOnlyWorksheet, value: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text_cell(sheet, value)
    cell = WriteOnlyCell(sheet, value)
    if isinstance(value, datetime):
        cell.number_format = "yyyy-mm-dd hh:mm:ss.000" if value.microsecond else "yyyy-mm-dd hh:mm:ss"
    elif isinstance(value, date):
        cell.number_format = "yyyy-mm-dd"
    elif isinstance(value, Decimal):
        places = max(-int(value.as_tuple().exponent), 0)
        cell.number_format = "0" + ("." + "0" * places if places else "")
    return cell


def _text_cell(sheet: WriteOnlyWorksheet, text: str) -> WriteOnlyCell:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, text[:LONGEST_TEXT])
    cell.data_type = "s"  # else "=1+1" would be a formula and "#N/A" an error
    cell.quotePrefix = is_like_formula(text)  # it stays text where somebody edits it
    return cell


def _is_exact(value: Any) -> bool:
    """Whether Excel keeps a value as it is; else it is text."""
    if isinstance(value, datetime):
        return value.tzinfo is None and value.date() >= _FIRST_DAY
    if isinstance(value, date):
        return value >= _FIRST_DAY
    if isinstance(value, int | Decimal):
        number = Decimal(value)
        return number.is_finite() and len(number.normalize().as_tuple().digits) <= _DIGITS
    return isinstance(value, float) and isfinite(value)


def _words(value: Any) -> str:
    """Everything that is text in a sheet comes from here."""
    return as_digits(value) if isinstance(value, int | float | Decimal) else sheet_text(as_text(value))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else _words(value)


def _width(text: str) -> int:
    """Of its longest line; wide East Asian letters take two places."""
    longest = max(text[:LONGEST_TEXT].split("\n"), key=len)[: 2 * _WIDEST]
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in longest)
