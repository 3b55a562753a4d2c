"""Tell the database which versions were published: rows for reports, the manifests are the truth.

Enters: an open store and versions. Leaves: a row each in ``index_version``, once a manifest digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fairbrush.corpus.changes import insert_rows
from fairbrush.store import utc_now

if TYPE_CHECKING:
    from fairbrush.index.versions import IndexVersion
    from fairbrush.store import Store


def record_versions(store: Store, versions: Iterable[IndexVersion]) -> None:
    """Insert what is not known yet: new versions, and older ones that an erasure rewrote."""
    with store.transaction() as connection:
        known = {
            digest for (digest,) in connection.execute("SELECT manifest_digest FROM index_version").fetchall()
        }
        rows = [
            (
                version.manifest_digest,
                version.label,
                None if version.parent is None else f"v{version.parent:04d}",
                version.encoder_id,
                version.space_id,
                version.artists,
                version.works,
                version.delta,
                utc_now(),
            )
            for version in versions
            if version.manifest_digest not in known
        ]
        insert_rows(connection, "index_version", rows)
