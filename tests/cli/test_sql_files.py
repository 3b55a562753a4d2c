"""``fairbrush sql`` with a query from a file, and over a folder's files, with a workspace and without."""

import io
import sys
from pathlib import Path

import pytest
from running import Fairbrush
from workspaces import command

from fairbrush.cli.app import run


@pytest.fixture
def data(fairbrush: Fairbrush) -> Path:
    folder = fairbrush.home / "data"
    folder.mkdir()
    (folder / "revenue.csv").write_text("invoice,amount\nINV-1,1.50\nINV-2,2.00\n")
    (fairbrush.home / "secret.csv").write_text("word\nhidden\n")
    return folder


def test_a_folder_is_read_without_a_workspace(fairbrush: Fairbrush, data: Path) -> None:
    ran = fairbrush("sql", "SELECT sum(amount) AS total FROM revenue", "--over", "data", "--csv")
    assert (ran.code, ran.text, ran.stderr) == (0, "total\n3.5\n", "")
    ran = fairbrush("sql", "FROM read_csv('secret.csv')", "--over", "data")
    assert ran.code == 2
    assert "hidden" not in ran.stderr + ran.text
    assert sorted(path.name for path in fairbrush.home.iterdir()) == ["data", "secret.csv"]
    assert fairbrush("sql", "SELECT 1").code == 2  # without --over a workspace is needed


def test_a_folder_is_read_beside_the_workspace(workspace: Path, fairbrush: Fairbrush, data: Path) -> None:
    (data / "model.csv").write_text("model_id\nmine\n")
    query = "SELECT o.model_id FROM over.model AS o, model AS m WHERE m.model_id = 'sd-1.5'"
    ran = command(workspace, "sql", query, "--over", data, "--csv")
    assert (ran.code, ran.text, ran.stderr) == (0, "model_id\nmine\n", "")
    ran = command(workspace, "sql", "SELECT invoice FROM revenue", "--over", data)
    assert ran.code == 2
    assert ran.stderr.endswith("revenue is the workspace's own table here; the file's is over.\"revenue\".\n")
    ran = command(workspace, "sql", "SELECT model_id FROM model", "--over", data, "--csv")
    assert ran.text == "model_id\nsd-1.5\n"
    assert ran.stderr == "model is the workspace's own table here; the file's is over.\"model\".\n"


def test_a_query_comes_from_a_file_or_from_stdin(fairbrush: Fairbrush, data: Path) -> None:
    query = fairbrush.home / "total.sql"
    query.write_bytes(b"\xef\xbb\xbf-- the total\r\nSELECT sum(amount) AS total\r\nFROM revenue;\r\n")
    ran = fairbrush("sql", "--file", "total.sql", "--over", "data", "--nl")
    assert (ran.code, ran.text) == (0, '{"total": 3.5}\n')
    for words in (["--file", "-"], ["-"]):
        with query.open("rb") as stdin:
            ran = fairbrush("sql", *words, "--over", "data", "--nl", stdin=stdin)
        assert (ran.code, ran.text) == (0, '{"total": 3.5}\n')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SELECT invoice,\n  nope\nFROM revenue\n", 'query.sql, line 2, column 3: Referenced column "nope"'),
        ("SELECT 'é',\r\n 'é', nope\r\nFROM revenue".encode(), "query.sql, line 2, column 7: Referenced"),
        (b"\xef\xbb\xbfSELEC 1", "query.sql, line 1, column 1: syntax error"),
        (b"SELECT 1;\nDROP TABLE revenue;", "DROP is refused"),
        (b"SELECT 1;\nSELECT 2;", "2 statements at once"),
        (b"-- nothing\n", "The query is empty"),
        (b"SELECT 1\n, '\xff'", "query.sql, line 2: this is not UTF-8."),
        ("SELECT 1".encode("utf-16"), "query.sql is UTF-16 text."),
        (b"SELECT 1" + b" " * 2**20, "query.sql has more than 1,048,576 bytes."),
        (None, "query.sql cannot be read: No such file or directory."),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("query.sql").write_bytes(content)
    assert run(["sql", "--file", "query.sql", "--over", "data"]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert f"fairbrush: {told}" in stderr
    assert "  next: " in stderr


def test_one_query_is_needed_and_no_more(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = command(workspace, "sql")
    assert (ran.code, "No query was given." in ran.stderr) == (2, True)
    ran = command(workspace, "sql", "SELECT 1", "--file", "x.sql")
    assert (ran.code, "Two queries were given." in ran.stderr) == (2, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SELECT\n nope")))
    ran = command(workspace, "sql", "-")
    assert "stdin, line 2, column 2: Referenced column" in ran.stderr
    monkeypatch.setattr(sys, "stdin", None)
    ran = command(workspace, "sql", "-")
    assert (ran.code, "There is no stdin to read." in ran.stderr) == (2, True)
