"""The DuckDB file of a workspace: open it, bring its schema up to date, change it in transactions.

Enters: a workspace folder. Leaves: a ``Store``. The one rule: everything that must be true together is
written in one ``transaction()``, which is durable when it returns and has left nothing when it raises.

One process writes, or many read, never both: opening waits for the other, then raises DatabaseBusyError.
``compact`` writes the file anew, so that nothing deleted is left in any byte of it. Never open the database's
file by other means in this process while it is open: closing such a descriptor would release DuckDB's lock on
it (POSIX locks belong to the process).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fairbrush.durable import flush_folder
from fairbrush.errors import DatabaseBusyError, FairbrushError, StoreError

if TYPE_CHECKING:
    import duckdb

DuckDBConfig = dict[str, str | bool | int | float | list[str]]

DATABASE_NAME = "fairbrush.duckdb"
# Files of DuckDB 2.0 in the format that 1.4 and later read.
STORAGE_VERSION = "v1.4.0"
DEFAULT_WAIT_S = 10.0
# What a killed compaction leaves beside the database; whoever opens that to write removes it.
COMPACTING_NAME = f".compacting-{DATABASE_NAME}"

_SCHEMA_FOLDER = Path(__file__).parent / "schema"
_ROWS_AT_ONCE = 20_000
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25
_HANDOVER_S = 0.1
_BUSY = re.compile(r"Could not set lock on file|used by another process", re.IGNORECASE)
_HOLDER = re.compile(r"\(PID (\d+)\)")


@dataclass(frozen=True)
class Compacted:
    """What a compaction did to the database's file."""

    bytes_before: int
    bytes_after: int
    elapsed_s: float


@dataclass(frozen=True)
class Migration:
    """One step of the schema, from ``schema/NNN_name.sql``."""

    version: int
    name: str
    sql: str


class Store:
    """An open database; use it as a context manager.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder), create=True) as store:
    ...     with store.transaction() as connection:
    ...         connection.execute("SELECT model_id FROM model").fetchall()
    [('sd-1.5',)]
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, workspace: Path, *, readonly: bool = False
    ) -> None:
        self.workspace = workspace
        self.readonly = readonly
        self._connection: duckdb.DuckDBPyConnection | None = connection
        self._in_transaction = False

    @classmethod
    def open(
        cls,
        workspace: Path,
        *,
        readonly: bool = False,
        wait_s: float = DEFAULT_WAIT_S,
        create: bool = False,
    ) -> Self:
        """Open a workspace's database, migrating it when it is older than this program.

        Raises DatabaseBusyError when another process holds it past ``wait_s``, and StoreError when it is
        absent (unless ``create``), damaged, not permitted, or written by a newer fairbrush.
        """
        file = workspace / DATABASE_NAME
        if not create and not file.exists():
            raise StoreError(f"There is no database {file}.", next_step="Make a workspace: fairbrush init")
        give_up_at = time.monotonic() + wait_s
        if readonly and file.exists():
            store = cls(_connect(file, readonly=True, give_up_at=give_up_at), workspace, readonly=True)
            if store._is_current():
                return store
            store.close()
        store = cls(_connect(file, readonly=False, give_up_at=give_up_at), workspace)
        try:
            _drop_compacting(workspace)
            store._migrate()
        except BaseException:  # Ctrl-C too: the file is let go
            store.close()
            raise
        if not readonly:
            return store
        store.close()
        return cls(_connect(file, readonly=True, give_up_at=give_up_at), workspace, readonly=True)

    @classmethod
    def look(cls, workspace: Path, *, wait_s: float = DEFAULT_WAIT_S) -> Self:
        """Open a database to read it as it is, of whatever schema: nothing is migrated, nothing written.

        Raises DatabaseBusyError, and StoreError when it is absent, damaged or not permitted.
        """
        file = workspace / DATABASE_NAME
        if not file.exists():
            raise StoreError(f"There is no database {file}.", next_step="Make a workspace: fairbrush init")
        connection = _connect(file, readonly=True, give_up_at=time.monotonic() + wait_s)
        return cls(connection, workspace, readonly=True)

    def close(self) -> None:
        """Let go of the database; harmless when repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if _is_interrupt(error):
            raise KeyboardInterrupt from error

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """For reading. Fetch every result whole: DuckDB refuses the next statement while one is unread."""
        assert self._connection is not None, "this Store is closed"
        return self._connection

    @property
    def in_transaction(self) -> bool:
        return self._in_transaction

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commit what the block writes, or nothing of it. A transaction inside another joins it."""
        import duckdb

        if self._in_transaction:
            yield self.connection
            return
        connection = self.connection
        connection.begin()
        self._in_transaction = True
        try:
            yield connection
            connection.commit()
        except BaseException as error:  # Ctrl-C too: all of it or nothing
            _roll_back(connection)
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
                raise StoreError(
                    f"{self.workspace / DATABASE_NAME} could not be written: {_first_line(error)}.",
                    next_step="Nothing was changed. Check the disk's space and permissions, then try again.",
                ) from error
            raise
        finally:
            self._in_transaction = False

    def schema_version(self) -> int:
        """The number of the last migration applied; 0 for an empty database."""
        known = self.connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'schema_migration'"
        ).fetchall()
        if not known[0][0]:
            return 0
        found = self.connection.execute("SELECT max(version) FROM schema_migration").fetchall()
        return int(found[0][0] or 0)

    def copy_to(self, file: Path) -> None:
        """Write a consistent, compact copy of the database, without the pages of deleted rows."""
        name = self.connection.execute("SELECT current_database()").fetchall()[0][0]
        quoted = str(file).replace("'", "''")
        self.connection.execute(f"ATTACH '{quoted}' AS fairbrush_copy (STORAGE_VERSION '{STORAGE_VERSION}')")
        try:
            self.connection.execute(f'COPY FROM DATABASE "{name}" TO fairbrush_copy')
        finally:
            self.connection.execute("DETACH fairbrush_copy")

    def compact(self, *, wait_s: float = DEFAULT_WAIT_S) -> Compacted:
        """Write the file anew: what was deleted or changed is in no byte of it any more, nor in its log.

        Killed at any point it leaves the old file or the new one, whole; what it leaves beside that, the
        next ``open`` removes. Raises StoreError, after which nothing has changed, and DatabaseBusyError where
        another process came first afterwards: then it is done, and this store is closed.
        """
        import duckdb

        assert not self.readonly, "this Store was opened to read"
        assert not self._in_transaction, "commit first"
        file, draft = self.workspace / DATABASE_NAME, self.workspace / COMPACTING_NAME
        started = time.monotonic()
        try:
            _drop_compacting(self.workspace)
            self.connection.execute("CHECKPOINT")  # so that nothing is left to be written when this closes
            bytes_before = file.stat().st_size
            self.copy_to(draft)
            bytes_after = draft.stat().st_size
            _flush_file(draft)
            if os.name == "nt":  # where an open file cannot be replaced
                self.close()
            # the lock on the old file is still ours: nobody else can be writing to it
            draft.replace(file)
            flush_folder(self.workspace)
        except (duckdb.Error, OSError) as error:
            _drop_compacting(self.workspace)
            raise StoreError(
                f"{file} could not be written anew: {_first_line(error)}.",
                next_step="Nothing was changed. It needs as much space as the file has, and permissions.",
            ) from error
        # whoever opened the old file just before finds it locked, and opens the new one by its name
        time.sleep(_HANDOVER_S)
        self.close()
        self._connection = _connect(file, readonly=False, give_up_at=time.monotonic() + wait_s)
        return Compacted(bytes_before, bytes_after, time.monotonic() - started)

    def _is_current(self) -> bool:
        """Whether the schema is the newest; closes and raises StoreError where it is newer than that."""
        try:
            return self._pending() == []
        except FairbrushError:
            self.close()
            raise

    def _pending(self) -> list[Migration]:
        migrations = load_migrations()
        version, newest = self.schema_version(), migrations[-1].version
        if version > newest:
            raise StoreError(
                f"{self.workspace / DATABASE_NAME} has schema {version} and this fairbrush knows {newest}.",
                next_step="Update it: pip install --upgrade fairbrush",
            )
        return [migration for migration in migrations if migration.version > version]

    def _migrate(self) -> None:
        for migration in self._pending():
            with self.transaction() as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS schema_migration"
                    " (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied TIMESTAMP NOT NULL)"
                )
                connection.execute(migration.sql)
                connection.execute(
                    "INSERT INTO schema_migration VALUES (?, ?, ?)",
                    [migration.version, migration.name, utc_now()],
                )


def load_migrations(folder: Path = _SCHEMA_FOLDER) -> list[Migration]:
    """The steps of the schema in order: numbered from 1 without a gap."""
    files = sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))
    migrations = [
        Migration(int(file.stem[:3]), file.stem[4:], file.read_text(encoding="utf-8")) for file in files
    ]
    numbers = [migration.version for migration in migrations]
    assert numbers == list(range(1, len(numbers) + 1)), f"migrations are numbered {numbers}"
    return migrations


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert many rows at once: forty times faster than ``executemany``. ``table`` is ours, not a user's."""
    if not rows:
        return
    types = connection.execute("SELECT type FROM pragma_table_info(?) ORDER BY cid", [table]).fetchall()
    lists = ", ".join(f"unnest(?::{type_}[])" for (type_,) in types)
    # in slices: a parameter takes several times the memory of its row
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        columns = list(zip(*rows[first : first + _ROWS_AT_ONCE], strict=True))
        assert len(columns) == len(types), f"{table} has {len(types)} columns, not {len(columns)}"
        connection.execute(f"INSERT INTO {table} SELECT {lists}", [list(column) for column in columns])


def table_columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """A table's columns, in its order."""
    # five times faster than duckdb_columns(), which lists those of all tables
    rows = connection.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", [table]).fetchall()
    return [name for (name,) in rows]


def next_sequence(connection: duckdb.DuckDBPyConnection, table: str, *, column: str = "sequence") -> int:
    """The number after the last row's; safe because one process writes at a time."""
    found = connection.execute(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}").fetchall()
    return int(found[0][0])


def utc_now() -> datetime:
    """Now as the database keeps time: UTC without a zone (DuckDB's TIMESTAMPTZ needs pytz)."""
    return as_utc(datetime.now(UTC))


def as_utc(moment: datetime) -> datetime:
    """A moment as the database keeps it. One without a zone is taken to be UTC already."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _drop_compacting(workspace: Path) -> None:
    """Remove what a killed compaction left. The caller has the database open to write, so none is at work."""
    for name in (COMPACTING_NAME, f"{COMPACTING_NAME}.wal"):
        (workspace / name).unlink(missing_ok=True)


def _flush_file(file: Path) -> None:
    """Of a file that is not open as a database: closing it here would release DuckDB's lock."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _connect(file: Path, *, readonly: bool, give_up_at: float) -> duckdb.DuckDBPyConnection:
    # nothing is fetched: extensions that are not on this machine stay absent
    config: DuckDBConfig = {
        "storage_compatibility_version": STORAGE_VERSION,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return connect_when_free(file, readonly=readonly, config=config, give_up_at=give_up_at)


def connect_when_free(
    file: Path, *, readonly: bool, config: DuckDBConfig, give_up_at: float
) -> duckdb.DuckDBPyConnection:
    """Connect as soon as no other process is in the way. ``give_up_at``: on the monotonic clock.

    Raises DatabaseBusyError, which names the holder, StoreError.
    """
    import duckdb

    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return duckdb.connect(str(file), read_only=readonly, config=config)
        except duckdb.Error as error:
            if not _BUSY.search(str(error)):
                raise _unusable(file, error) from error
            if time.monotonic() + pause_s > give_up_at:
                raise _busy(file, error) from error
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _busy(file: Path, error: Exception) -> DatabaseBusyError:
    found = _HOLDER.search(str(error))
    holder = f"process {found[1]}{_command_of(int(found[1]))}" if found else "another process"
    return DatabaseBusyError(
        f"{file} is in use by {holder}.",
        next_step="Wait for it to end, or stop it, and try again; nothing was changed.",
    )


def _command_of(pid: int) -> str:
    """What that process runs, in brackets, where the system tells (Linux)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    command = b" ".join(words).decode(errors="replace").strip()
    return f" ({command[:120]})" if command else ""


def _unusable(file: Path, error: Exception) -> StoreError:
    cause = _first_line(error)
    if "not a valid DuckDB database" in cause:
        step = "Restore it: fairbrush restore BACKUP DIR"
    elif "Permission denied" in cause or "Read-only" in cause:
        step = "Check the permissions of the file and its folder, and that the disk is not read-only."
    else:
        step = "Check the path and the disk; fairbrush restore BACKUP DIR brings back a backup."
    return StoreError(f"{file} cannot be opened: {cause}.", next_step=step)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether DuckDB turned a Ctrl-C into an error of its own: a plain RuntimeError in 2.0."""
    return isinstance(error, Exception) and "Query interrupted" in str(error)


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    import duckdb

    try:
        connection.rollback()
    except duckdb.Error:
        # after a failed commit or a fatal error there is no transaction left to undo
        return
