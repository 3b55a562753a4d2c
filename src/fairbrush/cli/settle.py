"""``fairbrush settle`` and ``fairbrush settlements``: who earned what in a period, and what was settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import ERASED_NAME, registry, say_drained, workspace_settings
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.ledger.book import Account
    from fairbrush.ledger.rounding import Part
    from fairbrush.ledger.settled import Settlement
    from fairbrush.ledger.settlement import SettlementReport, Unsettled
    from fairbrush.store import Store

PART_COLUMNS = (
    "settlement",
    "account",
    "party",
    "for",
    "amount",
    "currency",
    "amount_minor",
    "party_id",
    "for_id",
)
RECOMPUTED_COLUMNS = ("settlement", "settlement_id", "outcome", "detail")
LIST_COLUMNS = ("number", "kind", "from", "to", "lines", "images", "totals", "reverses", "settlement_id")
_MISSING_SAID = 3  # images of one line, on stderr; JSON has them all

Names = Mapping[tuple[str, str], str]  # by kind of party and id


def settle(
    context: typer.Context,
    period: Annotated[
        str | None, typer.Argument(help="2026, 2026-Q1, 2026-01, 2026-01-03 or 2026-01-03..2026-02-01.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be settled.")] = False,
    correct: Annotated[
        str | None,
        typer.Option(metavar="REFERENCE", help="Take this revenue line back and settle it again instead."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="With --correct: why.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Settle what was earned in PERIOD: each revenue line once, by the records its day's policy pins."""
    from fairbrush.ledger.period import parse_period
    from fairbrush.ledger.settlement import settle as settle_period
    from fairbrush.reports.recorded import drain_records
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    _check_options(period, dry_run=dry_run, correct=correct, reason=reason)
    asked = None if period is None else parse_period(period)
    settings, workspace = workspace_settings(context)
    say_drained(drain_records(workspace, wait_s=settings.database_wait_s))
    with registry(context, readonly=dry_run) as store:
        if asked is not None:
            reports = [settle_period(store, asked, now=utc_now(), dry_run=dry_run)]
        else:
            reports = _corrected(store, correct or "", reason or "")
        names = _party_names(store)
    _print_reports(reports, names, format_, output)
    unsettled = [line for report in reports for line in report.unsettled]
    for line in unsettled:
        _say_unsettled(line)
    if any(line.missing for line in unsettled):
        say("  next: fairbrush attribute IMAGES; answers under another index or split pay none of these.")
    if not any(report.settlements for report in reports):
        say("Nothing was settled." if unsettled else "Nothing is left to settle.")
    if unsettled:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def settlements(
    context: typer.Context,
    show: Annotated[
        str | None, typer.Option(metavar="ID", help="The parts of this one: its number, or its id.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--recompute", help="Compute each again from what it froze, and compare.")
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the settlements and reversals there are, show what one of them settled, or compute all again."""
    from fairbrush.ledger.settled import find_settlement, list_settlements

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if again and show is not None:
        raise ConfigError("--recompute computes all of them.", next_step="Leave out --show.")
    if again:
        _recompute(context, format_, output)
        return
    with registry(context, readonly=True) as store:
        if show is None:
            listed = list_settlements(store.connection)
        else:
            listed = [find_settlement(store.connection, show)]
        names = _party_names(store)
    if show is not None:
        shown = _exact_rows(listed[0], names)
        document = {"schema": "fairbrush.settlement_parts/1", **_document(listed[0], shown)}
        emit(shown, format_, document=document, columns=(*PART_COLUMNS, "exact_minor"), output=output)
        return
    rows: list[Row] = [_listed(one, listed) for one in listed]
    document = {"schema": "fairbrush.settlements/1", "settlements": rows}
    emit(rows, format_, columns=LIST_COLUMNS, document=document, output=output)


def _recompute(context: typer.Context, format_: Format, output: Path | None) -> None:
    from fairbrush.ledger.settled import list_settlements, recheck_all

    with registry(context, readonly=True) as store:
        problems = recheck_all(store.connection)
        listed = list_settlements(store.connection)
    rows: list[Row] = [
        {
            "settlement": one.number,
            "settlement_id": one.settlement_id,
            "outcome": "different" if one.settlement_id in problems else "same",
            "detail": " ".join(problems.get(one.settlement_id, ())),
        }
        for one in listed
    ]
    document = {"schema": "fairbrush.settlements_recomputed/1", "settlements": rows}
    emit(rows, format_, document=document, columns=RECOMPUTED_COLUMNS, output=output)
    if problems:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _check_options(period: str | None, *, dry_run: bool, correct: str | None, reason: str | None) -> None:
    if (period is None) == (correct is None):
        raise ConfigError(
            "Name a PERIOD to settle, or a line to --correct; one of the two.",
            next_step="fairbrush settle 2026-01, or fairbrush settle --correct REFERENCE --reason TEXT",
        )
    if correct is not None and dry_run:
        raise ConfigError("--correct has no --dry-run.", next_step="Leave one of them out.")
    if (correct is None) != (not (reason or "").strip()):
        raise ConfigError("--correct and --reason belong together.", next_step="Say why it is corrected.")


def _corrected(store: Store, reference: str, reason: str) -> list[SettlementReport]:
    from fairbrush.errors import SettlementError
    from fairbrush.ledger.choices import LineState
    from fairbrush.ledger.revenue import find_line
    from fairbrush.ledger.settlement import correct
    from fairbrush.store import utc_now

    line = find_line(store.connection, reference)
    reports = correct(store, revenue_ids=[line.revenue_id], why=reason, now=utc_now())
    if not reports:
        if line.state is LineState.CANCELLED:
            raise SettlementError(
                f"The revenue line {line.reference!r} is cancelled, and nothing of it is settled.",
                next_step="For what did come in, add a line with another reference.",
            )
        raise SettlementError(
            f"The revenue line {line.reference!r} is not settled.",
            next_step=f"Settle it: fairbrush settle {line.earned.last}",
        )
    return reports


def _print_reports(
    reports: Sequence[SettlementReport], names: Names, format_: Format, output: Path | None
) -> None:
    made = [one for report in reports for one in report.settlements]
    rows = [row for one in made for row in _part_rows(one, names)]
    totals = _totals(made)
    if format_ is Format.TABLE:
        write_answer(table(rows) + (f"\n{table(totals)}" if totals else ""), output)
        return
    document = {
        "schema": "fairbrush.settle/1",
        "period": str(reports[0].period),
        "dry_run": not reports[0].is_written,
        "settlements": [_document(one, _part_rows(one, names)) for one in made],
        "totals": totals,
        "unsettled": [
            {
                "reference": line.reference,
                "revenue_id": line.revenue_id,
                **_amount(line.amount_minor, line.currency),
                "reason": line.reason,
                "images_missing": list(line.missing),
            }
            for report in reports
            for line in report.unsettled
        ],
    }
    emit(rows, format_, columns=PART_COLUMNS, document=document, output=output)


def _totals(made: Sequence[Settlement]) -> list[dict[str, Any]]:
    """A row a currency: what came in, and what it went to."""
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.settled import by_purpose

    sums = by_purpose([part for one in made for part in one.parts])
    return [
        {
            "currency": currency,
            "revenue": format_amount(sum(amounts.values()), currency),
            **{str(what): format_amount(amount, currency) for what, amount in amounts.items()},
        }
        for currency, amounts in sums.items()
    ]


def _part_rows(settlement: Settlement, names: Names) -> list[dict[str, Any]]:
    """What was posted; a part that was too small for any amount is carried forward, not listed."""
    return [_part_row(settlement.number, part, names) for part in settlement.parts if part.amount_minor]


def _exact_rows(settlement: Settlement, names: Names) -> list[dict[str, Any]]:
    from fairbrush.ledger.exactly import fraction_text

    return [
        {**_part_row(settlement.number, part, names), "exact_minor": fraction_text(part.exact)}
        for part in settlement.parts
    ]


def _part_row(number: int, part: Part, names: Names) -> dict[str, Any]:
    account = part.account
    party, subject = _named(account, names)
    return {
        "settlement": number,
        "account": str(account.kind),
        "party": party,
        "for": subject,
        **_amount(part.amount_minor, part.currency),
        "party_id": account.holder,
        "for_id": account.subject,
    }


def _amount(minor: int, currency: str) -> dict[str, Any]:
    from fairbrush.ledger.currency import format_amount

    return {"amount": format_amount(minor, currency), "currency": currency, "amount_minor": minor}


def _named(account: Account, names: Names) -> tuple[str, str]:
    """What to call an account's holder and subject: their names where they have one, else their ids."""
    from fairbrush.ledger.book import AccountKind
    from fairbrush.ledger.moves import MODEL_SUBJECT

    holder, subject = account.holder, account.subject
    match account.kind:
        case AccountKind.PAYABLE if subject.startswith(MODEL_SUBJECT):
            return names.get(("payee", holder), holder), subject.removeprefix(MODEL_SUBJECT)
        case AccountKind.PAYABLE:
            return names.get(("payee", holder), holder), names.get(("artist", subject), subject)
        case AccountKind.ESCROW:
            return names.get(("artist", holder), holder), ""
        case AccountKind.DISPUTED:
            return holder, names.get(("artist", subject), subject)
        case _:
            return holder, ""


def _party_names(store: Store) -> Names:
    rows = store.connection.execute(
        "SELECT 'payee', payee_id, coalesce(name, $1) FROM payee"
        " UNION ALL SELECT 'artist', artist_id, coalesce(name, $1) FROM artist",
        [ERASED_NAME],
    ).fetchall()
    return {(kind, own): name for kind, own, name in rows}


def _listed(settlement: Settlement, listed: Sequence[Settlement]) -> dict[str, Any]:
    from fairbrush.ledger.currency import format_amount

    numbers = {one.settlement_id: one.number for one in listed}
    totals = [
        f"{format_amount(amount, currency)} {currency}" for currency, amount in settlement.totals.items()
    ]
    return {
        "number": settlement.number,
        "kind": str(settlement.kind),
        "from": settlement.period.first.isoformat(),
        "to": settlement.period.last.isoformat(),
        "lines": settlement.lines,
        "images": settlement.images,
        "totals": ", ".join(totals),
        "reverses": None if settlement.reverses is None else numbers.get(settlement.reverses),
        "settlement_id": settlement.settlement_id,
    }


def _document(settlement: Settlement, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "settlement_id": settlement.settlement_id,
        "number": settlement.number,
        "kind": str(settlement.kind),
        "period": str(settlement.period),
        "policy_digest": settlement.policy_digest,
        "reverses": settlement.reverses,
        "lines": settlement.lines,
        "images": settlement.images,
        "parts": list(rows),
    }


def _say_unsettled(line: Unsettled) -> None:
    more = "" if len(line.missing) <= _MISSING_SAID else f" and {len(line.missing) - _MISSING_SAID} more"
    images = f" Missing: {', '.join(line.missing[:_MISSING_SAID])}{more}." if line.missing else ""
    say(f"unsettled: {line.reference}: {line.reason}{images}")
