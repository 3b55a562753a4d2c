"""Copies: images that are one of the works, which is another thing than style; and works given twice.

Enters: works and images on disk. Leaves: which images, and which works, are the picture of which work. The
one rule: as in a workspace, an outline only proposes and edges decide (``corpus.likeness``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from fairbrush.corpus.images import Refusal, RefusalReason
from fairbrush.corpus.likeness import SIDE, Likeness, Outlines, Picture, compare
from fairbrush.self_check.second_look import second_view

if TYPE_CHECKING:
    from fairbrush.corpus.reader import ImageReader
    from fairbrush.embedding.facets import Views

MOST_LAID_OUT = 100  # works whose crops are kept for the next image: 2.7 MB each


class CopyOf(NamedTuple):
    work: str  # SHA-256
    likeness: Likeness
    similarity: float


@dataclass(frozen=True, eq=False)
class KnownWorks:
    """given: all; shas: those that can still be read, by path; unread: why the others cannot; again: how some
    are to be seen again; picture: of one, by its place in ``shas``."""

    given: frozenset[str]
    shas: tuple[str, ...]
    unread: dict[str, Refusal]
    again: dict[str, Views]
    outlines: Outlines
    picture: Callable[[int], Picture]

    @classmethod
    def of(cls, works: Mapping[str, Path], reader: ImageReader) -> Self:
        by_path = dict(sorted(works.items(), key=lambda work: work[1]))
        unread: dict[str, Refusal] = {}
        read = dict(_pictures(by_path, reader, unread))
        pixels = [picture.pixels for picture in read.values()]
        outlines = Outlines([Picture(one).outline for one in pixels])
        picture = lru_cache(maxsize=MOST_LAID_OUT)(lambda place: Picture(pixels[place]))
        again = {sha256: view for sha256, one in read.items() if (view := second_view(one.pixels))}
        return cls(frozenset(works), tuple(read), unread, again, outlines, picture)

    def same_as(self, picture: Picture, *, leave_out: Collection[int] = ()) -> CopyOf | None:
        """The work that shows a picture, the most alike of several."""
        matches = []
        for place in self.outlines.propose(picture, leave_out=sorted(leave_out)):
            if match := compare(picture, self.picture(place)):
                matches.append(CopyOf(self.shas[place], match.likeness, match.similarity))
        return max(matches, key=lambda copy: copy.similarity, default=None)


def find_repeated(known: KnownWorks) -> dict[str, CopyOf]:
    """Works that show the picture of an earlier one, which itself repeats none."""
    found: dict[str, CopyOf] = {}
    repeated: set[int] = set()
    for place, sha256 in enumerate(known.shas):
        later = range(place, len(known.shas))
        if copy := known.same_as(known.picture(place), leave_out={*repeated, *later}):
            found[sha256] = copy
            repeated.add(place)
    return found


class SeenImages(NamedTuple):
    """By SHA-256. copies: of which work an image is one; again: how some others are to be seen again; unread:
    why some can no longer be read."""

    copies: dict[str, CopyOf]
    again: dict[str, Views]
    unread: dict[str, Refusal]


def find_copies(known: KnownWorks, images: Mapping[str, Path], reader: ImageReader) -> SeenImages:
    """images: paths by SHA-256."""
    found = {sha256: CopyOf(sha256, Likeness.SAME_FILE, 1.0) for sha256 in images if sha256 in known.given}
    rest = {sha256: path for sha256, path in images.items() if sha256 not in found}
    again: dict[str, Views] = {}
    unread: dict[str, Refusal] = {}
    for sha256, picture in _pictures(rest, reader, unread):
        if copy := known.same_as(picture):
            found[sha256] = copy
        elif view := second_view(picture.pixels):
            again[sha256] = view
    return SeenImages(found, again, unread)


def _pictures(
    paths: Mapping[str, Path], reader: ImageReader, unread: dict[str, Refusal]
) -> Iterator[tuple[str, Picture]]:
    """What can still be read, and has not been changed since; ``unread`` gets the rest."""
    from PIL import Image

    sha256_at = {path: sha256 for sha256, path in paths.items()}
    for path, read in reader.read(sha256_at):
        sha256 = sha256_at[path]
        if isinstance(read, Refusal):
            unread[sha256] = read
        elif read.sha256 != sha256:
            detail = "It changed while it was looked at. Run the command again."
            unread[sha256] = Refusal(path, RefusalReason.UNREADABLE, detail)
        else:
            small = Image.fromarray(read.pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
            yield sha256, Picture(np.asarray(small))
