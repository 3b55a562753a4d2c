"""A workspace on disk: make one, back it up, restore it.

Enters: folders. Leaves: a workspace, or one archive of it. The one rule: nothing that exists is ever
overwritten. fairbrush.toml is written last, because its presence says that the workspace is complete; a
backup's manifest is checked before anything of it takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fairbrush.config import CONFIG_NAME
from fairbrush.durable import flush_folder, write_durably
from fairbrush.errors import FairbrushError, WorkspaceError
from fairbrush.store import DATABASE_NAME, DEFAULT_WAIT_S, Store

EMBEDDINGS = "embeddings"
THUMBNAILS = "thumbnails"
COPIES = "works"
INDEXES = "indexes"
RECORDS = "records"
CALIBRATIONS = "calibrations"  # copies of what the database holds: a look-up does not open it
REGENERATIONS = "regenerations"  # made by fairbrush validate; disposable, so in no backup
PENDING_RECORDS = f"{RECORDS}/pending"
FOLDERS = (EMBEDDINGS, THUMBNAILS, PENDING_RECORDS, INDEXES)

_OWN = (EMBEDDINGS, THUMBNAILS, INDEXES, RECORDS, CALIBRATIONS, REGENERATIONS)

BACKUP_SCHEMA = "fairbrush.backup/1"
_MANIFEST = "manifest.json"
_CHUNK_BYTES = 1024 * 1024
# What a backup holds besides the database; the embedding cache is disposable and left out unless asked for.
_KEPT = (CONFIG_NAME, INDEXES, RECORDS, CALIBRATIONS, THUMBNAILS, COPIES)

_TOML = """\
# A fairbrush workspace. Every setting has a default; a line here beats it, a FAIRBRUSH_NAME variable beats
# this file, and a flag beats both.

# What turns an image into numbers: mini, open_clip:NAME/PRETRAINED or local-dir:FOLDER, and +PART.
# An index belongs to one encoder: after a change, build it again (fairbrush index build).
encoder = {encoder}

# device = "auto"           # auto, cpu, cuda or mps
# cache = "/path/to/folder" # embedding cache; else embeddings/ beside this file
# workers = 0               # processes that decode images; 0: one a core, at most 8
# threads = 0               # of the encoder; 0: its own choice
# max_bytes = 67108864      # of one image file
# max_pixels = 100000000    # of one image
# timeout_s = 20.0          # for decoding one image
# database_wait_s = 10.0    # for another process to let go of the database
# language = "en"           # of pages (fairbrush report image, statement, overview): en or de

# How one image's worth is split; choices, not measurements (docs/attribution-schema.md).
# [policy]
# b = 0.5                   # the content part: what the model alone delivers
# w = 1                     # of the recognised style, the part that goes to its artists
# model = "sd-1.5"          # the generating model assumed where --model does not name one
# How revenue is split, once it is adopted (fairbrush policy adopt):
# platform_fee = 0.1        # of revenue, before anything else
# unattributed = "fund"     # what is nobody's: fund, escrow, model or platform
# minimum_claim = 0.001     # a smaller share of an image is unattributed
# minimum_payout = {{ EUR = "10.00" }}
# membership = "filter"     # artists the model was not trained on: ignore, filter or weight
# reproducibility = "ignore" # artists it cannot reproduce: ignore, filter or weight
# unclaimed = "escrow"      # artists nobody claimed yet: escrow or unattributed
# opted_out = "escrow"      # artists who opted out: escrow or unattributed
# fine_tune_weight = 0.5    # of a fine-tune's part, what is not its base's
# index = "v0001"           # whose records pay; else the current version on adoption
# What fairbrush calibrate measured is applied only where it is named, by id or its first digits; a b of
# "calibrated:0123abcd" is that of each model.
# calibration = "0123abcd"  # to look-ups, and to which records pay

# Where the weights of generating models lie, for fairbrush validate: diffusers folders, safetensors.
# [generators]
# "sd-1.5" = "/path/to/stable-diffusion-v1-5"
"""


@dataclass(frozen=True)
class BackupSummary:
    """``n_bytes`` counts the files in the archive before compression."""

    file: Path
    n_files: int
    n_bytes: int


def create_workspace(folder: Path, *, encoder: str = "mini", wait_s: float = DEFAULT_WAIT_S) -> bool:
    """Make a workspace in ``folder``; False where there is one already, which is left as it is.

    A half-made one (the process died) is completed. Raises WorkspaceError and what ``Store.open`` raises.
    """
    config = folder / CONFIG_NAME
    try:
        if config.exists():
            return False
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        with Store.open(folder, create=True, wait_s=wait_s):
            pass
        write_durably(config, _TOML.format(encoder=json.dumps(encoder, ensure_ascii=False)).encode())
    except OSError as error:
        raise WorkspaceError(
            f"No workspace can be made in {folder}: {error.strerror}.", next_step="Choose another folder."
        ) from error
    return True


def require_workspace(folder: Path | None) -> Path:
    """The workspace a command works in. Raises WorkspaceError where there is none."""
    if folder is None:
        raise WorkspaceError(
            "There is no workspace here, nor in the folders above.",
            next_step="Make one: fairbrush init, or name one: fairbrush --workspace DIR ...",
        )
    return folder


def is_own_file(path: Path) -> bool:
    """Whether a path is a workspace's database or settings, or a file in its folders."""
    real = Path(os.path.realpath(path))
    for folder in real.parents:
        if (folder / CONFIG_NAME).is_file():
            first = real.relative_to(folder).parts[0]
            is_kept = first in _OWN and real.exists()
            return is_kept or first == CONFIG_NAME or first.startswith(DATABASE_NAME)
    return False


def back_up(
    workspace: Path, file: Path, *, with_cache: bool = False, wait_s: float = DEFAULT_WAIT_S
) -> BackupSummary:
    """Write one archive of a workspace, with a manifest of digests. Raises WorkspaceError.

    No other process writes the database meanwhile. What is added to the index or to the pending records
    while the archive is written may or may not be in it; what was there before is.
    """
    if file.exists():
        raise WorkspaceError(f"{file} exists.", next_step="Name a file that does not exist yet.")
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with (
            Store.open(workspace, wait_s=wait_s) as store,
            tempfile.TemporaryDirectory(dir=file.parent, prefix=".fairbrush-backup-") as scratch,
        ):
            database = Path(scratch, DATABASE_NAME)
            store.copy_to(database)
            members = [(DATABASE_NAME, database), *_members(workspace, with_cache=with_cache)]
            digests = _write_archive(temporary, members)
        temporary.rename(file)
        flush_folder(file.parent)
    except OSError as error:
        raise WorkspaceError(
            f"The backup {file} cannot be written: {error.strerror or error}.",
            next_step="Check the folder, its permissions and the disk's space.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return BackupSummary(file, len(digests), sum(entry["bytes"] for entry in digests.values()))


def restore(file: Path, folder: Path) -> BackupSummary:
    """Bring a backup back into an empty or absent folder, each file checked first. Raises WorkspaceError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorkspaceError(f"{folder} is not empty.", next_step="Restore into a new folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fairbrush-restore-"))
    except OSError as error:
        raise WorkspaceError(
            f"{folder} cannot be written: {error.strerror}.", next_step="Choose another folder."
        ) from error
    try:
        entries = _extract_checked(file, scratch)
        for name in FOLDERS:
            (scratch / name).mkdir(parents=True, exist_ok=True)
        scratch.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
        flush_folder(folder.parent)
    except OSError as error:
        raise WorkspaceError(
            f"{file} cannot be restored to {folder}: {error.strerror or error}.",
            next_step="Check the paths, their permissions and the disk's space.",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return BackupSummary(file, len(entries), sum(entry["bytes"] for entry in entries.values()))


def _members(workspace: Path, *, with_cache: bool) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of every file to keep: ``CURRENT`` before the versions it may name."""
    names = [*_KEPT, EMBEDDINGS] if with_cache else list(_KEPT)
    for name in names:
        root = workspace / name
        if root.is_file():
            yield name, root
        for member in sorted(root.rglob("*"), key=lambda path: (path.name != "CURRENT", path)):
            is_temporary = member.name.startswith(".") or member.suffix == ".tmp"
            if member.is_file() and not member.is_symlink() and not is_temporary:
                yield member.relative_to(workspace).as_posix(), member


def _write_archive(archive: Path, members: list[tuple[str, Path]]) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    with archive.open("wb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name, path in members:
                try:
                    source = path.open("rb")
                except FileNotFoundError:
                    continue  # a pending record that was drained, a segment that was compacted
                with source, packed.open(name, "w", force_zip64=True) as target:
                    entries[name] = _copy_digesting(source, target)
            manifest = {"schema": BACKUP_SCHEMA, "files": entries}
            packed.writestr(_MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
        stream.flush()
        os.fsync(stream.fileno())
    return entries


def _extract_checked(archive: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Unpack what the manifest names, each file checked by its digest. Raises WorkspaceError."""
    try:
        with zipfile.ZipFile(archive) as packed:
            manifest = json.loads(packed.read(_MANIFEST))
            if manifest["schema"] != BACKUP_SCHEMA:
                raise _damaged(archive, f"its manifest is {manifest['schema']!r}, not {BACKUP_SCHEMA!r}")
            entries: dict[str, dict[str, Any]] = manifest["files"]
            if {*packed.namelist()} != {*entries, _MANIFEST} or DATABASE_NAME not in entries:
                raise _damaged(archive, "its files are not those of its manifest")
            for name, entry in entries.items():
                target = _inside(folder, name, archive)
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(name) as source, target.open("wb") as stream:
                    found = _copy_digesting(source, stream, limit_bytes=int(entry["bytes"]))
                    stream.flush()
                    os.fsync(stream.fileno())
                if found != entry:
                    raise _damaged(archive, f"{name} has another digest than its manifest says")
            return entries
    except FairbrushError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _damaged(archive, f"it cannot be read ({error})") from error
    except Exception as error:  # zlib.error and the like: a hostile archive can make zipfile raise anything
        if isinstance(error, OSError):
            raise
        raise _damaged(archive, f"it cannot be unpacked ({error})") from error


def _inside(folder: Path, name: str, archive: Path) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
        raise _damaged(archive, f"it names a file outside the workspace: {name!r}")
    return folder.joinpath(*parts)


def _copy_digesting(
    source: IO[bytes], target: IO[bytes], *, limit_bytes: int | None = None
) -> dict[str, Any]:
    digest, n_bytes = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        n_bytes += len(chunk)
        if limit_bytes is not None and n_bytes > limit_bytes:
            break  # longer than the manifest says: the caller sees that the digests differ
        digest.update(chunk)
        target.write(chunk)
    return {"sha256": digest.hexdigest(), "bytes": n_bytes}


def _damaged(archive: Path, what: str) -> WorkspaceError:
    return WorkspaceError(
        f"{archive} is no sound backup: {what}.", next_step="Nothing was restored. Use another backup."
    )
