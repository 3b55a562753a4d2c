"""The background panel: works by hands that are no player, from which the style space is fitted.

Enters: the bundled panel, or a user's folder with one folder a hand. Leaves: the fitted space, and the
panel as strangers to it. The one rule: a panel is used whole or not at all; a file that cannot be embedded
stops the fit, since a smaller panel is another style space.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import find_images
from fairbrush.embedding.facets import WHOLE, Views
from fairbrush.errors import PanelError
from fairbrush.style.diagnostics import diagnose
from fairbrush.style.space import SHRINKAGE, StyleSpace, fit_style_space
from fairbrush.style.strangers import FEWEST_HANDS, Strangers, cross_fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.embedding.session import EmbeddingSession

BUNDLED_PANEL = Path(__file__).parents[1] / "data" / "panel"
FEWEST_PANEL_WORKS = 20


@dataclass(frozen=True)
class PanelWork:
    """One file and whose it is. ``sha256`` is None where nobody promised one."""

    path: Path
    hand: str
    sha256: str | None = None


@dataclass(frozen=True)
class Panel:
    """``source`` is for messages."""

    source: Path
    works: tuple[PanelWork, ...]


def bundled_panel() -> Panel:
    """The panel shipped with fairbrush: public-domain clip art by hands outside the gallery."""
    manifest = json.loads((BUNDLED_PANEL / "manifest.json").read_text(encoding="utf-8"))
    return Panel(
        BUNDLED_PANEL,
        tuple(PanelWork(BUNDLED_PANEL / w["file"], w["artist"], w["sha256"]) for w in manifest["works"]),
    )


def folder_panel(folder: Path) -> Panel:
    """A user's panel: ``folder/HAND/...``, one folder a hand. Raises PanelError."""
    if not folder.is_dir():
        raise PanelError(f"The panel {folder} is not a folder.", next_step="Name a folder of folders.")
    found = find_images([folder])
    loose = [path for path in found.images if path.parent == folder]
    if loose:
        raise PanelError(
            f"{loose[0]} lies outside the panel's folders, so its hand is unknown.",
            next_step="Put each hand's works into a folder of their own.",
        )
    if found.refusals:
        raise PanelError(found.refusals[0].detail, next_step="Remove the file or correct it.")
    return Panel(folder, tuple(PanelWork(path, path.relative_to(folder).parts[0]) for path in found.images))


@dataclass(frozen=True, eq=False)
class FittedPanel:
    """vectors: raw float32 (n, dim), in the order of the files' SHA-256; hands: whose each is."""

    space: StyleSpace
    vectors: NDArray[np.float32]
    hands: tuple[str, ...]
    sha256s: tuple[str, ...]

    def strangers(self) -> Strangers:
        """As an index measures on them: takes ten times as long as fitting the space."""
        return cross_fit(self.space, self.vectors, self.hands)


def fit_panel(session: EmbeddingSession, panel: Panel, *, views: Views = WHOLE) -> FittedPanel:
    """The style space of a panel; views: of one image each.

    Embeds what the cache lacks. Raises PanelError for a file that fails, is not the one promised, lies
    under two hands, or a panel too small to place a threshold.
    """
    import numpy as np

    hand_of = _settled_hands(session, panel, views)
    n_hands = len(set(hand_of.values()))
    if len(hand_of) < FEWEST_PANEL_WORKS or n_hands < FEWEST_HANDS:
        raise PanelError(
            f"The panel {panel.source} has {len(hand_of)} works by {n_hands} hands, at least"
            f" {FEWEST_PANEL_WORKS} by {FEWEST_HANDS} are needed.",
            next_step="Add works by hands outside the registry; a few hundred make a good panel.",
        )
    order = sorted(hand_of)
    stored = session.space_of(views).get_many(order)
    missing = [sha256 for sha256 in order if sha256 not in stored]
    if missing:
        raise PanelError(
            f"The cache lost the vector of panel work {missing[0]}.", next_step="Run the command again."
        )
    vectors = np.stack([stored[sha256][0] for sha256 in order])
    hands = tuple(hand_of[sha256] for sha256 in order)
    space = fit_style_space(vectors, hands)
    told = diagnose(space, vectors, hands, shrinkage=SHRINKAGE)
    return FittedPanel(replace(space, diagnostics=told), vectors, hands, tuple(order))


def _settled_hands(session: EmbeddingSession, panel: Panel, views: Views) -> dict[str, str]:
    """Embed the panel; the hand of each work by its SHA-256."""
    work_at = {work.path: work for work in panel.works}
    hand_of: dict[str, str] = {}
    for outcome in session.embed(list(work_at), views=views):
        work = work_at[outcome.path]
        if outcome.sha256 is None or outcome.reason:
            raise PanelError(
                f"The panel's {outcome.path} cannot be embedded: {outcome.detail}",
                next_step="Remove the file or correct it.",
            )
        if work.sha256 not in (None, outcome.sha256):
            raise PanelError(
                f"The panel's {outcome.path} is not the file that was shipped.",
                next_step="Install fairbrush again.",
            )
        if hand_of.setdefault(outcome.sha256, work.hand) != work.hand:
            raise PanelError(
                f"{outcome.path} lies under two hands, {hand_of[outcome.sha256]} and {work.hand}.",
                next_step="Keep one of them.",
            )
    return hand_of
