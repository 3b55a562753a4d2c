"""Affinity by its definition: plain loops and sorting as oracles."""

import doctest
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fairbrush.style.affinity
from fairbrush.errors import StyleSpaceError, VectorRefusedError
from fairbrush.style.affinity import (
    OffsetRule,
    PanelScale,
    fit_centroid,
    offset,
    panel_affinity,
    recognisability,
    style_rows,
)
from fairbrush.style.space import StyleSpace, fit_style_space
from fairbrush.style.space_file import decode_space, encode_space


def unit_rows(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def a_space(dim: int = 6) -> StyleSpace:
    return fit_style_space(unit_rows(24, dim, 5).astype(np.float32), [f"h{i // 4}" for i in range(24)])


def quantile_by_sorting(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def dot(one: np.ndarray, other: np.ndarray) -> float:
    return math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def test_centroid_is_the_unit_mean() -> None:
    works = unit_rows(7, 5, 1)
    mean = [math.fsum(work[axis] for work in works) / 7 for axis in range(5)]
    length = math.sqrt(math.fsum(m * m for m in mean))
    assert fit_centroid(works) == pytest.approx([m / length for m in mean], abs=1e-7)


def test_centroid_of_one_work_is_that_work() -> None:
    [work] = unit_rows(1, 5, 2)
    assert fit_centroid(work[None]) == pytest.approx(work, abs=1e-7)


def test_works_that_cancel_out_are_refused() -> None:
    with pytest.raises(VectorRefusedError, match="opposite"):
        fit_centroid(np.array([[1.0, 0.0], [-1.0, 0.0]]))


def test_offset_is_the_quantile_or_the_mean_of_the_ten_nearest_strangers() -> None:
    panel, [centroid] = unit_rows(41, 5, 3), unit_rows(1, 5, 4).astype(np.float32)
    similarities = [dot(centroid, stranger) for stranger in panel]
    assert offset(centroid, panel) == pytest.approx(quantile_by_sorting(similarities, 0.95), abs=1e-7)
    nearest = sorted(similarities)[-10:]
    assert offset(centroid, panel, rule=OffsetRule.CSLS) == pytest.approx(sum(nearest) / 10, abs=1e-7)


def test_recognisability_leaves_each_work_out_of_its_own_centroid() -> None:
    works = unit_rows(6, 4, 6) + 0.5
    works /= np.linalg.norm(works, axis=1, keepdims=True)
    affinities = []
    for left_out in range(6):
        others = np.delete(works, left_out, axis=0).sum(axis=0)
        affinities.append(dot(works[left_out], others / np.linalg.norm(others)) - 0.2)
    ordered = sorted(affinities)
    assert recognisability(works, 0.2) == pytest.approx((ordered[2] + ordered[3]) / 2, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_recognisability_is_unknown_under_five_works(count: int) -> None:
    assert recognisability(unit_rows(count, 4, 7), 0.1) is None


@pytest.mark.parametrize("artists", [1, 2, 5])
def test_delta_is_the_quantile_of_the_best_artists_affinity(artists: int) -> None:
    panel, centroids = unit_rows(60, 5, 8), unit_rows(artists, 5, 9).astype(np.float32)
    offsets = [offset(centroid, panel) for centroid in centroids]
    best = [max(dot(c, x) - h for c, h in zip(centroids, offsets, strict=True)) for x in panel]
    rows = np.column_stack([centroids, -np.float32(offsets)]).astype(np.float32)
    scale = PanelScale.of_artists(rows, panel)
    assert scale.delta(0.05) == pytest.approx(quantile_by_sorting(best, 0.95), abs=1e-7)


@given(st.permutations(range(5)))
def test_running_maximum_does_not_depend_on_who_joined_when(order: list[int]) -> None:
    panel, centroids = unit_rows(30, 4, 10), unit_rows(5, 4, 11).astype(np.float32)
    scale = PanelScale.of_nobody(len(panel))
    for artist in order:
        scale = scale.with_artist(panel_affinity(centroids[artist], 0.1, panel))
    rows = np.column_stack([centroids, np.full(5, -0.1)]).astype(np.float32)
    np.testing.assert_allclose(scale.max_z, PanelScale.of_artists(rows, panel).max_z, atol=1e-8)


def test_nobody_has_a_threshold_of_zero() -> None:
    assert PanelScale.of_nobody(20).delta(0.05) == 0.0


@given(st.integers(1, 9), st.integers(0, 8))
def test_a_work_has_the_same_numbers_in_every_batch(size: int, start: int) -> None:
    space = a_space(40)
    vectors = unit_rows(20, 40, 12).astype(np.float32)
    whole = style_rows(space, vectors)
    assert style_rows(space, vectors[start : start + size]).tobytes() == whole[start : start + size].tobytes()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(0.0, "all zeros"), (np.nan, "not finite"), (np.inf, "not finite")],
)
def test_vectors_without_a_direction_are_refused(spoil: float, said: str) -> None:
    vectors = unit_rows(3, 6, 13).astype(np.float32)
    vectors[1] = spoil
    with pytest.raises(VectorRefusedError, match=f"Vector 1 of 3 is {said}"):
        style_rows(a_space(), vectors)


def test_a_vector_at_the_centre_is_refused() -> None:
    space = StyleSpace(np.array([0.5, 0.25]), np.eye(2))
    with pytest.raises(VectorRefusedError, match="no direction"):
        style_rows(space, np.array([[0.5, 0.25]], np.float32))


def test_vectors_of_another_dim_are_refused_with_both_numbers() -> None:
    with pytest.raises(VectorRefusedError, match=r"\(2, 7\).*\(n, 6\)"):
        style_rows(a_space(), unit_rows(2, 7, 14).astype(np.float32))


def test_space_comes_back_bit_for_bit() -> None:
    space = a_space()
    content = encode_space(space)
    again = decode_space(content, space_id=space.space_id, source="here")
    assert (again.centre.tobytes(), again.whitening.tobytes()) == (
        space.centre.tobytes(),
        space.whitening.tobytes(),
    )
    assert encode_space(again) == content


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_bytes_that_are_no_space_are_refused(content: bytes) -> None:
    with pytest.raises(StyleSpaceError, match="no style space"):
        decode_space(content, space_id=a_space().space_id, source="here")


def test_another_space_than_the_one_named_is_refused() -> None:
    with pytest.raises(StyleSpaceError, match="holds style space"):
        decode_space(encode_space(a_space()), space_id="0" * 16, source="here")


def test_affinity_is_imported_without_numpy() -> None:
    code = "import sys, fairbrush.style.affinity; print('numpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(fairbrush.style.affinity).failed == 0
