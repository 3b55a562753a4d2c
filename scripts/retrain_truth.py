"""What does an artist's absence really change? The miniature generator, retrained without them.

Enters: the first stage and the training data of train_mini_diffusion.py. Leaves in ``--out`` the retrained
generators, and Markdown on stdout. The second stage is trained once as it is (*full*), ``--controls`` times
again with another seed, and once without each of ``--artists``, each with a seed of its own; the first stage
saw no work of theirs. The same prompts are then drawn from the same noise by all of them.

The *effect* of an absence on one image is how much less its style resembles the full generator's when the
artist is absent than when nothing is: ``cos(full, control) - cos(full, without)`` in style space, the mean
over the controls. Without the control the noise of any retraining would read as effect. Fast and regenerated
shares of the same images, among the artists that were removed, are held against it.

    python scripts/retrain_truth.py --base build/mini-diffusion.base --out build/truth \\
        --artists "Alan Horkan" "Andy Fitzsimon" "Jean-Victor Balin" "Juliane Krug"
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_mini_diffusion import panel_titles
from bench_validation import (
    BATCH,
    FAST,
    Bench,
    Measured,
    Wanted,
    disagreement,
    everybody_in,
    shown_rank,
)
from build_gallery_index import IDS, OUT
from fairbrush.accuracy.markdown import shown, table
from fairbrush.accuracy.measures import Resampling
from fairbrush.config import Settings
from fairbrush.embedding.encoder import Device
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.embedding.torchvision_ops import make_torchvision_importable
from fairbrush.index.search import open_index
from fairbrush.style.affinity import style_rows
from fairbrush.validation.generators import Request, Sampling, describe_generator
from fairbrush.validation.regenerate import regenerate
from fairbrush.validation.views import View
from train_mini_diffusion import Pictures, Recipe, read_pictures, train_artists

FULL = "full"


@dataclass(frozen=True)
class Prompt:
    """One image to draw. ``artists``: whom the prompt names."""

    title: str
    artists: tuple[str, ...]
    seed: int

    @property
    def text(self) -> str:
        return f"{self.title} by {' and '.join(self.artists)}"


def retrain(
    base: Path, pictures: Pictures, out: Path, recipe: Recipe, *, artists: Sequence[str], controls: int
) -> None:
    """Train what is not there yet: full, controls, one without each artist."""
    plans: list[tuple[str, tuple[str, ...]]] = [(FULL, ())]
    plans += [(f"control-{number}", ()) for number in range(1, controls + 1)]
    plans += [(f"without-{artist}", (artist,)) for artist in artists]
    # a seed each: with full's own, a generator without an artist would share most of its draws and its noise
    for seed, (name, without) in enumerate(plans, recipe.seed):
        wanted = replace(recipe, seed=seed)
        if not (out / name / "training.json").exists():
            train_artists(base, pictures, out / name, wanted, without=without)
        facts = json.loads((out / name / "training.json").read_text(encoding="utf-8"))
        found = (Recipe(**facts["recipe"]), tuple(facts["without"]))
        if found != (wanted, without):
            raise SystemExit(f"{out / name} was trained otherwise: {found}. Name another --out.")


def prompts_of(artists: Sequence[str], others: Sequence[str], count: int) -> list[Prompt]:
    """``count`` images by each removed artist, each pair of them, and as many by others."""
    named = [(artist,) for artist in artists] + list(itertools.combinations(artists, 2))
    titles = panel_titles(count)
    prompts = [Prompt(title, names, seed) for names in named for seed, title in enumerate(titles)]
    strangers = [others[at % len(others)] for at in range(count)]
    return prompts + [
        Prompt(title, (other,), seed)
        for seed, (title, other) in enumerate(zip(titles, strangers, strict=True))
    ]


def effects(styles: dict[str, NDArray[np.float64]], artists: Sequence[str]) -> NDArray[np.float64]:
    """float64 (n_images, n_artists): what each absence changes beyond what a retraining does.

    styles: of each generator, unit rows (n_images, dim).
    """
    full = styles[FULL]
    kept = np.mean(
        [(full * rows).sum(axis=1) for name, rows in styles.items() if name.startswith("control-")], axis=0
    )
    lost = [(full * styles[f"without-{artist}"]).sum(axis=1) for artist in artists]
    return kept[:, None] - np.stack(lost, axis=1)


def draw_by(folder: Path, prompts: Sequence[Prompt], sampling: Sampling, work: Path) -> list[Path]:
    generator = describe_generator(folder, device=Device.CPU)
    wanted = [Request(prompt.text, prompt.seed) for prompt in prompts]
    return [one.path for one in regenerate(wanted, sampling, generator, folder=work, batch=BATCH)]


def styles_of(view: View, paths: Sequence[Path]) -> NDArray[np.float64]:
    """Unit rows in style space, float64 (n_images, dim)."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    for outcome in view.session.embed(list(dict.fromkeys(paths))):
        assert not outcome.reason, outcome.detail
    stored = view.session.space.get_many(sorted(set(digests)))
    return style_rows(view.space, np.stack([stored[digest][0] for digest in digests]))


def normalised(effect: NDArray[np.float64]) -> NDArray[np.float64] | None:
    positive = np.maximum(effect, 0.0)
    return positive / positive.sum() if positive.sum() > 0 else None


def among(shares: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Shares among the removed artists, from those with everybody else's last."""
    return None if shares is None else normalised(shares[:-1])


def report(
    prompts: Sequence[Prompt],
    artists: Sequence[str],
    effect: NDArray[np.float64],
    found: Sequence[Measured],
) -> str:
    """Effects by what was prompted, then how near the fast and the regenerated shares come to them."""
    rows = []
    groups = list(dict.fromkeys(tuple(a for a in prompt.artists if a in artists) for prompt in prompts))
    for group in groups:
        mine = [
            at for at, one in enumerate(prompts) if tuple(a for a in one.artists if a in artists) == group
        ]
        resampling = Resampling([(prompts[at].title,) for at in mine], seed=0)
        cells = [shown(resampling.estimate(effect[mine, column])) for column in range(len(artists))]
        rows.append([" and ".join(group) or "others", str(len(mine)), *cells])
    effects_table = table(["prompted", "images", *(f"without {artist}" for artist in artists)], rows)
    named = [at for at, one in enumerate(prompts) if set(one.artists) & set(artists)]
    true = [normalised(effect[at]) for at in named]
    sides: list[tuple[str, list[NDArray[np.float64] | None]]] = [
        *((f"fast {name}", [among(found[at].fast[name]) for at in named]) for name in FAST),
        ("regenerated", [found[at].readings[0].split.shares for at in named]),
        ("prompt", [among(found[at].prompted) for at in named]),
        ("all alike", [np.full(len(artists), 1 / len(artists)) for _ in named]),
    ]
    resampling = Resampling([(prompts[at].title,) for at in named], seed=0)
    rows = []
    for name, shares in sides:
        missed = [disagreement(share, truth) for share, truth in zip(shares, true, strict=True)]
        pairs = [
            pair
            for share, truth in zip(shares, true, strict=True)
            if share is not None and truth is not None
            for pair in zip(share.tolist(), truth.tolist(), strict=True)
        ]
        rows.append([name, shown(resampling.estimate(np.array(missed))), shown_rank(pairs)])
    shares_table = table(["shares", "mis-paid against the normalised effects", "rank correlation"], rows)
    return f"{effects_table}\n\n{shares_table}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("build/mini-diffusion-training.npz"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--artists", nargs="+", required=True)
    parser.add_argument("--controls", type=int, default=2)
    parser.add_argument("--artist-steps", type=int, default=Recipe().artist_steps)
    parser.add_argument("--prompts", type=int, default=12, help="of each artist and pair")
    parser.add_argument("--steps", type=int, default=15, help="of drawing")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--train-only", action="store_true")
    args = parser.parse_args()
    make_torchvision_importable()
    pictures = read_pictures(args.data)
    facts = json.loads((args.base / "training.json").read_text(encoding="utf-8"))
    recipe = replace(Recipe(**facts["recipe"]), artist_steps=args.artist_steps)
    retrain(args.base, pictures, args.out, recipe, artists=args.artists, controls=args.controls)
    if args.train_only:
        return
    ids = json.loads((OUT / IDS).read_text(encoding="utf-8"))
    others = sorted(set(ids) - set(args.artists))
    prompts = prompts_of(args.artists, others, args.prompts)
    side = describe_generator(args.out / FULL, device=Device.CPU).side
    sampling = Sampling(steps=args.steps, guidance=args.guidance, scheduler=None, width=side, height=side)
    work = args.out / "images"
    names = [FULL, *(f"control-{n}" for n in range(1, args.controls + 1))]
    names += [f"without-{artist}" for artist in args.artists]
    images = {name: draw_by(args.out / name, prompts, sampling, work) for name in names}
    settings = Settings(encoder="mini", device="cpu", cache=args.out / "embeddings", threads=1)
    index = open_index(OUT)
    with EmbeddingSession.open(settings) as session:
        view = View(session, index.space, is_independent=False)
        styles = {name: styles_of(view, paths) for name, paths in images.items()}
        effect = effects(styles, args.artists)
        full = describe_generator(args.out / FULL, device=Device.CPU)
        bench = Bench(index, everybody_in(ids), full, sampling, (view,), work)
        found = [
            bench.measure(Wanted("", prompt.title, prompt.artists, prompt.seed), image, players=args.artists)
            for prompt, image in zip(prompts, images[FULL], strict=True)
        ]
    kept = [(styles[FULL] * styles[name]).sum(axis=1).mean() for name in names if name.startswith("control")]
    print(
        f"Second stage of {args.artist_steps} steps, {args.controls} controls, {len(prompts)} prompts,"
        f" {args.steps} steps of drawing, guidance {args.guidance:g}. Style of a control's image and the full"
        f" generator's: cosine {np.mean(kept):.3f}.\n"
    )
    print(report(prompts, args.artists, effect, found))


if __name__ == "__main__":
    main()
