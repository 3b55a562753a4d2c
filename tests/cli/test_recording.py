"""How answers are recorded: pending files, drained now and then, and nobody waits for the database."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from running import Fairbrush
from workspaces import Gallery, answer, command, pending, rows

from fairbrush.ledger.records import pending_count

HOLD = """
import sys
from pathlib import Path
from fairbrush.store import Store
with Store.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.readline()
"""


def test_the_65th_pending_file_drains_them_all(workspace: Path, gallery: Gallery) -> None:
    assert command(workspace, "attribute", gallery.credited).code == 0
    (first,) = pending(workspace)
    for number in range(63):
        (first.parent / f"{number:03}-copy.jsonl").write_bytes(first.read_bytes())
    assert pending_count(workspace / "records") == 64
    other = next(path for path in gallery.answers if path != gallery.credited)
    assert command(workspace, "attribute", other).code == 0
    assert pending(workspace) == []
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 2}]


def test_a_run_over_many_drains_even_when_it_is_one_glob(workspace: Path, gallery: Gallery) -> None:
    works = next(iter(gallery.works.values()))
    assert command(workspace, "attribute", works[0].parent / "*.webp").code == 0
    assert pending(workspace) == []
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": len(works)}]


def test_a_long_stream_drains_now_and_then(workspace: Path, gallery: Gallery, fairbrush: Fairbrush) -> None:
    stream = fairbrush.start("--workspace", workspace, "attribute", "-", stdin=subprocess.PIPE)
    stdout, stderr = stream.communicate(f"{gallery.credited}\n".encode() * 70, timeout=60)
    assert (stream.returncode, stderr) == (0, b"")
    assert len(stdout.splitlines()) == 70
    assert len(pending(workspace)) == 5
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]


def test_a_busy_database_keeps_nobody_waiting(
    workspace: Path, gallery: Gallery, fairbrush: Fairbrush
) -> None:
    images = list(gallery.answers)[:3]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace)],
        env=fairbrush._environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        ran = command(workspace, "attribute", *images, "--json")
        assert ran.code == 0
        assert len(ran.json["attributions"]) == 3
        assert f"in use by process {holder.pid}" in ran.stderr
        assert "The answers are recorded and wait in" in ran.stderr
        assert len(pending(workspace)) == 1
        toml = workspace / "fairbrush.toml"
        toml.write_text(toml.read_text().replace("# database_wait_s = 10.0", "database_wait_s = 0.2 #"))
        for words in (["sql", "SELECT 1"], ["report", "lookups"]):
            busy = command(workspace, *words)
            assert busy.code == 75
            assert f"in use by process {holder.pid}" in busy.stderr
        holder.communicate("\n")
    recorded = rows(workspace, "SELECT image_path FROM attribution ORDER BY image_path")
    assert [row["image_path"] for row in recorded] == sorted(map(str, images))
    assert pending(workspace) == []


def test_a_damaged_database_takes_no_answer_away(workspace: Path, gallery: Gallery) -> None:
    database = workspace / "fairbrush.duckdb"
    sound = database.read_bytes()
    database.write_bytes(b"junk" * 5000)
    ran = command(workspace, "attribute", *list(gallery.answers)[:2], "--json")
    assert ran.code == 0
    assert len(ran.json["attributions"]) == 2
    assert "not a valid DuckDB database" in ran.stderr
    database.write_bytes(sound)
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 2}]


def test_look_ups_run_side_by_side(workspace: Path, gallery: Gallery, fairbrush: Fairbrush) -> None:
    groups = list(gallery.works.values())[:2]
    running = [
        fairbrush.start("--workspace", workspace, "attribute", *group, groups[0][0], "--nl")
        for group in groups
    ]
    ids = set()
    for process in running:
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        ids |= {json.loads(line)["attribution_id"] for line in stdout.splitlines()}
    recorded = rows(workspace, "SELECT attribution_id FROM attribution")
    assert sorted(row["attribution_id"] for row in recorded) == sorted(ids)
    assert len(ids) == 12


def test_no_room_for_the_record_means_no_answer(workspace: Path, gallery: Gallery) -> None:
    """An answer is acknowledged once its record is on disk, and not before."""
    folder = workspace / "records" / "pending"
    folder.rmdir()
    folder.write_text("in the way")
    ran = command(workspace, "attribute", gallery.credited, "--json")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "answer with --no-record" in ran.stderr
    assert len(answer(workspace, "attribute", gallery.credited, "--no-record")["attributions"]) == 1


def test_an_image_whose_name_is_no_utf_8_is_recorded(
    gallery: Gallery, workspace: Path, tmp_path: Path
) -> None:
    named = Path(shutil.copy(gallery.credited, os.fsdecode(bytes(tmp_path) + b"/half\xff.webp")))
    assert command(workspace, "attribute", named).code == 0
    [row] = rows(workspace, "SELECT image_path FROM attribution")
    assert row["image_path"] == str(tmp_path / "half\\udcff.webp")


def test_a_path_is_recorded_so_that_it_is_found_from_anywhere(
    gallery: Gallery, workspace: Path, fairbrush: Fairbrush
) -> None:
    image = Path(shutil.copy(gallery.credited, fairbrush.home / "image.webp"))
    assert fairbrush("--workspace", workspace, "attribute", image.name).code == 0
    assert rows(workspace, "SELECT image_path FROM attribution") == [{"image_path": str(image)}]
