"""The torch backend: any open_clip model, from a tag, a local checkpoint file or a local folder.

Enters: a parsed spec. Leaves: an image tower in float32, in evaluation mode. The rules: no socket is
opened unless the user allowed downloads; the identity is a digest of the tensors, not of a file or a path.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.embedding.encoder import BUNDLED, Device, EncoderSpec, TowerOutput
from fairbrush.embedding.preprocess import Preprocess
from fairbrush.errors import DeviceUnavailableError, EncoderError, EncoderSpecError, WeightsNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EARLY_STAGES = 2


class OpenClipTower:
    """An open_clip model's image half on torch. TF32 stays off: float32 means float32."""

    def __init__(self, model: Any, *, name: str, preprocess: Preprocess, device: str) -> None:
        import torch

        self.name = name
        self.variant = "torch-float32"
        self.device = device
        self.preprocess = preprocess
        self.visual = model.visual
        self.identity = {
            "architecture": name,
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
        open_clip = _import_open_clip(allow_download=allow_download)
        import torch

        if threads:
            torch.set_num_threads(threads)
        ran_on = choose_device(device)
        if spec.kind == "open_clip":
            model, config = _from_registry(open_clip, spec, allow_download=allow_download)
            name = spec.model
        else:
            model, config = _from_folder(open_clip, folder)
            name = "mini" if spec.kind == "mini" else "local"
        return cls(model, name=name, preprocess=Preprocess.from_open_clip(config), device=ran_on)

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
            embedding = self.visual(images)
        finally:
            for hook in hooks:
                hook.remove()
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
        named = (getattr(trunk, attribute, None) for attribute in ("stages", "blocks", "layers"))
        stages = next((list(found) for found in named if found is not None), [])
    elif hasattr(visual, "transformer"):
        stages = list(visual.transformer.resblocks)
    else:
        stages = [getattr(visual, f"layer{i}") for i in range(1, 5) if hasattr(visual, f"layer{i}")]
    step = max(1, len(stages) // (3 * EARLY_STAGES))
    return stages[step - 1 : step * EARLY_STAGES : step]


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
    if not allow_download:
        os.environ["HF_HUB_OFFLINE"] = "1"
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


def _from_registry(open_clip: Any, spec: EncoderSpec, *, allow_download: bool) -> tuple[Any, dict[str, Any]]:
    if spec.model not in open_clip.list_models():
        close = difflib.get_close_matches(spec.model, open_clip.list_models(), n=3)
        raise EncoderSpecError(
            f"open_clip has no model named {spec.model}.",
            next_step=f"Did you mean {', '.join(close)}?" if close else "open_clip.list_models() lists them.",
        )
    path = Path(spec.pretrained).expanduser()
    if path.is_file():
        _refuse_openai_archive(path, spec.model)
        pretrained = str(path)
    else:
        pretrained = spec.pretrained
        _find_tag(open_clip, spec, allow_download=allow_download)
    with _quiet(), _as_encoder_errors(f"open_clip:{spec.model}/{spec.pretrained}"):
        model = open_clip.create_model(spec.model, pretrained=pretrained, require_pretrained=True)
    return model, dict(model.visual.preprocess_cfg)


def _find_tag(open_clip: Any, spec: EncoderSpec, *, allow_download: bool) -> None:
    """Make sure a tag's weights are on this machine, without opening a socket unless allowed."""
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if spec.pretrained not in tags:
        known = f"Its tags: {', '.join(tags)}; or give a file." if tags else "Give a checkpoint file."
        raise EncoderSpecError(
            f"open_clip has no weights {spec.pretrained} for {spec.model}.", next_step=known
        )
    config = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    by_url = config.get("url") and not config.get("hf_hub")
    url_copy = Path("~/.cache/clip").expanduser() / str(config.get("url", "")).rpartition("/")[2]
    try:
        if by_url and not allow_download and not url_copy.is_file():
            raise FileNotFoundError(url_copy)
        open_clip.download_pretrained(config)
    except (OSError, ValueError, RuntimeError) as error:
        source = config.get("hf_hub") or config.get("url")
        where = str(url_copy) if by_url else "the Hugging Face cache"
        raise WeightsNotFoundError(
            f"The weights of {spec.model}/{spec.pretrained} are not on this machine "
            f"(looked in {where} for {source}; downloads are {'allowed' if allow_download else 'off'}).",
            next_step="Allow the download once with --allow-download; or copy the checkpoint here and use "
            f"--encoder open_clip:{spec.model}/PATH_TO_FILE; or use the bundled encoder: --encoder mini.",
        ) from error


def _refuse_openai_archive(path: Path, model: str) -> None:
    """OpenAI's own files need QuickGELU; under a plain name they load and give wrong vectors."""
    if model.endswith("-quickgelu") or not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        is_torchscript = any("/code/" in name for name in archive.namelist())
    if is_torchscript and not model.startswith("RN") and "openai" not in model:
        raise EncoderSpecError(
            f"{path} is OpenAI's archive, trained with QuickGELU; {model} would give wrong vectors.",
            next_step=f"Use open_clip:{model}-quickgelu/{path}.",
        )


def _from_folder(open_clip: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    with _quiet(), _as_encoder_errors(str(folder)):
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
    return model, dict(config.get("preprocess_cfg", {}))


@contextmanager
def _as_encoder_errors(source: str) -> Iterator[None]:
    """open_clip raises what its loaders happen to raise: name the source and the next step instead."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EncoderError(
            f"{source} cannot be loaded: {reason[0]}",
            next_step="The checkpoint must match the model's architecture; or use the bundled encoder: mini.",
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
