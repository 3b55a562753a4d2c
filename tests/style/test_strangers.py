"""Strangers: nothing is measured on what it was fitted on."""

import numpy as np
import pytest

from fairbrush.errors import StyleSpaceError
from fairbrush.style.affinity import OffsetRule, PanelScale, stranger_affinity
from fairbrush.style.centroids import fit_style
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import cross_fit, decode_strangers, encode_strangers


def hands_of(n_hands: int, works: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    centres = np.repeat(rng.normal(size=(n_hands, dim)), works, axis=0)
    vectors = (0.5 + centres + rng.normal(size=centres.shape)).astype(np.float32)
    return vectors, [f"hand-{i // works}" for i in range(len(vectors))]


def test_hands_keep_together_and_fill_ten_folds() -> None:
    vectors, hands = hands_of(30, 4, 8, np.random.default_rng(0))
    found = cross_fit(fit_style_space(vectors, hands), vectors, hands)
    assert found.n_hands == 30
    assert all(len(set(found.folds[i : i + 4].tolist())) == 1 for i in range(0, 120, 4))
    assert np.bincount(found.folds).tolist() == [12] * 10


def test_a_row_times_a_centroid_is_the_cosine_in_a_space_fitted_without_its_fold() -> None:
    rng = np.random.default_rng(1)
    vectors, hands = hands_of(40, 4, 12, rng)
    vectors -= vectors.mean(axis=0)
    space = fit_style_space(vectors, hands)
    found = cross_fit(space, vectors, hands)
    raw = rng.normal(size=12)  # a direction, so far out that the spaces' centres do not matter
    centroid = space.apply((space.centre + 1e6 * raw)[None].astype(np.float32))[0]
    for fold in range(10):
        inside = found.folds == fold
        apart = fit_style_space(vectors[~inside], [h for h, i in zip(hands, inside, strict=True) if not i])
        there = apart.apply((apart.centre + 1e6 * raw)[None].astype(np.float32))[0]
        cosines = apart.apply(vectors[inside]) @ there
        ratio = found.rows[inside] @ centroid / cosines
        assert ratio == pytest.approx(np.full(len(cosines), ratio[0]), rel=1e-3)
        assert 0.9 < ratio[0] < 1.1


@pytest.mark.parametrize("artists", [2, 12])
def test_false_credit_on_new_hands_is_at_most_the_stated_level(artists: int) -> None:
    """The space has more dimensions than is good for it: measured on itself, the rate would double."""
    rates = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        vectors, hands = hands_of(80, 4, 120, rng)
        space = fit_style_space(vectors, hands)
        strangers = cross_fit(space, vectors, hands)
        scale = PanelScale.of_nobody(strangers)
        rows = []
        for _ in range(artists):
            works, _ = hands_of(1, 8, 120, rng)
            style = fit_style(space.apply(works), strangers)
            offsets = np.full((len(style.centroids), 1), -style.h)
            rows.append(np.hstack([style.centroids, offsets]).astype(np.float32))
            scale = scale.with_artist(stranger_affinity(rows[-1], strangers, rule=OffsetRule.QUANTILE))
        unseen, _ = hands_of(200, 2, 120, rng)
        queries = space.apply(unseen)
        best = np.max([(queries @ r[:, :-1].T).max(axis=1) + r[0, -1] for r in rows], axis=0)
        rates.append((best > scale.delta(0.05)).mean())
    assert np.mean(rates) < 0.05 + 2 * np.std(rates) / np.sqrt(len(rates)), rates
    assert np.mean(rates) > 0.01, "a threshold nobody passes would pass this test"


def test_too_few_hands_are_refused() -> None:
    vectors, hands = hands_of(4, 6, 8, np.random.default_rng(2))
    with pytest.raises(StyleSpaceError, match="4 hands"):
        cross_fit(fit_style_space(vectors, hands), vectors, hands)


def test_a_file_gives_back_what_was_written() -> None:
    vectors, hands = hands_of(10, 3, 8, np.random.default_rng(3))
    strangers = cross_fit(fit_style_space(vectors, hands), vectors, hands)
    read = decode_strangers(encode_strangers(strangers), source="here")
    assert (read.rows.tobytes(), read.hands.tobytes()) == (
        strangers.rows.tobytes(),
        strangers.hands.tobytes(),
    )
    with pytest.raises(StyleSpaceError, match="here"):
        decode_strangers(b"not an archive", source="here")
