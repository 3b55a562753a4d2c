"""The whole database as Parquet: it comes back row for row and type for type, and nothing is half-written."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from story import Story
from workspaces import Gallery, answer, command, pending

from fairbrush.errors import ReportError
from fairbrush.reports.exports import check_folder, export_database
from fairbrush.store import Store, utc_now

IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def told(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the story in which one payee has a bank account."""
    space = Path(shutil.copytree(story.workspace, tmp_path_factory.mktemp("told") / "space"))
    assert command(space, "payee", "account", story.names["andy"], "--iban", IBAN).code == 0
    return space


@pytest.fixture(scope="module")
def exported(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    ran = command(told, "export", folder, "--with-bank-details", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json == json.loads((folder / "schema.json").read_text())
    return folder


@pytest.fixture
def source(told: Path) -> Iterator[Store]:
    with Store.look(told) as store:
        yield store


def tables(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Each table's columns with their types and constraints, and its rows."""
    names = connection.execute("SELECT table_name, sql FROM duckdb_tables() ORDER BY ALL").fetchall()
    return {
        name: (definition, connection.execute(f'FROM "{name}" ORDER BY ALL').fetchall())
        for name, definition in names
    }


def views(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Each view's rows; an average's last digit may differ, as it depends on the order of what is summed."""
    names = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    return {
        name: [
            tuple(round(value, 12) if isinstance(value, float) else value for value in row)
            for row in connection.execute(f'FROM "{name}" ORDER BY ALL').fetchall()
        ]
        for (name,) in sorted(names)
    }


def test_duckdb_imports_it_row_for_row_and_type_for_type(
    exported: Path, source: Store, tmp_path: Path
) -> None:
    moved = shutil.copytree(exported, tmp_path / "moved")
    with duckdb.connect(str(tmp_path / "new.duckdb")) as fresh:
        fresh.execute(f"IMPORT DATABASE '{moved}'")
        assert tables(fresh) == tables(source.connection)
        assert views(fresh) == views(source.connection)
        assert views(fresh)["top_artists"]


def test_the_scripts_alone_bring_it_back(
    exported: Path, source: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported)
    with duckdb.connect() as fresh:
        fresh.execute(Path("schema.sql").read_text())
        fresh.execute(Path("load.sql").read_text())
        assert tables(fresh) == tables(source.connection)


def test_schema_json_says_what_each_file_holds(exported: Path, source: Store) -> None:
    said = json.loads((exported / "schema.json").read_text())
    assert (said["schema"], said["schema_version"], said["left_out"]) == (
        "fairbrush.database/1",
        source.schema_version(),
        [],
    )
    there = tables(source.connection)
    assert [table["name"] for table in said["tables"]] == sorted(there)
    with duckdb.connect() as database:
        for table in said["tables"]:
            file = exported / table["file"]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == table["sha256"], table
            rows = database.execute("FROM read_parquet(?)", [str(file)]).fetchall()
            assert len(rows) == table["rows"] == len(there[table["name"]][1])
            found = database.execute("DESCRIBE FROM read_parquet(?)", [str(file)]).fetchall()
            assert [(name, kind) for name, kind, *_ in found] == [
                (column["name"], column["type"]) for column in table["columns"]
            ]
            places = [[column["name"] for column in table["columns"]].index(name) for name in table["key"]]
            keys = [tuple(row[place] for place in places) for row in rows]
            assert keys == sorted(keys)
    others = {"schema.json", "schema.sql", "load.sql"}
    assert {file.name for file in exported.iterdir()} == others | {table["file"] for table in said["tables"]}
    assert set(said["views"]) == set(views(source.connection))


def test_the_same_database_gives_the_same_files(exported: Path, told: Path, tmp_path: Path) -> None:
    assert command(told, "export", tmp_path / "again", "--with-bank-details").code == 0
    for file in exported.iterdir():
        if file.name != "schema.json":  # which says when
            assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_bank_details_stay_at_home_unless_asked_for(told: Path, exported: Path, tmp_path: Path) -> None:
    ran = command(told, "export", tmp_path / "out", "--json")
    assert ran.json["left_out"] == ["payee_account"]
    assert "for your own use" in ran.stderr
    assert "--with-bank-details adds them" in ran.stderr
    assert not any(IBAN.encode() in file.read_bytes() for file in (tmp_path / "out").iterdir())
    with duckdb.connect() as database:
        database.execute(f"IMPORT DATABASE '{tmp_path / 'out'}'")
        assert database.execute("FROM payee_account").fetchall() == []
        database.execute(f"INSERT INTO payee_account FROM '{exported}/payee_account.parquet'")
        assert database.execute("SELECT iban FROM payee_account").fetchall() == [(IBAN,)]


def test_an_erased_artist_is_in_no_file(story: Story, exported: Path) -> None:
    with duckdb.connect() as database:
        database.execute(f"IMPORT DATABASE '{exported}'")
        for name in tables(database).keys() - {
            "payee"
        }:  # who is still owed money keeps the name to pay it to
            for row in database.execute(f'FROM "{name}"').fetchall():
                assert story.names["jarno"] not in repr(row), name


def test_pending_look_ups_are_in_it(workspace: Path, gallery: Gallery, tmp_path: Path) -> None:
    assert command(workspace, "attribute", gallery.credited).code == 0
    assert len(pending(workspace)) == 1
    document = answer(workspace, "export", tmp_path / "out")
    assert {table["name"]: table["rows"] for table in document["tables"]}["attribution"] == 1
    assert pending(workspace) == []
    # and over: the export is itself a folder that can be asked
    ran = command(
        workspace, "sql", "SELECT count(*) AS n FROM over.attribution", "--over", tmp_path / "out", "--nl"
    )
    assert json.loads(ran.stdout) == {"n": 1}


def test_only_a_new_or_empty_folder_is_written(told: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert command(told, "export", tmp_path / "empty").code == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "full", "file", "link"):
        ran = command(told, "export", tmp_path / name)
        assert (ran.code, ran.stdout) == (2, b"")
        assert f"{name} is there already." in ran.stderr
    ran = command(told, "export", tmp_path / "none" / "out")
    assert "the folder around it does not exist" in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "link"]


def test_the_folder_one_stands_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError, match=r"You are in that folder\..*Name a new folder in it"):
        check_folder(Path())


def test_views_come_after_what_they_read(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        with store.transaction() as connection:
            connection.execute("CREATE VIEW zz AS FROM payee")
            connection.execute("CREATE VIEW aa AS FROM zz")
            connection.execute("CREATE OR REPLACE VIEW zz AS FROM payee")
        made = export_database(store, tmp_path / "out", now=utc_now())
        assert made.views == ("zz", "aa")
        with store.transaction() as connection:
            connection.execute("CREATE VIEW broken AS SELECT 1 AS a")
            connection.execute("CREATE TABLE t (a INT)")
            connection.execute("CREATE OR REPLACE VIEW broken AS FROM t")
            connection.execute("DROP TABLE t")
        with pytest.raises(ReportError, match="cannot be written: Catalog Error: Table with name t"):
            export_database(store, tmp_path / "again", now=utc_now())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fairbrush.duckdb", "out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from fairbrush.cli.app import run
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(["--workspace", sys.argv[1], "export", sys.argv[2]])
"""


def test_a_killed_export_leaves_only_a_folder_that_says_so(told: Path, tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", KILLED, told, tmp_path / "out"], env=os.environ, check=False)
    assert ran.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".fairbrush-export-")
    assert command(told, "export", tmp_path / "out").code == 0
