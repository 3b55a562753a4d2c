"""Paths in; checked files, limits and refusals out. The one rule: a file is read, or refused with a reason.

What the rest of the program knows about image files lives here, without Pillow or numpy, so that importing
it costs nothing. The decoding itself is in :mod:`fairbrush.corpus.decoding`, and runs in the worker
processes of :mod:`fairbrush.corpus.reader`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.stamped import digest_of_unstamped, image_digest, unstamped
from fairbrush.errors import ImageRefusedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fairbrush.config import Settings

MIB = 1024 * 1024
MOST_WORKERS = 8

IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
)
# Of photographs that cannot be decoded here: passed over, they would be missed by nobody.
OTHER_EXTENSIONS = frozenset({".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k"})


class RefusalReason(StrEnum):
    """Why a file was not read."""

    MISSING = "missing"
    NOT_A_FILE = "not a file"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_MANY_BYTES = "too many bytes"
    UNSUPPORTED = "unsupported"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too many pixels"
    OUT_OF_TIME = "out of time"
    OUT_OF_MEMORY = "out of memory"
    WORKER_DIED = "worker died"


@dataclass(frozen=True)
class ImageLimits:
    """How much one image may cost, and the size it is worked on at.

    ``memory_bytes`` is what decoding may take on top of an idle worker (Linux; less exact on macOS, absent
    on Windows). Every supported kind fits in it at ``max_pixels``: measured, a JPEG or GIF needs at most
    1 GiB, a WebP or a float TIFF nearly 2 GiB.
    """

    max_bytes: int = 64 * MIB
    max_pixels: int = 100_000_000
    max_side: int = 65_535
    working_side: int = 1024
    timeout_s: float = 20.0
    memory_bytes: int = 2048 * MIB


def image_limits(settings: Settings) -> ImageLimits:
    """The limits a command decodes within."""
    return ImageLimits(
        max_bytes=settings.max_bytes, max_pixels=settings.max_pixels, timeout_s=settings.timeout_s
    )


def decoding_workers(settings: Settings) -> int:
    """How many processes decode: as set, else one a core, at most 8."""
    return settings.workers or min(MOST_WORKERS, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image ready to be encoded.

    ``sha256``: hex digest of the whole file, without our stamp. ``pixels``: uint8 (height, width, 3), sRGB,
    upright, flattened on white, longest side at most ``ImageLimits.working_side``. ``original_width`` and
    ``original_height``: the size before that reduction, upright.
    """

    sha256: str
    pixels: npt.NDArray[np.uint8]
    format: str
    original_width: int
    original_height: int


@dataclass(frozen=True)
class Refusal:
    """A path that gave no image; ``detail`` says why, with the numbers and the next step."""

    path: Path
    reason: RefusalReason
    detail: str


@dataclass(frozen=True)
class FoundImages:
    """What :func:`find_images` found: files to try, and paths that cannot be looked at."""

    images: list[Path]
    refusals: list[Refusal]


def decoder_id(limits: ImageLimits) -> str:
    """Name everything of ours that changes the pixels; part of the encoder's id.

    The versions of Pillow and its codecs are left out on purpose: an index built on one machine must serve
    another, and they may differ by rounding only.

    >>> decoder_id(ImageLimits())
    'decode1-1024'
    """
    return f"decode1-{limits.working_side}"


def decode_image(content: bytes, limits: ImageLimits) -> DecodedImage:
    """Decode one file's bytes in this process; raises ImageRefusedError.

    For files of unknown origin use :class:`fairbrush.corpus.reader.ImageReader`, which adds the time and
    memory limits. Not for threads: Pillow's own limits are process-wide and set during the call.
    """
    import numpy as np

    from fairbrush.corpus.decoding import decode_frame

    original = unstamped(content)
    frame = decode_frame(original, limits)
    return DecodedImage(
        sha256=hashlib.sha256(original).hexdigest(),
        pixels=np.array(frame.image),
        format=frame.format,
        original_width=frame.original_width,
        original_height=frame.original_height,
    )


def read_file(path: Path, limits: ImageLimits) -> bytes:
    """Read a regular file within the byte limit; raises ImageRefusedError."""
    # in one piece, unless the file grows: pieces and their sum would take twice the memory
    return b"".join(_read_chunks(path, limits, at_once=True))


def hash_file(path: Path, limits: ImageLimits) -> str:
    """The SHA-256 an image goes by, in hex: of its file, or of the file that a stamped copy was made of.

    Only a file that may have a stamp is held in memory. With the same checks as reading it; raises
    ImageRefusedError.
    """
    return digest_of_unstamped(_read_chunks(path, limits)) or image_digest(read_file(path, limits))


def find_images(paths: Iterable[Path]) -> FoundImages:
    """List the files to try, in the order given, each once.

    A folder is searched in depth: its files by name, then its subfolders by name; hidden members are
    skipped and only names with an image's extension are taken, of a format that will be refused too. A file
    named explicitly is always taken.
    """
    images: dict[str, Path] = {}
    refusals: list[Refusal] = []
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError) as error:
            refusals.append(_refusal(path, _access_refusal(error)))
            continue
        members = _folder_images(path, refusals) if is_folder else iter([path])
        for member in members:
            images.setdefault(os.path.realpath(member), member)
    return FoundImages(list(images.values()), refusals)


def _folder_images(root: Path, refusals: list[Refusal]) -> Iterator[Path]:
    def refuse_folder(error: OSError) -> None:
        refusals.append(_refusal(Path(error.filename), _access_refusal(error)))

    visited = {os.path.realpath(root)}
    for folder, subfolders, names in os.walk(root, onerror=refuse_folder, followlinks=True):
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_EXTENSIONS | OTHER_EXTENSIONS:
                yield Path(folder, name)
        # os.walk descends into what is left in this list: hidden folders and symlink loops are not
        unvisited = []
        for name in sorted(subfolders):
            target = os.path.realpath(Path(folder, name))
            if not name.startswith(".") and target not in visited:
                visited.add(target)
                unvisited.append(name)
        subfolders[:] = unvisited


def _read_chunks(path: Path, limits: ImageLimits, *, at_once: bool = False) -> Iterator[bytes]:
    with _open_regular_file(path, limits) as file:
        chunk_bytes = max(MIB, os.fstat(file.fileno()).st_size) if at_once else MIB
        n_bytes = 0
        while chunk := _read_chunk(file, chunk_bytes):
            n_bytes += len(chunk)
            chunk_bytes = MIB
            # again while reading: the file may be growing
            _check_byte_count(n_bytes, limits)
            yield chunk
    if n_bytes == 0:
        raise ImageRefusedError(RefusalReason.EMPTY, "The file has 0 bytes. Save or download it again.")


def _read_chunk(file: FileIO, chunk_bytes: int) -> bytes:
    try:
        return file.read(chunk_bytes) or b""
    except OSError as error:
        raise _access_refusal(error) from error


@contextmanager
def _open_regular_file(path: Path, limits: ImageLimits) -> Iterator[FileIO]:
    # O_NONBLOCK: opening a FIFO that took the file's place after the check must not wait for a writer
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _check_regular(path.stat())
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _access_refusal(error) from error
    with FileIO(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_regular(status)
        _check_byte_count(status.st_size, limits)
        yield file


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
    raise ImageRefusedError(RefusalReason.NOT_A_FILE, f"This is {kind}, not a file. Name an image file.")


def _check_byte_count(n_bytes: int, limits: ImageLimits) -> None:
    if n_bytes > limits.max_bytes:
        raise ImageRefusedError(
            RefusalReason.TOO_MANY_BYTES,
            f"The file has {n_bytes:,} bytes or more and the limit is {limits.max_bytes:,}. "
            "Save a smaller copy.",
        )


def _access_refusal(error: OSError | ValueError) -> ImageRefusedError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageRefusedError(RefusalReason.MISSING, "There is no such file. Check the path.")
    cause = error.strerror if isinstance(error, OSError) else str(error)
    return ImageRefusedError(
        RefusalReason.UNREADABLE, f"The file cannot be opened ({cause}). Check its name and permissions."
    )


def _refusal(path: Path, error: ImageRefusedError) -> Refusal:
    return Refusal(path, RefusalReason(error.reason), error.detail)
