"""How well does an encoder tell hands apart? The figures of docs/mini.md, with their ablation.

Enters: the bundled gallery and panel; optionally the training data, for works of seen hands.
Leaves: a Markdown report on stdout and, with ``--json``, every number.

Each artist's works are split in half at random, references and queries, ``--splits`` times. Nearest
centroid and nearest work: the fraction of queries whose answer is right; mAP over references ranked by
similarity; all averaged within artists first, so that each artist counts once. Intervals: 95 % bootstrap
over artists, the unit that would differ in another gallery; differences are paired by artist.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from fairbrush.corpus.images import ImageLimits, decode_image, decoder_id
from fairbrush.embedding.encoder import JoinedEncoder, load_encoder, unit_rows
from fairbrush.embedding.onnx_tower import OnnxTower
from fairbrush.embedding.statistics import STATISTICS
from fairbrush.style.space import fit_style_space

DATA = Path(__file__).parents[1] / "src/fairbrush/data"
METRICS = ("nearest centroid", "nearest work", "mAP")
PARTS = ("early", *STATISTICS)


@dataclass(frozen=True, eq=False)
class Works:
    """pixels: one uint8 (height, width, 3) a work; hands: whose it is."""

    pixels: list[NDArray[np.uint8]]
    hands: list[str]


def bundled_works(part: str) -> Works:
    manifest = json.loads((DATA / part / "manifest.json").read_text())
    limits = ImageLimits()
    entries = manifest["works"]
    pixels = [decode_image((DATA / part / entry["file"]).read_bytes(), limits).pixels for entry in entries]
    return Works(pixels, [entry["artist"] for entry in entries])


def seen_hands(data: Path, *, hands: int) -> Works:
    """Works that were held out of training, by the openclipart artists and ``hands`` icon hands."""
    from train_mini_clip import load_training_set

    training = load_training_set(Path(), Path(), data, workers=1)
    artists = sorted({training.hands[i] for i in np.flatnonzero(training.held_out & ~training.is_icon)})
    icons = sorted({training.hands[i] for i in np.flatnonzero(training.held_out & training.is_icon)})
    chosen = {*artists, *np.random.default_rng(0).choice(icons, min(hands, len(icons)), replace=False)}
    rows = [i for i in np.flatnonzero(training.held_out) if training.hands[i] in chosen]
    return Works([training.pixels[i] for i in rows], [training.hands[i] for i in rows])


def random_vit(works: Works) -> NDArray[np.float32]:
    """The embedding of an untrained ViT of 3 M parameters at 96 px."""
    from fairbrush.embedding.torchvision_ops import make_torchvision_importable

    make_torchvision_importable()
    import torch
    from open_clip.model import CLIP

    torch.manual_seed(0)
    text = {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    vision = {"image_size": 96, "patch_size": 16, "width": 192, "layers": 6, "head_width": 64}
    model = CLIP(256, vision, text).eval()
    preprocess = OnnxTower(DATA / "mini").preprocess
    batch = torch.from_numpy(np.stack([preprocess(pixels) for pixels in works.pixels]))
    with torch.inference_mode():
        return np.concatenate([model.encode_image(chunk).numpy() for chunk in batch.split(64)])


def blocks_of_mini(works: Works) -> dict[str, NDArray[np.float32]]:
    """The CLIP vector and every part of ``mini``, each with unit rows."""
    limits = ImageLimits()
    tower = OnnxTower(DATA / "mini", threads=1)
    encoder = JoinedEncoder(tower, PARTS, decoder_id=decoder_id(limits))
    chunks = [works.pixels[i : i + 64] for i in range(0, len(works.pixels), 64)]
    vectors = np.concatenate([encoder.embed(chunk) for chunk in chunks])
    ends = np.cumsum([tower.embed_dim, tower.early_dim, *(part.dim for part in STATISTICS.values())])
    return {
        name: unit_rows(block)
        for name, block in zip(("clip", *PARTS), np.split(vectors, ends[:-1], axis=1), strict=True)
    }


def measure(vectors: NDArray[np.float64], hands: Sequence[str], *, splits: int) -> NDArray[np.float64]:
    """float64 (artists, 3): each artist's METRICS, averaged over random halves. vectors: unit rows."""
    artists = sorted(set(hands))
    label = np.array([artists.index(hand) for hand in hands])
    rng = np.random.default_rng(0)
    total = np.zeros((len(artists), len(METRICS)))
    for _ in range(splits):
        is_reference = np.zeros(len(label), bool)
        for artist in range(len(artists)):
            works = rng.permutation(np.flatnonzero(label == artist))
            is_reference[works[: len(works) // 2]] = True
        references, queries = vectors[is_reference], vectors[~is_reference]
        reference_label, query_label = label[is_reference], label[~is_reference]
        members = [references[reference_label == artist].mean(axis=0) for artist in range(len(artists))]
        centroids = np.stack([member / max(np.linalg.norm(member), 1e-12) for member in members])
        centroid_hit = (queries @ centroids.T).argmax(axis=1) == query_label
        order = np.argsort(-(queries @ references.T), axis=1, kind="stable")
        relevant = reference_label[order] == query_label[:, None]
        ranks = np.arange(1, relevant.shape[1] + 1)
        precision = np.cumsum(relevant, axis=1) / ranks
        average_precision = (precision * relevant).sum(axis=1) / relevant.sum(axis=1)
        for artist in range(len(artists)):
            own = query_label == artist
            total[artist] += [
                centroid_hit[own].mean(),
                relevant[own, 0].mean(),
                average_precision[own].mean(),
            ]
    return total / splits


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over artists and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    return float(values.mean()), *(float(q) for q in np.quantile(means, [0.025, 0.975]))


def show(found: tuple[float, float, float], *, sign: bool = False) -> str:
    number: Callable[[float], str] = (lambda x: f"{x:+.3f}") if sign else (lambda x: f"{x:.3f}")
    return f"{number(found[0])} [{number(found[1])}, {number(found[2])}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--training-data", type=Path, help="train_mini_clip.py's --data: adds the seen hands")
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    panel = bundled_works("panel")
    sets = {"artists never seen (the gallery)": bundled_works("gallery")}
    if args.training_data:
        sets = {"unseen works of seen hands": seen_hands(args.training_data, hands=40), **sets}
    panel_blocks = {**blocks_of_mini(panel), "random ViT": random_vit(panel)}
    spec = load_encoder("mini", decoder_id=decoder_id(ImageLimits())).encoder_id
    default = tuple(spec.partition("#")[0].split("+")[1:])
    mixes: dict[str, tuple[str, ...]] = {
        "mini": ("clip", *default),
        "mini:clip": ("clip",),
        "colour histogram": ("colour",),
        "random ViT": ("random ViT",),
        **{f"{part} alone": (part,) for part in PARTS if part != "colour"},
        "statistics without CLIP": tuple(STATISTICS),
        "clip+colour": ("clip", "colour"),
        "clip+early": ("clip", "early"),
        "clip+early+colour": ("clip", "early", "colour"),
        "clip+colour+edges+texture": ("clip", *STATISTICS),
        "early+colour+edges+texture": PARTS,
    }
    cores = f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    print(f"{spec}, {args.splits} random halves, {platform.machine()}, {cores}\n")
    report: dict[str, object] = {"encoder": spec, "splits": args.splits}
    for title, works in sets.items():
        blocks = {**blocks_of_mini(works), "random ViT": random_vit(works)}
        scores = {}
        for name, parts in mixes.items():
            joined = unit_rows(np.concatenate([blocks[part] for part in parts], axis=1))
            background = unit_rows(np.concatenate([panel_blocks[part] for part in parts], axis=1))
            space = fit_style_space(background, panel.hands)
            scores[name, "raw"] = measure(joined.astype(np.float64), works.hands, splits=args.splits)
            scores[name, "style space"] = measure(space.apply(joined), works.hands, splits=args.splits)
        report[title] = print_report(title, works, scores)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def print_report(
    title: str, works: Works, scores: dict[tuple[str, str], NDArray[np.float64]]
) -> dict[str, object]:
    artists = len(set(works.hands))
    print(f"## {title[0].upper() + title[1:]}: {artists} hands, {len(works.hands)} works\n")
    print("| encoder | space | " + " | ".join(METRICS) + " |\n|---|---|" + "--:|" * len(METRICS))
    for (name, space), values in scores.items():
        cells = " | ".join(show(interval(values[:, column])) for column in range(len(METRICS)))
        print(f"| {name} | {space} | {cells} |")
    best = max(("raw", "style space"), key=lambda space: scores["colour histogram", space][:, 0].mean())
    gain = scores["mini", "style space"] - scores["colour histogram", best]
    print(f"\n`mini` in its style space minus the colour histogram ({best}, its better one):")
    for column, metric in enumerate(METRICS):
        print(f"- {metric}: {show(interval(gain[:, column]), sign=True)}")
    print()
    return {
        "hands": artists,
        "works": len(works.hands),
        "scores": {
            f"{n}, {s}": [interval(v[:, c]) for c in range(len(METRICS))] for (n, s), v in scores.items()
        },
        "gain over histogram": [interval(gain[:, column]) for column in range(len(METRICS))],
    }


if __name__ == "__main__":
    main()
