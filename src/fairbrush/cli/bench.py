"""``fairbrush bench``: how right the answers are, on known images and beside simple baselines."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    help_when_alone,
    say,
    write_answer,
)
from fairbrush.config import home_expanded, load_settings
from fairbrush.errors import ExitCode

if TYPE_CHECKING:
    from fairbrush.accuracy.run import Watcher
    from fairbrush.domain import EmbedOutcome

app = typer.Typer(help="Measure how right the answers are, beside simple baselines.")
app.callback(invoke_without_command=True)(help_when_alone)
SIZES = (12, 200, 1789)


@app.command()
def accuracy(
    context: typer.Context,
    gallery: Annotated[
        Path | None,
        typer.Argument(
            metavar="[GALLERY]",
            help="One folder an artist; or references/ and queries/ of such; or with CSD's wikiart.csv."
            "  [default: the bundled gallery]",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, and +PART.  [default: mini]"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.  [default: auto]")] = None,
    panel: Annotated[
        Path | None,
        typer.Option(
            help="A background panel of your own, by nobody of the gallery.  [default: the bundled one]"
        ),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the embedding cache.")] = None,
    splits: Annotated[
        int | None, typer.Option(min=1, help="Random halves, and synthetic worlds.  [default: 5]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    alpha: Annotated[
        float, typer.Option(help="How often the threshold may let an unknown artist's image credit anybody.")
    ] = 0.05,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--value",
            help="A value function to measure; again for more. facets, which looks at parts of images, has a"
            " script of its own.  [default: all the others]",
        ),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic/--no-synthetic", help="Measure on made-up artists as well.")
    ] = True,
    artists: Annotated[
        list[int] | None,
        typer.Option(
            min=4, help="How many made-up artists; again for more sizes.  [default: 12, 200 and 1789]"
        ),
    ] = None,
    fewest_works: Annotated[
        int, typer.Option(min=4, help="Artists of the gallery with fewer works are left out.")
    ] = 8,
    quick: Annotated[bool, typer.Option("--quick", help="A small run, to see that it works.")] = False,
    allow_download: Annotated[
        bool, typer.Option("--allow-download", help="Let open_clip fetch absent weights from their hub.")
    ] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write report.md, report.json and the figure into this folder.")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Measure retrieval, mixtures, unknown artists, intervals and clones; compare with baselines.

    Asks about no workspace's artists and writes to no index. Minutes on two cores; images are embedded once.
    """
    from fairbrush.accuracy.markdown import markdown
    from fairbrush.accuracy.methods import VARIANTS
    from fairbrush.accuracy.report import document, rows
    from fairbrush.accuracy.run import Request, claim_output, measure_accuracy, write_report
    from fairbrush.accuracy.trials import QUICK, Plan

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    plan = replace(QUICK if quick else Plan(), seed=seed, alpha=alpha)
    plan = replace(plan, splits=splits or plan.splits)
    sizes = tuple(dict.fromkeys(artists)) if artists else plan.synthetic_sizes
    plan = replace(plan, synthetic_sizes=sizes if synthetic else ())
    flags: dict[str, Any] = {
        "encoder": encoder,
        "device": device,
        "cache": home_expanded(cache) if cache else None,
    }
    settings = replace(
        load_settings(workspace=context.obj),
        **{name: value for name, value in flags.items() if value is not None},
    )
    request = Request(
        plan=plan,
        command=_command_line(sys.argv[1:]),
        gallery=gallery,
        panel=panel,
        values=tuple(dict.fromkeys(values)) if values else tuple(VARIANTS),
        fewest_works=fewest_works,
        allow_download=allow_download,
    )
    if output_dir is not None:
        claim_output(output_dir)
    with _watching() as watcher:
        report = measure_accuracy(request, settings, watcher)
    if output_dir is not None and (problem := write_report(report, output_dir)) is not None:
        say(problem.message)
        say(f"  next: {problem.next_step}")
    if format_ is Format.TABLE:
        write_answer(markdown(report), output)
    else:
        emit(rows(report), format_, document=document(report), output=output)
    for one in report.facts.left_out:
        say(f"left out: {one.what}: {one.reason}.")
    if any(one.failed for one in report.facts.left_out):
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _command_line(arguments: Sequence[str]) -> str:
    return shlex.join(["fairbrush", *arguments])


@contextmanager
def _watching() -> Iterator[Watcher]:
    """What is going on: on a terminal in one line that changes, elsewhere a line each."""
    from fairbrush.accuracy.run import Watcher

    if not sys.stderr.isatty():
        yield Watcher(busy=say)
        return
    from rich.console import Console

    seen = 0
    with Console(stderr=True).status("") as status:

        def count(_: EmbedOutcome) -> None:
            nonlocal seen
            seen += 1
            status.update(f"embedding the gallery: {seen} works are done")

        yield Watcher(count, status.update)
