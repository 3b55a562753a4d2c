"""Images by content: made once, found again by what decides them.

Enters: requests, a sampling, a generator known by its digest. Leaves: a PNG a request, in their order. The
one rule: a file under its final name is whole, and its name is a digest of all that decides the image and of
nothing else: no path, no device, no prompt in plain text.

``FOLDER/<key[:2]>/<key>.png``; deleting the folder costs time only.
"""

from __future__ import annotations

import gc
import hashlib
import io
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.durable import flush_folder, write_durably
from fairbrush.errors import GeneratorError, ImagesRefusedError, RegenerationError
from fairbrush.validation.generators import Generator, LazyGenerator, Request, Sampling
from fairbrush.validation.loading import is_out_of_memory
from fairbrush.validation.schedulers import find_scheduler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "fairbrush-regenerated/1"
MOST_REASONS = 5  # in one message
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Regenerated:
    """``path``: a PNG; ``sha256``: of its file; ``was_cached``: it was there before."""

    request: Request
    path: Path
    sha256: str
    was_cached: bool


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` images are there; ``remaining_s`` None: nothing was timed yet. ``note``: news."""

    done: int
    total: int
    elapsed_s: float
    remaining_s: float | None
    note: str | None = None


def image_key(request: Request, sampling: Sampling, *, model_digest: str, precision: str) -> str:
    """SHA-256 of all that decides an image. Raises GeneratorError on an unknown sampler."""
    choice = find_scheduler(sampling.scheduler).choice
    if sampling.scheduler is not None and choice is None:
        raise GeneratorError(f"The sampler {sampling.scheduler!r} is not known.", next_step="Leave it out.")
    return canonical_digest(
        {
            "schema": SCHEMA,
            # another version may draw another image, and coalitions are compared with each other
            "diffusers": _diffusers_version(),
            "model": model_digest,
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": request.seed,
            "steps": sampling.steps,
            "guidance": decimal_text(float(sampling.guidance)),
            # the options stand over the model's own scheduler config, which the model's digest covers
            "scheduler": [choice.class_name, sorted(choice.options)] if choice else None,
            "width": sampling.width,
            "height": sampling.height,
            "precision": precision,
            "inputs": sorted([one.sha256, decimal_text(float(one.weight))] for one in request.inputs),
        }
    )


@cache
def _diffusers_version() -> str | None:
    try:
        return version("diffusers")
    except PackageNotFoundError:
        return None  # loading will say so


def regenerate(
    requests: Sequence[Request],
    sampling: Sampling,
    generator: LazyGenerator,
    *,
    folder: Path,
    batch: int = 4,
    report: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Regenerated]:
    """Make what is missing, ``batch`` at a time; the generator is loaded only for that.

    Each image is on the disk before it is yielded: an interrupted run resumes where it was. A batch that
    does not fit in memory is halved. Requests that give no image do not stop the others.
    Raises GeneratorError; RegenerationError at the end for requests that gave no image, or at once where not
    even one image fits in memory or the disk takes none.
    """
    run = _Run(requests, sampling, generator, folder=folder, batch=batch, report=report)
    run.say()
    for place, request in enumerate(requests):
        if run.keys[place] in run.missing:
            run.make_from(place)
        if run.keys[place] in run.reasons:
            continue
        path = run.path_of(run.keys[place])
        content = path.read_bytes()
        yield Regenerated(request, path, hashlib.sha256(content).hexdigest(), run.keys[place] not in run.made)
    if run.reasons:
        raise RegenerationError(
            f"{len(run.reasons)} of {run.n_different} images could not be made. {run.why()}",
            next_step=f"{run.next_step} The others are kept: run it again to go on.",
        )


def missing_requests(
    requests: Sequence[Request], sampling: Sampling, generator: LazyGenerator, *, folder: Path
) -> list[Request]:
    """Those that ``regenerate`` would have to make, each different image once, in their order.

    Raises RegenerationError where a kept image cannot be read.
    """
    run = _Run(requests, sampling, generator, folder=folder, batch=1, report=lambda _: None)
    return list(run.missing.values())


class _Run:
    """What one call keeps: which keys are missing, were made, or failed."""

    def __init__(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        generator: LazyGenerator,
        *,
        folder: Path,
        batch: int,
        report: Callable[[Progress], None],
    ) -> None:
        self.sampling, self.generator, self.folder, self.report = sampling, generator, folder, report
        self.batch = max(1, batch)
        self.keys = [
            image_key(request, sampling, model_digest=generator.model_digest, precision=generator.precision)
            for request in requests
        ]
        first = dict(reversed(list(zip(self.keys, requests, strict=True))))
        wanted = {key: first[key] for key in dict.fromkeys(self.keys)}
        self.n_different = len(wanted)
        self.missing = {key: request for key, request in wanted.items() if not self._is_whole(key)}
        self.made: set[str] = set()
        self.reasons: dict[str, str] = {}
        self.next_step = ""
        self._loaded: Generator | None = None
        self._start = time.monotonic()
        self._generating_s = 0.0

    def path_of(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.png"

    def say(self, note: str | None = None) -> None:
        finished = len(self.made) + len(self.reasons)
        remaining = self._generating_s / finished * len(self.missing) if finished else None
        if not self.missing:
            remaining = 0.0
        self.report(
            Progress(
                self.n_different - len(self.missing),
                self.n_different,
                time.monotonic() - self._start,
                remaining,
                note,
            )
        )

    def why(self) -> str:
        reasons = list(self.reasons.values())
        more = len(reasons) - MOST_REASONS
        return " ".join([*reasons[:MOST_REASONS], *([f"And {more} more."] if more > 0 else [])])

    def make_from(self, place: int) -> None:
        """One batch: the request at a place and the next missing ones; fewer where memory is short."""
        waiting = [key for key in dict.fromkeys(self.keys[place:]) if key in self.missing]
        generator = self._loaded = self._loaded or self._load()
        started = time.monotonic()  # loading is no part of what an image takes
        while True:
            keys = waiting[: self.batch]
            made = self._try(generator, [self.missing[key] for key in keys])
            if made is not None:
                break
            self._halve(len(keys))
        for key, image in zip(keys, made, strict=True):
            if isinstance(image, str):
                self.reasons[key] = image
            else:
                self._keep(key, image)
                self.made.add(key)
            del self.missing[key]
        self._generating_s += time.monotonic() - started
        self.say()

    def _try(self, generator: Generator, requests: Sequence[Request]) -> list[NDArray[np.uint8] | str] | None:
        """An image or the reason why there is none for each; None where memory did not suffice."""
        try:
            made = generator.generate(requests, self.sampling)
        except ImagesRefusedError as refused:
            self.next_step = refused.next_step or ""
            return [
                image if image is not None else refused.reasons[place]
                for place, image in enumerate(refused.made)
            ]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        assert made.shape == (len(requests), self.sampling.height, self.sampling.width, 3), made.shape
        return list(made)

    def _load(self) -> Generator:
        loaded = self.generator.load()
        if loaded.model_digest != self.generator.model_digest:
            raise GeneratorError(
                "The model's files changed while it was being loaded.", next_step="Run it again."
            )
        return loaded

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise RegenerationError(
                f"Not even one image of {self.sampling.width} x {self.sampling.height} px fits in memory.",
                next_step="Use --precision float16 on a GPU, a smaller --size, or --device cpu; images made "
                "so far are kept.",
            )
        self.batch = tried // 2
        gc.collect()
        if "torch" in sys.modules:
            import torch

            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.say(f"Out of memory with {tried} images at a time: going on with {self.batch}.")

    def _is_whole(self, key: str) -> bool:
        try:
            content = self.path_of(key).read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RegenerationError(f"{self.path_of(key)} cannot be read: {error}.") from error
        return is_whole_png(content, (self.sampling.width, self.sampling.height))

    def _keep(self, key: str, pixels: NDArray[np.uint8]) -> None:
        from PIL import Image

        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        path = self.path_of(key)
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                flush_folder(self.folder)
            write_durably(path, encoded.getvalue())
        except OSError as error:
            raise RegenerationError(
                f"{path} cannot be written: {error}.",
                next_step="Free some space, or choose another folder; images made so far are kept.",
            ) from error


def is_whole_png(content: bytes, size: tuple[int, int]) -> bool:
    """A PNG of this width and height, from signature to end, each chunk as its checksum says.

    Image libraries stop at the last pixel and look at no checksum of image chunks.
    """
    if not content.startswith(_SIGNATURE):
        return False
    position, kinds = len(_SIGNATURE), []
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        if end > len(content):
            return False
        body = content[position + 4 : end - 4]
        if struct.unpack_from(">I", content, end - 4)[0] != zlib.crc32(body):
            return False
        kinds.append(body[:4])
        if len(kinds) == 1 and (body[:4] != b"IHDR" or struct.unpack_from(">II", body, 4) != size):
            return False
        position = end
    return position == len(content) and kinds[-1:] == [b"IEND"] and b"IDAT" in kinds
