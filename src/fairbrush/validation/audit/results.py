"""What became of drawn images, as it is kept: shares by creator id, or why there are none.

Enters: what a run measured. Leaves: rows of ``audit_result``, chained. The one rule: what was measured first
counts and is never measured again, so nobody can try until a result pleases; only a failure is tried again.
Neither prompt, name nor path is kept; an erased artist stays as the random id of their creator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text, parse_canonical
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import AUDIT_RESULTS
from fairbrush.errors import AuditError, RecordError
from fairbrush.store import as_utc, next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.validation.audit.population import Unit

RESULT_SCHEMA = "fairbrush.audit_result/1"


class Outcome(StrEnum):
    """``NOBODY``: the record credits nobody and the prompt names nobody who may be credited, so there was
    nobody to measure: both sides pay nobody."""

    MEASURED = "measured"
    NOBODY = "nobody"
    FAILED = "failed"


class Failure(StrEnum):
    """Why a drawn image could not be measured."""

    NO_FILE = "no file"
    NO_PROMPT = "no prompt"
    NOT_CREDITABLE = "not creditable"
    NOT_USABLE = "not usable"


@dataclass(frozen=True)
class Result:
    """``shares``: measured, by creator id; with ``nobody`` they sum to 1, unless it failed. ``unaudited``:
    the part of it that is the fast answer's own, since its creators may not be measured any more.
    ``protocol``: how it was measured; ``validations``: ids of what ``fairbrush validate`` would have kept."""

    outcome: Outcome
    shares: Mapping[str, float] = field(default_factory=dict)
    nobody: float = 0.0
    unaudited: float = 0.0
    reason: Failure | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    validations: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.outcome is not Outcome.FAILED


def protocol_digest(protocol: Mapping[str, Any]) -> str:
    return canonical_digest(dict(protocol))


def keep_result(
    connection: DuckDBPyConnection, plan_id: str, unit: Unit, result: Result, *, now: datetime
) -> bool:
    """Inside the caller's transaction. False where the image was measured already, or the last try failed
    for the same reason: then nothing is written."""
    last = read_results(connection, plan_id).get((unit.image_sha256, unit.attribution_id))
    if last is not None and (last.is_done or (not result.is_done and last.reason is result.reason)):
        return False
    body = {
        "schema": RESULT_SCHEMA,
        "plan_id": plan_id,
        "attribution_id": unit.attribution_id,
        "outcome": str(result.outcome),
        "shares": {creator: decimal_text(share) for creator, share in result.shares.items()},
        "nobody": decimal_text(result.nobody),
        "unaudited": decimal_text(result.unaudited),
        "reason": result.reason and str(result.reason),
        "protocol": dict(result.protocol),
        "validations": list(result.validations),
    }
    row = (
        next_sequence(connection, "audit_result"),
        plan_id,
        unit.image_sha256,
        unit.attribution_id,
        str(result.outcome),
        protocol_digest(result.protocol),
        canonical_json(body).decode(),
        canonical_digest(body),
        as_utc(now),
    )
    insert_chained(connection, AUDIT_RESULTS, [row], now=as_utc(now))
    return True


def read_results(connection: DuckDBPyConnection, plan_id: str) -> dict[tuple[str, str], Result]:
    """What counts of each image and record: the first that is no failure, else the last failure.

    Raises AuditError where a row is not what was kept.
    """
    rows = connection.execute(
        "SELECT image_sha256, attribution_id, body::TEXT, body_digest FROM audit_result"
        " WHERE plan_id = ? ORDER BY sequence",
        [plan_id],
    ).fetchall()
    found: dict[tuple[str, str], Result] = {}
    for image, record, text, digest in rows:
        if (image, record) not in found or not found[image, record].is_done:
            found[image, record] = _read(text, digest, plan_id=plan_id, record=record)
    return found


def begun_with(results: Iterable[Result], model_id: str) -> Mapping[str, Any] | None:
    """How images of a model were measured so far; None where none was."""
    return next(
        (
            one.protocol
            for one in results
            if one.outcome is Outcome.MEASURED and one.protocol["model"] == model_id
        ),
        None,
    )


def _read(text: str, digest: str, *, plan_id: str, record: str) -> Result:
    try:
        body = parse_canonical(text)
        if canonical_digest(body) != digest or (body["plan_id"], body["attribution_id"]) != (plan_id, record):
            raise ValueError("another digest")
        return Result(
            outcome=Outcome(body["outcome"]),
            shares={creator: float(share) for creator, share in body["shares"].items()},
            nobody=float(body["nobody"]),
            unaudited=float(body["unaudited"]),
            reason=None if body["reason"] is None else Failure(body["reason"]),
            protocol=body["protocol"],
            validations=tuple(body["validations"]),
        )
    except (RecordError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AuditError(
            f"What was measured of the record {record[:12]} is not what was kept.",
            next_step="See what was altered: fairbrush ledger verify",
        ) from error
