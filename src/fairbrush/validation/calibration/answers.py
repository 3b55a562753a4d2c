"""What the fast answer would pay under a calibration, and how far that is from what was measured.

Enters: images' vectors, an index, changes to try. Leaves: shares by creator, and losses. The one rule: an
answer tried here is the one a look-up gives under that calibration, by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from fairbrush.attribution import EncoderFacts, ImageFacts, attribute_vector
from fairbrush.domain import Value
from fairbrush.index.calibrated import calibrated_index
from fairbrush.ledger.policy import Policy
from fairbrush.playing import play
from fairbrush.style.calibration import AffinityMap, Calibration, ModelPart, Power

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.candidates import Eligibility
    from fairbrush.index.search import StyleIndex
    from fairbrush.playing import GameInputs

Shares = Mapping[str, float]


@dataclass(frozen=True)
class Change:
    """What a calibration changes. level: the part of strangers' works that pass the shifted threshold.

    ``centred``: queries are centred at what their model draws when nobody is named.
    """

    shift: float
    gamma: float
    centred: bool
    level: float

    @property
    def size(self) -> tuple[float, bool, float]:
        """Smaller is less of a change: first the shift, which is paid for in false credit."""
        return (abs(self.shift), self.centred, abs(math.log(self.gamma)))


@dataclass(frozen=True, eq=False)
class Asked:
    """An image to answer. vectors: raw float32 (n_views, dim)."""

    image_sha256: str
    model_id: str
    vectors: NDArray[np.float32]


class Answers(Protocol):
    """What a fit asks: numbered images' games and shares under a change."""

    def game(self, image: int, *, shift: float, centred: bool) -> GameInputs:
        """One image's game, before any map."""
        ...

    def shares(self, image: int, change: Change, *, by: AffinityMap | None = None) -> Shares:
        """What each creator gets, summing to 1; empty where nobody is credited. by: instead of the power."""
        ...


@dataclass(frozen=True, eq=False)
class FastAnswers:
    """Answers to the same images under any change. centres: raw float32 (dim,) by model."""

    index: StyleIndex
    eligibility: Eligibility
    value: Value
    images: Sequence[Asked]
    centres: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    _games: dict[tuple[int, float, bool], GameInputs] = field(default_factory=dict)
    _tried: dict[tuple[str, float, bool], tuple[Calibration, StyleIndex]] = field(default_factory=dict)

    def game(self, image: int, *, shift: float, centred: bool) -> GameInputs:
        """Raises AttributionError, VectorRefusedError."""
        key = (image, shift, centred)
        if key not in self._games:
            self._games[key] = self._play(self.images[image], shift, centred)
        return self._games[key]

    def shares(self, image: int, change: Change, *, by: AffinityMap | None = None) -> Shares:
        game = self.game(image, shift=change.shift, centred=change.centred)
        return shares_of(game, by or Power(change.gamma))

    def _play(self, asked: Asked, shift: float, centred: bool) -> GameInputs:
        calibration, index = self._under(asked.model_id, shift, centred)
        return attribute_vector(
            ImageFacts(asked.image_sha256, None),
            asked.vectors,
            index=index,
            eligibility=self.eligibility,
            encoder=EncoderFacts(self.index.encoder_id, self.index.variants[0]),
            policy=Policy(model=asked.model_id),
            model_id=asked.model_id,
            value=self.value,
            intervals=False,
            calibration=calibration,
        ).game

    def _under(self, model_id: str, shift: float, centred: bool) -> tuple[Calibration, StyleIndex]:
        """A calibration of thresholds and centre alone, and the index as it is searched then."""
        key = (model_id, shift, centred)
        if key not in self._tried:
            centre = self.centres[model_id] if centred else None
            self._tried[key] = (
                Calibration(
                    encoder_id=self.index.encoder_id,
                    space_id=self.index.space_id,
                    value=self.value,
                    map=Power(1.0),
                    shift=shift,
                    models={model_id: ModelPart(None, None, 0, centre)},
                ),
                calibrated_index(self.index, shift=shift, centre=centre),
            )
        return self._tried[key]


def shares_of(game: GameInputs, by: AffinityMap) -> Shares:
    """A game's normalised shares by creator under a map; empty where nobody plays."""
    if not game.players:
        return {}
    creators = [player.creator_id for player in game.players]
    if len(set(creators)) == 1:
        return {creators[0]: 1.0}  # whatever the map
    played = play(replace(game, affinity_map=by), Policy())
    paid: dict[str, float] = {}
    for creator, phi in zip(creators, played.phi, strict=True):
        paid[creator] = paid.get(creator, 0.0) + max(0.0, phi)
    whole = math.fsum(paid.values())
    return {creator: part / whole for creator, part in paid.items() if part > 0.0} if whole > 0.0 else {}


def mis_paid(fast: Shares, measured: Shares) -> float:
    """The part of an image's money that goes to wrong hands, nobody being a hand: in [0, 1].

    Half of the sum of differences, as ``measured.compare``; what is paid to who did not play is wrong.

    >>> mis_paid({"ann": 0.5, "eve": 0.5}, {"ann": 0.75, "bo": 0.25})
    0.5
    >>> mis_paid({}, {"ann": 1.0}), mis_paid({}, {})
    (1.0, 0.0)
    """
    if not fast or not measured:
        return float(bool(fast) != bool(measured))
    names = sorted({*fast, *measured})
    return min(math.fsum(abs(fast.get(name, 0.0) - measured.get(name, 0.0)) for name in names) / 2, 1.0)


def singleton_worths(game: GameInputs) -> dict[str, float]:
    """v of each creator alone, in the value function's own units; who does not play is left out.

    A creator of several entries brings the best of them.
    """
    worths: dict[str, float] = {}
    for place, player in enumerate(game.players):
        if game.value is Value.BLEND:
            alone = player.hit.similarity
        elif game.value is Value.FACETS:
            column = [row[place] for row in game.facet_z]
            alone = math.fsum(max(z - game.entry, 0.0) for z in column) / len(column)
        else:
            alone = player.hit.z - game.delta
        worths[player.creator_id] = max(worths.get(player.creator_id, 0.0), alone)
    return {creator: worth for creator, worth in worths.items() if worth > 0.0}
