"""Centroids by their definition: plain loops as oracles."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fairbrush.style.centroids
from fairbrush.errors import VectorRefusedError
from fairbrush.style.affinity import offset
from fairbrush.style.centroids import fit_centroids, fit_style, periods
from fairbrush.style.strangers import Strangers


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def unit_rows(count: int, dim: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def strangers(dim: int) -> Strangers:
    return Strangers(unit_rows(90, dim, 99).astype(np.float32), np.arange(90, dtype=np.int32) // 3)


def around(directions: np.ndarray, works: int, *, spread: float, seed: int) -> np.ndarray:
    """Works that spread around each direction in turn."""
    noise = np.random.default_rng(seed).normal(size=(works, directions.shape[1])) * spread
    return unit(directions[np.arange(works) % len(directions)] + noise)


def test_one_centroid_is_the_unit_mean() -> None:
    works = unit_rows(7, 5, 1)
    assert fit_centroids(works)[0] == pytest.approx(unit(works.mean(axis=0)), abs=1e-7)


def test_centroid_of_one_work_is_that_work() -> None:
    works = unit_rows(1, 5, 2)
    assert fit_centroids(works)[0] == pytest.approx(works[0], abs=1e-7)


def test_works_that_cancel_out_are_refused() -> None:
    with pytest.raises(VectorRefusedError, match="opposite"):
        fit_centroids(np.array([[1.0, 0.0], [-1.0, 0.0]]))


def test_three_centroids_lie_half_way_between_the_mean_and_each_period() -> None:
    directions = np.eye(3, 30)
    works = around(directions, 30, spread=0.02, seed=3)
    mean = unit(works.mean(axis=0))
    expected = [unit(mean + unit(works[period::3].mean(axis=0))) for period in range(3)]
    found = fit_centroids(works, 3)
    for centroid in expected:
        assert np.abs(found - centroid).max(axis=1).min() < 1e-6


def test_every_work_finds_the_period_it_went_into() -> None:
    works = around(unit_rows(3, 20, 4), 24, spread=0.05, seed=5)
    sides = periods(works, fit_centroids(works, 3))
    assert sorted(np.bincount(sides).tolist()) == [8, 8, 8]
    assert all(len(set(sides[period::3].tolist())) == 1 for period in range(3))


def test_an_artist_of_one_period_keeps_one_centroid_and_one_of_three_has_several() -> None:
    dim = 40
    plain = around(unit_rows(1, dim, 6), 30, spread=0.1, seed=7)
    varied = around(unit_rows(3, dim, 8), 30, spread=0.1, seed=9)
    assert len(fit_style(plain, strangers(dim)).centroids) == 1
    assert len(fit_style(varied, strangers(dim)).centroids) in (3, 6)


@pytest.mark.parametrize(("works", "most"), [(1, 1), (8, 1), (17, 3), (18, 6)])
def test_a_centroid_needs_three_works(works: int, most: int) -> None:
    varied = around(unit_rows(6, 40, 10), works, spread=0.02, seed=11)
    assert len(fit_style(varied, strangers(40)).centroids) <= most


def test_offset_is_that_of_the_nearest_centroid() -> None:
    style = fit_style(around(unit_rows(3, 40, 8), 30, spread=0.1, seed=9), strangers(40))
    assert style.h == offset(style.centroids, strangers(40))


def test_recognisability_of_one_centroid_leaves_each_work_out() -> None:
    works = around(unit_rows(1, 12, 12), 7, spread=0.2, seed=13)
    style = fit_style(works, strangers(12))
    affinities = [
        work @ unit(np.delete(works, i, axis=0).sum(axis=0)) - style.h for i, work in enumerate(works)
    ]
    assert style.recognisability == pytest.approx(float(np.median(affinities)), abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_recognisability_is_unknown_under_five_works(count: int) -> None:
    assert fit_style(unit_rows(count, 8, 7), strangers(8)).recognisability is None


@given(st.integers(0, 50))
def test_the_same_works_give_the_same_bits(seed: int) -> None:
    works = unit_rows(20, 10, seed) + 0.5
    works = unit(works)
    one, again = fit_style(works, strangers(10)), fit_style(works.copy(), strangers(10))
    assert one.centroids.tobytes() == again.centroids.tobytes()
    assert (one.h, one.recognisability) == (again.h, again.recognisability)


def test_documented_examples() -> None:
    assert doctest.testmod(fairbrush.style.centroids).failed == 0
