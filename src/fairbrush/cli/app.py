"""The command line's root: global options, the commands, and the one place that turns errors into exits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from fairbrush import __version__
from fairbrush.cli import artist, cache, creator, embed, model, workspace
from fairbrush.errors import ExitCode, FairbrushError

app = typer.Typer(
    name="fairbrush",
    help="Which artists' styles does this image draw on, how sure are we, and how does the money split?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(workspace.init)
app.add_typer(artist.app, name="artist")
app.add_typer(creator.creators, name="creator")
app.add_typer(creator.payees, name="payee")
app.add_typer(model.app, name="model")
app.command("backup")(workspace.backup)
app.command("restore")(workspace.restore)
app.command("embed")(embed.embed)
app.add_typer(cache.app, name="cache")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairbrush {__version__}")
        raise typer.Exit


@app.callback()
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


def run(arguments: list[str]) -> int:
    """Run one command line; gives the exit code. Errors go to stderr, answers to stdout."""
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return int(code or ExitCode.DONE)
    except FairbrushError as error:
        _complain(error.message, error.next_step)
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fairbrush"
        _complain(error.format_message(), f"{command} --help shows how it is used.")
        return ExitCode.CANNOT_RUN
    except (KeyboardInterrupt, click.Abort):
        _complain("Interrupted.", None)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone: give Python nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE


def _complain(message: str, next_step: str | None) -> None:
    typer.echo(f"fairbrush: {message}", err=True)
    if next_step:
        typer.echo(f"  next: {next_step}", err=True)
