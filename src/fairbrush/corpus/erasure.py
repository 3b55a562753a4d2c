"""Erase an artist: works, names, paths and evidence go; the random id stays as a pseudonym for the money.

The one rule: the database forgets first, in one transaction, and lists what is still to be dropped outside
it (vectors, thumbnails, copies, index rows); the list is emptied only when that is done, so a process that
dies between leaves work for the next one, never a forgotten remainder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import REDACTIONS
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.consent import ConsentEvent, record_consents
from fairbrush.corpus.people import find_payee
from fairbrush.corpus.registry import find_artist
from fairbrush.domain import Consent
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, insert_rows, next_sequence, utc_now

_MOST_NAMED = 5


@dataclass(frozen=True)
class PendingErasure:
    """What is still to be dropped for an erased artist.

    ``work_sha256s``: all its works, for its rows in the index. ``unshared_sha256s``: those that no other
    artist has, for vectors, thumbnails and copies, which go by content.
    """

    artist_id: str
    work_sha256s: tuple[str, ...]
    unshared_sha256s: tuple[str, ...]


def erase_artist(
    store: Store,
    artist_id: str,
    *,
    reason: str | None = None,
    owed: Collection[str] = (),
    now: datetime | None = None,
) -> PendingErasure:
    """Erase an artist for good; what is returned is still to be dropped, then ``finish_erasure``.

    The creator's name goes when no other artist is left to it, and so do the same names of creators and
    payees that serve nobody else. A payee named otherwise is somebody else, and one of ``owed`` has money to
    come: they keep their names. Users' own files stay. Raises RegistryError for an unknown or erased artist.
    """
    moment = as_utc(now) if now else utc_now()
    with registry_change(store) as connection:
        entry = find_artist(store, artist_id)
        if entry.artist.consent is Consent.ERASED:
            raise RegistryError(f"The artist {artist_id} is erased already.")
        artist = entry.artist
        works = [
            sha256
            for (sha256,) in connection.execute(
                "SELECT sha256 FROM work WHERE artist_id = ? ORDER BY sha256", [artist.artist_id]
            ).fetchall()
        ]
        record_consents(connection, [ConsentEvent(artist.artist_id, Consent.ERASED, moment, moment, "erase")])
        for statement in (
            "DELETE FROM work WHERE artist_id = ?",
            "DELETE FROM artist_alias WHERE artist_id = ?",
            "DELETE FROM membership WHERE artist_id = ?",
            "DELETE FROM fidelity WHERE artist_id = ?",
            "DELETE FROM recognition WHERE artist_id = ?",
            "DELETE FROM tuning_test WHERE artist_id = ?",
            "DELETE FROM artist_distinctiveness WHERE artist_id = ?",
            "UPDATE artist_distinctiveness SET nearest_artist_id = NULL WHERE nearest_artist_id = ?",
            "UPDATE consent_event SET reason = NULL, reason_salt = NULL WHERE artist_id = ?",
            "UPDATE claim_event SET reason = NULL, reason_salt = NULL WHERE artist_id = ?",
            "UPDATE dispute_event SET reason = NULL, reason_salt = NULL WHERE subject_id = ?",
            "UPDATE artist SET name = NULL WHERE artist_id = ?",
        ):
            connection.execute(statement, [artist.artist_id])
        _forget_people(store, artist.creator_id, (artist.name, *entry.aliases), owed)
        sequence = next_sequence(connection, "redaction_event")
        event = (sequence, artist.artist_id, moment, len(works), *committed(reason).columns)
        insert_chained(connection, REDACTIONS, [event], now=moment)
        # an artist without works is listed too: its index rows may be older than its last work's removal
        insert_rows(connection, "redaction_pending", [(artist.artist_id, sha256) for sha256 in works or [""]])
    return next(p for p in pending_erasures(store) if p.artist_id == artist.artist_id)


def erased_ids(store: Store) -> set[str]:
    """Every artist that was erased."""
    rows = store.connection.execute("SELECT artist_id FROM redaction_event").fetchall()
    return {artist_id for (artist_id,) in rows}


def pending_erasures(store: Store) -> list[PendingErasure]:
    """What erased artists still have outside the database, this command's and any interrupted one's."""
    rows = store.connection.execute(
        """
        SELECT artist_id, list(sha256 ORDER BY sha256) FILTER (WHERE sha256 <> ''),
               list(sha256 ORDER BY sha256) FILTER (
                   WHERE sha256 <> '' AND sha256 NOT IN (SELECT sha256 FROM work))
        FROM redaction_pending GROUP BY artist_id ORDER BY artist_id
        """
    ).fetchall()
    return [PendingErasure(row[0], tuple(row[1] or ()), tuple(row[2] or ())) for row in rows]


def erase_payee(store: Store, payee_id: str) -> None:
    """Forget a payee's name and where its money goes; the id stays. Then ``finish_erasure``.

    Raises RegistryError while somebody's money goes to it. That nothing is open is for the caller to know.
    """
    with registry_change(store) as connection:
        payee = find_payee(store, payee_id)
        if not payee.name:
            raise RegistryError(f"The payee {payee_id} is erased already.")
        served = connection.execute(
            "SELECT creator_id FROM creator WHERE payee_id = ? AND name IS NOT NULL ORDER BY 1",
            [payee.payee_id],
        ).fetchall()
        models = connection.execute(
            "SELECT model_id FROM model WHERE payee_id = ? ORDER BY 1", [payee.payee_id]
        ).fetchall()
        if served or models:
            whose = [f"the creator {creator_id}" for (creator_id,) in served]
            whose += [f"the model {model_id}" for (model_id,) in models]
            more = " and others" if len(whose) > _MOST_NAMED else ""
            raise RegistryError(
                f"The money of {', '.join(whose[:_MOST_NAMED])}{more} goes to {payee.payee_id}.",
                next_step="Give each another payee (fairbrush payee assign CREATOR PAYEE,"
                " fairbrush model assign MODEL PAYEE), or erase the artists.",
            )
        connection.execute("UPDATE payee SET name = NULL WHERE payee_id = ?", [payee.payee_id])
        connection.execute("DELETE FROM payee_account WHERE payee_id = ?", [payee.payee_id])
        # what is left to do is to write the database anew
        insert_rows(connection, "redaction_pending", [(payee.payee_id, "")])


def forget_pending(store: Store, pending: Sequence[PendingErasure]) -> None:
    """Say that all of it is dropped: vectors, thumbnails, copies and index rows. What is left to do is to
    write the database anew, without the digests of this very list."""
    with store.transaction() as connection:
        for one in pending:
            connection.execute("DELETE FROM redaction_pending WHERE artist_id = ?", [one.artist_id])
        insert_rows(connection, "redaction_pending", [(one.artist_id, "") for one in pending])


def finish_erasure(store: Store, pending: Sequence[PendingErasure]) -> None:
    """Say that nothing is left to do."""
    with store.transaction() as connection:
        for one in pending:
            connection.execute("DELETE FROM redaction_pending WHERE artist_id = ?", [one.artist_id])


def _forget_people(store: Store, creator_id: str, names: Sequence[str], owed: Collection[str]) -> None:
    """Forget the creator, where nobody is left to it, and whoever else bears one of the names unused.

    An artist that was given another creator leaves its own one behind, with its name.
    """
    connection = store.connection
    row = connection.execute("SELECT name FROM creator WHERE creator_id = ?", [creator_id]).fetchall()
    connection.execute(
        """
        UPDATE creator SET name = NULL WHERE (creator_id = $1 OR list_contains($2::VARCHAR[], name))
            AND creator_id NOT IN (SELECT creator_id FROM artist WHERE name IS NOT NULL)
        """,
        [creator_id, list(names)],
    )
    connection.execute(
        """
        UPDATE payee SET name = NULL WHERE list_contains($1::VARCHAR[], name)
            AND payee_id NOT IN (SELECT payee_id FROM creator WHERE name IS NOT NULL)
            AND payee_id NOT IN (SELECT payee_id FROM model WHERE payee_id IS NOT NULL)
            AND NOT list_contains($2::VARCHAR[], payee_id)
        """,
        [[*names, *(name for (name,) in row if name)], sorted(owed)],
    )
    connection.execute(
        "DELETE FROM payee_account WHERE payee_id IN (SELECT payee_id FROM payee WHERE name IS NULL)"
    )
