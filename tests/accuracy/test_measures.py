"""Scores of a split, against values worked out by hand; intervals, against what they promise."""

import math

import numpy as np
import pytest

from fairbrush.accuracy.measures import Resampling, score_split

HALVES = {"Ann": 0.5, "Bo": 0.5}


def test_the_right_split_is_not_wrong() -> None:
    score = score_split(HALVES, HALVES)
    assert (score.mispaid, score.mispaid_paid, score.to_wrong, score.unattributed) == (0, 0, 0, 0)


def test_winner_takes_all_mispays_the_others_share() -> None:
    score = score_split({"Ann": 1.0}, {"Ann": 0.7, "Bo": 0.3})
    assert (score.mispaid, score.mispaid_paid, score.to_wrong) == (0.3, 0.3, 0.3)


def test_paying_nobody_is_charged() -> None:
    score = score_split({}, HALVES)
    assert (score.mispaid, score.unattributed, score.to_wrong, score.credits) == (1, 1, 0, 0)
    assert math.isnan(score.mispaid_paid)


def test_paying_half_of_what_is_due_mispays_half_and_its_proportions_are_right() -> None:
    score = score_split({"Ann": 0.25, "Bo": 0.25}, HALVES)
    assert (score.mispaid, score.mispaid_paid, score.to_wrong) == (0.5, 0, 0)


def test_an_unknown_image_is_due_to_nobody() -> None:
    assert score_split({}, {}).mispaid == 0
    assert score_split({"Ann": 0.4}, {}).mispaid == 0.4


def test_each_artist_counts_once_however_many_images_there_are() -> None:
    clusters = [("Ann",)] * 9 + [("Bo",)]
    estimate = Resampling(clusters, seed=0).estimate(np.array([1.0] * 9 + [0.0]))
    assert (estimate.mean, estimate.images, estimate.groups) == (0.5, 10, 2)


def test_each_image_counts_where_the_definition_says_so() -> None:
    clusters = [("Ann",)] * 9 + [("Bo",)]
    estimate = Resampling(clusters, seed=0, each_image_counts=True).estimate(np.array([1.0] * 9 + [0.0]))
    assert estimate.mean == 0.9
    assert (estimate.low, estimate.high) == (0, 1)


def test_an_image_without_a_score_is_left_out() -> None:
    estimate = Resampling([("Ann",), ("Bo",)], seed=0).estimate(np.array([0.25, math.nan]))
    assert (estimate.mean, estimate.images, estimate.groups) == (0.25, 1, 1)
    assert math.isnan(estimate.low)


def test_the_interval_over_artists_covers_as_promised() -> None:
    rng = np.random.default_rng(1)
    clusters = [(f"a{i // 5}",) for i in range(200)]
    covered = 0
    for seed in range(200):
        values = np.repeat(rng.normal(size=40), 5) + 0.1 * rng.normal(size=200)
        estimate = Resampling(clusters, seed=seed).estimate(values)
        covered += estimate.low <= 0 <= estimate.high
    assert 0.90 <= covered / 200 <= 0.98  # a percentile interval of 40 artists is a little short


def test_a_ratio_of_the_same_scores_is_one_and_has_no_width() -> None:
    values = np.random.default_rng(0).uniform(1, 2, size=12)
    pairs = [(f"a{i % 4}", f"a{(i + 1) % 4}") for i in range(12)]
    ratio = Resampling(pairs, seed=0).ratio(values, values)
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((1, 1, 1))
