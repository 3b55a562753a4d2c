"""Ways to split an image's style between artists: fairbrush itself, and the baselines it must beat.

Enters: artists with their works, a background, raw vectors of images. Leaves: ``Shares``. The one rule:
fairbrush is measured through its real doors, an index on disk and ``attribute_vector``; nothing of it is
computed again here. To measure one more value function, add a line to ``VARIANTS``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.attribution import EncoderFacts, ImageFacts, attribute_vector
from fairbrush.domain import Artist, Consent, Value
from fairbrush.index.build import ALPHA, ArtistWorks, build_index
from fairbrush.index.search import SearchDevice, StyleIndex, open_index
from fairbrush.index.versions import CURRENT_NAME
from fairbrush.ledger.policy import Policy
from fairbrush.style.affinity import PanelScale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace
    from fairbrush.style.strangers import Strangers

# Value functions by name, with what attribute_vector needs to play them.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    str(value): {"value": value} for value in (Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION)
}

NEIGHBOURS = 10
CLIP_SCALE = 100.0  # CLIP's own logit scale (Radford et al. 2021, arXiv:2103.00020)
SCALES = tuple(2 ** (half / 2) for half in range(2, 21))
WORKS_TO_FIT = 2000  # a softmax's scale is fitted on at most so many
QUERIES_AT_A_TIME = 256
STYLE_ONLY = Policy(b="0", w="1")  # so that a share of the bill is a share of the style
VIEWS = ("raw", "style space")
RAW_CENTROID = "raw nearest centroid"


@dataclass(frozen=True, eq=False)
class Background:
    """panel: raw float32 (n_panel, dim) by hands that are nobody's; space: fitted on it; strangers: the panel
    as spaces see it that were not."""

    space: StyleSpace
    panel: NDArray[np.float32]
    strangers: Strangers
    encoder_id: str
    variant: str


@dataclass(frozen=True)
class Shares:
    """One image's answer. ``paid``: parts of its style by artist, at most 1 together; ``best``: the first of
    the method's own ranking, paid or not; ``intervals``: low and high of each paid part, where given;
    ``word``: how sure the method says it is, where it does."""

    paid: Mapping[str, float]
    best: str
    intervals: Mapping[str, tuple[float, float]] | None = None
    word: str | None = None


class Fitted(Protocol):
    def shares(self, vectors: NDArray[np.float32]) -> list[Shares]:
        """One answer an image. vectors: raw float32 (n, dim)."""


class Method(Protocol):
    @property
    def name(self) -> str: ...
    def fit(self, references: Sequence[ArtistWorks], background: Background) -> Fitted: ...


def baselines() -> list[Method]:
    """Raw cosines, as a reader of CLIP scores would use them; and the same in fairbrush's style space."""
    methods: list[Method] = []
    for view in VIEWS:
        methods += [
            NearestCentroid(f"{view} nearest centroid", view),
            KnnVote(f"{view} {NEIGHBOURS}-NN vote", view),
            Softmax(f"{view} softmax, scale {CLIP_SCALE:.0f}", view, CLIP_SCALE),
            Softmax(f"{view} softmax, fitted", view),
        ]
    return methods


def in_view(view: str, vectors: NDArray[np.float32], background: Background) -> NDArray[np.float64]:
    """Unit rows, float64 (n, dim): as the encoder gave them, or moved into the style space."""
    import numpy as np

    if view == "style space":
        return background.space.apply(vectors)
    rows = vectors.astype(np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _centroids(works: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    import numpy as np

    means = np.stack([one.mean(axis=0) for one in works])
    unit: NDArray[np.float64] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return unit


@dataclass(frozen=True, eq=False)
class NearestCentroid:
    """All to the artist with the nearest centroid."""

    name: str
    view: str

    def fit(self, references: Sequence[ArtistWorks], background: Background) -> FittedCentroids:
        works = [in_view(self.view, artist.vectors, background) for artist in references]
        ids = tuple(artist.artist_id for artist in references)
        return FittedCentroids(ids, _centroids(works), self.view, background)


@dataclass(frozen=True, eq=False)
class FittedCentroids:
    """centroids: unit rows float64 (n_artists, dim). scale: None pays the nearest all."""

    artist_ids: tuple[str, ...]
    centroids: NDArray[np.float64]
    view: str
    background: Background
    scale: float | None = None

    def shares(self, vectors: NDArray[np.float32]) -> list[Shares]:
        import numpy as np

        cosines = in_view(self.view, vectors, self.background) @ self.centroids.T
        best = [self.artist_ids[position] for position in cosines.argmax(axis=1)]
        if self.scale is None:
            return [Shares({name: 1.0}, name) for name in best]
        parts = np.exp(self.scale * (cosines - cosines.max(axis=1, keepdims=True)))
        parts /= parts.sum(axis=1, keepdims=True)
        return [
            Shares(dict(zip(self.artist_ids, row.tolist(), strict=True)), name)
            for row, name in zip(parts, best, strict=True)
        ]

    def nearness(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        nearest: NDArray[np.float64] = (in_view(self.view, vectors, self.background) @ self.centroids.T).max(
            axis=1
        )
        return nearest

    def threshold(self, alpha: float) -> float:
        strangers = self.background.strangers
        if self.view == "raw":
            nearest = self.nearness(self.background.panel)
        else:
            nearest = (strangers.wide @ self.centroids.T).max(axis=1)
        return PanelScale(nearest, strangers.n_hands).delta(alpha)


@dataclass(frozen=True, eq=False)
class Softmax:
    """Split by the softmax of the cosines to the centroids, times ``scale``; None: the scale under which
    the references, each against its artist's centroid without it, are likeliest."""

    name: str
    view: str
    scale: float | None = None

    def fit(self, references: Sequence[ArtistWorks], background: Background) -> FittedCentroids:
        works = [in_view(self.view, artist.vectors, background) for artist in references]
        ids = tuple(artist.artist_id for artist in references)
        scale = likeliest_scale(works) if self.scale is None else self.scale
        return FittedCentroids(ids, _centroids(works), self.view, background, scale)


def likeliest_scale(works: Sequence[NDArray[np.float64]]) -> float:
    """Of ``SCALES``, the one under which works left out of their own centroid are likeliest.

    works: unit rows an artist. Artists with a single work say nothing and are passed over.
    """
    import numpy as np

    centroids = _centroids(works)
    label = np.repeat(np.arange(len(works)), [len(one) for one in works])
    keep = np.flatnonzero(np.array([len(one) for one in works])[label] > 1)
    step = -(-len(keep) // WORKS_TO_FIT) if len(keep) else 1
    keep = keep[::step]
    if not len(keep):
        return CLIP_SCALE
    rows = np.concatenate(works)[keep]
    own = label[keep]
    sums = np.stack([one.sum(axis=0) for one in works])
    others = sums[own] - rows
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    cosines = rows @ centroids.T
    cosines[np.arange(len(own)), own] = (rows * others).sum(axis=1)
    own_cosines = cosines[np.arange(len(own)), own]
    top = cosines.max(axis=1)

    def surprise(scale: float) -> float:
        spread = np.log(np.exp(scale * (cosines - top[:, None])).sum(axis=1))
        return float((spread - scale * (own_cosines - top)).mean())

    return min(SCALES, key=surprise)


@dataclass(frozen=True, eq=False)
class KnnVote:
    """Split as the nearest works vote, one vote each; ties in the order of the references."""

    name: str
    view: str

    def fit(self, references: Sequence[ArtistWorks], background: Background) -> FittedVote:
        import numpy as np

        works = np.concatenate([in_view(self.view, artist.vectors, background) for artist in references])
        owners = tuple(artist.artist_id for artist in references for _ in artist.vectors)
        return FittedVote(owners, works, self.view, background)


@dataclass(frozen=True, eq=False)
class FittedVote:
    """works: unit rows float64 (n_works, dim); owners: whose each is."""

    owners: tuple[str, ...]
    works: NDArray[np.float64]
    view: str
    background: Background

    def shares(self, vectors: NDArray[np.float32]) -> list[Shares]:
        import numpy as np

        answers = []
        rows = in_view(self.view, vectors, self.background)
        for start in range(0, len(rows), QUERIES_AT_A_TIME):
            cosines = rows[start : start + QUERIES_AT_A_TIME] @ self.works.T
            for nearest in np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS].tolist():
                votes: dict[str, float] = {}
                for position in nearest:
                    votes[self.owners[position]] = votes.get(self.owners[position], 0.0) + 1 / len(nearest)
                # of equal votes, the one who came first
                answers.append(Shares(votes, max(votes, key=lambda name: votes[name])))
        return answers


@dataclass(frozen=True, eq=False)
class Fairbrush:
    """The engine. ``options``: the keywords of attribute_vector. Indexes are built under ``scratch``."""

    value: str
    options: Mapping[str, Any]
    scratch: Path
    alpha: float = ALPHA

    @property
    def name(self) -> str:
        return f"fairbrush {self.value}"

    def fit(self, references: Sequence[ArtistWorks], background: Background) -> FittedFairbrush:
        index = self._index(references, background)
        encoder = EncoderFacts(background.encoder_id, background.variant)
        return FittedFairbrush(index, Everybody.of(references), encoder, self.options)

    def _index(self, references: Sequence[ArtistWorks], background: Background) -> StyleIndex:
        """Built once for the same artists, whatever the value function."""
        folder = self.scratch / _digest(references, background, self.alpha)
        if not (folder / CURRENT_NAME).exists():
            folder.mkdir(parents=True, exist_ok=True)
            build_index(
                folder,
                references,
                space=background.space,
                strangers=background.strangers,
                encoder_id=background.encoder_id,
                variant=background.variant,
                alpha=self.alpha,
            )
        return open_index(folder, verify=False, device=SearchDevice.CPU)


def _digest(references: Sequence[ArtistWorks], background: Background, alpha: float) -> str:
    digest = hashlib.sha256(f"{background.space.space_id} {alpha}".encode())
    digest.update(background.panel.tobytes())
    for artist in references:
        named = (artist.artist_id, artist.creator_id, *artist.work_sha256s)
        digest.update(repr(named).encode("utf-8", "surrogateescape"))
        digest.update(artist.vectors.tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class FittedFairbrush:
    index: StyleIndex
    eligibility: Everybody
    encoder: EncoderFacts
    options: Mapping[str, Any]

    def shares(self, vectors: NDArray[np.float32]) -> list[Shares]:
        """vectors: raw float32 (n, dim); for facets (n, n_facets, dim)."""
        return [self._shares(vector) for vector in vectors]

    def _shares(self, vector: NDArray[np.float32]) -> Shares:
        found = attribute_vector(
            ImageFacts(hashlib.sha256(vector.tobytes()).hexdigest(), None),
            vector,
            index=self.index,
            eligibility=self.eligibility,
            encoder=self.encoder,
            policy=STYLE_ONLY,
            model_id=STYLE_ONLY.model,
            **self.options,
        )
        paid = {one.artist.artist_id: one.share for one in found.artists}
        nearest = [*paid, *([found.runner_up.artist_id] if found.runner_up else [])]
        intervals = {one.artist.artist_id: one.interval for one in found.artists if one.interval}
        return Shares(paid, nearest[0], intervals or None, found.confidence and str(found.confidence))

    def nearness(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        import numpy as np

        return np.array([found.hits[0].z for found in self.index.search_many(vectors, k=1)])

    def threshold(self, alpha: float) -> float:
        return self.index.delta_at(alpha)


@dataclass(frozen=True, eq=False)
class Everybody:
    """Every artist indexed may be credited, for any model."""

    artists: Mapping[str, Artist]
    digest: str = field(default="0" * 64)

    @classmethod
    def of(cls, references: Sequence[ArtistWorks]) -> Everybody:
        return cls(
            {
                one.artist_id: Artist(
                    one.artist_id, one.artist_id, one.creator_id, one.creator_id, Consent.UNCLAIMED
                )
                for one in references
            }
        )

    def eligible(self, model_id: str) -> list[str]:
        return list(self.artists)

    def may_be_credited(self, artist_id: str, model_id: str) -> bool:
        return artist_id in self.artists
