"""An audit from end to end on the bundled miniature, beside the truth: the second part of docs/audit.md.

Enters: nothing but what fairbrush bundles, and a folder to work in. Leaves: Markdown on stdout: every command
with what it printed, and tables. The images are
outputs of the miniature whose files say how they were made; what they earned is made up, heavy-tailed. They
are so few that all can be regenerated: the script does so after the audit, by the code that audits, and so
knows the totals that the audit estimates. Whole audits are then repeated on paper with other seeds, to count
how often the intervals and the bound hold.

The index is built with ``--alpha 0.5``: at the default the fast answer stays silent on nearly every output
(docs/validation.md), and an audit of silence would show little.

    python scripts/bench_audit.py --work build/audit
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench_mini_diffusion import panel_titles
from build_gallery import DATA
from fairbrush.accuracy.markdown import table
from fairbrush.cli.app import run
from fairbrush.config import load_settings
from fairbrush.corpus.changes import open_registry
from fairbrush.embedding.encoder import Device
from fairbrush.ledger.period import parse_period
from fairbrush.store import utc_now
from fairbrush.validation.audit.bands import size_bands
from fairbrush.validation.audit.betting import upper_bound
from fairbrush.validation.audit.conformal import trust_threshold
from fairbrush.validation.audit.estimators import Totals, audited_totals
from fairbrush.validation.audit.plan import Plan, make_plan
from fairbrush.validation.audit.population import read_population
from fairbrush.validation.audit.report import ranking, score_of
from fairbrush.validation.audit.run import read_records, run_audit
from fairbrush.validation.audit.sampling import draw as draw_positions
from fairbrush.validation.audit.sampling import importance_weights
from fairbrush.validation.generators import Request, Sampling, describe_generator
from fairbrush.validation.order import Order
from fairbrush.validation.prompts import Template

MODEL = "mini-diffusion"
STEPS, GUIDANCE, SIDE = 15, 4.0, 64
ALPHA = 0.5
TEMPLATE = "{content} by {artists}"
# whom the miniature draws so that the index can tell (docs/mini-diffusion.md), and the others
WELL_DRAWN = ("Andy Fitzsimon", "Danny Allen", "John Cliff", "Nathan Eady", "Yutaka Kachi")
OTHERS = (
    "Alan Horkan",
    "Benji Park",
    "Jarno Vasamaa",
    "Jean-Victor Balin",
    "Jon Phillips",
    "Jose Hevia",
    "Juliane Krug",
    "Yves Guillou",
)
OF_EACH, PAIRS, UNNAMED = 5, 9, 6
BATCH = 16
ORDER = Order(image=None, template=Template.parse(TEMPLATE), batch=BATCH)


@dataclass(frozen=True)
class Output:
    """An image of the miniature. ``names``: whom its prompt names."""

    title: str
    names: tuple[str, ...]
    seed: int

    @property
    def prompt(self) -> str:
        return f"{self.title} by {' and '.join(self.names)}" if self.names else self.title

    @property
    def file_name(self) -> str:
        return f"{self.seed:02}.png"


def outputs() -> list[Output]:
    """Five of each artist who is drawn well, one of the others, pairs, and some that name nobody."""
    everybody = [*WELL_DRAWN, *OTHERS]
    around = np.random.default_rng(0).permutation(len(everybody))
    named = [(name,) for name in WELL_DRAWN for _ in range(OF_EACH)]
    named += [(name,) for name in OTHERS]
    named += [(everybody[around[at]], everybody[around[at + 1]]) for at in range(PAIRS)]
    named += [()] * UNNAMED
    titles = np.random.default_rng(1).permutation(panel_titles(len(named))).tolist()
    return [Output(*one) for one in zip(titles, named, itertools.count(1))]


def draw(wanted: Sequence[Output], folder: Path) -> None:
    """PNGs that say how they were made, as generating programs write it."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in wanted if not (folder / one.file_name).exists()]
    if not missing:
        return
    generator = describe_generator(MODEL, device=Device.CPU).load()
    sampling = Sampling(steps=STEPS, guidance=GUIDANCE, scheduler=None, width=SIDE, height=SIDE)
    for some in itertools.batched(missing, BATCH) if hasattr(itertools, "batched") else [missing]:
        pixels = generator.generate([Request(one.prompt, one.seed) for one in some], sampling)
        for one, image in zip(some, pixels, strict=True):
            said = PngInfo()
            said.add_text(
                "parameters",
                f"{one.prompt}\nSteps: {STEPS}, CFG scale: {GUIDANCE:g}, Seed: {one.seed},"
                f" Size: {SIDE}x{SIDE}, Model: {MODEL}",
            )
            Image.fromarray(image).save(folder / one.file_name, pnginfo=said)


def fairbrush(workspace: Path, *words: Any, expected: int = 0) -> tuple[str, str]:
    """One command line: what it answered, and what it said."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with mock.patch.object(sys, "stdout", stdout), redirect_stderr(stderr):
        code = run(["--workspace", str(workspace), *map(str, words)])
        stdout.flush()
    assert code == expected, (words, stderr.getvalue())
    return stdout.buffer.getvalue().decode(), stderr.getvalue()


def make_world(work: Path) -> Path:
    """A workspace with the gallery's artists, the miniature, and a recorded answer to each output."""
    workspace, images = work / "space", work / "images"
    draw(outputs(), images)
    if (workspace / "made").exists():
        return workspace
    shutil.rmtree(workspace, ignore_errors=True)
    assert run(["init", str(workspace)]) == 0
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write(f'[policy]\nmodel = "{MODEL}"\nplatform_fee = "0.1"\n')
    fairbrush(workspace, "artist", "import", DATA / "gallery/references")
    fairbrush(workspace, "model", "add", MODEL)
    fairbrush(workspace, "artist", "import", DATA / "mini_diffusion/roster.csv")
    fairbrush(workspace, "index", "build", "--alpha", ALPHA)
    fairbrush(workspace, "policy", "adopt", "--from", "2026-01-01")
    fairbrush(workspace, "attribute", images)
    (workspace / "made").touch()
    return workspace


def import_revenue(workspace: Path, images: Path) -> None:
    """A line an image, all in January: heavy-tailed (Pareto, 1.2), as what images earn is."""
    earned = np.random.default_rng(2).pareto(1.2, size=len(outputs())) + 1.0
    lines = ["reference,amount,currency,image,date"]
    for one, units in zip(outputs(), earned.tolist(), strict=True):
        amount = f"{min(20.0 * units, 5000.0):.2f}"
        lines.append(
            f"INV-{one.seed:03},{amount},EUR,{images / one.file_name},2026-01-{one.seed % 28 + 1:02}"
        )
    table = workspace.parent / "january.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fairbrush(workspace, "revenue", "import", table)


@dataclass(frozen=True)
class Step:
    """A command as a user types it, and what it printed and said."""

    words: str
    answer: str
    talk: str

    @property
    def shown(self) -> str:
        said = "\n".join(filter(None, [self.answer.rstrip("\n"), self.talk.rstrip("\n")]))
        return f"```text\n$ fairbrush {self.words}\n{said}\n```"


def step(workspace: Path, words: Sequence[str], expected: int = 0) -> Step:
    answer, talk = fairbrush(workspace, *words, expected=expected)
    typed = " ".join(f'"{word}"' if " " in str(word) else str(word) for word in words)
    folder = f"{workspace.parent.resolve()}/"
    shorter = answer.replace(folder, "").replace("file" + " " * len(folder), "file")
    return Step(typed, shorter, talk.replace(folder, ""))


def audit(workspace: Path, *, draws: int, seed: int, first: int) -> list[Step]:
    """Plan, measure in two goes, report."""
    measured = ["audit", "run", "--template", TEMPLATE, "--batch", str(BATCH)]
    wanted = ["--period", "2026-01", "--budget", str(draws), "--seed", str(seed)]
    return [
        step(workspace, ["audit", "plan", *wanted]),
        step(workspace, [*measured, "--budget", str(first)]),
        step(workspace, measured),
        step(workspace, ["audit", "report"]),
        step(workspace, ["audit", "report", "--group", "size", "--target", "0.35"]),
    ]


@dataclass(frozen=True, eq=False)
class Truth:
    """Every image measured. fast, measured: float64 (units, creators + 1), nobody last; losses: float64
    (units,), what of each is mis-paid."""

    plan: Plan
    creators: tuple[str, ...]
    fast: NDArray[np.float64]
    measured: NDArray[np.float64]
    losses: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def totals(self) -> NDArray[np.float64]:
        return self.plan.amounts @ self.measured

    @property
    def mis_paid(self) -> float:
        return float(self.plan.amounts @ self.losses) / float(self.plan.total)


def fresh_copy(workspace: Path, name: str) -> Path:
    """So that the workspace itself keeps no plan, and another run begins as this one did."""
    copy = workspace.with_name(name)
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(workspace, copy, symlinks=True))


def regenerate_all(workspace: Path) -> Path:
    """By the code that audits, in a copy: a plan of so many draws that every image is among them."""
    copy = fresh_copy(workspace, "truth")
    with open_registry(copy) as store:
        population = read_population(store.connection, parse_period("2026-01"))
        plan, _ = make_plan(store, population, draws=4000, seed=0, now=utc_now())
    assert len(plan.drawn) == len(plan.units), "raise the number of draws"
    ran = run_audit(load_settings(workspace=copy), ORDER)
    assert not ran.failed
    shutil.copytree(copy / "regenerations", workspace / "regenerations", dirs_exist_ok=True)
    return copy


def read_truth(copy: Path) -> Truth:
    ran = run_audit(load_settings(workspace=copy), ORDER)
    plan = ran.plan
    with open_registry(copy, readonly=True) as store:
        records = read_records(store.connection, [unit.attribution_id for unit in plan.units])
        names = dict(store.connection.execute("SELECT creator_id, name FROM creator").fetchall())
    of_unit = [records[unit.attribution_id] for unit in plan.units]
    creators = sorted(
        {c for one in of_unit for c in one.shares} | {c for r in ran.results.values() for c in r.shares}
    )
    fast = np.zeros((len(plan.units), len(creators) + 1))
    said = np.zeros_like(fast)
    for at, record in enumerate(of_unit):
        fast[at, :-1] = [record.shares.get(creator, 0.0) for creator in creators]
        said[at, :-1] = [ran.results[at].shares.get(creator, 0.0) for creator in creators]
    fast[:, -1], said[:, -1] = 1.0 - fast[:, :-1].sum(axis=1), 1.0 - said[:, :-1].sum(axis=1)
    return Truth(
        plan,
        tuple(names[creator] for creator in creators),
        fast,
        said,
        np.abs(fast - said).sum(axis=1) / 2,
        np.array([score_of(record) for record in of_unit]),
    )


def beside_truth(truth: Truth, audited: Path) -> str:
    """The audit's totals as it reported them, and the true ones."""
    report = json.loads(fairbrush(audited, "audit", "report", "--json")[0])
    told = {line["name"]: line for line in report["totals"]}
    rows = []
    for at in np.argsort(-(truth.plan.amounts @ truth.fast), kind="stable").tolist():
        name = [*truth.creators, "(nobody)"][at]
        true = truth.totals[at] / 100
        line = told[name]
        inside = float(line["low"]) - 0.01 <= true <= float(line["high"]) + 0.01
        amounts = [line[column] for column in ("fast", "estimate", "low", "high")]
        rows.append([name, *amounts, f"{true:.2f}", "yes" if inside else "no"])
    return table(["creator", "fast", "estimate", "low", "high", "all regenerated", "inside"], rows)


def drawn(truth: Truth, *, draws: int, seed: int) -> NDArray[np.intp]:
    return draw_positions(truth.plan.probabilities, draws, np.random.default_rng(seed))


def estimate(truth: Truth, *, draws: int, seed: int) -> Totals:
    positions = drawn(truth, draws=draws, seed=seed)
    plan = truth.plan
    return audited_totals(plan.amounts, truth.fast, positions, truth.measured[positions], plan.probabilities)


def repeated(truth: Truth, *, budgets: Sequence[int], audits: int, target: float) -> str:
    """Audits with other seeds on paper: how often intervals and bound hold, and what trusting costs."""
    plan, totals = truth.plan, truth.totals
    rows = []
    for draws in budgets:
        inside, width, held, bounds, risks, trusted = [], [], [], [], [], []
        for seed in range(audits):
            positions = drawn(truth, draws=draws, seed=1000 + seed)
            found = estimate(truth, draws=draws, seed=1000 + seed)
            inside.append((found.low - 1e-6 <= totals) & (totals <= found.high + 1e-6))
            width.append((found.high - found.low) / 2)
            weights = importance_weights(plan.amounts, plan.probabilities, positions)
            bounds.append(upper_bound(truth.losses[positions], weights, 0.95))
            held.append(truth.mis_paid <= bounds[-1])
            rule = trust_threshold(truth.scores[positions], truth.losses[positions], weights, target)
            money = plan.amounts * (truth.scores > rule.threshold) / float(plan.total)
            risks.append(float(money @ truth.losses))
            trusted.append(float(money.sum()))
        bands = size_bands((plan.amounts @ truth.fast)[:-1])
        covered = np.array(inside).mean(axis=0)
        by_band = [
            f"{covered[:-1][bands == code].mean():.3f}" if (bands == code).any() else "-" for code in range(4)
        ]
        rows.append(
            [
                str(draws),
                *by_band,
                f"{covered[-1]:.3f}",
                f"{np.array(width).mean() / float(plan.total):.3f}",
                f"{np.mean(bounds):.3f}",
                f"{np.mean(held):.3f}",
                f"{np.mean(risks):.3f}",
                f"{np.mean(trusted):.3f}",
            ]
        )
    head = ["draws", "large", "middle", "small", "uncredited", "nobody", "half-width", "bound", "bound holds"]
    return table([*head, f"mis-paid on trusted, target {target:g}", "trusted"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--first", type=int, default=8, help="images of the first go")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--audits", type=int, default=2000, help="repeated on paper")
    args = parser.parse_args()
    workspace = make_world(args.work)
    if not (workspace / "earned").exists():
        import_revenue(workspace, args.work / "images")
        fairbrush(workspace, "settle", "2026-01")
        (workspace / "earned").touch()
    truth = read_truth(regenerate_all(workspace))
    audited = fresh_copy(workspace, "audited")
    steps = audit(audited, draws=args.draws, seed=args.seed, first=args.first)
    rank = ranking(truth.scores, truth.losses)
    lines = [
        *(one.shown for one in steps),
        beside_truth(truth, audited),
        f"Mis-paid in truth: {truth.mis_paid:.3f} of the money. The score puts {rank:.3f} of all pairs in the"
        " right order.",
        repeated(truth, budgets=(15, 30, 60, 120, 300), audits=args.audits, target=0.35),
    ]
    print("\n\n".join(lines))


if __name__ == "__main__":
    main()
