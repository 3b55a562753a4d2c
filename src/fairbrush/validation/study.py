"""One image, regenerated for every coalition, beside its fast answer.

Enters: an image, its fast answer, who may play, a generator. Leaves: a ``Study``, and in it a ``Reading`` of
each view. The rules: every coalition is drawn from the same seeds; the fast answer may say who plays, never
what a coalition is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.playing import coalition_worths
from fairbrush.validation.budget import Plan, measured_split, surrogate_of
from fairbrush.validation.generators import Conditioning, LazyGenerator, Request, Sampling
from fairbrush.validation.measured import (
    MODEL,
    Agreement,
    ContentPart,
    Measurement,
    Split,
    compare,
    content_part,
    everyone,
)
from fairbrush.validation.prompts import Template, coalition_prompt
from fairbrush.validation.regenerate import Progress, Regenerated, regenerate
from fairbrush.validation.views import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.attribution import Attribution
    from fairbrush.domain import Artist


@dataclass(frozen=True)
class Player:
    """A creator who may be credited, by those of their entries that are meant; ``inputs``: of an image mix,
    those that are theirs."""

    creator_id: str
    artists: tuple[Artist, ...]
    inputs: tuple[Conditioning, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(artist.name for artist in self.artists)


@dataclass(frozen=True)
class Question:
    """``content``: the prompt in nobody's style, empty where there is none; ``seeds``: of every coalition."""

    image: Path
    players: tuple[Player, ...]
    content: str
    template: Template
    negative_prompt: str
    seeds: tuple[int, ...]
    sampling: Sampling

    def requests(self, coalitions: Iterable[int]) -> list[Request]:
        """One an image, coalition by coalition, each with all seeds."""
        return [request for code in coalitions for request in self._requests_of(code)]

    def _requests_of(self, code: int) -> list[Request]:
        members = [player for bit, player in enumerate(self.players, start=1) if code >> bit & 1]
        inputs = tuple(one for player in members for one in player.inputs)
        # the input images of a mix stand in for names
        names = [name for player in members if not player.inputs for name in player.names]
        with_model = bool(code & MODEL) and bool(self.content)
        prompt = coalition_prompt(self.template, self.content, names, model=with_model)
        return [Request(prompt, seed, self.negative_prompt, inputs) for seed in self.seeds]


@dataclass(frozen=True, eq=False)
class Reading:
    """What one view measured. ``fast``: the normalised shares of the fast answer, by player, None where it
    credits none of them; ``agreement``: of these with the regenerated ones; ``surrogate``: the worths a
    sampled split started from, None where every coalition was measured."""

    encoder_id: str
    space_id: str
    is_independent: bool
    content: Measurement
    style: Measurement
    surrogate: NDArray[np.float64] | None
    b: ContentPart
    split: Split
    fast: NDArray[np.float64] | None
    agreement: Agreement


def players_of(artists: Iterable[Artist]) -> tuple[Player, ...]:
    """One player a creator, in the order in which they are first named."""
    entries: dict[str, list[Artist]] = {}
    for artist in artists:
        entries.setdefault(artist.creator_id, []).append(artist)
    return tuple(Player(creator_id, tuple(mine)) for creator_id, mine in entries.items())


def fast_shares(attribution: Attribution, players: Sequence[Player]) -> NDArray[np.float64] | None:
    """The creators' parts of what the fast answer pays these players: float64 (n,), None where nothing."""
    paid: dict[str, float] = {}
    for one in attribution.artists:
        paid[one.artist.creator_id] = paid.get(one.artist.creator_id, 0.0) + one.share
    shares = np.array([paid.get(player.creator_id, 0.0) for player in players])
    whole = shares.sum()
    return shares / whole if whole > 0.0 else None


def worths_of_fast(attribution: Attribution, players: Sequence[Player]) -> NDArray[np.float64]:
    """What the fast game says each set of players explains: float64 (2^n,), by code without the model."""
    places: dict[str, list[int]] = {player.creator_id: [] for player in players}
    for position, playing in enumerate(attribution.game.players):
        if playing.creator_id in places:
            places[playing.creator_id].append(position)
    coalitions = [
        [at for bit, player in enumerate(players) if code >> bit & 1 for at in places[player.creator_id]]
        for code in range(1 << len(players))
    ]
    return np.array(coalition_worths(attribution.game, coalitions))


def draw(
    question: Question,
    plan: Plan,
    generator: LazyGenerator,
    *,
    folder: Path,
    batch: int,
    report: Callable[[Progress], None] = lambda _: None,
) -> list[list[Regenerated]]:
    """The images of each coalition, one a seed; only what is missing is made. Raises as ``regenerate``."""
    requests = question.requests(plan.coalitions.tolist())
    made = list(regenerate(requests, question.sampling, generator, folder=folder, batch=batch, report=report))
    seeds = len(question.seeds)
    return [made[at : at + seeds] for at in range(0, len(made), seeds)]


def read(
    view: View,
    image: Path,
    plan: Plan,
    made: Sequence[Sequence[Path]],
    *,
    fast: NDArray[np.float64] | None,
    fast_worths: NDArray[np.float64],
    has_content: bool = True,
) -> Reading:
    """What one view measures of the coalitions' images. made: a row of files a coalition, one a seed.

    fast: normalised shares by player; fast_worths: ``worths_of_fast``, which a sampled split starts from;
    has_content: as in ``content_part``.
    Raises RegenerationError, ValidationError.
    """
    found = view.similarities(image, made)
    content = Measurement(plan.creators, plan.coalitions, found.content)
    style = Measurement(plan.creators, plan.coalitions, found.style)
    predicted = None
    if plan.orders is not None:
        alone, whole = style.worth([MODEL, everyone(plan.creators)]).mean(axis=0)
        predicted = surrogate_of(fast_worths, scale=max(0.0, float(whole - alone)))
    split = measured_split(style, plan, surrogate=predicted)
    return Reading(
        encoder_id=view.encoder_id,
        space_id=view.space.space_id,
        is_independent=view.is_independent,
        content=content,
        style=style,
        surrogate=predicted,
        b=content_part(content, has_content=has_content),
        split=split,
        fast=fast,
        agreement=compare(fast, split.shares),
    )
