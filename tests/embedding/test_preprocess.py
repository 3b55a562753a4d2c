"""The same numbers as open_clip's own inference transform, bit for bit."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fairbrush.embedding.preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from fairbrush.errors import EncoderError

SQUARE, WIDE, TALL = (16, 16), (12, 20), (20, 12)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def theirs(open_clip: ModuleType, pixels: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    return open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**config), is_train=False
    )(Image.fromarray(pixels)).numpy()


def their_longest_can(width: int, height: int, size: tuple[int, int]) -> bool:
    """open_clip itself fails where the shorter side would round to no pixel at all."""
    ratio = max(height / size[0], width / size[1])
    return min(round(width / ratio), round(height / ratio)) > 0


sides = st.integers(1, 64) | st.integers(1, 700)


@pytest.mark.parametrize("size", [SQUARE, WIDE, TALL, 17], ids=str)
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    width=sides,
    height=sides,
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill=st.integers(0, 255),
)
@example(width=1, height=1, interpolation="bicubic", fill=255)
@example(width=1, height=40, interpolation="bilinear", fill=7)
@example(width=40, height=1, interpolation="bilinear", fill=7)
@example(width=16, height=16, interpolation="bilinear", fill=0)
@example(width=33, height=47, interpolation="bilinear", fill=255)
@example(width=47, height=33, interpolation="bicubic", fill=128)
def test_pixels_are_those_of_open_clip_bit_for_bit(
    open_clip: ModuleType, size: Any, resize_mode: str, width: int, height: int, interpolation: str, fill: int
) -> None:
    config = {
        "size": size,
        "resize_mode": resize_mode,
        "interpolation": interpolation,
        "fill_color": fill,
        "mean": (0.5, 0.25, 0.125),
        "std": (0.3, 0.2, 0.7),
    }
    ours = Preprocess.from_open_clip(config)
    pixels = noise(width, height)
    if resize_mode == "longest" and not their_longest_can(width, height, (ours.height, ours.width)):
        assert ours(pixels).shape == (3, ours.height, ours.width)
        return
    np.testing.assert_array_equal(ours(pixels), theirs(open_clip, pixels, config))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"size": 32},
        {"size": [32, 24], "resize_mode": None, "interpolation": None, "mean": None},
        {"size": (32, 24), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    ],
    ids=str,
)
def test_what_a_configuration_leaves_out_is_open_clips_default(
    open_clip: ModuleType, config: dict[str, Any]
) -> None:
    filled = open_clip.transform.merge_preprocess_dict(open_clip.transform.PreprocessCfg(), config)
    pixels = noise(50, 40)
    np.testing.assert_array_equal(
        Preprocess.from_open_clip(config)(pixels), theirs(open_clip, pixels, filled)
    )


def test_one_number_stands_for_all_three_channels(open_clip: ModuleType) -> None:
    pixels = noise(20, 20)
    transform = open_clip.image_transform(16, is_train=False, mean=0.5, std=0.25)
    ours = Preprocess.from_open_clip({"size": 16, "mean": 0.5, "std": 0.25})
    np.testing.assert_array_equal(ours(pixels), transform(Image.fromarray(pixels)).numpy())


def test_a_white_image_becomes_one_minus_mean_over_std() -> None:
    values = Preprocess(4, 4)(np.full((9, 7, 3), 255, np.uint8))
    assert values.dtype == np.float32
    for channel, mean, std in zip(values, CLIP_MEAN, CLIP_STD, strict=True):
        np.testing.assert_allclose(channel, (1 - mean) / std, rtol=1e-6)


def test_longest_keeps_the_whole_image_and_fills_the_rest() -> None:
    whole = Preprocess(8, 8, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="longest", fill_color=255)
    values = whole(np.zeros((4, 8, 3), np.uint8))
    assert values[:, [0, 1, 6, 7]].min() == 1.0
    assert values[:, 2:6].max() == 0.0


def test_shortest_crops_the_middle() -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255
    plain = Preprocess(8, 8, mean=(0, 0, 0), std=(1, 1, 1))
    assert plain(pixels).min() == 1.0
    assert replace(plain, resize_mode="squash")(pixels).min() < 0.1


def test_an_image_a_thousand_times_longer_than_high_keeps_one_row() -> None:
    """open_clip rounds its height to 0 and fails; one pixel is what is left of it."""
    whole = Preprocess(8, 8, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="longest", fill_color=255)
    values = whole(np.zeros((1, 1000, 3), np.uint8))
    assert (values == 0).sum() == 3 * 8
    assert (values == 1).sum() == 3 * 56


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"interpolation": "lanczos"}, "lanczos"),
        ({"resize_mode": "crop"}, "crop"),
        ({"size": "big"}, "big"),
        ({"size": (1, 2, 3)}, "1, 2, 3"),
        ({"mean": (0.5, 0.5)}, "0.5, 0.5"),
    ],
    ids=str,
)
def test_an_unknown_preprocessing_is_refused_by_name(config: dict[str, Any], named: str) -> None:
    with pytest.raises(EncoderError, match=named):
        Preprocess.from_open_clip(config)
