"""The panel is used whole or not at all."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fairbrush.domain import EmbedOutcome, EmbedStatus
from fairbrush.embedding.facets import WHOLE, Views
from fairbrush.errors import PanelError
from fairbrush.style.panel import Panel, PanelWork, bundled_panel, fit_panel, folder_panel


class FakeSession:
    """Embeds a file as numbers drawn from its digest; ``bad`` files fail."""

    def __init__(self) -> None:
        self.vectors: dict[str, np.ndarray] = {}

    def space_of(self, views: Views) -> "FakeSession":
        assert views is WHOLE
        return self

    def embed(self, paths: Sequence[Path], *, views: Views) -> Iterator[EmbedOutcome]:
        for path in reversed(paths):  # outcomes come as they are settled
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if path.name.startswith("bad"):
                yield EmbedOutcome(path, EmbedStatus.FAILED, None, "corrupt", "It is not an image.")
                continue
            rng = np.random.default_rng(int(sha256[:8], 16))
            self.vectors[sha256] = rng.normal(size=(1, 6)).astype(np.float32)
            yield EmbedOutcome(path, EmbedStatus.NEW, sha256)

    def get_many(self, sha256s: Sequence[str]) -> dict[str, np.ndarray]:
        return {sha256: self.vectors[sha256] for sha256 in sha256s if sha256 in self.vectors}


def write_panel(folder: Path, *, hands: int = 10, works: int = 2) -> Path:
    for hand in range(hands):
        (folder / f"hand {hand}").mkdir(parents=True)
        for work in range(works):
            (folder / f"hand {hand}" / f"{work}.png").write_bytes(f"{hand} {work}".encode())
    return folder


def test_a_folder_of_folders_is_a_panel_with_a_hand_each(tmp_path: Path) -> None:
    panel = folder_panel(write_panel(tmp_path))
    assert [(w.path.name, w.hand) for w in panel.works[:3]] == [
        ("0.png", "hand 0"),
        ("1.png", "hand 0"),
        ("0.png", "hand 1"),
    ]
    fitted = fit_panel(FakeSession(), panel)  # type: ignore[arg-type]
    vectors = fitted.vectors
    assert (vectors.shape, vectors.dtype, len(fitted.space.centre)) == ((20, 6), np.float32, 6)
    assert fitted.strangers().n_hands == 10


def test_names_and_order_of_files_change_nothing(tmp_path: Path) -> None:
    panel = folder_panel(write_panel(tmp_path))
    fitted = fit_panel(FakeSession(), panel)  # type: ignore[arg-type]
    turned = Panel(panel.source, panel.works[::-1])
    again = fit_panel(FakeSession(), turned)  # type: ignore[arg-type]
    assert (again.space.space_id, again.vectors.tobytes()) == (
        fitted.space.space_id,
        fitted.vectors.tobytes(),
    )
    assert again.strangers().rows.tobytes() == fitted.strangers().rows.tobytes()


def test_a_file_that_cannot_be_embedded_stops_the_fit(tmp_path: Path) -> None:
    write_panel(tmp_path)
    (tmp_path / "hand 3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(PanelError, match=r"bad\.png cannot be embedded: It is not an image"):
        fit_panel(FakeSession(), folder_panel(tmp_path))  # type: ignore[arg-type]


def test_a_file_that_is_not_the_one_shipped_is_refused(tmp_path: Path) -> None:
    panel = folder_panel(write_panel(tmp_path))
    [first, *others] = panel.works
    promised = Panel(panel.source, (PanelWork(first.path, first.hand, "0" * 64), *others))
    with pytest.raises(PanelError, match="not the file that was shipped"):
        fit_panel(FakeSession(), promised)  # type: ignore[arg-type]


def test_one_work_under_two_hands_is_refused(tmp_path: Path) -> None:
    write_panel(tmp_path)
    (tmp_path / "hand 4" / "copy.png").write_bytes(b"3 1")
    with pytest.raises(PanelError, match="two hands"):
        fit_panel(FakeSession(), folder_panel(tmp_path))  # type: ignore[arg-type]


def test_a_panel_too_small_for_a_threshold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="has 4 works by 2 hands, at least 20"):
        fit_panel(FakeSession(), folder_panel(write_panel(tmp_path, hands=2)))  # type: ignore[arg-type]


def test_a_file_outside_the_hands_folders_is_refused(tmp_path: Path) -> None:
    write_panel(tmp_path)
    (tmp_path / "loose.png").write_bytes(b"whose?")
    with pytest.raises(PanelError, match=r"loose\.png lies outside"):
        folder_panel(tmp_path)
    with pytest.raises(PanelError, match="is not a folder"):
        folder_panel(tmp_path / "absent")


def test_bundled_panel_names_each_files_hand_and_digest() -> None:
    panel = bundled_panel()
    assert len(panel.works) >= 300
    assert {work.path for work in panel.works} == set(panel.source.glob("*.webp"))
    assert len({work.hand for work in panel.works}) > 100
    for work in panel.works[::40]:
        assert hashlib.sha256(work.path.read_bytes()).hexdigest() == work.sha256
