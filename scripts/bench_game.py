"""How long each exact solver takes on one core, for 12, 200 and 1,789 players, blends and their bootstraps.

Images are drawn: centroids have part of their direction in common, the image is a blend of three with noise.
Prints Markdown tables; the ratios of one run are what to read.
"""

import os
import platform
import time
from collections.abc import Callable
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from fairbrush.game.owen import creators_of_blend, owen_of_facets, owen_of_nearest
from fairbrush.game.selection import survivors
from fairbrush.game.shapley import (
    shapley_by_enumeration,
    shapley_of_blend,
    shapley_of_blend_many,
    shapley_of_facets,
    shapley_of_nearest,
    shapley_of_nearest_many,
    shapley_of_reconstruction,
    shapley_of_top_k_mean,
)
from fairbrush.game.values import Blend, Facets, Reconstruction

PLAYERS = (12, 200, 1_789)
REPLICATES = 200
FACETS = 5
SECONDS = 0.5  # of repetitions a solver
DIMENSIONS = 512
DRAWS = 200  # of a mixture


def milliseconds(solve: Callable[[], object]) -> float:
    """Median of as many repetitions as fit, at least five."""
    solve()
    times: list[float] = []
    while len(times) < 5 or sum(times) < SECONDS:
        started = time.perf_counter()
        solve()
        times.append(time.perf_counter() - started)
    return 1_000 * median(times)


def image(players: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (players,) and Gram matrix of unit centroids with a cosine of about .3 to each other."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((players, DIMENSIONS)) + 0.65 * rng.standard_normal(DIMENSIONS)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    x = np.array([0.5, 0.3, 0.2]) @ centroids[:3] + 0.02 * rng.standard_normal(DIMENSIONS)
    return centroids @ (x / np.linalg.norm(x)), centroids @ centroids.T


def closed_forms() -> None:
    rows: dict[str, list[float]] = {}
    for players in PLAYERS:
        rng = np.random.default_rng(players)
        s, gram = image(players)
        unions = rng.integers(0, players // 2, players).tolist()
        facets = Facets(rng.random((FACETS, players)), delta=0.2, weights=np.full(FACETS, 1 / FACETS))
        rebuilt = Reconstruction(s, gram, weights=rng.random(players))
        many = rng.random((REPLICATES, players))
        gains = rng.random(players)
        solvers: dict[str, Callable[[], object]] = {
            "nearest": lambda g=gains: shapley_of_nearest(g),
            f"nearest, {REPLICATES} at once": lambda m=many: shapley_of_nearest_many(m),
            "nearest, creators' unions": lambda g=gains, u=unions: owen_of_nearest(g, u),
            f"facets ({FACETS})": lambda f=facets: shapley_of_facets(f),
            f"facets ({FACETS}), creators' unions": lambda f=facets, u=unions: owen_of_facets(f, u),
            "top-5 mean": lambda g=gains: shapley_of_top_k_mean(g, k=5),
            "reconstruction": lambda r=rebuilt: shapley_of_reconstruction(r),
        }
        for name, solve in solvers.items():
            rows.setdefault(name, []).append(milliseconds(solve))
    reference = rows["nearest"]
    print("| closed form, ms (times nearest) |" + "".join(f" n = {players:,} |" for players in PLAYERS))
    print("|---|" + "--:|" * len(PLAYERS))
    for name, times in rows.items():
        cells = (f" {ms:.3f} ({ms / base:.1f}) |" for ms, base in zip(times, reference, strict=True))
        print(f"| {name} |" + "".join(cells))


def blends() -> None:
    s, gram = image(32)
    rows: dict[str, Callable[[], object]] = {}
    for penalty in (0.35, 0.25, 0.1, 0.0):
        kept = len(survivors(s - penalty, gram, most=32).indices)
        rows[f"select: 32 candidates, {kept} survive"] = lambda p=penalty: survivors(s - p, gram)
    for m in (3, 6, 10, 12):
        rows[f"solve: {m} players"] = lambda m=m: shapley_of_blend(s[:m], gram[:m, :m])
    rows["solve: 10 players, through enumeration"] = lambda: shapley_by_enumeration(
        Blend(s[:10], gram[:10, :10])
    )
    rows["solve: 8 entries of 4 creators"] = lambda: creators_of_blend(
        s[:8], gram[:8, :8], [0, 0, 1, 1, 2, 2, 3, 3]
    )
    for m in (4, 6, 10):
        drawn = [image(m, seed) for seed in range(REPLICATES)]
        linear, grams = (np.array(part) for part in zip(*drawn, strict=True))
        rows[f"solve: {m} players, {REPLICATES} at once"] = lambda a=linear, b=grams: shapley_of_blend_many(
            a, b
        )
        rows[f"solve: {m} players, {REPLICATES} in a loop"] = lambda a=linear, b=grams: [
            shapley_of_blend(*game) for game in zip(a, b, strict=True)
        ]
    times = {name: milliseconds(solve) for name, solve in rows.items()}
    base = times["solve: 3 players"]
    print("| blend | ms | times 3 players |\n|---|--:|--:|")
    for name, ms in times.items():
        print(f"| {name} | {ms:.3f} | {ms / base:.1f} |")


def mixtures() -> None:
    """What the second of two nearly orthogonal styles is paid, by its weight in the image: medians."""
    delta = 0.2  # near what the best of 200 strangers reaches in 256 dimensions
    print("| weight of the second style | nearest | blend, gains | blend, similarities of survivors |")
    print("|--:|--:|--:|--:|")
    for weight in (0.1, 0.2, 0.3, 0.4, 0.5):
        paid = []
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            centroids = rng.standard_normal((2, 256))
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
            x = np.array([1 - weight, weight]) @ centroids
            x = x / np.linalg.norm(x) + 0.3 / 16 * rng.standard_normal(256)
            s, gram = centroids @ x / np.linalg.norm(x), centroids @ centroids.T
            who = survivors(s - delta, gram).indices
            blend = np.zeros(2)
            blend[who] = shapley_of_blend(s[who], gram[np.ix_(who, who)])
            rules = shapley_of_nearest(np.maximum(s - delta, 0.0)), shapley_of_blend(s - delta, gram), blend
            paid.append([phi[1] / phi.sum() for phi in rules])
        print(f"| {weight:.0%} |" + "".join(f" {share:.1%} |" for share in np.median(paid, axis=0)))


def main() -> None:
    print(f"{platform.machine()}, one core of {os.cpu_count()}, no GPU, numpy {np.__version__}\n")
    closed_forms()
    print()
    blends()
    print()
    mixtures()


if __name__ == "__main__":
    main()
