"""``fairbrush index``: build, extend, list, show, roll back and verify the workspace's index."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.clones import warn_of_look_alikes
from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    help_when_alone,
    listing,
    say,
    write_answer,
)
from fairbrush.cli.progress import progress
from fairbrush.cli.registry import workspace_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.index.versions import IndexVersion
    from fairbrush.indexing import IndexReport

app = typer.Typer(help="Build the index of the registered artists, extend it, roll it back, verify it.")
app.callback(invoke_without_command=True)(help_when_alone)
SHOWN_NAMES = 5
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Such as v0003.")]
PanelOption = Annotated[
    Path | None,
    typer.Option(help="A background panel of your own, with one folder a hand.  [default: the bundled one]"),
]


@app.command()
def build(
    context: typer.Context,
    panel: PanelOption = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="At most this part of images by unknown hands should credit anybody.  [default: the current"
            " index's, else 0.05]",
            show_default=False,
        ),
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Index every registered artist; works that are not embedded yet are embedded first."""
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if alpha is not None and not 0.001 <= alpha <= 0.5:
        raise ConfigError(
            f"--alpha must be from 0.001 to 0.5, not {alpha:g}.", next_step="Leave it out for 0.05."
        )
    _publish(context, panel, format_, output, extend=False, alpha=alpha)


@app.command()
def extend(
    context: typer.Context,
    panel: PanelOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Add the artists that are new, or whose works changed, in one more segment."""
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    _publish(context, panel, format_, output, extend=True)


def _publish(
    context: typer.Context,
    panel_folder: Path | None,
    format_: Format,
    output: Path | None,
    *,
    extend: bool,
    alpha: float | None = None,
) -> None:
    from fairbrush.embedding.session import EmbeddingSession
    from fairbrush.indexing import build_workspace_index, extend_workspace_index
    from fairbrush.style.panel import bundled_panel, folder_panel

    settings, workspace = workspace_settings(context)
    panel = bundled_panel() if panel_folder is None else folder_panel(panel_folder)
    publish = extend_workspace_index if extend else partial(build_workspace_index, alpha=alpha)
    with EmbeddingSession.open(settings) as session, progress(None) as report:
        made = publish(workspace, session, wait_s=settings.database_wait_s, panel=panel, on_outcome=report)
    _answer(made, format_, output)


def _answer(made: IndexReport, format_: Format, output: Path | None) -> None:
    row = {
        **_version_row(made.version),
        "status": "new" if made.is_new else "unchanged",
        "changed_artists": made.changed,
        "look_alike_pairs": len(made.look_alikes),
        "left_out": len(made.left_out),
    }
    left_out = [
        {
            "artist_id": one.artist_id,
            "artist": one.name,
            "path": one.path and str(one.path),
            "reason": one.reason,
        }
        for one in made.left_out
    ]
    emit(
        [row],
        format_,
        document={"schema": "fairbrush.index_built/1", **row, "left_out": left_out},
        output=output,
    )
    for one in made.left_out:
        if one.path:
            say(f"left out: {one.name}: {one.path}: {one.reason}.")
    if without := [one.name for one in made.left_out if one.path is None]:
        some = ", ".join(without[:SHOWN_NAMES]) + (", ..." if len(without) > SHOWN_NAMES else "")
        say(f"Not indexed, as they have no usable works: {len(without)} artists ({some}).")
    warn_of_look_alikes(len(made.look_alikes))
    if any(one.path for one in made.left_out):
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


@app.command("list")
def list_(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the versions; the current one is marked."""
    from fairbrush.index.versions import current_version, list_versions

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    folder = _folder(context)
    versions = list_versions(folder)
    current = current_version(folder).number if versions else None
    rows = [_version_row(version) | {"current": version.number == current} for version in versions]
    document = {"schema": "fairbrush.index_versions/1", "versions": rows}
    emit(rows, format_, columns=("version", "current"), document=document, output=output)


@app.command()
def show(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show the current version, and how recognisable each of its artists is."""
    from fairbrush.corpus.eligibility import read_eligibility
    from fairbrush.index.search import open_index

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    _, workspace = workspace_settings(context)
    index = open_index(_folder(context))
    names = {artist.artist_id: artist.name for artist in read_eligibility(workspace).artists.values()}
    rows = [
        {
            "artist": names.get(artist_id, ""),
            "artist_id": artist_id,
            "works": len(index.works_of(artist_id)),
            "recognisability": (q := index.recognisability(artist_id)),
            "can_be_told_apart": None if q is None else q > index.delta,
        }
        for artist_id in index.artist_ids
    ]
    rows.sort(key=lambda row: str(row["artist"]))
    facts = _version_row(index.manifest)
    told = index.space.diagnostics
    style_space = None if told is None else asdict(told)
    document = {"schema": "fairbrush.index_shown/1", **facts, "style_space": style_space, "members": rows}
    if format_ is Format.TABLE and output is None:
        of_space = {f"style space: {name}": value for name, value in (style_space or {}).items()}
        write_answer(listing({**facts, **of_space}) + "\n", None)
    emit(rows, format_, columns=("artist", "artist_id"), document=document, output=output)


@app.command()
def rollback(
    context: typer.Context,
    version: VersionArgument,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Make an older version the current one. Erased artists stay erased."""
    from fairbrush.index import versions

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    matched = re.fullmatch(r"v?0*(\d+)", version)
    if matched is None:
        raise ConfigError(f"{version!r} is not a version.", next_step="fairbrush index list shows them.")
    row = _version_row(versions.rollback(_folder(context), int(matched[1])))
    emit([row], format_, document={"schema": "fairbrush.index_rolled_back/1", **row}, output=output)


@app.command()
def verify(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Check every file of every version against its digest."""
    from fairbrush.index.versions import verify_index

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    damage = [{"where": str(one.where), "error": str(one.error)} for one in verify_index(_folder(context))]
    if damage or format_ is not Format.TABLE:
        document = {"schema": "fairbrush.index_verify/1", "sound": not damage, "damage": damage}
        emit(damage, format_, columns=("where", "error"), document=document, output=output)
    if damage:
        say(f"{len(damage)} damaged.")
        say("  next: fairbrush index rollback VERSION, or build it again: fairbrush index build")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)
    say("Every version is sound.")


def _folder(context: typer.Context) -> Path:
    from fairbrush.workspace import INDEXES

    return workspace_settings(context)[1] / INDEXES


def _version_row(version: IndexVersion) -> dict[str, Any]:
    return {
        "version": version.label,
        "artists": version.artists,
        "works": version.works,
        "alpha": version.alpha,
        "delta": version.delta,
        "entry": version.entry,
        "encoder_id": version.encoder_id,
        "variants": " ".join(version.variants),
        "space_id": version.space_id,
        "manifest_digest": version.manifest_digest,
    }
