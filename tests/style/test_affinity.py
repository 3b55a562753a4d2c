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
    offset,
    stranger_affinity,
    style_rows,
)
from fairbrush.style.space import StyleSpace, fit_style_space
from fairbrush.style.space_file import decode_space, encode_space
from fairbrush.style.strangers import Strangers


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


def some_strangers(count: int, dim: int, seed: int) -> Strangers:
    return Strangers(unit_rows(count, dim, seed).astype(np.float32), np.arange(count, dtype=np.int32) // 3)


def test_offset_is_the_quantile_or_the_mean_of_the_ten_nearest_strangers() -> None:
    panel, centroids = some_strangers(41, 5, 3), unit_rows(2, 5, 4).astype(np.float32)
    for count in (1, 2):
        nearest = [max(dot(c, stranger) for c in centroids[:count]) for stranger in panel.rows]
        assert offset(centroids[:count], panel) == pytest.approx(quantile_by_sorting(nearest, 0.95), abs=1e-7)
        ten = sum(sorted(nearest)[-10:]) / 10
        assert offset(centroids[:count], panel, rule=OffsetRule.CSLS) == pytest.approx(ten, abs=1e-7)


def row_of(centroid: np.ndarray, panel: Strangers) -> np.ndarray:
    return np.append(centroid, -offset(centroid[None], panel)).astype(np.float32)[None]


def test_a_stranger_meets_an_offset_that_other_folds_set() -> None:
    panel, [centroid] = some_strangers(60, 5, 8), unit_rows(1, 5, 9).astype(np.float32)
    similarities = [dot(centroid, stranger) for stranger in panel.rows]
    folds = [hand % 10 for hand in panel.hands.tolist()]
    expected = []
    for own, similarity in zip(folds, similarities, strict=True):
        others = [s for fold, s in zip(folds, similarities, strict=True) if fold != own]
        expected.append(similarity - quantile_by_sorting(others, 0.95))
    found = stranger_affinity(row_of(centroid, panel), panel, rule=OffsetRule.QUANTILE)
    assert found.tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("artists", [1, 2, 5])
def test_delta_is_a_conformal_quantile_of_the_best_artists_affinity(artists: int) -> None:
    panel, centroids = some_strangers(120, 5, 8), unit_rows(artists, 5, 9).astype(np.float32)
    rows = [row_of(centroid, panel) for centroid in centroids]
    each = [stranger_affinity(row, panel, rule=OffsetRule.QUANTILE) for row in rows]
    best = [max(z) for z in zip(*each, strict=True)]
    scale = PanelScale.of_artists(rows, panel, rule=OffsetRule.QUANTILE)
    assert scale.delta(0.05) == pytest.approx(quantile_by_sorting(best, 0.95 * 41 / 40), abs=1e-7)


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4], (0.4, 0.375)),  # of four hands, .95 and .75 become 1 and .9375
        ([-0.8, -0.7, -0.6, -0.5, 0.1], (0.1, 0.0)),
        ([-0.5] * 5, (-0.5, -0.5)),
    ],
)
def test_the_entry_is_below_the_threshold_and_not_below_nothing(
    z: list[float], expected: tuple[float, float]
) -> None:
    assert PanelScale(np.array(z), n_hands=4).thresholds(0.05) == pytest.approx(expected)


def test_too_few_hands_to_promise_a_level_give_their_maximum() -> None:
    assert PanelScale(np.array([0.0, 1.0, 7.0]), n_hands=18).delta(0.05) == 7.0


@given(st.permutations(range(5)))
def test_running_maximum_does_not_depend_on_who_joined_when(order: list[int]) -> None:
    panel, centroids = some_strangers(30, 4, 10), unit_rows(5, 4, 11).astype(np.float32)
    rows = [row_of(centroid, panel) for centroid in centroids]
    scale = PanelScale.of_nobody(panel)
    for artist in order:
        scale = scale.with_artist(stranger_affinity(rows[artist], panel, rule=OffsetRule.QUANTILE))
    whole = PanelScale.of_artists(rows, panel, rule=OffsetRule.QUANTILE)
    assert scale.max_z.tobytes() == whole.max_z.tobytes()


def test_nobody_has_a_threshold_of_zero() -> None:
    assert PanelScale.of_nobody(some_strangers(20, 4, 1)).delta(0.05) == 0.0


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
