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
from fairbrush.corpus.likeness import SIDE
from fairbrush.embedding.facets import GREY, LEVELS, WHOLE, Views
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.reports.pages.check_me import File, Standing, Yardstick
from fairbrush.self_check.comparison import Comparison, OwnStyle
from fairbrush.self_check.folders import Embedded
from fairbrush.self_check.judging import Judged, SecondLook, Yard, judge
from fairbrush.self_check.second_look import second_view
from fairbrush.style.affinity import style_rows
from fairbrush.style.panel import FittedPanel, bundled_panel, fit_panel
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import Strangers

WORKS = (1, 2, 3, 5, 10, 20)
P_LEVELS = (0.1, 0.05, 0.01, 0.002)
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
    print("| works | way | " + " | ".join(f"p <= {level}" for level in P_LEVELS) + " | in style, p <= 0.05 |")
    print("|--:|---|" + "--:|" * (len(P_LEVELS) + 1))
    for works in WORKS[1:]:
        false: dict[tuple[str, float], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        rng = np.random.default_rng([seed, works, 1])
        for draw in draws(gallery, works, times=times, seed=seed):
            style = OwnStyle.fit(rows[draw.works], ways.strangers)
            for name, p in ways.p_values(style, rows, rng).items():
                for level in P_LEVELS:
                    false[name, level][draw.artist].append(float((p[draw.by_strangers] <= level).mean()))
                found[name][draw.artist].append(float((p[draw.in_style] <= LEVEL).mean()))
        for name in found:
            cells = [shown(false[name, level], digits=4 if level < 0.05 else 3) for level in P_LEVELS]
            print(f"| {works} | {name} | " + " | ".join([*cells, shown(found[name])]) + " |", flush=True)
    print()


@dataclass(frozen=True, eq=False)
class Seen:
    """Images as they are and as they are seen again. vectors: raw float32 (n, dim), by the view's name;
    again: how each is to be seen again."""

    vectors: dict[str, NDArray[np.float32]]
    again: list[Views | None]

    def vector_of(self, gallery: Gallery, places: Sequence[int], view: str) -> dict[str, NDArray[np.float32]]:
        return {gallery.sha256s[at]: self.vectors[view][at] for at in places}


def yards_of(panel: FittedPanel, seen: Seen) -> dict[str, Yard]:
    """By the view's name."""
    fitted = {
        name: replace(panel, space=fit_style_space(vectors, panel.hands), vectors=vectors)
        for name, vectors in seen.vectors.items()
    }
    return {name: Yard.of(one, (), is_bundled=False) for name, one in fitted.items()}


def asked(
    gallery: Gallery,
    images: Seen,
    draw: Draw,
    places: NDArray[np.intp],
    yards: Mapping[str, Yard],
    works: Seen,
) -> Judged:
    def embedded(places: NDArray[np.intp], seen: Seen) -> Embedded:
        files = tuple(File(str(at), gallery.sha256s[at]) for at in places)
        return Embedded(files, {}, seen.vectors[WHOLE.name][places], ())

    looks = []
    if any(works.again[at] for at in draw.works):
        for view in (GREY, LEVELS):
            theirs, own = (
                [at for at in some if seen.again[at] is view]
                for some, seen in ((places, images), (draw.works, works))
            )
            looks.append(
                SecondLook(
                    view.name,
                    yards[view.name],
                    works.vector_of(gallery, draw.works.tolist(), view.name),
                    images.vector_of(gallery, theirs, view.name),
                    {gallery.sha256s[at] for at in own},
                )
            )
    known, found = embedded(draw.works, works), embedded(places, images)
    return judge(known, found, yards[WHOLE.name], copies=(), looks=looks, error_level=LEVEL)


def folders_table(
    gallery: Gallery,
    yards: Mapping[str, Yard],
    *,
    works: Seen,
    images: Seen,
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
                judged = asked(gallery, images, draw, np.concatenate([own, others]), yards, works)
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


def own_table(gallery: Gallery, yards: Mapping[str, Yard], seen: Seen, *, times: int, seed: int) -> None:
    """What the report says of the artist's own works, beside what is true of works it has not seen."""
    print("| works | own works found alone | new works found alone | mean difference without sign, by draw |")
    print("|--:|--:|--:|--:|")
    for count in WORKS[2:]:
        said: dict[str, list[float]] = defaultdict(list)
        true: dict[str, list[float]] = defaultdict(list)
        for draw in draws(gallery, count, times=times, seed=seed):
            judged = asked(gallery, seen, draw, draw.in_style, yards, seen)
            assert judged.own.found_alone is not None
            said[draw.artist].append(judged.own.found_alone / count)
            true[draw.artist].append(float(np.mean([one.p <= LEVEL for one in judged.findings])))
        gap = {a: np.abs(np.subtract(said[a], true[a])).tolist() for a in said}
        print(f"| {count} | {shown(said)} | {shown(true)} | {shown(gap)} |", flush=True)
    print()


def grey(pixels: Pixels) -> Pixels:
    return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=2)


def on_paper(pixels: Pixels) -> Pixels:
    """As ink on paper that is not quite white."""
    inked: Pixels = (pixels * np.array([1, 0.95, 0.86])).round().astype(np.uint8)
    return inked


def grey_on_paper(pixels: Pixels) -> Pixels:
    return on_paper(grey(pixels))


def painted(pixels: Pixels) -> Pixels:
    """Blurred, with two fifths of one coarse texture laid over it: nothing of the panel looks so."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(noise).resize((1024, 1024), Image.Resampling.BICUBIC), np.float64)
    soft = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3)), np.float64)
    mixed = 0.6 * soft + 0.4 * texture[: soft.shape[0], : soft.shape[1]]
    return mixed.clip(0, 255).astype(np.uint8)


def seen_as(paths: Sequence[Path], change: Callable[[Pixels], Pixels], session: EmbeddingSession) -> Seen:
    limits = ImageLimits()
    rows: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    again: list[Views | None] = []
    for start in range(0, len(paths), 32):
        pixels = [
            change(decode_image(path.read_bytes(), limits).pixels) for path in paths[start : start + 32]
        ]
        for view in (WHOLE, GREY, LEVELS):
            rows[view.name].append(session.encoder.embed([view.cut(one)[0] for one in pixels]))
        small = [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX) for one in pixels]
        again += [second_view(np.asarray(one)) for one in small]
    return Seen({name: np.concatenate(one) for name, one in rows.items()}, again)


KINDS: dict[str, Callable[[Pixels], Pixels]] = {
    "grey": grey,
    "grey on paper": grey_on_paper,
    "on paper": on_paper,
    "painted": painted,
}
TABLES = ("ways", "folders", "own", *KINDS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=8, help="draws of each artist's works")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", choices=TABLES, action="append", help="only this one; several are allowed")
    args = parser.parse_args()
    options = {"times": args.times, "seed": args.seed}
    tables = args.table or TABLES
    with tempfile.TemporaryDirectory() as cache:
        session = EmbeddingSession.open(Settings(cache=Path(cache)))
        with session:
            panel = fit_panel(session, bundled_panel())
            gallery = embed_gallery(session, BUNDLED_GALLERY)
        at = {work.sha256: work.path for work in bundled_panel().works}
        panel_paths = [at[sha256] for sha256 in panel.sha256s]
        plain, plain_panel = (
            seen_as(paths, lambda one: one, session) for paths in (gallery.paths, panel_paths)
        )
        kinds = {
            name: tuple(seen_as(paths, KINDS[name], session) for paths in (gallery.paths, panel_paths))
            for name in tables
            if name in KINDS
        }
    yards = yards_of(panel, plain_panel)
    if "ways" in tables:
        print("### Ways to a p-value\n\nPictures by strangers at or below each level; the artist's works.\n")
        ways_table(gallery, panel, **options)
    if "folders" in tables:
        print("### Whole folders\n")
        folders_table(gallery, yards, works=plain, images=plain, counts=(3, 5, 10, 20), **options)
    if "own" in tables:
        print("### Own works\n")
        own_table(gallery, yards, plain, **options)
    some = {"counts": (10,), "folders": ((0, 100), (10, 90)), **options}
    for name, (changed, changed_panel) in kinds.items():
        print(f"### Works and images {name}, the bundled panel\n")
        folders_table(gallery, yards, works=changed, images=changed, **some)
        print(f"### Images {name}, the bundled panel\n")
        folders_table(gallery, yards, works=plain, images=changed, **some)
        print(f"### Works, images and panel {name}\n")
        own_kind = yards_of(panel, changed_panel)
        folders_table(gallery, own_kind, works=changed, images=changed, **some)


if __name__ == "__main__":
    main()
