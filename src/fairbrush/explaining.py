"""Why an answer is what it is, and why somebody is not in it.

Enters: an attribution; for a question about one artist, also the image's vector and the index. Leaves: the
figures behind the shares, and the one reason that decided. The one rule: it computes from nothing that the
answer did not use, so it cannot tell another story.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, combinations
from typing import TYPE_CHECKING

from fairbrush.attribution import Attribution
from fairbrush.candidates import Eligibility, StyleIndex, nearest_centroid
from fairbrush.domain import Artist, Evidence, Hit, Value
from fairbrush.game.selection import nonnegative_weights
from fairbrush.playing import GameInputs, coalition_worths, play, veto_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.calibration import AffinityMap

EXPLAINED_ARTISTS = 3
EVIDENCE_WORKS = 3


@dataclass(frozen=True)
class CoalitionWorth:
    """What some artists explain together, as a part of all the image's style."""

    artist_ids: tuple[str, ...]
    explained: float


@dataclass(frozen=True)
class Applied:
    """What a calibration changed. ``is_centred``: the query, at what the model draws for nobody;
    ``unmapped``: what each player's share of the bill would be without the map, with the same players."""

    calibration_id: str
    affinity_map: AffinityMap
    shift: float
    is_centred: bool
    unmapped: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """Why the shares are what they are. ``offsets``: h = similarity - z of each player, best first;
    ``entry``: above which an artist may share in an image that somebody is above ``delta`` for;
    ``calibration``: None where none was applied."""

    players: tuple[Hit, ...]
    offsets: tuple[float, ...]
    delta: float
    entry: float
    runner_up: Hit | None
    coalitions: tuple[CoalitionWorth, ...]
    model_veto_share: float
    calibration: Applied | None = None


def explain(attribution: Attribution) -> Explanation:
    """The figures behind one answer, from its stored inputs alone."""
    game = attribution.game
    best = _together(game)[:EXPLAINED_ARTISTS]
    chosen = chain.from_iterable(combinations(best, size) for size in range(1, len(best) + 1))
    coalitions = [tuple(chain.from_iterable(members)) for members in chosen]
    worths = coalition_worths(game, coalitions)
    content = float(attribution.policy.content)
    hits = tuple(player.hit for player in game.players)
    return Explanation(
        players=hits,
        offsets=tuple(hit.similarity - hit.z for hit in hits),
        delta=game.delta,
        entry=game.entry,
        runner_up=attribution.runner_up,
        coalitions=tuple(
            CoalitionWorth(tuple(hits[position].artist_id for position in coalition), worth)
            for coalition, worth in zip(coalitions, worths, strict=True)
        ),
        model_veto_share=content + (1 - content) * veto_part(game),
        calibration=_applied(attribution),
    )


def _applied(attribution: Attribution) -> Applied | None:
    calibration = attribution.calibration
    if calibration is None:
        return None
    unmapped = play(replace(attribution.game, affinity_map=None), attribution.policy)
    return Applied(
        calibration.calibration_id,
        calibration.map,
        calibration.shift,
        calibration.part_of(str(attribution.identity["model_id"])).centre is not None,
        unmapped.split.artists,
    )


def _together(game: GameInputs) -> list[tuple[int, ...]]:
    """Positions of players, one by one; in a mix a creator's, who comes with all of their inputs."""
    if game.value is not Value.MIX:
        return [(position,) for position in range(len(game.players))]
    of_creator: dict[str, tuple[int, ...]] = {}
    for position, player in enumerate(game.players):
        of_creator[player.creator_id] = (*of_creator.get(player.creator_id, ()), position)
    return list(of_creator.values())


class Verdict(StrEnum):
    """Why an artist is, or is not, credited for an image; the first that holds."""

    CREDITED = "credited"
    NOT_INDEXED = "not in the index"
    NOT_ALLOWED = "may not be credited for images of this model"
    NOBODY = "nobody is near enough to this image"
    TOO_FAR = "not near enough"
    EXPLAINED_AWAY = "near, but the credited artists explain what they would"
    NO_INPUT = "none of the inputs is theirs"
    UNLIKE = "the image is like no mix of its inputs"


@dataclass(frozen=True)
class Why:
    """One artist and one image. ``threshold``: what z must exceed to share in it; ``margin``: z of the
    nearest credited artist less this one's; ``left_over``: what the credited leave of this artist's gain, for
    the value functions that mix. None where it does not apply.
    """

    artist: Artist
    verdict: Verdict
    similarity: float | None = None
    z: float | None = None
    threshold: float | None = None
    margin: float | None = None
    left_over: float | None = None
    evidence: tuple[Evidence, ...] = ()


def why(
    attribution: Attribution,
    artist: Artist,
    vector: NDArray[np.float32],
    *,
    index: StyleIndex,
    eligibility: Eligibility,
) -> Why:
    """Why this artist is, or is not, credited. vector: raw float32 (dim,), what the answer was given for."""
    if artist.artist_id not in index.artist_ids:
        return Why(artist, Verdict.NOT_INDEXED)
    game = attribution.game
    [hit] = index.affinities(vector, [artist.artist_id])
    evidence = tuple(index.nearest_works(vector, artist.artist_id, EVIDENCE_WORKS))
    if game.value is Value.MIX:
        return Why(
            artist,
            _verdict_of_mix(attribution, artist, eligibility),
            hit.similarity,
            hit.z,
            evidence=evidence,
        )
    best = max((player.hit.z for player in game.players), default=None)
    left_over = _left_over(attribution, hit, vector, index) if game.gram else None
    if artist.artist_id in {player.hit.artist_id for player in game.players}:
        verdict = Verdict.CREDITED
    elif not eligibility.may_be_credited(artist.artist_id, str(attribution.identity["model_id"])):
        verdict = Verdict.NOT_ALLOWED
    elif best is None:
        verdict = Verdict.NOBODY
    elif hit.z <= game.threshold:
        verdict = Verdict.TOO_FAR
    else:
        verdict = Verdict.EXPLAINED_AWAY
    margin = None if best is None else best - hit.z
    return Why(artist, verdict, hit.similarity, hit.z, game.threshold, margin, left_over, evidence)


def _verdict_of_mix(attribution: Attribution, artist: Artist, eligibility: Eligibility) -> Verdict:
    game = attribution.game
    if artist.artist_id in {player.hit.artist_id for player in game.players}:
        return Verdict.CREDITED
    if not eligibility.may_be_credited(artist.artist_id, str(attribution.identity["model_id"])):
        return Verdict.NOT_ALLOWED
    is_input = artist.artist_id in {one.artist_id for one in game.mixed}
    return Verdict.UNLIKE if is_input else Verdict.NO_INPUT


def _left_over(
    attribution: Attribution, hit: Hit, vector: NDArray[np.float32], index: StyleIndex
) -> float | None:
    """The artist's gain less what the mix of the players already has of it: above 0, they would play."""
    import numpy as np

    game = attribution.game
    query = index.styled(vector)
    gains = np.array([player.hit.z - game.entry for player in game.players])
    weights = nonnegative_weights(gains, np.array(game.gram))
    own = nearest_centroid(query, index, hit.artist_id)[1]
    others = [nearest_centroid(query, index, player.hit.artist_id)[1] for player in game.players]
    overlap = sum(float(own @ other) * weight for other, weight in zip(others, weights.tolist(), strict=True))
    return float(hit.z - game.entry - overlap)
