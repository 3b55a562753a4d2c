"""Generating models, and which artists each was trained on.

The one rule: a fine-tune inherits its base's roster; its own entries override. An artist without an entry is
``unknown``, and only a known ``no`` puts it outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.names import checked_name, pick
from fairbrush.corpus.people import find_payee
from fairbrush.domain import Trained
from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc, utc_now

DEFAULT_MODEL = "sd-1.5"


@dataclass(frozen=True)
class Model:
    """A generating model; ``base_model_id`` is what it was fine-tuned from. ``payee_id``: who is paid for
    its developer; None: its money is held until somebody is."""

    model_id: str
    base_model_id: str | None = None
    developer: str | None = None
    payee_id: str | None = None


@dataclass(frozen=True)
class Membership:
    """What is known of one model and one artist; inside a roster, ``model_id`` says where it comes from."""

    model_id: str
    artist_id: str
    trained: Trained
    source: str | None = None


def list_models(store: Store) -> list[Model]:
    rows = store.connection.execute(
        "SELECT model_id, base_model_id, developer, payee_id FROM model ORDER BY added, model_id"
    ).fetchall()
    return [Model(*row) for row in rows]


def find_model(store: Store, model_id: str) -> Model:
    """Raises RegistryError for an unknown one."""
    models = {model.model_id: model for model in list_models(store)}
    names = {known: [known] for known in models}
    return models[pick(model_id, names, what="model", listing="model list")]


def add_model(
    store: Store,
    model_id: str,
    *,
    base: str | None = None,
    developer: str | None = None,
    payee: str | None = None,
    now: datetime | None = None,
) -> Model:
    """Register a model, a fine-tune of ``base`` where given; ``payee`` is paid for its developer. Raises
    RegistryError."""
    kept = checked_name(model_id)
    with registry_change(store) as connection:
        if kept.casefold() in {model.model_id.casefold() for model in list_models(store)}:
            raise RegistryError(f"The model {kept!r} is registered already.", next_step="Use another id.")
        base_id = None if base is None else find_model(store, base).model_id
        payee_id = None if payee is None else find_payee(store, payee).payee_id
        model = Model(kept, base_id, None if developer is None else checked_name(developer), payee_id)
        moment = as_utc(now) if now else utc_now()
        connection.execute(
            "INSERT INTO model (model_id, base_model_id, developer, payee_id, added) VALUES (?, ?, ?, ?, ?)",
            [model.model_id, model.base_model_id, model.developer, model.payee_id, moment],
        )
    return model


def assign_model(store: Store, model_id: str, payee_id: str) -> None:
    """Say who is paid for a model's developer from now on. What was held until now is moved by
    ``fairbrush.ledger.developers.assign_developer``."""
    with registry_change(store) as connection:
        connection.execute("UPDATE model SET payee_id = ? WHERE model_id = ?", [payee_id, model_id])


def record_memberships(store: Store, rows: Sequence[Membership], *, now: datetime | None = None) -> None:
    """Say whether models were trained on artists; what was said before of the same pair is replaced."""
    moment = as_utc(now) if now else utc_now()
    latest = {(row.model_id, row.artist_id): row for row in rows}
    if not latest:
        return
    with registry_change(store) as connection:
        columns = [
            [row.model_id for row in latest.values()],
            [row.artist_id for row in latest.values()],
            [str(row.trained) for row in latest.values()],
            [row.source for row in latest.values()],
        ]
        connection.execute(
            "INSERT OR REPLACE INTO membership SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]),"
            " unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), ?::TIMESTAMP",
            [*columns, moment],
        )


def rosters(store: Store) -> dict[str, dict[str, Membership]]:
    """Per model: per artist with an entry, its own or inherited, what is known."""
    own: dict[str, dict[str, Membership]] = {}
    for row in store.connection.execute(
        "SELECT model_id, artist_id, trained, source FROM membership"
    ).fetchall():
        own.setdefault(row[0], {})[row[1]] = Membership(row[0], row[1], Trained(row[2]), row[3])
    models = {model.model_id: model for model in list_models(store)}
    resolved: dict[str, dict[str, Membership]] = {}

    def resolve(model_id: str) -> dict[str, Membership]:
        if model_id not in resolved:
            base = models[model_id].base_model_id
            inherited = resolve(base) if base else {}
            resolved[model_id] = {**inherited, **own.get(model_id, {})}
        return resolved[model_id]

    return {model_id: resolve(model_id) for model_id in models}


def roster(store: Store, model_id: str) -> dict[str, Membership]:
    """One model's roster. Raises RegistryError for an unknown model."""
    return rosters(store)[find_model(store, model_id).model_id]


def all_outside(store: Store) -> dict[str, frozenset[str]]:
    """Per model, the artists it is known not to be trained on."""
    return {
        model_id: frozenset(a for a, entry in entries.items() if entry.trained is Trained.NO)
        for model_id, entries in rosters(store).items()
    }
