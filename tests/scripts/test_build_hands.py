"""Which works are clean, and which were held out of training."""

import random
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
script = pytest.importorskip("build_hands", reason="needs resvg-py, of the dev extra")

from build_gallery import Roles  # noqa: E402 - scripts are no package
from clipart import Drawing  # noqa: E402


def shape(seed: int) -> Image.Image:
    rng = random.Random(seed)
    image = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        corners = [rng.randrange(64) for _ in range(6)]
        draw.polygon(corners, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def works(artist: str, seeds: range) -> list:
    return [
        (Drawing(f"{artist}/{seed}.svg", artist, f"No {seed}", (), "public domain", "0" * 64), shape(seed))
        for seed in seeds
    ]


def test_a_clean_work_repeats_no_work_of_the_panel_and_none_of_another_hand() -> None:
    roles = Roles(
        gallery={"Ann": works("Ann", range(0, 30))},
        panel={"Pat": works("Pat", range(30, 33))},
        development={"Bo": works("Bo", range(31, 51)), "Cy": works("Cy", range(25, 35))},
        training={"Di": works("Di", range(60, 99))},
    )
    found = script.clean_works(roles)
    by_hand = {hand: {work.title for work in found if work.hand == hand} for hand in ("Ann", "Bo", "Cy")}
    assert by_hand["Ann"] == {f"No {seed}" for seed in range(30)}
    assert by_hand["Bo"] == {f"No {seed}" for seed in range(33, 51)}
    assert by_hand["Cy"] == set(), "all of these are Ann's, Pat's or Bo's"
    assert len(found) == 48


def test_held_out_titles_are_those_that_never_train_and_name_one_work() -> None:
    hands = ["big"] * 96 + ["small"] * 20
    titles = [f"t{number}" for number in range(95)] + ["t0"] + [f"s{number}" for number in range(20)]
    out = script.held_out_rows(hands)
    assert (out[:96].sum(), out[96:].sum()) == (24, 0)
    found = script.held_out_titles({"hands": hands, "titles": titles})
    assert set(found) == {"big"}
    assert found["big"] == {titles[row] for row in range(1, 95) if out[row]}
