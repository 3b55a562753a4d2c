"""``fairbrush payout``: propose what payees are owed, hand it to a bank, record what the bank did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
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
    say,
)
from fairbrush.cli.registry import parse_day, registry, shown_name
from fairbrush.errors import ConfigError, ExitCode
from fairbrush.ledger.choices import ExportFormat, PayoutStatus

if TYPE_CHECKING:
    from fairbrush.ledger.payouts import CarriedForward, Held, Payout, PayoutChange
    from fairbrush.ledger.sepa import Debtor, Export

app = typer.Typer(help="Pay payees what they are owed: propose, export for the bank, confirm or fail.")
app.callback(invoke_without_command=True)(help_when_alone)
PAYOUT_COLUMNS = ("payout_id", "payee", "payee_id", "amount", "currency", "amount_minor", "status")
LIST_COLUMNS = (*PAYOUT_COLUMNS, "proposed_at", "changed_at", "note")
PROPOSAL_COLUMNS = (*PAYOUT_COLUMNS, "detail")
EXPORT_COLUMNS = (*PAYOUT_COLUMNS, "written", "reason")
_SHOWN_DIGITS = 16  # of an id in a table; enough to name it by

PayoutsArgument = Annotated[
    list[str], typer.Argument(metavar="PAYOUTS...", help="Their ids, or the first digits of each.")
]


@app.command("propose")
def propose_payouts(
    context: typer.Context,
    payee: Annotated[str | None, typer.Option(help="Only this payee, by name or id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be proposed.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Propose a payout of all that each payee is owed; list what is held, and what is too little."""
    from fairbrush.corpus.people import find_payee
    from fairbrush.ledger.payouts import propose
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=dry_run) as store:
        payee_id = find_payee(store, payee).payee_id if payee is not None else None
        proposal = propose(store, now=utc_now(), payee_id=payee_id, dry_run=dry_run)
    payouts = [_payout_row(one) | {"detail": None} for one in proposal.payouts]
    held, carried = [_held_row(one) for one in proposal.held], [_carried_row(one) for one in proposal.carried]
    document = {
        "schema": "fairbrush.payout_proposal/1",
        "dry_run": dry_run,
        "payouts": payouts,
        "held": held,
        "carried_forward": carried,
    }
    rows = _shown([*payouts, *held, *carried], format_)
    emit(rows, format_, columns=PROPOSAL_COLUMNS, document=document, output=output)


@app.command("confirm")
def confirm_payouts(
    context: typer.Context,
    payouts: PayoutsArgument,
    reference: Annotated[str, typer.Option(help="The bank's reference of the payment.")],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record that the bank has paid: all of PAYOUTS, or nothing. That is final."""
    from fairbrush.ledger.payouts import confirm
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context) as store:
        changes = confirm(store, *payouts, reference=reference, now=utc_now())
    _answer_changes(changes, format_, output)


@app.command("fail")
def fail_payouts(
    context: typer.Context,
    payouts: PayoutsArgument,
    reason: Annotated[str, typer.Option(help="Why the bank did not pay; kept with the payout.")],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record that the bank did not pay: all of PAYOUTS, or nothing. The money is owed again."""
    from fairbrush.ledger.payouts import fail
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context) as store:
        changes = fail(store, *payouts, reason=reason, now=utc_now())
    _answer_changes(changes, format_, output)


@app.command("list")
def show_payouts(
    context: typer.Context,
    status: Annotated[PayoutStatus | None, typer.Option(help="Only those that stand so.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the payouts, oldest first."""
    from fairbrush.ledger.payouts import list_payouts

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        payouts = list_payouts(store.connection, status=status)
    rows = [_listed_row(one) for one in payouts]
    document = {"schema": "fairbrush.payouts/1", "payouts": rows}
    emit(_shown(rows, format_), format_, columns=LIST_COLUMNS, document=document, output=output)


@app.command("export")
def export_payouts(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write: .csv, or .xml for pain.001.")],
    file_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="What to write.  [default: by FILE's ending]")
    ] = None,
    execution_date: Annotated[
        str | None, typer.Option(help="pain.001: the day the bank is to pay.  [default: today]")
    ] = None,
    debtor_name: Annotated[str | None, typer.Option(help="pain.001: whose account pays.")] = None,
    debtor_iban: Annotated[str | None, typer.Option(help="pain.001: the account that pays.")] = None,
    debtor_bic: Annotated[str | None, typer.Option(help="pain.001: its bank.")] = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
) -> None:
    """Write the proposed payouts for a bank. They stay proposed: confirm or fail each by what the bank did.

    pain.001 (ISO 20022, SEPA) takes euros and payees with an IBAN; what it cannot take is listed.
    """
    from fairbrush.ledger.sepa import export_csv, export_pain, message_id
    from fairbrush.store import utc_now

    format_ = choose_format(None, json=json, nl=nl, csv=False)
    kind, now = _export_format(file, file_format), utc_now()
    debtor = _debtor(kind, debtor_name, debtor_iban, debtor_bic)
    day = _execution_date(kind, execution_date) or now.date()
    with registry(context, readonly=True) as store:
        if debtor is None:
            export = export_csv(store.connection, now=now)
        else:
            export = export_pain(store.connection, debtor, execution_date=day, now=now)
    if export.content is not None:
        _write(file, export.content)
    rows = _export_rows(export)
    document = {
        "schema": "fairbrush.payout_export/1",
        "file": str(file) if export.content is not None else None,
        "format": str(kind),
        "message_id": message_id(export.payouts) if debtor is not None and export.payouts else None,
        "payouts": rows,
    }
    emit(_shown(rows, format_), format_, columns=EXPORT_COLUMNS, document=document)
    if export.content is None:
        say(f"Nothing was written to {file}: no payout can be exported.")
    if export.left_out:
        say(f"{len(export.left_out)} of {len(rows)} proposed payouts are not in the file.")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _answer_changes(changes: Sequence[PayoutChange], format_: Format, output: Path | None) -> None:
    rows = [_listed_row(one.payout) | {"changed": one.changed} for one in changes]
    document = {"schema": "fairbrush.payouts/1", "payouts": rows}
    emit(_shown(rows, format_), format_, document=document, output=output)
    for one in changes:
        if not one.changed:
            payout = one.payout
            note = f" ({payout.note})" if payout.note else ""
            say(
                f"{payout.payout_id} was {payout.status} already on {payout.changed_at.date()}{note}: "
                "nothing was changed."
            )


def _export_format(file: Path, named: ExportFormat | None) -> ExportFormat:
    found = named or {".csv": ExportFormat.CSV, ".xml": ExportFormat.PAIN_001}.get(file.suffix.lower())
    if found is None:
        raise ConfigError(
            f"{file} ends neither in .csv nor in .xml.", next_step="Add --format csv or --format pain.001."
        )
    return found


def _debtor(kind: ExportFormat, name: str | None, iban: str | None, bic: str | None) -> Debtor | None:
    from fairbrush.ledger.sepa import checked_debtor

    if kind is ExportFormat.CSV:
        if name or iban or bic:
            raise ConfigError("A CSV names no debtor.", next_step="Leave the --debtor options out.")
        return None
    if not name or not iban:
        raise ConfigError(
            "pain.001 needs the account that pays.", next_step="Add --debtor-name NAME --debtor-iban IBAN."
        )
    return checked_debtor(name, iban, bic)


def _execution_date(kind: ExportFormat, text: str | None) -> date | None:
    if text is None:
        return None
    if kind is ExportFormat.CSV:
        raise ConfigError("A CSV has no execution date.", next_step="Leave --execution-date out.")
    return parse_day(text, option="--execution-date")


def _write(file: Path, content: bytes) -> None:
    from fairbrush.durable import write_durably

    if file.is_dir():
        raise ConfigError(f"{file} is a folder.", next_step="Name the FILE in it; nothing was changed.")
    try:
        write_durably(file, content)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}.",
            next_step="Choose another FILE; nothing was changed.",
        ) from error


def _payout_row(payout: Payout) -> dict[str, Any]:
    from fairbrush.ledger.currency import format_amount

    return {
        "payout_id": payout.payout_id,
        "payee": shown_name(payout.payee_name),
        "payee_id": payout.payee_id,
        "amount": format_amount(payout.amount_minor, payout.currency),
        "currency": payout.currency,
        "amount_minor": payout.amount_minor,
        "status": str(payout.status),
    }


def _listed_row(payout: Payout) -> dict[str, Any]:
    return {
        **_payout_row(payout),
        "proposed_at": f"{payout.proposed_at.isoformat(timespec='seconds')}Z",
        "changed_at": f"{payout.changed_at.isoformat(timespec='seconds')}Z",
        "note": payout.note,
    }


def _held_row(held: Held) -> Row:
    return _unpaid_row(held, "held", f"{held.reason}: {held.subject}" if held.subject else str(held.reason))


def _carried_row(carried: CarriedForward) -> Row:
    from fairbrush.ledger.currency import format_amount

    minimum = format_amount(carried.minimum_minor, carried.currency)
    return _unpaid_row(carried, "carried forward", f"less than {minimum} {carried.currency}")


def _unpaid_row(unpaid: Held | CarriedForward, status: str, detail: str) -> Row:
    from fairbrush.ledger.currency import format_amount

    return {
        "payout_id": None,
        "payee": shown_name(unpaid.payee_name),
        "payee_id": unpaid.payee_id,
        "amount": format_amount(unpaid.amount_minor, unpaid.currency),
        "currency": unpaid.currency,
        "amount_minor": unpaid.amount_minor,
        "status": status,
        "detail": detail,
    }


def _export_rows(export: Export) -> list[dict[str, Any]]:
    return [
        *(_payout_row(one) | {"written": True, "reason": None} for one in export.payouts),
        *(_payout_row(one.payout) | {"written": False, "reason": one.reason} for one in export.left_out),
    ]


def _shown(rows: Sequence[Row], format_: Format) -> list[Row]:
    """As a person reads it: short ids, and each amount once."""
    if format_ is not Format.TABLE:
        return list(rows)
    return [
        {
            name: value[:_SHOWN_DIGITS] if name == "payout_id" and value else value
            for name, value in row.items()
            if name not in ("payee_id", "amount_minor")
        }
        for row in rows
    ]
