"""Paths in on stdin, images out on stdout: the loop of one decoding process.

The worker says ``ready`` once. A request is a line of JSON, the absolute path. An answer is a line of JSON,
then the pixels as raw bytes when there are any. JSON, not pickle: what comes out of a process that has met
hostile bytes is only data.
The one rule: a worker that is in any doubt dies, and the reader starts another.
"""

import hashlib
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fairbrush.corpus.decoding import decode_frame
from fairbrush.corpus.images import ImageLimits, RefusalReason, read_file
from fairbrush.corpus.stamped import unstamped
from fairbrush.errors import ImageRefusedError


def serve(limits_json: str) -> None:
    """Answer requests until the parent is gone, which closes stdin and leaves nobody to read an answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        _serve(limits_json)


def _serve(limits_json: str) -> None:
    limits = ImageLimits(**json.loads(limits_json))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    answers.write(b"ready\n")
    answers.flush()
    _silence_codecs()
    _limit_memory(limits.memory_bytes)
    for request in sys.stdin.buffer:
        with _alarm(limits.timeout_s):
            _answer(Path(json.loads(request)), limits, answers)


def _answer(path: Path, limits: ImageLimits, answers: BinaryIO) -> None:
    header: dict[str, Any]
    pixels = b""
    try:
        content = unstamped(read_file(path, limits))
        frame = decode_frame(content, limits)
        pixels = frame.image.tobytes()
        header = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "width": frame.image.width,
            "height": frame.image.height,
            "format": frame.format,
            "original_width": frame.original_width,
            "original_height": frame.original_height,
        }
    except ImageRefusedError as error:
        header = {"reason": error.reason, "detail": error.detail}
    except MemoryError:
        detail = f"Reading it takes more than {limits.memory_bytes:,} bytes of memory. Save a smaller copy."
        header = {"reason": RefusalReason.OUT_OF_MEMORY, "detail": detail}
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(pixels)
    answers.flush()


def _silence_codecs() -> None:
    """Codecs written in C print to the terminal; answers go through a copy of stdout made before."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    limit_bytes = memory_bytes + _address_space_bytes()
    _, hard_limit_bytes = resource.getrlimit(resource.RLIMIT_AS)
    if hard_limit_bytes != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard_limit_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, hard_limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _address_space_bytes() -> int:
    """What this process takes before its first image; 0 where the system does not say (macOS)."""
    try:
        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return n_pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _alarm(timeout_s: float) -> Iterator[None]:
    """End this process one second after the reader should have: the reader may be gone."""
    if sys.platform == "win32":
        yield
        return
    signal.alarm(math.ceil(timeout_s) + 1)
    yield
    signal.alarm(0)
