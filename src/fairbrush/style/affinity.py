"""Affinity: how much nearer an image comes to an artist's centroid than strangers do.

Enters: raw vectors, centroids and strangers of one style space. Leaves: an offset an artist, and the
image-level threshold. The one rule: ``z = cosine to the nearest centroid - offset``, and nothing is divided
by a per-artist scale, under which artists with little hold explode (docs/method.md).

Centroids and offsets are float32, since that is how an index stores them: whatever is measured here can be
measured again from the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from fairbrush.errors import VectorRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace
    from fairbrush.style.strangers import Strangers

QUANTILE = 0.95
ENTRY_ALPHA = 0.25
NEIGHBOURS = 10


class Height(Protocol):
    """What an offset is: an index has an ``OffsetRule``, a comparison may have another."""

    def height(self, similarities: NDArray[np.float64]) -> float: ...


class OffsetRule(StrEnum):
    """How near strangers come to a centroid.

    ``QUANTILE``: the 0.95 quantile of the panel's similarities. ``CSLS``: the mean of the panel's ten
    nearest (Conneau et al. 2018, arXiv:1710.04087). Measured with ``mini`` on 40 hands that nothing was
    fitted on, half of them indexed, alpha 0.05 (docs/style-space.md): top-1 .50 and .51, held-out works
    credited to their artist .22 and .22, to another .02 and .02, works of unknown hands falsely credited .03
    and .02. At equal false credit CSLS credits .03 more rightly on these hands, nothing sure on those of the
    gallery, and .02 fewer among 200 synthetic artists. The quantile, which depends less on the panel's size,
    is the default.
    """

    QUANTILE = "quantile-0.95"
    CSLS = "csls-10"

    def height(self, similarities: NDArray[np.float64]) -> float:
        """similarities: float64 (n_strangers,), of each to an artist."""
        import numpy as np

        if self is OffsetRule.QUANTILE:
            return float(np.quantile(similarities, QUANTILE))
        return float(np.sort(similarities)[-NEIGHBOURS:].mean())


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


def offset(
    centroids: NDArray[np.float32], strangers: Strangers, *, rule: Height = OffsetRule.QUANTILE
) -> float:
    """``h``: how near strangers come to the nearest of an artist's centroids, a float32 number.

    centroids: float32 (n_centroids, dim), unit rows.
    """
    import numpy as np

    return float(np.float32(rule.height(_nearest(centroids, strangers))))


def stranger_affinity(
    rows: NDArray[np.float32], strangers: Strangers, *, rule: Height
) -> NDArray[np.float64]:
    """``z`` of every stranger for one artist: float64 (n_strangers,).

    rows: float32 (n_centroids, dim + 1), each ``[centroid, -h]``. A stranger helped to set h, and a threshold
    on what is left would be too low, the more so the fewer artists there are; so each fold of strangers
    meets an h that the others set.
    """
    import numpy as np

    similarities = _nearest(rows[:, :-1], strangers)
    folds = strangers.folds
    z = np.empty(len(similarities))
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        z[inside] = similarities[inside] - rule.height(similarities[~inside])
    return z


def _nearest(centroids: NDArray[np.float32], strangers: Strangers) -> NDArray[np.float64]:
    """float64 (n_strangers,): each stranger's cosine to the nearest centroid."""
    import numpy as np

    best: NDArray[np.float64] = (strangers.wide @ centroids.astype(np.float64).T).max(axis=1)
    return best


def detectability_floor(own: NDArray[np.float64], entry: float) -> float:
    """The part of an image below which the median artist is usually not seen beside another: in [0, 1].

    An image that is a of one artist and 1 - a of another, whose centroids are at right angles, has the cosine
    ``a s / sqrt(a^2 + (1 - a)^2)`` to the first, whose own works have s; it must exceed ``h + entry``. Rough,
    and 1 where the median artist cannot be told apart at all, or is not known.

    own: float64 (n_artists, 2), the median cosine s of own works to their artist without them, and h.

    >>> import numpy as np
    >>> round(detectability_floor(np.array([[0.8, 0.2], [0.6, 0.3], [0.7, 0.2]]), 0.1), 3)
    0.322
    """
    import numpy as np

    if not len(own):
        return 1.0
    needed = (own[:, 1] + entry) / np.maximum(own[:, 0], 1e-9)
    ratio = np.where(own[:, 0] > 0.0, np.clip(needed, 0.0, 1.0), 1.0)
    return float(np.median(ratio / (ratio + np.sqrt(1.0 - ratio**2))))


@dataclass(frozen=True, eq=False)
class PanelScale:
    """The panel's running maximum: what the best of all artists scores on each stranger's work.

    max_z: float64 (n_strangers,), by ``n_hands`` hands. A joining artist raises it in O(panel). A maximum
    does not remember what it beat, so after an artist leaves it is computed again from those who stay.
    """

    max_z: NDArray[np.float64]
    n_hands: int

    @classmethod
    def of_nobody(cls, strangers: Strangers) -> PanelScale:
        import numpy as np

        return cls(np.full(len(strangers), -np.inf), strangers.n_hands)

    @classmethod
    def of_artists(
        cls, artists: Iterable[NDArray[np.float32]], strangers: Strangers, *, rule: OffsetRule
    ) -> PanelScale:
        """artists: of each, float32 (n_centroids, dim + 1), each row ``[centroid, -h]``."""
        scale = cls.of_nobody(strangers)
        for rows in artists:
            scale = scale.with_artist(stranger_affinity(rows, strangers, rule=rule))
        return scale

    def with_artist(self, z: NDArray[np.float64]) -> PanelScale:
        """With one more artist, by that artist's affinity to each stranger: float64 (n_strangers,)."""
        import numpy as np

        return replace(self, max_z=np.maximum(self.max_z, z))

    def delta(self, alpha: float) -> float:
        """The affinity that the best artist passes on at most a share ``alpha`` of strangers' works.

        A quantile of ``max_i z_i`` over the panel; 0 with no artists. A threshold an artist would credit 91 %
        of unknown images among 200 artists; this one holds at any number of them. The level is
        ``(1 - alpha)(1 + 1 / n_hands)``: the next hand ranks among the panel's as any of them does, so this
        many of them must lie below (split conformal prediction, with hands as the units: Dunn, Wasserman &
        Ramdas 2023, doi:10.1080/01621459.2022.2060112). Fewer than ``1 / alpha - 1`` hands, 19 at 5 %, cannot
        promise it, and give their maximum.

        >>> import numpy as np
        >>> PanelScale(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), n_hands=5).delta(0.375)
        3.0
        """
        import numpy as np

        assert 0 < alpha < 1, f"alpha is {alpha}, not a share"
        if not np.isfinite(self.max_z).all():
            return 0.0
        return float(np.quantile(self.max_z, min(1.0, (1 - alpha) * (1 + 1 / self.n_hands))))

    def passing(self, threshold: float) -> float:
        """The part of strangers' works for which some artist is above a threshold: about the alpha whose
        ``delta`` it is.

        >>> import numpy as np
        >>> PanelScale(np.array([0.0, 1.0, 2.0, 3.0]), n_hands=4).passing(1.0)
        0.5
        """
        return float((self.max_z > threshold).mean())

    def thresholds(self, alpha: float) -> tuple[float, float]:
        """``delta``, and the ``entry`` of whoever shares in an image that somebody is above delta for.

        A second artist's part of an image is seldom as strong as a whole one: ``entry`` is what one in four
        strangers' works would pass, never above delta, nor below 0 unless delta is. Chosen by measurement
        (docs/style-space.md): lower, look-alikes share in images by one artist; higher, the second one of
        two gets nothing.
        """
        delta = self.delta(alpha)
        return delta, min(delta, max(0.0, self.delta(ENTRY_ALPHA)))
