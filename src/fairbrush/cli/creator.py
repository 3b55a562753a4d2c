"""``fairbrush creator`` and ``fairbrush payee``: who made works, and where money goes."""

from __future__ import annotations

from typing import Annotated

import typer

from fairbrush.cli.erased import ProofOption, answer_erased, check_proof_file, erase_and_search
from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    help_when_alone,
    say,
)
from fairbrush.cli.registry import NewFlag, registry, shown_name, workspace_settings
from fairbrush.errors import ConfigError

creators = typer.Typer(help="Add creators, who make works, and say which artists they stand behind.")
payees = typer.Typer(help="Add payees, and say whose money goes to them.")
for _group in (creators, payees):
    _group.callback(invoke_without_command=True)(help_when_alone)
CREATOR_COLUMNS = ("creator", "creator_id", "artists", "payee", "payee_id")
PAYEE_COLUMNS = ("payee", "payee_id", "creators")
BALANCE_COLUMNS = ("payee", "payee_id", "currency", "payable", "held", "in_transit", "paid")

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


@payees.command("account")
def change_bank_account(
    context: typer.Context,
    payee: PayeeArgument,
    iban: Annotated[str | None, typer.Option(help="The account money goes to from now on.")] = None,
    holder: Annotated[
        str | None, typer.Option(help="With --iban: whose account it is.  [default: the payee's name]")
    ] = None,
    bic: Annotated[str | None, typer.Option(help="With --iban: its bank.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the account.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Say which bank account a payee's money goes to; alone, show the one there is. Shown masked."""
    from fairbrush.corpus.people import find_payee
    from fairbrush.ledger.bank_details import (
        INSTALL_SEPA,
        knows_banks,
        read_bank_accounts,
        remove_bank_account,
        set_bank_account,
    )
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if remove and (iban or holder or bic):
        raise ConfigError("--remove forgets the account.", next_step="Leave the other options out.")
    if (holder or bic) and not iban:
        raise ConfigError("--holder and --bic belong to --iban.", next_step="Give all of it.")
    with registry(context, readonly=not (iban or remove)) as store:
        found = find_payee(store, payee)
        if remove and not remove_bank_account(store, found.payee_id):
            say("No account was known.")
        if iban:
            set_bank_account(store, found.payee_id, iban, holder=holder, bic=bic, now=utc_now())
        account = read_bank_accounts(store.connection).get(found.payee_id)
    row = {
        "payee": shown_name(found.name),
        "payee_id": found.payee_id,
        "holder": account.holder if account else None,
        "iban": account.masked_iban if account else None,
        "bic": account.bic if account else None,
    }
    emit([row], format_, document={"schema": "fairbrush.payee_account/1", **row}, output=output)
    if iban and not knows_banks():
        say("The IBAN's check digits are right; whether its country has such accounts was not verified.")
        say(f"  next: {INSTALL_SEPA}")


@payees.command("balance")
def show_balances(
    context: typer.Context,
    payee: Annotated[
        str | None, typer.Argument(metavar="PAYEE", help="A payee's name or id.  [default: all]")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show what payees are owed, what of it is held, what is on its way and what was paid."""
    from fairbrush.corpus.consent import effective_consents
    from fairbrush.corpus.people import find_payee, list_payees
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.payouts import payee_balances
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        wanted = (
            [find_payee(store, payee)] if payee is not None else [one.payee for one in list_payees(store)]
        )
        consents = effective_consents(store.connection, now=utc_now())
        balances = payee_balances(store.connection, consents)
    rows = [
        {
            "payee": shown_name(one.name),
            "payee_id": one.payee_id,
            "currency": balance.currency,
            "payable": format_amount(balance.payable_minor, balance.currency),
            "held": format_amount(balance.held_minor, balance.currency),
            "in_transit": format_amount(balance.transit_minor, balance.currency),
            "paid": format_amount(balance.paid_minor, balance.currency),
        }
        for one in wanted
        for balance in balances.get(one.payee_id, [])
    ]
    document = {"schema": "fairbrush.payee_balances/1", "balances": rows}
    emit(rows, format_, columns=BALANCE_COLUMNS, document=document, output=output)


@payees.command("erase")
def erase_one_payee(
    context: typer.Context,
    payee: PayeeArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    proof: ProofOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Erase a payee's name and account for good, once it is paid; then search for what is left."""
    from fairbrush.corpus.people import find_payee
    from fairbrush.erasing import erase_payee

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    check_proof_file(proof)
    settings, workspace = workspace_settings(context)
    with registry(context, readonly=True) as store:
        found = find_payee(store, payee)
    if not yes:
        typer.confirm(f"Erase the payee {shown_name(found.name)} for good?", abort=True, err=True)
    erased, absence = erase_and_search(
        settings, workspace, lambda store, cache: erase_payee(store, found.payee_id, cache)
    )
    answer_erased(
        {"payee_id": found.payee_id},
        erased,
        absence,
        format_,
        schema="fairbrush.payee_erased/1",
        proof=proof,
        output=output,
    )
