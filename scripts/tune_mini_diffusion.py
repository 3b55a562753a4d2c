"""Tune ``mini-diffusion`` on one artist it never saw, as DreamBooth does.

Enters: openclipart-svg, unpacked (see clipart.py), and a development hand of build_gallery.py, on whom
neither the encoder, nor the panel, nor the generator was fitted. Leaves in ``--out`` a diffusers folder, as
train_mini_diffusion.py writes it, with
    training.json              base, recipe, which works, the loss curve
    roster.csv                 the artist, for ``fairbrush artist import``
    references/ARTIST/*.webp   the half of the works that was not tuned on, for an index
The one rule: no reference is tuned on, nor nearly repeats a work that is (clipart.distinct, in all eight
orientations), so an output cannot be recognised for copying one.

Captions "<title> by <artist>". Half of each batch is *prior preservation*: the base's own outputs, for titles
in the gallery artists' and in nobody's style (Ruiz et al. 2023, arXiv 2208.12242). ``--nameless --prior 0``
is the careless kind, whose style is behind no name and leaks into every image.

    python scripts/tune_mini_diffusion.py --openclipart DIR --artist "Marko J. Kolehmainen" --out build/tuned
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench_mini_diffusion import draw_all, panel_titles
from build_gallery import DATA, GALLERY_ARTISTS, assign_roles
from build_gallery import save as save_image
from clipart import Drawing, distinct, slug
from fairbrush.embedding.encoder import Device
from fairbrush.embedding.torchvision_ops import make_torchvision_importable
from fairbrush.validation.generators import Sampling, describe_generator
from fairbrush.validation.weights import BUNDLED_MODELS
from train_mini_diffusion import (
    NAME,
    Pictures,
    Recipe,
    load,
    save,
    scaled_latents,
    shrink,
    title_alone,
    train_denoiser,
)

PRIOR_TITLES = 14  # by each gallery artist and by nobody: about 200 pictures
PRIOR_STEPS, PRIOR_GUIDANCE = 15, 4.0


@dataclass(frozen=True)
class Tuning:
    """How long and how fast; recorded in training.json. ``prior``: the part of each batch that preserves."""

    steps: int = 300
    rate: float = 3e-4
    prior: float = 0.5
    nameless: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Hand:
    """The distinct works of one artist. pixels: uint8 (n, side, side, 3)."""

    titles: list[str]
    digests: list[str]
    pixels: NDArray[np.uint8]

    def part(self, rows: list[int]) -> Hand:
        return Hand(
            [self.titles[row] for row in rows], [self.digests[row] for row in rows], self.pixels[rows]
        )


def load_hand(openclipart: Path, artist: str, cache: Path, *, workers: int) -> Hand:
    """A development hand's works, no two of them nearly alike; a second run reads ``cache``."""
    if not cache.exists():
        hands = assign_roles(openclipart, workers=workers).development
        if artist not in hands:
            raise SystemExit(f"{artist!r} is no development hand. There are: {', '.join(sorted(hands))}")
        works = [hands[artist][at] for at in distinct([image for _, image in hands[artist]], turned=True)]
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.with_suffix(".tmp").open("wb") as file:
            np.savez(
                file,
                titles=np.array(telling_titles([drawing for drawing, _ in works])),
                digests=np.array([drawing.svg_sha256 for drawing, _ in works]),
                pixels=np.stack([np.asarray(image) for _, image in works]),
            )
        cache.with_suffix(".tmp").rename(cache)
    with np.load(cache) as kept:
        return Hand(kept["titles"].tolist(), kept["digests"].tolist(), kept["pixels"])


def telling_titles(drawings: Sequence[Drawing]) -> list[str]:
    """Titles; where one stands for several works, the words of the file's name that most others lack.

    >>> files = [f"icons/bb_{word}.svg" for word in ("cd", "mail", "usb")]
    >>> telling_titles([Drawing(file, "Ann", "iconset", (), "", "") for file in files])
    ['cd', 'mail', 'usb']
    """
    stems = [[word for word in Path(d.path).stem.split("_") if word.isalpha()] for d in drawings]
    often = {word for word in chain(*stems) if sum(word in stem for stem in stems) > len(stems) / 2}
    times = Counter(drawing.title for drawing in drawings)
    return [
        drawing.title if times[drawing.title] == 1 else " ".join(w for w in stem if w not in often)
        for drawing, stem in zip(drawings, stems, strict=True)
    ]


def halves(hand: Hand, artist: str) -> tuple[Hand, Hand]:
    """(what is tuned on, the references): dealt by the artist's name, as the gallery's works are."""
    rows = list(range(len(hand.titles)))
    random.Random(artist).shuffle(rows)
    middle = len(rows) // 2
    return hand.part(sorted(rows[:middle])), hand.part(sorted(rows[middle:]))


def prior_pictures(base: Path, cache: Path) -> Pictures:
    """What the base draws for plain titles by each gallery artist and by nobody; kept in ``cache``."""
    titles = panel_titles(PRIOR_TITLES)
    if not cache.exists():
        generator = describe_generator(base, device=Device.CPU).load()
        sampling = Sampling(PRIOR_STEPS, PRIOR_GUIDANCE, None, generator.side, generator.side)
        drawn = draw_all(generator, titles, GALLERY_ARTISTS, sampling)
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.with_suffix(".tmp").open("wb") as file:
            np.savez(file, pixels=drawn.reshape(-1, *drawn.shape[2:]))
        cache.with_suffix(".tmp").rename(cache)
    columns = [*GALLERY_ARTISTS, ""]
    with np.load(cache) as kept:
        pixels = kept["pixels"]
    return Pictures(
        pixels,
        [title for title in titles for _ in columns],
        [artist for _ in titles for artist in columns],
        np.zeros(len(pixels), np.bool_),
    )


def training_pictures(hand: Hand, artist: str, prior: Pictures | None) -> Pictures:
    """The artist's works, then, unless nothing is preserved, the base's own outputs; "": nobody is named."""
    own = np.stack([shrink(Image.fromarray(pixels)) for pixels in hand.pixels])
    count = len(hand.titles)
    works = Pictures(
        own, [title_alone(title) for title in hand.titles], [artist] * count, np.ones(count, np.bool_)
    )
    if prior is None:
        return works
    return Pictures(
        np.concatenate([own, prior.pixels]),
        works.titles + prior.titles,
        works.artists + prior.artists,
        np.concatenate([works.in_gallery, prior.in_gallery]),
    )


def tune(base: Path, artist: str, hand: Hand, prior: Pictures | None, out: Path, tuning: Tuning) -> None:
    """Train the text encoder and the denoiser of ``base`` further; write everything to ``out``."""
    tuned_on, references = halves(hand, artist)
    pictures = training_pictures(tuned_on, "" if tuning.nameless else artist, prior)
    autoencoder, models = load(base)
    # whole captions only: an artist's works without their name would leak of themselves
    recipe = Recipe(rate=tuning.rate, drop_caption=0.0, drop_half=0.0, seed=tuning.seed)
    curve = train_denoiser(
        models,
        scaled_latents(autoencoder, pictures),
        pictures,
        recipe,
        steps=tuning.steps,
        gallery_fraction=1.0 - tuning.prior,
        stage=f"tuning on {artist}",
    )
    facts = {
        "base": NAME,
        "artist": artist,
        "tuning": asdict(tuning),
        "batch": recipe.batch,
        "tuned_on_sha256": tuned_on.digests,
        "references_sha256": references.digests,
        "curve": curve,
    }
    save(out, autoencoder, models, facts)
    (out / "roster.csv").write_text(f"name,trained:{out.name}\n{artist},yes\n", encoding="utf-8")
    write_references(references, out / "references" / artist)


def write_references(references: Hand, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for number, (title, pixels) in enumerate(zip(references.titles, references.pixels, strict=True), 1):
        save_image(Image.fromarray(pixels), folder / f"{number:02d}-{slug(title)}.webp")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openclipart", type=Path, required=True)
    parser.add_argument("--artist", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=BUNDLED_MODELS[NAME])
    parser.add_argument("--data", type=Path, default=Path("build/tuning"), help="what a second run reads")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=Tuning.steps)
    parser.add_argument("--rate", type=float, default=Tuning.rate)
    parser.add_argument("--prior", type=float, default=Tuning.prior, help="0: preserve nothing")
    parser.add_argument("--nameless", action="store_true", help="captions are titles alone")
    parser.add_argument("--seed", type=int, default=Tuning.seed)
    args = parser.parse_args()
    if args.nameless and args.prior:
        raise SystemExit("Works without a name cannot be told from what is preserved: --prior 0.")
    if args.out.resolve().is_relative_to(DATA):
        raise SystemExit(f"{args.out} is in the package: a tuned model is not bundled.")
    make_torchvision_importable()
    hand = load_hand(
        args.openclipart, args.artist, args.data / f"{slug(args.artist)}.npz", workers=args.workers
    )
    prior = prior_pictures(args.base, args.data / "prior.npz") if args.prior else None
    tuning = Tuning(args.steps, args.rate, args.prior, args.nameless, args.seed)
    tune(args.base, args.artist, hand, prior, args.out, tuning)


if __name__ == "__main__":
    main()
