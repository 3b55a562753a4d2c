"""Models that make images, behind one door, ``describe_generator``.

Enters: a diffusers directory, a single-file checkpoint or ``sd-1.5``, and requests. Leaves: uint8 images. The
one rule: an image is one the model made, finite and not replaced, or the request fails by name.

One CPU noise generator an image, so one seed gives one noise whatever the batch and the device. The sums on
top of it differ in their last bits between batch sizes: on the miniature in float32, by at most 2e-6 of full
scale, one grey level in one of 20,000 values; a batch in another order is the same to the bit. One call of a
pipeline takes one mix of input images: a batch is cut into those of the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.embedding.encoder import Device
from fairbrush.errors import GeneratorError, ImagesRefusedError, RegenerationError
from fairbrush.validation.adapters import Adapter, adapted_digest
from fairbrush.validation.conditioning import AdapterConditioner, Conditioner, VariationConditioner
from fairbrush.validation.loading import (
    is_out_of_memory,
    load_pipeline,
    silent_libraries,
)
from fairbrush.validation.schedulers import build_scheduler, find_scheduler
from fairbrush.validation.weights import (
    IMAGE_VARIATION,
    Lora,
    ModelFiles,
    find_files,
    first_line,
    latent_factor,
    model_digest,
    native_side,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOW_TO_TAKE_INPUTS = (
    f"Inputs go into a diffusers folder of a {IMAGE_VARIATION}: --weights DIR; or into a Stable Diffusion "
    "with an IP-Adapter: --ip-adapter FILE.safetensors --image-encoder DIR."
)
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-ctrl", "/dev/nvgpu")


class Precision(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Conditioning:
    """An input image of an image mix. ``sha256``: of its file."""

    sha256: str
    path: Path
    weight: float


@dataclass(frozen=True)
class Request:
    """One image to make."""

    prompt: str
    seed: int
    negative_prompt: str = ""
    inputs: tuple[Conditioning, ...] = ()

    def __str__(self) -> str:
        """For messages: the seed, and never more than half of the prompt."""
        shown = self.prompt[: min(24, len(self.prompt) // 2)]
        return f"seed {self.seed}, prompt of {len(self.prompt)} characters {shown!r}…"


@dataclass(frozen=True)
class Sampling:
    """``guidance``: the CFG scale; ``scheduler``: a name ``find_scheduler`` knows, None: the model's own.

    Raises GeneratorError on numbers no model can use.
    """

    steps: int
    guidance: float
    scheduler: str | None
    width: int
    height: int

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise GeneratorError(f"{self.steps} steps cannot be drawn.", next_step="Use --steps 1 to 1000.")
        if not 0 <= self.guidance <= 1000:
            raise GeneratorError(
                f"A guidance of {self.guidance} cannot be used.", next_step="Use --guidance 7.5."
            )
        if min(self.width, self.height) < 1:
            raise GeneratorError(
                f"{self.width} x {self.height} is no image size.", next_step="Use --size 512x512."
            )


class Generator(Protocol):
    """``side``: the model's native size in pixels; ``device``: where it really runs."""

    model_digest: str
    device: str
    precision: str
    side: int

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> NDArray[np.uint8]:
        """uint8 (n, height, width, 3), one a request. Raises GeneratorError, RegenerationError.

        Of the latter ImagesRefusedError, which carries the other images, where only some are none.
        """

    def unread(self, prompt: str) -> str:
        """The end of a prompt that is beyond what the text encoder reads; empty where all of it is read."""


@dataclass(frozen=True)
class LazyGenerator:
    """A generator known by its identity before torch is imported; ``load`` loads it.

    ``reads_text``: prompts; ``reads_images``: inputs of an image mix.
    """

    model_digest: str
    precision: str
    side: int
    load: Callable[[], Generator]
    reads_text: bool = True
    reads_images: bool = False


def describe_generator(
    source: str | Path,
    *,
    base: Path | None = None,
    loras: Sequence[Lora] = (),
    adapter: Adapter | None = None,
    device: Device = Device.AUTO,
    precision: Precision | None = None,
    allow_download: bool = False,
    safety_checker: bool = True,
) -> LazyGenerator:
    """The one door to generators: find, check and hash a model's files; ``load`` of what it gives loads them.

    ``source``: a diffusers directory of any text-to-image or image-variation pipeline; a ``.safetensors``
    checkpoint, with ``base`` a diffusers directory of the model it was tuned from; or a name,
    ``sd-1.5`` or ``mini-diffusion``. ``adapter``: an IP-Adapter, with which a text-to-image model takes input
    images too. ``precision`` None: float16 on CUDA, float32 elsewhere. ``device`` auto asks torch only where
    this machine may have an accelerator.
    Raises WeightsNotFoundError, GeneratorError; ``load`` of what it gives also DeviceUnavailableError.
    """
    files = find_files(source, base=base, allow_download=allow_download, safety_checker=safety_checker)
    is_variation = files.class_name == IMAGE_VARIATION
    if adapter is not None and is_variation:
        raise GeneratorError(
            f"{source} makes variations of images: it takes no IP-Adapter.",
            next_step="Leave out --ip-adapter, or name a text-to-image model.",
        )
    chosen = precision or _usual_precision(device)
    load = partial(_load, files, loras=tuple(loras), adapter=adapter, device=device, precision=chosen)
    return LazyGenerator(
        _digest(files, loras, adapter),
        str(chosen),
        native_side(files),
        load,
        reads_text=not is_variation,
        reads_images=is_variation or adapter is not None,
    )


class DiffusersGenerator:
    """A loaded diffusers pipeline; with a ``conditioner`` it takes input images."""

    def __init__(
        self,
        pipeline: Any,
        *,
        model_digest: str,
        device: str,
        precision: str,
        side: int,
        multiple: int,
        conditioner: Conditioner | None = None,
    ) -> None:
        import inspect

        self.model_digest = model_digest
        self.device = device
        self.precision = precision
        self.side = side
        self._pipeline = pipeline
        self._multiple = multiple
        self._conditioner = conditioner
        self._own_scheduler = pipeline.scheduler
        self._understood = set(inspect.signature(pipeline.__call__).parameters)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> NDArray[np.uint8]:
        import numpy as np

        shape = (sampling.height, sampling.width, 3)
        if not requests:
            return np.empty((0, *shape), np.uint8)
        self._refuse_what_it_cannot(requests, sampling)
        self._pipeline.scheduler = self._scheduler(sampling.scheduler)
        images, flagged = self._drawn(requests, sampling)
        reasons = self._refused(requests, images, flagged)
        made = [
            None if n in reasons else np.rint(image * 255).astype(np.uint8) for n, image in enumerate(images)
        ]
        if reasons:
            raise ImagesRefusedError(made, reasons, next_step=self._after_refusal(images))
        return np.stack([image for image in made if image is not None])

    def unread(self, prompt: str) -> str:
        """The end of a prompt that is beyond what the text encoder reads; empty where all of it is read."""
        tokenizer = getattr(self._pipeline, "tokenizer", None)
        if tokenizer is None:
            return ""
        with silent_libraries():
            tokens = tokenizer(prompt, truncation=False).input_ids
        beyond = tokens[tokenizer.model_max_length - 1 : -1]
        return str(tokenizer.decode(beyond)) if beyond else ""

    def _drawn(
        self, requests: Sequence[Request], sampling: Sampling
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """(images as the pipeline gave them, which of them the safety checker replaced)."""
        import numpy as np

        together: dict[tuple[Conditioning, ...], list[int]] = {}
        for place, request in enumerate(requests):
            together.setdefault(request.inputs, []).append(place)
        drawn = np.empty((len(requests), sampling.height, sampling.width, 3), np.float32)
        flagged = np.zeros(len(requests), np.bool_)
        for inputs, places in together.items():
            output = self._run([requests[place] for place in places], sampling, inputs)
            images, wanted = np.asarray(output.images), (len(places), *drawn.shape[1:])
            if images.shape != wanted:
                raise RegenerationError(
                    f"{type(self._pipeline).__name__} gave images of shape {images.shape}, not {wanted}.",
                    next_step="Use another width and height.",
                )
            drawn[places] = images
            if (replaced := getattr(output, "nsfw_content_detected", None)) is not None:
                flagged[places] = replaced
        return drawn, flagged

    def _refuse_what_it_cannot(self, requests: Sequence[Request], sampling: Sampling) -> None:
        name = type(self._pipeline).__name__
        if self._conditioner is None and any(request.inputs for request in requests):
            raise GeneratorError(f"{name} takes no input images.", next_step=HOW_TO_TAKE_INPUTS)
        if "prompt" not in self._understood and any(request.prompt for request in requests):
            raise GeneratorError(f"{name} reads no prompt.", next_step="Leave it out, or use another model.")
        if "negative_prompt" not in self._understood and any(r.negative_prompt for r in requests):
            raise GeneratorError(f"{name} takes no negative prompt.", next_step="Leave it out.")
        if sampling.width % self._multiple or sampling.height % self._multiple:
            raise GeneratorError(
                f"{sampling.width} x {sampling.height} px: this model's sides must be multiples of "
                f"{self._multiple}.",
                next_step=f"Use --size {self.side}x{self.side}, the model's own.",
            )

    def _scheduler(self, name: str | None) -> Any:
        """A fresh one each time: some keep state from one run to the next."""
        own = self._own_scheduler
        if name is None:
            return type(own).from_config(own.config)
        answer = find_scheduler(name)
        if answer.choice is None:
            raise GeneratorError(f"The sampler {name!r} is not known.", next_step="Leave it out.")
        with silent_libraries():
            return build_scheduler(own, answer.choice)

    def _run(self, requests: Sequence[Request], sampling: Sampling, inputs: Sequence[Conditioning]) -> Any:
        import torch

        said: dict[str, Any] = {
            "prompt": [request.prompt for request in requests],
            "negative_prompt": [request.negative_prompt for request in requests],
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance,
            "width": sampling.width,
            "height": sampling.height,
            "output_type": "np",
        }
        try:
            with silent_libraries():
                if self._conditioner is not None:
                    said |= self._conditioner.arguments(
                        inputs, count=len(requests), guidance=sampling.guidance
                    )
                return self._pipeline(**{key: said[key] for key in said if key in self._understood})
        except GeneratorError:
            raise
        except Exception as error:  # whatever a pipeline raises
            if is_out_of_memory(error):
                raise
            name = type(self._pipeline).__name__
            raise RegenerationError(
                f"{name} cannot make these images ({first_line(error)}).",
                next_step="Try the model's own sampler, size and number of steps.",
            ) from error

    def _refused(
        self, requests: Sequence[Request], images: NDArray[Any], flagged: NDArray[np.bool_]
    ) -> dict[int, str]:
        """Why a request gave no image, by its place."""
        import numpy as np

        reasons = {}
        for place, request in enumerate(requests):
            if flagged[place]:
                reasons[place] = f"The safety checker replaced the image of {request}."
            elif not np.isfinite(images[place]).all():
                reasons[place] = f"The image of {request} is not finite in {self.precision}."
        return reasons

    def _after_refusal(self, images: NDArray[Any]) -> str:
        import numpy as np

        if not np.isfinite(images).all():
            return "Use --precision float32; if that does not help, the weights are damaged."
        return "Take another --seed, or judge the images yourself: --no-safety-checker."


def _usual_precision(device: Device) -> Precision:
    """float16 on CUDA, float32 elsewhere: Apple's GPUs give NaN in float16 on some models."""
    if device is Device.CUDA:
        return Precision.FLOAT16
    if device is Device.AUTO and any(Path(node).exists() for node in _GPU_DEVICES):
        from fairbrush.embedding.open_clip_tower import choose_device

        return Precision.FLOAT16 if choose_device(device) == "cuda" else Precision.FLOAT32
    return Precision.FLOAT32


def _digest(files: ModelFiles, loras: Sequence[Lora], adapter: Adapter | None) -> str:
    digest = model_digest(files, loras)
    return digest if adapter is None else adapted_digest(digest, adapter)


def _load(
    files: ModelFiles,
    *,
    loras: Sequence[Lora],
    adapter: Adapter | None,
    device: Device,
    precision: Precision,
) -> Generator:
    pipeline, ran_on = load_pipeline(
        files, loras=loras, adapter=adapter, device=device, precision=str(precision)
    )
    factor = latent_factor(files)
    conditioner: Conditioner | None = None
    if files.class_name == IMAGE_VARIATION:
        conditioner = VariationConditioner(pipeline)
    elif adapter is not None:
        conditioner = AdapterConditioner(pipeline, adapter)
    return DiffusersGenerator(
        pipeline,
        model_digest=_digest(files, loras, adapter),  # of what lies there now: it may have been replaced
        device=ran_on,
        precision=str(precision),
        side=native_side(files),
        # transformers cut latents into patches of 2 x 2
        multiple=max(8, factor) if "unet" in files.components else 2 * factor,
        conditioner=conditioner,
    )
