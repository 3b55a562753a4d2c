"""Model developers: who gets which part of what a model earns.

Enters: the registered models, the terms, and the model that made an image. Leaves: a fraction a model. The
one rule: a fine-tune's developer gets the fine-tune's weight, its base the rest, and so on down to the model
that has no base.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from fairbrush.corpus.membership import Model
from fairbrush.errors import SettlementError
from fairbrush.ledger.terms import Terms


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
