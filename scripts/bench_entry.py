"""How low may the entry of a second artist be? ENTRY_ALPHA of style/affinity.py, measured.

Enters: the folder ``clean`` of build_hands.py. Leaves: a Markdown table on stdout. One index of half of each
hand's works, the other half asked about: alone, and two artists' works mixed in embedding space (50/50 and
70/30); the same in synthetic worlds. What a lower entry gives to second artists of mixtures it takes from the
first ones of images by one artist: ``to wrong hands`` of those is its price. An entry is what a share alpha
of strangers' works would pass, as shipped, or a fixed part of delta.

Players and shares come from ``mix_inputs`` and ``play``, as in an answer. Intervals: 95 % bootstrap over
artists; differences are paired. Machine: two CPU cores, x86-64, no GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_style import gallery_hands, load, shown
from fairbrush.accuracy.gallery import Gallery
from fairbrush.accuracy.measures import Resampling, score_split
from fairbrush.accuracy.methods import STYLE_ONLY, Background, Fairbrush
from fairbrush.accuracy.mixtures import mixed_vector
from fairbrush.accuracy.trials import WEIGHTS, Images, Kind, Plan, SyntheticTrials, joined, known
from fairbrush.choosing import CANDIDATES, mix_inputs
from fairbrush.domain import Value
from fairbrush.index.build import ArtistWorks
from fairbrush.index.search import StyleIndex
from fairbrush.playing import Player, play
from fairbrush.style.affinity import ENTRY_ALPHA

ALPHAS = (0.05, 0.1, 0.15, ENTRY_ALPHA, 0.35, 0.5)
PARTS = (0.25, 0.5)
SHIPPED = f"alpha {ENTRY_ALPHA:g}"
MIXES, SINGLES = "two artists", "one artist"
COLUMNS = (
    (MIXES, "mispaid"),
    (MIXES, "mispaid_paid"),
    (MIXES, "to_wrong"),
    (SINGLES, "mispaid"),
    (SINGLES, "to_wrong"),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One index and what is asked of it; several cases make a row of the report together."""

    references: Sequence[ArtistWorks]
    background: Background
    images: Images


def entries(index: StyleIndex) -> dict[str, float]:
    """The entries compared, by name."""
    placed = {f"alpha {alpha:g}": index.delta_at(alpha) for alpha in ALPHAS}
    fixed = {f"{part:g} delta": part * index.delta for part in PARTS}
    return {name: min(entry, index.delta) for name, entry in {**placed, **fixed}.items()}


def paid_shares(
    index: StyleIndex, vector: NDArray[np.float32], *, levels: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Parts of the style by artist, as ``attribute_vector`` pays them with ``blend``, at each entry."""
    near = index.search_many(vector[None], k=CANDIDATES)[0].hits
    if not near or near[0].z <= index.delta:
        return {level: {} for level in levels}
    lowest = min(levels.values())
    players = [Player(hit, hit.artist_id) for hit in near if hit.z > lowest]
    query = index.styled(vector)
    own = [index.centroids_of(player.hit.artist_id) for player in players]
    centroids = [centroids[int((centroids @ query).argmax())] for centroids in own]
    gram = np.array([[float(one @ other) for other in centroids] for one in centroids])
    paid = {}
    for level, entry in levels.items():
        entering = sum(player.hit.z > entry for player in players)  # they are best first
        inputs = mix_inputs(
            Value.BLEND,
            players[:entering],
            gram[:entering, :entering],
            delta=index.delta,
            entry=entry,
            recognised=1.0,
            eligible_count=len(index.artist_ids),
            artists_part=1.0,
        )
        phi = play(inputs, STYLE_ONLY).phi
        named = zip(inputs.players, phi, strict=True)
        paid[level] = {player.hit.artist_id: part for player, part in named if part > 0}
    return paid


def gallery_cases(
    gallery: Gallery, background: Background, hands: frozenset[str], *, splits: int, pairs: int, seed: int
) -> Iterator[Case]:
    """All hands indexed; the images are by some of them, second artists of mixtures as well."""
    whose = np.asarray(gallery.artists)
    for split in range(splits):
        rng = np.random.default_rng([seed, split])
        is_reference = gallery.halves(rng)
        asked = np.flatnonzero(~is_reference & np.isin(whose, sorted(hands)))
        vectors, true = [], []
        for _ in range(pairs):
            pair = rng.choice(sorted(hands), 2, replace=False).tolist()
            works = [int(rng.choice(asked[whose[asked] == name])) for name in pair]
            for weights in WEIGHTS[2]:
                vectors.append(mixed_vector(gallery.vectors[works], weights))
                true.append(dict(zip(pair, weights, strict=True)))
        mixes = Images(
            np.stack(vectors), (Kind(2),) * len(true), tuple(true), tuple(tuple(sorted(one)) for one in true)
        )
        singles = known(gallery.vectors[asked], whose[asked].tolist())
        yield Case(gallery.indexed(is_reference), background, joined([singles, mixes]))


def synthetic_cases(artists: int, plan: Plan) -> Iterator[Case]:
    trials = SyntheticTrials(artists, plan)
    for world in trials.worlds():
        trial = trials.trial(world)
        at = [at for at, kind in enumerate(trial.scored.kinds) if kind.artists in (1, 2)]
        yield Case(trial.references, world.background(), trial.scored.chosen(at))


def measure(cases: Iterator[Case], scratch: Path, *, seed: int) -> Mapping[str, list[str]]:
    """A cell for each of COLUMNS by level: the shipped level's values, the others' differences to it."""
    clusters: dict[str, list[tuple[str, ...]]] = {MIXES: [], SINGLES: []}
    values: dict[tuple[str, str, str], list[float]] = {}
    names: list[str] = []
    for case in cases:
        index = (
            Fairbrush(Value.BLEND, {"value": Value.BLEND}, scratch)
            .fit(case.references, case.background)
            .index
        )
        levels = entries(index)
        names = list(levels)
        for kind, vector, true, cluster in zip(
            case.images.kinds, case.images.vectors, case.images.true, case.images.clusters, strict=True
        ):
            group = MIXES if kind.artists == 2 else SINGLES
            clusters[group].append(cluster)
            for level, paid in paid_shares(index, vector, levels=levels).items():
                score = score_split(paid, true)
                for of, measure in COLUMNS:
                    if of == group:
                        values.setdefault((level, of, measure), []).append(getattr(score, measure))
        print(".", end="", file=sys.stderr, flush=True)
    cells: dict[str, list[str]] = {level: [] for level in names}
    for group, measure in COLUMNS:
        resampling = Resampling(clusters[group], seed=seed)
        base = np.array(values[SHIPPED, group, measure])
        for level in names:
            own = np.array(values[level, group, measure])
            if level == SHIPPED:
                cells[level].append(shown(resampling.estimate(own)))
            else:
                cells[level].append(shown(resampling.difference(own, base), sign=True))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hands", type=Path, default=Path("build/hands/clean"))
    parser.add_argument("--cache", type=Path, default=Path("build/hands/embeddings"))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    gallery, background, _ = load(args.hands, args.cache)
    own = gallery_hands() & frozenset(gallery.names)
    print("| images by | entry | " + " | ".join(f"{of}: {name}" for of, name in COLUMNS) + " |")
    print("|---|--:|" + "--:|" * len(COLUMNS))
    asked = {"splits": args.splits, "pairs": args.pairs, "seed": args.seed}
    plan = Plan(splits=args.worlds, seed=args.seed)
    rows = {
        "development hands": lambda: gallery_cases(
            gallery, background, frozenset(gallery.names) - own, **asked
        ),
        "gallery hands": lambda: gallery_cases(gallery, background, own, **asked),
        **{f"synthetic, {n:,} artists": lambda n=n: synthetic_cases(n, plan) for n in plan.synthetic_sizes},
    }
    for title, cases in rows.items():
        with tempfile.TemporaryDirectory() as scratch:
            cells = measure(cases(), Path(scratch), seed=args.seed)
        for level, found in cells.items():
            name = f"**{level}**" if level == SHIPPED else level
            print(f"| {title} | {name} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
