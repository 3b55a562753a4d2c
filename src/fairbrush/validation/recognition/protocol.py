"""What a model is asked to draw so that artists can be compared: the same for everybody but the name.

Enters: contents, seeds, a template, a sampling, names of nobody. Leaves: requests. The rules: an image that
names an artist has a twin of the same content and noise that names somebody invented, or nobody; and each
content has noise of its own, so that contents are independent of each other even where a model hardly draws
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.validation.generators import LazyGenerator, Request, Sampling
from fairbrush.validation.prompts import Template, coalition_prompt
from fairbrush.validation.regenerate import Progress, missing_requests, regenerate

ALGORITHM = "1"  # raise it when the same images would give other figures


@dataclass(frozen=True)
class Protocol:
    """``seeds``: images of each content; ``first_seed``: of the first content's first image; ``controls``:
    invented names, for twins in turn; none: twins name nobody."""

    contents: tuple[str, ...]
    seeds: int
    first_seed: int
    template: Template
    negative_prompt: str
    sampling: Sampling
    controls: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many name one artist, and how many twins they have."""
        return len(self.contents) * self.seeds

    def requests(self, name: str) -> list[Request]:
        """Content by content, each with its seeds.

        >>> asked = Protocol(("a fox", "a cat"), 2, 7, Template(), "", Sampling(1, 5.0, None, 8, 8), ("Xu",))
        >>> [(one.prompt, one.seed) for one in asked.requests("Ann")][1:3]
        [('a fox, in the style of Ann', 8), ('a cat, in the style of Ann', 9)]
        """
        return self._naming([[name]])

    def twins(self) -> list[Request]:
        """The same contents and noise without the artist.

        >>> asked = Protocol(("a fox", "a cat"), 2, 7, Template(), "", Sampling(1, 5.0, None, 8, 8), ("Xu",))
        >>> [(one.prompt, one.seed) for one in asked.twins()][1:3]
        [('a fox, in the style of Xu', 8), ('a cat, in the style of Xu', 9)]
        """
        return self._naming([[name] for name in self.controls] or [[]])

    def _naming(self, in_turn: Sequence[Sequence[str]]) -> list[Request]:
        contents = [content for content in self.contents for _ in range(self.seeds)]
        return [
            Request(
                coalition_prompt(self.template, content, in_turn[place % len(in_turn)], model=True),
                (self.first_seed + place) % 2**64,
                self.negative_prompt,
            )
            for place, content in enumerate(contents)
        ]

    def digest(self, precision: str) -> str:
        """Of all that is the same for every artist but the model: figures of one protocol are comparable."""
        sampling = self.sampling
        return canonical_digest(
            {
                "algorithm": ALGORITHM,
                "contents": list(self.contents),
                "seeds": self.seeds,
                "first_seed": self.first_seed,
                "template": [self.template.both, self.template.conjunction],
                "negative_prompt": self.negative_prompt,
                "controls": list(self.controls),
                "steps": sampling.steps,
                "guidance": decimal_text(float(sampling.guidance)),
                "scheduler": sampling.scheduler,
                "size": [sampling.width, sampling.height],
                "precision": precision,
            }
        )


def loaded_once(generator: LazyGenerator) -> LazyGenerator:
    return replace(generator, load=cache(generator.load))


@dataclass(frozen=True)
class Easel:
    """What draws, and where images are kept. ``batch``: images at a time."""

    generator: LazyGenerator
    sampling: Sampling
    folder: Path
    batch: int

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Those whose image is not there, each different one once, in order."""
        return missing_requests(requests, self.sampling, self.generator, folder=self.folder)

    def draw(
        self, requests: Iterable[Request], report: Callable[[Progress], None] = lambda _: None
    ) -> list[Path]:
        """The images, in order. Raises as ``regenerate``."""
        wanted = list(requests)
        made = regenerate(
            wanted, self.sampling, self.generator, folder=self.folder, batch=self.batch, report=report
        )
        return [one.path for one in made]

    def unread(self, prompts: Iterable[str]) -> str:
        """What the model does not read of the first that is too long, empty where it reads all."""
        generator = self.generator.load()
        return next(filter(None, map(generator.unread, dict.fromkeys(prompts))), "")
