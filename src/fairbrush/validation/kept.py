"""A study as documents: the answer's JSON, and the rows that are kept.

Enters: a ``Study``. Leaves: the schema ``fairbrush.validation/1``, and rows in ``validation`` and
``validation_share``, one set a view. The one rule: a row is never changed; its body holds every similarity
that was measured, so all figures can be computed again, and neither prompt nor name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text
from fairbrush.errors import ValidationError
from fairbrush.store import insert_rows
from fairbrush.validation.budget import Plan, measured_split
from fairbrush.validation.measured import Agreement, ContentPart, Measurement, Split, compare, content_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.store import Store
    from fairbrush.validation.study import Reading
    from fairbrush.validation.validate import Study

JSON_SCHEMA = "fairbrush.validation/1"
BODY_SCHEMA = "fairbrush.validation-body/1"


def to_json(study: Study) -> dict[str, Any]:
    """The schema ``fairbrush.validation/1``, ready for ``json.dumps``."""
    question, sampling = study.question, study.question.sampling
    return {
        "schema": JSON_SCHEMA,
        "image": {
            "path": str(question.image),
            "sha256": study.attribution.image.sha256,
            "made_with_seed": study.made_with_seed,
        },
        "inputs": _inputs_json(study),
        "attribution_id": study.attribution.attribution_id,
        "model": study.model_id,
        "generator": {"digest": study.model_digest, "precision": study.precision},
        "value_function": str(study.attribution.game.value),
        "b": float(study.attribution.policy.b),
        "sampling": {
            "seeds": list(question.seeds),
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "sampler": sampling.scheduler,
            "width": sampling.width,
            "height": sampling.height,
        },
        "coalitions": len(study.plan.coalitions),
        "orders": None if study.plan.orders is None else int(study.plan.orders[..., 0].size),
        "images": study.images,
        "images_made": study.made,
        "readings": [_reading_json(study, reading) for reading in study.readings],
        "notes": list(study.notes),
    }


def _inputs_json(study: Study) -> list[dict[str, Any]] | None:
    """What the image was mixed from; no creator where the artist may not be credited."""
    attribution = study.attribution
    if not attribution.game.mixed:
        return None
    return [
        {"path": str(path), "sha256": one.sha256, "weight": one.weight, "creator": one.creator_id}
        for one, path in zip(attribution.game.mixed, attribution.input_paths, strict=True)
    ]


def _reading_json(study: Study, reading: Reading) -> dict[str, Any]:
    split, b, agreement = reading.split, reading.b, reading.agreement
    return {
        "validation_id": validation_id(study, reading),
        "encoder_id": reading.encoder_id,
        "is_independent": reading.is_independent,
        "b_hat": b.b,
        "b_hat_error": b.standard_error,
        "b_hat_clipped": b.clipped,
        "mis_paid": agreement.mis_paid,
        "rank_correlation": agreement.rank_correlation,
        "top_agrees": agreement.top_agrees,
        "model_phi": float(split.phi[0]),
        "model_phi_error": _at(split.phi_error, 0),
        "creators": [
            {
                "creator_id": player.creator_id,
                "artists": list(player.names),
                "artist_ids": [artist.artist_id for artist in player.artists],
                "fast": _at(reading.fast, place),
                "regenerated": _at(split.shares, place),
                "regenerated_error": _at(split.share_error, place),
                "phi": float(split.phi[place + 1]),
                "phi_error": _at(split.phi_error, place + 1),
            }
            for place, player in enumerate(study.question.players)
        ],
    }


def body_of(study: Study, reading: Reading) -> dict[str, Any]:
    """What is hashed: the identity, and every similarity as text that gives the same bits back."""
    return {
        "schema": BODY_SCHEMA,
        "identity": _identity(study, reading),
        "has_content": bool(study.question.content),
        "content": _texts(reading.content.similarities),
        "style": _texts(reading.style.similarities),
        "surrogate": None if reading.surrogate is None else [decimal_text(v) for v in reading.surrogate],
        "fast": None if reading.fast is None else [decimal_text(share) for share in reading.fast],
    }


@dataclass(frozen=True, eq=False)
class Figures:
    """What a body's similarities say; see ``Reading``."""

    b: ContentPart
    split: Split
    agreement: Agreement


def recompute(body: Mapping[str, Any]) -> Figures:
    """All figures of a stored body again, to the bit. Raises ValidationError on what is no such body."""
    try:
        identity = body["identity"]
        has_content = bool(body["has_content"])
        is_ours = body["schema"] == BODY_SCHEMA
        creators, coalitions = len(identity["creators"]), np.array(identity["coalitions"], np.intp)
        orders = None if identity["orders"] is None else np.array(identity["orders"], np.intp)
        content, style = (np.array(body[space], np.float64) for space in ("content", "style"))
        surrogate, fast = (
            None if body[name] is None else np.array(body[name], np.float64) for name in ("surrogate", "fast")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValidationError(f"What was measured cannot be read: {error!r}.") from error
    if not is_ours:
        raise ValidationError(f"{body['schema']!r} is not {BODY_SCHEMA}: another fairbrush kept it.")
    plan = Plan(creators, coalitions, orders)
    split = measured_split(Measurement(creators, coalitions, style), plan, surrogate=surrogate)
    b = content_part(Measurement(creators, coalitions, content), has_content=has_content)
    return Figures(b, split, compare(fast, split.shares))


def validation_id(study: Study, reading: Reading) -> str:
    return canonical_digest(_identity(study, reading))


def keep(store: Store, study: Study, *, now: datetime) -> int:
    """Insert what is not there yet; gives how many measurements are new."""
    new = 0
    with store.transaction() as connection:
        for reading in study.readings:
            key = validation_id(study, reading)
            known = connection.execute("SELECT 1 FROM validation WHERE validation_id = ?", [key]).fetchall()
            if known:
                continue
            insert_rows(connection, "validation", [_row(key, study, reading, now)])
            insert_rows(connection, "validation_share", _share_rows(key, study, reading))
            new += 1
    return new


def _identity(study: Study, reading: Reading) -> dict[str, Any]:
    measured_by = {"encoder_id": reading.encoder_id, "space_id": reading.space_id}
    return {**study.identity, "measured_by": measured_by}


def _row(key: str, study: Study, reading: Reading, now: datetime) -> tuple[Any, ...]:
    body = body_of(study, reading)
    identity: Mapping[str, Any] = study.attribution.identity
    return (
        key,
        study.attribution.image.sha256,
        # a file's name may be no UTF-8
        str(study.question.image).encode("utf-8", "backslashreplace").decode(),
        study.model_id,
        study.model_digest,
        reading.encoder_id,
        reading.is_independent,
        identity["index_manifest_digest"],
        str(study.attribution.game.value),
        len(study.plan.coalitions),
        len(study.question.seeds),
        study.plan.orders is None,
        reading.b.b,
        reading.b.standard_error,
        reading.agreement.mis_paid,
        reading.agreement.rank_correlation,
        now,
        canonical_json(body).decode(),
        canonical_digest(body),
    )


def _share_rows(key: str, study: Study, reading: Reading) -> list[tuple[Any, ...]]:
    return [
        (
            key,
            player.creator_id,
            _at(reading.fast, place),
            _at(reading.split.shares, place),
            _at(reading.split.share_error, place),
        )
        for place, player in enumerate(study.question.players)
    ]


def _at(numbers: NDArray[np.float64] | None, place: int) -> float | None:
    return None if numbers is None else float(numbers[place])


def _texts(similarities: NDArray[np.float64]) -> list[list[str]]:
    return [[decimal_text(number) for number in row] for row in similarities]
