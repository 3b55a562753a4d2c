"""Rows as Parquet, by DuckDB.

Enters: rows, and the types of their columns where the database gave them. Leaves: the bytes of a file. The
one rule: what a query answered keeps its type: a DECIMAL stays one, a TIMESTAMP too, nested values as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairbrush.errors import ReportError
from fairbrush.spreadsheets import as_text
from fairbrush.store import insert_rows

# DuckDB's types that Parquet cannot hold
_AS_TEXT = ("BIGNUM", "BIT", '"NULL"')
_LARGEST = 2**63 - 1


def write_parquet(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], types: Sequence[str] = ()
) -> bytes:
    """``types``: DuckDB's, one a column; without them they are taken from the values. Raises ReportError."""
    import duckdb

    if not names:
        raise ReportError("The answer is empty, and Parquet needs columns.", next_step="Take --format json.")
    known = types or [_sql_type(rows, name) for name in names]
    kinds = [_kept_type(kind, rows, name) for kind, name in zip(known, names, strict=True)]
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(names, kinds, strict=True))
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "answer.parquet"
        try:
            connection.execute(f"CREATE TABLE answer ({columns})")
            columns_of = list(zip(names, kinds, strict=True))
            values = [[_storable(row[name], kind) for name, kind in columns_of] for row in rows]
            insert_rows(connection, "answer", values)
            connection.execute("COPY answer TO ? (FORMAT parquet, COMPRESSION zstd)", [str(file)])
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ReportError(
                f"The answer does not fit into Parquet: {reason}",
                next_step="Name or CAST the column otherwise in the query, or take --format json.",
            ) from error
        return file.read_bytes()


def quoted(name: str) -> str:
    """
    >>> quoted('the "one"')
    '"the ""one\"""'
    """
    return '"' + _text(name).replace('"', '""') + '"'


def _storable(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "VARCHAR":
        return _text(as_text(value))
    return list(value) if isinstance(value, tuple) else value  # an array


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _kept_type(kind: str, rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """What Parquet can hold; a sum of whole numbers is a HUGEINT, of which it would make a DOUBLE."""
    if kind in ("HUGEINT", "UHUGEINT"):
        return "BIGINT" if all(abs(row[name] or 0) <= _LARGEST for row in rows) else "DECIMAL(38,0)"
    return "VARCHAR" if kind in _AS_TEXT else kind


def _sql_type(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if not kinds:
        return "VARCHAR"
    if kinds <= {bool}:
        return "BOOLEAN"
    if kinds <= {int, bool}:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"
