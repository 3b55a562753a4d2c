"""Workbooks and Parquet files, read again by openpyxl and DuckDB: values, types, and no formula anywhere."""

import io
import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.errors import ReportError
from fairbrush.reports import parquet as parquets
from fairbrush.reports import sheets
from fairbrush.reports.parquet import write_parquet
from fairbrush.reports.sheets import LONGEST_TEXT, write_workbook

HOSTILE = [
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    "#N/A",
    "2026-01-02",
    "1e5",
    "TRUE",
    "12:30",
]


def cells(content: bytes) -> Any:
    """Each row of the only sheet."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    assert len(book.sheetnames) == 1
    return list(book.active.iter_rows())


def workbook(rows: Iterable[dict[str, Any]], names: list[str], **options: Any) -> bytes:
    stream = io.BytesIO()
    write_workbook(rows, names, stream, **options)
    return stream.getvalue()


def parquet(rows: Iterable[dict[str, Any]], names: list[str], types: Sequence[str] = ()) -> bytes:
    stream = io.BytesIO()
    write_parquet(rows, names, stream, types)
    return stream.getvalue()


def back(value: Any) -> Any:
    """The cell that a value becomes."""
    (_, (cell, _)) = cells(workbook([{"a": value, "b": 1}], ["a", "b"]))
    return cell


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_a_string_whatever_it_looks_like(text: str) -> None:
    cell = back(text)
    assert (cell.data_type, cell.value) == ("s", text.replace("\r", "\\r"))
    assert cell.quotePrefix == (text[0] in "=+-@\t＝")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text() | st.sampled_from(HOSTILE), min_size=1, max_size=20))
def test_no_text_is_ever_a_formula_and_all_of_it_is_there(texts: list[str]) -> None:
    content = workbook([{"=a": text, "n": 1} for text in texts], ["=a", "n"])
    sheet = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    assert re.search(r"<f[ >/]", sheet) is None
    header, *lines = cells(content)
    assert (header[0].value, header[0].data_type) == ("=a", "s")
    for (cell, _), text in zip(lines, texts, strict=True):
        assert cell.data_type == ("s" if text else "n")
        assert (cell.value or "") == sheets.sheet_text(text)


@pytest.mark.parametrize(
    ("value", "kept", "kind", "shown"),
    [
        (3, 3, "n", "General"),
        (-3.25, -3.25, "n", "General"),
        (0.1, 0.1, "n", "General"),
        ("", None, "n", "General"),
        (True, True, "b", "General"),
        (10**15 - 1, 10**15 - 1, "n", "General"),
        (2**53 + 1, "9007199254740993", "s", "General"),
        (10**20, 10**20, "n", "General"),
        (Decimal("-12.50"), -12.5, "n", "0.00"),
        (Decimal("0.000000000001"), 1e-12, "n", "0.000000000000"),
        (Decimal("1.000000000000"), 1, "n", "0.000000000000"),
        (Decimal("12345678.123456789012"), "12345678.123456789012", "s", "General"),
        (Decimal("-12345678.123456789012"), "-12345678.123456789012", "s", "General"),
        (float("nan"), "nan", "s", "General"),
        (float("-inf"), "-inf", "s", "General"),
        (date(2026, 1, 2), datetime(2026, 1, 2), "d", "yyyy-mm-dd"),
        (datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 5), "d", "yyyy-mm-dd hh:mm:ss"),
        (date(1850, 1, 2), "1850-01-02", "s", "General"),
        (b"=a", "3d61", "s", "General"),
        ({"a": [Decimal("1.50")]}, '{"a": ["1.50"]}', "s", "General"),
        (None, None, "n", "General"),
        ("a\x00b\x1b[31m\udcff\ufffe", "a\\x00b\\x1b[31m\\udcff\\ufffe", "s", "General"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree", "s", "General"),
        ("_x0041_", "_x005F_x0041_", "s", "General"),  # Excel shows _x0041_
    ],
)
def test_a_value_is_kept_exactly_or_is_text(value: Any, kept: Any, kind: str, shown: str) -> None:
    cell = back(value)
    assert (cell.value, cell.data_type, cell.number_format) == (kept, kind, shown)


def test_a_sheet_is_ready_to_be_read() -> None:
    rows = [{"artist": "Zoë", "share": Decimal("0.50")}, {"artist": "名前" * 9, "share": Decimal("0.25")}]
    content = workbook(rows, ["artist", "share"], title="by/artist:*")
    book = openpyxl.load_workbook(io.BytesIO(content))
    sheet = book.active
    assert sheet.title == "by artist"
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:B3")
    assert [cell.font.bold for cell in sheet[1]] == [True, True]
    assert [sheet.column_dimensions[letter].width for letter in "AB"] == [38, 8]


def test_an_answer_without_rows_is_its_header() -> None:
    content = workbook([], ["a", "b"])
    assert [[cell.value for cell in row] for row in cells(content)] == [["a", "b"]]
    assert [list(row) for row in cells(workbook([], []))] == []


def test_too_long_a_text_is_cut_and_counted() -> None:
    stream = io.BytesIO()
    rows = [{"a": "x" * (LONGEST_TEXT + 1)}, {"a": "\x00" * LONGEST_TEXT}, {"a": "y"}]
    assert write_workbook(rows, ["a"], stream) == 2
    assert [len(row[0].value) for row in cells(stream.getvalue())] == [1, LONGEST_TEXT, LONGEST_TEXT, 1]


@pytest.mark.filterwarnings("error")
def test_too_large_an_answer_is_refused_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sheets, "MOST_ROWS", 2)
    assert len(cells(workbook([{"a": 1}] * 2, ["a"]))) == 3
    with pytest.raises(ReportError, match=r"more than 2 rows.*--format parquet or csv"):
        workbook(({"a": n} for n in range(3)), ["a"])
    with pytest.raises(ReportError, match=r"16,385 columns; a sheet holds 16,384\."):
        workbook([], [f"c{n}" for n in range(16_385)])
    assert list(tmp_path.iterdir()) == []


QUERY = """
    SELECT DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05.678901' AS moment,
        12345678.123456789012::DECIMAL(25, 12) AS money, 'nan'::DOUBLE AS odd, true AS yes,
        {'a': [DATE '2026-01-02'], 'b': 1.5::DECIMAL(3, 1)} AS nested, MAP {'a': 1} AS places,
        encode('a') AS bytes, uuid() AS id, TIME '10:00' AS clock, [1.5::DECIMAL(4, 2)] AS list,
        '{"a": 1}'::JSON AS body, 1::UTINYINT AS small, NULL::INTEGER AS nothing,
        'a"b' AS "a ""name"" of mine"
"""


def test_a_querys_answer_keeps_its_types_in_parquet(tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    with duckdb.connect() as database:
        database.execute(QUERY)
        described = database.description or []
        names, types = [one[0] for one in described], [str(one[1]) for one in described]
        values = database.fetchall()
        rows = [dict(zip(names, row, strict=True)) for row in [*values, (None,) * len(names)]]
        file.write_bytes(parquet(rows, names, types))
        found = database.execute("DESCRIBE FROM read_parquet(?)", [str(file)]).fetchall()
        assert [(name, kind) for name, kind, *_ in found] == list(zip(names, types, strict=True))
        read = database.execute("FROM read_parquet(?)", [str(file)]).fetchall()
    assert repr(read) == repr([*values, (None,) * len(names)])  # nan is not equal to itself


@pytest.mark.parametrize(
    ("kind", "values", "kept"),
    [
        ("HUGEINT", [2**63 - 1, None], "BIGINT"),
        ("HUGEINT", [1 - 2**63, 5], "BIGINT"),
        ("HUGEINT", [None], "BIGINT"),
        ("UHUGEINT", [2**64], "DECIMAL(38,0)"),
        ("HUGEINT", [2**63], "DECIMAL(38,0)"),
        ("ENUM('x', 'y')", ["x", None], "VARCHAR"),
        ('"NULL"', [None], "VARCHAR"),
        ("BIGNUM", ["5"], "VARCHAR"),
    ],
)
def test_a_type_that_parquet_lacks_becomes_one_without_loss(
    tmp_path: Path, kind: str, values: list[Any], kept: str
) -> None:
    file = tmp_path / "answer.parquet"
    file.write_bytes(parquet([{"a": value} for value in values], ["a"], [kind]))
    with duckdb.connect() as database:
        read = database.execute("SELECT a, typeof(a) FROM read_parquet(?)", [str(file)]).fetchall()
    assert read == [(value, kept) for value in values]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("VARCHAR", [f"{number}" * 2**15 for number in range(100, 400)]),
        ("VARCHAR[]", [[f"{number}" * 2**10] * 2 for number in range(1_000, 6_000)]),
    ],
    ids=["texts", "lists"],
)
def test_rows_that_need_more_memory_than_most_are_written_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, values: list[Any]
) -> None:
    monkeypatch.setitem(parquets._CONFIG, "memory_limit", "24MB")
    file = tmp_path / "answer.parquet"
    file.write_bytes(parquet([{"a": value} for value in values], ["a"], [kind]))
    with duckdb.connect() as database:
        read = database.execute("SELECT a FROM read_parquet(?)", [str(file)]).fetchall()
    assert read == [(value,) for value in values]


def test_a_full_disk_is_not_taken_for_a_type_that_parquet_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr(parquets, "_load", fill)
    with pytest.raises(ReportError, match="made into Parquet: IO Error: No space left") as refused:
        parquet([{"a": 1}], ["a"])
    assert (
        refused.value.next_step == f"Free space in {tempfile.gettempdir()} and memory, or take --format csv."
    )


def test_what_parquet_cannot_hold_is_said() -> None:
    with pytest.raises(ReportError, match="does not fit into Parquet: Conversion Error"):
        parquet([{"a": 10**38}], ["a"], ["HUGEINT"])
    with pytest.raises(ReportError, match="Parquet needs columns"):
        parquet([], [])
