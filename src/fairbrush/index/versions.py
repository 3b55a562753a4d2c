"""Versions of an index: manifests over immutable files, and which one is current.

Enters and leaves: ``IndexVersion``. The one rule: a manifest is written after every file it names, and
``CURRENT`` after the manifest, each by one rename; a reader who follows ``CURRENT`` meets a whole version.

``CURRENT``                       ``<space id>/v0007 <checksum>``
``<space id>/v0007.json``         the manifest, with the SHA-256 of its own other fields
``<space id>/segments/<sha256>.*``  see ``segments``; the name vouches for every file of the segment
``<space id>/shared/<sha256>.*``  the style space, the panel as strangers, their running maximum
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.durable import DRAFT_PREFIX
from fairbrush.errors import (
    FairbrushError,
    IndexDamagedError,
    IndexMissingError,
    IndexOutdatedError,
    IndexUnusableError,
    StyleSpaceError,
)
from fairbrush.index import segments as segment_files
from fairbrush.index.files import (
    REPAIR_STEP,
    canonical_json,
    read_checked,
    sha256_of,
    write_file,
    writer_lock,
)
from fairbrush.index.segments import Segment, open_segment
from fairbrush.style.affinity import OffsetRule, PanelScale
from fairbrush.style.space import StyleSpace
from fairbrush.style.space_file import decode_space
from fairbrush.style.strangers import Strangers, decode_strangers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = "fairbrush.index/2"
EARLIER_SCHEMAS = ("fairbrush.index/1",)
CURRENT_NAME = "CURRENT"
SHARED = "shared"
BUILD_STEP = "Build one: fairbrush index build"
_MANIFEST = re.compile(r"v(\d{4,})\.json")
_CURRENT = re.compile(r"([0-9a-f]{16})/v(\d{4,}) ([0-9a-f]{16})\n")


@dataclass(frozen=True)
class SegmentRef:
    """A segment of a version. ``superseded``: artists of it whose rows a later segment replaces."""

    name: str
    superseded: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexVersion:
    """One manifest. ``delta``: the image-level threshold; ``entry``: the lower one for whoever shares in an
    image; ``scale_sha256``: of the panel's running maximum.

    ``redactions`` counts the erasures that rewrote this version after it was published.
    """

    number: int
    parent: int | None
    encoder_id: str
    variants: tuple[str, ...]
    space_id: str
    dim: int
    rule: OffsetRule
    alpha: float
    delta: float
    entry: float
    artists: int
    works: int
    segments: tuple[SegmentRef, ...]
    space_sha256: str
    panel_sha256: str
    panel_hands: int
    scale_sha256: str
    redactions: int = 0

    @property
    def label(self) -> str:
        """Such as ``v0007``."""
        return f"v{self.number:04d}"

    @cached_property
    def manifest_digest(self) -> str:
        """SHA-256 of the manifest's fields: names every byte a search of this version can see."""
        return sha256_of(canonical_json(self._body()))

    def _body(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    def encode(self) -> bytes:
        body = {**self._body(), "sha256": self.manifest_digest}
        return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    def same_index(self, other: IndexVersion) -> bool:
        """Whether both give the same answers from the same files."""
        mine, others = self._body(), other._body()
        return all(mine[key] == others[key] for key in mine if key not in ("number", "parent", "redactions"))


@dataclass(frozen=True, eq=False)
class VersionFiles:
    """Where the files of one style space lie under an index folder."""

    folder: Path
    space_id: str

    @property
    def home(self) -> Path:
        return self.folder / self.space_id

    @property
    def segments(self) -> Path:
        return self.home / segment_files.FOLDER

    def manifest(self, number: int) -> Path:
        return self.home / f"v{number:04d}.json"

    def shared(self, sha256: str, ending: str) -> Path:
        return self.home / SHARED / f"{sha256}.{ending}"

    def write_shared(self, content: bytes, ending: str) -> str:
        sha256 = sha256_of(content)
        write_file(self.shared(sha256, ending), [content])
        return sha256

    def write_array(self, array: NDArray[Any]) -> str:
        import numpy as np

        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        return self.write_shared(stream.getvalue(), "npy")

    def read_array(self, sha256: str) -> NDArray[Any]:
        import numpy as np

        content = read_checked(self.shared(sha256, "npy"), sha256)
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def read_space(self, version: IndexVersion, *, verify: bool = True) -> StyleSpace:
        file = self.shared(version.space_sha256, "npz")
        content = read_checked(file, version.space_sha256 if verify else None)
        return decode_space(content, space_id=self.space_id, source=str(file))

    def read_strangers(self, version: IndexVersion) -> Strangers:
        """The panel. Raises IndexDamagedError, StyleSpaceError."""
        file = self.shared(version.panel_sha256, "npz")
        return decode_strangers(read_checked(file, version.panel_sha256), source=str(file))

    def read_scale(self, version: IndexVersion) -> PanelScale:
        return PanelScale(self.read_array(version.scale_sha256), version.panel_hands)

    def open_segments(self, version: IndexVersion) -> list[tuple[SegmentRef, Segment]]:
        return [(ref, open_segment(self.segments, ref.name)) for ref in version.segments]


def read_version(file: Path) -> IndexVersion:
    """Parse a manifest after its digest. Raises IndexDamagedError, IndexOutdatedError."""
    content = read_checked(file, None)
    try:
        body = json.loads(content)
        promised, schema = body.pop("sha256"), body.pop("schema")
        if schema in EARLIER_SCHEMAS:
            raise IndexOutdatedError(
                f"The index version {file} was written by an earlier fairbrush, as {schema}; this one reads"
                f" {SCHEMA}.",
                next_step="Rebuild: fairbrush index build",
            )
        if schema != SCHEMA:
            raise ValueError("another schema")
        body["variants"] = tuple(body["variants"])
        body["rule"] = OffsetRule(body["rule"])
        body["segments"] = tuple(
            SegmentRef(ref["name"], tuple(ref["superseded"])) for ref in body["segments"]
        )
        version = IndexVersion(**body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexDamagedError(f"The manifest {file} is damaged: {error}.", next_step=REPAIR_STEP) from error
    named = (file.parent.name, file.name)
    if version.manifest_digest != promised or named != (version.space_id, f"{version.label}.json"):
        raise IndexDamagedError(
            f"The manifest {file} is damaged: its digest is not its own.", next_step=REPAIR_STEP
        )
    return version


def manifest_files(folder: Path) -> dict[int, Path]:
    """Every version's manifest by number, of all style spaces, in ascending order."""
    found = {}
    for file in folder.glob("*/v*.json"):
        if matched := _MANIFEST.fullmatch(file.name):
            found[int(matched[1])] = file
    return dict(sorted(found.items()))


def list_versions(folder: Path) -> list[IndexVersion]:
    """Every version, oldest first. Raises IndexDamagedError for a damaged manifest."""
    return [read_version(file) for file in manifest_files(folder).values()]


def current_manifest(folder: Path) -> Path:
    """The manifest that CURRENT names. Raises IndexMissingError, IndexDamagedError."""
    try:
        content = (folder / CURRENT_NAME).read_bytes()
    except FileNotFoundError:
        known = manifest_files(folder)
        if not known:
            raise IndexMissingError(f"{folder} holds no index.", next_step=BUILD_STEP) from None
        content = b"(missing)"
    except OSError as error:
        raise IndexUnusableError(
            f"{folder / CURRENT_NAME} cannot be read: {error.strerror or error}.",
            next_step="Check the folder's permissions.",
        ) from error
    matched = _CURRENT.fullmatch(content.decode("ascii", "replace"))
    if matched is None or content != _encode_current(matched[1], int(matched[2])):
        label = next((f"v{number:04d}" for number in reversed(manifest_files(folder))), None)
        raise IndexDamagedError(
            f"{folder / CURRENT_NAME} is damaged: {content[:40]!r}.",
            next_step=f"Name a version again: fairbrush index rollback {label}" if label else BUILD_STEP,
        )
    return VersionFiles(folder, matched[1]).manifest(int(matched[2]))


def current_version(folder: Path) -> IndexVersion:
    """Raises IndexMissingError where there is none, IndexDamagedError."""
    return read_version(current_manifest(folder))


def next_number(folder: Path) -> int:
    return max(manifest_files(folder), default=0) + 1


def publish(folder: Path, version: IndexVersion) -> IndexVersion:
    """Write the manifest, then make it current. The caller holds the writer's lock."""
    write_manifest(folder, version)
    _point_at(folder, version)
    return version


def write_manifest(folder: Path, version: IndexVersion) -> None:
    write_file(VersionFiles(folder, version.space_id).manifest(version.number), [version.encode()])


def rollback(folder: Path, number: int) -> IndexVersion:
    """Make an older (or newer) version current; only CURRENT is rewritten.

    An erased artist is in no version, so none comes back. Raises IndexMissingError, IndexDamagedError.
    """
    with writer_lock(folder):
        known = manifest_files(folder)
        if number not in known:
            labels = ", ".join(f"v{n:04d}" for n in known) or "none"
            raise IndexMissingError(
                f"{folder} has no version v{number:04d}.", next_step=f"Its versions: {labels}."
            )
        version = read_version(known[number])
        check_version(folder, version)
        _point_at(folder, version)
        return version


def check_version(folder: Path, version: IndexVersion) -> None:
    """Compare every file that a version names with its digest. Raises IndexDamagedError, StyleSpaceError."""
    files = VersionFiles(folder, version.space_id)
    files.read_space(version)
    files.read_strangers(version)
    if files.read_scale(version).thresholds(version.alpha) != (version.delta, version.entry):
        raise IndexDamagedError(
            f"Index {version.label}: the thresholds are not the panel's.", next_step=REPAIR_STEP
        )
    works = 0
    for ref, segment in files.open_segments(version):
        segment.verify()
        works += sum(a.works for a in segment.artists if a.artist_id not in ref.superseded)
    if works != version.works:
        raise IndexDamagedError(
            f"Index {version.label} has {works} works, its manifest says {version.works}.",
            next_step=REPAIR_STEP,
        )


@dataclass(frozen=True)
class Damage:
    """What is wrong with one version, or with CURRENT."""

    where: str
    error: FairbrushError


def verify_index(folder: Path) -> list[Damage]:
    """Check every version; what is damaged, empty when all is sound. Raises IndexMissingError."""
    damage = []
    for number, file in [(None, None), *manifest_files(folder).items()]:
        try:
            check_version(folder, current_version(folder) if file is None else read_version(file))
        except IndexMissingError:
            raise
        except (IndexDamagedError, StyleSpaceError) as error:
            damage.append(Damage("CURRENT" if number is None else f"v{number:04d}", error))
    return damage


def drop_outdated(folder: Path) -> list[int]:
    """Delete the versions of an earlier format and their files; returns their numbers.

    Nothing here can read them, go back to them, or take an erased artist out of them. The caller holds the
    writer's lock.
    """
    outdated = {}
    for number, file in manifest_files(folder).items():
        try:
            read_version(file)
        except IndexOutdatedError:
            outdated[number] = file
        except IndexDamagedError:
            pass  # for whoever needs that version to tell
    if outdated:
        with suppress(IndexUnusableError):
            if current_manifest(folder) in outdated.values():
                (folder / CURRENT_NAME).unlink()
        for file in outdated.values():
            file.unlink()
        with suppress(
            IndexDamagedError
        ):  # a damaged version's files look like orphans: left until it is gone
            prune_unlocked(folder)
    return list(outdated)


def prune_unlocked(folder: Path) -> list[Path]:
    """Delete the files that no manifest names, left by interrupted writers; returns them.

    For a caller who holds the lock. Raises IndexDamagedError and deletes nothing where a manifest cannot be
    read, since its files would look like orphans."""
    named: set[tuple[str, str]] = set()
    for version in list_versions(folder):
        stems = [ref.name for ref in version.segments]
        stems += [version.space_sha256, version.panel_sha256, version.scale_sha256]
        named |= {(version.space_id, stem) for stem in stems}
    removed = []
    for file in _all_files(folder):
        is_part = file.parent.name in (segment_files.FOLDER, SHARED)
        orphan = is_part and (file.parents[1].name, file.stem) not in named
        if orphan or file.name.startswith(DRAFT_PREFIX):
            file.unlink(missing_ok=True)
            removed.append(file)
    return sorted(removed)


def _all_files(folder: Path) -> Iterator[Path]:
    """The files an index may own. Others may keep theirs in ``folder``; only drafts of CURRENT are ours."""
    for pattern in (
        f"{DRAFT_PREFIX}*-{CURRENT_NAME}",
        "*/*",
        f"*/{segment_files.FOLDER}/*",
        f"*/{SHARED}/*",
    ):
        yield from (file for file in list(folder.glob(pattern)) if file.is_file())


def _point_at(folder: Path, version: IndexVersion) -> None:
    write_file(folder / CURRENT_NAME, [_encode_current(version.space_id, version.number)])


def _encode_current(space_id: str, number: int) -> bytes:
    named = f"{space_id}/v{number:04d}"
    return f"{named} {sha256_of(named.encode())[:16]}\n".encode()
