"""The game of a mix as played and recorded: creators' inputs, who may not be paid, the same bits again."""

import json
from dataclasses import replace
from itertools import chain, combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.choosing import image_mix_inputs
from fairbrush.domain import Hit, Value
from fairbrush.ledger.policy import Policy
from fairbrush.playing import (
    GameInputs,
    MixedInput,
    Player,
    coalition_worths,
    from_text,
    play,
    to_text,
    veto_part,
)

STYLE_ONLY = Policy(b="0", w="1")
NOBODY = None


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def game_of(
    image: np.ndarray, rows: np.ndarray, weights: list[float], owners: list[tuple[str, str] | None]
) -> GameInputs:
    """owners: (artist, creator) of each input, None where the artist may not be credited."""
    similarities = [float(one @ image) for one in rows]
    mixed = [
        MixedInput(f"{n:064x}", weight, similarity, *(owner or (None, None)))
        for n, (weight, similarity, owner) in enumerate(zip(weights, similarities, owners, strict=True))
    ]
    entries = dict(owner for owner in owners if owner)
    players = [Player(Hit(artist, 0.5, 0.4), creator) for artist, creator in sorted(entries.items())]
    upper = np.triu([[float(one @ other) for other in rows] for one in rows])
    gram = upper + np.triu(upper, 1).T
    return image_mix_inputs(players, mixed, gram, delta=0.2, entry=0.05, recognised=1.0, eligible_count=9)


def shares(inputs: GameInputs) -> dict[str, float]:
    played = play(inputs, STYLE_ONLY)
    return dict(zip((p.hit.artist_id for p in inputs.players), played.split.artists, strict=True))


def brute_force(
    image: np.ndarray, rows: np.ndarray, weights: list[float], owners: list[tuple[str, str] | None]
) -> dict[str, float]:
    """Shares of the style by creator, from vectors, subsets and orderings alone."""
    inputs_of: dict[str, list[int]] = {}
    for n, owner in enumerate(owners):
        inputs_of.setdefault(owner[1] if owner else f"nobody-{n}", []).append(n)

    def worth(names: tuple[str, ...]) -> float:
        best = 0.0
        for part in chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1)):
            mixed = sum(weights[n] * rows[n] for name in part for n in inputs_of[name])
            if np.linalg.norm(mixed) > 1e-4:
                best = max(best, float(image @ mixed / np.linalg.norm(mixed)))
        return best

    creators = [name for name in inputs_of if not name.startswith("nobody")]
    whole = worth(tuple(inputs_of))
    phi = dict.fromkeys(creators, 0.0)
    orders = list(permutations(creators))
    for order in orders:
        for place, name in enumerate(order):
            phi[name] += (worth(order[: place + 1]) - worth(order[:place])) / len(orders)
    return {name: value / whole if whole else 0.0 for name, value in phi.items()}


OWNERS = st.lists(
    st.none() | st.sampled_from([("a1", "ann"), ("a2", "ann"), ("b1", "bob"), ("c1", "cy"), ("d1", "di")]),
    min_size=1,
    max_size=6,
)


@given(OWNERS, st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_shares_are_those_of_brute_force_and_a_record_gives_the_same_bits(
    owners: list[tuple[str, str] | None], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image, rows = unit(rng.normal(size=4)), unit(rng.normal(size=(len(owners), 4)))
    weights = rng.dirichlet(np.ones(len(owners))).tolist()
    inputs = game_of(image, rows, weights, owners)
    expected = brute_force(image, rows, weights, owners)
    found = dict.fromkeys(expected, 0.0)
    for player, share in zip(inputs.players, shares(inputs).values(), strict=True):
        found[player.creator_id] += share
    assert found == pytest.approx(expected, abs=1e-9)
    played = play(inputs, STYLE_ONLY)
    assert played.split.unattributed == pytest.approx(1 - sum(expected.values()), abs=1e-9)
    assert sum(played.split.artists_e12) + played.split.unattributed_e12 == 10**12
    assert sum(played.phi) == pytest.approx(sum(expected.values()), abs=1e-9)
    read = from_text(Value.MIX, json.loads(json.dumps(to_text(inputs))), inputs.certificate)
    assert read == inputs
    assert play(read, STYLE_ONLY) == played
    assert 0.0 <= veto_part(inputs) <= 1.0 + 1e-9


@given(st.integers(0, 10**6), st.permutations(range(5)))
@settings(max_examples=60, deadline=None)
def test_dealing_a_creators_inputs_over_entries_changes_nobodys_total(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    image, rows = unit(np.abs(rng.normal(size=6))), unit(np.abs(rng.normal(size=(5, 6))))
    weights = rng.dirichlet(np.ones(5)).tolist()
    one = shares(game_of(image, rows, weights, [("b", "bob"), *[("a", "ann")] * 4]))
    split_up: list[tuple[str, str] | None] = [("b", "bob"), *((f"a{n}", "ann") for n in range(4))]
    several = shares(game_of(image, rows, weights, split_up))
    assert several["b"] == pytest.approx(one["b"], abs=1e-12)
    parts = [several[f"a{n}"] for n in range(4)]
    assert sum(parts) == pytest.approx(one["a"], abs=1e-12)
    for part, weight in zip(parts, weights[1:], strict=True):
        assert part == pytest.approx(one["a"] * weight / sum(weights[1:]), abs=1e-12)
    turned = game_of(image, rows[order], [weights[n] for n in order], [split_up[n] for n in order])
    assert shares(turned) == several, "the order of the inputs changes no bit"


def test_equal_inputs_of_two_creators_split_equally() -> None:
    rows = unit(np.array([[1.0, 1, 0], [1, 1, 0]]))
    inputs = game_of(unit(np.array([1.0, 0.5, 0.2])), rows, [0.5, 0.5], [("a", "ann"), ("b", "bob")])
    assert play(inputs, STYLE_ONLY).split.artists_e12 == (5 * 10**11, 5 * 10**11)


def test_what_only_an_uncredited_input_explains_is_unattributed() -> None:
    image = unit(np.array([1.0, 1.0]))
    whole, half = 1.0, 0.5**0.5
    inputs = game_of(image, np.eye(2), [0.5, 0.5], [("a", "ann"), NOBODY])
    assert shares(inputs) == pytest.approx({"a": half / whole})
    assert play(inputs, STYLE_ONLY).split.unattributed == pytest.approx(1 - half)
    assert coalition_worths(inputs, [(), (0,)]) == pytest.approx([0.0, half])
    assert veto_part(inputs) == pytest.approx(half / 2)
    same = game_of(image, unit(np.ones((2, 2))), [0.5, 0.5], [("a", "ann"), NOBODY])
    assert shares(same) == {"a": 1.0}, "nothing is explained by the other's input alone"


def test_a_weight_counts_by_what_it_does_to_the_mix() -> None:
    rows, owners = np.eye(2), [("a", "ann"), ("b", "bob")]
    image = unit(np.array([0.8, 0.2]))
    found = [shares(game_of(image, rows, [w, 1 - w], list(owners)))["a"] for w in (0.8, 0.5)]
    assert found[0] == pytest.approx((0.8 + (0.68**0.5 - 0.2)) / (2 * 0.68**0.5))
    assert found[1] == pytest.approx((0.8 + (0.8 - 0.2)) / 1.6), "both together are less like it than a alone"


def test_nobody_plays_where_the_image_is_like_no_mix_or_nobody_may_be_paid() -> None:
    away = game_of(np.array([-1.0, 0.0]), np.eye(2), [0.5, 0.5], [("a", "ann"), ("b", "bob")])
    nobody = game_of(np.array([1.0, 0.0]), np.eye(2), [0.5, 0.5], [NOBODY, NOBODY])
    for inputs in (away, nobody):
        played = play(inputs, STYLE_ONLY)
        assert (inputs.players, played.phi, played.split.unattributed) == ((), (), 1.0)
        assert (veto_part(inputs), coalition_worths(inputs, [()])) == (0.0, [0.0])


def test_a_creators_own_inputs_that_cancel_explain_nothing() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    owners = [("a", "ann"), ("a", "ann"), ("b", "bob")]
    assert shares(game_of(unit(np.ones(2)), rows, [0.3, 0.3, 0.4], list(owners))) == {"a": 0.0, "b": 1.0}


def test_how_fully_the_style_is_recognised_scales_what_is_shared() -> None:
    inputs = game_of(unit(np.ones(2)), np.eye(2), [0.5, 0.5], [("a", "ann"), NOBODY])
    half = replace(inputs, recognised=0.5)
    assert shares(half)["a"] == pytest.approx(shares(inputs)["a"] / 2)
