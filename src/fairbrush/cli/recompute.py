"""``fairbrush ledger recompute``: is a past answer what its own numbers give?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
)
from fairbrush.cli.registry import say_drained, workspace_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.rechecking import Recheck

COLUMNS = ("attribution_id", "from_inputs", "from_vectors", "detail")


def recompute(
    context: typer.Context,
    attribution_id: Annotated[
        str | None, typer.Argument(help="A record's id, or its first eight characters or more.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every record there is.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Compute the shares of a record again, bit for bit, and from vectors where they still exist."""
    from fairbrush.corpus.changes import open_registry
    from fairbrush.ledger.records import find_attribution
    from fairbrush.rechecking import Rechecker
    from fairbrush.reports.recorded import drain_records

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if (attribution_id is None) is not all_:
        raise ConfigError("One record is named, or all are asked for.", next_step="Write an id, or --all.")
    settings, workspace = workspace_settings(context)
    say_drained(drain_records(workspace, wait_s=settings.database_wait_s))
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        if attribution_id is None:
            ids = [
                key
                for (key,) in store.connection.execute(
                    "SELECT attribution_id FROM attribution ORDER BY recorded_at, attribution_id"
                ).fetchall()
            ]
        else:
            ids = [find_attribution(store.connection, attribution_id)]
        rechecker = Rechecker(store, cache_folder=settings.cache_folder)
        found = [rechecker.recheck(key) for key in ids]
    rows = [_row(one) for one in found]
    document = {"schema": "fairbrush.recomputed/1", "records": rows}
    emit(rows, format_, columns=COLUMNS, document=document, output=output)
    if not all(one.is_sound for one in found):
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _row(one: Recheck) -> Row:
    details = (one.played.detail, one.measured.detail)
    return {
        "attribution_id": one.attribution_id,
        "from_inputs": str(one.played.outcome),
        "from_vectors": str(one.measured.outcome),
        "detail": " ".join(filter(None, details)),
    }
