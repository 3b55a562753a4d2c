"""Everything an embedding run needs, opened together from the settings.

Enters: ``Settings``. Leaves: an ``EmbeddingSession`` that turns paths into cached vectors. The one rule:
nothing heavy is loaded before an image is known to be missing from the cache (for ``mini``; a torch
encoder must be loaded to know its weights).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from fairbrush.config import Settings
from fairbrush.corpus.images import (
    FoundImages,
    ImageLimits,
    decoder_id,
    decoding_workers,
    find_images,
    image_limits,
)
from fairbrush.corpus.reader import ImageReader
from fairbrush.domain import EmbedOutcome
from fairbrush.embedding.cache import CacheSpace, EmbeddingCache
from fairbrush.embedding.embed import embed_files
from fairbrush.embedding.encoder import Device, Encoder, load_encoder
from fairbrush.embedding.facets import WHOLE, Views
from fairbrush.errors import ConfigError

# Beyond these nothing works: no image is decoded in time, a timer overflows, or starting takes for ever.
_LEAST = {"batch": 1, "max_bytes": 1, "max_pixels": 1, "timeout_s": 0.1}
_MOST = {"workers": 1024, "threads": 1024, "timeout_s": 86_400}


class EmbeddingSession:
    """An encoder, its rows of the cache, and the image reader; use it as a context manager."""

    def __init__(self, encoder: Encoder, settings: Settings, limits: ImageLimits) -> None:
        self.encoder = encoder
        self.cache_folder = settings.cache_folder
        self._limits = limits
        self._batch = settings.batch
        self._workers = decoding_workers(settings)
        self._stack = ExitStack()
        self._cache: EmbeddingCache | None = None
        self._spaces: dict[str, CacheSpace] = {}

    @classmethod
    def open(cls, settings: Settings, *, allow_download: bool = False) -> Self:
        """Raises ConfigError and what ``load_encoder`` raises."""
        _check_ranges(settings)
        try:
            device = Device(settings.device)
        except ValueError:
            known = ", ".join(Device)
            raise ConfigError(
                f"{settings.device!r} is not a device.", next_step=f"Use one of {known}."
            ) from None
        limits = image_limits(settings)
        encoder = load_encoder(
            settings.encoder,
            decoder_id=decoder_id(limits),
            device=device,
            allow_download=allow_download,
            threads=settings.threads,
        )
        return cls(encoder, settings, limits)

    def __enter__(self) -> Self:
        self._cache = self._stack.enter_context(EmbeddingCache.open(self.cache_folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def space(self) -> CacheSpace:
        """Of whole images."""
        return self.space_of(WHOLE)

    def space_of(self, views: Views) -> CacheSpace:
        assert self._cache is not None, "use the session as a context manager"
        variant = views.variant(self.encoder.variant)
        if variant not in self._spaces:
            self._spaces[variant] = self._cache.space(self.encoder.encoder_id, variant)
        return self._spaces[variant]

    def find(self, paths: Sequence[Path]) -> FoundImages:
        return find_images(dict.fromkeys(paths))

    def embed(self, paths: Sequence[Path], *, views: Views = WHOLE) -> Iterator[EmbedOutcome]:
        """One outcome a path, as they are settled; see ``embed_files``."""
        with ImageReader(self._limits, workers=min(self._workers, max(1, len(paths)))) as reader:
            yield from embed_files(
                paths,
                encoder=self.encoder,
                space=self.space_of(views),
                reader=reader,
                limits=self._limits,
                batch=self._batch,
                views=views,
            )


def _check_ranges(settings: Settings) -> None:
    for name in sorted({*_LEAST, *_MOST}):
        value = getattr(settings, name)
        if value < _LEAST.get(name, 0):
            bound = f"at least {_LEAST[name]}"
        elif value > _MOST.get(name, math.inf):
            bound = f"at most {_MOST[name]}"
        else:
            continue
        raise ConfigError(
            f"{name} must be {bound}, not {value}.",
            next_step=f"Correct it where it is set: fairbrush.toml, FAIRBRUSH_{name.upper()} or a flag.",
        )
