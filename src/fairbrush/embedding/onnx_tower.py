"""The ONNX Runtime backend: an exported image tower on the CPU, without torch.

Enters: a folder with ``encoder.json`` and ``image_tower.onnx`` (scripts/export_mini.py writes it). The one
rule: the export's digest is checked before it is loaded, and its identity is that of the torch weights it
was made from, so both backends of an encoder share one encoder id.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.embedding.encoder import TowerOutput
from fairbrush.embedding.preprocess import Preprocess
from fairbrush.errors import EncoderError, WeightsNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REINSTALL = "Reinstall fairbrush: pip install --force-reinstall --no-deps fairbrush"


class OnnxTower:
    """An exported image tower. The session is made at the first image: an id alone costs one JSON file."""

    variant = "onnx-float32"
    device = "cpu"

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        try:
            facts = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            self.name = str(facts["name"])
            self.identity: dict[str, Any] = facts["identity"]
            self.embed_dim = int(facts["embed_dim"])
            self.early_dim = int(facts["early_dim"])
            self._digest = str(facts["onnx_sha256"])
            self.preprocess = Preprocess.from_open_clip(facts["preprocess_cfg"])
        except FileNotFoundError as error:
            raise WeightsNotFoundError(f"No exported encoder in {folder}.", next_step=REINSTALL) from error
        except (OSError, ValueError, KeyError) as error:
            raise EncoderError(
                f"{folder}/encoder.json cannot be used: {error}.", next_step=REINSTALL
            ) from error
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
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
