"""A stamp in XMP. Enters: a ``Stamp``, and maybe a packet that is there. Leaves: a packet, or its stamp.

The one rule: a packet that is there keeps every byte: our element is put in before the end of its RDF, with
namespaces of its own, so that cutting it out gives the packet back. What is read comes from anybody: a DTD,
and with it every entity, is refused, nothing is longer than ``LONGEST_PACKET``, and no namespace than
``LONGEST_NAMESPACE``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from fairbrush.corpus.stamped import (
    CLOSING,
    LONGEST_PACKET,
    NAMESPACE,
    OPENING,
    PACKET_END,
    PACKET_START,
    RDF,
)
from fairbrush.errors import StampError
from fairbrush.provenance.stamp import Stamp, read_stamp, share_text

LONGEST_NAMESPACE = 250  # characters; every name in it is read with all of them
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REMOVE = "Remove its XMP first: exiftool -XMP:all= FILE"


def with_stamp(packet: bytes | None, stamp: Stamp) -> bytes:
    """A packet with the stamp: a new one, or the one there is and one element more. Raises StampError."""
    if packet is None:
        return PACKET_START + _element(stamp, about="") + PACKET_END
    place = _find_place(packet)
    return packet[: place.rdf_end] + _element(stamp, about=place.about) + packet[place.rdf_end :]


def stamp_in(packet: bytes) -> Stamp | None:
    """The stamp a packet holds, by whatever program it was written last; None: none.

    Raises StampError for one that is broken, or says one thing to people and another to programs.
    """
    if NAMESPACE.encode() not in packet:
        return None
    found = _read_properties(packet)
    if not found.properties and not found.artists:
        return None
    try:
        document = json.loads(found.properties.get("document", ""))
    except (ValueError, RecursionError) as error:
        raise StampError("The stamp's document is no JSON.") from error
    stamp = read_stamp(document)
    written = _read_properties(PACKET_START + _element(stamp, about="") + PACKET_END)
    for name, value in written.properties.items():
        if name != "document" and found.properties.get(name) != value:
            raise StampError(f"The stamp contradicts itself: its {name} is not what its document says.")
    if found.artists != written.artists:
        raise StampError("The stamp contradicts itself: its artists are not those of its document.")
    return stamp


def _element(stamp: Stamp, *, about: str) -> bytes:
    """One rdf:Description: the main facts as plain properties, the artists as a list, all of it as JSON."""
    facts = {
        "imageSha256": stamp.image_sha256,
        "bareSha256": stamp.bare_sha256,
        "attributionId": stamp.attribution_id,
        "recordDigest": stamp.record_digest,
        "model": stamp.model,
        "modelShare": share_text(stamp.model_share_e12),
        "unattributedShare": share_text(stamp.unattributed_e12),
        "valueFunction": stamp.value_function,
        "encoderId": stamp.encoder_id,
        "indexManifestDigest": stamp.index_manifest_digest,
        "calibrationId": stamp.calibration_id,
        "fairbrushVersion": stamp.fairbrush,
    }
    said = "".join(
        f'\n fairbrush:{name}="{_text(value)}"' for name, value in facts.items() if value is not None
    )
    artists = "".join(
        '\n  <rdf:li rdf:parseType="Resource">'
        + _tag("artistId", one.artist_id)
        + _tag("share", share_text(one.share_e12))
        + ("" if one.name is None else _tag("name", one.name))
        + "</rdf:li>"
        for one in stamp.artists
    )
    listed = f"\n <fairbrush:artists><rdf:Seq>{artists}</rdf:Seq></fairbrush:artists>" if artists else ""
    # in ASCII: whatever a name holds, it is text that XML can carry
    document = json.dumps(stamp.document, sort_keys=True, separators=(",", ":"))
    inside = f' rdf:about="{_text(about)}"{said}>{listed}\n {_tag("document", document)}\n'
    return OPENING + inside.encode() + CLOSING


def _tag(name: str, text: str) -> str:
    return f"<fairbrush:{name}>{_text(text)}</fairbrush:{name}>"


def _text(text: str) -> str:
    """Escaped for an attribute or a text; what XML cannot carry is the replacement character."""
    breaks = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
    return escape(_NO_XML.sub("�", text), breaks)


@dataclass
class _Place:
    """Where an element goes: the byte at which RDF ends, and what the packet says it is about."""

    rdf_end: int = -1
    about: str = ""


@dataclass
class _Properties:
    """``artists``: their properties, in order, as (name, text)."""

    properties: dict[str, str] = field(default_factory=dict)
    artists: list[tuple[str, str]] = field(default_factory=list)


def _find_place(packet: bytes) -> _Place:
    place, open_names, n_described = _Place(), list[str](), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal n_described
        if name == f"{RDF} Description" and open_names[-1:] == [f"{RDF} RDF"]:
            n_described += 1
            if n_described == 1:
                place.about = attributes.get(f"{RDF} about", attributes.get("about", ""))
        open_names.append(name)

    def end(name: str) -> None:
        open_names.pop()
        if name == f"{RDF} RDF" and place.rdf_end < 0:
            place.rdf_end = parser.CurrentByteIndex

    parser = _parser(packet, start, end)
    _parse(parser, packet)
    if place.rdf_end < 0 or packet[place.rdf_end : place.rdf_end + 2] != b"</":
        raise StampError("The file's XMP has no RDF to add to.", next_step=_REMOVE)
    return place


def _read_properties(packet: bytes) -> _Properties:
    """What the packet says in our namespace, as attributes or as elements."""
    found, texts = _Properties(), list[str]()
    ours, n_lists = f"{NAMESPACE} ", 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal n_lists
        n_lists += name == f"{ours}artists"
        texts.clear()
        if name == f"{RDF} Description":
            for key, value in attributes.items():
                if key.startswith(ours):
                    found.properties.setdefault(key.removeprefix(ours), value)

    def end(name: str) -> None:
        nonlocal n_lists
        if name == f"{ours}artists":
            n_lists -= 1
        elif name.startswith(ours):
            local, text = name.removeprefix(ours), "".join(texts)
            if n_lists:
                found.artists.append((local, text))
            else:
                found.properties.setdefault(local, text)
        texts.clear()

    parser = _parser(packet, start, end)
    parser.CharacterDataHandler = texts.append
    _parse(parser, packet)
    return found


def _parser(
    packet: bytes, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]
) -> expat.XMLParserType:
    if len(packet) > LONGEST_PACKET:
        raise StampError(
            f"The file's XMP has {len(packet):,} bytes; at most {LONGEST_PACKET:,} are read.",
            next_step=_REMOVE,
        )
    # before the parser, which reads on to the end whatever its handlers say
    if b"\0" in packet:  # as every text in UTF-16 has it
        raise StampError("The file's XMP is not in UTF-8.", next_step=_REMOVE)
    if b"<!DOCTYPE" in packet:
        raise StampError("The file's XMP has a DTD, which XMP must not have.", next_step=_REMOVE)
    checker = expat.ParserCreate("utf-8")
    checker.StartElementHandler = _check_namespaces
    _parse(checker, packet)
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    return parser


def _parse(parser: expat.XMLParserType, packet: bytes) -> None:
    try:
        parser.Parse(packet, True)
    except expat.ExpatError as error:
        raise StampError(f"The file's XMP is no XML that can be read: {error}.", next_step=_REMOVE) from error


def _check_namespaces(_: str, attributes: dict[str, str]) -> None:
    """Raises StampError."""
    if any(len(value) > LONGEST_NAMESPACE for name, value in attributes.items() if name.startswith("xmlns")):
        raise StampError(
            f"The file's XMP has a namespace of more than {LONGEST_NAMESPACE} characters.", next_step=_REMOVE
        )
