"""How facets part composed images of the bundled gallery, beside nearest and blend, and what they cost.

Works and pairs of works of known artists, who are indexed by other works. Prints Markdown tables: mis-paid
share (total variation, unattributed counted) and its difference to nearest's, the same share among credited
images, how many are credited, and how many pay each of their artists a twentieth or more; false credit, each
artist left out of the index. In brackets 95 % intervals over artists. A minute or two on one core.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fairbrush.accuracy.gallery import BUNDLED_GALLERY, Gallery, embed_gallery, gallery_background
from fairbrush.accuracy.measures import Estimate, Resampling, score_split
from fairbrush.accuracy.methods import Background, Fairbrush, Shares
from fairbrush.accuracy.mixtures import SIDE, blended, side_by_side, squared
from fairbrush.config import Settings
from fairbrush.corpus.images import decode_image, image_limits
from fairbrush.domain import Value
from fairbrush.embedding.encoder import Encoder
from fairbrush.embedding.facets import FACETS, WHOLE
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.style.panel import bundled_panel

VALUES = (Value.NEAREST, Value.BLEND, Value.FACETS)
WEIGHTS = ((0.5, 0.5), (0.7, 0.3))
SEED = 0
PAID = 0.05  # of the style; less is dust
TIMED = 64


@dataclass(frozen=True)
class Asked:
    """views: raw float32 (n, n_facets, dim). true: parts of the style by artist."""

    views: NDArray[np.float32]
    kinds: NDArray[np.str_]
    true: list[dict[str, float]]

    @property
    def clusters(self) -> list[tuple[str, ...]]:
        return [tuple(sorted(parts)) for parts in self.true]


def insets(rng: np.random.Generator) -> Callable[[Sequence[Image.Image], Sequence[float]], Image.Image]:
    """The second work somewhere over the first, as large as its weight."""

    def inset(works: Sequence[Image.Image], weights: Sequence[float]) -> Image.Image:
        canvas, side = works[0].copy(), round(SIDE * weights[1] ** 0.5)
        left, top = rng.integers(0, SIDE - side, 2, endpoint=True).tolist()
        canvas.paste(works[1].resize((side, side)), (left, top))
        return canvas

    return inset


def images(gallery: Gallery, settings: Settings) -> Iterator[tuple[str, dict[str, float], Image.Image]]:
    """Each query alone; each ordered pair of artists, a work each, put together in every way."""
    assert gallery.is_query is not None
    limits, rng = image_limits(settings), np.random.default_rng(SEED)
    works: dict[str, list[Image.Image]] = {name: [] for name in gallery.names}
    for position in np.flatnonzero(gallery.is_query).tolist():
        pixels = decode_image(gallery.paths[position].read_bytes(), limits).pixels
        works[gallery.artists[position]].append(squared(pixels))
    for name, own in works.items():
        yield from (("one artist", {name: 1.0}, work) for work in own)
    ways = {"side by side": side_by_side, "inset": insets(rng), "half-transparent": blended}
    for pair in permutations(gallery.names, 2):
        chosen = [works[name][int(rng.integers(len(works[name])))] for name in pair]
        for weights in WEIGHTS:
            for way, put_together in ways.items():
                kind = f"{way} {100 * weights[0]:.0f}/{100 * weights[1]:.0f}"
                yield kind, dict(zip(pair, weights, strict=True)), put_together(chosen, weights)


def embedded(gallery: Gallery, settings: Settings, encoder: Encoder) -> Asked:
    views, kinds, true = [], [], []
    for kind, parts, image in images(gallery, settings):
        views.append(encoder.embed(FACETS.cut(np.asarray(image))))
        kinds.append(kind)
        true.append(parts)
    return Asked(np.stack(views), np.array(kinds), true)


def answers(
    value: Value,
    gallery: Gallery,
    background: Background,
    asked: NDArray[np.float32],
    *,
    scratch: Path,
    without: str = "",
) -> list[Shares]:
    """What one value function pays for raw views float32 (n, n_facets, dim)."""
    assert gallery.is_query is not None
    method = Fairbrush(str(value), {"value": value, "intervals": False}, scratch)
    fitted = method.fit(gallery.indexed(~gallery.is_query, without=[without]), background)
    return fitted.shares(asked if value is Value.FACETS else asked[:, 0])


def text(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def rows(
    value: Value, asked: Asked, paid: Sequence[Shares], base: Sequence[Shares]
) -> Iterator[tuple[str, list[str]]]:
    """A line of the table for each kind of image. base: what nearest pays."""
    scores = [score_split(one.paid, true) for one, true in zip(paid, asked.true, strict=True)]
    of_base = [score_split(one.paid, true).mispaid for one, true in zip(base, asked.true, strict=True)]
    all_paid = [
        all(one.paid.get(name, 0.0) >= PAID for name in true)
        for one, true in zip(paid, asked.true, strict=True)
    ]
    for kind in dict.fromkeys(asked.kinds.tolist()):
        here = np.flatnonzero(asked.kinds == kind).tolist()
        resampling = Resampling([asked.clusters[at] for at in here], seed=SEED)
        mispaid = np.array([scores[at].mispaid for at in here])
        measured = (
            resampling.estimate(mispaid),
            resampling.difference(mispaid, np.array([of_base[at] for at in here])),
            resampling.estimate(np.array([scores[at].mispaid_paid for at in here])),
            resampling.estimate(np.array([scores[at].credits for at in here])),
            resampling.estimate(np.array([float(all_paid[at]) for at in here])),
        )
        yield kind, [str(value), *map(text, measured)]


def false_credit(value: Value, gallery: Gallery, background: Background, asked: Asked, scratch: Path) -> str:
    credited, clusters = [], []
    for name in gallery.names:
        own = [at for at, true in enumerate(asked.true) if true == {name: 1.0}]
        paid = answers(value, gallery, background, asked.views[own], scratch=scratch, without=name)
        credited += [float(bool(one.paid)) for one in paid]
        clusters += [(name,)] * len(own)
    return text(Resampling(clusters, seed=SEED).estimate(np.array(credited)))


def seconds(session: EmbeddingSession, gallery: Gallery) -> dict[str, float]:
    """Seconds an image, never seen before: reading, embedding, storing."""
    taken = {}
    for views in (WHOLE, FACETS):
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(cache=Path(folder), workers=1, threads=1)
            with EmbeddingSession.open(settings) as fresh:
                paths = list(gallery.paths)
                assert len(list(fresh.embed(paths[:1], views=views))) == 1
                started = time.perf_counter()
                assert len(list(fresh.embed(paths[1 : 1 + TIMED], views=views))) == TIMED
                taken[views.name or "whole"] = (time.perf_counter() - started) / TIMED
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache=Path(folder) / "cache", threads=1)
        with EmbeddingSession.open(settings) as session:
            gallery = embed_gallery(session, BUNDLED_GALLERY)
            background = gallery_background(session, bundled_panel(), gallery)
            asked = embedded(gallery, settings, session.encoder)
            scratch = Path(folder) / "indexes"
            paid, timed = {}, {}
            for value in VALUES:
                started = time.perf_counter()
                paid[value] = answers(value, gallery, background, asked.views, scratch=scratch)
                timed[value] = (time.perf_counter() - started) / len(asked.views)
            by_kind: dict[str, list[list[str]]] = {}
            for value in VALUES:
                for kind, row in rows(value, asked, paid[value], paid[Value.NEAREST]):
                    by_kind.setdefault(kind, []).append(row)
            print(f"{len(asked.views)} images, {len(gallery.names)} artists, crops {FACETS.name}\n")
            print("| image | value function | mis-paid | to nearest | if credited | credited | each paid |")
            print("|---|---|--:|--:|--:|--:|--:|")
            for kind, found in by_kind.items():
                for row in found:
                    print(f"| {kind} | {' | '.join(row)} |")
            print("\n| value function | false credit, nominal .05 | playing, ms |\n|---|--:|--:|")
            for value in VALUES:
                realised = false_credit(value, gallery, background, asked, scratch)
                print(f"| {value} | {realised} | {1000 * timed[value]:.2f} |")
            print("\n| embedding an image never seen | ms |\n|---|--:|")
            for name, taken in seconds(session, gallery).items():
                print(f"| {name} | {1000 * taken:.1f} |")


if __name__ == "__main__":
    main()
