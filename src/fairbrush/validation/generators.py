"""Text-to-image models behind one door, ``load_generator``.

Enters: a diffusers directory, a single-file checkpoint or ``sd-1.5``, and requests. Leaves: uint8 images. The
one rule: an image is one the model made, finite and not replaced, or the request fails by name.

One CPU noise generator an image, so one seed gives one noise whatever the batch and the device. The sums on
top of it differ in their last bits between batch sizes: on the miniature in float32, by at most 2e-6 of full
scale, one grey level in one of 20,000 values; a batch in another order is the same to the bit.
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
from fairbrush.validation.loading import (
    first_line,
    is_out_of_memory,
    load_pipeline,
    silent_libraries,
)
from fairbrush.validation.schedulers import build_scheduler, find_scheduler
from fairbrush.validation.weights import (
    Lora,
    ModelFiles,
    find_files,
    latent_factor,
    model_digest,
    native_side,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
            raise GeneratorError(f"{self.steps} steps cannot be drawn.", next_step="Use 1 to 1000.")
        if not 0 <= self.guidance <= 1000:
            raise GeneratorError(f"A guidance of {self.guidance} cannot be used.", next_step="Try 7.5.")
        if min(self.width, self.height) < 1:
            raise GeneratorError(f"{self.width} x {self.height} is no image size.")


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


@dataclass(frozen=True)
class LazyGenerator:
    """A generator known by its identity before torch is imported; ``load`` loads it."""

    model_digest: str
    precision: str
    side: int
    load: Callable[[], Generator]


def describe_generator(
    source: str | Path,
    *,
    base: Path | None = None,
    loras: Sequence[Lora] = (),
    device: Device = Device.AUTO,
    precision: Precision | None = None,
    allow_download: bool = False,
    safety_checker: bool = True,
) -> LazyGenerator:
    """Find, check and hash a model's files. Raises WeightsNotFoundError, GeneratorError.

    ``precision`` None: float16 on CUDA, float32 elsewhere. ``device`` auto asks torch only where this machine
    may have an accelerator.
    """
    files = find_files(source, base=base, allow_download=allow_download, safety_checker=safety_checker)
    digest = model_digest(files, loras)
    chosen = precision or _usual_precision(device)
    load = partial(_load, files, digest, loras=tuple(loras), device=device, precision=chosen)
    return LazyGenerator(digest, str(chosen), native_side(files), load)


def load_generator(
    source: str | Path,
    *,
    base: Path | None = None,
    loras: Sequence[Lora] = (),
    device: Device = Device.AUTO,
    precision: Precision | None = None,
    allow_download: bool = False,
    safety_checker: bool = True,
) -> Generator:
    """The one door to generators.

    ``source``: a diffusers directory of any text-to-image pipeline; a ``.safetensors`` checkpoint, with
    ``base`` a diffusers directory of the model it was tuned from; or ``sd-1.5``.
    Raises WeightsNotFoundError, DeviceUnavailableError, GeneratorError.
    """
    return describe_generator(
        source,
        base=base,
        loras=loras,
        device=device,
        precision=precision,
        allow_download=allow_download,
        safety_checker=safety_checker,
    ).load()


class DiffusersGenerator:
    """A loaded diffusers text-to-image pipeline."""

    def __init__(
        self, pipeline: Any, *, model_digest: str, device: str, precision: str, side: int, multiple: int
    ) -> None:
        import inspect

        self.model_digest = model_digest
        self.device = device
        self.precision = precision
        self.side = side
        self._pipeline = pipeline
        self._multiple = multiple
        self._own_scheduler = pipeline.scheduler
        self._understood = set(inspect.signature(pipeline.__call__).parameters)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> NDArray[np.uint8]:
        import numpy as np

        shape = (sampling.height, sampling.width, 3)
        if not requests:
            return np.empty((0, *shape), np.uint8)
        self._refuse_what_it_cannot(requests, sampling)
        self._pipeline.scheduler = self._scheduler(sampling.scheduler)
        output = self._run(requests, sampling)
        images = np.asarray(output.images)
        if images.shape != (len(requests), *shape):
            raise RegenerationError(
                f"{type(self._pipeline).__name__} gave images of shape {images.shape}, not "
                f"{(len(requests), *shape)}.",
                next_step="Use another width and height.",
            )
        reasons = self._refused(requests, images, getattr(output, "nsfw_content_detected", None))
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

    def _refuse_what_it_cannot(self, requests: Sequence[Request], sampling: Sampling) -> None:
        name = type(self._pipeline).__name__
        if any(request.inputs for request in requests):
            raise GeneratorError(f"{name} takes no input images.", next_step="Leave out --inputs.")
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

    def _run(self, requests: Sequence[Request], sampling: Sampling) -> Any:
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
                return self._pipeline(**{key: said[key] for key in said if key in self._understood})
        except Exception as error:  # whatever a pipeline raises
            if is_out_of_memory(error):
                raise
            name = type(self._pipeline).__name__
            raise RegenerationError(
                f"{name} cannot make these images ({first_line(error)}).",
                next_step="Try the model's own sampler, size and number of steps.",
            ) from error

    def _refused(
        self, requests: Sequence[Request], images: NDArray[Any], flagged: Sequence[bool] | None
    ) -> dict[int, str]:
        """Why a request gave no image, by its place."""
        import numpy as np

        reasons = {}
        for place, request in enumerate(requests):
            if flagged is not None and flagged[place]:
                reasons[place] = f"The safety checker replaced the image of {request}."
            elif not np.isfinite(images[place]).all():
                reasons[place] = f"The image of {request} is not finite in {self.precision}."
        return reasons

    def _after_refusal(self, images: NDArray[Any]) -> str:
        import numpy as np

        if not np.isfinite(images).all():
            return "Use --precision float32; if that does not help, the weights are damaged."
        return "Leave these seeds out, or judge the images yourself: --no-safety-checker."


def _usual_precision(device: Device) -> Precision:
    """float16 on CUDA, float32 elsewhere: Apple's GPUs give NaN in float16 on some models."""
    if device is Device.CUDA:
        return Precision.FLOAT16
    if device is Device.AUTO and any(Path(node).exists() for node in _GPU_DEVICES):
        from fairbrush.embedding.open_clip_tower import choose_device

        return Precision.FLOAT16 if choose_device(device) == "cuda" else Precision.FLOAT32
    return Precision.FLOAT32


def _load(
    files: ModelFiles, digest: str, *, loras: Sequence[Lora], device: Device, precision: Precision
) -> Generator:
    pipeline, ran_on = load_pipeline(files, loras=loras, device=device, precision=str(precision))
    factor = latent_factor(files)
    return DiffusersGenerator(
        pipeline,
        model_digest=digest,
        device=ran_on,
        precision=str(precision),
        side=native_side(files),
        # transformers cut latents into patches of 2 x 2
        multiple=max(8, factor) if "unet" in files.components else 2 * factor,
    )
