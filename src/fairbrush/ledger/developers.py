"""Model developers: who gets which part of what a model earns.

Enters: the registered models, the terms, and the model that made an image. Leaves: a fraction a model; or a
model's payee, and an entry in the book. The one rule: a fine-tune's developer gets the fine-tune's weight,
its base the rest, and so on down to the model that has no base.

What a model earned before anybody was paid for it is held, and is the first payee's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction

from fairbrush.chain.log import Append
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.membership import Model, assign_model, find_model
from fairbrush.corpus.people import find_payee
from fairbrush.errors import RegistryError, SettlementError
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post
from fairbrush.ledger.moves import MODEL_SUBJECT
from fairbrush.ledger.policies import acting_digest
from fairbrush.ledger.terms import Terms
from fairbrush.store import Store, as_utc, next_sequence


def developer_parts(models: Iterable[Model], terms: Terms, model_id: str) -> dict[str, Fraction]:
    """The part of each model's developer, without those that get nothing; they sum to 1.

    Raises SettlementError where a model of the chain is not registered, or the chain comes back to itself.

    >>> developer_parts([Model("base"), Model("tune", "base")], Terms(), "tune")
    {'tune': Fraction(1, 2), 'base': Fraction(1, 2)}
    """
    bases = {model.model_id: model.base_model_id for model in models}
    parts: dict[str, Fraction] = {}
    rest, at = Fraction(1), model_id
    while True:
        if at not in bases:
            raise SettlementError(
                f"No model {at!r} is registered.", next_step=f"Register it: fairbrush model add {at}"
            )
        if at in parts:
            raise SettlementError(
                f"The model {at!r} is a fine-tune of itself: {' of '.join([*parts, at])}.",
                next_step="See the bases: fairbrush model list",
            )
        base = bases[at]
        weight = Fraction(1) if base is None else terms.fine_tune_weights.get(at, terms.fine_tune_weight)
        parts[at] = rest * weight
        rest -= parts[at]
        if base is None:
            return {developer: part for developer, part in parts.items() if part}
        at = base


def assign_developer(store: Store, model: str, payee: str, *, now: datetime) -> list[tuple[str, int]]:
    """Say who is paid for a model's developer; gives what was held until now, by currency in minor units.

    What was settled with an earlier payee stays that payee's. Raises RegistryError.
    """
    moment = as_utc(now)
    with registry_change(store) as connection:
        model_id, found = find_model(store, model).model_id, find_payee(store, payee)
        if not found.name:
            raise RegistryError(f"The payee {payee!r} is erased.", next_step="Name another payee.")
        assign_model(store, model_id, found.payee_id)
        held = Account(AccountKind.MODEL, model_id)
        own = Account(AccountKind.PAYABLE, found.payee_id, f"{MODEL_SUBJECT}{model_id}")
        released = [
            (currency, amount)
            for (account, currency), amount in balances(connection, AccountKind.MODEL).items()
            if account == held
        ]
        append = Append(connection)
        post(
            append,
            connection,
            EntryKind.MODEL_ASSIGNED,
            [
                posting
                for currency, amount in released
                for posting in (Posting(held, currency, -amount), Posting(own, currency, amount))
            ],
            # a model can be without a payee again, once its payee is erased
            reference=f"{next_sequence(connection, 'entry', column='number')} {model_id}",
            policy_digest=acting_digest(connection, moment.date()),
            now=moment,
        )
        append.commit(now=moment)
    return released
