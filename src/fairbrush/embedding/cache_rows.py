"""The bytes of the embedding cache: keys, rows and the record of each space.

In: image digests, names and float32 vectors. Out: bytes that carry their own checksum. The one rule: the
checksum covers the key as well as the vectors, so a row can never be read under another image's name.

A row is ``checksum(8) | version u8 | dtype u8 | 0 u16 | k u32 | dim u32 | k * dim little-endian float32``.
The checksum is keyed BLAKE2b cut to 8 bytes: in the standard library, about 3 microseconds for a row of 512,
and unlike a CRC-32 it leaves a chance of 2^-64, not 2^-32, that a damaged row passes.
"""

import json
import struct
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]

ROW_VERSION = 1
FLOAT32 = 1
CHECKSUM_BYTES = 8
SPACE_ID_BYTES = 8
SHA256_BYTES = 32
_SHAPE = struct.Struct("<BBHII")
ROW_KEY_BYTES = SPACE_ID_BYTES + SHA256_BYTES
HEADER_BYTES = CHECKSUM_BYTES + _SHAPE.size


@dataclass(frozen=True)
class SpaceRecord:
    """What the cache knows of the rows of one encoder and variant."""

    encoder_id: str
    variant: str
    dim: int
    first_written: datetime
    last_written: datetime


def space_id(encoder_id: str, variant: str) -> bytes:
    """The 8 bytes that start every key of one encoder and variant; they come from the names alone.

    >>> space_id("ViT-B-32/openai", "torch-fp32").hex()
    '3ac247bdfbb75aca'
    """
    return sha256(json.dumps([encoder_id, variant]).encode()).digest()[:SPACE_ID_BYTES]


def row_key(space: bytes, image_sha256: str) -> bytes:
    """Space first, image second: the rows of one space lie side by side, so a bulk scan is one range."""
    image = bytes.fromhex(image_sha256)
    assert len(image) == SHA256_BYTES, f"not a SHA-256: {image_sha256!r}"
    return space + image


def image_of(key: bytes) -> str:
    """The image's SHA-256 in hexadecimal, from a row's key."""
    return key[SPACE_ID_BYTES:].hex()


def encode_row(key: bytes, vectors: "Vectors") -> bytes:
    """One row for ``vectors``: float32 (k, dim)."""
    k, dim = vectors.shape
    body = _SHAPE.pack(ROW_VERSION, FLOAT32, 0, k, dim) + vectors.astype("<f4").tobytes()
    return _checksum(key, body) + body


def row_damage(key: bytes, row: bytes | memoryview) -> str | None:
    """What is wrong with a row, in words; None when it is sound.

    The length comes first: a damaged one may reach beyond the mapped file, where hashing would be a SIGBUS.
    """
    if len(row) < HEADER_BYTES:
        return f"the row has {len(row)} bytes, its header alone needs {HEADER_BYTES}"
    version, dtype, _, k, dim = _SHAPE.unpack_from(row, CHECKSUM_BYTES)
    if (version, dtype) != (ROW_VERSION, FLOAT32):
        return f"the row has format {version}.{dtype}, this fairbrush reads {ROW_VERSION}.{FLOAT32}"
    if len(row) != HEADER_BYTES + 4 * k * dim:
        return f"the row has {len(row)} bytes, its {k} vectors of {dim} need {HEADER_BYTES + 4 * k * dim}"
    if _checksum(key, row[CHECKSUM_BYTES:]) != row[:CHECKSUM_BYTES]:
        return "the checksum does not match the vectors"
    return None


def decode_row(row: bytes | memoryview) -> "Vectors":
    """The vectors of a sound row: float32 (k, dim), a copy that outlives the transaction."""
    import numpy as np

    _, _, _, k, dim = _SHAPE.unpack_from(row, CHECKSUM_BYTES)
    return np.frombuffer(row, dtype="<f4", offset=HEADER_BYTES).reshape(k, dim).astype(np.float32)


def encode_space(space: bytes, record: SpaceRecord) -> bytes:
    """The record of one space: a checksum and canonical JSON."""
    body = json.dumps(
        {
            "encoder_id": record.encoder_id,
            "variant": record.variant,
            "dim": record.dim,
            "first_written": record.first_written.isoformat(),
            "last_written": record.last_written.isoformat(),
        },
        sort_keys=True,
    ).encode()
    return _checksum(space, body) + body


def decode_space(space: bytes, stored: bytes) -> SpaceRecord | None:
    """The record of one space; None when its bytes are damaged."""
    body = stored[CHECKSUM_BYTES:]
    if _checksum(space, body) != stored[:CHECKSUM_BYTES]:
        return None
    fields = json.loads(body)
    return SpaceRecord(
        encoder_id=fields["encoder_id"],
        variant=fields["variant"],
        dim=fields["dim"],
        first_written=datetime.fromisoformat(fields["first_written"]),
        last_written=datetime.fromisoformat(fields["last_written"]),
    )


def _checksum(key: bytes, body: bytes | memoryview) -> bytes:
    return blake2b(body, digest_size=CHECKSUM_BYTES, key=key).digest()
