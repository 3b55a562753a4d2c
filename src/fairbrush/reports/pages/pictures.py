"""Pictures inside a page, as data.

Enters: image files, which anybody may have made. Leaves: ``data:`` addresses of small pictures. The one rule:
a file is decoded within our limits and written anew, so nothing but pixels gets into a page.
"""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import ImageLimits, decode_image, read_file
from fairbrush.corpus.stamped import image_digest
from fairbrush.corpus.works import thumbnail_path
from fairbrush.errors import ImageRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN_PIXELS = 640  # of the longer side of the image that a page is about
_LIMITS = ImageLimits()


def thumbnail(workspace: Path, work_sha256: str) -> str | None:
    """The kept thumbnail of a work as a ``data:`` address; None where it is gone."""
    return picture(thumbnail_path(workspace, work_sha256), most_pixels=256)


def picture(path: Path, *, sha256: str | None = None, most_pixels: int = SHOWN_PIXELS) -> str | None:
    """A file's image as a ``data:`` address; None where it cannot be read, or is not that of ``sha256``."""
    try:
        content = read_file(path, _LIMITS)
        if sha256 is not None and image_digest(content) != sha256:
            return None
        decoded = decode_image(content, _LIMITS)
    except ImageRefusedError:
        return None
    return as_data(decoded.pixels, most_pixels=most_pixels)


def as_data(pixels: NDArray[np.uint8], *, most_pixels: int = SHOWN_PIXELS, quality: int = 85) -> str:
    """Decoded pixels, uint8 (height, width, 3), as a ``data:`` address."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((most_pixels, most_pixels))
    stream = BytesIO()
    image.save(stream, "WEBP", quality=quality)
    return f"data:image/webp;base64,{b64encode(stream.getvalue()).decode()}"
