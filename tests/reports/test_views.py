"""The views, by the examples of docs/schema.md: each query there gives the rows there."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from fake_records import NOON, create_tables, digest, record
from view_worlds import fill

from fairbrush.ledger.record_rows import attribution_columns
from fairbrush.reports.catalogue import install_views, read_views
from fairbrush.reports.sql import connect_read_only

# said where the commands are; what is recorded of the rest is in docs/schema.md
REGISTRY = ("artist", "artist_alias", "creator", "payee", "work", "consent_event", "redaction_event")
REGISTRY += ("redaction_pending", "registry_state", "membership", "model", "schema_migration")
NAMES = [view.name for view in read_views()]
DOCUMENT = Path(__file__).parents[2] / "docs" / "schema.md"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    with duckdb.connect(str(folder / "fairbrush.duckdb")) as connection:
        create_tables(connection)
        fill(connection, folder)
    return folder / "fairbrush.duckdb"


@pytest.fixture(scope="module")
def database(file):
    """Where queries of users run: nothing can be loaded, set or written there."""
    with connect_read_only(file) as connection:
        yield connection


@pytest.fixture(scope="module")
def empty():
    """A new workspace's tables: nobody registered, nothing asked, nothing earned."""
    with duckdb.connect() as connection:
        create_tables(connection)
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


@pytest.mark.parametrize("name", NAMES)
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


def column_types(connection, name: str) -> dict[str, str]:
    rows = connection.execute(f"DESCRIBE {name}").fetchall()
    return {column: kind for column, kind, *_ in rows}


@pytest.mark.parametrize("name", NAMES)
def test_a_view_of_an_empty_workspace_has_no_rows(empty, name):
    assert empty.execute(f"SELECT * FROM {name}").fetchall() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_of_a_view_have_the_same_types_whatever_is_recorded(database, empty, name):
    types = column_types(database, name)
    assert types == column_types(empty, name)
    assert set(types.values()) <= {
        "VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "DECIMAL(38,12)"
    }  # fmt: skip
    for column, kind in types.items():
        if column.endswith("_minor"):
            assert (kind, "currency" in types) == ("BIGINT", True), f"{name}.{column}"
        if column.endswith("_at"):
            assert kind == "TIMESTAMP", f"{name}.{column}"


@pytest.mark.parametrize("name", NAMES)
def test_every_view_shows_something_of_the_known_rows(database, name):
    assert database.execute(f"SELECT * FROM {name}").fetchall()


def test_every_view_is_listed_with_its_sentence_on_the_page_of_reports():
    page = (DOCUMENT.parent / "reports.md").read_text(encoding="utf-8")
    assert page.startswith("# ")
    section = page.partition("\n## Views\n")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| \[`(\w+)`\]\(schema\.md#\1\) \| (.*) \|$", section, re.MULTILINE))
    assert listed == {view.name: view.description for view in read_views()}


def test_the_examples_of_queries_over_several_views_run(database):
    page = (DOCUMENT.parent / "reports.md").read_text(encoding="utf-8")
    section = page.partition("\n## Views\n")[2].partition("\n## ")[0]
    queries = re.findall(r"```sql\n(.*?)```\n\n```text\n(.*?)```", section, re.DOTALL)
    assert len(queries) >= 4
    for query, table in queries:
        assert as_text(database, query) == table


def test_sums_of_shares_are_exact_decimals(database):
    (total,) = database.execute("SELECT sum(share_sum) FROM top_artists").fetchone()
    assert total == Decimal("1.6")


def test_views_that_are_as_they_should_be_are_not_made_again(empty):
    made = "SELECT view_oid FROM duckdb_views() WHERE view_name = 'lookups'"
    before = empty.execute(made).fetchall()
    install_views(empty)
    assert empty.execute(made).fetchall() == before


@pytest.mark.parametrize(
    "statement", ["CREATE OR REPLACE VIEW lookups AS SELECT 1 AS n", "DROP VIEW lookups"]
)
def test_a_view_that_was_altered_or_dropped_is_made_again(empty, statement):
    types = column_types(empty, "lookups")
    empty.execute(statement)
    install_views(empty)
    assert column_types(empty, "lookups") == types


@pytest.fixture
def tables(empty):
    """To be written to, and empty again afterwards."""
    empty.begin()
    yield empty
    empty.rollback()


def test_erased_ends_a_consent_that_was_to_begin_later(tables):
    tables.execute(
        "INSERT INTO consent_event (sequence, artist_id, consent, effective_at, recorded_at, source) VALUES"
        " (1, 'bo', 'opted_in', '2026-01-01', '2026-01-01', 'add'),"
        " (2, 'bo', 'opted_out', '2026-09-01', '2026-01-01', 'consent'),"
        " (3, 'bo', 'erased', '2026-03-01', '2026-03-01', 'erase')"
    )
    shown = tables.execute("SELECT consent, effective_at::DATE, until::DATE FROM consent_history").fetchall()
    begin, erased, later = (date(2026, month, 1) for month in (1, 3, 9))
    assert shown == [("opted_in", begin, erased), ("erased", erased, None), ("opted_out", later, later)]


def test_a_line_that_was_settled_again_under_another_model_counts_for_that_one(tables):
    tables.execute(
        "INSERT INTO revenue (revenue_id, reference, currency, amount_minor, earned_from, earned_to,"
        " recorded_at) VALUES ('r', 'r', 'EUR', 70, '2026-01-01', '2026-01-01', '2026-01-01')"
    )
    for model in ("old", "new"):
        body = record("moon").body
        one = attribution_columns({**body, "identity": {**body["identity"], "model_id": model}}, {})
        marks = ", ".join("?" * (len(one) + 5))
        tables.execute(f"INSERT INTO attribution VALUES ({marks})", [model, *one, NOON, "{}", "x", "{}"])
    for number, (kind, model) in enumerate(
        [("settlement", "old"), ("reversal", "old"), ("settlement", "new")], start=1
    ):
        tables.execute(
            "INSERT INTO settlement (settlement_id, number, kind, period_from, period_to, policy_digest,"
            " body, recorded_at)"
            " VALUES ($1, $1, $2, '2026-01-01', '2026-01-31', 'p', '{}', '2026-02-01')",
            [number, kind],
        )
        tables.execute(
            "INSERT INTO settlement_line VALUES (?, 'r', ?, ?, NULL, NULL)", [number, digest("moon"), model]
        )
    shown = tables.execute("SELECT model, lines, images, revenue_minor FROM earnings_by_model").fetchall()
    assert shown == [("new", 1, 1, 70)]
