"""Images the commands refuse are kept in the database, without a look-up ever opening it."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_records import digest
from running import Fairbrush
from workspaces import Gallery, command, pending, rows

from fairbrush.absence import search_registry
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.images import Refusal, RefusalReason
from fairbrush.corpus.registry import add_artist
from fairbrush.corpus.works import PreparedWork
from fairbrush.domain import Doing
from fairbrush.erasing import erase_artist
from fairbrush.ledger.records import drain, note_refusals
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

REFUSED = "SELECT path, reason, doing FROM refused_images ORDER BY path, doing"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "pictures" / "broken.png"
    file.parent.mkdir()
    file.write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    return file


def test_a_refused_look_up_is_kept_beside_the_answers(
    workspace: Path, gallery: Gallery, broken: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent.png"
    ran = command(workspace, "attribute", gallery.credited, broken, absent, "--json")
    assert ran.code == 1
    assert [one["reason"] for one in ran.json["failures"]] == ["missing", "truncated"]
    found = rows(workspace, REFUSED)
    assert found == [
        {"path": str(absent), "reason": "missing", "doing": "attribute"},
        {"path": str(broken), "reason": "truncated", "doing": "attribute"},
    ]
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]


def test_a_refused_look_up_opens_no_database_and_piles_nothing_up(workspace: Path, broken: Path) -> None:
    with Store.open(workspace):  # whoever opened it now would wait
        for _ in range(3):
            assert command(workspace, "attribute", broken).code == 1
    assert len(pending(workspace)) == 3
    assert [one["path"] for one in rows(workspace, REFUSED)] == [str(broken)]
    assert pending(workspace) == []


def test_no_record_keeps_no_refusal(workspace: Path, broken: Path) -> None:
    assert command(workspace, "attribute", broken, broken.with_name("absent.png"), "--no-record").code == 1
    assert pending(workspace) == []
    assert rows(workspace, REFUSED) == []


def test_a_stream_keeps_what_it_refuses(workspace: Path, broken: Path, fairbrush: Fairbrush) -> None:
    stream = fairbrush.start("--workspace", workspace, "attribute", "-", stdin=subprocess.PIPE)
    stdout, stderr = stream.communicate(f"{broken}\n".encode(), timeout=60)
    assert (stream.returncode, stderr) == (1, b"")
    assert json.loads(stdout)["reason"] == "truncated"
    assert [one["path"] for one in rows(workspace, REFUSED)] == [str(broken)]


def test_works_that_are_refused_are_kept_with_the_command_that_did(
    workspace: Path, gallery: Gallery, broken: Path, tmp_path: Path
) -> None:
    assert command(workspace, "artist", "add", "New Hand", broken).code == 1
    assert command(workspace, "artist", "works", "New Hand", broken).code == 1
    roster = tmp_path / "roster" / "Other Hand"
    roster.mkdir(parents=True)
    shutil.copy(broken, roster)
    assert command(workspace, "artist", "import", roster.parent).code == 1
    assert [(one["path"], one["doing"]) for one in rows(workspace, REFUSED)] == [
        (str(broken), "artist add"),
        (str(broken), "artist works"),
        (str(roster / broken.name), "artist import"),
    ]


def test_images_that_are_not_embedded_are_kept_where_there_is_a_workspace(
    workspace: Path, broken: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent.png"
    with Store.open(workspace):  # it waits for nobody
        assert command(workspace, "embed", broken, absent).code == 1
    assert rows(workspace, REFUSED) == [
        {"path": str(absent), "reason": "missing", "doing": "embed"},
        {"path": str(broken), "reason": "truncated", "doing": "embed"},
    ]
    plain = tmp_path / "no workspace"
    plain.mkdir()
    assert command(plain, "embed", broken).code == 1
    assert not (plain / "records").exists()


def test_an_image_that_cannot_be_measured_is_kept(workspace: Path, gallery: Gallery, broken: Path) -> None:
    measure = ["validate", "--prompt", "a fox"]
    assert command(workspace, *measure, broken, "--no-record").code == 2
    assert pending(workspace) == []
    assert command(workspace, *measure, broken).code == 2
    inputs = ["--inputs", gallery.credited, f"{broken}:1"]
    assert command(workspace, *measure, *inputs).code == 2
    assert command(workspace, "attribute", gallery.credited, *inputs).code == 2
    assert rows(workspace, REFUSED) == [
        {"path": str(broken), "reason": "truncated", "doing": doing} for doing in ("attribute", "validate")
    ]


def test_an_erasure_takes_refusals_among_the_works_and_under_the_name(tmp_path: Path) -> None:
    workspace = tmp_path / "space"
    create_workspace(workspace)
    ids = {}
    with open_registry(workspace) as store:
        for name, folder in (("Ada Quill", "/plain/one"), ("Bo Tann", "/plain/two")):
            work = PreparedWork(digest(name), f"{folder}/work.png")
            ids[name] = add_artist(store, name, [work])[0].artist_id
    note(workspace, "/plain/one/broken.png", "/plain/one/deeper/broken.png", "/in/ada_quill.png")
    others = ["/in/canada quills.png", "/plain/onerous.png", "/plain/two/broken.png"]
    note(workspace, *others)
    with open_registry(workspace) as store:
        drain_refusals(store)
        assert len(kept(store)) == 6
        note(workspace, "/plain/one/waiting.png")
        erased = erase_artist(store, ids["Ada Quill"], tmp_path / "cache")
        assert kept(store) == others
        assert search_registry(store, tmp_path / "cache", erased.traces).is_absent


def note(workspace: Path, *paths: str) -> None:
    images = [Refusal(Path(path), RefusalReason.EMPTY, "It has 0 bytes.") for path in paths]
    assert note_refusals(workspace / "records", images, doing=Doing.ATTRIBUTE, now=datetime.now(UTC))


def drain_refusals(store: Store) -> None:
    drain(store.connection, store.workspace / "records")


def kept(store: Store) -> list[str]:
    return [path for (path,) in store.connection.execute("SELECT path FROM refusal ORDER BY path").fetchall()]


def test_a_workspace_that_cannot_be_written_still_says_what_it_refused(workspace: Path, broken: Path) -> None:
    shutil.rmtree(workspace / "records", ignore_errors=True)
    (workspace / "records").write_text("a file where the folder belongs")
    ran = command(workspace, "attribute", broken)
    assert ran.code == 1
    assert "truncated" in ran.stderr
    assert "Traceback" not in ran.stderr
