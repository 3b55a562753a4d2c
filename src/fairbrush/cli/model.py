"""``fairbrush model``: generating models, and which artists each was trained on."""

from __future__ import annotations

from collections.abc import Sequence
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
    help_when_alone,
    say,
)
from fairbrush.cli.registry import registry, shown_name
from fairbrush.domain import Trained
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.store import Store

app = typer.Typer(help="Add generating models, and say whom they were trained on.")
app.callback(invoke_without_command=True)(help_when_alone)


@app.command()
def add(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's id, such as sd-1.5.")],
    base: Annotated[str | None, typer.Option(help="The model it was fine-tuned from.")] = None,
    developer: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    payee: Annotated[str | None, typer.Option(help="Who is paid for it: a payee's name or id.")] = None,
) -> None:
    """Register a model. A fine-tune inherits its base's roster."""
    from fairbrush.corpus.membership import add_model

    with registry(context) as store:
        added = add_model(store, model, base=base, developer=developer, payee=payee)
    typer.echo(added.model_id)


@app.command("list")
def list_(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the models, who is paid for them, and how many artists each was and was not trained on."""
    from fairbrush.corpus.membership import list_models, rosters
    from fairbrush.corpus.people import list_payees

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        models, members = list_models(store), rosters(store)
        payees = {entry.payee.payee_id: shown_name(entry.payee.name) for entry in list_payees(store)}
    rows = [
        {
            "model": model.model_id,
            "base": model.base_model_id,
            "developer": model.developer,
            "payee": payees.get(model.payee_id) if model.payee_id else None,
            "payee_id": model.payee_id,
            **{
                f"trained_{answer}": sum(m.trained is answer for m in members[model.model_id].values())
                for answer in (Trained.YES, Trained.NO)
            },
        }
        for model in models
    ]
    emit(rows, format_, document={"schema": "fairbrush.models/1", "models": rows}, output=output)


@app.command()
def assign(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's id.")],
    payee: Annotated[str, typer.Argument(metavar="PAYEE", help="A payee's name or id.")],
) -> None:
    """Say that the money of MODEL's developer goes to PAYEE from now on, with what was held for it."""
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.developers import assign_developer
    from fairbrush.store import utc_now

    with registry(context) as store:
        released = assign_developer(store, model, payee, now=utc_now())
    for currency, amount in released:
        say(f"Owed to the payee now, and held until now: {format_amount(amount, currency)} {currency}.")


@app.command()
def roster(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's id.")],
    artists: Annotated[
        list[str] | None, typer.Argument(metavar="ARTISTS...", help="With --trained: names or ids.")
    ] = None,
    trained: Annotated[
        Trained | None, typer.Option(help="Record this answer for ARTISTS instead of listing.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="With --trained: how this is known.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show whom a model was trained on, or record it. An artist that is not listed is unknown."""
    from fairbrush.corpus.membership import roster as read_roster
    from fairbrush.corpus.registry import list_artists

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if (trained is None) != (not artists):
        raise ConfigError(
            "ARTISTS and --trained belong together.", next_step="Give both to record, none to list."
        )
    with registry(context, readonly=trained is None) as store:
        if trained is not None:
            _record(store, model, artists or (), trained, source)
        names = {entry.artist.artist_id: entry.artist.name for entry in list_artists(store)}
        members = read_roster(store, model)
    rows: list[Row] = [
        {
            "artist": shown_name(names[artist_id]),
            "artist_id": artist_id,
            "trained": str(member.trained),
            "from": member.model_id,
            "source": member.source,
        }
        for artist_id, member in sorted(members.items(), key=lambda pair: (names[pair[0]], pair[0]))
    ]
    document = {"schema": "fairbrush.model_roster/1", "model": model, "artists": rows}
    columns = ("artist", "artist_id", "trained", "from", "source")
    emit(rows, format_, columns=columns, document=document, output=output)


@app.command()
def fidelity(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's id.")],
    artist: Annotated[str | None, typer.Argument(help="An artist's name or id.")] = None,
    value: Annotated[
        str | None, typer.Argument(help="How exactly the style is reproduced: 0 to 1, as 0.85.")
    ] = None,
    reproducible: Annotated[
        bool | None,
        typer.Option(
            "--reproducible/--not-reproducible", help="Whether the model can reproduce the style at all."
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="How this was measured.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show how exactly a model reproduces artists' styles, or record a figure for one of them."""
    from fairbrush.corpus.fidelity import parse_fidelity, read_fidelity, record_fidelity
    from fairbrush.corpus.membership import find_model
    from fairbrush.corpus.registry import find_artist, list_artists
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=artist is None) as store:
        model_id = find_model(store, model).model_id
        if artist is not None and value is not None and reproducible is not None and source is not None:
            record_fidelity(
                store,
                model_id,
                find_artist(store, artist).artist.artist_id,
                fidelity_e6=parse_fidelity(value),
                is_reproducible=reproducible,
                source=source,
                now=utc_now(),
            )
        elif any(one is not None for one in (artist, value, reproducible, source)):
            raise ConfigError(
                "ARTIST, VALUE, --reproducible or --not-reproducible, and --source belong together.",
                next_step="Give all of them to record, none to list.",
            )
        names = {entry.artist.artist_id: entry.artist.name for entry in list_artists(store)}
        figures = [
            one for (of_model, _), one in read_fidelity(store.connection).items() if of_model == model_id
        ]
    rows: list[Row] = [
        {
            "artist": shown_name(names[one.artist_id]),
            "artist_id": one.artist_id,
            "fidelity": float(one.fraction),
            "reproducible": one.is_reproducible,
            "from": one.model_id,
            "source": one.source,
        }
        for one in sorted(figures, key=lambda one: (names[one.artist_id], one.artist_id))
    ]
    document = {"schema": "fairbrush.model_fidelity/1", "model": model_id, "artists": rows}
    columns = ("artist", "artist_id", "fidelity", "reproducible", "from", "source")
    emit(rows, format_, columns=columns, document=document, output=output)


def _record(store: Store, model: str, artists: Sequence[str], trained: Trained, source: str | None) -> None:
    from fairbrush.corpus.membership import Membership, find_model, record_memberships
    from fairbrush.corpus.registry import find_artist

    model_id = find_model(store, model).model_id
    ids = [find_artist(store, name).artist.artist_id for name in artists]
    record_memberships(store, [Membership(model_id, artist_id, trained, source) for artist_id in ids])
