"""Paths in; a decoded image or a refusal out for each, in order. The one rule: no file can stop the others.

Each worker is a process of its own with a memory limit, killed when an image takes too long. One thread a
worker waits on its pipe. Plain subprocesses rather than multiprocessing or pebble, because those start a
worker by importing the program's ``__main__`` again, command line and all, and cost twice the time to the
first image (0.2 s here).
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fairbrush.corpus.images import DecodedImage, ImageLimits, Refusal, RefusalReason
from fairbrush.errors import ImageWorkerError

if TYPE_CHECKING:
    from concurrent.futures import Future
    from subprocess import Popen
    from threading import Event

# The worker imports what this process would: same path, same fairbrush.
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from fairbrush.corpus import decode_worker as worker; "
_BOOT += "worker.serve(sys.argv[1])"

_START_LIMIT_S = 60.0
# Images decoded ahead of the caller, for each worker: at most 3 MiB each at the default working size. Enough
# that workers go on while a batch is embedded.
_LOOK_AHEAD = 8


class ImageReader:
    """Reads images in worker processes; use it as a context manager.

    Workers start at the first image: a run that finds everything cached starts none.
    """

    def __init__(self, limits: ImageLimits, *, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._limits = limits
        self._n_workers = workers

    def __enter__(self) -> Self:
        from concurrent.futures import ThreadPoolExecutor
        from queue import SimpleQueue

        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(self._n_workers, thread_name_prefix="image-reader")
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.forget()

    def read(self, paths: Iterable[Path]) -> Iterator[tuple[Path, DecodedImage | Refusal]]:
        """Yield each path with its image or refusal, in order; raises ImageWorkerError."""
        pending: deque[tuple[Path, Future[DecodedImage | Refusal]]] = deque()
        try:
            for path in paths:
                self._start_workers()
                pending.append((path, self._threads.submit(self._read_one, path)))
                if len(pending) > _LOOK_AHEAD * self._n_workers:
                    yield _take_first(pending)
            while pending:
                yield _take_first(pending)
        finally:
            for _, future in pending:
                future.cancel()

    def _start_workers(self) -> None:
        while len(self._workers) < self._n_workers:
            worker = _Worker(self._limits)
            self._workers.append(worker)
            self._idle.put(worker)

    def _read_one(self, path: Path) -> DecodedImage | Refusal:
        worker = self._idle.get()
        try:
            return worker.read(path)
        finally:
            self._idle.put(worker)


class _Worker:
    """One decoding process, started again after it dies. Used by one thread at a time, save for kill()."""

    def __init__(self, limits: ImageLimits) -> None:
        from threading import Lock

        self._limits = limits
        self._lock = Lock()
        self._is_closed = False
        self._is_ready = False
        self._process: Popen[bytes] | None = None
        self._start()

    def read(self, path: Path) -> DecodedImage | Refusal:
        process = self._ready_process()
        with _killed_after(process, self._limits.timeout_s) as expired:
            answer = _ask(process, path)
        if answer is None or expired.is_set():
            self.forget()
        if answer is not None:
            return answer
        if expired.is_set():
            detail = f"Decoding took more than {self._limits.timeout_s:g} s. Save a smaller copy."
            return Refusal(path, RefusalReason.OUT_OF_TIME, detail)
        detail = (
            f"The process decoding it died (exit code {process.returncode}). Try again, or save it as PNG."
        )
        return Refusal(path, RefusalReason.WORKER_DIED, detail)

    def kill(self) -> None:
        """End the process, for good; called from another thread than read()."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def forget(self) -> None:
        """End the process if there is one, and leave nothing of it; the next read starts another."""
        process, self._process, self._is_ready = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            _close_quietly(pipe)

    def _start(self) -> Popen[bytes]:
        from subprocess import PIPE, Popen

        with self._lock:
            if self._is_closed:
                raise ImageWorkerError("The image reader is closed.")
            try:
                self._process = Popen(
                    [sys.executable, "-c", _BOOT, json.dumps(asdict(self._limits)), *sys.path],
                    stdin=PIPE,
                    stdout=PIPE,
                    # a group of its own: Ctrl-C in the terminal must not reach it while it starts
                    process_group=0 if os.name == "posix" else None,
                )
            except OSError as error:
                raise ImageWorkerError(
                    f"No process to decode images could be started: {error}.",
                    next_step="Free some memory, or lower the number of workers.",
                ) from error
            return self._process

    def _ready_process(self) -> Popen[bytes]:
        process = self._process or self._start()
        if self._is_ready:
            return process
        # the answer needs it, and the worker is still starting
        import numpy as np  # noqa: F401

        assert process.stdout is not None
        with _killed_after(process, _START_LIMIT_S):
            line = process.stdout.readline()
        if line != b"ready\n":
            self.forget()
            raise ImageWorkerError(
                f"The process that decodes images stopped while starting (exit code {process.returncode}).",
                next_step="Its error is printed above. Reinstall: pip install --force-reinstall fairbrush",
            )
        self._is_ready = True
        return process


def _ask(process: Popen[bytes], path: Path) -> DecodedImage | Refusal | None:
    """One request and its answer; None when the worker is gone."""
    import numpy as np

    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # abspath, not resolve: the worker's folder is the one this process had when it started
        process.stdin.write(json.dumps(os.path.abspath(path)).encode() + b"\n")  # noqa: PTH100
        process.stdin.flush()
    except OSError:
        return None
    header = process.stdout.readline()
    if not header.endswith(b"\n"):
        return None
    fields: dict[str, Any] = json.loads(header)
    if "reason" in fields:
        return Refusal(path, RefusalReason(fields["reason"]), fields["detail"])
    pixels = np.empty((fields.pop("height"), fields.pop("width"), 3), dtype=np.uint8)
    if process.stdout.readinto(pixels.data.cast("B")) != pixels.nbytes:  # type: ignore[attr-defined]
        return None
    return DecodedImage(pixels=pixels, **fields)


@contextmanager
def _killed_after(process: Popen[bytes], seconds: float) -> Iterator[Event]:
    """Kill the process when the block takes too long; the event says that it did."""
    from threading import Event, Timer

    expired = Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        # a timer already running must not kill the process in the middle of the next image
        timer.join()


def _take_first(
    pending: deque[tuple[Path, Future[DecodedImage | Refusal]]],
) -> tuple[Path, DecodedImage | Refusal]:
    path, future = pending.popleft()
    return path, future.result()


def _close_quietly(pipe: Any) -> None:
    # what was left unsent has nobody to read it
    with suppress(BrokenPipeError):
        pipe.close()
