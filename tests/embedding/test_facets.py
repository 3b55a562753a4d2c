"""Views of images: what is cut, what is cached of it and where, and that it goes with its image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fairbrush.config import Settings
from fairbrush.corpus.images import ImageLimits
from fairbrush.domain import EmbedStatus
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.facets import FACETS, LEAST_SIDE, WHOLE, whole_and_quadrants
from fairbrush.embedding.session import EmbeddingSession

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (51, 51, 51)
BROKEN = (9, 9, 9)  # of which MeanEncoder makes no number


@dataclass
class MeanEncoder:
    """An image's mean colour, in parts of 255. ``asked``: how many images each call had."""

    encoder_id: str = "mean#0"
    variant: str = "numpy-float32"
    device: str = "cpu"
    dim: int = 3
    asked: list[int] = field(default_factory=list)

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.asked.append(len(images))
        rows = np.array([image.mean(axis=(0, 1)) / 255 for image in images], np.float32)
        return np.where((rows * 255).round() == BROKEN, np.float32(np.nan), rows)


def quartered(file: Path, *colours: tuple[int, int, int], side: int = 64) -> Path:
    """An image of four flat quarters: top left, top right, bottom left, bottom right."""
    image = Image.new("RGB", (2 * side, 2 * side))
    for place, colour in enumerate(colours):
        image.paste(
            colour, (side * (place % 2), side * (place // 2), side * (place % 2 + 1), side * (place // 2 + 1))
        )
    image.save(file)
    return file


@pytest.fixture
def encoder() -> MeanEncoder:
    return MeanEncoder()


@pytest.fixture
def session(tmp_path: Path, encoder: MeanEncoder) -> Iterator[EmbeddingSession]:
    settings = Settings(cache=tmp_path / "cache", batch=10, workers=1)
    with EmbeddingSession(encoder, settings, ImageLimits()) as opened:
        yield opened


@given(st.integers(1, 200), st.integers(1, 200))
def test_quarters_cover_the_image_are_alike_in_size_and_never_tiny(height: int, width: int) -> None:
    places = np.arange(height * width).reshape(height, width)
    whole, *quarters = whole_and_quadrants(np.repeat(places[:, :, None], 3, axis=2))
    assert whole.shape == (height, width, 3)
    assert {place for quarter in quarters for place in quarter[:, :, 0].ravel().tolist()} == {
        *range(places.size)
    }
    (size,) = {quarter.shape for quarter in quarters}
    assert size == (*(min(n, max((n + 1) // 2, LEAST_SIDE)) for n in (height, width)), 3)
    assert len(quarters) + 1 == FACETS.count


def test_a_row_holds_the_whole_image_and_then_its_quarters(session: EmbeddingSession, tmp_path: Path) -> None:
    image = quartered(tmp_path / "four.png", RED, GREEN, BLUE, GREY)
    [outcome] = session.embed([image], views=FACETS)
    assert outcome.status is EmbedStatus.NEW
    row = session.space_of(FACETS).get(outcome.sha256)
    np.testing.assert_allclose(
        row, [[0.3, 0.3, 0.3], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.2, 0.2]], atol=1e-6
    )


def test_views_have_a_space_of_their_own_and_are_cached(
    session: EmbeddingSession, encoder: MeanEncoder, tmp_path: Path
) -> None:
    image = quartered(tmp_path / "four.png", RED, GREEN, BLUE, GREY)
    [outcome] = session.embed([image])
    assert outcome.sha256 is not None
    assert session.space_of(FACETS).get(outcome.sha256) is None
    statuses = [next(session.embed([image], views=views)).status for views in (FACETS, FACETS, WHOLE)]
    assert statuses == [EmbedStatus.NEW, EmbedStatus.CACHED, EmbedStatus.CACHED]
    assert encoder.asked == [1, 5]
    assert session.space.get(outcome.sha256).shape == (1, 3)
    assert (session.space.variant, session.space_of(FACETS).variant) == (
        "numpy-float32",
        "numpy-float32+whole+2x2",
    )


def test_a_batch_is_a_number_of_views(
    session: EmbeddingSession, encoder: MeanEncoder, tmp_path: Path
) -> None:
    images = [quartered(tmp_path / f"{n}.png", RED, GREEN, BLUE, (n, n, 0)) for n in range(5)]
    assert len(list(session.embed(images, views=FACETS))) == 5
    assert encoder.asked == [10, 10, 5]


def test_an_image_with_one_crop_that_is_no_number_fails_and_the_others_stay(
    session: EmbeddingSession, tmp_path: Path
) -> None:
    bad = quartered(tmp_path / "bad.png", RED, GREEN, BROKEN, BLUE)
    good = quartered(tmp_path / "good.png", RED, GREEN, BLUE, GREY)
    found = {outcome.path: outcome for outcome in session.embed([bad, good], views=FACETS)}
    assert (found[bad].status, found[bad].reason) == (EmbedStatus.FAILED, "not a number")
    assert session.space_of(FACETS).get(found[bad].sha256) is None
    assert found[good].status is EmbedStatus.NEW
    assert [outcome.status for outcome in session.embed([bad])] == [EmbedStatus.NEW]  # as a whole it is sound


def test_forget_and_prune_reach_views_and_info_counts_them(session: EmbeddingSession, tmp_path: Path) -> None:
    images = [quartered(tmp_path / f"{n}.png", RED, GREEN, BLUE, (n, n, 0)) for n in range(3)]
    sha256s = [next(session.embed([image])).sha256 for image in images]
    assert len(list(session.embed(images, views=FACETS))) == 3
    with EmbeddingCache.open(session.cache_folder) as cache:
        counts = {space.variant: (space.images, space.vectors) for space in cache.info().spaces}
        assert counts == {"numpy-float32": (3, 3), "numpy-float32+whole+2x2": (3, 15)}
        assert cache.forget(sha256s[:1]) == 2
        assert cache.prune(images_not_in=sha256s[:2]).rows_dropped == 2
        assert cache.prune(encoder_id="mean#0", variant="numpy-float32").rows_dropped == 1
    assert session.space.missing(sha256s) == sha256s
    assert session.space_of(FACETS).missing(sha256s) == [sha256s[0], sha256s[2]]
