"""The whole check on the bundled gallery, in this process: what is found, and where nothing is said."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from panels import Panels
from PIL import Image, ImageFilter, ImageOps
from running import GALLERY

from fairbrush.config import Settings
from fairbrush.embedding.facets import GREY
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import NoInputError, StyleSpaceError
from fairbrush.reports.pages.check_me import SelfCheck, Standing, Yardstick, check_me_document, check_me_page
from fairbrush.reports.pages.words import Words
from fairbrush.self_check import check as check_module
from fairbrush.self_check.check import Request, check_folders
from fairbrush.self_check.folders import embed_folder
from fairbrush.self_check.judging import Yard
from fairbrush.self_check.second_look import second_looks
from fairbrush.style.panel import BUNDLED_PANEL, bundled_panel

QUERIES = GALLERY.parent / "queries"
ARTIST, STRANGERS = "Yutaka Kachi", ("Danny Allen", "Jon Phillips")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Ten works by one hand; six later ones and five by each of two others."""
    works, images = tmp_path / "works", tmp_path / "images"
    works.mkdir()
    images.mkdir()
    for file in sorted((GALLERY / ARTIST).iterdir())[:10]:
        copy(file, works)
    for hand, count in ((ARTIST, 6), *((name, 5) for name in STRANGERS)):
        for number, file in enumerate(sorted((QUERIES / hand).iterdir())[:count]):
            copy(file, images / f"{hand}-{number}.webp")
    return works, images


def check(
    folders: tuple[Path, Path], kept: Path, *, limits: Mapping[str, int] | None = None, **changes: object
) -> SelfCheck:
    settings = Settings(cache=kept, workers=1, **limits or {})
    request = Request(*folders, bundled_panel(), is_bundled=True, **changes)  # type: ignore[arg-type]
    with EmbeddingSession.open(settings) as session:
        found, pictures = check_folders(request, session, settings, now=datetime(2026, 1, 2, tzinfo=UTC))
    assert all(address.startswith("data:image/webp;base64,") for address in pictures.values())
    return found


def test_works_left_out_are_found_and_strangers_are_not(folders, kept: Path):
    found = check(folders, kept)
    assert sorted(one.file.path for one in found.listed) == [f"{ARTIST}-{n}.webp" for n in range(6)]
    assert all(one.credited and one.affinity_low > found.measure.threshold for one in found.listed)
    assert (found.measure.hands, found.measure.works, found.measure.pairs) == (139, 371, 139 * 138)
    assert (found.own.count, found.own.found_alone, found.own.found_here) == (10, 10, 10)
    works = {file.sha256 for file in found.works}
    for one in found.findings:
        assert len(set(one.nearest) & works) == 3
        assert one.affinity_low < one.affinity < one.affinity_high
        assert one.p_low <= one.p <= one.p_high
    assert [one.p for one in found.findings] == sorted(one.p for one in found.findings)


def in_place(folder: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    """Every image made over, as PNG."""
    for file in sorted(folder.iterdir()):
        change(Image.open(file).convert("RGB")).save(file.with_suffix(".png"))
        file.unlink()


def as_grey(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def on_paper(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * [1, 0.95, 0.86]).round().astype(np.uint8))


@pytest.mark.parametrize(("change", "view"), [(as_grey, "grey-levels"), (on_paper, "levels")])
def test_what_works_and_images_lack_alike_is_no_style(
    folders, kept: Path, monkeypatch: pytest.MonkeyPatch, change: Callable, view: str
):
    for folder in folders:
        in_place(folder, change)

    def near_strangers(found: SelfCheck) -> int:
        return sum(one.p <= 0.05 and not one.file.path.startswith(ARTIST) for one in found.findings)

    found = check(folders, kept)
    assert view in {one.second_view for one in found.listed}
    assert sum(one.file.path.startswith(ARTIST) for one in found.listed) >= 4
    monkeypatch.setattr(check_module, "second_looks", lambda *_, **__: [])
    doubtless = check(folders, kept)
    assert near_strangers(found) <= 2
    assert near_strangers(found) < near_strangers(doubtless)
    once = {one.file.path: one for one in doubtless.findings}
    assert all(once[one.file.path].p <= one.p for one in found.findings)
    assert all(once[one.file.path].affinity == one.affinity for one in found.findings)


def test_a_work_that_cannot_be_looked_at_again_is_refused_with_what_keeps_it(folders, tmp_path: Path):
    works, images = folders
    in_place(works, as_grey)
    with EmbeddingSession.open(Settings(cache=tmp_path / "kept", workers=1)) as session:
        own, asked = (
            embed_folder(session, sorted(folder.iterdir()), folder=folder, kind="", on_outcome=lambda _: None)
            for folder in (works, images)
        )

    def look(**limits: int) -> None:
        with EmbeddingSession.open(Settings(cache=tmp_path / "kept", workers=1, **limits)) as session:
            again = dict.fromkeys(own.paths, GREY)
            second_looks(session, bundled_panel(), own, asked, again=again, asked_again={})

    with pytest.raises(NoInputError, match=r"works/.*png cannot be looked at a second time: .*1,000"):
        look(max_pixels=1_000)
    first, second = list(own.paths.values())[:2]
    copy(second, first)
    with pytest.raises(NoInputError, match=rf"{first.name} changed while it was looked at"):
        look()
    first.unlink()
    with pytest.raises(NoInputError, match=rf"{first.name} cannot be looked at a second time: "):
        look()


def test_what_cannot_be_read_again_is_not_judged(folders, kept: Path):
    works, images = folders
    copy(next(works.iterdir()), images / "copy.webp")
    for folder in folders:
        for file in sorted(folder.glob("[!c]*"))[:2]:
            Image.open(file).convert("RGB").resize((1_200, 1_000)).save(folder / f"large {file.stem}.png")
            file.unlink()
    copy(next(works.glob("large*")), images / "copy of large.png")
    check(folders, kept)
    found = check(folders, kept, limits={"max_pixels": 1_100_000})
    assert len(found.refused) == 4
    assert {one.file.path for one in found.copies} == {"copy.webp", "copy of large.png"}
    check_me_page(found, {}, words=Words.of("en"))
    assert {(one.folder, one.reason) for one in found.refused} == {
        ("works", "too many pixels"),
        ("images", "too many pixels"),
    }
    large = {one.path for one in found.refused}
    assert not large & {one.file.path for one in found.findings}
    assert found.own.count == len(found.works) - 2 == 8


def test_the_same_files_give_the_same_answer_and_digest(folders, kept: Path):
    first, second = check(folders, kept), check(folders, kept)
    assert first == second
    (folders[1] / f"{ARTIST}-0.webp").unlink()
    assert check(folders, kept).made.inputs_digest != first.made.inputs_digest


def test_copies_stand_apart_and_are_not_tested(folders, kept: Path):
    works, images = folders
    first, second = sorted(works.iterdir())[:2]
    copy(first, images / "again.webp")
    ImageOps.mirror(Image.open(second).convert("RGB")).save(images / "mirror.jpg", quality=85)
    found = check(folders, kept)
    assert [(one.file.path, one.work.path, one.likeness) for one in found.copies] == [
        ("again.webp", first.name, "same file"),
        ("mirror.jpg", second.name, "near copy"),
    ]
    assert not {"again.webp", "mirror.jpg"} & {one.file.path for one in found.findings}
    assert found.images == 18


def test_works_given_twice_count_once(folders, kept: Path):
    works, _ = folders
    once = check(folders, kept)
    first, second = sorted(works.iterdir())[:2]
    Image.open(first).convert("RGB").save(works / "zz.png")
    ImageOps.mirror(Image.open(second).convert("RGB")).save(works / "zy.jpg", quality=85)
    found = check(folders, kept)
    assert [(one.file.path, one.work.path) for one in found.repeated] == [
        ("zz.png", first.name),
        ("zy.jpg", second.name),
    ]
    assert len(found.works) == 12
    assert (found.own, found.findings) == (once.own, once.findings)


def test_images_that_are_the_works_are_all_copies(folders, kept: Path):
    works, images = folders
    for file in images.iterdir():
        file.unlink()
    for number, file in enumerate(sorted(works.iterdir())):
        copy(file, images / f"{number}.webp")
    found = check(folders, kept)
    assert (len(found.copies), found.findings, found.tested) == (10, (), 0)


def test_a_panel_of_the_artists_own_works_is_no_comparison(panels: Panels):
    with pytest.raises(StyleSpaceError, match="0 hands are left"):
        Yard.of(panels.seen[""], panels.seen[""].sha256s, is_bundled=False)


def strange(image: Image.Image) -> Image.Image:
    """Soft, with a coarse texture: like nothing in the panel."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    texture = Image.fromarray(noise).resize(image.size, Image.Resampling.BICUBIC)
    return Image.blend(image.filter(ImageFilter.GaussianBlur(3)), texture, 0.4)


def make_strange(folder: Path) -> None:
    in_place(folder, strange)


def test_of_works_that_are_like_nothing_in_the_panel_nothing_is_claimed(folders, kept: Path):
    for folder in folders:
        make_strange(folder)
    found = check(folders, kept)
    assert found.measure.yardstick is Yardstick.WORKS_OUTSIDE
    assert found.listed == []
    assert {one.adjusted for one in found.findings} == {None}


def test_an_image_that_is_like_nothing_in_the_panel_is_not_judged(folders, kept: Path):
    make_strange(folders[1])
    found = check(folders, kept)
    assert found.measure.yardstick is Yardstick.FITS
    assert {one.standing for one in found.findings} == {Standing.OUTSIDE}
    assert found.measure.median_p is None


def test_a_folder_of_the_artists_own_works_is_near_as_a_whole(folders, kept: Path):
    for stranger in folders[1].glob("[DJ]*"):
        stranger.unlink()
    found = check(folders, kept)
    assert found.measure.yardstick is Yardstick.NEAR_AS_A_WHOLE
    assert len(found.listed) == 6


def test_hands_who_have_works_of_the_artists_are_left_out_of_the_comparison(folders, kept: Path):
    copy(BUNDLED_PANEL / "aaron-johnson-1.webp", folders[0])
    found = check(folders, kept)
    assert found.measure.hands == 138
    assert len(found.measure.left_out_hands) == 1


@pytest.mark.parametrize("works", [1, 2])
def test_few_works_are_said_to_be_few(folders, kept: Path, works: int):
    for file in sorted(folders[0].iterdir())[works:]:
        file.unlink()
    found = check(folders, kept)
    assert found.own.are_few
    assert found.own.found_alone is None or works == 2
    if works == 1:
        assert all(one.affinity_low == one.affinity_high for one in found.findings)


def test_a_file_in_both_folders_counts_for_the_inner_one(folders, kept: Path):
    works, images = folders
    inner = works / "found"
    images.rename(inner)
    found = check((works, inner), kept)
    assert len(found.overlap) == 16
    assert (found.own.count, found.images) == (10, 16)
    outer = check((inner, works), kept)
    assert (outer.own.count, outer.images) == (16, 10)


def test_hostile_folders_are_read_once_or_refused(folders, kept: Path):
    _, images = folders
    (images / "loop").symlink_to(".")
    (images / "self.png").symlink_to("self.png")
    (images / "gone.png").symlink_to("nowhere.png")
    (images / "folder.png").mkdir()
    (images / "empty.png").touch()
    os.mkfifo(images / "pipe.png")
    (images / f"{ARTIST}-0.webp").rename(images / ".hidden.webp")
    found = check(folders, kept)
    assert {one.path for one in found.refused} == {"self.png", "gone.png", "empty.png", "pipe.png"}
    assert found.images == 15


def test_one_content_under_two_names_is_one_image(folders, kept: Path):
    copy(folders[1] / f"{ARTIST}-0.webp", folders[1] / "zz.webp")
    found = check(folders, kept)
    assert found.images == 16
    [twice] = [one.file for one in found.findings if one.file.also_at]
    assert (twice.path, twice.also_at) == (f"{ARTIST}-0.webp", ("zz.webp",))


def test_one_folder_given_twice_is_refused(folders, kept: Path):
    with pytest.raises(NoInputError, match="the same folder"):
        check((folders[0], folders[0] / ".." / folders[0].name), kept)


def test_a_folder_with_nothing_but_the_other_one_says_so(folders, kept: Path):
    works, _ = folders
    outer = works.parent / "outer"
    outer.mkdir()
    works.rename(outer / "works")
    for asked in ((outer, outer / "works"), (outer / "works", outer)):
        with pytest.raises(NoInputError, match=r"All images in .*outer lie in .*works"):
            check(asked, kept)


def test_the_document_has_every_image_and_what_it_was_measured_with(folders, kept: Path):
    document = check_me_document(check(folders, kept, name="Ann"))
    assert document["schema"] == "fairbrush.check-me/1"
    assert document["counts"] == {
        "images": 16,
        "tested": 16,
        "listed": 6,
        "copies": 0,
        "not_judged": 0,
        "refused": 0,
        "works": 10,
    }
    assert (document["name"], document["made"]["at"]) == ("Ann", "2026-01-02T00:00:00+00:00")
    assert {"path", "sha256", "p", "affinity", "standing", "nearest"} <= document["images"][0].keys()
