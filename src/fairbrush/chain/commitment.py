"""Free text that must be bound to a record and yet may have to be forgotten.

Enters: a text. Leaves: a random salt and SHA-256(salt . text). The one rule: only the commitment is hashed
into a record; salt and text stand beside it, and once both are deleted nothing can be told from what is left.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

SALT_BYTES = 16


@dataclass(frozen=True)
class Committed:
    """``salt`` and ``commitment`` are hexadecimal; all None for no text."""

    text: str | None = None
    salt: str | None = None
    commitment: str | None = None

    @property
    def columns(self) -> tuple[str | None, str | None, str | None]:
        return self.text, self.salt, self.commitment


def committed(text: str | None) -> Committed:
    """Commit to a text with a fresh salt."""
    if text is None:
        return Committed()
    salt = secrets.token_bytes(SALT_BYTES).hex()
    return Committed(text, salt, commitment(text, salt))


def commitment(text: str, salt: str) -> str:
    """
    >>> commitment("letter", "00" * 16)[:16]
    'c5da6b647a119aa7'
    """
    return hashlib.sha256(bytes.fromhex(salt) + text.encode("utf-8", "backslashreplace")).hexdigest()
