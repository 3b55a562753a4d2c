"""Views of an image: what is embedded of it, and the scheme's name.

Enters: a decoded image. Leaves: its views, always as many, the whole image first. The one rule: vectors of
views are never mixed with plain ones: a scheme's name is part of the cache's variant and of an attribution's
value function. To cut otherwise, add a scheme with a name of its own; never change what a name means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_SIDE = 32  # pixels; less is a few brush strokes enlarged to fill what an encoder reads


@dataclass(frozen=True)
class Views:
    """``name``: empty for the image itself; ``cut``: from uint8 (height, width, 3) to ``count`` images."""

    name: str
    count: int
    cut: Callable[[NDArray[np.uint8]], list[NDArray[np.uint8]]]

    def variant(self, plain: str) -> str:
        """The cache's variant, of an encoder's own.

        >>> FACETS.variant("onnx-float32"), WHOLE.variant("onnx-float32")
        ('onnx-float32+whole+2x2', 'onnx-float32')
        """
        return f"{plain}+{self.name}" if self.name else plain


def whole_and_quadrants(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The image, then its quarters: top left, top right, bottom left, bottom right.

    A quarter's side is half the image's, rounded up, and at least ``LEAST_SIDE`` pixels: quarters of a small
    image overlap, and where a side has no more than that each spans it.

    >>> import numpy as np
    >>> [view.shape[:2] for view in whole_and_quadrants(np.zeros((101, 40, 3), np.uint8))]
    [(101, 40), (51, 32), (51, 32), (51, 32), (51, 32)]
    """
    height, width = pixels.shape[:2]
    high, wide = _part(height), _part(width)
    return [
        pixels,
        pixels[:high, :wide],
        pixels[:high, width - wide :],
        pixels[height - high :, :wide],
        pixels[height - high :, width - wide :],
    ]


def _part(side: int) -> int:
    return min(side, max(-(-side // 2), LEAST_SIDE))


def levels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each colour stretched from its darkest to its lightest but a hundredth, so that paper is white.

    >>> import numpy as np
    >>> paper = np.full((2, 2, 3), [250, 240, 215], np.uint8)
    >>> paper[0, 0] = [250, 60, 60]
    >>> levels(paper)[0].tolist()
    [[250, 0, 0], [250, 255, 255]]
    """
    import numpy as np
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.autocontrast(Image.fromarray(pixels), cutoff=1))


def grey_levels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same without colour."""
    import numpy as np
    from PIL import Image

    return levels(np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=2))


WHOLE = Views("", 1, lambda pixels: [pixels])
LEVELS = Views("levels", 1, lambda pixels: [levels(pixels)])
GREY = Views("grey-levels", 1, lambda pixels: [grey_levels(pixels)])
FACETS = Views("whole+2x2", 5, whole_and_quadrants)
