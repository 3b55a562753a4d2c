"""Likeness: whether two works are one picture, told from their thumbnails.

Enters: thumbnails. Leaves: an outline a picture (256 bytes, kept with the work), and a ``Match`` of two
pictures. The one rule: an outline only proposes; two pictures are called copies when their edges agree at
32 x 32 in one of eight orientations, whole or with a margin of one of them cut off.

An outline is where colours change, whatever the colours are, so recolouring, re-encoding and resizing leave
it. Measured on the bundled works, docs/LOG.md: 64-bit difference and DCT hashes miss 1-6 % of mere JPEG
copies of flat drawings, whose bits are ties.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 64  # pixels a picture is compared at
COARSE = 16
FINE = 32
OUTLINE_BYTES = COARSE * COARSE
MARGINS = (0.0, 0.025, 0.05, 0.075, 0.1)  # of a side, that a copy may have lost at each edge
SAME_OUTLINE = 0.91
SAME_CROPPED = 0.96  # the best of 1,250 ways to lay one over the other is easily higher
SAME_PICTURE = 0.95
SAME_COLOURS = 7.0  # mean difference of 16 x 16 pixels, of 255
PROPOSED = 0.5
PROPOSALS = 5


class Likeness(StrEnum):
    """How two works are one: the evidence to show."""

    SAME_FILE = "same file"
    SAME_PICTURE = "same picture, re-encoded"
    NEAR_COPY = "near copy"


@dataclass(frozen=True)
class Match:
    """Two pictures that are one. ``similarity``: correlation of their edges once laid over each other."""

    likeness: Likeness
    similarity: float


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: uint8 (64, 64, 3), whatever the shape was."""

    pixels: NDArray[np.uint8]

    @classmethod
    def of_thumbnail(cls, file: Path) -> Picture | None:
        """None where the thumbnail is gone or cannot be read: nothing is known then."""
        import numpy as np
        from PIL import Image

        try:
            with Image.open(io.BytesIO(file.read_bytes())) as image:
                small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        except (OSError, ValueError, SyntaxError):
            return None
        return cls(np.asarray(small))

    @cached_property
    def turned(self) -> list[Picture]:
        """The eight orientations, this one first."""
        import numpy as np

        ways = (self.pixels, self.pixels[:, ::-1])
        return [Picture(np.rot90(way, quarter)) for way in ways for quarter in range(4)]

    @cached_property
    def edges(self) -> NDArray[np.float32]:
        """Where colours change: float32 (64, 64), the same for every orientation but turned."""
        import numpy as np

        padded = np.pad(self.pixels.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
        down = np.abs(np.diff(padded[:, 1:-1], axis=0))
        across = np.abs(np.diff(padded[1:-1], axis=1))
        change: NDArray[np.float32] = (down[:-1] + down[1:] + across[:, :-1] + across[:, 1:]).sum(axis=2)
        return np.sqrt(change)

    @cached_property
    def outline(self) -> bytes:
        """Edge strength in 16 x 16 cells, 255 the strongest: what is kept with a work."""
        import numpy as np

        cells = _cells(self.edges, COARSE)
        scaled: NDArray[np.uint8] = np.rint(cells * (255 / max(float(cells.max()), 1e-6))).astype(np.uint8)
        return scaled.tobytes()

    @cached_property
    def fine(self) -> NDArray[np.float32]:
        """Edges in 32 x 32 cells as a direction: float32 (1024,)."""
        direction: NDArray[np.float32] = centred(_cells(self.edges, FINE).reshape(1, -1))[0]
        return direction

    @cached_property
    def cropped(self) -> NDArray[np.float32]:
        """``fine`` of this picture without each choice of margins: float32 (n_crops, 1024)."""
        import numpy as np

        resample = _resampling()
        rows = resample @ self.edges  # (n, 32, 64)
        views = np.einsum("aij,bkj->abik", rows, resample, optimize=True)
        return centred(views.reshape(len(resample) ** 2, FINE * FINE))


class Outlines:
    """The outlines of known works, to propose who may be the same picture.

    directions: float32 (n_works, 256), each of length 1.
    """

    def __init__(self, outlines: Sequence[bytes]) -> None:
        import numpy as np

        stored = np.frombuffer(b"".join(outlines), np.uint8).reshape(len(outlines), OUTLINE_BYTES)
        self.directions = centred(stored.astype(np.float32))

    def propose(self, picture: Picture, *, leave_out: Sequence[int] = ()) -> list[int]:
        """The positions of the known works most like a picture in any orientation, best first."""
        import numpy as np

        if not len(self.directions):
            return []
        [direction] = Outlines([picture.outline]).directions
        best = (np.stack([direction[turn] for turn in outline_turns()]) @ self.directions.T).max(axis=0)
        best[list(leave_out)] = -1
        order = np.argsort(-best, kind="stable")[:PROPOSALS]
        return [int(position) for position in order if best[position] >= PROPOSED]


@cache
def outline_turns() -> tuple[NDArray[np.intp], ...]:
    """The cells of an outline in its eight orientations: each intp (256,), the first leaves it as it is."""
    import numpy as np

    cells = np.arange(OUTLINE_BYTES).reshape(COARSE, COARSE)
    ways = (cells, cells[:, ::-1])
    return tuple(np.rot90(way, quarter).ravel() for way in ways for quarter in range(4))


def compare(one: Picture, other: Picture) -> Match | None:
    """How two pictures are one, None where they are not.

    >>> import numpy as np
    >>> drawing = Picture(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    >>> str(compare(drawing, Picture(drawing.pixels[:, ::-1])).likeness)
    'near copy'
    """
    import numpy as np

    turned = np.stack([way.fine for way in one.turned])
    whole = turned @ other.fine
    if whole[0] >= SAME_PICTURE and _colour_gap(one, other) < SAME_COLOURS:
        return Match(Likeness.SAME_PICTURE, float(whole[0]))
    if whole.max() >= SAME_OUTLINE:
        return Match(Likeness.NEAR_COPY, float(whole.max()))
    laid_over = other.cropped @ turned.T
    inside = np.stack([way.fine for way in other.turned]) @ one.cropped.T
    best = max(float(laid_over.max()), float(inside.max()))
    return Match(Likeness.NEAR_COPY, best) if best >= SAME_CROPPED else None


def centred(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with mean 0 and length 1; a row without any change stays zero, and is like nothing."""
    import numpy as np

    rows = rows - rows.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return unit


def _cells(edges: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    each = SIDE // side
    cells: NDArray[np.float32] = edges.reshape(side, each, side, each).mean(axis=(1, 3))
    return cells


def _colour_gap(one: Picture, other: Picture) -> float:
    import numpy as np

    def coarse(picture: Picture) -> NDArray[np.float32]:
        each = SIDE // COARSE
        cells: NDArray[np.float32] = (
            picture.pixels.astype(np.float32).reshape(COARSE, each, COARSE, each, 3).mean(axis=(1, 3))
        )
        return cells

    return float(np.abs(coarse(one) - coarse(other)).mean())


@cache
def _resampling() -> NDArray[np.float32]:
    """For each pair of margins, the average over 32 equal parts of what is between: float32 (n, 32, 64)."""
    import numpy as np

    views = []
    for first in MARGINS:
        for last in MARGINS:
            bounds = np.linspace(first * SIDE, (1 - last) * SIDE, FINE + 1)
            starts, ends = bounds[:-1, None], bounds[1:, None]
            pixel = np.arange(SIDE)[None]
            overlap = np.clip(np.minimum(ends, pixel + 1) - np.maximum(starts, pixel), 0, None)
            views.append(overlap / (ends - starts))
    return np.stack(views).astype(np.float32)
