"""Whether a fine-tune brings one artist's style nearer than its base does, beside what it does to other
styles.

Enters: cosines of images to styles, of the same contents and seeds: base and fine-tune, with the artist's
name and without. Leaves: three effects, one p-value, intervals. The one rule: styles are the units of the
test, contents are not. A fine-tune changes every image, and always in the same way; that is no sign of whose
works it was tuned on. That it moves images to one artist's works more than to other people's is.

    named       fine-tune named - base named                          what a user of the name gets
    behind_name (fine-tune named - unnamed) - (base named - unnamed)  what sits behind the name
    leak        fine-tune unnamed - base unnamed                      what comes without the name

``named = behind_name + leak``. Null hypothesis: the fine-tune knows nothing of whose style is whose, however
far it moves images; then the artist's column is one like any other, and so is whatever is computed from each
column alike. The p-value ranks the largest of the three effects, each in units of its own spread over styles:
tuning behind a name is lost in ``named`` where the fine-tune changes everything, and tuning that leaks is
lost in ``behind_name``. Since the same maximum is ranked of every style, the three tests need no correction
beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fairbrush.errors import ValidationError
from fairbrush.validation.recognition.lifts import FLATTEST, lifts_of, rank_p_value

REPLICATES = 2000
INTERVAL = (2.5, 97.5)  # percentiles
ROUNDING = 1e-6  # an effect's standard deviation over styles, in cosine: less is arithmetic


class Effect(StrEnum):
    """What may have changed; see the module."""

    NAMED = "named"
    BEHIND_NAME = "behind_name"
    LEAK = "leak"


@dataclass(frozen=True, eq=False)
class FourSets:
    """Cosines of images to styles: float64 (n_contents, n_styles) each, the mean over a content's seeds."""

    base_named: NDArray[np.float64]
    base_unnamed: NDArray[np.float64]
    tuned_named: NDArray[np.float64]
    tuned_unnamed: NDArray[np.float64]

    def of_styles(self, columns: Sequence[int]) -> FourSets:
        """Of some of the styles, in this order."""
        return FourSets(*(cosines[:, list(columns)] for cosines in vars(self).values()))

    def changes(self) -> dict[Effect, NDArray[np.float64]]:
        """What changed, of each content and style: float64 (n_contents, n_styles) each.

        >>> one = np.ones((1, 1))
        >>> changed = FourSets(0.1 * one, 0.1 * one, 0.75 * one, 0.25 * one).changes()
        >>> {str(effect): round(float(change[0, 0]), 6) for effect, change in changed.items()}
        {'named': 0.65, 'behind_name': 0.5, 'leak': 0.15}
        """
        named = self.tuned_named - self.base_named
        leak = self.tuned_unnamed - self.base_unnamed
        return {Effect.NAMED: named, Effect.BEHIND_NAME: named - leak, Effect.LEAK: leak}


@dataclass(frozen=True, eq=False)
class Shifts:
    """What changed for each style. raw: float64 (n_effects, n_styles), in cosine, the mean over contents, in
    the order of ``Effect``; spread: float64 (n_styles,), of the base's unnamed images over contents."""

    raw: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def standardised(self) -> NDArray[np.float64]:
        """float64 (n_effects, n_styles): over the spread, so that styles that tell contents apart strongly
        are not first by that alone; then how many standard deviations over styles each is above their
        mean; 0 where an effect is no more than rounding."""
        scaled = self.raw / self.spread
        away = scaled - scaled.mean(axis=1, keepdims=True)
        deviation = away.std(axis=1, keepdims=True)
        is_more = (self.raw.std(axis=1, keepdims=True) > ROUNDING) & (deviation > FLATTEST)
        found: NDArray[np.float64] = np.divide(away, deviation, out=np.zeros_like(away), where=is_more)
        return found

    def strongest(self, style: int) -> Effect:
        """The effect that is the style's largest."""
        return list(Effect)[int(self.standardised[:, style].argmax())]

    def comes_nearer(self, style: int) -> bool:
        """Whether the effect that is the style's largest is above nought, not just less below it than
        others'."""
        return bool(self.raw[self.standardised[:, style].argmax(), style] > 0.0)

    @property
    def largest(self) -> NDArray[np.float64]:
        """float64 (n_styles,): of the three effects, each style's largest."""
        found: NDArray[np.float64] = self.standardised.max(axis=0)
        return found


def shifts_of(sets: FourSets) -> Shifts:
    """The four sets' effects on each style. Raises ValidationError as ``lifts_of``."""
    lifts_of(sets.base_named, sets.tuned_named)  # refuses what cannot be measured
    unnamed = lifts_of(sets.base_unnamed, sets.tuned_unnamed)
    changes = sets.changes()
    return Shifts(np.stack([changes[effect].mean(axis=0) for effect in Effect]), unnamed.spread)


@dataclass(frozen=True)
class PValues:
    """``p``: of the largest effect, the one to judge by; ``of_effect``: of each alone, to see where it
    sits."""

    p: float
    of_effect: dict[Effect, float]


def tuning_p_values(shifts: Shifts, *, own: int, nulls: Sequence[int]) -> PValues:
    """The artist's rank among other people's styles.

    own: the artist's column; nulls: the columns of others. Raises ValidationError where there are none.

    >>> raw = np.array([[0.9, 0.1, 0.0, 0.2], [0.0, 0.1, 0.0, 0.1], [0.9, 0.0, 0.0, 0.1]])
    >>> found = tuning_p_values(Shifts(raw, np.ones(4)), own=0, nulls=[1, 2, 3])
    >>> found.p, found.of_effect[Effect.BEHIND_NAME]
    (0.25, 1.0)
    """
    others = np.asarray(nulls, np.intp)
    if not others.size or own in others:
        raise ValidationError(
            "An artist's style is compared with other people's, and there are none.",
            next_step="Build an index: fairbrush index build.",
        )
    largest, each = shifts.largest, shifts.standardised
    return PValues(
        rank_p_value(float(largest[own]), largest[others]),
        {
            effect: rank_p_value(float(row[own]), row[others])
            for effect, row in zip(Effect, each, strict=True)
        },
    )


@dataclass(frozen=True)
class Estimate:
    """How much nearer, in cosine, beyond the mean of other styles; ``low`` and ``high``: a 95 % interval."""

    value: float
    low: float
    high: float


def estimate(beyond: NDArray[np.float64], *, rng: np.random.Generator) -> Estimate:
    """The mean over contents, with a percentile bootstrap over contents (Efron & Tibshirani 1993, chapter
    13), its deviations stretched by ``sqrt(n / (n - 1))``, since a bootstrap of few takes them too small.

    beyond: float64 (n_contents,), one effect on the artist's style less its mean on others'. The interval
    covers other contents and seeds, not other artists.

    >>> found = estimate(np.array([0.1, 0.2, 0.3, 0.2]), rng=np.random.default_rng(0))
    >>> round(found.value, 6), 0.1 < found.low < 0.2 < found.high < 0.3
    (0.2, True)
    """
    n, mean = len(beyond), float(beyond.mean())
    drawn = beyond[rng.integers(n, size=(REPLICATES, n))].mean(axis=1)
    stretched = mean + (drawn - mean) * np.sqrt(n / (n - 1))
    low, high = np.percentile(stretched, INTERVAL)
    return Estimate(mean, float(low), float(high))
