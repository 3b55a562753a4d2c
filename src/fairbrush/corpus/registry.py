"""Artists: add, list, find. Enters: names and prepared works. Leaves: ``ArtistEntry``.

The one rule: an artist is its random id; a name is only what it is called now, and may be shared or erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.consent import ConsentEvent, effective_consents, record_consents
from fairbrush.corpus.names import checked_name, name_key, pick, random_id
from fairbrush.corpus.people import IdSource, add_creator, find_creator
from fairbrush.corpus.works import AddedWorks, PreparedWork, record_works
from fairbrush.domain import Artist, Consent, Work
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, insert_rows, utc_now


@dataclass(frozen=True)
class ArtistEntry:
    """An artist as the registry shows it; an erased one has an empty name."""

    artist: Artist
    aliases: tuple[str, ...]
    creator_name: str
    payee_name: str
    n_works: int
    added: datetime


def list_artists(store: Store, *, now: datetime | None = None) -> list[ArtistEntry]:
    """Every artist, erased ones too, by name; the consent is the one in effect ``now``."""
    connection = store.connection
    consents = effective_consents(connection, now=as_utc(now) if now else utc_now())
    rows = connection.execute(
        """
        SELECT artist_id, coalesce(artist.name, ''), creator_id, payee_id,
               coalesce(aliases, []), coalesce(creator.name, ''), coalesce(payee.name, ''),
               coalesce(n_works, 0), artist.added
        FROM artist JOIN creator USING (creator_id) JOIN payee USING (payee_id)
        LEFT JOIN (SELECT artist_id, list(alias ORDER BY alias) AS aliases
                   FROM artist_alias GROUP BY artist_id) USING (artist_id)
        LEFT JOIN (SELECT artist_id, count(*) AS n_works FROM work GROUP BY artist_id) USING (artist_id)
        ORDER BY 2, 1
        """
    ).fetchall()
    return [
        ArtistEntry(Artist(row[0], row[1], row[2], row[3], consents[row[0]]), tuple(row[4]), *row[5:])
        for row in rows
    ]


def find_artist(store: Store, name_or_id: str, *, now: datetime | None = None) -> ArtistEntry:
    """By id, name or alias, whatever the case. Raises RegistryError where none, or several, are meant."""
    entries = {entry.artist.artist_id: entry for entry in list_artists(store, now=now)}
    names = {
        artist_id: [name for name in (entry.artist.name, *entry.aliases) if name]
        for artist_id, entry in entries.items()
    }
    return entries[pick(name_or_id, names, what="artist", listing="artist list")]


def refuse_taken_name(store: Store, name: str) -> None:
    """Raises RegistryError where an artist has this name or alias already."""
    wanted = name_key(name)
    for entry in list_artists(store):
        if wanted in {name_key(known) for known in (entry.artist.name, *entry.aliases) if known}:
            raise RegistryError(
                f"There is an artist called {name!r} already ({entry.artist.artist_id}).",
                next_step=f"If this is another artist of the same name, add --new. "
                f"To give that one more works: fairbrush artist works {entry.artist.artist_id} PATHS...",
            )


def add_artist(
    store: Store,
    name: str,
    works: Sequence[PreparedWork] = (),
    *,
    consent: Consent = Consent.UNCLAIMED,
    creator: str | None = None,
    aliases: Sequence[str] = (),
    allow_same_name: bool = False,
    source: str = "fairbrush",
    now: datetime | None = None,
    new_id: IdSource = random_id,
) -> tuple[Artist, AddedWorks]:
    """Add one artist with its works, in one transaction; with its own creator unless ``creator`` names one.

    Raises RegistryError for a name that is taken (unless ``allow_same_name``) or cannot be kept.
    """
    kept, moment = checked_name(name), as_utc(now) if now else utc_now()
    other_names = sorted({checked_name(alias) for alias in aliases} - {kept})
    if consent is Consent.ERASED:
        raise RegistryError("An artist cannot be added as erased.", next_step="Leave it out.")
    with registry_change(store) as connection:
        if not allow_same_name:
            refuse_taken_name(store, kept)
        if creator is None:
            maker = add_creator(store, kept, allow_same_name=True, now=moment, new_id=new_id)
        else:
            maker = find_creator(store, creator)
        artist = Artist(new_id(), kept, maker.creator_id, maker.payee_id, consent)
        insert_rows(connection, "artist", [(artist.artist_id, kept, maker.creator_id, moment)])
        insert_rows(connection, "artist_alias", [(artist.artist_id, alias) for alias in other_names])
        record_consents(connection, [ConsentEvent(artist.artist_id, consent, moment, moment, source)])
        added = _record(store, artist.artist_id, works, moment)
    return artist, added


def add_works(
    store: Store, artist_id: str, works: Sequence[PreparedWork], *, now: datetime | None = None
) -> AddedWorks:
    """Give an artist more works. Raises RegistryError for an unknown or erased one."""
    with registry_change(store):
        if find_artist(store, artist_id).artist.consent is Consent.ERASED:
            raise RegistryError(f"The artist {artist_id} is erased; that is final.")
        return _record(store, artist_id, works, as_utc(now) if now else utc_now())


def change_aliases(
    store: Store, artist_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> ArtistEntry:
    """Take other names from an artist, then give it some; what it is called already stays as it is.

    Raises RegistryError for an unknown or erased artist, and for an alias to remove that it has not.
    """
    with registry_change(store) as connection:
        entry = find_artist(store, artist_id)
        if entry.artist.consent is Consent.ERASED:
            raise RegistryError(f"The artist {artist_id} is erased; that is final.")
        known = {name_key(alias): alias for alias in entry.aliases}
        for alias in remove:
            if name_key(alias) not in known:
                raise RegistryError(
                    f"{entry.artist.name} has no alias {alias!r}.",
                    next_step=f"It has: {', '.join(entry.aliases) or 'none'}.",
                )
            connection.execute(
                "DELETE FROM artist_alias WHERE artist_id = ? AND alias = ?",
                [entry.artist.artist_id, known.pop(name_key(alias))],
            )
        new = {name_key(alias): checked_name(alias) for alias in reversed(add)}  # the first spelling stays
        called = {*known, name_key(entry.artist.name)}
        rows = [(entry.artist.artist_id, alias) for key, alias in new.items() if key not in called]
        insert_rows(connection, "artist_alias", rows)
        return find_artist(store, entry.artist.artist_id)


def _record(store: Store, artist_id: str, works: Sequence[PreparedWork], moment: datetime) -> AddedWorks:
    rows = [Work(work.sha256, artist_id, Path(work.path)) for work in works]
    return record_works(store.connection, rows, store.workspace, now=moment)
