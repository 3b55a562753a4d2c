"""The comparison: p-values as a slow count gives them, and numbers that are those of a look-up."""

import numpy as np
import pytest

from fairbrush.index.build import ArtistWorks, build_index
from fairbrush.index.search import open_index
from fairbrush.self_check.comparison import Chances, Comparison, Kind, OwnStyle
from fairbrush.style.affinity import style_rows
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import Strangers, cross_fit, hand_codes


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def strangers() -> Strangers:
    """Seven hands with one to four works."""
    rng = np.random.default_rng(0)
    hands = np.repeat(np.arange(7), [1, 4, 2, 3, 2, 4, 1]).astype(np.int32)
    return Strangers(unit(rng.normal(size=(len(hands), 5))).astype(np.float32), hands)


def p_counted(strangers: Strangers, nearness: float) -> float:
    """Every pair of hands: how near the works of the one come to the other, as a part of its works."""
    rows, hands = strangers.rows.astype(float), strangers.hands
    above = 0.0
    for artist in range(7):
        centroid = rows[hands == artist].mean(axis=0)
        centroid /= np.linalg.norm(centroid)
        theirs = rows[hands != artist] @ centroid
        for maker in set(range(7)) - {artist}:
            near = (rows[hands == maker] @ centroid - theirs.mean()) / theirs.std()
            above += (near >= nearness).mean()
    return (1 + above) / (1 + 7 * 6)


@pytest.mark.parametrize("nearness", [-9.0, -0.5, 0.0, 0.7, 1.4, 2.0, 9.0])
def test_a_p_value_is_the_part_of_pairs_of_hands_that_come_as_near(strangers: Strangers, nearness: float):
    comparison = Comparison.of(strangers)
    [p] = comparison.p_values(np.array([nearness]))
    assert p == pytest.approx(p_counted(strangers, nearness), abs=1e-12)


def test_the_ends_of_p_are_one_and_one_in_all_pairs(strangers: Strangers):
    comparison = Comparison.of(strangers)
    assert comparison.n_pairs == 42
    assert comparison.p_values(np.array([-99.0, 99.0])) == pytest.approx([1.0, 1 / 43])
    assert comparison.least == 1 / 43


def test_a_tie_counts_against_the_image(strangers: Strangers):
    comparison = Comparison.of(strangers)
    nearest = comparison.pairs[-1]
    assert comparison.p_values(np.array([nearest]))[0] > comparison.least


def test_affinity_and_threshold_are_those_of_an_index_with_this_artist_alone(tmp_path):
    rng = np.random.default_rng(1)
    hands = [f"hand-{i // 3}" for i in range(90)]
    panel = (np.repeat(rng.normal(size=(30, 8)), 3, axis=0) + rng.normal(size=(90, 8))).astype(np.float32)
    space = fit_style_space(panel, hands)
    strangers = cross_fit(space, panel, hands)
    works = (2 * rng.normal(size=8) + rng.normal(size=(12, 8))).astype(np.float32)
    sha256s = [f"{i:064x}" for i in range(12)]
    artist = ArtistWorks("ann", "ann", sha256s, works)
    build_index(tmp_path, [artist], space=space, strangers=strangers, encoder_id="e", variant="v")
    index = open_index(tmp_path)
    style = OwnStyle.fit(style_rows(space, works), strangers)
    images = style_rows(space, rng.normal(size=(20, 8)).astype(np.float32))
    assert style.delta == pytest.approx(index.delta, abs=1e-6)
    expected = (images @ index.rows[:, :-1].T.astype(float) + index.rows[:, -1]).max(axis=1)
    assert style.affinities(images) == pytest.approx(expected, abs=1e-6)


def test_nearness_is_in_spreads_of_strangers_from_their_mean(strangers: Strangers):
    rng = np.random.default_rng(2)
    style = OwnStyle.fit(unit(rng.normal(size=(4, 5)) + 1), strangers)
    theirs = style.nearness(style.affinities(strangers.wide))
    assert theirs.mean() == pytest.approx(0, abs=1e-9)
    assert theirs.std() == pytest.approx(1, abs=1e-9)


def test_an_interval_is_wide_where_works_disagree_and_none_for_one_work(strangers: Strangers):
    rng = np.random.default_rng(3)
    direction, image = np.ones(5), unit(rng.normal(size=(1, 5)))
    alike, apart = (unit(direction + noise * rng.normal(size=(9, 5))) for noise in (0.05, 1.0))
    errors = [OwnStyle.fit(works, strangers).errors(image)[0] for works in (alike, apart, alike[:1])]
    assert 0 == errors[2] < errors[0] < 0.05 < errors[1]


def test_the_interval_is_the_spread_over_other_samples_of_works(strangers: Strangers):
    rng = np.random.default_rng(4)
    image = unit(rng.normal(size=(1, 5)))
    drawn = [unit(np.ones(5) + 0.5 * rng.normal(size=(2, 30, 5)).reshape(-1, 5))[:30] for _ in range(300)]
    centroids = [unit(works.mean(axis=0)[None])[0] for works in drawn]
    true = np.std([image[0] @ centroid for centroid in centroids])
    told = [OwnStyle.fit(works, strangers) for works in drawn[:40]]
    found = [style.errors(image)[0] for style in told if len(style.style.centroids) == 1]
    assert np.median(found) == pytest.approx(true, rel=0.25)


def test_of_two_looks_the_less_certain_counts_where_both_are_asked():
    once = Chances(*(np.array(p) for p in ([0.1, 0.2, 0.3], [0.1] * 3, [0.4] * 3, [0.5, 0.6])))
    again = Chances(*(np.array(p) for p in ([0.3, 0.1], [0.2, 0.0], [0.5, 0.1], [0.9, 0.9])))
    both = once.doubted(again, np.array([True, False, True]), np.array([False, True]))
    assert both.p.tolist() == [0.3, 0.2, 0.3]
    assert both.low.tolist() == [0.2, 0.1, 0.1]
    assert both.high.tolist() == [0.5, 0.4, 0.4]
    assert both.own.tolist() == [0.5, 0.9]


def test_what_is_like_nothing_in_the_panel_ranks_last():
    rng = np.random.default_rng(5)
    panel = np.hstack([rng.normal(size=(60, 6)), np.zeros((60, 2))]).astype(np.float32)
    kind = Kind.of(panel, hand_codes([f"{i // 2}" for i in range(60)]))
    strange = np.hstack([np.zeros((4, 6)), rng.normal(size=(4, 2))]).astype(np.float32)
    assert kind.ranks(kind.likeness(strange)) == pytest.approx([1 / 31] * 4)
    assert kind.rank_of_hand(kind.likeness(strange)) == pytest.approx(1 / 31)
    assert kind.ranks(kind.likeness(panel)).max() == 1.0
