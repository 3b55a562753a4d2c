"""Files in, cached vectors out: hash, ask the cache, decode and encode only what is missing.

Enters: image paths, and which views of each. Leaves: one ``EmbedOutcome`` each, as they are settled. The one
rule: a batch is committed before its outcomes are yielded, so an interrupted run loses at most the batch in
hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import DecodedImage, ImageLimits, Refusal, hash_file
from fairbrush.domain import EmbedOutcome, EmbedStatus
from fairbrush.embedding.facets import WHOLE, Views
from fairbrush.errors import ImageRefusedError

if TYPE_CHECKING:
    from fairbrush.corpus.reader import ImageReader
    from fairbrush.embedding.cache import CacheSpace
    from fairbrush.embedding.encoder import Encoder

# Files hashed, and looked up, at a time: a fully cached folder goes at the speed of hashing.
LOOK_UP = 256


def embed_files(
    paths: Sequence[Path],
    *,
    encoder: Encoder,
    space: CacheSpace,
    reader: ImageReader,
    limits: ImageLimits,
    batch: int = 32,
    views: Views = WHOLE,
) -> Iterator[EmbedOutcome]:
    """Make sure every image has its row in ``space``; yields one outcome a path, not in input order.

    A row is float32 (views.count, dim); ``batch`` is how many views are encoded at a time, at least one
    image's. A file that cannot be read or decoded is a failed outcome and stops nothing. Raises
    CacheFullError and the encoder's errors; whatever was yielded before is committed.
    """
    for start in range(0, len(paths), LOOK_UP):
        paths_of: dict[str, list[Path]] = defaultdict(list)  # a content may lie under several names
        for path in paths[start : start + LOOK_UP]:
            try:
                paths_of[hash_file(path, limits)].append(path)
            except ImageRefusedError as refused:
                yield EmbedOutcome(path, EmbedStatus.FAILED, None, str(refused.reason), refused.detail)
        missing = space.missing(list(paths_of))
        for sha256 in paths_of.keys() - set(missing):
            yield from _outcomes(paths_of[sha256], EmbedStatus.CACHED, sha256)
        unsettled = {sha256: paths_of[sha256] for sha256 in missing}
        yield from _embed_missing(unsettled, encoder, space, reader, batch, views)


def _embed_missing(
    paths_of: dict[str, list[Path]],
    encoder: Encoder,
    space: CacheSpace,
    reader: ImageReader,
    batch: int,
    views: Views,
) -> Iterator[EmbedOutcome]:
    first_paths = {paths[0]: sha256 for sha256, paths in paths_of.items()}
    waiting: list[tuple[DecodedImage, list[Path]]] = []
    for path, answer in reader.read(first_paths):
        paths = paths_of[first_paths[path]]
        if isinstance(answer, Refusal):
            yield from _outcomes(paths, EmbedStatus.FAILED, None, str(answer.reason), answer.detail)
            continue
        waiting.append((answer, paths))
        if len(waiting) == max(1, batch // views.count):
            yield from _commit(waiting, encoder, space, views)
            waiting = []
    if waiting:
        yield from _commit(waiting, encoder, space, views)


def _commit(
    waiting: Sequence[tuple[DecodedImage, list[Path]]], encoder: Encoder, space: CacheSpace, views: Views
) -> list[EmbedOutcome]:
    """An image is stored with all of its views, or fails."""
    import numpy as np

    encoded = encoder.embed([view for image, _ in waiting for view in views.cut(image.pixels)])
    rows = encoded.reshape(len(waiting), views.count, -1)
    sound = [bool(np.isfinite(row).all()) for row in rows]
    space.put_many(
        {
            image.sha256: row
            for (image, _), row, is_sound in zip(waiting, rows, sound, strict=True)
            if is_sound
        }
    )
    outcomes: list[EmbedOutcome] = []
    for (image, paths), is_sound in zip(waiting, sound, strict=True):
        if is_sound:
            outcomes += _outcomes(paths, EmbedStatus.NEW, image.sha256)
        else:
            detail = (
                f"{encoder.encoder_id} gave numbers that are not finite. Use another encoder or precision."
            )
            outcomes += _outcomes(paths, EmbedStatus.FAILED, image.sha256, "not a number", detail)
    return outcomes


def _outcomes(
    paths: Sequence[Path], status: EmbedStatus, sha256: str | None, reason: str = "", detail: str = ""
) -> list[EmbedOutcome]:
    return [EmbedOutcome(path, status, sha256, reason, detail) for path in paths]
