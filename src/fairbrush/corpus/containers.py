"""A file's bytes in; its format out. The one rule: content decides, never the file's name.

Also refuses files whose container promises more bytes than there are. Pillow finds an end that is missing
inside the pixel data by itself, but not one after it (a PNG without IEND) nor in what it never reads.
"""

import struct
import zlib
from enum import StrEnum

from fairbrush.corpus.images import RefusalReason
from fairbrush.corpus.parts import PNG_SIGNATURE
from fairbrush.errors import ImageRefusedError


class ImageFormat(StrEnum):
    """The formats fairbrush reads, by Pillow's names."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"


_SIGNATURES = {
    PNG_SIGNATURE: ImageFormat.PNG,
    b"\xff\xd8\xff": ImageFormat.JPEG,
    b"GIF87a": ImageFormat.GIF,
    b"GIF89a": ImageFormat.GIF,
    b"II*\0": ImageFormat.TIFF,
    b"MM\0*": ImageFormat.TIFF,
    b"II+\0": ImageFormat.TIFF,
    b"MM\0+": ImageFormat.TIFF,
}

_TIFF_KIND_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_FIRST_PRIVATE_TIFF_TAG = 32_768


def sniff_format(content: bytes) -> ImageFormat:
    """Name the format from the first bytes; raises ImageRefusedError.

    >>> sniff_format(b"GIF89a...").value
    'GIF'
    """
    for signature, image_format in _SIGNATURES.items():
        if content.startswith(signature):
            return image_format
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ImageFormat.WEBP
    # "BM" alone could open a text: the header's size, under 256, must follow at byte 14
    if content[:2] == b"BM" and content[15:18] == b"\0\0\0":
        return ImageFormat.BMP
    if any(signature.startswith(content) for signature in _SIGNATURES):
        raise _truncated(f"The file stops after {len(content)} bytes, inside the name of its format.")
    raise ImageRefusedError(
        RefusalReason.UNSUPPORTED,
        "The content is not PNG, JPEG, WebP, GIF, BMP or TIFF, whatever the name says. Convert it to PNG.",
    )


def check_complete(content: bytes, image_format: ImageFormat) -> None:
    """Raise ImageRefusedError when the container is cut short, or a PNG's checksum is wrong."""
    match image_format:
        case ImageFormat.PNG:
            _check_png_chunks(content)
        case ImageFormat.JPEG:
            _check_jpeg_end(content)
        case ImageFormat.GIF:
            _check_gif_blocks(content)
        case ImageFormat.WEBP:
            _check_promised(8 + int.from_bytes(content[4:8], "little"), content)
        case ImageFormat.TIFF:
            _check_tiff_directory(content)
        case ImageFormat.BMP:
            pass  # its pixels are the end of the file, and Pillow asks for all of them


def _check_png_chunks(content: bytes) -> None:
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        n_bytes, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + n_bytes
        _check_promised(end, content)
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != checksum:
            raise ImageRefusedError(
                RefusalReason.CORRUPT,
                f"The PNG's chunk at byte {position} fails its checksum. Save or download it again.",
            )
        if name == b"IEND":
            return
        position = end
    raise _truncated(f"The PNG stops at byte {len(content)} without its end chunk.")


def _check_jpeg_end(content: bytes) -> None:
    # searched, not expected last: anything may follow the end marker, such as a phone's second picture
    if b"\xff\xd9" not in content:
        raise _truncated(f"The JPEG stops at byte {len(content)} without its end marker.")


def _check_gif_blocks(content: bytes) -> None:
    try:
        position = 13 + _gif_table_bytes(content[10])
        while (block := content[position]) != 0x3B:
            if block == 0x21:
                position = _gif_after_sub_blocks(content, position + 2)
            elif block == 0x2C:
                pixels = position + 11 + _gif_table_bytes(content[position + 9])
                position = _gif_after_sub_blocks(content, pixels)
            else:
                position += 1  # padding some encoders leave between blocks
    except IndexError as error:
        raise _truncated(f"The GIF stops at byte {len(content)} without its trailer.") from error


def _gif_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_after_sub_blocks(content: bytes, position: int) -> int:
    while n_bytes := content[position]:
        position += n_bytes + 1
    return position + 1


def _check_tiff_directory(content: bytes) -> None:
    order = "<" if content[:2] == b"II" else ">"
    is_big = 0x2B in content[2:4]
    at, offset_format, count_format = (8, "Q", "Q") if is_big else (4, "I", "H")
    entry_format = order + "HHQ8s" if is_big else order + "HHI4s"
    try:
        (directory,) = struct.unpack_from(order + offset_format, content, at)
        (n_entries,) = struct.unpack_from(order + count_format, content, directory)
    except (struct.error, OverflowError) as error:
        raise _truncated(f"The TIFF stops at byte {len(content)}, before its directory.") from error
    first, entry_bytes = directory + struct.calcsize(order + count_format), struct.calcsize(entry_format)
    _check_promised(first + n_entries * entry_bytes, content)
    for position in range(first, first + n_entries * entry_bytes, entry_bytes):
        tag, kind, count, value = struct.unpack_from(entry_format, content, position)
        n_bytes = count * _TIFF_KIND_BYTES.get(kind, 0)
        # values too long for the entry lie elsewhere; private tags may point anywhere, nothing reads them
        if n_bytes > len(value) and tag < _FIRST_PRIVATE_TIFF_TAG:
            _check_promised(n_bytes + struct.unpack(order + offset_format, value)[0], content)


def _check_promised(n_bytes: int, content: bytes) -> None:
    if n_bytes > len(content):
        raise _truncated(f"The file promises {n_bytes:,} bytes and has {len(content):,}.")


def _truncated(what: str) -> ImageRefusedError:
    return ImageRefusedError(RefusalReason.TRUNCATED, f"{what} Save or download it again.")
