"""The styles of the current index, for the map: who, where, by which work, and what lies near.

Enters: a workspace's index, and who may be credited. Leaves: ``Styles``. The one rule: who opted out or is
erased is not on the map, and no number of theirs has a part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.eligibility import CREDITED
from fairbrush.domain import Consent
from fairbrush.errors import FaissInstallError, IndexMissingError, IndexUnusableError, StyleSpaceError
from fairbrush.index.search import open_index
from fairbrush.reports.pages.overview_map import Canvas, lay_out, project, spread_out
from fairbrush.workspace import INDEXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.index.search import StyleIndex

MOST_PICTURES = 120


@dataclass(frozen=True)
class Style:
    """One artist of the map. ``x``, ``y``: before it was laid out; ``nearest``: artist ids, nearest first;
    ``work_sha256``: the work nearest to the middle of the style, of those with a picture on the map."""

    artist_id: str
    name: str
    works: int
    x: float
    y: float
    nearest: tuple[str, ...]
    work_sha256: str | None = None


@dataclass(frozen=True, eq=False)
class Styles:
    """``left_out``: artists of the index who may not be credited. ``variation``, ``kept``, ``by_chance``: see
    ``Projection``. ``canvas``: positions in ``styles``."""

    version: str
    manifest_digest: str
    styles: tuple[Style, ...]
    left_out: int
    variation: float
    kept: float
    by_chance: float
    canvas: Canvas | None
    indexed_works: Mapping[str, int]

    @property
    def is_measured(self) -> bool:
        """Whether there are enough artists for neighbours to say anything."""
        return self.by_chance < 2 and len(self.styles) > 4


@dataclass(frozen=True)
class NoStyles:
    """Why there is no map. ``is_missing``: there is no index yet; else ``detail`` says what is wrong."""

    is_missing: bool
    detail: str
    next_step: str | None


def read_styles(
    workspace: Path, names: Mapping[str, str], consents: Mapping[str, Consent]
) -> Styles | NoStyles:
    """names, consents: by artist id, of everybody registered."""
    try:
        return _styles(open_index(workspace / INDEXES), names, consents)
    except IndexMissingError as error:
        return NoStyles(True, error.message, error.next_step)
    except (IndexUnusableError, StyleSpaceError, FaissInstallError) as error:
        return NoStyles(False, error.message, error.next_step)


def _styles(index: StyleIndex, names: Mapping[str, str], consents: Mapping[str, Consent]) -> Styles:
    import numpy as np

    shown = [one for one in index.artist_ids if names.get(one) and consents.get(one) in CREDITED]
    indexed = {one: index.places[one][1].works for one in index.artist_ids}
    left_out = len(index.artist_ids) - len(shown)
    nothing = (index.version, index.manifest_digest, (), left_out, 0.0, 0.0, 0.0, None, indexed)
    if not shown:
        return Styles(*nothing)
    middles = np.stack([_middle(index, one) for one in shown])
    found = project(middles, [index.creator_of(one) for one in shown])
    pictured = spread_out(found.points, MOST_PICTURES)
    typical = {position: _typical(index, shown[position], middles[position]) for position in pictured}
    styles = tuple(
        Style(
            artist_id,
            names[artist_id],
            indexed[artist_id],
            float(found.points[position, 0]),
            float(found.points[position, 1]),
            tuple(shown[other] for other in found.nearest[position]),
            typical.get(position),
        )
        for position, artist_id in enumerate(shown)
    )
    return Styles(
        index.version,
        index.manifest_digest,
        styles,
        left_out,
        found.variation,
        found.kept,
        found.by_chance,
        lay_out(found.points, pictured),
        indexed,
    )


def _middle(index: StyleIndex, artist_id: str) -> NDArray[np.float64]:
    """float64 (dim,): the mean direction of an artist's centroids, which are one a period."""
    import numpy as np

    mean: NDArray[np.float64] = index.centroids_of(artist_id).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _typical(index: StyleIndex, artist_id: str, middle: NDArray[np.float64]) -> str:
    """The work nearest to the middle of the style; ties by its hash."""
    stored = index.stored_works(artist_id)
    return stored.sha256s[int((stored.works.astype("float64") @ middle).argmax())]
