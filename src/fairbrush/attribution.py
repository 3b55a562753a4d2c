"""From one image's vector to an Attribution: where index, eligibility, game and policy meet.

Enters: the vector, an index, who may be credited, the policy. Leaves: a frozen ``Attribution``. The one rule:
only an artist whom eligibility lets be credited now is a player, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.domain import Artist, Evidence, Hint, Hit, Value
from fairbrush.embedding.facets import FACETS
from fairbrush.errors import AttributionError
from fairbrush.game.shares import Certificate
from fairbrush.ledger.policy import Policy
from fairbrush.mixing import InputImage
from fairbrush.playing import (
    CANDIDATES,
    GameInputs,
    MixedInput,
    Played,
    Player,
    facet_inputs,
    image_mix_inputs,
    mix_inputs,
    nearest_inputs,
    play,
)
from fairbrush.uncertainty import MOST_CONTENDERS, Confidence, Contender, Uncertainty, bootstrap, confidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.calibration import AffinityMap, Calibration
    from fairbrush.style.centroids import ArtistStyle

ALGORITHM = "2"  # part of every attribution_id: raise it when the same inputs would give other shares
RECOGNISED = 1.0  # G: all of the style, until a calibration measures it
FIRST_K = CANDIDATES  # artists asked of the index; doubled until nobody who may play is missing
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
    """What an index must offer. Vectors are raw encoder vectors: float32 (dim,). ``shift``: of delta and
    entry, by a calibration."""

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
    def entry(self) -> float: ...
    @property
    def shift(self) -> float: ...
    @property
    def artist_ids(self) -> Collection[str]: ...
    def search(self, vector: NDArray[np.float32], *, k: int, allowed: Collection[str]) -> Neighbours: ...
    def affinities(self, vector: NDArray[np.float32], artist_ids: Collection[str]) -> Sequence[Hit]: ...
    def nearest_works(self, vector: NDArray[np.float32], artist_id: str, k: int) -> list[Evidence]: ...
    @property
    def detectability_floor(self) -> float: ...
    def styled(self, vector: NDArray[np.float32]) -> NDArray[np.float64]: ...
    def style_of(self, artist_id: str) -> ArtistStyle: ...
    def centroids_of(self, artist_id: str) -> NDArray[np.float64]: ...


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


@dataclass(frozen=True)
class _Asked:
    """One image's game, and who was looked at for it, best first."""

    game: GameInputs
    candidates: Sequence[Player] = ()
    hits: Sequence[Hit] = ()
    hint: Hint | None = None
    hinted: Sequence[Hit] = ()


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
    allowed = frozenset(eligibility.eligible(model_id)).intersection(index.artist_ids)
    if inputs:
        mix = _image_mix(
            inputs, facets[0], index=index, allowed=allowed, eligibility=eligibility, model_id=model_id
        )
        asked = _Asked(mix)
    else:
        asked = _near(
            facets,
            value,
            hint,
            index=index,
            allowed=allowed,
            eligibility=eligibility,
            policy=policy,
            model_id=model_id,
            affinity_map=None if calibration is None else calibration.map,
        )
    game, hint = asked.game, asked.hint
    played = play(game, policy)
    order = by_share(game, played)
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
        artists=tuple(
            _artist_share(
                game,
                played,
                position,
                found,
                policy,
                eligibility.artists[game.players[position].hit.artist_id],
                _evidence(facets[0], index, game.players[position].hit, rank),
            )
            for rank, position in enumerate(order)
        ),
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


def _near(
    facets: NDArray[np.float32],
    value: Value,
    hint: Hint | None,
    *,
    index: StyleIndex,
    allowed: frozenset[str],
    eligibility: Eligibility,
    policy: Policy,
    model_id: str,
    affinity_map: AffinityMap | None,
) -> _Asked:
    """The game of the artists near an image, and of those the hint names."""
    hits = _all_near(facets[0], index, allowed, eligibility, model_id)
    creditable = [a for a in hint.artist_ids if eligibility.may_be_credited(a, model_id)] if hint else []
    hint = _creditable(hint, allowed.intersection(creditable))
    hinted = index.affinities(facets[0], hint.artist_ids) if hint and hint.artist_ids else ()
    candidates = [
        Player(hit, eligibility.artists[hit.artist_id].creator_id) for hit in _candidates(hits, hinted)
    ]
    if value is Value.FACETS:
        candidates = _near_in_a_facet(facets, index, allowed, eligibility, model_id, candidates)
    named = frozenset(hit.artist_id for hit in hinted)
    game = _inputs(
        value,
        candidates,
        facets,
        index,
        policy,
        eligible_count=len(allowed),
        named=named,
        affinity_map=affinity_map,
    )
    return _Asked(game, candidates, hits, hint, hinted)


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


def _all_near(
    vector: NDArray[np.float32],
    index: StyleIndex,
    allowed: frozenset[str],
    eligibility: Eligibility,
    model_id: str,
) -> list[Hit]:
    """Allowed hits, best first, ties by id: all above the threshold, and those of the nearest creators."""
    if not allowed:
        return []
    k = FIRST_K
    while True:
        found = index.search(vector, k=k, allowed=allowed)
        # whatever the index and the list say, nobody who may not be credited now gets any further
        hits = [
            hit
            for hit in found.hits
            if hit.artist_id in allowed and eligibility.may_be_credited(hit.artist_id, model_id)
        ]
        creators = {eligibility.artists[hit.artist_id].creator_id for hit in hits}
        # a creator's many entries must not crowd the others out
        if found.complete and (len(creators) >= CANDIDATES or k >= len(allowed)):
            return sorted(hits, key=lambda hit: (-hit.z, hit.artist_id))
        if k >= len(allowed):
            raise AttributionError(
                f"Index {index.version} does not give all of its {len(allowed)} artists.",
                next_step="Check it: fairbrush index verify.",
            )
        k *= 2


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


def _near_in_a_facet(
    facets: NDArray[np.float32],
    index: StyleIndex,
    allowed: frozenset[str],
    eligibility: Eligibility,
    model_id: str,
    candidates: Sequence[Player],
) -> list[Player]:
    """The candidates, and whoever is near a part of the image; best for the whole image first."""
    named = {player.hit.artist_id for player in candidates}
    for facet in facets[1:]:
        named |= {hit.artist_id for hit in _all_near(facet, index, allowed, eligibility, model_id)}
    hits = sorted(index.affinities(facets[0], sorted(named)), key=lambda hit: (-hit.z, hit.artist_id))
    return [Player(hit, eligibility.artists[hit.artist_id].creator_id) for hit in hits]


def _inputs(
    value: Value,
    candidates: Sequence[Player],
    facets: NDArray[np.float32],
    index: StyleIndex,
    policy: Policy,
    *,
    eligible_count: int,
    named: Collection[str],
    affinity_map: AffinityMap | None,
) -> GameInputs:
    """``named``: the artists of the hint, who are candidates however many others are nearer."""
    import numpy as np

    if value is Value.NEAREST:
        return nearest_inputs(
            candidates,
            delta=index.delta,
            recognised=RECOGNISED,
            eligible_count=eligible_count,
            affinity_map=affinity_map,
        )
    if value is Value.FACETS:
        ids = [player.hit.artist_id for player in candidates]
        z = np.empty((len(facets), len(ids)))
        for row, facet in enumerate(facets):
            of = {hit.artist_id: hit.z for hit in index.affinities(facet, ids)}
            z[row] = [of[artist_id] for artist_id in ids]
        return facet_inputs(
            candidates,
            z,
            delta=index.delta,
            entry=index.entry,
            recognised=RECOGNISED,
            eligible_count=eligible_count,
            artists_part=float(policy.to_artists * (1 - policy.content)),
            named=named,
            affinity_map=affinity_map,
        )
    entry = index.entry
    entering = _of_nearest_creators([player for player in candidates if player.hit.z > entry], named)
    query = index.styled(facets[0])
    centroids = [nearest_centroid(query, index, player.hit.artist_id)[1] for player in entering]
    return mix_inputs(
        value,
        entering,
        np.array([[float(one @ other) for other in centroids] for one in centroids]),
        delta=index.delta,
        entry=entry,
        recognised=RECOGNISED,
        eligible_count=eligible_count,
        artists_part=float(policy.to_artists * (1 - policy.content)),
        affinity_map=affinity_map,
    )


def _image_mix(
    inputs: Sequence[InputImage],
    vector: NDArray[np.float32],
    *,
    index: StyleIndex,
    allowed: frozenset[str],
    eligibility: Eligibility,
    model_id: str,
) -> GameInputs:
    """Of an input whose artist may not be credited, no id goes further than this."""
    import numpy as np

    creditable = {one.artist_id for one in inputs if eligibility.may_be_credited(one.artist_id, model_id)}
    for artist_id in sorted(creditable - allowed):
        raise AttributionError(
            f"{eligibility.artists[artist_id].name}, of an input, has no work in index {index.version}.",
            next_step="Register one (fairbrush artist works ARTIST FILE), then fairbrush index extend.",
        )
    query = index.styled(vector)
    hits = sorted(index.affinities(vector, creditable), key=lambda hit: (-hit.z, hit.artist_id))
    mixed = []
    for one in inputs:
        similarity = float(one.styled @ query)
        by: tuple[str | None, str | None] = (None, None)
        if one.artist_id in creditable:
            by = (one.artist_id, eligibility.artists[one.artist_id].creator_id)
        mixed.append(MixedInput(one.sha256, float(one.weight), similarity, *by))
    rows = np.stack([one.styled for one in inputs])
    upper = np.triu([[float(one @ other) for other in rows] for one in rows])
    return image_mix_inputs(
        [Player(hit, eligibility.artists[hit.artist_id].creator_id) for hit in hits],
        mixed,
        upper + np.triu(upper, 1).T,
        delta=index.delta,
        entry=index.entry,
        recognised=RECOGNISED,
        eligible_count=len(allowed),
    )


def _of_nearest_creators(candidates: Sequence[Player], named: Collection[str]) -> list[Player]:
    creators = list(dict.fromkeys(player.creator_id for player in candidates))
    nearest = set(creators[:CANDIDATES])
    nearest |= {player.creator_id for player in candidates if player.hit.artist_id in named}
    return [player for player in candidates if player.creator_id in nearest]


def nearest_centroid(
    query: NDArray[np.float64], index: StyleIndex, artist_id: str
) -> tuple[int, NDArray[np.float64]]:
    """Which of an artist's centroids is nearest to an image, and that centroid."""
    centroids = index.centroids_of(artist_id)
    position = int((centroids @ query).argmax())
    return position, centroids[position]


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


def _artist_share(
    game: GameInputs,
    played: Played,
    position: int,
    found: Uncertainty | None,
    policy: Policy,
    artist: Artist,
    evidence: tuple[Evidence, ...],
) -> ArtistShare:
    player = game.players[position]
    interval = None
    if found is not None:
        # a creator's entries keep their proportions in every replicate
        own = _paid_by_creator(game, played)[player.creator_id]
        part = max(0.0, played.phi[position]) / own if own else 0.0
        artists = float(policy.to_artists * (1 - policy.content)) * game.recognised
        interval = _scaled(found.parts[player.creator_id], part * artists)
    return ArtistShare(
        artist=artist,
        share=played.split.artists[position],
        share_e12=played.split.artists_e12[position],
        phi=played.phi[position],
        similarity=player.hit.similarity,
        z=player.hit.z,
        evidence=evidence,
        interval=interval,
    )


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


def _evidence(vector: NDArray[np.float32], index: StyleIndex, hit: Hit, rank: int) -> tuple[Evidence, ...]:
    if rank >= EVIDENCE_ARTISTS:
        return ()
    return tuple(index.nearest_works(vector, hit.artist_id, EVIDENCE_WORKS))


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
