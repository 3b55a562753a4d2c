"""IP-Adapters: what lets a text-to-image model draw from images, found and checked before anything is loaded.

Enters: a safetensors file in IP-Adapter's layout, and the folder of its image encoder. Leaves: both, checked,
and what they add to a model's digest. The one rule is that of ``weights``: no torch, no pickles, no programs.

Ye et al. 2023, arXiv:2308.06721.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.errors import GeneratorError, WeightsNotFoundError
from fairbrush.validation.weights import (
    PICKLES,
    Component,
    ModelFiles,
    component_at,
    file_digest,
    read_json,
    tensor_names,
)

ENCODER_FOLDER = "image_encoder"  # beside the adapter's file, as it is published
ENCODER_CLASS = "CLIPVisionModelWithProjection"
_PROCESSOR = "preprocessor_config.json"
_LARGEST_SCALE = 10.0
_PLAIN = "image_proj.proj.weight"
# the tensor that tells how an adapter reads an image -> the one an embedding goes into
_PROJECTIONS = {
    _PLAIN: _PLAIN,
    "image_proj.proj.3.weight": "image_proj.proj.0.weight",  # full: all patches
    "image_proj.latents": "image_proj.proj_in.weight",  # plus: a resampler of the patches
}


@dataclass(frozen=True)
class Adapter:
    """An IP-Adapter file, the folder of its image encoder, and how strongly it is applied."""

    path: Path
    encoder: Path
    scale: float = 1.0


def adapter_at(path: Path, *, encoder: Path | None = None, scale: float = 1.0) -> Adapter:
    """The adapter of a file; its encoder is that in ``image_encoder`` beside it where none is named.

    Raises WeightsNotFoundError, GeneratorError.
    """
    if not 0.0 < scale <= _LARGEST_SCALE:
        raise GeneratorError(
            f"An IP-Adapter's scale of {scale} cannot be used.", next_step=f"Above 0, up to {_LARGEST_SCALE}."
        )
    return Adapter(path, encoder or path.parent / ENCODER_FOLDER, scale)


def adapted_digest(model_digest: str, adapter: Adapter) -> str:
    """SHA-256 identity of a model with an adapter: of the adapter's bytes and scale, and of its encoder's.

    Raises WeightsNotFoundError, GeneratorError.
    """
    check_adapter(adapter)
    files = encoder_files(adapter)
    [(name, part)] = files.components.items()
    parts = [files.folder / name / "config.json", *part.weights]
    if (processor := processor_config(adapter)) is not None:
        parts.append(processor)
    return canonical_digest(
        {
            "schema": "fairbrush-adapted-model/1",
            "model": model_digest,
            "adapter": file_digest(adapter.path),
            "scale": decimal_text(adapter.scale),
            "encoder": sorted([file.name, file_digest(file)] for file in parts),
        }
    )


def check_adapter(adapter: Adapter) -> None:
    """That the file is an IP-Adapter that sees whole images. Raises WeightsNotFoundError, GeneratorError."""
    path = adapter.path
    if not path.is_file():
        raise WeightsNotFoundError(f"The IP-Adapter {path} does not exist.", next_step="Check the path.")
    if path.suffix != ".safetensors":
        raise GeneratorError(
            f"{path}: an IP-Adapter must be a .safetensors file; pickles can run programs.",
            next_step="They are published as both: use ip-adapter_sd15.safetensors, not .bin.",
        )
    names = tensor_names(path)
    if not all(any(name.startswith(part) for name in names) for part in ("image_proj.", "ip_adapter.")):
        raise GeneratorError(
            f"{path} is no IP-Adapter: it lacks image_proj or ip_adapter tensors.",
            next_step="A LoRA is given with --lora, a whole model with --weights.",
        )
    if not any(name in names for name in _PROJECTIONS):
        raise GeneratorError(
            f"{path} does not read images as an image encoder sees them; face adapters do not.",
            next_step="Use a plain or plus IP-Adapter, such as ip-adapter_sd15.safetensors.",
        )


@dataclass(frozen=True)
class Widths:
    """What must fit. ``reads``: numbers an input's embedding has; ``of_patches``: it is the encoder's hidden
    states, else its projected embedding; ``layers``: (to, from) of each attention layer, in their order."""

    reads: int
    of_patches: bool
    layers: tuple[tuple[int, int], ...]


def widths_of(adapter: Adapter) -> Widths:
    """Read from the file's header. Raises GeneratorError."""
    from safetensors import safe_open

    check_adapter(adapter)
    with safe_open(str(adapter.path), framework="numpy") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    told_by = next(said for name, said in _PROJECTIONS.items() if name in shapes)
    keys = [name for name in shapes if re.fullmatch(r"ip_adapter\.\d+\.to_k_ip\.weight", name)]
    try:
        reads = shapes[told_by][1]
        layers = [shapes[name] for name in sorted(keys, key=lambda name: int(name.split(".")[1]))]
        return Widths(reads, told_by != _PLAIN, tuple((to, of) for to, of in layers))
    except (KeyError, IndexError, ValueError) as error:
        raise GeneratorError(
            f"{adapter.path} is no IP-Adapter: its tensors are not shaped as one's.",
            next_step="Copy or download it again.",
        ) from error


def encoder_files(adapter: Adapter) -> ModelFiles:
    """The adapter's image encoder as the only component of its folder. Raises as ``check_adapter``."""
    folder = adapter.encoder.resolve()
    if not folder.is_dir():
        raise WeightsNotFoundError(
            f"The image encoder of the IP-Adapter {adapter.path.name} is not at {adapter.encoder}.",
            next_step=f"Name the folder of its {ENCODER_CLASS}: --image-encoder DIR.",
        )
    there = sorted(file.name for file in folder.iterdir())
    if not any(name.endswith(".safetensors") for name in there):
        pickles = [name for name in there if name.endswith(PICKLES)]
        held = f"{pickles[0]} and no safetensors: a pickle can run programs" if pickles else "no safetensors"
        raise GeneratorError(
            f"The image encoder {adapter.encoder} holds {held}.",
            next_step="Convert it where you trust it: load it with transformers, then save_pretrained.",
        )
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "clip_vision_model":
        raise GeneratorError(
            f"{adapter.encoder} holds a model of type {kind!r}, no {ENCODER_CLASS}.",
            next_step="Use the image_encoder folder the adapter is published with.",
        )
    part: Component = component_at(folder.parent, folder.name, "transformers", ENCODER_CLASS)
    return ModelFiles(folder.parent, "", {folder.name: part})


def processor_config(adapter: Adapter) -> Path | None:
    """How images are made ready for the encoder, where its folder says; CLIP's own way where it does not."""
    path = adapter.encoder.resolve() / _PROCESSOR
    return path if path.is_file() else None
