"""The data files of one folder, as tables that a query can read.

Enters: a folder and a query. Leaves: a database file of copies, for as long as the query needs it. The one
rule: only CSV, Parquet and JSON files that lie in this very folder are read, by name, and before the query
runs; the query itself opens no file at all (reports/sql.py).

A table is called after its file: ``sales.csv`` is ``over.sales``, and ``sales`` where nothing else is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.errors import QueryError
from fairbrush.reports.parquet import quoted
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
}
_WILD = "*?["


@dataclass(frozen=True)
class DataFile:
    """``path``: the real one, without links."""

    table: str
    path: Path

    @property
    def literal(self) -> str:
        """The path as DuckDB reads it without taking it for a pattern: ``s*.csv`` is one file."""
        return "".join(f"[{letter}]" if letter in _WILD else letter for letter in str(self.path))


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
    files, left_out = find_data_files(folder)
    if not files:
        raise QueryError(
            f"There is no data in {folder}.",
            next_step=f"--over reads the files of one folder that end in {', '.join(_READERS)}.",
        )
    text = query.casefold()
    named = [file for file in files if file.table.casefold() in text] or files
    with tempfile.TemporaryDirectory(prefix="fairbrush-over-") as scratch:
        database = Path(scratch) / f"{CATALOG}.duckdb"
        _copy(named, database)
        yield Staged(database, tuple(file.table for file in named), tuple(left_out))


def find_data_files(folder: Path) -> tuple[list[DataFile], list[str]]:
    """The folder's own data files by name, and a line for each that is not offered. Raises QueryError."""
    try:
        root = folder.resolve(strict=True)
        paths = sorted(path for path in root.iterdir() if path.suffix.lower() in _READERS)
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
    files = [
        DataFile(path.stem if stems[path.stem.casefold()] == 1 else path.name, path.resolve())
        for path in good
    ]
    return files, left_out


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
    """One connection that can open these files and no others."""
    import duckdb

    with duckdb.connect(str(database), config=_CONFIG) as connection:
        openable = [name for file in files for name in (str(file.path), file.literal)]
        connection.execute("SET allowed_paths = ?", [openable])
        connection.execute("SET enable_external_access = false")
        for file in files:
            try:
                _copy_one(connection, file)
            except duckdb.InterruptException as error:
                raise KeyboardInterrupt from error
            except duckdb.Error as error:
                reason = str(error).splitlines()[0].rstrip(".")
                raise QueryError(
                    f"{file.path} cannot be read: {reason}.",
                    next_step="Correct the file, or take it out of the folder.",
                ) from error


def _copy_one(connection: duckdb.DuckDBPyConnection, file: DataFile) -> None:
    reader = _READERS[file.path.suffix.lower()]
    connection.execute(f"CREATE TABLE {quoted(file.table)} AS FROM {reader}", [file.literal])
