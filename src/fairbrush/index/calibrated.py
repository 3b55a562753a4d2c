"""An index as a calibration has it searched: the same artists and works, other thresholds and query centre.

Enters: an open index, what a calibration says of one model. Leaves: a ``StyleIndex``. The one rule: only
queries move; centroids, offsets and the panel's scale stay, so nobody is built anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fairbrush.errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex


def calibrated_index(
    index: StyleIndex, *, shift: float, centre: NDArray[np.float32] | None = None
) -> StyleIndex:
    """The same index with ``shift`` added to delta and entry, and queries centred at ``centre`` instead of
    the panel's mean: raw float32 (dim,). Raises CalibrationError where the centre has another dim.
    """
    if centre is not None and centre.shape != (index.dim,):
        raise CalibrationError(
            f"The calibration centres queries of {centre.size} dims; index {index.version} has {index.dim}.",
            next_step="Fit it again with the index's encoder: fairbrush calibrate.",
        )
    return replace(index, shift=shift, query_centre=centre)
