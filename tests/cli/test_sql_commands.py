"""``fairbrush sql`` and ``fairbrush report`` through the command line: what can be read, and nothing else."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from workspaces import Gallery, answer, command, rows

from fairbrush.reports.catalogue import read_views
from fairbrush.store import DATABASE_NAME, Store
from fairbrush.workspace import create_workspace

HOLD_TO_READ = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO payee VALUES ('a', 'b', now()::TIMESTAMP)",
        "ATTACH 'other.duckdb'",
        "COPY artist TO 'out.csv'",
        "CREATE TABLE t (a INTEGER)",
        "SELECT * FROM read_csv('fairbrush.toml')",
        "SELECT * FROM 'fairbrush.toml'",
        "LOAD httpfs",
        "SET threads = 1",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_what_is_no_plain_select_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.chdir(workspace)
    assert command(workspace, "sql", "SELECT 1").code == 0  # the views are there from now on
    before = sorted(path.name for path in workspace.iterdir())
    ran = command(workspace, "sql", query)
    assert (ran.code, ran.stdout) == (2, b""), ran.stderr
    assert "next: " in ran.stderr
    assert sorted(path.name for path in workspace.iterdir()) == before
    assert rows(workspace, "SELECT count(*) AS n FROM payee") == [{"n": 5}]


def test_every_value_leaves_in_every_format(workspace: Path, tmp_path: Path) -> None:
    query = (
        "SELECT DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05' AS moment,"
        " 0.100000000000::DECIMAL(25, 12) AS money, 12345678.123456789012::DECIMAL(25, 12) AS exact,"
        " {'a': [DATE '2026-01-02'], 'b': 1.5::DECIMAL(3, 1)} AS nested, 'nan'::DOUBLE AS odd,"
        " 10::HUGEINT AS big, NULL AS nothing, 1 AS twice, 2 AS twice, encode('a!b') AS bytes, true AS yes"
    )
    expected = {
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:05",
        "money": 0.1,
        "exact": 12345678.123456789,
        "nested": {"a": ["2026-01-02"], "b": 1.5},
        "odd": "nan",
        "big": 10,
        "nothing": None,
        "twice": 1,
        "twice_1": 2,
        "bytes": "612162",
        "yes": True,
    }
    assert answer(workspace, "sql", query) == [expected]
    assert json.loads(command(workspace, "sql", query, "--nl").stdout) == expected
    (row,) = csv.DictReader(io.StringIO(command(workspace, "sql", query, "--csv").text))
    assert (row["money"], row["exact"]) == ("0.100000000000", "12345678.123456789012")
    assert "12345678.123456789012" in command(workspace, "sql", query).text
    file = tmp_path / "answer.parquet"
    assert command(workspace, "sql", query, "--format", "parquet", "-o", file).code == 0
    assert file.read_bytes()[:4] == b"PAR1"


def test_limit_says_that_there_is_more(workspace: Path) -> None:
    ran = command(workspace, "sql", "SELECT range AS n FROM range(5)", "--limit", "3", "--nl")
    assert (ran.code, ran.text) == (0, '{"n": 0}\n{"n": 1}\n{"n": 2}\n')
    assert ran.stderr == "There are more rows than 3.\n"
    whole = command(workspace, "sql", "SELECT range AS n FROM range(3)", "--limit", "3", "--nl")
    assert whole.stderr == ""


@pytest.mark.parametrize("format_", ["table", "json", "nl", "csv", "parquet", "xlsx", "html"])
def test_a_query_that_fails_in_its_last_row_leaves_no_answer(
    workspace: Path, tmp_path: Path, format_: str
) -> None:
    query = "SELECT CASE WHEN range < 9999 THEN range ELSE error('too late') END AS n FROM range(10000)"
    for output in ([], ["-o", tmp_path / "answer"]):
        ran = command(workspace, "sql", query, "--format", format_, *output)
        assert (ran.code, ran.stdout, "too late" in ran.stderr) == (2, b"", True)
    assert not list(tmp_path.glob("*answer*"))


def test_reports_are_listed_and_shown(workspace: Path, gallery: Gallery) -> None:
    assert command(workspace, "attribute", *gallery.answers).code == 0
    listed = {row["report"]: row["shows"] for row in answer(workspace, "report")}
    assert listed == {view.name: view.description for view in read_views()}
    top = answer(workspace, "report", "top_artists")
    paid = {}
    for document in gallery.answers.values():
        for share in document["artists"]:
            paid[share["artist"]] = paid.get(share["artist"], 0) + share["share_e12"]
    assert {row["artist"]: round(row["share_sum"] * 10**12) for row in top} == paid
    lookups = answer(workspace, "report", "lookups", "--limit", "2")
    assert len(lookups) == 2
    unknown = command(workspace, "report", "nothing")
    assert (unknown.code, ", by_artist, " in unknown.stderr) == (2, True)


def test_no_rows_and_no_workspace(workspace: Path, tmp_path: Path) -> None:
    ran = command(workspace, "report", "top_artists", "--csv")
    assert (ran.code, ran.text) == (0, "artist,lookups,share_sum,best_z,artist_id\n")
    assert command(workspace, "report", "top_artists").text == "(nothing)\n"
    assert command(tmp_path, "sql", "SELECT 1").code == 2


def test_hostile_names_steer_neither_terminal_nor_table(workspace: Path) -> None:
    query = "SELECT '=1+1' || chr(27) || '[31m' || chr(10) || 'b' AS \"a\x1b[0m\""
    shown = command(workspace, "sql", query).text
    assert shown == "a\\x1b[0m\n=1+1\\x1b[31m\\nb\n"
    text = command(workspace, "sql", query, "--csv").text
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == ["'=1+1\x1b[31m\nb"]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A workspace of before refusals were kept, with a view of then."""
    create_workspace(tmp_path / "space")
    with Store.open(tmp_path / "space") as store, store.transaction() as connection:
        connection.execute("DROP TABLE refusal")
        connection.execute("DELETE FROM schema_migration WHERE version = 11")
        connection.execute("CREATE OR REPLACE VIEW lookups AS SELECT 'an older one' AS old")
    return tmp_path / "space"


def test_a_report_needs_no_view_in_a_database_that_cannot_be_written(older: Path) -> None:
    reader = [sys.executable, "-c", HOLD_TO_READ, str(older / DATABASE_NAME)]
    with subprocess.Popen(reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"open\n"
        header = command(older, "report", "lookups", "--csv").text
        assert header.startswith("recorded_at,image_path,model_id,")
        ran = command(older, "report", "refused_images")
        assert (ran.code, "is in use by process" in ran.stderr) == (2, True)
        assert "it is there once the database can be written" in ran.stderr
        holding.communicate()
    assert command(older, "report", "refused_images", "--csv").text.startswith("last_at,path,reason")
