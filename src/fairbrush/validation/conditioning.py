"""What an image-conditioned pipeline is told of a mix of input images.

Enters: a loaded pipeline, and a coalition's inputs with their weights. Leaves: arguments of its call. The one
rule: an input that is not there leaves its place to the embedding the pipeline takes for no image.

With h(i) an input's embedding and h(0) that of no image, a mix is ``h(0) + sum of w_i (h(i) - h(0))``.
Weights are taken as given, as ImageMixer takes its strengths (lambdalabs/image-mixer: each embedding times
its own, zeros where there is no image), and not made to sum to 1 over a coalition: else an input of weight
0.01, alone, would be drawn as fully as one of weight 1, and be paid for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.corpus.images import ImageLimits, decode_image, read_file
from fairbrush.errors import GeneratorError, ImageRefusedError
from fairbrush.validation.adapters import Adapter, processor_config

if TYPE_CHECKING:
    from fairbrush.validation.generators import Conditioning


class Conditioner(Protocol):
    """Turns inputs into arguments of one call of a pipeline."""

    def arguments(self, inputs: Sequence[Conditioning], *, count: int, guidance: float) -> dict[str, Any]:
        """For ``count`` images, all of the same inputs. Raises GeneratorError."""


class VariationConditioner:
    """For ``StableDiffusionImageVariationPipeline``, which takes images and embeds them itself.

    Its encoder is kept here, and in its place stands one that hands on the embedding it is given.
    """

    def __init__(self, pipeline: Any) -> None:
        self._encoder, self._reader = pipeline.image_encoder, pipeline.feature_extractor
        self._embedded: dict[str, Any] = {}
        pipeline.register_modules(image_encoder=_hands_on(self._encoder))

    def arguments(self, inputs: Sequence[Conditioning], *, count: int, guidance: float) -> dict[str, Any]:
        import torch

        nothing = torch.zeros(1, self._encoder.config.projection_dim, device=self._encoder.device)
        mix = mix_of(inputs, self._embed, nothing)
        return {"image": mix.to(self._encoder.dtype).expand(count, -1)}

    def _embed(self, one: Conditioning) -> Any:
        import torch

        if one.sha256 not in self._embedded:
            pixels = pixels_of(one, self._reader).to(self._encoder.device, self._encoder.dtype)
            with torch.no_grad():
                self._embedded[one.sha256] = self._encoder(pixels).image_embeds.float()
        return self._embedded[one.sha256]


class AdapterConditioner:
    """For a pipeline with an IP-Adapter.

    Of no image a plain adapter sees zeros, as it was trained to; one that reads patches sees a blank image's.
    """

    def __init__(self, pipeline: Any, adapter: Adapter) -> None:
        self._pipeline = pipeline
        self._reader = _reader_of(adapter, pipeline.image_encoder)
        self._embedded: dict[str, Any] = {}
        self._nothing: Any = None

    def arguments(self, inputs: Sequence[Conditioning], *, count: int, guidance: float) -> dict[str, Any]:
        import torch

        if self._nothing is None:
            side = self._pipeline.image_encoder.config.image_size
            self._nothing = self._encode(torch.zeros(1, 3, side, side))[1]
        mix = mix_of(inputs, self._embed, self._nothing)
        # the pipeline repeats it for every image of the call, and asks for both halves where it guides
        is_guided = guidance > 1 and self._pipeline.unet.config.time_cond_proj_dim is None
        rows = torch.stack([self._nothing, mix] if is_guided else [mix])
        return {"ip_adapter_image_embeds": [rows.to(self._pipeline.image_encoder.dtype)]}

    def _embed(self, one: Conditioning) -> Any:
        if one.sha256 not in self._embedded:
            self._embedded[one.sha256] = self._encode(pixels_of(one, self._reader))[0]
        return self._embedded[one.sha256]

    def _encode(self, pixels: Any) -> tuple[Any, Any]:
        """float32 (1, ...): of the image, and of none."""
        import torch
        from diffusers.models.embeddings import ImageProjection

        [projection] = self._pipeline.unet.encoder_hid_proj.image_projection_layers
        of_patches = not isinstance(projection, ImageProjection)
        with torch.no_grad():
            seen, nothing = self._pipeline.encode_image(
                pixels, self._pipeline.image_encoder.device, 1, of_patches
            )
        return seen.float(), nothing.float()


def mix_of(inputs: Sequence[Conditioning], embed: Any, nothing: Any) -> Any:
    """The weighted mix, in the order of digests so that the order of inputs changes no bit."""
    mix = nothing.clone()
    for one in sorted(inputs, key=lambda each: (each.sha256, each.weight)):
        mix += one.weight * (embed(one) - nothing)
    return mix


def pixels_of(one: Conditioning, reader: Any) -> Any:
    """An input as its encoder reads it: (1, 3, height, width). Raises GeneratorError."""
    from PIL import Image

    limits = ImageLimits()
    try:
        # in this process: the same bytes were decoded within time and memory limits when they were looked up
        decoded = decode_image(read_file(one.path, limits), limits)
    except ImageRefusedError as refused:
        raise GeneratorError(f"The input {one.path} is not usable: {refused}") from refused
    if decoded.sha256 != one.sha256:
        raise GeneratorError(
            f"The input {one.path} changed while the images were being made.", next_step="Run it again."
        )
    return reader(images=Image.fromarray(decoded.pixels), return_tensors="pt").pixel_values


def _reader_of(adapter: Adapter, encoder: Any) -> Any:
    from transformers import CLIPImageProcessor

    if (said := processor_config(adapter)) is not None:
        return CLIPImageProcessor.from_pretrained(str(said.parent), local_files_only=True)
    side = encoder.config.image_size
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def _hands_on(encoder: Any) -> Any:
    """A module in an image encoder's place: the embedding that goes in comes out."""
    from types import SimpleNamespace

    import torch

    class GivenEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = torch.nn.Parameter(torch.empty(0, dtype=encoder.dtype, device=encoder.device))

        @property
        def device(self) -> Any:
            return self.where.device

        @property
        def dtype(self) -> Any:
            return self.where.dtype

        def forward(self, embedding: Any) -> Any:
            return SimpleNamespace(image_embeds=embedding)

    return GivenEmbedding()
