"""A calibration: how what a look-up measures becomes what regeneration measured, for some models.

Enters: a document that ``fairbrush calibrate`` fitted, or its file in a workspace. Leaves: a frozen
``Calibration``. The one rule: it is immutable and named by the SHA-256 of its canonical JSON, so that an
answer that names it can be computed again, and a file that was altered is refused.

What it holds: a monotone map m of worths (``AffinityMap``), so that a coalition is worth ``m(v(S))``; a shift
of the index's thresholds; and for each model it was fitted on, the content part b and, where it helps, the
mean of what that model draws when nobody is named, at which queries are centred in place of the panel's mean.
The game is still solved exactly, and m(0) = 0: who is not above the threshold gains nothing by it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text, parse_canonical
from fairbrush.domain import Value
from fairbrush.errors import CalibrationError, FairbrushError
from fairbrush.workspace import CALIBRATIONS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "fairbrush.calibration/1"
CALIBRATED_VALUES = (Value.BLEND, Value.NEAREST, Value.FACETS)
LEAST_GAMMA, MOST_GAMMA = 1 / 64, 64.0
SHORTEST_ID = 8  # of its 64 digits, where a calibration is named
_DIGITS = 12  # of b: a policy's
_NAMED = re.compile(rf"[0-9a-f]{{{SHORTEST_ID},64}}")
_NOT_COVERED_STEP = "Fit one that does (fairbrush calibrate), or ask with --calibration none."
_B_STEP = "Write a number instead, [policy] b = 0.5, or fit one that has it: fairbrush calibrate."
LIST_STEP = "fairbrush calibration list shows them, and writes absent files again from the database."


@dataclass(frozen=True)
class Power:
    """``m(v) = v ** gamma``; ``gamma`` = 1 changes no bit of anything.

    From products and square roots alone, which are rounded alike everywhere: pow is not, and a record must
    give the same shares on every machine. Each step is monotone, so m is too, to the last bit.

    >>> import numpy as np
    >>> Power(1.5)(np.array([0.0, 0.25, 1.0])).tolist()
    [0.0, 0.125, 1.0]
    """

    gamma: float

    def __post_init__(self) -> None:
        if not LEAST_GAMMA <= self.gamma <= MOST_GAMMA:
            raise CalibrationError(f"gamma must lie between 1/64 and 64, not {self.gamma}.")

    def __call__(self, worths: NDArray[np.float64]) -> NDArray[np.float64]:
        """m of each. worths: float64 of any shape, >= 0."""
        import numpy as np

        whole, part = int(self.gamma), self.gamma % 1.0
        power = np.ones_like(worths)
        square = root = worths
        while whole:
            power = power * square if whole & 1 else power
            whole >>= 1
            square = square * square if whole else square
        while part:  # the binary digits of gamma: at most 58
            root, part = np.sqrt(root), part * 2.0
            if part >= 1.0:
                power, part = power * root, part - 1.0
        return power

    def __str__(self) -> str:
        return f"a worth v counts as v^{self.gamma:g}"

    def to_text(self) -> dict[str, Any]:
        return {"kind": "power", "gamma": decimal_text(self.gamma)}


@dataclass(frozen=True)
class Isotonic:
    """m through ``knots`` (v, m(v)), straight between them and flat beyond the last. The first is (0, 0).

    >>> import numpy as np
    >>> Isotonic(((0.0, 0.0), (0.5, 0.1), (1.0, 1.0)))(np.array([0.0, 0.25, 0.75, 2.0])).tolist()
    [0.0, 0.05, 0.55, 1.0]
    """

    knots: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        rises = all(
            x < after_x and y <= after_y
            for (x, y), (after_x, after_y) in zip(self.knots, self.knots[1:], strict=False)
        )
        is_finite = all(math.isfinite(number) for knot in self.knots for number in knot)
        if not (rises and is_finite and len(self.knots) > 1 and self.knots[0] == (0.0, 0.0)):
            raise CalibrationError("An isotonic map rises from the knot (0, 0), over ascending knots.")
        if not self.knots[-1][1] > 0.0:
            raise CalibrationError("An isotonic map that is 0 everywhere would credit nobody.")

    def __call__(self, worths: NDArray[np.float64]) -> NDArray[np.float64]:
        """m of each. worths: float64 of any shape, >= 0."""
        import numpy as np

        x, y = np.array(self.knots).T
        # not numpy.interp, which a compiler may round otherwise on another machine
        after = np.clip(np.searchsorted(x, worths, side="right"), 1, len(x) - 1)
        along = (np.minimum(worths, x[-1]) - x[after - 1]) / (x[after] - x[after - 1])
        mapped: NDArray[np.float64] = np.minimum(y[after - 1] + (y[after] - y[after - 1]) * along, y[after])
        return mapped

    def __str__(self) -> str:
        return f"a worth counts as a line through {len(self.knots)} knots has it"

    def to_text(self) -> dict[str, Any]:
        return {"kind": "isotonic", "knots": [[decimal_text(x), decimal_text(y)] for x, y in self.knots]}


AffinityMap = Power | Isotonic


def map_from_text(document: Mapping[str, Any]) -> AffinityMap:
    """What a map's ``to_text`` wrote. Raises CalibrationError.

    >>> map_from_text({"kind": "power", "gamma": "0.7"})
    Power(gamma=0.7)
    """
    try:
        if document["kind"] == "power":
            return Power(float(document["gamma"]))
        if document["kind"] == "isotonic":
            return Isotonic(tuple((float(x), float(y)) for x, y in document["knots"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"An affinity map cannot be read: {error!r}.") from error
    raise CalibrationError(
        f"An affinity map of the kind {document['kind']!r} is not known.",
        next_step="Use the version of fairbrush that fitted it.",
    )


@dataclass(frozen=True, eq=False)
class ModelPart:
    """What was measured of one generating model. ``b``: its content part, decimal text in [0, 1], None where
    it is undefined; ``b_error``: standard errors; ``images``: it was measured on; ``centre``: float32 (dim,),
    the mean raw vector of what it draws when nobody is named, None where the panel's mean serves as well."""

    b: str | None
    b_error: float | None
    images: int
    centre: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.b is not None:
            object.__setattr__(self, "b", _content_part(self.b))

    def to_text(self) -> dict[str, Any]:
        return {
            "b": self.b,
            "b_error": None if self.b_error is None else decimal_text(self.b_error),
            "images": self.images,
            "centre": None if self.centre is None else [decimal_text(x) for x in self.centre.tolist()],
        }

    @classmethod
    def from_text(cls, document: Mapping[str, Any]) -> ModelPart:
        import numpy as np

        centre, error = document["centre"], document["b_error"]
        return cls(
            document["b"],
            None if error is None else float(error),
            document["images"],
            None if centre is None else np.array([float(number) for number in centre], np.float32),
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """``value``: the value function it was fitted for; ``shift``: added to the thresholds delta and entry of
    the index, whatever they are by then; ``models``: by id. ``fitted_from`` and ``cross_validation``: what it
    was fitted on and how much it helped, as canonical JSON has it, so without floats.
    Raises CalibrationError for what no look-up could apply.
    """

    encoder_id: str
    space_id: str
    value: Value
    map: AffinityMap
    shift: float
    models: Mapping[str, ModelPart]
    fitted_from: Mapping[str, Any] = field(default_factory=dict)
    cross_validation: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        if self.value not in CALIBRATED_VALUES:
            raise CalibrationError(
                f"A calibration cannot be applied to the value function {self.value}.",
                next_step=f"One of {', '.join(CALIBRATED_VALUES)}.",
            )
        if not -1.0 <= self.shift <= 1.0:
            raise CalibrationError(f"The shift of a threshold must lie between -1 and 1, not {self.shift}.")

    @cached_property
    def calibration_id(self) -> str:
        """SHA-256 of the body."""
        return canonical_digest(self.body())

    def body(self) -> dict[str, Any]:
        """All of it, for canonical JSON: numbers as decimal text that gives the same bits back."""
        return {
            "schema": SCHEMA,
            "encoder_id": self.encoder_id,
            "space_id": self.space_id,
            "value": str(self.value),
            "map": self.map.to_text(),
            "shift": decimal_text(self.shift),
            "models": {model_id: part.to_text() for model_id, part in self.models.items()},
            "fitted_from": dict(self.fitted_from),
            "cross_validation": dict(self.cross_validation),
            "version": self.version,
        }

    def part_of(self, model_id: str) -> ModelPart:
        """What was measured of a model. Raises CalibrationError where it was not fitted on that one."""
        if model_id not in self.models:
            raise CalibrationError(
                f"Calibration {self.calibration_id[:12]} does not cover the model {model_id}: it was fitted"
                f" on {', '.join(sorted(self.models))}.",
                next_step=_NOT_COVERED_STEP,
            )
        return self.models[model_id]

    def content_part(self, model_id: str) -> str:
        """b of a model, decimal text. Raises CalibrationError where none was measured."""
        part = self.models.get(model_id)
        if part is None or part.b is None:
            why = "it was not fitted on its images" if part is None else "on its images it was undefined"
            raise CalibrationError(
                f"Calibration {self.calibration_id[:12]} has no b for {model_id}: {why}.",
                next_step=_B_STEP,
            )
        return part.b

    def require_encoder(self, encoder_id: str) -> None:
        """That b is for this one. Raises CalibrationError."""
        if encoder_id != self.encoder_id:
            raise self._not_covered("encoder", encoder_id, self.encoder_id, next_step=_B_STEP)

    def require(self, *, encoder_id: str, space_id: str, value: Value) -> None:
        """That the map and the shift are for these. Raises CalibrationError."""
        if encoder_id != self.encoder_id:
            raise self._not_covered("encoder", encoder_id, self.encoder_id)
        if space_id != self.space_id:
            raise self._not_covered("style space", space_id, self.space_id)
        if value is not self.value:
            raise self._not_covered("value function", value, self.value)

    def _not_covered(
        self, what: str, asked: str, own: str, *, next_step: str = _NOT_COVERED_STEP
    ) -> CalibrationError:
        return CalibrationError(
            f"Calibration {self.calibration_id[:12]} was fitted for the {what} {own}, not {asked}.",
            next_step=next_step,
        )


def calibration_from_bytes(content: bytes, *, calibration_id: str, source: str) -> Calibration:
    """The calibration with this id, of its canonical JSON. Raises CalibrationError where it is another."""
    if hashlib.sha256(content).hexdigest() != calibration_id:
        raise CalibrationError(
            f"{source} is not calibration {calibration_id[:12]}: its digest is another.",
            next_step="It was altered. Delete the file: fairbrush calibration list writes it again.",
        )
    try:
        body = parse_canonical(content)
        if body["schema"] != SCHEMA:
            raise CalibrationError(
                f"{source} is {body['schema']}, which this fairbrush cannot read.",
                next_step="Update it: pip install --upgrade fairbrush",
            )
        found = Calibration(
            encoder_id=body["encoder_id"],
            space_id=body["space_id"],
            value=Value(body["value"]),
            map=map_from_text(body["map"]),
            shift=float(body["shift"]),
            models={model_id: ModelPart.from_text(part) for model_id, part in body["models"].items()},
            fitted_from=body["fitted_from"],
            cross_validation=body["cross_validation"],
            version=body["version"],
        )
        same = canonical_json(found.body()) == content
    except CalibrationError:
        raise
    except (FairbrushError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(f"{source} is no calibration: {error!r}.", next_step=LIST_STEP) from error
    if not same:
        raise CalibrationError(
            f"{source} holds numbers that do not read back to the same text.", next_step=LIST_STEP
        )
    return found


def calibration_name(text: Any) -> str:
    """An id or its first digits, as a policy or a flag names a calibration. Raises CalibrationError.

    >>> calibration_name("0123ABCD")
    '0123abcd'
    """
    name = text.strip().lower() if isinstance(text, str) else ""
    if not _NAMED.fullmatch(name):
        raise CalibrationError(
            f"A calibration is named by its id or its first {SHORTEST_ID} digits or more, not {text!r}.",
            next_step=LIST_STEP,
        )
    return name


def read_calibration(workspace: Path, name: str) -> Calibration:
    """The calibration of a workspace with this id, or the only one whose id begins so; no database is opened.

    Raises CalibrationError where there is none, or several, or its file was altered.
    """
    name = calibration_name(name)
    folder = workspace / CALIBRATIONS
    found = sorted(file.stem for file in folder.glob(f"{name}*.json") if len(file.stem) == 64)
    calibration_id = one_named(name, found)
    file = calibration_file(workspace, calibration_id)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CalibrationError(
            f"{file} cannot be read: {error.strerror}.", next_step="Check its permissions."
        ) from error
    return calibration_from_bytes(content, calibration_id=calibration_id, source=str(file))


def one_named(name: str, ids: list[str]) -> str:
    """The one of these ids, all of which begin with ``name``. Raises CalibrationError."""
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise CalibrationError(f"There is no calibration {name} here.", next_step=LIST_STEP)
    raise CalibrationError(
        f"{len(ids)} calibrations begin with {name}.",
        next_step=f"Write more digits: {', '.join(one[: len(name) + 8] for one in ids)}.",
    )


def calibration_file(workspace: Path, calibration_id: str) -> Path:
    return workspace / CALIBRATIONS / f"{calibration_id}.json"


def _content_part(b: str) -> str:
    """b as a policy writes it: without exponent or trailing zeros. Raises CalibrationError."""
    try:
        number = Decimal(b)
    except (InvalidOperation, TypeError, ValueError):
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= 1 or number != round(number, _DIGITS):
        raise CalibrationError(
            f"b must be decimal text from 0 to 1 with at most {_DIGITS} decimals, not {b!r}."
        )
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.lstrip("-+") or "0"
