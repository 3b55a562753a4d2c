"""What the page about one answer shows: facts, without a word of any language.

Shares are whole numbers of 10^-12. The one rule: who is erased, or
has opted out, is never pictured; who is erased is never named.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from fairbrush.domain import HintSource
from fairbrush.ledger.disputes import State
from fairbrush.reports.pages.image.earned import Money
from fairbrush.reports.pages.image.people import Person
from fairbrush.uncertainty import Confidence

E12 = 10**12


@dataclass(frozen=True)
class EvidenceWork:
    """A work near the image. ``is_shown``: False where whoever made it is not pictured."""

    sha256: str
    similarity: float
    is_shown: bool


@dataclass(frozen=True)
class Credit:
    """One credited artist. ``strangers``: how near 19 of 20 works of strangers are not (h); ``z``: how much
    nearer this image is; ``interval``: (low, high) of the share."""

    artist: Person
    share_e12: int
    phi: float
    similarity: float
    strangers: float
    z: float
    interval: tuple[float, float] | None
    evidence: tuple[EvidenceWork, ...]


class Unexplained(StrEnum):
    """Why style is nobody's."""

    NO_ARTIST = "no artist may be credited"
    TOO_FAR = "nobody is near enough"
    CALIBRATED_AWAY = "the calibration makes nothing of it"
    UNLIKE_INPUTS = "the image is like no mix of its inputs"
    NOBODYS_INPUTS = "no artist of the inputs may be credited"
    PARTLY_NOBODYS_INPUTS = "some inputs are of nobody who may be credited"
    NOT_RECOGNISED = "a part of the style is recognised as nobody's"


@dataclass(frozen=True)
class RunnerUp:
    """Who came next. ``artist``: None where they are not named (erased, opted out); ``needed``: what z must
    exceed; ``behind``: z of the nearest credited artist less this one's."""

    artist: Person | None
    similarity: float
    z: float
    needed: float
    behind: float | None

    @property
    def is_near(self) -> bool:
        """Near enough, so that the credited artists explain what this one would."""
        return self.z > self.needed


@dataclass(frozen=True)
class MixedImage:
    """An image that this one was mixed from. ``artist``: None where they may not be credited, or named."""

    sha256: str
    weight: float
    similarity: float
    artist: Person | None
    is_shown: bool


@dataclass(frozen=True)
class Hinted:
    """Whom the prompt named, of those who may be named; ``others``: how many more."""

    source: HintSource
    artists: tuple[Person, ...]
    others: int


@dataclass(frozen=True)
class Contested:
    """A dispute that touches this answer. ``by``: empty once erased; ``artists``: whose shares are contested;
    ``is_standing``: over who an artist is, in all answers."""

    dispute_id: str
    by: str
    state: State
    is_standing: bool
    artists: tuple[Person, ...]
    claims_unattributed: bool
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class Decided:
    """The shares that a dispute put in the place of the answer's."""

    dispute_id: str
    shares_e12: tuple[tuple[Person, int], ...]
    unattributed_e12: int


@dataclass(frozen=True)
class OtherAnswer:
    """Another answer about the same image; ``first``: who it credits most, None for nobody."""

    attribution_id: str
    recorded_at: datetime
    index_version: str | None
    model_id: str
    value_function: str
    artists: int
    first: Person | None


@dataclass(frozen=True)
class Committed:
    """Where the record is in the chain, and the chain's last head."""

    position: int
    batch: int
    committed_at: datetime
    head: str
    last_head: str


@dataclass(frozen=True)
class Versions:
    """What the answer was computed from, and its digests."""

    record_digest: str
    model_id: str
    encoder_id: str
    encoder_variant: str
    index_version: str | None
    index_manifest_digest: str
    eligibility_digest: str
    policy_digest: str
    calibration_id: str | None
    value_function: str
    algorithm: str


@dataclass(frozen=True)
class ImageReport:
    """One answer. ``path``: where the image was, None once erased; ``is_kept_back``: the image itself is a
    work of somebody who is not pictured; ``delta``: the lead (z) that somebody must exceed, ``entry``: and
    others beside them; ``reason``: why nobody is credited, as it was recorded. UTC."""

    attribution_id: str
    image_sha256: str
    path: Path | None
    is_kept_back: bool
    recorded_at: datetime
    content_part: Fraction
    artists_part: Fraction
    delta: float
    entry: float
    model_share_e12: int
    unattributed_e12: int
    decided: Decided | None
    credits: tuple[Credit, ...]
    unexplained: Unexplained | None
    reason: str | None
    confidence: Confidence | None
    steadiness: float | None
    runner_up: RunnerUp | None
    mixed: tuple[MixedImage, ...]
    hinted: Hinted | None
    disputes: tuple[Contested, ...]
    money: Money
    others: tuple[OtherAnswer, ...]
    committed: Committed | None
    versions: Versions
