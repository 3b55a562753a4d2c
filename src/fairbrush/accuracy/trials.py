"""What is asked of every method: artists to index, images whose true shares are known.

Enters: a gallery or a synthetic world, and a plan. Leaves: trials, made one at a time. The one rule: an
image that is asked about is in nobody's references, and an unknown image's artist is in no index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

from fairbrush.accuracy import synthetic
from fairbrush.accuracy.gallery import Gallery, Recipe, compose
from fairbrush.accuracy.mixtures import COMPOSITIONS, IN_EMBEDDING_SPACE, mixed_vector
from fairbrush.accuracy.synthetic import SyntheticWorld, indexed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.accuracy.methods import Background
    from fairbrush.config import Settings
    from fairbrush.embedding.session import EmbeddingSession
    from fairbrush.index.build import ArtistWorks

MOST_FOLDS = 13  # an artist at a time is left out; of larger galleries, a thirteenth at a time
THIRDS = (1 / 3, 1 / 3, 1 / 3)
WEIGHTS: Mapping[int, tuple[tuple[float, ...], ...]] = {2: ((0.5, 0.5), (0.7, 0.3)), 3: (THIRDS,)}


@dataclass(frozen=True)
class Plan:
    """How much is measured. Every draw follows from ``seed``."""

    splits: int = 5
    seed: int = 0
    alpha: float = 0.05
    synthetic_sizes: tuple[int, ...] = (12, 200, 1789)
    pairs: int = 60  # of artists mixed, a split; and so many triples
    known_images: int = 240  # of synthetic artists who are indexed, a draw
    unknown_artists: int = 120  # synthetic ones, with two images each, a draw
    coverage_images: int = 60  # of each kind whose intervals are checked, a split
    cloned_artists: int = 3
    true_works: int = 1000  # from which a synthetic artist's true centroid is measured
    most_works: int | None = None  # of a gallery's artist
    most_queries: int = 2000  # of a gallery by one artist each, a split


QUICK = Plan(
    splits=1,
    synthetic_sizes=(12,),
    pairs=8,
    known_images=36,
    unknown_artists=20,
    coverage_images=10,
    cloned_artists=1,
    true_works=200,
    most_works=12,
)


@dataclass(frozen=True, order=True)
class Kind:
    """What an image is made of: how many artists, how they were put together. 0: by nobody indexed."""

    artists: int
    composition: str = ""

    @property
    def label(self) -> str:
        hands = {0: "unknown artist", 1: "1 artist"}.get(self.artists, f"{self.artists} artists")
        return f"{hands}, {self.composition}" if self.composition else hands


ONE, UNKNOWN = Kind(1), Kind(0)


@dataclass(frozen=True, eq=False)
class Images:
    """vectors: raw float32 (n, dim). true: parts of the style by artist; clusters: whose images they are."""

    vectors: NDArray[np.float32]
    kinds: tuple[Kind, ...]
    true: tuple[Mapping[str, float], ...]
    clusters: tuple[tuple[str, ...], ...]

    def chosen(self, positions: Sequence[int]) -> Images:
        return Images(
            self.vectors[list(positions)],
            tuple(self.kinds[at] for at in positions),
            tuple(self.true[at] for at in positions),
            tuple(self.clusters[at] for at in positions),
        )


@dataclass(frozen=True, eq=False)
class Trial:
    """One index and what is asked of it. ``scored``: whose splits are compared with the truth; ``ranked``:
    images, known and unknown, for the curve of false credit against credit."""

    references: Sequence[ArtistWorks]
    scored: Images
    ranked: Images


@dataclass(frozen=True, eq=False)
class IntervalTrial:
    """``fewer``: what the index holds; ``all_works``: what gives the shares that intervals should cover."""

    fewer: Sequence[ArtistWorks]
    all_works: Sequence[ArtistWorks]
    images: Images


def known(vectors: NDArray[np.float32], artists: Sequence[str]) -> Images:
    return Images(
        vectors,
        (ONE,) * len(artists),
        tuple({name: 1.0} for name in artists),
        tuple((name,) for name in artists),
    )


def unknown(vectors: NDArray[np.float32], artists: Sequence[str]) -> Images:
    n = len(artists)
    return Images(vectors, (UNKNOWN,) * n, ({},) * n, tuple((name,) for name in artists))


def joined(parts: Sequence[Images]) -> Images:
    import numpy as np

    return Images(
        np.concatenate([part.vectors for part in parts]),
        sum((part.kinds for part in parts), ()),
        sum((part.true for part in parts), ()),
        sum((part.clusters for part in parts), ()),
    )


def percent(weights: Sequence[float]) -> str:
    """
    >>> percent([0.7, 0.3])
    '70/30'
    """
    return "/".join(f"{100 * weight:.0f}" for weight in weights)


@dataclass(frozen=True, eq=False)
class GalleryTrials:
    """Trials on a gallery: random halves; mixtures of queries; each artist left out once a split."""

    gallery: Gallery
    background: Background
    plan: Plan
    session: EmbeddingSession
    settings: Settings

    @property
    def name(self) -> str:
        return f"gallery, {len(self.gallery.names)} artists"

    @property
    def left_out_name(self) -> str:
        return f"gallery, {len(self.gallery.names) - self._fold_size} artists"

    @property
    def _fold_size(self) -> int:
        return -(-len(self.gallery.names) // MOST_FOLDS)

    @cached_property
    def _halves(self) -> list[NDArray[np.bool_]]:
        import numpy as np

        return [
            self.gallery.halves(np.random.default_rng([self.plan.seed, split]))
            for split in range(self.plan.splits)
        ]

    def trials(self) -> Iterator[Trial]:
        import numpy as np

        for split, is_reference in enumerate(self._halves):
            rng = np.random.default_rng([self.plan.seed, split, 1])
            singles = self._known(split)
            yield Trial(
                self.gallery.indexed(is_reference),
                joined([singles, self._mixed(~is_reference, rng)]),
                singles.chosen([]),
            )

    def left_out_trials(self) -> Iterator[Trial]:
        """Artists, left out of the index, are the unknown ones; its other queries are the known ones."""
        import numpy as np

        names = self.gallery.names
        for split, is_reference in enumerate(self._halves):
            queries = self._known(split)
            whose = np.array([cluster[0] for cluster in queries.clusters])
            for start in range(0, len(names), self._fold_size):
                out = names[start : start + self._fold_size]
                is_out = np.isin(whose, out)
                strangers = unknown(queries.vectors[is_out], whose[is_out].tolist())
                rest = queries.chosen(np.flatnonzero(~is_out).tolist())
                yield Trial(
                    self.gallery.indexed(is_reference, without=out), strangers, joined([strangers, rest])
                )

    def interval_trials(self) -> Iterator[IntervalTrial]:
        """The index holds half of each artist's references."""
        import numpy as np

        for split, is_reference in enumerate(self._halves):
            rng = np.random.default_rng([self.plan.seed, split, 2])
            labels = np.asarray(self.gallery.artists)
            half = np.zeros(len(labels), bool)
            for name in self.gallery.names:
                own = rng.permutation(np.flatnonzero(is_reference & (labels == name)))
                half[own[: max(2, len(own) // 2)]] = True
            images = self._known(split)
            chosen = rng.permutation(len(images.kinds))[: self.plan.coverage_images].tolist()
            pairs = self._mixed(~is_reference, rng, only=(IN_EMBEDDING_SPACE,))
            pairs = pairs.chosen(rng.permutation(len(pairs.kinds))[: self.plan.coverage_images].tolist())
            yield IntervalTrial(
                self.gallery.indexed(half),
                self.gallery.indexed(is_reference),
                joined([images.chosen(chosen), pairs]),
            )

    def _known(self, split: int) -> Images:
        """The queries of a split, or a draw of them where they are many."""
        import numpy as np

        positions = np.flatnonzero(~self._halves[split])
        if len(positions) > self.plan.most_queries:
            rng = np.random.default_rng([self.plan.seed, split, 3])
            positions = np.sort(rng.permutation(positions)[: self.plan.most_queries])
        return known(self.gallery.vectors[positions], [self.gallery.artists[at] for at in positions])

    def _mixed(
        self, is_query: NDArray[np.bool_], rng: np.random.Generator, *, only: Sequence[str] = ()
    ) -> Images:
        """The same works put together in every way, so that ways compare."""
        import numpy as np

        labels = np.asarray(self.gallery.artists)
        queries = {name: np.flatnonzero(is_query & (labels == name)) for name in self.gallery.names}
        recipes: list[tuple[tuple[int, ...], str, tuple[float, ...]]] = []
        for hands, all_weights in WEIGHTS.items():
            for artists in drawn_groups(self.gallery.names, hands, self.plan.pairs, rng):
                works = tuple(int(rng.choice(queries[name])) for name in artists)
                recipes += [
                    (works, composition, weights)
                    for weights in all_weights
                    for composition in (*COMPOSITIONS, IN_EMBEDDING_SPACE)
                    if not only or composition in only
                ]
        pixels = [
            Recipe(tuple(self.gallery.paths[at] for at in works), composition, weights)
            for works, composition, weights in recipes
            if composition != IN_EMBEDDING_SPACE
        ]
        composed = iter(compose(pixels, self.session, self.settings) if pixels else ())
        vectors, kinds, true = [], [], []
        for works, composition, weights in recipes:
            in_space = composition == IN_EMBEDDING_SPACE
            vectors.append(
                mixed_vector(self.gallery.vectors[list(works)], weights) if in_space else next(composed)
            )
            kinds.append(Kind(len(works), f"{composition} {percent(weights)}"))
            true.append(dict(zip((self.gallery.artists[at] for at in works), weights, strict=True)))
        return Images(np.stack(vectors), tuple(kinds), tuple(true), tuple(tuple(sorted(t)) for t in true))


def drawn_groups(
    names: Sequence[str], size: int, count: int, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    """Different groups of artists in random order, all of them where there are few."""
    import math

    if math.comb(len(names), size) <= 50 * count:
        groups = list(combinations(names, size))
        picked = [groups[at] for at in rng.permutation(len(groups))[:count]]
    else:
        picked = [tuple(names[at] for at in rng.choice(len(names), size, False)) for _ in range(count)]
    return [tuple(group[at] for at in rng.permutation(size)) for group in picked]


@dataclass(frozen=True, eq=False)
class SyntheticTrials:
    """Trials with ``artists`` indexed, in as many worlds as there are splits, each with its own panel.

    The unknown are other artists of the same law, never indexed: what leaving one out would give.
    """

    artists: int
    plan: Plan

    @property
    def name(self) -> str:
        return f"synthetic, {self.artists:,} artists"

    left_out_name = name

    def worlds(self) -> list[SyntheticWorld]:
        return [SyntheticWorld(1000 * self.plan.seed + split) for split in range(self.plan.splits)]

    def trial(self, world: SyntheticWorld) -> Trial:
        import numpy as np

        names = self._names(world)
        styles = world.styles(synthetic.KNOWN, self.artists)
        rng = np.random.default_rng([world.seed, self.artists, 5])
        asked = rng.permutation(self.artists)[: self.plan.known_images]
        asked = np.repeat(asked, max(1, self.plan.known_images // len(asked)))
        singles = known(world.works(styles[asked], draw=synthetic.QUERY), [names[at] for at in asked])
        strangers = world.styles(synthetic.UNKNOWN, self.plan.unknown_artists)
        numbers = np.repeat(np.arange(len(strangers)), 2)
        others = unknown(
            world.works(strangers[numbers], draw=synthetic.UNKNOWN),
            [f"world {world.seed}, unknown {number}" for number in numbers],
        )
        return Trial(
            self.references(world),
            joined([singles, self._mixed(world, names, styles, rng), others]),
            joined([singles, others]),
        )

    def references(self, world: SyntheticWorld, *, works: int = synthetic.WORKS) -> list[ArtistWorks]:
        """The first works are the same however many there are of each."""
        styles = world.styles(synthetic.KNOWN, self.artists)
        return indexed(self._names(world), _works_of(world, styles, works))

    def interval_trial(self, world: SyntheticWorld) -> IntervalTrial:
        """Shares under centroids of so many works that they are the true ones."""
        import numpy as np

        images = self.trial(world).scored
        rng = np.random.default_rng([world.seed, self.artists, 6])
        chosen: list[int] = []
        for hands in (1, 2):
            here = [at for at, kind in enumerate(images.kinds) if kind.artists == hands]
            chosen += rng.permutation(here)[: self.plan.coverage_images].tolist()
        return IntervalTrial(
            self.references(world),
            self.references(world, works=self.plan.true_works),
            images.chosen(chosen),
        )

    def _names(self, world: SyntheticWorld) -> list[str]:
        return [f"world {world.seed}, artist {number:04d}" for number in range(self.artists)]

    def _mixed(
        self,
        world: SyntheticWorld,
        names: Sequence[str],
        styles: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Images:
        import numpy as np

        place = {name: at for at, name in enumerate(names)}
        vectors, kinds, true = [], [], []
        for hands, all_weights in WEIGHTS.items():
            groups = drawn_groups(names, hands, 2 * self.plan.pairs, rng)
            flat = np.array([place[name] for group in groups for name in group])
            works = world.works(styles[flat], draw=100 + hands).reshape(len(groups), hands, -1)
            for weights in all_weights:
                for group, own in zip(groups, works, strict=True):
                    vectors.append(mixed_vector(own, weights))
                    kinds.append(Kind(hands, f"{IN_EMBEDDING_SPACE} {percent(weights)}"))
                    true.append(dict(zip(group, weights, strict=True)))
        return Images(np.stack(vectors), tuple(kinds), tuple(true), tuple(tuple(sorted(t)) for t in true))


def _works_of(world: SyntheticWorld, styles: NDArray[np.float64], works: int) -> NDArray[np.float32]:
    """float32 (n_artists, works, DIM)."""
    import numpy as np

    return np.stack([world.works(styles, draw=1000 + draw) for draw in range(works)], axis=1)
