"""Print answers: one set of formats for every command that answers.

Enters: rows (dicts of plain values). Leaves: text or bytes on stdout, or in ``--output``. The one rule:
stdout is data, stderr is talk.
"""

from __future__ import annotations

import csv as csv_module
import io
import json as json_module
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fairbrush.errors import ConfigError

Row = Mapping[str, Any]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    NL = "nl"
    CSV = "csv"
    PARQUET = "parquet"


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="How to print the answer.  [default: table]")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
NlFlag = Annotated[bool, typer.Option("--nl", help="Short for --format nl: one JSON object a line.")]
CsvFlag = Annotated[bool, typer.Option("--csv", help="Short for --format csv.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer to this file.")]


def choose_format(named: Format | None, *, json: bool, nl: bool, csv: bool) -> Format:
    """The one format asked for; table where none is. Raises ConfigError where two are."""
    flags = {Format.JSON: json, Format.NL: nl, Format.CSV: csv}
    asked = {format_ for format_, is_on in flags.items() if is_on} | ({named} if named else set())
    if len(asked) > 1:
        raise ConfigError(
            f"Two formats were asked for: {' and '.join(sorted(asked))}.", next_step="Choose one."
        )
    return asked.pop() if asked else Format.TABLE


def emit(
    rows: Sequence[Row],
    format_: Format,
    *,
    document: Mapping[str, Any] | None = None,
    output: Path | None = None,
) -> None:
    """Print ``rows``; in JSON print ``document`` instead, where one is given. All rows have the same keys."""
    match format_:
        case Format.JSON:
            _write(json_module.dumps(document or list(rows), ensure_ascii=False, indent=2) + "\n", output)
        case Format.NL:
            _write("".join(json_module.dumps(row, ensure_ascii=False) + "\n" for row in rows), output)
        case Format.CSV:
            stream = io.StringIO()
            if rows:
                writer = csv_module.DictWriter(stream, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            _write(stream.getvalue(), output)
        case Format.PARQUET:
            _write_parquet(rows, output)
        case Format.TABLE:
            _write(table(rows), output)


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text, numbers to the right. Control characters of hostile names are shown escaped.

    >>> print(table([{"artist": "Ann", "works": 3}, {"artist": "Bo", "works": 12}]), end="")
    artist  works
    Ann         3
    Bo         12
    """
    if not rows:
        return "(nothing)\n"
    names = list(rows[0])
    cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    is_number = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        _save(output, text.encode())


def _save(output: Path, content: bytes) -> None:
    try:
        output.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            f"{output} cannot be written: {error.strerror}.", next_step="Choose another --output."
        ) from error


def _write_parquet(rows: Sequence[Row], output: Path | None) -> None:
    if output is None and sys.stdout.isatty():
        raise ConfigError(
            "Parquet is not text for a terminal.", next_step="Add --output FILE, or redirect stdout."
        )
    if not rows:
        raise ConfigError("There are no rows, so no Parquet file.", next_step="Ask for another --format.")
    import tempfile

    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" {_sql_type(rows, name)}' for name in rows[0])
        connection.execute(f"CREATE TABLE answer ({columns})")
        marks = ", ".join("?" for _ in rows[0])
        connection.executemany(f"INSERT INTO answer VALUES ({marks})", [list(row.values()) for row in rows])
        file = Path(folder) / "answer.parquet"
        connection.execute(f"COPY answer TO '{file}' (FORMAT parquet)")
        content = file.read_bytes()
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        _save(output, content)


def _sql_type(rows: Sequence[Row], name: str) -> str:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if kinds <= {bool}:
        return "BOOLEAN"
    if kinds <= {int, bool}:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"
