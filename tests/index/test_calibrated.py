"""An index searched with a calibration's thresholds and query centre: the same rows, other queries."""

from pathlib import Path

import numpy as np
import pytest
from index_worlds import make_world, queries

from fairbrush.errors import CalibrationError
from fairbrush.index.calibrated import calibrated_index
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.style.affinity import style_rows


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> StyleIndex:
    folder = tmp_path_factory.mktemp("index")
    make_world().build(folder)
    return open_index(folder)


def test_without_shift_and_centre_it_gives_the_same_bits(index: StyleIndex) -> None:
    same = calibrated_index(index, shift=0.0)
    assert (same.delta, same.entry, same.detectability_floor) == (
        index.delta,
        index.entry,
        index.detectability_floor,
    )
    for query in queries(make_world(), 6):
        assert same.search(query, k=3) == index.search(query, k=3)
        assert same.styled(query).tobytes() == index.styled(query).tobytes()


def test_a_shift_moves_both_thresholds_and_no_affinity(index: StyleIndex) -> None:
    moved = calibrated_index(index, shift=0.125)
    assert (moved.delta, moved.entry) == (index.delta + 0.125, index.entry + 0.125)
    assert moved.manifest_digest == index.manifest_digest
    for query in queries(make_world(), 6):
        assert moved.affinities(query, index.artist_ids) == index.affinities(query, index.artist_ids)
        hits = moved.search(query, k=1, allowed=index.artist_ids)
        second = moved.affinities(query, index.artist_ids)[1]
        assert hits.complete == (second.z <= moved.delta)


def test_a_centre_moves_queries_and_leaves_works_where_they_are(index: StyleIndex) -> None:
    rng = np.random.default_rng(2)
    centre = rng.normal(size=index.dim).astype(np.float32)
    moved = calibrated_index(index, shift=0.0, centre=centre)
    assert moved.space.space_id == index.space_id
    artist = index.artist_ids[0]
    assert moved.centroids_of(artist).tobytes() == index.centroids_of(artist).tobytes()
    for query in queries(make_world(), 4):
        # as the panel's mean in place of the centre would have it
        there = (query.astype(np.float64) - centre + index.space.centre).astype(np.float32)
        expected = style_rows(index.space, there[None])[0]
        assert moved.styled(query) == pytest.approx(expected, abs=1e-5)
        [hit] = moved.affinities(query, [artist])
        assert hit.similarity == pytest.approx(float((moved.centroids_of(artist) @ expected).max()), abs=1e-5)
        best = moved.search(query, k=len(index.artist_ids)).hits
        assert best == moved.affinities(query, index.artist_ids)


def test_a_centre_of_another_encoder_is_refused(index: StyleIndex, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=rf"centres queries of 3 dims; index v0001 has {index.dim}"):
        calibrated_index(index, shift=0.0, centre=np.zeros(3, np.float32))
