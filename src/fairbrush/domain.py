"""The nouns that travel between modules, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Doing(StrEnum):
    """The command that refused an image, as its note says."""

    ATTRIBUTE = "attribute"
    ARTIST_ADD = "artist add"
    ARTIST_WORKS = "artist works"
    ARTIST_IMPORT = "artist import"
    EMBED = "embed"
    VALIDATE = "validate"
    AUDIT_RUN = "audit run"


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


class Consent(StrEnum):
    """What an artist allowed, by the latest dated event. Opted-out and erased artists are never credited."""

    OPTED_IN = "opted_in"
    UNCLAIMED = "unclaimed"
    OPTED_OUT = "opted_out"
    ERASED = "erased"


@dataclass(frozen=True)
class Artist:
    """One artist entry: ``creator_id`` made the works, ``payee_id`` is paid. Ids are random."""

    artist_id: str
    name: str
    creator_id: str
    payee_id: str
    consent: Consent


@dataclass(frozen=True)
class Creator:
    """Who made works: one creator may stand behind several artist entries. ``name`` is empty once erased."""

    creator_id: str
    name: str
    payee_id: str


@dataclass(frozen=True)
class Payee:
    """Where money goes. ``name`` is empty once erased."""

    payee_id: str
    name: str


@dataclass(frozen=True)
class Work:
    """One work of one artist: the digest of its file, and where the file lies."""

    sha256: str
    artist_id: str
    path: Path


class Trained(StrEnum):
    """Whether a generating model was trained on an artist's works, as far as is known."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Value(StrEnum):
    """What a coalition of artists explains of an image's style (docs/method.md)."""

    BLEND = "blend"
    NEAREST = "nearest"
    FACETS = "facets"
    RECONSTRUCTION = "reconstruction"
    MIX = "mix"  # of given input images: played where they are named, never chosen


CHOOSABLE_VALUES = tuple(value for value in Value if value is not Value.MIX)


@dataclass(frozen=True)
class Hit:
    """One artist near an image: cosine to the artist's centroid in style space, and affinity z = s - h."""

    artist_id: str
    similarity: float
    z: float


class HintSource(StrEnum):
    """Where a prompt came from: from the user, or from what the image's file says about itself."""

    PROMPT = "prompt"
    METADATA = "metadata"


@dataclass(frozen=True)
class Hint:
    """The artists a prompt names, by id, sorted; never the prompt itself.

    ``problem``: why nothing could be read, where there was something to read.
    """

    source: HintSource
    artist_ids: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True)
class Evidence:
    """A work of a credited artist, by its file's digest, and its cosine to the image in style space."""

    work_sha256: str
    similarity: float
