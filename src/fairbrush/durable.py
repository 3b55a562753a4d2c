"""Write a file in one step that survives a crash. The one rule: a reader sees the old file or the new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

DRAFT_PREFIX = ".draft-"  # what a killed writer may leave beside the file
LONGEST_NAME = 220  # bytes; with more, a draft's name could be longer than a file's may be


@contextmanager
def replaced(file: Path, *, like: Path | None = None) -> Iterator[IO[bytes]]:
    """Give a stream beside the file; when the block ends, flush it to disk, rename it over, flush the folder.
    Where the block raises, the file is as it was. Raises OSError.

    ``like``: the file whose owner, permissions and extended attributes it gets; the system's where None.
    """
    with _draft(file, lambda draft: draft.replace(file), like=like) as stream:
        yield stream


def write_durably(file: Path, content: bytes | Iterable[bytes], *, like: Path | None = None) -> None:
    """``replaced`` by this content. Raises OSError."""
    with replaced(file, like=like) as stream:
        _pour(content, stream)


def create_durably(file: Path, content: bytes | Iterable[bytes]) -> None:
    """The same for a new file: of several writers of one name the first wins.

    Raises FileExistsError for all others, whatever lies there, and OSError.
    """
    with _draft(file, lambda draft: _name_once(draft, file)) as stream:
        _pour(content, stream)


@contextmanager
def _draft(
    file: Path, give_name: Callable[[Path], object], *, like: Path | None = None
) -> Iterator[IO[bytes]]:
    # random: threads share a process id, and so may processes in two containers
    draft = file.with_name(f"{DRAFT_PREFIX}{os.urandom(8).hex()}-{_short(file.name)}")
    try:
        with draft.open("x+b") as stream:
            yield stream
            stream.flush()
            if like is not None:
                _take_after(like, draft)
            os.fsync(stream.fileno())
        give_name(draft)
    except BaseException:  # Ctrl-C too: no draft is left behind
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


def _pour(content: bytes | Iterable[bytes], stream: IO[bytes]) -> None:
    for chunk in [content] if isinstance(content, bytes) else content:
        stream.write(chunk)


def _name_once(draft: Path, file: Path) -> None:
    """Raises FileExistsError, and OSError."""
    try:
        os.link(draft, file)
    except FileExistsError:
        raise
    except OSError:  # no hard links there, as on memory cards: the name is taken first, then filled
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        draft.replace(file)
    else:
        draft.unlink()


def _short(name: str) -> str:
    """The name, or its digest where nothing could stand before it: systems allow 255 bytes."""
    from hashlib import sha256

    encoded = os.fsencode(name)
    return name if len(encoded) <= LONGEST_NAME else sha256(encoded).hexdigest()


def _take_after(file: Path, draft: Path) -> None:
    """Raises OSError: also where the owner cannot be kept."""
    from shutil import copystat

    old, new = file.stat(), draft.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(draft, old.st_uid, old.st_gid)
    copystat(file, draft)
    os.utime(draft)  # changed now


def flush_folder(folder: Path) -> None:
    """Make renames inside a folder durable; does nothing on Windows, where folders cannot be flushed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
