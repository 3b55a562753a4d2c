"""Consent as dated events, never changed once written.

The one rule: in effect is the latest event, by (effective_at, sequence), that is not in the future; an
artist without one is ``unclaimed``; ``erased`` is final, whatever was or will be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import CONSENT_EVENTS
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.eligibility import UpcomingConsent
from fairbrush.domain import Consent
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, next_sequence, utc_now

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class ConsentEvent:
    """One dated statement. Times are UTC without a zone; ``source`` is the command that recorded it."""

    artist_id: str
    consent: Consent
    effective_at: datetime
    recorded_at: datetime
    source: str
    reason: str | None = None


def set_consent(
    store: Store,
    artist_id: str,
    consent: Consent,
    *,
    at: datetime | None = None,
    reason: str | None = None,
    source: str = "fairbrush",
    now: datetime | None = None,
) -> Consent:
    """Record an event in effect from ``at`` (now, unless said); gives the consent in effect afterwards.

    ``consent`` may not be ``erased``: that is ``erase_artist``. Raises RegistryError for an erased artist.
    """
    if consent is Consent.ERASED:
        raise RegistryError(
            "Erasing is more than a consent: works and names go too.", next_step="Use: fairbrush artist erase"
        )
    moment = as_utc(now) if now else utc_now()
    event = ConsentEvent(artist_id, consent, as_utc(at) if at else moment, moment, source, reason)
    with registry_change(store) as connection:
        if effective_consents(connection, now=moment).get(artist_id) is Consent.ERASED:
            raise RegistryError(f"The artist {artist_id} is erased; that is final.")
        record_consents(connection, [event])
        return effective_consents(connection, now=moment)[artist_id]


def record_consents(connection: duckdb.DuckDBPyConnection, events: Sequence[ConsentEvent]) -> None:
    """Append events inside the caller's transaction."""
    if not events:
        return
    first = next_sequence(connection, "consent_event")
    rows = [
        (
            first + place,
            event.artist_id,
            str(event.consent),
            event.effective_at,
            event.recorded_at,
            event.source,
            *committed(event.reason).columns,
        )
        for place, event in enumerate(events)
    ]
    insert_chained(connection, CONSENT_EVENTS, rows, now=max(event.recorded_at for event in events))


def effective_consents(
    connection: duckdb.DuckDBPyConnection, *, now: datetime, as_recorded: bool = False
) -> dict[str, Consent]:
    """The consent in effect of every artist. ``as_recorded``: as it was known then, without what was recorded
    later with an earlier day; but whoever is erased is erased."""
    rows = connection.execute(
        """
        SELECT artist_id, CASE
            WHEN bool_or(consent = 'erased') THEN 'erased'
            ELSE coalesce(
                arg_max(consent, row(effective_at, sequence)) FILTER (
                    WHERE effective_at <= $1 AND (recorded_at <= $1 OR NOT $2)), 'unclaimed')
            END
        FROM artist LEFT JOIN consent_event USING (artist_id) GROUP BY artist_id
        """,
        [now, as_recorded],
    ).fetchall()
    return {artist_id: Consent(consent) for artist_id, consent in rows}


def consent_history(store: Store, artist_id: str) -> list[ConsentEvent]:
    """Every event of an artist, oldest first."""
    rows = store.connection.execute(
        "SELECT artist_id, consent, effective_at, recorded_at, source, reason FROM consent_event"
        " WHERE artist_id = ? ORDER BY effective_at, sequence",
        [artist_id],
    ).fetchall()
    return [ConsentEvent(row[0], Consent(row[1]), *row[2:]) for row in rows]


def read_upcoming(store: Store, *, now: datetime | None = None) -> list[UpcomingConsent]:
    """The events whose time has not come, in the order they take effect."""
    rows = store.connection.execute(
        "SELECT effective_at, artist_id, consent FROM consent_event WHERE effective_at > ?"
        " ORDER BY effective_at, sequence",
        [as_utc(now) if now else utc_now()],
    ).fetchall()
    return [UpcomingConsent(at, artist_id, Consent(consent)) for at, artist_id, consent in rows]
