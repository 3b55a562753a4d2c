"""``fairbrush report``: the views, by their names, and the pages, each a command of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    say,
)
from fairbrush.cli.report_image import image
from fairbrush.cli.report_overview import overview
from fairbrush.cli.report_statement import statement
from fairbrush.cli.sql import LimitOption, answer_query
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.reports.catalogue import View

_VIEW = "view"
_PAGES = ("image", "overview", "statement")


class _ViewsByName(TyperGroup):
    """A group whose commands are the pages; whatever else comes first is a view, or an option of the list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [_VIEW, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ViewsByName,
    help="What was recorded: NAME of a view, or a page. Without a name the views are listed.",
)
app.command("image")(image)
app.command("overview")(overview)
app.command("statement")(statement)


@app.command(_VIEW, hidden=True)
def view(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A view; without a name they are listed.")] = None,
    limit: LimitOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show one of the views that come with fairbrush."""
    from fairbrush.reports.catalogue import read_views

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    views = {view.name: view for view in read_views()}
    if name is None:
        rows: list[Row] = [{"report": view.name, "shows": view.description} for view in views.values()]
        emit(rows, format_, output=output, title="fairbrush report")
        say(f"Pages: {', '.join(_PAGES)}; each has --help.")
        return
    shown = _known(views, name)
    answer_query(
        context,
        shown.query,  # the view itself is an older one, or none, where the database could not be written
        limit=limit,
        format_=format_,
        output=output,
        title=shown.name,
        lede=shown.description,
    )


def _known(views: dict[str, View], name: str) -> View:
    if name not in views:
        raise ConfigError(
            f"There is no report {name!r}.", next_step=f"Known: {', '.join([*views, *_PAGES])}."
        )
    return views[name]
