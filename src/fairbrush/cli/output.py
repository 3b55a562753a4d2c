"""Print answers: one set of formats for every command that answers.

Enters: rows (dicts of plain values; of a query, also the database's own). Leaves: text or bytes on stdout, or
in ``--output``. The one rule: stdout is data, stderr is talk; and an answer arrives whole or not at all.
"""

from __future__ import annotations

import json as json_module
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, cast

import typer

from fairbrush.corpus.images import IMAGE_EXTENSIONS
from fairbrush.durable import replaced
from fairbrush.errors import ConfigError, ExitCode, ReportError
from fairbrush.spreadsheets import csv_parts

Row = Mapping[str, Any]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    NL = "nl"
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"
    HTML = "html"


# That keep numbers, DECIMALs and dates as what they are; the others get plain values.
TYPED = frozenset({Format.CSV, Format.PARQUET, Format.XLSX})
_IN_MEMORY = 2**24  # bytes for stdout; more wait on disk
_PIECE = 2**20
_NO_TEXT = {Format.PARQUET: "Parquet", Format.XLSX: "A workbook"}
_NEEDED = {Format.XLSX: ("openpyxl",), Format.HTML: ("babel", "jinja2")}
_ASKED_BY_NAME = {
    ".json": Format.JSON,
    ".nl": Format.NL,
    ".jsonl": Format.NL,
    ".ndjson": Format.NL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".xlsx": Format.XLSX,
    ".html": Format.HTML,
}

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="How to print the answer.  [default: by --output's ending, else table]"),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
NlFlag = Annotated[bool, typer.Option("--nl", help="Short for --format nl: one JSON object a line.")]
CsvFlag = Annotated[bool, typer.Option("--csv", help="Short for --format csv.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer to this file.")]


def choose_format(
    named: Format | None, *, json: bool, nl: bool, csv: bool, output: Path | None = None
) -> Format:
    """The one format asked for: by an option, else by the output's ending, else table.

    Raises ConfigError where two are, or where the answer could not be written, and ReportError where what
    writes it is not installed: said before the work, not after it.
    """
    flags = {Format.JSON: json, Format.NL: nl, Format.CSV: csv}
    asked = {format_ for format_, is_on in flags.items() if is_on} | ({named} if named else set())
    if len(asked) > 1:
        raise ConfigError(
            f"Two formats were asked for: {' and '.join(sorted(asked))}.", next_step="Choose one."
        )
    chosen = asked.pop() if asked else _by_name(output)
    if chosen in _NO_TEXT and output is None and sys.stdout.isatty():
        raise ConfigError(
            f"{_NO_TEXT[chosen]} is not text for a terminal.",
            next_step="Add --output FILE, or redirect stdout.",
        )
    _check_installed(chosen)
    if output is not None:
        check_output(output)
    return chosen


def _by_name(output: Path | None) -> Format:
    return Format.TABLE if output is None else _ASKED_BY_NAME.get(output.suffix.lower(), Format.TABLE)


def _check_installed(format_: Format) -> None:
    missing = [name for name in _NEEDED.get(format_, ()) if find_spec(name) is None]
    if missing:
        from fairbrush.reports.pages.words import INSTALL

        raise ReportError(
            f"--format {format_} needs more packages ({', '.join(missing)}).",
            next_step=f"Install them: {INSTALL}",
        )


def check_output(output: Path) -> None:
    """Raises ConfigError where nothing can be written there."""
    if problem := _output_problem(output):
        raise ConfigError(f"{output} cannot be written: {problem}.", next_step="Choose another --output.")


def _output_problem(output: Path) -> str | None:
    from fairbrush.workspace import is_own_file

    if output.is_dir():
        return "it is a folder"
    if not output.absolute().parent.is_dir():
        return "its folder does not exist"
    # ``-o *.png`` would take the first image for the answer's place
    if output.suffix.lower() in IMAGE_EXTENSIONS:
        return "it is named like an image"
    if is_own_file(output):
        return "the workspace itself is kept there"
    place = output if output.exists() else output.absolute().parent
    return None if os.access(place, os.W_OK) else "it is not permitted"


def emit(
    rows: Iterable[Row],
    format_: Format,
    *,
    columns: Sequence[str] = (),
    document: Mapping[str, Any] | None = None,
    output: Path | None = None,
    types: Sequence[str] = (),
    title: str = "",
    lede: str = "",
) -> None:
    """Print ``rows``; in JSON print ``document`` instead, where one is given. All rows have the same keys.

    Rows that come one by one are not held all at once, but for a person: as a table or a page. ``columns``:
    their names, for those and for an answer that may have no rows. ``types``: the database's, one a column.
    ``title`` and ``lede``: of a page or a sheet; without them it is called after the command.
    """
    names = list(rows[0]) if isinstance(rows, Sequence) and rows else list(columns)
    match format_:
        case Format.TABLE:
            write_answer(table(list(rows)), output)
        case Format.HTML:
            from fairbrush.reports.pages.table import table_page

            cells = [[row[name] for name in names] for row in rows]
            write_answer(table_page(names, cells, title=title or _command_words(), lede=lede), output)
        case Format.JSON if document:
            write_answer(json_module.dumps(document, ensure_ascii=False, indent=2) + "\n", output)
        case _:
            with answer_stream(output) as stream:
                _write_rows(rows, format_, names, stream, types=types, title=title or _command_words())


def _write_rows(
    rows: Iterable[Row],
    format_: Format,
    names: Sequence[str],
    stream: IO[bytes],
    *,
    types: Sequence[str],
    title: str,
) -> None:
    match format_:
        case Format.JSON:
            _write_text(_json_array(rows), stream)
        case Format.NL:
            _write_text((json_module.dumps(row, ensure_ascii=False) + "\n" for row in rows), stream)
        case Format.CSV:
            _write_text(csv_parts(rows, names), stream)
        case Format.PARQUET:
            from fairbrush.reports.parquet import write_parquet

            write_parquet(rows, names, stream, types)
        case Format.XLSX:
            _write_workbook(rows, names, stream, title)


def _json_array(rows: Iterable[Row]) -> Iterator[str]:
    """As ``json.dumps`` of the whole would indent it."""
    before = "[\n  "
    for row in rows:
        # a line break within a text is escaped
        yield before + json_module.dumps(row, ensure_ascii=False, indent=2).replace("\n", "\n  ")
        before = ",\n  "
    yield "\n]\n" if before.startswith(",") else "[]\n"


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
    is_number = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    return _aligned(
        [list(map(printable, names)), *([_cell(row[name]) for name in names] for row in rows)], is_number
    )


def listing(facts: Row) -> str:
    """Facts as aligned text, one a line.

    >>> print(listing({"images": 3, "ran on": "cpu"}), end="")
    images  3
    ran on  cpu
    """
    return _aligned([[name, _cell(value)] for name, value in facts.items()], [False, False])


def printable(text: str) -> str:
    """Text that cannot steer a terminal: whatever does not print, line breaks too, is shown escaped.

    >>> printable("a" + chr(10) + chr(27) + "[31m" + chr(0xDCFF))
    'a\\\\n\\\\x1b[31m\\\\udcff'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(line: str) -> None:
    """Tell the user something on stderr, in one line."""
    typer.echo(printable(line), err=True)


def help_when_alone(context: typer.Context) -> None:
    """Show the help of a command that got no sub-command; the exit code says that nothing was done."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.CANNOT_RUN)


def write_answer(answer: str | bytes, output: Path | None) -> bool:
    """Write to ``output``, or to stdout; False when stdout's reader has gone away. Raises ConfigError."""
    content = _encoded(answer) if isinstance(answer, str) else answer
    if output is None:
        return _write_stdout([content])
    with answer_stream(output) as stream:
        stream.write(content)
    return True


@contextmanager
def answer_stream(output: Path | None) -> Iterator[IO[bytes]]:
    """What is written to it is in ``output``, or on stdout, when the block ends; nothing where that raises.

    A slow reader of stdout holds up nothing but the end. Raises ConfigError.
    """
    try:
        if output is not None and _is_replaceable(output):
            file = Path(os.path.realpath(output))  # a link stays one
            with replaced(file, like=file if file.exists() else None) as stream:
                yield stream
            return
        with SpooledTemporaryFile(_IN_MEMORY) as waiting:
            yield cast("IO[bytes]", waiting)
            waiting.seek(0)
            pieces = iter(lambda: waiting.read(_PIECE), b"")
            if output is None:
                _write_stdout(pieces)
            else:
                with output.open("wb") as stream:
                    stream.writelines(pieces)
    except OSError as error:
        raise _unwritable("The answer" if output is None else str(output), error) from error


def _is_replaceable(output: Path) -> bool:
    """Whether another file may take its place: not a pipe's, a device's, or somebody else's."""
    file = Path(os.path.realpath(output))
    # /dev/stdout may lead to a file in use, and a link may lead there
    if any(path.parts[1:2] in (("dev",), ("proc",)) for path in (output.absolute(), file)):
        return False
    if not os.access(file.parent, os.W_OK):
        return False
    if not file.exists():
        return True
    found = file.stat()
    is_ours = os.name == "nt" or (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    return file.is_file() and is_ours and found.st_nlink == 1 and os.access(file, os.W_OK)


def _write_text(parts: Iterable[str], stream: IO[bytes]) -> None:
    for part in parts:
        stream.write(_encoded(part))


def _encoded(text: str) -> bytes:
    """Text leaves as UTF-8 on every system. A file name that is no UTF-8 holds lone surrogates: they leave as
    the escape ``\\udcff``, which is what JSON calls them, so a JSON reader gets the same name back."""
    return text.encode("utf-8", "backslashreplace")


def _write_stdout(pieces: Iterable[bytes]) -> bool:
    """A reader that has gone away wants no more: that is not a failure."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python must find nothing to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise _unwritable("The answer", error) from error
        return False
    return True


def _unwritable(what: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{what} cannot be written: {error.strerror or error}.",
        next_step="Choose another --output and run again: what was done is kept.",
    )


def _aligned(lines: Sequence[Sequence[str]], is_number: Sequence[bool]) -> str:
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        cells = []
        for cell, width, right in zip(line, widths, is_number, strict=True):
            blank = " " * (width - _width(cell))
            cells.append(blank + cell if right else cell + blank)
        text += "  ".join(cells).rstrip() + "\n"
    return text


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _write_workbook(rows: Iterable[Row], names: Sequence[str], stream: IO[bytes], title: str) -> None:
    from fairbrush.reports.sheets import LONGEST_TEXT, write_workbook

    cut = write_workbook(rows, names, stream, title=title)
    if cut:
        cells = "1 cell was" if cut == 1 else f"{cut} cells were"
        say(f"{cells} cut: a cell holds {LONGEST_TEXT:,} characters. --format json has all.")


def _command_words() -> str:
    """The command that is running, as it is typed: ``fairbrush artist list``."""
    clicks = typer.Context.__mro__[1].__module__.rpartition(".")[0]  # typer's own click, or the package
    context: Any = import_module(f"{clicks}.globals").get_current_context(silent=True)
    words: list[str] = []
    while context is not None and context.parent is not None:  # the root's name is how Python was started
        words.insert(0, context.info_name)
        context = context.parent
    return " ".join(["fairbrush", *words])
