"""Replace a file in one step that survives a crash. The one rule: a reader sees the old file or the new."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

DRAFT_PREFIX = ".draft-"  # what a killed writer may leave beside the file
LONGEST_NAME = 220  # bytes; with more, a draft's name could be longer than a file's may be


def write_durably(file: Path, content: bytes | Iterable[bytes], *, like: Path | None = None) -> None:
    """Write beside the file, flush to disk, rename over it, flush the folder. Raises OSError.

    ``like``: the file whose owner, permissions and extended attributes it gets; the system's where None.
    """
    draft = file.with_name(f"{DRAFT_PREFIX}{os.getpid()}-{_short(file.name)}")
    try:
        with draft.open("wb") as stream:
            for chunk in [content] if isinstance(content, bytes) else content:
                stream.write(chunk)
            stream.flush()
            if like is not None:
                _take_after(like, draft)
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


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
