"""Decoding in this process: every value is known before it is read."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from fairbrush.corpus.images import (
    DecodedImage,
    ImageLimits,
    RefusalReason,
    decode_image,
    decoder_id,
    find_images,
    hash_file,
    read_file,
)
from fairbrush.errors import ImageRefusedError

LIMITS = ImageLimits()
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def file_bytes(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    n_channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (height, width) if n_channels == 1 else (height, width, n_channels)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), mode)


def decode(content: bytes, **limits: object) -> DecodedImage:
    return decode_image(content, replace(LIMITS, **limits))


def colour(content: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(int(channel) for channel in decode(content).pixels[y, x])


def refusal(content: bytes, **limits: object) -> ImageRefusedError:
    with pytest.raises(ImageRefusedError) as caught:
        decode(content, **limits)
    assert caught.value.detail.endswith(".")
    return caught.value


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *chunks: bytes, depth: int = 8, colour_type: int = 2) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


# What is read


@pytest.mark.parametrize("image_format", FORMATS)
def test_each_format_gives_its_colours_name_size_and_digest(image_format: str) -> None:
    content = file_bytes(Image.new("RGB", (40, 24), (200, 30, 90)), image_format)
    image = decode(content)
    assert np.abs(image.pixels.astype(int) - (200, 30, 90)).max() <= 4
    assert image.pixels.shape == (24, 40, 3)
    assert (image.format, image.original_width, image.original_height) == (image_format, 40, 24)
    assert image.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_exact_pixels(image_format: str) -> None:
    source = noise(37, 21)
    np.testing.assert_array_equal(decode(file_bytes(source, image_format)).pixels, np.asarray(source))


@pytest.mark.parametrize("image_format", FORMATS)
def test_one_pixel_image_is_read(image_format: str) -> None:
    pixels = decode(file_bytes(Image.new("RGB", (1, 1), WHITE), image_format)).pixels
    np.testing.assert_array_equal(pixels, [[WHITE]])


def test_one_bit_image_is_black_and_white() -> None:
    source = Image.new("1", (2, 1))
    source.putpixel((1, 0), 1)
    assert colour(file_bytes(source), 0) == BLACK
    assert colour(file_bytes(source), 1) == WHITE


def test_grey_image_has_three_equal_channels() -> None:
    assert colour(file_bytes(Image.new("L", (3, 3), 77))) == (77, 77, 77)


def test_grey_alpha_is_flattened_on_white() -> None:
    assert colour(file_bytes(Image.new("LA", (3, 3), (0, 102)))) == (153, 153, 153)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_colour_alpha_is_flattened_on_white(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    assert colour(file_bytes(Image.new("RGBA", (3, 3), (255, 0, 0, 102)), image_format, **options)) == (
        255,
        153,
        153,
    )


def test_colours_hidden_under_full_transparency_do_not_bleed_when_reduced() -> None:
    source = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    source.paste((255, 0, 0, 255), (200, 0, 400, 400))
    pixels = decode(file_bytes(source), working_side=100).pixels
    np.testing.assert_array_equal(pixels[:, :45], np.full((100, 45, 3), 255))
    assert pixels[..., 0].min() >= 250, "no black came out of the transparent half"


def test_palette_transparency_is_flattened_on_white() -> None:
    source = Image.new("P", (2, 1))
    source.putpalette([*BLUE, *GREEN])
    source.putpixel((1, 0), 1)
    content = file_bytes(source, transparency=0)
    assert (colour(content, 0), colour(content, 1)) == (WHITE, GREEN)


def test_gif_transparency_is_flattened_on_white() -> None:
    source = Image.new("P", (2, 1))
    source.putpalette([*BLUE, *GREEN])
    source.putpixel((1, 0), 1)
    content = file_bytes(source, "GIF", transparency=0)
    assert (colour(content, 0), colour(content, 1)) == (WHITE, GREEN)


def test_transparent_key_colour_of_rgb_png_is_white() -> None:
    content = file_bytes(Image.new("RGB", (2, 2), BLUE), transparency=BLUE)
    assert colour(content) == WHITE


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(image_format: str) -> None:
    source = Image.fromarray(np.array([[0x0000, 0x80FF, 0xFFFF]], dtype=np.uint16))
    pixels = decode(file_bytes(source, image_format)).pixels
    np.testing.assert_array_equal(pixels[0, :, 0], [0x00, 0x80, 0xFF])


def test_sixteen_bit_transparent_grey_is_white() -> None:
    rows = zlib.compress(b"\0" + struct.pack(">HH", 0x1234, 0x1235))
    content = png_of(2, 1, png_chunk(b"tRNS", b"\x12\x34"), png_chunk(b"IDAT", rows), depth=16, colour_type=0)
    assert (colour(content, 0), colour(content, 1)) == (WHITE, (0x12, 0x12, 0x12))


def test_sixteen_bit_rgb_keeps_its_high_bytes() -> None:
    rows = zlib.compress(b"\0" + struct.pack(">HHH", 0xFFFF, 0x80FF, 0x00FF))
    assert colour(png_of(1, 1, png_chunk(b"IDAT", rows), depth=16)) == (0xFF, 0x80, 0x00)


def test_unit_float_tiff_is_scaled_to_bytes() -> None:
    source = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    np.testing.assert_array_equal(decode(file_bytes(source, "TIFF")).pixels[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("sample", [-0.01, 1.01, 400.0, float("nan"), float("inf")])
def test_float_tiff_outside_the_unit_interval_is_refused(sample: float) -> None:
    source = Image.fromarray(np.array([[0.5, sample]], dtype=np.float32))
    assert refusal(file_bytes(source, "TIFF")).reason is RefusalReason.UNSUPPORTED


def test_thirty_two_bit_integer_tiff_is_refused() -> None:
    source = Image.fromarray(np.array([[70_000]], dtype=np.int32))
    assert refusal(file_bytes(source, "TIFF")).reason is RefusalReason.UNSUPPORTED


def test_cmyk_tiff_is_converted() -> None:
    assert colour(file_bytes(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF")) == RED


def test_adobe_inverted_cmyk_jpeg_is_not_a_negative() -> None:
    content = file_bytes(Image.new("CMYK", (16, 16), (255, 0, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in content
    np.testing.assert_allclose(colour(content), GREEN, atol=4)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(image_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = file_bytes(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.n_frames == 3
    assert colour(content) == RED


def test_many_page_tiff_gives_its_first_page() -> None:
    pages = [Image.new("RGB", (8, 6), RED), Image.new("RGB", (30, 30), BLUE)]
    image = decode(file_bytes(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    np.testing.assert_array_equal(image.pixels, np.full((6, 8, 3), RED))


def test_phone_picture_holding_a_second_one_gives_the_first() -> None:
    pictures = [Image.new("RGB", (2048, 1536), colour) for colour in (WHITE, BLACK)]
    image = decode(file_bytes(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    assert (image.format, image.pixels.shape, image.original_width) == ("JPEG", (768, 1024, 3), 2048)
    assert image.pixels.min() == 255


def test_bytes_after_the_end_are_not_looked_at() -> None:
    for image_format in FORMATS:
        content = file_bytes(Image.new("RGB", (8, 8), WHITE), image_format)
        assert colour(content + b"trailing bytes") == WHITE, image_format


# Orientation, size and colour space


def corners() -> Image.Image:
    """Upright: red top left, green top right, blue bottom left, white bottom right; 40 x 24."""
    upright = Image.new("RGB", (40, 24), WHITE)
    upright.paste(RED, (0, 0, 20, 12))
    upright.paste(GREEN, (20, 0, 40, 12))
    upright.paste(BLUE, (0, 12, 20, 24))
    return upright


# How a camera stores the upright picture under each tag: the inverse of what a reader must do.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_turned_upright(orientation: int, image_format: str) -> None:
    transposition = STORED[orientation]
    stored = corners() if transposition is None else corners().transpose(transposition)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(file_bytes(stored, image_format, exif=exif, quality=95))
    assert (image.original_width, image.original_height) == (40, 24)
    assert image.pixels.shape == (24, 40, 3)
    seen = [image.pixels[y, x] for y, x in ((6, 10), (6, 30), (18, 10), (18, 30))]
    np.testing.assert_allclose(seen, [RED, GREEN, BLUE, WHITE], atol=12)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*"])
def test_broken_exif_leaves_the_image_as_it_is(exif: bytes) -> None:
    image = decode(file_bytes(corners(), "JPEG", exif=exif))
    np.testing.assert_allclose(image.pixels[6, 10], RED, atol=12)


def test_longest_side_is_reduced_to_the_working_side() -> None:
    image = decode(file_bytes(Image.new("RGB", (300, 200), (9, 8, 7))), working_side=100)
    np.testing.assert_array_equal(image.pixels, np.full((67, 100, 3), (9, 8, 7)))
    assert (image.original_width, image.original_height) == (300, 200)


def test_small_image_is_not_enlarged() -> None:
    assert decode(file_bytes(noise(33, 20)), working_side=1024).pixels.shape == (20, 33, 3)


def test_reduction_is_box_then_lanczos() -> None:
    source = noise(1000, 700)
    expected = source.resize((100, 70), Image.Resampling.LANCZOS, reducing_gap=3.0)
    np.testing.assert_array_equal(decode(file_bytes(source), working_side=100).pixels, np.asarray(expected))


def test_draft_of_a_large_jpeg_agrees_with_its_full_decoding() -> None:
    gradient = Image.linear_gradient("L").resize((1600, 1200))
    content = file_bytes(Image.merge("RGB", (gradient, gradient.rotate(180), gradient)), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as opened:
        full = opened.resize((200, 150), Image.Resampling.LANCZOS)
    image = decode(content, working_side=200)
    assert (image.original_width, image.original_height) == (1600, 1200)
    assert np.abs(image.pixels.astype(int) - np.asarray(full).astype(int)).max() <= 2


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (20_000, 7)])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_extreme_aspect_ratio_keeps_at_least_one_pixel(size: tuple[int, int], image_format: str) -> None:
    image = decode(file_bytes(Image.new("RGB", size, WHITE), image_format))
    assert image.pixels.shape == ((1, 1024, 3) if size[0] > size[1] else (1024, 1, 3))
    assert image.pixels.min() == 255


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged: red in the file is green to the eye."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")).replace(b"sRGB", b"test")


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_embedded_profile_is_converted_to_srgb(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = file_bytes(
        Image.new("RGB", (16, 16), RED), image_format, icc_profile=swapped_profile(), **options
    )
    np.testing.assert_allclose(colour(content), GREEN, atol=6)


def test_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = noise(20, 20)
    np.testing.assert_array_equal(decode(file_bytes(source, icc_profile=profile)).pixels, np.asarray(source))


def test_a_linear_profile_that_calls_itself_srgb_is_converted() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tag = next(at for at in range(132, 400, 12) if profile[at : at + 4] == b"rTRC")
    (curve,) = struct.unpack_from(">I", profile, tag + 4)  # shared by the three channels
    linear = profile[:curve] + b"curv".ljust(16, b"\0") + profile[curve + 16 :]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(linear)))
    # a quarter of the light is 137 of 255 in sRGB (IEC 61966-2-1)
    content = file_bytes(Image.new("RGB", (4, 4), (64, 64, 64)), icc_profile=linear)
    np.testing.assert_allclose(colour(content), (137, 137, 137), atol=1)


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 200, swapped_profile()[:300]])
def test_broken_profile_is_ignored(profile: bytes) -> None:
    assert colour(file_bytes(Image.new("RGB", (4, 4), RED), icc_profile=profile)) == RED


def test_profile_of_other_channels_is_ignored() -> None:
    assert colour(file_bytes(Image.new("L", (4, 4), 90), icc_profile=swapped_profile())) == (90, 90, 90)


def test_decoder_id_names_the_working_side() -> None:
    assert decoder_id(LIMITS) == "decode1-1024"
    assert decoder_id(replace(LIMITS, working_side=512)) == "decode1-512"


# What is refused


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7\n",
        b"\0\0\x01\0\x01\0\x10\x10",
        b"BM is how this sentence begins",
        b"just text",
        b"\0" * 500,
    ],
)
def test_other_content_is_unsupported(content: bytes) -> None:
    assert refusal(content).reason is RefusalReason.UNSUPPORTED


@pytest.mark.parametrize("image_format", ["ICO", "PPM", "TGA", "JPEG2000", "PCX"])
def test_formats_pillow_knows_and_we_do_not_are_unsupported(image_format: str) -> None:
    content = file_bytes(Image.new("RGB", (16, 16), RED), image_format)
    assert refusal(content).reason is RefusalReason.UNSUPPORTED


COMPRESSED = [
    *[(image_format, {}) for image_format in FORMATS],
    ("JPEG", {"progressive": True}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "jpeg"}),
]


@pytest.mark.parametrize(("image_format", "options"), COMPRESSED)
def test_file_cut_anywhere_is_truncated(image_format: str, options: dict[str, object]) -> None:
    content = file_bytes(noise(64, 48), image_format, **options)
    n_bytes = len(content)
    reasons = {
        n_kept: refusal(content[:n_kept]).reason
        for n_kept in (n_bytes // 3, n_bytes // 2, n_bytes * 9 // 10, n_bytes - 40, n_bytes - 1)
    }
    assert reasons == dict.fromkeys(reasons, RefusalReason.TRUNCATED)


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_prefix_of_a_file_is_refused(image_format: str) -> None:
    content = file_bytes(noise(8, 7), image_format)  # 8: the rows of a BMP then end without padding
    for n_kept in range(1, len(content)):
        refusal(content[:n_kept])


def test_animation_cut_after_its_first_frame_is_truncated() -> None:
    frames = [noise(32, 32), noise(32, 32).rotate(90), noise(32, 32).rotate(180)]
    for image_format in ("GIF", "PNG", "WEBP"):
        content = file_bytes(frames[0], image_format, save_all=True, append_images=frames[1:])
        assert refusal(content[: len(content) * 3 // 4]).reason is RefusalReason.TRUNCATED, image_format


def test_flipped_bit_in_a_png_is_corrupt() -> None:
    content = bytearray(file_bytes(noise(32, 32)))
    content[len(content) // 2] ^= 1
    assert refusal(bytes(content)).reason is RefusalReason.CORRUPT


@pytest.mark.parametrize("image_format", ["JPEG", "BMP", "TIFF"])
def test_garbage_after_the_signature_is_refused(image_format: str) -> None:
    content = file_bytes(noise(32, 32), image_format)
    error = refusal(content[:20] + b"\xa5" * 200 + b"\xff\xd9")
    assert error.reason in {RefusalReason.CORRUPT, RefusalReason.TRUNCATED}


def gif_bomb(side: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame


BOMBS = {
    "png": png_of(60_000, 60_000, png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))),
    "png a little over": png_of(10_001, 10_000, png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))),
    "gif": gif_bomb(65_535),
    "bmp": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, 50_000, 50_000, 1, 24, *[0] * 6)
    + bytes(146),
    "webp": b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8X"
    + struct.pack("<I", 10)
    + b"\0" * 4
    + b"\xff\x3f\0" * 2,
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bomb_is_refused_by_its_declared_size(name: str) -> None:
    assert refusal(BOMBS[name]).reason is RefusalReason.TOO_MANY_PIXELS


def test_side_over_the_limit_is_too_many_pixels() -> None:
    error = refusal(file_bytes(Image.new("L", (70_000, 1))))
    assert error.reason is RefusalReason.TOO_MANY_PIXELS
    assert "70,000 x 1" in error.detail


def test_pixel_limit_is_inclusive() -> None:
    content = file_bytes(noise(10, 10))
    assert decode(content, max_pixels=100).pixels.shape == (10, 10, 3)
    assert refusal(content, max_pixels=99).reason is RefusalReason.TOO_MANY_PIXELS


def test_text_chunk_that_unpacks_to_much_is_refused() -> None:
    text = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 50_000_000))
    content = png_of(1, 1, text, png_chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")))
    assert refusal(content).reason is RefusalReason.TOO_MANY_BYTES


def test_decoding_leaves_pillow_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        assert refusal(file_bytes(noise(64, 48), "JPEG")[:1500]).reason is RefusalReason.TRUNCATED
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before[1]
    assert before[0] == Image.MAX_IMAGE_PIXELS


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 "]),
)
def test_random_bytes_are_refused_and_nothing_else(tail: bytes, signature: bytes) -> None:
    refusal(signature + tail)


MUTABLE = [file_bytes(noise(12, 9), name) for name in FORMATS]
MUTABLE += [
    file_bytes(noise(12, 9), "TIFF", compression="tiff_lzw", icc_profile=swapped_profile()),
    file_bytes(noise(12, 9, "RGBA"), "WEBP", lossless=True, icc_profile=swapped_profile()),
    file_bytes(
        corners(), "JPEG", progressive=True, icc_profile=swapped_profile(), exif=b"Exif\0\0II*\0\x08\0\0\0"
    ),
]


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(MUTABLE),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_mutated_file_is_read_or_refused_and_nothing_else(
    content: bytes, changes: list[tuple[float, int]]
) -> None:
    mutated = bytearray(content)
    for place, byte in changes:
        mutated[int(place * len(mutated))] = byte
    try:
        image = decode(bytes(mutated), max_pixels=1_000_000, working_side=64)
    except ImageRefusedError as error:
        RefusalReason(error.reason)
        return
    assert image.pixels.dtype == np.uint8
    assert max(image.pixels.shape) <= 64


# Files and folders


def test_hash_file_is_the_digest_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(3_000_001))
    assert hash_file(path, LIMITS) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("read", "most_bytes"), [(hash_file, 6_000_000), (read_file, 22_000_000)])
def test_a_file_is_never_held_twice_and_to_be_hashed_not_once(
    read: Callable[[Path, ImageLimits], object], most_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(20_000_000)
    tracemalloc.start()
    try:
        read(path, LIMITS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < most_bytes


def unusable_paths(tmp_path: Path) -> dict[Path, RefusalReason]:
    (tmp_path / "empty.png").touch()
    (tmp_path / "large.png").write_bytes(b"\0" * 1001)
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    return {
        tmp_path / "absent.png": RefusalReason.MISSING,
        tmp_path / "empty.png" / "below a file.png": RefusalReason.MISSING,
        tmp_path: RefusalReason.NOT_A_FILE,
        tmp_path / "fifo.png": RefusalReason.NOT_A_FILE,
        Path("/dev/zero"): RefusalReason.NOT_A_FILE,
        tmp_path / "loop.png": RefusalReason.UNREADABLE,
        tmp_path / ("x" * 300 + ".png"): RefusalReason.UNREADABLE,
        tmp_path / "nul\0.png": RefusalReason.UNREADABLE,
        tmp_path / "empty.png": RefusalReason.EMPTY,
        tmp_path / "large.png": RefusalReason.TOO_MANY_BYTES,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and devices are POSIX")
@pytest.mark.parametrize("read", [hash_file, read_file])
def test_unusable_path_is_refused_with_its_reason(tmp_path: Path, read: object) -> None:
    for path, reason in unusable_paths(tmp_path).items():
        with pytest.raises(ImageRefusedError) as caught:
            read(path, replace(LIMITS, max_bytes=1000))  # type: ignore[operator]
        assert caught.value.reason is reason, path


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ImageRefusedError) as caught:
        read_file(path, LIMITS)
    assert caught.value.reason is RefusalReason.UNREADABLE


def test_byte_limit_is_inclusive(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"x" * 1000)
    assert read_file(path, replace(LIMITS, max_bytes=1000)) == b"x" * 1000


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_folder_gives_its_images_sorted_then_its_subfolders(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.JPEG", "b/1.png", "z.tif", "a/x.webp", "c.png", "notes.txt", "data.svg")
    make_files(tmp_path, ".hidden.png", ".folder/y.png")
    found = find_images([tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found.images]
    assert names == ["c.png", "z.tif", "a/x.webp", "b/1.png", "b/2.JPEG"]
    assert found.refusals == []


def test_photographs_of_other_formats_are_refused_and_not_passed_over(tmp_path: Path) -> None:
    make_files(tmp_path, "IMG_0001.HEIC", "raw.psd")
    (found,) = find_images([tmp_path]).images
    found.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageRefusedError, match="Convert it to PNG") as refused:
        decode_image(read_file(found, LIMITS), LIMITS)
    assert refused.value.reason is RefusalReason.UNSUPPORTED


def test_explicit_files_keep_their_order_and_need_no_extension(tmp_path: Path) -> None:
    make_files(tmp_path, "no-extension", "a.png", ".hidden")
    paths = [tmp_path / "no-extension", tmp_path / "a.png", tmp_path / ".hidden"]
    assert find_images(paths).images == paths


def test_path_given_twice_is_found_once(tmp_path: Path) -> None:
    make_files(tmp_path, "a.png", "b.png")
    (tmp_path / "link.png").symlink_to("a.png")
    found = find_images([tmp_path / "b.png", tmp_path, tmp_path / "." / "a.png"])
    assert found.images == [tmp_path / "b.png", tmp_path / "a.png"]


def test_symlink_loop_ends(tmp_path: Path) -> None:
    make_files(tmp_path, "sub/a.png")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert find_images([tmp_path]).images == [tmp_path / "sub" / "a.png"]


def test_missing_path_is_a_refusal_and_broken_link_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to("gone.png")
    found = find_images([tmp_path / "absent", tmp_path])
    assert [(refused.path, refused.reason) for refused in found.refusals] == [
        (tmp_path / "absent", RefusalReason.MISSING)
    ]
    assert found.images == [tmp_path / "broken.png"]


def test_importing_images_imports_neither_pillow_nor_numpy() -> None:
    program = "import sys, fairbrush.corpus.images as i; print({'PIL', 'numpy', 'pebble'} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output == "set()\n"
