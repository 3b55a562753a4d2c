"""What was kept of validated images, as evidence for a fit.

Enters: rows of ``validation``. Leaves: one ``Studied`` an image and model, each with its readings, and how
many were left out and why. The one rule: an image serves only where all who played may still be credited,
and under the encoder and style space of the index that is calibrated now; nothing is left out unsaid.

A study serves another version of the index too: what was regenerated knows no index, and the fast answer is
given again by the current one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fairbrush.chain.canonical import canonical_digest
from fairbrush.errors import ValidationError
from fairbrush.validation.kept import recompute
from fairbrush.validation.measured import MODEL, Measurement, Split, everyone, normalised_shares

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from fairbrush.domain import Artist

CLEAR = 2.0  # standard errors above 0


class LeftOut(StrEnum):
    """Why a validated image is no evidence."""

    DAMAGED = "its record is damaged"
    MIX = "it was mixed from images"
    OTHER_ENCODER = "another encoder answered"
    OTHER_SPACE = "it was measured in another style space"
    ERASED = "somebody who played is erased or unknown"
    NOT_CREDITED = "somebody who played may not be credited now"
    NOT_INDEXED = "somebody who played is not in the index"
    REGROUPED = "who played is parted among creators otherwise now"
    NO_ERROR = "one seed or one order: its error is unknown"
    NO_READING = "the encoder that judges did not measure it"
    NO_VECTOR = "its vector is gone from the cache"
    REPEATED = "it was measured again, by an independent encoder, with more images or later"


class Index(Protocol):
    """What an index tells of itself."""

    @property
    def encoder_id(self) -> str: ...
    @property
    def space_id(self) -> str: ...
    @property
    def artist_ids(self) -> Collection[str]: ...


class Eligibility(Protocol):
    @property
    def artists(self) -> Mapping[str, Artist]: ...
    def may_be_credited(self, artist_id: str, model_id: str) -> bool: ...


@dataclass(frozen=True, eq=False)
class Measured:
    """What one encoder measured of an image.

    shares: by creator, of all that creators get; empty where nobody is clearly above 0. singles: of each
    creator whose coalition with the model was drawn, what they add to the model, as a part of what all add;
    single_weight: that whole, squared, 0 where it is not clearly above 0. content: what the model alone and
    what all bring in raw encoder space, None without content; b_is_defined: by this image alone.
    """

    validation_id: str
    shares: Mapping[str, float]
    singles: Mapping[str, float]
    single_weight: float
    content: tuple[float, float] | None
    b_is_defined: bool


@dataclass(frozen=True, eq=False)
class Studied:
    """One image. players: creators; readings: by encoder id; answering: the encoder that gave the answer;
    drawn: coalitions times seeds; sampling: how its coalitions were drawn."""

    image_sha256: str
    model_id: str
    generator_digest: str
    index_manifest_digest: str
    players: tuple[str, ...]
    answering: str
    readings: Mapping[str, Measured]
    drawn: int
    sampling: Sampled

    @property
    def independent(self) -> tuple[str, ...]:
        """Encoders that measured it and did not answer, sorted."""
        return tuple(sorted(self.readings.keys() - {self.answering}))

    @property
    def worth(self) -> tuple[bool, int]:
        """Of two studies of one image: first whether an independent encoder measured it."""
        return bool(self.independent), self.drawn


@dataclass(frozen=True, order=True)
class Sampled:
    """As ``generators.Sampling``, with the guidance as text."""

    steps: int
    guidance: str
    scheduler: str
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Row:
    """One row of ``validation``."""

    validation_id: str
    image_sha256: str
    model_id: str
    generator_digest: str
    index_manifest_digest: str
    is_independent: bool
    recorded_at: Any
    body: Mapping[str, Any]
    is_sound: bool


def read_rows(connection: DuckDBPyConnection, models: Collection[str] = ()) -> list[Row]:
    """What is kept, oldest first; of these models, or of all."""
    found = connection.execute(
        "SELECT validation_id, image_sha256, model_id, generator_digest, index_manifest_digest,"
        " is_independent, recorded_at, body::TEXT, body_digest FROM validation"
        " ORDER BY recorded_at, validation_id"
    ).fetchall()
    rows = []
    for validation_id, image, model_id, generator, index, independent, recorded_at, text, digest in found:
        if models and model_id not in models:
            continue
        body = json.loads(text)
        is_sound = canonical_digest(body) == digest
        rows.append(
            Row(validation_id, image, model_id, generator, index, independent, recorded_at, body, is_sound)
        )
    return rows


def studies(
    rows: Iterable[Row], *, index: Index, eligibility: Eligibility
) -> tuple[list[Studied], Counter[LeftOut]]:
    """One an image and model, sorted by both; and how many images were left out, by reason."""
    left_out: Counter[LeftOut] = Counter()
    by_study: dict[str, list[Row]] = {}
    for row in rows:
        identity = row.body.get("identity")
        asked = {**identity, "measured_by": None} if isinstance(identity, dict) else row.validation_id
        by_study.setdefault(canonical_digest(asked), []).append(row)
    best: dict[tuple[str, str], Studied] = {}
    for of_study in by_study.values():
        found = _studied(of_study, index, eligibility)
        if isinstance(found, LeftOut):
            left_out[found] += 1
            continue
        key = (found.image_sha256, found.model_id)
        if key in best:
            left_out[LeftOut.REPEATED] += 1
        # rows come oldest first: of two that are as good, the later stays
        if key not in best or found.worth >= best[key].worth:
            best[key] = found
    return [best[key] for key in sorted(best)], left_out


def _studied(rows: Sequence[Row], index: Index, eligibility: Eligibility) -> Studied | LeftOut:
    answering = [row for row in rows if not row.is_independent]
    if len(answering) != 1 or not all(row.is_sound for row in rows):
        return LeftOut.DAMAGED
    [first] = answering
    identity = first.body["identity"]
    if any(identity["inputs"]):
        return LeftOut.MIX
    if identity["measured_by"]["encoder_id"] != index.encoder_id:
        return LeftOut.OTHER_ENCODER
    if identity["measured_by"]["space_id"] != index.space_id:
        return LeftOut.OTHER_SPACE
    players = _players(identity["artists"], first.model_id, index, eligibility)
    if isinstance(players, LeftOut):
        return players
    readings: dict[str, Measured] = {}
    for row in rows:
        try:
            read = measured_of(row.validation_id, row.body, players)
        except ValidationError:
            return LeftOut.DAMAGED
        if read is None:
            return LeftOut.NO_ERROR
        readings[row.body["identity"]["measured_by"]["encoder_id"]] = read
    width, height = identity["size"]
    return Studied(
        image_sha256=first.image_sha256,
        model_id=first.model_id,
        generator_digest=first.generator_digest,
        index_manifest_digest=first.index_manifest_digest,
        players=players,
        answering=index.encoder_id,
        readings=readings,
        drawn=len(identity["coalitions"]) * len(identity["seeds"]),
        sampling=Sampled(
            identity["steps"], identity["guidance"], identity["scheduler"] or "", int(width), int(height)
        ),
    )


def _players(
    artists: Sequence[Sequence[str]], model_id: str, index: Index, eligibility: Eligibility
) -> tuple[str, ...] | LeftOut:
    """The creator of each player, as the registry has it now."""
    known = eligibility.artists
    entries = [artist_id for mine in artists for artist_id in mine]
    if not entries or any(artist_id not in known for artist_id in entries):
        return LeftOut.ERASED
    if not all(eligibility.may_be_credited(artist_id, model_id) for artist_id in entries):
        return LeftOut.NOT_CREDITED
    if not set(entries) <= set(index.artist_ids):
        return LeftOut.NOT_INDEXED
    of_each = [{known[artist_id].creator_id for artist_id in mine} for mine in artists]
    creators = [creator for mine in of_each for creator in mine]
    if any(len(mine) != 1 for mine in of_each) or len(set(creators)) < len(creators):
        return LeftOut.REGROUPED
    return tuple(creators)


def measured_of(validation_id: str, body: Mapping[str, Any], players: Sequence[str]) -> Measured | None:
    """A kept body as evidence; None where it tells no error. Raises ValidationError on what is no body."""
    figures = recompute(body)
    if figures.split.phi_error is None:
        return None
    codes = np.array(body["identity"]["coalitions"], np.intp)
    of_style, of_content = (
        Measurement(len(players), codes, np.array(body[space], np.float64)) for space in ("style", "content")
    )
    singles, weight = _singles(of_style, players)
    return Measured(
        validation_id,
        dict(zip(players, clear_shares(figures.split), strict=False)) if is_clear(figures.split) else {},
        singles,
        weight,
        _content(of_content) if body["has_content"] else None,
        b_is_defined=figures.b.b is not None,
    )


def is_clear(split: Split) -> bool:
    """Whether some creator's phi is above 0 by two of its standard errors."""
    assert split.phi_error is not None, "a split without errors tells nothing of this"
    return bool((split.phi[1:] > CLEAR * split.phi_error[1:]).any())


def clear_shares(split: Split) -> NDArray[np.float64]:
    """The creators' normalised shares, then nobody's: float64 (n+1,), which sum to 1.

    All is nobody's where no creator's phi is above 0 by two standard errors.

    >>> def of(*phi, error):
    ...     return Split(np.array(phi), np.full(len(phi), error), None, None, seeds=4, orders=None)
    >>> clear_shares(of(0.25, 0.375, 0.125, error=0.125)).tolist()
    [0.75, 0.25, 0.0]
    >>> clear_shares(of(0.25, 0.375, 0.125, error=0.25)).tolist()
    [0.0, 0.0, 1.0]
    """
    shares = normalised_shares(split.phi)
    if shares is None or not is_clear(split):
        return np.append(np.zeros(len(split.phi) - 1), 1.0)
    return np.append(shares, 0.0)


def _singles(style: Measurement, players: Sequence[str]) -> tuple[dict[str, float], float]:
    """What each adds to the model, as a part of what all add; and that whole squared."""
    codes = {MODEL | 1 << place: creator for place, creator in enumerate(players, start=1)}
    drawn = [code for code in codes if code in set(style.coalitions.tolist())]
    alone, whole, *with_one = style.worth([MODEL, everyone(len(players)), *drawn]).T
    added = whole - alone
    error = float(np.std(added, ddof=1)) / len(added) ** 0.5
    if not added.mean() > CLEAR * error:
        return {}, 0.0
    means = [float((one - alone).mean() / added.mean()) for one in with_one]
    return {codes[code]: part for code, part in zip(drawn, means, strict=True)}, float(added.mean()) ** 2


def _content(content: Measurement) -> tuple[float, float]:
    alone, whole = content.worth([MODEL, everyone(content.creators)]).mean(axis=0).tolist()
    return alone, whole
