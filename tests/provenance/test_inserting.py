"""A stamp goes in, nothing else changes, and taken out again it leaves the file as it was."""

import hashlib
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stamped_files import FOREIGN, PROMPT, chunk, every_file, picture, png, saved, stamp_for, with_chunk

from fairbrush.corpus.containers import ImageFormat, check_complete
from fairbrush.corpus.generation.read import read_generation
from fairbrush.corpus.images import ImageLimits, decode_image, hash_file
from fairbrush.corpus.parts import container_of, read_parts
from fairbrush.corpus.stamped import (
    NAMESPACE,
    OPENING,
    digest_of_unstamped,
    find_packets,
    image_digest,
    is_manifest,
    original_of,
    unstamped,
)
from fairbrush.errors import PartsError, StampError
from fairbrush.provenance.inserting import stamp_file
from fairbrush.provenance.stamp import Stamp, StampedShare
from fairbrush.provenance.xmp import stamp_in

FILES = every_file()
each_file = pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())


def stamped(content: bytes, **changes: object) -> bytes:
    return stamp_file(content, stamp_for(content, **changes))


def read_back(content: bytes) -> Stamp | None:
    [packet] = find_packets(content, read_parts(content))
    return stamp_in(packet.text(content))


def bodies(content: bytes, *names: bytes) -> list[bytes]:
    return [part.body(content) for part in read_parts(content) if part.name in names]


@each_file
def test_the_stamp_taken_out_leaves_every_byte_as_it_was(content: bytes) -> None:
    copy = stamped(content)
    assert copy != content
    assert original_of(copy) == content
    assert image_digest(copy) == image_digest(content) == hashlib.sha256(content).hexdigest()
    assert original_of(content) is None
    assert unstamped(content) is content


def test_a_digest_is_the_same_wherever_a_file_is_cut_to_read_it(tmp_path: Path) -> None:
    content = png()
    copy = stamped(content)
    for size in (1, 7, len(OPENING) - 1, len(OPENING), 1000, len(copy)):
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        assert digest_of_unstamped(chunks) == hashlib.sha256(content).hexdigest()
        assert digest_of_unstamped(copy[at : at + size] for at in range(0, len(copy), size)) is None
    (tmp_path / "copy.png").write_bytes(copy)
    assert hash_file(tmp_path / "copy.png", ImageLimits()) == hashlib.sha256(content).hexdigest()


@each_file
def test_stamping_twice_gives_the_same_bytes_as_once(content: bytes) -> None:
    once = stamped(content)
    assert stamp_file(once, stamp_for(content)) == once
    other = stamp_file(once, stamp_for(content, model="other-1"))
    assert other.count(OPENING) == 1
    assert other == stamped(content, model="other-1")


@each_file
def test_the_stamp_reads_back(content: bytes) -> None:
    assert read_back(stamped(content)) == stamp_for(content)


@each_file
def test_pixels_metadata_and_all_other_parts_stay_byte_for_byte(content: bytes) -> None:
    copy = stamped(content)
    kept = [
        part.body(content)
        for part in read_parts(content)
        if part.name not in (b"VP8X", b"XMP ") and b"<x:xmpmeta" not in part.body(content)
    ]
    found = [part.body(copy) for part in read_parts(copy)]
    assert [body for body in found if body in kept] == kept
    assert 1 <= len(found) - len(kept) <= 2  # XMP, and PNG's text or WebP's header
    for before, after in zip(decoded(content), decoded(copy), strict=True):
        assert before == after
    assert read_generation(copy) == read_generation(content)


def decoded(content: bytes) -> tuple[bytes, object, object, object]:
    image = Image.open(BytesIO(content))
    return image.tobytes(), image.mode, image.info.get("icc_profile"), dict(image.getexif())


@each_file
def test_other_programs_find_the_stamp_and_what_was_there(content: bytes) -> None:
    image = Image.open(BytesIO(stamped(content)))
    image.load()
    xmp = image.info["xmp"]
    assert b'fairbrush:modelShare="0.5"' in xmp
    assert (b"Ein Hafen" in xmp) == (b"Ein Hafen" in content)
    if image.format == "PNG":
        assert image.info["parameters"] == PROMPT
        assert "model sd-1.5: 0.5\nartist 11111111111111111111111111111111: 0.2\n" in image.info["fairbrush"]
        check_complete(stamped(content), ImageFormat.PNG)  # every checksum


@each_file
def test_a_stamped_copy_is_decoded_as_its_original(content: bytes) -> None:
    first, copy = (decode_image(one, ImageLimits()) for one in (content, stamped(content)))
    assert first.sha256 == copy.sha256
    assert (first.pixels == copy.pixels).all()


def test_a_stamp_that_says_more_than_stamps_do_makes_another_image() -> None:
    """Programs turn a picture as its XMP says: a copy that is shown otherwise is not its original."""
    content = saved("JPEG")
    turned = stamped(content).replace(b"\n fairbrush:model=", b'\n tiff:Orientation="6" fairbrush:model=')
    grown = len(turned) - len(stamped(content))
    at = turned.index(b"http://ns.adobe.com") - 2
    (n_bytes,) = struct.unpack_from(">H", turned, at)
    turned = turned[:at] + struct.pack(">H", n_bytes + grown) + turned[at + 2 :]
    assert Image.open(BytesIO(turned)).getexif().get(0x0112) == 6
    assert original_of(turned) is None
    assert decode_image(turned, ImageLimits()).sha256 == hashlib.sha256(turned).hexdigest()


@pytest.mark.parametrize("flag", [0x02, 0x08, 0x10, 0x20], ids=["animation", "EXIF", "alpha", "ICC"])
def test_a_webp_header_that_shows_another_picture_makes_another_image(flag: int) -> None:
    content = FILES["webp"]
    copy = stamped(content)
    at = copy.index(b"VP8X") + 8
    assert original_of(copy) == content
    assert original_of(copy[:at] + bytes([copy[at] | flag]) + copy[at + 1 :]) is None


@pytest.mark.parametrize("marker", [0x00, 0x02, 0xBF, 0xD8, 0xD9])
def test_a_jpeg_that_decoders_part_otherwise_has_no_parts(marker: int) -> None:
    content = saved("JPEG")
    hidden = b"\xff" + bytes([marker]) + struct.pack(">H", 6) + b"\xff\xfe\0\x02"
    with pytest.raises(PartsError, match="no segment"):
        read_parts(content[:2] + hidden + content[2:])


def test_segments_that_share_a_number_with_a_manifest_stay() -> None:
    """JPEG XT keeps what it adds to a picture in boxes of other types."""
    content = saved("JPEG")
    jumbf, other = (
        b"\xff\xeb" + struct.pack(">H", 2 + 28) + b"JP\0\1\0\0\0\1\0\0\0\x14" + rest
        for rest in (b"jumb\0\0\0\x0cjumdc2pa", b"RESI" + bytes(12))
    )
    file = content[:2] + jumbf + other + content[2:]
    assert is_manifest(file, read_parts(file))[:2] == [True, False]


@each_file
def test_a_change_to_any_other_byte_unbinds_the_stamp(content: bytes) -> None:
    copy = stamped(content)
    part = next(part for part in read_parts(copy) if part.name in (b"IDAT", b"\xdb", b"VP8 ", b"VP8L"))
    place = part.body_stop - 1
    changed = copy[:place] + bytes([copy[place] ^ 1]) + copy[place + 1 :]
    assert original_of(changed) is None
    assert image_digest(changed) == hashlib.sha256(changed).hexdigest()
    assert read_back(changed) == stamp_for(content)


def test_a_changed_copy_is_stamped_anew_and_bound_by_what_is_left() -> None:
    for content in FILES.values():
        copy = stamped(content)
        end = copy.rfind(b"IEND") - 4 if container_of(copy) == "PNG" else len(copy)
        if container_of(copy) != "PNG":
            continue
        changed = copy[:end] + chunk(b"tEXt", b"Comment\0edited") + copy[end:]
        again = stamp_file(changed, stamp_for(changed))
        assert again.count(OPENING) == 1
        found = read_back(again)
        assert found is not None
        assert found.image_sha256 == hashlib.sha256(changed).hexdigest()
        assert found.bare_sha256 not in (None, found.image_sha256)
        assert original_of(again) is None


def test_alpha_is_not_lost_where_a_webp_gets_a_header() -> None:
    content = saved("WEBP", lossless=True, mode="RGBA")
    assert content[12:16] == b"VP8L"
    picture_with_hole = picture("RGBA")
    picture_with_hole.putpixel((0, 0), (0, 0, 0, 0))
    stream = BytesIO()
    picture_with_hole.save(stream, "WEBP", lossless=True)
    opened = Image.open(BytesIO(stamped(stream.getvalue())))
    assert (opened.mode, opened.getpixel((0, 0))) == ("RGBA", (0, 0, 0, 0))
    assert opened.size == (23, 17)


def test_names_of_any_kind_are_carried() -> None:
    content = png()
    names = ("Ann", "<b>\"&'</rdf:Description>", "حروف\u202e", "\ufffe\uffff x", "北斎 😀")
    artists = tuple(StampedShare(f"{n:032}", 62_500_000_000, name=name) for n, name in enumerate(names))
    copy = stamped(content, artists=artists)
    found = read_back(copy)
    assert found is not None
    assert [one.name for one in found.artists] == list(names)
    assert original_of(copy) == content


def packed_xmp() -> bytes:
    return with_chunk(png(), b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(FOREIGN))


def doctype() -> bytes:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    return saved("JPEG", xmp=bomb + FOREIGN.replace(b"Ein Hafen", b"&b;"))


def pictures_counted_over_the_xmp() -> bytes:
    """As a phone's second picture is found: so many bytes after the index, which lies before the XMP here."""
    content = saved("JPEG", xmp=FOREIGN)
    return content[:2] + b"\xff\xe2\0\x08MPF\0MM" + content[2:] + saved("JPEG")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (saved("GIF", mode="P"), "Only PNG, JPEG and WebP"),
        (saved("BMP"), "Only PNG, JPEG and WebP"),
        (saved("TIFF"), "Only PNG, JPEG and WebP"),
        (b"", "Only PNG, JPEG and WebP"),
        (packed_xmp(), "packed"),
        (with_chunk(png(xmp=FOREIGN), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + FOREIGN), "more than once"),
        (doctype(), "DTD"),
        (saved("WEBP", xmp=b"<a>" * 1000), "no XML"),
        (saved("WEBP", xmp=FOREIGN.decode().encode("utf-16")), "not in UTF-8"),
        (saved("WEBP", xmp=FOREIGN.decode().encode("utf-16-le")), "not in UTF-8"),
        (saved("WEBP", xmp=FOREIGN.replace(b"adobe:ns:meta/", b"x" * 300)), "namespace of more than 250"),
        (saved("WEBP", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"), "no RDF"),
        (
            saved("WEBP", xmp=b"<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>"),
            "no RDF",
        ),
        (saved("JPEG", xmp=FOREIGN.replace(b"Ein Hafen", b"x" * 64_000)), "do not fit"),
        (pictures_counted_over_the_xmp(), "more than one picture"),
        (png()[:60], "cut short"),
        (b"\xff\xd8\xff\xe0", "before its end"),
        (b"RIFF\x04\0\0\0WEBP", "empty"),
        (with_chunk(png(), b"caBX", b"any manifest"), "Content Credentials"),
    ],
)
def test_what_cannot_be_stamped_is_refused_with_a_reason(content: bytes, says: str) -> None:
    with pytest.raises(StampError, match=says):
        stamped(content)


def test_names_are_not_put_together_with_a_long_namespace() -> None:
    names = b"".join(b'<n:n%d n:a="" n:b=""/>' % n for n in range(2000))  # 60 KB of each
    packet = b'<x xmlns:n="' + b"u" * 60_000 + b'" xmlns:o="' + NAMESPACE.encode() + b'">' + names + b"</x>"
    tracemalloc.start()
    try:
        with pytest.raises(StampError, match="namespace"):
            stamp_in(packet)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000


def test_elements_within_elements_without_end_take_little_time() -> None:
    deep = b"<o:a>" * 50_000 + b"</o:a>" * 50_000
    started = time.process_time()
    with pytest.raises(StampError):
        stamp_in(b'<x xmlns:o="' + NAMESPACE.encode() + b'">' + deep + b"</x>")
    assert time.process_time() - started < 3


def test_padding_between_segments_is_passed_over_at_once() -> None:
    content = saved("JPEG")
    started = time.process_time()
    parts = read_parts(content[:2] + b"\xff" * 20_000_000 + content[2:])
    assert time.process_time() - started < 2
    assert parts[0].stop - parts[0].start == 20_000_000 + read_parts(content)[0].stop - 2


def test_a_file_that_changed_since_it_was_looked_up_is_refused() -> None:
    with pytest.raises(StampError, match="changed since"):
        stamp_file(png(), stamp_for(saved("PNG")))


@st.composite
def containers(draw: st.DrawFn) -> bytes:
    """Files that are whole as containers, with parts nobody knows; what they show does not matter."""
    bodies_of = st.lists(st.binary(max_size=40), max_size=4)
    extra = draw(bodies_of)
    trailing = draw(st.binary(max_size=9))
    xmp = draw(st.sampled_from([None, FOREIGN]))
    kind = draw(st.sampled_from(["png", "jpeg", "webp", "webp+"]))
    if kind == "png":
        parts = [chunk(b"IHDR", bytes(13)), *(chunk(b"teSt", body) for body in extra)]
        parts += [] if xmp is None else [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0de\0XMP\0" + xmp)]
        parts += [chunk(b"IDAT", draw(st.binary(max_size=20))), chunk(b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + trailing
    if kind == "jpeg":

        def segment(marker: int, body: bytes) -> bytes:
            return b"\xff" * draw(st.integers(1, 3)) + struct.pack(">BH", marker, len(body) + 2) + body

        markers = st.sampled_from([0xE0, 0xE1, 0xE2, 0xEB, 0xFE, 0xDB])
        parts = [segment(draw(markers), body) for body in extra]
        parts += [] if xmp is None else [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)]
        return (
            b"\xff\xd8"
            + b"".join(parts)
            + segment(0xDA, draw(st.binary(max_size=20)))
            + b"\xff\xd9"
            + trailing
        )

    def riff(name: bytes, body: bytes) -> bytes:
        return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)

    lossless = b"\x2f" + struct.pack("<I", draw(st.integers(0, 2**32 - 1))) + draw(st.binary(max_size=9))
    parts = [riff(b"VP8L", lossless), *(riff(b"test", body) for body in extra)]
    if kind == "webp+":
        parts.insert(0, riff(b"VP8X", draw(st.binary(min_size=10, max_size=10))))
        parts += [] if xmp is None else [riff(b"XMP ", xmp)]
    inside = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside + trailing


@settings(max_examples=150, deadline=None)
@given(containers())
def test_any_whole_container_gives_its_bytes_back(content: bytes) -> None:
    copy = stamped(content)
    assert original_of(copy) == content
    assert stamp_file(copy, stamp_for(content)) == copy
    assert read_back(copy) == stamp_for(content)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_broken_file_is_refused_or_stamped_never_anything_else(name: str, data: st.DataObject) -> None:
    content = bytearray(stamped(FILES[name]) if data.draw(st.booleans()) else FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(content[: data.draw(st.integers(0, len(content)))])
    digest = image_digest(broken)
    stamp = stamp_for(broken, image_sha256=digest)
    try:
        copy = stamp_file(broken, stamp)
    except StampError:
        return
    assert (original_of(copy) or broken) in (broken, unstamped(broken))
    attempt: Callable[[bytes], Stamp | None] = read_back
    assert attempt(copy) is not None
