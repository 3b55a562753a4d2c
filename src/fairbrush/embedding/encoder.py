"""Encoders: from decoded images to style vectors, through one door, ``load_encoder``.

Enters: a spec such as ``mini``, ``open_clip:ViT-B-32/laion2b_s34b_b79k+colour`` or ``local-dir:PATH``.
Leaves: an ``Encoder``. The one rule: whatever changes a vector is in its ``encoder_id`` (architecture,
weights, preprocessing, parts) or in its ``variant`` (backend, precision).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairbrush.embedding.preprocess import Preprocess
from fairbrush.embedding.statistics import STATISTICS
from fairbrush.errors import EncoderSpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUNDLED = Path(__file__).parents[1] / "data" / "mini"
EARLY = "early"
PARTS = (EARLY, *STATISTICS)


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Encoder(Protocol):
    """What the rest of fairbrush knows of an encoder."""

    @property
    def encoder_id(self) -> str:
        """Architecture, weights, preprocessing and parts: the same id gives the same space."""

    @property
    def weights_digest(self) -> str:
        """Of the image tower's weights alone: two encoders with the same are no independent witnesses."""

    @property
    def variant(self) -> str:
        """Backend and precision, such as ``onnx-float32``: vectors differ in the last bits between them."""

    @property
    def device(self) -> str:
        """Where it really runs: ``cpu``, ``cuda`` or ``mps``."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """float32 (n, dim), unit rows, of n images uint8 (height, width, 3)."""


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """embedding: float32 (n, embed_dim); early: early layers' statistics, float32 (n, early_dim)."""

    embedding: NDArray[np.float32]
    early: NDArray[np.float32]


class ImageTower(Protocol):
    """The image half of a CLIP model on one backend. One backend a file."""

    name: str
    identity: dict[str, Any]
    variant: str
    device: str
    embed_dim: int
    early_dim: int
    preprocess: Preprocess

    def encode(self, batch: NDArray[np.float32]) -> TowerOutput:
        """Of float32 (n, 3, height, width). ``early`` has no columns where the tower has no early layers."""


class JoinedEncoder:
    """An image tower's embedding with the chosen parts beside it, each of unit length, then all together.

    So the cosine of two vectors is the mean of their parts' cosines.
    """

    def __init__(self, tower: ImageTower, parts: Sequence[str] = (), *, decoder_id: str) -> None:
        if EARLY in parts and not tower.early_dim:
            raise EncoderSpecError(
                f"{tower.name} has no early layers fairbrush knows how to read.",
                next_step=f"Leave out +{EARLY}.",
            )
        self._tower = tower
        self._parts = tuple(parts)
        versions = {name: STATISTICS[name].version for name in parts if name in STATISTICS}
        identity = {**tower.identity, "decoder": decoder_id, "parts": list(parts), "versions": versions}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        self._encoder_id = "+".join([tower.name, *parts]) + f"#{digest}"

    @property
    def encoder_id(self) -> str:
        return self._encoder_id

    @property
    def weights_digest(self) -> str:
        return str(self._tower.identity["weights"])

    @property
    def variant(self) -> str:
        return self._tower.variant

    @property
    def device(self) -> str:
        return self._tower.device

    @property
    def dim(self) -> int:
        part_dims = [self._tower.early_dim if p == EARLY else STATISTICS[p].dim for p in self._parts]
        return self._tower.embed_dim + sum(part_dims)

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        import numpy as np

        if not images:
            return np.empty((0, self.dim), np.float32)
        output = self._tower.encode(np.stack([self._tower.preprocess(pixels) for pixels in images]))
        blocks = [output.embedding]
        for part in self._parts:
            if part == EARLY:
                blocks.append(output.early)
            else:
                blocks.append(np.stack([STATISTICS[part].measure(pixels) for pixels in images]))
        return unit_rows(np.concatenate([unit_rows(block) for block in blocks], axis=1))


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (n, dim) with each row at length 1; a row of zeros stays zeros."""
    import numpy as np

    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed spec. ``kind``: mini, open_clip or local-dir. ``model``: name or folder."""

    kind: str
    model: str
    pretrained: str
    parts: tuple[str, ...]


def parse_spec(spec: str) -> EncoderSpec:
    """Read ``BASE[+PART...]``.

    BASE: ``mini`` (the bundled encoder with the parts it was tuned with), ``mini:clip`` (its CLIP vector
    alone), ``open_clip:NAME/PRETRAINED`` (PRETRAINED: a tag or a checkpoint file), ``local-dir:FOLDER``.
    Raises EncoderSpecError, and what ``bundled_parts`` raises.

    >>> parse_spec("open_clip:ViT-B-32//models/vit.safetensors+colour")
    EncoderSpec(kind='open_clip', model='ViT-B-32', pretrained='/models/vit.safetensors', parts=('colour',))
    """
    base, *parts = _split_parts(spec.strip())
    for position, part in enumerate(parts):
        if part in parts[:position]:
            raise EncoderSpecError(f"{spec}: the part {part} is named twice.")
    if base == "mini":
        return EncoderSpec("mini", "mini", "", tuple(parts) or bundled_parts())
    if base == "mini:clip":
        return EncoderSpec("mini", "mini", "", tuple(parts))
    kind, _, rest = base.partition(":")
    if kind == "local-dir" and rest:
        return EncoderSpec("local-dir", rest, "", tuple(parts))
    if kind == "open_clip" and rest:
        model, slash, pretrained = rest.partition("/")
        if model and slash and pretrained:
            return EncoderSpec("open_clip", model, pretrained, tuple(parts))
        raise EncoderSpecError(
            f"{spec} names no weights.",
            next_step="Write open_clip:NAME/TAG or open_clip:NAME/PATH_TO_FILE.",
        )
    raise EncoderSpecError(
        f"{spec!r} is not an encoder fairbrush knows.",
        next_step="Use mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, with +"
        + ", +".join(PARTS)
        + " to join statistics.",
    )


def _split_parts(spec: str) -> list[str]:
    """The base and its parts. A path may hold a plus sign: only known parts at the end are split off."""
    parts: list[str] = []
    while "+" in spec:
        head, _, tail = spec.rpartition("+")
        if tail not in PARTS:
            break
        spec, parts = head, [tail, *parts]
    base = spec.split(":")[0]
    if base.startswith("mini") and "+" in spec:
        unknown = spec.partition("+")[2].split("+")[-1]
        raise EncoderSpecError(
            f"{unknown!r} is not a part of an encoder.", next_step=f"Known parts: {', '.join(PARTS)}."
        )
    return [spec, *parts]


def bundled_parts() -> tuple[str, ...]:
    """The parts ``mini`` is shipped with: the combination that won on hands never seen in training.

    Raises WeightsNotFoundError, EncoderError.
    """
    from fairbrush.embedding.onnx_tower import ExportFacts

    return ExportFacts.read(BUNDLED).parts


def load_encoder(
    spec: str,
    *,
    decoder_id: str,
    device: Device = Device.AUTO,
    allow_download: bool = False,
    threads: int = 0,
) -> Encoder:
    """The one door to encoders.

    ``decoder_id`` names how files become pixels (it is part of the encoder id); ``threads`` 0 leaves the
    number to the backend. ``mini`` runs on ONNX Runtime on a CPU, without torch, and on torch elsewhere.
    Raises EncoderSpecError, WeightsNotFoundError, DeviceUnavailableError, EncoderError.
    """
    parsed = parse_spec(spec)
    tower: ImageTower
    if parsed.kind == "mini" and device in (Device.AUTO, Device.CPU):
        from fairbrush.embedding.onnx_tower import OnnxTower

        tower = OnnxTower(BUNDLED, threads=threads)
    else:
        from fairbrush.embedding.open_clip_tower import OpenClipTower

        tower = OpenClipTower.load(parsed, device=device, allow_download=allow_download, threads=threads)
    return JoinedEncoder(tower, parsed.parts, decoder_id=decoder_id)
