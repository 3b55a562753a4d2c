"""Rows of a protected table beside their leaves, and the digest of a row, fast.

Enters: a ``ChainedTable`` of an open database. Leaves: SQL that reads what is hashed, and a function from the
values it gives to the digest. The one rule: the digest is that of ``ChainedTable.leaf``, and a value that no
row of ours can hold gives none.

Times are turned to text by the database, since Python has no infinity and no year 10,000.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import decimal_text, scalar_text
from fairbrush.chain.log import ChainedTable
from fairbrush.errors import ChainError, RecordError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FETCHED = 5000  # rows at a time

_PLAIN = {"VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN"}
_TIMES = {"TIMESTAMP": "%Y-%m-%dT%H:%M:%S.%f", "DATE": "%Y-%m-%d"}


@dataclass(frozen=True)
class RowReader:
    """How the rows of one table are read. ``values``: SQL for what the digest is of; ``digest``: of them,
    None where no row of ours holds such a value; ``key``: SQL for what names a row."""

    table: ChainedTable
    values: tuple[str, ...]
    digest: Callable[[Sequence[Any]], str | None]

    @property
    def key(self) -> str:
        return " || '/' || ".join(f"coalesce(CAST({name} AS VARCHAR), 'None')" for name in self.table.key)


def row_reader(connection: DuckDBPyConnection, table: ChainedTable) -> RowReader:
    """Raises ChainError where the table or a column is gone."""
    import duckdb

    try:
        types = dict(
            connection.cursor()
            .execute("SELECT name, type FROM pragma_table_info(?)", [table.table])
            .fetchall()
        )
    except duckdb.CatalogException:
        types = {}
    missing = [name for name in table.columns if name not in types]
    if missing:
        raise ChainError(
            f"The table {table.table} has no column {missing[0]}: it was altered.",
            next_step="Restore a backup: fairbrush restore BACKUP DIR",
        )
    names = sorted(table.hashed)
    return RowReader(table, tuple(_plain_sql(name, types[name]) for name in names), _digest_of(names))


@contextmanager
def told_where_unreadable() -> Iterator[None]:
    """A table or a column that is gone, or a damaged file, as ChainError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if "Query interrupted" in str(error):
            raise
        raise ChainError(
            f"The records cannot be read: {str(error).splitlines()[0].rstrip('.!')}.",
            next_step="Restore a backup: fairbrush restore BACKUP DIR",
        ) from error


def stream(
    connection: DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()
) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, some thousands at a time, beside other queries."""
    cursor = connection.cursor()
    try:
        result = cursor.execute(query, list(parameters))
        while rows := result.fetchmany(FETCHED):
            yield from rows
    finally:
        cursor.close()


def _plain_sql(name: str, type_: str) -> str:
    """A column of a type that we never gave it is read as text: no digest comes out as it was."""
    if type_ in _TIMES:
        return f"strftime({name}, '{_TIMES[type_]}')"
    return name if type_ in _PLAIN else f"CAST({name} AS VARCHAR)"


def _digest_of(names: Sequence[str]) -> Callable[[Sequence[Any]], str | None]:
    labels = [f"{encode_basestring(name)}:" for name in names]

    def digest(values: Sequence[Any]) -> str | None:
        try:
            text = ",".join([label + _text(value) for label, value in zip(labels, values, strict=True)])
        except RecordError:
            return None
        return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()

    return digest


def _text(value: Any) -> str:
    """A column's value as canonical JSON. Raises RecordError."""
    return encode_basestring(decimal_text(value)) if isinstance(value, float) else scalar_text(value)
