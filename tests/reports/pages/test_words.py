"""What pages say: every message has its German, with the same names in it; numbers too are written so."""

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import fairbrush
from fairbrush.reports.pages.words import Language, Words, catalogue_files, visible

PACKAGE = Path(fairbrush.__file__).parent
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "text": None, "plural": (1, 2), "later": None}
SOURCES = [("reports/pages/**.py", "python"), ("reports/pages/**.html", "jinja2")]
FIELD = re.compile(r"%\(\w+\)s|%")


def messages() -> set[str | tuple[str, ...]]:
    """Every message of the pages' code and templates; a pair where it counts something."""
    found = extract_from_dir(
        PACKAGE, SOURCES, {"**.html": {"trimmed": "true"}}, KEYWORDS, comment_tags=(), strip_comment_tags=True
    )
    return {message for _, _, message, _, _ in found}


def german() -> dict[str | tuple[str, ...], tuple[str, ...]]:
    entries = {}
    for file in catalogue_files(Language.GERMAN):
        with file.open("rb") as stream:
            for entry in read_po(stream, abort_invalid=True):
                if entry.id:
                    assert entry.id not in entries, f"{file.name}: {entry.id} stands in two catalogues"
                    assert not entry.fuzzy, f"{file.name}: {entry.id}"
                    entries[entry.id] = (entry.string,) if isinstance(entry.string, str) else entry.string
    return entries


def test_every_message_has_its_german_and_no_german_is_left_over():
    assert messages()
    assert messages() ^ german().keys() == set()


def test_a_translation_names_what_its_message_names():
    for message, translations in german().items():
        originals = (message,) if isinstance(message, str) else message
        assert all(translations), message
        for original, translation in zip(originals, translations, strict=True):
            assert sorted(FIELD.findall(original)) == sorted(FIELD.findall(translation)), original


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", ["1,234.5", "12.3%", "-€12.50", "JP¥7", "KWD 0.005", "23 November 2026", "Ann, Bo and Cy"]),
        ("de", ["1.234,5", "12,3 %", "-12,50 €", "7 ¥", "0,005 KWD", "23. November 2026", "Ann, Bo und Cy"]),
    ],
)
def test_numbers_money_and_days_are_written_as_the_language_does(language, written):
    words = Words.of(language)
    found = [
        words.number(1234.5),
        words.percent(0.123),
        words.money(-1250, "EUR"),
        words.money(7, "JPY"),
        words.money(5, "KWD"),
        words.day(date(2026, 11, 23)),
        words.listing(["Ann", "Bo", "Cy"]),
    ]
    assert [text.replace("\N{NO-BREAK SPACE}", " ").replace("−", "-") for text in found] == written


def test_what_is_more_than_nothing_never_reads_as_nothing():
    words = Words.of("en")
    assert words.percent(Decimal("0.0004")) == "<\N{NO-BREAK SPACE}0.1%"
    assert words.percent(0) == "0.0%"
    assert words.percent(0.0005) == "0.1%" or words.percent(0.0005).startswith("<")


def test_a_time_says_its_zone():
    assert Words.of("en").moment(datetime(2026, 1, 2, 3, 4)) == "2 January 2026, 03:04\N{NO-BREAK SPACE}UTC"


def test_text_that_would_steer_the_page_is_shown():
    assert visible("a\u202eb\u2066c\x00d\udcff") == "a\\u202eb\\u2066c\\x00d\\udcff"
    assert visible("Zoë 王 مرحبا 👩‍🎨") == "Zoë 王 مرحبا 👩‍🎨"
