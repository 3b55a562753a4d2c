"""Records anyone can recompute from a name, and a database with the tables they drain into."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

import fairbrush
from fairbrush.ledger.records import Record

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SCHEMAS = Path(fairbrush.__file__).parent / "schema"


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def record(name: object, *, artists: tuple[str, ...] = ("ada", "bo"), model_e12: int = 5 * 10**11) -> Record:
    """A look-up of the image called ``name``, whose artists share what the model leaves."""
    each = (10**12 - model_e12) // max(len(artists), 1) if artists else 0
    identity = {
        "image_sha256": digest(name),
        "encoder_id": "mini",
        "encoder_variant": "torch-fp32",
        "index_manifest_digest": digest("v0001"),
        "eligibility_digest": digest("all"),
        "value_function": {"name": "nearest", "parameters": {"delta": "0.2", "recognised": "1.0"}},
        "calibration_id": None,
        "model_id": "sd-1.5",
        "policy_digest": digest("policy"),
        "hint": None,
        "algorithm": "1",
    }
    body = {
        "schema": "fairbrush.record/1",
        "identity": identity,
        "policy": {"b": "0.5", "w": "1", "model": "sd-1.5"},
        "model_share_e12": model_e12,
        "unattributed_e12": 10**12 - model_e12 - each * len(artists),
        "shares": [
            {
                "artist_id": artist,
                "creator_id": f"creator-{artist}",
                "payee_id": f"payee-{artist}",
                "share_e12": each,
                "phi": "0.5",
                "similarity": "0.75",
                "z": "0.25",
                "rank": rank,
            }
            for rank, artist in enumerate(artists, start=1)
        ],
    }
    about = {"path": f"pictures/{name}.png", "index_version": "v0001", "reason": None, "evidence": []}
    later = int(digest(name)[:4], 16)
    return Record(body=body, about=about, recorded_at=NOON + timedelta(seconds=later))


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    for file in sorted(SCHEMAS.glob("*.sql")):
        connection.execute(file.read_text(encoding="utf-8"))


def forget_records(connection: duckdb.DuckDBPyConnection) -> None:
    """What was drained goes; the tables stay, which takes a tenth of making them anew."""
    for table in (
        "attribution", "attribution_share", "attribution_conflict", "refusal", "chain_leaf", "chain_batch"
    ):  # fmt: skip
        connection.execute(f"DELETE FROM {table}")


def open_database(file: Path) -> duckdb.DuckDBPyConnection:
    """A connection to ``file``, its record tables created on the first call."""
    is_new = not file.exists()
    connection = duckdb.connect(str(file))
    if is_new:
        create_tables(connection)
    return connection
