"""The page of ``fairbrush check-me``: which images draw on an artist's works, for that artist to read.

Enters: a ``SelfCheck`` and small pictures. Leaves: HTML, and the document of ``--json``. The one rule: what
is not claimed is not shown as if it were; an image that is not listed shows its number and no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.words import Words, later

SCHEMA = "fairbrush.check-me/1"
MOST_PICTURES = 60  # listed images that are shown with their evidence; the rest stand in the table
MOST_COPIES = 60
FEW_WORKS = 5
FEW_HANDS = 49  # with fewer, works of another kind than theirs are not seen to be
SOME_HANDS = 99  # and an image of another kind is not
LITTLE_FOUND = 0.5


class Yardstick(StrEnum):
    """Whether the comparison hands are a fair measure.

    ``WORKS_OUTSIDE``: the artist's works are like nothing in the panel, so whatever is like them at all comes
    near; nothing is listed. ``NEAR_AS_A_WHOLE``: half of the images are nearer than three quarters of chance
    pairs; either most draw on the works, or works and images share what the panel lacks.
    """

    FITS = "fits"
    NEAR_AS_A_WHOLE = "images near as a whole"
    WORKS_OUTSIDE = "works outside"


class Standing(StrEnum):
    """``OUTSIDE``: the image is like nothing in the panel, so its number means nothing; it is not tested."""

    LISTED = "listed"
    NOT_LISTED = "not listed"
    OUTSIDE = "not judged"


@dataclass(frozen=True)
class File:
    """A file that could be read. ``path``: in its folder; ``also_at``: the same content under other names."""

    path: str
    sha256: str
    also_at: tuple[str, ...] = ()


@dataclass(frozen=True)
class RefusedFile:
    """``folder``: works or images."""

    folder: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Finding:
    """One image. affinity: z, with its 95 % interval over samples of works; p: how often chance does as much,
    with what the interval's ends give; second_view: how it was seen again, so that p is the larger of two;
    adjusted: the smallest error level that would list it, None where it was not tested; credited: a look-up
    with this one artist would credit them; nearest: works, by SHA-256.
    """

    file: File
    standing: Standing
    affinity: float
    affinity_low: float
    affinity_high: float
    p: float
    p_low: float
    p_high: float
    second_view: str | None
    adjusted: float | None
    credited: bool
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """A file that shows the picture of a work. likeness: as ``corpus.likeness`` calls it."""

    file: File
    work: File
    likeness: str
    similarity: float


@dataclass(frozen=True)
class OwnWorks:
    """How recognisable the works are, each picture compared with the others.

    found_alone: asked about alone, it would be listed; found_here: asked about together with these images.
    Both None for a single work.
    """

    count: int
    centroids: int
    found_alone: int | None
    found_here: int | None

    @property
    def are_few(self) -> bool:
        return self.count < FEW_WORKS

    @property
    def are_hard(self) -> bool:
        """Fewer than half would be found: that an image is not listed says little."""
        return self.found_alone is not None and self.found_alone < LITTLE_FOUND * self.count


@dataclass(frozen=True)
class Measure:
    """What the images were measured against. works_rank: of the works' likeness to the panel among hands';
    median_p: over tested images, None without any; fewest: how many images must come as near as can be for
    any to be listed; least_p: the smallest p there is; left_out_hands: who have works of the artist's."""

    yardstick: Yardstick
    hands: int
    works: int
    pairs: int
    least_p: float
    fewest: int
    works_rank: float
    median_p: float | None
    left_out_hands: tuple[str, ...]
    is_bundled: bool
    threshold: float


@dataclass(frozen=True)
class Made:
    """With what it was made. inputs_digest: SHA-256 over the files, the encoder, the space and the level."""

    version: str
    at: datetime
    encoder_id: str
    variant: str
    is_mini: bool
    space_id: str
    inputs_digest: str


@dataclass(frozen=True)
class SelfCheck:
    """findings: by p, the strongest first. repeated: works that show another work's picture; it counts once.
    overlap: files that lie in both folders, counted once."""

    name: str | None
    error_level: float
    findings: tuple[Finding, ...]
    copies: tuple[Copy, ...]
    repeated: tuple[Copy, ...]
    works: tuple[File, ...]
    refused: tuple[RefusedFile, ...]
    overlap: tuple[str, ...]
    own: OwnWorks
    measure: Measure
    made: Made

    def of(self, standing: Standing) -> list[Finding]:
        return [finding for finding in self.findings if finding.standing is standing]

    @property
    def tested(self) -> int:
        return len(self.findings) - len(self.of(Standing.OUTSIDE))

    @property
    def compared_twice(self) -> int:
        return sum(finding.second_view is not None for finding in self.findings)

    @property
    def is_doubtful(self) -> bool:
        """There is a list, and it may be there for what works and images share."""
        return bool(self.listed) and self.measure.yardstick is Yardstick.NEAR_AS_A_WHOLE

    @cached_property
    def listed(self) -> list[Finding]:
        return self.of(Standing.LISTED)

    @cached_property
    def shown(self) -> list[Finding]:
        """Those with pictures."""
        return self.listed[:MOST_PICTURES]

    @property
    def shown_copies(self) -> tuple[Copy, ...]:
        return self.copies[:MOST_COPIES]

    @property
    def asked(self) -> list[File]:
        """The images, by path."""
        files = [finding.file for finding in self.findings] + [copy.file for copy in self.copies]
        return sorted(files, key=lambda file: file.path)

    @property
    def images(self) -> int:
        return len(self.findings) + len(self.copies)


# shown where a refusal is told; the reasons of ``corpus.images``
_REASONS = (
    later("missing"),
    later("not a file"),
    later("unreadable"),
    later("empty"),
    later("too many bytes"),
    later("unsupported"),
    later("corrupt"),
    later("truncated"),
    later("too many pixels"),
    later("out of time"),
    later("out of memory"),
    later("worker died"),
    later("not a number"),
)
_LIKENESSES = (later("same file"), later("same picture, re-encoded"), later("near copy"))


def check_me_document(check: SelfCheck) -> dict[str, Any]:
    """What ``--json`` prints."""
    made = asdict(check.made) | {"at": check.made.at.isoformat()}
    return {
        "schema": SCHEMA,
        "name": check.name,
        "error_level": check.error_level,
        "counts": {
            "images": check.images,
            "tested": check.tested,
            "listed": len(check.listed),
            "copies": len(check.copies),
            "not_judged": len(check.of(Standing.OUTSIDE)),
            "refused": len(check.refused),
            "works": check.own.count,
        },
        "own_works": asdict(check.own),
        "comparison": asdict(check.measure),
        "images": [_row(finding) for finding in check.findings],
        "copies": [asdict(copy) for copy in check.copies],
        "works": [asdict(file) for file in check.works],
        "repeated_works": [asdict(copy) for copy in check.repeated],
        "overlap": list(check.overlap),
        "refused": [asdict(refused) for refused in check.refused],
        "made": made,
    }


def _row(finding: Finding) -> dict[str, Any]:
    row = asdict(finding)
    file = row.pop("file")
    return {**file, **row}


def check_me_page(check: SelfCheck, pictures: Mapping[str, str], *, words: Words) -> str:
    """pictures: ``data:`` addresses by SHA-256, of what ``pictured`` names. Raises ReportError."""
    return render(
        "check_me.html",
        words=words,
        check=check,
        pictures=pictures,
        standing=Standing,
        yardstick=Yardstick,
        few_hands=FEW_HANDS,
        some_hands=SOME_HANDS,
        path_of={file.sha256: file.path for file in check.works},
        chance=lambda p: chance(p, check.measure.least_p, words),
    )


def pictured(check: SelfCheck) -> tuple[list[str], list[str]]:
    """Of which works, and of which images, the page shows pictures: their SHA-256s."""
    copies = check.shown_copies
    works = {sha256 for finding in check.shown for sha256 in finding.nearest}
    works |= {copy.work.sha256 for copy in copies}
    images = {finding.file.sha256 for finding in check.shown} | {copy.file.sha256 for copy in copies}
    return sorted(works), sorted(images)


def chance(p: float, least: float, words: Words) -> str:
    """A probability as people count: ``1 in 3,200``, or ``34 in 100``.

    >>> [chance(p, 1e-4, Words.of("en")) for p in (0.0001, 0.00031, 0.049, 0.34)]
    ['less than 1 in 10,000', '1 in 3,200', '1 in 20', '34 in 100']
    """
    if p <= least * (1 + 1e-9):
        return words.text("less than 1 in %(many)s", many=words.number(_rounded(1 / least)))
    if p < 0.1:
        return words.text("1 in %(many)s", many=words.number(_rounded(1 / p)))
    return words.text("%(few)s in 100", few=words.number(min(100, round(100 * p))))


def _rounded(many: float) -> int:
    """To two digits."""
    return int(float(f"{many:.2g}"))
