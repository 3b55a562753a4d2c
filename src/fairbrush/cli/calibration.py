"""``fairbrush calibration``: which calibrations there are, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    help_when_alone,
    say,
)
from fairbrush.cli.registry import registry
from fairbrush.errors import CalibrationError

if TYPE_CHECKING:
    from fairbrush.style.calibration import Calibration
    from fairbrush.style.kept_calibrations import KeptCalibration

app = typer.Typer(help="List and show what fairbrush calibrate fitted.")
app.callback(invoke_without_command=True)(help_when_alone)
LIST_COLUMNS = ("calibration_id", "value", "map", "shift", "models", "encoder", "space", "recorded_at")
MODEL_COLUMNS = ("calibration_id", "model", "b", "b_error", "images", "is_centred", "value", "map", "shift")


@app.command("list")
def list_(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the calibrations there are, oldest first; files of theirs that are gone are written again."""
    from fairbrush.style.kept_calibrations import kept_calibrations, write_absent_files

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        kept = kept_calibrations(store.connection)
        try:
            written, problem = write_absent_files(store.connection, store.workspace), None
        except CalibrationError as error:  # what there is can be read where nothing can be written
            written, problem = 0, error
    rows = [_row(one) for one in kept]
    document = {"schema": "fairbrush.calibrations/1", "calibrations": rows}
    emit(rows, format_, columns=LIST_COLUMNS, document=document, output=output)
    if problem is not None:
        raise problem
    if written:
        say(f"Written again for look-ups: {written}.")
    if not kept:
        say("There is no calibration yet.")
        say("  next: fairbrush calibrate")


@app.command()
def show(
    context: typer.Context,
    calibration: Annotated[str, typer.Argument(help="Its id, or the first 8 or more digits of it.")],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show what a calibration says of each model; all of it with --json."""
    from fairbrush.style.kept_calibrations import kept_calibration

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        found = kept_calibration(store.connection, calibration)
    rows = list(_model_rows(found))
    document = {
        "schema": "fairbrush.calibration_shown/1",
        "calibration_id": found.calibration_id,
        "calibration": found.body(),
    }
    emit(rows, format_, columns=MODEL_COLUMNS, document=document, output=output)


def _row(one: KeptCalibration) -> Row:
    calibration = one.calibration
    return {
        "calibration_id": calibration.calibration_id,
        "value": str(calibration.value),
        "map": str(calibration.map),
        "shift": calibration.shift,
        "models": ", ".join(sorted(calibration.models)),
        "encoder": calibration.encoder_id,
        "space": calibration.space_id,
        "recorded_at": one.recorded_at.isoformat(sep=" ", timespec="seconds"),
    }


def _model_rows(calibration: Calibration) -> list[dict[str, Any]]:
    return [
        {
            "calibration_id": calibration.calibration_id,
            "model": model_id,
            "b": part.b,
            "b_error": part.b_error,
            "images": part.images,
            "is_centred": part.centre is not None,
            "value": str(calibration.value),
            "map": str(calibration.map),
            "shift": calibration.shift,
        }
        for model_id, part in sorted(calibration.models.items())
    ]
