"""A record as the tables hold it: read from its line, and checked.

Enters: a line of a pending file, or a record's body. Leaves: a ``Row``, or the columns of its tables. The one
rule: what the tables would refuse is refused here, since one bad file must not keep the others from draining.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, parse_canonical
from fairbrush.errors import RecordError

E12 = 10**12


@dataclass(frozen=True)
class Row:
    """A checked record as the tables hold it."""

    attribution_id: str
    digest: str
    recorded_at: datetime
    body: str
    about: str
    attribution: tuple[Any, ...]
    shares: list[tuple[Any, ...]]


def read_record_line(line: bytes) -> Row:
    """Raises RecordError."""
    fields = parse_canonical(line)
    try:
        body = fields["body"]
        text = canonical_json(body)
        if hashlib.sha256(text).hexdigest() != fields["digest"]:
            raise RecordError(f"The body of {fields['attribution_id']} does not match its digest.")
        if canonical_digest(body["identity"]) != fields["attribution_id"]:
            raise RecordError(f"{fields['attribution_id']} is not the digest of the record's identity.")
        _check_shares(fields["attribution_id"], body)
        recorded_at = datetime.fromisoformat(fields["recorded_at"]).astimezone(UTC).replace(tzinfo=None)
        return Row(
            attribution_id=fields["attribution_id"],
            digest=fields["digest"],
            recorded_at=recorded_at,
            body=text.decode(),
            about=canonical_json(fields["about"]).decode(),
            attribution=attribution_columns(body, fields["about"]),
            shares=[
                share_columns(fields["attribution_id"], rank, share)
                for rank, share in enumerate(body["shares"], start=1)
            ],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"A record lacks what a record has: {error!r}.") from error


def without_evidence(record: Row, artist_ids: Collection[str]) -> Row:
    """The works of these artists are evidence in it no more."""
    about = json.loads(record.about)
    evidence = about.get("evidence") or {}
    kept = {artist_id: works for artist_id, works in evidence.items() if artist_id not in artist_ids}
    if len(kept) == len(evidence):
        return record
    return replace(record, about=canonical_json({**about, "evidence": kept}).decode())


def attribution_columns(body: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[Any, ...]:
    """The columns of ``attribution`` between the id and recorded_at, in the schema's order.

    Raises KeyError, TypeError or RecordError where the body is none of a record.
    """
    identity, policy = body["identity"], body["policy"]
    return (
        _text(identity, "image_sha256"),
        _optional_text(about, "path"),
        _text(identity, "model_id"),
        _text(identity, "encoder_id"),
        _text(identity, "encoder_variant"),
        _optional_text(about, "index_version"),
        _text(identity, "index_manifest_digest"),
        _text(identity, "eligibility_digest"),
        _optional_text(identity, "calibration_id"),
        _text(identity, "policy_digest"),
        _text(identity["value_function"], "name"),
        _text(policy, "b"),
        _text(policy, "w"),
        body["model_share_e12"],
        body["unattributed_e12"],
        _optional_text(about, "reason"),
    )


def share_columns(attribution_id: str, rank: int, share: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row of ``attribution_share``. Raises as ``attribution_columns``, and ValueError."""
    return (
        attribution_id,
        _text(share, "artist_id"),
        _text(share, "creator_id"),
        _text(share, "payee_id"),
        share["share_e12"],
        float(share["phi"]),
        float(share["similarity"]),
        float(share["z"]),
        rank,
    )


def _check_shares(attribution_id: str, body: Mapping[str, Any]) -> None:
    shares = body["shares"]
    integers = [body["model_share_e12"], body["unattributed_e12"], *(share["share_e12"] for share in shares)]
    if not all(type(integer) is int and 0 <= integer <= E12 for integer in integers) or sum(integers) != E12:
        raise RecordError(f"The shares of {attribution_id} do not sum to 10^12.")
    if len({share["artist_id"] for share in shares}) != len(shares):
        raise RecordError(f"{attribution_id} pays one artist twice.")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise RecordError(f"A record's {name} is {value!r}, not text.")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)
