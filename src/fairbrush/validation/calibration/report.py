"""A fit before and after, as cross-validation has it.

Enters: what the fast answer paid each image before, and under the fit of the images apart from it. Leaves:
``Fitted``, and its JSON. The one rule: before and after are of the same images, and of none that its own fit
has seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import decimal_text
from fairbrush.validation.calibration.answers import Shares, mis_paid
from fairbrush.validation.calibration.leave_out import Interval
from fairbrush.validation.measured import compare

if TYPE_CHECKING:
    from fairbrush.style.calibration import Calibration
    from fairbrush.validation.calibration.evidence import LeftOut
    from fairbrush.validation.calibration.fit import PooledPart

JSON_SCHEMA = "fairbrush.calibration_fit/1"


@dataclass(frozen=True)
class Side:
    """How one set of answers does. ``rank``: the mean of Kendall's tau-b over the ``ranked`` images that have
    one; ``credited``: images where somebody is; ``to_others``: the mean part paid to who did not play."""

    mis_paid: float
    rank: float | None
    ranked: int
    credited: int
    to_others: float


@dataclass(frozen=True)
class Compared:
    """Before and after, judged by one encoder. ``change`` of the mis-paid share: below 0 is better."""

    encoder_id: str
    is_independent: bool
    before: Side
    after: Side
    change: Interval

    @property
    def is_better(self) -> bool:
        """Beyond its error."""
        return self.change.high < 0.0


@dataclass(frozen=True)
class FalseCredit:
    """The part of images of nobody in the index that credit somebody."""

    before: float
    after: float
    images: int


@dataclass(frozen=True)
class Price:
    """What another threshold would cost and bring, cross-validated with everything else fitted.

    ``level``: the part of the panel's works that would credit somebody; ``unnamed``: of what models draw
    when nobody is named.
    """

    level: float
    shift: float
    mis_paid: float
    credited: int
    unnamed: float | None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit and all that is to be said of it. ``judged``: first by the encoder it was fitted on;
    ``predicted`` of ``images``; ``pairs``: for an isotonic map; ``isotonic``: its change over the power, None
    where none was fitted; ``bounded``: a lower threshold was not allowed, and would have had less loss."""

    calibration: Calibration
    images: int
    artists: int
    models: Mapping[str, PooledPart]
    other_versions: int
    left_out: Mapping[LeftOut, int]
    predicted: int
    trained_on: float
    judged: tuple[Compared, ...]
    level: float
    most_false_credit: float
    panel: FalseCredit
    unnamed: Mapping[str, FalseCredit]
    pairs: int
    isotonic: Interval | None
    bounded: bool
    prices: tuple[Price, ...]

    @property
    def is_recommended(self) -> bool:
        """Better than no calibration beyond its error, on images that its fit has not seen."""
        return self.judged[0].is_better

    @property
    def changes_nothing(self) -> bool:
        calibration = self.calibration
        return (
            calibration.shift == 0.0
            and calibration.map.to_text() == {"kind": "power", "gamma": "1.0"}
            and all(part.centre is None for part in calibration.models.values())
        )


def side_of(
    fast: Sequence[Shares], measured: Sequence[Shares], players: Sequence[Sequence[str]]
) -> tuple[Side, list[float]]:
    """How these answers do, and what each mis-pays."""
    losses = [mis_paid(one, other) for one, other in zip(fast, measured, strict=True)]
    ranks = [_rank(*each) for each in zip(fast, measured, players, strict=True)]
    known = [rank for rank in ranks if rank is not None]
    others = [
        math.fsum(part for name, part in one.items() if name not in mine)
        for one, mine in zip(fast, players, strict=True)
    ]
    side = Side(
        mis_paid=float(np.mean(losses)) if losses else math.nan,
        rank=float(np.mean(known)) if known else None,
        ranked=len(known),
        credited=sum(map(bool, fast)),
        to_others=float(np.mean(others)) if others else math.nan,
    )
    return side, losses


def _rank(fast: Shares, measured: Shares, players: Sequence[str]) -> float | None:
    """Of those who played."""
    sides = [np.array([shares.get(name, 0.0) for name in players]) for shares in (fast, measured)]
    if any(not side.any() for side in sides):
        return None
    return compare(*(side / side.sum() for side in sides)).rank_correlation


def body_of(judged: Sequence[Compared], *, predicted: int, trained_on: float) -> dict[str, Any]:
    """For a calibration's body: numbers as text."""
    return {
        "predicted": predicted,
        "trained_on": decimal_text(round(trained_on, 6)),
        "judged": [
            {
                "encoder_id": one.encoder_id,
                "before": _text(one.before.mis_paid),
                "after": _text(one.after.mis_paid),
                "change": [_text(bound) for bound in (one.change.mean, one.change.low, one.change.high)],
            }
            for one in judged
        ],
    }


def _text(number: float) -> str | None:
    return decimal_text(round(number, 9)) if math.isfinite(number) else None


def to_json(fitted: Fitted, *, is_kept: bool) -> dict[str, Any]:
    """The schema ``fairbrush.calibration_fit/1``, ready for ``json.dumps``."""
    calibration = fitted.calibration
    return {
        "schema": JSON_SCHEMA,
        "calibration_id": calibration.calibration_id,
        "is_kept": is_kept,
        "is_recommended": fitted.is_recommended,
        "value_function": str(calibration.value),
        "map": calibration.map.to_text(),
        "shift": calibration.shift,
        "centred": any(part.centre is not None for part in calibration.models.values()),
        "models": {
            model_id: {
                "b": part.b,
                "b_error": part.error,
                "images": part.images,
                "b_defined_alone": part.defined,
            }
            for model_id, part in fitted.models.items()
        },
        "images": fitted.images,
        "artists": fitted.artists,
        "other_index_versions": fitted.other_versions,
        "left_out": {str(reason): count for reason, count in fitted.left_out.items()},
        "cross_validation": {
            "predicted": fitted.predicted,
            "trained_on": fitted.trained_on,
            "judged": [_compared_json(one) for one in fitted.judged],
            "isotonic_pairs": fitted.pairs,
            "isotonic_less_power": None if fitted.isotonic is None else _interval_json(fitted.isotonic),
        },
        "false_credit": {
            "most": fitted.most_false_credit,
            "is_bound": fitted.bounded,
            "panel": vars(fitted.panel),
            "unnamed": {model_id: vars(one) for model_id, one in fitted.unnamed.items()},
        },
        "prices": [vars(price) for price in fitted.prices],
    }


def _compared_json(one: Compared) -> dict[str, Any]:
    return {
        "encoder_id": one.encoder_id,
        "is_independent": one.is_independent,
        "before": vars(one.before),
        "after": vars(one.after),
        "change": _interval_json(one.change),
        "is_better": one.is_better,
    }


def _interval_json(interval: Interval) -> dict[str, float | None]:
    return {name: x if math.isfinite(x) else None for name, x in vars(interval).items()}
