"""The texts that generators leave in an image's file. Enters: its bytes. Leaves: ``EmbeddedTexts``.

The one rule: no pixel is decoded and no text is longer than ``MOST_TEXT_BYTES``, unpacked. A file that is cut
short or broken has the texts found before the break; whether it is an image at all, the decoder says.

Read are: PNG's tEXt, zTXt, iTXt and eXIf; EXIF in JPEG and WebP; TIFF's own tags. Of EXIF: the user comment,
where most programs write, and three tags that ComfyUI uses. Written without Pillow, which a look-up of a
cached image does not load.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from fairbrush.corpus.parts import PNG_SIGNATURE
from fairbrush.errors import GenerationUnreadableError

MIB = 1024 * 1024
MOST_TEXT_BYTES = 2 * MIB
MOST_CHUNKS = 65_536  # 8 KiB of pixels a chunk, as libpng writes them, make 512 MiB
MOST_PROBLEMS = 10
KEYWORDS = frozenset({"parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "dream"})

_USER_COMMENT = 0x9286
_EXIF_DIRECTORY = 0x8769
_COMFYUI_TAGS = (0x010E, 0x010F, 0x0110)  # image description, make, model
_BYTES_OR_TEXT = {1, 2, 7}  # EXIF kinds of one byte an entry
_MOST_TAGS = 1000
_EXIF_NAME = b"Exif\0\0"


@dataclass
class EmbeddedTexts:
    """``by_keyword``: the first text of each known keyword. ``comment``: EXIF's user comment.

    ``problems``: why a text of a known keyword was not read. After ``MOST_PROBLEMS`` no other is tried: a
    small file may hold thousands that unpack to much.
    """

    by_keyword: dict[str, str] = field(default_factory=dict)
    comment: str | None = None
    problems: list[str] = field(default_factory=list)


def embedded_texts(content: bytes) -> EmbeddedTexts:
    """Find them in any file. Whatever the bytes are, nothing is raised.

    >>> embedded_texts(b"GIF89a...").by_keyword
    {}
    """
    texts = EmbeddedTexts()
    try:
        _find(content, texts)
    except GenerationUnreadableError as problem:
        texts.problems.append(problem.message)
    except struct.error:
        pass  # the file ends before what it promises
    return texts


def _find(content: bytes, texts: EmbeddedTexts) -> None:
    if content.startswith(PNG_SIGNATURE):
        _find_in_png(content, texts)
    elif content.startswith(b"\xff\xd8\xff"):
        for body in _jpeg_segments(content, marker=0xE1):
            if body.startswith(_EXIF_NAME):
                _find_in_exif(body[len(_EXIF_NAME) :], texts)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        for body in _webp_chunks(content, name=b"EXIF"):
            _find_in_exif(body.removeprefix(_EXIF_NAME), texts)
    elif content[:2] in (b"II", b"MM"):
        _find_in_exif(content, texts)


def _find_in_png(content: bytes, texts: EmbeddedTexts) -> None:
    position = len(PNG_SIGNATURE)
    for _ in range(MOST_CHUNKS):
        n_bytes, name = struct.unpack_from(">I4s", content, position)
        body = slice(position + 8, position + 8 + n_bytes)
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            _keep_png_text(name, memoryview(content)[body], texts)
        elif name == b"eXIf":
            _find_in_exif(content[body], texts)
        elif name == b"IEND":
            return
        position = body.stop + 4
    raise GenerationUnreadableError(f"The PNG has more than {MOST_CHUNKS:,} chunks; the others are not read.")


def _keep_png_text(name: bytes, body: memoryview, texts: EmbeddedTexts) -> None:
    keyword_bytes, _, _ = bytes(body[:80]).partition(b"\0")
    keyword = keyword_bytes.decode("latin-1").casefold()
    if keyword not in KEYWORDS or keyword in texts.by_keyword or len(texts.problems) >= MOST_PROBLEMS:
        return
    try:
        text = _png_text(name, body[len(keyword_bytes) + 1 :], keyword)
    except GenerationUnreadableError as problem:
        texts.problems.append(problem.message)
    else:
        texts.by_keyword[keyword] = text


def _png_text(name: bytes, value: memoryview, keyword: str) -> str:
    if name == b"tEXt":
        return _decoded(_within_limit(value, keyword))
    if name == b"zTXt":
        return _decoded(_unpacked(value[1:], keyword))
    is_packed = bytes(value[:1]) == b"\1"
    # language tag and translated keyword, both short and of no use here
    head = bytes(value[2:1024])
    language_end = head.find(b"\0")
    keyword_end = head.find(b"\0", language_end + 1)
    if language_end < 0 or keyword_end < 0:
        raise GenerationUnreadableError(f"The PNG's text {keyword!r} is damaged.")
    text = value[2 + keyword_end + 1 :]
    return _decoded(_unpacked(text, keyword) if is_packed else _within_limit(text, keyword))


def _unpacked(packed: memoryview, keyword: str) -> bytes:
    try:
        text = zlib.decompressobj().decompress(packed, MOST_TEXT_BYTES + 1)
    except zlib.error as error:
        raise GenerationUnreadableError(f"The PNG's text {keyword!r} is damaged ({error}).") from error
    return _within_limit(text, keyword)


def _within_limit(text: bytes | memoryview, keyword: str) -> bytes:
    if len(text) > MOST_TEXT_BYTES:
        raise GenerationUnreadableError(
            f"The text {keyword!r} has more than {MOST_TEXT_BYTES:,} bytes; it is not read."
        )
    return bytes(text)


def _decoded(text: bytes) -> str:
    """UTF-8, as most programs write whatever the chunk; else Latin-1, as PNG says."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _jpeg_segments(content: bytes, *, marker: int) -> Iterator[bytes]:
    """The bodies of one kind of segment, before the pixels."""
    position = 2
    for _ in range(MOST_CHUNKS):
        start, found, n_bytes = struct.unpack_from(">BBH", content, position)
        if start != 0xFF or found in (0xDA, 0xD9):
            return
        if found == 0xFF:  # padding
            position += 1
            continue
        if found == marker:
            yield content[position + 4 : position + 2 + n_bytes]
        position += 2 + max(2, n_bytes)


def _webp_chunks(content: bytes, *, name: bytes) -> Iterator[bytes]:
    position = 12
    for _ in range(MOST_CHUNKS):
        found, n_bytes = struct.unpack_from("<4sI", content, position)
        if found == name:
            yield content[position + 8 : position + 8 + n_bytes]
        position += 8 + n_bytes + n_bytes % 2


def _find_in_exif(exif: bytes, texts: EmbeddedTexts) -> None:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or struct.unpack_from(order + "H", exif, 2) != (42,):
        return
    (first,) = struct.unpack_from(order + "I", exif, 4)
    tags = _exif_tags(exif, first, order)
    if _EXIF_DIRECTORY in tags:
        tags |= _exif_tags(exif, struct.unpack(order + "I", tags[_EXIF_DIRECTORY])[0], order)
    for tag in _COMFYUI_TAGS:
        keyword, _, text = _decoded(tags.get(tag, b"")).rstrip("\0").partition(":")
        if text and keyword.casefold() in ("prompt", "workflow"):
            texts.by_keyword.setdefault(keyword.casefold(), text)
    if texts.comment is None and _USER_COMMENT in tags:
        texts.comment = _user_comment(tags[_USER_COMMENT])


def _exif_tags(exif: bytes, directory: int, order: str) -> dict[int, bytes]:
    """The values of the tags that are of use."""
    (n_entries,) = struct.unpack_from(order + "H", exif, directory)
    found: dict[int, bytes] = {}
    for entry in range(min(n_entries, _MOST_TAGS)):
        tag, kind, count, value = struct.unpack_from(order + "HHI4s", exif, directory + 2 + 12 * entry)
        if tag in found:  # a thousand entries may share one long value
            continue
        if tag == _EXIF_DIRECTORY and kind in (4, 13) and count == 1:
            found[tag] = value
        elif tag in (_USER_COMMENT, *_COMFYUI_TAGS) and kind in _BYTES_OR_TEXT:
            if count > 4:
                (start,) = struct.unpack(order + "I", value)
                found[tag] = _within_limit(memoryview(exif)[start : start + count], f"EXIF {tag:#06x}")
            else:
                found[tag] = value[:count]
    return found


def _user_comment(value: bytes) -> str:
    """Eight bytes name the encoding; of UTF-16 nobody says which byte comes first."""
    charset, text = value[:8], value[8:]
    if not charset.startswith(b"UNICODE"):
        return _decoded(text).rstrip("\0")
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", errors="replace")
    # the high byte of most characters is 0
    is_big = text[0::2].count(0) >= text[1::2].count(0)
    return text.decode("utf-16-be" if is_big else "utf-16-le", errors="replace")
