"""Copies: images that are one of the works, which is another thing than an alike style.

Enters: works and images on disk. Leaves: which images are which work's picture. The one rule: as in a
workspace, an outline only proposes and edges decide (``corpus.likeness``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fairbrush.corpus.images import Refusal
from fairbrush.corpus.likeness import SIDE, Likeness, Outlines, Picture, compare

if TYPE_CHECKING:
    from fairbrush.corpus.reader import ImageReader


class CopyOf(NamedTuple):
    work: str  # SHA-256
    likeness: Likeness
    similarity: float


def find_copies(
    works: Mapping[str, Path], images: Mapping[str, Path], reader: ImageReader
) -> dict[str, CopyOf]:
    """The work that each image is a copy of, where it is one. works, images: paths by SHA-256."""
    found = {sha256: CopyOf(sha256, Likeness.SAME_FILE, 1.0) for sha256 in images if sha256 in works}
    known = dict(_pictures(works, reader))
    names = list(known)
    outlines = Outlines([known[sha256].outline for sha256 in names])
    rest = {sha256: path for sha256, path in images.items() if sha256 not in found}
    for sha256, picture in _pictures(rest, reader):
        matches = []
        for place in outlines.propose(picture):
            if match := compare(picture, known[names[place]]):
                matches.append(CopyOf(names[place], match.likeness, match.similarity))
        if matches:
            found[sha256] = max(matches, key=lambda copy: copy.similarity)
    return found


def _pictures(paths: Mapping[str, Path], reader: ImageReader) -> Iterator[tuple[str, Picture]]:
    """What can still be read, and has not been changed since."""
    from PIL import Image

    sha256_at = {path: sha256 for sha256, path in paths.items()}
    for path, read in reader.read(sha256_at):
        if not isinstance(read, Refusal) and read.sha256 == sha256_at[path]:
            small = Image.fromarray(read.pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
            yield sha256_at[path], Picture(np.asarray(small))
