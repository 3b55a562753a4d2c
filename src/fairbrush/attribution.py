"""From one image's vector to an Attribution: its game played, its shares, and how sure they are.

Enters: the vector, an index, who may be credited, the policy. Leaves: a frozen ``Attribution``. The one rule:
whatever can change a share is in its identity, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.candidates import (
    Creditable,
    Eligibility,
    StyleIndex,
    mix_game,
    near_game,
    nearest_centroid,
)
from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.domain import Artist, Evidence, Hint, Hit, Value
from fairbrush.embedding.facets import FACETS
from fairbrush.errors import AttributionError
from fairbrush.game.shares import Certificate
from fairbrush.ledger.policy import Policy
from fairbrush.mixing import InputImage
from fairbrush.playing import GameInputs, Played, Player, play
from fairbrush.uncertainty import MOST_CONTENDERS, Confidence, Contender, Uncertainty, bootstrap, confidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.calibration import Calibration

ALGORITHM = "2"  # part of every attribution_id: raise it when the same inputs would give other shares
EVIDENCE_ARTISTS = 10
EVIDENCE_WORKS = 3


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
class ArtistShare:
    """One credited artist. ``phi``: the Shapley value, in units of all style; ``share``: of the bill;
    ``interval``: (low, high) of the share, None where it was not asked for or cannot be told."""

    artist: Artist
    share: float
    share_e12: int
    phi: float
    similarity: float
    z: float
    evidence: tuple[Evidence, ...]
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class HintedArtist:
    """An artist the hint names and who may be credited, near the image or not."""

    artist: Artist
    similarity: float
    z: float
    is_near: bool
    is_credited: bool


@dataclass(frozen=True)
class Attribution:
    """One answer. ``identity`` is what its id is the digest of.

    ``hint``: of those it named, the artists who may be credited; ``hinted``: the same, nearest first.
    ``confidence``, ``steadiness`` and the intervals are None where they were not asked for, the latter two
    also where nobody is credited, or somebody for a single work; ``floor``: the
    part of an image below which a typical artist is not seen beside another. With inputs none of confidence,
    steadiness and intervals is told; ``input_paths``: of ``game.mixed``, in its order; ``calibration``: that
    was applied.
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
    confidence: Confidence | None
    steadiness: float | None
    unattributed_interval: tuple[float, float] | None
    floor: float
    hint: Hint | None = None
    hinted: tuple[HintedArtist, ...] = ()
    input_paths: tuple[Path, ...] = ()
    calibration: Calibration | None = None

    @property
    def attribution_id(self) -> str:
        return canonical_digest(self.identity)


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
    value: Value | None = None,
    intervals: bool = True,
    inputs: Sequence[InputImage] = (),
    calibration: Calibration | None = None,
) -> Attribution:
    """Attribute one image. vector: raw float32 (dim,), as ``encoder`` made it; for ``Value.FACETS``
    (n_facets, dim) of the views ``embedding.facets.FACETS``. ``value``: the policy's where None.

    The artists a ``hint`` names are candidates however far they are; it changes nobody's affinity.
    ``inputs``: what the image was mixed from; then their creators are the players, and it takes no hint.
    ``calibration``: what worths are mapped by; ``index`` is then ``calibrated_index`` of it and the model.
    Raises AttributionError where encoder and index do not fit, or the index cannot give all near artists,
    CalibrationError where the calibration is for another model, encoder, style space or value function.
    """
    value = value or (Value.MIX if inputs else Value(policy.value))
    facets = vector.reshape(-1, vector.shape[-1])
    _check_encoder(encoder, index)
    _check_facets(facets, value)
    _check_inputs(inputs, value, hint)
    _check_calibration(calibration, index, value, model_id)
    among = Creditable(index, eligibility, model_id)
    if inputs:
        asked = mix_game(inputs, facets[0], among=among)
    else:
        affinity_map = None if calibration is None else calibration.map
        asked = near_game(facets, value, hint, among=among, policy=policy, affinity_map=affinity_map)
    game, hint = asked.game, asked.hint
    played = play(game, policy)
    playing = {player.hit.artist_id for player in game.players}
    identity = _identity(
        image,
        index,
        eligibility,
        encoder,
        game,
        policy,
        model_id=model_id,
        hint=hint,
        calibration_id=None if calibration is None else calibration.calibration_id,
    )
    found = None
    if intervals and asked.candidates:
        seed = int(canonical_digest(identity)[:16], 16)
        found = _uncertainty(game, played, asked.candidates, facets, index, seed=seed)
    return Attribution(
        identity=identity,
        image=image,
        encoder=encoder,
        index_version=index.version,
        space_id=index.space_id,
        policy=policy,
        game=game,
        runner_up=next((hit for hit in asked.hits if hit.artist_id not in playing), None),
        model_share=played.split.model,
        model_share_e12=played.split.model_e12,
        unattributed=played.split.unattributed,
        unattributed_e12=played.split.unattributed_e12,
        artists=_artist_shares(game, played, found, policy, among=among, vector=facets[0]),
        certificate=game.certificate,
        reason=_reason(asked.hits, game, model_id),
        confidence=_confidence(game, played, found, asked=intervals and not inputs),
        steadiness=None if found is None else found.steadiness,
        unattributed_interval=(
            None if found is None else _scaled(found.unattributed, float(1 - policy.content))
        ),
        floor=index.detectability_floor,
        hint=hint,
        hinted=_hinted_artists(asked.hinted, game, eligibility),
        input_paths=tuple(one.path for one in inputs),
        calibration=calibration,
    )


def _identity(
    image: ImageFacts,
    index: StyleIndex,
    eligibility: Eligibility,
    encoder: EncoderFacts,
    game: GameInputs,
    policy: Policy,
    *,
    model_id: str,
    hint: Hint | None,
    calibration_id: str | None,
) -> dict[str, Any]:
    """What an attribution's id is the digest of: no path, no time, no float."""
    return {
        "image_sha256": image.sha256,
        "encoder_id": encoder.encoder_id,
        "encoder_variant": encoder.variant,
        "index_manifest_digest": index.manifest_digest,
        "eligibility_digest": eligibility.digest,
        "value_function": _value_function(game),
        "calibration_id": calibration_id,
        "model_id": model_id,
        "policy_digest": policy.digest,
        "hint": _hint_identity(hint),
        "algorithm": ALGORITHM,
    }


def _hinted_artists(
    hinted: Sequence[Hit], game: GameInputs, eligibility: Eligibility
) -> tuple[HintedArtist, ...]:
    playing = {player.hit.artist_id for player in game.players}
    return tuple(
        HintedArtist(
            eligibility.artists[hit.artist_id],
            hit.similarity,
            hit.z,
            is_near=hit.z > game.threshold,
            is_credited=hit.artist_id in playing,
        )
        for hit in hinted
    )


def _check_facets(facets: NDArray[np.float32], value: Value) -> None:
    if value is Value.FACETS and len(facets) != FACETS.count:
        raise AttributionError(
            f"The value function facets takes {FACETS.count} vectors an image, {FACETS.name}; it got"
            f" {len(facets)}.",
            next_step="Embed the image's views, or choose another value function.",
        )


def _check_inputs(inputs: Sequence[InputImage], value: Value, hint: Hint | None) -> None:
    if bool(inputs) != (value is Value.MIX) or (inputs and hint is not None):
        raise AttributionError(
            "Inputs are shared out by the value function mix, which needs them, and without a hint.",
            next_step="Leave out the value function and the hint, or the inputs.",
        )


def _check_calibration(
    calibration: Calibration | None, index: StyleIndex, value: Value, model_id: str
) -> None:
    if calibration is not None:
        calibration.require(encoder_id=index.encoder_id, space_id=index.space_id, value=value)
        calibration.part_of(model_id)
    shift = 0.0 if calibration is None else calibration.shift
    assert index.shift == shift, f"the index is shifted by {index.shift}, the calibration by {shift}"


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


def _hint_identity(hint: Hint | None) -> dict[str, Any] | None:
    """What the id covers: ids, and no word of the prompt."""
    if hint is None or not hint.artist_ids:
        return None
    return {"source": str(hint.source), "artist_ids": list(hint.artist_ids)}


def by_share(game: GameInputs, played: Played) -> list[int]:
    """Positions of the players, largest share first, ties by id."""
    return sorted(
        range(len(game.players)),
        key=lambda position: (-played.split.artists_e12[position], game.players[position].hit.artist_id),
    )


def _uncertainty(
    game: GameInputs,
    played: Played,
    candidates: Sequence[Player],
    facets: NDArray[np.float32],
    index: StyleIndex,
    *,
    seed: int,
) -> Uncertainty | None:
    """Of the creators who play, and of the next ones, who might have. None where somebody is paid for a
    single work: it tells nothing of what another sample of works would give."""
    import numpy as np

    paid = _paid_by_creator(game, played)
    whole = sum(paid.values())
    first: dict[str, Hit] = {}
    for player in [*game.players, *candidates]:
        first.setdefault(player.creator_id, player.hit)
    chosen = list(first)[: max(MOST_CONTENDERS, len(paid))]
    query = np.stack([index.styled(facet) for facet in facets])
    contenders = [
        Contender(
            creator_id,
            first[creator_id].similarity,
            first[creator_id].similarity - first[creator_id].z,
            tuple(nearest_centroid(facet, index, first[creator_id].artist_id)[0] for facet in query),
            index.style_of(first[creator_id].artist_id),
        )
        for creator_id in chosen
    ]
    if any(len(one.style.works) == 1 and paid.get(one.creator_id) for one in contenders):
        return None
    return bootstrap(
        query,
        contenders,
        value=game.value,
        delta=game.delta,
        entry=game.entry,
        answer={creator_id: part / whole for creator_id, part in paid.items() if whole},
        rng=np.random.default_rng(seed),
        worth_map=game.affinity_map,
    )


def _artist_shares(
    game: GameInputs,
    played: Played,
    found: Uncertainty | None,
    policy: Policy,
    *,
    among: Creditable,
    vector: NDArray[np.float32],
) -> tuple[ArtistShare, ...]:
    """Largest first; the works that speak for them only of the first ones."""
    shares = []
    for rank, position in enumerate(by_share(game, played)):
        hit = game.players[position].hit
        works = (
            among.index.nearest_works(vector, hit.artist_id, EVIDENCE_WORKS)
            if rank < EVIDENCE_ARTISTS
            else ()
        )
        shares.append(
            ArtistShare(
                artist=among.eligibility.artists[hit.artist_id],
                share=played.split.artists[position],
                share_e12=played.split.artists_e12[position],
                phi=played.phi[position],
                similarity=hit.similarity,
                z=hit.z,
                evidence=tuple(works),
                interval=None if found is None else _interval(game, played, position, found, policy),
            )
        )
    return tuple(shares)


def _interval(
    game: GameInputs, played: Played, position: int, found: Uncertainty, policy: Policy
) -> tuple[float, float]:
    """A creator's entries keep their proportions in every replicate."""
    creator_id = game.players[position].creator_id
    own = _paid_by_creator(game, played)[creator_id]
    part = max(0.0, played.phi[position]) / own if own else 0.0
    return _scaled(found.parts[creator_id], part * (float(policy.artists_part) * game.recognised))


def _paid_by_creator(game: GameInputs, played: Played) -> dict[str, float]:
    paid: dict[str, float] = {}
    for player, phi in zip(game.players, played.phi, strict=True):
        paid[player.creator_id] = paid.get(player.creator_id, 0.0) + max(0.0, phi)
    return paid


def _scaled(bounds: tuple[float, float], factor: float) -> tuple[float, float]:
    return bounds[0] * factor, bounds[1] * factor


def _confidence(
    game: GameInputs, played: Played, found: Uncertainty | None, *, asked: bool
) -> Confidence | None:
    if not asked:
        return None
    paid = _paid_by_creator(game, played)
    whole = sum(paid.values())
    if not whole:
        return Confidence.UNKNOWN
    if found is None:
        return Confidence.WEAK
    return confidence(found.steadiness, max(paid.values()) / whole)


def _value_function(game: GameInputs) -> dict[str, Any]:
    if game.value is Value.MIX:
        inputs = [
            {"sha256": one.sha256, "weight": decimal_text(one.weight), "artist_id": one.artist_id}
            for one in game.mixed
        ]
        of_mix = {"recognised": decimal_text(game.recognised), "inputs": inputs}
        return {"name": str(game.value), "parameters": of_mix}
    parameters = {"delta": decimal_text(game.delta), "recognised": decimal_text(game.recognised)}
    if game.value is not Value.NEAREST:
        parameters["entry"] = decimal_text(game.entry)
    if game.value is Value.FACETS:
        parameters["facets"] = FACETS.name
    return {"name": str(game.value), "parameters": parameters}


def _reason(hits: Sequence[Hit], game: GameInputs, model_id: str) -> str | None:
    """Why nobody is credited, in plain words; None where somebody is."""
    if game.players:
        return None
    if game.value is Value.MIX:
        if any(one.is_creditable for one in game.mixed):
            return "The image is like no mix of its inputs. All of the style stays unattributed."
        return f"No artist of the inputs may be credited for images of {model_id}."
    if not hits:
        return f"No artist in the index may be credited for images of {model_id}."
    if game.affinity_map is not None and hits[0].z > game.delta:
        return (
            f"The nearest artist has affinity {hits[0].z:.3f}, above the threshold {game.delta:.3f}; the"
            " calibration makes nothing of it. All of the style stays unattributed."
        )
    return (
        f"No artist is near enough: the nearest has affinity {hits[0].z:.3f}, the threshold is"
        f" {game.delta:.3f}. All of the style stays unattributed."
    )
