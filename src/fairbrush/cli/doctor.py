"""``fairbrush doctor``: is everything in order, and what to type where it is not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    printable,
    say,
    write_answer,
)
from fairbrush.errors import ExitCode

if TYPE_CHECKING:
    from fairbrush.doctor.checks import Check

COLUMNS = ("what", "status", "detail", "fix")


def doctor(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Load torch too, and run one image through the encoder.")
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Examine the installation and the workspace; say how to mend what is broken. Changes nothing."""
    from fairbrush.doctor.checks import Status
    from fairbrush.doctor.examine import examine

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    named: Path | None = context.obj
    checks = list(examine(named, deep=deep))
    counts = {str(status): sum(check.status is status for check in checks) for status in Status}
    rows: list[Row] = [asdict(check) | {"status": str(check.status)} for check in checks]
    if format_ is Format.TABLE:
        write_answer("".join(map(_lines, checks)), output)
        say(", ".join(f"{n} {status}" for status, n in counts.items()))
    else:
        document = {"schema": "fairbrush.doctor/1", **counts, "checks": rows}
        emit(rows, format_, columns=COLUMNS, document=document, output=output)
    if counts["problem"]:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _lines(check: Check) -> str:
    line = f"{check.status:<9}{check.what:<16}{printable(check.detail)}\n"
    return line + (f"{'':<25}fix: {printable(check.fix)}\n" if check.fix else "")
