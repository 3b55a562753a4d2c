"""Distinctiveness and look-alikes, against worlds in which the answer is known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_worlds import World, make_world, name_work

from fairbrush.index.build import ArtistWorks
from fairbrush.index.clones import close_pairs, look_alikes
from fairbrush.index.distinctiveness import (
    Distinctiveness,
    Hands,
    Share,
    Verdict,
    come_home,
    distinctiveness,
    homecomings,
    judge,
)
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.style.centroids import own_affinities


def opened(world: World, folder: Path, artists: list[ArtistWorks] | None = None) -> StyleIndex:
    world.build(folder, artists)
    return open_index(folder)


def by_artist(index: StyleIndex) -> dict[str, Distinctiveness]:
    return {one.artist_id: one for one in distinctiveness(index, homecomings(index))}


def copy_of(artist: ArtistWorks, name: str, creator: str, *, noise: float = 0.0) -> ArtistWorks:
    """The same hand's works as other files."""
    rng = np.random.default_rng(1)
    vectors = artist.vectors + noise * rng.normal(size=artist.vectors.shape)
    shas = [name_work(name, n) for n in range(len(vectors))]
    return ArtistWorks(name, creator, shas, vectors.astype(np.float32))


def test_it_is_what_a_plain_loop_over_works_and_creators_gives(tmp_path: Path) -> None:
    index = opened(make_world(artists=9, works=7, dim=6, seed=3), tmp_path)
    rows = dict(zip(index.artist_ids, index.rows.astype(np.float64), strict=True))
    for artist_id, one in by_artist(index).items():
        works = index.stored_works(artist_id).works.astype(np.float64)
        if len(works) < 5:
            assert one == Distinctiveness(artist_id, Verdict.TOO_FEW, len(works))
            continue
        own, margins, guesses, home = [], [], [], 0
        for position, work in enumerate(works):
            rest = np.delete(works, position, axis=0).mean(axis=0)
            z_own = work @ rest / np.linalg.norm(rest) + rows[artist_id][-1]
            others = [work @ row[:-1] + row[-1] for name, row in rows.items() if name != artist_id]
            own.append(z_own)
            margins.append(z_own - max(others))
            nearer = sum(z >= z_own for z in others)
            guesses.append(1 / (1 + nearer))
            home += nearer == 0
        assert one.margin == pytest.approx(np.median(margins), abs=1e-6)
        assert one.recognisability == pytest.approx(index.recognisability(artist_id), abs=1e-9)
        assert one.look_alikes == pytest.approx(1 / np.mean(guesses) - 1)
        assert one.home == Share(home, len(works))
        assert one.credited == Share(sum(z > index.delta for z in own), len(works))


def test_a_perfect_copy_is_one_look_alike_and_two_copies_are_two(tmp_path: Path) -> None:
    world = make_world(artists=5, seed=5, panel=240)
    original = world.artist("artist-0000")
    clone = copy_of(original, "clone", "creator-clone")
    index = opened(world, tmp_path / "one", [*world.artists, clone])
    found = by_artist(index)
    for artist_id, other in (("artist-0000", "clone"), ("clone", "artist-0000")):
        one = found[artist_id]
        assert one.nearest_artist_id == other
        assert (one.look_alikes, one.home) == (pytest.approx(1), Share(0, 6))
        assert one.verdict is Verdict.HARD
        assert one.margin is not None
        assert one.margin < 0
    [pair] = look_alikes(index, homecomings(index))
    assert (pair.one, pair.other, pair.worst) == ("creator-0000", "creator-clone", 1.0)
    assert (pair.one_as_other, pair.other_as_one) == (Share(6, 6), Share(6, 6))
    assert pair.similarity == pytest.approx(1, abs=1e-6)
    again = copy_of(original, "again", "creator-again")
    index = opened(world, tmp_path / "two", [*world.artists, clone, again])
    assert by_artist(index)["clone"].look_alikes == pytest.approx(2)
    assert len(look_alikes(index, homecomings(index))) == 3


def test_entries_of_one_creator_are_one_hand_and_no_look_alikes(tmp_path: Path) -> None:
    world = make_world(artists=5, seed=5, panel=240)
    original = world.artist("artist-0000")
    pen_name = copy_of(original, "pen-name", original.creator_id)
    index = opened(world, tmp_path, [*world.artists, pen_name])
    found = by_artist(index)
    assert found["pen-name"].works == found["artist-0000"].works == 12
    assert found["pen-name"].home == found["artist-0000"].home == Share(12, 12)
    assert found["artist-0000"].verdict is Verdict.DISTINCT
    assert look_alikes(index, homecomings(index)) == []


def test_who_would_seldom_be_credited_cannot_be_told_apart(tmp_path: Path) -> None:
    index = opened(make_world(artists=4, seed=5), tmp_path)
    [home] = [one for one in homecomings(index) if one.creator_id == "creator-0000"]
    names = {"creator-0002": "artist-0002", "creator-0001": "artist-0001", "creator-0003": "artist-0003"}
    weak = judge(home, float(np.median(home.own_z)), names)
    assert weak.verdict is Verdict.UNRECOGNISABLE
    assert weak.credited == Share(3, 6)
    assert judge(home, index.delta, names).verdict is Verdict.DISTINCT


def test_one_artist_alone_has_no_rival(tmp_path: Path) -> None:
    world = make_world(artists=1)
    index = opened(world, tmp_path)
    [one] = by_artist(index).values()
    assert (one.margin, one.nearest_artist_id, one.look_alikes) == (None, None, 0.0)
    assert one.home == Share(6, 6)


def test_a_newcomer_is_judged_as_if_indexed(tmp_path: Path) -> None:
    world = make_world(artists=5, seed=5, panel=240)
    clone = copy_of(world.artist("artist-0000"), "clone", "creator-clone", noise=0.05)
    whole = opened(world, tmp_path / "with", [*world.artists, clone])
    [indexed] = [one for one in homecomings(whole) if one.creator_id == "creator-clone"]
    works = whole.stored_works("clone").works
    h = -float(whole.rows[whole.artist_ids.index("clone"), -1])
    wide, rule = works.astype(np.float64), whole.manifest.rule
    own_z = own_affinities(wide, whole.strangers, count=1, h=h, rule=rule)
    before = Hands.of_index(opened(world, tmp_path / "without"))
    newcomer = come_home(works, own_z, before, creator_id="creator-clone", artist_ids=["clone"])
    assert newcomer.as_near == indexed.as_near
    assert newcomer.taken_for("creator-0000") == indexed.taken_for("creator-0000") == Share(6, 6)
    assert newcomer.own_z.tolist() == indexed.own_z.tolist()
    assert newcomer.rivals == indexed.rivals


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_solves_wilsons_equation(counts: tuple[int, int]) -> None:
    share = Share(*counts)
    assert 0 <= share.low <= share.fraction + 1e-12
    assert share.fraction - 1e-12 <= share.high <= 1
    for bound in [share.low] * (share.k > 0) + [share.high] * (share.k < share.n):
        gap = abs(share.fraction - bound)
        assert gap == pytest.approx(1.959964 * (bound * (1 - bound) / share.n) ** 0.5, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_close_pairs_are_those_of_the_whole_product(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (n, 3)).astype(np.float32)
    groups = [str(group) for group in rng.integers(0, 4, n)]
    turns = [np.array([1, 2, 0]), np.array([2, 0, 1])]
    product = np.max([rows[:, turn] @ rows.T for turn in [np.arange(3), *turns]], axis=0)
    wanted = {
        (i, j, float(product[i, j]))
        for i in range(n)
        for j in range(i + 1, n)
        if groups[i] != groups[j] and product[i, j] >= 2
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fairbrush.index.clones.ROWS_AT_A_TIME", 7)
        assert set(close_pairs(rows, groups, floor=2, turns=turns)) == wanted
