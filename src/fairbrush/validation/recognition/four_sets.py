"""The four sets of images that say whom a fine-tune was tuned on: base and fine-tune, with a name and
without.

Enters: a ``TunedOrder``, who is asked about, two generators. Leaves: files, a set each. The one rule: all
sets are of the same contents and seeds, and what has no name is drawn once for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.hints import NameFinder
from fairbrush.errors import PromptError, ValidationError
from fairbrush.validation.generators import Generator, LazyGenerator, Request, Sampling
from fairbrush.validation.order import Order, sampling_of, seeds_of
from fairbrush.validation.recognition.lifts import FEWEST_CONTENTS, LEVEL
from fairbrush.validation.recognition.protocol import Easel, Protocol
from fairbrush.validation.regenerate import Progress

LONGEST_SHOWN = 60  # characters of a prompt in a message


@dataclass(frozen=True)
class TunedOrder:
    """What is asked. ``drawing``: the fine-tune's model, weights or LoRAs, and how images are drawn.

    ``artists``: names or ids; ``everybody``: all who may be measured; ``works`` and ``name``: somebody whom
    no index knows, by a folder of works. ``trigger``: what prompts say in place of the artist's name.
    ``base_model`` None: as the registry says. ``budget``: images to make now at most; None: all.
    """

    drawing: Order
    contents: tuple[str, ...]
    artists: tuple[str, ...] = ()
    everybody: bool = False
    works: Path | None = None
    name: str | None = None
    trigger: str | None = None
    base_model: str | None = None
    base_weights: Path | None = None
    budget: int | None = None
    level: float = LEVEL


@dataclass(frozen=True)
class Subject:
    """Who is asked about. ``artist_id`` None: known by a folder of works alone. ``word``: what prompts say.
    ``column``: of their style; ``not_others``: columns that may be theirs too."""

    label: str
    artist_id: str | None
    word: str
    column: int
    not_others: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Drawn:
    """``subjects``: whose images are all there; ``pending``: the others. base, tuned: files, one an image,
    content by content; the first set unnamed, then one a subject. ``to_make``: images that are missing
    still."""

    subjects: tuple[Subject, ...]
    pending: tuple[Subject, ...]
    base: list[list[Path]]
    tuned: list[list[Path]]
    contents: tuple[str, ...]
    seeds: tuple[int, ...]
    sampling: Sampling
    digests: tuple[str, str]
    precision: str
    requests_digests: tuple[str, ...]
    made: int
    to_make: int
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """How many different ones were looked at."""
        return len({file for files in (*self.base, *self.tuned) for file in files})


def draw_sets(
    folder: Path,
    order: TunedOrder,
    subjects: Sequence[Subject],
    tuned: LazyGenerator,
    base: LazyGenerator,
    report: Callable[[Progress], None],
) -> Drawn:
    """Make what is missing, as far as the budget goes: the base's images, then the fine-tune's. Raises as
    ``regenerate``, PromptError for a content that names a subject or is not read to its end, and
    ValidationError for too few contents."""
    notes: list[str] = []
    _check_contents(order.contents, subjects)
    drawing, seeds = order.drawing, seeds_of(order.drawing, None)
    sampling = sampling_of(drawing, None, base, notes)
    protocol = Protocol(
        order.contents, len(seeds), seeds[0], drawing.template, drawing.negative_prompt or "", sampling
    )
    unnamed = protocol.twins()
    named = [protocol.requests(subject.word) for subject in subjects]
    wanted = list(dict.fromkeys(request for one in (unnamed, *named) for request in one))
    easels = [
        Easel(_read_to_the_end(generator, wanted), sampling, folder, drawing.batch)
        for generator in (base, tuned)
    ]
    told = _Both(report, 2 * len(wanted))
    left, made, missing = order.budget, 0, set[Request]()
    for easel in easels:
        lacking = easel.missing(wanted)
        now = lacking[:left]
        left = None if left is None else left - len(now)
        put_off = set(lacking[len(now) :])
        easel.draw([request for request in wanted if request not in put_off], told.see)
        told.next()
        made += len(now)
        missing |= put_off
    ready = [place for place, one in enumerate(named) if not missing & {*unnamed, *one}]
    sets = [unnamed, *(named[place] for place in ready)] if ready else []
    files = [[easel.draw(one) for one in sets] for easel in easels]
    return Drawn(
        subjects=tuple(subjects[place] for place in ready),
        pending=tuple(one for place, one in enumerate(subjects) if place not in ready),
        base=files[0],
        tuned=files[1],
        contents=order.contents,
        seeds=seeds,
        sampling=sampling,
        digests=(base.model_digest, tuned.model_digest),
        precision=tuned.precision,
        requests_digests=tuple(
            canonical_digest([[r.prompt, r.negative_prompt, r.seed] for r in [*unnamed, *named[place]]])
            for place in ready
        ),
        made=made,
        to_make=sum(len(easel.missing(wanted)) for easel in easels),
        notes=tuple(notes),
    )


def _check_contents(contents: Sequence[str], subjects: Sequence[Subject]) -> None:
    if len(contents) < FEWEST_CONTENTS:
        raise ValidationError(
            f"{len(contents)} contents say too little; at least {FEWEST_CONTENTS} are needed.",
            next_step="Give more: --prompts 24, or more lines in --contents.",
        )
    words = dict.fromkeys(word for subject in subjects for word in (subject.label, subject.word))
    finder = NameFinder.of({word: [word] for word in words})
    for content in contents:
        if named := finder.find(content):
            raise PromptError(
                f"The content {content[:LONGEST_SHOWN]!r} names {named[0]!r}, and must be drawn without.",
                next_step="Leave the name out of --contents.",
            )


class _Both:
    """Makes the progress of two runs one: the base's, then the fine-tune's."""

    def __init__(self, report: Callable[[Progress], None], total: int) -> None:
        self.report, self.total, self.before, self.last = report, total, 0, 0

    def see(self, progress: Progress) -> None:
        self.last = progress.total
        # while the base draws, nothing is known of how long the fine-tune will take
        remaining = progress.remaining_s if self.before else None
        self.report(
            replace(progress, done=self.before + progress.done, total=self.total, remaining_s=remaining)
        )

    def next(self) -> None:
        self.before += self.last


def _read_to_the_end(generator: LazyGenerator, wanted: Sequence[Request]) -> LazyGenerator:
    """The same, refused where the text encoder does not read the prompts to their end."""

    def load() -> Generator:
        loaded = generator.load()
        for prompt in dict.fromkeys(request.prompt for request in wanted):
            if beyond := loaded.unread(prompt):
                raise PromptError(
                    "The model does not read the prompt to its end: it stops before"
                    f" {beyond[:LONGEST_SHOWN]!r}.",
                    next_step="Shorten the contents, or put the artist first with --template.",
                )
        return loaded

    return replace(generator, load=load)
