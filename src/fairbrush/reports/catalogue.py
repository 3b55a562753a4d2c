"""The views fairbrush ships: one SQL file each, its first line a comment that says what it shows.

Enters: reports/views/*.sql. Leaves: ``View``s, and the views themselves in a database. The one rule: a view
computes nothing that the tables do not hold; money stays DECIMAL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FOLDER = Path(__file__).parent / "views"


@dataclass(frozen=True)
class View:
    name: str
    description: str
    statement: str


def read_views() -> list[View]:
    """All views, by name."""
    return [_read(file) for file in sorted(_FOLDER.glob("*.sql"))]


def install_views(connection: DuckDBPyConnection) -> None:
    """Create or replace all views. The tables must be there: call it after the migrations."""
    for view in read_views():
        connection.execute(view.statement)


def _read(file: Path) -> View:
    text = file.read_text(encoding="utf-8")
    comment = text.partition("\n")[0]
    assert comment.startswith("-- "), f"{file.name} does not say what it shows"
    return View(file.stem, comment.removeprefix("-- "), text)
