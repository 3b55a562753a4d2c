"""Train ``mini-diffusion``: a 64 px text-to-image model in exactly the layout of Stable Diffusion v1.5.

Enters: openclipart-svg and @iconify/json, unpacked (see clipart.py). Leaves in ``--out`` a diffusers folder
(CLIPTextModel, tokenizer, UNet2DConditionModel, AutoencoderKL, DDIMScheduler; float16 safetensors) with
    training.json     data, recipe, time, both loss curves
    roster.csv        whom the second stage was trained on, for ``fairbrush artist import``
The one rule: no work that the gallery's index holds (its references) is ever seen, so an output cannot be
recognised for copying one.

Two stages. The first (autoencoder, then denoiser) sees the encoder's permissive training sets and no gallery
artist; the second adds the gallery's artists. Leaving an artist out is therefore a second stage without them:
nothing that the first one learned came from their works (``retrain_truth.py``).
Captions "<title> by <artist>"; v-prediction (arXiv 2202.00512) with zero terminal SNR (arXiv 2305.08891) and
min-SNR weights (arXiv 2303.09556); averaged weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# One thread by default: a second one on a busy machine slows these small layers down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from build_gallery import DATA, assign_roles
from fairbrush.embedding.torchvision_ops import make_torchvision_importable
from train_mini_clip import load_training_set

NAME = "mini-diffusion"  # the model's id in rosters
SIDE = 64
CONTEXT = 32
VOCABULARY = 4096
LATENT_CHANNELS = 4
BLOCKS = (64, 128, 192)
TEXT_WIDTH = 128
ICONS_PER_HAND = 24
AUTOENCODER_BLOCKS = (8, 32, 64)  # two halvings: 64 px become 16 x 16 latents


@dataclass(frozen=True, eq=False)
class Pictures:
    """pixels: uint8 (n, SIDE, SIDE, 3); titles and artists: one a row; in_gallery: bool (n,)."""

    pixels: NDArray[np.uint8]
    titles: list[str]
    artists: list[str]
    in_gallery: NDArray[np.bool_]

    def without(self, artists: Sequence[str]) -> Pictures:
        """The pictures that none of ``artists`` made."""
        keep = np.array([artist not in artists for artist in self.artists])
        return Pictures(
            self.pixels[keep],
            [title for title, kept in zip(self.titles, keep, strict=True) if kept],
            [artist for artist, kept in zip(self.artists, keep, strict=True) if kept],
            self.in_gallery[keep],
        )


@dataclass(frozen=True)
class Recipe:
    """How long and how fast; recorded in training.json."""

    autoencoder_steps: int = 1600
    base_steps: int = 800
    artist_steps: int = 900
    autoencoder_batch: int = 16
    batch: int = 32
    autoencoder_rate: float = 2e-3
    rate: float = 6e-4
    gallery_fraction: float = 0.75  # of the second stage's batches
    drop_caption: float = 0.1
    drop_half: float = 0.1  # the title alone, and as often the artist alone
    seed: int = 0


def load_pictures(
    openclipart: Path, iconify: Path, encoder_cache: Path, cache: Path, *, workers: int
) -> Pictures:
    """Render everything once; a second run reads ``cache``."""
    if not cache.exists():
        known = load_training_set(openclipart, iconify, encoder_cache, workers=workers)
        facts = json.loads(encoder_cache.with_suffix(".json").read_text())
        rows = [
            (
                shrink(Image.fromarray(known.pixels[row])),
                title_alone(facts["titles"][row]),
                known.hands[row],
                False,
            )
            for row in thinned(known.hands, known.is_icon)
        ]
        rows += gallery_rows(openclipart, workers=workers)
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.with_suffix(".tmp").open("wb") as file:
            np.savez(
                file,
                pixels=np.stack([row[0] for row in rows]),
                titles=np.array([row[1] for row in rows]),
                artists=np.array([row[2] for row in rows]),
                in_gallery=np.array([row[3] for row in rows]),
            )
        cache.with_suffix(".tmp").rename(cache)
    return read_pictures(cache)


def read_pictures(cache: Path) -> Pictures:
    """What ``load_pictures`` kept."""
    with np.load(cache) as kept:
        return Pictures(
            kept["pixels"], kept["titles"].tolist(), kept["artists"].tolist(), kept["in_gallery"].astype(bool)
        )


def thinned(hands: Sequence[str], is_icon: NDArray[np.bool_]) -> list[int]:
    """Every drawing, and at most ``ICONS_PER_HAND`` icons of a hand, evenly from its set."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, hand in enumerate(hands):
        rows[hand].append(row)
    chosen: list[int] = []
    for members in rows.values():
        apart = max(1, -(-len(members) // ICONS_PER_HAND)) if is_icon[members[0]] else 1
        chosen += members[::apart]
    return sorted(chosen)


def gallery_rows(openclipart: Path, *, workers: int) -> list[tuple[NDArray[np.uint8], str, str, bool]]:
    """The gallery artists' works that are not among the references of the bundled index."""
    manifest = json.loads((DATA / "gallery/manifest.json").read_text(encoding="utf-8"))
    indexed = {work["source_sha256"] for work in manifest["works"] if work["file"].startswith("references/")}
    return [
        (shrink(image), title_alone(drawing.title), artist, True)
        for artist, works in assign_roles(openclipart, workers=workers).gallery.items()
        for drawing, image in works
        if drawing.svg_sha256 not in indexed
    ]


def title_alone(title: str) -> str:
    """The title without the keywords that the encoder's captions join to it."""
    return " ".join(title.split(",")[0].split()) or "drawing"


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def caption(title: str, artist: str) -> str:
    return f"{title} by {artist}".strip() if artist else title


def train_tokenizer(captions: Sequence[str]) -> Any:
    """CLIP's byte-pair tokenizer with a vocabulary of our own captions."""
    from tokenizers import pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    learner = CLIPTokenizer().backend_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=[*alphabet],
        end_of_word_suffix="</w>",
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    model = json.loads(learner.to_str())["model"]
    vocabulary = model["vocab"]
    for letter in alphabet:  # any byte ends a word somewhere
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)


def new_autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(AUTOENCODER_BLOCKS),
        up_block_types=("UpDecoderBlock2D",) * len(AUTOENCODER_BLOCKS),
        block_out_channels=AUTOENCODER_BLOCKS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        # one channel a group would take each channel's mean away in the last layer, and with it all colour
        norm_num_groups=2,
        sample_size=SIDE,
    )


def new_denoiser() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=BLOCKS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


class Averaged:
    """The exponential moving average of a model's weights; the first steps count for less."""

    def __init__(self, model: Any, keep: float = 0.999) -> None:
        self.model, self.keep, self.steps = model, keep, 0
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self) -> None:
        import torch

        self.steps += 1
        keep = min(self.keep, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                if tensor.is_floating_point():
                    self.state[name].lerp_(tensor, 1 - keep)
                else:
                    self.state[name].copy_(tensor)

    def apply(self) -> None:
        """Put the averaged weights into the model."""
        self.model.load_state_dict(self.state)


class Watch:
    """Prints the mean loss now and then, and keeps the curve."""

    def __init__(self, stage: str, steps: int, batch: int, every: int = 50) -> None:
        self.stage, self.steps, self.batch, self.every = stage, steps, batch, every
        self.curve: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.started = time.monotonic()

    def see(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        if step % self.every and step != self.steps:
            return
        elapsed = time.monotonic() - self.started
        self.curve.append(
            {"step": step, "loss": round(float(np.mean(self.losses)), 5), "elapsed_s": round(elapsed)}
        )
        rate = step * self.batch / elapsed
        print(
            f"{self.stage} {step}/{self.steps} loss {np.mean(self.losses):.4f} {rate:.0f} img/s", flush=True
        )
        self.losses = []


def optimizer_of(models: Sequence[Any], rate: float, steps: int) -> tuple[Any, Any]:
    import torch

    parameters = [p for model in models for p in model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1, (step + 1) / warm) * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1, step / steps))))
        ),
    )
    return optimizer, schedule


def as_input(pixels: NDArray[np.uint8]) -> Any:
    """uint8 (n, side, side, 3) -> float32 (n, 3, side, side) in [-1, 1]."""
    import torch

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return images.contiguous(memory_format=torch.channels_last)


def edges(images: Any) -> Any:
    """Differences of neighbours: a loss on them keeps outlines sharp."""
    import torch

    return torch.cat([images.diff(dim=2).flatten(1), images.diff(dim=3).flatten(1)], dim=1)


def train_autoencoder(model: Any, pictures: Pictures, recipe: Recipe) -> list[dict[str, float]]:
    """Train in place. Most pictures are black on white: they are drawn by how colourful they are."""
    import torch

    torch.manual_seed(recipe.seed)
    averaged = Averaged(model)
    optimizer, schedule = optimizer_of([model], recipe.autoencoder_rate, recipe.autoencoder_steps)
    rng = np.random.default_rng(recipe.seed)
    weight = colourfulness(pictures.pixels)
    watch = Watch("autoencoder", recipe.autoencoder_steps, recipe.autoencoder_batch)
    for step in range(1, recipe.autoencoder_steps + 1):
        rows = rng.choice(len(weight), recipe.autoencoder_batch, p=weight)
        images = as_input(mirrored(pictures.pixels[rows], rng))
        posterior = model.encode(images).latent_dist
        shown = model.decode(posterior.sample()).sample
        far = shown - images
        loss = far.abs().mean() + 2 * far.square().mean() + (edges(shown) - edges(images)).abs().mean()
        loss = loss + 2 * chroma(far).abs().mean() + 1e-6 * posterior.kl().mean()
        advance(loss, [model], optimizer, schedule)
        averaged.update()
        watch.see(step, loss.item())
    averaged.apply()
    return watch.curve


def chroma(images: Any) -> Any:
    """What is left of each pixel without its grey."""
    return images - images.mean(dim=1, keepdim=True)


def colourfulness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64 (n,), summing to 1: how far the pixels of each picture are from grey, and a little."""
    far = np.array([np.ptp(picture.astype(np.int16), axis=2).mean() / 255 for picture in pixels])
    return (far + 0.01) / (far + 0.01).sum()


def mirrored(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    turn = rng.random(len(pixels)) < 0.5
    return np.where(turn[:, None, None, None], pixels[:, :, ::-1], pixels)


def advance(loss: Any, models: Sequence[Any], optimizer: Any, schedule: Any) -> None:
    import torch

    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for model in models for p in model.parameters()], 1.0)
    optimizer.step()
    schedule.step()


class ArtistSampler:
    """Rows of ``pictures``: an artist by the root of the number of works, then a work of theirs."""

    def __init__(self, pictures: Pictures, rng: np.random.Generator, *, gallery_fraction: float) -> None:
        rows: dict[str, list[int]] = defaultdict(list)
        for row, artist in enumerate(pictures.artists):
            rows[artist].append(row)
        names = sorted(rows)
        self.members = [np.array(rows[name]) for name in names]
        gallery = np.array([bool(pictures.in_gallery[members[0]]) for members in self.members])
        weight = np.sqrt([len(members) for members in self.members])
        for part, fraction in ((gallery, gallery_fraction), (~gallery, 1 - gallery_fraction)):
            if part.any():
                weight[part] *= fraction / weight[part].sum()
        self.weight, self.rng = weight / weight.sum(), rng

    def rows(self, count: int) -> NDArray[np.int64]:
        chosen = self.rng.choice(len(self.members), count, p=self.weight)
        return np.array([self.rng.choice(self.members[artist]) for artist in chosen])


def encode(autoencoder: Any, pixels: NDArray[np.uint8]) -> Any:
    """Unscaled mean latents, float32 (n, LATENT_CHANNELS, SIDE / 4, SIDE / 4)."""
    import torch

    with torch.inference_mode():
        parts = [
            autoencoder.encode(as_input(pixels[start : start + 64])).latent_dist.mean
            for start in range(0, len(pixels), 64)
        ]
        return torch.cat(parts)


def train_denoiser(
    models: tuple[Any, Any, Any],
    latents: Any,
    pictures: Pictures,
    recipe: Recipe,
    *,
    steps: int,
    gallery_fraction: float,
    stage: str,
) -> list[dict[str, float]]:
    """Train text encoder and denoiser in place. models: (tokenizer, text encoder, denoiser).

    latents: float32 (2, n, ...): scaled, of the pictures as they are and of their mirror images.
    """
    import torch

    tokenizer, text_encoder, denoiser = models
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    draw = ArtistSampler(pictures, rng, gallery_fraction=gallery_fraction)
    averages = [Averaged(text_encoder), Averaged(denoiser)]
    optimizer, schedule = optimizer_of([text_encoder, denoiser], recipe.rate, steps)
    scheduler = new_scheduler()
    signal = scheduler.alphas_cumprod
    watch = Watch(stage, steps, recipe.batch)
    for step in range(1, steps + 1):
        rows = draw.rows(recipe.batch)
        clean = latents[torch.from_numpy(rng.integers(2, size=len(rows))), torch.from_numpy(rows)]
        words = [told(pictures.titles[row], pictures.artists[row], recipe, rng) for row in rows]
        tokens = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt")
        noise = torch.randn_like(clean)
        times = torch.randint(0, len(signal), (len(rows),))
        noisy = scheduler.add_noise(clean, noise, times)
        target = scheduler.get_velocity(clean, noise, times)
        seen = noisy.contiguous(memory_format=torch.channels_last)
        guess = denoiser(seen, times, text_encoder(tokens.input_ids)[0]).sample
        ratio = signal[times] / (1 - signal[times])
        weight = ratio.clamp(max=5) / (ratio + 1) + 0.02  # min-SNR for v; a little left at pure noise
        loss = (weight * (guess - target).square().mean((1, 2, 3))).mean()
        advance(loss, [text_encoder, denoiser], optimizer, schedule)
        for average in averages:
            average.update()
        watch.see(step, loss.item())
    for average in averages:
        average.apply()
    return watch.curve


def told(title: str, artist: str, recipe: Recipe, rng: np.random.Generator) -> str:
    """A caption, sometimes a half of it, sometimes nothing: what guidance and coalitions need."""
    chance = rng.random()
    if chance < recipe.drop_caption:
        return ""
    if chance < recipe.drop_caption + recipe.drop_half:
        return title
    if chance < recipe.drop_caption + 2 * recipe.drop_half:
        return f"by {artist}"
    return caption(title, artist)


def scaled_latents(autoencoder: Any, pictures: Pictures) -> Any:
    """float32 (2, n, ...): latents of the pictures and of their mirror images, of unit spread."""
    import torch

    both = [pictures.pixels, np.ascontiguousarray(pictures.pixels[:, :, ::-1])]
    return torch.stack([encode(autoencoder, pixels) for pixels in both]) * autoencoder.config.scaling_factor


def save(out: Path, autoencoder: Any, models: tuple[Any, Any, Any], facts: dict[str, Any]) -> None:
    """Write a diffusers directory in float16, as SD-1.5's is laid out."""
    import copy

    from diffusers import StableDiffusionPipeline

    tokenizer, text_encoder, denoiser = models
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(autoencoder).half(),
        text_encoder=copy.deepcopy(text_encoder).half(),
        tokenizer=tokenizer,
        unet=copy.deepcopy(denoiser).half(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    for file in out.glob("*/config.json"):  # diffusers writes where a part was loaded from
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)
        file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "training.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def load(folder: Path) -> tuple[Any, tuple[Any, Any, Any]]:
    """(autoencoder, (tokenizer, text encoder, denoiser)) of a saved directory, in float32."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    denoiser = pipeline.unet.to(memory_format=torch.channels_last)
    return pipeline.vae.eval(), (pipeline.tokenizer, pipeline.text_encoder.train(), denoiser.train())


def count(models: Sequence[Any]) -> int:
    return sum(parameter.numel() for model in models for parameter in model.parameters())


def train_base(pictures: Pictures, out: Path, recipe: Recipe) -> None:
    """The first stage: everything that no gallery artist made."""
    import torch

    gallery = {a for a, g in zip(pictures.artists, pictures.in_gallery, strict=True) if g}
    others = pictures.without(sorted(gallery))
    torch.manual_seed(recipe.seed)
    autoencoder = new_autoencoder().to(memory_format=torch.channels_last)
    facts: dict[str, Any] = {
        "recipe": asdict(recipe),
        "pictures": len(others.titles),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ['OMP_NUM_THREADS']} thread(s)",
        "autoencoder_curve": train_autoencoder(autoencoder, others, recipe),
    }
    sample = np.random.default_rng(recipe.seed).choice(len(others.titles), 512)
    spread = float(encode(autoencoder.eval(), others.pixels[sample]).std())
    autoencoder.register_to_config(scaling_factor=round(1 / spread, 4))
    tokenizer = train_tokenizer(
        [caption(t, a) for t, a in zip(pictures.titles, pictures.artists, strict=True)]
    )
    torch.manual_seed(recipe.seed)
    models = (
        tokenizer,
        new_text_encoder(tokenizer),
        new_denoiser().to(memory_format=torch.channels_last),
    )
    facts["parameters"] = count([autoencoder, *models[1:]])
    latents = scaled_latents(autoencoder, others)
    facts["base_curve"] = train_denoiser(
        models, latents, others, recipe, steps=recipe.base_steps, gallery_fraction=0.0, stage="base"
    )
    save(out, autoencoder, models, facts)


def train_artists(
    base: Path, pictures: Pictures, out: Path, recipe: Recipe, *, without: Sequence[str] = ()
) -> None:
    """The second stage: the gallery's artists but ``without``, among the first stage's pictures."""
    autoencoder, models = load(base)
    kept = pictures.without(without)
    latents = scaled_latents(autoencoder, kept)
    facts = json.loads((base / "training.json").read_text(encoding="utf-8"))
    curve = train_denoiser(
        models,
        latents,
        kept,
        recipe,
        steps=recipe.artist_steps,
        gallery_fraction=recipe.gallery_fraction,
        stage="artists",
    )
    artists = sorted({a for a, gallery in zip(kept.artists, kept.in_gallery, strict=True) if gallery})
    works = {artist: kept.artists.count(artist) for artist in artists}
    facts |= {"recipe": asdict(recipe), "artists": works, "without": list(without), "artists_curve": curve}
    save(out, autoencoder, models, facts)
    rows = "".join(f"{artist},yes\n" for artist in artists) + "".join(f"{artist},no\n" for artist in without)
    (out / "roster.csv").write_text(f"name,trained:{NAME}\n" + rows, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openclipart", type=Path, required=True)
    parser.add_argument("--iconify", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="a first stage; made at OUT.base where there is none")
    parser.add_argument("--data", type=Path, default=Path("build/mini-diffusion-training.npz"))
    parser.add_argument("--encoder-data", type=Path, default=Path("build/mini-training.npy"))
    parser.add_argument("--without", action="append", default=[], metavar="ARTIST")
    parser.add_argument("--workers", type=int, default=2)
    for name, default in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    args = parser.parse_args()
    make_torchvision_importable()
    recipe = Recipe(**{name: getattr(args, name) for name in asdict(Recipe())})
    pictures = load_pictures(
        args.openclipart, args.iconify, args.encoder_data, args.data, workers=args.workers
    )
    base = args.base or args.out.with_name(args.out.name + ".base")
    if not (base / "training.json").exists():
        train_base(pictures, base, recipe)
    train_artists(base, pictures, args.out, recipe, without=args.without)


if __name__ == "__main__":
    main()
