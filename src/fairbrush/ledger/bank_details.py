"""Where a payee's money goes: an account holder, an IBAN, perhaps a BIC.

Enters: what a person typed. Leaves: rows of payee_account. The one rule: they are personal, so they stand in
no hash, are shown masked, and can be replaced and removed at any time.

The check digits of an IBAN are always verified (ISO 7064, mod 97-10). Whether its length and bank code are
those of its country, and whether it is in the SEPA, is known where schwifty is installed (the extra
``sepa``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.corpus.names import checked_name
from fairbrush.errors import MoneyError
from fairbrush.store import Store, as_utc

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INSTALL_SEPA = "pip install 'fairbrush[sepa]'"
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
_SHOWN = 4


@dataclass(frozen=True)
class BankAccount:
    """``iban`` and ``bic`` are compact: capitals and digits, no spaces."""

    payee_id: str
    holder: str
    iban: str
    bic: str | None = None

    @property
    def masked_iban(self) -> str:
        return masked(self.iban)


def masked(iban: str) -> str:
    """
    >>> masked("DE89370400440532013000")
    'DE** **** 3000'
    """
    return f"{iban[:2]}** **** {iban[-_SHOWN:]}"


def checked_iban(text: str) -> str:
    """Compact. Raises MoneyError, which does not repeat the number.

    >>> checked_iban("DE89 3704 0044 0532 0130 00")
    'DE89370400440532013000'
    """
    iban = "".join(text.split()).upper()
    if not _IBAN.fullmatch(iban):
        raise MoneyError("That is no IBAN.", next_step="Write it whole, as DE89 3704 0044 0532 0130 00.")
    # letters count from 10 to 35; the country and the check digits go last
    number = int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4]))
    if number % 97 != 1:
        raise MoneyError(
            f"The check digits of the IBAN {masked(iban)} are wrong.",
            next_step="Compare it with the payee's.",
        )
    if knows_banks():
        from schwifty import IBAN
        from schwifty.exceptions import SchwiftyException

        try:
            IBAN(iban)
        except SchwiftyException:
            raise MoneyError(
                f"The IBAN {masked(iban)} is not as long, or not made, as those of its country.",
                next_step="Compare it with the payee's.",
            ) from None  # the library's message repeats the number
    return iban


def checked_bic(text: str) -> str:
    """Compact. Raises MoneyError."""
    bic = "".join(text.split()).upper()
    if not _BIC.fullmatch(bic):
        raise MoneyError(f"{text!r} is no BIC.", next_step="It has 8 or 11 characters, as COBADEFFXXX.")
    return bic


def knows_banks() -> bool:
    """Whether schwifty is there to say if a country has such accounts."""
    from importlib.util import find_spec

    return find_spec("schwifty") is not None


def in_sepa(iban: str) -> bool:
    """Whether euros can be sent to a checked IBAN by SEPA credit transfer. Raises MoneyError where that
    cannot be known."""
    if not knows_banks():
        raise MoneyError("SEPA needs the package schwifty.", next_step=f"Install it: {INSTALL_SEPA}")
    from schwifty import IBAN

    return bool(IBAN(iban).in_sepa_zone)


def set_bank_account(
    store: Store,
    payee_id: str,
    iban: str,
    *,
    holder: str | None = None,
    bic: str | None = None,
    now: datetime,
) -> BankAccount:
    """Say where a payee's money goes from now on. holder: else the payee's name. Raises MoneyError."""
    with store.transaction() as connection:
        rows = connection.execute("SELECT name FROM payee WHERE payee_id = ?", [payee_id]).fetchall()
        name = rows[0][0] if rows else None
        if not name:
            raise MoneyError(f"The payee {payee_id} is erased or unknown.", next_step="fairbrush payee list")
        account = BankAccount(
            payee_id, checked_name(holder or name), checked_iban(iban), checked_bic(bic) if bic else None
        )
        connection.execute(
            "INSERT OR REPLACE INTO payee_account VALUES (?, ?, ?, ?, ?)",
            [payee_id, account.holder, account.iban, account.bic, as_utc(now)],
        )
    return account


def remove_bank_account(store: Store, payee_id: str) -> bool:
    """Forget where a payee's money goes; False where that was not known."""
    with store.transaction() as connection:
        known = payee_id in read_bank_accounts(connection)
        connection.execute("DELETE FROM payee_account WHERE payee_id = ?", [payee_id])
    # no old page in the write-ahead file either
    store.connection.execute("CHECKPOINT")
    return known


def read_bank_accounts(connection: DuckDBPyConnection) -> dict[str, BankAccount]:
    """By payee_id."""
    rows = connection.execute("SELECT payee_id, holder, iban, bic FROM payee_account").fetchall()
    return {row[0]: BankAccount(*row) for row in rows}
