"""What bounds the goal for mixtures: how far subjects hide styles, and how often strangers may be credited.

The goal: two-artist mixtures mis-paid at most half as much as raw nearest centroid's. Enters: nothing; worlds
as ``accuracy.synthetic`` makes them, with less of the variance in subjects (the bench's own has 0.3).
Leaves: a Markdown table on stdout, ``blend`` beside raw nearest centroid on the same images, mean and 95 %
interval over artists. *Charged*: whatever nobody is paid counts as mis-paid. *Where credited*: on the images
that credit anybody, paid shares scaled to 1.

    python scripts/bench_mixtures.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
from pathlib import Path

from fairbrush.accuracy.experiments import (
    BASE_RATIO,
    PAID_RATIO,
    Finding,
    ScoreSheet,
    engines,
    score_trial,
    split_findings,
)
from fairbrush.accuracy.markdown import shown, table
from fairbrush.accuracy.methods import RAW_CENTROID, NearestCentroid
from fairbrush.accuracy.report import TWO
from fairbrush.accuracy.synthetic import SyntheticWorld
from fairbrush.accuracy.trials import ONE, Plan, SyntheticTrials

SUBJECTS = (0.05, 0.1, 0.2, 0.3)
SIZES = (12, 200)
ALPHAS = (0.05, 0.5)
BLEND = "fairbrush blend"


def measure(subject: float, size: int, alpha: float, worlds: int) -> dict[tuple[str, str, str], Finding]:
    """Findings by kind of image, method and measure."""
    trials = SyntheticTrials(size, Plan(alpha=alpha))
    sheet = ScoreSheet()
    with tempfile.TemporaryDirectory() as scratch:
        methods = [NearestCentroid(RAW_CENTROID, "raw"), *engines(["blend"], Path(scratch), alpha=alpha)]
        for seed in range(worlds):
            world = SyntheticWorld(seed, subject=subject)
            score_trial(trials.trial(world), world.background(), methods, sheet)
    found = split_findings(sheet, setting="", seed=0)
    return {(one.kind, one.method, one.measure): one for one in found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=3)
    args = parser.parse_args()
    head = ["artists", "subjects", "alpha", "raw centroid right, one artist", "one artist credited"]
    head += ["two artists credited", "mis-paid, of raw's: charged", "mis-paid, of raw's: where credited"]
    body = []
    for size in SIZES:
        for subject in SUBJECTS:
            for alpha in ALPHAS:
                found = measure(subject, size, alpha, args.worlds)
                asked = [
                    (ONE.label, RAW_CENTROID, "ranked_right"),
                    (ONE.label, BLEND, "credits"),
                    (TWO, BLEND, "credits"),
                    (TWO, BLEND, BASE_RATIO),
                    (TWO, BLEND, PAID_RATIO),
                ]
                cells = [shown(found[key].estimate) for key in asked]
                body.append([f"{size:,}", f"{subject:g}", f"{alpha:g}", *cells])
    print(table(head, body))


if __name__ == "__main__":
    main()
