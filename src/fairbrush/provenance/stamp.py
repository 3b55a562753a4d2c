"""What a stamp says. Enters: an ``Attribution``, or a document read from a file. Leaves: a ``Stamp``.

The schema ``fairbrush.stamp/1`` (docs/provenance.md). The one rule: a stamped file travels and cannot be
called back, so a stamp names artists by their random ids; a name is in it only where that was asked for and
the artist opted in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairbrush import __version__
from fairbrush.attribution import Attribution
from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.generation.facts import LONGEST_WORD, as_word
from fairbrush.documents import record_body
from fairbrush.domain import Consent
from fairbrush.errors import StampError
from fairbrush.ledger.record_rows import E12

STAMP_SCHEMA = "fairbrush.stamp/1"
MOST_ARTISTS = 1000
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StampedShare:
    """``share_e12``: of 10^12. ``name``: of an artist who opted in, where names were asked for."""

    artist_id: str
    share_e12: int
    name: str | None = None


@dataclass(frozen=True)
class Stamp:
    """One attribution, as a file carries it. Digests are SHA-256 in hexadecimal digits.

    ``image_sha256``: of the file that was looked up. ``record_digest``: of the record's body, as the ledger
    commits to it. ``bare_sha256``: of the file without this stamp and without a C2PA manifest store, where
    that is not the file that was looked up. There is no time in it: the same answer makes the same stamp.
    """

    image_sha256: str
    attribution_id: str
    record_digest: str
    model: str
    model_share_e12: int
    unattributed_e12: int
    artists: tuple[StampedShare, ...]
    value_function: str
    encoder_id: str
    index_manifest_digest: str
    calibration_id: str | None
    fairbrush: str
    bare_sha256: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The schema ``fairbrush.stamp/1``; what is None is left out."""
        said = {
            "schema": STAMP_SCHEMA,
            "image_sha256": self.image_sha256,
            "bare_sha256": self.bare_sha256,
            "attribution_id": self.attribution_id,
            "record_digest": self.record_digest,
            "model": self.model,
            "model_share_e12": self.model_share_e12,
            "artists": [
                {"artist_id": one.artist_id, "share_e12": one.share_e12}
                | ({} if one.name is None else {"name": one.name})
                for one in self.artists
            ],
            "unattributed_e12": self.unattributed_e12,
            "value_function": self.value_function,
            "encoder_id": self.encoder_id,
            "index_manifest_digest": self.index_manifest_digest,
            "calibration_id": self.calibration_id,
            "fairbrush": self.fairbrush,
        }
        return {name: value for name, value in said.items() if value is not None}


def stamp_of(attribution: Attribution, *, names: bool = False) -> Stamp:
    """``names``: also of artists who opted in; of the others never."""
    identity = attribution.identity
    calibration_id = identity["calibration_id"]
    return Stamp(
        image_sha256=attribution.image.sha256,
        attribution_id=attribution.attribution_id,
        record_digest=canonical_digest(record_body(attribution)),
        model=str(identity["model_id"]),
        model_share_e12=attribution.model_share_e12,
        unattributed_e12=attribution.unattributed_e12,
        artists=tuple(
            StampedShare(
                one.artist.artist_id,
                one.share_e12,
                as_word(one.artist.name) if names and one.artist.consent is Consent.OPTED_IN else None,
            )
            for one in attribution.artists
        ),
        value_function=str(identity["value_function"]["name"]),
        encoder_id=str(identity["encoder_id"]),
        index_manifest_digest=str(identity["index_manifest_digest"]),
        calibration_id=None if calibration_id is None else str(calibration_id),
        fairbrush=__version__,
    )


def read_stamp(document: Any) -> Stamp:
    """A stamp from its document, whoever wrote that. Raises StampError."""
    if not isinstance(document, Mapping) or document.get("schema") != STAMP_SCHEMA:
        raise StampError(f"The stamp is no {STAMP_SCHEMA}.", next_step="Read it with a newer fairbrush.")
    try:
        stamp = Stamp(
            image_sha256=_digest(document["image_sha256"]),
            attribution_id=_digest(document["attribution_id"]),
            record_digest=_digest(document["record_digest"]),
            model=_word(document["model"]),
            model_share_e12=_share(document["model_share_e12"]),
            unattributed_e12=_share(document["unattributed_e12"]),
            artists=tuple(
                StampedShare(
                    _word(one["artist_id"]),
                    _share(one["share_e12"]),
                    None if one.get("name") is None else _word(one["name"]),
                )
                for one in document["artists"][:MOST_ARTISTS]
            ),
            value_function=_word(document["value_function"]),
            encoder_id=_word(document["encoder_id"]),
            index_manifest_digest=_digest(document["index_manifest_digest"]),
            calibration_id=_optional_word(document.get("calibration_id")),
            fairbrush=_word(document["fairbrush"]),
            bare_sha256=None if document.get("bare_sha256") is None else _digest(document["bare_sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StampError("The stamp lacks what a stamp has.") from error
    total = stamp.model_share_e12 + stamp.unattributed_e12 + sum(one.share_e12 for one in stamp.artists)
    if total != E12:
        raise StampError("The stamp's shares do not sum to one.")
    return stamp


def share_text(share_e12: int) -> str:
    """A share as an exact decimal.

    >>> share_text(10**12), share_text(0), share_text(312_500_000_000)
    ('1', '0', '0.3125')
    """
    return f"{share_e12 // E12}.{share_e12 % E12:012d}".rstrip("0").rstrip(".")


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError("no digest")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_WORD:
        raise ValueError("no word")
    return value


def _optional_word(value: object) -> str | None:
    return None if value is None else _word(value)


def _share(value: object) -> int:
    if type(value) is not int or not 0 <= value <= E12:
        raise ValueError("no share")
    return value
