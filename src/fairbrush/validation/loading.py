"""A model's files, found and checked, as a diffusers pipeline on a device.

Enters: ``ModelFiles``. Leaves: a pipeline whose every tensor came from those files. The rules: hubs are
offline, nothing is unpickled, and what a loader would fill in with random numbers is an error.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairbrush.embedding.encoder import Device
from fairbrush.errors import GeneratorError
from fairbrush.validation.adapters import Adapter, encoder_files, widths_of
from fairbrush.validation.weights import (
    CHECKER_PARTS,
    IMAGE_VARIATION,
    Lora,
    ModelFiles,
    first_line,
    hub_switched,
    tensor_names,
)


def load_pipeline(
    files: ModelFiles,
    *,
    loras: Sequence[Lora],
    adapter: Adapter | None = None,
    device: Device,
    precision: str,
) -> tuple[Any, str]:
    """(pipeline, the device it is on). Raises DeviceUnavailableError, GeneratorError."""
    from fairbrush.embedding.open_clip_tower import choose_device

    _import_extra(["peft"] if loras else [])
    import torch

    ran_on = choose_device(device)
    torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32
    torch.backends.cudnn.allow_tf32 = False
    dtype = getattr(torch, precision)
    with hub_switched(on=False), silent_libraries(), _as_generator_errors(files):
        _refuse_other_classes(files)
        pipeline = _from_checkpoint(files, dtype) if files.checkpoint else _from_directory(files, dtype)
        if any(tensor.is_meta for tensor in _tensors(pipeline)):
            raise GeneratorError(
                f"{files.checkpoint or files.folder} lacks tensors its model needs.",
                next_step="Copy or download it again; a checkpoint's --base must be its own base model.",
            )
        _apply_loras(pipeline, loras)
        if adapter is not None:
            _apply_adapter(pipeline, adapter, dtype)
        pipeline.to(ran_on)
        pipeline.set_progress_bar_config(disable=True)
    return pipeline, ran_on


def is_out_of_memory(error: BaseException) -> bool:
    """Of the main memory or an accelerator's; torch need not be imported.

    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")), \
            is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).casefold()
    phrases = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(phrase in said for phrase in phrases)


def _import_extra(more: Sequence[str]) -> None:
    """Raises GeneratorError."""
    from fairbrush.embedding.torchvision_ops import make_torchvision_importable

    with hub_switched(on=False):
        make_torchvision_importable()
        try:
            for library in ("diffusers", "transformers", *more):  # pipelines are made of transformers' parts
                importlib.import_module(library)
        except ImportError as error:
            raise GeneratorError(
                f"Regeneration needs {' and '.join(['diffusers', 'transformers', *more])} ({error}).",
                next_step='pip install "fairbrush[validate]"',
            ) from error


def _refuse_other_classes(files: ModelFiles) -> None:
    """Only text-to-image and image variation, whose every part is of diffusers or transformers."""
    import diffusers
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    known = {IMAGE_VARIATION, *(cls.__name__ for cls in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())}
    if files.class_name not in known or "Control" in files.class_name:
        raise GeneratorError(
            f"{files.folder} is a {files.class_name}: no pipeline that makes images from text alone, or "
            "from the likeness of images.",
            next_step="Use a text-to-image model, such as a StableDiffusionPipeline or "
            f"StableDiffusionXLPipeline, or a {IMAGE_VARIATION}; not inpainting, image-to-image, control, "
            "unconditional or video.",
        )
    pipelines = Path(diffusers.__file__).parent / "pipelines"
    for name, component in files.components.items():
        library = component.library
        if library not in ("diffusers", "transformers") and not (pipelines / library).is_dir():
            raise GeneratorError(
                f"{files.folder}: {name} is of {library}, code outside diffusers and transformers, which "
                "fairbrush does not run.",
                next_step="Use a model whose every part is of diffusers or transformers.",
            )


def _from_directory(files: ModelFiles, dtype: Any) -> Any:
    import diffusers

    parts = {
        name: _load_part(files, name, dtype)
        for name, component in files.components.items()
        if component.weights
    }
    pipeline_class: Any = diffusers.DiffusionPipeline
    return pipeline_class.from_pretrained(
        str(files.folder),
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **parts,
        **_left_out(files),
    )


def _from_checkpoint(files: ModelFiles, dtype: Any) -> Any:
    import diffusers
    import transformers

    assert files.checkpoint is not None
    given = dict(_left_out(files))
    if "safety_checker" in files.components:
        given["safety_checker"] = _load_part(files, "safety_checker", dtype)
        named = files.components.get("feature_extractor")
        if named is not None:
            reader = getattr(transformers, named.class_name)
            given["feature_extractor"] = reader.from_pretrained(files.folder / "feature_extractor")
    return getattr(diffusers, files.class_name).from_single_file(
        str(files.checkpoint),
        config=str(files.folder),
        torch_dtype=dtype,
        local_files_only=True,
        **given,
    )


def _left_out(files: ModelFiles) -> dict[str, None]:
    """The safety checker's parts that this pipeline could have and is to do without."""
    import diffusers

    could_have = inspect.signature(getattr(diffusers, files.class_name).__init__).parameters
    return {name: None for name in CHECKER_PARTS if name in could_have and name not in files.components}


def _load_part(files: ModelFiles, name: str, dtype: Any) -> Any:
    """A component with weights; one whose file lacks tensors would be filled with random ones in silence."""
    component = files.components[name]
    library = component.library
    if library not in ("diffusers", "transformers"):
        library = f"diffusers.pipelines.{library}"
    model, loaded = getattr(importlib.import_module(library), component.class_name).from_pretrained(
        str(files.folder / name),
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        variant=component.variant,
        output_loading_info=True,
    )
    lacking = [*loaded["missing_keys"], *(str(key) for key in loaded["mismatched_keys"])]
    if lacking:
        raise GeneratorError(
            f"{files.folder / name} lacks {len(lacking)} tensors its config asks for, such as {lacking[0]}.",
            next_step="Copy or download the model again.",
        )
    return model.eval()


def _tensors(pipeline: Any) -> Iterator[Any]:
    import torch

    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            yield from part.parameters()


def _apply_loras(pipeline: Any, loras: Sequence[Lora]) -> None:
    """Load each, check that all of its layers found their place, and set the scales."""
    if loras and not hasattr(pipeline, "load_lora_weights"):
        raise GeneratorError(f"{type(pipeline).__name__} takes no LoRA.", next_step="Leave out --lora.")
    names = [f"lora{place}" for place in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        try:
            pipeline.load_lora_weights(
                str(lora.path.parent),
                weight_name=lora.path.name,
                adapter_name=name,
                use_safetensors=True,
                local_files_only=True,
            )
        except Exception as error:  # whatever its readers of many layouts raise
            if is_out_of_memory(error):
                raise
            raise _lora_does_not_fit(lora, first_line(error)) from error
        there = _n_lora_layers(tensor_names(lora.path))
        used = _n_used_layers(pipeline, name)
        if used < there:
            raise _lora_does_not_fit(lora, f"{there - used} of its {there} layers have no place in it")
    if loras:
        pipeline.set_adapters(names, adapter_weights=[lora.scale for lora in loras])


def _apply_adapter(pipeline: Any, adapter: Adapter, dtype: Any) -> None:
    """Load the image encoder and the adapter, and check that all of its layers found their place."""
    understood = inspect.signature(pipeline.__call__).parameters
    if not hasattr(pipeline, "encode_image") or "ip_adapter_image_embeds" not in understood:
        raise GeneratorError(
            f"{type(pipeline).__name__} takes no IP-Adapter.",
            next_step="Use a StableDiffusionPipeline or StableDiffusionXLPipeline.",
        )
    files = encoder_files(adapter)
    [name] = files.components
    encoder = _load_part(files, name, dtype)
    _refuse_other_widths(pipeline, adapter, encoder)
    pipeline.register_modules(image_encoder=encoder)
    try:
        pipeline.load_ip_adapter(
            str(adapter.path.parent),
            subfolder="",
            weight_name=adapter.path.name,
            image_encoder_folder=None,  # the encoder is there
            local_files_only=True,
        )
    except Exception as error:  # whatever its readers of many layouts raise
        if is_out_of_memory(error):
            raise
        raise _adapter_does_not_fit(adapter, first_line(error)) from error
    if any(tensor.is_meta for tensor in _tensors(pipeline)):
        raise _adapter_does_not_fit(adapter, "it lacks tensors")
    pipeline.set_ip_adapter_scale(adapter.scale)


def _refuse_other_widths(pipeline: Any, adapter: Adapter, encoder: Any) -> None:
    """An adapter of another model may have as many numbers in other shapes, or layers nobody asks for."""
    widths = widths_of(adapter)
    gives = encoder.config.hidden_size if widths.of_patches else encoder.config.projection_dim
    if widths.reads != gives:
        raise GeneratorError(
            f"The IP-Adapter {adapter.path} reads embeddings of {widths.reads} numbers, the image encoder "
            f"{adapter.encoder} gives {gives}.",
            next_step="Use the image encoder the adapter was trained with: --image-encoder DIR.",
        )
    attending = [
        pipeline.unet.get_submodule(name.removesuffix(".processor"))
        for name in pipeline.unet.attn_processors
        if not name.endswith("attn1.processor")
    ]
    layers = tuple((layer.to_k.out_features, layer.to_k.in_features) for layer in attending)
    if layers != widths.layers:
        raise _adapter_does_not_fit(adapter, "its attention layers are not this model's")


def _adapter_does_not_fit(adapter: Adapter, why: str) -> GeneratorError:
    return GeneratorError(
        f"The IP-Adapter {adapter.path} does not fit this model: {why}.",
        next_step="Use one that was trained for it: ip-adapter_sd15 for SD 1.x, ip-adapter_sdxl for SDXL.",
    )


def _n_lora_layers(names: Sequence[str]) -> int:
    down = ("lora_A.weight", "lora_down.weight", "lora.down.weight", "lora_A.default.weight")
    return sum(name.endswith(down) for name in names)


def _n_used_layers(pipeline: Any, adapter: str) -> int:
    import torch

    return sum(
        name.endswith(f"lora_A.{adapter}.weight")
        for part in pipeline.components.values()
        if isinstance(part, torch.nn.Module)
        for name, _ in part.named_parameters()
    )


def _lora_does_not_fit(lora: Lora, why: str) -> GeneratorError:
    return GeneratorError(
        f"The LoRA {lora.path} does not fit this model: {why}.",
        next_step="Use the base model it was tuned on.",
    )


@contextmanager
def _as_generator_errors(files: ModelFiles) -> Iterator[None]:
    """Loaders raise what they happen to raise: name the model and the next step instead."""
    try:
        yield
    except GeneratorError:
        raise
    except Exception as error:  # whatever a loader raises
        source = files.checkpoint or files.folder
        if is_out_of_memory(error):
            raise GeneratorError(
                f"{source} does not fit in memory.",
                next_step="Use --precision float16, or --device cpu.",
            ) from error
        raise GeneratorError(
            f"{source} cannot be loaded ({first_line(error)}).",
            next_step="Copy or download the model again; its configs must belong to its weights.",
        ) from error


@contextmanager
def silent_libraries() -> Iterator[None]:
    """diffusers and transformers log prompts and progress on stderr; what matters comes back as an error."""
    import logging
    import warnings

    for library in ("diffusers", "transformers"):
        importlib.import_module(f"{library}.utils.logging").disable_progress_bar()
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
