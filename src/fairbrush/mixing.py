"""The images that an image was mixed from, as a user names them, and whose they are.

Enters: ``PATH:WEIGHT=ARTIST`` as typed; the index's works and the registry's names. Leaves: ``MixInput``s,
and from them ``InputImage``s with weights that sum to 1. The one rule: whose an input is must be known, from
its file's digest among the registered works or because it was said; it is never inferred from how it looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fairbrush.corpus.names import pick
from fairbrush.domain import Artist
from fairbrush.errors import MixError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_INPUTS = 10
LARGEST_WEIGHT = 10**9  # and the smallest is its inverse
_NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf(?:inity)?)"
_WEIGHTED = re.compile(rf"(?P<path>.+?):(?P<weight>{_NUMBER})(?:=(?P<artist>.*))?", re.DOTALL | re.IGNORECASE)
_LONGEST_NUMBER = 40


@dataclass(frozen=True)
class MixInput:
    """One input as the user named it. artist: a name, an alias or an id; None: whose work the file is."""

    path: Path
    weight: Fraction = Fraction(1)
    artist: str | None = None


@dataclass(frozen=True, eq=False)
class InputImage:
    """One input with what is known of it. weight: of a sum of 1; artist_id: whose it is, whoever may be
    credited or not; styled: float64 (dim,), a unit row in style space."""

    sha256: str
    path: Path
    weight: Fraction
    artist_id: str
    styled: NDArray[np.float64]


class Names(Protocol):
    """What the registry's eligibility offers."""

    @property
    def artists(self) -> Mapping[str, Artist]: ...
    @property
    def names(self) -> Mapping[str, tuple[str, ...]]: ...


def parse_input(text: str) -> MixInput:
    r"""``PATH``, ``PATH:WEIGHT`` and either followed by ``=ARTIST``. Raises MixError.

    The weight follows the last colon before the artist and is a number; what is itself a file is its path.

    >>> one = parse_input("a.png:0.6=Ada Lovelace")
    >>> str(one.path), one.weight, one.artist
    ('a.png', Fraction(3, 5), 'Ada Lovelace')
    >>> str(parse_input(r"C:\x.png").path)
    'C:\\x.png'
    """
    if os.path.lexists(text):
        return MixInput(Path(text))
    path, weight, artist = _parts(text)
    if weight is not None and os.path.lexists(f"{path}:{weight}"):
        path, weight = f"{path}:{weight}", None
    if not path or artist == "":
        raise MixError(f"The input {text!r} has no {'artist' if path else 'path'}.", next_step=_HOW)
    return MixInput(Path(path), _weight(weight, path), artist)


def parse_inputs(texts: Sequence[str]) -> tuple[MixInput, ...]:
    """Each of them, at most ten. Raises MixError."""
    if len(texts) > MOST_INPUTS:
        raise MixError(
            f"An image can be mixed from at most {MOST_INPUTS} inputs, not {len(texts)}.",
            next_step="Name those that weigh most.",
        )
    return tuple(parse_input(text) for text in texts)


def looks_like_input(text: str) -> bool:
    """Whether an argument is ``PATH:WEIGHT[=ARTIST]``, and is not itself a file.

    >>> looks_like_input("b.png:0.4"), looks_like_input("b.png"), looks_like_input("b.png=Bo")
    (True, False, False)
    """
    path, weight, _ = _parts(text)
    return weight is not None and not (os.path.lexists(text) or os.path.lexists(f"{path}:{weight}"))


def parted(
    arguments: Sequence[str], inputs: Sequence[str], *, image_needed: bool = True
) -> tuple[list[str], tuple[MixInput, ...]]:
    """Images, and inputs: ``--inputs A:0.6 B:0.4`` hands over its second value as an argument.

    Raises MixError where no image is left and one is needed, and where what is left may be an input.
    """
    if not inputs:
        return list(arguments), ()
    images = [argument for argument in arguments if not looks_like_input(argument)]
    if image_needed and not images:
        raise MixError(
            "There are inputs, and no image that was mixed from them.",
            next_step="Name the image first: IMAGE --inputs a.png:0.6 b.png:0.4",
        )
    if not image_needed and images and any(_parts(text)[1] is None for text in inputs):
        raise MixError(
            f"{images[0]} may be the image, or one more input.",
            next_step="Give every input its weight: IMAGE --inputs a.png:1 b.png:1",
        )
    return images, parse_inputs([*inputs, *(each for each in arguments if looks_like_input(each))])


def joined(
    inputs: Sequence[tuple[MixInput, str, NDArray[np.float64]]],
    *,
    artists_by_work: Mapping[str, Collection[str]],
    registry: Names,
) -> tuple[InputImage, ...]:
    """Whose each input is, the same file once, weights of a sum of 1, the heaviest first, ties by digest.

    inputs: with each its file's SHA-256 and its style; artists_by_work: the ids of those whose work a file
    is. Raises MixError, RegistryError.
    """
    weights: dict[str, Fraction] = {}
    named: dict[str, set[str]] = {}
    first: dict[str, tuple[MixInput, NDArray[np.float64]]] = {}
    for one, sha256, styled in inputs:
        weights[sha256] = weights.get(sha256, Fraction(0)) + one.weight
        first.setdefault(sha256, (one, styled))
        if one.artist is not None:
            named.setdefault(sha256, set()).add(
                pick(one.artist, registry.names, what="artist", listing="artist list")
            )
    whole = sum(weights.values())
    return tuple(
        InputImage(
            sha256,
            first[sha256][0].path,
            weights[sha256] / whole,
            artist_of(
                first[sha256][0].path,
                named=named.get(sha256, ()),
                known=artists_by_work.get(sha256, ()),
                registry=registry,
            ),
            first[sha256][1],
        )
        for sha256 in sorted(weights, key=lambda each: (-weights[each], each))
    )


def artist_of(path: Path, *, named: Collection[str], known: Collection[str], registry: Names) -> str:
    """The id of whoever made an input. named: ids of whom the user said; known: of those whose registered
    work it is. Raises MixError.
    """
    if len(named) > 1:
        raise MixError(f"The input {path} is given two artists.", next_step="Name one.")
    for artist_id in named:
        if known and artist_id not in known:
            raise MixError(
                f"The input {path} is a registered work, and not one of {registry.artists[artist_id].name}.",
                next_step="Leave the artist out, or correct the registry: fairbrush artist works --help",
            )
        return artist_id
    if not known:
        raise MixError(
            f"Nobody is known to have made the input {path}: it is no work of the index.",
            next_step="Register it (fairbrush artist works ARTIST FILE, then fairbrush index extend),"
            f" or name its artist: {path}:WEIGHT='ARTIST'",
        )
    living = sorted(artist_id for artist_id in known if artist_id in registry.artists)
    if len(living) > 1:
        names = " and ".join(registry.artists[artist_id].name for artist_id in living)
        raise MixError(
            f"The input {path} is a registered work of {names}.",
            next_step=f"Name one: {path}:WEIGHT='ARTIST'",
        )
    return living[0] if living else min(known)


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """Path, weight and artist, as typed."""
    # the last colon with a number behind it; an artist's own name may hold one more
    if found := _WEIGHTED.fullmatch(text):
        return found["path"], found["weight"], found["artist"]
    path, equals, artist = text.rpartition("=")
    return (path, None, artist) if equals else (text, None, None)


def _weight(text: str | None, path: str) -> Fraction:
    if text is None:
        head, _, tail = path.rpartition(":")
        if head and not os.path.lexists(path) and os.path.isfile(head):  # noqa: PTH113 - beside lexists
            raise MixError(f"The weight of the input {head} is {tail!r}, no number.", next_step=_HOW)
        return Fraction(1)
    number = Decimal(text if len(text) <= _LONGEST_NUMBER else "nan")
    if not number.is_finite() or not Decimal(1) / LARGEST_WEIGHT <= number <= LARGEST_WEIGHT:
        raise MixError(
            f"The weight of the input {path} is {text}; it must be a number above 0, from 1e-9 to 1e9.",
            next_step=_HOW,
        )
    return Fraction(number)


_HOW = "Write PATH, PATH:WEIGHT or PATH:WEIGHT=ARTIST, as a.png:0.6"
