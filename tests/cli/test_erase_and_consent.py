"""Erasing and opting out are immediate and complete, whatever is rolled back, rebuilt or interrupted."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import Fairbrush, rows_in
from workspaces import Gallery, answer, command, pending, rows

from fairbrush.corpus.works import thumbnail_path

KILLED_IN_DROPPING = """
import os, signal, sys
from pathlib import Path
import fairbrush.erasing as erasing
from fairbrush.cli.app import run
erasing.drop_work_files = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(["--workspace", sys.argv[1], "artist", "erase", sys.argv[2], "--yes"])
"""


@pytest.fixture
def artist(gallery: Gallery) -> str:
    """Who is credited for ``gallery.credited``."""
    return next(name for name, works in gallery.works.items() if gallery.credited in works)


def credited(workspace: Path, image: Path) -> list[str]:
    (one,) = answer(workspace, "attribute", image)["attributions"]
    return [share["artist"] for share in one["artists"]]


def artist_id(workspace: Path, name: str) -> str:
    return str(answer(workspace, "artist", "show", name)["artist_id"])


def whole_database(workspace: Path) -> str:
    """Every table and view as a user may read it."""
    names = rows(
        workspace,
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'main'",
    )
    assert len(names) > 15
    each = [f'SELECT to_json(t)::VARCHAR AS row FROM "{one["name"]}" AS t' for one in names]
    return "".join(one["row"] for one in rows(workspace, " UNION ALL ".join(each)))


def raw_index(workspace: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (workspace / "indexes").rglob("*") if file.is_file())


def assert_forgotten(workspace: Path, gallery: Gallery, name: str, key: str, sha256s: list[str]) -> None:
    """Nothing of an erased artist is left but the random id."""
    listed = {row["artist_id"]: row for row in answer(workspace, "artist", "list")["artists"]}
    assert (listed[key]["artist"], listed[key]["works"]) == ("(erased)", 0)
    index = raw_index(workspace)
    assert key.encode() not in index
    assert name.encode() not in index
    assert not [sha256 for sha256 in sha256s if sha256.encode() in index]
    assert not [sha256 for sha256 in sha256s if thumbnail_path(workspace, sha256).exists()]
    database = whole_database(workspace)
    assert name not in database
    assert not [path for path in gallery.works[name] if str(path) in database]
    about = json.dumps(rows(workspace, "SELECT about FROM attribution"))
    assert not [sha256 for sha256 in sha256s if sha256 in about]
    assert rows(workspace, "SELECT * FROM redaction_pending") == []
    assert all(path.exists() for path in gallery.works[name])  # users' files are never deleted


def test_opting_out_and_in_counts_from_the_next_look_up(
    workspace: Path, gallery: Gallery, artist: str
) -> None:
    image = gallery.credited
    assert artist in credited(workspace, image)
    assert answer(workspace, "artist", "consent", artist, "opted_out")["consent"] == "opted_out"
    assert artist not in credited(workspace, image)
    assert answer(workspace, "index", "build")["status"] == "unchanged"
    assert artist not in credited(workspace, image)
    assert answer(workspace, "artist", "consent", artist, "opted_in")["consent"] == "opted_in"
    assert artist in credited(workspace, image)


def test_an_erased_artist_is_nowhere_and_stays_nowhere(
    workspace: Path, gallery: Gallery, artist: str, tmp_path: Path
) -> None:
    image, key = gallery.credited, artist_id(workspace, artist)
    sha256s = [work["sha256"] for work in answer(workspace, "artist", "works", artist)]
    other = next(works[0] for name, works in gallery.works.items() if name != artist)
    (tmp_path / "r.csv").write_text(f"name,works\nTwo,{other}\n")
    assert command(workspace, "artist", "import", tmp_path / "r.csv").code == 0
    assert answer(workspace, "index", "extend")["version"] == "v0002"
    assert answer(workspace, "index", "rollback", "v0001")["version"] == "v0001"
    assert artist in credited(workspace, image)
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]
    assert command(workspace, "attribute", gallery.works[artist][1]).code == 0
    assert len(pending(workspace)) == 1  # one record drained, one waiting
    database = whole_database(workspace)  # it would be found, were it there
    assert artist in database
    assert str(image) in database
    assert key.encode() in raw_index(workspace)
    assert command(workspace, "attribute", gallery.works[artist][2]).code == 0
    vectors = rows_in(workspace / "embeddings")
    erased = answer(workspace, "artist", "erase", artist, "--yes")
    assert (erased["works"], erased["index_versions"], erased["files_dropped"]) == (6, 2, 6)
    assert erased["vector_rows_dropped"] == vectors - rows_in(workspace / "embeddings") == 6
    assert erased["records_cleared"] >= 1
    proof = erased["proof"]
    assert (proof["found"], proof["searched_for"]["names"], proof["searched_for"]["works"]) == ([], 1, 6)
    assert {"place": "index", "what": "versions", "count": 2} in proof["searched"]
    # the images asked about were works: their digest is in records that are hashed, and nowhere else
    assert {one["what"] for one in proof["stays"]} == {"work"}
    assert {one["place"].partition(".")[0] for one in proof["stays"]} == {"attribution", "fairbrush"}
    held = b"".join(file.read_bytes() for file in workspace.rglob("*") if file.is_file())
    asked = set(rows(workspace, "SELECT list(image_sha256) AS l FROM attribution")[0]["l"])
    assert not [one for one in sha256s if one not in asked and one.encode() in held]
    assert not [one for one in sha256s if one not in asked and bytes.fromhex(one) in held]
    assert artist.encode() not in held
    assert_forgotten(workspace, gallery, artist, key, sha256s)
    for words in (["rollback", "v0002"], ["rollback", "v0001"], ["build"], ["verify"]):
        ran = command(workspace, "index", *words)
        assert ran.code == 0, ran.stderr
        (one,) = answer(workspace, "attribute", image, "--no-record")["attributions"]
        assert key not in [share["artist_id"] for share in one["artists"]]
        assert key.encode() not in raw_index(workspace)
    # the money's side stays: whom the old look-up credited, by pseudonym, and the numbers
    kept = rows(workspace, f"SELECT share_e12 FROM attribution_share WHERE artist_id = '{key}'")
    assert kept
    history = answer(workspace, "report", "index_history")
    assert {row["published_at"] is not None for row in history} == {True}


def test_an_erasure_counts_at_once_in_a_running_stream(
    workspace: Path, gallery: Gallery, artist: str, fairbrush: Fairbrush
) -> None:
    process = fairbrush.start("--workspace", workspace, "attribute", "-", stdin=subprocess.PIPE)
    key = artist_id(workspace, artist)

    def ask() -> list[str]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{gallery.credited}\n".encode())
        process.stdin.flush()
        document: dict[str, Any] = json.loads(process.stdout.readline())
        return [share["artist_id"] for share in document["artists"]]

    assert key in ask()
    assert command(workspace, "artist", "erase", artist, "--yes").code == 0
    assert key not in ask()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("finish", ["erase", "extend", "add"])
def test_a_killed_erasure_is_finished_by_the_next_writer(
    workspace: Path, gallery: Gallery, artist: str, finish: str, fairbrush: Fairbrush
) -> None:
    key = artist_id(workspace, artist)
    sha256s = [work["sha256"] for work in answer(workspace, "artist", "works", artist)]
    assert command(workspace, "attribute", gallery.credited).code == 0
    killed = fairbrush(program=("-c", KILLED_IN_DROPPING, str(workspace), artist))
    assert killed.code == -9
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert key not in [share["artist_id"] for share in one["artists"]]
    assert thumbnail_path(workspace, sha256s[0]).exists()
    words = {
        "erase": ["artist", "erase", key, "--yes"],
        "extend": ["index", "extend"],
        "add": ["artist", "add", "Somebody Else"],
    }[finish]
    ran = command(workspace, *words)
    assert ran.code == 0, ran.stderr
    assert ("Finished an interrupted erasure" in ran.stderr) == (finish == "add")
    assert_forgotten(workspace, gallery, artist, key, sha256s)
    again = command(workspace, "artist", "erase", key, "--yes")
    assert (again.code, "is erased already" in again.stderr) == (2, True)


def test_an_index_that_cannot_be_written_leaves_the_erasure_pending(
    workspace: Path, gallery: Gallery, artist: str
) -> None:
    key = artist_id(workspace, artist)
    sha256s = [work["sha256"] for work in answer(workspace, "artist", "works", artist)]
    lock = workspace / "indexes" / ".lock"
    lock.unlink()
    lock.mkdir()  # no writer gets past it
    ran = command(workspace, "artist", "erase", artist, "--yes")
    assert ran.code == 2
    assert f"credited no more, but {key} is not dropped everywhere yet" in ran.stderr
    assert "finishes it" in ran.stderr
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert key not in [share["artist_id"] for share in one["artists"]]
    other = command(workspace, "artist", "add", "Somebody Else")  # is told, and not stopped
    assert (other.code, key in other.stderr) == (0, True)
    lock.rmdir()
    assert command(workspace, "artist", "consent", "Somebody Else", "opted_in").code == 0
    assert_forgotten(workspace, gallery, artist, key, sha256s)


def test_a_damaged_version_does_not_keep_an_erased_artist(
    workspace: Path, gallery: Gallery, artist: str
) -> None:
    key = artist_id(workspace, artist)
    sha256s = [work["sha256"] for work in answer(workspace, "artist", "works", artist)]
    (manifest,) = workspace.glob("indexes/*/v0001.json")
    manifest.write_text("{}")
    ran = command(workspace, "artist", "erase", artist, "--yes")
    assert (ran.code, str(manifest) in ran.stderr) == (2, True)
    assert "Delete that version's v....json" in ran.stderr
    manifest.unlink()
    built = command(workspace, "index", "build")
    assert built.code == 0, built.stderr
    assert_forgotten(workspace, gallery, artist, key, sha256s)


def test_who_is_erased_while_an_index_is_built_is_not_in_it(
    workspace: Path,
    gallery: Gallery,
    artist: str,
    monkeypatch: pytest.MonkeyPatch,
    fairbrush: Fairbrush,
) -> None:
    """The real build and the real erase, at the moment between embedding and publishing."""
    from fairbrush import indexing

    key = artist_id(workspace, artist)
    sha256s = [work["sha256"] for work in answer(workspace, "artist", "works", artist)]
    fit_panel = indexing.fit_panel
    codes = []

    def erase_meanwhile(*arguments: Any) -> Any:
        codes.append(fairbrush("--workspace", workspace, "artist", "erase", artist, "--yes").code)
        return fit_panel(*arguments)

    monkeypatch.setattr(indexing, "fit_panel", erase_meanwhile)
    ran = command(workspace, "index", "build", "--json")
    assert (ran.code, codes) == (0, [0]), ran.stderr
    assert ran.json["artists"] == 4
    assert_forgotten(workspace, gallery, artist, key, sha256s)
