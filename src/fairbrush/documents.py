"""An attribution as documents: the answer's JSON, the record that is kept, and shares back from a record.

Enters: an ``Attribution``, or a record's body. Leaves: the schemas ``fairbrush.attribution/1``
(docs/attribution-schema.md) and ``fairbrush.record/1``. The one rule: names, paths and wording stay out of a
record's hashed body, and every number in it is text that gives the same bits back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fairbrush.attribution import ALGORITHM, ArtistShare, Attribution, by_share
from fairbrush.chain.canonical import decimal_text
from fairbrush.domain import Value
from fairbrush.errors import AttributionError
from fairbrush.game.shares import Certificate, Split
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.records import Record
from fairbrush.playing import from_text, hit_text, play, to_text

JSON_SCHEMA = "fairbrush.attribution/1"
RECORD_SCHEMA = "fairbrush.record/1"
FIRST_ALGORITHM = "1"  # nearest alone, with an artist entry a player


def to_json(attribution: Attribution) -> dict[str, Any]:
    """The schema ``fairbrush.attribution/1``, ready for ``json.dumps``."""
    identity = attribution.identity
    path = attribution.image.path
    return {
        "schema": JSON_SCHEMA,
        "attribution_id": attribution.attribution_id,
        "image": {"path": None if path is None else str(path), "sha256": attribution.image.sha256},
        "model": identity["model_id"],
        "model_share": attribution.model_share,
        "model_share_e12": attribution.model_share_e12,
        "unattributed": attribution.unattributed,
        "unattributed_e12": attribution.unattributed_e12,
        "artists": [_artist_json(share) for share in attribution.artists],
        "value_function": identity["value_function"],
        "b": float(attribution.policy.b),
        "w": float(attribution.policy.w),
        "policy_digest": identity["policy_digest"],
        "encoder": {
            "id": attribution.encoder.encoder_id,
            "variant": attribution.encoder.variant,
            "device": attribution.encoder.device,
        },
        "index_version": attribution.index_version,
        "index_manifest_digest": identity["index_manifest_digest"],
        "eligibility_digest": identity["eligibility_digest"],
        "calibration_id": identity["calibration_id"],
        "certificate": {
            "kind": attribution.certificate.kind,
            "exact": attribution.certificate.exact,
            "bound": attribution.certificate.bound,
        },
        "inputs": _inputs_json(attribution),
        "hint": _hint_json(attribution),
        "confidence": attribution.confidence and str(attribution.confidence),
        "steadiness": attribution.steadiness,
        "unattributed_interval": _bounds(attribution.unattributed_interval),
        "detectability_floor": attribution.floor,
        "reason": attribution.reason,
    }


def record_body(attribution: Attribution) -> dict[str, Any]:
    """What is hashed of a record: no name, path or wording, and the game's inputs to the last bit."""
    return {
        "schema": RECORD_SCHEMA,
        "identity": attribution.identity,
        "space_id": attribution.space_id,
        "policy": {
            "b": attribution.policy.b,
            "w": attribution.policy.w,
            "model": attribution.policy.model,
        },
        "game": to_text(attribution.game),
        "model_share_e12": attribution.model_share_e12,
        "unattributed_e12": attribution.unattributed_e12,
        "shares": [_share_text(share, rank) for rank, share in enumerate(attribution.artists, start=1)],
        "certificate": {
            "kind": attribution.certificate.kind,
            "exact": attribution.certificate.exact,
            "bound": decimal_text(attribution.certificate.bound),
        },
    }


def to_record(attribution: Attribution, *, now: datetime) -> Record:
    """What is written down: the body, and about it what is not hashed."""
    path = attribution.image.path
    about = {
        "path": None if path is None else _path_text(path),
        "index_version": attribution.index_version,
        "device": attribution.encoder.device,
        "reason": attribution.reason,
        "runner_up": None if attribution.runner_up is None else hit_text(attribution.runner_up),
        "confidence": attribution.confidence and str(attribution.confidence),
        "steadiness": None if attribution.steadiness is None else decimal_text(attribution.steadiness),
        "intervals": {
            share.artist.artist_id: [decimal_text(bound) for bound in share.interval]
            for share in attribution.artists
            if share.interval is not None
        },
        "evidence": {
            share.artist.artist_id: [
                {"work_sha256": work.work_sha256, "similarity": decimal_text(work.similarity)}
                for work in share.evidence
            ]
            for share in attribution.artists
        },
    }
    return Record(body=record_body(attribution), about=about, recorded_at=now)


def _path_text(path: Path) -> str:
    """The path from wherever it is read later; a name that is no UTF-8 as answers print it."""
    return str(path.absolute()).encode("utf-8", "backslashreplace").decode()


def recompute(body: Mapping[str, Any]) -> Split:
    """The shares of a record's body, bit for bit, from the inputs it carries; artists in its order.

    Needs no index, vector or registry. Raises AttributionError for what this version does not know.
    """
    name, algorithm = body["identity"]["value_function"]["name"], body["identity"]["algorithm"]
    if algorithm not in (ALGORITHM, FIRST_ALGORITHM) or name not in [*Value]:
        raise AttributionError(
            f"This fairbrush cannot recompute {name}, algorithm {algorithm}.",
            next_step="Use the version that recorded it.",
        )
    told, policy = body["certificate"], body["policy"]
    certificate = Certificate(told["kind"], told["exact"], float(told["bound"]))
    game = from_text(Value(name), body["game"], certificate)
    played = play(game, Policy(b=policy["b"], w=policy["w"], model=policy["model"]))
    order = by_share(game, played)
    return replace(
        played.split,
        artists=tuple(played.split.artists[position] for position in order),
        artists_e12=tuple(played.split.artists_e12[position] for position in order),
    )


def _hint_json(attribution: Attribution) -> dict[str, Any] | None:
    if attribution.hint is None or not attribution.hinted:
        return None
    return {
        "source": str(attribution.hint.source),
        "artists": [
            {
                "artist": named.artist.name,
                "artist_id": named.artist.artist_id,
                "similarity": named.similarity,
                "z": named.z,
                "near": named.is_near,
                "credited": named.is_credited,
            }
            for named in attribution.hinted
        ],
    }


def _inputs_json(attribution: Attribution) -> list[dict[str, Any]] | None:
    if not attribution.game.mixed:
        return None
    return [
        {
            "sha256": one.sha256,
            "path": str(path),
            "weight": one.weight,
            "artist_id": one.artist_id,
            "is_creditable": one.is_creditable,
        }
        for one, path in zip(attribution.game.mixed, attribution.input_paths, strict=True)
    ]


def _bounds(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _artist_json(share: ArtistShare) -> dict[str, Any]:
    return {
        "artist": share.artist.name,
        "artist_id": share.artist.artist_id,
        "creator_id": share.artist.creator_id,
        "payee_id": share.artist.payee_id,
        "share": share.share,
        "share_e12": share.share_e12,
        "phi": share.phi,
        "similarity": share.similarity,
        "z": share.z,
        "interval": _bounds(share.interval),
        "evidence": [
            {"work_sha256": work.work_sha256, "similarity": work.similarity} for work in share.evidence
        ],
    }


def _share_text(share: ArtistShare, rank: int) -> dict[str, Any]:
    return {
        "artist_id": share.artist.artist_id,
        "creator_id": share.artist.creator_id,
        "payee_id": share.artist.payee_id,
        "share_e12": share.share_e12,
        "phi": decimal_text(share.phi),
        "similarity": decimal_text(share.similarity),
        "z": decimal_text(share.z),
        "rank": rank,
    }
