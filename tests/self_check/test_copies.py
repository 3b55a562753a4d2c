"""Copies: a work given several times has one first, and the crops of many works are not kept at once."""

import gc
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running import GALLERY

from fairbrush.corpus.images import ImageLimits
from fairbrush.corpus.likeness import Likeness, Picture
from fairbrush.corpus.reader import ImageReader
from fairbrush.self_check import copies
from fairbrush.self_check.copies import KnownWorks, find_copies, find_repeated


def draw(folder: Path, pictures: dict[str, Image.Image]) -> dict[str, Path]:
    """By SHA-256."""
    folder.mkdir()
    for name, picture in pictures.items():
        picture.save(folder / name)
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.iterdir()}


def work(number: int) -> Image.Image:
    file = sorted((GALLERY / "Danny Allen").iterdir())[number]
    return Image.open(file).convert("RGB").resize((128, 128))


def test_works_that_show_one_picture_have_one_first(tmp_path: Path):
    turned = work(1).transpose(Image.Transpose.ROTATE_90)
    given = {"a.png": work(0), "b.png": work(1), "c.bmp": work(0), "d.png": turned}
    works = draw(tmp_path / "works", given)
    images = draw(tmp_path / "images", {"x.png": work(1), "y.bmp": work(1), "z.png": work(2)})
    with ImageReader(ImageLimits()) as reader:
        known = KnownWorks.of(works, reader)
        repeated, copied = find_repeated(known), find_copies(known, images, reader).copies
    assert {works[a].name: works[one.work].name for a, one in repeated.items()} == {
        "c.bmp": "a.png",
        "d.png": "b.png",
    }
    found = {images[a].name: (works[one.work].name, one.likeness) for a, one in copied.items()}
    assert found == {"x.png": ("b.png", Likeness.SAME_FILE), "y.bmp": ("b.png", Likeness.SAME_PICTURE)}


def test_crops_of_many_works_are_not_kept_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "MOST_LAID_OUT", 3)
    base = np.asarray(work(0))
    rng = np.random.default_rng(1)
    alike = {}
    for number in range(12):
        pixels = base.copy()
        pixels[rng.random(base.shape[:2]) < 0.3] = 0
        alike[f"{number}.png"] = Image.fromarray(pixels)
    works, images = draw(tmp_path / "works", alike), draw(tmp_path / "images", {"x.png": work(0)})
    with ImageReader(ImageLimits()) as reader:
        known = KnownWorks.of(works, reader)
        find_repeated(known)
        find_copies(known, images, reader)
    kept = [one for one in gc.get_objects() if isinstance(one, Picture) and "cropped" in vars(one)]
    assert 0 < len(kept) <= 3
