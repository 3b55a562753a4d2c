"""Do the audit's statistics keep what they promise? Worlds whose truth is known, audited again and again.

Prints Markdown tables: how often intervals hold the truth, by world, expected draws and number of draws; how
large the bound on mis-paid money is and how often it holds; what a rule of trust really risks. Each
repetition runs the functions that ``fairbrush audit`` runs.

    python scripts/simulate_audit.py > docs/audit-simulation.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fairbrush.validation.audit.bands import BANDS, Band, plan_precision, size_bands
from fairbrush.validation.audit.betting import upper_bounds
from fairbrush.validation.audit.conformal import bound_of_one, trust_threshold
from fairbrush.validation.audit.estimators import audited_totals, model_variance
from fairbrush.validation.audit.sampling import HEAVIEST, draw, draw_probabilities, importance_weights
from fairbrush.validation.audit.shares import Shares, difference

CREATORS = (20, 200, 1_789)
DRAWS = (50, 100, 200, 400)
IMAGES = 2_000
EDGES = (0.1, 0.5, 2.0, 10.0)  # expected draws on a creator's money
LEVEL = 0.95
OWN, POOLED = "each creator's own variance", "the pooled variance"


class Fast(StrEnum):
    """What is wrong with the fast answer."""

    NOISE = "unbiased noise"
    FAMOUS = "biased towards big names"
    SILENT = "silent on a third of the images"
    DECIDED = "fractions where the truth is one creator"
    MISSING = "never credits a third of the creators"
    GOOD = "nearly right"
    RARE = "right but for 4 % of the images"


@dataclass(frozen=True, eq=False)
class World:
    """revenue: float64 (N,), heavy-tailed; fast, truth: shares of every image."""

    revenue: NDArray[np.float64]
    fast: Shares
    truth: Shares


Triplets = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]


def world(kind: Fast, rng: np.random.Generator, *, images: int, creators: int, heavy: bool = False) -> World:
    """Creators' fame follows Zipf's law; an image is by one to three of them, 15 % by nobody known.

    Revenue is lognormal (sigma 1.5), heavy: Pareto (1.2), whose mean is a few images' money.
    """
    revenue = 0.01 + rng.pareto(1.2, images) if heavy else rng.lognormal(0.0, 1.5, images)
    fame = 1.0 / np.arange(1, creators + 1)
    fame /= fame.sum()
    hands = rng.choice(creators, (images, 3), p=fame)
    parts = rng.dirichlet(np.ones(3), images) * (rng.random((images, 3)) < [1.0, 0.45, 0.2])
    parts /= parts.sum(axis=1, keepdims=True)
    hands[rng.random(images) < 0.15] = creators
    if kind is Fast.DECIDED:
        return _decided(revenue, hands, parts, rng, creators)
    true, answer = _triplets(hands, parts), _triplets(hands, parts)
    if kind is Fast.SILENT:
        hands = np.where(rng.random((images, 1)) < 1 / 3, creators, hands)
        answer = _moved(_triplets(hands, parts), rng.choice(creators, images, p=fame), rng.beta(1, 4, images))
    elif kind is Fast.MISSING:
        unknown = rng.permutation(creators)[: creators // 3]
        known = np.setdiff1d(np.arange(creators), unknown)
        instead = rng.choice(known, hands.shape, p=fame[known] / fame[known].sum())
        answer = _triplets(np.where(np.isin(hands, unknown), instead, hands), parts)
    elif kind is Fast.RARE:
        wrong = rng.random(images) < 0.04
        answer = _moved(answer, rng.choice(creators, images, p=fame), wrong.astype(np.float64))
    else:
        a, b = {Fast.NOISE: (1.0, 2.0), Fast.FAMOUS: (1.0, 2.0), Fast.GOOD: (0.3, 6.0)}[kind]
        famous = rng.integers(max(1, creators // 20), size=images)
        to = famous if kind is Fast.FAMOUS else rng.choice(creators, images, p=fame)
        answer = _moved(answer, to, rng.beta(a, b, images))
    shape = (images, creators + 1)
    return World(revenue, Shares.of_triplets(*answer, shape=shape), Shares.of_triplets(*true, shape=shape))


def _decided(
    revenue: NDArray[np.float64],
    hands: NDArray[np.intp],
    parts: NDArray[np.float64],
    rng: np.random.Generator,
    creators: int,
) -> World:
    """The fast shares are right as chances: the truth is one creator, drawn by them."""
    images = len(revenue)
    chosen = (np.cumsum(parts, axis=1) < rng.random((images, 1))).sum(axis=1).clip(0, 2)
    one = hands[np.arange(images), chosen][:, None]
    shape = (images, creators + 1)
    return World(
        revenue,
        Shares.of_triplets(*_triplets(hands, parts), shape=shape),
        Shares.of_triplets(*_triplets(one, np.ones((images, 1))), shape=shape),
    )


def _triplets(hands: NDArray[np.intp], parts: NDArray[np.float64]) -> Triplets:
    rows, places = np.nonzero(parts)
    return rows, hands[rows, places], parts[rows, places]


def _moved(answer: Triplets, to: NDArray[np.intp], part: NDArray[np.float64]) -> Triplets:
    """``part`` of each image taken from its creators and given to another. to, part: (images,)."""
    rows, columns, parts = answer
    return (
        np.concatenate([rows, np.arange(len(to))]),
        np.concatenate([columns, to]),
        np.concatenate([parts * (1.0 - part[rows]), part]),
    )


@dataclass(frozen=True, eq=False)
class Audits:
    """Repetitions of one audit. covered: bool (repetitions, columns); by_rivals: the same of intervals
    that are not used; width: float64 (columns,), the mean half-width, a part of the revenue;
    expected: draws on each column's money, true or fast, the larger."""

    covered: NDArray[np.bool_]
    by_rivals: dict[str, NDArray[np.bool_]]
    width: NDArray[np.float64]
    expected: NDArray[np.float64]
    kappa: float


def audits(
    of: World, n: int, repetitions: int, rng: np.random.Generator, *, groups: NDArray[np.intp] | None = None
) -> Audits:
    pi = draw_probabilities(of.revenue)
    truth = of.truth if groups is None else of.truth.grouped(groups)
    fast = of.fast if groups is None else of.fast.grouped(groups)
    true, whole = truth.totals(of.revenue), float(of.revenue.sum())
    slack = 1e-9 * whole
    model = model_variance(of.revenue, fast, pi)
    covered, by_own, by_pooled, widths, kappas = [], [], [], [], []
    for _ in range(repetitions):
        at = draw(pi, n, rng)
        found = audited_totals(of.revenue, of.fast, at, of.truth.take(at), pi, groups=groups, level=LEVEL)
        covered.append((found.low <= true + slack) & (true - slack <= found.high))
        error = np.abs(found.estimate - true) - slack
        by_own.append(error <= 1.96 * own_error(of, truth, fast, at, pi))
        by_pooled.append(error <= 1.96 * np.sqrt(found.kappa * model / n))
        widths.append((found.high - found.low) / 2.0 / whole)
        kappas.append(found.kappa)
    return Audits(
        covered=np.array(covered),
        by_rivals={OWN: np.array(by_own), POOLED: np.array(by_pooled)},
        width=np.mean(widths, axis=0),
        expected=n * np.maximum(true, fast.totals(of.revenue)) / whole,
        kappa=float(np.mean(kappas)),
    )


def own_error(
    of: World, truth: Shares, fast: Shares, at: NDArray[np.intp], pi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The textbook standard error, of each column's own residuals alone: float64 (columns,)."""
    apart, scale, n = difference(truth.take(at), fast.take(at)), of.revenue[at] / pi[at], len(at)
    own = apart.totals(scale**2, power=2) - apart.totals(scale) ** 2 / n
    return np.sqrt(np.maximum(own, 0.0) / (n - 1) / n)


BY_EXPECTED = (
    "under 0.1",
    "0.1 to 0.5",
    "0.5 to 2 (small)",
    "2 to 10 (middle)",
    "10 or more (large)",
    "nobody",
)


class Tally:
    """Covered and all, by row of a table and by expected draws; nobody has a column of its own."""

    def __init__(self) -> None:
        self.rows: dict[str, NDArray[np.float64]] = {}

    def add(self, found: Audits, names: Iterable[str], *, rival: str | None = None) -> None:
        covered = found.by_rivals[rival] if rival else found.covered
        column = np.append(np.digitize(found.expected[:-1], EDGES), len(EDGES) + 1)
        counts = np.array(
            [
                [covered[:, column == one].sum(), covered[:, column == one].size]
                for one in range(len(EDGES) + 2)
            ],
            np.float64,
        )
        for name in names:
            self.rows[name] = self.rows.get(name, np.zeros((len(EDGES) + 2, 2))) + counts

    def rate(self, name: str, column: int) -> float | None:
        held, of = self.rows[name][column]
        return held / of if of else None

    def rates(self, name: str) -> list[float | None]:
        return [self.rate(name, column) for column in range(len(EDGES) + 2)]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}"


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_totals(repetitions: int) -> None:
    rng, tally = np.random.default_rng(7), Tally()
    kappas: dict[str, list[float]] = {}
    for kind in Fast:
        for creators in CREATORS:
            for heavy in (False, True):
                made = world(kind, rng, images=IMAGES, creators=creators, heavy=heavy)
                for n in DRAWS:
                    found = audits(made, n, repetitions, rng)
                    tally.add(found, [kind, f"{creators:,} creators, {n} draws", "all"])
                    for rival in found.by_rivals:
                        tally.add(found, [rival], rival=rival)
                    kappas.setdefault(kind, []).append(found.kappa)
    print("## Totals: how often the 95 % interval holds the truth, in %\n")
    print(
        f"{len(Fast)} kinds of fast answer; {_listed(CREATORS)} creators; lognormal and Pareto revenue of "
        f"{IMAGES:,} images; {_listed(DRAWS)} draws; {repetitions} audits of each. Columns: the draws to be "
        "expected on a creator's money, true or fast, the larger.\n"
    )
    head = ["the fast answer is", *BY_EXPECTED, "kappa"]
    rows = [[kind, *map(percent, tally.rates(kind)), f"{np.mean(kappas[kind]):.2f}"] for kind in Fast]
    everything = ["**all worlds**", *map(percent, tally.rates("all")), ""]
    rivals = [
        [f"all worlds, {rival} alone", *map(percent, tally.rates(rival)), ""] for rival in (OWN, POOLED)
    ]
    print_table(head, [*rows, everything, *rivals])
    sizes = [f"{creators:,} creators, {n} draws" for creators in CREATORS for n in DRAWS]
    print_table(["all worlds", *BY_EXPECTED], [[size, *map(percent, tally.rates(size))] for size in sizes])


def print_bands(repetitions: int) -> None:
    """By money, as reports and plans have it; and what the plan said beforehand."""
    rng, rows = np.random.default_rng(8), []
    for creators in CREATORS[1:]:
        made = [world(kind, rng, images=IMAGES, creators=creators) for kind in Fast]
        for n in (DRAWS[1], DRAWS[-1]):
            rows += _band_rows(made, creators, n, repetitions, rng)
    print("## By size band, and as planned\n")
    print(
        "Large: the fewest creators with half of the creators' money; middle: up to nine tenths. Half-widths "
        "are medians over creators, in % of the revenue, of intervals as reported, cut at 0; planned: before "
        "cutting, with the audits' kappa. Of the uncredited the upper end is planned, at its highest.\n"
    )
    head = ["creators, draws", "band", "draws expected", "covered", "half-width", "planned"]
    print_table(head, rows)


def _band_rows(
    made: Sequence[World], creators: int, n: int, repetitions: int, rng: np.random.Generator
) -> list[list[str]]:
    seen: dict[Band, list[tuple[float, float, float, float]]] = {}
    for one in made:
        found = audits(one, n, repetitions, rng)
        whole = float(one.revenue.sum())
        codes = np.append(size_bands(one.fast.totals(one.revenue)[:-1]), BANDS.index(Band.NOBODY))
        for plan in plan_precision(one.revenue, one.fast, n, kappa=found.kappa):
            mine = codes == BANDS.index(plan.band)
            seen.setdefault(plan.band, []).append(
                (
                    plan.expected_draws,
                    100 * float(found.covered[:, mine].mean()),
                    100 * float(np.median(found.width[mine])),
                    100 * plan.half_width / whole,
                )
            )
    means = {band: np.mean(seen[band], axis=0) for band in BANDS if band in seen}
    return [
        [f"{creators:,}, {n}", band, f"{row[0]:.2f}", f"{row[1]:.1f}", f"{row[2]:.2f}", f"{row[3]:.2f}"]
        for band, row in means.items()
    ]


def print_found(repetitions: int) -> None:
    """Creators whom no fast answer credits: of all of them, and of those whom a draw happened to find."""
    rng, rows = np.random.default_rng(12), []
    for creators in CREATORS:
        for n in DRAWS:
            of = world(Fast.MISSING, rng, images=IMAGES, creators=creators)
            pi, true = draw_probabilities(of.revenue), of.truth.totals(of.revenue)
            missing = (of.fast.totals(of.revenue) == 0.0) & (true > 0.0)
            held, above, picked = [], [], []
            for _ in range(repetitions):
                at = draw(pi, n, rng)
                truth = of.truth.take(at)
                found = audited_totals(of.revenue, of.fast, at, truth, pi, level=LEVEL)
                seen = np.bincount(truth.columns, minlength=len(true)) > 0
                inside = (found.low <= true) & (true <= found.high)
                held.append(inside[missing])
                picked.append(inside[missing & seen])
                above.append((found.low > true)[missing & seen])
            cells = [float(np.concatenate(one).mean()) for one in (held, picked, above)]
            rows.append([f"{creators:,}, {n}", *map(percent, cells)])
    print("## Creators who are never credited\n")
    print(
        "Where the fast answer never credits a third of the creators: how often, in %, the interval of one "
        "of them holds; of one whom a draw happened to find; and how often the latter lies above the truth.\n"
    )
    print_table(["creators, draws", "holds", "of those found", "too high"], rows)


def print_groups(repetitions: int) -> None:
    rng, rows = np.random.default_rng(9), []
    for creators in CREATORS:
        for n in (DRAWS[1], DRAWS[-1]):
            payees, bands = [], []
            for kind in Fast:
                made = world(kind, rng, images=IMAGES, creators=creators)
                payee = rng.integers(5, size=creators)
                payees.append(audits(made, n, repetitions, rng, groups=payee).covered.mean())
                band = size_bands(made.fast.totals(made.revenue)[:-1])
                bands.append(audits(made, n, repetitions, rng, groups=band).covered.mean())
            rows.append(
                [f"{creators:,}, {n}", percent(float(np.mean(payees))), percent(float(np.mean(bands)))]
            )
    print("## Groups of creators, covered in %\n")
    print_table(["creators, draws", "five payees and nobody", "size bands and nobody"], rows)


LOSSES = {
    "mean .16, s.d. .165 (Beta .63, 3.31)": lambda rng, shape: rng.beta(0.63, 3.31, shape),
    "none": lambda _, shape: np.zeros(shape),
    "1 % wholly mis-paid": lambda rng, shape: (rng.random(shape) < 0.01).astype(np.float64),
    "5 % wholly mis-paid": lambda rng, shape: (rng.random(shape) < 0.05).astype(np.float64),
    "15 % wholly mis-paid": lambda rng, shape: (rng.random(shape) < 0.15).astype(np.float64),
    "half wholly mis-paid": lambda rng, shape: (rng.random(shape) < 0.5).astype(np.float64),
    "0.3 each": lambda _, shape: np.full(shape, 0.3),
    "uniform": lambda rng, shape: rng.random(shape),
}


def print_bets(repetitions: int) -> None:
    """Losses of N images with heavy-tailed revenue, drawn as the audit draws them."""
    rng, rows = np.random.default_rng(10), []
    for name, losses_of in LOSSES.items():
        for n in (50, 100, 300):
            bounds, means = simulated_bounds(losses_of, n, repetitions, rng, equal=name.startswith("mean"))
            hoeffding = np.minimum(bounds.seen + HEAVIEST * np.sqrt(np.log(1 / (1 - LEVEL)) / 2 / n), 1.0)
            rows.append(
                [
                    name,
                    str(n),
                    f"{means.mean():.3f}",
                    f"{bounds.bounds.mean():.3f}",
                    percent(float((bounds.bounds >= means - 1e-9).mean())),
                    f"{hoeffding.mean():.3f}",
                ]
            )
    print("## The upper bound on mis-paid money\n")
    print(f"Level 95 %, {repetitions} audits each; lognormal revenue, but for the first, which is equal.\n")
    print_table(
        ["losses", "draws", "truth", "betting, mean bound", "holds, %", "Hoeffding, mean bound"], rows
    )


@dataclass(frozen=True, eq=False)
class Bounds:
    """Both float64 (repetitions,): the bounds, and the weighted means seen."""

    bounds: NDArray[np.float64]
    seen: NDArray[np.float64]


def simulated_bounds(
    losses_of: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]],
    n: int,
    repetitions: int,
    rng: np.random.Generator,
    *,
    images: int = 1_000,
    equal: bool = False,
) -> tuple[Bounds, NDArray[np.float64]]:
    """Bounds of audits of one population, and its revenue-weighted mean loss."""
    revenue = np.ones(images) if equal else rng.lognormal(0.0, 1.5, images)
    losses, pi = losses_of(rng, (images,)), draw_probabilities(revenue)
    at = draw(pi, n * repetitions, rng)
    paid = (losses[at] * importance_weights(revenue, pi, at)).reshape(repetitions, n)
    bounds = np.minimum(upper_bounds(np.minimum(paid / HEAVIEST, 1.0), LEVEL) * HEAVIEST, 1.0)
    return Bounds(bounds, paid.mean(axis=1)), losses @ revenue / revenue.sum()


SCORES = {
    "tells": lambda rng, losses: -losses + rng.normal(0.0, 0.3, len(losses)),
    "three values": lambda rng, losses: np.round(-losses * 2 + rng.normal(0.0, 0.3, len(losses))),
    "tells nothing": lambda rng, losses: rng.random(len(losses)),
    "one value": lambda _, losses: np.zeros(len(losses)),
    "misleads": lambda rng, losses: losses + rng.normal(0.0, 0.3, len(losses)),
}


def simulated_trust(
    scores_of: Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    target: float,
    repetitions: int,
    rng: np.random.Generator,
    *,
    images: int = 1_000,
) -> NDArray[np.float64]:
    """What each audit's rule really does to one population: float64 (repetitions, 3), parts of
    all money: mis-paid and trusted; trusted; on images above the bound of one."""
    revenue, losses = rng.lognormal(0.0, 1.5, images), rng.beta(0.4, 1.2, images)
    losses = np.where(rng.random(images) < 0.3, 0.0, losses)
    scores, pi, part = scores_of(rng, losses), draw_probabilities(revenue), revenue / revenue.sum()
    found = []
    for _ in range(repetitions):
        at = draw(pi, n, rng)
        weights = importance_weights(revenue, pi, at)
        rule = trust_threshold(scores[at], losses[at], weights, target)
        trusted = scores > rule.threshold
        above = losses > bound_of_one(losses[at], weights, 1.0 - target)
        found.append((part @ (losses * trusted), part @ trusted, part @ above))
    return np.array(found)


def print_trust(repetitions: int) -> None:
    rng, rows = np.random.default_rng(11), []
    for name, scores_of in SCORES.items():
        for target in (0.05, 0.1, 0.2):
            for n in (20, 100, 300):
                found = simulated_trust(scores_of, n, target, repetitions, rng)
                risk, trusted, above = found.mean(axis=0)
                among = risk / trusted if trusted else None
                row = [
                    f"{risk:.4f}",
                    percent(trusted),
                    "-" if among is None else f"{among:.3f}",
                    f"{above:.4f}",
                ]
                rows.append([name, str(target), str(n), *row])
    print("## Trust or regenerate: what the rule really risks\n")
    print(
        f"Means over {repetitions} audits. Risk: mis-paid money on trusted images, of all money; target: "
        "what it must not exceed.\n"
    )
    head = ["score", "target", "draws", "risk", "trusted money, %", "mis-paid of trusted money"]
    print_table([*head, "new images above the bound of one"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=200, help="audits of each world")
    repetitions = parser.parse_args().repetitions
    print("# The audit's statistics, simulated\n")
    print(
        f"Written by `python scripts/simulate_audit.py --repetitions {repetitions}`: worlds whose truth is "
        "known, audited again and again with the functions that `fairbrush audit` runs. What they are: "
        "[audit.md](audit.md#statistics).\n"
    )
    print_totals(repetitions)
    print_bands(repetitions)
    print_found(repetitions)
    print_groups(repetitions)
    print_bets(10 * repetitions)
    print_trust(10 * repetitions)


if __name__ == "__main__":
    main()
