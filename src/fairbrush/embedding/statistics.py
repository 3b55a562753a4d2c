"""Low-level statistics of an image that can be joined to any encoder's embedding.

Enters: uint8 (height, width, 3) RGB. Leaves: a float32 vector per part, square roots of histograms, so
that a dot product is the Bhattacharyya coefficient of two images. The one rule: no part depends on the
size of the image, nor on what other images there are.

What a hand leaves behind is often lower than CLIP looks: its palette, how hard and how dense its edges
are, how its surfaces are grained. docs/LOG.md has the measurement that keeps these parts in ``mini``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_SIDE = 128
COARSE_SIDE = 64
COLOUR_LEVELS = 5
EDGE_STEPS = (1, 3, 8, 20, 50, 100)  # grey levels of 255 between neighbouring pixels
EDGE_DIRECTIONS = 8
TEXTURE_STEP = 2  # grey levels by which a neighbour must be brighter


@dataclass(frozen=True)
class Statistic:
    """One named part: ``version`` is in the encoder id, so raise it when the numbers change."""

    name: str
    version: int
    dim: int
    measure: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def colour(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Joint RGB histogram, 5 levels a channel: float32 (125,).

    >>> import numpy as np
    >>> colour(np.zeros((4, 4, 3), np.uint8))[0].item()
    1.0
    """
    import numpy as np

    level = _shrink(pixels, LONGEST_SIDE).astype(np.int64) * COLOUR_LEVELS // 256
    cell = (level[..., 0] * COLOUR_LEVELS + level[..., 1]) * COLOUR_LEVELS + level[..., 2]
    return _root_histogram(cell, COLOUR_LEVELS**3)


def edges(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How strong and in which directions brightness changes, at two scales: float32 (63,).

    56 cells of strength (7 steps) by direction (8, modulo half a turn) at 128 px, 7 of strength at 64 px.
    """
    import numpy as np

    strength, direction = _gradient(_grey(_shrink(pixels, LONGEST_SIDE)))
    step = np.digitize(strength, EDGE_STEPS)
    fine = _root_histogram(step * EDGE_DIRECTIONS + np.where(step > 0, direction, 0), 7 * EDGE_DIRECTIONS)
    coarse_strength, _ = _gradient(_grey(_shrink(pixels, COARSE_SIDE)))
    coarse = _root_histogram(np.digitize(coarse_strength, EDGE_STEPS), 7)
    return np.concatenate([fine, coarse])


def texture(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Local binary patterns by (transitions, neighbours brighter): float32 (45,), turned images alike.

    Ojala, Pietikäinen, Mäenpää 2002 (doi:10.1109/TPAMI.2002.1017623), with a dead band of 2 grey levels.
    """
    import numpy as np

    grey = np.pad(_grey(_shrink(pixels, LONGEST_SIDE)), 1, mode="edge")
    height, width = grey.shape
    middle = grey[1:-1, 1:-1]
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    brighter = np.stack(
        [grey[y : height - 2 + y, x : width - 2 + x] > middle + TEXTURE_STEP for y, x in around]
    )
    transitions = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0) // 2
    return _root_histogram(transitions * 9 + brighter.sum(axis=0), 45)


STATISTICS = {part.name: part for part in (
    Statistic("colour", 1, COLOUR_LEVELS**3, colour),
    Statistic("edges", 1, 7 * EDGE_DIRECTIONS + 7, edges),
    Statistic("texture", 1, 45, texture),
)}  # fmt: skip


def _shrink(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """The image with its longest side at ``longest`` pixels, by area averaging (bicubic if enlarged)."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = longest / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    grey: NDArray[np.float32] = pixels.mean(axis=2, dtype=np.float32)
    return grey


def _gradient(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(strength in grey levels a pixel, direction 0..7 modulo half a turn) between neighbours."""
    import numpy as np

    grey = np.pad(grey, ((0, 1), (0, 1)), mode="edge")
    across, down = grey[:-1, 1:] - grey[:-1, :-1], grey[1:, :-1] - grey[:-1, :-1]
    turn = np.arctan2(down, across) % np.pi / np.pi
    return np.hypot(across, down), (turn * EDGE_DIRECTIONS).astype(np.int64) % EDGE_DIRECTIONS


def _root_histogram(cells: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    import numpy as np

    return np.sqrt(np.bincount(cells.ravel(), minlength=count) / cells.size).astype(np.float32)
