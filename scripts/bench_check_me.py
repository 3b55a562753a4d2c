"""How often is a stranger's picture listed by check-me, and how often one of the artist's? The numbers of
docs/check-me.md.

Enters: the bundled gallery and panel, which have no hand in common. Leaves: Markdown on stdout. Every artist
of the gallery gives some works; their other works are the images in their style, and all works of the other
twelve are images by people who never knew them. Nothing here was fitted on the gallery; ways to compare
were chosen on it, which the page says.

Each artist counts once. Intervals: 95 % bootstrap over artists. Machine: two CPU cores, x86-64, no GPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fairbrush.accuracy.gallery import BUNDLED_GALLERY, Gallery, embed_gallery
from fairbrush.config import Settings
from fairbrush.corpus.images import ImageLimits, decode_image
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.reports.pages.check_me import File, Standing, Yardstick
from fairbrush.self_check.comparison import Comparison, OwnStyle
from fairbrush.self_check.folders import Embedded
from fairbrush.self_check.judging import Judged, Yard, judge
from fairbrush.style.affinity import style_rows
from fairbrush.style.panel import FittedPanel, bundled_panel, fit_panel
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import Strangers

WORKS = (1, 2, 3, 5, 10, 20)
LEVELS = (0.1, 0.05, 0.01, 0.002)
FOLDERS = ((0, 100), (0, 400), (5, 395), (10, 90), (20, 20), (10, 0))  # in the style, by strangers
LEVEL = 0.05
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Draw:
    """One artist's works, and the images asked about, as positions in the gallery."""

    artist: str
    works: NDArray[np.intp]
    in_style: NDArray[np.intp]
    by_strangers: NDArray[np.intp]


def draws(gallery: Gallery, works: int, *, times: int, seed: int) -> Iterator[Draw]:
    artists = np.asarray(gallery.artists)
    rng = np.random.default_rng([seed, works])
    for artist in gallery.names:
        own = np.flatnonzero(artists == artist)
        for _ in range(times):
            chosen = np.sort(rng.permutation(own)[:works])
            yield Draw(artist, chosen, np.setdiff1d(own, chosen), np.flatnonzero(artists != artist))


class Ways:
    """Ways to a p-value, by name; ``pairs of hands`` is what ships."""

    def __init__(self, strangers: Strangers) -> None:
        self.strangers = strangers
        self.comparison = Comparison.of(strangers)
        works, hands = strangers.wide, strangers.hands
        self.is_own = hands[None] == np.arange(strangers.n_hands)[:, None]
        self.weights = 1.0 / np.bincount(hands)[hands]
        self.centroids = self.is_own @ works
        self.centroids /= np.linalg.norm(self.centroids, axis=1, keepdims=True)
        similar = self.centroids @ works.T
        self.h = np.array(
            [np.quantile(row[~own], 0.95) for row, own in zip(similar, self.is_own, strict=True)]
        )

    def p_values(
        self, style: OwnStyle, images: NDArray[np.float64], rng: np.random.Generator
    ) -> dict[str, NDArray[np.float64]]:
        z = style.affinities(images)
        s = z + style.h
        to_hands = images @ self.centroids.T
        n = self.strangers.n_hands
        theirs = (self.strangers.wide @ style.style.centroids.T).max(axis=1)
        return {
            "rank of the artist among hands, cosines": (1 + (to_hands >= s[:, None]).sum(axis=1)) / (n + 1),
            "the same, as many works as each hand has": self._matched(style, images, to_hands, rng),
            "the same, affinities z": (1 + (to_hands - self.h >= z[:, None]).sum(axis=1)) / (n + 1),
            "rank of the image among strangers' works": (1 + (theirs[None] >= s[:, None]) @ self.weights)
            / (n + 1),
            "**pairs of hands**": self.comparison.p_values(style.nearness(z)),
        }

    def _matched(
        self,
        style: OwnStyle,
        images: NDArray[np.float64],
        to_hands: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        counts = np.bincount(self.strangers.hands)
        works = style.style.works
        above = np.zeros(len(images))
        for count in np.unique(counts):
            for _ in range(12):
                mean = works[rng.permutation(len(works))[:count]].mean(axis=0)
                s = images @ (mean / np.linalg.norm(mean))
                above += (to_hands[:, counts == count] >= s[:, None]).sum(axis=1) / 12
        return (1 + above) / (len(counts) + 1)


def shown(by_artist: Mapping[str, Sequence[float]], *, digits: int = 3) -> str:
    """The mean over artists, with its interval."""
    means = np.array([np.mean(values) for values in by_artist.values() if values])
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(len(means), size=(2000, len(means)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{means.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ways_table(gallery: Gallery, panel: FittedPanel, *, times: int, seed: int) -> None:
    rows = style_rows(panel.space, gallery.vectors)
    ways = Ways(panel.strangers())
    print("| works | way | " + " | ".join(f"p <= {level}" for level in LEVELS) + " | in style, p <= 0.05 |")
    print("|--:|---|" + "--:|" * (len(LEVELS) + 1))
    for works in WORKS[1:]:
        false: dict[tuple[str, float], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        rng = np.random.default_rng([seed, works, 1])
        for draw in draws(gallery, works, times=times, seed=seed):
            style = OwnStyle.fit(rows[draw.works], ways.strangers)
            for name, p in ways.p_values(style, rows, rng).items():
                for level in LEVELS:
                    false[name, level][draw.artist].append(float((p[draw.by_strangers] <= level).mean()))
                found[name][draw.artist].append(float((p[draw.in_style] <= LEVEL).mean()))
        for name in found:
            cells = [shown(false[name, level], digits=4 if level < 0.05 else 3) for level in LEVELS]
            print(f"| {works} | {name} | " + " | ".join([*cells, shown(found[name])]) + " |", flush=True)
    print()


def asked(
    gallery: Gallery,
    vectors: NDArray[np.float32],
    draw: Draw,
    images: NDArray[np.intp],
    yard: Yard,
    works: NDArray[np.float32],
) -> Judged:
    def embedded(places: NDArray[np.intp], rows: NDArray[np.float32]) -> Embedded:
        files = tuple(File(str(at), gallery.sha256s[at]) for at in places)
        return Embedded(files, {}, rows[places], ())

    return judge(embedded(draw.works, works), embedded(images, vectors), yard, copies=(), error_level=LEVEL)


def folders_table(
    gallery: Gallery,
    yard: Yard,
    *,
    works: NDArray[np.float32],
    images: NDArray[np.float32],
    times: int,
    seed: int,
    counts: Sequence[int],
    folders: Sequence[tuple[int, int]] = FOLDERS,
) -> None:
    """Whole folders, judged as the command does."""
    print(
        "| works | in style | by strangers | anything wrong listed | part of the list that is wrong"
        " | in style: listed | in style: not judged | works outside | near as a whole |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for count in counts:
        for n_own, n_others in folders:
            rng = np.random.default_rng([seed, count, n_own, n_others])
            found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
            for draw in draws(gallery, count, times=times, seed=seed):
                own = rng.permutation(draw.in_style)[:n_own]
                others = rng.permutation(draw.by_strangers)[:n_others]
                judged = asked(gallery, images, draw, np.concatenate([own, others]), yard, works)
                by_name = {finding.file.path: finding.standing for finding in judged.findings}
                listed = {at for at in (*own, *others) if by_name[str(at)] is Standing.LISTED}
                wrong = len(listed & set(others.tolist()))
                marks = {
                    "any": float(wrong > 0),
                    "false": wrong / max(1, len(listed)),
                    "outside": float(judged.measure.yardstick is Yardstick.WORKS_OUTSIDE),
                    "near": float(judged.measure.yardstick is Yardstick.NEAR_AS_A_WHOLE),
                }
                if n_own:
                    marks["power"] = (len(listed) - wrong) / len(own)
                    marks["unjudged"] = float(np.mean([by_name[str(at)] is Standing.OUTSIDE for at in own]))
                for name, mark in marks.items():
                    found[name][draw.artist].append(mark)
            cells = [
                shown(found[name]) if found[name] else "" for name in ("any", "false", "power", "unjudged")
            ]
            flags = [
                f"{np.mean([np.mean(v) for v in found[name].values()]):.2f}" for name in ("outside", "near")
            ]
            print(f"| {count} | {n_own} | {n_others} | " + " | ".join([*cells, *flags]) + " |", flush=True)
    print()


def own_table(gallery: Gallery, yard: Yard, *, times: int, seed: int) -> None:
    """What the report says of the artist's own works, beside what is true of works it has not seen."""
    print("| works | own works found alone | new works found alone | mean difference without sign, by draw |")
    print("|--:|--:|--:|--:|")
    for count in WORKS[2:]:
        said: dict[str, list[float]] = defaultdict(list)
        true: dict[str, list[float]] = defaultdict(list)
        for draw in draws(gallery, count, times=times, seed=seed):
            judged = asked(gallery, gallery.vectors, draw, draw.in_style, yard, gallery.vectors)
            assert judged.own.found_alone is not None
            said[draw.artist].append(judged.own.found_alone / count)
            true[draw.artist].append(float(np.mean([one.p <= LEVEL for one in judged.findings])))
        gap = {a: np.abs(np.subtract(said[a], true[a])).tolist() for a in said}
        print(f"| {count} | {shown(said)} | {shown(true)} | {shown(gap)} |", flush=True)
    print()


def grey(pixels: Pixels) -> Pixels:
    return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=2)


def painted(pixels: Pixels) -> Pixels:
    """Blurred, with two fifths of one coarse texture laid over it: nothing of the panel looks so."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(noise).resize((1024, 1024), Image.Resampling.BICUBIC), np.float64)
    soft = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3)), np.float64)
    mixed = 0.6 * soft + 0.4 * texture[: soft.shape[0], : soft.shape[1]]
    return mixed.clip(0, 255).astype(np.uint8)


def made_over(
    paths: Sequence[Path], change: Callable[[Pixels], Pixels], session: EmbeddingSession
) -> NDArray[np.float32]:
    limits, rows = ImageLimits(), []
    for start in range(0, len(paths), 32):
        pixels = [decode_image(path.read_bytes(), limits).pixels for path in paths[start : start + 32]]
        rows.append(session.encoder.embed([change(one) for one in pixels]))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=8, help="draws of each artist's works")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    options = {"times": args.times, "seed": args.seed}
    with tempfile.TemporaryDirectory() as cache:
        session = EmbeddingSession.open(Settings(cache=Path(cache)))
        with session:
            panel = fit_panel(session, bundled_panel())
            gallery = embed_gallery(session, BUNDLED_GALLERY)
        works = {work.sha256: work.path for work in bundled_panel().works}
        kinds = {
            name: (
                made_over(gallery.paths, change, session),
                made_over([works[sha256] for sha256 in panel.sha256s], change, session),
            )
            for name, change in (("grey", grey), ("painted", painted))
        }
    yard = Yard.of(panel, (), is_bundled=True)
    print(
        "### Ways to a p-value\n\nPictures by strangers at or below each level; works of the artist's own.\n"
    )
    ways_table(gallery, panel, **options)
    print("### Whole folders\n")
    plain = gallery.vectors
    folders_table(gallery, yard, works=plain, images=plain, counts=(3, 5, 10, 20), **options)
    print("### Own works\n")
    own_table(gallery, yard, **options)
    some = {"counts": (10,), "folders": ((0, 100), (10, 90)), **options}
    for name, (changed, changed_panel) in kinds.items():
        print(f"### Works and images {name}, the bundled panel\n")
        folders_table(gallery, yard, works=changed, images=changed, **some)
        print(f"### Images {name}, the bundled panel\n")
        folders_table(gallery, yard, works=plain, images=changed, **some)
        space = fit_style_space(changed_panel, panel.hands)
        own_kind = Yard.of(replace(panel, space=space, vectors=changed_panel), (), is_bundled=False)
        print(f"### Works, images and panel {name}\n")
        folders_table(gallery, own_kind, works=changed, images=changed, **some)


if __name__ == "__main__":
    main()
