"""``fairbrush demo``: the whole main job on the bundled gallery, as a newcomer would read it."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
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
    Row,
    choose_format,
    emit,
    printable,
    say,
    table,
    write_answer,
)
from fairbrush.config import home_expanded

if TYPE_CHECKING:
    from fairbrush.demo import DemoAnswer, DemoReport, DemoStep, QueryKind, Watcher

WIDTH = 98
SHARES_WIDTH = 30
NO_BREAK = "\0"  # between a name and its figure, until lines are broken


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where; made if absent, else empty or a demo.")
    ] = Path("fairbrush-demo"),
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show it all on the bundled gallery: index it, attribute images, report. Offline, in a minute."""
    from fairbrush.demo import run_demo

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    folder = home_expanded(folder)
    is_read = format_ is Format.TABLE and output is None
    try:
        with _watching(prints=is_read) as watcher:
            report = run_demo(folder, watcher)
    except KeyboardInterrupt:
        say(f"What was done is kept; go on with: fairbrush demo {shlex.quote(str(folder))}")
        raise
    if format_ is Format.TABLE:
        steps = "" if is_read else "".join(map(_step_line, report.steps))
        write_answer(steps + _text(report), output)
    else:
        rows = [_row(answer) for answer in report.answers]
        emit(rows, format_, document=_document(report), output=output)


@contextmanager
def _watching(*, prints: bool) -> Iterator[Watcher]:
    """Print each step as it is done; on a terminal show what is going on meanwhile."""
    from fairbrush.demo import Watcher

    def print_step(step: DemoStep) -> None:
        if prints:
            write_answer(_step_line(step), None)

    if not sys.stderr.isatty():
        yield Watcher(print_step)
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:

        def finish(step: DemoStep) -> None:
            status.stop()
            print_step(step)

        def show(doing: str) -> None:
            status.update(doing)
            status.start()

        yield Watcher(finish, show)


def _step_line(step: DemoStep) -> str:
    return f"{step.name:<11}{printable(step.detail)} ({step.elapsed_s:.1f} s)\n"


def _text(report: DemoReport) -> str:
    paragraphs = [
        "Who gets what, in percent of one image's bill:\n\n" + _answers_table(report),
        "What this shows:\n\n" + "\n".join(_findings(report)),
        "All look-ups together, from the database (fairbrush report top_artists):\n\n"
        + table(_top_rows(report)),
        _where(report),
        _next(report),
    ]
    return "\n" + "\n\n".join(paragraph.rstrip("\n") for paragraph in paragraphs) + "\n"


def _answers_table(report: DemoReport) -> str:
    rows: list[Row] = []
    for answer in report.answers:
        hands = " + ".join(answer.query.drawn_by)
        if answer.query.kind == "unknown" and not report.left_out_is_known:
            hands = "(not registered)"
        row: Row = {
            "image": answer.query.path.stem,
            "drawn by": hands,
            "artists get": "",
            "model": f"{100 * answer.attribution.model_share:>5.1f}",
            "nobody": f"{100 * answer.attribution.unattributed:>6.1f}",
            "verdict": str(answer.verdict),
        }
        for line in _broken(_shares(answer)):
            rows.append({**row, "artists get": line})
            row = dict.fromkeys(row, "")
    return table(rows)


def _shares(answer: DemoAnswer) -> list[str]:
    return [f"{one.artist.name} {100 * one.share:.1f}" for one in answer.attribution.artists]


def _broken(shares: list[str]) -> list[str]:
    """Lines of whole shares; one line where nobody gets any."""
    joined = ", ".join(share.replace(" ", NO_BREAK) for share in shares) or "-"
    lines = textwrap.wrap(joined, SHARES_WIDTH, break_long_words=False, break_on_hyphens=False)
    return [line.replace(NO_BREAK, " ") for line in lines]


def _findings(report: DemoReport) -> list[str]:
    from fairbrush.demo import LEFT_OUT, QueryKind, Verdict

    single, mixed = report.tally(QueryKind.SINGLE), report.tally(QueryKind.MIXED)
    unknown = report.tally(QueryKind.UNKNOWN)
    lines = [
        f"One hand: {single[Verdict.RIGHT]} of {single.asked} images went to the artist who drew them,"
        f" {single[Verdict.MISSED]} to nobody, {single[Verdict.WRONG]} to somebody else.",
        f"Two hands: {mixed[Verdict.RIGHT]} of {mixed.asked} mixtures went to both artists,"
        f" {mixed[Verdict.PARTLY]} to one of them, {mixed[Verdict.MISSED]} to nobody,"
        f" {mixed[Verdict.WRONG]} to somebody else.",
    ]
    if report.left_out_is_known:
        lines.append(
            f"{LEFT_OUT} has been registered since: {unknown[Verdict.RIGHT]} of {unknown.asked} images"
            " went there."
        )
    else:
        wrongly = sorted(
            {
                one.artist.name
                for answer in report.answers
                if answer.query.kind is QueryKind.UNKNOWN
                for one in answer.attribution.artists
            }
        )
        lines.append(
            f"Unknown hand: {unknown[Verdict.RIGHT]} of {unknown.asked} images by {LEFT_OUT}, who is not"
            " registered, credited nobody." + (f" Wrongly credited: {', '.join(wrongly)}." if wrongly else "")
        )
    version = report.index.version
    lines += [
        f"The threshold ({version.delta:.3f}) lets about {report.alpha:.0%} of the images by strangers credit"
        f" somebody; above it, {report.told_apart} of the {version.artists} artists can be told apart.",
        "Similar style is no proof that an image was made from somebody's work, and the bundled encoder is"
        " a small stand-in: fit to show the way, not to pay anybody.",
    ]
    return [
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
        for line in lines
    ]


def _where(report: DemoReport) -> str:
    from fairbrush.demo import LEFT_OUT, LEFT_OUT_FOLDER, QUERIES
    from fairbrush.store import DATABASE_NAME
    from fairbrush.workspace import INDEXES

    places = {
        DATABASE_NAME: "artists, consent, every answer",
        INDEXES: "the index, and who may be credited now",
        QUERIES: "the images asked about; look at them",
        LEFT_OUT_FOLDER: f"works by {LEFT_OUT}, to register them",
    }
    lines = [f"  {name:<20}{what}" for name, what in places.items()]
    return f"In {printable(str(report.workspace))}:\n\n" + "\n".join(lines)


def _next(report: DemoReport) -> str:
    from fairbrush.demo import next_commands

    commands = [(f"cd {shlex.quote(str(report.workspace))}", ""), *next_commands(report)]
    width = max(len(command) for command, _ in commands[1:])
    lines = [
        f"  {printable(command):<{width}}  {what and f'# {what}'}".rstrip() for command, what in commands
    ]
    return "Type next:\n\n" + "\n".join(lines)


def _row(answer: DemoAnswer) -> dict[str, Any]:
    attribution = answer.attribution
    return {
        "image": str(answer.query.path),
        "kind": str(answer.query.kind),
        "drawn_by": " + ".join(answer.query.drawn_by),
        "verdict": str(answer.verdict),
        "artists": ", ".join(_shares(answer)),
        "model_share": attribution.model_share,
        "unattributed": attribution.unattributed,
        "attribution_id": attribution.attribution_id,
    }


def _document(report: DemoReport) -> dict[str, Any]:
    from fairbrush.demo import LEFT_OUT, QueryKind, next_commands
    from fairbrush.documents import to_json

    def tally(kind: QueryKind) -> dict[str, int]:
        found = report.tally(kind)
        return {"asked": found.asked, **{str(verdict): n for verdict, n in found.verdicts.items()}}

    version = report.index.version
    return {
        "schema": "fairbrush.demo/1",
        "workspace": str(report.workspace),
        "left_out": LEFT_OUT,
        "left_out_is_known": report.left_out_is_known,
        "steps": [
            {"step": one.name, "detail": one.detail, "elapsed_s": round(one.elapsed_s, 3)}
            for one in report.steps
        ],
        "index": {
            "version": version.label,
            "artists": version.artists,
            "works": version.works,
            "delta": version.delta,
            "alpha": report.alpha,
            "can_be_told_apart": report.told_apart,
            "encoder_id": version.encoder_id,
        },
        "answers": [
            {
                "kind": str(answer.query.kind),
                "drawn_by": list(answer.query.drawn_by),
                "verdict": str(answer.verdict),
                "attribution": to_json(answer.attribution),
            }
            for answer in report.answers
        ],
        "summary": {str(kind): tally(kind) for kind in QueryKind},
        "top_artists": [
            dict(zip(report.top_columns, map(_plain, row), strict=True)) for row in report.top_rows
        ],
        "next": [command for command, _ in next_commands(report)],
    }


def _top_rows(report: DemoReport) -> list[dict[str, Any]]:
    return [dict(zip(report.top_columns, map(_plain, row), strict=True)) for row in report.top_rows]


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
