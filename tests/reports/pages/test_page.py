"""Pages as a browser shows them: they load nothing, run nothing and can be read by everybody."""

from pathlib import Path

import pytest
from browser import PHONE, assert_sound, opened
from jinja2 import UndefinedError

from fairbrush.reports.pages.charts import COLOURS, chart_svg, import_altair
from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.table import table_page
from fairbrush.reports.pages.words import Words

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</style><svg onload=alert(3)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(4)",
    "\u202egnp.exe",
    "&lt;b&gt;",
]
PAPER = {"light": "#ffffff", "dark": "#16181b"}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("paper", PAPER.values(), ids=PAPER)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_of_a_chart_stands_out_from_the_page(colour, paper):
    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_table_page_is_sound_and_hostile_values_do_nothing(browser, tmp_path: Path, screenshots, language):
    rows = [[text, number, None] for number, text in enumerate(HOSTILE)]
    page = tmp_path / f"table-{language}.html"
    page.write_text(
        table_page(["artist", "n", HOSTILE[0]], rows, title=HOSTILE[1], lede=HOSTILE[2], language=language)
    )
    assert_sound(browser, page, keep=screenshots)
    with opened(browser, page) as (shown, _):
        assert shown.title() == HOSTILE[1]
        assert shown.locator("tbody tr").all_inner_texts()[0].split("\t")[:2] == [HOSTILE[0], "0"]
        assert shown.locator("html").get_attribute("lang") == language


def test_the_page_itself_forbids_scripts_and_requests(browser, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text(
        table_page(["a"], [["here"]], title="t").replace(
            "here", "<script>document.title='ran'</script><img src='https://example.org/x.png'>"
        )
    )
    with opened(browser, page) as (shown, seen):
        assert shown.title() == "t"
        assert any("Content Security Policy" in line for line in seen.console)


def test_a_keyboard_reaches_the_content(browser, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text(table_page(["a"], [["b"]], title="t"))
    with opened(browser, page, size=PHONE) as (shown, _):
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        assert shown.evaluate("document.activeElement.id") == "content"


def test_a_chart_is_an_image_with_words_in_the_colour_of_the_page():
    altair = import_altair()
    values = altair.Data(values=[{"artist": HOSTILE[0], "share": 0.5}])
    chart = altair.Chart(values).mark_bar().encode(x="share:Q", y="artist:N")
    svg = chart_svg(chart, label=HOSTILE[1])
    assert "<script" not in svg
    assert "<img" not in svg
    assert 'role="img" aria-label="&#34;&gt;' in svg
    assert "currentColor" in svg


def test_a_template_that_lacks_a_value_is_an_error():
    with pytest.raises(UndefinedError):
        render("table.html", words=Words.of("en"), title="t", lede="", columns=["a"])
