"""The registry's commands as a user types them: answers, exit codes, and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fairbrush.corpus.eligibility import read_eligibility
from fairbrush.store import Store
from fairbrush.workspace import create_workspace


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200", **more}


def fairbrush(
    folder: Path, *words: str, prefix: tuple[str, ...] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "fairbrush", *words],
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(folder: Path, *words: str) -> Any:
    done = fairbrush(folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_workspace(tmp_path / "space")
    return tmp_path / "space"


def test_init_makes_a_workspace_and_leaves_one_alone(tmp_path: Path) -> None:
    done = fairbrush(tmp_path, "init", "space", "--encoder", "mini")
    assert (done.returncode, done.stdout) == (0, "")
    assert "next: fairbrush artist add" in done.stderr
    assert read_eligibility(tmp_path / "space").models == ["sd-1.5"]
    toml = (tmp_path / "space/fairbrush.toml").read_bytes()
    assert fairbrush(tmp_path, "init", "space").returncode == 0
    refused = fairbrush(tmp_path, "init", "space", "--encoder", "open_clip:ViT-B-32/openai")
    assert (refused.returncode, "with the encoder mini" in refused.stderr) == (2, True)
    assert (tmp_path / "space/fairbrush.toml").read_bytes() == toml


def test_artist_from_add_to_erase(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "red").save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    added = fairbrush(
        folder, "artist", "add", "Ann", str(tmp_path / "a.png"), str(tmp_path / "bad.png"), "--json"
    )
    assert added.returncode == 1  # one of the two files was refused
    assert f"refused: {tmp_path / 'bad.png'}: unsupported." in added.stderr
    row = json.loads(added.stdout)
    assert (row["artist"], row["works_added"], row["refused"]) == ("Ann", 1, 1)
    again = fairbrush(folder, "artist", "add", "ann")
    assert (again.returncode, "--new" in again.stderr) == (2, True)
    out = answer(folder, "artist", "consent", "Ann", "opted_out", "--reason", "letter")
    assert out["consent"] == "opted_out"
    assert read_eligibility(folder).eligible("sd-1.5") == []
    shown = answer(folder, "artist", "show", "ann")
    assert [event["consent"] for event in shown["consents"]] == ["unclaimed", "opted_out"]
    assert [work["path"] for work in shown["works"]] == [str(tmp_path / "a.png")]
    asked = fairbrush(folder, "artist", "erase", "Ann")
    assert asked.returncode == 130  # nobody answered the question
    erased = answer(folder, "artist", "erase", "Ann", "--yes")
    assert (erased["works"], erased["files_dropped"]) == (1, 1)
    assert list((folder / "thumbnails").iterdir()) == []
    assert (tmp_path / "a.png").exists()
    (listed,) = answer(folder, "artist", "list")["artists"]
    assert (listed["artist"], listed["artist_id"], listed["consent"]) == (
        "(erased)",
        row["artist_id"],
        "erased",
    )
    final = fairbrush(folder, "artist", "consent", row["artist_id"], "opted_in")
    assert (final.returncode, "final" in final.stderr) == (2, True)


def test_aliases_are_listed_added_and_removed(folder: Path) -> None:
    artist_id = answer(folder, "artist", "add", "Claude Monet")["artist_id"]
    assert fairbrush(folder, "artist", "alias", "Claude Monet").stdout == "(nothing)\n"
    named = answer(folder, "artist", "alias", "claude monet", "--add", "Monet", "--add", "O. C. Monet")
    assert named == {
        "schema": "fairbrush.aliases/1",
        "artist": "Claude Monet",
        "artist_id": artist_id,
        "aliases": ["Monet", "O. C. Monet"],
    }
    listed = fairbrush(folder, "artist", "alias", "monet", "--csv").stdout.splitlines()
    assert listed[0] == "artist,artist_id,alias"
    assert [line.split(",")[2] for line in listed[1:]] == ["Monet", "O. C. Monet"]
    assert answer(folder, "artist", "alias", "monet", "--remove", "MONET")["aliases"] == ["O. C. Monet"]
    refused = fairbrush(folder, "artist", "alias", "Claude Monet", "--remove", "Monet")
    assert (refused.returncode, "has no alias 'Monet'" in refused.stderr) == (2, True)
    assert read_eligibility(folder).names == {artist_id: ("Claude Monet", "O. C. Monet")}


def test_erase_forgets_the_vectors(folder: Path, tmp_path: Path) -> None:
    import numpy as np

    from fairbrush.embedding.cache import EmbeddingCache

    Image.new("RGB", (30, 30), "red").save(tmp_path / "a.png")
    assert fairbrush(folder, "artist", "add", "Ann", str(tmp_path / "a.png")).returncode == 0
    (work,) = answer(folder, "artist", "works", "Ann")
    with EmbeddingCache.open(folder / "embeddings") as cache:
        cache.space("e", "v").put_many({work["sha256"]: np.ones((1, 4), np.float32)})
    assert answer(folder, "artist", "erase", "Ann", "--yes")["vector_rows_dropped"] == 1
    with EmbeddingCache.open(folder / "embeddings", readonly=True) as cache:
        assert cache.space("e", "v").get(work["sha256"]) is None


def test_creators_payees_and_models(folder: Path) -> None:
    for words in (
        ["artist", "add", "Ann"],
        ["creator", "add", "Studio"],
        ["payee", "add", "Estate"],
        ["creator", "assign", "Ann", "Studio"],
        ["payee", "assign", "Studio", "Estate"],
        ["creator", "rename", "Studio", "Atelier"],
        ["model", "add", "tune", "--base", "sd-1.5", "--developer", "Lab", "--payee", "Estate"],
        ["payee", "add", "Fund"],
        ["model", "assign", "sd-1.5", "Fund"],
        ["model", "roster", "sd-1.5", "Ann", "--trained", "no", "--source", "their list"],
    ):
        done = fairbrush(folder, *words)
        assert done.returncode == 0, done.stderr
    (ann,) = answer(folder, "artist", "list")["artists"]
    assert (ann["creator"], ann["payee"]) == ("Atelier", "Estate")
    (member,) = answer(folder, "model", "roster", "tune")["artists"]
    assert (member["artist"], member["trained"], member["from"]) == ("Ann", "no", "sd-1.5")
    models = answer(folder, "model", "list")["models"]
    assert [(m["model"], m["payee"]) for m in models] == [("sd-1.5", "Fund"), ("tune", "Estate")]
    assert read_eligibility(folder).eligible("tune") == []


def test_import_reports_every_row_and_exits_1_when_some_are_refused(folder: Path) -> None:
    (folder / "r.csv").write_text("name,consent\nAnn,opted_in\nBo,perhaps\n")
    done = fairbrush(folder, "artist", "import", "r.csv", "--nl")
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["line"], row["artist"], row["status"]) for row in rows] == [
        (2, "Ann", "new"),
        (3, "Bo", "refused"),
    ]
    assert "refused: line 3: 'Bo': 'perhaps' is not a consent" in done.stderr
    table = fairbrush(folder, "artist", "import", "r.csv").stdout.split()
    assert table == ["new", "changed", "unchanged", "refused", "0", "0", "1", "1"]


def test_no_workspace_and_a_bad_date_cannot_run(folder: Path, tmp_path: Path) -> None:
    assert fairbrush(tmp_path, "artist", "list").returncode == 2
    done = fairbrush(folder, "artist", "consent", "Ann", "opted_in", "--at", "soon")
    assert (done.returncode, "is not a date" in done.stderr) == (2, True)


def test_backup_and_restore(folder: Path, tmp_path: Path) -> None:
    assert fairbrush(folder, "artist", "add", "Ann").returncode == 0
    assert answer(folder, "backup", "../b.zip")["files"] == 3
    assert answer(tmp_path, "restore", "b.zip", "again")["files"] == 3
    assert [row["artist"] for row in answer(tmp_path / "again", "artist", "list")["artists"]] == ["Ann"]
    assert fairbrush(tmp_path, "restore", "b.zip", "again").returncode == 2


def test_busy_database_exits_75_and_names_the_holder(folder: Path) -> None:
    with Store.open(folder):
        done = fairbrush(folder, "artist", "add", "Ann", FAIRBRUSH_DATABASE_WAIT_S="0.2")
    assert done.returncode == 75
    assert f"in use by process {os.getpid()}" in done.stderr
    assert answer(folder, "artist", "list")["artists"] == []


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A workspace that may be read but not written, save by root with its capabilities."""
    folder = Path(tempfile.mkdtemp(prefix="fairbrush-sealed-"))
    create_workspace(folder / "space")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder / "space"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_read_only_disk_exits_2_and_says_why(sealed: Path) -> None:
    prefix: tuple[str, ...] = ()
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv to change that")
        prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    for words in (["artist", "add", "Ann"], ["init", "new"]):
        done = fairbrush(sealed, *words, prefix=prefix)
        assert done.returncode == 2, done.stderr
        assert "ermission" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="SIGINT of a child")
def test_ctrl_c_in_an_import_leaves_all_or_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("name\n" + "".join(f"Artist {i}\n" for i in range(20_000)))
    counts = []
    for delay_s in (0.5, 0.9):
        with subprocess.Popen(
            [sys.executable, "-m", "fairbrush", "artist", "import", str(tmp_path / "r.csv")],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as importing:
            time.sleep(delay_s)
            importing.send_signal(signal.SIGINT)
            _, said = importing.communicate(timeout=60)
        assert importing.returncode in (0, 130), said
        artists = len(answer(folder, "artist", "list")["artists"])
        assert artists in (0, 20_000)
        assert len(read_eligibility(folder).artists) == artists
        counts.append(artists)
        if artists:
            break
    done = fairbrush(folder, "artist", "import", str(tmp_path / "r.csv"), "--json")
    assert sum(json.loads(done.stdout)["counts"].values()) == 20_000


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; from fairbrush.cli.app import run; run(['artist', '--help']); "
    program += "print({'duckdb', 'numpy', 'PIL', 'torch', 'lmdb'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().endswith("set()")
