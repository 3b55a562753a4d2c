"""Building and extending: the same works give the same index, however they came."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_worlds import World, make_world, queries

from fairbrush.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexMissingError,
    IndexUnusableError,
    VectorRefusedError,
)
from fairbrush.index import build as building
from fairbrush.index.build import ArtistWorks
from fairbrush.index.files import writer_lock
from fairbrush.index.search import Neighbours, StyleIndex, open_index
from fairbrush.index.versions import list_versions, verify_index
from fairbrush.style.affinity import OffsetRule
from fairbrush.style.space import fit_style_space


def answers(index: StyleIndex, world: World) -> list[Neighbours]:
    return index.search_many(queries(world, 15), k=len(index.artist_ids))


def as_numbers(index: StyleIndex) -> tuple[object, ...]:
    return (index.artist_ids, index.rows.tobytes(), index.delta)


def reordered(artist: ArtistWorks, order: list[int]) -> ArtistWorks:
    shas = [artist.work_sha256s[i] for i in order]
    return ArtistWorks(artist.artist_id, artist.creator_id, shas, artist.vectors[order])


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_extending_in_any_order_is_rebuilding(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    world = make_world(artists=9)
    folder, rebuilt = tmp_path_factory.mktemp("grown"), tmp_path_factory.mktemp("rebuilt")
    order = data.draw(st.permutations(world.artists))
    cuts = sorted(data.draw(st.sets(st.integers(1, 8), max_size=4)))
    parts = [list(part) for part in np.split(np.arange(9), cuts)]
    world.build(folder, [order[i] for i in parts[0]])
    for part in parts[1:]:
        world.extend(folder, [order[i] for i in part])
    world.build(rebuilt)
    grown, whole = open_index(folder), open_index(rebuilt)
    assert as_numbers(grown) == as_numbers(whole), "not within 1e-5 but bit for bit"
    assert answers(grown, world) == answers(whole, world)
    assert len(grown.manifest.segments) == len(parts)
    assert verify_index(folder) == []


def test_works_in_any_order_give_the_same_index(tmp_path: Path) -> None:
    world = make_world()
    version = world.build(tmp_path / "a")
    shuffled = [reordered(a, list(reversed(range(len(a.vectors))))) for a in reversed(world.artists)]
    assert world.build(tmp_path / "b", shuffled).manifest_digest == version.manifest_digest


def test_building_again_what_is_current_writes_no_version(tmp_path: Path) -> None:
    world = make_world()
    first = world.build(tmp_path)
    assert world.build(tmp_path) == first
    assert world.extend(tmp_path, world.artists[2:4]) == first
    assert [version.number for version in list_versions(tmp_path)] == [1]


def test_a_work_given_twice_counts_once(tmp_path: Path) -> None:
    world = make_world()
    [first, *others] = world.artists
    doubled = ArtistWorks(
        first.artist_id,
        first.creator_id,
        [*first.work_sha256s, first.work_sha256s[0]],
        np.vstack([first.vectors, first.vectors[:1]]),
    )
    expected = world.build(tmp_path / "a").manifest_digest
    assert world.build(tmp_path / "b", [doubled, *others]).manifest_digest == expected


def test_the_same_picture_under_two_hashes_counts_twice(tmp_path: Path) -> None:
    world = make_world()
    [first, *others] = world.artists
    copies = ArtistWorks(
        first.artist_id,
        first.creator_id,
        [*first.work_sha256s, "f" * 64],
        np.vstack([first.vectors, first.vectors[:1]]),
    )
    world.build(tmp_path, [copies, *others])
    [one, two] = open_index(tmp_path).nearest_works(first.vectors[0], first.artist_id, 2)
    assert one.similarity == two.similarity
    assert {one.work_sha256, two.work_sha256} == {"f" * 64, first.work_sha256s[0]}


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_creators_works_are_pooled_however_they_are_split(tmp_path: Path, cut: int) -> None:
    world = make_world()
    [whole, *others] = world.artists
    halves = [
        ArtistWorks(f"half-{side}", whole.creator_id, whole.work_sha256s[part], whole.vectors[part])
        for side, part in (("a", slice(0, cut)), ("b", slice(cut, None)))
    ]
    world.build(tmp_path / "whole")
    world.build(tmp_path / "split", [*others, *halves])
    world.build(tmp_path / "joined", [*others, halves[0]])
    world.extend(tmp_path / "joined", [halves[1]])
    expected = open_index(tmp_path / "whole")
    split, joined = open_index(tmp_path / "split"), open_index(tmp_path / "joined")
    row = expected.rows[expected.artist_ids.index(whole.artist_id)].tobytes()
    for index in (split, joined):
        assert [index.rows[index.artist_ids.index(half)].tobytes() for half in ("half-a", "half-b")] == [
            row
        ] * 2
        assert index.delta == expected.delta
    assert as_numbers(split) == as_numbers(joined)


def test_changed_works_replace_the_old_row(tmp_path: Path) -> None:
    world = make_world()
    world.build(tmp_path / "grown", world.artists[:5])
    world.extend(tmp_path / "grown", world.artists[5:])
    third = world.artists[2]
    fewer = reordered(third, [0, 2, 4])
    world.extend(tmp_path / "grown", [fewer])
    changed = [fewer if artist is third else artist for artist in world.artists]
    world.build(tmp_path / "rebuilt", changed)
    grown, rebuilt = open_index(tmp_path / "grown"), open_index(tmp_path / "rebuilt")
    assert as_numbers(grown) == as_numbers(rebuilt), "the threshold too, where the old row was its maximum"
    assert grown.works_of(third.artist_id) == tuple(sorted(fewer.work_sha256s))
    assert (grown.manifest.artists, grown.manifest.works) == (8, rebuilt.manifest.works)
    assert verify_index(tmp_path / "grown") == []


def test_moving_to_another_creator_refits_both(tmp_path: Path) -> None:
    world = make_world()
    a, b, c, *others = world.artists
    pooled = ArtistWorks(b.artist_id, a.creator_id, b.work_sha256s, b.vectors)
    moved = ArtistWorks(b.artist_id, c.creator_id, b.work_sha256s, b.vectors)
    world.build(tmp_path / "grown", [a, pooled, c, *others])
    world.extend(tmp_path / "grown", [moved])
    world.build(tmp_path / "rebuilt", [a, moved, c, *others])
    assert as_numbers(open_index(tmp_path / "grown")) == as_numbers(open_index(tmp_path / "rebuilt"))


def test_seventeen_joins_are_compacted_into_one_segment(tmp_path: Path) -> None:
    world = make_world(artists=18, works=2)
    world.build(tmp_path / "grown", world.artists[:1])
    counts = [len(world.extend(tmp_path / "grown", [artist]).segments) for artist in world.artists[1:]]
    assert counts == [*range(2, 17), 1, 2]
    world.build(tmp_path / "rebuilt")
    assert as_numbers(open_index(tmp_path / "grown")) == as_numbers(open_index(tmp_path / "rebuilt"))


def test_extending_writes_in_proportion_to_who_is_new(tmp_path: Path) -> None:
    world = make_world(artists=60)
    world.build(tmp_path, world.artists[:-1])
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    version = world.extend(tmp_path, world.artists[-1:])
    [_, added] = version.segments
    written = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert {file.stem for file in written} == {added.name, "v0002", version.scale_sha256}
    works = sum(file.stat().st_size for file in written if file.suffix == ".works")
    assert works == 6 * 12 * 4


def test_the_rule_of_the_offset_is_kept_by_extension(tmp_path: Path) -> None:
    world = make_world()
    world.build(tmp_path / "grown", world.artists[:4], rule=OffsetRule.CSLS)
    world.extend(tmp_path / "grown", world.artists[4:])
    world.build(tmp_path / "rebuilt", rule=OffsetRule.CSLS)
    world.build(tmp_path / "quantile")
    rebuilt = open_index(tmp_path / "rebuilt")
    assert as_numbers(open_index(tmp_path / "grown")) == as_numbers(rebuilt)
    assert open_index(tmp_path / "quantile").rows.tobytes() != rebuilt.rows.tobytes()


def test_what_cannot_be_indexed_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    world = make_world()
    artist = world.artists[0]
    for spoil, said in ((0.0, "all zeros"), (np.nan, "not finite")):
        vectors = artist.vectors.copy()
        vectors[3] = spoil
        bad = ArtistWorks("bad", "bad", artist.work_sha256s, vectors)
        with pytest.raises(VectorRefusedError, match=f"Artist bad: Vector . of 6 is {said}"):
            world.build(tmp_path, [bad])
    with pytest.raises(IndexUnusableError, match="given twice"):
        world.build(tmp_path, [artist, artist])
    with pytest.raises(IndexUnusableError, match="at least one artist"):
        world.build(tmp_path, [])
    with pytest.raises(IndexUnusableError, match="has no works"):
        world.build(tmp_path, [ArtistWorks("none", "none", [], np.empty((0, 12), np.float32))])
    with pytest.raises(IndexMissingError, match="holds no index"):
        open_index(tmp_path)


def test_extending_with_another_encoder_or_space_is_refused(tmp_path: Path) -> None:
    world = make_world()
    world.build(tmp_path, world.artists[:4])
    with pytest.raises(IndexMismatchError, match="was built with encoder"):
        world.extend(tmp_path, world.artists[4:], encoder_id="other#1")
    with pytest.raises(IndexMismatchError, match="serves variants"):
        world.extend(tmp_path, world.artists[4:], variant="toy-bfloat16")
    hands = [f"hand-{i // 5}" for i in range(60)]
    with pytest.raises(IndexMismatchError, match="style space"):
        world.extend(tmp_path, world.artists[4:], space=fit_style_space(world.panel, hands))
    assert [version.number for version in list_versions(tmp_path)] == [1]


def test_a_second_writer_waits_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    monkeypatch.setattr(building, "writer_lock", lambda folder: writer_lock(folder, wait_s=0.1))
    with writer_lock(tmp_path), pytest.raises(IndexBusyError, match=r"for 0\.1 s"):
        world.build(tmp_path)
    assert world.build(tmp_path).number == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IndexUnusableError, match="cannot be written"):
        make_world().build(tmp_path / "file")
