"""Erasing: out of every version and every byte, and no way back."""

import json
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from index_worlds import World, make_world, queries

from fairbrush.errors import IndexDamagedError, IndexMissingError
from fairbrush.index.build import ArtistWorks
from fairbrush.index.erase import erase_artist
from fairbrush.index.search import open_index
from fairbrush.index.versions import (
    VersionFiles,
    current_version,
    list_versions,
    manifest_files,
    rollback,
    verify_index,
)
from fairbrush.style.space import fit_style_space


def traces(folder: Path, needles: list[bytes]) -> list[str]:
    """The files whose raw bytes hold any of the needles."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(needle in file.read_bytes() for needle in needles)]


def needles_of(folder: Path, artist_id: str) -> list[bytes]:
    """Everything an index knows of an artist, as it lies in the files."""
    needles = [artist_id.encode()]
    for version in list_versions(folder):
        for _, segment in VersionFiles(folder, version.space_id).open_segments(version):
            for entry in segment.entries(only={artist_id}):
                needles += [
                    *(row.tobytes() for row in entry.rows),
                    *(row[:-1].tobytes() for row in entry.rows),
                    entry.creator_id.encode(),
                ]
                needles += [work.tobytes() for work in entry.works]
                needles += [bytes.fromhex(name) for name in entry.work_sha256s]
                needles += [name.encode() for name in entry.work_sha256s]
    return needles


def grown(folder: Path, world: World) -> None:
    """Four versions: a build, two extensions, the second of which changes artist-0002, and a new space."""
    world.build(folder, world.artists[:4])
    world.extend(folder, world.artists[4:])
    changed = world.artist("artist-0002")
    fewer = ArtistWorks("artist-0002", changed.creator_id, changed.work_sha256s[:4], changed.vectors[:4])
    world.extend(folder, [fewer])
    other = fit_style_space(world.panel, [f"hand-{i // 5}" for i in range(len(world.panel))])
    world.build(folder, world.artists[:6], space=other)


@pytest.mark.parametrize("artist_id", ["artist-0000", "artist-0001", "artist-0002", "artist-0007"])
def test_an_erased_artist_is_nowhere_in_any_byte(tmp_path: Path, artist_id: str) -> None:
    world = make_world()
    grown(tmp_path, world)
    needles = needles_of(tmp_path, artist_id)
    assert len(traces(tmp_path, needles)) >= 3
    held = {"artist-0007": [2, 3]}.get(artist_id, [1, 2, 3, 4])
    assert erase_artist(tmp_path, artist_id) == held
    assert traces(tmp_path, needles) == []
    assert verify_index(tmp_path) == []
    assert erase_artist(tmp_path, artist_id) == []


def test_the_others_and_the_threshold_are_as_if_never_indexed(tmp_path: Path) -> None:
    world = make_world()
    for erased in ("artist-0000", "artist-0005"):
        folder, fresh = tmp_path / f"{erased}-erased", tmp_path / f"{erased}-fresh"
        world.build(folder, world.artists[:4])
        world.extend(folder, world.artists[4:])
        erase_artist(folder, erased)
        world.build(fresh, [artist for artist in world.artists if artist.artist_id != erased])
        left, expected = open_index(folder), open_index(fresh)
        assert left.artist_ids == expected.artist_ids
        assert (left.rows.tobytes(), left.delta) == (expected.rows.tobytes(), expected.delta)
        assert (left.manifest.artists, left.manifest.works) == (7, expected.manifest.works)
        assert left.manifest.redactions == 1


def test_rollback_never_brings_an_erased_artist_back(tmp_path: Path) -> None:
    world = make_world()
    grown(tmp_path, world)
    erase_artist(tmp_path, "artist-0003")
    vector = world.artist("artist-0003").vectors[0]
    for number in (1, 2, 3, 4):
        rollback(tmp_path, number)
        index = open_index(tmp_path)
        assert "artist-0003" not in {hit.artist_id for hit in index.search(vector, k=99).hits}
        with pytest.raises(IndexMissingError):
            index.nearest_works(vector, "artist-0003", 1)


def test_erasing_does_not_move_current(tmp_path: Path) -> None:
    world = make_world()
    grown(tmp_path, world)
    rollback(tmp_path, 2)
    held = open_index(tmp_path)
    erase_artist(tmp_path, "artist-0000")
    assert current_version(tmp_path).number == 2
    assert not held.is_current(), "the open index can tell that it was rewritten"
    assert open_index(tmp_path).manifest_digest != held.manifest_digest


def test_an_index_opened_before_says_to_open_again(tmp_path: Path) -> None:
    world = make_world()
    world.build(tmp_path)
    held = open_index(tmp_path)
    erase_artist(tmp_path, "artist-0000")
    with pytest.raises(IndexMissingError, match=r"rewritten since it was opened. Open it again"):
        held.nearest_works(world.panel[0], "artist-0003", 1)


def test_the_last_artist_can_be_erased_and_another_join(tmp_path: Path) -> None:
    world = make_world(artists=2)
    world.build(tmp_path, world.artists[:1])
    erase_artist(tmp_path, "artist-0000")
    index = open_index(tmp_path)
    assert (index.artist_ids, index.delta) == ((), 0.0)
    assert index.search(world.panel[0], k=3).hits == []
    assert index.search(world.panel[0], k=3).complete
    world.extend(tmp_path, world.artists[1:])
    world.build(tmp_path / "fresh", world.artists[1:])
    grown_again, fresh = open_index(tmp_path), open_index(tmp_path / "fresh")
    assert (grown_again.rows.tobytes(), grown_again.delta) == (fresh.rows.tobytes(), fresh.delta)


def test_whoever_shared_a_creator_is_fitted_without_the_erased_works(tmp_path: Path) -> None:
    world = make_world()
    a, b, *others = world.artists[2:]
    partner = ArtistWorks(b.artist_id, a.creator_id, b.work_sha256s, b.vectors)
    world.build(tmp_path, [a, *others[:2]])
    world.extend(tmp_path, [partner, *others[2:]])
    pooled = [needle for needle in needles_of(tmp_path, b.artist_id) if len(needle) == 4 * 13]
    assert erase_artist(tmp_path, a.artist_id) == [1, 2]
    world.build(tmp_path / "fresh", [partner, *others])
    left, fresh = open_index(tmp_path), open_index(tmp_path / "fresh")
    assert (left.artist_ids, left.rows.tobytes(), left.delta) == (
        fresh.artist_ids,
        fresh.rows.tobytes(),
        fresh.delta,
    )
    assert pooled
    assert traces(tmp_path, pooled) == [], "rows that the erased works had a part in"
    assert verify_index(tmp_path) == []


def test_a_damaged_version_stops_the_erasure_loudly(tmp_path: Path) -> None:
    world = make_world()
    grown(tmp_path, world)
    manifest = next(tmp_path.rglob("v0003.json"))
    manifest.write_text("{}")
    with pytest.raises(IndexDamagedError, match="v0003"):
        erase_artist(tmp_path, "artist-0000")


def test_an_erasure_that_was_interrupted_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairbrush.index import erase

    world = make_world()
    grown(tmp_path, world)
    needles = needles_of(tmp_path, "artist-0000")
    published = []

    def stop_after_two(folder: Path, version: object) -> None:
        if len(published) == 2:
            raise KeyboardInterrupt
        published.append(version)
        real(folder, version)

    real = erase.write_manifest
    monkeypatch.setattr(erase, "write_manifest", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        erase_artist(tmp_path, "artist-0000")
    assert verify_index(tmp_path) == [], "whole versions, some not yet rewritten"
    monkeypatch.undo()
    assert erase_artist(tmp_path, "artist-0000") == [3, 4]
    assert traces(tmp_path, needles) == []
    assert verify_index(tmp_path) == []


def test_what_no_manifest_names_any_more_goes_too(tmp_path: Path) -> None:
    """A first build killed before its manifest, or a damaged manifest deleted as the message says."""
    world = make_world()
    world.build(tmp_path, world.artists[:3])
    needles = needles_of(tmp_path, "artist-0000")
    [manifest] = manifest_files(tmp_path).values()
    manifest.unlink()
    assert traces(tmp_path, needles)
    assert erase_artist(tmp_path, "artist-0000") == []
    assert traces(tmp_path, needles) == []


def test_nothing_indexed_is_nothing_to_erase(tmp_path: Path) -> None:
    assert erase_artist(tmp_path / "absent", "artist-0000") == []
    world = make_world()
    world.build(tmp_path)
    before = open_index(tmp_path).search_many(queries(world, 3), k=3)
    assert erase_artist(tmp_path, "nobody") == []
    assert open_index(tmp_path).search_many(queries(world, 3), k=3) == before
    assert np.isfinite(open_index(tmp_path).delta)


def test_readers_beside_an_erasure_open_whole_versions(tmp_path: Path) -> None:
    world = make_world(artists=24)
    world.build(tmp_path, world.artists[:12])
    world.extend(tmp_path, world.artists[12:])
    doomed = [f"artist-{number:04d}" for number in range(0, 24, 2)]
    eraser = Thread(target=lambda: [erase_artist(tmp_path, artist_id) for artist_id in doomed])
    eraser.start()
    sizes = []
    while eraser.is_alive():
        index = open_index(tmp_path)
        assert len(index.search(world.panel[0], k=99).hits) == index.manifest.artists
        sizes.append(index.manifest.artists)
    eraser.join()
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 2, "it did read while artists went"
    assert open_index(tmp_path).manifest.artists == 12


def test_a_version_of_an_earlier_format_goes_with_whoever_is_erased(tmp_path: Path) -> None:
    version = make_world().build(tmp_path)
    manifest = tmp_path / version.space_id / "v0001.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "schema": "fairbrush.index/1"}))
    assert erase_artist(tmp_path, "artist-0002") == [1]
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.name != ".lock"]
    with pytest.raises(IndexMissingError):
        open_index(tmp_path)
