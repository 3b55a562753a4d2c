"""The page about one answer in a real browser, and the command that makes it."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest
from browser import PHONE, Browser, Page, Seen, assert_sound, judge, opened
from story import HOSTILE, Story
from workspaces import answer, command, pending

from fairbrush.corpus.changes import open_registry
from fairbrush.reports.pages.image.facts import ImageReport, Unexplained
from fairbrush.reports.pages.image.page import image_page
from fairbrush.reports.pages.image.reading import read_report
from fairbrush.reports.pages.words import Words

NOW = datetime(2026, 11, 23, 12)
SHOWN = HOSTILE.replace("\u202e", "\\u202e")
Make = Callable[..., Path]


@pytest.fixture
def make(story: Story, tmp_path: Path) -> Make:
    """The page about one of the story's answers, as the command writes it."""

    def page(short: str, *more: object) -> Path:
        file = tmp_path / f"image-{short}{'-de' if 'de' in more else ''}.html"
        ran = command(
            story.workspace, "report", "image", story.answers[short]["attribution_id"][:8], *more, "-o", file
        )
        assert ran.code == 0, ran.stderr
        assert (ran.stdout, ran.stderr) == (b"", "")
        return file

    return page


def text(page: Page) -> str:
    return re.sub(r"\s+", " ", page.locator("body").inner_text()).replace("\N{NO-BREAK SPACE}", " ")


@contextmanager
def quiet(browser: Browser, file: Path) -> Iterator[Page]:
    """``assert_sound`` on a phone by night alone, for pages that differ little from those seen in full."""
    with opened(browser, file, size=PHONE, scheme="dark") as (page, seen):
        judge(page, seen)
        assert seen == Seen()
        yield page


def pictures(page: Page) -> int:
    return page.locator("img").count()


def test_two_artists_share_an_image(browser: Browser, story: Story, make: Make, screenshots):
    told = story.answers["both"]
    english = Words.of("en")
    file = make("both")
    assert_sound(browser, file, keep=screenshots)
    with opened(browser, file) as (page, _):
        said = text(page)
        assert "finds the style of Andy Fitzsimon and Danny Allen. This answer divides" in said
        assert "32.7% to Andy Fitzsimon, 17.3% to Danny Allen and 50.0% to the makers of the model." in said
        for one in told["artists"]:
            assert " to ".join(map(english.percent, one["interval"])) in said
        assert f"In {round(told['steadiness'] * 100)} of 100 cases the same artists" in said
        assert "Next came an artist who has opted out, or asked to be forgotten, and is not named." in said
        assert "The image earned €13.51. Of that €6.0795 is the artists'; €3.6790 of it has been paid" in said
        assert pictures(page) == 4  # itself and three works; none of who opted out
        assert page.locator("h1").inner_text() == "Whose style is in this image?"
        assert page.locator("pre").first.inner_text().startswith("fairbrush dispute open --attribution ")
        steps = page.locator("table").nth(1).locator("tbody tr").all_inner_texts()
        assert steps[3].split("\t") == ["Andy Fitzsimon", "€3.6790", "paid out"]


def test_paper_shows_what_is_folded_away(browser: Browser, make: Make):
    with opened(browser, make("both")) as (page, _):
        last = page.locator("details").last.locator("dl")
        assert not last.is_visible()
        page.emulate_media(media="print")
        assert last.is_visible()
        assert page.pdf()[:5] == b"%PDF-"


def test_nobody_and_what_a_dispute_decided(browser: Browser, make: Make):
    file = make("nobody")
    with quiet(browser, file) as page:
        said = text(page)
        assert "finds nobody's style that it knows. This answer divides" in said
        assert "but these: Alan Horkan: 25.0% Nobody's part: 25.0%" in said
        assert "The image is not near enough to anybody's style." in said
        assert "2 amounts were divided anew, because of disputes or corrections." in said
        assert pictures(page) == 0


def test_a_hostile_name_is_only_text(browser: Browser, make: Make):
    file = make("benji")
    with quiet(browser, file) as page:
        assert f"the style of {SHOWN}. This" in text(page)
        assert page.locator("img[src=x]").count() == 0
        captions = page.locator("img[alt^='By ']")
        assert captions.first.get_attribute("alt") == f"By {SHOWN}: this very picture"


def test_who_is_erased_is_neither_named_nor_pictured(browser: Browser, story: Story, make: Make):
    file = make("jarno")
    assert story.names["jarno"] not in file.read_text()
    with quiet(browser, file) as page:
        assert "finds the style of (erased)." in text(page)
        assert "The artist asked to be forgotten." in text(page)
        assert pictures(page) == 0


def test_a_work_of_who_opted_out_is_shown_only_from_a_file_that_is_named(
    browser: Browser, story: Story, make: Make
):
    file = make("danny")
    with quiet(browser, file) as page:
        assert "itself a work of an artist who has opted out" in text(page)
        assert pictures(page) == 0
    with opened(browser, make("danny", "--image", story.images["danny"])) as (page, _):
        assert pictures(page) == 1


def test_a_dispute_that_is_open_stands_above(browser: Browser, make: Make):
    file = make("andy-again")
    with quiet(browser, file) as page:
        warning = page.locator(".warn").inner_text()
        assert warning.startswith("Benji Park contested on ")
        assert "the part of Andy Fitzsimon. The dispute" in warning
        assert "set aside while a dispute is open" in text(page)
        assert "Paid out and taken back since, in EUR (rounded)" in text(page)
        returning = page.locator("table").nth(2).locator("tbody tr").all_inner_texts()
        assert [row.split("\t") for row in returning] == [["Andy Fitzsimon", "€5.6250", "€0.0000"]]


def test_a_mix_shows_what_it_was_made_from_and_an_example(browser: Browser, make: Make):
    file = make("mix")
    with quiet(browser, file) as page:
        said = text(page)
        assert "66.7% of the weight Andy Fitzsimon" in said
        assert "An example: what €100.00 would be divided into" in said
        assert "Nobody has paid this" in said
        assert "Who came next" not in said


def test_two_currencies_are_never_added(browser: Browser, make: Make):
    file = make("andy")
    with quiet(browser, file) as page:
        said = text(page)
        assert "The image earned €13.51." in said
        assert "The image earned JP¥990. Of that JP¥445.50 is the artists'; JP¥0 of it" in said


def test_the_page_speaks_german(browser: Browser, make: Make, screenshots):
    file = make("both", "--language", "de")
    with quiet(browser, file) as page:
        if screenshots:
            page.screenshot(path=screenshots / f"{file.stem}.png", full_page=True)
        said = text(page)
        assert page.locator("html").get_attribute("lang") == "de"
        assert "den Stil von Andy Fitzsimon und Danny Allen. Nach dieser Antwort wird, was das Bild" in said
        assert "Das Bild hat 13,51 € eingenommen." in said
        assert "Schwach" in said


def report_of(story: Story, short: str) -> ImageReport:
    with open_registry(story.workspace, readonly=True) as store:
        return read_report(store, story.answers[short]["attribution_id"], now=NOW)


def test_a_name_that_is_no_utf_8_and_rare_facts_have_their_words(
    browser: Browser, story: Story, tmp_path: Path
):
    """What the story does not hold: a path of odd bytes, two of one name, a part that is nobody's."""
    report = report_of(story, "both")
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/\xff<b>.png"))
    shutil.copy(story.images["both"], odd)
    twins = tuple(replace(one, artist=replace(one.artist, name="Ann & Bo")) for one in report.credits)
    file = tmp_path / "odd.html"
    file.write_text(
        image_page(
            replace(
                report,
                path=odd,
                credits=twins,
                unexplained=Unexplained.PARTLY_NOBODYS_INPUTS,
                confidence=None,
                versions=replace(report.versions, calibration_id="c" * 64),
            ),
            workspace=story.workspace,
            words=Words.of("en"),
        )
    )
    with quiet(browser, file) as page:
        said = text(page)
        assert "\\udcff<b>.png" in said
        assert f"Ann & Bo ({twins[0].artist.artist_id[:8]})" in said
        assert "This was not computed when the image was looked up." in said
        assert "What only they explain is nobody's." in said
        assert "given under a calibration" in said


def page_of(story: Story, report: ImageReport) -> str:
    return image_page(report, workspace=story.workspace, words=Words.of("en"))


def test_who_is_near_and_not_credited_is_told_why(story: Story):
    """Where the artists explain what that one would, and where a calibration made nothing of anybody."""
    report = report_of(story, "andy")
    assert report.runner_up is not None
    near = replace(report, runner_up=replace(report.runner_up, z=0.5, needed=0.1))
    assert "already explain what it would" in page_of(story, near)
    alone = page_of(story, replace(near, credits=(), unexplained=Unexplained.CALIBRATED_AWAY))
    assert "already explain what it would" not in alone
    assert "the measurements of this model made nothing of it" in alone


def test_parts_of_the_picture_and_of_the_style_have_their_words(story: Story):
    report = report_of(story, "both")
    page = page_of(story, report)
    assert "also looked at in parts" not in page
    assert "of the style that is recognised" not in page.lower()
    versions = replace(report.versions, value_function="facets")
    page = page_of(story, replace(report, versions=versions, artists_part=Fraction(4, 5)))
    assert "also looked at in parts" in page
    assert "artists get 80.0%; the rest goes to the makers of the model." in page


def test_an_image_that_was_changed_is_not_shown(story: Story, tmp_path: Path):
    report = report_of(story, "both")
    changed = tmp_path / "both.png"
    changed.write_bytes(story.images["both"].read_bytes() + b"\0")
    page = image_page(replace(report, path=changed), workspace=story.workspace, words=Words.of("en"))
    assert "no copy of it is kept, only its fingerprint" in page


def test_a_terminal_gets_a_table_and_json_the_facts(story: Story):
    attribution_id = story.answers["both"]["attribution_id"]
    lines = command(story.workspace, "report", "image", attribution_id).text.splitlines()
    assert lines[1].split()[:3] == ["Andy", "Fitzsimon", "32.7%"]
    assert "runner-up    (not named), z -0.1337, needed more than 0" in lines
    assert "  3.6790  artist Andy Fitzsimon: paid" in lines
    document = answer(story.workspace, "report", "image", attribution_id)
    assert document["schema"] == "fairbrush.report_image/1"
    assert document["money"]["lines"][0]["reference"] == "OCT-both"
    assert document["money"]["lines"][0]["parts"][0].keys() == {"for", "artist_id", "exact_minor", "place"}
    assert [one["artist"] for one in document["artists"]] == ["Andy Fitzsimon", "Danny Allen"]
    erased = answer(story.workspace, "report", "image", story.answers["jarno"]["attribution_id"])
    assert erased["artists"][0]["artist"] is None
    nobody = answer(story.workspace, "report", "image", story.answers["nobody"]["attribution_id"])
    assert nobody["unattributed_why"] == "too_far"
    assert nobody["reason"].startswith("No artist is near enough")


def test_a_look_up_that_waits_is_found(story: Story, tmp_path: Path):
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    told = answer(workspace, "attribute", story.images["mix"])["attributions"][0]
    assert len(pending(workspace)) == 1
    document = answer(workspace, "report", "image", told["attribution_id"][:8].upper())
    assert document["attribution_id"] == told["attribution_id"]
    assert document["money"]["pays"] == "first"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0123456"], "There is no record '0123456'"),
        ([""], "There is no record ''"),
        (["f" * 64], "There is no record"),
        (["%"], "There is no record '%'"),
        (["{both}", "--image", "{andy}", "--html"], "is not the image of this answer"),
        (["{both}", "--image", "/no/such/file"], "cannot be read"),
        (["{both}", "-o", "page.pdf"], "HTML only"),
        (["{both}", "--html", "--json"], "Two formats"),
        (["{both}", "--html", "--language", "fr"], "no pages in 'fr'"),
        (["{both}", "-o", "/no/such/folder/page.html"], "its folder does not exist"),
    ],
)
def test_what_cannot_be_shown_is_said(story: Story, words: list[str], said: str):
    known = {"both": story.answers["both"]["attribution_id"], "andy": story.images["andy"]}
    ran = command(story.workspace, "report", "image", *(word.format(**known) for word in words))
    assert ran.code == 2
    assert ran.stdout == b""
    assert said in ran.stderr
    assert "next: " in ran.stderr


def test_an_ambiguous_beginning_asks_for_more(story: Story, tmp_path: Path):
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    known = story.answers["both"]["attribution_id"]
    with open_registry(workspace) as store, store.transaction() as connection:
        connection.execute(
            "INSERT INTO attribution BY NAME SELECT * REPLACE (? AS attribution_id) FROM attribution"
            " WHERE attribution_id = ?",
            [known[:8] + "0" * 56, known],
        )
    ran = command(workspace, "report", "image", known[:8])
    assert ran.code == 2
    assert "is the beginning of several records" in ran.stderr


def test_html_goes_to_stdout_where_no_file_is_named(story: Story):
    ran = command(story.workspace, "report", "image", story.answers["alan"]["attribution_id"], "--html")
    assert ran.text.startswith("<!doctype html>")
    assert json.dumps(ran.text).count("<script") == 0
