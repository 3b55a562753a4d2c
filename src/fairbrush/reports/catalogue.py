"""The views fairbrush ships: one SQL file each, its first line a comment that says what it shows.

Enters: reports/views/*.sql. Leaves: ``View``s, and the views themselves in a database. The one rule: a view
computes nothing that the tables do not hold; money stays DECIMAL.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.store import load_migrations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FOLDER = Path(__file__).parent / "views"


@dataclass(frozen=True)
class View:
    """``statement`` makes it; ``query`` is what it shows, from tables alone, where it cannot be made."""

    name: str
    description: str
    statement: str

    @property
    def query(self) -> str:
        return self.statement.partition(f"CREATE OR REPLACE VIEW {self.name} AS\n")[2]


def read_views() -> list[View]:
    """All views, by name."""
    return [_read(file) for file in sorted(_FOLDER.glob("*.sql"))]


def install_views(connection: DuckDBPyConnection) -> None:
    """Create or replace the views that are not there as they are here. The tables must be there: call it
    after the migrations.

    Each view carries its mark as a comment: to bind all of them takes a tenth of a second, and every report
    asks for it.
    """
    rows = connection.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
    installed = dict(rows)
    newest = load_migrations()[-1].version
    for view in read_views():
        mark = f"fairbrush {hashlib.sha256(f'{newest} {view.statement}'.encode()).hexdigest()}"
        if installed.get(view.name) != mark:
            connection.execute(view.statement)
            connection.execute(f"COMMENT ON VIEW {view.name} IS '{mark}'")


def _read(file: Path) -> View:
    text = file.read_text(encoding="utf-8")
    comment = text.partition("\n")[0]
    assert comment.startswith("-- "), f"{file.name} does not say what it shows"
    return View(file.stem, comment.removeprefix("-- "), text)
