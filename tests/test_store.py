"""The database: transactions, migrations, locks, backups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.registry import add_artist, list_artists
from fairbrush.errors import DatabaseBusyError, ExitCode, StoreError, WorkspaceError
from fairbrush.store import Store, load_migrations
from fairbrush.workspace import back_up, create_workspace, restore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_workspace(tmp_path / "space")
    return tmp_path / "space"


@contextmanager
def another_process_holding(folder: Path, *, readonly: bool = False) -> Iterator[int]:
    """A real second process with the database open; gives its pid."""
    program = f"""
        import sys
        from pathlib import Path
        from fairbrush.store import Store
        with Store.open(Path({str(folder)!r}), readonly={readonly}):
            print("open", flush=True)
            sys.stdin.read()
        """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.communicate("")


def names(folder: Path) -> list[str]:
    with open_registry(folder, readonly=True) as store:
        return [entry.artist.name for entry in list_artists(store)]


def test_transaction_leaves_nothing_when_it_raises(folder: Path) -> None:
    with Store.open(folder) as store:

        def fail_half_way() -> None:
            with store.transaction() as connection:
                connection.execute("INSERT INTO payee VALUES ('p', 'P', TIMESTAMP '2026-01-01')")
                with store.transaction() as inner:
                    inner.execute("INSERT INTO payee VALUES ('q', 'Q', TIMESTAMP '2026-01-01')")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_half_way()
        assert store.connection.execute("SELECT count(*) FROM payee").fetchall() == [(0,)]
        with store.transaction() as connection:
            connection.execute("INSERT INTO payee VALUES ('p', 'P', TIMESTAMP '2026-01-01')")
    with Store.open(folder, readonly=True) as store:
        assert store.connection.execute("SELECT name FROM payee").fetchall() == [("P",)]


def test_every_migration_is_recorded_once(folder: Path) -> None:
    with Store.open(folder) as store:
        recorded = store.connection.execute("SELECT version, name FROM schema_migration").fetchall()
    assert sorted(recorded) == [(step.version, step.name) for step in load_migrations()]


def test_newer_database_is_refused_with_the_next_step(folder: Path) -> None:
    with Store.open(folder) as store, store.transaction() as connection:
        connection.execute("INSERT INTO schema_migration VALUES (999, 'later', TIMESTAMP '2030-01-01')")
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"schema 999.*Update it: pip install --upgrade"):
            Store.open(folder, readonly=readonly)


def test_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    from fairbrush import store as module

    steps = [
        *load_migrations(),
        module.Migration(load_migrations()[-1].version + 1, "bad", "CREATE TABLE half (a INT); nonsense"),
    ]
    create_workspace(tmp_path)
    monkeypatch.setattr(module, "load_migrations", lambda: steps)
    with pytest.raises(duckdb.ParserException):
        Store.open(tmp_path)
    monkeypatch.undo()
    with Store.open(tmp_path) as store:
        assert store.schema_version() == load_migrations()[-1].version
        assert store.connection.execute("FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == []


def test_readers_share_the_database(folder: Path) -> None:
    with another_process_holding(folder, readonly=True), Store.open(folder, readonly=True, wait_s=0) as store:
        assert store.schema_version() == load_migrations()[-1].version


@pytest.mark.parametrize(("theirs", "ours"), [(False, False), (False, True), (True, False)])
def test_busy_database_names_the_process_that_holds_it(folder: Path, theirs: bool, ours: bool) -> None:
    with another_process_holding(folder, readonly=theirs) as pid:
        with pytest.raises(DatabaseBusyError, match=f"in use by process {pid}") as caught:
            Store.open(folder, readonly=ours, wait_s=0.1)
        assert caught.value.exit_code is ExitCode.DATABASE_BUSY
    Store.open(folder, readonly=ours, wait_s=0).close()


def test_waiting_is_over_when_the_other_process_lets_go(folder: Path) -> None:
    import threading

    entered = another_process_holding(folder)
    entered.__enter__()
    threading.Timer(0.3, lambda: entered.__exit__(None, None, None)).start()
    Store.open(folder, wait_s=10).close()


def test_absent_and_damaged_databases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="fairbrush init"):
        Store.open(tmp_path)
    (tmp_path / "fairbrush.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"not a valid DuckDB database.*fairbrush restore"):
        Store.open(tmp_path)


def test_workspace_that_exists_is_left_as_it_is(folder: Path) -> None:
    with open_registry(folder) as store:
        add_artist(store, "Ann")
    before = (folder / "fairbrush.toml").read_bytes()
    assert create_workspace(folder, encoder="other") is False
    assert (folder / "fairbrush.toml").read_bytes() == before
    assert names(folder) == ["Ann"]


def test_half_made_workspace_is_completed(folder: Path) -> None:
    (folder / "fairbrush.toml").unlink()
    assert create_workspace(folder) is True
    assert (folder / "fairbrush.toml").is_file()


def test_backup_restores_everything_but_the_cache(folder: Path, tmp_path: Path) -> None:
    with open_registry(folder) as store:
        add_artist(store, "Ann")
    kept = ["records/pending/a.json", "thumbnails/b.webp", "indexes/s/v0001.json", "works/c.png"]
    for name in [*kept, "embeddings/data.mdb"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    back_up(folder, tmp_path / "b.zip")
    restore(tmp_path / "b.zip", tmp_path / "again")
    assert names(tmp_path / "again") == ["Ann"]
    assert [(tmp_path / "again" / name).read_text() for name in kept] == kept
    assert not (tmp_path / "again/embeddings/data.mdb").exists()
    assert (tmp_path / "again/fairbrush.toml").read_bytes() == (folder / "fairbrush.toml").read_bytes()
    assert not list(tmp_path.glob(".fairbrush*"))


def test_backup_and_restore_never_overwrite(folder: Path, tmp_path: Path) -> None:
    back_up(folder, tmp_path / "b.zip")
    with pytest.raises(WorkspaceError, match="exists"):
        back_up(folder, tmp_path / "b.zip")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    with pytest.raises(WorkspaceError, match="not empty"):
        restore(tmp_path / "b.zip", tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def damage(archive: Path, name: str, content: bytes) -> None:
    """Write the archive again with one member replaced, or added."""
    with zipfile.ZipFile(archive) as packed:
        members = {member: packed.read(member) for member in packed.namelist()}
    with zipfile.ZipFile(archive, "w") as packed:
        for member, was in {**members, name: content}.items():
            packed.writestr(member, content if member == name else was)


@pytest.mark.parametrize("name", ["fairbrush.toml", "added.txt", "manifest.json"])
def test_changed_backup_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    back_up(folder, tmp_path / "b.zip")
    damage(tmp_path / "b.zip", name, b"{}")
    with pytest.raises(WorkspaceError, match="no sound backup"):
        restore(tmp_path / "b.zip", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob(".fairbrush*"))


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:\\evil"])
def test_backup_never_writes_outside_its_folder(folder: Path, tmp_path: Path, name: str) -> None:
    back_up(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        manifest = json.loads(packed.read("manifest.json"))
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    damage(tmp_path / "b.zip", name, b"x")
    damage(tmp_path / "b.zip", "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(WorkspaceError, match="outside the workspace"):
        restore(tmp_path / "b.zip", tmp_path / "again")
    assert not list(tmp_path.rglob("evil"))


def test_truncated_backup_is_refused(folder: Path, tmp_path: Path) -> None:
    back_up(folder, tmp_path / "b.zip")
    content = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkspaceError, match="no sound backup"):
        restore(tmp_path / "b.zip", tmp_path / "again")
