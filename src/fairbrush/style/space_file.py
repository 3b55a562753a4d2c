"""A style space as bytes, for the file beside the indexes that use it.

Enters and leaves: a ``StyleSpace``. The one rule: the numbers are checked against the space's id, and no
pickle is ever read. (Who reads the file compares its digest first.)
"""

from __future__ import annotations

import io
from typing import Any

from fairbrush.errors import StyleSpaceError
from fairbrush.style.diagnostics import SpaceDiagnostics
from fairbrush.style.space import StyleSpace

DAMAGED_STEP = "Rebuild: fairbrush index build"


def encode_space(space: StyleSpace) -> bytes:
    """The file's bytes: the same space gives the same bytes."""
    import numpy as np

    stream = io.BytesIO()
    arrays: dict[str, Any] = {"centre": space.centre, "whitening": space.whitening}
    if space.diagnostics is not None:
        arrays["diagnostics"] = np.array(space.diagnostics.encode())
    np.savez(stream, **arrays)
    return stream.getvalue()


def decode_space(content: bytes, *, space_id: str, source: str) -> StyleSpace:
    """Raises StyleSpaceError where the bytes hold no space, or another one than ``space_id``."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            told = str(arrays["diagnostics"]) if "diagnostics" in arrays else None
            diagnostics = None if told is None else SpaceDiagnostics.decode(told)
            space = StyleSpace(arrays["centre"], arrays["whitening"], diagnostics)
    except Exception as error:  # whatever numpy, zipfile and json raise for bytes that are none
        raise StyleSpaceError(f"{source} is no style space: {error}.", next_step=DAMAGED_STEP) from error
    dim = space.centre.size
    shapes_fit = space.centre.shape == (dim,) and space.whitening.shape == (dim, dim)
    if not shapes_fit or {space.centre.dtype.str, space.whitening.dtype.str} != {"<f8"}:
        raise StyleSpaceError(f"{source} has arrays of the wrong shape.", next_step=DAMAGED_STEP)
    if space.space_id != space_id:
        raise StyleSpaceError(
            f"{source} holds style space {space.space_id}, not {space_id}.", next_step=DAMAGED_STEP
        )
    return space
