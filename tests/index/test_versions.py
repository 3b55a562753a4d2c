"""Versions on disk: damage is found, rollback and prune, readers beside writers, writers that die."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from index_worlds import make_world, queries
from running import wait_until

from fairbrush.errors import (
    ExitCode,
    IndexDamagedError,
    IndexMissingError,
    IndexOutdatedError,
    IndexUnusableError,
)
from fairbrush.index.files import writer_lock
from fairbrush.index.search import open_index
from fairbrush.index.versions import (
    current_version,
    list_versions,
    prune_unlocked,
    rollback,
    verify_index,
)

TESTS = Path(__file__).parents[1]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 1
    file.write_bytes(content)


def index_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")


def test_every_flipped_byte_of_every_file_is_found(tmp_path: Path) -> None:
    world = make_world(artists=3, works=2, dim=4)
    world.build(tmp_path, world.artists[:2])
    world.extend(tmp_path, world.artists[2:])
    assert verify_index(tmp_path) == []
    rng = np.random.default_rng(0)
    for file in index_files(tmp_path):
        sound = file.read_bytes()
        for at in rng.integers(0, len(sound), 12):
            if file.suffix == ".json" and chr(sound[at]).isspace():
                continue  # layout between a manifest's fields, covered by no digest, means nothing
            flip(file, int(at))
            assert verify_index(tmp_path), f"{file} at {at}"
            file.write_bytes(sound)
    assert verify_index(tmp_path) == []


@pytest.mark.parametrize("ending", ["faiss", "json", "npz"])
def test_opening_refuses_a_changed_file_before_it_is_parsed(tmp_path: Path, ending: str) -> None:
    make_world().build(tmp_path)
    parts = [file for file in index_files(tmp_path) if file.parent.name in ("segments", "shared")]
    panel = current_version(tmp_path).panel_sha256  # not read to search
    [file] = [file for file in parts if file.suffix == f".{ending}" and file.stem != panel]
    flip(file, 10)
    with pytest.raises(IndexDamagedError, match=r"digest.*fairbrush index rollback") as caught:
        open_index(tmp_path)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code is ExitCode.CANNOT_RUN
    file.unlink()
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        open_index(tmp_path)


def test_changed_works_are_refused_as_evidence_and_only_then(tmp_path: Path) -> None:
    world = make_world()
    world.build(tmp_path)
    [file] = tmp_path.rglob("*.works")
    flip(file, 0)
    index = open_index(tmp_path)
    vector = world.artists[0].vectors[0]
    index.nearest_works(vector, "artist-0003", 1)
    with pytest.raises(IndexDamagedError, match="works of artist artist-0000 changed"):
        index.nearest_works(vector, "artist-0000", 1)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    version = make_world().build(tmp_path)
    manifest = tmp_path / version.space_id / "v0001.json"
    body = json.loads(manifest.read_text())
    for change in ({"delta": 0.1}, {"dim": 13}, {"segments": []}, {"schema": "other/1"}, {"surprise": 1}):
        manifest.write_text(json.dumps({**body, **change}))
        with pytest.raises(IndexDamagedError, match=r"v0001\.json is damaged"):
            open_index(tmp_path)
    for content in (b"", b"\xff\xfe", b"[]", b"null", b"{", manifest.read_bytes()[:50]):
        manifest.write_bytes(content)
        with pytest.raises(IndexDamagedError, match=r"v0001\.json is damaged"):
            open_index(tmp_path)


def test_a_manifest_under_another_number_is_refused(tmp_path: Path) -> None:
    version = make_world().build(tmp_path)
    home = tmp_path / version.space_id
    (home / "v0001.json").rename(home / "v0002.json")
    [damage] = [found for found in verify_index(tmp_path) if found.where == "v0002"]
    assert "not its own" in str(damage.error)


@pytest.mark.parametrize("content", [b"", b"v0001\n", b"../../etc/v0001 0123456789abcdef\n", b"\xff"])
def test_a_damaged_current_names_the_way_out(tmp_path: Path, content: bytes) -> None:
    make_world().build(tmp_path)
    (tmp_path / "CURRENT").write_bytes(content)
    with pytest.raises(IndexDamagedError, match=r"CURRENT is damaged.*fairbrush index rollback v0001"):
        open_index(tmp_path)
    rollback(tmp_path, 1)
    assert open_index(tmp_path).manifest.number == 1


def test_a_current_that_names_another_version_by_a_flipped_digit_is_refused(tmp_path: Path) -> None:
    world = make_world()
    for count in (2, 4, 6):
        world.build(tmp_path, world.artists[:count])
    current = tmp_path / "CURRENT"
    current.write_bytes(current.read_bytes().replace(b"v0003", b"v0002"))
    with pytest.raises(IndexDamagedError, match="CURRENT is damaged"):
        open_index(tmp_path)


def test_a_lost_current_is_damage_and_no_index_is_missing(tmp_path: Path) -> None:
    make_world().build(tmp_path)
    (tmp_path / "CURRENT").unlink()
    with pytest.raises(IndexDamagedError, match="rollback v0001"):
        open_index(tmp_path)
    with pytest.raises(IndexMissingError, match="holds no index"):
        verify_index(tmp_path / "elsewhere")


def test_rollback_rewrites_current_and_nothing_else(tmp_path: Path) -> None:
    world = make_world()
    first = world.build(tmp_path, world.artists[:5])
    before = open_index(tmp_path).search_many(queries(world, 5), k=5)
    second = world.extend(tmp_path, world.artists[5:])
    contents = {file: file.read_bytes() for file in index_files(tmp_path)}
    assert rollback(tmp_path, 1) == first
    changed = {file.name for file in index_files(tmp_path) if contents.pop(file) != file.read_bytes()}
    assert (changed, contents) == ({"CURRENT"}, {})
    assert open_index(tmp_path).search_many(queries(world, 5), k=5) == before
    assert rollback(tmp_path, 2) == second
    rollback(tmp_path, 1)
    third = world.extend(tmp_path, world.artists[5:])
    assert (third.number, third.parent, third.same_index(second)) == (3, 1, True)
    with pytest.raises(IndexMissingError, match=r"no version v0009. Its versions: v0001, v0002, v0003"):
        rollback(tmp_path, 9)


def test_rollback_refuses_a_damaged_version(tmp_path: Path) -> None:
    world = make_world()
    first = world.build(tmp_path, world.artists[:5])
    world.build(tmp_path)
    flip(tmp_path / first.space_id / "segments" / f"{first.segments[0].name}.works", 3)
    with pytest.raises(IndexDamagedError):
        rollback(tmp_path, 1)
    assert current_version(tmp_path).number == 2
    assert [found.where for found in verify_index(tmp_path)] == ["v0001"]


def test_prune_removes_what_no_manifest_names_and_searching_ignores_it(tmp_path: Path) -> None:
    world = make_world()
    version = world.build(tmp_path)
    home = tmp_path / version.space_id
    orphans = [
        home / "segments" / f"{'0' * 64}.faiss",
        home / "segments" / f"{'1' * 64}.json",
        home / "shared" / f"{'2' * 64}.npy",
        home / "segments" / ".draft-1-x.works",
        home / ".draft-1-v0002.json",
        tmp_path / ".draft-1-CURRENT",
    ]
    for orphan in orphans:
        orphan.write_bytes(b"left by a writer that died")
    (tmp_path / "eligibility.json").write_text("{}")
    assert open_index(tmp_path).manifest == version
    with writer_lock(tmp_path):
        assert prune_unlocked(tmp_path) == sorted(orphans)
    assert (tmp_path / "eligibility.json").exists()
    assert verify_index(tmp_path) == []
    with writer_lock(tmp_path):
        assert prune_unlocked(tmp_path) == []


BUILDER = """
    import sys
    from pathlib import Path
    from index_worlds import make_world

    folder, start = Path(sys.argv[1]), int(sys.argv[2])
    world = make_world(artists=30)
    print("ready", flush=True)
    for turn in range(start, 100_000):
        artist = world.artists[turn % 30]
        keep = 1 + turn // 30 % len(artist.vectors)
        world.extend(folder, [type(artist)(artist.artist_id, artist.creator_id,
                                           artist.work_sha256s[:keep], artist.vectors[:keep])])
"""


def start_builder(folder: Path, turn: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BUILDER), str(folder), str(turn)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@posix_only
def test_a_writer_killed_at_any_moment_leaves_a_whole_version(tmp_path: Path) -> None:
    world = make_world(artists=30)
    world.build(tmp_path, world.artists[:3])
    rng = np.random.default_rng(1)
    numbers = [current_version(tmp_path).number]
    for turn in range(8):
        process = start_builder(tmp_path, turn * 31)
        if turn % 2:  # so that some versions are published, however slow the machine
            wait_until(lambda: current_version(tmp_path).number > numbers[-1])
        time.sleep(rng.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert verify_index(tmp_path) == []
        numbers.append(open_index(tmp_path).manifest.number)
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0], "the writers did publish"
    with writer_lock(tmp_path):
        prune_unlocked(tmp_path)
    assert verify_index(tmp_path) == []
    assert not list(tmp_path.rglob(".draft-*"))
    assert world.build(tmp_path).number > numbers[-1], "the lock of the killed is free"


@posix_only
def test_readers_beside_a_writer_meet_whole_versions_only(tmp_path: Path) -> None:
    world = make_world(artists=30)
    world.build(tmp_path, world.artists[:3])
    process = start_builder(tmp_path, 0)
    try:
        seen = set()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            index = open_index(tmp_path)
            hits = index.search(world.artists[0].vectors[0], k=1).hits
            index.nearest_works(world.artists[0].vectors[0], hits[0].artist_id, 1)
            seen.add(index.manifest.number)
    finally:
        process.kill()
        process.communicate()
    assert len(seen) > 3
    assert seen <= {version.number for version in list_versions(tmp_path)}


def test_a_full_disk_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    version = world.build(tmp_path, world.artists[:4])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IndexUnusableError, match=r"No space left on device.*the index is as it was"):
        world.extend(tmp_path, world.artists[4:])
    monkeypatch.undo()
    assert open_index(tmp_path).manifest == version
    assert not list(tmp_path.rglob(".draft-*"))
    assert world.extend(tmp_path, world.artists[4:]).artists == 8


def as_earlier_format(manifest: Path) -> None:
    body = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps({**body, "schema": "fairbrush.index/1"}))


def test_a_version_of_an_earlier_format_says_to_rebuild(tmp_path: Path) -> None:
    version = make_world().build(tmp_path)
    as_earlier_format(tmp_path / version.space_id / "v0001.json")
    with pytest.raises(IndexOutdatedError, match="an earlier fairbrush") as told:
        open_index(tmp_path)
    assert told.value.next_step == "Rebuild: fairbrush index build"


def test_a_build_replaces_versions_of_an_earlier_format(tmp_path: Path) -> None:
    world = make_world()
    earlier = world.build(tmp_path)
    as_earlier_format(tmp_path / earlier.space_id / "v0001.json")
    built = world.build(tmp_path, world.artists[2:])
    assert built.label == "v0002"
    assert [version.number for version in list_versions(tmp_path)] == [2]
    assert verify_index(tmp_path) == []
    assert not list(tmp_path.rglob(f"{earlier.segments[0].name}.*"))
