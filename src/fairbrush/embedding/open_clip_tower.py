"""The torch backend: any open_clip model, from a tag, a local checkpoint file or a local folder.

Enters: a parsed spec. Leaves: an image tower in float32, in evaluation mode. The rules: no socket is
opened unless the user allowed downloads; the identity is a digest of the tensors, not of a file or a path.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.embedding.encoder import BUNDLED, Device, EncoderSpec, TowerOutput
from fairbrush.embedding.hub import set_hub
from fairbrush.embedding.preprocess import Preprocess
from fairbrush.errors import DeviceUnavailableError, EncoderError, EncoderSpecError, WeightsNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EARLY_STAGES = 2


class OpenClipTower:
    """An open_clip model's image half on torch. TF32 stays off: float32 means float32."""

    def __init__(
        self, model: Any, *, name: str, architecture: object, preprocess: Preprocess, device: str
    ) -> None:
        import torch

        self.name = name
        self.variant = "torch-float32"
        self.device = device
        self.preprocess = preprocess
        self.visual = model.visual
        self.identity = {
            "architecture": architecture,
            "preprocess": preprocess.as_dict(),
            "weights": tensor_digest(self.visual.state_dict()),
        }
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.visual.float().eval().to(device)
        self._taps = early_stages(self.visual)
        blank = torch.zeros(1, 3, preprocess.height, preprocess.width, device=device)
        with torch.inference_mode():
            embedding, early = self.forward(blank)
        self.embed_dim, self.early_dim = int(embedding.shape[1]), int(early.shape[1])

    @classmethod
    def load(
        cls,
        spec: EncoderSpec,
        *,
        device: Device = Device.AUTO,
        allow_download: bool = False,
        threads: int = 0,
    ) -> OpenClipTower:
        """Raises EncoderSpecError, WeightsNotFoundError, DeviceUnavailableError, EncoderError."""
        if spec.kind == "open_clip":
            _refuse_unknown_file(spec.pretrained)
        else:
            folder = BUNDLED if spec.kind == "mini" else Path(spec.model).expanduser()
            _refuse_incomplete_folder(folder)
        ran_on = choose_device(device)
        open_clip = _import_open_clip(allow_download=allow_download)
        import torch

        if threads:
            torch.set_num_threads(threads)
        if spec.kind == "open_clip":
            model = _from_registry(open_clip, spec, allow_download=allow_download)
            config = open_clip.get_model_config(spec.model)
        else:
            model = _from_folder(open_clip, folder)
            config = open_clip.get_model_config(f"local-dir:{folder}")
        # Nothing but the weights ever changes in the bundled architecture: its name stands for it.
        bundled = spec.kind == "mini"
        return cls(
            model,
            name={"open_clip": spec.model, "mini": "mini"}.get(spec.kind, "local"),
            architecture="mini" if bundled else image_architecture(config),
            preprocess=Preprocess.from_open_clip(model.visual.preprocess_cfg),
            device=ran_on,
        )

    def encode(self, batch: NDArray[np.float32]) -> TowerOutput:
        import numpy as np
        import torch

        with torch.inference_mode():
            embedding, early = self.forward(torch.from_numpy(batch).to(self.device))
        return TowerOutput(np.asarray(embedding.cpu().float()), np.asarray(early.cpu().float()))

    def forward(self, images: Any) -> tuple[Any, Any]:
        """(embedding, early) as tensors: the part of the tower that is exported."""
        import torch

        seen: list[Any] = []
        hooks = [
            stage.register_forward_hook(
                lambda _module, _input, output: seen.append(channel_statistics(output))
            )
            for stage in self._taps
        ]
        try:
            output = self.visual(images)
        finally:
            for hook in hooks:
                hook.remove()
        embedding = output[0] if isinstance(output, tuple) else output  # CoCa gives its tokens too
        early = torch.cat(seen, dim=1) if seen else embedding.new_zeros(len(embedding), 0)
        return embedding, early


def channel_statistics(activation: Any) -> Any:
    """Mean and standard deviation of each channel over positions, (n, 2 * channels), each half unit length.

    The statistics adaptive instance normalisation transfers as style (arXiv 1703.06868). Takes (n, channels,
    height, width) of a convolution or (n, tokens, channels) of a transformer.
    """
    import torch

    flat = activation.flatten(2) if activation.ndim == 4 else activation.transpose(1, 2)
    mean, spread = flat.mean(2), flat.var(2, unbiased=False).add(1e-8).sqrt()
    normalize = torch.nn.functional.normalize
    return torch.cat([normalize(mean, dim=1), normalize(spread, dim=1)], dim=1)


def early_stages(visual: Any) -> list[Any]:
    """The first stages of an image tower, evenly within its first third; none where its kind is unknown."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        named = (getattr(trunk, attribute, None) for attribute in ("stages", "blocks"))
        stages = next((list(found) for found in named if found is not None), [])
    elif hasattr(visual, "transformer"):
        stages = list(visual.transformer.resblocks)
    else:
        stages = [getattr(visual, f"layer{i}") for i in range(1, 5) if hasattr(visual, f"layer{i}")]
    step = max(1, len(stages) // (3 * EARLY_STAGES))
    return stages[step - 1 : step * EARLY_STAGES : step]


def image_architecture(config: dict[str, Any]) -> dict[str, Any]:
    """The parts of an open_clip ``model_cfg`` that decide what an image's vector is, weights apart."""
    return {name: config.get(name) for name in ("embed_dim", "vision_cfg", "quick_gelu")}


def tensor_digest(state: dict[str, Any]) -> str:
    """SHA-256 over names, shapes and float32 values of a state dict, in name order: the same for any file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().float().contiguous().numpy()
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def choose_device(asked: Device) -> str:
    """The device to run on. Raises DeviceUnavailableError rather than run elsewhere in silence."""
    import torch

    there = {Device.CUDA: torch.cuda.is_available(), Device.MPS: torch.backends.mps.is_available()}
    if asked is Device.AUTO:
        return next((str(device) for device, present in there.items() if present), "cpu")
    if not there.get(asked, True):
        raise DeviceUnavailableError(
            f"This machine, or its torch build ({torch.__version__}), has no {asked}.",
            next_step="Use --device auto or --device cpu.",
        )
    return str(asked)


def _import_open_clip(*, allow_download: bool) -> Any:
    set_hub(online=allow_download)
    from fairbrush.embedding.torchvision_ops import make_torchvision_importable

    make_torchvision_importable()
    import open_clip

    return open_clip


def _refuse_unknown_file(pretrained: str) -> None:
    path = Path(pretrained).expanduser()
    looks_like_a_path = "/" in pretrained or path.suffix in (".pt", ".pth", ".bin", ".safetensors")
    if looks_like_a_path and not path.is_file():
        raise WeightsNotFoundError(
            f"The checkpoint file {path} does not exist.",
            next_step="Check the path, or use the bundled encoder: mini.",
        )


def _refuse_incomplete_folder(folder: Path) -> None:
    weights = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if not (folder / "open_clip_config.json").is_file() or not any((folder / w).is_file() for w in weights):
        raise WeightsNotFoundError(
            f"{folder} is not an open_clip folder.",
            next_step="It must hold open_clip_config.json and open_clip_model.safetensors; "
            "or use the bundled encoder: mini.",
        )


def _from_registry(open_clip: Any, spec: EncoderSpec, *, allow_download: bool) -> Any:
    if spec.model not in open_clip.list_models():
        close = difflib.get_close_matches(spec.model, open_clip.list_models(), n=3)
        raise EncoderSpecError(
            f"open_clip has no model named {spec.model}.",
            next_step=f"Did you mean {', '.join(close)}?" if close else "open_clip.list_models() lists them.",
        )
    path = Path(spec.pretrained).expanduser()
    options: dict[str, Any] = {"pretrained": spec.pretrained}
    if open_clip.is_pretrained_cfg(spec.model, spec.pretrained):
        _refuse_wrong_activation(open_clip, spec)
        _find_tag(open_clip, spec, allow_download=allow_download)
    elif path.is_file():
        _refuse_program(path)
        options = {"pretrained": str(path), "force_preprocess_cfg": _usual_preprocess(open_clip, spec.model)}
    else:
        tags = open_clip.list_pretrained_tags_by_model(spec.model)
        raise EncoderSpecError(
            f"open_clip has no weights {spec.pretrained} for {spec.model}.",
            next_step=f"Its tags: {', '.join(tags)}; or give a file." if tags else "Give a checkpoint file.",
        )
    hub_text = open_clip.get_model_config(spec.model)["text_cfg"].get("hf_model_name")
    with _quiet(), _as_encoder_errors(f"open_clip:{spec.model}/{spec.pretrained}", hub_text=hub_text):
        return open_clip.create_model(spec.model, require_pretrained=True, **options)


def _usual_preprocess(open_clip: Any, model: str) -> dict[str, Any]:
    """The preprocessing all published weights of a model share: SigLIP's, say, is not CLIP's.

    A checkpoint file does not say its own. Empty, so open_clip's default, where they differ or none are
    known; a ``local-dir:`` names its own.
    """
    names = ("mean", "std", "interpolation", "resize_mode")
    tags = open_clip.list_pretrained_tags_by_model(model)
    published = [open_clip.get_pretrained_cfg(model, tag) for tag in tags]
    usual = [{name: config[name] for name in names if name in config} for config in published]
    return usual[0] if usual and all(config == usual[0] for config in usual) else {}


def _find_tag(open_clip: Any, spec: EncoderSpec, *, allow_download: bool) -> None:
    """Make sure a tag's weights are on this machine, without opening a socket unless allowed."""
    config = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    try:
        open_clip.download_pretrained(config)
    except (OSError, ValueError, RuntimeError) as error:
        downloads = "allowed" if allow_download else "off"
        raise WeightsNotFoundError(
            f"The weights of {spec.model}/{spec.pretrained} are not on this machine (looked in the "
            f"Hugging Face cache for {config.get('hf_hub')}; downloads are {downloads}).",
            next_step="Allow the download once with --allow-download; or copy the checkpoint here and use "
            f"--encoder open_clip:{spec.model}/PATH_TO_FILE; or use the bundled encoder: --encoder mini.",
        ) from error


def _refuse_wrong_activation(open_clip: Any, spec: EncoderSpec) -> None:
    """Weights trained with QuickGELU load under a plain name, and open_clip only warns: wrong vectors.

    ResNet towers are fine either way: they have ReLU, and only their text half has GELU.
    """
    config = open_clip.get_model_config(spec.model)
    is_resnet = isinstance(config["vision_cfg"].get("layers"), list)
    trained_with = open_clip.get_pretrained_cfg(spec.model, spec.pretrained).get("quick_gelu", False)
    if trained_with and not config.get("quick_gelu") and not is_resnet:
        raise EncoderSpecError(
            f"{spec.pretrained} was trained with QuickGELU; {spec.model} would give wrong vectors.",
            next_step=f"Use open_clip:{spec.model}-quickgelu/{spec.pretrained}.",
        )


def _refuse_program(path: Path) -> None:
    """OpenAI's own downloads are TorchScript, a program that runs when it is loaded, not tensors."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        is_torchscript = any("/code/" in name for name in archive.namelist())
    if is_torchscript:
        tensors = path.with_name(f"{path.stem}-tensors.pt")
        raise EncoderSpecError(
            f"{path} is a TorchScript archive: a program, which fairbrush does not run.",
            next_step="If you trust it, take its tensors out: "
            f"""python -c "import torch; s = torch.jit.load('{path}', map_location='cpu').state_dict(); """
            "[s.pop(k, 0) for k in ('input_resolution', 'context_length', 'vocab_size')]; "
            f"""torch.save(s, '{tensors}')" ; OpenAI's then need a model whose name ends in -quickgelu.""",
        )


def _from_folder(open_clip: Any, folder: Path) -> Any:
    with _quiet(), _as_encoder_errors(str(folder)):
        return open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)


@contextmanager
def _as_encoder_errors(source: str, *, hub_text: str | None = None) -> Iterator[None]:
    """open_clip raises what its loaders happen to raise: name the source and the next step instead.

    ``hub_text``: the Hugging Face model that the text tower is made from, for the few models that have one.
    """
    next_step = "The checkpoint must match the model's architecture; or use the bundled encoder: mini."
    if hub_text:
        next_step = (
            f"Its text tower is {hub_text} of the Hugging Face hub: pip install transformers, and run once "
            "with --allow-download; or use a model with open_clip's own text tower."
        )
    try:
        yield
    except Exception as error:  # whatever a loader raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EncoderError(
            f"{source} cannot be loaded: {reason[0]}",
            next_step=next_step,
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs on the root logger; what matters of it comes back as an error."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(previous)
