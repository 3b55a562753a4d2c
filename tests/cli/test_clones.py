"""Copies and look-alikes through the command line: warned of as they come in, listed with the evidence."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from running import Fairbrush, rows_in
from workspaces import Gallery, answer, command, rows

from fairbrush.corpus.works import thumbnail_path
from fairbrush.domain import EmbedOutcome
from fairbrush.embedding.session import EmbeddingSession


def name_of(gallery: Gallery) -> str:
    """An artist of the workspace whose own works come home."""
    shown = answer(gallery.workspace, "report", "distinctiveness")
    return str(max(shown, key=lambda row: row["recognisability"])["artist"])


@pytest.fixture
def original(gallery: Gallery) -> str:
    return name_of(gallery)


@pytest.fixture
def copies(gallery: Gallery, original: str, tmp_path: Path) -> Path:
    """All six works of an artist, saved again; the second mirrored, the third cropped."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for n, work in enumerate(gallery.works[original]):
        image = Image.open(work).convert("RGB")
        if n == 1:
            image = ImageOps.mirror(image)
        if n == 2:
            image = image.crop((6, 6, 250, 250))
        image.save(folder / f"{n}.png" if n > 2 else folder / f"{n}.jpg")
    return folder


def pairs_of(workspace: Path, *words: Any) -> list[dict[str, Any]]:
    return list(answer(workspace, "artist", "clones", *words)["pairs"])


def test_a_copied_artist_is_warned_of_listed_and_known_in_show(
    workspace: Path, gallery: Gallery, original: str, copies: Path, fairbrush: Fairbrush
) -> None:
    def run(*words: Any) -> Any:
        ran = fairbrush("--workspace", workspace, *words)
        assert ran.code == 0, ran.stderr
        return ran

    assert pairs_of(workspace) == []
    added = run("artist", "add", "Copycat", copies, "--json")
    warned = added.stderr.splitlines()
    assert [line.startswith("copy: ") for line in warned] == [True] * 6 + [False] * 2
    assert warned[5] == "copy: 1 more."
    assert f"looks like a work of {original}: same picture, re-encoded" in added.stderr
    taken = re.search(
        rf"look-alike: (\d) of 6 works of Copycat would be credited to {original}", added.stderr
    )
    assert taken
    assert int(taken[1]) >= 3
    assert warned[-1].startswith("  next: fairbrush artist clones")

    listed = json.loads(run("artist", "clones", "copycat", "--json").stdout)
    assert listed["index_version"] == "v0001"
    [pair] = listed["pairs"]
    assert (pair["kind"], pair["artist"], pair["other"]) == ("copies", original, "Copycat")
    assert pair["evidence"].startswith("6 of 6 works as 6 of 6: ")
    assert not pair["same_creator"]
    assert {work["path"] for work in pair["works"]} == set(map(str, gallery.works[original]))
    assert {work["likeness"] for work in pair["works"]} == {"same picture, re-encoded", "near copy"}
    assert all(work["similarity"] >= 0.91 for work in pair["works"])

    extended = run("index", "extend")
    assert "1 pair of creators cannot be told apart" in extended.stderr
    both = pairs_of(workspace)
    assert [pair["kind"] for pair in both] == ["copies", "look-alike"]
    assert both[1]["credited_to_other"]["of"] == 6
    assert {both[1]["artist"], both[1]["other"]} == {original, "Copycat"}
    assert pairs_of(workspace, "Copycat") == both
    shown = answer(workspace, "artist", "show", "Copycat")["distinctiveness"]
    assert (shown["index_version"], shown["works"]) == ("v0002", 6)
    assert shown["nearest"] == original
    assert shown["come_home"]["of"] == 6
    assert shown["come_home"]["low"] <= shown["come_home"]["share"] <= shown["come_home"]["high"]
    for format_ in ("table", "nl", "csv"):
        assert "Copycat" in run("artist", "clones", "--format", format_).text


def test_the_same_works_under_the_same_creator_are_no_warning(
    workspace: Path, gallery: Gallery, original: str, copies: Path
) -> None:
    ran = command(workspace, "artist", "add", "Pen Name", copies, "--creator", original)
    assert (ran.code, ran.stderr) == (0, "")
    again = command(
        workspace, "artist", "add", "Other Pen", gallery.works[original][0], "--creator", original
    )
    assert (again.code, again.stderr) == (0, "")
    found = pairs_of(workspace)
    assert {pair["same_creator"] for pair in found} == {True}
    assert {pair["kind"] for pair in found} == {"copies"}
    same_file = [work for pair in found for work in pair["works"] if work["likeness"] == "same file"]
    assert [work["similarity"] for work in same_file] == [1.0]


def test_one_copied_work_is_found_without_an_index_or_an_encoder(
    workspace: Path, original: str, copies: Path
) -> None:
    (workspace / "indexes" / "CURRENT").unlink()
    for manifest in (workspace / "indexes").glob("*/v*.json"):
        manifest.unlink()
    (workspace / "fairbrush.toml").write_text('encoder = "local-dir:/nowhere"\n')
    ran = command(workspace, "artist", "add", "One", copies / "0.jpg")
    assert ran.code == 0
    assert f"looks like a work of {original}: same picture, re-encoded" in ran.stderr
    listed = command(workspace, "artist", "clones", "--json")
    assert (listed.code, listed.json["index_version"], len(listed.json["pairs"])) == (0, None, 1)
    assert "there is no index" in listed.stderr
    shown = command(workspace, "artist", "show", "One")
    assert "unknown:" in shown.text
    assert answer(workspace, "artist", "show", "One")["distinctiveness"] is None


def test_a_check_that_fails_never_fails_the_add(workspace: Path, copies: Path) -> None:
    (workspace / "fairbrush.toml").write_text('encoder = "local-dir:/nowhere"\n')
    ran = command(workspace, "artist", "add", "Copycat", copies)
    assert ran.code == 0
    assert "Added, but not compared with all others: " in ran.stderr
    assert answer(workspace, "artist", "show", "Copycat")["artist"] == "Copycat"


def test_who_is_erased_while_the_style_is_compared_leaves_no_vector(
    workspace: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_in(workspace / "embeddings")
    judge = EmbeddingSession.embed

    def erase_meanwhile(session: EmbeddingSession, paths: list[Path]) -> Iterator[EmbedOutcome]:
        assert command(workspace, "artist", "erase", "Copycat", "--yes").code == 0
        yield from judge(session, paths)

    monkeypatch.setattr(EmbeddingSession, "embed", erase_meanwhile)
    assert command(workspace, "artist", "add", "Copycat", copies).code == 0
    assert rows_in(workspace / "embeddings") == before


def test_no_check_compares_nothing(workspace: Path, copies: Path) -> None:
    for words in (["add", "Copycat", copies], ["works", "Copycat", copies]):
        ran = command(workspace, "artist", *words, "--no-check")
        assert (ran.code, ran.stderr) == (0, "")
    unseen = "SELECT count(*) AS n FROM work WHERE outline IS NULL AND path LIKE '%/copies/%'"
    assert rows(workspace, unseen) == [{"n": 6}]
    assert len(pairs_of(workspace)) == 1
    assert rows(workspace, unseen) == [{"n": 0}]


def test_import_warns_of_copies_and_leaves_styles_to_extend(
    workspace: Path, original: str, copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.csv").write_text(f"name,works\nCopycat,{copies}\nNobody,\n")
    ran = command(workspace, "artist", "import", tmp_path / "r.csv")
    assert ran.code == 0
    assert f"looks like a work of {original}" in ran.stderr
    assert "look-alike:" not in ran.stderr
    again = command(workspace, "artist", "import", tmp_path / "r.csv")
    assert (again.code, again.stderr) == (0, "")
    monkeypatch.setattr("fairbrush.clones.MOST_NEW", 5)
    (tmp_path / "s.csv").write_text(f"name,works\nAgain,{copies}\n")
    many = command(workspace, "artist", "import", tmp_path / "s.csv")
    assert "6 new works were not compared with those of others: fairbrush artist clones" in many.stderr


def test_nothing_of_an_erased_artist_is_left_in_what_was_measured(
    workspace: Path, original: str, copies: Path
) -> None:
    assert command(workspace, "artist", "add", "Copycat", copies).code == 0
    assert command(workspace, "index", "extend").code == 0
    erased = str(answer(workspace, "artist", "show", original)["artist_id"])
    held = f"""SELECT count(*) AS n FROM artist_distinctiveness
        WHERE artist_id = '{erased}' OR nearest_artist_id = '{erased}'"""
    assert rows(workspace, held)[0]["n"] >= 3
    outlines = "SELECT count(*) AS n FROM work WHERE outline IS NOT NULL"
    before = rows(workspace, outlines)[0]["n"]
    assert command(workspace, "artist", "erase", original, "--yes").code == 0
    assert rows(workspace, held) == [{"n": 0}]
    assert rows(workspace, outlines) == [{"n": before - 6}]
    digests = rows(workspace, "SELECT DISTINCT manifest_digest FROM artist_distinctiveness")
    current = answer(workspace, "index", "show")["manifest_digest"]
    assert digests == [{"manifest_digest": current}]
    report = answer(workspace, "report", "distinctiveness")
    assert erased not in json.dumps(report)
    assert {row["artist"] for row in report} >= {"Copycat"}
    assert answer(workspace, "artist", "show", "Copycat")["distinctiveness"]["index_version"] == "v0002"
    assert pairs_of(workspace) == []


def test_the_report_says_what_show_says(workspace: Path) -> None:
    report = answer(workspace, "report", "distinctiveness")
    assert len(report) == 5
    assert [row["home_share"] for row in report] == sorted(row["home_share"] for row in report)
    for row in report:
        shown = answer(workspace, "artist", "show", row["artist_id"])["distinctiveness"]
        assert (row["verdict"], row["nearest"], row["margin"]) == (
            shown["verdict"],
            shown["nearest"],
            shown["margin"],
        )
        home = shown["come_home"]
        wilson = [home["share"], home["low"], home["high"]]
        assert [row["home_share"], row["home_low"], row["home_high"]] == pytest.approx(wilson, abs=1e-4)


def test_a_work_without_a_thumbnail_is_passed_over(workspace: Path, original: str, copies: Path) -> None:
    for work in answer(workspace, "artist", "works", original):
        thumbnail_path(workspace, work["sha256"]).unlink()
    ran = command(workspace, "artist", "add", "Copycat", copies / "0.jpg")
    assert (ran.code, ran.stderr) == (0, "")
    assert pairs_of(workspace) == []


def test_everybody_can_be_erased_and_a_damaged_current_stops_no_erasure(
    workspace: Path, gallery: Gallery
) -> None:
    *others, last = gallery.works
    for name in others:
        assert command(workspace, "artist", "erase", name, "--yes").code == 0
    (alone,) = answer(workspace, "report", "distinctiveness")
    assert (alone["artist"], alone["nearest"], alone["margin"], alone["look_alikes"]) == (last, None, None, 0)
    assert pairs_of(workspace) == []
    (workspace / "indexes" / "CURRENT").write_text("nonsense")
    ran = command(workspace, "artist", "erase", last, "--yes")
    assert (ran.code, ran.stderr) == (0, "")
    assert rows(workspace, "SELECT * FROM artist_distinctiveness") == []
    assert answer(workspace, "report", "distinctiveness") == []
