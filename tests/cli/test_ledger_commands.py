"""The commands of ``ledger``: verify, sign, prove; an older workspace, many drains at once, and kills."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from fake_ledger import copy_whole
from fake_records import SCHEMAS, record
from workspaces import answer, command

from fairbrush.cli.app import run
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.records import drain, write_pending
from fairbrush.store import DATABASE_NAME, STORAGE_VERSION, load_migrations

HEADER_BYTES, BLOCK_BYTES = 3 * 4096, 256 * 1024  # of a DuckDB file
DRAIN = """
import sys, time
from pathlib import Path
from fairbrush.store import Store
from fairbrush.ledger.records import drain
space = Path(sys.argv[1])
with Store.open(space, wait_s=60) as store:
    print("open", flush=True)
    drain(store.connection, space / "records")
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A workspace in which every protected table has rows."""
    folder = tmp_path / "space"
    assert run(["init", str(folder)]) == 0
    with copy_whole(folder / DATABASE_NAME) as connection:
        connection.execute(
            "CREATE TABLE schema_migration"
            " (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied TIMESTAMP NOT NULL)"
        )
        for migration in load_migrations():
            connection.execute(
                "INSERT INTO schema_migration VALUES (?, ?, now()::TIMESTAMP)",
                [migration.version, migration.name],
            )
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "space"
    assert run(["init", str(folder)]) == 0
    return folder


def alter(space: Path, *statements: str) -> None:
    with duckdb.connect(str(space / DATABASE_NAME)) as connection:
        for statement in statements:
            connection.execute(statement)


def sound(space: Path) -> int:
    """How many records there are, all of them as they were committed."""
    with duckdb.connect(str(space / DATABASE_NAME), read_only=True) as connection:
        found = verify_ledger(connection)
    assert found.is_sound, found.findings
    return found.end.leaves


def test_verify_names_the_first_altered_row_and_exits_with_1(space):
    told = answer(space, "ledger", "verify")
    assert (told["schema"], told["sound"], told["records"]) == ("fairbrush.ledger_verify/1", True, 49)
    alter(space, "UPDATE posting SET amount_minor = amount_minor + 1 WHERE line = 2")
    ran = command(space, "ledger", "verify", "--json")
    assert ran.code == 1
    assert [(one["what"], one["kind"], one["key"]) for one in ran.json["findings"]] == [
        ("altered", "posting", "1/2"),
        ("altered", "posting", "2/2"),
    ]
    assert "2 found. First altered: posting 1/2: it is not what was committed." in ran.stderr
    assert command(space, "ledger", "verify").text.splitlines()[1].split()[:3] == [
        "altered",
        "posting",
        "1/2",
    ]


def test_a_damaged_file_is_told_with_a_next_step(space):
    """One byte of every third block, whatever is in it."""
    file = space / DATABASE_NAME
    whole, told = file.read_bytes(), []
    for at in range(HEADER_BYTES + 100, len(whole), 3 * BLOCK_BYTES):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        ran = command(space, "ledger", "verify")
        assert ran.code == (2 if ran.stderr.startswith("fairbrush: ") else 0)
        told.append(ran.stderr)
    assert any("The records cannot be read: Corrupt database file" in text for text in told)


def test_sign_prove_and_check(space, tmp_path):
    key, checkpoint, proof = tmp_path / "key.pem", tmp_path / "checkpoint.json", tmp_path / "proof.json"
    public = command(space, "ledger", "key", "new", key).text.strip()
    assert command(space, "ledger", "key", "show", key).text.strip() == public
    assert command(space, "ledger", "checkpoint", "--key", key, "--full", "-o", checkpoint).code == 0
    assert command(space, "ledger", "verify", "--checkpoint", checkpoint, "--public-key", public).code == 0
    told = command(space, "ledger", "verify", "--checkpoint", checkpoint)
    assert f"whoever holds the key {public}" in told.stderr
    proven = command(space, "ledger", "prove", "entry:1", "--checkpoint", checkpoint, "-o", proof)
    assert (proven.code, proven.stdout) == (0, b"")
    told = answer(tmp_path, "ledger", "check-proof", proof, "--public-key", key)
    assert (told["kind"], told["key"], told["is_trusted"]) == ("entry", "1", True)
    assert told["record"]["columns"]["number"] == 1
    proof.write_bytes(proof.read_bytes().replace(b'"number":1', b'"number":2'))
    refused = command(tmp_path, "ledger", "check-proof", proof)
    assert refused.code == 1
    assert "The proof is refused" in refused.stderr


def test_what_does_not_verify_is_not_signed(space, tmp_path):
    key = tmp_path / "key.pem"
    assert command(space, "ledger", "key", "new", key).code == 0
    alter(space, "UPDATE chain_batch SET root = head WHERE batch = 3")
    ran = command(space, "ledger", "checkpoint", "--key", key, "-o", tmp_path / "checkpoint.json")
    assert ran.code == 2
    assert "What does not verify is not signed" in ran.stderr
    assert not (tmp_path / "checkpoint.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prove", "entry:1"], "fairbrush ledger checkpoint --key FILE -o FILE"),
        (["prove", "entry:1", "--checkpoint", "nowhere"], "nowhere cannot be read"),
        (["verify", "--public-key", "00" * 32], "Add --checkpoint FILE"),
        (["verify", "--checkpoint", "fairbrush.toml"], "no checkpoint"),
        (["checkpoint", "--key", "fairbrush.toml"], "fairbrush ledger key new FILE"),
        (["check-proof", "nowhere"], "nowhere cannot be read"),
        (["key", "show", "nowhere"], "cannot be read"),
        (["key", "new", "fairbrush.toml"], "never overwritten"),
        (["entries", "--account", "purse"], "One of revenue, platform"),
    ],
)
def test_bad_input_is_told_with_a_next_step(space, monkeypatch, words, told):
    monkeypatch.chdir(space)
    ran = command(space, "ledger", *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert told in ran.stderr
    assert "next:" in ran.stderr


def test_the_book_is_listed_by_account_and_party(space):
    held = answer(space, "ledger", "balances")["balances"]
    assert [(one["account"], one["holder"], one["amount"]) for one in held] == [
        ("model", "sd-1.5", "4.00"),
        ("revenue", "", "-10.00"),
        ("transit", "payout-1", "6.00"),
    ]
    booked = answer(space, "ledger", "entries", "--account", "payable", "--party", "ada")["postings"]
    assert [(one["entry"], one["amount"]) for one in booked] == [(1, "6.00"), (2, "-6.00")]
    assert len(answer(space, "ledger", "entries", "--limit", "2")["postings"]) == 2
    assert answer(space, "ledger", "balances", "--party", "nobody")["balances"] == []


def test_an_older_workspace_begins_its_chain_once_and_a_row_slipped_in_afterwards_is_found(empty):
    (empty / DATABASE_NAME).unlink()
    config: dict[str, str | bool | int | float | list[str]] = {
        "storage_compatibility_version": STORAGE_VERSION
    }
    with duckdb.connect(str(empty / DATABASE_NAME), config=config) as connection:
        connection.execute(
            "CREATE TABLE schema_migration"
            " (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied TIMESTAMP NOT NULL)"
        )
        for number, file in enumerate(sorted(SCHEMAS.glob("*.sql"))[:5], start=1):
            connection.execute(file.read_text(encoding="utf-8"))
            connection.execute("INSERT INTO schema_migration VALUES (?, 'old', now()::TIMESTAMP)", [number])
        event = "INSERT INTO consent_event VALUES (?, 'ada', 'opted_in', '2026-01-01', '2026-01-01', 't', ?)"
        connection.executemany(event, [[1, "she said so"], [2, None]])
    ran = command(empty, "ledger", "verify")
    assert ran.code == 2
    assert "There are 2 records and no chain over them" in ran.stderr
    for _ in range(2):
        assert command(empty, "artist", "add", "Zoë", "--new").code == 0
        assert sound(empty) >= 3
    assert answer(empty, "sql", "SELECT leaves FROM chain_batch WHERE batch = 0") == [{"leaves": 2}]
    alter(empty, "INSERT INTO consent_event VALUES (99, 'bo', 'opted_in', now()::TIMESTAMP, now()::TIMESTAMP,"
        " 't', NULL, NULL, NULL)")  # fmt: skip
    told = command(empty, "ledger", "verify", "--json").json["findings"]
    assert [(one["what"], one["kind"], one["key"]) for one in told] == [("inserted", "consent", "99")]


def test_a_chain_that_was_deleted_is_not_begun_anew_over_altered_records(space):
    alter(
        space,
        "UPDATE consent_event SET consent = 'opted_out'",
        "DELETE FROM chain_leaf",
        "DELETE FROM chain_batch",
    )
    told = command(space, "ledger", "verify")
    assert (told.code, "the chain over them was deleted" in told.stderr) == (2, True)
    assert command(space, "artist", "add", "Cy Carver").code == 0
    ran = command(space, "ledger", "verify", "--limit", "100", "--json")
    assert ran.code == 1
    assert {"consent", "posting"} < {one["kind"] for one in ran.json["findings"]}


def drains(space: Path, count: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", DRAIN, str(space)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]


def test_drains_side_by_side_keep_one_chain(empty):
    for number in range(12):
        write_pending(empty / "records", [record(f"{number} {n}") for n in range(3)])
    for process in drains(empty, 3):
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
    assert sound(empty) == 36


def test_a_drain_killed_at_any_moment_leaves_a_chain_that_verifies(empty):
    written = 0
    for round_ in range(5):
        write_pending(empty / "records", [record(f"{round_} {n}") for n in range(150)])
        written += 150
        (process,) = drains(empty, 1)
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        time.sleep(0.04 * round_)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert sound(empty) % 150 == 0
    with duckdb.connect(str(empty / DATABASE_NAME)) as connection:
        drain(connection, empty / "records")
    assert sound(empty) == written


def test_a_restored_backup_verifies_under_the_same_head(space, tmp_path):
    head = answer(space, "ledger", "verify")["head"]
    assert command(space, "backup", tmp_path / "backup.zip").code == 0
    shutil.rmtree(space)
    assert run(["restore", str(tmp_path / "backup.zip"), str(space)]) == 0
    assert answer(space, "ledger", "verify")["head"] == head
