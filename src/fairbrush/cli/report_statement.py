"""``fairbrush report statement``: what a creator is told of a period."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.creator import CreatorArgument
from fairbrush.cli.output import Format, JsonFlag, OutputOption, emit, say, write_answer
from fairbrush.cli.pages import HtmlFlag, LanguageOption, PageFormat, PdfFlag, choose_page, choose_words
from fairbrush.cli.registry import drain_if_free, registry, workspace_settings

if TYPE_CHECKING:
    from pathlib import Path

    from fairbrush.reports.pages.statement import Statement

COLUMNS = ("currency", "beginning", "earned", "taken_back", "moved", "paid", "end")

PeriodOption = Annotated[
    str,
    typer.Option(
        "--period",
        help="When it was recorded: 2026, 2026-Q1, 2026-01, 2026-01-03 or 2026-01-03..2026-02-01.",
    ),
]


def statement(
    context: typer.Context,
    creator: CreatorArgument,
    period: PeriodOption,
    json: JsonFlag = False,
    html: HtmlFlag = False,
    pdf: PdfFlag = False,
    language: LanguageOption = None,
    output: OutputOption = None,
) -> None:
    """A creator's statement: what was used, how sure that is, what was earned, paid and held, and why."""
    from fairbrush.ledger.period import parse_period
    from fairbrush.reports.pages.statement import read_statement, statement_document
    from fairbrush.store import utc_now

    format_ = choose_page(output, json=json, html=html, pdf=pdf)
    meant = parse_period(period)
    settings, workspace = workspace_settings(context)
    is_page = format_ in (PageFormat.HTML, PageFormat.PDF)
    words = choose_words(language, settings) if is_page else None
    drain_if_free(workspace)
    with registry(context, readonly=True) as store:
        found = read_statement(store, creator, meant, now=utc_now())
    if words is not None:
        from fairbrush.reports.pages.statement_page import statement_html, statement_pdf

        make = statement_html if format_ is PageFormat.HTML else statement_pdf
        write_answer(make(found, workspace, words), output)
    elif format_ is PageFormat.JSON:
        text = json_module.dumps(statement_document(found), ensure_ascii=False, indent=2)
        write_answer(f"{text}\n", output)
    else:
        _print(found, output)


def _print(found: Statement, output: Path | None) -> None:
    from fairbrush.ledger.currency import format_amount

    rows = [
        {
            "currency": sheet.currency,
            **{
                name: format_amount(amount, sheet.currency)
                for name, amount in zip(
                    COLUMNS[1:],
                    (
                        sheet.opening_total,
                        sheet.earned,
                        sheet.taken_back,
                        sheet.otherwise,
                        sheet.paid,
                        sheet.closing_total,
                    ),
                    strict=True,
                )
            },
        }
        for sheet in found.sheets
    ]
    emit(rows, Format.TABLE, columns=COLUMNS, output=output)
    use, who = found.use, found.creator_name or found.creator_id
    say(
        f"{use.answer_count} answers about {use.image_count} images credit {who};"
        f" {use.settled_count} settled uses. Statement {found.number}."
    )
    say("  next: --html, --pdf or --json has all of it.")
