"""``fairbrush creator`` and ``fairbrush payee``: who made works, and where money goes."""

from __future__ import annotations

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
    help_when_alone,
)
from fairbrush.cli.registry import NewFlag, registry, shown_name

creators = typer.Typer(help="Add creators, who make works, and say which artists they stand behind.")
payees = typer.Typer(help="Add payees, and say whose money goes to them.")
for _group in (creators, payees):
    _group.callback(invoke_without_command=True)(help_when_alone)
CREATOR_COLUMNS = ("creator", "creator_id", "artists", "payee", "payee_id")
PAYEE_COLUMNS = ("payee", "payee_id", "creators")

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The new name.")]
CreatorArgument = Annotated[str, typer.Argument(metavar="CREATOR", help="A creator's name or id.")]
PayeeArgument = Annotated[str, typer.Argument(metavar="PAYEE", help="A payee's name or id.")]


@creators.command("add")
def add_one_creator(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the creator is called.")],
    payee: Annotated[
        str | None, typer.Option(help="Where the money goes, if registered; else a payee of this name.")
    ] = None,
    new: NewFlag = False,
) -> None:
    """Add a creator; prints its id."""
    from fairbrush.corpus.people import add_creator

    with registry(context) as store:
        creator = add_creator(store, name, payee=payee, allow_same_name=new)
    typer.echo(creator.creator_id)


@creators.command("list")
def show_creators(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the creators, with their payees."""
    from fairbrush.corpus.people import list_creators

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        entries = list_creators(store)
    rows = [
        {
            "creator": shown_name(entry.creator.name),
            "creator_id": entry.creator.creator_id,
            "artists": entry.n_artists,
            "payee": shown_name(entry.payee_name),
            "payee_id": entry.creator.payee_id,
        }
        for entry in entries
    ]
    emit(
        rows,
        format_,
        columns=CREATOR_COLUMNS,
        document={"schema": "fairbrush.creators/1", "creators": rows},
        output=output,
    )


@creators.command("rename")
def rename_one_creator(
    context: typer.Context,
    creator: CreatorArgument,
    name: NewNameArgument,
) -> None:
    """Rename a creator."""
    from fairbrush.corpus.people import find_creator, rename_creator

    with registry(context) as store:
        rename_creator(store, find_creator(store, creator).creator_id, name)


@creators.command("assign")
def assign_artist_to_creator(
    context: typer.Context,
    artist: Annotated[str, typer.Argument(help="An artist's name or id.")],
    creator: CreatorArgument,
) -> None:
    """Say that CREATOR made the works of ARTIST."""
    from fairbrush.corpus.people import assign_artist, find_creator
    from fairbrush.corpus.registry import find_artist

    with registry(context) as store:
        artist_id = find_artist(store, artist).artist.artist_id
        assign_artist(store, artist_id, find_creator(store, creator).creator_id)


@payees.command("add")
def add_one_payee(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the payee is called.")],
    new: NewFlag = False,
) -> None:
    """Add a payee; prints its id."""
    from fairbrush.corpus.people import add_payee

    with registry(context) as store:
        payee = add_payee(store, name, allow_same_name=new)
    typer.echo(payee.payee_id)


@payees.command("list")
def show_payees(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the payees."""
    from fairbrush.corpus.people import list_payees

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        entries = list_payees(store)
    rows = [
        {
            "payee": shown_name(entry.payee.name),
            "payee_id": entry.payee.payee_id,
            "creators": entry.n_creators,
        }
        for entry in entries
    ]
    emit(
        rows,
        format_,
        columns=PAYEE_COLUMNS,
        document={"schema": "fairbrush.payees/1", "payees": rows},
        output=output,
    )


@payees.command("rename")
def rename_one_payee(context: typer.Context, payee: PayeeArgument, name: NewNameArgument) -> None:
    """Rename a payee."""
    from fairbrush.corpus.people import find_payee, rename_payee

    with registry(context) as store:
        rename_payee(store, find_payee(store, payee).payee_id, name)


@payees.command("assign")
def assign_creator_to_payee(context: typer.Context, creator: CreatorArgument, payee: PayeeArgument) -> None:
    """Say that the money of CREATOR goes to PAYEE from now on."""
    from fairbrush.corpus.people import assign_creator, find_creator, find_payee

    with registry(context) as store:
        creator_id = find_creator(store, creator).creator_id
        assign_creator(store, creator_id, find_payee(store, payee).payee_id)
