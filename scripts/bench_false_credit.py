"""How often is an unknown artist's image credited, and at what price? The real engine on held-out hands.

Enters: the folders of build_hands.py. Leaves: Markdown on stdout. ``clean`` hands, on which nothing was
fitted, are left out of the index in turn: their images are the unknown ones. The index holds the other clean
hands with half of their works, or a random part of them, and ``seen`` hands where more are wanted; the other
half of the works are the known images, of clean and of seen hands apart. Index, threshold and answers come
from the real doors (accuracy.methods.Fairbrush); no number here was used to fit anything.

Intervals: 95 % bootstrap over hands. Machine: two CPU cores, x86-64, no GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_style import load, shown
from fairbrush.accuracy.experiments import (
    CURVE_ALPHAS,
    Finding,
    ScoreSheet,
    Section,
    score_trial,
    split_findings,
    unknown_findings,
)
from fairbrush.accuracy.gallery import Gallery
from fairbrush.accuracy.methods import RAW_CENTROID, Background, Fairbrush, NearestCentroid
from fairbrush.accuracy.trials import Trial, joined, known, unknown
from fairbrush.domain import Value

FOLDS = 7
MOST_KNOWN = 400  # images asked of one index


def folds(names: Sequence[str], count: int, rng: np.random.Generator) -> list[list[str]]:
    """Every name in exactly one of ``count`` parts, at random."""
    order = rng.permutation(list(names)).tolist()
    return [sorted(order[part::count]) for part in range(count)]


def left_out_trials(
    clean: Gallery, seen: Gallery, *, artists: int, splits: int, seed: int, ask_seen: bool = False
) -> Iterator[Trial]:
    """``artists`` indexed, none of them among the unknown; every clean hand is unknown once a split. The
    known images are by clean hands, or with ``ask_seen`` by seen ones."""
    for split in range(splits):
        rng = np.random.default_rng([seed, artists, split])
        asking = np.random.default_rng([seed, artists, split, 1])
        halves = {id(gallery): gallery.halves(rng) for gallery in (clean, seen)}
        for out in folds(clean.names, FOLDS, rng):
            rest = rng.permutation([name for name in clean.names if name not in out])
            inside = sorted(rest[:artists].tolist())
            more = sorted(rng.permutation(seen.names)[: artists - len(inside)].tolist())
            assert len(inside) + len(more) == artists, f"there are no {artists} hands"
            references, images = [], []
            for gallery, names in ((clean, inside), (seen, more)):
                is_reference = halves[id(gallery)]
                mine = np.isin(gallery.artists, names)
                references += gallery.indexed(is_reference & mine)
                if ask_seen == (gallery is seen):
                    at = asking.permutation(np.flatnonzero(mine & ~is_reference))[:MOST_KNOWN]
                    images.append(known(gallery.vectors[at], _names(gallery, at)))
            at = np.flatnonzero(np.isin(clean.artists, out))
            strangers = unknown(clean.vectors[at], _names(clean, at))
            asked = joined([*images, strangers])
            yield Trial(references, asked, asked)


def _names(gallery: Gallery, positions: NDArray[np.intp]) -> list[str]:
    return [gallery.artists[at] for at in positions]


def findings(
    trials: Iterator[Trial], background: Background, scratch: Path, *, setting: str, seed: int
) -> list[Finding]:
    """What the bench of accuracy makes of these trials, with ``blend`` and one raw baseline."""
    sheet = ScoreSheet()
    options = {"value": Value.BLEND, "intervals": False}
    methods = [Fairbrush(Value.BLEND, options, scratch), NearestCentroid(RAW_CENTROID, "raw")]
    for number, trial in enumerate(trials, start=1):
        score_trial(trial, background, methods, sheet)
        print(f"{setting}: {number}", file=sys.stderr, flush=True)
    return unknown_findings(sheet, setting=setting, seed=seed) + split_findings(
        sheet, setting=setting, seed=seed
    )


def report(found: Sequence[Finding]) -> str:
    """One table an index size: the curve of false credit against credit; then what it pays at 5 %."""
    lines = []
    for setting in dict.fromkeys(one.setting for one in found):
        here = [one for one in found if one.setting == setting]
        curve = {
            (one.method, one.kind, one.measure): one.estimate for one in here if one.section is Section.CURVE
        }
        lines += [
            f"### {setting}\n",
            "| alpha | affinity: unknown | known (any artist) | raw cosine: unknown | known |",
            "|--:|--:|--:|--:|--:|",
        ]
        kinds = sorted({kind for _, kind, _ in curve})
        for alpha in CURVE_ALPHAS:
            cells = [
                shown(curve[method, kind, f"{alpha}"])
                for method in ("affinity z", "raw cosine")
                for kind in sorted(kinds, key=lambda kind: not kind.startswith("unknown"))
            ]
            lines.append(f"| {alpha:g} | " + " | ".join(cells) + " |")
        lines.append("\n| measure, alpha 0.05 | fairbrush blend | raw nearest centroid |\n|---|--:|--:|")
        rest = [one for one in here if one.section in (Section.UNKNOWN, Section.ONE_ARTIST)]
        for section, measure in (
            (Section.UNKNOWN, "credits"),
            (Section.ONE_ARTIST, "ranked_right"),
            (Section.ONE_ARTIST, "to_right"),
            (Section.ONE_ARTIST, "to_wrong"),
            (Section.ONE_ARTIST, "unattributed"),
        ):
            cells = [
                next(
                    shown(one.estimate)
                    for one in rest
                    if (one.section, one.measure, one.method) == (section, measure, method)
                )
                for method in (f"fairbrush {Value.BLEND}", RAW_CENTROID)
            ]
            lines.append(f"| {section}: {measure.replace('_', ' ')} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hands", type=Path, default=Path("build/hands"))
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--artists", type=int, action="append", help="indexed; again for more  [12 and 200]")
    args = parser.parse_args()
    clean, background, _ = load(args.hands / "clean", args.hands / "embeddings")
    seen, _, _ = load(args.hands / "seen", args.hands / "embeddings")
    print(f"{len(clean.names)} clean hands, {len(clean.artists)} works; {len(seen.names)} seen hands\n")
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as scratch:
        for artists in args.artists or (12, 200):
            for ask_seen in (False, True) if artists > len(clean.names) else (False,):
                trials = left_out_trials(
                    clean, seen, artists=artists, splits=args.splits, seed=args.seed, ask_seen=ask_seen
                )
                setting = f"{artists} hands indexed, {'seen' if ask_seen else 'clean'} ones asked"
                found += findings(trials, background, Path(scratch), setting=setting, seed=args.seed)
    print(report(found))


if __name__ == "__main__":
    main()
