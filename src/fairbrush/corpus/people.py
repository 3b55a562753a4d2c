"""Creators, who made works, and payees, where money goes.

Enters: names and ids. Leaves: rows of creator and payee. The one rule: an artist has one creator and a
creator one payee; by default each gets its own, so that nothing is merged unless a person says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.names import checked_name, name_key, pick, random_id
from fairbrush.domain import Creator, Payee
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, utc_now

IdSource = Callable[[], str]


@dataclass(frozen=True)
class CreatorEntry:
    """A creator with the name of its payee and how many artist entries it has."""

    creator: Creator
    payee_name: str
    n_artists: int


@dataclass(frozen=True)
class PayeeEntry:
    """A payee and how many creators it is paid for."""

    payee: Payee
    n_creators: int


def list_creators(store: Store) -> list[CreatorEntry]:
    """By name; an erased one has an empty name."""
    rows = store.connection.execute(
        """
        SELECT creator_id, coalesce(creator.name, ''), payee_id, coalesce(payee.name, ''),
               (SELECT count(*) FROM artist WHERE artist.creator_id = creator.creator_id)
        FROM creator JOIN payee USING (payee_id) ORDER BY 2, 1
        """
    ).fetchall()
    return [CreatorEntry(Creator(*row[:3]), row[3], row[4]) for row in rows]


def list_payees(store: Store) -> list[PayeeEntry]:
    """By name; an erased one has an empty name."""
    rows = store.connection.execute(
        """
        SELECT payee_id, coalesce(name, ''),
               (SELECT count(*) FROM creator WHERE creator.payee_id = payee.payee_id)
        FROM payee ORDER BY 2, 1
        """
    ).fetchall()
    return [PayeeEntry(Payee(*row[:2]), row[2]) for row in rows]


def find_creator(store: Store, name_or_id: str) -> Creator:
    """Raises RegistryError where none, or more than one, is meant."""
    creators = {entry.creator.creator_id: entry.creator for entry in list_creators(store)}
    names = {creator_id: [c.name] if c.name else [] for creator_id, c in creators.items()}
    return creators[pick(name_or_id, names, what="creator", listing="creator list")]


def find_payee(store: Store, name_or_id: str) -> Payee:
    """Raises RegistryError where none, or more than one, is meant."""
    payees = {entry.payee.payee_id: entry.payee for entry in list_payees(store)}
    names = {payee_id: [p.name] if p.name else [] for payee_id, p in payees.items()}
    return payees[pick(name_or_id, names, what="payee", listing="payee list")]


def add_payee(
    store: Store,
    name: str,
    *,
    allow_same_name: bool = False,
    now: datetime | None = None,
    new_id: IdSource = random_id,
) -> Payee:
    """Raises RegistryError for a name that is taken, unless ``allow_same_name``."""
    payee = Payee(new_id(), checked_name(name))
    with registry_change(store) as connection:
        taken = [entry.payee.name for entry in list_payees(store)]
        _refuse_taken(payee.name, taken, "payee", allow_same_name=allow_same_name)
        connection.execute("INSERT INTO payee VALUES (?, ?, ?)", [payee.payee_id, payee.name, _moment(now)])
    return payee


def add_creator(
    store: Store,
    name: str,
    *,
    payee: str | None = None,
    allow_same_name: bool = False,
    now: datetime | None = None,
    new_id: IdSource = random_id,
) -> Creator:
    """With its own payee of that name, unless ``payee`` names one. Raises RegistryError."""
    kept = checked_name(name)
    with registry_change(store) as connection:
        taken = [entry.creator.name for entry in list_creators(store)]
        _refuse_taken(kept, taken, "creator", allow_same_name=allow_same_name)
        if payee is None:
            own = add_payee(store, kept, allow_same_name=True, now=now, new_id=new_id)
            payee_id = own.payee_id
        else:
            payee_id = find_payee(store, payee).payee_id
        creator = Creator(new_id(), kept, payee_id)
        connection.execute(
            "INSERT INTO creator VALUES (?, ?, ?, ?)", [creator.creator_id, kept, payee_id, _moment(now)]
        )
    return creator


def rename_creator(store: Store, creator_id: str, name: str) -> None:
    """Raises RegistryError for a name that cannot be kept."""
    with registry_change(store) as connection:
        kept = checked_name(name)
        connection.execute("UPDATE creator SET name = ? WHERE creator_id = ?", [kept, creator_id])


def rename_payee(store: Store, payee_id: str, name: str) -> None:
    """Raises RegistryError for a name that cannot be kept."""
    with registry_change(store) as connection:
        kept = checked_name(name)
        connection.execute("UPDATE payee SET name = ? WHERE payee_id = ?", [kept, payee_id])


def assign_artist(store: Store, artist_id: str, creator_id: str) -> None:
    """Say who made an artist's works. What was settled before stays as it was."""
    with registry_change(store) as connection:
        connection.execute("UPDATE artist SET creator_id = ? WHERE artist_id = ?", [creator_id, artist_id])


def assign_creator(store: Store, creator_id: str, payee_id: str) -> None:
    """Say where a creator's money goes from now on."""
    with registry_change(store) as connection:
        connection.execute("UPDATE creator SET payee_id = ? WHERE creator_id = ?", [payee_id, creator_id])


def _refuse_taken(name: str, taken: list[str], what: str, *, allow_same_name: bool) -> None:
    if not allow_same_name and name_key(name) in {name_key(other) for other in taken if other}:
        raise RegistryError(
            f"There is a {what} called {name!r} already.",
            next_step="If this is another one of the same name, add --new.",
        )


def _moment(now: datetime | None) -> datetime:
    return as_utc(now) if now else utc_now()
