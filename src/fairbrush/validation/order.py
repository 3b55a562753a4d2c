"""What is asked of ``fairbrush validate``, filled in by what the image's own file says.

Enters: an ``Order``. Leaves: its weights, prompt, seeds and sampling. The one rule: what is asked for stands
before what the file says, and that before a default.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.corpus.generation.automatic1111 import is_parameters, parse_parameters
from fairbrush.corpus.generation.facts import GenerationMetadata
from fairbrush.corpus.generation.read import read_generation
from fairbrush.domain import Value
from fairbrush.embedding.encoder import Device
from fairbrush.errors import (
    GenerationUnreadableError,
    GeneratorError,
    PromptError,
    ValidationError,
    WeightsNotFoundError,
)
from fairbrush.mixing import MixInput
from fairbrush.validation.adapters import Adapter
from fairbrush.validation.generators import (
    HOW_TO_TAKE_INPUTS,
    LazyGenerator,
    Precision,
    Sampling,
    describe_generator,
)
from fairbrush.validation.prompts import Template
from fairbrush.validation.schedulers import find_scheduler
from fairbrush.validation.weights import BUNDLED_MODELS, KNOWN_MODELS, Lora

if TYPE_CHECKING:
    from fairbrush.config import Settings

STEPS, GUIDANCE = 25, 7.5  # where neither the order nor the image says


@dataclass(frozen=True)
class Order:
    """What is asked for; None: as the image's metadata say, else a default.

    ``weights``: a diffusers directory or safetensors checkpoint; ``base``: the checkpoint's base model;
    ``seeds``: how many; ``size``: width and height; ``budget``: coalitions, None: all. ``inputs``: what the
    image was mixed from; then it may be None: it is made. ``adapter``: of weights that read text alone.
    ``value`` and ``calibration``: of the fast answer, as of a ``Lookup``.
    """

    image: Path | None
    inputs: tuple[MixInput, ...] = ()
    adapter: Adapter | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    artists: tuple[str, ...] = ()
    model: str | None = None
    weights: Path | None = None
    base: Path | None = None
    loras: tuple[Lora, ...] = ()
    template: Template = field(default_factory=Template)
    seeds: int = 4
    first_seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    size: tuple[int, int] | None = None
    budget: int | None = None
    batch: int = 4
    value: Value | None = None
    calibration: str | None = None
    second_encoder: str | None = None
    device: Device = Device.AUTO
    precision: Precision | None = None
    safety_checker: bool = True
    allow_download: bool = False
    metadata: bool = True


def generator_of(settings: Settings, model_id: str, order: Order) -> LazyGenerator:
    """The order's weights, else those fairbrush.toml names for the model, else a model known by name.

    Raises WeightsNotFoundError, GeneratorError.
    """
    source: str | Path | None = order.weights or settings.generators.get(model_id)
    if source is None and model_id in (*KNOWN_MODELS, *BUNDLED_MODELS):
        source = model_id
    if source is None:
        raise WeightsNotFoundError(
            f"Nothing says where the weights of the model {model_id!r} lie.",
            next_step=f'Name them: --weights DIR, or write "{model_id}" = "DIR" under [generators] in'
            " fairbrush.toml.",
        )
    generator = describe_generator(
        source,
        base=order.base,
        loras=order.loras,
        adapter=order.adapter,
        device=order.device,
        precision=order.precision,
        allow_download=order.allow_download,
        safety_checker=order.safety_checker,
    )
    if order.inputs and not generator.reads_images:
        raise GeneratorError(f"{source} draws from text alone.", next_step=HOW_TO_TAKE_INPUTS)
    if not order.inputs and not generator.reads_text:
        raise GeneratorError(
            f"{source} draws from images, and reads no text.",
            next_step="Name what the image was mixed from, --inputs a.png:0.6 b.png:0.4; or use a"
            " text-to-image model.",
        )
    return generator


def metadata_of(order: Order, notes: list[str]) -> GenerationMetadata | None:
    """What the image's file says about its generation; a whole block of parameters given as the prompt goes
    before it."""
    said = None
    if order.metadata and order.image is not None:
        try:
            said = read_generation(order.image)
        except GenerationUnreadableError as error:
            notes.append(f"The image's metadata are not used: {error.message}")
    if order.prompt is None or not is_parameters(order.prompt):
        return said
    pasted = parse_parameters(order.prompt)
    known = {name: value for name, value in asdict(pasted).items() if value is not None}
    if pasted.sampler:
        known["scheduler"] = pasted.scheduler  # what the file says is of its own sampler
    return replace(said or pasted, **known)


def prompt_of(order: Order, said: GenerationMetadata | None) -> str:
    if order.prompt is not None:
        return parse_parameters(order.prompt).prompt or ""
    if order.inputs and (said is None or said.prompt is None):
        return ""
    if said is None or said.prompt is None:
        raise PromptError(
            f"{order.image} does not say with which prompt it was made.", next_step='Give it: --prompt "...".'
        )
    return said.prompt


def negative_prompt_of(order: Order, said: GenerationMetadata | None, generator: LazyGenerator) -> str:
    """What the file says is for a model that reads text; what was asked for is never left out in silence."""
    of_file = said.negative_prompt if said is not None and generator.reads_text else None
    return str(_first(order.negative_prompt, of_file, ""))


def seeds_of(order: Order, said: GenerationMetadata | None) -> tuple[int, ...]:
    """The image's own seed first: with it, what a coalition changes is seen on the very same noise."""
    if order.seeds < 1:
        raise ValidationError("There must be one seed or more.", next_step="Use --seeds 4.")
    first = _first(order.first_seed, said and said.seed, 0)
    return tuple((first + step) % 2**64 for step in range(order.seeds))


def sampling_of(
    order: Order, said: GenerationMetadata | None, generator: LazyGenerator, notes: list[str]
) -> Sampling:
    sampler = order.sampler
    if sampler is None and said is not None and said.sampler is not None:
        found = find_scheduler(said.sampler, said.scheduler)
        notes += [found.note] if found.note else []
        sampler = found.choice.name if found.choice else None
    width, height = _first(order.size, said and said.size, (generator.side, generator.side))
    return Sampling(
        steps=_first(order.steps, said and said.steps, STEPS),
        guidance=_first(order.guidance, said and said.guidance, GUIDANCE),
        scheduler=sampler,
        width=width,
        height=height,
    )


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)
