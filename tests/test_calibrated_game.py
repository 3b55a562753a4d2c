"""One image's game under a calibration: exact, in the record to the last bit, and the old one for gamma 1."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from calibrations import MAPS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_playing import DELTA, ENTRY, STYLE_ONLY, candidates, inputs_of, shares, unit
from test_uncertainty import found, style_of, works_of

from fairbrush.chain.canonical import canonical_json
from fairbrush.choosing import mix_inputs, nearest_inputs
from fairbrush.domain import Value
from fairbrush.game.shares import E12
from fairbrush.ledger.policy import Policy
from fairbrush.playing import coalition_worths, from_text, play, to_text, veto_part
from fairbrush.style.calibration import CALIBRATED_VALUES, Isotonic, Power

VALUES = st.sampled_from(CALIBRATED_VALUES)
BENT = Isotonic(((0.0, 0.0), (0.4, 0.1), (1.0, 1.0)))
NOTHING = Isotonic(((0.0, 0.0), (2.0, 0.0), (3.0, 1.0)))


def world(seed: int, artists: int = 5, entries_of_one: int = 1):
    """An image, centroids near it, and whose each is; the first creator has several entries."""
    rng = np.random.default_rng(seed)
    centroids = unit(rng.normal(size=(artists, 8)) + 0.6)
    image = unit(centroids[:3].T @ rng.random(3) + 0.1 * rng.normal(size=8))
    creators = ["c0"] * entries_of_one + [f"c{n}" for n in range(1, artists - entries_of_one + 1)]
    return image, centroids, creators


@given(VALUES, MAPS, st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_shares_sum_to_10_12_and_the_record_gives_them_again(value, worth_map, seed, entries):
    game = replace(inputs_of(value, *world(seed, entries_of_one=entries)), affinity_map=worth_map)
    policy = Policy(b="0.3", w="0.8")
    split = play(game, policy).split
    assert split.model_e12 + split.unattributed_e12 + sum(split.artists_e12) == E12
    assert min(split.artists_e12, default=0) >= 0
    document = json.loads(canonical_json(to_text(game)))
    again = from_text(value, document, game.certificate)
    assert again == game
    assert play(again, policy) == play(game, policy)
    assert 0.0 <= veto_part(game) <= 1.0


@given(VALUES, st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_gamma_1_gives_the_same_shares_bit_for_bit(value, seed, entries):
    plain = inputs_of(value, *world(seed, entries_of_one=entries))
    mapped = replace(plain, affinity_map=Power(1.0))
    assert play(mapped, STYLE_ONLY) == play(plain, STYLE_ONLY)
    coalitions = [[n] for n in range(len(plain.players))]
    assert coalition_worths(mapped, coalitions) == coalition_worths(plain, coalitions)
    assert veto_part(mapped) == veto_part(plain)


@pytest.mark.parametrize("value", CALIBRATED_VALUES)
def test_a_body_without_a_map_is_what_it_was(value):
    plain = inputs_of(value, *world(3))
    document = to_text(plain)
    assert "affinity_map" not in document
    assert from_text(value, document, plain.certificate).affinity_map is None
    mapped = to_text(replace(plain, affinity_map=Power(0.7)))
    assert mapped.pop("affinity_map") == {"kind": "power", "gamma": "0.7"}
    assert canonical_json(mapped) == canonical_json(document)


@given(VALUES, MAPS, st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_creator_who_splits_works_over_entries_changes_nothing(value, worth_map, seed):
    """Works are pooled by creator, so entries have one centroid; three of them are paid as one was."""
    image, centroids, creators = world(seed)
    once = replace(inputs_of(value, image, centroids, creators), affinity_map=worth_map)
    split = np.vstack([centroids, centroids[:1], centroids[:1]])
    thrice = inputs_of(value, image, split, [*creators, creators[0], creators[0]])
    thrice = replace(thrice, affinity_map=worth_map)

    def paid(game):
        total: dict[str, Fraction] = {}
        played = play(game, STYLE_ONLY)
        for player, share in zip(game.players, played.split.artists_e12, strict=True):
            total[player.creator_id] = total.get(player.creator_id, Fraction(0)) + share
        return total

    before, after = paid(once), paid(thrice)
    assert before.keys() == after.keys()
    assert all(abs(before[name] - after[name]) <= 3 + 1e-9 * E12 for name in before)


def test_a_power_below_1_brings_a_nearest_second_closer_and_one_above_takes_it_away():
    plain = inputs_of(Value.NEAREST, *world(7))
    second = plain.players[1].hit.artist_id
    of = {g: shares(replace(plain, affinity_map=Power(g)))[second] for g in (0.5, 1.0, 2.0)}
    assert of[0.5] > of[1.0] > of[2.0] > 0.0


def test_worths_that_the_map_makes_nothing_of_credit_nobody():
    image, centroids, creators = world(5)
    players, gram = candidates(image, centroids, creators)
    common = {"delta": DELTA, "recognised": 1.0, "eligible_count": 9, "affinity_map": NOTHING}
    nearest = nearest_inputs(players, **common)
    near = [n for n, player in enumerate(players) if player.hit.z > ENTRY]
    blend = mix_inputs(
        Value.BLEND,
        [players[n] for n in near],
        gram[np.ix_(near, near)],
        entry=ENTRY,
        artists_part=1.0,
        **common,
    )
    for game in (nearest, blend):
        assert (game.players, game.gram, game.threshold) == ((), (), DELTA)
        assert play(game, STYLE_ONLY).split.unattributed_e12 == E12
        assert veto_part(game) == 0.0


def test_a_truncated_blend_bounds_nothing_where_worths_are_mapped():
    rng = np.random.default_rng(0)
    centroids = np.eye(14)
    image = unit(np.ones(14) + 0.01 * rng.normal(size=14))
    players, gram = candidates(image, centroids, [f"c{n}" for n in range(14)])
    common = {"delta": 0.1, "entry": 0.05, "recognised": 1.0, "eligible_count": 14, "artists_part": 0.5}
    plain = mix_inputs(Value.BLEND, players, gram, **common)
    mapped = mix_inputs(Value.BLEND, players, gram, affinity_map=Power(2.0), **common)
    assert plain.players == mapped.players
    assert not plain.certificate.exact
    assert plain.certificate.bound < mapped.certificate.bound == 0.5


@pytest.mark.parametrize("value", CALIBRATED_VALUES)
@pytest.mark.parametrize(
    "worth_map", [Power(0.6), Power(2.5), Isotonic(((0.0, 0.0), (0.4, 0.1), (1.0, 1.0)))]
)
def test_the_bootstrap_plays_the_calibrated_game(value, worth_map):
    """With so many works that nothing moves, the interval closes on the calibrated shares."""
    rng = np.random.default_rng(1)
    directions = unit(rng.normal(size=(2, 40)))
    image = unit(0.6 * directions[0] + 0.4 * directions[1])
    many = [style_of(works_of(one, 3000, rng)) for one in directions]
    told = found(image, many, value, worth_map=worth_map)
    plain = found(image, many, value)
    centroids = np.stack([style.centroids[0] for style in many])
    players, gram = candidates(image, centroids, ["c0", "c1"])
    assert [player.creator_id for player in players] == ["c0", "c1"]
    game = (
        nearest_inputs(players, delta=DELTA, recognised=1.0, eligible_count=2)
        if value is not Value.BLEND
        else mix_inputs(
            value,
            players,
            gram,
            delta=DELTA,
            entry=ENTRY,
            recognised=1.0,
            eligible_count=2,
            artists_part=1.0,
        )
    )
    if value is Value.FACETS:  # of one facet: nearest above the entry
        game = replace(game, value=value, entry=ENTRY, facet_z=(tuple(p.hit.z for p in players),))
    exact = shares(replace(game, affinity_map=worth_map))
    low, high = told.parts["c0"]
    assert low - 1e-9 <= exact["artist-00"] <= high + 1e-9
    assert high - low < 0.1
    assert told.parts != plain.parts
