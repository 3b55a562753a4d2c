"""``fairbrush sql``: read what was recorded; and what every answer of a query has in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    TYPED,
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    say,
)
from fairbrush.cli.registry import say_drained, workspace_settings
from fairbrush.errors import StoreError

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
    answer_query(context, query, limit=limit, format_=format_, output=output)


def answer_query(
    context: typer.Context,
    query: str,
    *,
    limit: int | None,
    format_: Format,
    output: Path | None,
    title: str = "",
    lede: str = "",
) -> None:
    from fairbrush.ledger.records import pending_count
    from fairbrush.reports.recorded import drain_records
    from fairbrush.reports.sql import run_read_only
    from fairbrush.store import DATABASE_NAME
    from fairbrush.workspace import RECORDS

    settings, workspace = workspace_settings(context)
    try:
        say_drained(drain_records(workspace, wait_s=0))
    except StoreError as error:  # busy or read-only: what is in the database can perhaps still be read
        if pending_count(workspace / RECORDS):
            say(f"{error.message} The latest look-ups are missing below.")
    result = run_read_only(workspace / DATABASE_NAME, query, limit=limit, wait_s=settings.database_wait_s)
    names = _distinct(result.columns)
    rows = [dict(zip(names, _values(row, format_), strict=True)) for row in result.rows]
    emit(
        rows,
        format_,
        columns=names,
        output=output,
        types=result.types,
        title=title,
        lede=lede,
    )
    if result.truncated:
        say(f"There are more rows than {limit}.")


def _distinct(columns: Sequence[str]) -> list[str]:
    """The columns' names, numbered where one comes again, as a row's keys must differ."""
    names: list[str] = []
    for column in columns:
        n = 0
        name = column
        while name in names:
            n += 1
            name = f"{column}_{n}"
        names.append(name)
    return names


def _values(row: Sequence[Any], format_: Format) -> Iterable[Any]:
    """A row as the format takes it: typed, or plain, with decimals by their digits for people."""
    if format_ in TYPED:
        return row
    if format_ is Format.HTML:  # which sets numbers to the right
        return (value if isinstance(value, Decimal) else _plain(value, exact=True) for value in row)
    return (_plain(value, exact=format_ is Format.TABLE) for value in row)


def _plain(value: Any, *, exact: bool) -> Any:
    """A database value as JSON can hold it; ``exact``: decimals as their digits, else as numbers."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        if exact:
            return format(value, "f")
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no number for it
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(one, exact=exact) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one, exact=exact) for one in value]
    return value if isinstance(value, str | int | float) or value is None else str(value)
