"""``fairbrush report overview``: the platform as a whole, for who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.output import Format, JsonFlag, OutputOption, Row, emit, listing, table, write_answer
from fairbrush.cli.pages import HtmlFlag, LanguageOption, PageFormat, choose_page, choose_words
from fairbrush.cli.registry import drain_if_free, workspace_settings
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.reports.pages.overview import Overview


def overview(
    context: typer.Context,
    period: Annotated[
        str | None,
        typer.Option(
            help="2026, 2026-Q1, 2026-01, 2026-01-03 or 2026-01-03..2026-02-01.  [default: all there is]",
            show_default=False,
        ),
    ] = None,
    html: HtmlFlag = False,
    json: JsonFlag = False,
    output: OutputOption = None,
    language: LanguageOption = None,
) -> None:
    """Look-ups, money, creators, quality and a map of styles; and what needs attention.

    Without --html or --json: the first figures, and what needs attention.
    """
    from fairbrush.corpus.changes import open_registry
    from fairbrush.ledger.period import parse_period
    from fairbrush.reports.pages.overview import overview_document, read_overview
    from fairbrush.reports.pages.overview_page import overview_page
    from fairbrush.store import utc_now
    from fairbrush.validation.audit.summary import audit_figures

    format_ = choose_page(output, json=json, html=html)
    if format_ is PageFormat.PDF:
        raise ConfigError("The overview is no PDF.", next_step="Make a page, --html, and print it.")
    settings, workspace = workspace_settings(context)
    words = choose_words(language, settings) if format_ is PageFormat.HTML else None
    wanted = None if period is None else parse_period(period)
    drain_if_free(workspace)
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        made = read_overview(store, wanted, now=utc_now(), audits=audit_figures(store.connection))
    match format_:
        case PageFormat.HTML if words is not None:
            write_answer(overview_page(made, words, workspace=workspace), output)
        case PageFormat.JSON:
            emit([], Format.JSON, document=overview_document(made), output=output)
        case _:
            write_answer(_summary(made), output)


def _summary(made: Overview) -> str:
    from fairbrush.ledger.choices import LineState
    from fairbrush.ledger.currency import format_amount

    volumes = made.volumes
    facts: dict[str, str | int] = {
        "look-ups": volumes.lookups,
        "images": volumes.images,
        "artists credited": volumes.artists,
        "artists registered": made.people.artists,
        "works registered": made.people.works,
    }
    for one in made.revenue:
        for state in (LineState.SETTLED, LineState.OPEN):
            facts[f"revenue {state}, {one.currency}"] = format_amount(one.amounts[state], one.currency)
    rows: list[Row] = [
        {"attention": str(one.kind), "count": one.count, "next": one.command} for one in made.matters
    ]
    return f"{listing(facts)}\n{table(rows)}" if rows else listing(facts)
