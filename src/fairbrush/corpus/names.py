"""Names people type, and the one they meant. The one rule: an ambiguous name is an error, never a guess."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable, Mapping

from fairbrush.errors import RegistryError

LONGEST_NAME = 200
_MOST_SUGGESTIONS = 3


def random_id() -> str:
    """128 random bits in hex: says nothing about a name, so a name can be erased and the id kept."""
    return secrets.token_hex(16)


def name_key(name: str) -> str:
    """What two spellings of one name have in common.

    >>> name_key(" Claude  MONET ") == name_key("Claude Monet")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def checked_name(name: str) -> str:
    """The name as it is kept: trimmed, composed. Formula-like names are data. Raises RegistryError."""
    kept = unicodedata.normalize("NFC", name.strip())
    if not name_key(kept):
        raise RegistryError("A name is empty.", next_step="Give one.")
    if len(kept) > LONGEST_NAME:
        raise RegistryError(
            f"The name {kept[:30]!r}... has {len(kept)} characters; the limit is {LONGEST_NAME}.",
            next_step="Shorten it.",
        )
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in kept):
        raise RegistryError(
            f"The name {kept!r} has control characters or is not UTF-8.", next_step="Save it as UTF-8 text."
        )
    return kept


def pick(wanted: str, candidates: Mapping[str, Iterable[str]], *, what: str, listing: str) -> str:
    """The id that ``wanted`` names: an id, or one of its names whatever the case and spaces.

    ``candidates``: id -> names. ``listing``: the command that shows them. Raises RegistryError.
    """
    if wanted in candidates:
        return wanted
    ids_by_key: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for candidate_id, names in candidates.items():
        for name in names:
            ids = ids_by_key.setdefault(name_key(name), [])
            spelling.setdefault(name_key(name), name)
            if candidate_id not in ids:
                ids.append(candidate_id)
    found = ids_by_key.get(name_key(wanted), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise RegistryError(
            f"{len(found)} {what}s are called {wanted!r}.", next_step=f"Use the id: {' or '.join(found)}."
        )
    from difflib import get_close_matches

    close = [spelling[key] for key in get_close_matches(name_key(wanted), ids_by_key, _MOST_SUGGESTIONS)]
    step = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    raise RegistryError(
        f"No {what} is called {wanted!r}.", next_step=f"{step}fairbrush {listing} shows them all."
    )
