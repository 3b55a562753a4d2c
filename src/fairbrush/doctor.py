"""Is everything in order? Versions, devices, encoder and a workspace, each with the way out.

Enters: a workspace's name, or nothing. Leaves: ``Check``s. The one rule: nothing is changed, not even
repaired, and whatever is broken becomes a row: a doctor that dies of the illness helps nobody.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush import __version__
from fairbrush.chain.verify import verify_chain
from fairbrush.config import CONFIG_NAME, Settings, find_workspace, load_settings
from fairbrush.corpus.eligibility import read_eligibility, revision
from fairbrush.corpus.erasure import pending_erasures
from fairbrush.corpus.images import decoder_id, image_limits
from fairbrush.corpus.registry import list_artists
from fairbrush.domain import Consent
from fairbrush.embedding.cache_env import data_file_of
from fairbrush.embedding.cache_file import check_before_mapping, structure_problems
from fairbrush.embedding.encoder import BUNDLED, Device, Encoder, load_encoder, parse_spec
from fairbrush.embedding.onnx_tower import REINSTALL, ExportFacts
from fairbrush.errors import (
    CalibrationError,
    ChainError,
    ConfigError,
    DatabaseBusyError,
    FairbrushError,
    IndexDamagedError,
    IndexMissingError,
    IndexOutdatedError,
)
from fairbrush.index.faiss_door import PACKAGES, installed_faiss
from fairbrush.index.files import LOCK_NAME
from fairbrush.index.search import open_index
from fairbrush.index.versions import (
    check_version,
    manifest_files,
    read_version,
    verify_index,
)
from fairbrush.ledger.policy import read_policy
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.records import MOST_PENDING, pending_files
from fairbrush.ledger.terms import read_terms
from fairbrush.store import DATABASE_NAME, Store, load_migrations
from fairbrush.style.calibration import read_calibration
from fairbrush.workspace import INDEXES, RECORDS

if TYPE_CHECKING:
    from fairbrush.index.search import StyleIndex

OLDEST_PYTHON = (3, 11)
# What fairbrush stands on, by the names the packages are installed under.
LIBRARIES = ("torch", "open_clip_torch", "duckdb", "onnxruntime", "numpy", "lmdb", "pillow")
DATABASE_WAIT_S = 0.5
LITTLE_SPACE_BYTES = 1_000_000_000
NO_SPACE_BYTES = 50_000_000
# The structure of a cache larger than this is walked only when asked to look deep.
QUICK_CACHE_BYTES = 1_000_000_000


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``fix``: what to type, or what to do where no command can; empty when ok."""

    what: str
    status: Status
    detail: str
    fix: str = ""


@dataclass
class Patient:
    """What later checks need of earlier ones; None where it could not be had."""

    settings: Settings
    deep: bool
    encoder: Encoder | None = None
    artists_with_works: set[str] | None = None
    registry_revision: int | None = None
    index: StyleIndex | None = None

    @property
    def workspace(self) -> Path:
        assert self.settings.workspace is not None, "asked of a workspace that is not there"
        return self.settings.workspace

    @property
    def here(self) -> str:
        """The option that names this workspace, ready to be typed; empty where walking up finds it."""
        if find_workspace(Path.cwd()) == self.workspace:
            return ""
        return f"--workspace {shlex.quote(str(self.workspace))} "

    def command(self, words: str) -> str:
        return f"fairbrush {self.here}{words}"


def examine(workspace: Path | None = None, *, deep: bool = False) -> Iterator[Check]:
    """Every check, as it is made. ``deep``: load torch and the encoder, and read every cached page."""
    yield from _guarded("python", check_python)
    for name in LIBRARIES:
        yield from _guarded(name, lambda name=name: check_library(name))  # type: ignore[misc]
    yield from _guarded("faiss", check_faiss)
    settings, problems = examine_settings(workspace)
    yield from problems
    patient = Patient(settings, deep)
    yield from _guarded("processor", lambda: check_processor(patient))
    yield from _guarded("encoder", lambda: check_encoder(patient))
    if deep:
        yield from _guarded("devices", check_devices)
        yield from _guarded("encoder run", lambda: check_encoder_run(patient))
    if settings.workspace is None:
        # a command that was told of a workspace, wrongly, has its row already
        if not problems:
            yield Check(
                "workspace",
                Status.WARNING,
                "none here, nor in the folders above; embed works without one",
                "fairbrush init",
            )
        yield from _guarded("cache", lambda: check_cache(patient))
        return
    for what, check in WORKSPACE_CHECKS.items():
        yield from _guarded(what, lambda check=check: check(patient))  # type: ignore[misc]


def _guarded(what: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The rows of a check; one that fails on something unforeseen is a row too."""
    try:
        yield from check()
    except FairbrushError as error:
        yield _problem(what, error)
    except Exception as error:  # noqa: BLE001 - whatever is broken must not end the examination
        detail = str(error).strip().partition("\n")[0]
        yield Check(what, Status.PROBLEM, f"cannot be looked at: {type(error).__name__}: {detail}", _REPORT)


_REPORT = "fairbrush backup FILE.zip, then report this with the row above"


def _problem(what: str, error: FairbrushError, fix: str = "", status: Status = Status.PROBLEM) -> Check:
    return Check(what, status, error.message, fix or error.next_step or _REPORT)


def check_python() -> Iterator[Check]:
    enough = sys.version_info[:2] >= OLDEST_PYTHON
    wanted = ".".join(map(str, OLDEST_PYTHON))
    status, fix = (Status.OK, "") if enough else (Status.PROBLEM, f"install Python {wanted} or newer")
    system = f"{platform.system()} {platform.machine()}"
    yield Check("python", status, f"{platform.python_version()} on {system}, {sys.executable}", fix)
    try:
        how = f"{version('fairbrush')}, installed"
    except PackageNotFoundError:
        how = f"{__version__}, from its source folder"
    yield Check("fairbrush", Status.OK, f"{how}: {Path(__file__).parent}")


def check_library(name: str) -> Iterator[Check]:
    try:
        yield Check(name, Status.OK, version(name))
    except PackageNotFoundError:
        yield Check(name, Status.PROBLEM, "is not installed", f'pip install "{_requirement(name)}"')


def _requirement(name: str) -> str:
    """What fairbrush asks of a package, such as ``torch>=2.6``; its name alone when run from source."""
    try:
        wanted = requires("fairbrush") or []
    except PackageNotFoundError:
        wanted = []
    return next((one for one in wanted if re.match(rf"{name}\b(?!.*extra)", one, re.IGNORECASE)), name)


def check_faiss() -> Iterator[Check]:
    found = installed_faiss()
    named = " and ".join(f"{package} {number}" for package, number in found.items())
    if not found:
        yield Check("faiss", Status.PROBLEM, "none is installed", "pip install faiss-cpu")
    elif len(found) > 1:
        yield Check(
            "faiss",
            Status.PROBLEM,
            f"both are installed and break each other: {named}",
            f"pip uninstall -y {' '.join(PACKAGES)} && pip install faiss-cpu",
        )
    else:
        yield Check("faiss", Status.OK, named)


def examine_settings(workspace: Path | None) -> tuple[Settings, list[Check]]:
    """The settings to go on with, and what is wrong with them: the file's fault or a variable's."""
    try:
        settings = load_settings(workspace=workspace)
        return settings, _policy_problems(settings)
    except FairbrushError as error:
        fault = error
    folder = _workspace_named(workspace)
    if workspace is not None and not workspace.is_dir():
        fix = f"fairbrush init {shlex.quote(str(workspace))}"
        return Settings(), [_problem("settings", fault, fix)]
    variables = sorted(name for name in os.environ if name.startswith("FAIRBRUSH_"))
    for variable in variables:
        try:
            load_settings(start=Path("/"), environ={variable: os.environ[variable]})
        except FairbrushError as error:
            fix = f"unset {variable}"
            return Settings(workspace=folder), [_problem("settings", error, fix)]
    if folder is None:
        return Settings(), [_problem("settings", fault)]
    file, there = shlex.quote(str(folder / CONFIG_NAME)), shlex.quote(str(folder))
    fix = f"mv {file} {file}.old && fairbrush init {there}"
    return Settings(workspace=folder), [_problem("settings", fault, fix)]


def _policy_problems(settings: Settings) -> list[Check]:
    file = None if settings.workspace is None else settings.workspace / CONFIG_NAME
    source = "defaults" if file is None or not file.is_file() else str(file)
    try:
        named = {read_policy(settings.policy).calibrated_by, read_terms(settings.policy).calibration}
        for one in filter(None, named):
            read_calibration(settings.workspace or Path(), one)
    except (ConfigError, CalibrationError) as error:
        return [_problem("settings", error)]
    return [Check("settings", Status.OK, f"{source} can be read")] if file else []


def _workspace_named(workspace: Path | None) -> Path | None:
    named = workspace or (Path(found) if (found := os.environ.get("FAIRBRUSH_WORKSPACE")) else None)
    try:
        return (named if named.is_dir() else None) if named else find_workspace(Path.cwd())
    except OSError:
        return None


def check_processor(patient: Patient) -> Iterator[Check]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{allowed} of {os.cpu_count()} cores may be used; device = {patient.settings.device}"
    if patient.settings.device not in set(Device):
        known = ", ".join(Device)
        yield Check(
            "processor", Status.PROBLEM, f"{detail}, which is no device", f"set device to one of {known}"
        )
        return
    yield Check("processor", Status.OK, f"{detail}{'' if patient.deep else '; GPUs: with --deep'}")


def check_encoder(patient: Patient) -> Iterator[Check]:
    """Spec, weights and id, as far as they can be known without torch."""
    settings = patient.settings
    parsed = parse_spec(settings.encoder)
    if parsed.kind == "mini":
        facts = ExportFacts.read(BUNDLED)
        file = BUNDLED / "image_tower.onnx"
        if not file.is_file():
            yield Check("encoder", Status.PROBLEM, f"{settings.encoder}: {file} is not there", REINSTALL)
            return
        if hashlib.sha256(file.read_bytes()).hexdigest() != facts.onnx_sha256:
            yield Check("encoder", Status.PROBLEM, f"{settings.encoder}: {file} is damaged", REINSTALL)
            return
        patient.encoder = _load(patient, Device.CPU)
        yield Check("encoder", Status.OK, f"{settings.encoder}: {patient.encoder.encoder_id}")
        return
    if patient.deep:
        patient.encoder = _load(patient, Device.CPU)
        yield Check("encoder", Status.OK, f"{settings.encoder}: {patient.encoder.encoder_id}")
        return
    if parsed.kind == "local-dir" and not Path(parsed.model).expanduser().is_dir():
        yield Check(
            "encoder",
            Status.PROBLEM,
            f"{settings.encoder}: there is no such folder",
            f"put the weights there, or set encoder in {CONFIG_NAME}",
        )
        return
    yield Check(
        "encoder",
        Status.WARNING,
        f"{settings.encoder}: its weights and id are known only when torch loads it",
        patient.command("doctor --deep") if settings.workspace else "fairbrush doctor --deep",
    )


def _load(patient: Patient, device: Device) -> Encoder:
    settings = patient.settings
    limits = image_limits(settings)
    return load_encoder(
        settings.encoder, decoder_id=decoder_id(limits), device=device, threads=settings.threads
    )


def check_devices() -> Iterator[Check]:
    """What torch finds. Imports torch."""
    try:
        import torch
    except (ImportError, OSError) as error:
        detail = f"torch cannot be imported: {error}"
        fix = 'pip install --force-reinstall "torch>=2.6"'
        yield Check("devices", Status.PROBLEM, detail, fix)
        return
    cuda = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    found = [*(f"CUDA {name}" for name in cuda), *(["MPS"] if mps else [])]
    yield Check("devices", Status.OK, f"torch {torch.__version__} finds {', '.join(found) or 'no GPU'}")


def check_encoder_run(patient: Patient) -> Iterator[Check]:
    """One image through the encoder, on the device that the settings ask for."""
    import numpy as np

    encoder = _load(patient, Device(patient.settings.device))
    started = time.monotonic()
    [row] = encoder.embed([np.full((64, 64, 3), 200, np.uint8)])
    took_ms = 1000 * (time.monotonic() - started)
    sound = bool(np.isfinite(row).all()) and abs(float(np.linalg.norm(row)) - 1) < 1e-3
    detail = f"{encoder.variant} on {encoder.device}: {len(row)} numbers in {took_ms:.0f} ms"
    fix = "" if sound else f'set encoder = "mini" in {CONFIG_NAME}, or another device'
    yield Check("encoder run", Status.OK if sound else Status.PROBLEM, detail, fix)


def check_folder(patient: Patient) -> Iterator[Check]:
    workspace = patient.workspace
    quoted = shlex.quote(str(workspace))
    if not (workspace / CONFIG_NAME).is_file():
        yield Check("workspace", Status.PROBLEM, f"{workspace} is none yet", f"fairbrush init {quoted}")
    elif not os.access(workspace, os.W_OK):
        yield Check("workspace", Status.PROBLEM, f"{workspace} is read-only", f"chmod -R u+w {quoted}")
    else:
        yield Check("workspace", Status.OK, str(workspace))


def check_disk(patient: Patient) -> Iterator[Check]:
    free = shutil.disk_usage(patient.workspace).free
    status = (
        Status.PROBLEM
        if free < NO_SPACE_BYTES
        else Status.WARNING
        if free < LITTLE_SPACE_BYTES
        else Status.OK
    )
    fix = "" if status is Status.OK else "free some space; fairbrush cache info shows what the cache takes"
    yield Check("disk", status, f"{free / 1e9:.1f} GB are free", fix)


def check_database(patient: Patient) -> Iterator[Check]:
    """The schema, and what later checks need; the database is let go of at once."""
    newest = load_migrations()[-1].version
    file = patient.workspace / DATABASE_NAME
    if not file.is_file():
        detail = f"there is no {file}: the registry, consent and records are gone"
        yield Check("database", Status.PROBLEM, detail, "fairbrush restore BACKUP.zip NEW_DIR")
        return
    try:
        store = Store.look(patient.workspace, wait_s=DATABASE_WAIT_S)
    except DatabaseBusyError as busy:
        yield _problem("database", busy, status=Status.WARNING)
        return
    with store:
        found = store.schema_version()
        if found > newest:
            detail = f"has schema {found}, this fairbrush knows {newest}"
            yield Check("database", Status.PROBLEM, detail, "pip install --upgrade fairbrush")
            return
        if found < newest:
            detail = f"has schema {found}; the next command that writes brings it to {newest}"
            yield Check("database", Status.WARNING, detail, patient.command("artist list"))
            return
        yield Check("database", Status.OK, f"schema {found}, {file.stat().st_size / 1e6:.1f} MB")
        patient.registry_revision = revision(store)
        entries = [e for e in list_artists(store) if e.artist.consent is not Consent.ERASED]
        patient.artists_with_works = {e.artist.artist_id for e in entries if e.n_works}
        pending = pending_erasures(store)
    yield Check("artists", Status.OK, f"{len(entries)}, {len(patient.artists_with_works)} of them with works")
    if pending:
        yield Check(
            "erasures",
            Status.PROBLEM,
            f"{len(pending)} interrupted: vectors, thumbnails or index rows of erased artists are left",
            patient.command(f"artist erase {pending[0].artist_id} --yes"),
        )
    else:
        yield Check("erasures", Status.OK, "none is unfinished")


def check_eligibility(patient: Patient) -> Iterator[Check]:
    fix = patient.command("artist list")
    try:
        eligibility = read_eligibility(patient.workspace)
    except FairbrushError as error:
        yield _problem("eligibility", error, fix)
        return
    known = patient.registry_revision
    if known is None:
        detail = "sound; whether it is in step with the database cannot be seen now"
        yield Check("eligibility", Status.OK, detail)
    elif eligibility.revision != known:
        detail = f"is of the registry's change {eligibility.revision}, the database is at {known}"
        yield Check("eligibility", Status.PROBLEM, detail, fix)
    else:
        yield Check("eligibility", Status.OK, f"in step with the database, change {known}")


def check_index(patient: Patient) -> Iterator[Check]:
    """Current, sound, of this encoder, and complete."""
    folder = patient.workspace / INDEXES
    build = patient.command("index build")
    try:
        damaged = {one.where: one.error for one in verify_index(folder)}
        if "CURRENT" not in damaged:
            patient.index = open_index(folder)
    except IndexMissingError:
        wanted = bool(patient.artists_with_works)
        fix = build if wanted else patient.command("artist add NAME WORKS...")
        yield Check("index", Status.WARNING, "there is none yet, so nothing can be attributed", fix)
        return
    if "CURRENT" in damaged:
        yield _problem("index", damaged["CURRENT"], _way_back(patient, folder))
        return
    assert patient.index is not None, "it was opened or raised"
    index = patient.index
    detail = f"{index.version} is current and verified: {len(index.artist_ids)} artists"
    yield Check("index", Status.OK, f"{detail}, {index.manifest.works} works")
    if damaged:
        detail = f"{', '.join(sorted(damaged))} cannot be rolled back to: damaged"
        files = manifest_files(folder)
        bad = [shlex.quote(str(files[int(label[1:])])) for label in sorted(damaged)]
        yield Check("index versions", Status.WARNING, detail, f"rm {' '.join(bad)}")
    yield from _index_encoder(patient, index)
    if patient.artists_with_works is not None:
        absent = patient.artists_with_works - set(index.artist_ids)
        if absent:
            detail = f"{len(absent)} registered artists with works are not in the index"
            yield Check("index artists", Status.WARNING, detail, patient.command("index extend"))
        else:
            yield Check("index artists", Status.OK, "every registered artist with works is in it")


def _way_back(patient: Patient, folder: Path) -> str:
    """The newest sound version to go back to; else a build, after what it would stumble over is gone."""
    unreadable = []
    for number, file in reversed(manifest_files(folder).items()):
        try:
            check_version(folder, read_version(file))
            return patient.command(f"index rollback v{number:04d}")
        except IndexOutdatedError:
            continue  # a build replaces it
        except IndexDamagedError:
            unreadable.append(file)
    if manifest_files(folder) and not unreadable:
        return patient.command("index build")
    removed = " ".join(shlex.quote(str(file)) for file in [*unreadable, folder / "CURRENT"])
    return f"rm -f {removed} && {patient.command('index build')}"


def _index_encoder(patient: Patient, index: StyleIndex) -> Iterator[Check]:
    if patient.encoder is None:
        detail = f"built with {index.encoder_id}; the workspace's could not be compared"
        yield Check("index encoder", Status.WARNING, detail, patient.command("doctor --deep"))
    elif patient.encoder.encoder_id != index.encoder_id:
        detail = f"built with {index.encoder_id}, the workspace's is {patient.encoder.encoder_id}"
        yield Check("index encoder", Status.PROBLEM, detail, patient.command("index build"))
    else:
        yield Check("index encoder", Status.OK, "is the workspace's")


def check_ledger(patient: Patient) -> Iterator[Check]:
    """The chain over the records; with ``deep`` every record too."""
    if patient.registry_revision is None:
        return  # the database has a row already that says why it cannot be read
    try:
        with Store.look(patient.workspace, wait_s=DATABASE_WAIT_S) as store:
            found = verify_ledger(store.connection) if patient.deep else verify_chain(store.connection)
    except DatabaseBusyError as busy:
        yield _problem("ledger", busy, status=Status.WARNING)
        return
    except ChainError as error:
        yield _problem("ledger", error, patient.command("artist list"), Status.WARNING)
        return
    if not found.is_sound:
        detail = f"{found.count} records or batches are not as they were committed"
        yield Check("ledger", Status.PROBLEM, detail, patient.command("ledger verify"))
        return
    every = "" if patient.deep else "; every record: with --deep"
    yield Check("ledger", Status.OK, f"{found.end.leaves} records in {found.end.batches} batches{every}")


def check_records(patient: Patient) -> Iterator[Check]:
    waiting = len(pending_files(patient.workspace / RECORDS))
    refused = patient.workspace / RECORDS / "refused"
    n_refused = len(list(refused.glob("*.jsonl"))) if refused.is_dir() else 0
    if n_refused:
        detail = f"{n_refused} damaged files of records lie in {refused}"
        fix = f"cat {shlex.quote(str(refused))}/*.reason.txt"
        yield Check("refused records", Status.WARNING, detail, fix)
    detail = f"{waiting} files wait to be drained into the database"
    if waiting > MOST_PENDING:
        yield Check("records", Status.WARNING, detail, patient.command("report lookups --limit 5"))
    else:
        yield Check("records", Status.OK, detail)


def check_cache(patient: Patient) -> Iterator[Check]:
    """Size and structure, by plain reads: opening the cache would leave a reader's mark in its lock file."""
    folder = patient.settings.cache_folder
    file = data_file_of(folder)
    if not (file.is_file() and file.stat().st_size):
        yield Check("cache", Status.OK, f"{folder} holds nothing yet")
        return
    size = file.stat().st_size
    fix = f"rm -r {shlex.quote(str(folder))}  # its vectors are computed again, nothing else is lost"
    try:
        check_before_mapping(file)
        walked = patient.deep or size <= QUICK_CACHE_BYTES
        problems = structure_problems(file) if walked else []
    except FairbrushError as error:
        yield _problem("cache", error, fix)
        return
    if problems:
        yield Check("cache", Status.PROBLEM, f"{file} is damaged: {problems[0]}", fix)
        return
    what = "its structure is sound" if walked else "its structure: with --deep"
    yield Check("cache", Status.OK, f"{size / 1e6:.1f} MB, {what}; each vector: fairbrush cache verify")


def check_locks(patient: Patient) -> Iterator[Check]:
    """Whether somebody writes the index. The database's holder is in its own row."""
    file = patient.workspace / INDEXES / LOCK_NAME
    if _is_held(file):
        detail = f"another process is writing the index ({file})"
        yield Check("locks", Status.WARNING, detail, "wait for it to end; looking up works meanwhile")
    else:
        yield Check("locks", Status.OK, "nobody is writing the index")


def _is_held(file: Path) -> bool:
    if sys.platform == "win32" or not file.is_file():
        return False
    import fcntl

    with file.open("rb") as stream:
        try:
            # shared, and for an instant: a writer who asks meanwhile asks again
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


WORKSPACE_CHECKS: dict[str, Callable[[Patient], Iterator[Check]]] = {
    "workspace": check_folder,
    "disk": check_disk,
    "database": check_database,
    "ledger": check_ledger,
    "eligibility": check_eligibility,
    "index": check_index,
    "records": check_records,
    "cache": check_cache,
    "locks": check_locks,
}
