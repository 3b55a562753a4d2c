"""Whoever writes a file, readers and other writers meet whole files."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fairbrush.durable import create_durably, write_durably


@pytest.fixture(params=["with hard links", "without"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param == "without":
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_of_many_writers_of_a_new_name_one_wins_and_all_others_hear_of_it(folder: Path) -> None:
    contents = [bytes([n]) * 4096 for n in range(16)]

    def create(content: bytes) -> bool:
        try:
            create_durably(folder / "name", content)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(len(contents)) as threads:
        has_won = list(threads.map(create, contents))
    [winner] = [content for content, won in zip(contents, has_won, strict=True) if won]
    assert (folder / "name").read_bytes() == winner
    assert [path.name for path in folder.iterdir()] == ["name"]


@pytest.mark.parametrize("there", ["file", "folder", "link to nothing"])
def test_what_lies_there_stays(there: str, folder: Path) -> None:
    name = folder / "name"
    if there == "file":
        name.write_bytes(b"mine")
    elif there == "folder":
        name.mkdir()
    else:
        name.symlink_to("nothing")
    with pytest.raises(FileExistsError):
        create_durably(name, b"new")
    assert [path.name for path in folder.iterdir()] == ["name"]
    assert name.is_symlink() == (there == "link to nothing")
    assert there != "file" or name.read_bytes() == b"mine"


def test_writers_in_one_process_share_no_draft(tmp_path: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(8)]

    def pieces(content: bytes) -> list[bytes]:
        return [content[at : at + 1000] for at in range(0, len(content), 1000)]

    with ThreadPoolExecutor(len(contents)) as threads:
        list(threads.map(lambda content: write_durably(tmp_path / "name", pieces(content)), contents))
    assert (tmp_path / "name").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
