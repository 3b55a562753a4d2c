"""A database written anew: the same rows, no deleted byte, whole whenever the process is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from fairbrush.errors import StoreError
from fairbrush.reports.catalogue import install_views
from fairbrush.store import COMPACTING_NAME, DATABASE_NAME, Store
from fairbrush.workspace import create_workspace

SECRET = "Clementine-Vauquelin-des-Alpes"  # long and rare: it would be found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace whose database held secrets in many pages, and holds other rows."""
    create_workspace(tmp_path / "space")
    with Store.open(tmp_path / "space") as store:
        with store.transaction() as connection:
            install_views(connection)
            connection.execute("SET force_compression = 'uncompressed'")  # so that a byte search finds it
            connection.execute("CREATE TABLE note (line INTEGER PRIMARY KEY, words TEXT CHECK (words <> ''))")
            connection.execute(
                f"INSERT INTO note SELECT i, CASE WHEN i % 2 = 0 THEN '{SECRET}' || i ELSE 'plain' || i END"
                " FROM range(4000) AS r(i)"
            )
        store.connection.execute("CHECKPOINT")
        with store.transaction() as connection:
            connection.execute("DELETE FROM note WHERE line % 2 = 0")
    return tmp_path / "space"


def every_byte(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def lines(folder: Path) -> list[tuple[int, str]]:
    with Store.open(folder) as store:
        return store.connection.execute("SELECT line, words FROM note ORDER BY line").fetchall()


def in_another_process(program: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **options,  # type: ignore[call-overload, no-any-return]
    )


def test_what_was_deleted_is_in_no_byte_and_the_rest_is_as_it_was(folder: Path) -> None:
    before = lines(folder)
    assert SECRET.encode() in every_byte(folder), "else this shows nothing"
    with Store.open(folder) as store:
        schema = "SELECT sql FROM duckdb_tables() UNION ALL SELECT sql FROM duckdb_views() ORDER BY ALL"
        was = store.connection.execute(schema).fetchall()
        result = store.compact()
        assert store.connection.execute(schema).fetchall() == was
        assert store.connection.execute("SELECT count(*) FROM note").fetchall() == [(2000,)]
        with store.transaction() as connection:  # and it goes on
            connection.execute("INSERT INTO note VALUES (-1, 'later')")
        with pytest.raises(Exception, match="CHECK"):
            store.connection.execute("INSERT INTO note VALUES (-2, '')")
    assert result.bytes_after <= result.bytes_before
    assert SECRET.encode() not in every_byte(folder)
    assert lines(folder) == [(-1, "later"), *before]
    assert [file.name for file in folder.glob("*duckdb*")] == [DATABASE_NAME]


def test_a_full_disk_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = lines(folder)
    monkeypatch.setattr(Store, "copy_to", fail)
    with Store.open(folder) as store:
        with pytest.raises(StoreError, match=r"No space left.*Nothing was changed"):
            store.compact()
        assert store.connection.execute("SELECT count(*) FROM note").fetchall() == [(2000,)]
    assert lines(folder) == before
    assert not (folder / COMPACTING_NAME).exists()


def test_a_compaction_killed_anywhere_leaves_one_whole_database(folder: Path) -> None:
    before = lines(folder)
    program = f"""
        from pathlib import Path
        from fairbrush.store import Store
        with Store.open(Path({str(folder)!r})) as store:
            print("open", flush=True)
            while True:
                store.compact()
        """
    luck = random.Random(7)
    for _ in range(6):
        with in_another_process(program, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            time.sleep(luck.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
        assert lines(folder) == before
        assert [file.name for file in folder.glob("*duckdb*")] == [DATABASE_NAME]


def test_no_row_of_another_writer_is_lost_to_a_compaction(folder: Path) -> None:
    enough = folder / "enough"
    program = f"""
        import itertools, time
        from pathlib import Path
        from fairbrush.store import Store
        for line in itertools.count():
            if line >= 15 and Path({str(enough)!r}).exists():
                break
            with Store.open(Path({str(folder)!r}), wait_s=60) as store:
                with store.transaction() as connection:
                    connection.execute("INSERT INTO note VALUES (?, 'theirs')", [-line])
            if line == 0:
                print("begun", flush=True)
            time.sleep(0.02)  # for others to get hold of the database
        print(line)
        """
    with in_another_process(program, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        for _ in range(3):
            with Store.open(folder, wait_s=60) as store:
                store.compact(wait_s=60)
        enough.touch()
        written = int(writer.stdout.readline())
    assert [-line for line, words in lines(folder) if words == "theirs"][::-1] == list(range(written))
