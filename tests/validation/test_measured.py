"""The measured game: oracles for its split, simulations for its standard errors."""

import doctest

import numpy as np
import pytest
from game.oracles import FEW, Listed, by_orderings, unions_stay_together
from hypothesis import given
from hypothesis import strategies as st

import fairbrush.validation.measured
from fairbrush.errors import ValidationError
from fairbrush.game.owen import owen_by_enumeration
from fairbrush.validation.measured import (
    Agreement,
    Measurement,
    compare,
    content_part,
    exact_split,
    normalised_shares,
    owen_with_model,
)


def listed(table):
    """The game of a row of worths by code."""
    players = len(table).bit_length() - 1
    return Listed(players, lambda coalition: table[sum(1 << player for player in coalition)])


def measurement(creators, seeds, *, rng):
    similarities = rng.normal(0.2, 0.1, (2 << creators, seeds))
    return Measurement(creators, np.arange(2 << creators), similarities)


def of_content(alone, whole):
    """One creator; alone, whole: float (n_seeds,), the worths of the model and of all."""
    nothing = np.full(len(alone), 0.1)
    return Measurement(1, np.array([0, 1, 3]), np.stack([nothing, nothing + alone, nothing + whole]))


@given(st.integers(1, 6), st.integers(0, 10**6))
@FEW
def test_the_split_is_the_owen_value_with_the_model_and_the_creators_as_unions(creators, seed):
    table = np.random.default_rng(seed).normal(0, 1, 2 << creators)  # negative, not monotone
    table[0] = 0.0
    phi = owen_with_model(table[None])[0]
    expected = owen_by_enumeration(listed(table), ["model"] + ["creators"] * creators)
    np.testing.assert_allclose(phi, expected, atol=1e-12)
    assert phi.sum() == pytest.approx(table[-1], abs=1e-12)


def test_the_split_is_the_average_over_orders_with_the_model_first_or_last():
    table = np.random.default_rng(3).normal(0, 1, 16)
    table[0] = 0.0
    expected = by_orderings(4, listed(table).of, unions_stay_together("mccc"))
    np.testing.assert_allclose(owen_with_model(table[None])[0], expected, atol=1e-12)


def test_without_creators_the_model_has_it_all():
    assert owen_with_model(np.array([[0.0, 0.3]])).tolist() == [[0.3]]


def test_an_additive_game_pays_everybody_what_they_add():
    codes = np.arange(16)
    adds = np.array([0.4, 0.3, -0.1, 0.1])
    worths = ((codes[:, None] >> np.arange(4)) & 1) @ adds
    image = Measurement(3, codes, np.stack([worths + 0.2, worths + 0.3], axis=1))
    split = exact_split(image)
    np.testing.assert_allclose(split.phi, adds, atol=1e-12)
    np.testing.assert_allclose(split.shares, [0.75, 0.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(split.phi_error, 0.0, atol=1e-12)
    assert (split.seeds, split.orders) == (2, None)


def test_the_empty_prompt_is_taken_off_seed_by_seed():
    image = measurement(2, 5, rng=np.random.default_rng(0))
    shifted = Measurement(2, image.coalitions, image.similarities + np.arange(5.0))
    np.testing.assert_allclose(exact_split(shifted).phi, exact_split(image).phi, atol=1e-12)
    np.testing.assert_allclose(exact_split(shifted).phi_error, exact_split(image).phi_error, atol=1e-12)


def test_the_split_of_many_seeds_is_the_split_of_their_mean():
    image = measurement(3, 7, rng=np.random.default_rng(1))
    mean = Measurement(3, image.coalitions, image.similarities.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(exact_split(image).phi, exact_split(mean).phi, atol=1e-12)


def test_one_seed_tells_no_standard_error():
    split = exact_split(measurement(2, 1, rng=np.random.default_rng(0)))
    assert split.phi_error is None
    assert split.share_error is None
    assert split.seeds == 1
    part = content_part(of_content(np.array([0.2]), np.array([0.4])))
    assert (part.b, part.standard_error, part.whole_error, part.seeds) == (
        pytest.approx(0.5),
        None,
        None,
        1,
    )
    assert content_part(of_content(np.array([0.2]), np.array([-0.4]))).b is None


def test_nobodys_shares_are_undefined():
    assert normalised_shares(np.array([0.5, 0.0, -0.1])) is None
    assert normalised_shares(np.array([0.5])) is None


def test_shares_that_hang_on_one_seed_have_no_standard_error():
    codes = np.arange(4)
    worths = np.array([[0, 0, 0], [0, 0, 0], [-1, -1, 5], [-1, -1, 5]], float)
    split = exact_split(Measurement(1, codes, worths))
    assert split.shares.tolist() == [1.0]
    assert split.phi_error is not None
    assert split.share_error is None


def test_errors_over_seeds_are_what_other_seeds_would_have_given():
    rng = np.random.default_rng(5)
    mean = rng.normal(0.2, 0.1, (16, 1))
    mean[0], mean[-1] = 0.0, 0.8
    splits = [
        exact_split(Measurement(3, np.arange(16), mean + rng.normal(0, 0.05, (16, 12)))) for _ in range(1500)
    ]
    for true, told in [
        (np.std([s.phi for s in splits], axis=0), np.sqrt(np.mean([s.phi_error**2 for s in splits], axis=0))),
        (
            np.std([s.shares for s in splits], axis=0),
            np.sqrt(np.mean([s.share_error**2 for s in splits], axis=0)),
        ),
    ]:
        np.testing.assert_allclose(told, true, rtol=0.1)


def test_the_contents_error_is_what_other_seeds_would_have_given():
    rng = np.random.default_rng(6)
    covariance = [[0.01, 0.006], [0.006, 0.02]]
    parts = [
        content_part(of_content(*rng.multivariate_normal([0.3, 0.5], covariance, 20).T)) for _ in range(3000)
    ]
    true = np.std([part.ratio for part in parts])
    assert np.sqrt(np.mean([part.standard_error**2 for part in parts])) == pytest.approx(true, rel=0.07)
    covered = [abs(part.ratio - 0.6) <= 2.09 * part.standard_error for part in parts]  # t, 19 degrees
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_content_is_undefined_where_the_whole_prompt_may_be_worth_nothing():
    spread = np.array([-1.0, 1.0, -1.0, 1.0])  # standard error of the mean: 1 / sqrt(3)
    alone = np.full(4, 0.1)
    beyond = 2 / 3**0.5
    below, above = (
        content_part(of_content(alone, beyond - 0.01 + spread)),
        content_part(of_content(alone, beyond + 0.01 + spread)),
    )
    assert (below.b, below.ratio, below.standard_error) == (None, None, None)
    assert below.whole_error == pytest.approx(3**-0.5)
    assert above.b == pytest.approx(0.1 / (beyond + 0.01))
    assert content_part(of_content(alone, np.full(4, -0.5))).b is None
    assert content_part(of_content(alone, np.zeros(4))).b is None


@pytest.mark.parametrize(("alone", "b"), [(0.7, 1.0), (-0.2, 0.0), (0.25, 0.5), (0.0, 0.0), (0.5, 1.0)])
def test_content_is_kept_within_0_and_1_and_says_so(alone, b):
    part = content_part(of_content(np.array([alone, alone]), np.array([0.5, 0.5])))
    assert part.b == pytest.approx(b, abs=1e-12)
    assert part.ratio == pytest.approx(alone / 0.5, abs=1e-12)
    assert part.clipped == (alone in (0.7, -0.2))


def test_a_coalition_that_was_not_measured_is_missed():
    with pytest.raises(ValidationError, match="5 coalitions were not measured, the first of code 10"):
        exact_split(Measurement(2, np.array([0, 1, 7]), np.zeros((3, 2))))


def test_similarities_that_are_no_numbers_or_of_no_seed_are_refused():
    with pytest.raises(ValidationError, match="Coalition 11, seed number 1: its similarity is nan"):
        Measurement(1, np.array([0, 3]), np.array([[0.0, 0.0], [0.0, np.nan]]))
    for shape in [(2, 0), (3, 1), (2,)]:
        with pytest.raises(ValidationError, match="one seed or more"):
            Measurement(1, np.array([0, 3]), np.zeros(shape))


@pytest.mark.parametrize(
    ("fast", "measured", "agreement"),
    [
        ([1.0], [1.0], Agreement(0.0, None, True)),
        ([0.75, 0.25], [0.75, 0.25], Agreement(0.0, 1.0, True)),
        ([0.75, 0.25], [0.25, 0.75], Agreement(0.5, -1.0, False)),
        ([1.0, 0.0], [0.0, 1.0], Agreement(1.0, -1.0, False)),
        ([0.5, 0.5], [0.25, 0.75], Agreement(0.25, None, True)),
        # pairs: one in order, none reversed, two tied on one side
        ([0.5, 0.5, 0.0], [0.5, 0.25, 0.25], Agreement(0.25, 0.5, True)),
        (None, [0.5, 0.5], Agreement(1.0, None, None)),
        ([1.0], None, Agreement(1.0, None, None)),
        (None, None, Agreement(0.0, None, None)),
    ],
)
def test_two_sides_agree_as_far_as_a_reader_would_say(fast, measured, agreement):
    assert compare(fast, measured) == agreement


SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), min_size=2, max_size=7)


@given(SHARES, st.integers(0, 10**6))
@FEW
def test_agreement_is_symmetric_and_does_not_hang_on_the_order_of_creators(parts, seed):
    a = np.array(parts) + (0 if sum(parts) else 1)
    rng = np.random.default_rng(seed)
    b, order = rng.permutation(a), rng.permutation(len(a))
    a, b = a / a.sum(), b / b.sum()
    agreement, turned, mixed = compare(a, b), compare(b, a), compare(a[order], b[order])
    assert agreement == turned
    assert mixed.mis_paid == pytest.approx(agreement.mis_paid, abs=1e-12)
    assert mixed.top_agrees == agreement.top_agrees
    assert mixed.rank_correlation == pytest.approx(agreement.rank_correlation, abs=1e-12)
    assert 0.0 <= agreement.mis_paid <= 1.0
    assert compare(a, a).mis_paid == 0.0


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.4], [1.5, -0.5], [0.0, 0.0], [[0.5, 0.5]], [np.nan, 1.0]])
def test_what_are_no_normalised_shares_are_not_compared(shares):
    with pytest.raises(ValidationError, match="sum to 1"):
        compare(shares, [0.5, 0.5])


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(fairbrush.validation.measured).failed == 0


def test_mis_paid_is_never_above_one_by_rounding() -> None:
    parts = np.array([0.06693749323482857, 0.0, 0.0, 0.09375, 5.6202859089231483e-05, 0.0, 0.0])
    other = np.random.default_rng(0).permutation(parts)
    assert compare(parts / parts.sum(), other / other.sum()).mis_paid == 1.0
