"""Baselines against splits worked out by hand; fairbrush against its own doors."""

from pathlib import Path

import numpy as np
import pytest
from index_worlds import ENCODER, VARIANT, World, make_world, queries

from fairbrush.accuracy import methods
from fairbrush.accuracy.methods import (
    VARIANTS,
    Background,
    Fairbrush,
    KnnVote,
    NearestCentroid,
    Softmax,
    baselines,
    likeliest_scale,
)
from fairbrush.domain import Value
from fairbrush.index.build import ArtistWorks
from fairbrush.index.search import open_index

ANN, BO, DIAGONAL = [1.0, 0.0], [0.0, 1.0], [2.0, 1.0]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(artists=6)


@pytest.fixture(scope="module")
def background(world: World) -> Background:
    return Background(world.space, world.panel, world.strangers, ENCODER, VARIANT)


def artist(name: str, rows: list[list[float]]) -> ArtistWorks:
    return ArtistWorks(name, name, [f"{name}{n}" for n in range(len(rows))], np.array(rows, np.float32))


FLAT = [artist("Ann", [ANN, ANN]), artist("Bo", [BO, BO, BO])]


def asked(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_nearest_centroid_pays_one_artist_all(background: Background) -> None:
    [near, far] = NearestCentroid("n", "raw").fit(FLAT, background).shares(asked(DIAGONAL, BO))
    assert (near.paid, near.best, far.paid) == ({"Ann": 1.0}, "Ann", {"Bo": 1.0})


def test_a_softmax_splits_by_the_cosines(background: Background) -> None:
    [shares] = Softmax("s", "raw", 10.0).fit(FLAT, background).shares(asked(DIAGONAL))
    odds = np.exp(10 * (2 - 1) / np.sqrt(5))
    assert shares.paid == pytest.approx({"Ann": odds / (1 + odds), "Bo": 1 / (1 + odds)})
    assert shares.best == "Ann"


def test_the_nearest_works_have_a_vote_each_and_ties_go_to_who_came_first(
    background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = KnnVote("k", "raw").fit(FLAT, background)
    assert fitted.shares(asked(ANN))[0].paid == pytest.approx({"Ann": 2 / 5, "Bo": 3 / 5})
    monkeypatch.setattr(methods, "NEIGHBOURS", 4)
    [tied] = fitted.shares(asked([1.0, 1.0]))
    assert tied.paid == {"Ann": 0.5, "Bo": 0.5}
    assert tied.best == "Ann"


def test_a_baseline_pays_all_of_the_style(world: World, background: Background) -> None:
    for method in baselines():
        for shares in method.fit(world.artists, background).shares(queries(world, 12)):
            assert sum(shares.paid.values()) == pytest.approx(1), method.name
            assert shares.best in shares.paid


def test_a_softmax_is_steep_where_artists_are_far_apart_and_flat_where_they_are_not() -> None:
    rng = np.random.default_rng(0)

    def works(spread: float) -> list[np.ndarray]:
        made = []
        for centre in np.eye(8)[:4]:
            rows = centre + spread * rng.normal(size=(10, 8))
            made.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return made

    assert likeliest_scale(works(0.05)) > 4 * likeliest_scale(works(1.5))


def test_fairbrush_answers_as_its_index_does(world: World, background: Background, tmp_path: Path) -> None:
    images = queries(world, 20)
    method = Fairbrush("nearest", VARIANTS["nearest"], tmp_path)
    fitted = method.fit(world.artists, background)
    world.build(tmp_path / "own")
    index = open_index(tmp_path / "own")
    for shares, found in zip(fitted.shares(images), index.search_many(images, k=6), strict=True):
        assert shares.best == found.hits[0].artist_id
        assert set(shares.paid) == {hit.artist_id for hit in found.hits if hit.z > index.delta}
        assert sum(shares.paid.values()) == pytest.approx(1 if shares.paid else 0)
    expected = [found.hits[0].z for found in index.search_many(images, k=1)]
    assert fitted.nearness(images).tolist() == expected


def test_the_engines_threshold_is_the_indexs_own(
    world: World, background: Background, tmp_path: Path
) -> None:
    fitted = Fairbrush("nearest", {}, tmp_path, alpha=0.2).fit(world.artists, background)
    assert fitted.threshold(0.2) == fitted.index.delta < fitted.threshold(0.05)


def test_value_functions_share_one_index_and_other_references_have_their_own(
    world: World, background: Background, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        Fairbrush(name, {}, tmp_path).fit(world.artists, background)
    Fairbrush("one", {}, tmp_path).fit(world.artists[1:], background)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_answers_intervals_and_word_are_the_attributions(
    world: World, background: Background, tmp_path: Path
) -> None:
    images = queries(world, 12)
    told = Fairbrush("blend", {"value": Value.BLEND}, tmp_path).fit(world.artists, background).shares(images)
    silent = Fairbrush("silent", {"intervals": False}, tmp_path).fit(world.artists, background)
    paid = [one for one in told if one.paid]
    assert paid
    for one in told:
        assert (one.word == "unknown") == (not one.paid)
        for name, (low, high) in (one.intervals or {}).items():
            assert 0 <= low <= high <= 1
            assert name in one.paid
    known = [one for one in paid if "artist-0001" not in one.paid]  # that one has a single work
    assert known
    assert all(one.intervals is not None and one.intervals.keys() == one.paid.keys() for one in known)
    assert all(one.intervals is None for one in silent.shares(images))
