"""A map of styles: points in many directions put on a page, and how much of them is left there.

Enters: unit rows in style space. Leaves: a ``Projection``, and where on a canvas each picture lies. Plain
numpy; the one rule: the same rows give the same map, and the map says how far it is to be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS = 3
LEAST_HEIGHT, MOST_HEIGHT = 340, 620  # of a map that is not crowded
ROOM = 1.6  # cells a picture, so that a crowd need not move far
SIZES = ((6, 400, 120, 134), (16, 720, 120, 134), (48, 960, 92, 106))  # up to so many pictures: width, cell
MANY = (960, 64, 78)


@dataclass(frozen=True, eq=False)
class Projection:
    """points: float64 (n, 2); variation: the part of all squared differences that they show, 0 to 1;
    nearest: of each row its nearest others in style space, nearest first (three, fewer where there are not);
    kept: how many of these, on average, are among as many nearest on the map; by_chance: how many if the
    points lay anywhere."""

    points: NDArray[np.float64]
    variation: float
    nearest: tuple[tuple[int, ...], ...]
    kept: float
    by_chance: float


@dataclass(frozen=True)
class Cell:
    """Where a picture lies: its cell's left upper corner, in canvas units, and where its point is."""

    left: float
    top: float
    x: float
    y: float


@dataclass(frozen=True)
class Canvas:
    """width, height, cell_width, cell_height: in its own units. cells: of the pictures, by row; dots: of
    everybody else, (x, y)."""

    width: int
    height: int
    cell_width: int
    cell_height: int
    cells: dict[int, Cell]
    dots: dict[int, tuple[float, float]]


def project(rows: NDArray[np.float64], hands: Sequence[str]) -> Projection:
    """The two directions in which the rows differ most: principal components (Hotelling 1933,
    doi:10.1037/h0071325), the same as classical scaling of their distances. Of each direction the sign is
    such that its largest coordinate is positive.

    rows: float64 (n, dim), unit rows, n >= 1. hands: whose each is; entries of one creator are no neighbours.

    >>> import numpy as np
    >>> found = project(np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), ["a", "b", "c"])
    >>> round(found.variation, 6), found.nearest[0]
    (1.0, (1, 2))
    """
    import numpy as np

    centred = rows - rows.mean(axis=0)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(rows), 2))
    directions = min(2, len(spread))
    points[:, :directions] = left[:, :directions] * spread[:directions]
    for axis in range(2):
        if points[np.abs(points[:, axis]).argmax(), axis] < 0:
            points[:, axis] *= -1
    whole = float((spread**2).sum())
    variation = float((spread[:2] ** 2).sum()) / whole if whole > 1e-12 else 1.0
    nearest = _nearest(rows @ rows.T, hands)
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    on_map = _nearest(-apart, hands)
    both = zip(nearest, on_map, strict=True)
    kept = float(np.mean([len(set(mine) & set(shown)) for mine, shown in both]))
    sizes = np.array([len(mine) for mine in nearest], float)
    return Projection(points, variation, nearest, kept, float((sizes**2).mean() / max(len(rows) - 1, 1)))


def spread_out(points: NDArray[np.float64], most: int) -> list[int]:
    """At most so many points, each next one the farthest from those taken (Gonzalez 1985,
    doi:10.1016/0304-3975(85)90224-5); ties by position."""
    import numpy as np

    if len(points) <= most:
        return list(range(len(points)))
    taken = [int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    apart = np.full(len(points), np.inf)
    while len(taken) < most:
        apart = np.minimum(apart, ((points - points[taken[-1]]) ** 2).sum(axis=1))
        taken.append(int(apart.argmax()))
    return taken


def lay_out(points: NDArray[np.float64], pictured: Sequence[int]) -> Canvas:
    """Put points on a canvas, both axes to one scale; the pictured ones each into a free cell of a grid, the
    one nearest to its point, so that no two overlap.

    points: float64 (n, 2). pictured: positions in them; who comes first has the first choice.
    """
    import numpy as np

    width, cell_width, cell_height = next((size for n, *size in SIZES if len(pictured) <= n), MANY)
    columns = width // cell_width
    low, high = points.min(axis=0), points.max(axis=0)
    across, along = np.maximum(high - low, 1e-9)
    scale = (width - cell_width) / across
    spread = min(max(along * scale + cell_height, LEAST_HEIGHT), MOST_HEIGHT)
    lines = max(round(spread / cell_height), ceil(ROOM * len(pictured) / columns))
    height = lines * cell_height
    scale = min(scale, (height - cell_height) / along)
    middle = np.array([width / 2, height / 2])
    # up is more on paper, and less on a screen
    placed = middle + (points - (low + high) / 2) * scale * [1, -1]
    margin = (width - columns * cell_width) / 2
    corners = np.array(
        [(margin + c * cell_width, r * cell_height) for r in range(lines) for c in range(columns)], float
    )
    centres = corners + np.array([cell_width, cell_height]) / 2
    free = np.ones(len(corners), bool)
    cells = {}
    for position in pictured:
        far = ((centres - placed[position]) ** 2).sum(axis=1)
        chosen = int(np.where(free, far, np.inf).argmin())
        free[chosen] = False
        cells[position] = Cell(*corners[chosen].tolist(), *placed[position].tolist())
    dots = {p: (float(x), float(y)) for p, (x, y) in enumerate(placed.tolist()) if p not in cells}
    return Canvas(width, height, cell_width, cell_height, cells, dots)


def _nearest(similarity: NDArray[np.float64], hands: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """similarity: float64 (n, n), the larger the nearer; ties by position."""
    import numpy as np

    codes = np.unique(np.asarray(hands), return_inverse=True)[1]
    masked = np.where(codes[:, None] == codes[None], -np.inf, similarity)
    order = np.argsort(-masked, axis=1, kind="stable")[:, :NEIGHBOURS]
    return tuple(
        tuple(other for other in others if masked[row, other] > -np.inf)
        for row, others in enumerate(order.tolist())
    )
