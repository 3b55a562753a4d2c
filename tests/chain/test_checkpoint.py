"""Checkpoints and proofs: what a signature binds, down to the last byte."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from fake_ledger import at, copy_whole
from fake_records import digest, record
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain import tables
from fairbrush.chain.checkpoint import (
    checkpoint_bytes,
    new_key,
    read_checkpoint,
    read_key,
    read_public_key,
    sign_checkpoint,
)
from fairbrush.chain.findings import CHECKPOINT, Damage
from fairbrush.chain.log import append_leaves, insert_chained, read_batches
from fairbrush.chain.proof import check_proof, find_record, prove
from fairbrush.chain.verify import verify_chain
from fairbrush.errors import ChainError, ProofRefusedError
from fairbrush.ledger.protected import verify_ledger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with copy_whole(tmp_path / "ledger.duckdb") as connection:
        yield connection


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def signed(connection, key: Path):
    return sign_checkpoint(verify_chain(connection).end, read_key(key), now=NOON)


@pytest.fixture(scope="module")
def proofs(tmp_path_factory) -> dict[str, bytes]:
    """One of each kind, in one workspace, under one checkpoint."""
    folder = tmp_path_factory.mktemp("proofs")
    new_key(folder / "key.pem")
    with copy_whole(folder / "ledger.duckdb") as connection:
        checkpoint = signed(connection, folder / "key.pem")
        (folder / "checkpoint.json").write_bytes(checkpoint_bytes(checkpoint))
        found = {"checkpoint": checkpoint_bytes(checkpoint)}
        for table in tables.CHAINED_TABLES:
            rows = connection.execute(
                "SELECT record_key FROM chain_leaf WHERE kind = ? ORDER BY position", [table.kind]
            ).fetchall()
            name = find_record(connection, f"{table.kind}:{rows[-1][0]}")
            found[table.kind] = prove(connection, name, checkpoint)
    return found


def test_a_key_is_private_and_never_overwritten(tmp_path):
    public = new_key(tmp_path / "key.pem")
    pem = (tmp_path / "key.pem").read_bytes()
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert read_public_key(str(tmp_path / "key.pem")) == public == read_public_key(public.upper())
    with pytest.raises(ChainError, match="never overwritten"):
        new_key(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").read_bytes() == pem
    (tmp_path / "public.txt").write_text(f"{public}\n")
    assert read_public_key(str(tmp_path / "public.txt")) == public
    (tmp_path / "junk").write_text("junk")
    for read in (read_key, lambda file: read_public_key(str(file))):
        with pytest.raises(ChainError, match="Ed25519"):
            read(tmp_path / "junk")


def test_a_checkpoint_reads_back_and_another_key_is_refused(database, key, tmp_path):
    checkpoint = signed(database, key)
    file = tmp_path / "checkpoint.json"
    file.write_bytes(checkpoint_bytes(checkpoint))
    assert read_checkpoint(file) == read_checkpoint(file, public_key=read_public_key(str(key))) == checkpoint
    assert checkpoint.time == "2026-03-01T12:00:00Z"
    with pytest.raises(ChainError, match="signed with another key"):
        read_checkpoint(file, public_key=new_key(tmp_path / "other.pem"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_checkpoint_with_any_other_byte_is_refused(proofs, tmp_path_factory, data):
    content = bytearray(proofs["checkpoint"])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path_factory.mktemp("flipped") / "checkpoint.json"
    file.write_bytes(content)
    with pytest.raises(ChainError):
        read_checkpoint(file)


def rebuild(connection, leaves) -> None:
    """As somebody who can write the database would: the same chain over other leaves, all heads new."""
    batches = read_batches(connection)
    connection.execute("DELETE FROM chain_leaf")
    connection.execute("DELETE FROM chain_batch")
    for batch in batches:
        kept = leaves[batch.first_position : batch.first_position + batch.leaves]
        append_leaves(connection, kept, now=batch.committed_at)


def test_a_cut_end_shows_against_a_checkpoint_alone(database, key):
    checkpoint = signed(database, key)
    last = read_batches(database)[-1]
    database.execute("DELETE FROM dispute_event")
    database.execute("DELETE FROM chain_leaf WHERE position >= ?", [last.first_position])
    database.execute("DELETE FROM chain_batch WHERE batch = ?", [last.batch])
    assert verify_ledger(database).is_sound
    (finding,) = verify_ledger(database, checkpoints=[checkpoint]).findings
    assert (finding.what, finding.kind) == (Damage.TRUNCATED, CHECKPOINT)
    assert f"has {last.batch + 1} batches, here are {last.batch}" in finding.detail


def test_a_rewritten_past_shows_against_a_checkpoint_alone(database, key):
    checkpoint = signed(database, key)
    database.execute("UPDATE consent_event SET consent = 'opted_in' WHERE sequence = 3")
    leaves = []
    by_kind = {table.kind: table for table in tables.CHAINED_TABLES}
    stored = database.execute("SELECT kind, record_key FROM chain_leaf ORDER BY position").fetchall()
    for kind, record_key in stored:
        table = by_kind[kind]
        named = " || '/' || ".join(f"{name}::VARCHAR" for name in table.key)
        (row,) = database.execute(
            f"SELECT {', '.join(table.columns)} FROM {table.table} WHERE {named} = ?", [record_key]
        ).fetchall()
        leaves.append(table.leaf(dict(zip(table.columns, row, strict=True))))
    rebuild(database, leaves)
    assert verify_ledger(database).is_sound
    (finding,) = verify_ledger(database, checkpoints=[checkpoint]).findings
    assert (finding.what, finding.kind) == (Damage.REWRITTEN, CHECKPOINT)


def test_records_after_a_checkpoint_change_nothing_of_it(database, key):
    checkpoint = signed(database, key)
    event = (9, "bo", "opted_out", at(90), at(90), "test", None, None, None)
    insert_chained(database, tables.CONSENT_EVENTS, [event], now=at(90))
    assert verify_ledger(database, checkpoints=[checkpoint]).is_sound
    with pytest.raises(ChainError, match="committed after the checkpoint"):
        prove(database, find_record(database, "consent:9"), checkpoint)


def test_a_chain_that_was_deleted_shows_against_a_checkpoint_and_is_told_without(database, key):
    checkpoint = signed(database, key)
    database.execute("DELETE FROM chain_leaf")
    database.execute("DELETE FROM chain_batch")
    with pytest.raises(ChainError, match="the chain over them was deleted"):
        verify_ledger(database)
    assert verify_ledger(database, checkpoints=[checkpoint]).findings[0].what is Damage.TRUNCATED


@pytest.mark.parametrize("kind", [table.kind for table in tables.CHAINED_TABLES])
def test_every_kind_of_record_is_proven(proofs, kind):
    proven = check_proof(proofs[kind])
    assert proven.kind == kind
    assert {"columns", "body"} >= set(proven.record)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([table.kind for table in tables.CHAINED_TABLES]), st.data())
def test_a_proof_with_any_other_byte_is_refused(proofs, kind, data):
    content = bytearray(proofs[kind])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofRefusedError):
        check_proof(bytes(content))


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[]\n", b"[" * 10**5, b'{"schema":"fairbrush.proof/1"}\n']
)
def test_what_is_no_proof_is_refused(content):
    with pytest.raises(ProofRefusedError):
        check_proof(content)


def test_a_record_is_found_by_its_id_alone_unless_two_have_it(database):
    moon = record("moon").attribution_id
    assert find_record(database, moon).kind == "attribution"
    assert find_record(database, "entry:1").key == "1"
    with pytest.raises(ChainError, match="names several records: consent:1"):
        find_record(database, "1")
    with pytest.raises(ChainError, match=f"No record {digest('nobody')}"):
        find_record(database, digest("nobody"))
    with pytest.raises(ChainError, match="no kind 'bill'"):
        find_record(database, "bill:1")


def test_an_altered_record_cannot_be_proven(database, key):
    checkpoint = signed(database, key)
    database.execute("UPDATE posting SET amount_minor = 999 WHERE line = 1")
    with pytest.raises(ChainError, match="cannot be proven"):
        prove(database, find_record(database, "posting:1/1"), checkpoint)


def test_a_proof_grows_with_the_logarithm(tmp_path, key):
    """The same record, in 10 and in 5,000 others, over 4 and over 60 batches."""
    sizes = []
    for name, leaves, batches in (("small", 10, 4), ("large", 5_000, 60)):
        with copy_whole(tmp_path / f"{name}.duckdb") as connection:
            rows = [(100 + n, "ada", "opted_in", at(n), at(n), "t", None, None, None) for n in range(leaves)]
            insert_chained(connection, tables.CONSENT_EVENTS, rows, now=at(1))
            for n in range(batches):
                row = (10**6 + n, "ada", "opted_in", at(n), at(n), "t", None, None, None)
                insert_chained(connection, tables.CONSENT_EVENTS, [row], now=at(1))
            content = prove(connection, find_record(connection, "consent:100"), signed(connection, key))
        assert len(hashes_of(content)) <= (leaves - 1).bit_length() + (16 + batches).bit_length()
        sizes.append(len(content))
    assert sizes[1] - sizes[0] < 70 * 20


def hashes_of(proof: bytes) -> list[str]:
    check_proof(proof)
    document = json.loads(proof)
    return [*document["path"], *document["log_path"]]


CHECK = """
import sys
from fairbrush.cli.app import run
code = run(["ledger", "check-proof", sys.argv[1], "--json"])
assert "duckdb" not in sys.modules
sys.exit(code)
"""


def test_a_proof_is_checked_far_from_any_workspace_or_database(proofs, tmp_path):
    (tmp_path / "proof.json").write_bytes(proofs["attribution"])
    ran = subprocess.run(
        [sys.executable, "-c", CHECK, "proof.json"],
        cwd=tmp_path, env={"PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert '"kind": "attribution"' in ran.stdout
    assert "only shows that whoever holds the key" in ran.stderr
