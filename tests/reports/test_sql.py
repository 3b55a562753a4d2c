"""SQL that can only read: every way out that DuckDB offers is tried, at both halves of the rule."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from fake_records import create_tables, record

from fairbrush.errors import DatabaseBusyError, ExitCode, QueryError, StoreError
from fairbrush.ledger.records import drain, write_pending
from fairbrush.reports.sql import connect_read_only, open_query, run_read_only


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Path]:
    """A database with three records, beside files and a variable that no query may read.

    One for all tests here: none of them may change it.
    """
    tmp_path = tmp_path_factory.mktemp("readonly")
    folder = tmp_path / "workspace"
    folder.mkdir()
    for name in ("secret.csv", "secret.txt", "secret.json"):
        (tmp_path / name).write_text('{"word": "hidden"}\n')
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("CREATE TABLE word AS SELECT 'hidden' AS word")
        other.execute(f"COPY word TO '{tmp_path}/secret.parquet'")
    file = folder / "fairbrush.duckdb"
    with duckdb.connect(str(file)) as connection:
        create_tables(connection)
        connection.execute(f"CREATE VIEW peek AS SELECT * FROM read_text('{tmp_path}/secret.txt')")
        connection.execute(f"CREATE MACRO peer() AS TABLE SELECT * FROM read_csv('{tmp_path}/secret.csv')")
        connection.execute("CREATE SEQUENCE counter")
        write_pending(folder / "records", [record(name) for name in ("moon", "star", "sun")])
        drain(connection, folder / "records")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SECRET_OF_THE_TEST", "hidden")
        yield file


def state(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_select_gives_columns_and_rows(database):
    result = run_read_only(database, "SELECT model_id, count(*) AS n FROM attribution GROUP BY ALL")
    assert (result.columns, result.rows, result.truncated) == (("model_id", "n"), [("sd-1.5", 3)], False)


@pytest.mark.parametrize(
    "query",
    [
        "FROM attribution",
        "WITH a AS (SELECT 1) SELECT * FROM a; -- that is all",
        "VALUES (1)",
        "DESCRIBE attribution",
        "SHOW TABLES",
        "SUMMARIZE attribution",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE FROM attribution",
        "/* é */ EXPLAIN (ANALYZE, FORMAT json) (SELECT 1)",
        "SELECT 1 UNION ALL (WITH RECURSIVE n AS (SELECT 1 UNION SELECT 2) FROM n)",
        "UNPIVOT attribution_share ON rank, phi",
        "SELECT body->>'$.policy.b' FROM attribution",
        "/* a comment; */ SELECT ';'",
        "SELECT " + "+".join(["1"] * 900),
        'SELECT \'"type":"COPY_QUERY_NODE"\'',
        "FROM test_all_types()",
    ],
)
def test_what_only_reads_is_run(database, query):
    assert run_read_only(database, query).rows


def test_moments_with_a_zone_are_given_in_utc(database):
    moment = "TIMESTAMPTZ '2026-01-01 01:00+02'"
    query = f"/* ; */ SELECT {moment} AS a, ';' AS a, [{moment}] AS l; -- that is all"
    result = run_read_only(database, query, limit=5)
    assert result.columns == ("a", "a", "l")
    assert result.types == ("TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR")
    ((moment, *others),) = result.rows
    assert (moment.isoformat(), others[0]) == ("2025-12-31T23:00:00+00:00", ";")
    assert others[1].startswith("[")


def test_a_limit_stops_early_and_says_so(database):
    result = run_read_only(database, "SELECT * FROM range(10000000000)", limit=2)
    assert (result.rows, result.truncated) == ([(0,), (1,)], True)
    assert not run_read_only(database, "SELECT * FROM range(2)", limit=2).truncated
    assert run_read_only(database, "SELECT * FROM range(3)", limit=2).truncated, "by a single row"


def test_rows_come_in_batches_and_the_database_is_let_go_after_the_last(database):
    with open_query(database, "SELECT range AS n, now() AS z FROM range(10000)") as asked:
        assert asked.columns == ("n", "z")
        batches = asked.batches()
        first = next(batches)
        assert len(first) < 5000
        rest = [row for batch in batches for row in batch]
        assert [row[0] for row in [*first, *rest]] == list(range(10000))
        assert rest[-1][1].tzinfo is not None
        duckdb.connect(str(database)).close()  # to write
    with open_query(database, "FROM range(10000)") as asked:
        assert [row for batch in asked.batches(limit=5000) for row in batch] == [(n,) for n in range(5000)]
        assert asked.truncated


def test_an_error_in_the_last_row_names_its_place_too(database):
    query = "SELECT CASE WHEN range < 9999 THEN 'ok' ELSE error('late') END FROM range(10000)"
    with open_query(database, query) as asked, pytest.raises(QueryError, match="late"):
        list(asked.batches())


# {folder} is the folder with the secrets. Each query would write, or read what is not the database's.
WRITES = [
    "INSERT INTO attribution_share VALUES ('a', 'b', 'c', 'd', 1, 1, 1, 1, 1)",
    "UPDATE attribution SET model_share_e12 = 0",
    "DELETE FROM attribution",
    "TRUNCATE attribution",
    "MERGE INTO attribution_share AS t USING (SELECT 1) AS s ON false WHEN MATCHED THEN DELETE",
    "DROP TABLE attribution",
    "ALTER TABLE attribution ADD COLUMN x INT",
    "CREATE TABLE x AS SELECT 1",
    "CREATE OR REPLACE VIEW peek AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "WITH x AS (DELETE FROM attribution RETURNING *) SELECT * FROM x",
    "SELECT nextval('counter')",
    "COPY attribution TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "EXPLAIN ANALYZE DELETE FROM attribution",
    "WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT * FROM x",
    *(
        f"WITH x AS (COPY (SELECT 1) TO '{{folder}}/workspace/{name}' (USE_TMP_FILE {draft})) SELECT * FROM x"
        for name in ("fairbrush.duckdb", "fairbrush.duckdb.wal", "fairbrush.duckdb.wal.recovery")
        for draft in ("true", "false")
    ),
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{folder}/workspace/fairbrush.duckdb.wal') FROM x)",
    "FROM query('WITH x AS (COPY (SELECT 1) TO ''{folder}/workspace/fairbrush.duckdb.wal'') FROM x')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/workspace/fairbrush.duckdb.wal'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{folder}/workspace/fairbrush.duckdb.wal'",
    "COPY attribution FROM '{folder}/secret.csv'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/new.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/secret.csv'",
    "UPDATE EXTENSIONS",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    "CREATE SECRET s (TYPE s3)",
]
SETTINGS = [
    "SET threads = 1",
    "SET GLOBAL enable_external_access = true",
    "SET lock_configuration = false",
    "RESET threads",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "PRAGMA enable_external_access = true",
    "CALL enable_logging()",
    "SET allowed_directories = ['/']",
]
READS = [
    "SELECT * FROM read_text('{folder}/secret.txt')",
    "SELECT * FROM read_blob('{folder}/secret.txt')",
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT * FROM read_csv_auto(['{folder}/secret.csv'])",
    "SELECT * FROM read_json('{folder}/secret.json')",
    "SELECT * FROM read_json_objects('{folder}/secret.json')",
    "SELECT * FROM read_ndjson('{folder}/secret.json')",
    "SELECT * FROM read_parquet('{folder}/secret.parquet')",
    "SELECT * FROM parquet_metadata('{folder}/secret.parquet')",
    "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "SELECT * FROM '{folder}/secret.csv'",
    "SELECT * FROM '{folder}/secret.parquet'",
    "SELECT * FROM '{folder}/other.duckdb'",
    "SELECT * FROM read_duckdb('{folder}/other.duckdb')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT size FROM read_blob('{folder}/workspace/fairbrush.duckdb')",
    "SELECT * FROM query('FROM read_text(''{folder}/secret.txt'')')",
    "SELECT * FROM query_table('{folder}/secret.csv')",
    "SELECT * FROM peek",
    "SELECT * FROM peer()",
    "SELECT getenv('SECRET_OF_THE_TEST')",
    "SELECT * FROM read_csv('https://example.invalid/x.csv')",
    "SELECT * FROM secret_words",
    "ATTACH '{folder}/other.duckdb' (READ_ONLY)",
]


@pytest.mark.parametrize("query", WRITES + SETTINGS + READS)
def test_every_way_out_is_refused_and_nothing_changes(database, query):
    folder = database.parents[1]
    before = state(folder)
    secret_words = [("hidden",)]  # a Python variable is no table either
    with pytest.raises(QueryError) as refusal:
        run_read_only(database, query.format(folder=folder))
    assert "hidden" not in str(refusal.value)
    assert state(folder) == before
    assert secret_words == [("hidden",)]


@pytest.mark.parametrize("query", WRITES + SETTINGS + READS)
def test_the_connection_refuses_by_itself(database, query):
    folder = database.parents[1]
    before = state(folder)
    with connect_read_only(database) as connection, pytest.raises((duckdb.Error, RuntimeError)):
        connection.execute(query.format(folder=folder)).fetchall()
    assert state(folder) == before


def test_no_secret_is_listed(database, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = tmp_path / ".duckdb" / "stored_secrets" / "hidden.duckdb_secret"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"hidden")
    assert run_read_only(database, "SELECT * FROM duckdb_secrets()").rows == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1; SELECT 2", "2 statements at once"),
        ("SELECT 1; DROP TABLE attribution", "DROP is refused: DROP TABLE attribution"),
        ("CREATE TEMP TABLE x AS SELECT 1", "CREATE is refused"),
        ("SET VARIABLE x = 1", "SET is refused"),
        ("PREPARE p AS SELECT 1", "PREPARE is refused"),
        ("BEGIN", "TRANSACTION is refused"),
        ("WITH x AS (COPY (SELECT 1) TO 'y') SELECT * FROM x", "COPY is refused"),
        ("SELECT EXISTS (WITH x AS (DELETE FROM work RETURNING *) FROM x)", "DELETE is refused"),
        ("EXPLAIN COPY (SELECT 1) TO 'y'", "COPY is refused"),
        ("EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO 'y') FROM x", "COPY is refused"),
        ("EXPLAIN (ANALYZE) CREATE TABLE x AS SELECT 1", "CREATE is refused"),
        ("CHECKPOINT", "CALL is refused"),
        ("PRAGMA database_list", "PRAGMA is refused"),
        ("PIVOT attribution ON model_id USING count(*)", "PIVOT is run only with its values"),
        ("", "The query is empty"),
        (" ; -- nothing", "The query is empty"),
    ],
)
def test_only_one_select_is_let_through(database, query, message):
    with pytest.raises(QueryError, match=message):
        run_read_only(database, query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", 'Line 1, column 1: syntax error at or near "SELEC"'),
        (
            "SELECT model_id,\n  nope\nFROM attribution",
            'Line 2, column 3: Referenced column "nope"',
        ),
        ("SELECT 'é', nope FROM attribution", "Line 1, column 13: Referenced column"),
        ("SELECT *\nFROM nowhere", "Line 2, column 6: Table with name nowhere does not exist"),
        ("SELECT error('boo')", "^boo"),
        ("SELECT '\ud800'", "not valid text"),
    ],
)
def test_an_error_names_its_place(database, query, message):
    with pytest.raises(QueryError, match=message):
        run_read_only(database, query)


def test_a_missing_or_foreign_file_says_what_to_do(tmp_path):
    with pytest.raises(QueryError, match=r"no database .*fairbrush init"):
        run_read_only(tmp_path / "none.duckdb", "SELECT 1")
    (tmp_path / "junk.duckdb").write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match="not a valid DuckDB database"):
        run_read_only(tmp_path / "junk.duckdb", "SELECT 1")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["junk.duckdb"]


def test_a_database_open_for_writing_is_busy(database):
    with duckdb.connect(str(database)), pytest.raises(StoreError, match="different configuration"):
        run_read_only(database, "SELECT 1")
    code = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(DatabaseBusyError, match=f"process {holder.pid}") as busy:
            run_read_only(database, "SELECT 1")
        holder.communicate("\n")
    assert busy.value.exit_code is ExitCode.DATABASE_BUSY
    assert run_read_only(database, "SELECT 1").rows == [(1,)]
