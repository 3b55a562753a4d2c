"""What reaches stdout: every format, hostile file names, and readers that go away."""

import csv
import io
import json
import os
import pty
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from running import Fairbrush

from fairbrush.cli.output import Format, check_output, choose_format, emit, table
from fairbrush.errors import ConfigError

HOSTILE = {
    "line break": b"a\nb.webp",
    "carriage return": b"a\rb.webp",
    "escape": b"\x1b[31mred\x1b]0;owned\x07.webp",
    "not UTF-8": b"caf\xe9.webp",
    "right to left override": "photo\u202egpj.webp".encode(),
    "Hebrew": "שלום.webp".encode(),
    "quotes": b"say \"hi\", 'you'.webp",
    "wide": "日本.webp".encode(),
    "formula": b"=1+1.webp",
}


@pytest.fixture
def hostile(tmp_path: Path, art: list[Path]) -> list[str]:
    """Files with hostile names, good and bad ones; their paths as Python has them, in order."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for number, name in enumerate(HOSTILE.values()):
        content = art[0].read_bytes() if number % 2 else b"no image"
        try:
            (folder / os.fsdecode(name)).write_bytes(content)
        except OSError as error:
            pytest.skip(f"this file system has no name like {name!r}: {error}")
    return ["hostile/" + os.fsdecode(name) for name in sorted(HOSTILE.values(), key=os.fsdecode)]


def test_json_gives_hostile_names_back_byte_for_byte(
    fairbrush: Fairbrush, cache: Path, hostile: list[str]
) -> None:
    for format_ in ("json", "nl"):
        ran = fairbrush("embed", "hostile", "--cache", cache, "--format", format_)
        text = ran.stdout.decode("utf-8")  # strictly: what is no text is escaped
        rows = json.loads(text)["images"] if format_ == "json" else list(map(json.loads, text.splitlines()))
        assert ran.code == 1
        assert [row["path"] for row in rows] == hostile
        assert [os.fsencode(row["path"]) for row in rows] == [os.fsencode(path) for path in hostile]


def as_text(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def test_csv_and_parquet_give_hostile_names_back_where_they_are_text(
    fairbrush: Fairbrush, cache: Path, hostile: list[str]
) -> None:
    ran = fairbrush("embed", "hostile", "--cache", cache, "--csv")
    table = fairbrush.home / "answer.csv"
    table.write_bytes(ran.stdout)
    rows = csv.DictReader(io.StringIO(ran.stdout.decode("utf-8"), newline=""))
    assert [row["path"] for row in rows] == [as_text(path) for path in hostile]
    file = fairbrush.home / "answer.parquet"
    ran = fairbrush("embed", "hostile", "--cache", cache, "--format", "parquet")
    file.write_bytes(ran.stdout)
    with duckdb.connect() as database:
        found = database.execute("SELECT path FROM read_parquet(?)", [str(file)]).fetchall()
        assert found == [(as_text(path),) for path in hostile]
        (duck,) = database.execute(
            "SELECT list(path) FROM read_csv(?, header = true)", [str(table)]
        ).fetchall()
        assert sorted(duck[0]) == sorted(map(as_text, hostile))


def test_hostile_names_steer_no_terminal(fairbrush: Fairbrush, cache: Path, hostile: list[str]) -> None:
    ran = fairbrush("embed", "hostile", "no\x1b[2J\nsuch", "--cache", cache)
    failed = sum(number % 2 == 0 for number in range(len(HOSTILE)))
    lines = ran.stderr.splitlines()
    assert len(lines) == failed + 1
    assert all(line.startswith("failed: ") and line.isprintable() for line in lines)
    assert lines[-1].startswith("failed: no\\x1b[2J\\nsuch: missing.")
    assert "hostile/a\\nb.webp" in ran.stderr


def test_a_hostile_option_steers_no_terminal(fairbrush: Fairbrush, art: list[Path]) -> None:
    ran = fairbrush("embed", "art", "--encoder", "\x1b[2J\n", "--cache", "c")
    assert ran.code == 2
    assert all(line.isprintable() for line in ran.stderr.splitlines())


def test_the_answer_to_a_person_is_a_list(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "art", "--cache", cache)
    facts = [re.split(r" {2,}", line, maxsplit=1) for line in ran.text.splitlines()]
    assert [name for name, _ in facts] == [
        *("images", "cached", "new", "failed", "elapsed_s", "encoder", "ran on", "vector", "cache"),
    ]
    assert dict(facts)["new"] == "4"
    assert (
        len({len(line) - len(value) for line, (_, value) in zip(ran.text.splitlines(), facts, strict=True)})
        == 1
    )


def test_data_is_utf_8_whatever_the_terminal_speaks(
    fairbrush: Fairbrush, cache: Path, art: list[Path]
) -> None:
    named = art[0].rename(art[0].with_name("étude.webp"))
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    ran = fairbrush("embed", named, "--cache", cache, "--json", env=env)
    assert json.loads(ran.stdout.decode("utf-8"))["images"][0]["path"] == str(named)


def test_output_goes_to_a_file(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "art", "--cache", cache, "--json", "--output", "answer.json")
    assert (ran.code, ran.stdout) == (0, b"")
    assert json.loads((fairbrush.home / "answer.json").read_text())["counts"]["new"] == 4


def test_parquet_is_not_poured_on_a_terminal(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ours, theirs = pty.openpty()
    ran = fairbrush("embed", "art", "--cache", cache, "--format", "parquet", stdout=theirs)
    os.close(ours)
    os.close(theirs)
    assert ran.code == 2
    assert ran.stderr.splitlines()[1] == "  next: Add --output FILE, or redirect stdout."
    assert not cache.exists()  # said before the work


@pytest.mark.parametrize("command", [["embed", "art", "--json"], ["embed", "art"]])
def test_a_reader_that_goes_away_is_no_failure(
    fairbrush: Fairbrush, cache: Path, art: list[Path], command: list[str]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ran = fairbrush(*command, stdout=theirs, env={"FAIRBRUSH_CACHE": str(cache)})
    os.close(theirs)
    assert (ran.code, ran.stderr) == (0, "")


def test_a_reader_that_goes_away_hides_no_failed_input(
    fairbrush: Fairbrush, cache: Path, art: list[Path]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ran = fairbrush("embed", "art", "absent.png", "--cache", cache, "--json", stdout=theirs)
    os.close(theirs)
    assert ran.code == 1
    assert ran.stderr.startswith("failed: absent.png: missing.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["embed", "art", "--json"], ["embed", "art", "-o", "/dev/full"]])
def test_an_answer_that_cannot_be_written_is_said(
    fairbrush: Fairbrush, cache: Path, art: list[Path], command: list[str]
) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = fairbrush(*command, stdout=full, env={"FAIRBRUSH_CACHE": str(cache)})
    assert ran.code == 2
    assert "cannot be written: No space left on device." in ran.stderr
    assert "  next: Choose another --output and run again: what was done is kept." in ran.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_stops_nothing_and_spoils_no_cache(
    fairbrush: Fairbrush, cache: Path, art: list[Path], closed: int
) -> None:
    (art[0].parent / "broken.png").write_bytes(b"")  # something to tell stderr
    ran = fairbrush("embed", "art", "--cache", cache, "--json", preexec_fn=lambda: os.close(closed))
    assert ran.code == 1
    assert (ran.stdout == b"") == (closed == 1)
    assert (ran.stderr == "") == (closed == 2)
    verified = fairbrush("cache", "verify", "--cache", cache, "--json").json
    assert (verified["sound"], verified["rows_checked"]) == (True, 4)


# Without a process


class Line(dict[str, Any]):
    """A row that is counted as long as somebody holds it."""

    alive: ClassVar[set[int]] = set()
    most: ClassVar[int] = 0

    def __init__(self, number: int) -> None:
        super().__init__(n=number, words=f"line {number}")
        Line.alive.add(number)
        Line.most = max(Line.most, len(Line.alive))

    def __del__(self) -> None:
        Line.alive.discard(self["n"])


@pytest.mark.parametrize("format_", ["csv", "nl", "json", "parquet", "xlsx"])
def test_rows_that_come_one_by_one_are_not_held(tmp_path: Path, format_: str) -> None:
    Line.most = 0
    emit(
        map(Line, range(20_000)),
        Format(format_),
        columns=["n", "words"],
        types=["BIGINT", "VARCHAR"],
        output=tmp_path / "answer",
    )
    assert Line.most < 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


def broken_rows() -> Iterator[dict[str, Any]]:
    yield from ({"n": n} for n in range(5_000))
    raise KeyboardInterrupt


@pytest.mark.parametrize("format_", ["csv", "nl", "json", "parquet", "xlsx"])
def test_an_answer_is_there_whole_or_not_at_all(
    tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "old").write_text("as it was")
    for output in (tmp_path / "new", tmp_path / "old", None):
        with pytest.raises(KeyboardInterrupt):
            emit(broken_rows(), Format(format_), columns=["n"], types=["BIGINT"], output=output)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "as it was")]
    assert capfdbinary.readouterr().out == b""


def test_json_that_comes_row_by_row_is_that_of_the_whole(tmp_path: Path) -> None:
    rows = [{"a": "two\nlines\u2028, and", "b": [1, {"c": []}]}, {"a": None, "b": {}}]
    for some in (rows, rows[:1], []):
        emit(iter(some), Format.JSON, columns=["a", "b"], output=tmp_path / "answer.json")
        whole = json.dumps(some, ensure_ascii=False, indent=2) + "\n"
        assert (tmp_path / "answer.json").read_text() == whole


def test_a_file_that_is_replaced_stays_what_it_was_to_others(tmp_path: Path) -> None:
    answer, link = tmp_path / "answer.csv", tmp_path / "link.csv"
    answer.write_text("old")
    answer.chmod(0o640)
    link.symlink_to(answer)
    other = tmp_path / "other.csv"
    emit([{"n": 1}], Format.CSV, output=link)
    assert link.is_symlink()
    assert (answer.read_text(), answer.stat().st_mode & 0o777) == ("n\n1\n", 0o640)
    other.hardlink_to(answer)
    emit([{"n": 2}], Format.CSV, output=answer)
    assert other.read_text() == answer.read_text() == "n\n2\n"


@pytest.mark.parametrize(
    "name",
    ["fairbrush.duckdb", "fairbrush.duckdb.wal", "fairbrush.toml", "indexes/CURRENT", "link.csv"],
)
def test_no_answer_takes_the_place_of_the_workspace_itself(tmp_path: Path, name: str) -> None:
    space = tmp_path / "space"
    (space / "indexes").mkdir(parents=True)
    for own in ("fairbrush.toml", "fairbrush.duckdb", "indexes/CURRENT"):
        (space / own).write_text("mine")
    (space / "link.csv").symlink_to("fairbrush.duckdb")
    with pytest.raises(ConfigError, match="the workspace itself is kept there"):
        check_output(space / name)
    for answer in (space / "top.csv", space / "indexes" / "list.csv", tmp_path / "fairbrush.duckdb"):
        check_output(answer)


def test_an_answer_goes_through_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    reader = os.open(tmp_path / "pipe.csv", os.O_RDONLY | os.O_NONBLOCK)
    emit([{"n": 1}], Format.CSV, output=tmp_path / "pipe.csv")
    assert os.read(reader, 99) == b"n\n1\n"
    os.close(reader)
    assert (tmp_path / "pipe.csv").is_fifo()


def test_an_answer_goes_through_a_link_to_an_open_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    (tmp_path / "link.csv").symlink_to(f"/dev/fd/{writer}")
    emit([{"n": 1}], Format.CSV, output=tmp_path / "link.csv")
    assert os.read(reader, 99) == b"n\n1\n"
    os.close(reader)
    os.close(writer)


def test_a_table_is_aligned_whatever_it_holds() -> None:
    rows = [
        {"name": "Ann", "works": 3, "share": 0.5},
        {"name": "日本", "works": 12, "share": 0.25},
        {"name": "e\u0301", "works": 7, "share": None},
        {"name": "a\nb\x1b[31m\u202e\udcff", "works": 100, "share": 1.0},
    ]
    assert table(rows) == (
        "name                      works  share\n"
        "Ann                           3  0.5\n"
        "日本                         12  0.25\n"
        "e\u0301                             7\n"
        "a\\nb\\x1b[31m\\u202e\\udcff    100  1\n"
    )


def test_a_column_that_is_all_empty_stays_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"sha256": None, "n": 1, "share": 1.5, "is_new": True}]
    emit(rows, Format.PARQUET, output=tmp_path / "answer.parquet")
    with duckdb.connect() as database:
        found = database.execute(f"DESCRIBE SELECT * FROM '{tmp_path}/answer.parquet'").fetchall()
    assert [(name, kind) for name, kind, *_ in found] == [
        *[("sha256", "VARCHAR"), ("n", "BIGINT"), ("share", "DOUBLE"), ("is_new", "BOOLEAN")],
    ]


@pytest.mark.parametrize(
    ("named", "short", "chosen"),
    [
        (None, {}, Format.TABLE),
        (Format.CSV, {}, Format.CSV),
        (None, {"nl": True}, Format.NL),
        (Format.JSON, {"json": True}, Format.JSON),
        (Format.CSV, {"json": True}, None),
        (None, {"nl": True, "csv": True}, None),
    ],
)
def test_one_format_is_chosen(named: Format | None, short: dict[str, bool], chosen: Format | None) -> None:
    flags = {"json": False, "nl": False, "csv": False, **short}
    if chosen is None:
        with pytest.raises(ConfigError, match="Two formats were asked for"):
            choose_format(named, **flags)
    else:
        assert choose_format(named, **flags) is chosen
