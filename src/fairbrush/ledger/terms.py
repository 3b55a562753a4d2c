"""The terms: how revenue is split between platform, model developers and artists, and what is withheld.

Enters: the ``[policy]`` table of fairbrush.toml. Leaves: a frozen ``Terms``. The one rule: every number is a
whole number or an exact fraction of at most six decimals, never a float, so that sums stay exact.

What a look-up needs of the same table (b, w, model, value) is ``fairbrush.ledger.policy.Policy``; which terms
are in effect on a day, and which index they pin, is ``fairbrush.ledger.policies``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Any

from fairbrush.errors import MoneyError, PolicyError
from fairbrush.ledger.currency import parse_amount
from fairbrush.ledger.policy import named_calibration

_DECIMALS = 6


class Unattributed(StrEnum):
    """Where the part goes that nobody can be credited with."""

    FUND = "fund"
    ESCROW = "escrow"
    MODEL = "model"
    PLATFORM = "platform"


class Rule(StrEnum):
    """What a fact about model and artist does to the artist's share."""

    IGNORE = "ignore"
    FILTER = "filter"
    WEIGHT = "weight"


class Withheld(StrEnum):
    """What becomes of the share of an artist who is not to be paid now."""

    ESCROW = "escrow"
    UNATTRIBUTED = "unattributed"


@dataclass(frozen=True)
class Terms:
    """``platform_fee``: of revenue, before anything else. ``minimum_claim``: a smaller share of an image is
    unattributed. ``membership_unknown``: the weight, under ``membership = "weight"``, of an artist of whom
    it is not known whether the model was trained on them. ``fine_tune_weight``: of a fine-tuned model's
    part, what its own developer gets, the rest is the base's; ``fine_tune_weights``: by model.
    ``minimum_payout``: minor units by currency, 0 where none is named. ``index``: a version's label; None
    pins the current one. ``calibration``: under which look-ups pay, an id or its first digits; None: under
    none.

    >>> Terms(platform_fee=Fraction(1, 10)).platform_fee
    Fraction(1, 10)
    """

    platform_fee: Fraction = Fraction(0)
    unattributed: Unattributed = Unattributed.FUND
    minimum_claim: Fraction = Fraction(0)
    minimum_payout: Mapping[str, int] = field(default_factory=dict)
    membership: Rule = Rule.FILTER
    membership_unknown: Fraction = Fraction(1)
    reproducibility: Rule = Rule.IGNORE
    unclaimed: Withheld = Withheld.ESCROW
    opted_out: Withheld = Withheld.ESCROW
    fine_tune_weight: Fraction = Fraction(1, 2)
    fine_tune_weights: Mapping[str, Fraction] = field(default_factory=dict)
    index: str | None = None
    calibration: str | None = None


TERM_NAMES = tuple(term.name for term in fields(Terms))


def read_terms(table: Mapping[str, Any]) -> Terms:
    """The terms in a ``[policy]`` table, missing names at their defaults. Raises PolicyError.

    >>> read_terms({"platform_fee": 0.15, "unattributed": "escrow"}).platform_fee
    Fraction(3, 20)
    """
    given = {name: table[name] for name in TERM_NAMES if name in table}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("platform_fee", "minimum_claim", "membership_unknown", "fine_tune_weight"):
            read[name] = fraction_of_one(name, value)
        elif name in _CHOICES:
            read[name] = _choice(name, value)
        elif name == "minimum_payout":
            read[name] = _minimum_payout(value)
        elif name == "fine_tune_weights":
            read[name] = _fine_tune_weights(value)
        elif name == "calibration":
            read[name] = named_calibration(name, value)
        else:
            read[name] = _label(name, value)
    return Terms(**read)


_CHOICES: dict[str, type[StrEnum]] = {
    "unattributed": Unattributed,
    "membership": Rule,
    "reproducibility": Rule,
    "unclaimed": Withheld,
    "opted_out": Withheld,
}


def fraction_of_one(name: str, value: Any) -> Fraction:
    """A number from 0 to 1 with at most six decimals, exactly. Raises PolicyError."""
    try:
        # str of a float is the shortest decimal: what the user wrote in the file
        number = None if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= 1 or number != round(number, _DECIMALS):
        raise PolicyError(
            f"[policy] {name} must be a number from 0 to 1 with at most {_DECIMALS} decimals, not {value!r}.",
            next_step=f"Write {name} = 0.1, for a tenth.",
        )
    return Fraction(number)


def _choice(name: str, value: Any) -> StrEnum:
    try:
        return _CHOICES[name](value)
    except ValueError:
        raise PolicyError(
            f"[policy] {name} cannot be {value!r}.", next_step=f"One of {', '.join(_CHOICES[name])}."
        ) from None


def _minimum_payout(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise PolicyError(
            "[policy] minimum_payout must be a table of currencies.",
            next_step='Write [policy.minimum_payout], and below it EUR = "10.00".',
        )
    return {currency: _least_amount(amount, currency) for currency, amount in sorted(value.items())}


def _least_amount(amount: Any, currency: str) -> int:
    try:
        minor = parse_amount(str(amount), currency)
    except MoneyError as error:
        raise PolicyError(
            f"[policy] minimum_payout.{currency}: {error.message}", next_step=error.next_step
        ) from error
    if minor < 0:
        raise PolicyError(
            f"[policy] minimum_payout.{currency} cannot be less than 0, as {amount} is.",
            next_step="Write 0 to pay out any amount.",
        )
    return minor


def _fine_tune_weights(value: Any) -> dict[str, Fraction]:
    if not isinstance(value, Mapping):
        raise PolicyError(
            "[policy] fine_tune_weights must be a table of models.",
            next_step='Write [policy.fine_tune_weights], and below it "my-model" = 0.5.',
        )
    return {
        model: fraction_of_one(f"fine_tune_weights.{model}", weight)
        for model, weight in sorted(value.items())
    }


def _label(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"[policy] {name} must be text, not {value!r}.", next_step=f'Write {name} = "...".')
    return value.strip()
