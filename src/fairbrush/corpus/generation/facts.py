"""``GenerationMetadata``, and how one untrusted value becomes one of its fields.

The one rule: a field is what it claims to be, clean text or a number within bounds, or it is None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairbrush.errors import GenerationUnreadableError

LONGEST_PROMPT = 64 * 1024  # characters; what follows is cut off
LONGEST_WORD = 300  # characters of a sampler's or a model's name
MOST_STEPS = 100_000
LARGEST_SEED = 2**64 - 1
LARGEST_SIDE = 65_535
MOST_LORAS = 50
_LONGEST_NUMBER = 40  # characters


class Tool(StrEnum):
    """The programs whose metadata are understood."""

    AUTOMATIC1111 = "automatic1111"
    COMFYUI = "comfyui"
    INVOKEAI = "invokeai"


@dataclass(frozen=True)
class GenerationMetadata:
    """How an image says it was made; None where it does not say. Nobody vouches for any of it.

    ``guidance``: the CFG scale. ``size``: width and height asked for, before any enlarging. ``loras``: each
    as name:weight, or its name alone.
    """

    tool: Tool
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    sampler: str | None = None
    scheduler: str | None = None
    guidance: float | None = None
    model: str | None = None
    model_hash: str | None = None
    size: tuple[int, int] | None = None
    loras: tuple[str, ...] = ()


def as_prompt(value: object) -> str | None:
    r"""Text without control characters but line ends and tabs, cut at ``LONGEST_PROMPT``.

    >>> as_prompt(" a cat\0, by Ann\n")
    'a cat, by Ann'
    """
    if not isinstance(value, str):
        return None
    text = value[:LONGEST_PROMPT].encode("utf-8", errors="replace").decode()  # half surrogate pairs go
    return text.translate(_CONTROLS).strip() or None


def as_word(value: object) -> str | None:
    """One line of text, or None where it is longer than a name is.

    >>> as_word("euler"), as_word("x" * 1000), as_word(7)
    ('euler', None, None)
    """
    text = as_prompt(value)
    if text is None or len(text) > LONGEST_WORD:
        return None
    return " ".join(text.split())


def as_whole(value: object, *, most: int) -> int | None:
    """A whole number from 0 to ``most``, as a number or in decimal digits.

    >>> as_whole("20", most=100), as_whole(20.0, most=100), as_whole(True, most=100), as_whole("²", most=9)
    (20, 20, None, None)
    """
    number = value
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and value.isascii() and value.isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= most:
        return None
    return int(number) if int(number) == number else None


def as_number(value: object) -> float | None:
    """A finite number.

    >>> as_number("7.5"), as_number(7), as_number("nan"), as_number([7])
    (7.5, 7.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_size(width: object, height: object) -> tuple[int, int] | None:
    """Both sides in pixels, or None.

    >>> as_size(512, "768"), as_size(0, 768), as_size(512, None)
    ((512, 768), None, None)
    """
    sides = as_whole(width, most=LARGEST_SIDE), as_whole(height, most=LARGEST_SIDE)
    return (sides[0], sides[1]) if sides[0] and sides[1] else None


def as_loras(named: Iterable[tuple[object, object]]) -> tuple[str, ...]:
    """Names and weights as ``loras`` has them, each once.

    >>> as_loras([("boats", 0.8), ("fog", None), ("boats", "0.80"), (7, 1)])
    ('boats:0.8', 'fog')
    """
    found: dict[str, None] = {}
    for name, weight in named:
        word, number = as_word(name), as_number(weight)
        if word is not None and len(found) < MOST_LORAS:
            found[word if number is None else f"{word}:{number:g}"] = None
    return tuple(found)


def parse_json(text: str, *, what: str) -> Any:
    """Any JSON; NaN and infinities, which ComfyUI writes, become None. Raises GenerationUnreadableError."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise GenerationUnreadableError(f"{what} is no JSON that can be read: {cause}.") from error


_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
