"""The files of one folder as tables: what a query can read, and every way out that one may try."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fairbrush.errors import QueryError
from fairbrush.reports import over as reading
from fairbrush.reports.over import find_data_files
from fairbrush.reports.sql import QueryResult, run_read_only


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data, beside and below what no query may read."""
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    (tmp_path / "dataX").mkdir()
    for secret in (tmp_path / "secret.csv", data / "below/deep.csv", tmp_path / "dataX/sales.csv"):
        secret.write_text("word\nhidden\n")
    (data / "notes.txt").write_text("hidden\n")
    (data / "sales.csv").write_text("day,name,amount\n2026-01-02,Zoë,1.50\n2026-01-03,=1+1,-2\n")
    (data / "people.json").write_text('[{"name": "Zoë", "tags": ["a", "b"]}]')
    (data / "lines.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1.50::DECIMAL(12, 2) AS m) TO '{data}/exact.parquet'")
    return data


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "space" / "fairbrush.duckdb"
    file.parent.mkdir()
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE sales AS SELECT 'of the workspace' AS whose")
        connection.execute("CREATE TABLE artist AS SELECT 'Zoë' AS name")
        connection.execute(f"CREATE VIEW peek AS FROM read_csv('{file.parents[1]}/secret.csv')")
    return file


def state(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def over(folder: Path, query: str, database: Path | None = None) -> QueryResult:
    return run_read_only(database, query, over=folder)


def test_each_kind_of_file_is_a_table(folder: Path) -> None:
    assert over(folder, "FROM sales").rows == [
        (date(2026, 1, 2), "Zoë", 1.5),
        (date(2026, 1, 3), "=1+1", -2.0),
    ]
    assert over(folder, "SELECT m, typeof(m) FROM exact").rows[0][1] == "DECIMAL(12,2)"
    assert over(folder, "SELECT tags[1] FROM people").rows == [("a",)]
    assert over(folder, "SELECT sum(n)::INT FROM over.lines").rows == [(3,)]
    joined = "SELECT amount FROM sales JOIN people USING (name)"
    assert over(folder, joined).rows == [(1.5,)]


def test_the_tables_are_listed(folder: Path) -> None:
    assert over(folder, "SHOW TABLES").rows == [("exact",), ("lines",), ("people",), ("sales",)]


def test_the_workspaces_tables_come_first_and_the_files_are_called_over(folder: Path, database: Path) -> None:
    found = over(folder, "FROM sales", database)
    assert found.rows == [("of the workspace",)]
    assert found.notes == ("sales is the workspace's own table here; the file's is over.\"sales\".",)
    found = over(folder, "SELECT count(*) FROM over.sales JOIN artist USING (name)", database)
    assert (found.rows, found.notes) == ([(1,)], ())
    assert over(folder, "SELECT n FROM lines ORDER BY n", database).rows == [(1,), (2,)]


def test_only_files_that_the_query_names_are_read(folder: Path) -> None:
    (folder / "damaged.parquet").write_bytes(b"no parquet")
    assert over(folder, "SELECT count(*) FROM sales").rows == [(2,)]
    with pytest.raises(QueryError, match=r"damaged\.parquet cannot be read: .*Correct the file"):
        over(folder, "FROM damaged")


def test_what_a_killed_command_left_half_written_is_no_table(folder: Path) -> None:
    (folder / ".draft-77-sums.parquet").write_bytes(b"half of")
    assert over(folder, "SELECT 1").rows == [(1,)]  # which names no file, so that all are read


def test_a_name_within_a_word_is_not_named(folder: Path) -> None:
    (folder / "sale.json").write_text("no JSON")
    assert over(folder, "SELECT count(*) FROM sales").rows == [(2,)]
    (folder / 'a"b.csv').write_text("word\nmine\n")
    assert over(folder, 'SELECT word, count(*) FROM sales, "a""b" GROUP BY word').rows == [("mine", 2)]


# {data} is the folder, {folder} the one around it.
ESCAPES = [
    "FROM '{folder}/secret.csv'",
    "FROM read_csv('{folder}/secret.csv')",
    "FROM read_csv('{data}/../secret.csv')",
    "FROM '{data}/below/deep.csv'",
    "FROM read_text('{data}/notes.txt')",
    "FROM read_csv('{data}/sales.csv')",
    "FROM '{data}/sales.csv'",
    "FROM read_csv('{data}/*.csv')",
    "FROM read_csv('{folder}/**/*.csv')",
    "FROM glob('{data}/*')",
    "FROM glob('/*')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_text('/proc/self/root{folder}/secret.csv')",
    "FROM read_text('/dev/stdin')",
    "FROM '/etc/passwd'",
    "FROM read_csv('file://{folder}/secret.csv')",
    "FROM read_csv('http://example.invalid/x.csv')",
    "FROM read_csv('s3://bucket/x.csv')",
    "FROM read_blob('{folder}/space/fairbrush.duckdb')",
    "FROM sales, read_csv('{folder}/secret.csv')",
    "FROM query('FROM read_csv(''{folder}/secret.csv'')')",
    "FROM peek",
    "ATTACH '{folder}/space/fairbrush.duckdb' AS other",
    "COPY (SELECT 1) TO '{data}/sales.csv'",
    "COPY sales TO '{data}/out.csv'",
    "WITH x AS (COPY (SELECT 1) TO '{data}/sales.csv' (USE_TMP_FILE false)) FROM x",
    "WITH x AS (COPY (SELECT 1) TO '{data}/out.csv') FROM x",
    "FROM query('WITH x AS (COPY (SELECT 1) TO ''{data}/sales.csv'' (USE_TMP_FILE false)) FROM x')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/sales.csv'",
    "EXPORT DATABASE '{data}/out'",
    "INSERT INTO over.sales VALUES (DATE '2026-01-01', 'a', 1)",
    "CREATE TABLE over.x AS SELECT 1",
    "DETACH over",
    "SET allowed_directories = ['/']",
    "SET disabled_filesystems = ''",
    "SELECT getenv('HOME')",
    "INSTALL httpfs",
]


@pytest.mark.parametrize(
    ("query", "with_workspace"),
    [*((query, True) for query in ESCAPES), *((query, False) for query in ESCAPES[::4])],
)
def test_every_way_out_is_refused_and_nothing_changes(
    folder: Path, database: Path, query: str, with_workspace: bool
) -> None:
    around = folder.parent
    before = state(around)
    with pytest.raises(QueryError) as refusal:
        over(folder, query.format(data=folder, folder=around), database if with_workspace else None)
    assert "hidden" not in str(refusal.value)
    assert state(around) == before


def test_a_link_leads_nowhere_else(folder: Path) -> None:
    around = folder.parent
    links: dict[str, Path] = {
        "out.csv": around / "secret.csv",
        "deep.csv": folder / "below/deep.csv",
        "passwd.csv": Path("/etc/passwd"),
        "gone.csv": around / "none.csv",
        "self.csv": folder / "self.csv",
        "dir.csv": folder / "below",
        "again.csv": folder / "sales.csv",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.csv")
    (folder / "folder.csv").mkdir()
    files, left_out = find_data_files(folder)
    assert [file.table for file in files] == ["again", "exact", "lines", "people", "sales"]
    assert left_out == [
        "deep.csv: it leads out of the folder",
        "dir.csv: it is not a file",
        "folder.csv: it is not a file",
        "gone.csv: it cannot be read",
        "out.csv: it leads out of the folder",
        "passwd.csv: it leads out of the folder",
        "pipe.csv: it is not a file",
        "self.csv: it cannot be read",
    ]
    for table in ("out", "deep", "passwd"):
        with pytest.raises(QueryError, match="does not exist"):
            over(folder, f"FROM {table}")
    found = over(folder, "SELECT count(*) FROM again")
    assert (found.rows, found.notes[0]) == ([(2,)], "left out: deep.csv: it leads out of the folder")


def test_of_many_files_that_are_left_out_the_first_are_named(folder: Path) -> None:
    for number in range(25):
        (folder / f"out{number:02}.csv").symlink_to("/etc/passwd")
    notes = over(folder, "SELECT count(*) FROM sales").notes
    assert (len(notes), notes[0], notes[-1]) == (
        21,
        "left out: out00.csv: it leads out of the folder",
        "left out: 5 more.",
    )


def test_a_file_swapped_for_a_link_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_data_files(folder)
    (folder / "sales.csv").unlink()
    (folder / "sales.csv").symlink_to(folder.parent / "secret.csv")
    monkeypatch.setattr(reading, "find_data_files", lambda _: found)  # they were looked at before
    with pytest.raises(QueryError, match=r"sales\.csv cannot be read") as refusal:
        over(folder, "FROM sales")
    assert "hidden" not in str(refusal.value)


def test_files_alike_but_for_one_value_are_not_mixed_up(folder: Path) -> None:
    files = [folder / f"part{n}.parquet" for n in range(3)]
    with duckdb.connect() as connection:
        for n, file in enumerate(files):
            connection.execute(f"COPY (SELECT {n} AS n) TO '{file}'")
            os.utime(file, (1, 1))
    assert len({file.stat().st_size for file in files}) == 1
    assert over(folder, "FROM part0, part1, part2").rows == [(0, 1, 2)]


@pytest.mark.parametrize("name", ["s*.csv", "s?les.csv", "s[a]les.csv", "**.csv", "[!x]ales.csv"])
def test_a_name_is_no_pattern(folder: Path, name: str) -> None:
    (folder / name).write_text("word\nmine\n")
    assert over(folder, f'FROM "{Path(name).stem}"').rows == [("mine",)]


def test_the_folders_own_name_is_no_pattern(folder: Path) -> None:
    wild = folder.rename(folder.with_name("data*"))  # as dataX is called too
    assert over(wild, "SELECT count(*) FROM sales").rows == [(2,)]


@pytest.mark.parametrize(
    "name",
    ['a"b', "a'b", "a b", "1", "select", "Übersicht", "a;b", "x=1", "fairbrush", "main", "over", "temp"],
)
def test_hostile_names_are_names(folder: Path, database: Path, name: str) -> None:
    (folder / f"{name}.csv").write_text("word\nmine\n")
    table = name.replace('"', '""')
    assert over(folder, f'FROM over."{table}"', database).rows == [("mine",)]
    assert over(folder, f'FROM "{table}"').rows == [("mine",)]


def test_two_files_of_one_stem_go_by_their_whole_names(folder: Path) -> None:
    (folder / "SALES.json").write_text(json.dumps([{"a": 1}]))
    assert over(folder, 'SELECT count(*) FROM "sales.csv"').rows == [(2,)]
    assert over(folder, 'FROM "SALES.json"').rows == [(1,)]


def test_of_files_that_only_capitals_tell_apart_one_is_left_out(folder: Path) -> None:
    (folder / "sales.CSV").write_text("a\n1\n")
    if len(list(folder.glob("[sS]ales.*"))) == 1:
        pytest.skip("this file system does not tell capitals apart")
    files, left_out = find_data_files(folder)
    assert [file.table for file in files if "sales" in file.table] == ["sales.CSV"]
    assert left_out == ["sales.csv: sales.CSV has this name"]
    assert over(folder, 'FROM "sales.CSV"').rows == [(1,)]


def test_a_name_that_is_no_text_is_left_out(folder: Path) -> None:
    try:
        (folder / os.fsdecode(b"caf\xe9.csv")).write_text("a\n1\n")
    except OSError as error:
        pytest.skip(f"this file system has no such name: {error}")
    assert find_data_files(folder)[1] == ["caf\udce9.csv: its name is no text"]


@pytest.mark.parametrize(
    ("content", "rows"),
    [("a,b\n", []), ("a;b\n1;x\n", [(1, "x")]), ("\ufeffa,b\n1,é\n", [(1, "é")])],
)
def test_a_csv_is_read_as_it_is(folder: Path, content: str, rows: list[Any]) -> None:
    (folder / "odd.csv").write_text(content, encoding="utf-8")
    assert over(folder, "FROM odd").rows == rows


def test_a_folder_that_is_none_or_empty_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.csv").write_text("a\n1\n")
    for path, told in (
        ("none", "cannot be read: No such file"),
        ("file.csv", "Not a directory"),
        ("empty", "no data"),
    ):
        with pytest.raises(QueryError, match=told):
            over(tmp_path / path, "SELECT 1")


def test_nothing_is_left_in_the_temporary_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "it's temporary"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert over(folder, "SELECT count(*) FROM sales").rows == [(2,)]
    with pytest.raises(QueryError):
        over(folder, "SELECT nope FROM sales")
    assert list(scratch.iterdir()) == []


STUCK = "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))"  # one step of minutes


def test_ctrl_c_ends_even_a_step_that_hears_nothing(folder: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        [sys.executable, "-m", "fairbrush", "sql", STUCK, "--over", str(folder)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as asked:
        while not list(scratch.glob("*/over.duckdb")):
            assert asked.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        asked.send_signal(signal.SIGINT)
        _, stderr = asked.communicate(timeout=30)
    assert (asked.returncode, stderr) == (130, "fairbrush: Interrupted.\n")
    assert list(scratch.iterdir()) == []
