"""One run of the accuracy bench: what was asked for in, a report out.

Enters: a ``Request`` and settings. Leaves: an ``AccuracyReport``, and its files. The one rule: whatever is
built on the way lies in a temporary folder and is gone afterwards; only the embedding cache stays.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fairbrush.accuracy.experiments import Finding, engines, measure_gallery, measure_synthetic
from fairbrush.accuracy.figure import draw
from fairbrush.accuracy.gallery import (
    BUNDLED_GALLERY,
    FEWEST_WORKS,
    LeftOut,
    embed_gallery,
    gallery_background,
)
from fairbrush.accuracy.markdown import markdown
from fairbrush.accuracy.methods import VARIANTS, baselines
from fairbrush.accuracy.report import AccuracyReport, RunFacts, document
from fairbrush.accuracy.trials import GalleryTrials, Plan, SyntheticTrials
from fairbrush.config import Settings
from fairbrush.domain import EmbedOutcome
from fairbrush.durable import write_durably
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import ConfigError, FigureError
from fairbrush.style.panel import bundled_panel, folder_panel

FIGURE = "figure"


@dataclass(frozen=True)
class Request:
    """What to measure. ``gallery``, ``panel``: None are the bundled ones; ``command``: for the report."""

    plan: Plan
    command: str
    gallery: Path | None = None
    panel: Path | None = None
    values: tuple[str, ...] = tuple(VARIANTS)
    fewest_works: int = FEWEST_WORKS
    allow_download: bool = False


@dataclass(frozen=True)
class Watcher:
    """Whom a run tells: of each image embedded, and of what it is at now."""

    embedded: Callable[[EmbedOutcome], None] = lambda _: None
    busy: Callable[[str], None] = lambda _: None


def measure_accuracy(request: Request, settings: Settings, watcher: Watcher | None = None) -> AccuracyReport:
    """Raises ConfigError, GalleryError, PanelError, and what embedding and indexing raise."""
    watcher = watcher or Watcher()
    check_request(request)
    started = time.monotonic()
    plan = request.plan
    source = request.gallery or BUNDLED_GALLERY
    panel = bundled_panel() if request.panel is None else folder_panel(request.panel)
    session = EmbeddingSession.open(settings, allow_download=request.allow_download)
    with session, tempfile.TemporaryDirectory(prefix="fairbrush-bench-") as scratch:
        watcher.busy("embedding the gallery")
        gallery = embed_gallery(
            session,
            source,
            fewest_works=request.fewest_works,
            most_works=plan.most_works,
            on_outcome=watcher.embedded,
        )
        watcher.busy("embedding the background panel")
        background = gallery_background(session, panel, gallery)
        fairbrush = engines(request.values, Path(scratch), alpha=plan.alpha)
        methods = [*fairbrush, *baselines()]
        trials = GalleryTrials(gallery, background, plan, session, settings)
        findings: list[Finding] = measure_gallery(trials, methods, fairbrush, watcher.busy)
        for size in plan.synthetic_sizes:
            findings += measure_synthetic(SyntheticTrials(size, plan), methods, fairbrush, watcher.busy)
    facts = RunFacts(
        command=request.command,
        encoder_id=background.encoder_id,
        variant=background.variant,
        gallery="the bundled one" if request.gallery is None else str(request.gallery),
        works=len(gallery.artists),
        panel_works=len(background.panel),
        machine=f"{os.cpu_count()} CPU cores, {platform.machine()}, the encoder on {session.encoder.device}",
        plan=plan,
        left_out=gallery.left_out if request.gallery is not None else _inside(gallery.left_out),
        elapsed_s=time.monotonic() - started,
    )
    return AccuracyReport(facts, tuple(findings))


def _inside(left_out: tuple[LeftOut, ...]) -> tuple[LeftOut, ...]:
    """Paths of the bundled gallery as they are in it, not as this machine has them."""
    root = f"{BUNDLED_GALLERY}/"
    return tuple(
        LeftOut(one.what.removeprefix(root), one.reason.replace(root, ""), one.failed) for one in left_out
    )


def check_request(request: Request) -> None:
    """Raises ConfigError for what cannot be measured, before anything is embedded."""
    if not 0 < request.plan.alpha < 1:
        raise ConfigError(
            f"alpha is {request.plan.alpha:g}, not between 0 and 1.", next_step="Say --alpha 0.05."
        )
    unknown = [value for value in request.values if value not in VARIANTS]
    if unknown:
        raise ConfigError(
            f"{unknown[0]!r} is not a value function.", next_step=f"Known: {', '.join(VARIANTS)}."
        )


def claim_output(folder: Path) -> None:
    """Make the folder for the report, before the work. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made: {error.strerror}.", next_step="Choose another --output-dir."
        ) from error


def write_report(report: AccuracyReport, folder: Path) -> FigureError | None:
    """report.md, report.json and the figure; gives back why there is no figure, where there is none."""
    problem, figure = None, None
    try:
        figure = draw(report)
    except FigureError as error:
        problem = error
    try:
        if figure is not None:
            write_durably(folder / f"{FIGURE}.svg", figure.svg.encode())
            write_durably(folder / f"{FIGURE}.png", figure.png)
        shown = f"{FIGURE}.svg" if figure is not None else None
        content = json.dumps(document(report), ensure_ascii=False, indent=1) + "\n"
        write_durably(folder / "report.json", content.encode("utf-8", "backslashreplace"))
        text = markdown(report, figure=shown)
        write_durably(folder / "report.md", text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror or error}.",
            next_step="Choose another --output-dir.",
        ) from error
    return problem
