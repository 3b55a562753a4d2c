"""Proposed payouts as a file for a bank: a table in CSV, or a SEPA credit transfer (ISO 20022 pain.001).

Enters: payouts and bank accounts. Leaves: the file's bytes, and which payouts are not in it and why. The one
rule: exporting changes nothing; a payout stays proposed until somebody says what the bank did. Ids come from
the payouts, so that a bank can see that a file was sent twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.consent import effective_consents
from fairbrush.corpus.names import checked_name
from fairbrush.errors import MoneyError
from fairbrush.ledger.bank_details import (
    INSTALL_SEPA,
    BankAccount,
    checked_bic,
    checked_iban,
    in_sepa,
    read_bank_accounts,
)
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.currency import format_amount
from fairbrush.ledger.payouts import Payout, list_payouts, withheld_now
from fairbrush.spreadsheets import csv_text
from fairbrush.store import as_utc

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from duckdb import DuckDBPyConnection

PAIN_SCHEMA = "pain.001.001.09"
MOST_CENTS = 99_999_999_999  # of one SEPA credit transfer
CSV_COLUMNS = ("payout_id", "payee", "iban", "amount", "currency", "reference")
_ID_DIGITS = 32  # of a payout's id: an end-to-end id has at most 35 characters
_LONGEST_NAME = 70
# what every bank must take (EPC217-08); of the rest, & and _ have a customary stand-in
_SEPA_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ ")
_STAND_INS = {"&": "+", "_": "-"}


@dataclass(frozen=True)
class Debtor:
    """Whose account pays."""

    name: str
    iban: str
    bic: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """A proposed payout that is not in the file."""

    payout: Payout
    reason: str


@dataclass(frozen=True)
class Export:
    """``content``: None where no payout could be written."""

    content: bytes | None
    payouts: tuple[Payout, ...]
    left_out: tuple[LeftOut, ...]


def checked_debtor(name: str, iban: str, bic: str | None = None) -> Debtor:
    """Raises MoneyError."""
    return Debtor(checked_name(name), checked_iban(iban), checked_bic(bic) if bic else None)


def export_csv(connection: DuckDBPyConnection, *, now: datetime) -> Export:
    """Every proposed payout of every currency, as UTF-8; a payee without an account has an empty iban."""
    payouts, left_out = _leaving(connection, now)
    accounts = read_bank_accounts(connection)
    rows = []
    for one in payouts:
        account = accounts.get(one.payee_id)
        cells = (
            one.payout_id,
            account.holder if account else one.payee_name,
            account.iban if account else "",
            format_amount(one.amount_minor, one.currency),
            one.currency,
            end_to_end_id(one),
        )
        rows.append(dict(zip(CSV_COLUMNS, cells, strict=True)))
    text = csv_text(rows, CSV_COLUMNS)
    content = text.encode("utf-8", "backslashreplace") if payouts else None
    return Export(content, tuple(payouts), tuple(left_out))


def export_pain(
    connection: DuckDBPyConnection, debtor: Debtor, *, execution_date: date, now: datetime
) -> Export:
    """Proposed payouts in euros to accounts in the SEPA, checked against ISO 20022's own schema.

    Raises MoneyError where sepaxml is not installed, or the day is over.
    """
    if find_spec("sepaxml") is None:
        raise MoneyError("pain.001 needs the package sepaxml.", next_step=f"Install it: {INSTALL_SEPA}")
    if not sepa_text(debtor.name):
        raise MoneyError(
            f"No bank can read the debtor's name {debtor.name!r}.", next_step="Give --debtor-name in letters."
        )
    if execution_date < as_utc(now).date():
        raise MoneyError(f"{execution_date} is over.", next_step="Give an --execution-date from today on.")
    accounts = read_bank_accounts(connection)
    payouts, left_out = _leaving(connection, now)
    written = []
    for one in payouts:
        reason = _no_transfer(one, accounts.get(one.payee_id))
        if reason:
            left_out.append(LeftOut(one, reason))
        else:
            written.append(one)
    content = _pain(written, accounts, debtor, execution_date, now) if written else None
    return Export(content, tuple(written), tuple(left_out))


def end_to_end_id(payout: Payout) -> str:
    """What the bank's statement will name the payout by."""
    return payout.payout_id[:_ID_DIGITS]


def message_id(payouts: Sequence[Payout]) -> str:
    """Of the file: the same payouts have the same."""
    return canonical_digest(["pain.001", sorted(one.payout_id for one in payouts)])[:_ID_DIGITS]


def sepa_text(text: str) -> str:
    """A name in the letters that every bank takes.

    >>> sepa_text("Zoë Müller & Söhne <Köln>")
    'Zoe Muller + Sohne .Koln.'
    """
    from text_unidecode import unidecode

    plain = "".join(_STAND_INS.get(character, character) for character in unidecode(text))
    kept = "".join(character if character in _SEPA_CHARACTERS else "." for character in plain)
    return re.sub("/{2,}", "/", " ".join(kept.split()))[:_LONGEST_NAME].strip("/ ")


def _leaving(connection: DuckDBPyConnection, now: datetime) -> tuple[list[Payout], list[LeftOut]]:
    """Whoever opted out since the proposal is not paid."""
    consents = effective_consents(connection, now=as_utc(now))
    payouts, left_out = [], []
    for one in list_payouts(connection, status=PayoutStatus.PROPOSED):
        reason = withheld_now(one, consents)
        if reason is None:
            payouts.append(one)
        else:
            left_out.append(LeftOut(one, f"{reason}; fail it, and propose again"))
    return payouts, left_out


def _no_transfer(payout: Payout, account: BankAccount | None) -> str | None:
    """Why a payout cannot be a SEPA credit transfer."""
    if payout.currency != "EUR":
        return f"SEPA pays in EUR, not in {payout.currency}; export it as CSV"
    if account is None:
        return f"no IBAN is known: fairbrush payee account {payout.payee_id} --iban IBAN"
    if not in_sepa(account.iban):
        return f"the IBAN {account.masked_iban} is not of a SEPA country; export it as CSV"
    if payout.amount_minor > MOST_CENTS:
        return "it is more than one SEPA transfer can be; export it as CSV"
    if not sepa_text(account.holder):
        return "the account holder's name has no letter a bank can read"
    return None


def _pain(
    payouts: Sequence[Payout],
    accounts: Mapping[str, BankAccount],
    debtor: Debtor,
    execution_date: date,
    now: datetime,
) -> bytes:
    from xml.etree import ElementTree

    from sepaxml import SepaTransfer
    from sepaxml.validation import ValidationError, try_valid_xml

    config = {"name": sepa_text(debtor.name), "IBAN": debtor.iban, "currency": "EUR", "batch": True}
    transfer = SepaTransfer(config | ({"BIC": debtor.bic} if debtor.bic else {}), schema=PAIN_SCHEMA)
    for one in payouts:
        account = accounts[one.payee_id]
        payment = {
            "name": sepa_text(account.holder),
            "IBAN": account.iban,
            "amount": one.amount_minor,
            "execution_date": execution_date,
            "description": f"payout {end_to_end_id(one)}",
            "endtoend_id": end_to_end_id(one),
        }
        transfer.add_payment(payment | ({"BIC": account.bic} if account.bic else {}))
    document = ElementTree.fromstring(transfer.export(validate=False))
    _determine(document, message_id(payouts), as_utc(now), knows_bank=debtor.bic is not None)
    content: bytes = ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)
    try:
        try_valid_xml(content, PAIN_SCHEMA)
    except ValidationError as error:
        raise MoneyError(
            f"The file would break {PAIN_SCHEMA}: {getattr(error.__cause__, 'reason', error)}.",
            next_step="Nothing was written. Check the debtor's and the payees' bank details.",
        ) from error
    return content


def _determine(document: Element, message: str, now: datetime, *, knows_bank: bool) -> None:
    """Ids and times of ours for sepaxml's random ones; a bank that is not named is said to be so."""
    space = f"{{urn:iso:std:iso:20022:tech:xsd:{PAIN_SCHEMA}}}"
    for name, text in (
        ("MsgId", message),
        ("PmtInfId", message),
        ("CreDtTm", now.isoformat(timespec="seconds")),
    ):
        for element in document.iter(f"{space}{name}"):
            element.text = text
    if not knows_bank:
        from xml.etree.ElementTree import SubElement

        for element in document.iter(f"{space}DbtrAgt"):
            other = SubElement(element[0], f"{space}Othr")
            SubElement(other, f"{space}Id").text = "NOTPROVIDED"
