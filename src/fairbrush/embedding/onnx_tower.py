"""The ONNX Runtime backend: an exported image tower on the CPU, without torch.

Enters: a folder with ``encoder.json`` and ``image_tower.onnx`` (scripts/export_mini.py writes it). The one
rule: the export's digest is checked before it is loaded, and its identity is that of the torch weights it
was made from, so both backends of an encoder share one encoder id.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fairbrush.embedding.encoder import TowerOutput
from fairbrush.embedding.preprocess import Preprocess
from fairbrush.errors import EncoderError, WeightsNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REINSTALL = "Reinstall fairbrush: pip install --force-reinstall --no-deps fairbrush"


@dataclass(frozen=True)
class ExportFacts:
    """What ``encoder.json`` says of an export. ``parts``: those its makers join by default."""

    name: str
    identity: dict[str, Any]
    embed_dim: int
    early_dim: int
    parts: tuple[str, ...]
    preprocess: Preprocess
    onnx_sha256: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises WeightsNotFoundError, EncoderError."""
        file = folder / "encoder.json"
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                name=str(facts["name"]),
                identity=dict(facts["identity"]),
                embed_dim=int(facts["embed_dim"]),
                early_dim=int(facts["early_dim"]),
                parts=tuple(map(str, facts["parts"])),
                preprocess=Preprocess.from_open_clip(facts["preprocess_cfg"]),
                onnx_sha256=str(facts["onnx_sha256"]),
            )
        except FileNotFoundError as error:
            raise WeightsNotFoundError(f"No exported encoder in {folder}.", next_step=REINSTALL) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EncoderError) as error:
            raise EncoderError(f"{file} cannot be used: {error!r}.", next_step=REINSTALL) from error


class OnnxTower:
    """An exported image tower. The session is made at the first image: an id alone costs one JSON file."""

    variant = "onnx-float32"
    device = "cpu"

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        facts = ExportFacts.read(folder)
        self.name = facts.name
        self.identity = facts.identity
        self.embed_dim, self.early_dim = facts.embed_dim, facts.early_dim
        self.preprocess = facts.preprocess
        self._digest = facts.onnx_sha256
        self._file = folder / "image_tower.onnx"
        self._threads = threads
        self._session: Any = None

    def encode(self, batch: NDArray[np.float32]) -> TowerOutput:
        if self._session is None:
            self._session = self._open()
        embedding, early = self._session.run(["embedding", "early"], {"image": batch})
        return TowerOutput(embedding, early)

    def _open(self) -> Any:
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise WeightsNotFoundError(
                f"{self._file} cannot be read: {error.strerror}.", next_step=REINSTALL
            ) from error
        if hashlib.sha256(content).hexdigest() != self._digest:
            raise EncoderError(
                f"{self._file} is not the file its digest names: damaged.", next_step=REINSTALL
            )
        # read when it is loaded: else it writes a device's id into the user's cache, and may send events
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
