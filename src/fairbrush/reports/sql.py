"""SQL over what was recorded, on a connection that can only read this one database.

Enters: a database file and a query. Leaves: columns and rows. The one rule, held twice: only one SELECT (or
EXPLAIN of one) is let through, and the connection itself can neither write, attach, read other files or the
process's variables, load extensions, nor change a setting.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.errors import QueryError
from fairbrush.store import DuckDBConfig, connect_when_free

if TYPE_CHECKING:
    import duckdb

_LOCKED_DOWN: DuckDBConfig = {
    "enable_external_access": "false",  # no file, folder, URL, ATTACH, COPY or INSTALL, views included
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # no reading of our own variables as tables
    "temp_directory": "",  # nothing is spilled to disk
    "errors_as_json": "true",  # errors carry their position
    "lock_configuration": "true",
}


@dataclass(frozen=True)
class QueryResult:
    """``truncated``: there was more than the limit asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool


def run_read_only(
    database_file: Path, query: str, *, limit: int | None = None, wait_s: float = 0.0
) -> QueryResult:
    """Run one SELECT and give at most ``limit`` rows; None gives all.

    Raises QueryError, with the place in the query where there is one, and what ``connect_read_only`` raises.
    """
    import duckdb

    if not _is_text(query):
        raise QueryError("The query is not valid text.", next_step="Retype it.")
    with connect_read_only(database_file, wait_s=wait_s) as connection:
        try:
            _check_one_select(connection.extract_statements(query))
            connection.execute(query)
            columns = tuple(column[0] for column in connection.description or ())
            rows = connection.fetchall() if limit is None else connection.fetchmany(limit + 1)
        except duckdb.InterruptException as error:
            raise KeyboardInterrupt from error
        except duckdb.Error as error:
            raise _query_error(query, error) from error
    truncated = limit is not None and len(rows) > limit
    return QueryResult(columns, rows[:limit] if truncated else rows, truncated)


def connect_read_only(database_file: Path, *, wait_s: float = 0.0) -> duckdb.DuckDBPyConnection:
    """A connection that holds the second half of the rule by itself.

    Raises QueryError, StoreError, and DatabaseBusyError where another process writes for longer than
    ``wait_s``.
    """
    if not database_file.is_file():
        raise QueryError(f"There is no database {database_file}.", next_step="Make one: fairbrush init")
    return connect_when_free(
        database_file, readonly=True, config=_LOCKED_DOWN, give_up_at=time.monotonic() + wait_s
    )


def _check_one_select(statements: list[duckdb.Statement]) -> None:
    if not statements:
        raise QueryError("The query is empty.", next_step='Try "SELECT * FROM top_artists".')
    for statement in statements:
        kind = _kind(statement)
        if kind not in ("SELECT", "EXPLAIN"):
            raise QueryError(
                f"{kind} is refused: {' '.join(statement.query.split())[:60]}.",
                next_step="Only SELECT is run here; the other commands change things.",
            )
    if len(statements) > 1:
        raise QueryError(f"{len(statements)} statements at once.", next_step="Run them one by one.")


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # DuckDB knows kinds that its Python module has no name for: UPDATE EXTENSIONS
        return "This statement"


def _is_text(query: str) -> bool:
    try:
        query.encode()
    except UnicodeEncodeError:
        return False
    return True


def _query_error(query: str, error: duckdb.Error) -> QueryError:
    """DuckDB's message with line and column, both from 1."""
    text = str(error)
    try:
        details = json.loads(text[text.index("{") :])
    except ValueError:
        return QueryError(text, next_step="Correct the query.")
    message = " ".join(str(details.get("exception_message", text)).split())
    position = details.get("position")
    if position is None:
        return QueryError(f"{message}.", next_step="Correct the query.")
    # DuckDB counts bytes
    before = query.encode()[: int(position)].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return QueryError(f"Line {line}, column {column}: {message}.", next_step="Correct the query.")
