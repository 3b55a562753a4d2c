"""``fairbrush validate`` in a workspace: from an image and its prompt to a ``Study``.

Enters: settings and an ``Order``. Leaves: a ``Study``, kept in the database. The rules: only whom eligibility
lets be credited plays, or whom a LoRA was tuned on; a study that was interrupted goes on from the images it
made. Of an image mix the inputs' creators play, and a coalition draws from their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.eligibility import CREDITED
from fairbrush.corpus.generation.facts import GenerationMetadata
from fairbrush.corpus.hints import NameFinder
from fairbrush.domain import Doing
from fairbrush.errors import (
    PromptError,
    ValidationError,
)
from fairbrush.lookup import Lookup
from fairbrush.mixing import InputImage
from fairbrush.store import utc_now
from fairbrush.validation.budget import Plan, plan_permutations
from fairbrush.validation.generators import (
    Generator,
    LazyGenerator,
)
from fairbrush.validation.inputs import left_out, made_first, players_of_inputs
from fairbrush.validation.keeping import keeping
from fairbrush.validation.kept import keep
from fairbrush.validation.order import (
    Order,
    generator_of,
    metadata_of,
    negative_prompt_of,
    prompt_of,
    sampling_of,
    seeds_of,
)
from fairbrush.validation.prompts import Content, coalition_prompt, content_of
from fairbrush.validation.regenerate import Progress
from fairbrush.validation.study import (
    Player,
    Question,
    Reading,
    draw,
    fast_shares,
    players_of,
    read,
    worths_of_fast,
)
from fairbrush.validation.views import View, second_view
from fairbrush.workspace import REGENERATIONS

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution
    from fairbrush.config import Settings
    from fairbrush.domain import Artist

ALGORITHM = "1"  # raise it when the same images would give other figures
LONGEST_SHOWN = 60  # characters of a prompt in a message
LORA_STAYS = (
    "The LoRA is on in every coalition: what it does without its artists' names counts for the model, so"
    " their shares are measured too low."
)
CIRCULAR = (
    "Measured by the encoder that answered: agreement may be its own blind spots. Name an independently"
    " trained one with --second-encoder."
)


@dataclass(frozen=True, eq=False)
class Study:
    """readings: the answering encoder's first. ``images``: different ones; ``made``: those new in this run;
    ``notes``: what a reader of the figures must know; ``made_with_seed``: None where the image was given."""

    question: Question
    plan: Plan
    attribution: Attribution
    model_id: str
    model_digest: str
    precision: str
    readings: tuple[Reading, ...]
    images: int
    made: int
    notes: tuple[str, ...]
    made_with_seed: int | None = None

    @property
    def identity(self) -> dict[str, object]:
        """What the study's id is the digest of, with the view's encoder: no path, time, prompt or name."""
        question, sampling = self.question, self.question.sampling
        return {
            "algorithm": ALGORITHM,
            "attribution_id": self.attribution.attribution_id,
            "generator_digest": self.model_digest,
            "precision": self.precision,
            "creators": [player.creator_id for player in question.players],
            "artists": [[artist.artist_id for artist in player.artists] for player in question.players],
            "inputs": [[one.sha256 for one in player.inputs] for player in question.players],
            "requests_digest": canonical_digest(
                [
                    [r.prompt, r.negative_prompt, r.seed]
                    for r in question.requests(self.plan.coalitions.tolist())
                ]
            ),
            "coalitions": self.plan.coalitions.tolist(),
            "orders": None if self.plan.orders is None else self.plan.orders.tolist(),
            "seeds": list(question.seeds),
            "steps": sampling.steps,
            "guidance": repr(float(sampling.guidance)),
            "scheduler": sampling.scheduler,
            "size": [sampling.width, sampling.height],
        }


def validate(
    settings: Settings,
    order: Order,
    *,
    generator: LazyGenerator | None = None,
    refused_by: Doing | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Study:
    """Measure one image. generator: the order's, for a caller that measures several. refused_by: the command
    to keep an image's refusal of; None keeps none.

    Raises what a look-up, loading a generator and regenerating raise, PromptError, and ValidationError where
    nobody can play.
    """
    if order.image is None and not order.inputs:
        raise ValidationError("There is no image, and nothing to make one from.", next_step="Name an image.")
    notes: list[str] = []
    with ExitStack() as stack:
        lookup = stack.enter_context(_opened(settings, order, refused_by))
        notes += filter(None, [lookup.assumed_b])
        asked = _ask(settings, lookup, order, notes, generator)
        # before hours of drawing: an encoder that cannot be used is refused
        session = lookup.embedder()
        views = [View(session, lookup.index.space, is_independent=False)]
        if order.second_encoder is None:
            notes.append(CIRCULAR)
        else:
            views.append(
                stack.enter_context(second_view(settings, order.second_encoder, answering=session.encoder))
            )
        asked = _with_image(lookup, asked, notes, report)
        return _measure(lookup, order, asked, views, notes, report)


@dataclass(frozen=True)
class _Asked:
    """What is regenerated, by what. ``attribution`` None: the image is still to be made, of ``mixed``."""

    question: Question
    plan: Plan
    generator: LazyGenerator
    mixed: tuple[InputImage, ...]
    attribution: Attribution | None
    made_with_seed: int | None = None


def _opened(settings: Settings, order: Order, refused_by: Doing | None) -> Lookup:
    return Lookup(
        settings,
        model=order.model,
        record=False,
        prompt=None if order.inputs else order.prompt,
        metadata=order.metadata,
        value=order.value,
        intervals=False,
        inputs=order.inputs,
        calibration=order.calibration,
        needs_b=False,
        refused_by=refused_by,
    )


def _ask(
    settings: Settings, lookup: Lookup, order: Order, notes: list[str], generator: LazyGenerator | None
) -> _Asked:
    mixed = lookup.mixed() if order.inputs else ()
    attribution = _answered(lookup, order.image) if order.image is not None else None
    said = metadata_of(order, notes)
    content = _content(order, said, lookup, notes)
    players = _players(lookup, order, attribution, content, mixed, notes)
    generator = generator or generator_of(settings, lookup.model, order)
    question = Question(
        image=order.image or Path(),
        players=players,
        content=content.text if generator.reads_text else "",
        template=order.template,
        negative_prompt=negative_prompt_of(order, said, generator),
        seeds=seeds_of(order, said),
        sampling=sampling_of(order, said, generator, notes),
    )
    notes += _about_content(question, content)
    if order.loras:
        notes.append(LORA_STAYS)
    seen = [one.sha256 for one in mixed] if attribution is None else [attribution.image.sha256]
    plan = plan_permutations(len(players), budget=order.budget, rng=_rng(question, seen))
    return _Asked(question, plan, _read_to_the_end(generator, question), mixed, attribution)


def _with_image(
    lookup: Lookup, asked: _Asked, notes: list[str], report: Callable[[Progress], None]
) -> _Asked:
    """Of a mix without an image: with one made of all inputs, from the seed before the first."""
    if asked.attribution is not None:
        return asked
    generator = replace(asked.generator, load=cache(asked.generator.load))
    seed = (asked.question.seeds[0] - 1) % 2**64
    folder = lookup.workspace / REGENERATIONS
    image = made_first(asked.question, asked.mixed, seed, generator, folder=folder, report=report)
    notes.append(f"The image was made first, of all inputs, with the seed {seed}: {image}")
    return replace(
        asked,
        question=replace(asked.question, image=image),
        generator=generator,
        attribution=_answered(lookup, image),
        made_with_seed=seed,
    )


def _measure(
    lookup: Lookup,
    order: Order,
    asked: _Asked,
    views: Sequence[View],
    notes: Sequence[str],
    report: Callable[[Progress], None],
) -> Study:
    question, attribution = asked.question, asked.attribution
    assert attribution is not None, "made first where it was not given"
    plan = asked.plan
    folder = lookup.workspace / REGENERATIONS
    made = draw(question, plan, asked.generator, folder=folder, batch=order.batch, report=report)
    files = [[one.path for one in row] for row in made]
    readings = tuple(
        read(
            view,
            question.image,
            plan,
            files,
            fast=fast_shares(attribution, question.players),
            fast_worths=worths_of_fast(attribution, question.players),
            has_content=bool(question.content),
        )
        for view in views
    )
    return Study(
        question=question,
        plan=plan,
        attribution=attribution,
        model_id=lookup.model,
        model_digest=asked.generator.model_digest,
        precision=asked.generator.precision,
        readings=readings,
        images=len({one.path for row in made for one in row}),
        made=len({one.path for row in made for one in row if not one.was_cached}),
        notes=tuple(notes),
        made_with_seed=asked.made_with_seed,
    )


def keep_study(settings: Settings, study: Study) -> int:
    """Keep what was measured; gives how many measurements are new. Raises DatabaseBusyError, StoreError."""
    with keeping(settings, else_="What was measured is not recorded.") as store:
        return keep(store, study, now=utc_now())


def _answered(lookup: Lookup, image: Path) -> Attribution:
    [answer] = lookup.attribute([image])
    if answer.attribution is None:
        raise ValidationError(f"{image}: {answer.reason}. {answer.detail}")
    return answer.attribution


def _content(order: Order, said: GenerationMetadata | None, lookup: Lookup, notes: list[str]) -> Content:
    """The prompt without artists; a mix may have none."""
    prompt = prompt_of(order, said)
    if order.inputs and not prompt.strip():
        return Content("", ())
    content = content_of(prompt, NameFinder.of(lookup.eligibility.names))
    if order.inputs and content.artist_ids:
        notes.append("The artists the prompt names are left out: of a mix only its inputs' creators play.")
    return content


def _about_content(question: Question, content: Content) -> list[str]:
    if question.content:
        return []
    why = "This model reads no text, so the prompt is not used." if content.text else "There is no prompt."
    return [f"{why} The model alone draws what nobody draws, so b_hat is undefined."]


def _players(
    lookup: Lookup,
    order: Order,
    attribution: Attribution | None,
    content: Content,
    mixed: Sequence[InputImage],
    notes: list[str],
) -> tuple[Player, ...]:
    if attribution is None or mixed:
        players = players_of_inputs(mixed, lookup.eligibility, model_id=lookup.model)
        notes += filter(None, [left_out(mixed, players)])
        return players
    players = players_of(_who_plays(lookup, order, attribution, content.artist_ids))
    notes += _on_names(lookup, content.artist_ids, players)
    return players


def _who_plays(lookup: Lookup, order: Order, attribution: Attribution, named: Sequence[str]) -> list[Artist]:
    """The artists asked for; else those the fast answer credits and those the prompt names."""
    tuned = [lookup.artist_named(name) for lora in order.loras for name in lora.artists]
    refused = [artist for artist in tuned if artist.consent not in CREDITED]
    asked = [lookup.artist_named(name) for name in order.artists]
    may = lookup.eligibility.may_be_credited
    tuned_ids = {artist.artist_id for artist in tuned}
    refused += [a for a in asked if a.artist_id not in tuned_ids and not may(a.artist_id, lookup.model)]
    if refused:
        raise ValidationError(
            f"{refused[0].name} may not be credited for an image of {lookup.model}.",
            next_step="See fairbrush artist show, and fairbrush model roster.",
        )
    if not asked:
        credited = [one.artist for one in attribution.artists]
        known = lookup.eligibility.artists
        asked = credited + [known[artist_id] for artist_id in named if may(artist_id, lookup.model)]
    playing = list(dict.fromkeys([*asked, *tuned]))
    if not playing:
        raise ValidationError(
            f"Nobody can play: the fast answer credits nobody for {attribution.image.path}, and its prompt"
            " names no artist who may be credited.",
            next_step="Name whom to measure: --artists NAME,NAME.",
        )
    return playing


def _on_names(lookup: Lookup, named: Sequence[str], players: Sequence[Player]) -> list[str]:
    """Where the players are not those the prompt names, that is told."""
    playing = {artist.artist_id for player in players for artist in player.artists}
    notes = []
    if not playing & set(named):
        notes.append("The prompt names none of the players: they come from --artists or the fast answer.")
    if absent := [lookup.eligibility.artists[one].name for one in named if one not in playing]:
        notes.append(f"Named in the prompt but no player, so in no coalition's prompt: {', '.join(absent)}.")
    return notes


def _read_to_the_end(generator: LazyGenerator, question: Question) -> LazyGenerator:
    """The same, refused where the text encoder does not read the prompts to their end."""

    def load() -> Generator:
        loaded = generator.load()
        names = [name for player in question.players if not player.inputs for name in player.names]
        longest = coalition_prompt(question.template, question.content, names, model=bool(question.content))
        if beyond := loaded.unread(longest):
            raise PromptError(
                f"The model does not read the prompt to its end: it stops before {beyond[:LONGEST_SHOWN]!r}.",
                next_step="Shorten the prompt, or put the artists first with --template.",
            )
        return loaded

    return replace(generator, load=load)


def _rng(question: Question, images: Sequence[str]) -> np.random.Generator:
    """From what is asked: the same question samples the same orders, another image others."""
    creators = [player.creator_id for player in question.players]
    asked = canonical_digest([creators, list(question.seeds), *images])
    return np.random.default_rng(int(asked[:16], 16))
