"""Colour, edge and texture histograms: images whose answer can be written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.embedding.statistics import COLOUR_LEVELS, STATISTICS, colour, edges, texture

SIDE = 128
PARTS = sorted(STATISTICS)
images = st.builds(
    lambda seed, height, width, levels: (
        np.random.default_rng(seed).integers(0, levels, (height, width, 3)) * (255 // (levels - 1))
    ).astype(np.uint8),
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([2, 4, 256]),
)
square_images = st.builds(
    lambda seed, levels: np.random.default_rng(seed).integers(0, levels, (SIDE, SIDE, 3)).astype(np.uint8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 8, 256]),
)


def flat(*rgb: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), rgb, np.uint8)


def grey_from(rows: np.ndarray) -> np.ndarray:
    return np.repeat(np.broadcast_to(rows, (SIDE, SIDE))[..., None], 3, axis=2).astype(np.uint8)


def stripes(period: int = 2, dark: int = 0, bright: int = 200) -> np.ndarray:
    """Vertical stripes: columns in turn ``dark`` and ``bright``, each half a period wide."""
    return grey_from(np.where(np.arange(SIDE) % period < period // 2, dark, bright)[None, :])


def blocks(vector: np.ndarray, name: str) -> list[np.ndarray]:
    return [vector[:56], vector[56:]] if name == "edges" else [vector]


# What every part promises


@pytest.mark.parametrize("name", PARTS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(pixels=images)
def test_the_squares_of_each_histogram_sum_to_one(name: str, pixels: np.ndarray) -> None:
    vector = STATISTICS[name].measure(pixels)
    assert vector.dtype == np.float32
    assert vector.shape == (STATISTICS[name].dim,)
    assert vector.min() >= 0
    for block in blocks(vector, name):
        assert np.square(block.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", PARTS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(pixels=square_images, times=st.sampled_from([2, 3, 4]))
def test_an_image_drawn_larger_has_the_same_statistics(name: str, pixels: np.ndarray, times: int) -> None:
    """To the bit: both working sizes divide 128."""
    larger = pixels.repeat(times, axis=0).repeat(times, axis=1)
    np.testing.assert_array_equal(STATISTICS[name].measure(larger), STATISTICS[name].measure(pixels))


@pytest.mark.parametrize("name", PARTS)
def test_a_photo_at_half_its_size_is_nearly_the_same(name: str) -> None:
    """Smooth shapes: what shrinking loses is little, whatever the ratio."""
    y, x = np.mgrid[0:600, 0:400] / 400
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * x * y), np.sin(11 * y)]
    large = (127.5 + 127 * np.stack(waves, axis=2)).astype(np.uint8)
    small = large[::2, ::2]
    measured = STATISTICS[name].measure
    cosine = (
        measured(large) @ measured(small) / np.linalg.norm(measured(large)) / np.linalg.norm(measured(small))
    )
    assert cosine > 0.98


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (2, 3)], ids=str)
def test_one_flat_colour_of_any_shape_measures_alike(name: str, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (10, 200, 90), np.uint8)
    np.testing.assert_array_equal(
        STATISTICS[name].measure(pixels), STATISTICS[name].measure(flat(10, 200, 90))
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(pixels=square_images, quarter_turns=st.integers(0, 3), is_mirrored=st.booleans())
def test_colour_and_texture_do_not_see_turns_or_mirrors(
    pixels: np.ndarray, quarter_turns: int, is_mirrored: bool
) -> None:
    moved = np.rot90(pixels[:, ::-1] if is_mirrored else pixels, quarter_turns)
    np.testing.assert_array_equal(colour(moved), colour(pixels))
    np.testing.assert_array_equal(texture(moved), texture(pixels))


# Colour


def test_a_flat_colour_is_one_full_cell() -> None:
    vector = colour(flat(255, 0, 128))
    cell = 4 * COLOUR_LEVELS**2 + 0 * COLOUR_LEVELS + 2
    assert vector[cell] == 1
    assert vector.sum() == 1


def test_colour_levels_change_at_fifths_of_256() -> None:
    levels = [
        int(np.flatnonzero(colour(flat(0, 0, blue)))[0]) for blue in (0, 51, 52, 102, 103, 153, 154, 204, 205)
    ]
    assert levels == [0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_two_halves_fill_two_cells_equally() -> None:
    pixels = flat(0, 0, 0)
    pixels[:, SIDE // 2 :] = 255
    vector = colour(pixels)
    assert vector[0] == vector[124] == np.float32(np.sqrt(0.5))
    assert np.count_nonzero(vector) == 2


def test_disjoint_palettes_share_nothing() -> None:
    assert colour(flat(255, 0, 0)) @ colour(flat(0, 0, 255)) == 0


# Edges


def test_a_flat_image_has_no_edges_and_no_direction() -> None:
    vector = edges(flat(90, 90, 90))
    assert vector[0] == vector[56] == 1
    assert vector.sum() == 2


def test_vertical_stripes_point_across_and_horizontal_ones_down() -> None:
    """One in two neighbours differs by 200 levels (step 6); the last column has no neighbour."""
    upright = edges(stripes(period=4))[:56] ** 2
    lying = edges(np.rot90(stripes(period=4)))[:56] ** 2
    strong = 63 / SIDE
    assert upright[6 * 8 + 0] == pytest.approx(strong)
    assert lying[6 * 8 + 4] == pytest.approx(strong)
    assert upright[0] == lying[0] == pytest.approx(1 - strong)


@pytest.mark.parametrize(
    ("change", "step"),
    [(0, 0), (1, 1), (2, 1), (3, 2), (8, 3), (19, 3), (20, 4), (50, 5), (100, 6), (255, 6)],
)
def test_the_strength_of_an_edge_chooses_its_step(change: int, step: int) -> None:
    strengths = np.square(edges(stripes(dark=0, bright=change))[:56]).reshape(7, 8).sum(axis=1)
    assert strengths[step] > 0.98


def test_a_dark_to_bright_edge_points_as_a_bright_to_dark_one() -> None:
    left_dark = grey_from(np.where(np.arange(SIDE) < 64, 0, 200)[None, :])
    np.testing.assert_array_equal(edges(left_dark), edges(255 - left_dark))


def test_a_mirrored_slope_has_the_mirrored_direction() -> None:
    """A ramp along one diagonal lies in direction 1 or 2 of 8, its mirror in 6 or 5."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    ramp = grey_from(x + y // 2)
    directions = np.square(edges(ramp)[:56]).reshape(7, 8)[1:].sum(axis=0)
    mirrored = np.square(edges(ramp[:, ::-1])[:56]).reshape(7, 8)[1:].sum(axis=0)
    assert directions[[5, 6, 7]].sum() == pytest.approx(0, abs=0.02)
    assert mirrored[[1, 2, 3]].sum() == pytest.approx(0, abs=0.02)


# Texture


def test_a_flat_image_has_only_the_empty_pattern() -> None:
    vector = texture(flat(90, 90, 90))
    assert vector[0] == 1
    assert vector.sum() == 1


def test_a_checkerboard_has_two_patterns() -> None:
    """A dark cell sees its 4 side neighbours brighter: 4 runs. A bright cell sees none."""
    board = grey_from(np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 200)
    inner = texture(board) ** 2
    assert inner[4 * 9 + 4] == pytest.approx(0.5, abs=0.02)
    assert inner[0] == pytest.approx(0.5, abs=0.02)


def test_stripes_of_one_pixel_see_three_neighbours_on_each_side() -> None:
    """A dark column: 2 runs of 3 brighter neighbours; at the picture's edge one run."""
    squares = texture(stripes()) ** 2
    assert squares[2 * 9 + 6] == pytest.approx(63 / SIDE)
    assert squares[1 * 9 + 3] == pytest.approx(1 / SIDE)
    assert squares[0] == pytest.approx(0.5)


def test_a_neighbour_brighter_by_two_levels_is_noise_and_by_three_a_pattern() -> None:
    np.testing.assert_array_equal(texture(stripes(dark=100, bright=102)), texture(flat(100, 100, 100)))
    np.testing.assert_array_equal(texture(stripes(dark=100, bright=103)), texture(stripes()))
