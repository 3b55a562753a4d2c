"""The style space: raw encoder vectors made comparable as style.

Enters: float32 vectors of the background panel with the hand of each. Leaves: a ``StyleSpace`` that
centres, whitens and normalises any vector. The one rule: it is fitted on the panel alone, so a joining
artist changes nobody else's numbers, and on hands that are no player.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairbrush.errors import StyleSpaceError
from fairbrush.style.diagnostics import SpaceDiagnostics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHRINKAGE = 0.3
POWER = 0.5


@dataclass(frozen=True, eq=False)
class StyleSpace:
    """centre: float64 (dim,); whitening: float64 (dim, dim), symmetric. diagnostics: of the panel it was
    fitted on, where they were taken; they are no part of ``space_id``."""

    centre: NDArray[np.float64]
    whitening: NDArray[np.float64]
    diagnostics: SpaceDiagnostics | None = None

    @property
    def space_id(self) -> str:
        """A digest of the fitted numbers, to float32: which space a vector lives in."""
        import numpy as np

        digest = hashlib.sha256()
        for fitted in (self.centre, self.whitening):
            digest.update(np.ascontiguousarray(fitted, np.float32).tobytes())
        return digest.hexdigest()[:16]

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 (n, dim), unit rows, of float32 (n, dim)."""
        import numpy as np

        moved = (vectors.astype(np.float64) - self.centre) @ self.whitening
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        unit: NDArray[np.float64] = moved / np.maximum(length, 1e-12)
        return unit


def fit_style_space(
    vectors: NDArray[np.float32],
    hands: Sequence[str],
    *,
    shrinkage: float = SHRINKAGE,
    power: float = POWER,
    centred: bool = True,
) -> StyleSpace:
    """Centre and shrunk within-hand whitening.

    The covariance of works around their own hand's mean is what varies without being style (subject,
    composition); it is shrunk towards a multiple of the identity by ``shrinkage`` in (0, 1], since the panel
    has fewer works than dimensions (Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4, give the form;
    the amount is chosen on held-out hands, docs/style-space.md), and raised to ``-power``. Without
    ``centred`` the space keeps its origin, for comparison.

    vectors: float32 (n, dim). Raises StyleSpaceError where no hand has two works.
    """
    import numpy as np

    values = vectors.astype(np.float64)
    centre = values.mean(axis=0) if centred else np.zeros(values.shape[1])
    labels = np.asarray(hands)
    scatter = np.zeros((values.shape[1], values.shape[1]))
    degrees = 0
    for hand in sorted(set(hands)):
        works = values[labels == hand]
        around = works - works.mean(axis=0)
        scatter += around.T @ around
        degrees += len(works) - 1
    if degrees == 0 or not scatter.any():
        raise StyleSpaceError(
            "A style space needs hands with two different works each.",
            next_step="Use the bundled panel, or one with a folder of several works for each hand.",
        )
    covariance = scatter / degrees
    dim = len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / dim * np.eye(dim)
    spread, axes = np.linalg.eigh(shrunk)
    return StyleSpace(centre, (axes / spread**power) @ axes.T)
