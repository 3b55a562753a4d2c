"""Lifts: oracles by loops, and simulations of what p-values, error level and interval promise."""

import doctest
import statistics
import sys

import numpy as np
import pytest
from scipy import stats

import fairbrush.validation.recognition.lifts
from fairbrush.errors import GeneratorError, ValidationError
from fairbrush.validation.recognition.lifts import (
    adjusted_p_values,
    fewest_told,
    fidelity_of,
    lifts_of,
    rank_p_value,
    typical_movement,
)

DIM, CONTENTS = 24, 12


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class World:
    """Styles that differ as an index's do: places of their own, some blurred by few works, some with several
    centroids; contents whose images vary more in some directions than in others, and lean the same way."""

    def __init__(self, styles, rng):
        self.rng = rng
        self.directions = np.linspace(0.3, 2.0, DIM)
        lean = rng.normal(size=DIM)
        blur = rng.choice([0.1, 0.8], size=(styles, 1, 1))
        places = rng.normal(size=(styles, 1, DIM)) * self.directions + 0.3 * lean
        self.centroids = unit(places + blur * rng.normal(size=(styles, 3, DIM)) * self.directions)
        self.counts = rng.choice([1, 3], size=styles)
        self.contents = rng.normal(size=(CONTENTS, DIM)) * self.directions + lean
        self.before = self.cosines(self.contents)

    def cosines(self, images):
        near = np.einsum("nd,skd->nsk", unit(images), self.centroids)
        return np.where(self.counts == 3, near.max(axis=2), near[:, :, 0])

    def named(self, strength, style=None, towards=0.0):
        """Images of the same contents whose name moves them far, and ``towards`` a known style."""
        effect = strength * self.rng.normal(size=DIM) * self.directions
        if style is not None:
            effect = effect + towards * np.sqrt(DIM) * self.centroids[style, 0]
        noise = 0.3 * self.rng.normal(size=(CONTENTS, DIM)) * self.directions
        return self.cosines(self.contents + effect + noise)

    def naming(self, names, common):
        """Images of the same contents whose names, one or one a content, mean no more than other names."""
        effects = common + self.rng.normal(size=(names, DIM)) * self.directions
        noise = 0.3 * self.rng.normal(size=(CONTENTS, DIM)) * self.directions
        return self.cosines(self.contents + effects + noise)

    def p_value(self, after, own, before=None):
        lifts = lifts_of(self.before if before is None else before, after).standardised
        return rank_p_value(lifts[own], np.delete(lifts, own))


def sign_flips(moved):
    """What a test over contents says: one-sided, all sign flips of the mean."""
    signs = 1 - 2 * (np.arange(1 << len(moved))[:, None] >> np.arange(len(moved)) & 1)
    return ((signs @ moved) >= moved.sum() - 1e-12).mean()


def fidelity(before, after, works, rng, **options):
    """Of the first style, beside all others."""
    typical = typical_movement(before[:, 1:], after[:, 1:])
    return fidelity_of(before[:, 0], after[:, 0], typical, works, rng=rng, **options)


def test_lifts_are_means_over_contents_by_an_oracle_of_loops():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(2, 6, 3))
    lifts = lifts_of(before, after)
    for style in range(3):
        moved = [after[row][style] - before[row][style] for row in range(6)]
        spread = statistics.stdev([before[row][style] for row in range(6)])
        assert lifts.raw[style] == pytest.approx(statistics.fmean(moved), abs=1e-12)
        assert lifts.standardised[style] == pytest.approx(statistics.fmean(moved) / spread, abs=1e-12)


def test_a_style_that_is_near_to_everything_gains_nothing_by_it():
    rng = np.random.default_rng(2)
    before, after = rng.normal(size=(2, 6, 4))
    near = np.array([0.0, 0.0, 5.0, 0.0])
    moved = lifts_of(before + near, after + near)
    np.testing.assert_allclose(moved.standardised, lifts_of(before, after).standardised, atol=1e-12)


def test_a_rank_p_value_by_an_oracle_counts_ties_against_the_artist():
    rng = np.random.default_rng(3)
    for _ in range(20):
        nulls = rng.integers(0, 5, size=rng.integers(1, 9)).tolist()
        own = int(rng.integers(0, 6))
        expected = (1 + len([one for one in nulls if one >= own])) / (1 + len(nulls))
        assert rank_p_value(own, nulls) == expected


def test_p_values_are_not_too_small_where_a_name_means_nothing_however_styles_differ():
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(300):
        world = World(60, rng)
        own = int(rng.integers(60))
        p_values.append(world.p_value(world.named(rng.choice([0.0, 0.5, 2.0])), own))
    for level in (0.05, 0.1, 0.25, 0.5):
        found = sum(p <= level for p in p_values)
        assert stats.binomtest(found, 300, level, alternative="greater").pvalue > 0.01, (level, found)
    assert statistics.fmean(p_values) == pytest.approx(0.5, abs=0.06)


def test_flipping_signs_over_contents_would_take_any_name_with_an_effect_for_a_known_one():
    rng = np.random.default_rng(5)
    by_contents, by_styles = 0, 0
    for _ in range(60):
        world = World(60, rng)
        after = world.named(2.0)  # it knows nobody
        by_contents += sign_flips((after - world.before)[:, 0]) <= 0.05
        by_styles += world.p_value(after, 0) <= 0.05
    assert by_contents >= 15  # one in four and more, where one in twenty was promised
    assert by_styles <= 8


def test_what_any_name_does_favours_some_styles_unless_images_are_compared_with_other_names():
    rng = np.random.default_rng(6)
    unnamed, invented = [], []
    for _ in range(150):
        world = World(60, rng)
        common = rng.normal(size=DIM) * world.directions
        own = int(np.argmax(world.centroids[:, 0] @ common))  # the style that any name moves images to
        after = world.naming(1, common)
        unnamed.append(world.p_value(after, own))
        invented.append(world.p_value(after, own, world.naming(CONTENTS, common)))
    assert sum(p <= 0.05 for p in unnamed) >= 40  # one in four and more, where one in twenty was promised
    for level in (0.05, 0.1, 0.25, 0.5):
        found = sum(p <= level for p in invented)
        assert stats.binomtest(found, 150, level, alternative="greater").pvalue > 0.01, (level, found)


def all_p_values(artists, known, *, towards, rng):
    """Of each artist of one index, beside 150 styles of a panel: the first ``known`` are known."""
    world = World(artists + 150, rng)
    return np.array(
        [
            world.p_value(world.named(1.0, own if own < known else None, towards), own)
            for own in range(artists)
        ]
    )


def test_of_1789_artists_at_most_the_stated_part_of_those_told_is_false_and_most_known_ones_are_told():
    p_values = all_p_values(1789, 300, towards=2.0, rng=np.random.default_rng(0))
    told = adjusted_p_values(p_values) <= 0.05
    false = int(told[300:].sum())
    assert stats.binomtest(false, int(told.sum()), 0.05, alternative="greater").pvalue > 0.01
    assert told[:300].mean() >= 0.8


def test_of_13_artists_of_whom_8_are_known_the_stated_part_of_those_told_is_false():
    false, power = [], []
    for seed in range(40):
        p_values = all_p_values(13, 8, towards=2.0, rng=np.random.default_rng(100 + seed))
        told = adjusted_p_values(p_values) <= 0.05
        false.append(told[8:].sum() / max(1, told.sum()))
        power.append(told[:8].mean())
    assert statistics.fmean(false) <= 0.05
    assert statistics.fmean(power) >= 0.7


def test_where_nobody_is_known_anybody_is_told_no_more_often_than_stated():
    told = 0
    for seed in range(100):
        p_values = all_p_values(13, 0, towards=0.0, rng=np.random.default_rng(200 + seed))
        told += (adjusted_p_values(p_values) <= 0.05).any()
    assert stats.binomtest(int(told), 100, 0.05, alternative="greater").pvalue > 0.01


def test_adjusted_p_values_are_those_of_a_loop():
    p_values = np.random.default_rng(6).uniform(size=17)
    order = sorted(range(17), key=lambda at: p_values[at])
    smallest = 1.0
    expected = [0.0] * 17
    for rank in range(17, 0, -1):
        smallest = min(smallest, p_values[order[rank - 1]] * 17 / rank)
        expected[order[rank - 1]] = smallest
    np.testing.assert_allclose(adjusted_p_values(p_values), expected, atol=1e-12)
    assert adjusted_p_values([]).tolist() == []


@pytest.mark.parametrize(("nulls", "tested"), [(168, 13), (1943, 1789), (20, 1), (18, 1), (150, 40)])
def test_so_many_must_rank_first_for_anybody_to_be_told(nulls, tested):
    fewest = fewest_told(nulls, tested, 0.05)
    best = rank_p_value(1.0, np.zeros(nulls))
    for first in (fewest - 1, fewest):
        if 0 < first <= tested:
            p_values = [best] * first + [1.0] * (tested - first)
            assert (adjusted_p_values(p_values) <= 0.05 + 1e-12).sum() == (first if first == fewest else 0)


def test_fidelity_is_how_far_of_the_way_to_the_own_works_a_name_leads():
    rng = np.random.default_rng(7)
    before = 0.1 + 0.05 * rng.normal(size=(8, 5))
    before[:, 0] += 0.1 - before[:, 0].mean()
    after = before + np.array([0.35, 0.05, 0.05, 0.2, -0.3])  # the median other style gains 0.05 of any name
    found = fidelity(before, after, [0.6, 0.9, 0.7], rng)
    assert found.baseline == pytest.approx(0.1)
    assert found.own == 0.7
    assert found.raw == pytest.approx(0.3 / 0.6)
    assert found.value == found.raw
    assert found.low <= found.raw <= found.high


def test_fidelity_is_undefined_where_own_works_are_no_nearer_than_images_of_nobody():
    rng = np.random.default_rng(8)
    before = 0.5 + 0.05 * rng.normal(size=(8, 3))
    found = fidelity(before, before + 0.1, [0.1, 0.2], rng)
    assert (found.raw, found.value, found.low, found.high) == (None, None, None, None)
    assert found.own == pytest.approx(0.15)


def test_a_name_that_leads_away_has_a_fidelity_of_0_and_a_negative_raw_one():
    rng = np.random.default_rng(9)
    before = 0.1 + 0.05 * rng.normal(size=(8, 3))
    found = fidelity(before, before + np.array([-0.3, 0.1, 0.1]), [0.8, 0.9], rng)
    assert found.raw < 0.0
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("contents", "works"), [(8, 10), (20, 24)])
def test_the_interval_of_fidelity_holds_the_truth_about_as_often_as_stated(contents, works):
    rng = np.random.default_rng(10)
    truth, covered = (0.30 - 0.05) / (0.7 - 0.1), 0
    for _ in range(300):
        shared = rng.normal(size=(contents, 1))
        before = 0.1 + 0.08 * (0.5 * shared + rng.normal(size=(contents, 41)))
        effect = np.r_[0.30, np.full(40, 0.05)]
        after = (
            before + effect + 0.06 * (0.5 * rng.normal(size=(contents, 1)) + rng.normal(size=(contents, 41)))
        )
        own = 0.7 + 0.1 * rng.normal(size=works)
        found = fidelity(before, after, own, rng, replicates=300)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 300 <= 0.985


def test_what_cannot_be_measured_is_refused():
    good = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValidationError, match="3 contents say too little"):
        lifts_of(good[:3], good[:3])
    with pytest.raises(ValidationError, match="a row a content"):
        lifts_of(good, good[:, :1])
    with pytest.raises(ValidationError, match="not finite"):
        lifts_of(good, np.where(good == 3.0, np.nan, good))
    with pytest.raises(ValidationError, match="draws one image"):
        lifts_of(np.ones((4, 2)), good)
    with pytest.raises(ValidationError, match="own works"):
        fidelity_of(good[:, 0], good[:, 0], good[:, 0], [], rng=np.random.default_rng(0))


def test_without_scipy_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(GeneratorError, match="need scipy") as raised:
        adjusted_p_values([0.5])
    assert raised.value.next_step == 'pip install "fairbrush[validate]"'


def test_the_examples_of_lifts_are_true():
    assert doctest.testmod(fairbrush.validation.recognition.lifts).failed == 0
