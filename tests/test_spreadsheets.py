"""Text from anybody stays text in a spreadsheet, and comes back as it was."""

import csv
import io
import re
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.spreadsheets import csv_text, formula_undone, is_like_formula, no_formula

SIGNS = "=+-@＝＋－＠"
# letters that make formulas, numbers and new cells likely
HOSTILE = st.text(
    st.sampled_from([*SIGNS, *"'\";,|\t\r\n 01.e", "\N{NO-BREAK SPACE}", "é", "\0"]), max_size=12
)
TEXT = HOSTILE | st.text(max_size=20) | st.from_regex(r"\A[-+=@]?[0-9]{1,3}(\.[0-9]+)?\Z")


def begins_like_a_formula(cell: str) -> bool:
    """By the rule of OWASP's "CSV Injection", said in another way than the code's."""
    if re.fullmatch(r"-[0-9]+(\.[0-9]+)?", cell):
        return False  # a number
    return cell[:1] in ("\t", "\r", "\n") or cell.lstrip(" \u00a0")[:1] in tuple(SIGNS)


@given(TEXT)
def test_no_text_can_be_read_as_a_formula(text: str) -> None:
    safe = no_formula(text)
    assert not begins_like_a_formula(safe)
    if safe != text:
        assert not any(
            part.lstrip(" \u00a0")[:1] in tuple(SIGNS) for part in re.split(r"[;\t\r\n]", safe)[1:]
        )
    assert is_like_formula(text) == (safe != text)


@given(TEXT)
def test_the_apostrophe_can_be_taken_away_again(text: str) -> None:
    assert formula_undone(no_formula(text)) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1234", "'+49 30 1234"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t'=1"),
        ("\rAnn", "'\rAnn"),
        ("＝1", "'＝1"),
        ("Ann;=1", "Ann;'=1"),
        ("two\n- lines", "two\n'- lines"),
        ("'=1", "''=1"),
        ('Ann;"=1', "Ann;'\"=1"),
        ("-12.50", "-12.50"),
        ("2026-01-02", "2026-01-02"),
        ("Ann-Marie; Bo", "Ann-Marie; Bo"),
        ("'tis", "'tis"),
        ("", ""),
    ],
)
def test_an_apostrophe_stands_only_where_a_formula_could_begin(text: str, cell: str) -> None:
    assert no_formula(text) == cell


@given(st.lists(st.fixed_dictionaries({"=name": TEXT, "note": TEXT}), max_size=4))
def test_a_csv_reader_gets_every_text_back(rows: list[dict[str, str]]) -> None:
    header, *lines = csv.reader(io.StringIO(csv_text(rows, ["=name", "note"]), newline=""))
    assert header == ["'=name", "note"]
    assert [list(map(formula_undone, line)) for line in lines] == [
        [row["=name"], row["note"]] for row in rows
    ]
    assert not any(begins_like_a_formula(cell) for line in lines for cell in line)


@given(st.lists(st.fixed_dictionaries({"1": TEXT, "2": TEXT}), min_size=1, max_size=3))
def test_no_formula_begins_where_a_spreadsheet_splits_at_semicolons(rows: list[dict[str, str]]) -> None:
    numbered = [{"n": n, **row} for n, row in enumerate(rows)]
    text = csv_text(numbered, ["n", "1", "2"]).partition("\n")[2]
    for cell in re.split(r"[;\t\r\n]", text):
        # what is left of the line before is quoted and ends in a quote: only what begins a part can run
        assert not begins_like_a_formula(cell.lstrip('" ')), cell


@given(
    st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False, allow_infinity=False, places=12)
)
def test_numbers_stay_as_they_are(number: int | float | Decimal) -> None:
    (line,) = list(csv.reader(io.StringIO(csv_text([{"n": number}], ["n"]))))[1:]
    assert type(number)(line[0]) == number
    assert line[0][0] in "-0123456789in"


def test_what_is_neither_text_nor_number_is_written_in_words() -> None:
    values = {
        "day": date(2026, 1, 2),
        "moment": datetime(2026, 1, 2, 3, 4, 5),
        "bytes": b"=a",
        "nested": {"a": [Decimal("-1.50"), date(2026, 1, 2), None]},
        "nothing": None,
        "yes": True,
    }
    (line,) = list(csv.reader(io.StringIO(csv_text([values], list(values)))))[1:]
    assert line == [
        "2026-01-02",
        "2026-01-02T03:04:05",
        "3d61",
        '{"a": ["-1.50", "2026-01-02", null]}',
        "",
        "True",
    ]


def test_a_long_table_is_one_table_whatever_stands_in_its_last_lines() -> None:
    rows = [{"n": n, "text": "plain"} for n in range(3_000)] + [{"n": 3_000, "text": "car\rriage"}]
    header, *lines = csv.reader(io.StringIO(csv_text(iter(rows), ["n", "text"]), newline=""))
    assert header == ["n", "text"]
    assert lines == [[str(row["n"]), row["text"]] for row in rows]
    assert csv_text(rows, ["n", "text"]).endswith('\n2999,plain\n3000,"car\rriage"\n')


def test_no_columns_give_no_text() -> None:
    assert csv_text([], []) == ""
