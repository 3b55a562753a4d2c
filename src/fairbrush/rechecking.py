"""Was a past answer right? Play its game again, and measure its image again where that can still be done.

Enters: a workspace's store and an attribution_id. Leaves: a ``Recheck``. The one rule: nothing is repaired
and nothing recorded; a difference is told, to the number.

Two looks, apart: the shares from the inputs that the record itself carries, which needs nothing else and must
agree to the last bit; and the record from the image's vector, where vector, index version and the calibration
that it names still exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.attribution import EncoderFacts, ImageFacts, attribute_vector
from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text
from fairbrush.corpus.eligibility import Eligibility, read_eligibility
from fairbrush.documents import recompute, to_record
from fairbrush.domain import Hint, HintSource, Value
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.facets import FACETS, WHOLE
from fairbrush.errors import CacheDamagedError, CacheError, FairbrushError, RecordError
from fairbrush.index.calibrated import calibrated_index
from fairbrush.index.search import SearchDevice, StyleIndex
from fairbrush.index.versions import list_versions
from fairbrush.ledger.policy import Policy
from fairbrush.style.kept_calibrations import kept_calibration
from fairbrush.workspace import INDEXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.store import Store
    from fairbrush.style.calibration import Calibration


class Outcome(StrEnum):
    """Of one look. ``partly``: what could be measured again is the same, and not all of it could be."""

    SAME = "same"
    PARTLY = "partly the same"
    DIFFERENT = "different"
    IMPOSSIBLE = "not possible"


@dataclass(frozen=True)
class Finding:
    """``detail``: what differs, or why it was not, or not wholly, possible; empty where all is the same."""

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Recheck:
    """``played``: from the record's own inputs; ``measured``: from the image's vector."""

    attribution_id: str
    played: Finding
    measured: Finding

    @property
    def is_sound(self) -> bool:
        return Outcome.DIFFERENT not in (self.played.outcome, self.measured.outcome)


class Rechecker:
    """Recomputes records of one store; an index version that several were asked of is loaded once."""

    def __init__(self, store: Store, *, cache_folder: Path) -> None:
        self._store = store
        self._cache_folder = cache_folder
        self._folder = store.workspace / INDEXES
        self._indexes: dict[str, StyleIndex | None] = {}
        self._calibrations: dict[str, Calibration] = {}

    def recheck(self, attribution_id: str) -> Recheck:
        """Raises RecordError where there is no such record."""
        rows = self._store.connection.execute(
            "SELECT body, body_digest FROM attribution WHERE attribution_id = ?", [attribution_id]
        ).fetchall()
        if not rows:
            raise RecordError(f"There is no record {attribution_id!r}.")
        text, digest = rows[0]
        body = json.loads(text)
        if canonical_digest(body) != digest or canonical_digest(body["identity"]) != attribution_id:
            altered = Finding(Outcome.DIFFERENT, "The record itself was altered: its digest is another.")
            return Recheck(attribution_id, altered, Finding(Outcome.IMPOSSIBLE))
        return Recheck(attribution_id, play_again(body), self._measure_again(body))

    def _measure_again(self, body: Mapping[str, Any]) -> Finding:
        """The record from the image's vector, with the index version that was asked then."""
        identity = body["identity"]
        if identity["value_function"]["name"] == Value.MIX:
            return Finding(Outcome.IMPOSSIBLE, "A mix of images is played from the record alone.")
        try:
            index = self._index(identity["index_manifest_digest"])
            if index is None:
                return Finding(Outcome.IMPOSSIBLE, "Its index version is gone, or an erasure rewrote it.")
            calibration = self._calibration(identity["calibration_id"])
            if calibration is not None:
                centre = calibration.part_of(identity["model_id"]).centre
                index = calibrated_index(index, shift=calibration.shift, centre=centre)
            vectors = _vectors_of(self._cache_folder, identity)
            if vectors is None:
                return Finding(Outcome.IMPOSSIBLE, "The image's vector is no longer in the cache.")
            eligibility = read_eligibility(self._store.workspace)
            if eligibility.digest != identity["eligibility_digest"]:
                return _players_again(body, vectors, index)
            return _whole_again(body, vectors, index, eligibility, calibration)
        except FairbrushError as error:
            return Finding(Outcome.IMPOSSIBLE, str(error))

    def _index(self, manifest_digest: str) -> StyleIndex | None:
        if manifest_digest not in self._indexes:
            self._indexes[manifest_digest] = next(
                (
                    StyleIndex.load(self._folder, version, verify=True, device=SearchDevice.CPU)
                    for version in list_versions(self._folder)
                    if version.manifest_digest == manifest_digest
                ),
                None,
            )
        return self._indexes[manifest_digest]

    def _calibration(self, calibration_id: str | None) -> Calibration | None:
        """Raises CalibrationError where it is not in the database, or is another there."""
        if calibration_id is None:
            return None
        if calibration_id not in self._calibrations:
            kept = kept_calibration(self._store.connection, calibration_id)
            self._calibrations[calibration_id] = kept
        return self._calibrations[calibration_id]


def play_again(body: Mapping[str, Any]) -> Finding:
    """The shares from the game's inputs in a record's body, to the last bit."""
    try:
        split = recompute(body)
    except FairbrushError as error:
        return Finding(Outcome.IMPOSSIBLE, str(error))
    told = (
        body["model_share_e12"],
        body["unattributed_e12"],
        tuple(share["share_e12"] for share in body["shares"]),
    )
    found = (split.model_e12, split.unattributed_e12, split.artists_e12)
    if told == found:
        return Finding(Outcome.SAME)
    return Finding(Outcome.DIFFERENT, f"In 10^-12: {_shares(told)} recorded, {_shares(found)} recomputed.")


def _whole_again(
    body: Mapping[str, Any],
    vectors: NDArray[np.float32],
    index: StyleIndex,
    eligibility: Eligibility,
    calibration: Calibration | None,
) -> Finding:
    """The whole record, where the same artists may be credited as then."""
    identity, policy = body["identity"], body["policy"]
    hint = identity["hint"]
    attribution = attribute_vector(
        ImageFacts(identity["image_sha256"], None),
        vectors,
        index=index,
        eligibility=eligibility,
        encoder=EncoderFacts(identity["encoder_id"], identity["encoder_variant"]),
        policy=Policy(b=policy["b"], w=policy["w"], model=policy["model"]),
        model_id=identity["model_id"],
        hint=hint and Hint(HintSource(hint["source"]), tuple(hint["artist_ids"])),
        value=Value(identity["value_function"]["name"]),
        intervals=False,
        calibration=calibration,
    )
    again = to_record(attribution, now=datetime.now(UTC)).body
    if canonical_json(again) == canonical_json(body):
        return Finding(Outcome.SAME)
    differing = sorted(name for name in {*body, *again} if body.get(name) != again.get(name))
    return Finding(Outcome.DIFFERENT, f"These parts of the record differ: {', '.join(differing)}.")


def _players_again(body: Mapping[str, Any], vectors: NDArray[np.float32], index: StyleIndex) -> Finding:
    """How near each credited artist is to the image, where who may be credited has changed since."""
    told = {share["artist_id"]: (share["similarity"], share["z"]) for share in body["shares"]}
    known = sorted(told.keys() & {*index.artist_ids})
    hits = index.affinities(vectors.reshape(-1, index.dim)[0], known)
    off = [
        hit.artist_id
        for hit in hits
        if told[hit.artist_id] != (decimal_text(hit.similarity), decimal_text(hit.z))
    ]
    if off:
        return Finding(Outcome.DIFFERENT, f"The affinity of {', '.join(sorted(off))} is another.")
    return Finding(
        Outcome.PARTLY,
        f"Who may be credited has changed since; the {len(hits)} whom it credits are as near as recorded.",
    )


def _vectors_of(cache_folder: Path, identity: Mapping[str, Any]) -> NDArray[np.float32] | None:
    views = FACETS if identity["value_function"]["name"] == Value.FACETS else WHOLE
    variant, sha256 = views.variant(identity["encoder_variant"]), identity["image_sha256"]
    try:
        with EmbeddingCache.open(cache_folder, readonly=True) as cache:
            return cache.space(identity["encoder_id"], variant).get_many([sha256]).get(sha256)
    except CacheDamagedError:
        raise
    except CacheError:  # there is none
        return None


def _shares(shares: tuple[int, int, tuple[int, ...]]) -> str:
    model, unattributed, artists = shares
    return f"model {model}, unattributed {unattributed}, artists {list(artists)}"
