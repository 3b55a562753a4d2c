"""Sparse shares say what dense ones would."""

import doctest

import numpy as np
import pytest

import fairbrush.validation.audit.shares as shares
from fairbrush.errors import ValidationError
from fairbrush.validation.audit.shares import Shares, difference, mis_paid


def table(seed: int, images: int, columns: int) -> np.ndarray:
    """Rows that sum to 1, half of their entries 0."""
    rng = np.random.default_rng(seed)
    parts = rng.random((images, columns)) * (rng.random((images, columns)) < 0.5)
    parts[:, -1] += 1e-3
    return parts / parts.sum(axis=1, keepdims=True)


def dense(sparse: Shares) -> np.ndarray:
    found = np.zeros(sparse.shape)
    found[sparse.rows, sparse.columns] = sparse.parts
    return found


def test_rows_taken_twice_and_out_of_order_are_those_of_the_dense_table() -> None:
    full, positions = table(0, 6, 4), np.array([5, 0, 0, 3])
    np.testing.assert_array_equal(dense(Shares.of(full).take(positions)), full[positions])


def test_sums_powers_and_sizes_are_those_of_the_dense_table() -> None:
    a, b, weights = table(1, 5, 4), table(2, 5, 4), np.arange(5.0)
    apart = difference(Shares.of(a), Shares.of(b))
    np.testing.assert_allclose(apart.totals(weights), weights @ (a - b), atol=1e-12)
    np.testing.assert_allclose(apart.totals(weights, power=4), weights @ (a - b) ** 4, atol=1e-12)
    np.testing.assert_allclose(apart.totals(weights, size=True), weights @ np.abs(a - b), atol=1e-12)


def test_groups_add_up_their_creators_and_leave_nobody_alone() -> None:
    full = table(3, 5, 4)
    expected = np.stack([full[:, 1], full[:, 0] + full[:, 2], full[:, 3]], axis=1)
    np.testing.assert_allclose(dense(Shares.of(full).grouped([1, 0, 1])), expected, atol=1e-15)


def test_mis_paid_money_is_what_changes_hands() -> None:
    fast = Shares.of([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    measured = Shares.of([[0.0, 0.75, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert mis_paid(measured, fast).tolist() == [1.0, 0.0, 1.0]


def test_parts_given_twice_are_added_and_order_does_not_matter() -> None:
    found = Shares.of_triplets([1, 0, 0, 1], [0, 1, 1, 2], [0.5, 0.75, 0.25, 0.5], shape=(2, 3))
    assert dense(found).tolist() == [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [0.0, 0.0], [np.nan, 1.0]])
def test_an_image_whose_shares_are_no_shares_is_named(row: list[float]) -> None:
    with pytest.raises(ValidationError, match="row 1 of 2"):
        Shares.of([[1.0, 0.0], row])


@pytest.mark.parametrize("groups", [[0], [0, 1, 2], [-1, 0]])
def test_groups_that_miss_a_creator_are_refused(groups: list[int]) -> None:
    with pytest.raises(ValidationError, match="group each"):
        Shares.of([[0.5, 0.25, 0.25]]).grouped(groups)


def test_examples_run() -> None:
    assert doctest.testmod(shares).failed == 0
