"""Who may be credited now, in one small file, so that a look-up needs no database.

Enters: the registry in DuckDB. Leaves: ``indexes/eligibility.json``, and from it an ``Eligibility``. The one
rule: the database commits first, this file follows while the database's lock is still held, and it carries
the revision it was written from; the next command that opens the registry repairs a file left behind.

Reading imports neither DuckDB nor numpy. A consent event dated in the future is in ``upcoming`` and takes
effect for readers when its time comes, without a command being run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.domain import Artist, Consent
from fairbrush.durable import write_durably
from fairbrush.errors import EligibilityError, RegistryError, StoreError

if TYPE_CHECKING:
    from fairbrush.store import Store

SCHEMA = "fairbrush.eligibility/1"
ELIGIBILITY_NAME = "indexes/eligibility.json"
CREDITED = frozenset({Consent.OPTED_IN, Consent.UNCLAIMED})


@dataclass(frozen=True)
class UpcomingConsent:
    """A consent event whose time has not come. ``effective_at``: UTC without a zone."""

    effective_at: datetime
    artist_id: str
    consent: Consent


@dataclass(frozen=True)
class Eligibility:
    """Who may be credited. ``outside``: per model, the artists it is known not to be trained on.

    ``aliases``: what each artist is called beside its name. ``digest`` covers ids, consent and ``outside``,
    not names or aliases; it goes into an attribution's id.

    >>> ann = Artist("a1", "Ann", "c1", "p1", Consent.UNCLAIMED)
    >>> now = Eligibility({"a1": ann}, {"sd-1.5": frozenset()})
    >>> now.eligible("sd-1.5")
    ['a1']
    """

    artists: dict[str, Artist]
    outside: dict[str, frozenset[str]]
    revision: int = 0
    upcoming: tuple[UpcomingConsent, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """All an artist is called, by id."""
        return {
            artist_id: (artist.name, *self.aliases.get(artist_id, ()))
            for artist_id, artist in self.artists.items()
        }

    @property
    def models(self) -> list[str]:
        return sorted(self.outside)

    @property
    def digest(self) -> str:
        body = {
            "schema": SCHEMA,
            "artists": {a.artist_id: [a.creator_id, a.payee_id, a.consent] for a in self.artists.values()},
            "outside": {model_id: sorted(artists) for model_id, artists in self.outside.items()},
        }
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def may_be_credited(self, artist_id: str, model_id: str) -> bool:
        """False too for an artist that is unknown or erased. Raises RegistryError for an unknown model."""
        artist = self.artists.get(artist_id)
        return artist is not None and artist.consent in CREDITED and artist_id not in self._outside(model_id)

    def eligible(self, model_id: str) -> list[str]:
        """The artist ids that may be credited, sorted. Raises RegistryError for an unknown model."""
        outside = self._outside(model_id)
        return sorted(
            artist_id
            for artist_id, artist in self.artists.items()
            if artist.consent in CREDITED and artist_id not in outside
        )

    def at(self, now: datetime) -> Eligibility:
        """With the upcoming consent events that are due by ``now`` (UTC without a zone)."""
        due = [event for event in self.upcoming if event.effective_at <= now]
        if not due:
            return self
        artists = dict(self.artists)
        for event in due:
            artists[event.artist_id] = replace(artists[event.artist_id], consent=event.consent)
        later = tuple(event for event in self.upcoming if event.effective_at > now)
        return replace(self, artists=artists, upcoming=later)

    def _outside(self, model_id: str) -> frozenset[str]:
        try:
            return self.outside[model_id]
        except KeyError:
            raise RegistryError(
                f"The model {model_id!r} is not registered.",
                next_step=f"Known: {', '.join(self.models)}. Add one: fairbrush model add {model_id}",
            ) from None


def read_eligibility(workspace: Path, *, now: datetime | None = None) -> Eligibility:
    """Read the file; the digest it carries is checked. Raises EligibilityError."""
    file = workspace / ELIGIBILITY_NAME
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise _unusable(file, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _unusable(file, "is damaged (no JSON)") from error
    try:
        eligibility = _from_document(document)
        is_sound = (
            document["schema"] == SCHEMA
            and document["digest"] == eligibility.digest
            and document["sha256"] == _checksum(document)
            and all(event.artist_id in eligibility.artists for event in eligibility.upcoming)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(file, f"is damaged ({error!r})") from error
    if not is_sound:
        raise _unusable(file, "is damaged (its schema or digest is not what it says)")
    moment = now or datetime.now(UTC)
    return eligibility.at(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)


def write_eligibility(store: Store, *, now: datetime | None = None) -> Eligibility:
    """Write the file from what the database holds, whole or not at all. Raises StoreError.

    Call it after the change is committed and before the store is closed.
    """
    from fairbrush.corpus.consent import read_upcoming
    from fairbrush.corpus.membership import all_outside
    from fairbrush.corpus.registry import list_artists
    from fairbrush.store import as_utc, utc_now

    assert not store.in_transaction, "commit first: the file must never be ahead of the database"
    # one moment for both: an event due between two would be neither in effect nor upcoming
    moment = as_utc(now) if now else utc_now()
    entries = [e for e in list_artists(store, now=moment) if e.artist.consent is not Consent.ERASED]
    artists = {entry.artist.artist_id: entry.artist for entry in entries}
    aliases = {entry.artist.artist_id: entry.aliases for entry in entries}
    upcoming = tuple(event for event in read_upcoming(store, now=moment) if event.artist_id in artists)
    eligibility = Eligibility(artists, all_outside(store), revision(store), upcoming, aliases)
    file = store.workspace / ELIGIBILITY_NAME
    document = _to_document(eligibility)
    document["sha256"] = _checksum(document)
    content = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True)
    try:
        file.parent.mkdir(exist_ok=True)
        write_durably(file, content.encode() + b"\n")
    except OSError as error:
        raise StoreError(
            f"{file} cannot be written: {error.strerror}. The change itself is in the database.",
            next_step="Free space or permissions, then fairbrush artist list brings the file up to date.",
        ) from error
    return eligibility


def repair_eligibility(store: Store) -> bool:
    """Write the file again where it is absent, damaged or behind the database; True where it was."""
    try:
        found = read_eligibility(store.workspace)
        # an earlier fairbrush wrote no aliases
        if found.revision == revision(store) and found.aliases.keys() == found.artists.keys():
            return False
    except EligibilityError:
        pass  # absent or damaged: the database is the truth, this file is derived
    write_eligibility(store)
    return True


def revision(store: Store) -> int:
    """How often the registry was changed."""
    return int(store.connection.execute("SELECT revision FROM registry_state").fetchall()[0][0])


def _to_document(eligibility: Eligibility) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "digest": eligibility.digest,
        "revision": eligibility.revision,
        "models": eligibility.models,
        "artists": {
            artist.artist_id: {
                "name": artist.name,
                "creator_id": artist.creator_id,
                "payee_id": artist.payee_id,
                "consent": artist.consent,
                "aliases": list(eligibility.aliases.get(artist.artist_id, ())),
            }
            for artist in eligibility.artists.values()
        },
        "outside": {model_id: sorted(artists) for model_id, artists in eligibility.outside.items()},
        "upcoming": [
            {
                "effective_at": event.effective_at.isoformat(),
                "artist_id": event.artist_id,
                "consent": event.consent,
            }
            for event in eligibility.upcoming
        ],
    }


def _checksum(document: Mapping[str, Any]) -> str:
    """Of all the file says, names and scheduled consent too, which ``digest`` leaves out."""
    said = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _from_document(document: Mapping[str, Any]) -> Eligibility:
    artists = {
        artist_id: Artist(artist_id, f["name"], f["creator_id"], f["payee_id"], Consent(f["consent"]))
        for artist_id, f in document["artists"].items()
    }
    aliases = {
        artist_id: tuple(map(str, f["aliases"]))
        for artist_id, f in document["artists"].items()
        if "aliases" in f
    }
    upcoming: Sequence[Mapping[str, str]] = document["upcoming"]
    return Eligibility(
        artists=artists,
        outside={model_id: frozenset(outside) for model_id, outside in document["outside"].items()},
        revision=int(document["revision"]),
        upcoming=tuple(
            UpcomingConsent(datetime.fromisoformat(e["effective_at"]), e["artist_id"], Consent(e["consent"]))
            for e in upcoming
        ),
        aliases=aliases,
    )


def _unusable(file: Path, what: str) -> EligibilityError:
    return EligibilityError(
        f"{file} {what}.", next_step="fairbrush artist list writes it again from the database."
    )
