"""What measures: cosines of image files, in raw space and in style space, by one encoder or another."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from validation.tiny import build_encoder
from workspaces import Gallery

from fairbrush.config import Settings, load_settings
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import EncoderSpecError, RegenerationError
from fairbrush.index.search import open_index
from fairbrush.style.affinity import style_rows
from fairbrush.validation.views import View, second_view
from fairbrush.workspace import INDEXES


@pytest.fixture
def settings(workspace: Path) -> Settings:
    return load_settings(workspace=workspace, environ={})


@pytest.fixture
def view(settings: Settings) -> Iterator[View]:
    space = open_index(settings.workspace / INDEXES).space if settings.workspace else None
    assert space is not None
    with EmbeddingSession.open(settings) as session:
        yield View(session, space, is_independent=False)


def test_similarities_are_cosines_of_raw_and_of_styled_vectors(view: View, gallery: Gallery) -> None:
    one, two, three, *_ = gallery.answers
    found = view.similarities(one, [[one, two], [three, three], [two, one]])
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, two, three)}
    stored = view.session.space.get_many(sorted(digests.values()))
    raw = np.stack([stored[sha256][0] for sha256 in digests.values()]).astype(np.float64)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    places = np.array([[0, 1], [2, 2], [1, 0]])
    np.testing.assert_allclose(found.content, (raw @ raw[0])[places], atol=1e-12)
    styled = style_rows(view.space, raw.astype(np.float32))
    np.testing.assert_allclose(found.style, (styled @ styled[0])[places], atol=1e-12)
    np.testing.assert_allclose([found.content[0, 0], found.style[0, 0]], 1.0, atol=1e-6)
    assert found.content[0, 0] == found.content[2, 1]
    assert found.style[0, 1] < found.content[0, 1]  # raw cosines of strangers are high


def test_centred_on_two_images_they_lie_opposite_each_other(view: View, gallery: Gallery) -> None:
    one, two, three, *_ = gallery.answers
    centred = view.centred_on([one, two])
    first, second, third = centred.styled([one, two, three])
    np.testing.assert_allclose(first, -second, atol=1e-6)
    assert not np.allclose(third, view.styled([three])[0], atol=0.1)
    assert (centred.space.whitening == view.space.whitening).all()


def test_a_file_that_is_no_image_is_named(view: View, gallery: Gallery, tmp_path: Path) -> None:
    bad = tmp_path / "0a" / "bad.png"
    bad.parent.mkdir()
    bad.write_bytes(b"nonsense")
    with pytest.raises(RegenerationError, match=r"bad\.png cannot be embedded.*Delete it"):
        view.similarities(gallery.credited, [[bad]])


@pytest.mark.parametrize("spec", ["mini", "mini:clip", "mini:clip+colour"])
def test_an_encoder_cannot_bear_witness_for_itself(view: View, settings: Settings, spec: str) -> None:
    with (
        pytest.raises(EncoderSpecError, match="has the weights of the encoder that answered"),
        second_view(settings, spec, answering=view.session.encoder),
    ):
        pass


def test_a_second_view_has_an_encoder_and_a_style_space_of_its_own(
    view: View, settings: Settings, gallery: Gallery, tmp_path: Path
) -> None:
    folder = build_encoder(tmp_path / "encoder")
    one, two, *_ = gallery.answers
    with second_view(settings, f"local-dir:{folder}", answering=view.session.encoder) as second:
        assert second.is_independent
        assert second.encoder_id != view.encoder_id
        assert second.space.space_id != view.space.space_id
        found = second.similarities(one, [[one, two]])
    np.testing.assert_allclose(found.content[0, 0], 1.0, atol=1e-6)
    assert abs(found.style[0, 1]) <= 1.0
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    with (
        EmbeddingSession.open(
            load_settings(workspace=settings.workspace, environ={"FAIRBRUSH_ENCODER": f"local-dir:{folder}"})
        ) as session,
        pytest.raises(EncoderSpecError, match="has the weights"),
        second_view(settings, f"local-dir:{copied}", answering=session.encoder),
    ):
        pass
