"""Two folders in, embedded: an artist's works, and the images asked about.

Enters: folders. Leaves: ``Embedded`` files, each content once, and what was refused. The one rule: a file
that lies in both folders counts on one side only, that of the inner folder.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.domain import EmbedOutcome
from fairbrush.errors import CacheError, NoInputError
from fairbrush.reports.pages.check_me import File, RefusedFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.corpus.images import Refusal
    from fairbrush.embedding.session import EmbeddingSession

WORKS, IMAGES = "works", "images"
LOOKED_FOR = (
    "Looked for PNG, JPEG, WebP, GIF, BMP and TIFF files, in sub-folders too; hidden ones are left out."
)


@dataclass(frozen=True)
class FoundFiles:
    """overlap: files of both folders, as they are called in the outer one."""

    works: tuple[Path, ...]
    images: tuple[Path, ...]
    refused: tuple[RefusedFile, ...]
    overlap: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Contents sorted by SHA-256. paths: the first of each; vectors: raw float32 (n, dim)."""

    files: tuple[File, ...]
    paths: dict[str, Path]
    vectors: NDArray[np.float32]
    refused: tuple[RefusedFile, ...]

    def without(self, unread: Mapping[str, Refusal], *, kind: str) -> Embedded:
        """Less what could not be read again, which is refused. unread: by SHA-256. Raises NoInputError where
        that is all."""
        kept = [place for place, file in enumerate(self.files) if file.sha256 not in unread]
        if not kept:
            first = unread[self.files[0].sha256]
            raise NoInputError(
                f"None of the {len(self.files)} {kind} could be read again; {first.path}: {first.reason}.",
                next_step=first.detail,
            )
        refused = [
            RefusedFile(kind, file.path, str(unread[file.sha256].reason), unread[file.sha256].detail)
            for file in self.files
            if file.sha256 in unread
        ]
        return Embedded(
            tuple(self.files[place] for place in kept),
            {sha256: path for sha256, path in self.paths.items() if sha256 not in unread},
            self.vectors[kept],
            tuple(sorted((*self.refused, *refused), key=lambda one: one.path)),
        )


def find_files(session: EmbeddingSession, works: Path, images: Path) -> FoundFiles:
    """Raises NoInputError where a folder is none, has no images, or both are one."""
    for folder, what in ((works, "works"), (images, "images")):
        if not folder.is_dir():
            raise NoInputError(
                f"{folder} is not a folder.", next_step=f"Name the folder with the {what}, as it is written."
            )
    if works.resolve() == images.resolve():
        raise NoInputError(
            f"{works} and {images} are the same folder.",
            next_step="Put your works into one folder and the images to look at into another.",
        )
    found = {folder: session.find([folder]) for folder in (works, images)}
    # realpath, not resolve: that raises where links lead to each other
    real = {folder: {os.path.realpath(path): path for path in at.images} for folder, at in found.items()}
    both = real[works].keys() & real[images].keys()
    outer = works if works.resolve() in images.resolve().parents else images
    kept = {
        folder: tuple(path for at, path in paths.items() if folder is not outer or at not in both)
        for folder, paths in real.items()
    }
    refused = tuple(
        RefusedFile(kind, _name(one.path, folder), str(one.reason), one.detail)
        for folder, kind in ((works, WORKS), (images, IMAGES))
        for one in found[folder].refusals
    )
    for folder in (works, images):
        if not kept[folder] and both:
            inner = images if outer is works else works
            raise NoInputError(
                f"All images in {folder} lie in {inner}, and count there.",
                next_step="Put your works into one folder and the images to look at into another.",
            )
        if not kept[folder]:
            raise NoInputError(f"No images in {folder}.", next_step=LOOKED_FOR)
    overlap = tuple(sorted(_name(real[outer][at], outer) for at in both))
    return FoundFiles(kept[works], kept[images], refused, overlap)


def embed_folder(
    session: EmbeddingSession,
    paths: Sequence[Path],
    *,
    folder: Path,
    kind: str,
    on_outcome: Callable[[EmbedOutcome], None],
) -> Embedded:
    """Raises NoInputError where no file could be read, and the encoder's and cache's errors."""
    refused: list[RefusedFile] = []
    paths_of: dict[str, list[Path]] = defaultdict(list)
    for outcome in session.embed(paths):
        on_outcome(outcome)
        if outcome.sha256 is None or outcome.reason:
            refused.append(RefusedFile(kind, _name(outcome.path, folder), outcome.reason, outcome.detail))
        else:
            paths_of[outcome.sha256].append(outcome.path)
    if not paths_of:
        first = refused[0]
        raise NoInputError(
            f"None of the {len(refused)} files in {folder} could be read; {first.path}: {first.reason}.",
            next_step=first.detail,
        )
    order = sorted(paths_of)
    stored = session.space.get_many(order)
    if lost := [sha256 for sha256 in order if sha256 not in stored]:
        raise CacheError(f"The cache lost the vector of {lost[0]}.", next_step="Run the command again.")
    first_path = {sha256: min(paths_of[sha256]) for sha256 in order}
    files = tuple(
        File(
            _name(first_path[sha256], folder),
            sha256,
            tuple(_name(path, folder) for path in sorted(paths_of[sha256])[1:]),
        )
        for sha256 in order
    )
    vectors = np.stack([stored[sha256][0] for sha256 in order])
    return Embedded(files, first_path, vectors, tuple(sorted(refused, key=lambda one: one.path)))


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
