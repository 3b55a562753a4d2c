"""``fairbrush index``: build, extend, list, show, rollback and verify, as a user types them."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image
from running import GALLERY, Fairbrush, rows_in, wait_until
from workspaces import N_ARTISTS, Gallery, answer, command, rows

from fairbrush.index.search import open_index


@pytest.fixture
def newcomer(tmp_path: Path) -> list[Path]:
    """Six works of an artist the workspace does not know."""
    folder = tmp_path / "newcomer"
    folder.mkdir()
    works = sorted(sorted(GALLERY.iterdir())[N_ARTISTS].glob("*.webp"))[:6]
    return [Path(shutil.copy(work, folder / f"{n}.webp")) for n, work in enumerate(works)]


def shares(workspace: Path, images: list[Path]) -> list[dict[str, int]]:
    document = answer(workspace, "attribute", *images, "--no-record")
    return [
        {share["artist_id"]: share["share_e12"] for share in one["artists"]}
        for one in document["attributions"]
    ]


def test_a_build_without_changes_says_unchanged(workspace: Path) -> None:
    again = answer(workspace, "index", "build")
    assert (again["version"], again["status"], again["changed_artists"]) == ("v0001", "unchanged", 0)
    extended = answer(workspace, "index", "extend")
    assert (extended["version"], extended["status"]) == ("v0001", "unchanged")
    assert [row["version"] for row in rows(workspace, "SELECT version FROM index_version")] == ["v0001"]


def test_the_rate_of_false_credit_is_the_users_and_stays(workspace: Path, newcomer: list[Path]) -> None:
    strict, wide = (answer(workspace, "index", "build", "--alpha", level) for level in ("0.01", "0.3"))
    assert (strict["alpha"], wide["alpha"]) == (0.01, 0.3)
    assert strict["delta"] > wide["delta"] >= wide["entry"]
    assert answer(workspace, "index", "build")["status"] == "unchanged"
    assert command(workspace, "artist", "add", "New", *newcomer).code == 0
    assert answer(workspace, "index", "extend")["alpha"] == 0.3
    ran = command(workspace, "index", "build", "--alpha", "1.5")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "--alpha must be from 0.001 to 0.5, not 1.5" in ran.stderr


def test_extend_adds_only_the_new_and_equals_a_rebuild(
    workspace: Path, gallery: Gallery, newcomer: list[Path], tmp_path: Path
) -> None:
    before = {path.name for path in workspace.glob("indexes/*/segments/*.works")}
    assert command(workspace, "artist", "add", "New", *newcomer).code == 0
    rebuilt = Path(shutil.copytree(workspace, tmp_path / "rebuilt"))
    extended = answer(workspace, "index", "extend")
    assert (extended["version"], extended["status"], extended["changed_artists"]) == ("v0002", "new", 1)
    assert (extended["artists"], extended["works"]) == (6, 36)
    segments = {path.name: path for path in workspace.glob("indexes/*/segments/*.works")}
    (added,) = segments.keys() - before
    assert before <= segments.keys()
    assert segments[added].stat().st_size < segments[before.pop()].stat().st_size / 2
    built = answer(rebuilt, "index", "build")
    assert built["changed_artists"] == 6
    assert built["delta"] == pytest.approx(extended["delta"], abs=1e-9)
    one, other = open_index(workspace / "indexes"), open_index(rebuilt / "indexes")
    assert one.artist_ids == other.artist_ids
    images = [*gallery.answers, *newcomer]
    assert shares(workspace, images) == shares(rebuilt, images)


def test_more_works_of_an_artist_extend_the_index(
    workspace: Path, gallery: Gallery, newcomer: list[Path]
) -> None:
    name = next(iter(gallery.works))
    assert command(workspace, "artist", "works", name, newcomer[0]).code == 0
    extended = answer(workspace, "index", "extend")
    assert (extended["changed_artists"], extended["artists"], extended["works"]) == (1, 5, 31)


def test_works_that_changed_or_vanished_are_left_out_and_reported(
    workspace: Path, newcomer: list[Path]
) -> None:
    assert command(workspace, "artist", "add", "New", *newcomer, "--no-check").code == 0  # embeds nothing
    newcomer[0].unlink()
    Image.new("RGB", (64, 64), "red").save(newcomer[1], "WEBP")
    ran = command(workspace, "index", "build", "--json")
    assert ran.code == 1
    assert (ran.json["artists"], ran.json["works"]) == (6, 34)
    reasons = {Path(one["path"]).name: one["reason"] for one in ran.json["left_out"]}
    assert reasons["1.webp"] == "the file was changed since it was registered"
    assert reasons["0.webp"].startswith("missing: ")
    assert "left out: New: " in ran.stderr


def test_a_vanished_work_whose_vector_is_cached_stays(workspace: Path, newcomer: list[Path]) -> None:
    assert command(workspace, "artist", "add", "New", *newcomer).code == 0
    assert command(workspace, "index", "extend").code == 0
    for work in newcomer:
        work.unlink()
    again = answer(workspace, "index", "build")
    assert (again["artists"], again["works"], again["left_out"]) == (6, 36, [])


def test_one_good_path_is_enough_for_a_work_two_artists_share(
    workspace: Path, newcomer: list[Path], tmp_path: Path
) -> None:
    twin = Path(shutil.copy(newcomer[0], tmp_path / "twin.webp"))
    assert command(workspace, "artist", "add", "New", newcomer[0]).code == 0
    assert command(workspace, "artist", "add", "Twin", twin).code == 0
    newcomer[0].unlink()
    built = answer(workspace, "index", "build")
    assert (built["artists"], built["works"], built["left_out"]) == (7, 32, [])


def test_artists_without_works_are_told_in_one_line(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("name\n" + "".join(f"Nobody {n}\n" for n in range(50)))
    assert command(workspace, "artist", "import", tmp_path / "r.csv").code == 0
    ran = command(workspace, "index", "build")
    assert ran.code == 0
    assert len(ran.stderr.splitlines()) == 1
    assert "no usable works: 50 artists (Nobody 0, " in ran.stderr


@pytest.mark.parametrize("n_artists", [0, 1, 2])
def test_small_workspaces(gallery: Gallery, tmp_path: Path, n_artists: int) -> None:
    space = tmp_path / "small"
    shutil.copytree(gallery.workspace, space)
    for name in list(gallery.works)[n_artists:]:
        assert command(space, "artist", "erase", name, "--yes").code == 0
    shutil.rmtree(space / "indexes")
    assert command(space, "artist", "list").code == 0
    ran = command(space, "index", "build", "--json")
    image = gallery.credited
    if n_artists == 0:
        assert (ran.code, "at least one artist" in ran.stderr) == (2, True)
        return
    assert (ran.code, ran.json["artists"], ran.json["works"]) == (0, n_artists, 6 * n_artists)
    (one,) = answer(space, "attribute", image)["attributions"]
    assert len(one["artists"]) <= n_artists
    total = one["model_share_e12"] + one["unattributed_e12"] + sum(s["share_e12"] for s in one["artists"])
    assert total == 10**12


def test_an_index_everybody_was_erased_from_credits_nobody(workspace: Path, gallery: Gallery) -> None:
    for name in gallery.works:
        assert command(workspace, "artist", "erase", name, "--yes").code == 0
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert (one["artists"], one["unattributed"]) == ([], 0.5)
    assert one["reason"] == "No artist in the index may be credited for images of sd-1.5."
    assert command(workspace, "index", "verify").code == 0


def test_rollback_serves_the_older_version(workspace: Path, gallery: Gallery, newcomer: list[Path]) -> None:
    assert command(workspace, "artist", "add", "New", *newcomer).code == 0
    assert answer(workspace, "index", "extend")["version"] == "v0002"
    listed = answer(workspace, "index", "list")["versions"]
    assert [(row["version"], row["artists"], row["current"]) for row in listed] == [
        ("v0001", 5, False),
        ("v0002", 6, True),
    ]
    assert command(workspace, "attribute", gallery.credited).code == 0
    assert answer(workspace, "index", "rollback", "v1")["version"] == "v0001"
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert one["index_version"] == "v0001"
    before = gallery.answers[gallery.credited]
    assert one["index_manifest_digest"] == before["index_manifest_digest"]
    history = answer(workspace, "report", "index_history")
    assert [(row["version"], row["artists"], row["works"], row["lookups"]) for row in history] == [
        ("v0001", 5, 30, 1),
        ("v0002", 6, 36, 1),
    ]
    assert [row["parent"] for row in history] == [None, "v0001"]
    for version, says in (("v0009", "Its versions: v0001, v0002"), ("newest", "is not a version")):
        ran = command(workspace, "index", "rollback", version)
        assert (ran.code, says in ran.stderr) == (2, True)


def test_show_and_verify(workspace: Path, gallery: Gallery) -> None:
    shown = answer(workspace, "index", "show")
    assert [(row["artist"], row["works"]) for row in shown["members"]] == [(n, 6) for n in gallery.works]
    assert {row["can_be_told_apart"] for row in shown["members"]} <= {True, False}
    told = shown["style_space"]
    assert (told["works"], told["hands"], told["shrinkage"]) == (371, 139, 0.3), "the bundled panel's"
    assert told["cosine_after"] < told["cosine_before"]
    assert b"style space: effective_rank" in command(workspace, "index", "show").stdout
    assert command(workspace, "index", "verify").stderr == "Every version is sound.\n"
    (segment,) = workspace.glob("indexes/*/segments/*.works")
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    ran = command(workspace, "index", "verify", "--json")
    assert (ran.code, ran.json["sound"]) == (1, False)
    assert [one["where"] for one in ran.json["damage"]] == ["CURRENT", "v0001"]
    assert str(segment) in ran.json["damage"][0]["error"]
    assert "fairbrush index build" in ran.stderr


def test_commands_without_an_index_say_how_to_get_one(tmp_path: Path) -> None:
    space = tmp_path / "new"
    assert command(tmp_path, "init", space).code == 0
    assert answer(space, "index", "list")["versions"] == []
    for words in (["show"], ["extend"], ["verify"]):
        ran = command(space, "index", *words)
        assert (ran.code, "fairbrush index build" in ran.stderr) == (2, True), words


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.skipif(os.name == "nt", reason="SIGINT of a child")
def test_ctrl_c_in_a_build_leaves_the_old_index_and_keeps_the_vectors(
    workspace: Path, gallery: Gallery, many_images: Path, fairbrush: Fairbrush
) -> None:
    before = rows_in(workspace / "embeddings")
    assert command(workspace, "artist", "add", "Many", many_images, "--no-check").code == 0
    process = fairbrush.start("--workspace", workspace, "index", "build")
    wait_until(lambda: rows_in(workspace / "embeddings") > before)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, b"", b"fairbrush: Interrupted.\n")
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert one["index_version"] == "v0001"
    embedded = rows_in(workspace / "embeddings") - before
    assert 0 < embedded < 160
