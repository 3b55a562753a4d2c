"""Replace a file in one step that survives a crash. The one rule: a reader sees the old file or the new."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_durably(file: Path, content: bytes) -> None:
    """Write beside the file, flush to disk, rename over it, flush the folder. Raises OSError."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
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
