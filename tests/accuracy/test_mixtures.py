"""Mixtures: what went in is what the true shares say."""

import numpy as np
import pytest
from PIL import Image

from fairbrush.accuracy.mixtures import SIDE, blended, mixed_vector, side_by_side, squared

RED, GREEN, BLUE = (Image.new("RGB", (SIDE, SIDE), name) for name in ("#ff0000", "#00ff00", "#0000ff"))


def part_of(image: Image.Image, colour: tuple[int, int, int]) -> float:
    return float((np.asarray(image) == colour).all(axis=2).mean())


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.7, 0.3)])
def test_areas_side_by_side_are_as_the_weights(weights: tuple[float, float]) -> None:
    mixed = side_by_side([RED, BLUE], weights)
    red, blue = part_of(mixed, (255, 0, 0)), part_of(mixed, (0, 0, 255))
    assert red / (red + blue) == pytest.approx(weights[0], abs=0.01)
    assert mixed.size == (SIDE, SIDE)


def test_three_works_fit_side_by_side() -> None:
    mixed = side_by_side([RED, GREEN, BLUE], (1 / 3, 1 / 3, 1 / 3))
    areas = [part_of(mixed, colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert areas == pytest.approx([1 / 9] * 3, abs=0.005)


def test_a_blend_is_the_weighted_mean_of_the_works() -> None:
    assert blended([RED, BLUE], (0.7, 0.3)).getpixel((9, 9)) == pytest.approx((178, 0, 76), abs=1)
    thirds = blended([RED, GREEN, BLUE], (1 / 3, 1 / 3, 1 / 3)).getpixel((9, 9))
    assert thirds == pytest.approx((85, 85, 85), abs=1)


def test_a_vector_is_mixed_from_directions_whatever_their_lengths() -> None:
    mixed = mixed_vector(np.array([[5, 0], [0, 0.1]], np.float32), (0.7, 0.3))
    assert mixed.dtype == np.float32
    assert mixed[1] / mixed[0] == pytest.approx(3 / 7)
    assert np.linalg.norm(mixed) == pytest.approx(1)


def test_a_wide_work_is_cut_to_its_middle_and_not_squeezed() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255
    assert np.asarray(squared(pixels)).min() > 180  # but for the edge
