"""``fairbrush doctor``: a healthy workspace, each broken thing as a row with its fix, and nothing changed."""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pytest
from running import GALLERY, Fairbrush, Ran, wait_until

from fairbrush.doctor.checks import Check
from fairbrush.doctor.examine import examine
from fairbrush.doctor.installation import check_faiss, check_library
from fairbrush.ledger import records

ARTISTS = ("Danny Allen", "John Cliff")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in order: two artists, an index, an answer that waits to be drained."""
    home = tmp_path_factory.mktemp("sound")
    fairbrush = Fairbrush(home)
    art = home / "art"
    for name in ARTISTS:
        (art / name).mkdir(parents=True)
        for work in sorted((GALLERY / name).glob("*.webp"))[:2]:
            shutil.copy(work, art / name)
    assert fairbrush("init", "ws").code == 0
    for arguments in (
        ("artist", "import", art),
        ("index", "build"),
        ("attribute", next(art.rglob("*.webp"))),
    ):
        assert fairbrush("--workspace", "ws", *arguments).code == 0
    return home / "ws"


@pytest.fixture
def workspace(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "ws"))


def rows(found: Ran | list[Check]) -> dict[str, dict[str, Any]]:
    checks = found.json["checks"] if isinstance(found, Ran) else [asdict(check) for check in found]
    assert {check["status"] for check in checks} <= {"ok", "warning", "problem"}
    assert all(bool(check["fix"]) == (check["status"] != "ok") for check in checks), checks
    return {check["what"]: check for check in checks}


def ill(found: Ran | list[Check]) -> dict[str, str]:
    """What is not ok, with its status; a problem means exit code 1, nothing else does."""
    ills = {what: str(row["status"]) for what, row in rows(found).items() if row["status"] != "ok"}
    if isinstance(found, Ran):
        assert found.code == (1 if "problem" in ills.values() else 0)
    return ills


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of change of every file, and the times of folders."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


def examined(workspace: Path) -> list[Check]:
    """One examination, which must change nothing."""
    before = tree(workspace)
    checks = list(examine(workspace))
    assert tree(workspace) == before, "a doctor changes nothing"
    return checks


def mend(fairbrush: Fairbrush, fix: str) -> None:
    """Type a fix into a shell as it is printed."""
    program = f'fairbrush() {{ {shlex.quote(sys.executable)} -m fairbrush "$@"; }}; {fix}'
    done = subprocess.run(
        ["bash", "-c", program], cwd=fairbrush.home, env=fairbrush._environment({}), capture_output=True
    )
    assert done.returncode == 0, (fix, done.stderr.decode())


def test_a_sound_workspace_has_no_problem(fairbrush: Fairbrush, workspace: Path):
    before = tree(workspace)
    ran = fairbrush("--workspace", workspace, "doctor", "--json")
    assert tree(workspace) == before
    assert ill(ran) == {}
    found = rows(ran)
    assert found["database"]["detail"].startswith("schema ")
    assert found["artists"]["detail"] == "2, 2 of them with works"
    assert found["index"]["detail"] == "v0001 is current and verified: 2 artists, 4 works"
    assert found["records"]["detail"].startswith("1 files wait")
    assert found["ledger"]["detail"].endswith("batches; every record: with --deep")
    assert found["index encoder"]["detail"] == "is the workspace's"
    assert ran.json["schema"] == "fairbrush.doctor/1"
    assert (ran.json["warning"], ran.json["problem"]) == (0, 0)
    assert {"python", "fairbrush", "torch", "open_clip_torch", "faiss", "duckdb", "numpy"} <= set(found)


def test_the_table_shows_each_fix_below_its_row(fairbrush: Fairbrush, workspace: Path):
    shutil.rmtree(workspace / "indexes")
    ran = fairbrush("--workspace", workspace, "doctor")
    assert ran.code == 1
    lines = ran.text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("warning  index "))
    assert lines[at + 1].strip() == f"fix: fairbrush --workspace {workspace} index build"
    assert ran.stderr.endswith("1 warning, 1 problem\n")


def test_outside_a_workspace_the_installation_is_examined(fairbrush: Fairbrush):
    ran = fairbrush("doctor", "--json")
    assert ill(ran) == {"workspace": "warning"}
    assert rows(ran)["workspace"]["fix"] == "fairbrush init"
    assert not (fairbrush.home / ".cache").exists()


def test_inside_a_workspace_the_fix_needs_no_option(fairbrush: Fairbrush, workspace: Path):
    (workspace / "indexes" / "eligibility.json").unlink()
    ran = fairbrush("doctor", "--json", cwd=workspace)
    assert rows(ran)["eligibility"]["fix"] == "fairbrush artist list"


def test_a_deep_look_runs_one_image(fairbrush: Fairbrush, workspace: Path):
    before = tree(workspace)
    ran = fairbrush("--workspace", workspace, "doctor", "--deep", "--json")
    assert tree(workspace) == before
    assert ill(ran) == {}
    assert " on cpu: " in rows(ran)["encoder run"]["detail"]
    assert "finds" in rows(ran)["devices"]["detail"]


def test_without_deep_torch_stays_unloaded(fairbrush: Fairbrush, workspace: Path):
    program = (
        "import sys; from fairbrush.cli.app import run; run(sys.argv[1:]);"
        "print(*{'torch', 'open_clip', 'onnxruntime'} & sys.modules.keys(), file=sys.stderr)"
    )
    ran = fairbrush("--workspace", workspace, "doctor", "--json", program=("-c", program))
    assert ran.stderr.strip() == ""


def test_an_unreadable_or_unknown_setting_is_the_files_fault(fairbrush: Fairbrush, workspace: Path):
    for content in (b"encoder = ", b'encodr = "mini"\n', b"\xff\xfe\x00"):
        (workspace / "fairbrush.toml").write_bytes(content)
        ran = examined(workspace)
        assert ill(ran) == {"settings": "problem"}
        assert rows(ran)["database"]["status"] == "ok"
    mend(fairbrush, rows(ran)["settings"]["fix"])
    assert ill(examined(workspace)) == {}
    assert (workspace / "fairbrush.toml.old").read_bytes() == b"\xff\xfe\x00"


def test_a_variable_nobody_reads_is_named(fairbrush: Fairbrush, workspace: Path):
    ran = fairbrush("--workspace", workspace, "doctor", "--json", env={"FAIRBRUSH_WORKRES": "2"})
    assert ill(ran) == {"settings": "problem"}
    assert rows(ran)["settings"]["fix"] == "unset FAIRBRUSH_WORKRES"
    gone = fairbrush("--workspace", "nowhere", "doctor", "--json")
    assert rows(gone)["settings"]["fix"] == "fairbrush init nowhere"


def test_a_policy_that_cannot_be_used_is_a_problem(fairbrush: Fairbrush, workspace: Path):
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write("\n[policy]\nb = 7\n")
    assert ill(examined(workspace)) == {"settings": "problem"}


def test_a_damaged_or_absent_database_is_a_problem(fairbrush: Fairbrush, workspace: Path):
    file = workspace / "fairbrush.duckdb"
    content = file.read_bytes()
    for damaged in (b"nonsense" * 1000, b"", content[:5000], content[:4096] + bytes(len(content) - 4096)):
        file.write_bytes(damaged)
        assert ill(examined(workspace))["database"] == "problem"
    file.unlink()
    ran = examined(workspace)
    assert ill(ran) == {"database": "problem"}
    assert rows(ran)["index"]["status"] == "ok"


def test_an_altered_chain_is_a_problem_and_verify_says_which_record(fairbrush: Fairbrush, workspace: Path):
    with duckdb.connect(str(workspace / "fairbrush.duckdb")) as connection:
        connection.execute("UPDATE chain_leaf SET digest = 'x' WHERE position = 0")
    found = examined(workspace)
    assert ill(found) == {"ledger": "problem"}
    fix = shlex.split(rows(found)["ledger"]["fix"])[1:]
    ran = fairbrush(*fix)
    assert (ran.code, "consent" in ran.text + ran.stderr) == (1, True)


def test_an_older_schema_is_seen_and_not_migrated(fairbrush: Fairbrush, workspace: Path):
    with duckdb.connect(workspace / "fairbrush.duckdb") as connection:
        newest = connection.execute("SELECT max(version) FROM schema_migration").fetchone()[0]
        connection.execute("DELETE FROM schema_migration WHERE version = ?", [newest])
    ran = examined(workspace)
    assert ill(ran) == {"database": "warning"}
    assert f"has schema {newest - 1}" in rows(ran)["database"]["detail"]
    with duckdb.connect(workspace / "fairbrush.duckdb") as connection:
        connection.execute("INSERT INTO schema_migration VALUES (99, 'later', now()::TIMESTAMP)")
    assert ill(examined(workspace)) == {"database": "problem"}


def test_a_busy_database_is_a_warning_that_names_its_holder(fairbrush: Fairbrush, workspace: Path):
    hold = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    holder = fairbrush.start(workspace / "fairbrush.duckdb", program=("-c", hold))
    try:
        assert holder.stdout.readline() == b"held\n"
        ran = examined(workspace)
        assert ill(ran) == {"database": "warning"}
        assert f"process {holder.pid}" in rows(ran)["database"]["detail"]
    finally:
        holder.kill()
        holder.communicate()


def test_an_eligibility_file_out_of_step_is_a_problem(fairbrush: Fairbrush, workspace: Path):
    file = workspace / "indexes" / "eligibility.json"
    document = json.loads(file.read_text())
    for content in (json.dumps({**document, "revision": 0}), "{", None):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        ran = examined(workspace)
        assert ill(ran) == {"eligibility": "problem"}
    mend(fairbrush, rows(ran)["eligibility"]["fix"])
    assert ill(examined(workspace)) == {}


def corrupt(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


@pytest.mark.parametrize("broken", ["CURRENT", "*/v0001.json", "*/segments/*.faiss", "*/shared/*.npz"])
def test_a_damaged_index_is_a_problem_and_the_fix_mends_it(
    fairbrush: Fairbrush, workspace: Path, broken: str
):
    corrupt(next((workspace / "indexes").glob(broken)))
    ran = examined(workspace)
    assert ill(ran) == {"index": "problem"}
    mend(fairbrush, rows(ran)["index"]["fix"])
    assert ill(examined(workspace)) == {}


def test_a_damaged_older_version_is_a_warning(fairbrush: Fairbrush, workspace: Path, art: list[Path]):
    assert fairbrush("--workspace", workspace, "artist", "add", "Third", art[0]).code == 0
    ran = examined(workspace)
    assert ill(ran) == {"index artists": "warning"}
    assert rows(ran)["index artists"]["detail"].startswith("1 registered artists")
    mend(fairbrush, rows(ran)["index artists"]["fix"])
    assert ill(examined(workspace)) == {}
    corrupt(next((workspace / "indexes").glob("*/v0001.json")))
    ran = examined(workspace)
    assert ill(ran) == {"index versions": "warning"}
    mend(fairbrush, rows(ran)["index versions"]["fix"])
    assert ill(examined(workspace)) == {}
    corrupt(next((workspace / "indexes").glob("*/v0002.json")))
    ran = examined(workspace)
    assert ill(ran)["index"] == "problem"


def test_an_index_of_another_encoder_is_a_problem(workspace: Path):
    (workspace / "fairbrush.toml").write_text('encoder = "mini:clip"\n')
    ran = examined(workspace)
    assert ill(ran) == {"index encoder": "problem"}
    assert rows(ran)["index encoder"]["fix"] == f"fairbrush --workspace {workspace} index build"


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ("nonsense", "problem"),
        ("local-dir:nowhere", "problem"),
        ("open_clip:ViT-B-32/openai", "warning"),
    ],
)
def test_an_encoder_that_is_not_there_is_seen(fairbrush: Fairbrush, workspace: Path, spec: str, status: str):
    (workspace / "fairbrush.toml").write_text(f'encoder = "{spec}"\n')
    assert ill(examined(workspace)) == {"encoder": status, "index encoder": "warning"}


def test_a_damaged_cache_is_a_problem_and_the_fix_mends_it(fairbrush: Fairbrush, workspace: Path):
    file = workspace / "embeddings" / "data.mdb"
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"x" * 100_000):
        file.write_bytes(damaged)
        ran = examined(workspace)
        assert ill(ran) == {"cache": "problem"}
    mend(fairbrush, rows(ran)["cache"]["fix"])
    assert ill(examined(workspace)) == {}


def test_records_that_wait_too_long_and_refused_ones_are_seen(fairbrush: Fairbrush, workspace: Path):
    pending = workspace / "records" / "pending"
    [one] = records.pending_files(workspace / "records")
    for number in range(64):
        shutil.copy(one, pending / f"{number:03}.jsonl")
    (pending / "zzz.jsonl").write_text("damaged\n")
    ran = examined(workspace)
    assert ill(ran) == {"records": "warning"}
    mend(fairbrush, rows(ran)["records"]["fix"])
    ran = examined(workspace)
    assert ill(ran) == {"refused records": "warning"}
    mend(fairbrush, rows(ran)["refused records"]["fix"])


def test_an_interrupted_erasure_is_a_problem(fairbrush: Fairbrush, workspace: Path):
    from fairbrush.corpus.changes import open_registry
    from fairbrush.corpus.erasure import erase_artist
    from fairbrush.corpus.registry import find_artist

    with open_registry(workspace) as store:
        artist_id = find_artist(store, "John Cliff").artist.artist_id
        erase_artist(store, artist_id)
    ran = examined(workspace)
    assert ill(ran) == {"erasures": "problem"}
    assert f"artist erase {artist_id}" in rows(ran)["erasures"]["fix"]


def test_who_writes_the_index_is_told(fairbrush: Fairbrush, workspace: Path):
    with (workspace / "indexes" / ".lock").open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert ill(examined(workspace)) == {"locks": "warning"}
    assert ill(examined(workspace)) == {}


def test_a_killed_writer_leaves_nothing_that_is_changed_by_looking(fairbrush: Fairbrush, workspace: Path):
    write = (
        "import duckdb, os, sys, time; c = duckdb.connect(sys.argv[1]);"
        "c.execute(\"INSERT INTO payee VALUES ('x', 'X', now()::TIMESTAMP)\"); print('in', flush=True);"
        "time.sleep(60)"
    )
    writer = fairbrush.start(workspace / "fairbrush.duckdb", program=("-c", write))
    assert writer.stdout.readline() == b"in\n"
    writer.kill()
    writer.communicate()
    wait_until(lambda: (workspace / "fairbrush.duckdb.wal").exists())
    assert ill(examined(workspace)) == {}


def test_two_faiss_packages_or_none_are_a_problem(monkeypatch: pytest.MonkeyPatch):
    for found, fix in (
        ({}, "pip install faiss-cpu"),
        (
            {"faiss-cpu": "1.13", "faiss-gpu": "1.14"},
            "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-cpu",
        ),
    ):
        monkeypatch.setattr("fairbrush.doctor.installation.installed_faiss", lambda found=found: found)
        [check] = check_faiss()
        assert (str(check.status), check.fix) == ("problem", fix)


def test_a_library_that_is_not_installed_is_a_problem():
    [check] = check_library("no-such-library")
    assert (str(check.status), check.fix) == ("problem", 'pip install "no-such-library"')


def test_what_nobody_foresaw_becomes_a_row(monkeypatch: pytest.MonkeyPatch, workspace: Path):
    def explode(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("fairbrush.doctor.workspace.shutil.disk_usage", explode)
    found = {check.what: check for check in examine(workspace)}
    assert str(found["disk"].status) == "problem"
    assert "ZeroDivisionError: of all things" in found["disk"].detail
    assert str(found["locks"].status) == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_workspace_is_seen(fairbrush: Fairbrush, workspace: Path):
    workspace.chmod(0o555)
    try:
        assert "workspace" in ill(examined(workspace))
    finally:
        workspace.chmod(0o755)
