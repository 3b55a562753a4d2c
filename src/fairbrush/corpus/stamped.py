"""Stamped copies of images: where our stamp lies in a file, and the file as it was before.

Enters: a file's bytes. Leaves: the bytes without our stamp, and the digest an image goes by. The one rule: a
stamp is put in without touching another byte, so taking it out gives the original, which its SHA-256 proves;
what is not proven is not believed. Who writes stamps is ``fairbrush.provenance``.

A stamp is one element in the file's XMP; in a PNG there is a text beside it. A signed one also has a C2PA
manifest store, which the C2PA library puts in as parts of their own.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fairbrush.corpus.parts import (
    Container,
    Edit,
    Part,
    container_of,
    edited,
    make_part,
    read_parts,
    webp_canvas,
    with_body,
)
from fairbrush.errors import PartsError

# a name, not an address: nobody need own a domain for it
NAMESPACE = "urn:uuid:908ccd96-05cc-47bc-8f35-89e609d515ca#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
OPENING = f'<rdf:Description xmlns:fairbrush="{NAMESPACE}" xmlns:rdf="{RDF}"'.encode()
CLOSING = b"</rdf:Description>"
# the packet we write where a file has none: whoever finds it without our element knows that it was ours
PACKET_START = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="fairbrush">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
)
PACKET_END = b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'

XMP_NAMES = {Container.PNG: b"iTXt", Container.JPEG: b"\xe1", Container.WEBP: b"XMP "}
XMP_HEADERS = {
    Container.PNG: b"XML:com.adobe.xmp\0\0\0\0\0",  # not packed, no language
    Container.JPEG: b"http://ns.adobe.com/xap/1.0/\0",
    Container.WEBP: b"",
}
TEXT_HEADER = b"fairbrush\0\0\0\0\0"  # of the PNG text for people
LONGEST_PACKET = 2 * 1024 * 1024
WEBP_XMP_FLAG = 0x04

_WEBP_ALPHA_FLAG = 0x10

_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_IMAGE = re.compile(rb'\sfairbrush:imageSha256="([0-9a-f]{64})"')
_BARE = re.compile(rb'\sfairbrush:bareSha256="([0-9a-f]{64})"')
# no property of others, such as one that turns the picture: programs would show what the original is not
# each part ends at one character, so a search takes time in proportion to the text
_ATTRIBUTES = rb'(?:\s+(?:fairbrush:\w+|rdf:about|rdf:parseType)="[^"<]*")*'
_TAG = rb"</?(?:fairbrush:\w+|rdf:Seq|rdf:li)" + _ATTRIBUTES + rb">"
_OURS_ALONE = re.compile(_ATTRIBUTES + rb">[^<]*(?:" + _TAG + rb"[^<]*)*")


@dataclass(frozen=True)
class Packet:
    """A file's XMP: the part that holds it, and the byte it begins at; None where a PNG has it packed."""

    part: Part
    start: int | None

    def text(self, content: bytes) -> bytes:
        """Empty where it is packed or longer than is read."""
        if self.start is None or self.part.body_stop - self.start > LONGEST_PACKET:
            return b""
        return content[self.start : self.part.body_stop]


def unstamped(content: bytes) -> bytes:
    """The file that a stamped copy was made of, where its digest proves it; every other file as it is.

    Whatever an image's digest vouches for, pixels and metadata, is read of these bytes and no others.
    """
    original = original_of(content)
    return content if original is None else original


def image_digest(content: bytes) -> str:
    """The SHA-256 an image goes by: of its file, or, of a stamped copy, of the file that was stamped.

    >>> image_digest(b"no stamp") == hashlib.sha256(b"no stamp").hexdigest()
    True
    """
    return hashlib.sha256(unstamped(content)).hexdigest()


def digest_of_unstamped(chunks: Iterable[bytes]) -> str | None:
    """The SHA-256 a file goes by, in hex, from its pieces; None where it may have a stamp.

    >>> digest_of_unstamped([b"no ", b"stamp"]) == image_digest(b"no stamp")
    True
    """
    digest, before = hashlib.sha256(), b""
    for chunk in chunks:
        window = before + chunk  # a stamp may begin in one piece and go on in the next
        if OPENING in window:
            return None
        digest.update(chunk)
        before = window[-len(OPENING) :]
    return digest.hexdigest()


def original_of(content: bytes) -> bytes | None:
    """The file as it was before it was stamped; None without a stamp, or where no digest proves it."""
    return _proven(content, _IMAGE)


def bare_of(content: bytes) -> bytes | None:
    """The file without our stamp and any C2PA manifest store, where the stamp states the digest of that."""
    return _proven(content, _BARE)


def stripped(content: bytes) -> bytes:
    """The file without any stamp of ours, proven or not; a manifest store stays. Raises PartsError."""
    return next(_without_stamp(content, manifest=True))


def find_packets(content: bytes, parts: Sequence[Part]) -> list[Packet]:
    """Every XMP packet of a file; there should be one at most."""
    container = container_of(content)
    if container is None:
        return []
    header = XMP_HEADERS[container]
    found = []
    for part in parts:
        if part.name != XMP_NAMES[container]:
            continue
        if content.startswith(header, part.body_start, part.body_stop):
            found.append(Packet(part, part.body_start + len(header)))
        elif container is Container.PNG and content.startswith(_PNG_KEYWORD, part.body_start, part.body_stop):
            found.append(Packet(part, _after_png_header(content, part)))
    return found


def stamp_spans(packet: bytes) -> Iterator[tuple[int, int]]:
    """Where our elements begin and end in a packet."""
    stop = 0
    while (start := packet.find(OPENING, stop)) >= 0:
        end = packet.find(CLOSING, start)
        if end < 0:
            return
        stop = end + len(CLOSING)
        yield start, stop


def webp_header(content: bytes) -> bytes | None:
    """The chunk that a simple WebP needs before its picture to have XMP; None where none is there."""
    name = content[12:16]
    width, height = webp_canvas(content)
    if name not in (b"VP8 ", b"VP8L") or not (width and height):
        return None
    has_alpha = name == b"VP8L" and int.from_bytes(content[24:25]) & 0x10
    flags = WEBP_XMP_FLAG | (_WEBP_ALPHA_FLAG if has_alpha else 0)
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return make_part(Container.WEBP, b"VP8X", bytes([flags, 0, 0, 0]) + sides)


def is_manifest(content: bytes, parts: Sequence[Part]) -> list[bool]:
    """Of each part, whether it holds the file's C2PA manifest store, or a piece of it."""
    container = container_of(content)
    if container is not Container.JPEG:
        name = b"caBX" if container is Container.PNG else b"C2PA"
        return [part.name == name for part in parts]
    # JUMBF in APP11: "JP", box instance, packet number, then the box, whose description names C2PA in the
    # first packet; later packets go by the box instance, which boxes of other types (JPEG XT) may share
    instances: set[bytes] = set()
    found = []
    for part in parts:
        head = content[part.body_start : min(part.body_start + 28, part.body_stop)]
        is_jumbf = part.name == b"\xeb" and head[:2] == b"JP" and head[12:16] == b"jumb"
        if is_jumbf and head[24:28] == b"c2pa":
            instances.add(head[2:4])
        found.append(is_jumbf and head[2:4] in instances)
    return found


def _proven(content: bytes, stated_as: re.Pattern[bytes]) -> bytes | None:
    if OPENING not in content:
        return None
    try:
        stated = _stated(content, stated_as)
        if stated is None:
            return None
        for manifest in (True, False):
            for candidate in _without_stamp(content, manifest=manifest):
                if hashlib.sha256(candidate).hexdigest() == stated:
                    return candidate
    except PartsError:
        pass  # whether it is an image at all, the decoder says
    return None


def _stated(content: bytes, stated_as: re.Pattern[bytes]) -> str | None:
    """What the first stamp that says so states; None also where anything else is said inside one."""
    stated = None
    for packet in find_packets(content, read_parts(content)):
        text = packet.text(content)
        for start, stop in stamp_spans(text):
            if not _OURS_ALONE.fullmatch(text, start + len(OPENING), stop - len(CLOSING)):
                return None
            match = stated_as.search(text, start, text.find(b">", start, stop))
            if stated is None and match:
                stated = match[1].decode()
    return stated


def _without_stamp(content: bytes, *, manifest: bool) -> Iterator[bytes]:
    """What the file may have been without our stamp; ``manifest``: whether a manifest store is left in."""
    container = container_of(content)
    parts = read_parts(content)
    assert container is not None, "it has parts"
    edits = [edit for packet in find_packets(content, parts) if (edit := _packet_edit(content, packet))]
    if container is Container.PNG:
        edits += [
            Edit(part.start, part.stop)
            for part in parts
            if part.name == b"iTXt" and content.startswith(TEXT_HEADER, part.body_start, part.body_stop)
        ]
    if not manifest:
        marks = zip(parts, is_manifest(content, parts), strict=True)
        edits += [Edit(part.start, part.stop) for part, is_one in marks if is_one]
    yield edited(content, edits)
    header = parts[0] if parts else None
    if (
        container is Container.WEBP
        and header is not None
        and header.name == b"VP8X"
        and len(header.body(content))
    ):
        # it was said there that the file has XMP, or there was no such header at all
        flags = header.body_start
        cleared = bytes([content[flags] & ~WEBP_XMP_FLAG])
        yield edited(content, [*edits, Edit(flags, flags + 1, cleared)])
        simple = edited(content, [*edits, Edit(header.start, header.stop)])
        # another header could make it an animation, or see-through: only ours goes
        if webp_header(simple) == content[header.start : header.stop]:
            yield simple


def _packet_edit(content: bytes, packet: Packet) -> Edit | None:
    text = packet.text(content)
    pieces, position = [], 0
    for start, stop in stamp_spans(text):
        pieces.append(text[position:start])
        position = stop
    if not position:
        return None
    kept = b"".join([*pieces, text[position:]])
    part = packet.part
    if kept == PACKET_START + PACKET_END:
        return Edit(part.start, part.stop)
    container = container_of(content)
    assert container is not None, "it has XMP"
    assert packet.start is not None, "its text was read"
    body = content[part.body_start : packet.start] + kept
    return with_body(container, part, body)


def _after_png_header(content: bytes, part: Part) -> int | None:
    """Past the flags, the language and the keyword translated; None where it is packed or broken."""
    at = part.body_start + len(_PNG_KEYWORD)
    if content[at : at + 2] != b"\0\0":
        return None
    language_end = content.find(b"\0", at + 2, part.body_stop)
    keyword_end = content.find(b"\0", language_end + 1, part.body_stop)
    return None if min(language_end, keyword_end) < 0 else keyword_end + 1
