"""Revenue from CSV files: lines, and the images that a line is spread over.

Enters: a path. Leaves: lines in the database, and an ``ImportResult`` with the rows refused. The one rule: a
bad row of revenue stops no other; a bad row of a list of images refuses the list, since every other image
would get more. Amounts are text here, never numbers.

UTF-8, a header line; comma, semicolon or tab. An unknown column is an error: a mistyped one must not pass.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from fairbrush.corpus.images import ImageLimits, hash_file
from fairbrush.errors import ImageRefusedError, MoneyError
from fairbrush.ledger.choices import Outcome, Spread
from fairbrush.ledger.currency import shown
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.revenue import (
    E6,
    Line,
    Weights,
    checked_image,
    image_line,
    parse_day,
    period_line,
    recording,
)
from fairbrush.spreadsheets import formula_undone
from fairbrush.store import Store

LINE_COLUMNS = ("reference", "amount", "currency", "image", "sha256", "date", "model", "period", "by", "over")
IMAGE_COLUMNS = ("image", "sha256", "weight", "count")
LONGEST_CELL = 4096  # characters; a longer one has an unclosed quote
_ROWS_AT_ONCE = 20_000
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_WEIGHT = re.compile(r"[0-9]{1,12}(\.[0-9]{0,6}0*)?")
_COUNT = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class RefusedRow:
    """``line`` counts from 1, the header's. ``problem``: what is wrong, and what to do."""

    line: int
    reference: str
    problem: str


@dataclass(frozen=True)
class ImportResult:
    """``cancelled``: rows whose lines are there already, and cancelled."""

    added: int
    there: int
    cancelled: int
    refused: tuple[RefusedRow, ...]


class Images:
    """The SHA-256 of images that are named by it, or by their files; each file is read once."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._known: dict[Path, str] = {}

    def sha256(self, text: str, folder: Path = Path()) -> str:
        """``text``: a SHA-256, or a path from ``folder``. Raises MoneyError."""
        if _SHA256.fullmatch(text.strip()):
            return checked_image(text)
        path = folder / text
        if path not in self._known:
            try:
                self._known[path] = hash_file(path, self._limits)
            except ImageRefusedError as error:
                raise MoneyError(
                    f"{shown(text)} is neither an image's file nor a SHA-256: {error.detail}",
                    next_step="A SHA-256 has 64 digits of 0 to 9 and a to f.",
                ) from error
        return self._known[path]


def import_revenue(store: Store, path: Path, *, limits: ImageLimits, now: datetime) -> ImportResult:
    """Record a file's good rows, in one transaction and one batch of the chain.

    Paths in it are relative to its folder. Raises MoneyError where nothing of it can be used.
    """
    refused: list[RefusedRow] = []
    counts = dict.fromkeys(Outcome, 0)
    with _open_csv(path, LINE_COLUMNS) as table, recording(store, now=now) as recorder:
        table.require("reference", "amount", "currency")
        rows = _good_rows(table, _LineReader(path.parent, Images(limits)), refused)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            outcomes = recorder.add([line for _, line in some])
            for (number, line), added in zip(some, outcomes, strict=True):
                counts[added.outcome] += 1
                if added.problem is not None:
                    refused.append(RefusedRow(number, line.reference, str(added.problem)))
    refused.sort(key=lambda row: row.line)
    return ImportResult(
        counts[Outcome.ADDED], counts[Outcome.THERE], counts[Outcome.CANCELLED], tuple(refused)
    )


def read_images(path: Path, images: Images, *, by: Spread | None = None) -> tuple[Spread, Weights]:
    """The images of a list, and how they share. A column ``weight`` means by weight, ``count`` by count;
    without either each image counts once. Paths in it are relative to its folder. Raises MoneyError.
    """
    with _open_csv(path, IMAGE_COLUMNS) as table:
        column = _weight_column(table, by)
        found: dict[str, int] = {}
        for number, cells in table.rows():
            try:
                row = table.named(cells)
                image = images.sha256(_image_cell(row), path.parent)
                if image in found:
                    raise MoneyError(
                        "The image was there before.",
                        next_step="Write each image once; a column count says how often it was used.",
                    )
                found[image] = _weight_e6(row.get(column, ""), column) if column else E6
            except MoneyError as error:
                raise MoneyError(
                    f"{path}, line {number}: {error.message}", next_step=error.next_step
                ) from error
    if not found:
        raise MoneyError(f"{path} names no image.", next_step="Write one a line below the header.")
    return by or (Spread.WEIGHT if column == "weight" else Spread.COUNT), tuple(sorted(found.items()))


class _LineReader:
    """Rows as lines; a list of images that many rows name is read once."""

    def __init__(self, folder: Path, images: Images) -> None:
        self._folder, self._images = folder, images
        self._lists: dict[tuple[str, Spread | None], tuple[Spread, Weights]] = {}

    def line(self, row: Mapping[str, str]) -> Line:
        """Raises MoneyError."""
        reference, amount = row.get("reference", ""), row.get("amount", "")
        currency, model_id = row.get("currency", ""), row.get("model")
        if "period" not in row:
            if "by" in row or "over" in row:
                raise MoneyError("by and over need a period.", next_step="Fill the cell period.")
            return image_line(
                reference,
                amount,
                currency=currency,
                image_sha256=self._images.sha256(_image_cell(row), self._folder),
                day=parse_day(row["date"]) if "date" in row else None,
                model_id=model_id,
            )
        if {"image", "sha256", "date"} & set(row):
            raise MoneyError(
                "A row has either an image, and maybe a date, or a period.", next_step="Empty the others."
            )
        by = _spread(row["by"]) if "by" in row else None
        spread, weights = self._list(row["over"], by) if "over" in row else (by or Spread.COUNT, None)
        return period_line(
            reference,
            amount,
            currency=currency,
            earned=parse_period(row["period"]),
            spread=spread,
            images=weights,
            model_id=model_id,
        )

    def _list(self, name: str, by: Spread | None) -> tuple[Spread, Weights]:
        if (name, by) not in self._lists:
            self._lists[name, by] = read_images(self._folder / name, self._images, by=by)
        return self._lists[name, by]


def _good_rows(table: _Table, reader: _LineReader, refused: list[RefusedRow]) -> Iterator[tuple[int, Line]]:
    """With their line numbers. The first row of a reference stays; nothing says that another is right."""
    first_line: dict[str, int] = {}
    for number, cells in table.rows():
        try:
            line = reader.line(table.named(cells))
            if line.reference in first_line:
                raise MoneyError(
                    f"The reference is in line {first_line[line.reference]} already.",
                    next_step="Give each line one of its own.",
                )
        except MoneyError as error:
            refused.append(RefusedRow(number, table.cell(cells, "reference"), str(error)))
        else:
            first_line[line.reference] = number
            yield number, line


@dataclass(frozen=True)
class _Table:
    """A CSV that is being read: its header, and the reader that stands below it."""

    path: Path
    header: Sequence[str]
    reader: csv._reader  # type: ignore[name-defined]

    def require(self, *columns: str) -> None:
        missing = [column for column in columns if column not in self.header]
        if missing:
            raise MoneyError(
                f"{self.path}, line 1: there is no column called {missing[0]}.",
                next_step="Put the columns' names in the first line.",
            )

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row that is not empty, and the number of its first line."""
        last_line = self.reader.line_num
        for cells in self.reader:
            number, last_line = last_line + 1, self.reader.line_num
            if any(cell.strip() for cell in cells):
                yield number, cells

    def named(self, cells: Sequence[str]) -> dict[str, str]:
        """A row's cells that are not empty, by column. Raises MoneyError."""
        if len(cells) > len(self.header):
            raise MoneyError(
                f"The row has {len(cells)} cells and the header {len(self.header)}.",
                next_step="Quote a cell that holds the separator; write amounts with a point.",
            )
        if any(len(cell) > LONGEST_CELL for cell in cells):
            raise MoneyError(
                f"A cell has more than {LONGEST_CELL:,} characters.", next_step="Is a quote not closed?"
            )
        if any(map(_NO_TEXT.search, cells)):
            raise MoneyError("The row is not UTF-8 text.", next_step="Save the file as CSV UTF-8.")
        stripped = ((column, cell.strip()) for column, cell in zip(self.header, cells, strict=False))
        return {column: formula_undone(cell) for column, cell in stripped if cell}

    def cell(self, cells: Sequence[str], column: str) -> str:
        """Fit to be printed, of a row that may be anything."""
        place = self.header.index(column)
        text = cells[place] if place < len(cells) else ""
        return text.encode("utf-8", errors="replace").decode()[:60]


@contextmanager
def _open_csv(path: Path, known: Sequence[str]) -> Iterator[_Table]:
    """Raises MoneyError where it cannot be read, or its header not be understood."""
    if path.exists() and not path.is_file():
        raise MoneyError(f"{path} is not a file.", next_step="Save it as CSV UTF-8.")
    try:
        with path.open("rb") as stream:
            if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise MoneyError(f"{path} is UTF-16 text.", next_step="Save it as CSV UTF-8.")
        # bytes that are not UTF-8 become lone surrogates, so that only their own rows are refused
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            first = text.readline(LONGEST_CELL)
            text.seek(0)
            reader = csv.reader(text, delimiter=_delimiter(first))
            header = [cell.strip().casefold() for cell in next(reader, [])]
            _check_header(header, known, path)
            yield _Table(path, header, reader)
    except OSError as error:
        raise MoneyError(f"{path} cannot be read: {error.strerror}.", next_step="Check the path.") from error
    except csv.Error as error:
        raise MoneyError(
            f"{path} is not CSV: {error}.", next_step="Is a quote not closed? Nothing was recorded."
        ) from error


def _delimiter(header: str) -> str:
    """
    >>> _delimiter("reference;amount;currency"), _delimiter("reference")
    (';', ',')
    """
    return max(",;\t", key=header.count)


def _check_header(header: Sequence[str], known: Sequence[str], path: Path) -> None:
    unknown = [column for column in header if column not in known]
    if unknown or not header or len(set(header)) < len(header):
        what = (
            f"{shown(unknown[0])} is not a column"
            if unknown
            else "a column is there twice"
            if header
            else "there is no header"
        )
        raise MoneyError(
            f"{path}, line 1: {what}.", next_step=f"Known: {', '.join(known)}. Remove or rename the others."
        )


def _image_cell(row: Mapping[str, str]) -> str:
    """Raises MoneyError."""
    if ("image" in row) == ("sha256" in row):
        raise MoneyError("The row must name one image.", next_step="Fill one of the cells image and sha256.")
    return checked_image(row["sha256"]) if "sha256" in row else row["image"]


def _spread(cell: str) -> Spread:
    try:
        return Spread(cell.casefold())
    except ValueError:
        raise MoneyError(
            f"{shown(cell)} is no way to spread.", next_step=f"One of {', '.join(Spread)}."
        ) from None


def _weight_column(table: _Table, by: Spread | None) -> str | None:
    """The column that says how much of it is an image's; None where all are alike. Raises MoneyError."""
    if not {"image", "sha256"} & set(table.header):
        raise MoneyError(
            f"{table.path}, line 1: there is no column called image or sha256.",
            next_step="Put the columns' names in the first line.",
        )
    there = [column for column in ("weight", "count") if column in table.header]
    if by is None and len(there) == 2:
        raise MoneyError(
            f"{table.path} has weights and counts.", next_step="Say by which: --by weight or --by count."
        )
    if by is Spread.WEIGHT and not there:
        raise MoneyError(
            f"{table.path} has no column called weight.", next_step="Add one, or spread it by count."
        )
    if by is not None and len(there) == 2:
        return str(by)
    return None if by is Spread.COUNT and there == ["weight"] else there[0] if there else None


def _weight_e6(cell: str, column: str) -> int:
    """Millionths. Raises MoneyError.

    >>> _weight_e6("0.25", "weight"), _weight_e6("3", "count")
    (250000, 3000000)
    """
    fits = (_COUNT if column == "count" else _WEIGHT).fullmatch(cell)
    whole, _, part = cell.partition(".")
    e6 = int(whole) * E6 + int(part.rstrip("0").ljust(6, "0")) if fits else 0
    if e6 <= 0:
        wanted = "a whole number" if column == "count" else "a number with at most 6 decimals"
        raise MoneyError(
            f"{shown(cell)} is no {column}.", next_step=f"Write {wanted}, more than 0 and below 10^12."
        )
    return e6
