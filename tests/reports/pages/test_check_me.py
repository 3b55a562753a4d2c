"""The page for an artist alone, in a real browser: found some, found none, copies, doubts, hostile names."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from browser import DESKTOP, PHONE, Seen, assert_sound, look, opened

from fairbrush.reports.pages.check_me import (
    MOST_COPIES,
    MOST_PICTURES,
    Copy,
    File,
    Finding,
    Made,
    Measure,
    OwnWorks,
    RefusedFile,
    SelfCheck,
    Standing,
    Yardstick,
    chance,
    check_me_page,
    pictured,
)
from fairbrush.reports.pages.pictures import as_data
from fairbrush.reports.pages.words import Words

HOSTILE = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(2)>.png',
    "a\u202egnp.exe",
    "\udcff.png",
]
WORKS = tuple(File(f"work {n}.png", f"{n:064x}") for n in range(8))


def finding(path: str, standing: Standing, p: float, n: int) -> Finding:
    adjusted = None if standing is Standing.OUTSIDE else p
    file = File(path, f"{100 + n:064x}", ("again.png",) if n == 0 else ())
    shas = tuple(work.sha256 for work in WORKS[:3])
    return Finding(file, standing, 0.2, 0.1, 0.3, p, p / 2, p * 2, None, adjusted, p < 0.02, shas)


MEASURE = Measure(Yardstick.FITS, 139, 371, 19182, 1 / 19183, 1, 0.4, 0.5, (), True, 0.05)
LISTED = tuple(finding(name, Standing.LISTED, 0.0004 * (n + 1), n) for n, name in enumerate(HOSTILE))
OTHERS = tuple(finding(f"other {n}.png", Standing.NOT_LISTED, 0.2 + 0.1 * n, 20 + n) for n in range(5))
FOUND = SelfCheck(
    name=None,
    error_level=0.05,
    findings=(*LISTED, *OTHERS, finding("photo.png", Standing.OUTSIDE, 0.5, 40)),
    copies=(Copy(File("copy.png", f"{99:064x}"), WORKS[0], "near copy", 0.97),),
    repeated=(Copy(WORKS[1], WORKS[0], "same picture, re-encoded", 0.99),),
    works=WORKS,
    refused=(RefusedFile("images", HOSTILE[0], "unsupported", "Convert it to PNG."),),
    overlap=("both.png",),
    own=OwnWorks(8, 1, 6, 5),
    measure=MEASURE,
    made=Made("0.1.0", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "mini#1", "onnx", True, "ab12", "cd" * 32),
)
NONE = replace(
    FOUND, findings=OTHERS, copies=(), repeated=(), refused=(), overlap=(), own=OwnWorks(8, 1, 2, 0)
)
OUTSIDE = replace(
    NONE,
    findings=tuple(replace(one, adjusted=None) for one in OTHERS),
    measure=replace(MEASURE, yardstick=Yardstick.WORKS_OUTSIDE),
)
WHOLE = replace(FOUND, measure=replace(MEASURE, yardstick=Yardstick.NEAR_AS_A_WHOLE))
TWICE = replace(FOUND, findings=(replace(LISTED[0], second_view="levels"), *OTHERS))
CASES = {
    "found": FOUND,
    "none": NONE,
    "outside": OUTSIDE,
    "whole": replace(
        WHOLE,
        name=HOSTILE[1],
        own=OwnWorks(1, 1, None, None),
        measure=replace(WHOLE.measure, hands=12, left_out_hands=(HOSTILE[2],)),
    ),
}


def page_of(check: SelfCheck, language: str = "en") -> str:
    rng = np.random.default_rng(0)
    works, images = pictured(check)
    drawn = {sha: as_data(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for sha in (*works, *images)}
    return check_me_page(check, drawn, words=Words.of(language))


@pytest.mark.parametrize(("case", "language"), [("found", "de"), ("whole", "en")])
def test_the_page_is_sound_and_hostile_names_do_nothing(
    browser, tmp_path: Path, screenshots, case: str, language: str
):
    file = tmp_path / f"check-me-{case}-{language}.html"
    file.write_text(page_of(CASES[case], language), encoding="utf-8")
    if case == "found":
        assert_sound(browser, file, keep=screenshots)
    else:
        assert look(browser, file, size=DESKTOP, scheme="light", keep=screenshots) == Seen()
    with opened(browser, file) as (shown, _):
        heads = shown.locator(".pair h3").all_inner_texts()
        assert heads[1:] == [
            f"1. {HOSTILE[0]}",
            f"2. {HOSTILE[1]}",
            "3. a\\u202egnp.exe",
            "4. \\udcff.png",
        ]
        assert shown.locator(".pair img").count() == 4 * 4 + 2


@pytest.mark.parametrize("case", ["none", "outside"])
def test_a_page_that_found_nothing_is_sound(browser, tmp_path: Path, screenshots, case: str):
    file = tmp_path / f"check-me-{case}.html"
    file.write_text(page_of(CASES[case]), encoding="utf-8")
    assert look(browser, file, size=PHONE, scheme="dark", keep=screenshots) == Seen()
    with opened(browser, file) as (shown, _):
        assert shown.locator(".pair").count() == 0
        lede = shown.locator(".lede").inner_text()
        columns = shown.locator("thead").first.inner_text()
    assert ("None of the 5 pictures lies nearer" in lede) is (case == "none")
    assert ("Nothing can be said" in lede) is (case == "outside")
    assert ("Chance comes as near" in columns) is (case == "none")


def test_a_long_list_has_pictures_of_the_strongest_only():
    many = tuple(finding(f"{n}.png", Standing.LISTED, 0.0001 * (n + 1), n) for n in range(MOST_PICTURES + 7))
    check = replace(FOUND, findings=many, copies=())
    assert len(pictured(check)[1]) == MOST_PICTURES
    page = page_of(check)
    assert page.count('class="asked"') == MOST_PICTURES
    assert "Also listed, without pictures" in page
    assert "66.png" in page


def test_many_copies_have_pictures_of_the_most_alike_only():
    copies = tuple(
        Copy(File(f"copy {n}.png", f"{500 + n:064x}"), WORKS[0], "near copy", 0.97)
        for n in range(MOST_COPIES + 3)
    )
    page = page_of(replace(NONE, copies=copies))
    assert page.count('class="asked"') == MOST_COPIES
    assert "More that look like copies, without pictures" in page
    assert f"copy {MOST_COPIES + 2}.png" in page


def test_a_picture_that_could_not_be_judged_has_no_number():
    page = page_of(replace(FOUND, findings=FOUND.findings[-1:], copies=()))
    assert "A number for them would mean nothing" in page
    assert "0.200" not in page


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (FOUND, "4 of 9 pictures lie nearer to your works than chance explains."),
        (FOUND, "One picture looks like a copy of a work of yours."),
        (FOUND, "Of all pictures in this list, at most about 5% are expected to be there by chance."),
        (FOUND, "Asked about alone, 6 of them would be found. Among the 9 pictures here, 5 would be."),
        (FOUND, "One file lies in both folders"),
        (NONE, "of 8 works only 2 would be found"),
        (replace(NONE, findings=OTHERS[:1]), "The picture does not lie nearer to your works"),
        (replace(NONE, findings=(), copies=FOUND.copies), "One picture looks like a copy"),
        (replace(NONE, own=OwnWorks(3, 1, 2, 1)), "Only 3 works count here. Five or more are needed"),
        (replace(NONE, measure=replace(MEASURE, fewest=3)), "at least 3 must be as near as can be told"),
        (replace(FOUND, error_level=0.025), "at most about 2.5%"),
        (FOUND, "One file of your works shows the same picture as another of them"),
        (FOUND, "“less than” means that none is. They are pairs of the same few people"),
        (NONE, "one picture in twenty by strangers gets a yes"),
        (replace(NONE, measure=replace(MEASURE, hands=30)), "works by 30 people only. With fewer than 49"),
        (replace(WHOLE, findings=LISTED[:1]), "Of a single picture it cannot be told why it is near"),
        (replace(NONE, findings=LISTED[:1]), "The picture lies nearer to your works than chance explains."),
        (TWICE, "One picture has no colours, or no white, as scanned drawings have."),
        (CASES["whole"], "Either most of them really draw on your works"),
    ],
)
def test_the_page_says(check: SelfCheck, sentence: str):
    assert sentence in " ".join(page_of(check).split())


def test_a_list_that_is_not_there_is_not_doubted():
    near = replace(NONE, measure=WHOLE.measure)
    assert "Taken as a whole" not in page_of(near)
    assert "Taken as a whole" in page_of(WHOLE)


def test_the_way_to_a_real_encoder_is_told_to_whoever_uses_the_small_one():
    hint = "is a small stand-in"
    assert hint in page_of(FOUND)
    assert hint not in page_of(replace(FOUND, made=replace(FOUND.made, is_mini=False)))


def test_chances_are_counted_as_people_count():
    english = Words.of("en")
    told = [chance(p, 1 / 19183, english) for p in (1 / 19183, 0.00012, 0.0499, 0.1, 1.0)]
    assert told == ["less than 1 in 19,000", "1 in 8,300", "1 in 20", "10 in 100", "100 in 100"]
