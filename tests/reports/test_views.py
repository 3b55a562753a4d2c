"""The views, by the examples of docs/schema.md: each query there gives the rows there."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from fake_records import create_tables, digest, record

from fairbrush.ledger.records import drain, write_pending
from fairbrush.reports.catalogue import install_views, read_views

# said where the commands are; what is recorded of the rest is in docs/schema.md
REGISTRY = ("artist", "artist_alias", "creator", "payee", "work", "consent_event", "redaction_event")
REGISTRY += ("redaction_pending", "registry_state", "membership", "model", "schema_migration")
DOCUMENT = Path(__file__).parents[2] / "docs" / "schema.md"


@pytest.fixture
def database(tmp_path):
    """Three look-ups of Ada and Bo; Bo has been erased, so only the id is left."""
    with duckdb.connect() as connection:
        create_tables(connection)
        connection.execute(
            """INSERT INTO artist_distinctiveness VALUES
            ($1, 'ada', 'hard to tell apart', 10, 0.5, -0.25, 'bo', 1.0, 5, 10),
            ($1, 'bo', 'too few works to say', 3, NULL, NULL, NULL, NULL, NULL, NULL),
            ($2, 'ada', 'distinct', 10, 0.5, 0.25, 'bo', 0.0, 10, 10)""",
            [digest("v0002"), digest("v0001")],
        )
        connection.execute(
            """INSERT INTO validation VALUES
            ('a', 'moon', 'moon.png', 'mini-diffusion', 'weights', 'other', true, $1, 'blend', 8, 4, true,
             0.625, 0.125, 0.25, 1.0, TIMESTAMP '2026-01-02', '{}', 'x'),
            ('b', 'moon', 'moon.png', 'mini-diffusion', 'weights', 'mini', false, $1, 'blend', 8, 4, true,
             NULL, NULL, 0.125, 1.0, TIMESTAMP '2026-01-01', '{}', 'x')""",
            [digest("v0002")],
        )
        connection.execute(
            "INSERT INTO artist VALUES ('ada', 'Ada', 'c', TIMESTAMP '2026-01-01'),"
            " ('bo', NULL, 'c', TIMESTAMP '2026-01-01')"
        )
        connection.execute(
            "INSERT INTO index_version VALUES (?, 'v0001', NULL, 'mini', 'space', 3, 40, 0.2, ?)",
            [digest("v0001"), datetime(2026, 1, 1)],
        )
        connection.execute(
            "INSERT INTO index_version VALUES (?, 'v0002', 'v0001', 'mini', 'space', 4, 52, 0.2, ?)",
            [digest("v0002"), datetime(2026, 1, 2)],
        )
        star = record("star", artists=("ada",), model_e12=4 * 10**11)
        write_pending(tmp_path, [record("moon"), star, record("sun", artists=())])
        drain(connection, tmp_path)
        install_views(connection)
        yield connection


def examples() -> dict[str, tuple[str, str]]:
    example = re.compile(r"^### `(\w+)`.*?```sql\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL | re.MULTILINE)
    found = example.findall(DOCUMENT.read_text(encoding="utf-8"))
    return {name: (query, table) for name, query, table in found}


def cell_text(cell) -> str:
    if isinstance(cell, Decimal):
        return format(cell, "f")
    return "NULL" if cell is None else str(cell)


def as_text(connection, query: str) -> str:
    result = connection.execute(query)
    rows = [[column[0] for column in result.description], *result.fetchall()]
    return "".join(" | ".join(map(cell_text, row)) + "\n" for row in rows)


@pytest.mark.parametrize("name", [view.name for view in read_views()])
def test_the_documented_example_of_a_view_is_what_it_gives(database, name):
    query, table = examples()[name]
    assert f"FROM {name}" in query
    assert as_text(database, query) == table


@pytest.mark.parametrize("view", read_views(), ids=lambda view: view.name)
def test_every_view_says_what_it_shows_in_the_document(view):
    assert f"### `{view.name}`\n\n{view.description}\n" in DOCUMENT.read_text(encoding="utf-8")


def test_every_table_and_column_of_records_is_documented(database):
    document = DOCUMENT.read_text(encoding="utf-8")
    columns = database.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE table_name IN"
        " (SELECT table_name FROM duckdb_tables()) AND NOT list_contains(?::TEXT[], table_name)",
        [list(REGISTRY)],
    ).fetchall()
    assert len(columns) > 150
    for table, column in columns:
        section = document.partition(f"## `{table}`")[2].partition("\n## ")[0]
        assert f"`{column}`" in section, f"{table}.{column}"


def test_sums_of_shares_are_exact_decimals(database):
    (total,) = database.execute("SELECT sum(share_sum) FROM top_artists").fetchone()
    assert total == Decimal("1.1")


def test_views_install_again_over_themselves(database):
    install_views(database)
    assert database.execute("SELECT count(*) FROM lookups").fetchone() == (3,)
