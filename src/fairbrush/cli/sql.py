"""``fairbrush sql``: read what was recorded; and what every answer of a query has in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

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
from fairbrush.cli.registry import drain_if_free, workspace_settings
from fairbrush.config import load_settings
from fairbrush.errors import ConfigError, QueryError

LimitOption = Annotated[int | None, typer.Option(min=1, help="At most this many rows.")]


def sql(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="One SELECT; - reads it from stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the SELECT from this file; - is stdin.")
    ] = None,
    over: Annotated[
        Path | None,
        typer.Option("--over", help="Read this folder's CSV, Parquet and JSON files too, as tables."),
    ] = None,
    limit: LimitOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Run one SELECT over the database; nothing can be changed, attached or read beside it.

    With --over DIR, sales.csv in DIR is the table over.sales, or sales where the workspace has none of that
    name; there need be no workspace.
    """
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    text, source = _read_query(query, file)
    answer_query(context, text, source=source, over=over, limit=limit, format_=format_, output=output)


def _read_query(query: str | None, file: Path | None) -> tuple[str, str]:
    """The query, and the file it is from. Raises ConfigError, QueryError."""
    from fairbrush.reports.sql import MOST_BYTES, decode_query, read_query

    if (query is None) == (file is None):
        what = "No query was given" if query is None else "Two queries were given"
        raise ConfigError(f"{what}.", next_step='Type it, "SELECT ...", or name its file: --file FILE.')
    if query is not None and query != "-":
        return query, ""
    if file is not None and str(file) != "-":
        return read_query(file), str(file)
    if sys.stdin is None:
        raise ConfigError("There is no stdin to read.", next_step="Name a file: --file FILE.")
    return decode_query(sys.stdin.buffer.read(MOST_BYTES + 1), "stdin"), "stdin"


def answer_query(
    context: typer.Context,
    query: str,
    *,
    limit: int | None,
    format_: Format,
    output: Path | None,
    source: str = "",
    over: Path | None = None,
    title: str = "",
    lede: str = "",
) -> None:
    from fairbrush.reports.sql import open_query
    from fairbrush.store import DATABASE_NAME

    settings = load_settings(workspace=context.obj)
    # a folder's files can be read where there is no workspace
    workspace = settings.workspace if over else workspace_settings(context)[1]
    unwritten = drain_if_free(workspace) if workspace is not None else None
    database = workspace / DATABASE_NAME if workspace else None
    with ExitStack() as opened:
        try:
            asked = opened.enter_context(
                open_query(database, query, wait_s=settings.database_wait_s, source=source, over=over)
            )
        except QueryError as error:
            if unwritten is None or "does not exist" not in error.message:
                raise
            step = f"Unless it is misspelt, it is there once the database can be written. {unwritten.message}"
            raise QueryError(error.message, next_step=step) from error
        for note in asked.notes:
            say(note)
        names = _distinct(asked.columns)
        rows = (
            dict(zip(names, _values(row, format_), strict=True))
            for batch in asked.batches(limit)
            for row in batch
        )
        emit(rows, format_, columns=names, output=output, types=asked.types, title=title, lede=lede)
    if asked.truncated:
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
