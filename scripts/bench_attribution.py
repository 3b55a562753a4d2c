"""What one answer costs once the image is embedded: at n = 12, 200 and 1,789 artists, one thread.

Enters: nothing; the artists are made up (``accuracy.synthetic``: 256 numbers, 20 works each), the index is
real. Leaves: a Markdown table on stdout. Every value function without intervals, then ``blend`` with them.
Images are half by one artist, half mixtures of two; those count that credit somebody, after a warm-up.

    python scripts/bench_attribution.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from fairbrush.accuracy import synthetic
from fairbrush.accuracy.methods import Fairbrush, FittedFairbrush
from fairbrush.accuracy.mixtures import mixed_vector
from fairbrush.accuracy.synthetic import SyntheticWorld
from fairbrush.accuracy.trials import Plan, SyntheticTrials
from fairbrush.domain import Value

SIZES = (12, 200, 1789)
ASKED = [
    (f"{value}, no intervals", {"value": value, "intervals": False})
    for value in (Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION)
] + [("blend, with intervals", {"value": Value.BLEND, "intervals": True})]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=600)
    args = parser.parse_args()
    print("| artists | answer | images | median, ms | 95 % quantile, ms |")
    print("|--:|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            trials = SyntheticTrials(size, Plan(splits=1))
            world = trials.worlds()[0]
            references = trials.references(world)
            images = some_images(world, size, args.images)
            for name, options in ASKED:
                method = Fairbrush(name, options, Path(scratch))
                fitted = method.fit(references, world.background())
                took = timed(fitted, images)
                middle, slow = np.median(took), np.quantile(took, 0.95)
                print(f"| {size:,} | {name} | {len(took)} | {middle:.1f} | {slow:.1f} |")


def some_images(world: SyntheticWorld, size: int, count: int) -> np.ndarray:
    styles = world.styles(synthetic.KNOWN, size)
    rng = np.random.default_rng(0)
    one, other = rng.integers(size, size=(2, count))
    works, others = world.works(styles[one], draw=7), world.works(styles[other], draw=8)
    mixed = [mixed_vector(np.stack(pair), (0.6, 0.4)) for pair in zip(works[1::2], others[1::2], strict=True)]
    return np.concatenate([works[::2], np.stack(mixed)])


def timed(fitted: FittedFairbrush, images: np.ndarray) -> np.ndarray:
    """Milliseconds, of each image that credits somebody: the others end at the threshold."""
    fitted.shares(images[:20])
    took = []
    for image in images:
        started = time.perf_counter()
        [answer] = fitted.shares(image[None])
        elapsed = time.perf_counter() - started
        if answer.paid:
            took.append(1000 * elapsed)
    return np.array(took)


if __name__ == "__main__":
    main()
