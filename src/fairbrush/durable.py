"""Replace a file in one step that survives a crash. The one rule: a reader sees the old file or the new."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

DRAFT_PREFIX = ".draft-"  # what a killed writer may leave beside the file


def write_durably(file: Path, content: bytes | Iterable[bytes], *, mode: int | None = None) -> None:
    """Write beside the file, flush to disk, rename over it, flush the folder. Raises OSError.

    ``mode``: its permissions; the system's default where None.
    """
    draft = file.with_name(f"{DRAFT_PREFIX}{os.getpid()}-{file.name}")
    try:
        with draft.open("wb") as stream:
            for chunk in [content] if isinstance(content, bytes) else content:
                stream.write(chunk)
            stream.flush()
            if mode is not None:
                draft.chmod(mode)
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


def flush_folder(folder: Path) -> None:
    """Make renames inside a folder durable; does nothing on Windows, where folders cannot be flushed."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
