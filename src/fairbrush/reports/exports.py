"""The whole database as Parquet, for other tools: a file a table, and what is needed to load them again.

Enters: a workspace's store. Leaves: a folder with ``TABLE.parquet``, ``schema.sql`` (tables and views),
``load.sql`` and ``schema.json`` (columns, types, counts, SHA-256); DuckDB's ``IMPORT DATABASE`` reads it. The
one rule: the folder is there whole or not at all; bank details are in it only where they were asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush import __version__
from fairbrush.durable import flush_folder
from fairbrush.errors import ReportError
from fairbrush.reports.parquet import quoted
from fairbrush.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA = "fairbrush.database/1"
BANK_DETAILS = ("payee_account",)
MANIFEST, DDL, LOAD = "schema.json", "schema.sql", "load.sql"
_SCRATCH = ".fairbrush-export-"  # what a killed export leaves beside its folder begins so


@dataclass(frozen=True)
class Column:
    name: str
    type: str


@dataclass(frozen=True)
class Table:
    """``key``: of the primary key; rows are in its order, without one in that of all columns."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: int
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DatabaseExport:
    """``left_out``: tables of which only the definition is there."""

    folder: Path
    schema_version: int
    exported_at: datetime
    tables: tuple[Table, ...]
    views: tuple[str, ...]
    left_out: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """What schema.json says."""
        return {
            "schema": SCHEMA,
            "fairbrush": __version__,
            "schema_version": self.schema_version,
            "exported_at": f"{self.exported_at.isoformat(timespec='seconds')}Z",
            "tables": [asdict(table) for table in self.tables],
            "views": list(self.views),
            "left_out": list(self.left_out),
        }


def export_database(
    store: Store, folder: Path, *, now: datetime, with_bank_details: bool = False
) -> DatabaseExport:
    """Write all tables into a new or empty folder. Raises ReportError where it cannot be written.

    ``store``: open for reading, so that nobody changes anything meanwhile.
    """
    import duckdb

    check_folder(folder)
    left_out = () if with_bank_details else BANK_DETAILS
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=_SCRATCH) as scratch:
            draft = Path(scratch, "export")
            draft.mkdir(mode=0o700)  # it holds names
            made = _write(store, draft, folder, now=now, left_out=left_out)
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
            flush_folder(folder.absolute().parent)
    except (OSError, duckdb.Error) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise ReportError(
            f"The export {folder} cannot be written: {reason}.",
            next_step="Check the folder, its permissions and the disk's space.",
        ) from error
    return made


def check_folder(folder: Path) -> None:
    """Raises ReportError where something is there already, or the folder around is not."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ReportError(f"{folder} is there already.", next_step="Name a folder that is new or empty.")
    if folder.exists() and folder.samefile(Path.cwd()):  # it is replaced: a shell in it would stand nowhere
        raise ReportError("You are in that folder.", next_step="Name a new folder in it.")
    if not folder.absolute().parent.is_dir():
        raise ReportError(
            f"{folder} cannot be made: the folder around it does not exist.", next_step="Make that first."
        )


def _write(
    store: Store, draft: Path, folder: Path, *, now: datetime, left_out: Sequence[str]
) -> DatabaseExport:
    connection = store.connection
    found = connection.execute(
        "SELECT table_name, sql FROM duckdb_tables() WHERE NOT internal AND NOT temporary ORDER BY table_name"
    ).fetchall()
    tables = tuple(_write_table(connection, name, draft) for name, _ in found if name not in left_out)
    views = _views_in_order(connection, [definition for _, definition in found])
    statements = [*(definition for _, definition in found), *views.values()]
    _write_file(draft / DDL, "\n".join(statements) + "\n")
    loads = [f"COPY {quoted(table.name)} FROM '{table.file}' (FORMAT parquet);" for table in tables]
    _write_file(draft / LOAD, "\n".join(loads) + "\n")
    there = tuple(name for name, _ in found if name in left_out)
    made = DatabaseExport(folder, store.schema_version(), now, tables, tuple(views), there)
    _write_file(draft / MANIFEST, json.dumps(made.document(), ensure_ascii=False, indent=2) + "\n")
    flush_folder(draft)
    return made


def _write_table(connection: DuckDBPyConnection, name: str, draft: Path) -> Table:
    columns = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND NOT internal"
        " ORDER BY column_index",
        [name],
    ).fetchall()
    keys = connection.execute(
        "SELECT constraint_column_names FROM duckdb_constraints()"
        " WHERE table_name = ? AND constraint_type = 'PRIMARY KEY'",
        [name],
    ).fetchall()
    key = tuple(keys[0][0]) if keys else ()
    file = draft / f"{name}.parquet"
    order = ", ".join(map(quoted, key)) or "ALL"
    ((rows,),) = connection.execute(
        f"COPY (FROM {quoted(name)} ORDER BY {order}) TO ? (FORMAT parquet, COMPRESSION zstd)", [str(file)]
    ).fetchall()
    with file.open("rb+") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    described = tuple(Column(*column) for column in columns)
    return Table(name, described, key, rows, file.name, file.stat().st_size, digest)


def _views_in_order(connection: DuckDBPyConnection, tables: Sequence[str]) -> dict[str, str]:
    """The views' definitions, each after those it reads; found by making them, without any rows.

    Raises duckdb.Error for a view that cannot be made.
    """
    import duckdb

    waiting = dict(
        connection.execute(
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY ALL"
        ).fetchall()
    )
    made: dict[str, str] = {}
    with duckdb.connect(config={"autoload_known_extensions": False}) as empty:
        for definition in tables:
            empty.execute(definition)
        while waiting:
            failed: duckdb.Error | None = None
            for name, definition in list(waiting.items()):
                try:
                    empty.execute(definition)
                except duckdb.Error as error:
                    failed = error
                else:
                    made[name] = waiting.pop(name)
                    break
            else:
                assert failed is not None
                raise failed
    return made


def _write_file(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
