"""From one image's vector to an Attribution: where index, eligibility, game and policy meet.

Enters: the vector, an index, who may be credited, the policy. Leaves: a frozen ``Attribution``, its JSON
(docs/attribution-schema.md) and its ``Record``. The one rule: only an artist whom eligibility lets be
credited now is a player, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.domain import Artist, Evidence, Hint, Hit
from fairbrush.errors import AttributionError
from fairbrush.game.shapley import shapley_of_nearest, veto_value_of_model
from fairbrush.game.shares import Certificate, Split, exact_certificate, split
from fairbrush.game.values import Nearest, worth_of_all
from fairbrush.ledger.canonical import canonical_digest, decimal_text
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JSON_SCHEMA = "fairbrush.attribution/1"
RECORD_SCHEMA = "fairbrush.record/1"
ALGORITHM = "1"  # part of every attribution_id: raise it when the same inputs would give other shares
RECOGNISED = 1.0  # G: all of the style, until a calibration measures it
FIRST_K = 32  # artists asked of the index; doubled until none above the threshold is missing
EVIDENCE_ARTISTS = 10
EVIDENCE_WORKS = 3
EXPLAINED_ARTISTS = 3  # all 2^3 coalitions of the best are shown


class Neighbours(Protocol):
    """``complete``: no allowed artist above the threshold is missing from ``hits``."""

    @property
    def hits(self) -> Sequence[Hit]: ...
    @property
    def complete(self) -> bool: ...


class StyleIndex(Protocol):
    """What an index must offer. Vectors are raw encoder vectors: float32 (dim,)."""

    @property
    def version(self) -> str: ...
    @property
    def manifest_digest(self) -> str: ...
    @property
    def encoder_id(self) -> str: ...
    @property
    def variants(self) -> Collection[str]: ...
    @property
    def space_id(self) -> str: ...
    @property
    def delta(self) -> float: ...
    @property
    def artist_ids(self) -> Collection[str]: ...
    def search(self, vector: NDArray[np.float32], *, k: int, allowed: Collection[str]) -> Neighbours: ...
    def affinities(self, vector: NDArray[np.float32], artist_ids: Collection[str]) -> Sequence[Hit]: ...
    def nearest_works(self, vector: NDArray[np.float32], artist_id: str, k: int) -> list[Evidence]: ...


class Eligibility(Protocol):
    """Who may be credited now, for an image of a given model."""

    @property
    def digest(self) -> str: ...
    @property
    def artists(self) -> Mapping[str, Artist]: ...
    def eligible(self, model_id: str) -> Collection[str]: ...
    def may_be_credited(self, artist_id: str, model_id: str) -> bool: ...


@dataclass(frozen=True)
class ImageFacts:
    """One image: the SHA-256 of its file, and where it was found, None for a stream."""

    sha256: str
    path: Path | None


@dataclass(frozen=True)
class EncoderFacts:
    """What made the vector. ``device`` is told, not hashed."""

    encoder_id: str
    variant: str
    device: str | None = None


@dataclass(frozen=True)
class GameInputs:
    """All that shares are computed from. ``players``: every allowed artist above ``delta``, best first."""

    players: tuple[Hit, ...]
    delta: float
    recognised: float
    eligible_count: int


@dataclass(frozen=True)
class ArtistShare:
    """One credited artist. ``phi``: the Shapley value, in units of all style; ``share``: of the bill."""

    artist: Artist
    share: float
    share_e12: int
    phi: float
    similarity: float
    z: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class HintedArtist:
    """An artist the hint names and who may be credited, near the image or not."""

    artist: Artist
    similarity: float
    z: float
    is_near: bool


@dataclass(frozen=True)
class Attribution:
    """One answer. ``identity`` is what its id is the digest of.

    ``hint``: of those it named, the artists who may be credited; ``hinted``: the same, nearest first.
    """

    identity: Mapping[str, Any]
    image: ImageFacts
    encoder: EncoderFacts
    index_version: str
    space_id: str
    policy: Policy
    game: GameInputs
    runner_up: Hit | None
    model_share: float
    model_share_e12: int
    unattributed: float
    unattributed_e12: int
    artists: tuple[ArtistShare, ...]
    certificate: Certificate
    reason: str | None
    hint: Hint | None = None
    hinted: tuple[HintedArtist, ...] = ()

    @property
    def attribution_id(self) -> str:
        return canonical_digest(self.identity)


@dataclass(frozen=True)
class CoalitionWorth:
    """What some artists explain together, as a part of all the image's style."""

    artist_ids: tuple[str, ...]
    explained: float


@dataclass(frozen=True)
class Explanation:
    """Why the shares are what they are. ``offsets``: h = similarity - z of each player, best first."""

    players: tuple[Hit, ...]
    offsets: tuple[float, ...]
    delta: float
    runner_up: Hit | None
    coalitions: tuple[CoalitionWorth, ...]
    model_veto_share: float


def attribute_vector(
    image: ImageFacts,
    vector: NDArray[np.float32],
    *,
    index: StyleIndex,
    eligibility: Eligibility,
    encoder: EncoderFacts,
    policy: Policy,
    model_id: str,
    hint: Hint | None = None,
) -> Attribution:
    """Attribute one image. vector: raw float32 (dim,), as ``encoder`` made it.

    The artists a ``hint`` names are candidates however far they are; it changes nobody's affinity.
    Raises AttributionError where encoder and index do not fit, or the index cannot give all near artists.
    """
    _check_encoder(encoder, index)
    allowed = sorted(
        artist_id
        for artist_id in set(eligibility.eligible(model_id)) & set(index.artist_ids)
        if artist_id in eligibility.artists and eligibility.may_be_credited(artist_id, model_id)
    )
    hits = _all_near(vector, index, allowed)
    hint = _creditable(hint, allowed)
    hinted = index.affinities(vector, hint.artist_ids) if hint and hint.artist_ids else ()
    near = tuple(hit for hit in _candidates(hits, hinted) if hit.z > index.delta)
    game = GameInputs(near, index.delta, RECOGNISED, eligible_count=len(allowed))
    phi, shares = _play(game, policy)
    return Attribution(
        identity={
            "image_sha256": image.sha256,
            "encoder_id": encoder.encoder_id,
            "encoder_variant": encoder.variant,
            "index_manifest_digest": index.manifest_digest,
            "eligibility_digest": eligibility.digest,
            "value_function": _value_function(game),
            "calibration_id": None,
            "model_id": model_id,
            "policy_digest": policy.digest,
            "hint": _hint_identity(hint),
            "algorithm": ALGORITHM,
        },
        image=image,
        encoder=encoder,
        index_version=index.version,
        space_id=index.space_id,
        policy=policy,
        game=game,
        runner_up=hits[len(near)] if len(near) < len(hits) else None,
        model_share=shares.model,
        model_share_e12=shares.model_e12,
        unattributed=shares.unattributed,
        unattributed_e12=shares.unattributed_e12,
        artists=tuple(
            ArtistShare(
                artist=eligibility.artists[hit.artist_id],
                share=shares.artists[rank],
                share_e12=shares.artists_e12[rank],
                phi=phi[rank],
                similarity=hit.similarity,
                z=hit.z,
                evidence=_evidence(vector, index, hit, rank),
            )
            for rank, hit in enumerate(near)
        ),
        certificate=exact_certificate("airport closed form"),
        reason=_reason(hits, near, index.delta, model_id),
        hint=hint,
        hinted=tuple(
            HintedArtist(eligibility.artists[hit.artist_id], hit.similarity, hit.z, hit.z > index.delta)
            for hit in hinted
        ),
    )


def explain(attribution: Attribution) -> Explanation:
    """The figures behind one answer, from its stored inputs alone."""
    game = attribution.game
    best = game.players[:EXPLAINED_ARTISTS]
    coalitions = chain.from_iterable(combinations(best, size) for size in range(1, len(best) + 1))
    nearest = _nearest(game)
    whole = worth_of_all(nearest)
    # the value function is a maximum, so a coalition's worth is its best member's gain
    worths = tuple(
        CoalitionWorth(
            tuple(hit.artist_id for hit in coalition),
            game.recognised * (max(hit.z for hit in coalition) - game.delta) / whole,
        )
        for coalition in coalitions
    )
    veto = game.recognised * veto_value_of_model(nearest.gains) / whole if whole else 0.0
    content = float(attribution.policy.content)
    return Explanation(
        players=game.players,
        offsets=tuple(hit.similarity - hit.z for hit in game.players),
        delta=game.delta,
        runner_up=attribution.runner_up,
        coalitions=worths,
        model_veto_share=content + (1 - content) * veto,
    )


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
        "hint": _hint_json(attribution),
        "confidence": None,
        "reason": attribution.reason,
    }


def to_record(attribution: Attribution, *, now: datetime) -> Record:
    """What is written down: no name, path or wording in the body, and the game's inputs to the last bit."""
    path = attribution.image.path
    body = {
        "schema": RECORD_SCHEMA,
        "identity": attribution.identity,
        "space_id": attribution.space_id,
        "policy": {
            "b": attribution.policy.b,
            "w": attribution.policy.w,
            "model": attribution.policy.model,
        },
        "game": {
            "players": [_hit_text(hit) for hit in attribution.game.players],
            "delta": decimal_text(attribution.game.delta),
            "recognised": decimal_text(attribution.game.recognised),
            "eligible_count": attribution.game.eligible_count,
        },
        "model_share_e12": attribution.model_share_e12,
        "unattributed_e12": attribution.unattributed_e12,
        "shares": [_share_text(share, rank) for rank, share in enumerate(attribution.artists, start=1)],
        "certificate": {
            "kind": attribution.certificate.kind,
            "exact": attribution.certificate.exact,
            "bound": decimal_text(attribution.certificate.bound),
        },
    }
    about = {
        "path": None if path is None else str(path),
        "index_version": attribution.index_version,
        "device": attribution.encoder.device,
        "reason": attribution.reason,
        "runner_up": None if attribution.runner_up is None else _hit_text(attribution.runner_up),
        "evidence": {
            share.artist.artist_id: [
                {"work_sha256": work.work_sha256, "similarity": decimal_text(work.similarity)}
                for work in share.evidence
            ]
            for share in attribution.artists
        },
    }
    return Record(body=body, about=about, recorded_at=now)


def recompute(body: Mapping[str, Any]) -> Split:
    """The shares of a record's body, bit for bit, from the inputs it carries; artists in its order.

    Needs no index, vector or registry. Raises AttributionError for a value function it does not know.
    """
    name = body["identity"]["value_function"]["name"]
    if name != Nearest.name or body["identity"]["algorithm"] != ALGORITHM:
        raise AttributionError(
            f"This fairbrush cannot recompute {name}, algorithm {body['identity']['algorithm']}.",
            next_step="Use the version that recorded it.",
        )
    inputs, policy = body["game"], body["policy"]
    game = GameInputs(
        players=tuple(
            Hit(player["artist_id"], float(player["similarity"]), float(player["z"]))
            for player in inputs["players"]
        ),
        delta=float(inputs["delta"]),
        recognised=float(inputs["recognised"]),
        eligible_count=inputs["eligible_count"],
    )
    return _play(game, Policy(b=policy["b"], w=policy["w"], model=policy["model"]))[1]


def _check_encoder(encoder: EncoderFacts, index: StyleIndex) -> None:
    if encoder.encoder_id != index.encoder_id:
        raise AttributionError(
            f"Index {index.version} was built with encoder {index.encoder_id}, the image embedded with"
            f" {encoder.encoder_id}.",
            next_step="Name the index's encoder, or rebuild: fairbrush index build.",
        )
    if encoder.variant not in index.variants:
        raise AttributionError(
            f"Index {index.version} serves {', '.join(sorted(index.variants))}, not {encoder.variant}.",
            next_step="Embed with one of these, or rebuild: fairbrush index build.",
        )


def _all_near(vector: NDArray[np.float32], index: StyleIndex, allowed: Sequence[str]) -> list[Hit]:
    """Allowed hits, best first, ties by id: all above the threshold, and some below it."""
    if not allowed:
        return []
    known = frozenset(allowed)
    k = FIRST_K
    while True:
        found = index.search(vector, k=k, allowed=known)
        if found.complete:
            break
        if k >= len(allowed):
            raise AttributionError(
                f"Index {index.version} does not give all of its {len(allowed)} artists.",
                next_step="Check it: fairbrush index verify.",
            )
        k *= 2
    return sorted((hit for hit in found.hits if hit.artist_id in known), key=lambda h: (-h.z, h.artist_id))


def _creditable(hint: Hint | None, allowed: Collection[str]) -> Hint | None:
    """Without those who may not be credited: neither the answer nor its record says that they were named."""
    return hint and replace(hint, artist_ids=tuple(sorted({*hint.artist_ids} & {*allowed})))


def _candidates(hits: Sequence[Hit], hinted: Sequence[Hit]) -> list[Hit]:
    """Who the game may be played by: the nearest, and whoever is named; best first, ties by id."""
    by_id = {hit.artist_id: hit for hit in hinted}
    added = [by_id[artist_id] for artist_id in by_id.keys() - {hit.artist_id for hit in hits}]
    return sorted([*hits, *added], key=lambda hit: (-hit.z, hit.artist_id))


def _hint_identity(hint: Hint | None) -> dict[str, Any] | None:
    """What the id covers: ids, and no word of the prompt."""
    if hint is None or not hint.artist_ids:
        return None
    return {"source": str(hint.source), "artist_ids": list(hint.artist_ids)}


def _play(game: GameInputs, policy: Policy) -> tuple[list[float], Split]:
    """phi of each player in units of all style, and the split of the bill."""
    nearest = _nearest(game)
    whole = worth_of_all(nearest)
    phi = shapley_of_nearest(nearest.gains)
    explained = game.recognised if whole > 0 else 0.0
    shares = split(
        phi,
        ids=[hit.artist_id for hit in game.players],
        explained=explained,
        content=policy.content,
        to_artists=policy.to_artists,
    )
    return [value * explained / whole for value in phi.tolist()], shares


def _nearest(game: GameInputs) -> Nearest:
    return Nearest([hit.z for hit in game.players], delta=game.delta)


def _value_function(game: GameInputs) -> dict[str, Any]:
    parameters = {"delta": decimal_text(game.delta), "recognised": decimal_text(game.recognised)}
    return {"name": Nearest.name, "parameters": parameters}


def _evidence(vector: NDArray[np.float32], index: StyleIndex, hit: Hit, rank: int) -> tuple[Evidence, ...]:
    if rank >= EVIDENCE_ARTISTS:
        return ()
    return tuple(index.nearest_works(vector, hit.artist_id, EVIDENCE_WORKS))


def _reason(hits: Sequence[Hit], near: Sequence[Hit], delta: float, model_id: str) -> str | None:
    """Why nobody is credited, in plain words; None where somebody is."""
    if near:
        return None
    if not hits:
        return f"No artist in the index may be credited for images of {model_id}."
    return (
        f"No artist is near enough: the nearest has affinity {hits[0].z:.3f}, the threshold is {delta:.3f}."
        " All of the style stays unattributed."
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
            }
            for named in attribution.hinted
        ],
    }


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
        "interval": None,
        "evidence": [
            {"work_sha256": work.work_sha256, "similarity": work.similarity} for work in share.evidence
        ],
    }


def _hit_text(hit: Hit) -> dict[str, str]:
    return {
        "artist_id": hit.artist_id,
        "similarity": decimal_text(hit.similarity),
        "z": decimal_text(hit.z),
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
