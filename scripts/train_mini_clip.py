"""Train ``mini``: a small CLIP that looks at how clip art is drawn, in open_clip's own format.

Enters: openclipart-svg and @iconify/json, unpacked (see clipart.py). Leaves in ``--out``:
    open_clip_config.json, open_clip_model.safetensors (float16)   a ``local-dir:`` checkpoint
    training.json                                                  data, recipe, time, loss curve
The one rule: no drawing by a gallery, panel or development hand is ever seen (build_gallery.assign_roles).

Two losses on each batch of 32 hands x 4 images: CLIP's contrastive loss against the captions
"<title, keywords> by <hand>" (arXiv 2103.00020) and the supervised contrastive loss on the hand
(arXiv 2004.11362). Augmentation keeps style: crops and flips, no colour jitter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One thread by default: a second one on a busy machine slows these small layers down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from build_gallery import assign_roles
from clipart import IconHand, icon_hands, icon_images
from fairbrush.embedding.torchvision_ops import make_torchvision_importable

SIDE = 112  # stored; the tower sees crops of it at IMAGE_SIZE
IMAGE_SIZE = 96
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own
STD = (0.26862954, 0.26130258, 0.27577711)
CONTEXT = 32
HELD_OUT = 24  # works of each larger training hand kept for "unseen works of seen artists"

TEXT = {"context_length": CONTEXT, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
# timm_proj empty: the trunk's own classifier is the projection.
TOWERS: dict[str, dict[str, Any]] = {
    "mnv4s": {"timm_model_name": "mobilenetv4_conv_small"},
    "mnv4s050": {"timm_model_name": "mobilenetv4_conv_small_050"},
    "rn1121w24": {"layers": [1, 1, 2, 1], "width": 24},
    "vit8": {"patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
}


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """pixels: uint8 (n, SIDE, SIDE, 3); captions and hands: one a row; the held-out rows never train."""

    pixels: NDArray[np.uint8]
    captions: list[str]
    hands: list[str]
    held_out: NDArray[np.bool_]
    is_icon: NDArray[np.bool_]


def model_config(tower: str, *, embed_dim: int) -> dict[str, Any]:
    vision: dict[str, Any] = {"image_size": IMAGE_SIZE, **TOWERS[tower]}
    if "timm_model_name" in vision:
        vision |= {"timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": ""}
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": TEXT}


def preprocess_config() -> dict[str, Any]:
    return {
        "size": IMAGE_SIZE,
        "mode": "RGB",
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 255,
    }


def _render_hand(task: tuple[Path, IconHand]) -> list[tuple[str, str, NDArray[np.uint8]]]:
    root, hand = task
    return [(image.hand, image.title, image.pixels) for image in icon_images(root, hand, side=SIDE)]


def load_training_set(openclipart: Path, iconify: Path, cache: Path, *, workers: int) -> TrainingSet:
    """Render everything once; a second run reads ``cache``."""
    if not cache.exists():
        rows: list[tuple[str, str, NDArray[np.uint8]]] = []
        for artist, works in assign_roles(openclipart, workers=workers).training.items():
            for drawing, image in works:
                words = ", ".join([drawing.title, *drawing.keywords[:4]])
                small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                rows.append((artist, words, np.asarray(small)))
        drawings = len(rows)
        tasks = [(iconify, hand) for hand in icon_hands(iconify)]
        with ProcessPoolExecutor(workers) as pool:
            for hand_rows in pool.map(_render_hand, tasks, chunksize=2):
                rows += hand_rows
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache.with_suffix(".tmp.npy"), np.stack([row[2] for row in rows]))
        facts = {"hands": [r[0] for r in rows], "titles": [r[1] for r in rows], "drawings": drawings}
        cache.with_suffix(".json").write_text(json.dumps(facts))
        cache.with_suffix(".tmp.npy").rename(cache)
    facts = json.loads(cache.with_suffix(".json").read_text())
    hands, titles = facts["hands"], facts["titles"]
    held_out = held_out_rows(hands)
    captions = [f"{title} by {hand}" for title, hand in zip(titles, hands, strict=True)]
    is_icon = np.arange(len(hands)) >= facts["drawings"]
    return TrainingSet(np.load(cache), captions, hands, held_out, is_icon)


def held_out_rows(hands: Sequence[str]) -> NDArray[np.bool_]:
    """bool (n,): which works of the larger hands never train. hands: whose each is."""
    held_out = np.zeros(len(hands), bool)
    by_hand: dict[str, list[int]] = defaultdict(list)
    for row, hand in enumerate(hands):
        by_hand[hand].append(row)
    for hand, members in by_hand.items():
        if len(members) >= 4 * HELD_OUT:
            held_out[random.Random(hand).sample(members, HELD_OUT)] = True
    return held_out


class HandSampler:
    """Batches of ``hands`` x ``works``; a third of the hands are openclipart artists, by root of size."""

    def __init__(self, data: TrainingSet, rng: np.random.Generator, *, hands: int, works: int) -> None:
        rows: dict[str, list[int]] = defaultdict(list)
        icon_of: dict[str, bool] = {}
        for row in np.flatnonzero(~data.held_out):
            rows[data.hands[row]].append(int(row))
            icon_of[data.hands[row]] = bool(data.is_icon[row])
        self.names = sorted(rows)
        self.rows = [np.array(rows[name]) for name in self.names]
        icon = np.array([icon_of[name] for name in self.names])
        weight = np.sqrt([len(members) for members in self.rows])
        weight[icon] *= 0.65 / weight[icon].sum()
        weight[~icon] *= 0.35 / weight[~icon].sum()
        self.weight = weight
        self.rng, self.hands, self.works = rng, hands, works

    def batch(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, hand labels), int64 (hands * works,). A hand of few works repeats them, cropped anew."""
        chosen = self.rng.choice(len(self.names), self.hands, replace=False, p=self.weight)
        rows = [
            self.rng.choice(self.rows[h], self.works, replace=len(self.rows[h]) < self.works) for h in chosen
        ]
        return np.concatenate(rows), np.repeat(chosen, self.works)


def augment(pixels: Any, rng: Any, *, least_area: float = 0.5) -> Any:
    """Crop to ``least_area`` or more, mirror, at random. float32 (n, 3, IMAGE_SIZE, IMAGE_SIZE)."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    count = len(pixels)
    images = pixels.permute(0, 3, 1, 2).float().sub_(255 * torch.tensor(MEAN).view(1, 3, 1, 1))
    images.div_(255 * torch.tensor(STD).view(1, 3, 1, 1))
    zoom = torch.empty(count).uniform_(least_area, 1, generator=rng).sqrt_()
    theta = torch.zeros(count, 2, 3)
    mirror = torch.randint(0, 2, (count,), generator=rng) * 2 - 1
    theta[:, 0, 0], theta[:, 1, 1] = zoom * mirror, zoom
    theta[:, 0, 2] = torch.empty(count).uniform_(-1, 1, generator=rng) * (1 - zoom)
    theta[:, 1, 2] = torch.empty(count).uniform_(-1, 1, generator=rng) * (1 - zoom)
    grid = affine_grid(theta, [count, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def supervised_contrastive(embeddings: Any, labels: Any, *, temperature: float) -> Any:
    """Khosla et al. 2020 (arXiv 2004.11362), L_out. embeddings: unit rows (n, dim)."""
    import torch

    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, -1e9)
    log_probability = logits - logits.logsumexp(1, keepdim=True)
    positive = same & ~itself
    return -(log_probability * positive).sum(1).div(positive.sum(1)).mean()


def train(data: TrainingSet, args: argparse.Namespace) -> None:
    make_torchvision_importable()
    import open_clip
    import torch
    from open_clip.model import CLIP

    torch.manual_seed(args.seed)
    config = model_config(args.tower, embed_dim=args.embed_dim)
    model = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    model = model.to(memory_format=torch.channels_last)
    averaged = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)(data.captions)
    pixels = torch.from_numpy(data.pixels)
    sampler = HandSampler(data, np.random.default_rng(args.seed), hands=args.hands, works=4)
    crops = torch.Generator().manual_seed(args.seed)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.steps, pct_start=0.05, div_factor=20, final_div_factor=1e3
    )
    curve: list[dict[str, float]] = []
    started, total = time.monotonic(), np.zeros(3)
    model.train()
    for step in range(1, args.steps + 1):
        rows, hands = sampler.batch()
        images = augment(pixels[torch.from_numpy(rows)], crops)
        seen = model.encode_image(images.contiguous(memory_format=torch.channels_last), normalize=True)
        read = model.encode_text(tokens[torch.from_numpy(rows)], normalize=True)
        logits = model.logit_scale.exp() * seen @ read.T
        target = torch.arange(len(rows))
        cross_entropy = torch.nn.functional.cross_entropy
        clip_loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        hand_loss = supervised_contrastive(seen, torch.from_numpy(hands), temperature=0.1)
        loss = args.clip_weight * clip_loss + hand_loss
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
            keep = min(0.998, step / (step + 100))
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    averaged[name].lerp_(tensor, 1 - keep)
                else:
                    averaged[name].copy_(tensor)
        total += [loss.item(), clip_loss.item(), hand_loss.item()]
        if step % args.report == 0 or step == args.steps:
            mean = total / (step % args.report or args.report)
            total = np.zeros(3)
            elapsed = time.monotonic() - started
            curve.append(
                {"step": step, "loss": mean[0], "clip": mean[1], "hand": mean[2], "elapsed_s": elapsed}
            )
            rate = step * len(rows) / elapsed
            print(
                f"step {step} loss {mean[0]:.3f} clip {mean[1]:.3f} hand {mean[2]:.3f} {rate:.0f} img/s",
                flush=True,
            )
            save(averaged, config, data, curve, args)


def save(
    state: dict[str, Any],
    config: dict[str, Any],
    data: TrainingSet,
    curve: list[dict[str, float]],
    args: argparse.Namespace,
) -> None:
    """Write the averaged weights as an open_clip ``local-dir`` checkpoint."""
    from safetensors.torch import save_file

    args.out.mkdir(parents=True, exist_ok=True)
    half = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in state.items()}
    save_file(half, args.out / "open_clip_model.safetensors", metadata={"format": "pt"})
    full = {"model_cfg": config, "preprocess_cfg": preprocess_config()}
    (args.out / "open_clip_config.json").write_text(json.dumps(full, indent=1) + "\n")
    facts = {
        "recipe": {k: v for k, v in vars(args).items() if not isinstance(v, Path)},
        "images": int((~data.held_out).sum()),
        "images_openclipart": int((~data.held_out & ~data.is_icon).sum()),
        "hands": len(set(data.hands)),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ['OMP_NUM_THREADS']} thread(s)",
        "curve": [{k: round(v, 4) for k, v in point.items()} for point in curve],
    }
    (args.out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openclipart", type=Path, required=True)
    parser.add_argument("--iconify", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, default=Path("build/mini-training.npy"), help="rendered once, kept"
    )
    parser.add_argument("--tower", choices=sorted(TOWERS), default="mnv4s")
    parser.add_argument("--embed-dim", type=int, default=256)
    parser.add_argument("--hands", type=int, default=32, help="hands in a batch, four works each")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--clip-weight", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=int, default=100, help="steps between reports and saves")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    data = load_training_set(args.openclipart, args.iconify, args.data, workers=args.workers)
    train(data, args)


if __name__ == "__main__":
    main()
