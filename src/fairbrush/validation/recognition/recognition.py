"""What was measured of one artist, as figures and as a document.

Enters: cosines of images to every style, before and after naming. Leaves: a ``Recognition``, and the body
from which its figures can be computed again, to the bit. The one rule: the body names nobody but the
artist's id; other styles are in it as numbers in falling order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.errors import ValidationError
from fairbrush.validation.recognition.lifts import (
    Fidelity,
    fidelity_of,
    lifts_of,
    rank_p_value,
    typical_movement,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BODY_SCHEMA = "fairbrush.recognition-body/1"


@dataclass(frozen=True, eq=False)
class Cosines:
    """All that the figures come from. before, after: float64 (n_contents,), to the artist, means over seeds;
    typical: float64 (n_contents,), see ``typical_movement``; nulls: float64 (n_nulls,), the standardised
    lifts of the other styles, falling; works: float64 (n_works,), each own work's cosine to the artist
    without it."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    typical: NDArray[np.float64]
    nulls: NDArray[np.float64]
    works: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        works: NDArray[np.float64],
        *,
        own: int,
    ) -> Cosines:
        """before, after: float64 (n_contents, n_styles); own: the artist's column. Raises ValidationError."""
        others = np.arange(before.shape[1]) != own
        nulls = lifts_of(before[:, others], after[:, others]).standardised
        typical = typical_movement(before[:, others], after[:, others])
        return cls(before[:, own].copy(), after[:, own].copy(), typical, np.sort(nulls)[::-1], works)


@dataclass(frozen=True, eq=False)
class Figures:
    """``lift``: the artist's own, standardised."""

    lift: float
    p_value: float
    fidelity: Fidelity


def figures_of(cosines: Cosines, *, seed: int) -> Figures:
    """seed: of the bootstrap. Raises ValidationError."""
    [lift] = lifts_of(cosines.before[:, None], cosines.after[:, None]).standardised.tolist()
    rng = np.random.default_rng(seed)
    fidelity = fidelity_of(cosines.before, cosines.after, cosines.typical, cosines.works, rng=rng)
    return Figures(lift, rank_p_value(lift, cosines.nulls), fidelity)


@dataclass(frozen=True, eq=False)
class Recognition:
    """``identity``: what was asked, of whom, held against which styles; ``images``: that name the artist."""

    artist_id: str
    name: str
    identity: Mapping[str, Any]
    cosines: Cosines
    figures: Figures
    images: int

    @classmethod
    def of(
        cls, artist_id: str, name: str, identity: Mapping[str, Any], cosines: Cosines, *, images: int
    ) -> Recognition:
        figures = figures_of(cosines, seed=_seed(canonical_digest(identity)))
        return cls(artist_id, name, identity, cosines, figures, images)

    @property
    def recognition_id(self) -> str:
        return canonical_digest(self.identity)

    @property
    def body(self) -> dict[str, Any]:
        """What is hashed: the identity, and every number as text that gives the same bits back."""
        cosines = self.cosines
        return {
            "schema": BODY_SCHEMA,
            "identity": self.identity,
            "before": _texts(cosines.before),
            "after": _texts(cosines.after),
            "typical": _texts(cosines.typical),
            "nulls": _texts(cosines.nulls),
            "works": _texts(cosines.works),
        }


def recompute(body: Mapping[str, Any]) -> Figures:
    """All figures of a stored body again, to the bit. Raises ValidationError on what is no such body."""
    try:
        is_ours, identity = body["schema"] == BODY_SCHEMA, body["identity"]
        names = ("before", "after", "typical", "nulls", "works")
        cosines = Cosines(*(np.array(body[name], np.float64) for name in names))
    except (KeyError, TypeError, ValueError) as error:
        raise ValidationError(f"What was measured cannot be read: {error!r}.") from error
    if not is_ours:
        raise ValidationError(f"{body['schema']!r} is not {BODY_SCHEMA}: another fairbrush kept it.")
    return figures_of(cosines, seed=_seed(canonical_digest(identity)))


def _seed(recognition_id: str) -> int:
    return int(recognition_id[:16], 16)


def _texts(numbers: NDArray[np.float64]) -> list[str]:
    return [decimal_text(number) for number in numbers]
