"""A style space on disk: ``space.npz`` beside the indexes that use it.

Enters and leaves: a ``StyleSpace``. The one rule: the bytes are checked against a digest before they are
parsed, the numbers against the space's id after; no pickle is ever read.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from fairbrush.errors import StyleSpaceError
from fairbrush.style.space import StyleSpace

DAMAGED_STEP = "Rebuild: fairbrush index build"


def encode_space(space: StyleSpace) -> bytes:
    """The file's bytes: the same space gives the same bytes."""
    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, centre=space.centre, whitening=space.whitening)
    return stream.getvalue()


def decode_space(content: bytes, *, space_id: str, source: str) -> StyleSpace:
    """Raises StyleSpaceError where the bytes hold no space, or another one than ``space_id``."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            space = StyleSpace(arrays["centre"], arrays["whitening"])
    except Exception as error:
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


def save_space(space: StyleSpace, file: Path) -> str:
    """Write the space; returns the file's SHA-256."""
    content = encode_space(space)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_space(file: Path, *, space_id: str, sha256: str) -> StyleSpace:
    """Raises StyleSpaceError where the file is missing, damaged or another space's."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StyleSpaceError(
            f"The style space {file} cannot be read: {error}.", next_step=DAMAGED_STEP
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StyleSpaceError(f"The style space {file} is damaged.", next_step=DAMAGED_STEP)
    return decode_space(content, space_id=space_id, source=str(file))
