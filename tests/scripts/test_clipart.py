"""The renderer and the near-duplicate rule that the bundled data rest on."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
clipart = pytest.importorskip("clipart", reason="needs resvg-py, of the dev extra")

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}">{body}</svg>'


def test_a_small_drawing_on_a_large_page_is_trimmed_and_centred():
    body = '<rect x="700" y="40" width="20" height="10" fill="#f00"/>'
    image = np.asarray(clipart.render_drawing(SVG.format(w="300mm", h="1000", body=body), side=256))
    red = (image[..., 0] > 200) & (image[..., 1] < 60)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert np.abs(columns[[0, -1]] - [4, 251]).max() <= 4  # the ink fills the square up to its margin
    assert abs(len(rows) / len(columns) - 0.5) < 0.03
    assert abs(rows[0] - (255 - rows[-1])) <= 1


@pytest.mark.parametrize("body", ["", '<rect width="9" height="9" fill="#fff"/>'])
def test_a_drawing_with_nothing_to_see_is_refused(body):
    with pytest.raises(clipart.RenderError):
        clipart.render_drawing(SVG.format(w=99, h=99, body=body))


def shape(seed: int) -> Image.Image:
    rng = random.Random(seed)
    image = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        corners = [rng.randrange(64) for _ in range(6)]
        draw.polygon(corners, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def test_recoloured_and_slightly_changed_copies_are_near_duplicates():
    original = shape(1)
    recoloured = Image.fromarray((np.asarray(original) // 2 + 60).astype(np.uint8))
    touched = original.copy()
    touched.putpixel((3, 3), (0, 0, 0))
    assert clipart.distinct([original, shape(2), recoloured, touched, shape(3)]) == [0, 1, 4]


def test_turned_and_mirrored_and_newly_coloured_copies_are_found_when_asked_for():
    original = shape(1)
    turned = original.transpose(Image.Transpose.ROTATE_90)
    mirrored = original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    negative = Image.fromarray(255 - np.asarray(original))
    assert clipart.distinct([original, turned, shape(2)]) == [0, 1, 2]
    assert clipart.distinct([original, turned, mirrored, negative, shape(2)], turned=True) == [0, 4]


def test_names_that_differ_in_case_or_accents_are_one_slug():
    assert clipart.slug("Petri Lummemäki") == clipart.slug("petri  lummemaki") == "petri-lummemaki"


def test_a_recipe_colours_only_what_was_meant_to_be_coloured():
    icons = {
        "icons": {"a": {"body": '<path fill="currentColor" d="M2 2h12v12H2z"/>'}},
        "width": 16,
        "height": 16,
    }
    plain = clipart.render_icon(clipart.icon_svg(icons, "a", None, side=32), side=32)
    assert plain[16, 16].tolist() == [0, 0, 0]
    assert plain[0, 0].tolist() == [255, 255, 255]
    for seed in range(20):
        recipe = clipart.random_recipe(random.Random(seed))
        drawn = clipart.render_icon(clipart.icon_svg(icons, "a", recipe, side=32), side=32)
        assert (drawn[16, 16] != 0).any(), recipe
