"""What commands share that draw images: sizes and precisions as they are typed, and how far it is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fairbrush.cli.output import printable, say
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.validation.regenerate import Progress

EVERY_S = 30.0  # between lines of progress where there is no terminal


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[x×*](\d{1,5})", text.strip().casefold())
    if match is None:
        raise ConfigError(f"--size {text!r} is no size.", next_step="Write it as 512x768.")
    return int(match[1]), int(match[2])


def one_of(kind: Any, text: str, option: str) -> Any:
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
