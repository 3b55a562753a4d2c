"""One image's style game: who plays it, its exact solution, and both back from a record.

Enters: affinities and centroids of the near artists. Leaves: ``GameInputs``, all that shares are computed
from, and what ``play`` makes of them. The one rule: ``play`` sees nothing but its inputs, so a record that
carries them can be recomputed bit for bit when index and vectors are gone.

The unknown-style rule is the same for every value function: an image whose best affinity is not above the
index's threshold ``delta`` credits nobody. Where somebody is above it, ``blend``, ``reconstruction`` and, in
each facet, ``facets`` let in whoever is above the index's lower ``entry``: a second artist's part of an image
is seldom as strong as a whole one. ``mix`` has no threshold: which images were mixed is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import decimal_text
from fairbrush.domain import Hit, Value
from fairbrush.errors import AttributionError
from fairbrush.game.mix import Mix, shapley_of_mix
from fairbrush.game.owen import creators_of_blend, owen_of_facets, owen_of_nearest
from fairbrush.game.selection import nonnegative_weights, survivors
from fairbrush.game.shapley import (
    shapley_of_blend,
    shapley_of_nearest,
    shapley_of_reconstruction,
    veto_value_of_model,
    veto_value_of_model_in,
)
from fairbrush.game.shares import Certificate, Split, blend_certificate, exact_certificate, split
from fairbrush.game.values import (
    Blend,
    Facets,
    Nearest,
    Quotient,
    Reconstruction,
    explained,
    mapped,
    worth_of_all,
)
from fairbrush.ledger.policy import Policy
from fairbrush.style.calibration import CALIBRATED_VALUES, AffinityMap, map_from_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.game.values import ValueFunction

_TINY = 5e-324  # the least float64 above 0
CANDIDATES = 32  # creators, nearest first, of whom all but nearest choose


@dataclass(frozen=True)
class Player:
    """One artist entry in the game, and whose it is."""

    hit: Hit
    creator_id: str


@dataclass(frozen=True)
class MixedInput:
    """One image that another was mixed from. weight: its part of all weights; similarity: its cosine to that
    other image in style space; artist_id, creator_id: None where the artist may not be credited.
    """

    sha256: str
    weight: float
    similarity: float
    artist_id: str | None
    creator_id: str | None

    @property
    def is_creditable(self) -> bool:
        return self.artist_id is not None


@dataclass(frozen=True)
class GameInputs:
    """All that shares are computed from. ``players``: best first.

    gram: of the players' centroids, for ``blend`` and ``reconstruction``, and of the inputs for ``mix``;
    facet_z: a row of affinities a facet, for ``facets``; mixed: the inputs, for ``mix``; certificate: what
    choosing the players may lose; affinity_map: a calibration's, of what coalitions are worth.
    """

    value: Value
    players: tuple[Player, ...]
    delta: float
    entry: float
    recognised: float
    eligible_count: int
    certificate: Certificate
    gram: tuple[tuple[float, ...], ...] = ()
    facet_z: tuple[tuple[float, ...], ...] = ()
    mixed: tuple[MixedInput, ...] = ()
    affinity_map: AffinityMap | None = None

    def __post_init__(self) -> None:
        assert self.affinity_map is None or self.value in CALIBRATED_VALUES, f"{self.value} takes no map"

    @property
    def threshold(self) -> float:
        """What z must exceed to share in this image: ``delta`` as long as nobody does, then ``entry``."""
        return self.entry if self.players else self.delta


@dataclass(frozen=True)
class Played:
    """phi: of each player, in units of all the image's style."""

    phi: tuple[float, ...]
    split: Split


def nearest_inputs(
    candidates: Sequence[Player],
    *,
    delta: float,
    recognised: float,
    eligible_count: int,
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Everybody above the threshold plays. candidates: best first."""
    near = tuple(player for player in candidates if player.hit.z > delta)
    certificate = exact_certificate("airport closed form")
    return _worth_playing(
        GameInputs(
            Value.NEAREST,
            near,
            delta,
            delta,
            recognised,
            eligible_count,
            certificate,
            affinity_map=affinity_map,
        )
    )


def facet_inputs(
    candidates: Sequence[Player],
    facet_z: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
    artists_part: float,
    named: Collection[str] = (),
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Where the whole image passes ``delta``, those play who are above the entry in any facet.

    candidates: best first for the whole image; facet_z: float64 (n_facets, n_candidates), the whole image
    first; named: artist ids, who stay however many others gain more. The creators with the largest gains
    stay; whoever else is above the entry gains at most what the last of them does, so together at most this
    part of v, and so much too much have those who stay.
    """
    kind = "airport closed form a facet"
    nobody = GameInputs(
        Value.FACETS,
        (),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate(kind),
        affinity_map=affinity_map,
    )
    if not candidates or candidates[0].hit.z <= delta:
        return nobody
    gains = np.maximum(facet_z - entry, 0.0)
    best = gains.max(axis=0)
    gain_of: dict[str, float] = {}  # largest first
    for position in np.argsort(-best, kind="stable").tolist():
        if best[position] > 0.0:
            gain_of.setdefault(candidates[position].creator_id, float(best[position]))
    creators = list(gain_of)[:CANDIDATES]
    staying = {*creators, *(one.creator_id for one in candidates if one.hit.artist_id in named)}
    playing = [at for at, one in enumerate(candidates) if best[at] > 0.0 and one.creator_id in staying]
    certificate = exact_certificate(kind)
    if len(creators) == CANDIDATES:
        last, whole = np.array(gain_of[creators[-1]]), gains[:, playing].max(axis=1)
        # of a monotone map the same holds, with what it makes of both
        part = float(mapped(last, affinity_map)) / max(float(mapped(whole, affinity_map).mean()), _TINY)
        certificate = Certificate(f"{kind}, truncated", False, min(part, 1.0) * artists_part)
    return _worth_playing(
        replace(
            nobody,
            players=tuple(candidates[position] for position in playing),
            certificate=certificate,
            facet_z=tuple(tuple(row) for row in facet_z[:, playing].tolist()),
        )
    )


def mix_inputs(
    value: Value,
    candidates: Sequence[Player],
    gram: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
    artists_part: float,
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Of the candidates those whom the best non-negative mix needs; look-alikes are explained away.

    candidates: best first, all above ``entry``; gram: float64 (n, n) of their centroids.
    """
    nobody = GameInputs(
        value,
        (),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate(_KIND[value]),
        affinity_map=affinity_map,
    )
    if not candidates or candidates[0].hit.z <= delta:
        return nobody
    columns = _columns(candidates)
    gains = np.array([candidates[column[0]].hit.z - entry for column in columns])
    first = [column[0] for column in columns]
    chosen = survivors(
        gains, gram[np.ix_(first, first)], unions=[candidates[position].creator_id for position in first]
    )
    staying = sorted(position for index in chosen.indices for position in columns[index])
    rows = tuple(tuple(row) for row in gram[np.ix_(staying, staying)].tolist())
    told = blend_certificate(chosen, artists_part=artists_part)
    kind = told.kind.replace(_KIND[Value.BLEND], _KIND[value])
    # what those dropped may add to worths that are mapped is not bounded by what they add to worths
    bound = artists_part if affinity_map is not None and not told.exact else told.bound
    return _worth_playing(
        replace(
            nobody,
            players=tuple(candidates[position] for position in staying),
            certificate=Certificate(kind, told.exact, bound),
            gram=rows,
        )
    )


def image_mix_inputs(
    players: Sequence[Player],
    mixed: Sequence[MixedInput],
    gram: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
) -> GameInputs:
    """The creators of an image's inputs play, each with all of theirs; nobody where the image is like no mix.

    players: an entry each artist of a creditable input, best first; gram: float64 (n, n) of the inputs' own
    vectors, unit rows in style space.
    """
    game = GameInputs(
        Value.MIX,
        tuple(players),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate("mix, 2^m coalitions"),
        gram=tuple(tuple(row) for row in gram.tolist()),
        mixed=tuple(mixed),
    )
    return game if players and _mix(game).part_of_paid > 0.0 else replace(game, players=())


def _worth_playing(game: GameInputs) -> GameInputs:
    """Nobody plays where a calibration makes nothing of what all explain."""
    if game.affinity_map is None or not game.players:
        return game
    if worth_of_all(_game(game, _columns_of(game))) > 0.0:
        return game
    return replace(
        game, players=(), gram=(), facet_z=(), certificate=exact_certificate(game.certificate.kind)
    )


_KIND = {Value.BLEND: "blend, 2^m coalitions", Value.RECONSTRUCTION: "reconstruction, closed form"}


def play(inputs: GameInputs, policy: Policy) -> Played:
    """phi of each player and the split of the bill."""
    phi = _phi(inputs)
    paid = np.maximum(phi, 0.0)
    whole = float(paid.sum())
    explained = _part_of_players(inputs) if whole > 0.0 else 0.0
    shares = split(
        phi,
        ids=[player.hit.artist_id for player in inputs.players],
        explained=explained,
        content=policy.content,
        to_artists=policy.to_artists,
    )
    return Played(tuple(float(value) * explained / whole if whole else 0.0 for value in phi), shares)


def coalition_worths(inputs: GameInputs, coalitions: Sequence[Sequence[int]]) -> list[float]:
    """What players explain together, as parts of all the image's style; each coalition lists positions."""
    if not inputs.players:
        return [0.0] * len(coalitions)
    columns = _columns_of(inputs)
    column_of = {position: column for column, members in enumerate(columns) for position in members}
    game = _game(inputs, columns)
    rows = np.zeros((len(coalitions), len(columns)), np.bool_)
    for row, members in enumerate(coalitions):
        rows[row, [column_of[position] for position in members]] = True
    return [float(part) for part in explained(game, rows, recognised=_part_of_players(inputs))]


def veto_part(inputs: GameInputs) -> float:
    """The part of the style that the model would take if it could veto: shown, never paid."""
    if not inputs.players:
        return 0.0
    columns = _columns_of(inputs)
    game = _game(inputs, columns)
    if isinstance(game, Nearest):
        veto = veto_value_of_model(game.gains)
    elif isinstance(game, Facets):
        vetoes = [veto_value_of_model(gains) for gains in game.gains]
        veto = float(game.weights @ vetoes)
    else:
        # creators are the players: their entries may be more than can be enumerated
        veto = veto_value_of_model_in(Quotient(game, [inputs.players[c[0]].creator_id for c in columns]))
    whole = worth_of_all(game)
    return _part_of_players(inputs) * float(veto) / whole if whole > 0.0 else 0.0


def to_text(inputs: GameInputs) -> dict[str, Any]:
    """For a record's body: numbers as decimal text that gives the same bits back."""
    document: dict[str, Any] = {
        "players": [{**hit_text(player.hit), "creator_id": player.creator_id} for player in inputs.players],
        "delta": decimal_text(inputs.delta),
        "entry": decimal_text(inputs.entry),
        "recognised": decimal_text(inputs.recognised),
        "eligible_count": inputs.eligible_count,
    }
    if inputs.gram:
        document["gram"] = [[decimal_text(number) for number in row] for row in inputs.gram]
    if inputs.facet_z:
        document["facet_z"] = [[decimal_text(number) for number in row] for row in inputs.facet_z]
    if inputs.affinity_map is not None:
        document["affinity_map"] = inputs.affinity_map.to_text()
    if inputs.mixed:
        document["mixed"] = [
            {
                "sha256": one.sha256,
                "weight": decimal_text(one.weight),
                "similarity": decimal_text(one.similarity),
                "artist_id": one.artist_id,
                "creator_id": one.creator_id,
            }
            for one in inputs.mixed
        ]
    return document


def from_text(value: Value, document: Mapping[str, Any], certificate: Certificate) -> GameInputs:
    """What ``to_text`` wrote. Records of algorithm 1 have no creators: each artist was a player alone."""
    players = tuple(
        Player(
            Hit(player["artist_id"], float(player["similarity"]), float(player["z"])),
            player.get("creator_id", player["artist_id"]),
        )
        for player in document["players"]
    )
    delta = float(document["delta"])
    return GameInputs(
        value,
        players,
        delta,
        float(document.get("entry", delta)),
        float(document["recognised"]),
        document["eligible_count"],
        certificate,
        gram=tuple(tuple(float(number) for number in row) for row in document.get("gram", ())),
        facet_z=tuple(tuple(float(number) for number in row) for row in document.get("facet_z", ())),
        mixed=tuple(
            MixedInput(
                one["sha256"],
                float(one["weight"]),
                float(one["similarity"]),
                one["artist_id"],
                one["creator_id"],
            )
            for one in document.get("mixed", ())
        ),
        affinity_map=map_from_text(document["affinity_map"]) if "affinity_map" in document else None,
    )


def hit_text(hit: Hit) -> dict[str, str]:
    return {
        "artist_id": hit.artist_id,
        "similarity": decimal_text(hit.similarity),
        "z": decimal_text(hit.z),
    }


def _columns(players: Sequence[Player]) -> list[list[int]]:
    """Positions of players who are one in the game: entries of one creator with the very same centroid.

    Works are pooled by creator, so that all of a creator's entries have it; entries of an index that was
    built before they were known to be one creator's differ, and play in one union.
    """
    columns: dict[tuple[str, float, float], list[int]] = {}
    for position, player in enumerate(players):
        columns.setdefault((player.creator_id, player.hit.similarity, player.hit.z), []).append(position)
    return list(columns.values())


def _columns_of(inputs: GameInputs) -> list[list[int]]:
    """``_columns`` of a game's players; in ``mix`` all entries of a creator are one."""
    if inputs.value is not Value.MIX:
        return _columns(inputs.players)
    columns: dict[str, list[int]] = {}
    for position, player in enumerate(inputs.players):
        columns.setdefault(player.creator_id, []).append(position)
    return list(columns.values())


def _part_of_players(inputs: GameInputs) -> float:
    """A(N): G, but for a mix less what only inputs explain whose artists may not be credited."""
    if inputs.value is not Value.MIX:
        return inputs.recognised
    return inputs.recognised * _mix(inputs).part_of_paid


def _phi(inputs: GameInputs) -> NDArray[np.float64]:
    """float64 (n_players,), of any scale; entries of one column share equally, those of a mix in
    proportion to the weights of their inputs."""
    phi = np.zeros(len(inputs.players))
    if not inputs.players:
        return phi
    columns = _columns_of(inputs)
    unions = [inputs.players[column[0]].creator_id for column in columns]
    game = _game(inputs, columns)
    match game:
        case Nearest() if len(set(unions)) == len(unions):
            values = shapley_of_nearest(game.gains)
        case Nearest():
            values = owen_of_nearest(game.gains, unions)
        case Facets():
            values = owen_of_facets(game, unions)
        case Blend() if len(set(unions)) == len(unions):
            values = shapley_of_blend(game.linear, game.gram, worth_map=inputs.affinity_map)
        case Blend():
            values = creators_of_blend(game.linear, game.gram, unions, worth_map=inputs.affinity_map)
        case Reconstruction():
            values = shapley_of_reconstruction(game)
        case Mix():
            values = shapley_of_mix(game)
        case _:
            raise AttributionError(f"{inputs.value} has no solver.", next_step="Report this bug.")
    for column, value in zip(columns, values.tolist(), strict=True):
        if inputs.value is Value.MIX:
            weights = [_weight_of(inputs, inputs.players[position].hit.artist_id) for position in column]
            phi[column] = [value * weight / fsum(weights) for weight in weights]
        else:
            phi[column] = value / len(column)
    return phi


def _weight_of(inputs: GameInputs, artist_id: str) -> float:
    return fsum(one.weight for one in inputs.mixed if one.artist_id == artist_id)


def _mix(inputs: GameInputs) -> Mix:
    """Creators in the order of the players, each with all of their inputs; then the inputs of artists who may
    not be credited, each alone. Sums are exactly rounded: the order of inputs changes no bit.
    """
    groups: dict[str, list[int]] = {player.creator_id: [] for player in inputs.players}
    paid = len(groups)
    for position, one in enumerate(inputs.mixed):
        groups.setdefault(one.creator_id or one.sha256, []).append(position)
    brought = [[(position, inputs.mixed[position].weight) for position in of] for of in groups.values()]
    linear = [fsum(weight * inputs.mixed[i].similarity for i, weight in mine) for mine in brought]
    gram = [
        [
            fsum(one * other * inputs.gram[i][j] for i, one in mine for j, other in theirs)
            for theirs in brought
        ]
        for mine in brought
    ]
    weights = [fsum(weight for _, weight in mine) for mine in brought]
    return Mix(linear, gram, weights=weights, paid=paid)


def _game(inputs: GameInputs, columns: Sequence[Sequence[int]]) -> ValueFunction:
    if inputs.value is Value.MIX:
        return _mix(inputs)
    first = [column[0] for column in columns]
    hits = [inputs.players[position].hit for position in first]
    if inputs.value is Value.NEAREST:
        return Nearest([hit.z for hit in hits], delta=inputs.delta, worth_map=inputs.affinity_map)
    if inputs.value is Value.FACETS:
        z = np.array(inputs.facet_z)[:, first]
        weights = np.full(len(z), 1.0 / len(z))
        return Facets(z, delta=inputs.entry, weights=weights, worth_map=inputs.affinity_map)
    similarities = [hit.similarity for hit in hits]
    gram = np.array(inputs.gram)[np.ix_(first, first)]
    if inputs.value is Value.BLEND:
        return Blend(similarities, gram, worth_map=inputs.affinity_map)
    mix = nonnegative_weights([hit.z - inputs.entry for hit in hits], gram)
    return Reconstruction(similarities, gram, weights=mix)
