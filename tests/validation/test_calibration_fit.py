"""The fit of a calibration: what data were made with is found again, and no artist is on both sides."""

import doctest
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fairbrush.choosing import mix_inputs, nearest_inputs
from fairbrush.domain import Hit, Value
from fairbrush.errors import CalibrationError
from fairbrush.playing import GameInputs, Player, coalition_worths
from fairbrush.style.calibration import Isotonic, Power
from fairbrush.validation.calibration import fit
from fairbrush.validation.calibration.answers import Change, Shares, mis_paid, shares_of, singleton_worths
from fairbrush.validation.calibration.evidence import Measured
from fairbrush.validation.calibration.fit import (
    GAMMAS,
    Pairs,
    admissible,
    choose,
    isotonic_map,
    losses_on_grid,
    pairs_of,
    pooled_part,
)
from fairbrush.validation.calibration.leave_out import apart, clustered_mean, clusters_of, leave_out
from fairbrush.validation.measured import compare

DELTA = 0.3
SHIFTS = (0.0, 0.05, -0.05, -0.15)
IMAGES = 60
ARTISTS = 40


@pytest.mark.parametrize("name", ["evidence", "answers", "fit", "leave_out"])
def test_the_examples_hold(name: str) -> None:
    assert doctest.testmod(import_module(f"fairbrush.validation.calibration.{name}")).failed == 0


@dataclass(frozen=True, eq=False)
class Near:
    """Fast answers of affinities that are given: float64 (n_images, ARTISTS); ``centred`` changes nothing."""

    z: NDArray[np.float64]

    def game(self, image: int, *, shift: float, centred: bool) -> GameInputs:
        order = np.argsort(-self.z[image])
        players = [
            Player(Hit(f"a{n}", float(z := self.z[image, n]) + 0.1, z), f"c{n}") for n in order.tolist()
        ]
        return nearest_inputs(players, delta=DELTA + shift, recognised=1.0, eligible_count=ARTISTS)

    def shares(self, image: int, change: Change, *, by: Power | Isotonic | None = None) -> Shares:
        return shares_of(self.game(image, shift=change.shift, centred=False), by or Power(change.gamma))


def near(images: int, rng: np.random.Generator) -> Near:
    """Three artists an image that come near, the others do not."""
    z = rng.uniform(-0.3, 0.0, (images, ARTISTS))
    for row in z:
        row[rng.choice(ARTISTS, 3, replace=False)] = rng.uniform(0.0, 0.6, 3)
    return Near(z)


def grid(*, centred: Sequence[bool] = (False,)) -> tuple[Change, ...]:
    changes = [Change(s, g, c, level=0.05 - s) for s in SHIFTS for g in GAMMAS for c in centred]
    return tuple(sorted(changes, key=lambda change: change.size))


def noisy(shares: Shares, rng: np.random.Generator) -> Shares:
    """What a regeneration with noise of its own would measure."""
    if not shares:
        return {}
    drawn = rng.dirichlet(np.array(list(shares.values())) * 400 + 1e-3)
    return dict(zip(shares, drawn.tolist(), strict=True))


def players(answers: Near) -> list[set[str]]:
    return [{f"c{n}" for n in np.flatnonzero(row > 0.0)} for row in answers.z]


# ------------------------------------------------------------------ the fit


@pytest.mark.parametrize(("shift", "gamma"), [(-0.15, 2.0), (-0.05, 0.5), (0.05, 1.0)])
def test_the_shift_and_the_power_that_data_were_made_with_are_found_again(shift: float, gamma: float) -> None:
    rng = np.random.default_rng(0)
    answers, changes = near(IMAGES, rng), grid()
    truth = Change(shift, gamma, False, 0.0)
    targets = [noisy(answers.shares(image, truth), rng) for image in range(IMAGES)]
    losses = losses_on_grid(answers, targets, changes)
    everything = np.ones(len(changes), bool)
    found = changes[choose(losses, everything)]
    assert (found.shift, found.gamma) == (shift, gamma)
    crossed = leave_out(losses, apart(players(answers)), everything, least=5)
    assert crossed.predicted.all()
    predicted = losses[np.arange(IMAGES), crossed.chosen].mean()
    assert predicted == pytest.approx(losses.mean(axis=0).min(), rel=0.1)
    assert predicted <= losses[:, 0].mean()


def test_where_nothing_is_to_be_gained_nothing_is_changed() -> None:
    rng = np.random.default_rng(1)
    answers, changes = near(20, rng), grid(centred=(False, True))
    targets = [answers.shares(image, changes[0]) for image in range(20)]
    losses = losses_on_grid(answers, targets, changes)
    assert changes[0] == Change(0.0, 1.0, False, 0.05)
    assert choose(losses, np.ones(len(changes), bool)) == 0
    # nobody is ever credited, measured or not: all changes are equally good
    assert choose(np.zeros((9, len(changes))), np.ones(len(changes), bool)) == 0


def test_what_a_single_image_gains_is_not_worth_a_change() -> None:
    rng = np.random.default_rng(6)
    losses = np.repeat(rng.uniform(size=(30, 1)), 4, axis=1)
    losses[0, 2] -= 0.5
    assert choose(losses, np.ones(4, bool)) == 0
    losses[1:15, 3] -= 0.1
    assert choose(losses, np.ones(4, bool)) == 3


def test_false_credit_bounds_how_far_the_threshold_may_fall() -> None:
    changes = grid()
    allowed = admissible(changes, most_false_credit=0.12)
    assert {changes[n].shift for n in np.flatnonzero(allowed)} == {0.0, 0.05, -0.05}
    # the losses want -0.2
    losses = np.array([[abs(change.shift + 0.15) for change in changes]] * 3)
    assert changes[choose(losses, allowed)].shift == -0.05
    assert changes[choose(losses, admissible(changes, most_false_credit=0.0))].shift == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5), st.lists(st.floats(0.0, 1.0), min_size=5))
def test_losses_are_those_that_a_validation_states(fast: list[float], measured: list[float]) -> None:
    sides = [np.array(side[: len(fast)]) for side in (fast, measured)]
    shares = [side / side.sum() if side.sum() > 0.01 else None for side in sides]
    named = [{} if s is None else {f"c{n}": float(x) for n, x in enumerate(s)} for s in shares]
    assert mis_paid(*named) == pytest.approx(compare(*shares).mis_paid, abs=1e-12)
    assert mis_paid({"stranger": 1.0}, named[1]) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [Value.NEAREST, Value.BLEND])
def test_a_singletons_worth_is_the_games_own(value: Value) -> None:
    hits = [Player(Hit(f"a{n}", z + 0.1, z), f"c{n}") for n, z in enumerate([0.6, 0.5, 0.35])]
    if value is Value.NEAREST:
        game = nearest_inputs(hits, delta=DELTA, recognised=1.0, eligible_count=3)
    else:
        bounds = {"delta": DELTA, "entry": 0.2, "recognised": 1.0, "eligible_count": 3, "artists_part": 0.5}
        game = mix_inputs(value, hits, np.full((3, 3), 0.2) + 0.8 * np.eye(3), **bounds)
    worths = singleton_worths(game)
    parts = coalition_worths(game, [[place] for place in range(len(game.players))])
    assert len(worths) == len(game.players) > 1
    ratios = [worths[one.creator_id] / part for one, part in zip(game.players, parts, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-9)


# ------------------------------------------------------------------ an isotonic map


def test_an_isotonic_map_follows_the_curve_that_pairs_were_made_with() -> None:
    rng = np.random.default_rng(2)
    fast = rng.uniform(0.0, 1.0, fit.LEAST_PAIRS)
    measured = fast**2 + rng.normal(0.0, 0.1, len(fast))
    found = isotonic_map(Pairs(fast, measured, np.ones(len(fast)), np.zeros(len(fast), np.intp)))
    assert found is not None
    at = np.linspace(0.1, 0.9, 17)
    assert np.abs(found(at) - at**2).max() < 0.1
    assert (np.diff(found(np.linspace(0.0, 1.0, 200))) >= 0.0).all()
    assert found(np.zeros(1)).tolist() == [0.0]


def test_pairs_of_sure_images_weigh_more() -> None:
    pairs = Pairs(np.array([0.2, 0.2]), np.array([1.0, 0.0]), np.array([3.0, 1.0]), np.array([0, 1]))
    assert isotonic_map(pairs) == Isotonic(((0.0, 0.0), (0.2, 0.75)))
    assert isotonic_map(pairs.of(np.array([False, True]))) is None
    assert isotonic_map(pairs.of(np.array([False, False]))) is None


def test_pairs_leave_out_who_is_worth_nothing_and_images_without_a_clear_whole() -> None:
    answers = Near(np.full((2, ARTISTS), -0.3))
    answers.z[:, :2] = [[0.5, 0.1], [0.4, 0.1]]
    singles = {"c0": 0.75, "c1": 0.5}
    readings = [Measured("", {}, singles, weight, None, False) for weight in (0.25, 0.0)]
    pairs = pairs_of(answers, readings, Change(0.0, 1.0, False, 0.05))
    assert (pairs.fast.round(12).tolist(), pairs.measured.tolist()) == ([0.2], [0.75])
    assert (pairs.weight.tolist(), pairs.image.tolist()) == ([0.25], [0])


def test_without_scipy_an_isotonic_map_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    with pytest.raises(CalibrationError, match="needs scipy") as refused:
        isotonic_map(Pairs(*(np.ones(1),) * 3, np.zeros(1, np.intp)))
    assert refused.value.next_step == 'pip install "fairbrush[validate]"'


# ------------------------------------------------------------------ the content part


def test_the_error_of_b_covers_it_as_often_as_it_says() -> None:
    rng, b, hit = np.random.default_rng(3), 0.4, 0
    for _ in range(400):
        whole = rng.uniform(0.1, 0.5, 40)
        alone = b * whole + rng.normal(0.0, 0.1, 40)
        part = pooled_part(
            [Measured("", {}, {}, 0.0, pair, False) for pair in zip(alone, whole, strict=True)]
        )
        assert part.b is not None
        assert part.error is not None
        hit += abs(part.b - b) <= 1.96 * part.error
    assert 0.92 <= hit / 400 <= 0.98


def test_b_is_undefined_where_contents_are_not_clearly_drawn() -> None:
    rng = np.random.default_rng(4)
    of_noise = [Measured("", {}, {}, 0.0, (x, y), False) for x, y in rng.normal(0.0, 0.1, (30, 2)).tolist()]
    without = Measured("", {}, {}, 0.0, None, False)
    part = pooled_part([*of_noise, without])
    assert (part.b, part.error, part.images, part.defined) == (None, None, 30, 0)
    assert pooled_part([Measured("", {}, {}, 0.0, (0.1, 0.2), True)]).b is None


# ------------------------------------------------------------------ cross-validation

PLAYED = st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=3), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(PLAYED, st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_no_image_of_a_fit_shares_an_artist_with_the_image_it_predicts(
    played: list[set[str]], seed: int, least: int
) -> None:
    rng = np.random.default_rng(seed)
    losses, allowed = rng.uniform(size=(len(played), 7)), rng.uniform(size=7) < 0.7
    allowed[0] = True
    found = leave_out(losses, apart(played), allowed, least=least)
    for image, mine in enumerate(played):
        others = [at for at, theirs in enumerate(played) if at != image and not mine & theirs]
        assert found.trained_on[image] == len(others)
        if len(others) < least:
            assert found.chosen[image] == -1
            continue
        # fitted anew on the others alone
        refitted = choose(losses[others], allowed)
        assert found.chosen[image] == refitted
        # whatever the images that share an artist say, the fit stays
        elsewhere = [at for at in range(len(played)) if at not in others]
        changed = losses.copy()
        changed[elsewhere] = rng.uniform(size=(len(elsewhere), 7))
        assert leave_out(changed, apart(played), allowed, least=least).chosen[image] == refitted


def test_intervals_cover_a_mean_of_images_that_hang_together_by_artist() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(100):
        of_artist = rng.normal(0.0, 0.2, 30)
        values = np.repeat(of_artist, 4) + rng.normal(0.3, 0.1, 120)
        found = clustered_mean(values, [n // 4 for n in range(120)], rng=rng)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 <= covered / 100 <= 0.99


def test_an_image_is_its_largest_creators_and_nobodys_stands_alone() -> None:
    assert clusters_of([{"b": 0.5, "a": 0.5}, {"c": 1.0}, {}], ["x", "y", "z"]) == ["a", "c", "image z"]
    one = clustered_mean(np.array([0.5, 0.25]), ["a", "a"], rng=np.random.default_rng(0))
    assert one.mean == 0.375
    assert np.isnan([one.low, one.high]).all()
