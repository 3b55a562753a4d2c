"""What the registry's commands share: the workspace's store, and a name for what has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.output import say
from fairbrush.config import Settings, load_settings
from fairbrush.errors import ConfigError, ErasureUnfinishedError, StoreError

if TYPE_CHECKING:
    from fairbrush.corpus.images import Refusal
    from fairbrush.corpus.works import DuplicateWork
    from fairbrush.ledger.records import DrainReport
    from fairbrush.store import Store

ERASED_NAME = "(erased)"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

NewFlag = Annotated[
    bool, typer.Option("--new", help="Add it although the name is taken: another one of the same name.")
]
CopyFlag = Annotated[
    bool, typer.Option("--copy", help="Keep copies of the works in the workspace; else only their paths.")
]


@contextmanager
def registry(context: typer.Context, *, readonly: bool = False) -> Iterator[Store]:
    """The registry of the command's workspace; a command that writes finishes interrupted erasures first."""
    from fairbrush.corpus.changes import open_registry

    settings, workspace = workspace_settings(context)
    with open_registry(workspace, readonly=readonly, wait_s=settings.database_wait_s) as store:
        if not readonly:
            _finish_erasures(store, settings.cache_folder)
        yield store


def _finish_erasures(store: Store, cache_folder: Path) -> None:
    """What cannot be finished now is said, and stops nothing else."""
    from fairbrush.corpus.erasure import pending_erasures
    from fairbrush.erasing import drop_erased

    pending = pending_erasures(store)
    try:
        drop_erased(store, cache_folder)
    except ErasureUnfinishedError as error:
        say(error.message)
        say(f"  next: {error.next_step}")
    else:
        for one in pending:
            say(f"Finished an interrupted erasure: {one.artist_id}.")


def workspace_settings(context: typer.Context) -> tuple[Settings, Path]:
    """The settings, and the workspace there must be. Raises WorkspaceError."""
    from fairbrush.workspace import require_workspace

    settings = load_settings(workspace=context.obj)
    return settings, require_workspace(settings.workspace)


def shown_name(name: str) -> str:
    """An erased name is empty in the registry."""
    return name or ERASED_NAME


def parse_moment(text: str | None, *, option: str) -> datetime | None:
    """A date or time in ISO 8601; without a zone it is UTC. Raises ConfigError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} is not a date.", next_step="Write 2026-03-01 or 2026-03-01T12:00:00+01:00."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_day(text: str, *, option: str) -> date:
    """Raises ConfigError, for a week too, of which Python would take the Monday."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigError(f"{option} {text!r} is not a day.", next_step="Write 2026-03-01.")


def report_works(refusals: list[Refusal], duplicates: list[DuplicateWork]) -> None:
    """Say on stderr which works were refused, and which lie under artists of several creators."""
    for refusal in refusals:
        say(f"refused: {refusal.path}: {refusal.reason}. {refusal.detail}")
    disputed = [duplicate for duplicate in duplicates if not duplicate.same_creator]
    for duplicate in disputed:
        others = ", ".join(duplicate.other_artist_ids)
        say(f"duplicate: {duplicate.path} is a work of {duplicate.artist_id} and of {others}.")
    if disputed:
        say("  next: it is kept under each. Erase or correct the artist that is wrong.")


def drain_pending(store: Store) -> None:
    """Bring the look-ups that wait into the database, so that what is read of it is all there is."""
    from fairbrush.corpus.erasure import erased_ids
    from fairbrush.ledger.records import discard_drained, load_pending
    from fairbrush.workspace import RECORDS

    with store.transaction() as connection:
        drained = load_pending(connection, store.workspace / RECORDS, forget=erased_ids(store))
    discard_drained(drained)
    say_drained(drained)


def drain_if_free(workspace: Path) -> StoreError | None:
    """``drain_records`` without waiting. Where the database is busy or read-only, what is in it can perhaps
    still be read: why it could not be written is returned, and said where a look-up waits."""
    from fairbrush.ledger.records import pending_count
    from fairbrush.reports.recorded import drain_records
    from fairbrush.workspace import RECORDS

    try:
        say_drained(drain_records(workspace, wait_s=0))
    except StoreError as error:
        if pending_count(workspace / RECORDS):
            say(f"{error.message} The latest look-ups are missing below.")
        return error
    return None


def say_drained(drained: DrainReport) -> None:
    """Say on stderr which records were set aside; nobody else will."""
    for refused in drained.refused:
        say(f"refused record: {refused.file}: {refused.reason}")
    for conflict in drained.conflicts:
        say(f"conflict: {conflict.attribution_id} was recorded with other numbers before, which stay.")
