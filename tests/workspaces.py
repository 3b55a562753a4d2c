"""A small workspace with an index, made once, and the command line inside this process."""

import io
import json
import shutil
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from running import GALLERY, Ran

from fairbrush.cli.app import run
from fairbrush.ledger.records import pending_files

N_ARTISTS = 5
N_WORKS = 6


@dataclass(frozen=True)
class Gallery:
    """``works``: by artist. ``answers``: to each of these works, with nothing recorded."""

    workspace: Path
    works: dict[str, list[Path]]
    answers: dict[Path, Any] = field(default_factory=dict)

    @property
    def credited(self) -> Path:
        """A work of the first artist who is credited for one of their own."""
        return next(
            path
            for artist, paths in self.works.items()
            for path in paths
            if artist in [share["artist"] for share in self.answers[path]["artists"]]
        )


def command(workspace: Path, *words: Any) -> Ran:
    """Run one command line on a workspace in this process: its exit code, answer and talk."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with mock.patch.object(sys, "stdout", stdout), redirect_stderr(stderr):
        code = run(["--workspace", str(workspace), *map(str, words)])
        stdout.flush()
    return Ran(code, stdout.buffer.getvalue(), stderr.getvalue())


def answer(workspace: Path, *words: Any) -> Any:
    """The JSON of a command that must succeed."""
    ran = command(workspace, *words, "--json")
    assert ran.code == 0, ran.stderr
    return ran.json


def rows(workspace: Path, query: str) -> Any:
    return answer(workspace, "sql", query)


def pending(workspace: Path) -> list[Path]:
    return pending_files(workspace / "records")


def copy_works(folder: Path) -> dict[str, list[Path]]:
    """Some works of some artists of the bundled gallery, a folder an artist."""
    works = {}
    for artist in sorted(GALLERY.iterdir())[:N_ARTISTS]:
        target = folder / artist.name
        target.mkdir(parents=True)
        files = sorted(artist.glob("*.webp"))[:N_WORKS]
        works[artist.name] = [Path(shutil.copy(file, target / file.name)) for file in files]
    return works


def make_gallery(folder: Path) -> Gallery:
    works = copy_works(folder / "art")
    workspace = folder / "space"
    assert run(["init", str(workspace)]) == 0
    assert command(workspace, "artist", "import", folder / "art").code == 0
    built = command(workspace, "index", "build")
    assert built.code == 0, built.stderr
    gallery = Gallery(workspace, works)
    ran = command(workspace, "attribute", folder / "art", "--no-record", "--nl")
    assert ran.code == 0, ran.stderr
    for document in map(json.loads, ran.stdout.splitlines()):
        gallery.answers[Path(document["image"]["path"])] = document
    return gallery
