"""SQL over what was recorded, on a connection that can only read this one database.

Enters: a database file and a query. Leaves: columns, and rows in batches. The one rule, held twice: only one
SELECT (or EXPLAIN of one) that writes in none of its parts is let through, and the connection itself can
open no file any more, neither to read nor to write, attach nothing, load no extension, see none of the
process's variables and change no setting. What lies in a folder named with --over is copied in before
(reports/over.py).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fairbrush.errors import QueryError
from fairbrush.reports.over import CATALOG, Staged, staged_files
from fairbrush.reports.parquet import quoted
from fairbrush.reports.stoppable import Stoppable
from fairbrush.store import DATABASE_NAME, DuckDBConfig, connect_when_free

if TYPE_CHECKING:
    import duckdb

_AT_START: DuckDBConfig = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",  # no reading of our own variables as tables
    "temp_directory": "",  # nothing is spilled to disk
    "errors_as_json": "true",  # errors carry their position
}
# Once the database is open: what is open stays readable, and nothing else can be opened.
_LOCK = (
    "SET enable_external_access = false",  # no folder, URL, ATTACH or INSTALL, views included
    # the line above leaves the database's own file and log open to reading and to COPY; this one does not
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET lock_configuration = true",
)
# of a parsed SELECT: each other kind of node writes, as COPY_QUERY_NODE does
_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# in the text, however deep it is nested: within a string of the query the quotes would be escaped
_NODE = re.compile(r'"type"\s*:\s*"(\w+_NODE)"')
_ZONED = "TIMESTAMP WITH TIME ZONE"
_WITH_ZONE = re.compile(f"{_ZONED}|TIMESTAMPTZ_NS")  # lists and structs of them too
_TOLD = 20  # files that are left out, by name
_BATCH = 1_024  # rows at a time, whatever an answer has

MOST_BYTES = 2**20  # of a query in a file
_LONGEST_OPTIONS = 16  # words of EXPLAIN (ANALYZE, FORMAT json)
T = TypeVar("T")


@dataclass(frozen=True)
class QueryResult:
    """``types``: DuckDB's names of them, one a column. ``truncated``: there was more than the limit.

    ``notes``: what a reader should know of the files it was run over.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool
    notes: tuple[str, ...] = ()


class OpenQuery:
    """A query that has begun: ``columns``, ``types`` and ``notes`` as of ``QueryResult``.

    ``truncated`` says so once all batches were taken.
    """

    def __init__(
        self,
        asked: Stoppable,
        connection: duckdb.DuckDBPyConnection,
        query: str,
        *,
        source: str,
        notes: tuple[str, ...],
    ) -> None:
        self.notes = notes
        self.truncated = False
        self._asked, self._connection = asked, connection
        self._query, self._source = query, source
        self.columns, self._types = self._run(lambda: _begin(connection, query))
        self.types = _given_types(self._types)

    def batches(self, limit: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """At most ``limit`` rows, once; None gives all. The database is let go after the last one, so that
        nobody waits for it while the answer goes on its way. Raises QueryError, KeyboardInterrupt."""
        zoned = any(map(_WITH_ZONE.search, self._types))
        left = limit
        while not self.truncated:
            size = _BATCH if left is None else min(_BATCH, left + 1)  # whether there is more
            batch = self._run(partial(self._connection.fetchmany, size))
            if left is not None:
                self.truncated = len(batch) > left
                batch = batch[:left]
                left -= len(batch)
            if not batch:
                break
            yield [_with_zones(row, self._types) for row in batch] if zoned else batch
        self._asked.close()

    def _run(self, work: Callable[[], T]) -> T:
        import duckdb

        try:
            return self._asked.run(work)
        except duckdb.Error as error:
            raise _query_error(self._query, error, self._source, self.notes) from error


def read_query(file: Path) -> str:
    """The query in a file. Raises QueryError."""
    try:
        with file.open("rb") as stream:
            return decode_query(stream.read(MOST_BYTES + 1), str(file))
    except OSError as error:
        raise QueryError(f"{file} cannot be read: {error.strerror}.", next_step="Check --file.") from error


def decode_query(content: bytes, source: str) -> str:
    """UTF-8, with or without a byte order mark. Raises QueryError."""
    if len(content) > MOST_BYTES:
        raise QueryError(f"{source} has more than {MOST_BYTES:,} bytes.", next_step="Is it a query?")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise QueryError(f"{source} is UTF-16 text.", next_step="Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise QueryError(
            f"{source}, line {line}: this is not UTF-8.", next_step="Save it as UTF-8."
        ) from error


@contextmanager
def open_query(
    database_file: Path | None,
    query: str,
    *,
    wait_s: float = 0.0,
    source: str = "",
    over: Path | None = None,
) -> Iterator[OpenQuery]:
    """Begin one SELECT, whose rows come in batches.

    ``source``: the file the query is from. ``over``: a folder whose data files are tables too; with it there
    may be no database. Raises QueryError, with the place in the query where there is one, and what
    ``connect_read_only`` raises.
    """
    if not _is_text(query):
        raise QueryError("The query is not valid text.", next_step="Retype it.")
    with ExitStack() as opened:
        staged = opened.enter_context(staged_files(over, query)) if over is not None else None
        connection = connect_read_only(database_file, wait_s=wait_s, staged=staged)
        asked = Stoppable(connection)
        opened.callback(asked.close)
        notes = _notes(connection, staged, query) if staged else ()
        yield OpenQuery(asked, connection, query, source=source, notes=notes)


def run_read_only(
    database_file: Path | None,
    query: str,
    *,
    limit: int | None = None,
    wait_s: float = 0.0,
    over: Path | None = None,
) -> QueryResult:
    """Run one SELECT and give at most ``limit`` rows, whole; None gives all. Raises as ``open_query``."""
    with open_query(database_file, query, wait_s=wait_s, over=over) as asked:
        rows = [row for batch in asked.batches(limit) for row in batch]
        return QueryResult(asked.columns, asked.types, rows, asked.truncated, asked.notes)


def _begin(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns and DuckDB's types; the rows are left to fetch. DuckDB makes them as they are asked for."""
    _check_one_select(connection, query)
    connection.execute(query)
    described = connection.description or ()
    columns, types = (tuple(str(column[place]) for column in described) for place in (0, 1))
    if any(map(_WITH_ZONE.search, types)):
        connection.execute(_in_utc(query, types))
    return columns, types


def _in_utc(query: str, types: Sequence[str]) -> str:
    """The query with its moments in UTC: DuckDB gives those with a zone to Python only where pytz is."""
    import duckdb

    content = query.encode()
    ends = [at for at, _ in duckdb.tokenize(query) if content[at : at + 1] == b";"]
    names = [f"c{number}" for number in range(len(types))]
    shown = [
        f"{name} AT TIME ZONE 'UTC'" if kind == _ZONED else name if kind == given else f"{name}::{given}"
        for name, kind, given in zip(names, types, _given_types(types), strict=True)
    ]
    alone = content[: min(ends, default=None)].decode()
    return f"SELECT {', '.join(shown)} FROM ({alone}\n) AS answer({', '.join(names)})"


def _with_zones(row: Sequence[Any], types: Sequence[str]) -> tuple[Any, ...]:
    return tuple(
        value.replace(tzinfo=UTC) if kind == _ZONED and isinstance(value, datetime) else value
        for value, kind in zip(row, types, strict=True)
    )


def _given_types(types: Sequence[str]) -> tuple[str, ...]:
    """What Python cannot be given is text: nanoseconds with a zone, and moments with one in lists."""
    return tuple("VARCHAR" if kind != _ZONED and _WITH_ZONE.search(kind) else kind for kind in types)


def connect_read_only(
    database_file: Path | None, *, wait_s: float = 0.0, staged: Staged | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection that holds the second half of the rule by itself.

    ``staged``: its tables are read beside the database's, which come first, or alone where there is none.
    Raises QueryError, StoreError, and DatabaseBusyError where another process writes for longer than
    ``wait_s``.
    """
    alone = database_file is None and staged is not None
    file = staged.database if staged and alone else database_file
    if file is None or not file.is_file():
        raise QueryError(
            f"There is no database {file or DATABASE_NAME}.", next_step="Make one: fairbrush init"
        )
    connection = connect_when_free(
        file, readonly=True, config=_AT_START, give_up_at=time.monotonic() + wait_s
    )
    try:
        if staged and not alone:
            _put_beside(connection, staged.database)
        for setting in _LOCK:
            connection.execute(setting)
    except BaseException:  # Ctrl-C too: what is not locked down is never left open
        connection.close()
        raise
    return connection


def _put_beside(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    path = str(database).replace("'", "''")
    connection.execute(f"ATTACH '{path}' AS {CATALOG} (READ_ONLY)")
    ((main,),) = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"SET search_path = '{quoted(main)}.main,{CATALOG}.main'")


def _notes(connection: duckdb.DuckDBPyConnection, staged: Staged, query: str) -> tuple[str, ...]:
    """Which files were left out, and which tables the query may mean by a name that two have."""
    text = query.casefold()
    found = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog <> ?", [CATALOG]
    ).fetchall()
    theirs = {name.casefold() for (name,) in found}
    more = len(staged.left_out) - _TOLD
    return (
        *(f"left out: {line}" for line in staged.left_out[:_TOLD]),
        *([f"left out: {more:,} more."] if more > 0 else ()),
        *(
            f"{table} is the workspace's own table here; the file's is {CATALOG}.{quoted(table)}."
            for table in staged.tables
            if table.casefold() in theirs and f"{CATALOG}.{table.casefold()}" not in text
        ),
    )


def _check_one_select(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if not statements:
        raise QueryError("The query is empty.", next_step='Try "SELECT * FROM top_artists".')
    for statement in statements:
        kind = _kind(connection, statement.query, _kind_name(statement))
        if kind == "MULTI":  # of which the first makes a type of the values that are there
            raise QueryError(
                "PIVOT is run only with its values.", next_step="Name them: ON column IN ('a', 'b')."
            )
        if kind != "SELECT":
            raise QueryError(
                f"{kind} is refused: {' '.join(statement.query.split())[:60]}.",
                next_step="Only SELECT is run here; the other commands change things.",
            )
    if len(statements) > 1:
        raise QueryError(f"{len(statements)} statements at once.", next_step="Run them one by one.")


def _kind(connection: duckdb.DuckDBPyConnection, text: str, kind: str) -> str:
    """What a statement does: SELECT where it only reads, its EXPLAIN too, else what writes in it."""
    if kind == "EXPLAIN":
        explained = _explained(connection, text)
        return "EXPLAIN of this" if explained is None else _kind(connection, *explained)
    if kind != "SELECT":
        return kind
    serialized = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0]
    found = set(_NODE.findall(serialized))
    if not found:  # no SELECT that DuckDB can write down
        return "This SELECT"
    writing = sorted(found - _READING_NODES)
    return writing[0].partition("_")[0] if writing else kind


def _explained(connection: duckdb.DuckDBPyConnection, text: str) -> tuple[str, str] | None:
    """The statement behind EXPLAIN and its options, and its kind: the longest end of it that is one."""
    import duckdb

    content = text.encode()
    for position, _ in duckdb.tokenize(text)[1:_LONGEST_OPTIONS]:
        end = content[position:].decode(errors="ignore")
        try:
            (statement,) = connection.extract_statements(end)
        except (duckdb.Error, ValueError):
            continue
        return end, _kind_name(statement)
    return None


def _kind_name(statement: duckdb.Statement) -> str:
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


def _query_error(query: str, error: duckdb.Error, source: str, notes: Sequence[str]) -> QueryError:
    """DuckDB's message with line and column, both from 1."""
    text, step = str(error), " ".join(["Correct the query.", *notes])
    try:
        details = json.loads(text[text.index("{") :])
    except ValueError:
        return QueryError(text, next_step=step)
    message = " ".join(str(details.get("exception_message", text)).split())
    position = details.get("position")
    if position is None:
        return QueryError(f"{message}.", next_step=step)
    # DuckDB counts bytes
    before = query.encode()[: int(position)].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    place = f"{source}, line" if source else "Line"
    return QueryError(f"{place} {line}, column {column}: {message}.", next_step=step)
