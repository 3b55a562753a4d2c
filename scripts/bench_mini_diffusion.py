"""Does the miniature generator draw in the style it is asked for? Its outputs, retrieved by the index.

Enters: a diffusers directory of train_mini_diffusion.py. Leaves: Markdown on stdout, and with ``--sheet`` a
sheet of samples. Every title is asked for in every artist's style and in nobody's, from the same noise, so
that neither title nor noise can give the artist away. The titles are those of panel works, by hands that
are neither in the gallery nor in the training set; the index holds no work that the generator was trained
on. An output is *retrieved* where the prompted artist has the highest affinity of all, above the threshold
or not. The p-value is of a permutation test: the artists' labels are dealt anew within each title, so an
artist whom everything resembles gains nothing.

    python scripts/bench_mini_diffusion.py src/fairbrush/data/mini_diffusion \\
        --sheet docs/mini-diffusion.png --curve docs/mini-diffusion.svg
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from build_gallery import DATA
from build_gallery_index import IDS, OUT, open_session
from fairbrush.accuracy.figure import styled
from fairbrush.embedding.encoder import Device
from fairbrush.index.search import open_index
from fairbrush.validation.generators import Generator, Request, Sampling, describe_generator

BATCH = 32
PERMUTATIONS = 10_000
SHEET_TITLES = 12
MARGIN = 110  # of the sheet, for names


@dataclass(frozen=True, eq=False)
class Outputs:
    """pixels: uint8 (n_titles, n_artists + 1, side, side, 3), the last column in nobody's style.

    found: int (n_titles, n_artists + 1), whom the index finds nearest, a position in ``artists``.
    """

    titles: tuple[str, ...]
    artists: tuple[str, ...]
    pixels: NDArray[np.uint8]
    found: NDArray[np.intp]


def panel_titles(count: int) -> list[str]:
    """Plain titles of panel works, evenly from the sorted list."""
    works = json.loads((DATA / "panel/manifest.json").read_text(encoding="utf-8"))["works"]
    plain = {w["title"] for w in works if w["title"].replace(" ", "").isalpha() and len(w["title"]) < 25}
    titles = sorted(plain)
    assert len(titles) >= count, f"the panel has only {len(titles)} plain titles"
    return [titles[at] for at in np.linspace(0, len(titles) - 1, count).astype(int)]


def draw_all(
    generator: Generator, titles: Sequence[str], artists: Sequence[str], sampling: Sampling
) -> NDArray[np.uint8]:
    """uint8 (n_titles, n_artists + 1, side, side, 3); each title from noise of its own."""
    wanted = [
        Request(prompt=f"{title} by {artist}" if artist else title, seed=seed)
        for seed, title in enumerate(titles)
        for artist in [*artists, ""]
    ]
    parts: list[NDArray[np.uint8]] = []
    for start in range(0, len(wanted), BATCH):
        parts.append(generator.generate(wanted[start : start + BATCH], sampling))
        print(f"{start + len(parts[-1])} of {len(wanted)}", file=sys.stderr)
    pixels = np.concatenate(parts)
    return pixels.reshape(len(titles), len(artists) + 1, *pixels.shape[1:])


def retrieve(pixels: NDArray[np.uint8], artists: Sequence[str]) -> NDArray[np.intp]:
    """int (n_titles, n_columns): the artist of highest affinity, a position in ``artists``."""
    ids = json.loads((OUT / IDS).read_text(encoding="utf-8"))
    position = {ids[artist]["artist_id"]: at for at, artist in enumerate(artists)}
    with tempfile.TemporaryDirectory() as cache, open_session(Path(cache)) as session:
        index = open_index(OUT)
        assert session.encoder.encoder_id == index.encoder_id, "rebuild indexes/gallery first"
        flat = pixels.reshape(-1, *pixels.shape[2:])
        found = [
            position[index.search(vector, k=1).hits[0].artist_id]
            for start in range(0, len(flat), BATCH)
            for vector in session.encoder.embed(list(flat[start : start + BATCH]))
        ]
    return np.array(found, np.intp).reshape(pixels.shape[:2])


def permutation_p(found: NDArray[np.intp], rng: np.random.Generator) -> float:
    """How often labels dealt at random within each title match as well as the prompts do.

    found: int (n_titles, n_artists).
    """
    artists = found.shape[1]
    hits = (found == np.arange(artists)).sum()
    as_good = 0
    for _ in range(PERMUTATIONS):
        dealt = rng.permuted(np.broadcast_to(np.arange(artists), found.shape), axis=1)
        as_good += int((found == dealt).sum() >= hits)
    return (as_good + 1) / (PERMUTATIONS + 1)


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """A 95 % interval of a rate. Wilson 1927, doi:10.1080/01621459.1927.10502953."""
    z = 1.959964
    rate, room = hits / tries, z * z / tries
    centre = (rate + room / 2) / (1 + room)
    half = z / (1 + room) * float(np.sqrt(rate * (1 - rate) / tries + room / (4 * tries)))
    return centre - half, centre + half


def report(outputs: Outputs, rng: np.random.Generator) -> str:
    prompted = outputs.found[:, : len(outputs.artists)]
    hits = prompted == np.arange(len(outputs.artists))
    p = permutation_p(prompted, rng)
    low, high = wilson(int(hits.sum()), hits.size)
    chance = 1 / len(outputs.artists)
    taken = Counter(prompted.ravel().tolist())
    lines = [
        f"{hits.size} outputs, {len(outputs.titles)} titles x {len(outputs.artists)} artists: the prompted"
        f" artist is first in **{hits.mean():.3f}** [{low:.3f}, {high:.3f}]; chance is {chance:.3f},"
        f" p = {p:.4f} (permutation test, {PERMUTATIONS} deals).",
        "",
        "| artist | retrieved when prompted | 95 % interval | of all outputs, retrieved as | unprompted |",
        "|---|--:|---|--:|--:|",
    ]
    alone = outputs.found[:, -1]
    for at, artist in enumerate(outputs.artists):
        low, high = wilson(int(hits[:, at].sum()), len(hits))
        lines.append(
            f"| {artist} | {hits[:, at].mean():.2f} | [{low:.2f}, {high:.2f}] | {taken[at] / hits.size:.2f} |"
            f" {(alone == at).mean():.2f} |"
        )
    return "\n".join(lines)


def sheet(outputs: Outputs) -> Image.Image:
    """One row an artist, the last one nobody; one column a title, each from the same noise."""
    side, columns = outputs.pixels.shape[2], min(SHEET_TITLES, len(outputs.titles))
    rows = [*outputs.artists, "(no artist)"]
    page = Image.new("RGB", (MARGIN + columns * (side + 4), 30 + len(rows) * (side + 4)), "white")
    pen = ImageDraw.Draw(page)
    for column, title in enumerate(outputs.titles[:columns]):
        pen.text((MARGIN + column * (side + 4), 2 + 12 * (column % 2)), title[:20], fill="black")
    for row, artist in enumerate(rows):
        pen.text((2, 30 + row * (side + 4) + side // 2 - 6), artist, fill="black")
        for column in range(columns):
            corner = (MARGIN + column * (side + 4), 30 + row * (side + 4))
            page.paste(Image.fromarray(outputs.pixels[column, row]), corner)
    return page


def curve(facts: dict[str, Any]) -> str:
    """The losses of the three trainings over their steps, as SVG."""
    import altair
    import vl_convert

    stages = {"autoencoder": "autoencoder", "first stage": "base", "second stage": "artists"}
    panels = [
        altair.Chart(altair.Data(values=facts[f"{key}_curve"]), title=stage, width=230, height=150)
        .mark_line(color="#2f6f8f")
        .encode(x=altair.X("step:Q"), y=altair.Y("loss:Q").scale(type="log", nice=False))
        for stage, key in stages.items()
    ]
    return vl_convert.vegalite_to_svg(styled(altair.hconcat(*panels)).to_json())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--titles", type=int, default=40)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sheet", type=Path, help="a PNG of samples")
    parser.add_argument("--curve", type=Path, help="an SVG of the losses")
    args = parser.parse_args()
    if args.curve:
        facts = json.loads((args.model / "training.json").read_text(encoding="utf-8"))
        args.curve.write_text(curve(facts), encoding="utf-8")
    generator = describe_generator(args.model, device=Device.CPU).load()
    titles = panel_titles(args.titles)
    artists = sorted(json.loads((OUT / IDS).read_text(encoding="utf-8")))
    sampling = Sampling(
        steps=args.steps, guidance=args.guidance, scheduler=None, width=generator.side, height=generator.side
    )
    pixels = draw_all(generator, titles, artists, sampling)
    outputs = Outputs(tuple(titles), tuple(artists), pixels, retrieve(pixels, artists))
    print(report(outputs, np.random.default_rng(0)))
    if args.sheet:
        sheet(outputs).save(args.sheet, optimize=True)


if __name__ == "__main__":
    main()
