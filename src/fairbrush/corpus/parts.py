"""An image's file as the parts its container is made of: PNG's chunks, JPEG's segments, WebP's chunks.

Enters: a file's bytes. Leaves: ``Part``s, which name their bytes and copy none. The one rule: parts are put
in and cut out, and every byte that is not one of them, nor a length that counts them, stays as it is.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fairbrush.errors import PartsError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PARTS = 65_536  # 8 KiB of pixels a chunk, as libpng writes them, make 512 MiB
LONGEST_SEGMENT = 65_533  # bytes of a JPEG segment's body: two count its length

_WEBP_HEADER = 12
_ALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a body
_SCAN = 0xDA
_PADDING = re.compile(b"\xff+")
# others end a JPEG or begin one, or decoders skip them and look on: the same bytes would be other parts
_WITH_BODY = {*range(0xC0, 0x100)} - {0xD8, 0xD9, 0xFF} - _ALONE


class Container(StrEnum):
    """Files that parts can be put into and cut out of."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"


@dataclass(frozen=True)
class Part:
    """One chunk or segment: ``start`` to ``stop`` with header, checksum and padding; its body within.

    ``name``: PNG's type, WebP's FourCC, JPEG's marker as one byte. Of a JPEG only what comes before the scan.
    """

    name: bytes
    start: int
    body_start: int
    body_stop: int
    stop: int

    def body(self, content: bytes) -> bytes:
        return content[self.body_start : self.body_stop]


@dataclass(frozen=True)
class Edit:
    """The bytes from ``start`` to ``stop`` become ``new``; with ``start == stop`` it is an insertion."""

    start: int
    stop: int
    new: bytes = b""


def container_of(content: bytes) -> Container | None:
    """None for every other format.

    >>> container_of(b"GIF89a...") is None
    True
    """
    if content.startswith(PNG_SIGNATURE):
        return Container.PNG
    if content.startswith(b"\xff\xd8\xff"):
        return Container.JPEG
    return Container.WEBP if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def read_parts(content: bytes) -> list[Part]:
    """All parts in order. Raises PartsError where the file is none of these, broken, or cut short."""
    found: list[Part] = []
    try:
        for part in _walk(content):
            if len(found) == MOST_PARTS:
                raise PartsError(f"The file has more than {MOST_PARTS:,} parts.")
            found.append(part)
    except struct.error as error:
        raise PartsError(f"The file stops at byte {len(content):,}, before its end.") from error
    return found


def make_part(container: Container, name: bytes, body: bytes) -> bytes:
    """A part's bytes. Raises PartsError for a body that is longer than the container can hold.

    >>> make_part(Container.WEBP, b"XMP ", b"abc")
    b'XMP \\x03\\x00\\x00\\x00abc\\x00'
    """
    if container is Container.PNG:
        return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
    if container is Container.WEBP:
        return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)
    if len(body) > LONGEST_SEGMENT:
        raise PartsError(f"{len(body):,} bytes do not fit a JPEG's segment: {LONGEST_SEGMENT:,} do.")
    return b"\xff" + name + struct.pack(">H", len(body) + 2) + body


def with_body(container: Container, part: Part, body: bytes) -> Edit:
    """Give a part another body; what pads a JPEG's segment stays. Raises as ``make_part``."""
    header_bytes = 4 if container is Container.JPEG else 8
    return Edit(part.body_start - header_bytes, part.stop, make_part(container, part.name, body))


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The file with all edits made; they must not overlap. Raises PartsError where a WebP gets too long."""
    if container_of(content) is Container.WEBP:
        edits = [*edits, _counted(content, edits)]
    whole = memoryview(content)
    pieces: list[bytes | memoryview] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.stop)):
        assert edit.start >= position, "edits overlap"
        pieces += [whole[position : edit.start], edit.new]
        position = edit.stop
    return b"".join([*pieces, whole[position:]])


def _counted(content: bytes, edits: Sequence[Edit]) -> Edit:
    """The one length that counts a WebP's parts. Raises PartsError."""
    n_bytes = int.from_bytes(content[4:8], "little")
    n_bytes += sum(len(edit.new) - (edit.stop - edit.start) for edit in edits)
    if not 0 <= n_bytes < 2**32:
        raise PartsError("The WebP would be longer than 4 GiB.")
    return Edit(4, 8, struct.pack("<I", n_bytes))


def webp_canvas(content: bytes) -> tuple[int, int]:
    """Width and height a WebP declares, before libwebp makes room for them; (0, 0) when it declares none."""
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
        case b"VP8L":
            packed = int.from_bytes(content[21:25], "little")
            return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
        case b"VP8 ":
            packed = int.from_bytes(content[26:30], "little")
            return packed & 0x3FFF, packed >> 16 & 0x3FFF
    return 0, 0


def _walk(content: bytes) -> Iterator[Part]:
    match container_of(content):
        case Container.PNG:
            return _png_chunks(content)
        case Container.JPEG:
            return _jpeg_segments(content)
        case Container.WEBP:
            return _webp_chunks(content)
    raise PartsError("The file is no PNG, JPEG or WebP.")


def _png_chunks(content: bytes) -> Iterator[Part]:
    position, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        n_bytes, name = struct.unpack_from(">I4s", content, position)
        body_stop = position + 8 + n_bytes
        if body_stop + 4 > len(content):
            raise PartsError(f"The PNG's chunk at byte {position:,} is cut short.")
        yield Part(name, position, position + 8, body_stop, body_stop + 4)
        position = body_stop + 4


def _jpeg_segments(content: bytes) -> Iterator[Part]:
    position = 2
    while True:
        start, marker = struct.unpack_from(">BB", content, position)
        at = position
        if start == marker == 0xFF:  # padding, which belongs to the segment after it
            at = _PADDING.match(content, position).end() - 1  # type: ignore[union-attr]
            start, marker = struct.unpack_from(">BB", content, at)
        if start != 0xFF or marker not in _ALONE | _WITH_BODY:
            raise PartsError(f"The JPEG has no segment at byte {at:,}.")
        if marker == _SCAN:
            return
        n_bytes = 0 if marker in _ALONE else struct.unpack_from(">H", content, at + 2)[0]
        stop = at + 2 + n_bytes
        if stop > len(content) or (n_bytes < 2 and marker not in _ALONE):
            raise PartsError(f"The JPEG's segment at byte {at:,} is cut short.")
        yield Part(bytes([marker]), position, min(at + 4, stop), stop, stop)
        position = stop


def _webp_chunks(content: bytes) -> Iterator[Part]:
    end = 8 + int.from_bytes(content[4:8], "little")
    if end > len(content):
        raise PartsError(f"The WebP promises {end:,} bytes and has {len(content):,}.")
    position = _WEBP_HEADER
    while position + 8 <= end:
        name, n_bytes = struct.unpack_from("<4sI", content, position)
        body_stop = position + 8 + n_bytes
        stop = body_stop + n_bytes % 2
        if stop > end:
            raise PartsError(f"The WebP's chunk at byte {position:,} is cut short.")
        yield Part(name, position, position + 8, body_stop, stop)
        position = stop
