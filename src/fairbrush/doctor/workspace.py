"""Checks of a workspace: folder, disk, database, chain, eligibility, index, records, cache and locks.

Enters: a ``Patient``, with what earlier checks have found. Leaves: ``Check``s. The one rule: everything is
looked at as it lies, nothing is opened for writing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.verify import verify_chain
from fairbrush.config import CONFIG_NAME
from fairbrush.corpus.eligibility import read_eligibility, revision
from fairbrush.corpus.erasure import pending_erasures
from fairbrush.corpus.registry import list_artists
from fairbrush.doctor.checks import Check, Patient, Status, problem
from fairbrush.domain import Consent
from fairbrush.embedding.cache_env import data_file_of
from fairbrush.embedding.cache_file import check_before_mapping, structure_problems
from fairbrush.errors import (
    ChainError,
    DatabaseBusyError,
    FairbrushError,
    IndexDamagedError,
    IndexMissingError,
    IndexOutdatedError,
)
from fairbrush.index.files import LOCK_NAME
from fairbrush.index.search import open_index
from fairbrush.index.versions import check_version, manifest_files, read_version, verify_index
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.records import MOST_PENDING, pending_files
from fairbrush.store import DATABASE_NAME, Store, load_migrations
from fairbrush.workspace import INDEXES, RECORDS

if TYPE_CHECKING:
    from fairbrush.index.search import StyleIndex

DATABASE_WAIT_S = 0.5
LITTLE_SPACE_BYTES = 1_000_000_000
NO_SPACE_BYTES = 50_000_000
# The structure of a cache larger than this is walked only when asked to look deep.
QUICK_CACHE_BYTES = 1_000_000_000


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
        yield problem("database", busy, status=Status.WARNING)
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
        yield problem("eligibility", error, fix)
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
        yield problem("index", damaged["CURRENT"], _way_back(patient, folder))
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
        yield problem("ledger", busy, status=Status.WARNING)
        return
    except ChainError as error:
        yield problem("ledger", error, patient.command("artist list"), Status.WARNING)
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
        yield problem("cache", error, fix)
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
