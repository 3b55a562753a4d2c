"""Which style space, offsets, threshold and centroids? The ablation of docs/style-space.md.

Enters: the folder ``clean`` of build_hands.py. Leaves: a Markdown report on stdout. Every setting answers the
same draws: half of the hands are indexed with half of their works, whose other works are the known images;
all works of the other hands are the unknown ones. One thing at a time is changed from what ships.

Every hand counts once: its images' mean over all draws. Intervals: 95 % bootstrap over hands; differences are
paired. Development hands are those that choices were made on; the gallery's were seen but not chosen on.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from fairbrush.accuracy.gallery import BUNDLED_GALLERY, Gallery, embed_gallery, gallery_background
from fairbrush.accuracy.measures import Estimate, Resampling
from fairbrush.accuracy.methods import Background
from fairbrush.accuracy.synthetic import KNOWN, PANEL, PANEL_HANDS, PANEL_WORKS, UNKNOWN, SyntheticWorld
from fairbrush.config import Settings
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.style.affinity import Height, OffsetRule, PanelScale, offset, stranger_affinity
from fairbrush.style.centroids import WORKS_A_CENTROID, fit_centroids, fit_style
from fairbrush.style.panel import bundled_panel
from fairbrush.style.space import POWER, SHRINKAGE, StyleSpace, fit_style_space
from fairbrush.style.strangers import Strangers, cross_fit, hand_codes

ALPHA = 0.05
FEWEST_WORKS = 7  # of build_hands.py, which needs packages that this script does not
MEASURES = ("top-1", "rightly credited", "to another", "false credit", "right at equal false credit")


@dataclass(frozen=True)
class Quantile:
    """An offset that no index has."""

    level: float

    def height(self, similarities: NDArray[np.float64]) -> float:
        return float(np.quantile(similarities, self.level))


@dataclass(frozen=True)
class Mean:
    def height(self, similarities: NDArray[np.float64]) -> float:
        return float(similarities.mean())


@dataclass(frozen=True)
class Nothing:
    def height(self, similarities: NDArray[np.float64]) -> float:
        return 0.0


@dataclass(frozen=True)
class Setting:
    """What ships, but for what is named. ``centroids``: None chooses; ``scaled``: divided by the strangers'
    spread; ``query_term``: half the mean similarity to so many nearest panel works is subtracted."""

    name: str
    centred: bool = True
    shrinkage: float = SHRINKAGE
    power: float = POWER
    rule: Height = OffsetRule.QUANTILE
    scaled: bool = False
    out_of_fold: bool = True
    conformal: bool = True
    centroids: int | None = None
    query_term: int = 0


SHIPPED = Setting("shipped")
SETTINGS = (
    SHIPPED,
    replace(SHIPPED, name="not centred", centred=False),
    replace(SHIPPED, name="not centred, in fold", centred=False, out_of_fold=False),
    *(
        replace(
            SHIPPED,
            name=f"shrinkage {amount:g}" + (", no whitening" if amount == 1 else ""),
            shrinkage=amount,
        )
        for amount in (0.05, 0.1, 0.6, 1.0)
    ),
    replace(SHIPPED, name="power 1/4", power=0.25),
    replace(SHIPPED, name="power 3/4", power=0.75),
    replace(SHIPPED, name="offset: quantile .9", rule=Quantile(0.9)),
    replace(SHIPPED, name="offset: CSLS, mean of 10", rule=OffsetRule.CSLS),
    replace(SHIPPED, name="offset: none", rule=Nothing()),
    replace(SHIPPED, name="offset: z-score", rule=Mean(), scaled=True),
    replace(SHIPPED, name="query term, 10 nearest", query_term=10),
    replace(SHIPPED, name="full CSLS: both terms", rule=OffsetRule.CSLS, query_term=10),
    replace(SHIPPED, name="1 centroid", centroids=1),
    replace(SHIPPED, name="always 3 centroids", centroids=3),
    replace(SHIPPED, name="always 6 centroids", centroids=6),
    replace(SHIPPED, name="measured in fold", out_of_fold=False),
    replace(SHIPPED, name="plain quantile", conformal=False),
    replace(SHIPPED, name="in fold, plain quantile", out_of_fold=False, conformal=False),
)
# the law of the synthetic worlds settles how much whitening is right there, so that is not asked
SYNTHETIC = (
    "shipped",
    "offset: CSLS, mean of 10",
    "offset: none",
    "offset: z-score",
    "query term, 10 nearest",
    "1 centroid",
    "always 3 centroids",
    "always 6 centroids",
    "measured in fold",
    "plain quantile",
)


@dataclass(frozen=True, eq=False)
class PanelWorks:
    """vectors: raw float32 (n, dim); hands: whose each is."""

    vectors: NDArray[np.float32]
    hands: Sequence[str]


@dataclass(frozen=True, eq=False)
class Draw:
    """references: raw float32 (n, dim) by hand; known and unknown: images, and whose each is."""

    references: Mapping[str, NDArray[np.float32]]
    known: NDArray[np.float32]
    known_hands: Sequence[str]
    unknown: NDArray[np.float32]
    unknown_hands: Sequence[str]


@dataclass(frozen=True, eq=False)
class Scored:
    """known: float64 (n_known, 4), MEASURES but false credit; false: float64 (n_unknown,)."""

    known: NDArray[np.float64]
    false: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bench:
    """One setting on one panel, fitted once for all draws."""

    setting: Setting
    panel: PanelWorks

    @property
    def how(self) -> dict[str, Any]:
        one = self.setting
        return {"shrinkage": one.shrinkage, "power": one.power, "centred": one.centred}

    @cached_property
    def space(self) -> StyleSpace:
        return fit_style_space(self.panel.vectors, self.panel.hands, **self.how)

    @cached_property
    def strangers(self) -> Strangers:
        if self.setting.out_of_fold:
            return cross_fit(self.space, self.panel.vectors, self.panel.hands, **self.how)
        rows = self.space.apply(self.panel.vectors).astype(np.float32)
        return Strangers(rows, hand_codes(self.panel.hands))

    @cached_property
    def panel_rows(self) -> NDArray[np.float64]:
        return self.space.apply(self.panel.vectors)

    def score(self, draw: Draw) -> Scored:
        names = list(draw.references)
        artists = [self._rows(draw.references[name]) for name in names]
        on_panel = np.stack(
            [stranger_affinity(rows, self.strangers, rule=self.setting.rule) for rows in artists], axis=1
        )
        spread = on_panel.std(axis=0) if self.setting.scaled else np.ones(len(names))
        max_z = (on_panel / spread).max(axis=1) - self._stranger_term()
        delta = PanelScale(max_z, self.strangers.n_hands).delta(ALPHA)
        if not self.setting.conformal:
            delta = float(np.quantile(max_z, 1 - ALPHA))
        known, unknown = (
            self._affinities(artists, vectors) / spread - self._query_term(vectors)[:, None]
            for vectors in (draw.known, draw.unknown)
        )
        best, strange = known.max(axis=1), unknown.max(axis=1)
        is_right = np.array([names[at] for at in known.argmax(axis=1)]) == np.asarray(draw.known_hands)
        equal = level_quantile(strange, draw.unknown_hands, 1 - ALPHA)
        columns = [is_right, is_right & (best > delta), ~is_right & (best > delta), is_right & (best > equal)]
        return Scored(np.stack(columns, axis=1).astype(float), (strange > delta).astype(float))

    def _rows(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        works, rule = self.space.apply(vectors), self.setting.rule
        if self.setting.centroids is None:
            style = fit_style(works, self.strangers, rule=rule)
            centroids, h = style.centroids, style.h
        else:
            count = max(1, min(self.setting.centroids, len(works) // WORKS_A_CENTROID))
            centroids = fit_centroids(works, count)
            h = offset(centroids, self.strangers, rule=rule)
        return np.hstack([centroids, np.full((len(centroids), 1), -h, np.float32)])

    def _affinities(
        self, artists: Sequence[NDArray[np.float32]], vectors: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        images = self.space.apply(vectors)
        return np.stack(
            [(images @ rows[:, :-1].T).max(axis=1) + rows[0, -1] for rows in artists], axis=1
        ).astype(float)

    def _query_term(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        if not self.setting.query_term:
            return np.zeros(len(vectors))
        return self._half_of_nearest(self.space.apply(vectors) @ self.panel_rows.T)

    def _stranger_term(self) -> NDArray[np.float64]:
        """The same of the panel's works, which do not meet their own fold."""
        if not self.setting.query_term:
            return np.zeros(len(self.strangers))
        folds = self.strangers.folds
        similarities = self.strangers.wide @ self.panel_rows.T
        similarities[folds[:, None] == folds[None]] = -np.inf
        return self._half_of_nearest(similarities)

    def _half_of_nearest(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        return 0.5 * np.sort(similarities, axis=1)[:, -self.setting.query_term :].mean(axis=1)


def level_quantile(values: NDArray[np.float64], hands: Sequence[str], level: float) -> float:
    """What a share ``1 - level`` of the hands' images pass, each hand counting once.

    >>> level_quantile(np.array([1.0, 2.0, 3.0, 9.0]), ["a", "a", "a", "b"], 0.5)
    3.0
    """
    names, label, count = np.unique(np.asarray(hands), return_inverse=True, return_counts=True)
    weight = 1 / (count[label] * len(names))
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][min(np.searchsorted(reached, level - 1e-12), len(values) - 1)])


def hand_draws(gallery: Gallery, *, draws: int, seed: int) -> Iterator[Draw]:
    """Half of the hands known, the other half unknown."""
    whose = np.asarray(gallery.artists)
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        is_reference = gallery.halves(rng)
        names = rng.permutation(gallery.names)
        inside = np.isin(whose, names[: len(names) // 2])
        references = {
            name: gallery.vectors[is_reference & (whose == name)] for name in sorted(set(whose[inside]))
        }
        queries = inside & ~is_reference
        yield Draw(
            references,
            gallery.vectors[queries],
            whose[queries].tolist(),
            gallery.vectors[~inside],
            whose[~inside].tolist(),
        )


def synthetic_draw(world: SyntheticWorld, artists: int, *, works: int = 20, unknown: int = 120) -> Draw:
    """Artists of one period each: several centroids should not help, nor hurt much."""
    styles = world.styles(KNOWN, artists)
    names = [f"world {world.seed}, {number:04d}" for number in range(artists)]
    references = np.stack([world.works(styles, draw=1000 + draw) for draw in range(works)], axis=1)
    known = np.concatenate([world.works(styles, draw=draw) for draw in (2, 3)])
    others = world.styles(UNKNOWN, unknown)
    return Draw(
        dict(zip(names, references, strict=True)),
        known,
        names * 2,
        np.concatenate([world.works(others, draw=draw) for draw in (4, 5)]),
        [f"world {world.seed}, unknown {number}" for number in range(unknown)] * 2,
    )


def synthetic_panel(world: SyntheticWorld) -> PanelWorks:
    hands = np.repeat(np.arange(PANEL_HANDS), PANEL_WORKS)
    works = world.works(world.styles(PANEL, PANEL_HANDS)[hands], draw=PANEL)
    return PanelWorks(works, [f"hand-{hand:03d}" for hand in hands])


@dataclass(frozen=True, eq=False)
class Sheet:
    """What every setting scored, and whose images they were, the same for all."""

    known_hands: tuple[str, ...]
    unknown_hands: tuple[str, ...]
    scores: Mapping[str, Scored]

    def estimates(
        self, setting: str, hands: frozenset[str], *, beside: str | None = None, seed: int = 0
    ) -> list[Estimate]:
        """Of each of MEASURES, over the images of some hands; or the difference to another setting."""
        found = []
        for column in (0, 1, 2, None, 3):
            whose = self.unknown_hands if column is None else self.known_hands
            inside = np.array([hand in hands for hand in whose])
            values = self._column(setting, column)[inside]
            if beside is not None:
                values = values - self._column(beside, column)[inside]
            clusters = [(hand,) for hand in whose if hand in hands]
            found.append(Resampling(clusters, seed=seed).estimate(values))
        return found

    def _column(self, setting: str, column: int | None) -> NDArray[np.float64]:
        one = self.scores[setting]
        return one.false if column is None else one.known[:, column]


def measure(settings: Sequence[Setting], panels: Sequence[PanelWorks], draws: Sequence[Draw]) -> Sheet:
    """panels: of each draw; the same object where they share it."""
    scores = {}
    for setting in settings:
        started = time.monotonic()
        benches = {id(panel): Bench(setting, panel) for panel in panels}
        each = [benches[id(panel)].score(draw) for panel, draw in zip(panels, draws, strict=True)]
        scores[setting.name] = Scored(
            np.concatenate([one.known for one in each]), np.concatenate([one.false for one in each])
        )
        print(f"{setting.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return Sheet(
        tuple(hand for draw in draws for hand in draw.known_hands),
        tuple(hand for draw in draws for hand in draw.unknown_hands),
        scores,
    )


def table(sheet: Sheet, hands: frozenset[str], *, seed: int) -> str:
    """The first setting's values, and the differences of the others to it."""
    first, *others = sheet.scores
    lines = ["| setting | " + " | ".join(MEASURES) + " |", "|---|" + "--:|" * len(MEASURES)]
    lines.append(
        f"| **{first}** | " + " | ".join(map(shown, sheet.estimates(first, hands, seed=seed))) + " |"
    )
    for name in others:
        found = sheet.estimates(name, hands, beside=first, seed=seed)
        lines.append(f"| {name} | " + " | ".join(shown(one, sign=True) for one in found) + " |")
    return "\n".join(lines)


def shown(found: Estimate, *, sign: bool = False) -> str:
    """
    >>> shown(Estimate(-0.0214, -0.04, 0.001, 9, 9), sign=True)
    '-.021 [-.040, +.001]'
    """
    return f"{_short(found.mean, sign)} [{_short(found.low, sign)}, {_short(found.high, sign)}]"


def _short(number: float, sign: bool) -> str:
    text = f"{number:+.3f}" if sign else f"{number:.3f}"
    return text.replace("0.", ".", 1) if abs(number) < 1 else text


def load(folder: Path, cache: Path) -> tuple[Gallery, Background, PanelWorks]:
    """A folder of hands as vectors of the bundled encoder, with the bundled panel."""
    from fairbrush.style.panel import fit_panel

    settings = Settings(encoder="mini", device="cpu", cache=cache, threads=1, workers=1)
    with EmbeddingSession.open(settings) as session:
        gallery = embed_gallery(session, folder, fewest_works=FEWEST_WORKS)
        background = gallery_background(session, bundled_panel(), gallery)
        fitted = fit_panel(session, bundled_panel())
    return gallery, background, PanelWorks(fitted.vectors, fitted.hands)


def gallery_hands() -> frozenset[str]:
    return frozenset(path.name for path in (BUNDLED_GALLERY / "references").iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hands", type=Path, default=Path("build/hands/clean"))
    parser.add_argument("--cache", type=Path, default=Path("build/hands/embeddings"))
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worlds", type=int, default=3, help="synthetic ones, for the centroids")
    args = parser.parse_args()
    gallery, background, panel = load(args.hands, args.cache)
    draws = list(hand_draws(gallery, draws=args.draws, seed=args.seed))
    print(
        f"{background.encoder_id}; {len(gallery.names)} hands, {len(gallery.artists)} works;"
        f" {args.draws} draws, seed {args.seed}; {platform.machine()}, no GPU\n"
    )
    sheet = measure(SETTINGS, [panel] * len(draws), draws)
    own = gallery_hands()
    for title, hands in (
        ("All hands", frozenset(gallery.names)),
        ("Development hands", frozenset(gallery.names) - own),
        ("Gallery hands", frozenset(gallery.names) & own),
    ):
        print(f"### {title}: {len(hands)}\n\n{table(sheet, hands, seed=args.seed)}\n")
    worlds = [SyntheticWorld(1000 * args.seed + number) for number in range(args.worlds)]
    panels = [synthetic_panel(world) for world in worlds]
    for artists in (12, 200):
        made = [synthetic_draw(world, artists) for world in worlds]
        named = [one for one in SETTINGS if one.name in SYNTHETIC]
        sheet = measure(named, panels, made)
        hands = frozenset({*sheet.known_hands, *sheet.unknown_hands})
        print(f"### Synthetic, {artists} artists of one period\n\n{table(sheet, hands, seed=args.seed)}\n")


if __name__ == "__main__":
    main()
