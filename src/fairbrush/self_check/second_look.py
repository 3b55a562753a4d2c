"""A second look: what has no colour, or no white, compared with that taken off all works.

Enters: embedded works and images, and how some of them are to be seen again. Leaves: a ``SecondLook`` for
each way. The one rule: one work that is to be seen again is enough; then each image decides for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.embedding.facets import GREY, LEVELS, Views
from fairbrush.errors import NoInputError
from fairbrush.self_check.judging import SecondLook, Yard
from fairbrush.style.panel import fit_panel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fairbrush.embedding.session import EmbeddingSession
    from fairbrush.self_check.folders import Embedded
    from fairbrush.style.panel import Panel

LEAST_CHROMA = 48  # of 255, between the most and the least of red, green and blue
LEAST_WHITE = 250
FEW, FEWER = 0.05, 0.01  # of the pixels


def second_view(pixels: NDArray[np.uint8]) -> Views | None:
    """How an image is to be seen again: one of nearly no colour in grey, one without white with its own
    lightest made white, other ones not at all.

    >>> of = lambda *colour: second_view(np.full((8, 8, 3), colour, np.uint8))
    >>> [view and view.name for view in (of(250, 240, 215), of(250, 240, 190), of(255, 255, 254))]
    ['grey-levels', 'levels', 'grey-levels']
    """
    least, most = pixels.min(axis=2), pixels.max(axis=2)
    if np.quantile(most - least, 1 - FEW) < LEAST_CHROMA:
        return GREY
    return LEVELS if np.quantile(least, 1 - FEWER) < LEAST_WHITE else None


def second_looks(
    session: EmbeddingSession,
    panel: Panel,
    works: Embedded,
    images: Embedded,
    *,
    again: Mapping[str, Views],
    asked_again: Mapping[str, Views],
) -> list[SecondLook]:
    """again: how works are to be seen again, by SHA-256, those that are; asked_again: the same of images.

    Raises NoInputError for a file that cannot be read again, PanelError, and the encoder's and
    cache's errors.
    """
    views = {*again.values(), *asked_again.values()} if again else set()
    looks = []
    for view in sorted(views, key=lambda view: view.name):
        asked = {
            sha256: images.paths[sha256] for sha256 in sorted(asked_again) if asked_again[sha256] is view
        }
        known, found = _vectors(session, works.paths, view), _vectors(session, asked, view)
        yard = Yard.of(fit_panel(session, panel, views=view), works.paths, is_bundled=False)
        own = {sha256 for sha256 in again if again[sha256] is view}
        looks.append(SecondLook(view.name, yard, known, found, own))
    return looks


def _vectors(
    session: EmbeddingSession, paths: Mapping[str, Path], view: Views
) -> dict[str, NDArray[np.float32]]:
    """Raw float32 (dim,), by SHA-256."""
    for outcome in session.embed(list(paths.values()), views=view):
        if outcome.reason:
            raise NoInputError(
                f"{outcome.path} cannot be looked at a second time: {outcome.detail}",
                next_step="Leave the file out, or correct what keeps it from being read.",
            )
        if paths.get(outcome.sha256 or "") != outcome.path:
            raise NoInputError(
                f"{outcome.path} changed while it was looked at.", next_step="Run the command again."
            )
    return {sha256: rows[0] for sha256, rows in session.space_of(view).get_many(list(paths)).items()}
