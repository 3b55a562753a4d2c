"""A file's bytes in; one upright RGB image, flattened on white and at working size, out.

The one rule: the pixels depend on the bytes and ``working_side`` only, because embeddings are cached by
content; and whatever the bytes are, the outcome is an image or an ImageRefusedError. The steps, in order:

1. the format by content, and the container's completeness (:mod:`fairbrush.corpus.containers`);
2. the first frame or page. A large JPEG is decoded to no less than 1.5 times the size (``draft``);
3. alpha flattened on white, before any resampling mixes hidden colours in. 16-bit samples keep their high
   byte; 32-bit float ones must lie in [0, 1]; 32-bit integers and LAB are refused, they have no agreed white.
   A PNG's transparent key colour is honoured at 8 bits and in 16-bit grey, not at other depths;
4. longest side reduced to ``working_side``: box by whole factors down to three times the size, then Lanczos;
5. EXIF orientation;
6. an embedded ICC profile is converted to sRGB, relative colorimetric. A profile that is broken or of other
   channels than the pixels is ignored, as viewers do. CMYK without a profile is converted naively.

Kept free of numpy: a worker starts twice as fast without it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ExifTags import Base as ExifTag

from fairbrush.corpus.containers import ImageFormat, check_complete, sniff_format
from fairbrush.corpus.images import ImageLimits, RefusalReason
from fairbrush.corpus.parts import webp_canvas
from fairbrush.errors import ImageRefusedError

if TYPE_CHECKING:
    from PIL import ImageCms

# Importing these registers them; asked for a format it lacks, Pillow would import all forty.
_PLUGINS = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_RGB_MODES = frozenset({"P", "RGB", "RGBX", "YCbCr"})
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})

# libwebp's two canvases, Pillow's copy of the frame and its image, 4 bytes each.
_WEBP_BYTES_PER_PIXEL = 16

_PROFILE_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}


@dataclass(frozen=True, eq=False)
class Frame:
    """The working image (mode RGB) and what the file said about itself, upright."""

    image: Image.Image
    format: ImageFormat
    original_width: int
    original_height: int


def decode_frame(content: bytes, limits: ImageLimits) -> Frame:
    """Decode the first frame of a file's bytes; raises ImageRefusedError and nothing else."""
    image_format = sniff_format(content)
    check_complete(content, image_format)
    with _pillow_limits(limits):
        try:
            if image_format is ImageFormat.WEBP:
                _check_webp_canvas(content, limits)
            with Image.open(io.BytesIO(content), formats=[image_format]) as image:
                return _decode_opened(image, image_format, len(content), limits)
        except ImageRefusedError:
            raise
        except Exception as error:  # a hostile file can make a decoder raise anything
            raise _refusal_for(error, image_format, limits) from error


def _decode_opened(
    image: ImageFile.ImageFile, image_format: ImageFormat, n_bytes: int, limits: ImageLimits
) -> Frame:
    width, height = image.size
    _check_size(width, height, limits)
    working_size = _working_size(width, height, limits.working_side)
    if image_format is ImageFormat.TIFF:
        _check_strips(image, n_bytes)
    if image_format is ImageFormat.JPEG:
        image.draft(image.mode, (_draft_side(working_size[0]), _draft_side(working_size[1])))
    image.load()

    flat = _flatten(image)
    if flat.size != working_size:
        flat = flat.resize(working_size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        flat = flat.transpose(_UPRIGHT[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Frame(_to_srgb(flat, image.info.get("icc_profile")), image_format, width, height)


@contextmanager
def _pillow_limits(limits: ImageLimits) -> Iterator[None]:
    """Hold Pillow's process-wide limits at ours; a decompression bomb's warning becomes an error."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits.max_pixels, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"The image is {width:,} x {height:,}, {width * height:,} pixels", limits)
    if max(width, height) > limits.max_side:
        raise _too_many_pixels(f"The image is {width:,} x {height:,}", limits)


def _check_webp_canvas(content: bytes, limits: ImageLimits) -> None:
    """libwebp makes room while opening and calls a lack of memory damage: both are asked for first."""
    width, height = webp_canvas(content)
    _check_size(width, height, limits)
    bytearray(_WEBP_BYTES_PER_PIXEL * width * height)  # MemoryError when there is no room; touches no page


def _check_strips(image: ImageFile.ImageFile, n_bytes: int) -> None:
    """Refuse a TIFF whose first page's strips or tiles end after the file does."""
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    for offsets_tag, counts_tag in (
        (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS),
        (TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS),
    ):
        offsets, counts = image.tag_v2.get(offsets_tag, ()), image.tag_v2.get(counts_tag, ())
        end = max((offset + count for offset, count in zip(offsets, counts, strict=False)), default=0)
        if end > n_bytes:
            raise ImageRefusedError(
                RefusalReason.TRUNCATED,
                f"The TIFF's pixels end at byte {end:,} and the file has {n_bytes:,}. "
                "Save or download it again.",
            )


def _working_size(width: int, height: int, working_side: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= working_side:
        return width, height
    # integers, half up: the same on every machine
    reduced_width = (2 * width * working_side + longest) // (2 * longest)
    reduced_height = (2 * height * working_side + longest) // (2 * longest)
    return max(1, reduced_width), max(1, reduced_height)


def _draft_side(working_side: int) -> int:
    # what draft leaves for Lanczos: 1.5 keeps the detail, and a 12-megapixel photograph costs a third of 2
    return max(1, 3 * working_side // 2)


def _flatten(image: Image.Image) -> Image.Image:
    """Bring any mode to opaque L, RGB or CMYK, with white where the image is transparent."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return _keep_high_byte(image)
    if image.mode == "F":
        return _scale_unit_floats(image)
    if image.has_transparency_data:
        translucent = _in_mode(image, "RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(translucent, mask=translucent)
        return white.convert("L") if image.mode in _GREY_MODES else white
    if image.mode in _GREY_MODES:
        return _in_mode(image, "L")
    if image.mode in _RGB_MODES:
        return _in_mode(image, "RGB")
    if image.mode == "CMYK":
        return image
    raise ImageRefusedError(
        RefusalReason.UNSUPPORTED,
        f"Pixels of kind {image.mode} have no agreed white. Save it as 8-bit or 16-bit RGB.",
    )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    # convert() copies even when there is nothing to do: 400 MB at the pixel limit
    return image if image.mode == mode else image.convert(mode)


def _keep_high_byte(image: Image.Image) -> Image.Image:
    """16-bit grey to L, as Pillow does with 16-bit colour; a transparent grey becomes white."""
    high_bytes = [sample >> 8 for sample in range(65_536)]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        high_bytes[transparent] = 255
    return image.convert("I").point(high_bytes, "L")


def _scale_unit_floats(image: Image.Image) -> Image.Image:
    """Float samples in [0, 1] to L; others are refused, since nothing says where their white is."""
    import numpy as np

    samples = np.asarray(image)
    # NaN fails both comparisons
    if not (samples.min() >= 0 and samples.max() <= 1):
        raise ImageRefusedError(
            RefusalReason.UNSUPPORTED,
            f"Float samples must lie in [0, 1] and these reach from {samples.min():g} to {samples.max():g}. "
            "Save it as 8-bit or 16-bit RGB.",
        )
    return Image.fromarray((samples * 255 + 0.5).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, read after loading: Pillow turns a TIFF by itself and then drops the tag."""
    try:
        orientation = image.getexif().get(ExifTag.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # broken EXIF says nothing about the pixels: viewers show them as they are
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_srgb(image: Image.Image, icc_profile: object) -> Image.Image:
    converted = _convert_profile(image, icc_profile) if isinstance(icc_profile, bytes) else None
    return converted or image.convert("RGB")


def _convert_profile(image: Image.Image, icc_profile: bytes) -> Image.Image | None:
    """The image in sRGB, or None when the profile does not apply."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if _PROFILE_MODES.get(profile.profile.xcolor_space.strip()) != image.mode:
            return None
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        is_named_srgb = "srgb" in ImageCms.getProfileDescription(profile).lower()
        if is_named_srgb and image.mode == "RGB" and _keeps_colours(transform):
            return None
        return transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _keeps_colours(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether an RGB transform is the identity but for rounding: linear profiles call themselves sRGB too."""
    probe = Image.new("RGB", (6, 6))
    probe.putdata([(r, g, b) for r in (0, 60, 200) for g in (0, 120, 255) for b in (0, 30, 90, 180)])
    before, after = probe.tobytes(), transform.apply(probe).tobytes()
    return all(abs(old - new) <= 4 for old, new in zip(before, after, strict=True))


def _refusal_for(error: Exception, image_format: ImageFormat, limits: ImageLimits) -> ImageRefusedError:
    cause = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in cause:
        return ImageRefusedError(
            RefusalReason.OUT_OF_MEMORY,
            f"Decoding this {image_format} takes more than {limits.memory_bytes:,} bytes of memory. "
            "Save a smaller copy.",
        )
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _too_many_pixels(f"The {image_format} declares too large an image", limits)
    if "truncated" in cause.lower():
        return ImageRefusedError(
            RefusalReason.TRUNCATED, f"The {image_format} is cut short ({cause}). Save or download it again."
        )
    if isinstance(error, ValueError) and "MAX_TEXT" in cause:
        return ImageRefusedError(
            RefusalReason.TOO_MANY_BYTES,
            f"The {image_format}'s metadata unpacks to too much ({cause}). Save it without metadata.",
        )
    return ImageRefusedError(
        RefusalReason.CORRUPT,
        f"The {image_format} is damaged, or of a kind Pillow cannot read ({cause}). Save it again as PNG.",
    )


def _too_many_pixels(what: str, limits: ImageLimits) -> ImageRefusedError:
    return ImageRefusedError(
        RefusalReason.TOO_MANY_PIXELS,
        f"{what}; the limits are {limits.max_pixels:,} pixels and {limits.max_side:,} a side. "
        "Save a smaller copy.",
    )
