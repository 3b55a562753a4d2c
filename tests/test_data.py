"""The bundled gallery and panel are what their manifests say, and what the issue of fairness needs."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import fairbrush

DATA = Path(fairbrush.__file__).parent / "data"
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))


def works(part: str) -> list[dict]:
    return json.loads((DATA / part / "manifest.json").read_text(encoding="utf-8"))["works"]


@pytest.mark.parametrize("part", ["gallery", "panel"])
def test_every_file_is_named_with_its_digest_licence_and_source(part):
    listed = {work["file"]: work for work in works(part)}
    there = {file.relative_to(DATA / part).as_posix() for file in (DATA / part).rglob("*.webp")}
    assert there == set(listed)
    for name, work in listed.items():
        assert hashlib.sha256((DATA / part / name).read_bytes()).hexdigest() == work["sha256"]
        assert "publicdomain" in work["licence"].lower()
        assert work["source"].startswith("openclipart-svg")
        assert work["artist"]


@pytest.mark.parametrize("part", ["gallery", "panel"])
def test_every_work_is_a_256_px_image_that_fits_the_size_limit(part):
    for work in works(part):
        with Image.open(DATA / part / work["file"]) as image:
            assert (image.format, image.size) == ("WEBP", (256, 256))
    assert sum(work["bytes"] for work in works(part)) <= 12_000_000


def test_the_gallery_has_twelve_artists_with_24_works_split_in_two():
    by_artist: dict[str, dict[str, int]] = {}
    for work in works("gallery"):
        part, artist, _ = work["file"].split("/")
        assert artist == work["artist"]
        by_artist.setdefault(artist, {"references": 0, "queries": 0})[part] += 1
    assert len(by_artist) >= 12
    for counts in by_artist.values():
        assert sum(counts.values()) >= 24
        assert counts["references"] >= 12
        assert counts["queries"] >= 8


def test_the_panel_has_300_works_by_hands_that_are_not_in_the_gallery():
    assert len(works("panel")) >= 300
    assert not {work["artist"] for work in works("panel")} & {work["artist"] for work in works("gallery")}


def test_no_work_nearly_repeats_another_of_its_own_collection():
    pytest.importorskip("resvg_py", reason="scripts/clipart.py needs the dev extra")
    from clipart import distinct

    files = [DATA / part / work["file"] for part in ("gallery", "panel") for work in works(part)]
    images = [Image.open(file).convert("RGB") for file in files]
    assert distinct(images, turned=True) == list(range(len(images)))
