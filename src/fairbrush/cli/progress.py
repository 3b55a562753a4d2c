"""How far an embedding run is, on stderr."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fairbrush.domain import EmbedOutcome, EmbedStatus


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[EmbedOutcome], None]]:
    """Count outcomes on a terminal: cached, new, failed and new images a second. Silent elsewhere.

    ``total`` is None where nobody knows yet how many there will be.
    """
    if not sys.stderr.isatty():
        yield lambda _outcome: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts: Counter[EmbedStatus] = Counter()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def report(outcome: EmbedOutcome) -> None:
            counts[outcome.status] += 1
            rate = counts[EmbedStatus.NEW] / max(time.monotonic() - started, 1e-9)
            text = ", ".join(f"{counts[status]} {status}" for status in EmbedStatus)
            bar.update(task, advance=1, description=f"{text}, {rate:.1f} new/s")

        yield report
