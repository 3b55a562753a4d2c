"""The bundled panel as check-me fits it, once for all tests."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from fairbrush.config import Settings
from fairbrush.embedding.facets import GREY, LEVELS, WHOLE, Views
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.self_check import check, second_look
from fairbrush.style.panel import BUNDLED_PANEL, FittedPanel, Panel, bundled_panel, fit_panel
from fairbrush.style.strangers import Strangers


@dataclass(frozen=True)
class Panels:
    """cache: holds the vectors; seen: by the view's name; strangers: by style space."""

    cache: Path
    seen: dict[str, FittedPanel]
    strangers: dict[str, Strangers]

    def lend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """check-me in this process takes these."""

        def lent(session: EmbeddingSession, panel: Panel, *, views: Views = WHOLE) -> FittedPanel:
            is_bundled = panel.source == BUNDLED_PANEL
            return self.seen[views.name] if is_bundled else fit_panel(session, panel, views=views)

        for module in (check, second_look):
            monkeypatch.setattr(module, "fit_panel", lent)
        monkeypatch.setattr(FittedPanel, "strangers", lambda one: self.strangers[one.space.space_id])


def fit_panels(folder: Path) -> Panels:
    with EmbeddingSession.open(Settings(cache=folder, workers=1)) as session:
        seen = {
            views.name: fit_panel(session, bundled_panel(), views=views) for views in (WHOLE, GREY, LEVELS)
        }
    return Panels(folder, seen, {one.space.space_id: one.strangers() for one in seen.values()})
