"""Works: checked files with a thumbnail each. The one rule: originals are referenced in place, never touched.

Enters: paths. Leaves: digests, thumbnails ``thumbnails/<sha256>.webp`` and rows of ``work``. Decoding needs
no database, so it is done first, without holding the lock (``prepare_works``), and recorded afterwards.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import (
    DecodedImage,
    ImageLimits,
    Refusal,
    RefusalReason,
    find_images,
    hash_file,
)
from fairbrush.corpus.reader import ImageReader
from fairbrush.domain import Work
from fairbrush.durable import write_durably
from fairbrush.errors import ImageRefusedError, WorkspaceError
from fairbrush.store import Store, insert_rows
from fairbrush.workspace import COPIES, THUMBNAILS

if TYPE_CHECKING:
    import duckdb

THUMBNAIL_SIDE = 256
_WEBP_QUALITY = 80


@dataclass(frozen=True)
class PreparedWork:
    """A file that is an image. ``path``: absolute, or relative to the workspace for a copy."""

    sha256: str
    path: str


@dataclass(frozen=True)
class PreparedWorks:
    """What :func:`prepare_works` made of some paths."""

    works: list[PreparedWork] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class DuplicateWork:
    """One file under more than one artist: recorded under each, and for a person to sort out.

    ``same_creator``: all of them are entries of one creator, so there is nothing to sort out.
    """

    sha256: str
    path: str
    artist_id: str
    other_artist_ids: tuple[str, ...]
    same_creator: bool = False


@dataclass(frozen=True)
class AddedWorks:
    """``known`` were recorded for that artist before; ``moved`` of them lie elsewhere now."""

    added: int
    known: int
    moved: int
    duplicates: list[DuplicateWork]


def prepare_works(
    groups: Sequence[Sequence[Path]],
    workspace: Path,
    limits: ImageLimits,
    *,
    workers: int = 1,
    copy: bool = False,
) -> list[PreparedWorks]:
    """Check, digest and make thumbnails of the images under each group of paths; one result a group.

    Refused images are listed and stop nothing. A file whose thumbnail is there is not decoded again. Raises
    WorkspaceError when the thumbnails cannot be written and ImageWorkerError.
    """
    found = [find_images(paths) for paths in groups]
    files = list(dict.fromkeys(path for one in found for path in one.images))
    try:
        (workspace / THUMBNAILS).mkdir(exist_ok=True)
        outcomes = _prepare_files(files, workspace, limits, workers=workers)
        results = []
        for one in found:
            result = PreparedWorks(refusals=list(one.refusals))
            for path in one.images:
                outcome = outcomes[path]
                if isinstance(outcome, Refusal):
                    result.refusals.append(outcome)
                else:
                    kept = _copy(path, outcome, workspace) if copy else os.path.abspath(path)  # noqa: PTH100
                    result.works.append(PreparedWork(outcome, kept))
            results.append(result)
    except OSError as error:
        raise WorkspaceError(
            f"The workspace {workspace} cannot be written: {error.strerror}.",
            next_step="Check its permissions and the disk's space.",
        ) from error
    return results


def record_works(
    connection: duckdb.DuckDBPyConnection, works: Sequence[Work], workspace: Path, *, now: datetime
) -> AddedWorks:
    """Record works inside the caller's transaction; the same again changes nothing."""
    wanted = list({(work.sha256, work.artist_id): work for work in reversed(works)}.values())[::-1]
    stored: dict[str, dict[str, str]] = {}
    for sha256, artist_id, path in connection.execute(
        "SELECT sha256, artist_id, path FROM work WHERE sha256 IN (SELECT unnest(?::VARCHAR[]))",
        [[work.sha256 for work in wanted]],
    ).fetchall():
        stored.setdefault(sha256, {})[artist_id] = path
    new = [work for work in wanted if work.artist_id not in stored.get(work.sha256, {})]
    moved = [work for work in wanted if _has_moved(work, stored, workspace)]
    insert_rows(connection, "work", [(w.sha256, w.artist_id, str(w.path), now, None) for w in new])
    for work in moved:
        connection.execute(
            "UPDATE work SET path = ? WHERE sha256 = ? AND artist_id = ?",
            [str(work.path), work.sha256, work.artist_id],
        )
    owners: dict[str, set[str]] = {sha256: set(paths) for sha256, paths in stored.items()}
    for work in wanted:
        owners.setdefault(work.sha256, set()).add(work.artist_id)
    shared = [work for work in wanted if len(owners[work.sha256]) > 1]
    creators = _creators(connection, {artist_id for work in shared for artist_id in owners[work.sha256]})
    duplicates = [
        DuplicateWork(
            w.sha256,
            str(w.path),
            w.artist_id,
            tuple(sorted(owners[w.sha256] - {w.artist_id})),
            same_creator=len({creators[artist_id] for artist_id in owners[w.sha256]}) == 1,
        )
        for w in shared
    ]
    return AddedWorks(len(new), len(wanted) - len(new), len(moved), duplicates)


def _creators(connection: duckdb.DuckDBPyConnection, artist_ids: Iterable[str]) -> dict[str, str]:
    rows = connection.execute(
        "SELECT artist_id, creator_id FROM artist WHERE list_contains(?::VARCHAR[], artist_id)",
        [sorted(artist_ids)],
    ).fetchall()
    return dict(rows)


def list_works(store: Store, artist_id: str | None = None) -> list[Work]:
    """The works of one artist or of all, by path; paths are absolute."""
    rows = store.connection.execute(
        "SELECT sha256, artist_id, path FROM work WHERE artist_id = coalesce(?, artist_id)"
        " ORDER BY path, sha256",
        [artist_id],
    ).fetchall()
    # an absolute path beside the workspace stays itself
    return [Work(sha256, owner, store.workspace / path) for sha256, owner, path in rows]


def thumbnail_path(workspace: Path, sha256: str) -> Path:
    """Where a work's thumbnail lies: WebP, longest side at most 256."""
    return workspace / THUMBNAILS / f"{sha256}.webp"


def drop_work_files(workspace: Path, sha256s: Iterable[str]) -> int:
    """Delete the thumbnails and copies of these works; users' own files are never touched."""
    dropped = 0
    for sha256 in sha256s:
        copies = (workspace / COPIES).glob(f"{sha256}.*") if (workspace / COPIES).is_dir() else ()
        for file in [thumbnail_path(workspace, sha256), *copies]:
            if file.exists():
                file.unlink()
                dropped += 1
    return dropped


def _prepare_files(
    files: Sequence[Path], workspace: Path, limits: ImageLimits, *, workers: int
) -> dict[Path, str | Refusal]:
    outcomes: dict[Path, str | Refusal] = {}
    unseen = []
    for path in files:
        try:
            str(path).encode()
            sha256 = hash_file(path, limits)
        except UnicodeEncodeError:
            detail = "The file's name is not UTF-8. Rename it."
            outcomes[path] = Refusal(path, RefusalReason.UNREADABLE, detail)
        except ImageRefusedError as error:
            outcomes[path] = Refusal(path, RefusalReason(error.reason), error.detail)
        else:
            outcomes[path] = sha256
            if not thumbnail_path(workspace, sha256).exists():
                unseen.append(path)
    if unseen:
        with ImageReader(limits, workers=min(workers, len(unseen))) as reader:
            for path, image in reader.read(unseen):
                outcomes[path] = image if isinstance(image, Refusal) else _keep_thumbnail(image, workspace)
    return outcomes


def _keep_thumbnail(image: DecodedImage, workspace: Path) -> str:
    from PIL import Image

    small = Image.fromarray(image.pixels)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_WEBP_QUALITY)
    write_durably(thumbnail_path(workspace, image.sha256), buffer.getvalue())
    return image.sha256


def _copy(path: Path, sha256: str, workspace: Path) -> str:
    """Keep a copy of an original; gives its path relative to the workspace, so that a backup can move."""
    name = f"{COPIES}/{sha256}{path.suffix.lower() or '.bin'}"
    target = workspace / name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(path, temporary)
        temporary.replace(target)
    return name


def _has_moved(work: Work, stored: dict[str, dict[str, str]], workspace: Path) -> bool:
    before = stored.get(work.sha256, {}).get(work.artist_id)
    return before is not None and before != str(work.path) and not (workspace / before).exists()
