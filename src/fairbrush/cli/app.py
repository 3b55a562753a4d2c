"""The command line's root: global options, the commands, and the one place that turns errors into exits."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from fairbrush import __version__
from fairbrush.cli import (
    artist,
    attribute,
    audit,
    bench,
    cache,
    calibrate,
    calibration,
    check_me,
    creator,
    demo,
    dispute,
    doctor,
    embed,
    export,
    index,
    inspect_image,
    ledger,
    model,
    payout,
    policy,
    recognize,
    recompute,
    report,
    revenue,
    settle,
    sql,
    tuned,
    validate,
    workspace,
)
from fairbrush.cli.output import help_when_alone, say
from fairbrush.errors import ExitCode, FairbrushError

# Recent typers (0.28 for one) carry a click of their own: its errors are not those of the package click.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="fairbrush",
    help="Which artists' styles does this image draw on, how sure are we, and how does the money split?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("init")(workspace.init)
app.add_typer(artist.app, name="artist")
app.add_typer(creator.creators, name="creator")
app.add_typer(creator.payees, name="payee")
app.add_typer(model.app, name="model")
app.add_typer(index.app, name="index")
app.command("attribute")(attribute.attribute)
app.command("inspect")(inspect_image.inspect)
app.command("validate")(validate.validate)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(calibration.app, name="calibration")
app.command("recognize")(recognize.recognize)
app.add_typer(audit.app, name="audit")
app.command("tuned")(tuned.tuned)
app.add_typer(policy.app, name="policy")
app.add_typer(revenue.app, name="revenue")
app.command("settle")(settle.settle)
app.command("settlements")(settle.settlements)
app.add_typer(payout.app, name="payout")
app.add_typer(dispute.app, name="dispute")
ledger.app.command("recompute")(recompute.recompute)
app.add_typer(ledger.app, name="ledger")
app.command("sql")(sql.sql)
app.add_typer(report.app, name="report")
app.command("check-me")(check_me.check_me)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("backup")(workspace.backup)
app.command("restore")(workspace.restore)
app.command("embed")(embed.embed)
app.add_typer(cache.app, name="cache")
app.add_typer(bench.app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairbrush {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--workspace", help="The workspace to use; else FAIRBRUSH_WORKSPACE, else found by walking up."
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and stop.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    context.obj = folder
    help_when_alone(context)


@functools.cache
def _commands() -> Any:
    """Built once: it takes longer than many a command, and a process may run several."""
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command line; gives the exit code. Errors go to stderr, answers to stdout."""
    try:
        code = int(_commands()(arguments, standalone_mode=False) or ExitCode.DONE)
    except FairbrushError as error:
        return _complain(error.exit_code, error.message, error.next_step)
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "fairbrush"
        return _complain(
            ExitCode.CANNOT_RUN, error.format_message(), f"{command} --help shows how it is used."
        )
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except RuntimeError as error:
        if str(error) != "Query interrupted":  # what DuckDB makes of Ctrl-C in the middle of a query
            raise
        code = ExitCode.INTERRUPTED
    # typer turns Ctrl-C into this code by itself
    return _complain(code, "Interrupted.") if code == ExitCode.INTERRUPTED else code


def _complain(code: int, message: str, next_step: str | None = None) -> int:
    say(f"fairbrush: {message}")
    if next_step:
        say(f"  next: {next_step}")
    return code
