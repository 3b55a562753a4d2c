"""Canonical JSON: one text, hence one digest, for one content.

Enters: nested dicts, lists, text, whole numbers, booleans, None. Leaves: UTF-8 bytes with sorted keys and no
spaces, and their SHA-256. The one rule: no floats in a hashed body, since two programs may print one float
differently; a measured number travels as ``decimal_text``, which reads back to the same bits.

Keys sort by code point (RFC 8785 sorts by UTF-16 unit; they differ beyond U+FFFF, where we have no keys).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

from fairbrush.errors import RecordError


def canonical_json(content: Any) -> bytes:
    """Raises RecordError on a float, a key that is not text, or a type JSON has not.

    >>> canonical_json({"b": [1, None], "a": "é"}).decode()
    '{"a":"é","b":[1,null]}'
    """
    _check(content, "$")
    try:
        return json.dumps(
            content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except UnicodeEncodeError as error:
        raise RecordError(
            "Text with half a surrogate pair cannot be written as UTF-8.",
            next_step="Rename the file or the entry it came from.",
        ) from error


def flat_json(fields: Mapping[str, str | int | bool | None]) -> bytes:
    """``canonical_json`` of one object of texts and whole numbers, several times as fast. Raises RecordError.

    >>> flat_json({"b": 1, "a": "é", "c": None})
    b'{"a":"\\xc3\\xa9","b":1,"c":null}'
    """
    try:
        named = [f"{encode_basestring(name)}:{scalar_text(fields[name])}" for name in sorted(fields)]
        return f"{{{','.join(named)}}}".encode()
    except (RecordError, UnicodeEncodeError):
        return canonical_json(fields)  # says what is wrong, and where


def scalar_text(value: Any) -> str:
    """A text, a whole number, a boolean or None as JSON. Raises RecordError."""
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    raise RecordError(f"A {type(value).__name__} is no text and no whole number.")


def canonical_digest(content: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def decimal_text(number: float) -> str:
    """The shortest decimal that reads back to the same float64.

    >>> decimal_text(0.1), decimal_text(-0.0), float(decimal_text(1 / 3)) == 1 / 3
    ('0.1', '0.0', True)
    """
    if not math.isfinite(number):
        raise RecordError(
            f"{number} cannot be recorded.", next_step="Verify the index: fairbrush index verify."
        )
    return repr(float(number) + 0.0)  # -0.0 + 0.0 is 0.0


def parse_canonical(text: bytes | str) -> Any:
    """Parse JSON that must hold no float and no repeated key. Raises RecordError."""
    try:
        return json.loads(
            text, parse_float=_refuse_float, parse_constant=_refuse_float, object_pairs_hook=_unrepeated
        )
    except (ValueError, RecursionError) as error:
        raise RecordError(f"Not canonical JSON: {error}.", next_step="Restore it from a backup.") from error


def _refuse_float(text: str) -> float:
    raise ValueError(f"the float {text} in a hashed body")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return named


def _check(content: Any, where: str) -> None:
    if content is None or isinstance(content, str | int):
        return
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                raise RecordError(f"{where}: the key {key!r} is not text.", next_step="Name it by text.")
            _check(value, f"{where}.{key}")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            _check(value, f"{where}[{index}]")
    else:
        raise RecordError(
            f"{where}: a {type(content).__name__} has no canonical form.",
            next_step="Write a float as canonical.decimal_text, a time as ISO text.",
        )
