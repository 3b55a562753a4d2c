"""Rows as Parquet, by DuckDB.

Enters: rows, and the types of their columns where the database gave them. Leaves: a file's bytes, in a
stream. The one rule: what a query answered keeps its type: a DECIMAL stays one, a TIMESTAMP too, nested
values as well.

The rows wait in a database on disk: a column's type may depend on the last of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING, Any

from fairbrush.errors import ReportError
from fairbrush.reports.stoppable import Stoppable
from fairbrush.spreadsheets import as_text
from fairbrush.store import DuckDBConfig, insert_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# DuckDB's types that Parquet cannot hold
_AS_TEXT = ("BIGNUM", "BIT", '"NULL"')
_LARGE = ("HUGEINT", "UHUGEINT")  # a sum of whole numbers is one; Parquet would make a DOUBLE of it
_LARGEST = 2**63 - 1
_ROWS_AT_ONCE = 1_024
_CONFIG: DuckDBConfig = {"memory_limit": "256MB", "threads": 1}  # of several, each would hold a part
_SIZES = {"VARCHAR": "strlen", "JSON": "strlen", "BLOB": "octet_length"}
_GROUP_ROWS, _GROUP_BYTES = 122_880, 2**25  # DuckDB's own, and what of long texts is held at once


def write_parquet(
    rows: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    stream: IO[bytes],
    types: Sequence[str] = (),
) -> None:
    """``types``: DuckDB's, one a column; without them they are taken from the values. Raises ReportError."""
    import duckdb

    if not names:
        raise ReportError("The answer is empty, and Parquet needs columns.", next_step="Take --format json.")
    if not types:
        rows = list(rows)
        types = [_sql_type(rows, name) for name in names]
    kinds = {name: "VARCHAR" if kind in _AS_TEXT else kind for name, kind in zip(names, types, strict=True)}
    with tempfile.TemporaryDirectory(prefix="fairbrush-parquet-") as scratch:
        file = Path(scratch) / "answer.parquet"
        connection = duckdb.connect(str(Path(scratch) / "answer.duckdb"), config=_CONFIG)
        writing = Stoppable(connection)
        try:
            _load(connection, rows, kinds)
            writing.run(lambda: _with_room(connection, lambda: _copy(connection, kinds, file)))
        except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException) as error:
            raise ReportError(
                f"The answer cannot be made into Parquet: {str(error).splitlines()[0]}",
                next_step=f"Free space in {tempfile.gettempdir()} and memory, or take --format csv.",
            ) from error
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ReportError(
                f"The answer does not fit into Parquet: {reason}",
                next_step="Name or CAST the column otherwise in the query, or take --format json.",
            ) from error
        finally:
            writing.close()
        with file.open("rb") as made:
            copyfileobj(made, stream)


def quoted(name: str) -> str:
    """
    >>> quoted('the "one"')
    '"the ""one\"""'
    """
    return '"' + _text(name).replace('"', '""') + '"'


def _load(
    connection: DuckDBPyConnection, rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]
) -> None:
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in kinds.items())
    connection.execute(f"CREATE TABLE answer ({columns})")
    waiting = iter(rows)
    # each batch by itself: a transaction stays in memory until its end
    while batch := list(islice(waiting, _ROWS_AT_ONCE)):
        values = [[_storable(row[name], kind) for name, kind in kinds.items()] for row in batch]
        _with_room(connection, partial(insert_rows, connection, "answer", values))


def _with_room(connection: DuckDBPyConnection, work: Callable[[], object]) -> None:
    """Do it again with all the memory that DuckDB would take by itself, where a few rows need it."""
    import duckdb

    try:
        work()
    except (duckdb.OutOfMemoryException, duckdb.TransactionException):  # the latter where a commit finds none
        connection.execute("RESET memory_limit")
        work()


def _copy(connection: DuckDBPyConnection, kinds: Mapping[str, str], file: Path) -> None:
    shown = [
        f"{quoted(name)}::{_whole_number(connection, name)} AS {quoted(name)}"
        if kind in _LARGE
        else quoted(name)
        for name, kind in kinds.items()
    ]
    sizes = [f"coalesce({_SIZES[kind]}({quoted(name)}), 0)" for name, kind in kinds.items() if kind in _SIZES]
    width = f"coalesce(avg({' + '.join(sizes) or 0}), 0)"
    ((mean,),) = connection.execute(f"SELECT {width} FROM answer").fetchall()
    group = min(_GROUP_ROWS, max(2_048, int(_GROUP_BYTES / max(mean, 1))))
    connection.execute(
        f"COPY (SELECT {', '.join(shown)} FROM answer) TO ?"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group})",
        [str(file)],
    )


def _whole_number(connection: DuckDBPyConnection, name: str) -> str:
    """What Parquet can hold."""
    ((fits,),) = connection.execute(
        f"SELECT coalesce(min({quoted(name)}) >= {-_LARGEST} AND max({quoted(name)}) <= {_LARGEST}, true)"
        " FROM answer"
    ).fetchall()
    return "BIGINT" if fits else "DECIMAL(38,0)"


def _storable(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "VARCHAR":
        return _text(as_text(value))
    return list(value) if isinstance(value, tuple) else value  # an array


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _sql_type(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if not kinds:
        return "VARCHAR"
    if kinds <= {bool}:
        return "BOOLEAN"
    if kinds <= {int, bool}:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"
