"""``fairbrush init``, ``backup`` and ``restore``: the workspace as a whole."""

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
from fairbrush.cli.registry import workspace_settings
from fairbrush.config import home_expanded, load_settings
from fairbrush.errors import ConfigError


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if absent.")] = Path(),
    encoder: Annotated[
        str | None,
        typer.Option(help="mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, and +PART.  [default: mini]"),
    ] = None,
) -> None:
    """Make a workspace: settings, database, and folders. One that exists is left as it is."""
    from fairbrush.corpus.changes import open_registry
    from fairbrush.embedding.encoder import parse_spec
    from fairbrush.workspace import create_workspace

    if encoder is not None:
        parse_spec(encoder)
    folder = home_expanded(folder)
    is_new = create_workspace(folder, encoder=encoder or "mini")
    settings = load_settings(workspace=folder)
    if not is_new and encoder not in (None, settings.encoder):
        raise ConfigError(
            f"{folder} is a workspace already, with the encoder {settings.encoder}.",
            next_step="Make another workspace, or change encoder in its fairbrush.toml.",
        )
    with open_registry(folder, wait_s=settings.database_wait_s):
        pass  # writes the first eligibility.json
    verb = "Made the workspace" if is_new else "There is a workspace already in"
    say(f"{verb} {folder.resolve()}, encoder {settings.encoder}.")
    if is_new:
        say("  next: fairbrush artist add NAME WORKS...")


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The archive to write (ZIP); it must not exist.")],
    with_cache: Annotated[
        bool, typer.Option("--with-cache", help="Include the embedding cache, which can be computed again.")
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Write the workspace to one archive: settings, database, indexes, records and thumbnails."""
    from fairbrush.workspace import back_up

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, workspace = workspace_settings(context)
    summary = back_up(workspace, file, with_cache=with_cache, wait_s=settings.database_wait_s)
    row = {"backup": str(summary.file), "files": summary.n_files, "bytes": summary.n_bytes}
    emit([row], format_, document={"schema": "fairbrush.backup_made/1", **row}, output=output)


def restore(
    file: Annotated[Path, typer.Argument(help="An archive that fairbrush backup wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or absent folder.")],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Bring a backup back, each file checked against its digest."""
    from fairbrush.corpus.changes import open_registry
    from fairbrush.workspace import restore as restore_backup

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    summary = restore_backup(file, folder)
    with open_registry(folder):
        pass  # an older backup's schema, and its eligibility.json, come up to date
    row = {"workspace": str(folder), "files": summary.n_files, "bytes": summary.n_bytes}
    emit([row], format_, document={"schema": "fairbrush.restored/1", **row}, output=output)
