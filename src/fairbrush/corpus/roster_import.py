"""Bring a roster into the registry: all of it in one transaction, or nothing.

Enters: a ``Roster`` and its prepared works. Leaves: a ``RosterResult``. The one rule: importing the same
roster again changes nothing, and a roster never lifts an opt-out: a stale file must not undo what an artist
said since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.consent import ConsentEvent, record_consents
from fairbrush.corpus.images import Refusal
from fairbrush.corpus.membership import Membership, list_models, record_memberships, rosters
from fairbrush.corpus.names import name_key, random_id
from fairbrush.corpus.people import IdSource, list_creators, list_payees
from fairbrush.corpus.registry import ArtistEntry, list_artists
from fairbrush.corpus.roster_file import Roster, RosterRow, RowOutcome, RowStatus
from fairbrush.corpus.works import DuplicateWork, PreparedWorks, record_works
from fairbrush.domain import Consent, Trained, Work
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, insert_rows, utc_now

SOURCE = "import"


@dataclass(frozen=True)
class RosterResult:
    """One outcome a row, in the file's order; the works refused, and those under several artists."""

    rows: list[RowOutcome]
    refused_works: list[Refusal]
    duplicates: list[DuplicateWork]

    @property
    def counts(self) -> dict[RowStatus, int]:
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in RowStatus}


def import_roster(
    store: Store,
    roster: Roster,
    works: Mapping[str, PreparedWorks] | None = None,
    *,
    now: datetime | None = None,
    new_id: IdSource = random_id,
) -> RosterResult:
    """Import the good rows. ``works``: prepared, by the row's name. Raises StoreError: nothing changed."""
    works = works or {}
    moment = as_utc(now) if now else utc_now()
    outcomes = list(roster.refused)
    with registry_change(store):
        plan = _Plan(store, moment, new_id)
        for row in roster.rows:
            try:
                outcomes.append(plan.add(row))
            except RegistryError as error:
                outcomes.append(RowOutcome(row.line, row.name, RowStatus.REFUSED, None, error.message))
        ids = {outcome.name: outcome.artist_id for outcome in outcomes if outcome.artist_id}
        plan.write()
        added, duplicates = _write_works(store, works, ids, moment)
    rows = sorted((_with_works(outcome, added) for outcome in outcomes), key=lambda row: row.line)
    refused_works = [refusal for prepared in works.values() for refusal in prepared.refusals]
    return RosterResult(rows, refused_works, duplicates)


@dataclass
class _People:
    """Ids by name, of what is there and of what the plan adds."""

    what: str
    ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, person_id: str) -> None:
        if name:
            self.ids.setdefault(name_key(name), []).append(person_id)

    def find(self, name: str) -> str | None:
        found = self.ids.get(name_key(name), [])
        if len(found) > 1:
            raise RegistryError(f"{len(found)} {self.what}s are called {name!r}: {' and '.join(found)}.")
        return found[0] if found else None


class _Plan:
    """What the rows add and change, worked out in memory: every look-up of a row before its first change."""

    def __init__(self, store: Store, now: datetime, new_id: IdSource) -> None:
        self._store, self._now, self._new_id = store, now, new_id
        self._artists = _People("artist")
        self._entries: dict[str, ArtistEntry] = {}
        for entry in list_artists(store, now=now):
            self._entries[entry.artist.artist_id] = entry
            # by name, not by alias: another row may be called what one is also known as
            self._artists.add(entry.artist.name, entry.artist.artist_id)
        self._creators, self._payees = _People("creator"), _People("payee")
        self._payee_of: dict[str, str] = {}
        self._creator_keys: dict[str, str] = {}
        self._payee_keys: dict[str, str] = {}
        for creator in list_creators(store):
            self._note_creator(creator.creator.creator_id, creator.creator.name, creator.creator.payee_id)
        for payee in list_payees(store):
            self._note_payee(payee.payee.payee_id, payee.payee.name)
        self._models = {model.model_id.casefold(): model.model_id for model in list_models(store)}
        self._known = rosters(store)
        self._payee_said: dict[str, int] = {}  # creator id -> line that named its payee
        self._new: dict[str, list[tuple[object, ...]]] = {
            table: [] for table in ("payee", "creator", "artist", "artist_alias")
        }
        self._consents: list[ConsentEvent] = []
        self._memberships: list[Membership] = []
        self._reassigned: dict[str, str] = {}
        self._repaid: dict[str, str] = {}

    def add(self, row: RosterRow) -> RowOutcome:
        """Plan one row. Raises RegistryError, and then nothing of the row is planned."""
        trained = self._trained(row)
        artist_id = self._artists.find(row.name)
        entry = None if artist_id is None else self._entries[artist_id]
        if entry is not None and entry.artist.consent is Consent.OPTED_OUT and row.consent in _LIFTING:
            raise RegistryError(
                f"{row.name} has opted out, and a roster does not lift that. "
                "Use: fairbrush artist consent, if the artist says so."
            )
        creator_id = self._creator_for(row, entry)
        payee_id = self._payee_for(row, creator_id)
        self._check_one_payee(row, creator_id, payee_id)
        # nothing above changes the plan, nothing below refuses
        if entry is None:
            return self._add_new(row, creator_id, trained)
        return self._change(row, entry, creator_id, trained)

    def write(self) -> None:
        """Write the plan inside the caller's transaction, many rows at a time."""
        connection = self._store.connection
        for table, rows in self._new.items():
            insert_rows(connection, table, rows)
        for artist_id, creator_id in self._reassigned.items():
            connection.execute(
                "UPDATE artist SET creator_id = ? WHERE artist_id = ?", [creator_id, artist_id]
            )
        for creator_id, payee_id in self._repaid.items():
            connection.execute("UPDATE creator SET payee_id = ? WHERE creator_id = ?", [payee_id, creator_id])
        record_consents(connection, self._consents)
        record_memberships(self._store, self._memberships, now=self._now)

    def _trained(self, row: RosterRow) -> dict[str, Trained]:
        unknown = [model for model in row.trained if model.casefold() not in self._models]
        if unknown:
            raise RegistryError(
                f"The model {unknown[0]!r} is not registered. Add it: fairbrush model add {unknown[0]}"
            )
        return {self._models[model.casefold()]: trained for model, trained in row.trained.items()}

    def _creator_for(self, row: RosterRow, entry: ArtistEntry | None) -> str | None:
        """The id of the row's creator; None: to be made."""
        current = None if entry is None else entry.artist.creator_id
        if row.creator is None:
            return current
        if current is not None and self._creator_keys.get(current) == name_key(row.creator):
            return current
        return self._creators.find(row.creator)

    def _payee_for(self, row: RosterRow, creator_id: str | None) -> str | None:
        """The id of the payee the row names; None: not named, or to be made."""
        if row.payee is None:
            return None
        current = None if creator_id is None else self._payee_of[creator_id]
        # the one it has already, though others may bear the name
        if current is not None and self._payee_keys.get(current) == name_key(row.payee):
            return current
        return self._payees.find(row.payee)

    def _check_one_payee(self, row: RosterRow, creator_id: str | None, payee_id: str | None) -> None:
        if row.payee is None or creator_id is None or creator_id not in self._payee_said:
            return
        if payee_id is None or self._payee_of[creator_id] != payee_id:
            raise RegistryError(
                f"Line {self._payee_said[creator_id]} names another payee for the same creator."
            )

    def _add_new(self, row: RosterRow, creator_id: str | None, trained: Mapping[str, Trained]) -> RowOutcome:
        if creator_id is None:
            creator_id = self._make_creator(row.creator or row.name, row)
        else:
            self._pay(row, creator_id)
        artist_id = self._new_id()
        self._artists.add(row.name, artist_id)
        self._new["artist"].append((artist_id, row.name, creator_id, self._now))
        self._add_aliases(row, artist_id, known=(row.name,))
        self._consent(artist_id, row.consent or Consent.UNCLAIMED)
        self._memberships += [Membership(m, artist_id, t, SOURCE) for m, t in trained.items()]
        return RowOutcome(row.line, row.name, RowStatus.NEW, artist_id)

    def _change(
        self, row: RosterRow, entry: ArtistEntry, creator_id: str | None, trained: Mapping[str, Trained]
    ) -> RowOutcome:
        artist, changes = entry.artist, []
        if creator_id is None:
            assert row.creator is not None, "an artist always has a creator"
            creator_id = self._make_creator(row.creator, row)
        elif self._pay(row, creator_id):
            changes.append(f"payee {row.payee}")
        if creator_id != artist.creator_id:
            self._reassigned[artist.artist_id] = creator_id
            changes.append(f"creator {row.creator}")
        if self._add_aliases(row, artist.artist_id, known=(artist.name, *entry.aliases)):
            changes.append("aliases")
        if row.consent is not None and row.consent is not artist.consent:
            self._consent(artist.artist_id, row.consent)
            changes.append(f"consent {artist.consent} to {row.consent}")
        for model_id, said in trained.items():
            known = self._known[model_id].get(artist.artist_id)
            if known is None or known.trained is not said:
                self._memberships.append(Membership(model_id, artist.artist_id, said, SOURCE))
                changes.append(f"trained:{model_id} {said}")
        status = RowStatus.CHANGED if changes else RowStatus.UNCHANGED
        return RowOutcome(row.line, row.name, status, artist.artist_id, ", ".join(changes))

    def _make_creator(self, name: str, row: RosterRow) -> str:
        payee_id = self._payee_for(row, None) or self._make_payee(row.payee or name)
        creator_id = self._new_id()
        self._new["creator"].append((creator_id, name, payee_id, self._now))
        self._note_creator(creator_id, name, payee_id)
        if row.payee:
            self._payee_said[creator_id] = row.line
        return creator_id

    def _pay(self, row: RosterRow, creator_id: str) -> bool:
        """Point an existing creator at the payee the row names; True where that changed."""
        if row.payee is None:
            return False
        payee_id = self._payee_for(row, creator_id) or self._make_payee(row.payee)
        self._payee_said.setdefault(creator_id, row.line)
        if self._payee_of[creator_id] == payee_id:
            return False
        self._payee_of[creator_id] = self._repaid[creator_id] = payee_id
        return True

    def _make_payee(self, name: str) -> str:
        payee_id = self._new_id()
        self._note_payee(payee_id, name)
        self._new["payee"].append((payee_id, name, self._now))
        return payee_id

    def _note_payee(self, payee_id: str, name: str) -> None:
        self._payees.add(name, payee_id)
        self._payee_keys[payee_id] = name_key(name)

    def _note_creator(self, creator_id: str, name: str, payee_id: str) -> None:
        self._creators.add(name, creator_id)
        self._creator_keys[creator_id] = name_key(name)
        self._payee_of[creator_id] = payee_id

    def _add_aliases(self, row: RosterRow, artist_id: str, *, known: tuple[str, ...]) -> bool:
        new = sorted(set(row.aliases) - set(known))
        self._new["artist_alias"] += [(artist_id, alias) for alias in new]
        return bool(new)

    def _consent(self, artist_id: str, consent: Consent) -> None:
        self._consents.append(ConsentEvent(artist_id, consent, self._now, self._now, SOURCE))


_LIFTING = frozenset({Consent.OPTED_IN, Consent.UNCLAIMED})


def _write_works(
    store: Store, works: Mapping[str, PreparedWorks], ids: Mapping[str, str], now: datetime
) -> tuple[dict[str, int], list[DuplicateWork]]:
    """Record every row's works together; how many were new or moved, by artist."""
    rows = [
        Work(work.sha256, ids[name], Path(work.path))
        for name, prepared in works.items()
        if name in ids
        for work in prepared.works
    ]
    if not rows:
        return {}, []
    counted = "SELECT artist_id, count(*) FROM work GROUP BY artist_id"
    before = dict(store.connection.execute(counted).fetchall())
    added = record_works(store.connection, rows, store.workspace, now=now)
    after = dict(store.connection.execute(counted).fetchall())
    return {artist_id: n - before.get(artist_id, 0) for artist_id, n in after.items()}, added.duplicates


def _with_works(outcome: RowOutcome, added: Mapping[str, int]) -> RowOutcome:
    n_works = added.get(outcome.artist_id or "", 0)
    if not n_works:
        return outcome
    status = RowStatus.CHANGED if outcome.status is RowStatus.UNCHANGED else outcome.status
    detail = ", ".join(part for part in (outcome.detail, f"{n_works} new works") if part)
    return RowOutcome(outcome.line, outcome.name, status, outcome.artist_id, detail)
