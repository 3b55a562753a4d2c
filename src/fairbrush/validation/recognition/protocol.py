"""What a model is asked to draw so that artists can be compared: the same for everybody but the name.

Enters: contents, seeds, a template, a sampling. Leaves: requests. The rules: an image that names an artist
has a twin that names nobody, of the same content and noise; and each content has noise of its own, so that
contents are independent of each other even where a model hardly draws them.
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
    """``seeds``: images of each content; ``first_seed``: of the first content's first image."""

    contents: tuple[str, ...]
    seeds: int
    first_seed: int
    template: Template
    negative_prompt: str
    sampling: Sampling

    def requests(self, name: str | None) -> list[Request]:
        """Content by content, each with its seeds. None: nobody is named.

        >>> asked = Protocol(("a fox", "a cat"), 2, 7, Template(), "", Sampling(1, 5.0, None, 8, 8))
        >>> [(one.prompt, one.seed) for one in asked.requests("Ann")][1:3]
        [('a fox, in the style of Ann', 8), ('a cat, in the style of Ann', 9)]
        """
        names = [] if name is None else [name]
        return [
            Request(
                coalition_prompt(self.template, content, names, model=True),
                (self.first_seed + place * self.seeds + step) % 2**64,
                self.negative_prompt,
            )
            for place, content in enumerate(self.contents)
            for step in range(self.seeds)
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
        """What the model does not read of the longest of them, empty where it reads all."""
        return self.generator.load().unread(max(prompts, key=len))
