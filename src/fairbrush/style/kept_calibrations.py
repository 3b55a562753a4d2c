"""Calibrations in the database, and their files for look-ups, which do not open it.

Enters: a store, a calibration. Leaves: a row that is never changed, and ``calibrations/ID.json``. The one
rule: the database is right; a file that is gone is written again from it, and none is ever read back into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_json
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import CALIBRATIONS
from fairbrush.durable import write_durably
from fairbrush.errors import CalibrationError
from fairbrush.store import Store, as_utc
from fairbrush.style.calibration import (
    Calibration,
    calibration_file,
    calibration_from_bytes,
    calibration_name,
    one_named,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class KeptCalibration:
    """``recorded_at``: UTC without a zone."""

    calibration: Calibration
    recorded_at: datetime


def keep_calibration(store: Store, workspace: Path, calibration: Calibration, *, now: datetime) -> bool:
    """Keep a calibration, and its file; False where it was kept before, which changes nothing.

    Raises CalibrationError where the file cannot be written, StoreError.
    """
    calibration_id, body = calibration.calibration_id, canonical_json(calibration.body())
    calibration_from_bytes(body, calibration_id=calibration_id, source="What was fitted")
    with store.transaction() as connection:
        known = connection.execute(
            "SELECT 1 FROM calibration WHERE calibration_id = ?", [calibration_id]
        ).fetchall()
        if not known:
            row = (
                calibration_id,
                str(calibration.value),
                calibration.encoder_id,
                calibration.space_id,
                body.decode(),
                as_utc(now),
            )
            insert_chained(connection, CALIBRATIONS, [row], now=as_utc(now))
    write_absent_files(store.connection, workspace)
    return not known


def kept_calibrations(connection: DuckDBPyConnection) -> list[KeptCalibration]:
    """All of them, oldest first. Raises CalibrationError where one is not what was kept."""
    rows = connection.execute(
        "SELECT calibration_id, body::TEXT, recorded_at FROM calibration ORDER BY recorded_at, calibration_id"
    ).fetchall()
    return [KeptCalibration(_read(calibration_id, body), moment) for calibration_id, body, moment in rows]


def kept_calibration(connection: DuckDBPyConnection, name: str) -> Calibration:
    """The one with this id, or the only one whose id begins so. Raises CalibrationError."""
    name = calibration_name(name)
    rows = connection.execute(
        "SELECT calibration_id, body::TEXT FROM calibration WHERE starts_with(calibration_id, ?)"
        " ORDER BY calibration_id",
        [name],
    ).fetchall()
    bodies = dict(rows)
    calibration_id = one_named(name, list(bodies))
    return _read(calibration_id, bodies[calibration_id])


def write_absent_files(connection: DuckDBPyConnection, workspace: Path) -> int:
    """Write the files that are not there; gives how many. What is there stays: a look-up checks its digest.

    Raises CalibrationError where one cannot be written.
    """
    rows = connection.execute("SELECT calibration_id, body::TEXT FROM calibration").fetchall()
    written = 0
    for calibration_id, body in rows:
        file = calibration_file(workspace, calibration_id)
        if file.exists():
            continue
        _read(calibration_id, body)
        try:
            file.parent.mkdir(exist_ok=True)
            write_durably(file, body.encode())
        except OSError as error:
            raise CalibrationError(
                f"{file} cannot be written: {error.strerror}.",
                next_step="The calibration itself is kept. Check the disk, then: fairbrush calibration list",
            ) from error
        written += 1
    return written


def _read(calibration_id: str, body: str) -> Calibration:
    source = f"What the database holds as calibration {calibration_id[:12]}"
    return calibration_from_bytes(body.encode(), calibration_id=calibration_id, source=source)
