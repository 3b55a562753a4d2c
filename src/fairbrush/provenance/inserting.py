"""A stamp into a file's bytes. Enters: an image's file and a ``Stamp``. Leaves: the stamped file.

The one rule: nothing is decoded and nothing encoded anew; a stamp is parts that are put in. Before it leaves,
it is taken out again here, and must give the bytes that came in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from fairbrush.corpus.parts import (
    Container,
    Edit,
    Part,
    container_of,
    edited,
    make_part,
    read_parts,
    with_body,
)
from fairbrush.corpus.stamped import (
    TEXT_HEADER,
    WEBP_XMP_FLAG,
    XMP_HEADERS,
    XMP_NAMES,
    bare_of,
    find_packets,
    is_manifest,
    original_of,
    stripped,
    unstamped,
    webp_header,
)
from fairbrush.errors import PartsError, StampError
from fairbrush.provenance.stamp import Stamp, share_text
from fairbrush.provenance.xmp import with_stamp

Sign = Callable[[bytes, bytes, Stamp], bytes]

_EXIF = b"Exif\0\0"


def stamp_file(content: bytes, stamp: Stamp, *, sign: Sign | None = None) -> bytes:
    """The file with the stamp; one that it has is replaced, all else stays byte for byte.

    ``sign(stamped, given, stamp)``: adds a C2PA manifest whose parent is the file that was given. Raises
    StampError: for a format without room for it, a broken file, metadata that cannot be added to, and a file
    with a C2PA manifest where it is not signed again.
    """
    if container_of(content) is None:
        raise StampError(
            "Only PNG, JPEG and WebP files can carry a stamp.", next_step="Save it as PNG and ask again."
        )
    original = unstamped(content)
    if hashlib.sha256(original).hexdigest() != stamp.image_sha256:
        raise StampError("The file was changed since it was looked up.", next_step="Ask again.")
    try:
        if sign is None and any(is_manifest(content, read_parts(content))):
            raise StampError(
                "It has Content Credentials (C2PA), which any change to the file would break.",
                next_step="Sign the stamped file too: --certificate CHAIN.pem --key KEY.pem",
            )
        bare = original_of(content) or bare_of(content) or _without_manifest(stripped(content))
        bare_sha256 = hashlib.sha256(bare).hexdigest()
        stated = replace(stamp, bare_sha256=None if bare_sha256 == stamp.image_sha256 else bare_sha256)
        stamped = _insert(bare, stated)
    except PartsError as error:
        raise StampError(
            f"{error.message} Nothing can be put into it.", next_step="Save it again."
        ) from error
    if sign is not None:
        stamped = sign(stamped, content, stated)
    if (original_of if stated.bare_sha256 is None else bare_of)(stamped) != bare:
        raise StampError(
            "Taken out again, the stamp would not leave the file as it was.", next_step="Save it as PNG."
        )
    return stamped


def _without_manifest(content: bytes) -> bytes:
    parts = read_parts(content)
    marks = zip(parts, is_manifest(content, parts), strict=True)
    return edited(content, [Edit(part.start, part.stop) for part, is_one in marks if is_one])


def _insert(content: bytes, stamp: Stamp) -> bytes:
    container = container_of(content)
    assert container is not None, "it was looked at"
    parts = read_parts(content)
    packets = find_packets(content, parts)
    if len(packets) > 1 or any(packet.start is None for packet in packets):
        raise StampError(
            "Its XMP is packed, or there more than once: it cannot be added to.",
            next_step="Remove its XMP first: exiftool -XMP:all= FILE",
        )
    place = _place(container, content, parts)
    if packets:
        old, start = packets[0].part, packets[0].start
        if container is Container.JPEG and any(_counts_on(part, old, content) for part in parts):
            raise StampError(
                "It holds more than one picture (MPF), and a longer XMP would move the others.",
                next_step="Save it as PNG and ask again.",
            )
        body = content[old.body_start : start] + with_stamp(content[start : old.body_stop], stamp)
        edits = [with_body(container, old, body)]
    else:
        body = XMP_HEADERS[container] + with_stamp(None, stamp)
        edits = [Edit(place, place, make_part(container, XMP_NAMES[container], body))]
    if container is Container.PNG:
        readable = TEXT_HEADER + readable_text(stamp).encode("utf-8", "replace")
        edits.append(Edit(place, place, make_part(container, b"iTXt", readable)))
    if container is Container.WEBP:
        edits.append(_webp_edit(content, parts))
    return edited(content, edits)


def _counts_on(part: Part, old: Part, content: bytes) -> bool:
    """Whether it is an index of pictures, which counts their places from itself on, over the old part."""
    is_index = part.name == b"\xe2" and content.startswith(b"MPF\0", part.body_start, part.body_stop)
    return is_index and part.start < old.start


def _place(container: Container, content: bytes, parts: list[Part]) -> int:
    """Where a new part goes: early, where readers look for it, in a WebP last, as its format says."""
    if container is Container.PNG:
        return next((part.start for part in parts if part.name == b"IDAT"), parts[-1].start)
    if container is Container.WEBP:
        return parts[-1].stop if parts else len(content)
    place = 2
    for part in parts:
        if part.name != b"\xe0" and not (
            part.name == b"\xe1" and content.startswith(_EXIF, part.body_start, part.body_stop)
        ):
            break
        place = part.stop
    return place


def _webp_edit(content: bytes, parts: list[Part]) -> Edit:
    """The header chunk that says there is XMP: the one that is there, or a new one."""
    if not parts:
        raise PartsError("The WebP is empty.")
    first = parts[0]
    if first.name == b"VP8X" and first.body_start < first.body_stop:
        flags = first.body_start
        return Edit(flags, flags + 1, bytes([content[flags] | WEBP_XMP_FLAG]))
    header = webp_header(content)
    if header is None:
        raise PartsError("The WebP does not begin with a picture.")
    return Edit(first.start, first.start, header)


def readable_text(stamp: Stamp) -> str:
    """A few lines for people, which no program needs to read."""
    lines = [f"model {stamp.model}: {share_text(stamp.model_share_e12)}"]
    lines += [
        f"artist {one.artist_id}{'' if one.name is None else f' ({one.name})'}: {share_text(one.share_e12)}"
        for one in stamp.artists
    ]
    lines += [
        f"unattributed: {share_text(stamp.unattributed_e12)}",
        f"attribution {stamp.attribution_id} of image {stamp.image_sha256}",
        f"record {stamp.record_digest}, fairbrush {stamp.fairbrush}",
    ]
    return "\n".join(["Styles this image draws on, as shares of its income:", *lines])
