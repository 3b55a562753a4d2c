"""Who the page about one answer speaks of: artists, as it may name and picture them.

Enters: the registry. Leaves: a ``Person`` an artist entry. The one rule: who is erased, or has opted out, is
never pictured; who is erased is never named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Person:
    """An artist. ``name``: empty once erased; the id where the registry does not know it."""

    artist_id: str
    name: str
    consent: Consent

    @property
    def is_pictured(self) -> bool:
        return self.consent not in (Consent.OPTED_OUT, Consent.ERASED)


People = Mapping[str, Person]  # by id


def read_people(connection: DuckDBPyConnection, *, now: datetime) -> dict[str, Person]:
    """Every artist entry by id."""
    consents = effective_consents(connection, now=now)
    rows = connection.execute("SELECT artist_id, coalesce(name, '') FROM artist").fetchall()
    return {artist_id: Person(artist_id, name, consents[artist_id]) for artist_id, name in rows}
