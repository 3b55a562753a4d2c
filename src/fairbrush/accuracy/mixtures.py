"""Images and vectors made of several works, with the share of each known.

Enters: works and weights that sum to 1. Leaves: one mixture. The one rule: the true shares are what went in,
parts of the area side by side, alpha where blended, weights in embedding space; whether an eye would call the
result so much of one style is another question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 256


def side_by_side(works: Sequence[Image.Image], weights: Sequence[float]) -> Image.Image:
    """Each whole, in a row on white; the areas are as the weights."""
    from PIL import Image

    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    roots = [weight**0.5 for weight in weights]
    left = 0
    for work, root in zip(works, roots, strict=True):
        side = round(SIDE * root / sum(roots))
        canvas.paste(work.resize((side, side)), (left, (SIDE - side) // 2))
        left += side
    return canvas


def blended(works: Sequence[Image.Image], weights: Sequence[float]) -> Image.Image:
    """Each over the whole image, as opaque as its weight."""
    from PIL import Image

    mixed, opaque = works[0], weights[0]
    for work, weight in zip(works[1:], weights[1:], strict=True):
        opaque += weight
        mixed = Image.blend(mixed, work, weight / opaque)
    return mixed


COMPOSITIONS: Mapping[str, Callable[[Sequence[Image.Image], Sequence[float]], Image.Image]] = {
    "side by side": side_by_side,
    "blended": blended,
}
IN_EMBEDDING_SPACE = "in embedding space"


def squared(pixels: NDArray[np.uint8]) -> Image.Image:
    """The middle square of an image uint8 (height, width, 3), as large as a mixture."""
    from PIL import Image, ImageOps

    return ImageOps.fit(Image.fromarray(pixels), (SIDE, SIDE))


def mixed_vector(vectors: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """The direction of the weighted sum of the unit rows: float32 (dim,).

    >>> import numpy as np
    >>> mixed_vector(np.array([[2, 0], [0, 1]], np.float32), [0.5, 0.5]).round(3).tolist()
    [0.7070000171661377, 0.7070000171661377]
    """
    import numpy as np

    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mixed = np.asarray(weights) @ rows
    unit: NDArray[np.float32] = (mixed / np.linalg.norm(mixed)).astype(np.float32)
    return unit
