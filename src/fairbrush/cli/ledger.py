"""``fairbrush ledger``: the book, and records that show who altered them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    help_when_alone,
    listing,
    say,
    write_answer,
)
from fairbrush.cli.registry import registry
from fairbrush.errors import ChainError, ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.chain.checkpoint import Checkpoint
    from fairbrush.chain.findings import Finding
    from fairbrush.chain.verify import Verification
    from fairbrush.ledger.book import AccountKind

app = typer.Typer(help="Read the book; verify, sign and prove what was recorded.")
app.callback(invoke_without_command=True)(help_when_alone)
keys = typer.Typer(help="Keys that sign checkpoints (Ed25519).")
keys.callback(invoke_without_command=True)(help_when_alone)
app.add_typer(keys, name="key")

AccountOption = Annotated[
    str | None, typer.Option(metavar="KIND", help="Only such accounts, as payable or escrow.")
]
PartyOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Only of this payee, artist, model, dispute or payout.")
]
PublicKeyOption = Annotated[
    str | None,
    typer.Option(metavar="FILE|HEX", help="Whose signature it must be; else whichever key is in the file."),
]


@keys.command()
def new(file: Annotated[Path, typer.Argument(help="Where the private key goes; must not exist.")]) -> None:
    """Make a private key, readable by you alone, and print its public key. Keep it off this machine."""
    from fairbrush.chain.checkpoint import new_key

    typer.echo(new_key(file))


@keys.command()
def show(file: Annotated[Path, typer.Argument(help="A private or public key.")]) -> None:
    """Print the public key of a key's file, to give to whoever checks your checkpoints."""
    from fairbrush.chain.checkpoint import read_public_key

    typer.echo(read_public_key(str(file.absolute())))


@app.command()
def verify(
    context: typer.Context,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint kept elsewhere; may be repeated.")
    ] = None,
    public_key: PublicKeyOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Name at most so many records.")] = 20,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Check every record against what was committed, and name the first that was altered, removed, put in or
    moved. Without a checkpoint nobody can see that the end was cut off, or all of it written anew."""
    from fairbrush.ledger.protected import verify_ledger

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if public_key is not None and not checkpoint:
        raise ConfigError("--public-key checks checkpoints.", next_step="Add --checkpoint FILE.")
    checkpoints = _checkpoints(checkpoint or [], public_key)
    with registry(context, readonly=True) as store:
        found = verify_ledger(store.connection, limit=limit, checkpoints=checkpoints)
    rows = [_finding_row(finding) for finding in found.findings]
    if rows or format_ is not Format.TABLE:
        document = _verify_document(found, rows, checkpoints, is_trusted=public_key is not None)
        emit(rows, format_, columns=_FINDING_COLUMNS, document=document, output=output)
    for note in found.notes:
        say(f"note: {note}")
    _say_whose(checkpoints, public_key)
    if not found.is_sound:
        first = found.findings[0]
        say(f"{found.count} found. First {first.what}: {first.kind} {first.key}: {first.detail}.")
        say("  next: compare with a backup: fairbrush restore BACKUP DIR; nothing was changed here.")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)
    say(f"{found.end.leaves} records in {found.end.batches} batches are as they were committed.")
    if not checkpoints:
        say(
            "  next: only a checkpoint kept elsewhere shows a cut end: fairbrush ledger checkpoint --key FILE"
        )


@app.command()
def checkpoint(
    context: typer.Context,
    key: Annotated[Path, typer.Option(help="The private key that signs.")],
    full: Annotated[
        bool,
        typer.Option("--full", help="Verify all records first; else the chain alone."),
    ] = False,
    output: OutputOption = None,
) -> None:
    """Sign the end of the chain. Keep the file where nobody who can write the database can write too."""
    from datetime import UTC, datetime

    from fairbrush.chain.checkpoint import checkpoint_bytes, read_key, sign_checkpoint
    from fairbrush.chain.verify import verify_chain
    from fairbrush.ledger.protected import verify_ledger

    choose_format(None, json=False, nl=False, csv=False, output=output)
    private = read_key(key)
    with registry(context, readonly=True) as store:
        found = verify_ledger(store.connection) if full else verify_chain(store.connection)
    if not found.is_sound:
        first = found.findings[0]
        raise ChainError(
            f"What does not verify is not signed: {first.what} {first.kind} {first.key}: {first.detail}.",
            next_step="See all of it: fairbrush ledger verify",
        )
    signed = sign_checkpoint(found.end, private, now=datetime.now(UTC))
    _write(checkpoint_bytes(signed), output)
    say(f"Signed {signed.leaves} records in {signed.batches} batches with {signed.public_key}.")


@app.command()
def prove(
    context: typer.Context,
    record: Annotated[
        str, typer.Argument(help="An attribution_id, or KIND:KEY, such as entry:12 or consent:3.")
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that was signed after the record.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Write a proof that a record was committed before a checkpoint was signed; anybody can check it."""
    from fairbrush.chain.checkpoint import read_checkpoint
    from fairbrush.chain.proof import find_record
    from fairbrush.chain.proof import prove as prove_record

    choose_format(None, json=False, nl=False, csv=False, output=output)
    if checkpoint is None:
        raise ConfigError(
            "A proof needs a checkpoint that was signed after the record.",
            next_step="Sign one: fairbrush ledger checkpoint --key FILE -o FILE, and add --checkpoint FILE.",
        )
    signed = read_checkpoint(checkpoint)
    with registry(context, readonly=True) as store:
        content = prove_record(store.connection, find_record(store.connection, record), signed)
    _write(content, output)


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="What fairbrush ledger prove wrote.")],
    public_key: PublicKeyOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Check a proof. Needs neither a workspace nor a network."""
    from fairbrush.chain.checkpoint import read_file, read_public_key
    from fairbrush.chain.log import plain
    from fairbrush.chain.proof import check_proof as check

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    wanted = None if public_key is None else read_public_key(public_key)
    proven = check(read_file(file), public_key=wanted)
    row: Row = {
        "kind": proven.kind,
        "key": proven.key,
        "digest": proven.digest,
        "position": proven.position,
        "batch": proven.batch,
        "committed_at": plain(proven.committed_at),
        "checkpoint_time": proven.checkpoint.time,
        "public_key": proven.checkpoint.public_key,
        "is_trusted": wanted is not None,
    }
    if format_ is Format.TABLE:
        write_answer(listing(row), output)
    else:
        document = {"schema": "fairbrush.ledger_proof_check/1", **row, "record": proven.record}
        emit([row], format_, document=document, output=output)
    _say_whose([proven.checkpoint], public_key)


@app.command()
def entries(
    context: typer.Context,
    account: AccountOption = None,
    party: PartyOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the last so many postings.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the book's postings in the order they were booked. A positive amount is owed to the holder."""
    from fairbrush.chain.log import plain
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.listing import booked_postings

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    kind = _account_kind(account)
    with registry(context, readonly=True) as store:
        booked = booked_postings(store.connection, account=kind, party=party, limit=limit)
    rows: list[Row] = [
        {
            "entry": one.number,
            "kind": str(one.entry_kind),
            "reference": one.reference,
            "recorded_at": plain(one.recorded_at),
            "line": one.line,
            "account": str(one.posting.account.kind),
            "holder": one.posting.account.holder,
            "subject": one.posting.account.subject,
            "currency": one.posting.currency,
            "amount": format_amount(one.posting.amount_minor, one.posting.currency),
            "amount_minor": one.posting.amount_minor,
        }
        for one in booked
    ]
    document = {"schema": "fairbrush.ledger_entries/1", "postings": rows}
    emit(rows, format_, columns=_ENTRY_COLUMNS, document=document, output=output)


@app.command()
def balances(
    context: typer.Context,
    account: AccountOption = None,
    party: PartyOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List what each account holds, by currency. A positive amount is owed to the holder."""
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.listing import balances_of

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    kind = _account_kind(account)
    with registry(context, readonly=True) as store:
        held = balances_of(store.connection, account=kind, party=party)
    rows: list[Row] = [
        {
            "account": str(one.kind),
            "holder": one.holder,
            "subject": one.subject,
            "currency": currency,
            "amount": format_amount(amount, currency),
            "amount_minor": amount,
        }
        for (one, currency), amount in sorted(held.items())
    ]
    document = {"schema": "fairbrush.ledger_balances/1", "balances": rows}
    emit(rows, format_, columns=_BALANCE_COLUMNS, document=document, output=output)


_FINDING_COLUMNS = ("what", "kind", "key", "position", "detail")
_BALANCE_COLUMNS = ("account", "holder", "subject", "currency", "amount", "amount_minor")
_ENTRY_COLUMNS = ("entry", "kind", "reference", "recorded_at", "line", *_BALANCE_COLUMNS)


def _checkpoints(files: list[Path], public_key: str | None) -> list[Checkpoint]:
    from fairbrush.chain.checkpoint import read_checkpoint, read_public_key

    wanted = None if public_key is None else read_public_key(public_key)
    return [read_checkpoint(file, public_key=wanted) for file in files]


def _verify_document(
    found: Verification, rows: list[Row], checkpoints: list[Checkpoint], *, is_trusted: bool
) -> dict[str, Any]:
    return {
        "schema": "fairbrush.ledger_verify/1",
        "sound": found.is_sound,
        "batches": found.end.batches,
        "records": found.end.leaves,
        "head": found.end.head,
        "found": found.count,
        "findings": rows,
        "notes": list(found.notes),
        "checkpoints": [
            {
                "batches": one.batches,
                "time": one.time,
                "public_key": one.public_key,
                "is_trusted": is_trusted,
            }
            for one in checkpoints
        ],
    }


def _finding_row(finding: Finding) -> Row:
    return {
        "what": str(finding.what),
        "kind": finding.kind,
        "key": finding.key,
        "position": finding.position,
        "detail": finding.detail,
    }


def _say_whose(checkpoints: list[Checkpoint], public_key: str | None) -> None:
    if public_key is None:
        for key in dict.fromkeys(one.public_key for one in checkpoints):
            say(f"The signature only shows that whoever holds the key {key} made it.")
            say("  next: add --public-key with the key of somebody you trust.")


def _write(content: bytes, output: Path | None) -> None:
    """A file that is there whole or not at all; or stdout."""
    from fairbrush.durable import write_durably

    if output is None:
        write_answer(content, None)
        return
    try:
        write_durably(output, content)
    except OSError as error:
        raise ConfigError(
            f"{output} cannot be written: {error.strerror or error}.", next_step="Choose another --output."
        ) from error


def _account_kind(text: str | None) -> AccountKind | None:
    from fairbrush.ledger.book import AccountKind

    if text is None or text in [*AccountKind]:
        return None if text is None else AccountKind(text)
    raise ConfigError(f"There is no account {text!r}.", next_step=f"One of {', '.join(AccountKind)}.")
