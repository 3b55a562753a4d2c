"""What commands share that draw images: options, what is typed for them, and how far it is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fairbrush.cli.output import printable, say
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.validation.generators import Precision
    from fairbrush.validation.prompts import Template
    from fairbrush.validation.regenerate import Progress
    from fairbrush.validation.weights import Lora

Choice = TypeVar("Choice", bound=StrEnum)

BaseOption = Annotated[
    Path | None, typer.Option(help="A diffusers folder of the model a checkpoint was tuned from.")
]
TunedLoraOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE[:SCALE]=ARTIST,ARTIST", help="A LoRA and whom it was tuned on; may be repeated."
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        help="How a prompt names artists.  [default: {content}, in the style of {artists}]",
        show_default=False,
    ),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Images made at a time.")]
DeviceOption = Annotated[Device, typer.Option(help="Where images are made.")]
PrecisionOption = Annotated[
    str | None,
    typer.Option(help="float32, float16 or bfloat16.  [default: float16 on CUDA, else float32]"),
]
NoSafetyCheckerFlag = Annotated[
    bool, typer.Option("--no-safety-checker", help="Leave the model's safety checker out.")
]
AllowDownloadFlag = Annotated[
    bool, typer.Option("--allow-download", help="Fetch sd-1.5 where it is not in the local hub cache.")
]
OwnContentsOption = Annotated[
    Path | None, typer.Option(help="Your own contents, one a line; they name no artist and no style.")
]
ImageBudgetOption = Annotated[
    int | None,
    typer.Option(min=0, help="Make at most so many images now; the same command goes on.  [default: all]"),
]

EVERY_S = 30.0  # between lines of progress where there is no terminal


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[x×*](\d{1,5})", text.strip().casefold())
    if match is None:
        raise ConfigError(f"--size {text!r} is no size.", next_step="Write it as 512x768.")
    return int(match[1]), int(match[2])


def parse_template(text: str | None) -> Template:
    """The usual one where none is typed. Raises PromptError."""
    from fairbrush.validation.prompts import Template

    return Template() if text is None else Template.parse(text)


def parse_precision(text: str | None) -> Precision | None:
    from fairbrush.validation.generators import Precision

    return None if text is None else one_of(Precision, text, "--precision")


def parse_loras(texts: Sequence[str] | None) -> tuple[Lora, ...]:
    from fairbrush.validation.weights import parse_lora

    return tuple(map(parse_lora, texts or ()))


def one_of(kind: type[Choice], text: str, option: str) -> Choice:
    """Raises ConfigError for what is none of them."""
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} is not known.", next_step=f"One of {', '.join(kind)}."
        ) from None


@contextmanager
def drawing_progress() -> Iterator[Callable[[Progress], None]]:
    """Shows how far it is; says on Ctrl-C what is kept."""
    last: Progress | None = None
    try:
        with _shown() as show:

            def report(progress: Progress) -> None:
                nonlocal last
                last = progress
                show(progress)

            yield report
    except KeyboardInterrupt:
        if last is not None:
            say(f"{last.done} of {last.total} images are there: the same command goes on from them.")
        raise


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """How many images are there and how long it will take: one line that changes, or a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("") as status:

            def show(progress: Progress) -> None:
                if progress.note:  # above the line that changes
                    status.console.print(printable(progress.note), markup=False, highlight=False)
                status.update(_how_far(progress))

            yield show
        return
    said = time.monotonic()

    def now_and_then(progress: Progress) -> None:
        nonlocal said
        if progress.note:
            say(progress.note)
        if progress.done < progress.total and time.monotonic() - said >= EVERY_S:
            said = time.monotonic()
            say(_how_far(progress))

    yield now_and_then


def _how_far(progress: Progress) -> str:
    text = f"{progress.done} of {progress.total} images are there"
    if progress.remaining_s is None or progress.done == progress.total:
        return text
    minutes, seconds = divmod(round(progress.remaining_s), 60)
    return f"{text}; about {minutes} min {seconds:02d} s to go"
