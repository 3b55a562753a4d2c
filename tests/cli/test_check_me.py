"""``fairbrush check-me`` as an artist types it: alone, offline, leaving one file behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from running import GALLERY, Fairbrush, Ran, without_network

from fairbrush.cli.app import run

REPORT = "fairbrush-check-me.html"
QUERIES = GALLERY.parent / "queries"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Eight works, three later ones by the same hand, four by another."""
    works, images = tmp_path / "works", tmp_path / "images"
    works.mkdir()
    images.mkdir()
    for file in sorted((GALLERY / "Yutaka Kachi").iterdir())[:8]:
        copy(file, works)
    for hand, count in (("Yutaka Kachi", 3), ("Danny Allen", 4)):
        for number, file in enumerate(sorted((QUERIES / hand).iterdir())[:count]):
            copy(file, images / f"{hand.split()[0]}-{number}.webp")
    return tmp_path


@pytest.fixture
def check_me(
    home: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """The command in this process, typed in ``home``."""
    monkeypatch.chdir(home)

    def type_(*words: Any, before: tuple[Any, ...] = ()) -> Ran:
        code = run([str(word) for word in (*before, "check-me", *words, "--keep", kept)])
        said, talk = capsys.readouterr()
        return Ran(code, said.encode(), talk)

    return type_


def entries(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


def test_an_artist_alone_gets_a_report_and_nothing_else_is_written(fairbrush: Fairbrush, home: Path):
    scratch = home / "scratch"
    scratch.mkdir()
    before = entries(home) | {"site"}
    ran = fairbrush("check-me", "works", "images", env={**without_network(home), "TMPDIR": str(scratch)})
    assert ran.code == 0, ran.stderr
    assert ran.text.startswith("3 of 7 images are listed")
    named = {line.split()[0] for line in ran.text.splitlines()[2:]}
    assert named == {f"Yutaka-{n}.webp" for n in range(3)}
    assert ran.stderr == f"The report: {REPORT}\n"
    assert entries(home) == before | {REPORT}
    assert list(scratch.iterdir()) == []
    assert "Which of these pictures draw on your works?" in (home / REPORT).read_text()


def test_a_report_that_is_there_is_never_replaced_unasked(check_me: Callable[..., Ran], home: Path):
    (home / REPORT).write_text("mine")
    refused = check_me("works", "images")
    assert (refused.code, (home / REPORT).read_text()) == (2, "mine")
    assert "is there already" in refused.stderr
    named = check_me("works", "images", "-o", "other.html", "--language", "de")
    assert (named.code, (home / REPORT).read_text()) == (0, "mine")
    assert "greifen auf Ihre Werke zurück" in (home / "other.html").read_text()
    forced = check_me("works", "images", "--force", "--name", "Ann <b>")
    assert forced.code == 0
    assert "the works of Ann &lt;b&gt;?" in (home / REPORT).read_text()


def test_a_workspace_around_it_is_ignored_and_none_is_made(check_me: Callable[..., Ran], home: Path):
    (home / "fairbrush.toml").write_text('encoder = "no such encoder"\nlanguage = "xx"\n')
    ran = check_me("works", "images", "--json")
    assert ran.code == 0, ran.stderr
    document = ran.json
    assert document["counts"]["listed"] == 3
    assert document["made"]["encoder_id"].startswith("mini")
    assert not {"fairbrush.duckdb", "embeddings", "indexes", REPORT} & entries(home)
    named = check_me("works", "images", before=("--workspace", home))
    assert (named.code, "without a workspace" in named.stderr) == (2, True)


def test_files_that_cannot_be_read_are_told_and_the_rest_is_judged(check_me: Callable[..., Ran], home: Path):
    (home / "images" / "bad.png").write_text("no picture")
    stranger = sorted((QUERIES / "Danny Allen").iterdir())[6]
    copy(stranger, home / "images" / os.fsdecode(b"\xff\n.webp"))
    ran = check_me("works", "images", "-o", "report.html")
    assert ran.code == 1
    assert "3 of 8 images are listed" in ran.text
    assert "not read: images: bad.png: unsupported" in ran.stderr
    page = (home / "report.html").read_text()
    assert "bad.png" in page
    assert "\\udcff" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["works", "works"], "the same folder"),
        (["works", "nowhere"], "nowhere is not a folder"),
        (["empty", "images"], "No images in empty"),
        (["works", "bad"], "None of the 1 files in bad could be read"),
        (["works", "images", "--error-level", "1"], "between 0 and 1"),
        (["works", "images", "-o", "x.pdf"], "no PDF"),
        (["works", "images", "-o", "nowhere/x.html"], "its folder does not exist"),
        (["works", "images", "--language", "fr"], "no pages in 'fr'"),
        (["works", "images", "--panel", "empty"], "0 works by 0 hands"),
        (["works", "images", "--encoder", "no"], "no"),
        (["works"], "IMAGES_FOLDER"),
    ],
)
def test_what_cannot_run_says_so_and_writes_nothing(
    check_me: Callable[..., Ran], home: Path, arguments: list[str], message: str
):
    (home / "empty").mkdir()
    (home / "bad").mkdir()
    (home / "bad" / "x.png").write_text("no picture")
    before = entries(home)
    ran = check_me(*arguments)
    assert (ran.code, message in ran.stderr) == (2, True), ran.stderr
    assert entries(home) == before


def test_the_terminal_says_what_to_mind(check_me: Callable[..., Ran], home: Path):
    works, images = home / "works", home / "images"
    for stranger in images.glob("Danny*"):
        stranger.unlink()
    copy(sorted(works.iterdir())[0], images / "again.webp")
    doubtful = check_me("works", "images")
    assert doubtful.text.splitlines()[:3] == [
        "3 of 3 images are listed: nearer to your works than chance explains.",
        "1 image looks like a copy of a work.",
        "Mind: these images are near as a whole, and the list may be wrong for it. See the report.",
    ]
    for file in [*sorted(works.iterdir())[1:], *images.glob("Yutaka*")]:
        file.unlink()
    copied = check_me("works", "images", "--force")
    assert copied.text.splitlines() == [
        "1 image looks like a copy of a work.",
        "Mind: only 1 of your works count; five or more are needed to know a style.",
    ]


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_finds_nothing_left(
    fairbrush: Fairbrush, home: Path, many_images: Path, end: signal.Signals
):
    scratch = home / "scratch"
    scratch.mkdir()
    before = entries(home)
    process = fairbrush.start("check-me", "works", many_images, env={"TMPDIR": str(scratch)})
    deadline = time.monotonic() + 30
    while not any(scratch.glob("*/data.mdb")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, end)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == (130 if end is signal.SIGINT else 128 + end)
    assert b"Traceback" not in stderr
    assert entries(home) == before
    assert list(scratch.iterdir()) == []
