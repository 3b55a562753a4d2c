"""How an index touches the disk: whole files, digests before use, one writer.

The one rule: a name appears only once its content is durable, so a reader meets whole files whatever
happens to the writer.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fairbrush.durable import write_durably
from fairbrush.errors import IndexBusyError, IndexDamagedError, IndexUnusableError

LOCK_NAME = ".lock"
REPAIR_STEP = "Roll back: fairbrush index rollback; or rebuild: fairbrush index build"
_CHUNK = 1 << 20


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def canonical_json(body: dict[str, Any]) -> bytes:
    """Sorted keys, no spaces, no NaN: the same facts give the same bytes."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_file(file: Path, chunks: Iterable[bytes]) -> str:
    """Write beside, sync, rename, sync the folder; returns the SHA-256. Raises IndexUnusableError."""
    digest = hashlib.sha256()

    def digested() -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, digested())
    except OSError as error:
        raise IndexUnusableError(
            f"The index cannot write {file}: {error.strerror or error}.",
            next_step="Free the disk or make the folder writable; the index is as it was.",
        ) from error
    return digest.hexdigest()


def read_checked(file: Path, sha256: str | None) -> bytes:
    """A file's bytes, after its digest was compared; None compares nothing. Raises IndexDamagedError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise IndexDamagedError(
            f"The index's file {file} cannot be read: {error.strerror or error}.", next_step=REPAIR_STEP
        ) from error
    if sha256 is not None and sha256_of(content) != sha256:
        raise IndexDamagedError(
            f"The index's file {file} is damaged: its digest is not the one on record.", next_step=REPAIR_STEP
        )
    return content


def digest_file(file: Path) -> str:
    """SHA-256 of a file, read in pieces. Raises IndexDamagedError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise IndexDamagedError(
            f"The index's file {file} cannot be read: {error.strerror or error}.", next_step=REPAIR_STEP
        ) from error
    return digest.hexdigest()


@contextmanager
def writer_lock(folder: Path, *, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the index's only writer's place; readers never wait. The system frees it if the process dies.

    Raises IndexBusyError after ``wait_s``, IndexUnusableError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK_NAME).open("a+b")
    except OSError as error:
        raise IndexUnusableError(
            f"The index folder {folder} cannot be written: {error.strerror or error}.",
            next_step="Make it writable, or name another workspace.",
        ) from error
    with stream:
        _retry(lambda: _try_lock(stream), wait_s=wait_s, folder=folder)
        yield  # closing the file frees the lock


def _retry(attempt: Callable[[], bool], *, wait_s: float, folder: Path) -> None:
    deadline = time.monotonic() + wait_s
    while not attempt():
        if time.monotonic() >= deadline:
            raise IndexBusyError(
                f"Another process has been writing the index {folder} for {wait_s:g} s.",
                next_step="Try again when it has ended; searching works meanwhile.",
            )
        time.sleep(0.02)


def _try_lock(stream: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
