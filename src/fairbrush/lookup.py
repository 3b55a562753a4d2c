"""From image files to recorded attributions: the warm look-up.

Enters: paths. Leaves: one ``Answer`` each. The rules: what is cached is answered without loading an encoder,
torch or DuckDB; eligibility and the index are read again before every image, so an erasure or a withdrawn
consent counts from the very next answer; a record is on disk before its answer is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fairbrush.attribution import Attribution, EncoderFacts, ImageFacts, attribute_vector, to_record
from fairbrush.config import Settings
from fairbrush.corpus.eligibility import read_eligibility
from fairbrush.corpus.images import ImageLimits, hash_file
from fairbrush.domain import EmbedStatus
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import AttributionError, ImageRefusedError
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.ledger.policy import read_policy
from fairbrush.ledger.records import write_pending
from fairbrush.workspace import INDEXES, RECORDS, require_workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Images embedded together where their vectors are not cached; each batch is committed before it is answered.
BATCH = 64


@dataclass(frozen=True)
class Answer:
    """An attribution, or why there is none."""

    path: Path
    attribution: Attribution | None = None
    reason: str = ""
    detail: str = ""


class Lookup:
    """A workspace's index, cache and policy, open for look-ups; use it as a context manager."""

    def __init__(self, settings: Settings, *, model: str | None = None, record: bool = True) -> None:
        """Raises WorkspaceError, PolicyError, IndexUnusableError, EligibilityError, RegistryError."""
        self.workspace = require_workspace(settings.workspace)
        self.policy = read_policy(settings.policy)
        self.model = model or self.policy.model
        self._settings = settings
        self._record = record
        self._limits = ImageLimits(
            max_bytes=settings.max_bytes, max_pixels=settings.max_pixels, timeout_s=settings.timeout_s
        )
        self._stack = ExitStack()
        self._session: EmbeddingSession | None = None
        self.index: StyleIndex = open_index(self.workspace / INDEXES)
        self.eligibility = read_eligibility(self.workspace)
        self.eligibility.eligible(self.model)  # an unknown model is refused before any work

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def attribute(self, paths: Sequence[Path]) -> Iterator[Answer]:
        """One answer a path, in order; recorded, unless asked not to, before it is yielded."""
        for start in range(0, len(paths), BATCH):
            yield from self._attribute_batch(paths[start : start + BATCH])

    def _attribute_batch(self, paths: Sequence[Path]) -> list[Answer]:
        vectors, failures = self._vectors(paths)
        self._refresh()
        answers = []
        for path in paths:
            if path in failures:
                answers.append(failures[path])
                continue
            sha256, vector = vectors[path]
            attribution = attribute_vector(
                ImageFacts(sha256, path),
                vector,
                index=self.index,
                eligibility=self.eligibility,
                encoder=EncoderFacts(self.index.encoder_id, self.index.variants[0], self._device),
                policy=self.policy,
                model_id=self.model,
            )
            answers.append(Answer(path, attribution))
        if self._record:
            now = datetime.now(UTC)
            records = [to_record(a.attribution, now=now) for a in answers if a.attribution is not None]
            write_pending(self.workspace / RECORDS, records)
        return answers

    def _refresh(self) -> None:
        if not self.index.is_current():
            self.index = open_index(self.workspace / INDEXES)
        self.eligibility = read_eligibility(self.workspace)

    @property
    def _device(self) -> str | None:
        """Where the encoder really ran; None where everything came from the cache."""
        return None if self._session is None else self._session.encoder.device

    def _vectors(
        self, paths: Sequence[Path]
    ) -> tuple[dict[Path, tuple[str, NDArray[np.float32]]], dict[Path, Answer]]:
        """(SHA-256, raw float32 (dim,)) by path, from the cache where it can be, and the failures."""
        digests: dict[Path, str] = {}
        failures: dict[Path, Answer] = {}
        for path in dict.fromkeys(paths):
            try:
                digests[path] = hash_file(path, self._limits)
            except ImageRefusedError as refused:
                failures[path] = Answer(path, None, str(refused.reason), refused.detail)
        with EmbeddingCache.open(self._settings.cache_folder) as cache:
            space = cache.space(self.index.encoder_id, self.index.variants[0])
            stored = space.get_many(sorted(set(digests.values())))
            missing = [path for path, sha256 in digests.items() if sha256 not in stored]
            if missing:
                for outcome in self._embedder().embed(missing):
                    if outcome.status is EmbedStatus.FAILED or outcome.sha256 is None:
                        failures[outcome.path] = Answer(outcome.path, None, outcome.reason, outcome.detail)
                        del digests[outcome.path]
                    else:
                        digests[outcome.path] = outcome.sha256
                stored |= space.get_many(sorted(set(digests.values()) - set(stored)))
        return {path: (sha256, stored[sha256][0]) for path, sha256 in digests.items()}, failures

    def _embedder(self) -> EmbeddingSession:
        """The encoder, loaded when first needed; it must be the one the index was built with."""
        if self._session is None:
            session = EmbeddingSession.open(self._settings)
            found = (session.encoder.encoder_id, session.encoder.variant)
            if found != (self.index.encoder_id, self.index.variants[0]):
                raise AttributionError(
                    f"Index {self.index.version} was built with {self.index.encoder_id} on"
                    f" {self.index.variants[0]}, this encoder is {found[0]} on {found[1]}.",
                    next_step="Name that encoder in fairbrush.toml, or rebuild: fairbrush index build.",
                )
            self._session = self._stack.enter_context(session)
        return self._session
