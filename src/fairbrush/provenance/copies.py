"""Where stamped files go. Enters: images and a folder, or the wish to change them in place. Leaves: files.

The one rule: no file of the user's is overwritten unless that was asked for, and then in one step that a
crash survives: written beside it, flushed, renamed over it. Of several programs that write one new name the
first wins.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from fairbrush.attribution import Attribution
from fairbrush.corpus.images import ImageLimits, read_file
from fairbrush.durable import create_durably, write_durably
from fairbrush.errors import ConfigError, ImageRefusedError, StampError
from fairbrush.provenance.inserting import Sign, stamp_file
from fairbrush.provenance.stamp import stamp_of

_MAY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class StampedCopy:
    """``path``: where it lies. ``is_new``: something was written; else it lay there already, the same."""

    path: Path
    is_new: bool
    is_signed: bool


@dataclass(frozen=True)
class Stamper:
    """Writes one stamped file an answer. ``folder``: None to change the images themselves.

    ``force``: another file of the same name in the folder is replaced.
    """

    folder: Path | None
    limits: ImageLimits
    force: bool = False
    names: bool = False
    sign: Sign | None = None

    def prepare(self, images: Sequence[Path]) -> None:
        """Make the folder. Raises ConfigError where two images would share a name there, or one lies there.

        All of it is found before any work.
        """
        if self.folder is None:
            return
        _check_names(images, self.folder)
        for image in images:
            _check_not_itself(image, self.folder / image.name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{self.folder} cannot be made: {error.strerror or error}.",
                next_step="Name a folder that is there, or could be.",
            ) from error

    def write(self, image: Path, attribution: Attribution) -> StampedCopy:
        """Raises StampError, which names no path: the caller knows it."""
        try:
            content = read_file(image, self.limits)
        except ImageRefusedError as error:
            raise StampError(error.detail) from error
        stamped = stamp_file(content, stamp_of(attribution, names=self.names), sign=self.sign)
        if self.folder is None:
            is_new = _replace(image, content, stamped)
            return StampedCopy(image, is_new, self.sign is not None)
        target = self.folder / image.name
        is_new = _put(target, stamped, force=self.force)
        return StampedCopy(target, is_new, self.sign is not None)


def _check_names(images: Sequence[Path], folder: Path) -> None:
    taken: dict[str, Path] = {}
    for image in images:
        # some systems take A.png and a.png for one, and an accented letter for the letter and its accent
        first = taken.setdefault(normalize("NFC", image.name.casefold()), image)
        if first is not image:
            raise ConfigError(
                f"{first} and {image} would both be {folder / image.name}.",
                next_step="Stamp them into two folders, or leave out one of them: a folder of stamped copies "
                "does not belong inside the folder of images.",
            )


def _check_not_itself(image: Path, target: Path) -> None:
    try:
        is_itself = target.samefile(image)
    except (OSError, ValueError):
        return  # one of them is not there
    if is_itself:
        raise ConfigError(
            f"{target} is the image itself.",
            next_step="Name another folder, or ask for it to be changed: --in-place",
        )


def _put(target: Path, stamped: bytes, *, force: bool) -> bool:
    """False where the same lies there already. A link of that name is replaced, never followed."""
    if _holds(target, stamped):
        return False
    try:
        (write_durably if force else create_durably)(target, stamped)
    except FileExistsError as error:
        if _holds(target, stamped):  # of another stamper, which was first
            return False
        raise StampError(f"There is another file {target}.", next_step="Replace it: --force") from error
    except OSError as error:
        raise _unwritable(target, error) from error
    return True


def _replace(image: Path, content: bytes, stamped: bytes) -> bool:
    """Through a symbolic link the file that it leads to is replaced; its owner and permissions stay."""
    if stamped == content:
        return False
    try:
        target = image.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError) as error:
        raise StampError("The file is gone.", next_step="Check the path.") from error
    if status.st_nlink > 1:
        raise StampError(
            f"The file has {status.st_nlink} names (hard links), and only this one would be changed.",
            next_step="Stamp a copy: --stamp FOLDER",
        )
    if not status.st_mode & _MAY_WRITE or not os.access(target, os.W_OK):
        raise StampError(
            "The file is read-only.", next_step="Allow writing to it, or stamp a copy: --stamp FOLDER"
        )
    if not _holds(target, content):
        raise StampError("The file was changed meanwhile.", next_step="Ask again.")
    try:
        write_durably(target, stamped, like=target)
    except OSError as error:
        raise _unwritable(target, error) from error
    return True


def _holds(file: Path, content: bytes) -> bool:
    try:
        status = file.stat()
        return (
            stat.S_ISREG(status.st_mode) and status.st_size == len(content) and file.read_bytes() == content
        )
    except OSError:
        return False


def _unwritable(target: Path, error: OSError) -> StampError:
    return StampError(
        f"{target} cannot be written: {error.strerror or error}.",
        next_step="Free space or correct permissions, and ask again.",
    )
