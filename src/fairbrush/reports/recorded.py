"""The records brought into the database, and the views beside them, before anybody reads.

Enters: a workspace. Leaves: a ``DrainReport``. The one rule: a reader never fails because a look-up is
writing records; what cannot be drained now stays pending.
"""

from __future__ import annotations

from pathlib import Path

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.erasure import erased_ids
from fairbrush.ledger.records import DrainReport, discard_drained, load_pending
from fairbrush.reports.catalogue import install_views
from fairbrush.workspace import RECORDS


def drain_records(workspace: Path, *, wait_s: float) -> DrainReport:
    """Load what is pending, in one transaction, and make sure the views are there.

    Raises DatabaseBusyError, which names the holder, StoreError.
    """
    with open_registry(workspace, wait_s=wait_s) as store:
        with store.transaction() as connection:
            drained = load_pending(connection, workspace / RECORDS, forget=erased_ids(store))
            install_views(connection)
        discard_drained(drained)
    return drained
