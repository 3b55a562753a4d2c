"""A model's files: found, checked and named by their content, before anything is loaded.

Enters: a diffusers directory, a single-file checkpoint with a directory of its base model, or ``sd-1.5``.
Leaves: ``ModelFiles``, and a SHA-256 that is the same wherever the files lie. The one rule: torch is not
imported, nothing is unpickled and no program of a model's is run; only safetensors are weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.config import home_expanded
from fairbrush.embedding.hub import set_hub
from fairbrush.errors import GeneratorError, WeightsNotFoundError

KNOWN_MODELS = {"sd-1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
BUNDLED_MODELS = {"mini-diffusion": Path(__file__).parents[1] / "data" / "mini_diffusion"}
CHECKER_PARTS = ("safety_checker", "feature_extractor")  # they judge an image and change none
IMAGE_VARIATION = "StableDiffusionImageVariationPipeline"  # draws from an image, and reads no text
_READS_IMAGES = ("image_encoder", "feature_extractor")
_WEIGHTS = re.compile(
    r"(model|diffusion_pytorch_model)(\.fp16)?(-\d{5}-of-\d{5})?(?P<late>\.fp16)?\.safetensors"
)
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "FeatureExtractor")
_VOCABULARIES = ({"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"vocab.txt"}, {".model"})
_DOWNLOADED = ("model_index.json", "*/*.json", "*/*.txt", "*/*.fp16.safetensors")
_LARGEST_INDEX = 1_000_000  # bytes of a model_index.json or config.json
_CHECKPOINT_PARTS = {
    "denoiser": ("model.diffusion_model.",),
    "autoencoder": ("first_stage_model.",),
    "text encoder": ("cond_stage_model.", "conditioner."),
}


@dataclass(frozen=True)
class Lora:
    """A LoRA file, how strongly it is applied, and the artists it was tuned on."""

    path: Path
    scale: float
    artists: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """One entry of model_index.json. ``variant``: ``fp16`` where only such files are there."""

    library: str
    class_name: str
    weights: tuple[Path, ...] = ()
    variant: str | None = None


@dataclass(frozen=True)
class ModelFiles:
    """``folder``: the diffusers directory; where there is a ``checkpoint``, that of its base model."""

    folder: Path
    class_name: str
    components: Mapping[str, Component]
    checkpoint: Path | None = None

    @property
    def judging_parts(self) -> tuple[str, ...]:
        """Components that judge an image and change none."""
        return judging_parts(self.class_name)


def judging_parts(class_name: str) -> tuple[str, ...]:
    """Of a pipeline's components. Image variation sees its input through the feature extractor.

    >>> judging_parts("StableDiffusionPipeline"), judging_parts(IMAGE_VARIATION)
    (('safety_checker', 'feature_extractor'), ('safety_checker',))
    """
    return tuple(part for part in CHECKER_PARTS if class_name != IMAGE_VARIATION or part not in _READS_IMAGES)


def parse_lora(text: str) -> Lora:
    """Read ``FILE[:SCALE]=Artist,Artist``. Raises GeneratorError.

    >>> parse_lora("/loras/v2=ink.safetensors:0.8=Ann Ito, Bo Lind")
    Lora(path=PosixPath('/loras/v2=ink.safetensors'), scale=0.8, artists=('Ann Ito', 'Bo Lind'))
    """
    match = re.fullmatch(r"(?P<file>.+?\.safetensors)(:(?P<scale>[^=]*))?=(?P<artists>.*)", text, re.I | re.S)
    how = "Write FILE.safetensors[:SCALE]=ARTIST,ARTIST; names as the registry knows them."
    if match is None:
        if Path(re.split(r"[=:]", text)[0]).suffix.casefold() in PICKLES:
            raise GeneratorError(f"{text}: a LoRA must be a safetensors file; pickles can run programs.")
        raise GeneratorError(f"{text!r} names no LoRA file with its artists.", next_step=how)
    try:
        scale = float(match["scale"]) if match["scale"] is not None else 1.0
    except ValueError:
        scale = float("nan")
    if not -100 <= scale <= 100:
        raise GeneratorError(f"{match['scale']!r} is not a LoRA's scale.", next_step=how)
    artists = tuple(dict.fromkeys(name.strip() for name in match["artists"].split(",") if name.strip()))
    if not artists:
        raise GeneratorError(f"{text!r} names no artist the LoRA was tuned on.", next_step=how)
    return Lora(home_expanded(Path(match["file"])), scale, artists)


def find_files(
    source: str | Path,
    *,
    base: Path | None = None,
    allow_download: bool = False,
    safety_checker: bool = True,
) -> ModelFiles:
    """Find a model's files and check them as far as that goes without loading.

    Raises WeightsNotFoundError, GeneratorError.
    """
    path = home_expanded(Path(source))
    if str(source) in BUNDLED_MODELS and not path.exists():
        path = BUNDLED_MODELS[str(source)]
    if str(source) in KNOWN_MODELS and not path.exists():
        folder = _hub_folder(str(source), allow_download=allow_download, safety_checker=safety_checker)
        return _directory(folder, safety_checker=safety_checker)
    if path.is_dir():
        return _directory(path, safety_checker=safety_checker)
    if not path.is_file():
        raise _not_found(str(source))
    return _single_file(path, base, safety_checker=safety_checker)


def model_digest(files: ModelFiles, loras: Sequence[Lora] = ()) -> str:
    """SHA-256 identity of the weights and of what decides how they are used: no path, no time.

    LoRAs count by their content and scale, in any order; the safety checker does not, which refuses images
    and changes none. Raises GeneratorError.
    """
    named = {"model_index.json": files.folder / "model_index.json"}
    for name, component in files.components.items():
        if name in files.judging_parts:
            continue
        settings = [
            file for file in (files.folder / name).iterdir() if file.suffix in (".json", ".txt", ".model")
        ]
        weights = () if files.checkpoint else component.weights
        named |= {f"{name}/{file.name}": file for file in (*settings, *weights)}
    if files.checkpoint:
        named["checkpoint"] = files.checkpoint
    return canonical_digest(
        {
            "schema": "fairbrush-model/1",
            "files": [[name, file_digest(file)] for name, file in sorted(named.items())],
            "loras": sorted([check_lora(lora), decimal_text(lora.scale)] for lora in loras),
        }
    )


def native_side(files: ModelFiles) -> int:
    """Side in pixels of the images a model was trained on, from its configs."""
    denoiser = next((name for name in ("unet", "transformer") if name in files.components), None)
    sample = _config(files, denoiser).get("sample_size") if denoiser else None
    side = max(sample) if isinstance(sample, list) and sample else sample
    return (side if isinstance(side, int) else 128) * latent_factor(files)  # diffusers' own default is 128


def latent_factor(files: ModelFiles) -> int:
    """Pixels a latent's side stands for."""
    blocks = _config(files, "vae").get("block_out_channels") if "vae" in files.components else None
    return int(2 ** (len(blocks) - 1)) if isinstance(blocks, list) and blocks else 8


def check_lora(lora: Lora) -> str:
    """A LoRA file's SHA-256. Raises WeightsNotFoundError, GeneratorError."""
    if not lora.path.is_file():
        raise WeightsNotFoundError(f"The LoRA file {lora.path} does not exist.", next_step="Check the path.")
    if lora.path.suffix.casefold() != ".safetensors":
        raise GeneratorError(f"{lora.path}: a LoRA must be a safetensors file; pickles can run programs.")
    if not any("lora" in name for name in tensor_names(lora.path)):
        raise GeneratorError(
            f"{lora.path} holds no LoRA layers.",
            next_step="A whole checkpoint is loaded with --weights FILE --base DIR.",
        )
    return file_digest(lora.path)


def tensor_names(file: Path) -> list[str]:
    """Of a safetensors file whose length is what its header says. Raises GeneratorError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise GeneratorError(
            f"{file} is damaged or cut off: {error}.", next_step="Copy or download it again."
        ) from error


@contextmanager
def hub_switched(*, on: bool) -> Iterator[None]:
    """Let the Hugging Face libraries open sockets, or not; afterwards they may not."""
    set_hub(online=on)
    try:
        yield
    finally:
        set_hub(online=False)


def _hub_folder(name: str, *, allow_download: bool, safety_checker: bool) -> Path:
    """The snapshot of a known model in the local Hugging Face cache, downloaded first where allowed."""
    repo = KNOWN_MODELS[name]
    with hub_switched(on=False):
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(repo, local_files_only=True))
            _directory(folder, safety_checker=safety_checker)
        except (OSError, ValueError, GeneratorError, WeightsNotFoundError) as error:
            if not allow_download:
                raise _not_found(name) from error
        else:
            return folder
    with hub_switched(on=True):
        try:
            return Path(snapshot_download(repo, allow_patterns=list(_DOWNLOADED)))
        except Exception as error:  # whatever the hub's client, or the network under it, raises
            raise WeightsNotFoundError(
                f"{repo} cannot be downloaded: {first_line(error)}.", next_step=_where_weights_come_from()
            ) from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _not_found(source: str) -> WeightsNotFoundError:
    if source in KNOWN_MODELS:
        what = f"The weights of {source} ({KNOWN_MODELS[source]}) are not in the Hugging Face cache here."
    else:
        what = f"There is no model at {source}."
    return WeightsNotFoundError(what, next_step=_where_weights_come_from())


def _where_weights_come_from() -> str:
    return (
        "Put a diffusers directory (model_index.json and safetensors) anywhere and name it: --weights DIR; "
        "or --weights sd-1.5 --allow-download once, on a machine with a network. Nothing else opens a "
        "socket. To try the command itself: --weights mini-diffusion, the bundled miniature."
    )


def _directory(folder: Path, *, safety_checker: bool) -> ModelFiles:
    index = folder / "model_index.json"
    if not index.is_file():
        loose = sorted(file.name for file in folder.iterdir() if file.suffix == ".safetensors")
        hint = f"Is {loose[0]} a single-file checkpoint? --weights FILE --base DIR. " if loose else ""
        raise GeneratorError(
            f"{folder} is no diffusers directory: it has no model_index.json.",
            next_step=hint + _where_weights_come_from(),
        )
    class_name, named = _read_index(index)
    judging = judging_parts(class_name)
    wanted = {name: pair for name, pair in named.items() if safety_checker or name not in judging}
    lacking = [name for name in _READS_IMAGES if class_name == IMAGE_VARIATION and name not in wanted]
    if lacking:
        raise GeneratorError(
            f"{folder} makes variations of images, and its model_index.json names no {lacking[0]}.",
            next_step="Copy or download the whole directory again.",
        )
    components = {name: component_at(folder, name, *pair) for name, pair in wanted.items()}
    return ModelFiles(folder, class_name, components)


def _single_file(path: Path, base: Path | None, *, safety_checker: bool) -> ModelFiles:
    if path.suffix != ".safetensors":
        raise GeneratorError(
            f"{path} is not a safetensors file; other checkpoints are pickles, which can run programs.",
            next_step="Convert it where you trust it: torch.load(..., weights_only=True), then write its "
            "tensors with safetensors.torch.save_file.",
        )
    names = tensor_names(path)
    missing = [
        part
        for part, prefixes in _CHECKPOINT_PARTS.items()
        if not any(name.startswith(prefixes) for name in names)
    ]
    if missing:
        is_lora = any("lora" in name for name in names)
        raise GeneratorError(
            f"{path} is no whole Stable Diffusion checkpoint: it holds no {' and no '.join(missing)}.",
            next_step=f"It is a LoRA: --lora {path}=ARTIST." if is_lora else "Use a full checkpoint.",
        )
    if base is None or not base.is_dir():
        said = f"{base} is no directory." if base else "A checkpoint does not say how it is built."
        raise GeneratorError(
            f"{path} needs a diffusers directory of the model it was tuned from. {said}",
            next_step="--base DIR; its tokenizer and configs are read, its denoiser is not.",
        )
    index = base / "model_index.json"
    if not index.is_file():
        raise GeneratorError(
            f"{base} is no diffusers directory: it has no model_index.json.", next_step="--base DIR."
        )
    class_name, named = _read_index(index)
    components = {}
    for name, pair in named.items():
        if name not in CHECKER_PARTS:
            _component_folder(base, name, pair[1])
            components[name] = Component(*pair)
        elif safety_checker:
            components[name] = component_at(base, name, *pair)
    return ModelFiles(base, class_name, components, path)


def _read_index(index: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    """The pipeline's class, and (library, class) by component. Custom code is refused here."""
    read = read_json(index)
    class_name = read.get("_class_name")
    if isinstance(class_name, list):
        raise _custom_code(index, f"the pipeline {class_name}")
    if not isinstance(class_name, str):
        raise GeneratorError(f"{index} names no pipeline class.", next_step="Copy or download it again.")
    components = {}
    for name, pair in read.items():
        if name.startswith("_") or not isinstance(pair, list) or pair == [None, None]:
            continue
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise GeneratorError(f"{index}: {name} is not [library, class].", next_step="Copy it again.")
        if not all(part.isidentifier() for part in (name, *pair)):
            raise _custom_code(index, f"{name} from {'.'.join(pair)}")
        components[name] = (pair[0], pair[1])
    return class_name, components


def _custom_code(index: Path, what: str) -> GeneratorError:
    return GeneratorError(
        f"{index} asks for {what}: code outside diffusers and transformers, which fairbrush does not run.",
        next_step="Use a model whose every part is of diffusers or transformers.",
    )


def _component_folder(folder: Path, name: str, class_name: str) -> Path:
    part = folder / name
    if not part.is_dir():
        raise GeneratorError(
            f"{folder} has no {name}, which its model_index.json names.",
            next_step="Copy or download the whole directory again.",
        )
    code = sorted(file.name for file in part.iterdir() if file.suffix == ".py")
    if code:
        raise _custom_code(folder / "model_index.json", f"{name}/{code[0]}")
    if "Tokenizer" in class_name:
        there = {file.name for file in part.iterdir()} | {file.suffix for file in part.iterdir()}
        if not any(words <= there for words in _VOCABULARIES):  # it would load with two words, in silence
            raise GeneratorError(
                f"{part} holds no vocabulary.", next_step="Copy or download the whole directory again."
            )
    return part


def component_at(folder: Path, name: str, library: str, class_name: str) -> Component:
    """One part of a model that is its folder's. Raises GeneratorError."""
    part = _component_folder(folder, name, class_name)
    if class_name.endswith(_WITHOUT_WEIGHTS) or "ImageProcessor" in class_name:
        return Component(library, class_name)
    read_json(part / "config.json")
    matches = [(file, _WEIGHTS.fullmatch(file.name)) for file in sorted(part.iterdir())]
    plain = tuple(file for file, match in matches if match and not (match[2] or match["late"]))
    half = tuple(file for file, match in matches if match and (match[2] or match["late"]))
    weights = plain or half
    if not weights:
        raise _without_weights(part)
    for file in weights:
        tensor_names(file)
    return Component(library, class_name, weights, None if plain else "fp16")


def _without_weights(part: Path) -> GeneratorError:
    pickles = sorted(file.name for file in part.iterdir() if file.suffix in PICKLES)
    if not pickles:
        return GeneratorError(f"{part} holds no weights.", next_step="Copy or download the directory again.")
    other = ", or leave it out: --no-safety-checker" if part.name in CHECKER_PARTS else ""
    return GeneratorError(
        f"{part} holds {pickles[0]} and no safetensors: a pickle can run programs, so it is not read.",
        next_step='Convert it where you trust it: python -c "from diffusers import DiffusionPipeline; '
        "DiffusionPipeline.from_pretrained('DIR', use_safetensors=False).save_pretrained('NEW_DIR')\""
        f"{other}.",
    )


def _config(files: ModelFiles, name: str) -> dict[str, Any]:
    return read_json(files.folder / name / "config.json")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object that is not too long. Raises GeneratorError."""
    try:
        text = file.read_bytes()
        read = json.loads(text) if len(text) <= _LARGEST_INDEX else None
    except (OSError, ValueError, RecursionError) as error:
        raise GeneratorError(
            f"{file} cannot be read: {error}.", next_step="Copy or download the model again."
        ) from error
    if not isinstance(read, dict):
        raise GeneratorError(f"{file} is no JSON object.", next_step="Copy or download the model again.")
    return read


def file_digest(file: Path) -> str:
    """SHA-256; of a config.json without where it was once loaded from. Raises GeneratorError."""
    try:
        with file.open("rb") as stream:
            if file.name == "config.json":
                return hashlib.sha256(_placeless(stream.read())).hexdigest()
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise GeneratorError(f"{file} cannot be read: {error}.") from error


def _placeless(config: bytes) -> bytes:
    """Without the path that diffusers writes into the configs of a model it has loaded."""
    try:
        settings = json.loads(config)
    except ValueError:
        return config
    if not isinstance(settings, dict):
        return config
    return json.dumps({k: v for k, v in settings.items() if k != "_name_or_path"}, sort_keys=True).encode()
