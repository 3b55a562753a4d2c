"""Read a roster: a CSV file, or a folder of folders. Nothing is written here.

Enters: a path. Leaves: a ``Roster`` of good rows and refused ones with their line numbers. The one rule: a
bad row never stops the others; a bad header refuses the file, since every row would be misread.

The CSV: UTF-8, a header line, comma or semicolon. ``name`` is required. ``works`` (paths relative to the
CSV), and ``aliases`` hold several values with ``|`` between. ``creator``, ``payee``, ``consent``
(opted_in, unclaimed, opted_out), ``trained`` (yes, no, unknown: of sd-1.5) and ``trained:MODEL``. An empty
cell leaves things as they are. An unknown column is an error: a mistyped ``consent`` must not pass.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fairbrush.corpus.membership import DEFAULT_MODEL
from fairbrush.corpus.names import checked_name, name_key
from fairbrush.domain import Consent, Trained
from fairbrush.errors import RegistryError, RosterError
from fairbrush.spreadsheets import formula_undone

COLUMNS = ("name", "works", "creator", "payee", "consent", "aliases", "trained")
SEPARATOR = "|"
MAX_ROSTER_BYTES = 64 * 2**20
LONGEST_ROW = 64 * 1024  # characters; a row longer than this has an unclosed quote
_SHOWN_CHARACTERS = 60


class RowStatus(StrEnum):
    """What became of one row."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class RowOutcome:
    """``line`` counts from 1; 0 for a folder, which has none. ``detail``: what changed, or why refused."""

    line: int
    name: str
    status: RowStatus
    artist_id: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class RosterRow:
    """One good row. None and empty: the roster does not say."""

    line: int
    name: str
    works: tuple[Path, ...] = ()
    creator: str | None = None
    payee: str | None = None
    consent: Consent | None = None
    aliases: tuple[str, ...] = ()
    trained: dict[str, Trained] = field(default_factory=dict)


@dataclass(frozen=True)
class Roster:
    """What a roster says: each name once among the rows."""

    rows: list[RosterRow]
    refused: list[RowOutcome]


def read_roster(path: Path) -> Roster:
    """Read a CSV file or a folder of folders. Raises RosterError where nothing of it can be used."""
    try:
        return _read_folder(path) if path.is_dir() else _read_csv(path)
    except OSError as error:
        raise RosterError(f"{path} cannot be read: {error.strerror}.", next_step="Check the path.") from error


def _read_folder(root: Path) -> Roster:
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not folders:
        raise RosterError(
            f"{root} has no folder in it.", next_step="Put each artist's works in a folder of its name."
        )
    rows, refused = [], []
    for folder in folders:
        try:
            rows.append(RosterRow(0, checked_name(folder.name), works=(folder,)))
        except RegistryError as error:
            refused.append(RowOutcome(0, _shown(folder.name), RowStatus.REFUSED, None, error.message))
    return _without_duplicates(Roster(rows, refused))


def _read_csv(path: Path) -> Roster:
    if path.stat().st_size > MAX_ROSTER_BYTES:
        raise RosterError(
            f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_ROSTER_BYTES:,}.",
            next_step="Split it.",
        )
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RosterError(f"{path} is UTF-16 text.", next_step="Save it as CSV UTF-8.")
    # bytes that are not UTF-8 become lone surrogates, so that only their own rows are refused
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    first_line = text.partition("\n")[0]
    delimiter = ";" if ";" in first_line and "," not in first_line else ","
    # csv's own limit would end the reading at the first long field; ours refuses the row
    before = csv.field_size_limit(len(text) + 1)
    try:
        return _parse(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), path)
    except csv.Error as error:
        raise RosterError(f"{path} is not CSV: {error}.", next_step="Save it as CSV UTF-8.") from error
    finally:
        csv.field_size_limit(before)


def _parse(reader: csv._reader, path: Path) -> Roster:  # type: ignore[name-defined]
    header = [cell.strip().casefold() for cell in next(reader, [])]
    _check_header(header, path)
    rows, refused = [], []
    last_line = reader.line_num
    for cells in reader:
        line, last_line = last_line + 1, reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        try:
            rows.append(_row(line, cells, header, path.parent))
        except RegistryError as error:
            # without the columns' order nothing else is known of the row
            name = cells[header.index("name")] if len(cells) > header.index("name") else cells[0]
            refused.append(RowOutcome(line, _shown(name), RowStatus.REFUSED, None, error.message))
    return _without_duplicates(Roster(rows, refused))


def _check_header(header: list[str], path: Path) -> None:
    known = ", ".join(COLUMNS)
    if "name" not in header:
        raise RosterError(
            f"{path}, line 1: there is no column called name.",
            next_step=f"Put the columns' names in the first line. Known: {known}, trained:MODEL.",
        )
    unknown = [c for c in header if c not in COLUMNS and not c.startswith("trained:")]
    if unknown or len(set(header)) < len(header):
        what = f"{_shown(unknown[0])!r} is not a column" if unknown else "a column is there twice"
        raise RosterError(
            f"{path}, line 1: {what}.", next_step=f"Known: {known}, trained:MODEL. Remove the others."
        )


def _row(line: int, cells: list[str], header: list[str], folder: Path) -> RosterRow:
    n_characters = sum(map(len, cells))
    if n_characters > LONGEST_ROW:
        raise RegistryError(
            f"The row has {n_characters:,} characters; the limit is {LONGEST_ROW:,}. Is a quote not closed?"
        )
    if len(cells) > len(header):
        raise RegistryError(f"The row has {len(cells)} cells and the header {len(header)}.")
    if any("\ud800" <= c <= "\udfff" for cell in cells for c in cell):
        raise RegistryError("The row is not UTF-8 text.")
    stripped = ((column, cell.strip()) for column, cell in zip(header, cells, strict=False))
    said = {column: formula_undone(cell) for column, cell in stripped if cell}
    return RosterRow(
        line=line,
        name=checked_name(said.get("name", "")),
        works=tuple(folder / part for part in _parts(said.get("works", ""))),
        creator=checked_name(said["creator"]) if "creator" in said else None,
        payee=checked_name(said["payee"]) if "payee" in said else None,
        consent=_consent(said["consent"]) if "consent" in said else None,
        aliases=tuple(checked_name(part) for part in _parts(said.get("aliases", ""))),
        trained={
            column.partition(":")[2].strip() or DEFAULT_MODEL: _trained(cell)
            for column, cell in said.items()
            if column.startswith("trained")
        },
    )


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]


def _consent(cell: str) -> Consent:
    if cell == Consent.ERASED:
        raise RegistryError("A roster cannot erase. Use: fairbrush artist erase NAME")
    try:
        return Consent(cell.casefold())
    except ValueError:
        raise RegistryError(
            f"{_shown(cell)!r} is not a consent: use opted_in, unclaimed or opted_out."
        ) from None


def _trained(cell: str) -> Trained:
    try:
        return Trained(cell.casefold())
    except ValueError:
        raise RegistryError(f"{_shown(cell)!r} is no answer to trained: use yes, no or unknown.") from None


def _without_duplicates(roster: Roster) -> Roster:
    """The first row of a name stays; the others are refused, since nothing says which one is right."""
    first_line: dict[str, int] = {}
    rows, refused = [], list(roster.refused)
    for row in roster.rows:
        if name_key(row.name) in first_line:
            where = first_line[name_key(row.name)]
            detail = f"The name is in line {where} already." if where else "Another folder has this name."
            refused.append(RowOutcome(row.line, row.name, RowStatus.REFUSED, None, detail))
        else:
            first_line[name_key(row.name)] = row.line
            rows.append(row)
    return Roster(rows, sorted(refused, key=lambda outcome: outcome.line))


def _shown(text: str) -> str:
    """A hostile cell, fit to be printed."""
    return text.encode("utf-8", errors="replace").decode()[:_SHOWN_CHARACTERS]
