"""Ship a trained checkpoint as the bundled encoder: open_clip folder, ONNX image tower, identity.

Enters: ``--checkpoint DIR`` from train_mini_clip.py. Leaves in ``src/fairbrush/data/mini``:
    open_clip_config.json, open_clip_model.safetensors   the whole CLIP, for open_clip and torch
    image_tower.onnx                                     embedding and early statistics, for ONNX Runtime
    encoder.json                                         what fairbrush reads before it loads anything
    training.json                                        recipe, time, loss curve, and each source's licence
The one rule: torch and ONNX Runtime must agree to 1e-4 or nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx

from clipart import icon_hands, openclipart_drawings
from fairbrush.embedding.encoder import BUNDLED, Device, EncoderSpec
from fairbrush.embedding.onnx_tower import OnnxTower
from fairbrush.embedding.open_clip_tower import OpenClipTower
from fairbrush.embedding.statistics import STATISTICS

CHECKPOINT_FILES = ("open_clip_config.json", "open_clip_model.safetensors")
AGREEMENT = 1e-4


def export(tower: OpenClipTower, file: Path) -> None:
    """Write the tower's forward pass, with batch, as ONNX (batch norms folded into the convolutions)."""
    import torch

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = tower.visual

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return tower.forward(image)

    example = torch.zeros(2, 3, tower.preprocess.height, tower.preprocess.width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Exported().eval(),
            (example,),
            str(file),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["embedding", "early"],
            dynamic_axes={"image": {0: "n"}, "embedding": {0: "n"}, "early": {0: "n"}},
        )
    onnx.checker.check_model(onnx.load(file))


def sources(openclipart: Path, iconify: Path) -> list[dict[str, str]]:
    """Every collection the encoder learned from, with the author and licence its metadata name."""
    artists = {drawing.artist for drawing in openclipart_drawings(openclipart)}
    clip_art = {
        "collection": "openclipart-svg 0.18",
        "author": f"{len(artists)} artists, less those of the gallery, the panel and the development set",
        "licence": "public domain",
    }
    sets = {hand.prefix: hand for hand in icon_hands(iconify)}
    icons = [
        {"collection": f"@iconify/json: {prefix}", "author": hand.author, "licence": hand.licence}
        for prefix, hand in sorted(sets.items())
    ]
    return [clip_art, *icons]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--openclipart", type=Path, required=True, help="what it was trained on")
    parser.add_argument("--iconify", type=Path, required=True, help="what it was trained on")
    parser.add_argument(
        "--parts", nargs="*", default=["early", *STATISTICS], help="what `mini` joins by default"
    )
    parser.add_argument("--out", type=Path, default=BUNDLED)
    args = parser.parse_args()
    spec = EncoderSpec("local-dir", str(args.checkpoint), "", ())
    tower = OpenClipTower.load(spec, device=Device.CPU)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        for name in CHECKPOINT_FILES:
            shutil.copy(args.checkpoint / name, made / name)
        export(tower, made / "image_tower.onnx")
        config = json.loads((made / "open_clip_config.json").read_text())
        facts = {
            "name": "mini",
            "identity": {**tower.identity, "architecture": "mini"},
            "embed_dim": tower.embed_dim,
            "early_dim": tower.early_dim,
            "parts": args.parts,
            "preprocess_cfg": config["preprocess_cfg"],
            "onnx_sha256": hashlib.sha256((made / "image_tower.onnx").read_bytes()).hexdigest(),
        }
        (made / "encoder.json").write_text(json.dumps(facts, indent=1) + "\n")
        training = json.loads((args.checkpoint / "training.json").read_text())
        training["sources"] = sources(args.openclipart, args.iconify)
        (made / "training.json").write_text(json.dumps(training, indent=1, ensure_ascii=False) + "\n")
        height, width = tower.preprocess.height, tower.preprocess.width
        images = np.random.default_rng(0).normal(size=(5, 3, height, width)).astype(np.float32)
        ours, theirs = OnnxTower(made).encode(images), tower.encode(images)
        scale = np.abs(theirs.embedding).max()
        gap = max(
            np.abs(ours.embedding - theirs.embedding).max() / scale, np.abs(ours.early - theirs.early).max()
        )
        if gap > AGREEMENT:
            raise SystemExit(f"ONNX and torch differ by {gap:.1e}: not written.")
        args.out.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            shutil.copy(file, args.out / file.name)
    sizes = {file.name: f"{file.stat().st_size / 1e6:.1f} MB" for file in sorted(args.out.iterdir())}
    print(f"{args.out}: largest difference {gap:.1e}; {sizes}")


if __name__ == "__main__":
    main()
