"""``fairbrush export``: the whole database as Parquet, for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    say,
)
from fairbrush.cli.registry import say_drained, workspace_settings

COLUMNS = ("table", "rows", "bytes", "file", "sha256")


def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder to write to.")],
    with_bank_details: Annotated[
        bool, typer.Option("--with-bank-details", help="The payees' bank accounts too.")
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Write every table as Parquet, with schema.json, schema.sql and load.sql beside them."""
    from fairbrush.corpus.changes import open_registry
    from fairbrush.reports.exports import check_folder, export_database
    from fairbrush.reports.recorded import drain_records
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, workspace = workspace_settings(context)
    check_folder(folder)
    say_drained(drain_records(workspace, wait_s=settings.database_wait_s))
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        made = export_database(store, folder, now=utc_now(), with_bank_details=with_bank_details)
    rows = [
        {"table": one.name, "rows": one.rows, "bytes": one.bytes, "file": one.file, "sha256": one.sha256}
        for one in made.tables
    ]
    emit(rows, format_, columns=COLUMNS, document=made.document(), output=output)
    say(f"{folder} holds names and all that is recorded of people: it is for your own use.")
    if made.left_out:
        say(f"Without bank details ({', '.join(made.left_out)}); --with-bank-details adds them.")
