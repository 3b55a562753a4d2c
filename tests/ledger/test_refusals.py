"""Refused images: kept like records, once for each path, reason and command, and in nobody's way."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from fake_records import NOON, create_tables, forget_records, record

from fairbrush.corpus.images import Refusal, RefusalReason
from fairbrush.corpus.traces import Traces
from fairbrush.domain import Doing
from fairbrush.ledger import refusals
from fairbrush.ledger.records import (
    discard_drained,
    drain,
    load_pending,
    note_refusals,
    pending_count,
    pending_files,
    write_pending,
)
from fairbrush.ledger.refusals import RefusedImage, insert_refusals
from fairbrush.ledger.refused_files import redact_refused

BROKEN = Refusal(Path("/art/broken.png"), RefusalReason.CORRUPT, "It breaks off after 24 bytes.")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def tables():
    with duckdb.connect() as connection:
        create_tables(connection)
        yield connection


@pytest.fixture
def database(tables):
    yield tables
    forget_records(tables)


def note(folder: Path, *refused: Refusal, now: datetime = NOON) -> Path:
    file = note_refusals(folder, refused, doing=Doing.ATTRIBUTE, now=now)
    assert file is not None
    return file


def kept(connection) -> list[tuple]:
    return connection.execute("SELECT * FROM refusal ORDER BY path, reason").fetchall()


def test_a_refused_image_is_a_row_that_says_which_why_where_and_when(tmp_path, database):
    note(tmp_path, BROKEN)
    drain(database, tmp_path)
    noon = NOON.replace(tzinfo=None)
    assert kept(database) == [
        ("/art/broken.png", "corrupt", "attribute", "It breaks off after 24 bytes.", noon, noon)
    ]
    assert pending_count(tmp_path) == 0


def test_the_same_refusal_again_is_the_same_row_with_first_and_last_time(tmp_path, database):
    again = Refusal(BROKEN.path, BROKEN.reason, "It breaks off after 30 bytes.")
    note(tmp_path, again, now=NOON + 9 * DAY)
    note(tmp_path, BROKEN, now=NOON + 2 * DAY)
    drain(database, tmp_path)
    for day in (5, 1):
        note(tmp_path, BROKEN, BROKEN, now=NOON + day * DAY)
        drain(database, tmp_path)
    ((*_, detail, first_at, last_at),) = kept(database)
    assert (first_at.day, last_at.day) == ((NOON + DAY).day, (NOON + 9 * DAY).day)
    assert detail == "It breaks off after 30 bytes."


def test_another_reason_or_command_is_another_row(tmp_path, database):
    note(tmp_path, BROKEN, Refusal(BROKEN.path, RefusalReason.MISSING, "There is no such file."))
    note_refusals(tmp_path, [BROKEN], doing=Doing.ARTIST_ADD, now=NOON)
    drain(database, tmp_path)
    found = {(reason, doing) for _, reason, doing, *_ in kept(database)}
    assert found == {("corrupt", "attribute"), ("missing", "attribute"), ("corrupt", "artist add")}


def test_a_drain_that_is_killed_after_its_commit_changes_nothing_when_repeated(tmp_path, database):
    note(tmp_path, BROKEN)
    write_pending(tmp_path, [record("moon")])
    database.begin()
    load_pending(database, tmp_path)
    database.commit()
    before = kept(database)
    assert pending_count(tmp_path) == 2, "killed before the files were removed"
    assert drain(database, tmp_path).repeated == 1
    assert (kept(database), pending_count(tmp_path)) == (before, 0)


def test_a_drain_that_is_rolled_back_keeps_the_refusal_for_the_next(tmp_path, database):
    note(tmp_path, BROKEN)
    database.begin()
    load_pending(database, tmp_path)
    database.rollback()
    assert (kept(database), pending_count(tmp_path)) == ([], 1)
    discard_drained(drain(database, tmp_path))
    assert len(kept(database)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda content: content.replace(b"corrupt", b"CORRUPT"),
        lambda content: b"",
        lambda content: content.replace(b"fairbrush.refusals/1", b"fairbrush.refusals/9"),
        lambda content: bytes(len(content)),
    ],
    ids=["cut short", "a word changed", "emptied", "another schema", "zeros"],
)
def test_damaged_refusals_move_aside_and_no_answer_is_lost(tmp_path, database, damage):
    bad = note(tmp_path, BROKEN)
    bad.write_bytes(damage(bad.read_bytes()))
    write_pending(tmp_path, [record("moon")])
    report = drain(database, tmp_path)
    assert (report.recorded, [one.file.name for one in report.refused]) == (1, [bad.name])
    assert (tmp_path / "refused" / f"{bad.name}.reason.txt").read_text().strip()
    assert kept(database) == []


def test_a_refusal_without_a_field_or_with_another_type_is_damaged(tmp_path, database):
    """Its digest is right: whoever wrote it wrote nonsense."""
    import hashlib

    for number, line in enumerate([b'{"path":"/a.png"}\n', b"[]\n", b'{"path":1,"reason":"","detail":""}\n']):
        header = (
            f'{{"records":1,"schema":"fairbrush.refusals/1","sha256":"{hashlib.sha256(line).hexdigest()}"}}'
        )
        (tmp_path / "pending").mkdir(exist_ok=True)
        (tmp_path / "pending" / f"{number}.jsonl").write_bytes(header.encode() + b"\n" + line)
    report = drain(database, tmp_path)
    assert (len(report.refused), kept(database), pending_count(tmp_path)) == (3, [], 0)


@pytest.mark.parametrize(
    "name", ["caf\udce9.png", "nul\0.png", "a\nb.png", "\u202egnp.exe", "ΑΒ.png", "\ud800"]
)
def test_a_name_that_is_no_utf_8_or_holds_control_characters_is_kept_as_text(tmp_path, database, name):
    note(tmp_path, Refusal(Path("/art") / name, RefusalReason.UNREADABLE, f"cannot open {name}"))
    assert drain(database, tmp_path).refused == ()
    ((path, *_),) = kept(database)
    shown = name.replace("\udce9", "\\udce9").replace("\0", "\\x00").replace("\ud800", "\\ud800")
    assert path == f"/art/{shown}"


def test_a_relative_path_is_kept_from_the_root(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note(tmp_path, Refusal(Path("art/../broken.png"), BROKEN.reason, ""))
    drain(database, tmp_path)
    assert kept(database)[0][0] == str(tmp_path / "broken.png")


def test_what_cannot_be_noted_stops_nothing(tmp_path):
    (tmp_path / "pending").write_text("a file where the folder belongs")
    assert note_refusals(tmp_path, [BROKEN], doing=Doing.ATTRIBUTE, now=NOON) is None
    assert note_refusals(tmp_path / "other", [], doing=Doing.ATTRIBUTE, now=NOON) is None
    assert not (tmp_path / "other").exists()


def test_many_refusals_are_one_file_and_few_statements(tmp_path, database, monkeypatch):
    monkeypatch.setattr(refusals, "_ROWS_AT_ONCE", 200)
    images = [Refusal(Path(f"/art/{number}.png"), RefusalReason.EMPTY, "") for number in range(500)]
    note(tmp_path, *images)
    assert len(pending_files(tmp_path)) == 1
    drained = Counting(database)
    insert_refusals(drained, [RefusedImage.of(one, doing=Doing.ATTRIBUTE, now=NOON) for one in images])
    assert drained.statements == 3
    drain(database, tmp_path)
    assert [path for path, *_ in kept(database)] == sorted(str(one.path) for one in images)


class Counting:
    """A connection that counts what it runs."""

    def __init__(self, connection) -> None:
        self.connection, self.statements = connection, 0

    def execute(self, *given):
        self.statements += 1
        return self.connection.execute(*given)


@pytest.mark.parametrize("folder", ["/art/ada", '/art/"ada" \\ co'])
def test_a_damaged_refusal_among_an_erased_artists_works_is_dropped_line_by_line(tmp_path, database, folder):
    mine, other = Path(folder, "sketch.png"), Path("/art/bo/sketch.png")
    file = note(tmp_path, *(Refusal(path, RefusalReason.EMPTY, "") for path in (mine, other)))
    file.write_bytes(file.read_bytes().replace(b'"records":2', b'"records":3'))
    drain(database, tmp_path)
    assert redact_refused(tmp_path, Traces("x", folders=(f"{folder}/",))).lines_dropped == 1
    left = (tmp_path / "refused" / file.name).read_text()
    assert str(other) in left
    assert left.count("sketch.png") == 1
