"""What a budget buys is said beforehand, and comes true."""

import doctest
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import fairbrush.validation.audit.bands as bands
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.bands import BANDS, Band, plan_precision, size_bands
from simulate_audit import Fast, audits, world


def names(totals: list[float]) -> list[str]:
    return [BANDS[code].value for code in size_bands(totals)]


def test_large_are_the_fewest_with_half_of_the_money_middle_those_up_to_nine_tenths() -> None:
    assert names([30.0, 30.0, 25.0, 10.0, 5.0]) == ["large", "large", "middle", "middle", "small"]
    assert names([1.0]) == ["large"]


def test_who_has_nothing_is_uncredited_even_where_nobody_has_anything() -> None:
    assert names([0.0, 0.0]) == ["uncredited", "uncredited"]


def test_a_plan_is_as_wide_as_the_audit_then_is() -> None:
    rng = np.random.default_rng(0)
    of = world(Fast.NOISE, rng, images=1_000, creators=40)
    codes = size_bands(of.fast.totals(of.revenue)[:-1])
    for n in (100, 400):
        found = audits(of, n, 40, rng)
        plan = {one.band: one for one in plan_precision(of.revenue, of.fast, n, kappa=found.kappa)}
        large = np.median(found.width[:-1][codes == 0])
        assert plan[Band.LARGE].half_width / of.revenue.sum() == pytest.approx(large, rel=0.2)


def test_four_times_the_draws_halve_the_width() -> None:
    of = world(Fast.NOISE, np.random.default_rng(1), images=300, creators=40)
    few, many = (plan_precision(of.revenue, of.fast, n) for n in (100, 400))
    for one, other in zip(few, many, strict=True):
        if one.band is not Band.UNCREDITED:
            assert other.half_width == pytest.approx(one.half_width / 2)
        assert (one.band, one.creators, one.fast) == (other.band, other.creators, other.fast)
        assert other.expected_draws == pytest.approx(4 * one.expected_draws)


def test_a_plan_without_draws_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one image"):
        plan_precision([1.0], [[1.0, 0.0]], 0)


def test_examples_run() -> None:
    assert doctest.testmod(bands).failed == 0
