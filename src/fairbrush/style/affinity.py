"""Affinity: how much nearer an image comes to an artist's centroid than strangers do.

Enters: works, panel and queries as unit rows of one style space. Leaves: a centroid and an offset an
artist, and the image-level threshold. The one rule: ``z = cosine to the centroid - offset`` and nothing is
divided by a per-artist scale, under which artists with little hold explode (docs/method.md).

Centroids and offsets are rounded to float32 as they are fitted, since that is how an index stores them:
whatever is measured here can be measured again from the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.errors import VectorRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace

QUANTILE = 0.95
NEIGHBOURS = 10
FEWEST_WORKS = 5
SHORTEST = 1e-6


class OffsetRule(StrEnum):
    """How near strangers come to a centroid.

    ``QUANTILE``: the 0.95 quantile of the panel's similarities. ``CSLS``: the mean of the panel's ten
    nearest (Conneau et al. 2018, arXiv:1710.04087). Measured on the bundled gallery with ``mini``, alpha
    0.05: top-1 .55 and .54, held-out works credited to their artist .33 and .37, to another .03 and .07,
    works of an artist left out falsely credited .10 and .15. At equal false credit (CSLS at alpha 0.035) the
    two differ by less than 14 artists can tell: .33 and .34 credited rightly, .03 and .04 wrongly. The
    quantile is the default, since at the same alpha it credits wrongly less often.
    """

    QUANTILE = "quantile-0.95"
    CSLS = "csls-10"


def style_rows(space: StyleSpace, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 (n, dim), unit rows, of raw float32 (n, dim), one row at a time.

    A matrix product rounds a row differently with other rows beside it; alone, the same work gives the same
    numbers in every batch and split. Raises VectorRefusedError for a row that is not finite, or has no
    direction before or after.
    """
    import numpy as np

    check_vectors(vectors, dim=len(space.centre))
    rows = np.empty(vectors.shape)
    for row, vector in enumerate(vectors):
        rows[row] = space.apply(vector[None])[0]
        if not np.linalg.norm(rows[row]) > 0.5:
            raise VectorRefusedError(
                f"Vector {row} lies at the centre of the style space and has no direction.",
                next_step="Leave this image out.",
            )
    return rows


def check_vectors(vectors: NDArray[np.float32], *, dim: int) -> None:
    """Refuse what no encoder should give: another dim, a NaN, an infinity, a row of zeros."""
    import numpy as np

    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise VectorRefusedError(
            f"Vectors have shape {vectors.shape}, the style space wants (n, {dim}).",
            next_step="Use the encoder the style space was fitted with.",
        )
    unsound = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
    if len(unsound):
        what = "all zeros" if np.isfinite(vectors[unsound[0]]).all() else "not finite"
        raise VectorRefusedError(
            f"Vector {unsound[0]} of {len(vectors)} is {what}.",
            next_step="Embed the image again; if it does the same, leave it out.",
        )


def fit_centroid(works: NDArray[np.float64]) -> NDArray[np.float32]:
    """The unit mean direction of an artist's works, summed in float64.

    works: (n, dim), unit rows, sorted by the works' hash, so that the order they came in changes no bit.
    Raises VectorRefusedError where they cancel out.

    >>> import numpy as np
    >>> fit_centroid(np.array([[0.6, 0.8], [0.6, -0.8]])).tolist()
    [1.0, 0.0]
    """
    import numpy as np

    assert len(works), "an artist has at least one work"
    mean = works.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    if not length > SHORTEST:
        raise VectorRefusedError(
            f"The {len(works)} works of an artist point in opposite directions and have no mean.",
            next_step="Add more works, or leave some out.",
        )
    unit: NDArray[np.float32] = (mean / length).astype(np.float32)
    return unit


def offset(
    centroid: NDArray[np.float32], panel: NDArray[np.float64], *, rule: OffsetRule = OffsetRule.QUANTILE
) -> float:
    """``h``: how near the panel's strangers come to a centroid, a float32 number.

    panel: float64 (n_panel, dim), unit rows in style space.
    """
    import numpy as np

    similarities = panel @ centroid.astype(np.float64)
    if rule is OffsetRule.QUANTILE:
        return float(np.float32(np.quantile(similarities, QUANTILE)))
    return float(np.float32(np.sort(similarities)[-NEIGHBOURS:].mean()))


def recognisability(works: NDArray[np.float64], h: float) -> float | None:
    """``q``: the median affinity of own works to the centroid computed without them.

    ``q <= delta`` means that this artist cannot be told apart with this encoder. None under five works,
    where leaving one out changes the centroid too much.
    """
    import numpy as np

    if len(works) < FEWEST_WORKS:
        return None
    works = works.astype(np.float64)
    others = works.sum(axis=0) - works
    length = np.maximum(np.linalg.norm(others, axis=1), SHORTEST)
    return float(np.median((works * others).sum(axis=1) / length) - h)


def panel_affinity(
    centroid: NDArray[np.float32], h: float, panel: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``z`` of every panel work for one artist: float64 (n_panel,)."""
    import numpy as np

    z: NDArray[np.float64] = panel @ centroid.astype(np.float64) - h
    return z


@dataclass(frozen=True, eq=False)
class PanelScale:
    """The panel's running maximum: what the best of all artists scores on each stranger's work.

    max_z: float64 (n_panel,). A joining artist raises it in O(panel). A maximum does not remember what it
    beat, so after an artist leaves it is computed again from the rows that stay: ``of_artists``.
    """

    max_z: NDArray[np.float64]

    @classmethod
    def of_nobody(cls, n_panel: int) -> PanelScale:
        import numpy as np

        return cls(np.full(n_panel, -np.inf))

    @classmethod
    def of_artists(cls, rows: NDArray[np.float32], panel: NDArray[np.float64]) -> PanelScale:
        """rows: float32 (n_artists, dim + 1), each ``[centroid, -h]``."""
        scale = cls.of_nobody(len(panel))
        for row in rows:
            scale = scale.with_artist(panel_affinity(row[:-1], -float(row[-1]), panel))
        return scale

    def with_artist(self, z: NDArray[np.float64]) -> PanelScale:
        """With one more artist, by that artist's affinity to each panel work: float64 (n_panel,)."""
        import numpy as np

        return PanelScale(np.maximum(self.max_z, z))

    def delta(self, alpha: float) -> float:
        """The affinity that the best artist passes on a share ``alpha`` of strangers' works.

        The (1 - alpha) quantile of ``max_i z_i`` over the panel; 0 with no artists. A threshold an artist
        would credit 91 % of unknown images among 200 artists; this one is nominal at any number of them.

        >>> import numpy as np
        >>> PanelScale(np.array([0.0, 1.0, 2.0, 3.0, 4.0])).delta(0.25)
        3.0
        """
        import numpy as np

        assert 0 < alpha < 1, f"alpha is {alpha}, not a share"
        return float(np.quantile(self.max_z, 1 - alpha)) if np.isfinite(self.max_z).all() else 0.0
