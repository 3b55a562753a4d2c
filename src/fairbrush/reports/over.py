"""The data files of one folder, as tables that a query can read.

Enters: a folder and a query. Leaves: a database file of copies, for as long as the query needs it. The one
rule: only CSV, Parquet and JSON files that lie in this very folder are read, by name, and before the query
runs; the query itself opens no file at all (reports/sql.py).

A table is called after its file: ``sales.csv`` is ``over.sales``, and ``sales`` where nothing else is.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.durable import DRAFT_PREFIX
from fairbrush.errors import QueryError
from fairbrush.reports.parquet import quoted
from fairbrush.reports.stoppable import Stoppable
from fairbrush.store import DuckDBConfig

if TYPE_CHECKING:
    import duckdb

CATALOG = "over"
_CSV = "read_csv(?, hive_partitioning = false, sample_size = -1)"
_JSON = "read_json(?, hive_partitioning = false, sample_size = -1)"
_READERS = {
    ".csv": _CSV,
    ".tsv": _CSV,
    ".parquet": "read_parquet(?, hive_partitioning = false)",
    ".json": _JSON,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".nl": _JSON,
}
_CONFIG: DuckDBConfig = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "enable_external_file_cache": "false",  # each file is read by the same name
}
_OPEN_FILES = Path("/dev/fd")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class DataFile:
    """``path``: the real one, without links."""

    table: str
    path: Path

    def is_named_in(self, text: str) -> bool:
        """Whether a query, casefolded, may mean it: its name stands there as a word, quoted or not."""
        name = self.table.casefold()
        return any(
            re.search(rf"(?<!\w){re.escape(written)}(?!\w)", text)
            for written in {name, name.replace('"', '""'), name.replace("'", "''")}
        )


@dataclass(frozen=True)
class Staged:
    """``database`` holds ``tables``; ``left_out``: files that are not offered, and why."""

    database: Path
    tables: tuple[str, ...]
    left_out: tuple[str, ...]


@contextmanager
def staged_files(folder: Path, query: str) -> Iterator[Staged]:
    """Copies of the files that the query names, or of all where it names none, gone afterwards.

    Raises QueryError where the folder has none, or one of them cannot be read.
    """
    if not _OPEN_FILES.is_dir():
        raise QueryError(
            "--over reads files by their open descriptors, which this system does not name.",
            next_step="Use it on Linux or macOS.",
        )
    files, left_out = find_data_files(folder)
    if not files:
        raise QueryError(
            f"There is no data in {folder}.",
            next_step=f"--over reads the files of one folder that end in {', '.join(_READERS)}.",
        )
    text = query.casefold()
    named = [file for file in files if file.is_named_in(text)] or files
    with tempfile.TemporaryDirectory(prefix="fairbrush-over-") as scratch:
        database = Path(scratch) / f"{CATALOG}.duckdb"
        _copy(named, database)
        yield Staged(database, tuple(file.table for file in named), tuple(left_out))


def find_data_files(folder: Path) -> tuple[list[DataFile], list[str]]:
    """The folder's own data files by name, and a line for each that is not offered. Raises QueryError."""
    try:
        root = folder.resolve(strict=True)
        paths = sorted(
            path
            for path in root.iterdir()
            if path.suffix.lower() in _READERS and not path.name.startswith(DRAFT_PREFIX)
        )
    except OSError as error:
        raise QueryError(
            f"{folder} cannot be read: {error.strerror}.", next_step="Give --over a folder."
        ) from error
    good, left_out = [], []
    for path in paths:
        if problem := _problem(path, root):
            left_out.append(f"{path.name}: {problem}")
        else:
            good.append(path)
    stems = Counter(path.stem.casefold() for path in good)
    files: dict[str, DataFile] = {}
    for path in good:
        table = path.stem if stems[path.stem.casefold()] == 1 else path.name
        if other := files.get(table.casefold()):  # sales.csv and sales.CSV
            left_out.append(f"{path.name}: {other.path.name} has this name")
        else:
            files[table.casefold()] = DataFile(table, path.resolve())
    return list(files.values()), left_out


def _problem(path: Path, root: Path) -> str | None:
    try:
        path.name.encode()
        real = path.resolve(strict=True)
    except UnicodeEncodeError:
        return "its name is no text"
    except (OSError, RuntimeError):  # a link to nothing, or to itself
        return "it cannot be read"
    if real.parent != root:
        return "it leads out of the folder"
    return None if real.is_file() else "it is not a file"


def _copy(files: Sequence[DataFile], database: Path) -> None:
    """One connection that can open these files and no others, each by the name of the open file.

    So a name is no pattern, and what was swapped for a link since it was looked at is not followed.
    """
    import duckdb

    connection = duckdb.connect(str(database), config=_CONFIG)
    place = os.open(os.devnull, os.O_RDONLY)
    name = str(_OPEN_FILES / str(place))

    def copy_each() -> None:
        for file in files:
            _copy_one(connection, file, place, name)

    copying = Stoppable(connection)
    try:
        connection.execute("SET allowed_paths = ?", [[name, *(str(file.path) for file in files)]])
        connection.execute("SET enable_external_access = false")
        copying.run(copy_each)
    finally:
        copying.close()
        os.close(place)


def _copy_one(connection: duckdb.DuckDBPyConnection, file: DataFile, place: int, name: str) -> None:
    import duckdb

    try:
        _open_as(file.path, place)
        reader = _READERS[file.path.suffix.lower()]
        connection.execute(f"CREATE TABLE {quoted(file.table)} AS FROM {reader}", [name])
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, OSError) as error:
        told = str(getattr(error, "strerror", None) or error)
        reason = told.splitlines()[0].replace(name, file.path.name).rstrip(".")
        raise QueryError(
            f"{file.path} cannot be read: {reason}.",
            next_step="Correct the file, or take it out of the folder.",
        ) from error


def _open_as(path: Path, place: int) -> None:
    """Raises OSError for a link, and for what is no file."""
    opened = os.open(path, os.O_RDONLY | _NO_LINK)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError("it is not a file")
        os.dup2(opened, place)
    finally:
        os.close(opened)
