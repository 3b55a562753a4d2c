"""Fast against regenerated shares on images of the miniature generator: docs/validation.md, its figure.

Enters: a diffusers folder of train_mini_diffusion.py, and an encoder of train_mini_clip.py that was trained
on its own (another tower and seed). Leaves: Markdown on stdout or, below the
heading ``Measured``, in ``--document``, and with ``--figure`` an SVG. Three kinds of
images: one artist prompted, two artists, and a hand that the index does not know. Each is regenerated for all
16 coalitions of the model and three creators: those prompted, then the nearest in style. What the fast
answer pays to others counts as paid to wrong hands. Its own seed is not
among the seeds, so that no coalition can redraw the very image. The gallery's index holds no work that the
generator was trained on.

Everything is made by the code that ``fairbrush validate`` runs; images are kept in ``--work`` and used again.

    python scripts/bench_validation.py build/mini-diffusion --second local-dir:build/mini-second \\
        --work build/validation --figure docs/validation.svg --document docs/validation.md
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_mini_diffusion import panel_titles
from build_gallery_index import IDS, OUT
from fairbrush.accuracy.figure import styled
from fairbrush.accuracy.markdown import shown, table
from fairbrush.accuracy.measures import Estimate, Resampling
from fairbrush.accuracy.methods import Everybody
from fairbrush.attribution import Attribution, EncoderFacts, ImageFacts, attribute_vector
from fairbrush.config import Settings
from fairbrush.domain import Artist, Consent, Value
from fairbrush.embedding.encoder import Device
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.ledger.policy import Policy
from fairbrush.validation.budget import measured_split, plan_permutations
from fairbrush.validation.generators import LazyGenerator, Request, Sampling, describe_generator
from fairbrush.validation.measured import Measurement, Split, compare
from fairbrush.validation.prompts import Template
from fairbrush.validation.regenerate import regenerate
from fairbrush.validation.study import (
    Player,
    Question,
    Reading,
    draw,
    fast_shares,
    players_of,
    read,
    worths_of_fast,
)
from fairbrush.validation.views import View, second_view

PLAYERS = 3
SEEDS = tuple(range(1000, 1004))
BATCH = 16
TEMPLATE = Template.parse("{content} by {artists}")
SINGLE, TWO, UNKNOWN = "one artist", "two artists", "unknown hand"
VALUES = (Value.NEAREST, Value.BLEND)
# the miniature's outputs are seldom near enough for the threshold: what the rules make of them without it
FAST = (*map(str, VALUES), *(f"{value} without threshold" for value in VALUES))
MODEL = "mini-diffusion"
# whom the index retrieves for three outputs in ten or more (docs/mini-diffusion.md, of other prompts)
WELL_DRAWN = frozenset({"Andy Fitzsimon", "Danny Allen", "John Cliff", "Nathan Eady", "Yutaka Kachi"})
HEADING = "## Measured"
# hands of the generator's first stage that no index knows: drawings, and coloured icons
STRANGERS = (
    "Nicu Buculei",
    "Gerald G.",
    "Architetto Francesco Rollandin",
    "hugeicons in tile 2",
    "carbon in tile 1",
    "uis in gloss 1",
    "ph in tile 2",
    "il in tile 2",
    "garden-16 in outline 2",
    "lucide in tile 1",
    "oi in gloss 2",
    "mynaui-solid in duo 1",
)


@dataclass(frozen=True)
class Wanted:
    """An image to draw and measure. ``names``: whom its prompt names."""

    kind: str
    title: str
    names: tuple[str, ...]
    seed: int

    @property
    def prompt(self) -> str:
        return f"{self.title} by {' and '.join(self.names)}"


@dataclass(frozen=True, eq=False)
class Measured:
    """One image. ``prompted``: normalised shares by the prompt, None for an unknown hand; by value function
    the fast shares (``FAST``), by view the readings. Shares: of each player, then of everybody else."""

    wanted: Wanted
    prompted: NDArray[np.float64] | None
    fast: dict[str, NDArray[np.float64] | None]
    readings: tuple[Reading, ...]


def wanted_images(artists: Sequence[str], strangers: Sequence[str], rng: np.random.Generator) -> list[Wanted]:
    """Two of each artist, as many pairs with everybody in four of them, one of each stranger."""
    titles = panel_titles(2 * len(artists))
    seeds = itertools.count(1)
    single = [Wanted(SINGLE, titles[at], (artists[at // 2],), next(seeds)) for at in range(2 * len(artists))]
    around = rng.permutation(len(artists))
    pairs = [(around[at], around[(at + step) % len(around)]) for step in (1, 2) for at in range(len(around))]
    two = [
        Wanted(TWO, title, (artists[one], artists[other]), next(seeds))
        for title, (one, other) in zip(titles, pairs, strict=True)
    ]
    unknown = [Wanted(UNKNOWN, titles[2 * at], (hand,), next(seeds)) for at, hand in enumerate(strangers)]
    return [*single, *two, *unknown]


class WithoutThreshold:
    """An index whose threshold lets nearly every image credit somebody, and everybody share: 99 % of the
    panel's works by strangers pass it."""

    def __init__(self, index: StyleIndex) -> None:
        self._index = index
        self.delta = self.entry = index.delta_at(0.99)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


@dataclass(frozen=True, eq=False)
class Bench:
    """What every image is measured with."""

    index: StyleIndex
    everybody: Everybody
    generator: LazyGenerator
    sampling: Sampling
    views: tuple[View, ...]
    folder: Path

    def attribute(
        self, sha256: str, vector: NDArray[np.float32], value: Value, *, threshold: bool = True
    ) -> Attribution:
        return attribute_vector(
            ImageFacts(sha256, None),
            vector,
            index=self.index if threshold else WithoutThreshold(self.index),
            eligibility=self.everybody,
            encoder=EncoderFacts(self.index.encoder_id, self.index.variants[0]),
            policy=Policy(model=MODEL),
            model_id=MODEL,
            value=value,
            intervals=False,
        )

    def measure(self, wanted: Wanted, image: Path, *, players: Sequence[str] = ()) -> Measured:
        """``players``: names; else those prompted, then the nearest."""
        sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
        session = self.views[0].session
        vector = session.space.get_many([sha256])[sha256][0]
        playing = players_of(self._players(wanted, vector, players))
        question = Question(image, playing, wanted.title, TEMPLATE, "", seeds=SEEDS, sampling=self.sampling)
        plan = plan_permutations(len(playing), budget=None, rng=np.random.default_rng(0))
        made = draw(question, plan, self.generator, folder=self.folder, batch=BATCH)
        files = [[one.path for one in row] for row in made]
        answers = {value: self.attribute(sha256, vector, value) for value in VALUES}
        loosely = [self.attribute(sha256, vector, value, threshold=False) for value in VALUES]
        fast = {
            name: with_others(answer, playing)
            for name, answer in zip(FAST, [*answers.values(), *loosely], strict=True)
        }
        readings = tuple(
            read(
                view,
                image,
                plan,
                files,
                fast=fast_shares(answers[Value.BLEND], playing),
                fast_worths=worths_of_fast(answers[Value.BLEND], playing),
            )
            for view in self.views
        )
        prompted = np.array([float(player.artists[0].name in wanted.names) for player in playing])
        by_prompt = beside_nobody(prompted / prompted.sum()) if prompted.any() else None
        return Measured(wanted, by_prompt, fast, readings)

    def _players(self, wanted: Wanted, vector: NDArray[np.float32], names: Sequence[str]) -> list[Artist]:
        by_name = {artist.name: artist for artist in self.everybody.artists.values()}
        if names:
            return [by_name[name] for name in names]
        prompted = [by_name[name] for name in wanted.names if name in by_name]
        near = [self.everybody.artists[hit.artist_id] for hit in self.index.search(vector, k=PLAYERS).hits]
        return list(dict.fromkeys([*prompted, *near]))[:PLAYERS]


def with_others(answer: Attribution, players: Sequence[Player]) -> NDArray[np.float64] | None:
    """Fast shares of the players, and last what is paid to others: float64 (n+1,), None where nothing is."""
    mine = {player.creator_id: place for place, player in enumerate(players)}
    shares = np.zeros(len(players) + 1)
    for one in answer.artists:
        shares[mine.get(one.artist.creator_id, -1)] += one.share
    return shares / shares.sum() if shares.any() else None


def beside_nobody(shares: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """The players' shares where others get nothing: float64 (n+1,)."""
    return None if shares is None else np.append(shares, 0.0)


def everybody_in(ids: dict[str, dict[str, str]]) -> Everybody:
    """The gallery's artists, by ``artists.json``: each may be credited."""
    return Everybody(
        {
            one["artist_id"]: Artist(
                one["artist_id"], name, one["creator_id"], one["creator_id"], Consent.UNCLAIMED
            )
            for name, one in sorted(ids.items())
        }
    )


def draw_images(bench: Bench, wanted: Sequence[Wanted]) -> list[Path]:
    """The images that are asked about, kept beside the coalitions', and embedded by every view."""
    made = regenerate(
        [Request(one.prompt, one.seed) for one in wanted],
        bench.sampling,
        bench.generator,
        folder=bench.folder,
        batch=BATCH,
    )
    paths = [one.path for one in made]
    for view in bench.views:
        for outcome in view.session.embed(paths):
            assert not outcome.reason, outcome.detail
    return paths


def disagreement(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> float:
    return compare(one, other).mis_paid


def halves(reading: Reading) -> float:
    """How far regenerated shares of two halves of the seeds are apart: what regeneration itself misses."""
    style = reading.style
    shares = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        part = Measurement(style.creators, style.coalitions, style.similarities[:, half])
        plan = plan_permutations(style.creators, budget=None, rng=np.random.default_rng(0))
        shares.append(measured_split(part, plan).shares)
    return disagreement(*shares)


def estimate(found: Sequence[Measured], score: Callable[[Measured], float]) -> Estimate:
    """The mean over images; 95 % interval over the artists prompted."""
    clusters = [one.wanted.names for one in found]
    return Resampling(clusters, seed=0).estimate(np.array([score(one) for one in found]))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Rank correlation with middle ranks for ties; None where one side is all ties.

    Spearman 1904, doi:10.2307/1412159.
    """
    ranks = []
    for column in np.array(pairs).T:
        _, place, count = np.unique(column, return_inverse=True, return_counts=True)
        if len(count) < 2:
            return None
        ranks.append((np.cumsum(count) - (count - 1) / 2)[place])
    return float(np.corrcoef(ranks)[0, 1])


def shown_rank(pairs: Sequence[tuple[float, float]]) -> str:
    rank = spearman(pairs) if pairs else None
    return "-" if rank is None else f"{rank:.2f} ({len(pairs)} pairs)"


def regenerated(view: int) -> Callable[[Measured], NDArray[np.float64] | None]:
    return lambda one: beside_nobody(one.readings[view].split.shares)


def alike(one: Measured) -> NDArray[np.float64]:
    players = len(one.readings[0].split.phi) - 1
    return np.append(np.full(players, 1 / players), 0.0)


def disagreements(found: Sequence[Measured], view: int) -> Iterator[tuple[str, str]]:
    """What is compared, and the mis-paid share between the two."""
    measured = regenerated(view)
    pairs: list[tuple[str, Callable[[Measured], float]]] = [
        *(
            (f"fast {name} / regenerated", lambda one, n=name: disagreement(one.fast[n], measured(one)))
            for name in FAST
        ),
        ("all players alike / regenerated", lambda one: disagreement(alike(one), measured(one))),
        ("regenerated with half of the seeds / with the others", lambda one: halves(one.readings[view])),
    ]
    if all(one.prompted is not None for one in found):
        pairs += [
            ("regenerated / prompt", lambda one: disagreement(measured(one), one.prompted)),
            *(
                (f"fast {name} / prompt", lambda one, n=name: disagreement(one.fast[n], one.prompted))
                for name in FAST
            ),
            ("all players alike / prompt", lambda one: disagreement(alike(one), one.prompted)),
        ]
    for name, score in pairs:
        yield name, shown(estimate(found, score))


def share_tables(found: Sequence[Measured], names: Sequence[str]) -> list[str]:
    lines = []
    for kind in (SINGLE, TWO):
        of_kind = [one for one in found if one.wanted.kind == kind]
        subsets = {
            "all images": of_kind,
            "artists drawn well": [one for one in of_kind if WELL_DRAWN.issuperset(one.wanted.names)],
            "where `blend` credits somebody": [one for one in of_kind if one.fast[Value.BLEND] is not None],
        }
        lines += [f"### {kind.capitalize()}", ""]
        for title, images in subsets.items():
            if len({one.wanted.names for one in images}) < 2:
                lines += [f"{title}: {len(images)} images, too few.", ""]
                continue
            columns = [dict(disagreements(images, view)) for view in range(len(names))]
            rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
            lines += [table([f"{title} ({len(images)}): mis-paid share", *names], rows), ""]
    return lines


def ranks(found: Sequence[Measured], names: Sequence[str]) -> list[str]:
    rows = []
    for kind in (SINGLE, TWO):
        for value in FAST:
            row = [kind, value]
            for view in range(len(names)):
                pairs = [
                    pair
                    for one in found
                    if one.wanted.kind == kind and one.fast[value] is not None
                    if (measured := regenerated(view)(one)) is not None
                    for pair in zip(one.fast[value][:-1].tolist(), measured[:-1].tolist(), strict=True)
                ]
                row.append(shown_rank(pairs))
            rows.append(row)
    return [table(["kind", "fast", *(f"rank correlation, {name}" for name in names)], rows), ""]


def contents(found: Sequence[Measured], names: Sequence[str]) -> list[str]:
    rows = []
    for kind in (SINGLE, TWO, UNKNOWN):
        of_kind = [one for one in found if one.wanted.kind == kind]
        row = [kind]
        for view in range(len(names)):
            defined = [one for one in of_kind if one.readings[view].b.b is not None]
            if len({one.wanted.names for one in defined}) < 2:
                row.append(f"defined for {len(defined)} of {len(of_kind)}")
                continue
            mean = shown(estimate(defined, lambda one, v=view: float(one.readings[v].b.b or 0.0)))
            row.append(f"{mean}, defined for {len(defined)} of {len(of_kind)}")
        rows.append(row)
    return [table(["kind", *(f"b_hat, {name}" for name in names)], rows), ""]


def is_clear(split: Split) -> bool:
    assert split.phi_error is not None, "there are several seeds"
    return bool((split.phi[1:] > 2 * split.phi_error[1:]).any())


def strangers_table(found: Sequence[Measured], names: Sequence[str]) -> list[str]:
    of_kind = [one for one in found if one.wanted.kind == UNKNOWN]
    rows = [
        [
            f"fast {value} credits nobody",
            *[f"{sum(o.fast[value] is None for o in of_kind)} of {len(of_kind)}"] * len(names),
        ]
        for value in FAST
    ]
    clear = [sum(is_clear(one.readings[view].split) for one in of_kind) for view in range(len(names))]
    name = "regenerated: somebody is above 0 by two standard errors"
    rows.append([name, *(f"{count} of {len(of_kind)}" for count in clear)])
    return [table([UNKNOWN, *names], rows), ""]


def figure(found: Sequence[Measured], names: Sequence[str]) -> str:
    """Fast against regenerated shares of each creator, with standard errors, as SVG."""
    import altair
    import vl_convert

    points: list[dict[str, Any]] = []
    for one in found:
        for view, name in enumerate(names):
            split = one.readings[view].split
            for value in FAST[len(VALUES) :]:
                if split.shares is None or one.fast[value] is None:
                    continue
                for place, (fast, slow) in enumerate(zip(one.fast[value][:-1], split.shares, strict=True)):
                    error = 0.0 if split.share_error is None else float(split.share_error[place])
                    points.append(
                        {
                            "fast": float(fast),
                            "regenerated": float(slow),
                            "low": max(0.0, float(slow) - error),
                            "high": min(1.0, float(slow) + error),
                            "kind": one.wanted.kind,
                            "panel": f"{value}, measured by {name}",
                        }
                    )
    base = altair.Chart(altair.Data(values=points)).encode(
        x=altair.X("fast:Q").scale(domain=[0, 1]).title("fast share").axis(format="%"),
        color=altair.Color("kind:N")
        .scale(domain=[SINGLE, TWO, UNKNOWN], range=["#2f6f8f", "#c2572b", "#8a8f98"])
        .title(None),
    )
    bars = base.mark_rule(opacity=0.35).encode(y=altair.Y("low:Q").title("regenerated share"), y2="high:Q")
    dots = base.mark_circle(size=34, opacity=0.8).encode(y=altair.Y("regenerated:Q").axis(format="%"))
    chart = (
        (bars + dots).properties(width=270, height=230).facet(altair.Facet("panel:N").title(None), columns=2)
    )
    return vl_convert.vegalite_to_svg(styled(chart).to_json())


def report(found: Sequence[Measured], names: Sequence[str], facts: Sequence[str]) -> str:
    lines = [HEADING, "", *facts, ""]
    lines += share_tables(found, names)
    lines += ["### Order", "", *ranks(found, names)]
    lines += ["### The content part", "", *contents(found, names)]
    lines += [f"### {UNKNOWN.capitalize()}", "", *strangers_table(found, names)]
    if len(names) > 1:
        between = [one for one in found if one.wanted.kind != UNKNOWN]
        both = shown(estimate(between, lambda o: disagreement(*(r.split.shares for r in o.readings))))
        lines += [f"Mis-paid share between the two views' regenerated shares: {both}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--second", required=True, help="an encoder's spec")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--document", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--strangers", nargs="+", default=STRANGERS)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--limit", type=int, help="images of each kind, to try it")
    args = parser.parse_args()
    started = time.monotonic()
    ids = json.loads((OUT / IDS).read_text(encoding="utf-8"))
    generator = describe_generator(args.model, device=Device.CPU)
    settings = Settings(encoder="mini", device="cpu", cache=args.work / "embeddings", threads=1)
    wanted = wanted_images(sorted(ids), args.strangers, np.random.default_rng(0))
    if args.limit:
        by_kind = [[one for one in wanted if one.kind == kind] for kind in (SINGLE, TWO, UNKNOWN)]
        wanted = [one for of_kind in by_kind for one in of_kind[: args.limit]]
    index = open_index(OUT)
    with (
        EmbeddingSession.open(settings) as session,
        second_view(settings, args.second, answering=session.encoder) as second,
    ):
        views = (View(session, index.space, is_independent=False), second)
        size = generator.side
        sampling = Sampling(steps=args.steps, guidance=args.guidance, scheduler=None, width=size, height=size)
        bench = Bench(index, everybody_in(ids), generator, sampling, views, args.work / "images")
        images = draw_images(bench, wanted)
        found = []
        for number, (one, image) in enumerate(zip(wanted, images, strict=True), start=1):
            found.append(bench.measure(one, image))
            print(f"{number} of {len(wanted)}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    names = ["the encoder that answers", "an independent encoder"]
    kinds = (SINGLE, TWO, UNKNOWN)
    counts = ", ".join(f"{sum(o.wanted.kind == kind for o in found)} of {kind}" for kind in kinds)
    facts = [
        f"{len(found)} images ({counts}), {1 << (PLAYERS + 1)} coalitions of {len(SEEDS)} seeds each,"
        f" {args.steps} steps, guidance {args.guidance:g}; {time.monotonic() - started:.0f} s on one of"
        f" {os.cpu_count()} cores, {platform.machine()}, with what was kept from earlier runs.",
        f"Generator {generator.model_digest[:16]}, index of {len(index.artist_ids)} artists,"
        f" answering encoder `{session.encoder.encoder_id}`, second encoder `{second.encoder_id}`.",
    ]
    text = report(found, names, facts)
    if args.document:
        before = args.document.read_text(encoding="utf-8").partition(HEADING)[0]
        args.document.write_text(before + text, encoding="utf-8")
    else:
        print(text)
    if args.figure:
        args.figure.write_text(figure(found, names), encoding="utf-8")


if __name__ == "__main__":
    main()
