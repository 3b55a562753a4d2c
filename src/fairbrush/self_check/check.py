"""An artist's own check: which images draw on these works, how surely, and how much that is worth.

Enters: two folders, a panel, an encoder. Leaves: a ``SelfCheck`` with its pictures. The one rule: nothing is
written but what the session's cache keeps; whoever asks decides what is kept of the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush import __version__
from fairbrush.config import Settings
from fairbrush.corpus.images import Refusal, decoding_workers, image_limits
from fairbrush.corpus.reader import ImageReader
from fairbrush.domain import EmbedOutcome
from fairbrush.reports.pages.check_me import Copy, File, Made, SelfCheck, pictured
from fairbrush.reports.pages.pictures import as_data
from fairbrush.self_check.copies import CopyOf, KnownWorks, find_copies, find_repeated
from fairbrush.self_check.folders import IMAGES, WORKS, Embedded, embed_folder, find_files
from fairbrush.self_check.judging import Yard, judge
from fairbrush.self_check.second_look import second_looks
from fairbrush.style.panel import Panel, fit_panel

if TYPE_CHECKING:
    from fairbrush.embedding.session import EmbeddingSession

PICTURE_PIXELS = 280
PICTURE_QUALITY = 70
MINI = "mini"


@dataclass(frozen=True)
class Request:
    """What is asked. error_level: the part of listed images that chance may explain."""

    works: Path
    images: Path
    panel: Panel
    is_bundled: bool
    error_level: float = 0.05
    name: str | None = None


def check_folders(
    request: Request,
    session: EmbeddingSession,
    settings: Settings,
    *,
    now: datetime,
    on_outcome: Callable[[EmbedOutcome], None] = lambda _: None,
) -> tuple[SelfCheck, Mapping[str, str]]:
    """The check, and small pictures as ``data:`` addresses, by SHA-256.

    Raises NoInputError, PanelError, VectorRefusedError, and the encoder's and cache's errors.
    """
    found = find_files(session, request.works, request.images)
    works = embed_folder(session, found.works, folder=request.works, kind=WORKS, on_outcome=on_outcome)
    images = embed_folder(session, found.images, folder=request.images, kind=IMAGES, on_outcome=on_outcome)
    panel = fit_panel(session, request.panel)
    yard = Yard.of(panel, works.paths, is_bundled=request.is_bundled)
    with ImageReader(image_limits(settings), workers=decoding_workers(settings)) as reader:
        known = KnownWorks.of(works.paths, reader)
        sound = works.without(known.unread, kind=WORKS)
        repeated, seen = find_repeated(known), find_copies(known, images.paths, reader)
        again = {sha256: view for sha256, view in known.again.items() if sha256 not in repeated}
        asked = images.without(seen.unread, kind=IMAGES)
        judged = judge(
            sound,
            asked,
            yard,
            copies=seen.copies,
            repeated=repeated,
            looks=second_looks(session, request.panel, sound, asked, again=again, asked_again=seen.again),
            error_level=request.error_level,
        )
        check = SelfCheck(
            name=request.name,
            error_level=request.error_level,
            findings=judged.findings,
            copies=_copies(seen.copies, works, images),
            repeated=_copies(repeated, works, works),
            works=tuple(sorted(works.files, key=lambda file: file.path)),
            refused=(*found.refused, *sound.refused, *asked.refused, *judged.refused),
            overlap=found.overlap,
            own=judged.own,
            measure=judged.measure,
            made=_made(request, session, yard, sound, asked, now),
        )
        return check, _small_pictures(check, works, images, reader)


def _copies(found: Mapping[str, CopyOf], works: Embedded, asked: Embedded) -> tuple[Copy, ...]:
    """The most alike first."""
    work_of = {file.sha256: file for file in works.files}
    copies = [
        Copy(file, work_of[copy.work], str(copy.likeness), copy.similarity)
        for file in asked.files
        if (copy := found.get(file.sha256))
    ]
    return tuple(sorted(copies, key=lambda copy: (-copy.similarity, copy.file.path)))


def _made(
    request: Request, session: EmbeddingSession, yard: Yard, works: Embedded, images: Embedded, now: datetime
) -> Made:
    encoder = session.encoder
    inputs = {
        "works": _digests(works.files),
        "images": _digests(images.files),
        "encoder_id": encoder.encoder_id,
        "variant": encoder.variant,
        "style_space": yard.space.space_id,
        "error_level": repr(request.error_level),
        "version": __version__,
    }
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return Made(
        version=__version__,
        at=now,
        encoder_id=encoder.encoder_id,
        variant=encoder.variant,
        is_mini=encoder.encoder_id.startswith(MINI),
        space_id=yard.space.space_id,
        inputs_digest=hashlib.sha256(canonical.encode()).hexdigest(),
    )


def _digests(files: tuple[File, ...]) -> list[str]:
    return sorted(file.sha256 for file in files)


def _small_pictures(
    check: SelfCheck, works: Embedded, images: Embedded, reader: ImageReader
) -> dict[str, str]:
    """What the page shows; without those whose file has gone or changed meanwhile."""
    shown_works, shown_images = pictured(check)
    sha256_at = {works.paths[sha256]: sha256 for sha256 in shown_works}
    sha256_at |= {images.paths[sha256]: sha256 for sha256 in shown_images}
    return {
        read.sha256: as_data(read.pixels, most_pixels=PICTURE_PIXELS, quality=PICTURE_QUALITY)
        for path, read in reader.read(sha256_at)
        if not isinstance(read, Refusal) and read.sha256 == sha256_at[path]
    }
