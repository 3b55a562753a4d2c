"""Strangers: the background panel as an index meets it, none of whom the space was fitted to.

Enters: a style space with the raw panel vectors it was fitted on. Leaves: ``Strangers``, on which offsets
and the threshold are measured. The one rule: nothing is measured on the works it was fitted on. A panel work
pulls whitening towards itself and so looks farther from everybody than a real stranger does: offsets and
threshold measured that way credit about twice as many strangers as they promise (docs/LOG.md). So the hands
are parted into folds, and each fold is seen through a space fitted on the others alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fairbrush.errors import StyleSpaceError
from fairbrush.style.space import POWER, SHRINKAGE, StyleSpace, fit_style_space
from fairbrush.style.space_file import DAMAGED_STEP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDS = 10
FEWEST_HANDS = 5


@dataclass(frozen=True, eq=False)
class Strangers:
    """rows: float32 (n, dim), not quite of unit length; hands: int32 (n,), whose each is, 0 to n_hands - 1.

    A row times a centroid is, closely, the cosine the work would have in a space fitted without its fold.
    """

    rows: NDArray[np.float32]
    hands: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def wide(self) -> NDArray[np.float64]:
        """float64 (n, dim): ``rows``, for sums."""
        import numpy as np

        return self.rows.astype(np.float64)

    @property
    def n_hands(self) -> int:
        return int(self.hands.max()) + 1

    @property
    def folds(self) -> NDArray[np.int32]:
        """int32 (n,): the works of one hand share a fold."""
        folds: NDArray[np.int32] = self.hands % min(FOLDS, self.n_hands)
        return folds


def cross_fit(
    space: StyleSpace,
    vectors: NDArray[np.float32],
    hands: Sequence[str],
    *,
    shrinkage: float = SHRINKAGE,
    power: float = POWER,
    centred: bool = True,
) -> Strangers:
    """The panel of a space as strangers. vectors: raw float32 (n, dim), what ``space`` was fitted on, so.

    With a fold's own space ``x -> W_f (x - m_f)``, a centroid c of ``space`` (``W``) lies there at
    ``W_f W^-1 c``, but for the shift of the mean; so the work's row, moved by ``(W_f W^-1)^T``, is compared
    with c itself. That is a cosine but for the length of ``W_f W^-1 c``, which differs more between folds
    than between centroids (.98 to 1.16 and .003 on the bundled panel): a fold is divided by its mean over the
    other hands' means. Raises StyleSpaceError where there are too few hands.

    Cross-fitting: Chernozhukov et al. 2018, doi:10.1111/ectj.12097.
    """
    import numpy as np

    codes = hand_codes(hands)
    if codes.max() + 1 < FEWEST_HANDS:
        raise StyleSpaceError(
            f"A panel of {codes.max() + 1} hands is too small: at least {FEWEST_HANDS} are needed.",
            next_step="Use the bundled panel, or one with more hands.",
        )
    folds = Strangers(np.empty((len(codes), 0), np.float32), codes).folds
    back = np.linalg.inv(space.whitening)
    styled = space.apply(vectors)
    means = np.stack([styled[codes == code].mean(axis=0) for code in range(codes.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    rows = np.empty(vectors.shape, np.float32)
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        others = [hand for hand, is_inside in zip(hands, inside, strict=True) if not is_inside]
        apart = fit_style_space(vectors[~inside], others, shrinkage=shrinkage, power=power, centred=centred)
        between = apart.whitening @ back
        length = np.linalg.norm(means[np.unique(codes[~inside])] @ between.T, axis=1).mean()
        rows[inside] = apart.apply(vectors[inside]) @ between / length
    return Strangers(rows, codes)


def encode_strangers(strangers: Strangers) -> bytes:
    """The file's bytes: the same strangers give the same bytes."""
    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, rows=strangers.rows, hands=strangers.hands)
    return stream.getvalue()


def decode_strangers(content: bytes, *, source: str) -> Strangers:
    """Raises StyleSpaceError where the bytes hold none. Whoever reads the file compares its digest first."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            strangers = Strangers(arrays["rows"], arrays["hands"])
    except Exception as error:  # whatever numpy and zipfile raise for bytes that are no archive
        raise StyleSpaceError(f"{source} holds no panel: {error}.", next_step=DAMAGED_STEP) from error
    shapes_fit = strangers.rows.ndim == 2 and strangers.hands.shape == (len(strangers.rows),)
    if not shapes_fit or (strangers.rows.dtype.str, strangers.hands.dtype.str) != ("<f4", "<i4"):
        raise StyleSpaceError(f"{source} has arrays of the wrong shape.", next_step=DAMAGED_STEP)
    return strangers


def hand_codes(hands: Sequence[str]) -> NDArray[np.int32]:
    """A number a hand, in the order of the names' digests: neighbours in the alphabet share no fold."""
    import numpy as np

    ordered = sorted(set(hands), key=lambda hand: hashlib.sha256(hand.encode()).digest())
    code_of = {hand: code for code, hand in enumerate(ordered)}
    return np.array([code_of[hand] for hand in hands], np.int32)
