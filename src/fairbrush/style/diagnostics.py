"""Diagnostics of a style space: what it was fitted on, and what it does to those works.

Enters: the panel's raw vectors with the hand of each, and the space fitted on them. Leaves:
``SpaceDiagnostics``, which travel in the space's file. The one rule: they describe, and nothing is computed
from them; they are of the panel itself, so what whitening gains on new hands is in docs/style-space.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace

DECIMALS = 6  # the last bits differ between machines, and the file is named by its digest


@dataclass(frozen=True)
class SpaceDiagnostics:
    """``effective_rank``: of the covariance within hands, before shrinkage: the exponential of the entropy of
    its spectrum (Roy & Vetterli, EUSIPCO 2007). ``cosine_before``, ``cosine_after``: the mean over works of
    different hands, as the encoder gave them and in the space. ``between_hands``: the part of a raw vector's
    variance that is its hand's (intraclass correlation, one-way analysis of variance over all dimensions).
    """

    works: int
    hands: int
    dim: int
    shrinkage: float
    effective_rank: float
    cosine_before: float
    cosine_after: float
    between_hands: float

    def encode(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> SpaceDiagnostics:
        """Raises ValueError, TypeError or KeyError for another text."""
        document = json.loads(text)
        return cls(
            works=int(document["works"]),
            hands=int(document["hands"]),
            dim=int(document["dim"]),
            shrinkage=float(document["shrinkage"]),
            effective_rank=float(document["effective_rank"]),
            cosine_before=float(document["cosine_before"]),
            cosine_after=float(document["cosine_after"]),
            between_hands=float(document["between_hands"]),
        )


def diagnose(
    space: StyleSpace, vectors: NDArray[np.float32], hands: Sequence[str], *, shrinkage: float
) -> SpaceDiagnostics:
    """vectors: raw float32 (n, dim), what ``space`` was fitted on, with ``shrinkage``."""
    import numpy as np

    values = vectors.astype(np.float64)
    raw = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    label = np.unique(np.asarray(hands), return_inverse=True)[1]
    within = _around_own_hand(values, label)
    spectrum = np.linalg.svd(within, compute_uv=False).astype(np.float64) ** 2
    return SpaceDiagnostics(
        works=len(values),
        hands=int(label.max()) + 1,
        dim=values.shape[1],
        shrinkage=shrinkage,
        effective_rank=round(effective_rank(spectrum), DECIMALS),
        cosine_before=round(_mean_of_strangers(raw, label), DECIMALS),
        cosine_after=round(_mean_of_strangers(space.apply(vectors), label), DECIMALS),
        between_hands=round(_part_between(values, within, label), DECIMALS),
    )


def effective_rank(spectrum: NDArray[np.float64]) -> float:
    """How many equal directions would have the entropy of these variances.

    >>> import numpy as np
    >>> round(effective_rank(np.array([2.0, 2.0, 2.0, 0.0])), 6)
    3.0
    """
    import numpy as np

    part = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(part * np.log(part)).sum()))


def _around_own_hand(values: NDArray[np.float64], label: NDArray[np.intp]) -> NDArray[np.float64]:
    import numpy as np

    means = np.stack([values[label == hand].mean(axis=0) for hand in range(label.max() + 1)])
    around: NDArray[np.float64] = values - means[label]
    return around


def _mean_of_strangers(rows: NDArray[np.float64], label: NDArray[np.intp]) -> float:
    """The mean cosine of two works by different hands. rows: unit."""
    apart = label[:, None] != label[None]
    return float((rows @ rows.T)[apart].mean()) if apart.any() else 0.0


def _part_between(values: NDArray[np.float64], within: NDArray[np.float64], label: NDArray[np.intp]) -> float:
    """Analysis of variance with groups of unequal size (Searle, Casella & McCulloch 1992, chapter 3)."""
    import numpy as np

    count = np.bincount(label)
    n, hands = len(label), len(count)
    if hands < 2 or n == hands:
        return 0.0
    scatter = float(((values - values.mean(axis=0)) ** 2).sum())
    inside = float((within**2).sum())
    of_within = inside / (n - hands)
    typical_count = (n - (count**2).sum() / n) / (hands - 1)
    of_between = max(0.0, ((scatter - inside) / (hands - 1) - of_within) / typical_count)
    return of_between / (of_between + of_within) if of_between + of_within > 0 else 0.0
