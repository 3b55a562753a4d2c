"""What an image's file says about itself, put to the test where it can be.

Enters: a file of anybody's. Leaves: an ``Inspection``, and how it stands to a ledger. The one rule: whatever
the file holds, the answer is a statement; only a file that is no image is an error.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.corpus.containers import sniff_format
from fairbrush.corpus.generation.facts import GenerationMetadata
from fairbrush.corpus.generation.read import read_generation
from fairbrush.corpus.images import ImageLimits, read_file
from fairbrush.corpus.parts import container_of, read_parts
from fairbrush.corpus.stamped import LONGEST_PACKET, bare_of, find_packets, original_of
from fairbrush.errors import GenerationUnreadableError, PartsError, StampError
from fairbrush.provenance.manifest import Manifest, read_manifest
from fairbrush.provenance.stamp import Stamp, read_stamp
from fairbrush.provenance.xmp import stamp_in

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class LedgerWord(StrEnum):
    """How a stamp stands to a ledger."""

    MATCHES = "matches"
    DIFFERS = "differs"
    UNKNOWN = "not in this ledger"


@dataclass(frozen=True)
class Standing:
    """``differing``: what the record says otherwise. ``recorded_at``: UTC without a zone."""

    word: LedgerWord
    differing: tuple[str, ...] = ()
    recorded_at: datetime | None = None


@dataclass(frozen=True)
class Inspection:
    """``sha256``: of the file as it lies there. ``original_sha256``: what it goes by in a ledger: that of the
    file it was stamped from, where that is proven.

    ``is_bound``: without stamp and manifest the file is, byte for byte, what the stamp says was looked up.
    ``is_as_stated``: it is what the stamp says is left of it; that this came of the file that was looked up
    is the stamp's word alone, which anybody can write.
    ``signed``: what our assertion in the manifest says; its signature is the manifest's. The problems: why
    something that is there cannot be read.
    """

    path: Path
    format: str
    sha256: str
    original_sha256: str
    generation: GenerationMetadata | None = None
    generation_problem: str | None = None
    stamp: Stamp | None = None
    stamp_problem: str | None = None
    is_bound: bool = False
    is_as_stated: bool = False
    manifest: Manifest | None = None
    signed: Stamp | None = None

    @property
    def attribution(self) -> Stamp | None:
        """The stamp in the XMP, or the signed one where a program took the XMP out."""
        return self.stamp or self.signed

    @property
    def is_contradicted(self) -> bool:
        """The stamp and the signed assertion say different things."""
        return self.stamp is not None and self.signed is not None and self.stamp != self.signed


def inspect_file(path: Path, limits: ImageLimits, *, anchors: str | None = None) -> Inspection:
    """``anchors``: certificates of signers to trust, in PEM. Raises ImageRefusedError."""
    content = read_file(path, limits)
    format_ = str(sniff_format(content))
    sha256 = hashlib.sha256(content).hexdigest()
    original = original_of(content)
    original_sha256 = sha256 if original is None else hashlib.sha256(original).hexdigest()
    generation, generation_problem = _generation(content if original is None else original)
    stamp, stamp_problem = _stamp(content)
    is_bound = original is not None and stamp is not None and stamp.image_sha256 == original_sha256
    bare = bare_of(content)
    is_left = bare is not None and stamp is not None and stamp.bare_sha256 == hashlib.sha256(bare).hexdigest()
    manifest = read_manifest(content, anchors=anchors)
    return Inspection(
        path,
        format_,
        sha256,
        original_sha256,
        generation,
        generation_problem,
        stamp,
        stamp_problem,
        is_bound=is_bound,
        is_as_stated=is_bound or is_left,
        manifest=manifest,
        signed=_signed(manifest),
    )


def standings(connection: DuckDBPyConnection, stamps: Sequence[Stamp]) -> list[Standing]:
    """What the ledger has under each stamp's attribution_id, against what the stamp says."""
    ids = [sorted({stamp.attribution_id for stamp in stamps})]
    attributions = {
        found[0]: found
        for found in connection.execute(
            "SELECT attribution_id, recorded_at, body_digest, image_sha256, model_id, value_function,"
            " encoder_id, index_manifest_digest, calibration_id, model_share_e12, unattributed_e12"
            " FROM attribution"
            " WHERE attribution_id IN (SELECT unnest(?::VARCHAR[]))",
            ids,
        ).fetchall()
    }
    shares = defaultdict[str, list[tuple[str, int]]](list)
    for attribution_id, artist_id, share_e12 in connection.execute(
        "SELECT attribution_id, artist_id, share_e12 FROM attribution_share"
        " WHERE attribution_id IN (SELECT unnest(?::VARCHAR[]))",
        ids,
    ).fetchall():
        shares[attribution_id].append((artist_id, share_e12))
    return [
        _standing(stamp, attributions.get(stamp.attribution_id), shares[stamp.attribution_id])
        for stamp in stamps
    ]


def _standing(
    stamp: Stamp, attribution: tuple[Any, ...] | None, shares: Sequence[tuple[str, int]]
) -> Standing:
    if attribution is None:
        return Standing(LedgerWord.UNKNOWN)
    _, recorded_at, *recorded = attribution
    said = (
        stamp.record_digest,
        stamp.image_sha256,
        stamp.model,
        stamp.value_function,
        stamp.encoder_id,
        stamp.index_manifest_digest,
        stamp.calibration_id,
        stamp.model_share_e12,
        stamp.unattributed_e12,
    )
    differing = [name for name, ours, theirs in zip(_COMPARED, recorded, said, strict=True) if ours != theirs]
    if sorted(shares) != sorted((one.artist_id, one.share_e12) for one in stamp.artists):
        differing.append("artists' shares")
    word = LedgerWord.DIFFERS if differing else LedgerWord.MATCHES
    return Standing(word, tuple(differing), recorded_at)


_COMPARED = (
    *("record digest", "image", "model", "value function", "encoder", "index", "calibration"),
    *("model's share", "unattributed share"),
)


def _generation(content: bytes) -> tuple[GenerationMetadata | None, str | None]:
    try:
        return read_generation(content), None
    except GenerationUnreadableError as error:
        return None, error.message


def _stamp(content: bytes) -> tuple[Stamp | None, str | None]:
    """The stamp in the file's XMP, or why what is there is none."""
    if container_of(content) is None:
        return None, None
    try:
        for packet in _packets(content):
            stamp = stamp_in(packet)
            if stamp is not None:
                return stamp, None
    except (PartsError, StampError) as error:
        return None, error.message
    return None, None


def _packets(content: bytes) -> Iterator[bytes]:
    """Raises StampError for one longer than is read."""
    for packet in find_packets(content, read_parts(content)):
        if packet.start is not None and packet.part.body_stop - packet.start > LONGEST_PACKET:
            raise StampError(f"The file's XMP has more than {LONGEST_PACKET:,} bytes; it is not read.")
        yield packet.text(content)


def _signed(manifest: Manifest | None) -> Stamp | None:
    if manifest is None or manifest.attribution is None:
        return None
    try:
        return read_stamp(manifest.attribution)
    except StampError:
        return None
