"""``fairbrush bench accuracy`` as a user runs it: small, in a process of its own."""

import json
from pathlib import Path

import pytest
from running import Fairbrush, Ran, without_network

SECTIONS = {
    "style retrieval",
    "one artist",
    "mixtures",
    "unknown artists",
    "false credit against credit",
    "intervals",
    "clones",
    "words",
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fairbrush, Ran]:
    """A first small run, without a network, with its report in ``out``."""
    fairbrush = Fairbrush(tmp_path_factory.mktemp("bench"))
    ran = fairbrush(
        *("bench", "accuracy", "--quick", "--json", "--output-dir", "out"),
        env=without_network(tmp_path_factory.mktemp("offline")),
    )
    assert ran.code == 0, ran.stderr
    return fairbrush, ran


def test_every_section_is_measured_beside_the_baselines(quick: tuple[Fairbrush, Ran]) -> None:
    answer = quick[1].json
    assert answer["schema"] == "fairbrush.accuracy/1"
    assert {finding["section"] for finding in answer["findings"]} == SECTIONS
    methods = {f["method"] for f in answer["findings"] if f["section"] == "mixtures"}
    assert {"fairbrush nearest", "raw nearest centroid", "raw 10-NN vote", "raw softmax, fitted"} <= methods
    settings = {finding["setting"] for finding in answer["findings"]}
    assert settings == {"gallery, 13 artists", "gallery, 12 artists", "synthetic, 12 artists"}
    assert {goal["verdict"] for goal in answer["goals"]} <= {"met", "missed", "open", "no intervals"}


def test_the_report_is_written_as_the_command_says(quick: tuple[Fairbrush, Ran]) -> None:
    fairbrush, ran = quick
    out = fairbrush.home / "out"
    assert json.loads((out / "report.json").read_text()) == ran.json
    text = (out / "report.md").read_text()
    assert "fairbrush bench accuracy --quick --json --output-dir out" in text
    assert str(fairbrush.home) not in text
    if (out / "figure.svg").exists():
        assert "](figure.svg)" in text
    else:
        assert "No figure is drawn" in ran.stderr
        assert "fairbrush[report]" in ran.stderr


def test_the_same_seed_gives_the_same_numbers(quick: tuple[Fairbrush, Ran]) -> None:
    fairbrush, first = quick
    again = fairbrush("bench", "accuracy", "--quick", "--no-synthetic", "--csv")
    assert again.code == 0
    lines = again.text.splitlines()
    assert lines[0] == "section,setting,kind,method,measure,mean,low,high,images,groups"
    on_gallery = [f for f in first.json["findings"] if f["setting"].startswith("gallery")]
    assert len(lines) - 1 == len(on_gallery)
    for finding, line in zip(on_gallery, lines[1:], strict=True):
        mean = "" if finding["mean"] is None else str(finding["mean"])
        assert f",{mean}," in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent"], "absent is not a folder"),
        (["--alpha", "0"], "alpha is 0"),
        (["--value", "magic"], "'magic' is not a value function"),
        (["--artists", "2"], "--artists"),
        (["--output-dir", "file/below"], "cannot be made"),
        (["--panel", "absent"], "panel absent is not a folder"),
        (["empty"], "no images"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(
    fairbrush: Fairbrush, arguments: list[str], complaint: str
) -> None:
    (fairbrush.home / "file").write_text("")
    (fairbrush.home / "empty").mkdir()
    ran = fairbrush("bench", "accuracy", "--quick", *arguments)
    assert (ran.code, ran.stdout) == (2, b"")
    assert complaint in ran.stderr


def test_bench_alone_shows_its_help(fairbrush: Fairbrush) -> None:
    ran = fairbrush("bench")
    assert ran.code == 2
    assert "accuracy" in ran.stderr


def test_a_gallery_of_ones_own_is_measured_and_what_fails_is_listed(
    quick: tuple[Fairbrush, Ran], tmp_path: Path
) -> None:
    from running import GALLERY

    fairbrush, _ = quick
    for artist in sorted(GALLERY.iterdir())[:4]:
        (tmp_path / "art" / artist.name).mkdir(parents=True)
        for work in sorted(artist.glob("*.webp"))[:8]:
            (tmp_path / "art" / artist.name / work.name).write_bytes(work.read_bytes())
    (tmp_path / "art" / sorted(GALLERY.iterdir())[0].name / "bad.png").write_bytes(b"no image")
    ran = fairbrush("bench", "accuracy", tmp_path / "art", "--quick", "--no-synthetic", "--fewest-works", "6")
    assert ran.code == 1, ran.stderr
    assert "bad.png" in ran.stderr
    assert "gallery, 4 artists" in ran.text
