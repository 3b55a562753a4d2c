"""The one way in which what was measured comes into the database, hours after the command began.

Enters: settings. Leaves: the registry, open for one change. The one rule: where the database is busy, the
user hears that nothing is recorded and that the images are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fairbrush.corpus.changes import open_registry
from fairbrush.errors import DatabaseBusyError
from fairbrush.workspace import require_workspace

if TYPE_CHECKING:
    from fairbrush.config import Settings
    from fairbrush.store import Store


@contextmanager
def keeping(settings: Settings, *, else_: str) -> Iterator[Store]:
    """``else_``: what is lost where the database is busy. Raises DatabaseBusyError, StoreError,
    WorkspaceError."""
    workspace = require_workspace(settings.workspace)
    try:
        with open_registry(workspace, wait_s=settings.database_wait_s) as store:
            yield store
    except DatabaseBusyError as busy:
        raise DatabaseBusyError(
            f"{busy.message} {else_}",
            next_step="Run the same command again when that has ended: the images are kept.",
        ) from busy
