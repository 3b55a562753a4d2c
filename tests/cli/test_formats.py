"""Every format of an answer through the command line: what a spreadsheet, a browser and pandas are given."""

import io
import os
import pty
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from browser import assert_sound
from playwright.sync_api import Browser
from running import Fairbrush
from story import HOSTILE, Story
from workspaces import answer, command

from fairbrush.cli import output
from fairbrush.cli.output import Format, choose_format

MONEY = (
    "SELECT '=1+1' AS name, -0.10::DECIMAL(12, 2) AS money, 12345678.123456789012::DECIMAL(25, 12) AS exact,"
    " DATE '2026-01-02' AS day, -7 AS n"
)


def sheet(content: bytes) -> list[list[Any]]:
    book = openpyxl.load_workbook(io.BytesIO(content))
    return [[cell.value for cell in row] for row in book.active.iter_rows()]


def test_a_query_fills_a_workbook_and_a_typed_parquet_file(workspace: Path, tmp_path: Path) -> None:
    ran = command(workspace, "sql", MONEY, "--format", "xlsx")
    (header, line) = sheet(ran.stdout)
    assert header == ["name", "money", "exact", "day", "n"]
    assert line[:3] == ["=1+1", -0.1, "12345678.123456789012"]
    assert (line[3].date().isoformat(), line[4]) == ("2026-01-02", -7)
    file = tmp_path / "answer.parquet"
    assert command(workspace, "sql", MONEY, "-o", file).code == 0  # by its ending
    with duckdb.connect() as database:
        found = database.execute("SELECT money, typeof(money), typeof(day) FROM read_parquet(?)", [str(file)])
        assert found.fetchall() == [(Decimal("-0.10"), "DECIMAL(12,2)", "DATE")]
    text = command(workspace, "sql", MONEY, "--csv").text
    assert text == "name,money,exact,day,n\n'=1+1,-0.10,12345678.123456789012,2026-01-02,-7\n"


def test_every_format_is_on_every_command_that_answers(story: Story, tmp_path: Path) -> None:
    names = [row["artist"] for row in answer(story.workspace, "artist", "list")["artists"]]
    assert HOSTILE in names
    ran = command(story.workspace, "artist", "list", "--format", "xlsx")
    assert [row[0] for row in sheet(ran.stdout)[1:]] == [name or "(erased)" for name in names]
    page = command(story.workspace, "artist", "list", "--format", "html").text
    assert "<h1>fairbrush artist list</h1>" in page
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_a_report_is_a_page_with_its_name_and_what_it_shows(
    story: Story, tmp_path: Path, browser: Browser, screenshots: Path | None
) -> None:
    file = tmp_path / "top_artists.html"
    assert command(story.workspace, "report", "top_artists", "-o", file).code == 0
    (shown,) = [row for row in answer(story.workspace, "report") if row["report"] == "top_artists"]
    page = file.read_text()
    assert "<h1>top_artists</h1>" in page
    assert shown["shows"] in page
    assert_sound(browser, file, keep=screenshots)


@pytest.mark.parametrize("format_", ["parquet", "xlsx"])
def test_what_is_no_text_is_not_poured_on_a_terminal(fairbrush: Fairbrush, format_: str) -> None:
    ours, theirs = pty.openpty()
    ran = fairbrush("report", "--format", format_, stdout=theirs)
    os.close(ours)
    os.close(theirs)
    assert ran.code == 2
    assert "is not text for a terminal." in ran.stderr
    assert "  next: Add --output FILE, or redirect stdout." in ran.stderr


@pytest.mark.parametrize(("format_", "package"), [("xlsx", "openpyxl"), ("html", "jinja2")])
def test_a_missing_extra_is_said_before_the_work(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, format_: str, package: str
) -> None:
    monkeypatch.setattr(output, "find_spec", lambda name: None if name == package else find_spec(name))
    ran = command(workspace, "sql", "SELECT no such query", "--format", format_)
    assert (ran.code, ran.stdout) == (2, b"")
    assert f"--format {format_} needs more packages ({package})." in ran.stderr
    assert 'next: Install them: pip install "fairbrush[report]"' in ran.stderr


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("a.csv", Format.CSV),
        ("a.JSON", Format.JSON),
        ("a.jsonl", Format.NL),
        ("a.parquet", Format.PARQUET),
        ("a.xlsx", Format.XLSX),
        ("a.html", Format.HTML),
        ("a.txt", Format.TABLE),
    ],
)
def test_the_outputs_ending_chooses_the_format(tmp_path: Path, name: str, chosen: Format) -> None:
    flags = {"json": False, "nl": False, "csv": False}
    assert choose_format(None, **flags, output=tmp_path / name) is chosen
    assert choose_format(Format.TABLE, **flags, output=tmp_path / name) is Format.TABLE


def test_a_cut_cell_is_said(workspace: Path) -> None:
    ran = command(workspace, "sql", "SELECT repeat('x', 40000) AS a", "--format", "xlsx")
    assert ran.code == 0
    assert ran.stderr == "1 cell was cut: a cell holds 32,767 characters. --format json has all.\n"


def test_our_own_tables_are_read_back_with_names_like_formulas(workspace: Path, tmp_path: Path) -> None:
    names = ["=1+1", "@SUM(A1)", "-2", "'=quoted", "Ann;=1"]
    query = " UNION ALL ".join(f"SELECT '{name.replace(chr(39), chr(39) * 2)}' AS name" for name in names)
    roster = tmp_path / "roster.csv"
    assert command(workspace, "sql", query, "-o", roster).code == 0
    assert "'=1+1" in roster.read_text().splitlines()
    assert command(workspace, "artist", "import", roster).code == 0
    listed = [row["artist"] for row in answer(workspace, "artist", "list")["artists"]]
    assert set(names) <= set(listed)
    lines = tmp_path / "lines.csv"
    query = f"SELECT '@INV-1' AS reference, -1 * -12.50 AS amount, 'EUR' AS currency, '{'0' * 64}' AS sha256"
    assert command(workspace, "sql", query, "-o", lines).code == 0
    assert command(workspace, "revenue", "import", lines).code == 0
    assert [row["reference"] for row in answer(workspace, "revenue", "list")["lines"]] == ["@INV-1"]
