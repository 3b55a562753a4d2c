"""What commands that make pages share: formats, the language, and where a page goes."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.output import check_output
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.config import Settings
    from fairbrush.reports.pages.words import Words


class PageFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    HTML = "html"
    PDF = "pdf"


HtmlFlag = Annotated[bool, typer.Option("--html", help="A page in one file, for a browser.")]
PdfFlag = Annotated[bool, typer.Option("--pdf", help="A page for paper.")]
LanguageOption = Annotated[
    str | None, typer.Option("--language", metavar="en|de", help="Of the page.  [default: the workspace's]")
]
_ASKED_BY_NAME = {".json": PageFormat.JSON, ".html": PageFormat.HTML, ".pdf": PageFormat.PDF}


def choose_page(
    output: Path | None, *, json: bool = False, html: bool = False, pdf: bool = False
) -> PageFormat:
    """The one format asked for: by a flag, else by the output's name, else a table for the terminal.

    Raises ConfigError where two are, or where the page could not be written.
    """
    flags = {PageFormat.JSON: json, PageFormat.HTML: html, PageFormat.PDF: pdf}
    asked = [format_ for format_, is_on in flags.items() if is_on]
    if len(asked) > 1:
        raise ConfigError(f"Two formats were asked for: {' and '.join(asked)}.", next_step="Choose one.")
    if output is not None:
        check_output(output)
    chosen = asked[0] if asked else _by_name(output)
    if chosen is PageFormat.PDF and output is None and sys.stdout.isatty():
        raise ConfigError(
            "PDF is not text for a terminal.", next_step="Add --output FILE, or redirect stdout."
        )
    return chosen


def choose_words(language: str | None, settings: Settings) -> Words:
    """Raises ConfigError where there is no such catalogue, ReportError without the extra ``report``."""
    from fairbrush.reports.pages.words import Language, Words

    wanted = language or settings.language
    if wanted not in [*Language]:
        raise ConfigError(f"There are no pages in {wanted!r}.", next_step=f"Known: {', '.join(Language)}.")
    return Words.of(wanted)


def _by_name(output: Path | None) -> PageFormat:
    return PageFormat.TABLE if output is None else _ASKED_BY_NAME.get(output.suffix.lower(), PageFormat.TABLE)
