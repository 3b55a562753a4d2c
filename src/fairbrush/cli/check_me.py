"""``fairbrush check-me``: an artist alone, offline, sees which images draw on their works."""

from __future__ import annotations

import json as json_module
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fairbrush.cli.output import JsonFlag, check_output, say, table, write_answer
from fairbrush.cli.pages import LanguageOption, PageFormat, choose_page, choose_words
from fairbrush.cli.progress import progress
from fairbrush.config import Settings, home_expanded, load_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fairbrush.reports.pages.check_me import SelfCheck
    from fairbrush.reports.pages.words import Words

REPORT = Path("fairbrush-check-me.html")
SHOWN_ROWS = 20


def check_me(
    context: typer.Context,
    works: Annotated[Path, typer.Argument(metavar="WORKS_FOLDER", help="Your works, and nobody else's.")],
    images: Annotated[Path, typer.Argument(metavar="IMAGES_FOLDER", help="The images to look at.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"Write the report to this file.  [default: {REPORT}]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help=f"Replace a {REPORT} that is there.")] = False,
    json: JsonFlag = False,
    language: LanguageOption = None,
    name: Annotated[str | None, typer.Option(help="Whose works these are, for the report's title.")] = None,
    error_level: Annotated[
        float, typer.Option(help="The part of the listed images that chance may explain.")
    ] = 0.05,
    encoder: Annotated[
        str | None,
        typer.Option(help="mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, and +PART.  [default: mini]"),
    ] = None,
    panel: Annotated[
        Path | None,
        typer.Option(
            help="Works by other people to compare with, one folder a hand.  [default: the bundled ones]"
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.  [default: auto]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode images; 0: one a core.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep what the encoder saw, so that the next run is quick."),
    ] = None,
) -> None:
    """Which of some images draw on your works? For an artist alone: no platform, no workspace, no network.

    Writes a report for a browser, and nothing else anywhere.
    """
    format_ = _chosen_format(context, output, json=json)
    if not 0 < error_level < 1:
        raise ConfigError(
            f"--error-level must lie between 0 and 1, not {error_level}.", next_step="Try 0.05."
        )
    settings = load_settings(alone=True)
    chosen: dict[str, Any] = {"encoder": encoder, "device": device, "workers": workers}
    settings = replace(settings, **{what: value for what, value in chosen.items() if value is not None})
    if format_ is PageFormat.JSON:
        check, _ = _run(works, images, settings, panel, error_level, name, keep)
        write_answer(_as_json(check), output)
    else:
        report = _claimed(output, force=force)
        words = choose_words(language, settings)
        check, pictures = _run(works, images, settings, panel, error_level, name, keep)
        _write_report(check, pictures, words, report)
        write_answer(_summary(check), None)
        say(f"The report: {report}")
    for refused in check.refused:
        say(f"not read: {refused.folder}: {refused.path}: {refused.reason}. {refused.detail}")
    if check.refused:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _chosen_format(context: typer.Context, output: Path | None, *, json: bool) -> PageFormat:
    if context.obj is not None:
        raise ConfigError("check-me works without a workspace.", next_step="Leave --workspace out.")
    format_ = choose_page(output, json=json)
    if format_ is PageFormat.PDF:
        raise ConfigError(
            "check-me writes HTML or JSON, no PDF.",
            next_step="Name a .html file, and print it from a browser.",
        )
    return format_


def _claimed(output: Path | None, *, force: bool) -> Path:
    """Where the page goes; said before the work, not after it."""
    if output is not None:
        return output
    check_output(REPORT)
    if REPORT.exists() and not force:
        raise ConfigError(
            f"{REPORT} is there already.",
            next_step="Name another file with -o, or add --force to replace it.",
        )
    return REPORT


def _run(
    works: Path,
    images: Path,
    settings: Settings,
    panel: Path | None,
    error_level: float,
    name: str | None,
    keep: Path | None,
) -> tuple[SelfCheck, Mapping[str, str]]:
    from fairbrush.embedding.session import EmbeddingSession
    from fairbrush.self_check.check import Request, check_folders
    from fairbrush.style.panel import bundled_panel, folder_panel

    request = Request(
        works=works,
        images=images,
        panel=bundled_panel() if panel is None else folder_panel(home_expanded(panel)),
        is_bundled=panel is None,
        error_level=error_level,
        name=name,
    )
    with _cache_folder(keep) as cache:
        placed = replace(settings, cache=cache)
        session = EmbeddingSession.open(placed)
        with session, progress(None) as report:
            return check_folders(request, session, placed, now=datetime.now(UTC), on_outcome=report)


@contextmanager
def _cache_folder(keep: Path | None) -> Iterator[Path]:
    """The folder named, or one that is gone afterwards, interrupted or ended or not."""
    if keep is not None:
        yield home_expanded(keep)
        return
    with _ending_in_order():
        try:
            folder = tempfile.TemporaryDirectory(prefix="fairbrush-check-me-")
        except OSError as error:
            raise ConfigError(
                f"There is no folder for temporary files: {error.strerror}.",
                next_step="Name one with TMPDIR, or keep the files with --keep DIR.",
            ) from error
        with folder as name:
            yield Path(name)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Whoever ends the command, or closes its terminal, lets it clean up first; what is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGHUP")
    ends = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ends = [end for end in ends if signal.getsignal(end) is signal.SIG_DFL]
    for end in ends:
        signal.signal(end, _exit_of)
    try:
        yield
    finally:
        for end in ends:
            signal.signal(end, signal.SIG_DFL)


def _exit_of(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def _write_report(check: SelfCheck, pictures: Mapping[str, str], words: Words, report: Path) -> None:
    from fairbrush.durable import write_durably
    from fairbrush.reports.pages.check_me import check_me_page

    try:
        write_durably(report, check_me_page(check, pictures, words=words).encode())
    except OSError as error:
        raise ConfigError(
            f"{report} cannot be written: {error.strerror}.", next_step="Choose another file with -o."
        ) from error


def _as_json(check: SelfCheck) -> str:
    from fairbrush.reports.pages.check_me import check_me_document

    return json_module.dumps(check_me_document(check), ensure_ascii=False, indent=2) + "\n"


def _summary(check: SelfCheck) -> str:
    """What was found in a sentence or two, what to mind, and a short table."""
    from fairbrush.reports.pages.check_me import chance
    from fairbrush.reports.pages.words import Language, Words

    english = Words.of(Language.ENGLISH)
    rows = [
        {
            "image": finding.file.path,
            "chance comes as near": chance(finding.p, check.measure.least_p, english),
            "a look-up credits you": "yes" if finding.credited else "no",
        }
        for finding in check.listed[:SHOWN_ROWS]
    ]
    lines = [*_found(check), *_to_mind(check)]
    if len(check.listed) > SHOWN_ROWS:
        lines.append(f"The {SHOWN_ROWS} strongest:")
    return "\n".join(lines) + "\n" + (table(rows) if rows else "")


def _found(check: SelfCheck) -> Iterator[str]:
    from fairbrush.reports.pages.check_me import Yardstick

    if check.measure.yardstick is Yardstick.WORKS_OUTSIDE:
        yield (
            "Your works are like nothing they can be compared with here: nothing can be said. See the report."
        )
    elif check.tested == 1:
        nearer = "nearer" if check.listed else "no nearer"
        yield f"The image lies {nearer} to your works than chance explains."
    elif check.tested:
        are = "is" if len(check.listed) == 1 else "are"
        yield (
            f"{len(check.listed)} of {check.tested} images {are} listed: "
            "nearer to your works than chance explains."
        )
    if len(check.copies) == 1:
        yield "1 image looks like a copy of a work."
    elif check.copies:
        yield f"{len(check.copies)} images look like copies of works."
    outside = len(check.findings) - check.tested
    if outside and check.measure.yardstick is not Yardstick.WORKS_OUTSIDE:
        images = "1 image" if outside == 1 else f"{outside} images"
        yield f"{images} could not be judged: like nothing there is to compare with here."


def _to_mind(check: SelfCheck) -> Iterator[str]:
    """What the page warns of."""
    from fairbrush.reports.pages.check_me import Yardstick

    if check.is_doubtful:
        yield "Mind: these images are near as a whole, and the list may be wrong for it. See the report."
    if check.own.are_few:
        yield f"Mind: only {check.own.count} of your works count; five or more are needed to know a style."
    if check.own.are_hard and check.measure.yardstick is not Yardstick.WORKS_OUTSIDE:
        yield (
            f"Mind: of your own {check.own.count} works only {check.own.found_alone} would be found; "
            "that an image is not listed says little."
        )
