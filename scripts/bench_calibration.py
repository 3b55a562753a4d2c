"""A calibration on images of the miniature generator: docs/calibration.md.

Enters: as bench_validation.py, whose images these are: 64, each regenerated for 16 coalitions of 4 seeds, and
100 more that the generator drew with nobody named, of other titles. Leaves: Markdown on stdout or, below the
heading ``Measured``, in ``--document``. Fitted by the code of ``fairbrush calibrate``, on the independent
encoder's readings and on those of the encoder that answers, each judged by both; and with more false credit
allowed than the default.

    python scripts/bench_calibration.py build/mini-diffusion --second local-dir:build/mini-second \\
        --work build/validation --document docs/calibration.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench_mini_diffusion import panel_titles
from bench_validation import (
    BATCH,
    MODEL,
    SEEDS,
    STRANGERS,
    Bench,
    Measured,
    Wanted,
    draw_images,
    everybody_in,
    wanted_images,
)
from build_gallery_index import IDS, OUT
from fairbrush.accuracy.markdown import table
from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.config import Settings
from fairbrush.domain import Value
from fairbrush.embedding.encoder import Device
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.index.search import open_index
from fairbrush.validation.calibration.answers import Asked
from fairbrush.validation.calibration.calibrate import MOST_FALSE_CREDIT, Evidence, FitOrder, fit
from fairbrush.validation.calibration.evidence import Sampled, Studied, measured_of
from fairbrush.validation.calibration.leave_out import Interval
from fairbrush.validation.calibration.report import Fitted
from fairbrush.validation.calibration.unnamed import Unnamed, read_unnamed
from fairbrush.validation.generators import Request, Sampling, describe_generator
from fairbrush.validation.kept import BODY_SCHEMA
from fairbrush.validation.regenerate import regenerate
from fairbrush.validation.study import Reading
from fairbrush.validation.views import View, second_view

HEADING = "## Measured"
UNNAMED = 100
VALUES = (Value.BLEND, Value.NEAREST)
ALLOWED = (MOST_FALSE_CREDIT, 0.25, 0.5)
JUDGES = ("the encoder that answers", "an independent encoder")


@dataclass(frozen=True, eq=False)
class World:
    """What is fitted on. ``images``: by the views' encoders, the one that answers first."""

    bench: Bench
    evidence: Evidence
    encoders: tuple[str, ...]
    unnamed: Unnamed

    def fitted(self, value: Value, judge: int, *, centre: bool, most_false_credit: float) -> Fitted:
        return fit(
            replace(self.evidence, judge=self.encoders[judge]),
            index=self.bench.index,
            eligibility=self.bench.everybody,
            value=value,
            unnamed={MODEL: self.unnamed} if centre else {},
            order=FitOrder(most_false_credit=most_false_credit),
        )


def body_of(one: Measured, reading: Reading) -> dict[str, object]:
    """As a validation keeps it, without what only names it."""
    plan = reading.style.coalitions
    identity = {
        "image": [one.wanted.title, one.wanted.names, one.wanted.seed],
        "creators": [f"player {n}" for n in range(reading.style.creators)],
        "coalitions": plan.tolist(),
        "orders": None,
        "measured_by": reading.encoder_id,
    }
    return {
        "schema": BODY_SCHEMA,
        "identity": identity,
        "has_content": True,
        "content": texts(reading.content.similarities),
        "style": texts(reading.style.similarities),
        "surrogate": None,
        "fast": None,
    }


def texts(numbers: NDArray[np.float64]) -> list[list[str]]:
    return [[decimal_text(number) for number in row] for row in numbers.tolist()]


def study(bench: Bench, one: Measured, image: Path, vector: NDArray[np.float32]) -> tuple[Studied, Asked]:
    """One measured image as evidence."""
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    players = tuple(artist.creator_id for artist in bench._players(one.wanted, vector, ()))
    readings = {}
    for reading in one.readings:
        body = body_of(one, reading)
        found = measured_of(canonical_digest(body), body, players)
        assert found is not None, "there are several seeds"
        readings[reading.encoder_id] = found
    side = bench.sampling.width
    studied = Studied(
        image_sha256=sha256,
        model_id=MODEL,
        generator_digest=bench.generator.model_digest,
        index_manifest_digest=bench.index.manifest_digest,
        players=players,
        answering=bench.index.encoder_id,
        readings=readings,
        drawn=len(SEEDS) << (len(players) + 1),
        sampling=Sampled(bench.sampling.steps, repr(bench.sampling.guidance), "", side, side),
    )
    return studied, Asked(sha256, MODEL, vector[None])


def measure(bench: Bench, wanted: Sequence[Wanted]) -> Evidence:
    images = draw_images(bench, wanted)
    studies, asked = [], []
    for number, (one, image) in enumerate(zip(wanted, images, strict=True), start=1):
        session = bench.views[0].session
        sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
        vector = session.space.get_many([sha256])[sha256][0]
        studied, question = study(bench, bench.measure(one, image), image, vector)
        studies.append(studied)
        asked.append(question)
        print(f"{number} of {len(wanted)}", file=sys.stderr)
    return Evidence(studies, asked, bench.views[0].encoder_id, {})


def draw_unnamed(bench: Bench, wanted: Sequence[Wanted]) -> Unnamed:
    """Of titles that no asked image has."""
    used = {one.title for one in wanted}
    titles = [title for title in panel_titles(2 * UNNAMED) if title not in used][:UNNAMED]
    requests = [Request(title, 5000) for title in titles]
    made = regenerate(requests, bench.sampling, bench.generator, folder=bench.folder, batch=BATCH)
    return read_unnamed(bench.views[0].session, [one.path for one in made], model_id=MODEL)


def shown(interval: Interval) -> str:
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def fits_table(world: World, value: Value) -> Iterator[str]:
    header = ["fitted to", "most false credit", "centre", "shift", "gamma", "strangers", "without a name"]
    header += [f"mis-paid, {name}" for name in JUDGES] + ["images credited"]
    rows = []
    for judge in (1, 0):
        for allowed in ALLOWED:
            for centre in (False, True):
                found = world.fitted(value, judge, centre=centre, most_false_credit=allowed)
                rows.append([JUDGES[judge], f"{allowed:g}", *fit_cells(found, world)])
    yield table(header, rows)
    yield ""


def fit_cells(found: Fitted, world: World) -> list[str]:
    calibration = found.calibration
    by_encoder = {one.encoder_id: one for one in found.judged}
    centred = calibration.models[MODEL].centre is not None
    near = world.unnamed.best(world.bench.index, allowed=world.bench.index.artist_ids, centred=centred)
    drawn = float((near > world.bench.index.delta + calibration.shift).mean())
    cells = [
        "moved" if centred else ("tried, not taken" if found.unnamed else "as it is"),
        f"{calibration.shift:+.3f}",
        calibration.map.to_text().get("gamma", "isotonic"),
        f"{found.panel.before:.3f} → {found.panel.after:.3f}",
        f"{drawn:.2f}",
    ]
    for encoder_id in world.encoders:
        one = by_encoder[encoder_id]
        better = " ✓" if one.is_better else ""
        cells.append(f"{one.before.mis_paid:.3f} → {one.after.mis_paid:.3f}, {shown(one.change)}{better}")
    first = found.judged[0]
    return [*cells, f"{first.before.credited} → {first.after.credited} of {found.predicted}"]


def price_table(found: Fitted) -> str:
    rows = [
        [
            f"{price.level:.3f}",
            f"{price.shift:+.3f}",
            f"{price.mis_paid:.3f}",
            f"{price.credited} of {found.predicted}",
            "-" if price.unnamed is None else f"{price.unnamed:.2f}",
        ]
        for price in found.prices
    ]
    return table(["strangers credited", "shift", "mis-paid", "images credited", "without a name"], rows)


def content_table(world: World) -> str:
    rows = []
    for judge, name in enumerate(JUDGES):
        found = world.fitted(Value.BLEND, judge, centre=False, most_false_credit=MOST_FALSE_CREDIT)
        part = found.models[MODEL]
        b = "undefined" if part.b is None else f"{part.b:.3f} ± {part.error:.3f}"
        rows.append([name, b, f"{part.images}", f"{part.defined}"])
    return table(["measured by", "b, pooled", "images", "of which tell it alone"], rows)


def report(world: World, facts: Sequence[str]) -> str:
    lines = [HEADING, "", *facts, ""]
    for value in VALUES:
        lines += [f"### `{value}`", "", *fits_table(world, value)]
    found = world.fitted(Value.BLEND, 1, centre=True, most_false_credit=1.0)
    lines += ["### What a lower threshold costs", "", price_table(found), ""]
    lines += ["### The content part", "", content_table(world), ""]
    lines += [
        f"Pairs for an isotonic map: {found.pairs} at this fit. Each of {found.predicted} images was"
        f" predicted by a fit on {found.trained_on:.1f} others on average.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--second", required=True, help="an encoder's spec")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--document", type=Path)
    parser.add_argument("--strangers", nargs="+", default=STRANGERS)
    args = parser.parse_args()
    started = time.monotonic()
    ids = json.loads((OUT / IDS).read_text(encoding="utf-8"))
    generator = describe_generator(args.model, device=Device.CPU)
    settings = Settings(encoder="mini", device="cpu", cache=args.work / "embeddings", threads=1)
    wanted = wanted_images(sorted(ids), args.strangers, np.random.default_rng(0))
    index = open_index(OUT)
    with (
        EmbeddingSession.open(settings) as session,
        second_view(settings, args.second, answering=session.encoder) as second,
    ):
        views = (View(session, index.space, is_independent=False), second)
        side = generator.side
        sampling = Sampling(steps=15, guidance=4.0, scheduler=None, width=side, height=side)
        bench = Bench(index, everybody_in(ids), generator, sampling, views, args.work / "images")
        evidence = measure(bench, wanted)
        unnamed = draw_unnamed(bench, wanted)
        measured_s = time.monotonic() - started
        world = World(bench, evidence, tuple(view.encoder_id for view in views), unnamed)
        facts = [
            f"{len(wanted)} images of {MODEL}, 16 coalitions of {len(SEEDS)} seeds each, and {UNNAMED} that"
            f" it drew without a name; index of {len(index.artist_ids)} artists; {platform.machine()}, one"
            " core. Changes are after less before, with 95 % intervals; ✓: better beyond its error.",
        ]
        text = report(world, facts)
    print(f"{measured_s:.0f} s to measure, {time.monotonic() - started:.0f} s in all", file=sys.stderr)
    if args.document:
        before = args.document.read_text(encoding="utf-8").partition(HEADING)[0]
        args.document.write_text(before + text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
