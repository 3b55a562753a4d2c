"""The nouns that travel between modules, frozen. (Artist, Work, Attribution and their kin join them here.)"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class EmbedStatus(StrEnum):
    """What became of one image."""

    CACHED = "cached"
    NEW = "new"
    FAILED = "failed"


@dataclass(frozen=True)
class EmbedOutcome:
    """One image's answer. ``reason`` and ``detail`` say why it failed, else they are empty."""

    path: Path
    status: EmbedStatus
    sha256: str | None = None
    reason: str = ""
    detail: str = ""
