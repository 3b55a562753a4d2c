"""Calibrations made up for tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fairbrush.domain import Value
from fairbrush.style.calibration import AffinityMap, Calibration, Isotonic, ModelPart, Power

NOW = datetime(2026, 1, 2, 12)


def part(b: str | None = "0.4", centre: np.ndarray | None = None) -> ModelPart:
    return ModelPart(b, None if b is None else 0.01, 40, centre)


def calibration(**changed: Any) -> Calibration:
    said: dict[str, Any] = {
        "encoder_id": "mini",
        "space_id": "0123456789abcdef",
        "value": Value.BLEND,
        "map": Power(0.7),
        "shift": 0.02,
        "models": {"sd-1.5": part()},
        "fitted_from": {"validations": 40},
        "cross_validation": {"after": "0.21", "before": "0.25"},
        "version": "1",
    }
    return Calibration(**said | changed)


def _isotonic(steps: list[tuple[float, float]]) -> Isotonic:
    knots = [(0.0, 0.0)]
    for along, up in steps:
        knots.append((knots[-1][0] + along, knots[-1][1] + up))
    return Isotonic(tuple(knots))


POWERS = st.floats(1 / 64, 8.0).map(Power)
# flat pieces on purpose, also at the start, but never all of it
ISOTONIC = (
    st.lists(st.tuples(st.floats(0.05, 0.5), st.sampled_from([0.0, 0.0, 0.3, 1.0])), max_size=5)
    .map(lambda steps: [*steps, (0.1, 0.5)])
    .map(_isotonic)
)
MAPS: st.SearchStrategy[AffinityMap] = POWERS | ISOTONIC
