"""``fairbrush sql`` and ``fairbrush report``: read what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
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
    say,
)
from fairbrush.cli.registry import workspace_settings
from fairbrush.errors import ConfigError, DatabaseBusyError

if TYPE_CHECKING:
    from pathlib import Path

LimitOption = Annotated[int | None, typer.Option(min=1, help="At most this many rows.")]


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="One SELECT.")],
    limit: LimitOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Run one SELECT over the database; nothing can be changed, attached or read beside it."""
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    _answer(context, query, limit, format_, output)


def report(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A report; without a name they are listed.")] = None,
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
        emit(rows, format_, output=output)
        return
    if name not in views:
        raise ConfigError(f"There is no report {name!r}.", next_step=f"Known: {', '.join(views)}.")
    _answer(context, f"SELECT * FROM {views[name].name}", limit, format_, output)


def _answer(
    context: typer.Context, query: str, limit: int | None, format_: Format, output: Path | None
) -> None:
    from fairbrush.reports.recorded import drain_records
    from fairbrush.reports.sql import run_read_only
    from fairbrush.store import DATABASE_NAME

    settings, workspace = workspace_settings(context)
    try:
        drain_records(workspace, wait_s=settings.database_wait_s)
    except DatabaseBusyError as busy:
        say(f"{busy.message} The latest look-ups may be missing below.")
    result = run_read_only(workspace / DATABASE_NAME, query, limit=limit)
    rows = [dict(zip(result.columns, map(_plain, row), strict=True)) for row in result.rows]
    emit(rows, format_, columns=result.columns, output=output)
    if result.truncated:
        say(f"There is more than {limit} rows.")


def _plain(value: Any) -> Any:
    """A database value as JSON can hold it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | dict) or value is None else str(value)
