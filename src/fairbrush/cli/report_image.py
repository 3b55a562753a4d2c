"""``fairbrush report image``: one answer as a page for those it is about."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.output import JsonFlag, OutputOption, Row, listing, printable, table, write_answer
from fairbrush.cli.pages import HtmlFlag, LanguageOption, PageFormat, choose_page, choose_words
from fairbrush.cli.registry import ERASED_NAME, drain_if_free, workspace_settings
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from fairbrush.reports.pages.image.earned import EarnedLine
    from fairbrush.reports.pages.image.facts import ImageReport
    from fairbrush.reports.pages.image.people import Person


def image(
    context: typer.Context,
    attribution_id: Annotated[str, typer.Argument(help="An answer's id, or its first 8 digits or more.")],
    html: HtmlFlag = False,
    json: JsonFlag = False,
    image: Annotated[
        Path | None, typer.Option("--image", help="The image's file, where it is no longer at its path.")
    ] = None,
    language: LanguageOption = None,
    output: OutputOption = None,
) -> None:
    """Show one answer: whose style, how sure, why not others, and what became of the money."""
    from fairbrush.corpus.changes import open_registry
    from fairbrush.ledger.records import find_attribution
    from fairbrush.reports.pages.image.page import check_image, image_page
    from fairbrush.reports.pages.image.reading import read_report
    from fairbrush.store import utc_now

    format_ = choose_page(output, json=json, html=html)
    if format_ is PageFormat.PDF:
        raise ConfigError(
            "This page is HTML only.", next_step="Name the output .html, and print it from a browser."
        )
    settings, workspace = workspace_settings(context)
    words = choose_words(language, settings) if format_ is PageFormat.HTML else None
    drain_if_free(workspace)
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        report = read_report(store, find_attribution(store.connection, attribution_id), now=utc_now())
    if image is not None:
        check_image(image, report)
    if words is not None:
        write_answer(image_page(report, workspace=workspace, words=words, image=image), output)
    elif format_ is PageFormat.JSON:
        from fairbrush.reports.pages.image.document import document

        write_answer(json_module.dumps(document(report), ensure_ascii=False, indent=2) + "\n", output)
    else:
        write_answer(_text(report), output)


def _text(report: ImageReport) -> str:
    """For the terminal: who gets what, and below the rest in a line each."""
    from fairbrush.reports.pages.image.facts import E12

    rows: list[Row] = [
        {
            "who": _name(credit.artist),
            "share": f"{credit.share_e12 / E12:.1%}",
            "range": ""
            if credit.interval is None
            else f"{credit.interval[0]:.1%} - {credit.interval[1]:.1%}",
            "similarity": credit.similarity,
            "z": credit.z,
        }
        for credit in report.credits
    ]
    for who, share in (("(model)", report.model_share_e12), ("(unattributed)", report.unattributed_e12)):
        rows.append({"who": who, "share": f"{share / E12:.1%}", "range": "", "similarity": None, "z": None})
    return table(rows) + "\n" + listing(_facts(report)) + "".join(_money_lines(report))


def _facts(report: ImageReport) -> Row:
    next_one = report.runner_up
    facts: Row = {
        "answer": report.attribution_id,
        "image": str(report.path or "") or report.image_sha256,
        "recorded at": f"{report.recorded_at.isoformat()}Z",
        "confidence": report.confidence and str(report.confidence),
        "steadiness": report.steadiness,
        "nobody's": report.unexplained and str(report.unexplained),
        "runner-up": next_one
        and f"{'(not named)' if next_one.artist is None else _name(next_one.artist)},"
        f" z {next_one.z:.4g}, needed more than {next_one.needed:.4g}",
        "disputes": ", ".join(f"{one.dispute_id[:16]} {one.state}" for one in report.disputes),
        "decided": report.decided and f"by {report.decided.dispute_id[:16]}: other shares are in force",
        "money": str(report.money.pays),
        "other answers": len(report.others) or None,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _money_lines(report: ImageReport) -> list[str]:
    """What the image earned, each part in a line; amounts that have a fraction of a cent are rounded."""
    from fairbrush.reports.pages.image.earned import summed

    lines = []
    for currency, earned in report.money.by_currency.items():
        total = sum(line.exact_minor for line in earned if line.stands)
        lines.append(f"\nearned {_amount(total, currency)} {currency}\n")
        for part in summed([part for line in earned for part in line.parts]):
            whose = f" {_name(part.artist)}" if part.step == "artist" else ""
            lines.append(
                printable(f"  {_amount(part.exact_minor, currency)}  {part.step}{whose}: {part.place}") + "\n"
            )
        for what, amount in (
            ("more came in, and was cancelled", _sum(line for line in earned if line.cancelled_at)),
            ("more was divided, and waits to be divided anew", _sum(_reopened(earned))),
            ("was paid out before a division was taken back", sum(line.owed_back_minor for line in earned)),
            ("of that kind has been set off since", sum(line.set_off_minor for line in earned)),
        ):
            if amount:
                lines.append(f"  {_amount(amount, currency)}  {what}\n")
    return lines


def _reopened(lines: Iterable[EarnedLine]) -> Iterable[EarnedLine]:
    return (line for line in lines if not line.stands and line.cancelled_at is None)


def _sum(lines: Iterable[EarnedLine]) -> Fraction | int:
    return sum(line.exact_minor for line in lines)


def _amount(exact_minor: Fraction | int, currency: str) -> str:
    from fractions import Fraction

    from fairbrush.ledger.currency import format_amount

    exact = Fraction(exact_minor)
    if exact.denominator == 1:
        return format_amount(int(exact), currency)
    decimals = len(format_amount(0, currency).partition(".")[2])
    return f"{float(exact) / 10**decimals:.{decimals + 2}f}"


def _name(artist: Person | None) -> str:
    return (artist.name if artist else "") or ERASED_NAME
