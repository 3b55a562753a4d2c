"""The policy: how one bill is split before anybody looks at an image.

Enters: the ``[policy]`` table of fairbrush.toml. Leaves: a frozen ``Policy`` with a digest that every record
carries. The one rule: b and w are decimal text and exact fractions, never floats.

The defaults are choices, not measurements: ``b = 0.5`` (half of an image's worth is its content, which the
model alone delivers) and ``w = 1`` (all recognised style goes to its artists). w = 1 is an additive game of
content and style; w = 1/2 the Owen value with a model that can veto; between them a mix of the two; below
1/2 it is policy and no Shapley value. A b that was measured is named, ``b = "calibrated:ID"``, and is each
model's own: the policy of one look-up is ``resolved``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from fairbrush.chain.canonical import canonical_digest
from fairbrush.domain import CHOOSABLE_VALUES
from fairbrush.errors import CalibrationError, PolicyError
from fairbrush.style.calibration import Calibration, calibration_name

_CALIBRATED = "calibrated:"  # then which calibration b is taken from
_DIGITS = 12  # a share has 12 decimals, so more in a policy could not be paid


@dataclass(frozen=True)
class Policy:
    """``b``: the content part; ``w``: the part of recognised style that artists get; both decimal text in
    [0, 1]. b may be ``calibrated:ID`` until it is ``resolved``. ``model`` and ``value``: the generating model
    and the value function a look-up assumes where none is named.

    >>> Policy().digest == Policy(b="0.50", w="1.0").digest
    True
    """

    b: str = "0.5"
    w: str = "1"
    model: str = "sd-1.5"
    value: str = "blend"

    def __post_init__(self) -> None:
        object.__setattr__(self, "b", _plain_b(self.b))
        object.__setattr__(self, "w", _plain_decimal("w", self.w))
        if not isinstance(self.model, str) or not self.model.strip():
            raise PolicyError(
                f"[policy] model must name a generating model, not {self.model!r}.",
                next_step='Write model = "sd-1.5".',
            )
        if self.value not in CHOOSABLE_VALUES:
            raise PolicyError(
                f"[policy] value must name a value function, not {self.value!r}.",
                next_step=f"One of {', '.join(CHOOSABLE_VALUES)}.",
            )

    @property
    def calibrated_by(self) -> str | None:
        """The id of the calibration b is to be taken from, or its first digits; None where b is a number."""
        return self.b.removeprefix(_CALIBRATED) if self.b.startswith(_CALIBRATED) else None

    def naming(self, calibration_id: str) -> Policy:
        """The same, with the id of the calibration of b written out."""
        return replace(self, b=_CALIBRATED + calibration_id)

    def resolved(self, calibration: Calibration, model_id: str) -> Policy:
        """The same, with b as the calibration has it for a model. Raises CalibrationError."""
        return replace(self, b=calibration.content_part(model_id))

    @property
    def content(self) -> Fraction:
        """b."""
        assert self.calibrated_by is None, "resolve b first"
        return Fraction(self.b)

    @property
    def to_artists(self) -> Fraction:
        """w."""
        return Fraction(self.w)

    @property
    def artists_part(self) -> Fraction:
        """Of the bill, what artists get where all of the style is recognised."""
        return self.to_artists * (1 - self.content)

    @property
    def digest(self) -> str:
        """Of b and w: the model and the value function meant stand in the attribution's id itself."""
        assert self.calibrated_by is None, "resolve b first"
        return canonical_digest({"schema": "fairbrush.policy/1", "b": self.b, "w": self.w})


def read_policy(table: Mapping[str, Any]) -> Policy:
    """The policy of fairbrush.toml's ``[policy]``, missing names at their defaults. Raises PolicyError.

    The payment terms share the table: their names are known here, their values are read by ``read_terms``.

    >>> read_policy({"b": 0.25, "platform_fee": 0.1}).content
    Fraction(1, 4)
    """
    own = [field.name for field in fields(Policy)]
    if not set(table) <= set(own):
        # where there are none, a look-up starts a few milliseconds sooner
        from fairbrush.ledger.terms import TERM_NAMES

        known = [*own, *TERM_NAMES]
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise PolicyError(f"[policy] {unknown[0]} is not known.", next_step=f"Known: {', '.join(known)}.")
    return Policy(**{name: table[name] for name in own if name in table})


def named_calibration(name: str, value: Any) -> str:
    """The id of a calibration, or its first digits, as ``[policy]`` names it. Raises PolicyError."""
    try:
        return calibration_name(value)
    except CalibrationError as error:
        raise PolicyError(
            f"[policy] {name} = {value!r}: {error.message}", next_step=error.next_step
        ) from error


def _plain_b(value: Any) -> str:
    """A number, or the calibration it is taken from. Raises PolicyError."""
    if isinstance(value, str) and value.startswith(_CALIBRATED):
        return _CALIBRATED + named_calibration("b", value.removeprefix(_CALIBRATED))
    return _plain_decimal("b", value)


def _plain_decimal(name: str, value: Any) -> str:
    """Decimal text without exponent or trailing zeros: one text for one number."""
    try:
        # str of a float is the shortest decimal: what the user wrote in the file
        number = None if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= 1 or number != round(number, _DIGITS):
        raise PolicyError(
            f"[policy] {name} must be a number from 0 to 1 with at most {_DIGITS} decimals, not {value!r}.",
            next_step=f"Write {name} = {_EXAMPLE[name]}.",
        )
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.lstrip("-+") or "0"


_EXAMPLE = {"b": "0.5", "w": "1"}
