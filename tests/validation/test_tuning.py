"""The statistics of a tuning: an identity, exact ranks, and simulated fine-tunes of every kind."""

import doctest
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import fairbrush.validation.recognition.tuning
from fairbrush.errors import ValidationError
from fairbrush.validation.recognition.tuning import (
    Effect,
    FourSets,
    Shifts,
    estimate,
    shifts_of,
    tuning_p_values,
)

STYLES, DIM, CONTENTS = 120, 64, 16
RUNS = 400
ONE_IN_A_THOUSAND = 3.1  # standard errors


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def simulated(
    rng: np.random.Generator,
    *,
    drift: float = 0.3,
    by_name: float = 0.2,
    behind: float = 0.0,
    leak: float = 0.0,
    other: float = 0.0,
    tuned: bool = True,
) -> FourSets:
    """Images as directions, styles as others, which share a few of them. Style 0 is the artist's.

    drift: how far the fine-tune moves everything; by_name: how far it moves images of the name, both in
    directions of no one's; behind, leak: to the artist, with the name alone and always; other: to style 1.
    """

    def anywhere(*shape: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = rng.normal(size=shape) / np.sqrt(DIM)
        return found

    shared = rng.normal(size=(STYLES, 8)) @ anywhere(8, DIM)
    styles = unit(anywhere(STYLES, DIM) + 0.2 * shared)
    content, name = 2 * anywhere(CONTENTS, DIM), 0.5 * anywhere(DIM)
    named = content + name + 0.5 * anywhere(CONTENTS, DIM)
    everywhere = drift * anywhere(DIM) + leak * styles[0] + other * styles[1]
    with_name = by_name * anywhere(DIM) + behind * styles[0]
    apart = 0.5 * anywhere(2, CONTENTS, DIM)
    if not tuned:
        everywhere, with_name, apart = 0.0 * everywhere, 0.0 * with_name, 0.0 * apart
    images = named, content, named + everywhere + with_name + apart[0], content + everywhere + apart[1]
    return FourSets(*(unit(rows) @ styles.T for rows in images))


def rates(seed: int = 0, **tuning: float | bool) -> dict[str, float]:
    """How often p is at or below .05, of the test and of each effect alone."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[bool]] = {name: [] for name in ("p", *Effect)}
    for _ in range(RUNS):
        p = tuning_p_values(shifts_of(simulated(rng, **tuning)), own=0, nulls=range(1, STYLES))  # type: ignore[arg-type]
        found["p"].append(p.p <= 0.05)
        for effect, value in p.of_effect.items():
            found[effect].append(value <= 0.05)
    return {name: float(np.mean(hits)) for name, hits in found.items()}


@pytest.fixture
def sets() -> FourSets:
    return simulated(np.random.default_rng(5), behind=0.5)


def test_what_the_name_gives_is_what_sits_behind_it_and_what_leaks(sets: FourSets) -> None:
    changes = sets.changes()
    together = changes[Effect.BEHIND_NAME] + changes[Effect.LEAK]
    np.testing.assert_allclose(changes[Effect.NAMED], together, atol=1e-15)
    shifts = shifts_of(sets)
    np.testing.assert_allclose(shifts.raw[0], shifts.raw[1] + shifts.raw[2], atol=1e-15)


def test_an_offset_of_a_style_or_a_content_that_all_images_share_changes_nothing(sets: FourSets) -> None:
    rng = np.random.default_rng(1)
    of_style, of_content = rng.normal(size=STYLES), rng.normal(size=(CONTENTS, 1))
    moved = FourSets(*(rows + of_style for rows in vars(sets).values()))
    np.testing.assert_allclose(shifts_of(moved).largest, shifts_of(sets).largest, atol=1e-9)
    lit = FourSets(*(rows + of_content for rows in vars(sets).values()))
    np.testing.assert_allclose(shifts_of(lit).raw, shifts_of(sets).raw, atol=1e-12)


def test_a_style_seen_through_another_scale_ranks_where_it_did(sets: FourSets) -> None:
    """A style whose cosines all vary twice as much is not first by that."""
    scale = np.ones(STYLES)
    scale[7] = 2.0
    wide = FourSets(*(rows * scale for rows in vars(sets).values()))
    np.testing.assert_allclose(shifts_of(wide).largest, shifts_of(sets).largest, atol=1e-9)


def test_no_tuning_at_all_gives_p_one() -> None:
    shifts = shifts_of(simulated(np.random.default_rng(0), tuned=False))
    found = tuning_p_values(shifts, own=0, nulls=range(1, STYLES))
    assert found.p == 1.0
    assert set(found.of_effect.values()) == {1.0}
    assert (shifts.raw == 0.0).all()


def test_what_arithmetic_alone_changes_is_no_effect() -> None:
    rng = np.random.default_rng(3)
    same = simulated(rng, tuned=False)
    shaken = [rows + 1e-7 * rng.normal(size=rows.shape) for rows in (same.tuned_named, same.tuned_unnamed)]
    shifts = shifts_of(replace(same, tuned_named=shaken[0], tuned_unnamed=shaken[1]))
    assert tuning_p_values(shifts, own=0, nulls=range(1, STYLES)).p == 1.0


def test_the_largest_effect_is_ranked_exactly() -> None:
    shifts = shifts_of(simulated(np.random.default_rng(3)))
    order = np.argsort(-shifts.largest)
    for place in (0, 1, 57, STYLES - 1):
        own = int(order[place])
        nulls = [style for style in range(STYLES) if style != own]
        assert tuning_p_values(shifts, own=own, nulls=nulls).p == (1 + place) / STYLES


def test_less_far_away_than_from_others_is_not_nearer() -> None:
    """The largest effect is below nought, though what is behind the name is above nought."""
    raw = np.array([[-0.05, -0.5, -0.5], [0.05, 0.1, 0.0], [-0.1, -0.6, -0.5]])
    shifts = Shifts(raw, np.ones(3))
    assert shifts.strongest(0) is Effect.NAMED
    assert not shifts.comes_nearer(0)
    assert shifts.strongest(1) is Effect.BEHIND_NAME
    assert shifts.comes_nearer(1)


@pytest.mark.parametrize(
    "tuning",
    [{"drift": 0.3}, {"drift": 3.0}, {"drift": 0.1, "by_name": 2.0}, {"other": 0.6}],
    ids=["a little of everything", "everything", "everything that is named", "somebody else"],
)
def test_an_artist_it_was_not_tuned_on_is_found_no_more_often_than_the_level(
    tuning: dict[str, float],
) -> None:
    most = 0.05 + ONE_IN_A_THOUSAND * np.sqrt(0.05 * 0.95 / RUNS)
    found = rates(**tuning)
    assert all(rate <= most for rate in found.values()), found


def test_tuning_behind_the_name_is_found_however_much_else_changed() -> None:
    found = rates(behind=0.4, drift=2.0)
    assert found["p"] > 0.95
    assert found[Effect.BEHIND_NAME] > 0.95
    assert found[Effect.NAMED] < 0.8  # lost in what the tuning does to every image
    assert found[Effect.LEAK] < 0.1


def test_tuning_that_leaks_is_found_however_much_else_the_name_does() -> None:
    found = rates(leak=0.4, by_name=2.0)
    assert found["p"] > 0.95
    assert found[Effect.LEAK] > 0.95
    assert found[Effect.NAMED] < 0.8
    assert found[Effect.BEHIND_NAME] < 0.1


def test_a_test_over_contents_would_find_a_tuning_on_nobody() -> None:
    """Why contents are not the units: all of them are moved in the same way, to whatever lies there."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        change = simulated(rng, drift=1.0).changes()[Effect.NAMED][:, 0]
        t = change.mean() / (change.std(ddof=1) / np.sqrt(CONTENTS))
        found += t > 1.753  # Student's t, 15 degrees of freedom, one-sided 5 %
    assert found > 25


def test_the_interval_covers_the_mean_effect_of_contents() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(RUNS):
        found = estimate(rng.normal(0.3, 1.0, size=CONTENTS), rng=rng)
        covered += found.low <= 0.3 <= found.high
    assert abs(covered / RUNS - 0.94) < 0.035


def test_nobody_else_is_no_null(sets: FourSets) -> None:
    shifts = shifts_of(sets)
    for nulls in ([], [0, 1]):
        with pytest.raises(ValidationError, match="compared with other people's"):
            tuning_p_values(shifts, own=0, nulls=nulls)


def test_a_model_that_draws_one_image_whatever_it_is_asked_is_refused(sets: FourSets) -> None:
    flat = np.ones_like(sets.base_unnamed)
    with pytest.raises(ValidationError, match="all contents look alike"):
        shifts_of(replace(sets, base_unnamed=flat))


def test_the_examples_in_the_module_run() -> None:
    assert doctest.testmod(fairbrush.validation.recognition.tuning).failed == 0
