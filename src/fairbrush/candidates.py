"""Who may be credited for an image, and the game they play.

Enters: the image's vectors, an index, who may be credited, a hint or inputs. Leaves: ``Asked``, the game and
who was looked at for it. The one rule: only an artist whom eligibility lets be credited now is a player,
whatever the index says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from fairbrush.choosing import CANDIDATES, facet_inputs, image_mix_inputs, mix_inputs, nearest_inputs
from fairbrush.domain import Artist, Evidence, Hint, Hit, Value
from fairbrush.errors import AttributionError
from fairbrush.ledger.policy import Policy
from fairbrush.mixing import InputImage
from fairbrush.playing import GameInputs, MixedInput, Player

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.calibration import AffinityMap
    from fairbrush.style.centroids import ArtistStyle

RECOGNISED = 1.0  # G: all of the style, until a calibration measures it
FIRST_K = CANDIDATES  # artists asked of the index; doubled until nobody who may play is missing


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
class Creditable:
    """Whom an image may credit: the artists of an index, as far as eligibility lets them be credited for
    images of a model."""

    index: StyleIndex
    eligibility: Eligibility
    model_id: str

    @cached_property
    def allowed(self) -> frozenset[str]:
        return frozenset(self.eligibility.eligible(self.model_id)).intersection(self.index.artist_ids)

    def may_play(self, artist_id: str) -> bool:
        """Whatever the index and the list say, nobody plays who may not be credited now."""
        return artist_id in self.allowed and self.eligibility.may_be_credited(artist_id, self.model_id)

    def players(self, hits: Iterable[Hit]) -> list[Player]:
        return [Player(hit, self.eligibility.artists[hit.artist_id].creator_id) for hit in hits]


@dataclass(frozen=True)
class Asked:
    """One image's game, and who was looked at for it, best first."""

    game: GameInputs
    candidates: Sequence[Player] = ()
    hits: Sequence[Hit] = ()
    hint: Hint | None = None
    hinted: Sequence[Hit] = ()


def near_game(
    facets: NDArray[np.float32],
    value: Value,
    hint: Hint | None,
    *,
    among: Creditable,
    policy: Policy,
    affinity_map: AffinityMap | None,
) -> Asked:
    """The game of the artists near an image, and of those the hint names.

    Raises AttributionError where the index cannot give all near artists.
    """
    index = among.index
    hits = _all_near(facets[0], among)
    hint = _creditable(hint, among)
    hinted = index.affinities(facets[0], hint.artist_ids) if hint and hint.artist_ids else ()
    candidates = among.players(_candidates(hits, hinted))
    named = frozenset(hit.artist_id for hit in hinted)
    if value is Value.NEAREST:
        game = nearest_inputs(
            candidates,
            delta=index.delta,
            recognised=RECOGNISED,
            eligible_count=len(among.allowed),
            affinity_map=affinity_map,
        )
    elif value is Value.FACETS:
        candidates = _near_in_a_facet(facets, candidates, among)
        game = facet_inputs(
            candidates,
            _facet_z(facets, candidates, index),
            delta=index.delta,
            entry=index.entry,
            recognised=RECOGNISED,
            eligible_count=len(among.allowed),
            artists_part=float(policy.artists_part),
            named=named,
            affinity_map=affinity_map,
        )
    else:
        entering = _of_nearest_creators([one for one in candidates if one.hit.z > index.entry], named)
        game = mix_inputs(
            value,
            entering,
            _gram(facets[0], entering, index),
            delta=index.delta,
            entry=index.entry,
            recognised=RECOGNISED,
            eligible_count=len(among.allowed),
            artists_part=float(policy.artists_part),
            affinity_map=affinity_map,
        )
    return Asked(game, candidates, hits, hint, hinted)


def mix_game(inputs: Sequence[InputImage], vector: NDArray[np.float32], *, among: Creditable) -> Asked:
    """The game of an image's inputs. Of an input whose artist may not be credited, no id goes further than
    this. Raises AttributionError where one who may be has no work in the index."""
    import numpy as np

    index, eligibility = among.index, among.eligibility
    creditable = {
        one.artist_id for one in inputs if eligibility.may_be_credited(one.artist_id, among.model_id)
    }
    for artist_id in sorted(creditable - among.allowed):
        raise AttributionError(
            f"{eligibility.artists[artist_id].name}, of an input, has no work in index {index.version}.",
            next_step="Register one (fairbrush artist works ARTIST FILE), then fairbrush index extend.",
        )
    query = index.styled(vector)
    mixed = []
    for one in inputs:
        similarity = float(one.styled @ query)
        by: tuple[str | None, str | None] = (None, None)
        if one.artist_id in creditable:
            by = (one.artist_id, eligibility.artists[one.artist_id].creator_id)
        mixed.append(MixedInput(one.sha256, float(one.weight), similarity, *by))
    rows = np.stack([one.styled for one in inputs])
    upper = np.triu([[float(one @ other) for other in rows] for one in rows])
    game = image_mix_inputs(
        among.players(_best_first(index.affinities(vector, creditable))),
        mixed,
        upper + np.triu(upper, 1).T,
        delta=index.delta,
        entry=index.entry,
        recognised=RECOGNISED,
        eligible_count=len(among.allowed),
    )
    return Asked(game)


def nearest_centroid(
    query: NDArray[np.float64], index: StyleIndex, artist_id: str
) -> tuple[int, NDArray[np.float64]]:
    """Which of an artist's centroids is nearest to an image, and that centroid."""
    centroids = index.centroids_of(artist_id)
    position = int((centroids @ query).argmax())
    return position, centroids[position]


def _all_near(vector: NDArray[np.float32], among: Creditable) -> list[Hit]:
    """Allowed hits, best first, ties by id: all above the threshold, and those of the nearest creators."""
    index, allowed = among.index, among.allowed
    if not allowed:
        return []
    k = FIRST_K
    while True:
        found = index.search(vector, k=k, allowed=allowed)
        hits = [hit for hit in found.hits if among.may_play(hit.artist_id)]
        creators = {among.eligibility.artists[hit.artist_id].creator_id for hit in hits}
        # a creator's many entries must not crowd the others out
        if found.complete and (len(creators) >= CANDIDATES or k >= len(allowed)):
            return _best_first(hits)
        if k >= len(allowed):
            raise AttributionError(
                f"Index {index.version} does not give all of its {len(allowed)} artists.",
                next_step="Check it: fairbrush index verify.",
            )
        k *= 2


def _best_first(hits: Iterable[Hit]) -> list[Hit]:
    """Ties by id."""
    return sorted(hits, key=lambda hit: (-hit.z, hit.artist_id))


def _creditable(hint: Hint | None, among: Creditable) -> Hint | None:
    """Without those who may not be credited: neither the answer nor its record says that they were named."""
    return hint and replace(hint, artist_ids=tuple(sorted(filter(among.may_play, {*hint.artist_ids}))))


def _candidates(hits: Sequence[Hit], hinted: Sequence[Hit]) -> list[Hit]:
    """Who the game may be played by: the nearest, and whoever is named; best first, ties by id."""
    by_id = {hit.artist_id: hit for hit in hinted}
    return _best_first([*hits, *(by_id[one] for one in by_id.keys() - {hit.artist_id for hit in hits})])


def _near_in_a_facet(
    facets: NDArray[np.float32], candidates: Sequence[Player], among: Creditable
) -> list[Player]:
    """The candidates, and whoever is near a part of the image; best for the whole image first."""
    named = {player.hit.artist_id for player in candidates}
    for facet in facets[1:]:
        named |= {hit.artist_id for hit in _all_near(facet, among)}
    return among.players(_best_first(among.index.affinities(facets[0], sorted(named))))


def _facet_z(
    facets: NDArray[np.float32], candidates: Sequence[Player], index: StyleIndex
) -> NDArray[np.float64]:
    """float64 (n_facets, n_candidates): how near each candidate is to each facet."""
    import numpy as np

    ids = [player.hit.artist_id for player in candidates]
    z = np.empty((len(facets), len(ids)))
    for row, facet in enumerate(facets):
        of = {hit.artist_id: hit.z for hit in index.affinities(facet, ids)}
        z[row] = [of[artist_id] for artist_id in ids]
    return z


def _gram(vector: NDArray[np.float32], entering: Sequence[Player], index: StyleIndex) -> NDArray[np.float64]:
    """float64 (n, n): of each one's centroid that is nearest to the image."""
    import numpy as np

    query = index.styled(vector)
    centroids = [nearest_centroid(query, index, player.hit.artist_id)[1] for player in entering]
    return np.array([[float(one @ other) for other in centroids] for one in centroids])


def _of_nearest_creators(candidates: Sequence[Player], named: Collection[str]) -> list[Player]:
    """``named``: the artists of the hint, who stay however many others are nearer."""
    creators = list(dict.fromkeys(player.creator_id for player in candidates))
    staying = set(creators[:CANDIDATES])
    staying |= {player.creator_id for player in candidates if player.hit.artist_id in named}
    return [player for player in candidates if player.creator_id in staying]
