"""Tell the database which versions were published: rows for reports, the manifests are the truth.

Enters: an open store and versions. Leaves: a row each in ``index_version``, once a manifest digest, and a row
an artist in ``artist_distinctiveness``, for versions that were current when they were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS
from fairbrush.index.distinctiveness import Distinctiveness, Homecoming, Share, Verdict, distinctiveness
from fairbrush.store import insert_rows, utc_now

if TYPE_CHECKING:
    from fairbrush.index.search import StyleIndex
    from fairbrush.index.versions import IndexVersion
    from fairbrush.store import Store


def record_versions(store: Store, versions: Iterable[IndexVersion]) -> None:
    """Insert what is not known yet: new versions, and older ones that an erasure rewrote."""
    now = utc_now()
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
                now,
            )
            for version in versions
            if version.manifest_digest not in known
        ]
        insert_chained(connection, INDEX_VERSIONS, rows, now=now)


def record_distinctiveness(store: Store, index: StyleIndex, homes: Iterable[Homecoming]) -> None:
    """Keep how distinct each artist of a version is, once a manifest digest.

    homes: ``homecomings(index)``. The caller holds the database since before the version was published, so
    nobody in it is erased.
    """
    held = "SELECT count(*) FROM artist_distinctiveness WHERE manifest_digest = ?"
    if store.connection.execute(held, [index.manifest_digest]).fetchall() != [(0,)]:
        return
    rows = [
        (
            index.manifest_digest,
            one.artist_id,
            str(one.verdict),
            one.works,
            one.recognisability,
            one.margin,
            one.nearest_artist_id,
            one.look_alikes,
            one.home.k if one.home else None,
            one.credited.k if one.credited else None,
        )
        for one in distinctiveness(index, homes)
    ]
    with store.transaction() as connection:
        insert_rows(connection, "artist_distinctiveness", rows)


def read_distinctiveness(store: Store, manifest_digest: str, artist_id: str) -> Distinctiveness | None:
    """What was kept of an artist for one version; None where they are not in it, or nothing was kept."""
    rows = store.connection.execute(
        "SELECT verdict, works, recognisability, margin, nearest_artist_id, look_alikes, home, credited"
        " FROM artist_distinctiveness WHERE manifest_digest = ? AND artist_id = ?",
        [manifest_digest, artist_id],
    ).fetchall()
    for verdict, works, q, margin, nearest, look_alikes, home, credited in rows:
        return Distinctiveness(
            artist_id,
            Verdict(verdict),
            works,
            q,
            margin,
            nearest,
            look_alikes,
            None if home is None else Share(home, works),
            None if credited is None else Share(credited, works),
        )
    return None


def forget_distinctiveness(store: Store, versions: Iterable[IndexVersion]) -> None:
    """Drop what was kept of versions that an erasure rewrote. ``versions``: all there are now."""
    digests = [version.manifest_digest for version in versions]
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM artist_distinctiveness WHERE NOT list_contains(?::VARCHAR[], manifest_digest)",
            [digests],
        )
