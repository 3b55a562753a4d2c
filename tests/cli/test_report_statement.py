"""``fairbrush report statement`` as people type it."""

import json
from pathlib import Path

import pytest
from story import Story
from workspaces import command

YEARS = "2026-01-01..9999-12-31"  # the last day there is


@pytest.fixture
def ask(story: Story):
    return lambda *words: command(story.workspace, "report", "statement", *words)


def test_a_statement_is_a_table_json_html_or_pdf_by_flag_or_name(ask, story, tmp_path: Path):
    ran = ask(story.names["andy"], "--period", YEARS)
    assert ran.code == 0, ran.stderr
    assert [line.split() for line in ran.text.splitlines()] == [
        ["currency", "beginning", "earned", "taken_back", "moved", "paid", "end"],
        ["EUR", "0.00", "22.22", "-6.08", "0.00", "14.93", "1.21"],
        ["JPY", "0", "445", "0", "0", "0", "445"],
    ]
    assert "4 answers about 4 images" in ran.stderr
    document = ask(story.names["andy"], "--period", YEARS, "--json").json
    assert document["schema"] == "fairbrush.statement/1"
    assert document["number"] in ran.stderr
    for name, start in (("s.json", b"{"), ("s.html", b"<!doctype html>"), ("s.pdf", b"%PDF-")):
        assert ask(story.names["andy"], "--period", YEARS, "-o", tmp_path / name).code == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert json.loads((tmp_path / "s.json").read_text())["number"] == document["number"]


def test_the_language_is_the_one_asked_for(ask, story):
    creator = story.names["andy"]
    assert 'lang="de"' in ask(creator, "--period", YEARS, "--html", "--language", "de").text
    assert 'lang="en"' in ask(creator, "--period", YEARS, "--html").text
    refused = ask(creator, "--period", YEARS, "--html", "--language", "tlh")
    assert refused.code == 2
    assert "Known: en, de" in refused.stderr


def test_a_creator_is_named_by_id_too_and_an_erased_one_only_so(ask, story):
    rows = command(story.workspace, "creator", "list", "--json").json["creators"]
    erased = next(one["creator_id"] for one in rows if one["creator"] == "(erased)")
    ran = ask(erased, "--period", YEARS)
    assert ran.code == 0
    assert f"credit {erased};" in ran.stderr
    assert "Jarno" not in ran.text + ran.stderr
    assert ask(story.names["jarno"], "--period", YEARS).code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--html"], "--period"),
        (["--period", "soon"], "'soon' is no period"),
        (["--period", "2026-02..2026-01"], "is no period"),
        (["--period", YEARS, "--html", "--pdf"], "Two formats were asked for"),
        (["--period", YEARS, "-o", "missing/folder/s.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(ask, story, words, said):
    ran = ask(story.names["andy"], *words)
    assert ran.code == 2
    assert said in ran.stderr
    assert ran.text == ""


def test_an_unknown_creator_is_an_error_with_a_next_step(ask):
    ran = ask("Andi Fitzsimon", "--period", YEARS)
    assert ran.code == 2
    assert "Did you mean 'Andy Fitzsimon'?" in ran.stderr


def test_an_empty_workspace_has_no_creator_and_one_without_answers_has_nothing(tmp_path: Path):
    assert command(tmp_path / "space", "init", tmp_path / "space").code == 0
    ask = ("report", "statement", "Ann", "--period", "2026", "--html")
    assert command(tmp_path / "space", *ask).code == 2
    assert command(tmp_path / "space", "creator", "add", "Ann").code == 0
    ran = command(tmp_path / "space", *ask)
    assert ran.code == 0, ran.stderr
    assert "Nothing is held for you, and nothing is owed to you." in ran.text
