"""The comparison of fast and regenerated shares: whom it asks about, and its figures on made-up ones."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
bench = pytest.importorskip("bench_validation", reason="needs resvg-py, of the dev extra")

ARTISTS = [f"artist {number}" for number in range(13)]


def test_every_artist_is_asked_for_equally_often_and_no_two_images_share_a_seed():
    images = bench.wanted_images(ARTISTS, bench.STRANGERS, np.random.default_rng(0))
    kinds = Counter(one.kind for one in images)
    assert kinds == {bench.SINGLE: 26, bench.TWO: 26, bench.UNKNOWN: 12}
    for kind, times in ((bench.SINGLE, 2), (bench.TWO, 4)):
        named = Counter(name for one in images if one.kind == kind for name in one.names)
        assert named == dict.fromkeys(ARTISTS, times)
    pairs = [frozenset(one.names) for one in images if one.kind == bench.TWO]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)
    assert len({one.seed for one in images}) == len(images)
    assert not {one.seed for one in images} & set(bench.SEEDS)


def test_a_rank_correlation_counts_ties_by_their_middle_rank():
    assert bench.spearman([(0.0, 1.0), (0.5, 2.0), (1.0, 3.0)]) == pytest.approx(1)
    assert bench.spearman([(0.0, 3.0), (0.5, 2.0), (1.0, 1.0)]) == pytest.approx(-1)
    # ranks 1.5 1.5 3 against 1 2 3
    assert bench.spearman([(0.0, 1.0), (0.0, 2.0), (1.0, 3.0)]) == pytest.approx(np.sqrt(3) / 2)
