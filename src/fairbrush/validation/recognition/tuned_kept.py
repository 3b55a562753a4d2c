"""An examination of a fine-tune as documents: the answer's JSON, and the rows that are kept.

Enters: an ``Examination``. Leaves: the schema ``fairbrush.tuned/1``, and rows in ``tuning_test``, one an
artist of the registry. The one rule: a row is never changed; its body holds what every figure is computed
from, and neither prompt nor name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text
from fairbrush.errors import ValidationError
from fairbrush.store import insert_rows, utc_now
from fairbrush.validation.keeping import keeping
from fairbrush.validation.recognition.tuned import Examination, Figures, Verdict, figures_of
from fairbrush.validation.recognition.tuning import Effect, Shifts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.config import Settings
    from fairbrush.store import Store

JSON_SCHEMA = "fairbrush.tuned/1"
BODY_SCHEMA = "fairbrush.tuning-test-body/1"


def to_json(found: Examination) -> dict[str, Any]:
    """The schema ``fairbrush.tuned/1``, ready for ``json.dumps``."""
    sampling = found.sampling
    return {
        "schema": JSON_SCHEMA,
        "model": found.model_id,
        "generator_digest": found.model_digest,
        "base": found.base_id,
        "base_digest": found.base_digest,
        "precision": found.precision,
        "encoder_id": found.encoder_id,
        "index_manifest_digest": found.index_digest,
        "contents": list(found.contents),
        "sampling": {
            "seeds": list(found.seeds),
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "sampler": sampling.scheduler,
            "width": sampling.width,
            "height": sampling.height,
        },
        "error_level": found.level,
        "pending": list(found.pending),
        "images": found.images,
        "images_made": found.made,
        "images_to_make": found.to_make,
        "artists": [_verdict_json(one) for one in found.artists],
        "notes": list(found.notes),
    }


def _verdict_json(one: Verdict) -> dict[str, Any]:
    return {
        "artist": one.subject.label,
        "artist_id": one.subject.artist_id,
        "test_id": key_of(one),
        "found": one.is_found,
        "p": one.p_values.p,
        "q": one.q,
        "other_styles": one.others,
        "strongest": str(one.strongest),
        "effects": {
            str(effect): {
                "nearer": float(one.shifts.raw[place, 0]),
                "beyond_others": one.estimates[effect].value,
                "low": one.estimates[effect].low,
                "high": one.estimates[effect].high,
                "p": one.p_values.of_effect[effect],
            }
            for place, effect in enumerate(Effect)
        },
    }


def key_of(one: Verdict) -> str:
    return canonical_digest(one.identity)


def body_of(one: Verdict) -> dict[str, Any]:
    """What is hashed: the identity, and every number that figures are made of, as text that gives the same
    bits back. The artist's style is the first; whose the others are is not said."""
    return {
        "schema": BODY_SCHEMA,
        "identity": one.identity,
        "shifts": _texts(one.shifts.raw),
        "spread": _texts(one.shifts.spread[None])[0],
        "beyond": _texts(one.beyond),
    }


def recompute(body: Mapping[str, Any]) -> Figures:
    """All figures of a stored body again, to the bit. Raises ValidationError on what is no such body."""
    try:
        is_ours = body["schema"] == BODY_SCHEMA
        raw, spread, beyond = (np.array(body[name], np.float64) for name in ("shifts", "spread", "beyond"))
        identity = canonical_digest(body["identity"])
        fits = raw.shape == (len(Effect), len(spread)) and beyond.shape[0] == len(Effect)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValidationError(f"What was measured cannot be read: {error!r}.") from error
    if not is_ours or not fits:
        raise ValidationError(f"This is no {BODY_SCHEMA}: another fairbrush kept it.")
    return figures_of(Shifts(raw, spread), beyond, test_id=identity)


def keep_examination(settings: Settings, found: Examination) -> int:
    """Keep what was found; gives how many tests are new. Raises DatabaseBusyError, StoreError."""
    with keeping(settings, else_="What was found is not recorded.") as store:
        return keep(store, found, now=utc_now())


def keep(store: Store, found: Examination, *, now: datetime) -> int:
    """Insert what is not there yet of artists who are in the registry still; gives how many tests are new."""
    new = 0
    with store.transaction() as connection:
        for one in found.artists:
            key, artist_id = key_of(one), one.subject.artist_id
            known = connection.execute("SELECT 1 FROM tuning_test WHERE test_id = ?", [key]).fetchall()
            # they may have been erased while images were drawn
            is_there = connection.execute(
                "SELECT 1 FROM artist WHERE artist_id = ? AND name IS NOT NULL", [artist_id]
            ).fetchall()
            if is_there and not known:
                insert_rows(connection, "tuning_test", [_row(key, found, one, now)])
                new += 1
    return new


def _row(key: str, found: Examination, one: Verdict, now: datetime) -> tuple[Any, ...]:
    body = body_of(one)
    effects = [number for effect in Effect for number in _numbers(one, effect)]
    return (
        key,
        one.subject.artist_id,
        found.model_id,
        found.model_digest,
        found.base_id,
        found.base_digest,
        found.encoder_id,
        found.index_digest,
        len(found.contents),
        len(found.seeds),
        one.others,
        one.p_values.p,
        *(one.p_values.of_effect[effect] for effect in Effect),
        *effects,
        now,
        canonical_json(body).decode(),
        canonical_digest(body),
    )


def _numbers(one: Verdict, effect: Effect) -> tuple[float, float, float]:
    estimate = one.estimates[effect]
    return estimate.value, estimate.low, estimate.high


def _texts(numbers: NDArray[np.float64]) -> list[list[str]]:
    return [[decimal_text(number) for number in row] for row in numbers]
