"""One image's style game: its exact solution, and the game back from a record.

Enters: ``GameInputs``, all that shares are computed from. Leaves: what ``play`` makes of them. The one rule:
``play`` sees nothing but its inputs, so a record that carries them can be recomputed bit for bit when index
and vectors are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import decimal_text
from fairbrush.domain import Hit, Value
from fairbrush.errors import AttributionError
from fairbrush.game.mix import Mix, shapley_of_mix
from fairbrush.game.owen import creators_of_blend, owen_of_facets, owen_of_nearest
from fairbrush.game.selection import nonnegative_weights
from fairbrush.game.shapley import (
    shapley_of_blend,
    shapley_of_nearest,
    shapley_of_reconstruction,
    veto_value_of_model,
    veto_value_of_model_in,
)
from fairbrush.game.shares import Certificate, Split, split
from fairbrush.game.values import (
    Blend,
    Facets,
    Nearest,
    Quotient,
    Reconstruction,
    explained,
    worth_of_all,
)
from fairbrush.ledger.policy import Policy
from fairbrush.style.calibration import CALIBRATED_VALUES, AffinityMap, map_from_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.game.values import ValueFunction


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
    columns = _columns_of_game(inputs)
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
    columns = _columns_of_game(inputs)
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


def worth_of_players(inputs: GameInputs) -> float:
    """v(N), in units of the value function."""
    return worth_of_all(_game(inputs, _columns_of_game(inputs)))


def hit_text(hit: Hit) -> dict[str, str]:
    return {
        "artist_id": hit.artist_id,
        "similarity": decimal_text(hit.similarity),
        "z": decimal_text(hit.z),
    }


def columns_of(players: Sequence[Player]) -> list[list[int]]:
    """Positions of players who are one in the game: entries of one creator with the very same centroid.

    Works are pooled by creator, so that all of a creator's entries have it; entries of an index that was
    built before they were known to be one creator's differ, and play in one union.
    """
    columns: dict[tuple[str, float, float], list[int]] = {}
    for position, player in enumerate(players):
        columns.setdefault((player.creator_id, player.hit.similarity, player.hit.z), []).append(position)
    return list(columns.values())


def _columns_of_game(inputs: GameInputs) -> list[list[int]]:
    """``columns_of`` of a game's players; in ``mix`` all entries of a creator are one."""
    if inputs.value is not Value.MIX:
        return columns_of(inputs.players)
    columns: dict[str, list[int]] = {}
    for position, player in enumerate(inputs.players):
        columns.setdefault(player.creator_id, []).append(position)
    return list(columns.values())


def _part_of_players(inputs: GameInputs) -> float:
    """A(N): G, but for a mix less what only inputs explain whose artists may not be credited."""
    if inputs.value is not Value.MIX:
        return inputs.recognised
    return inputs.recognised * mix_of(inputs).part_of_paid


def _phi(inputs: GameInputs) -> NDArray[np.float64]:
    """float64 (n_players,), of any scale; entries of one column share equally, those of a mix in
    proportion to the weights of their inputs."""
    phi = np.zeros(len(inputs.players))
    if not inputs.players:
        return phi
    columns = _columns_of_game(inputs)
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


def mix_of(inputs: GameInputs) -> Mix:
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
        return mix_of(inputs)
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
