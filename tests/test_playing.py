"""The style game of one image: who plays, unions of a creator's entries, and the record's round trip."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.choosing import facet_inputs, mix_inputs, nearest_inputs
from fairbrush.domain import CHOOSABLE_VALUES, Hit, Value
from fairbrush.game.shapley import shapley_by_enumeration
from fairbrush.game.values import Blend
from fairbrush.ledger.policy import Policy
from fairbrush.playing import GameInputs, Player, coalition_worths, from_text, play, to_text, veto_part

DELTA, ENTRY, H = 0.2, 0.05, 0.1
STYLE_ONLY = Policy(b="0", w="1")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def candidates(
    image: np.ndarray, centroids: np.ndarray, creators: list[str]
) -> tuple[list[Player], np.ndarray]:
    """Players best first, and the Gram matrix in their order."""
    similarities = (centroids @ image).tolist()
    players = [
        Player(Hit(f"artist-{n:02d}", s, s - H), creator)
        for n, (s, creator) in enumerate(zip(similarities, creators, strict=True))
    ]
    order = sorted(range(len(players)), key=lambda n: (-players[n].hit.z, players[n].hit.artist_id))
    return [players[n] for n in order], (centroids @ centroids.T)[np.ix_(order, order)]


def inputs_of(
    value: Value, image: np.ndarray, centroids: np.ndarray, creators: list[str] | None = None
) -> GameInputs:
    players, gram = candidates(image, centroids, creators or [f"c{n}" for n in range(len(centroids))])
    if value is Value.NEAREST:
        return nearest_inputs(players, delta=DELTA, recognised=1.0, eligible_count=9)
    if value is Value.FACETS:
        z = np.array([[player.hit.z for player in players], [player.hit.z / 2 + 0.2 for player in players]])
        return facet_inputs(
            players, z, delta=DELTA, entry=ENTRY, recognised=1.0, eligible_count=9, artists_part=1.0
        )
    near = [n for n, player in enumerate(players) if player.hit.z > ENTRY]
    return mix_inputs(
        value,
        [players[n] for n in near],
        gram[np.ix_(near, near)],
        delta=DELTA,
        entry=ENTRY,
        recognised=1.0,
        eligible_count=9,
        artists_part=1.0,
    )


def shares(inputs: GameInputs) -> dict[str, float]:
    played = play(inputs, STYLE_ONLY)
    return dict(zip((p.hit.artist_id for p in inputs.players), played.split.artists, strict=True))


AXES = np.eye(6)
MIXED = unit(0.7 * AXES[0] + 0.3 * AXES[1] + 0.2 * AXES[5])


def test_blend_pays_the_second_artist_of_a_mixture_and_nearest_hardly() -> None:
    centroids = AXES[:3]
    blend, nearest = (shares(inputs_of(value, MIXED, centroids)) for value in (Value.BLEND, Value.NEAREST))
    gains = MIXED[:2] - H - DELTA
    assert nearest["artist-01"] == pytest.approx(gains[1] / 2 / gains[0])
    assert nearest["artist-01"] < 0.07
    assert 0.2 < blend["artist-01"] < 0.3
    assert blend.keys() == {"artist-00", "artist-01"}


def test_blend_is_the_game_of_projections_on_the_survivors() -> None:
    inputs = inputs_of(Value.BLEND, MIXED, AXES[:3])
    game = Blend([p.hit.similarity for p in inputs.players], np.array(inputs.gram))
    phi = shapley_by_enumeration(game)
    assert list(shares(inputs).values()) == pytest.approx((phi / phi.sum()).tolist(), abs=1e-9)
    together = coalition_worths(inputs, [(0,), (1,), (0, 1)])
    assert together[2] == pytest.approx(1.0)
    alone = [float(np.hypot(*(MIXED @ AXES[:2].T)))] * 2
    assert together[:2] == pytest.approx([(MIXED[0] / alone[0]), (MIXED[1] / alone[1])])


def test_a_look_alike_is_explained_away() -> None:
    near = unit(AXES[0] + 0.3 * AXES[2])
    assert shares(inputs_of(Value.BLEND, AXES[0], np.stack([AXES[0], near]))) == {"artist-00": 1.0}
    assert len(shares(inputs_of(Value.NEAREST, AXES[0], np.stack([AXES[0], near])))) == 2


@pytest.mark.parametrize("value", [Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION, Value.FACETS])
def test_nobody_above_the_threshold_credits_nobody(value: Value) -> None:
    image = unit(0.2 * AXES[0] + 0.1 * AXES[1] + AXES[5])  # z 0.09 and 0: above entry, not above delta
    inputs = inputs_of(value, image, AXES[:2])
    played = play(inputs, STYLE_ONLY)
    assert (inputs.players, played.phi, played.split.unattributed) == ((), (), 1.0)
    assert (veto_part(inputs), coalition_worths(inputs, [()])) == (0.0, [0.0])


def test_whoever_is_above_the_entry_shares_once_somebody_is_above_the_threshold() -> None:
    image = unit(AXES[0] + 0.25 * AXES[1])  # the second has z of 0.14
    assert inputs_of(Value.BLEND, image, AXES[:2]).players[1].hit.z < DELTA
    assert shares(inputs_of(Value.BLEND, image, AXES[:2])).keys() == {"artist-00", "artist-01"}
    assert shares(inputs_of(Value.NEAREST, image, AXES[:2])).keys() == {"artist-00"}


@pytest.mark.parametrize("value", [Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION, Value.FACETS])
@pytest.mark.parametrize("entries", [2, 5, 20])
def test_a_creators_total_is_the_same_over_any_number_of_entries(value: Value, entries: int) -> None:
    """Works are pooled by creator, so that every entry has the creator's centroid."""
    centroids = unit(np.array([[1.0, 0, 0, 0, 0, 0], [0.2, 1, 0, 0, 0, 0], [0, 0.3, 1, 0, 0, 0]]))
    image = unit(centroids.T @ [0.5, 0.4, 0.35])
    whole = shares(inputs_of(value, image, centroids, ["ann", "bob", "cy"]))
    split_up = np.concatenate([centroids[:1], np.repeat(centroids[1:2], entries, axis=0), centroids[2:]])
    owners = ["ann", *["bob"] * entries, "cy"]
    found = shares(inputs_of(value, image, split_up, owners))
    of_bob = [found[f"artist-{n:02d}"] for n in range(1, entries + 1)]
    assert sum(of_bob) == pytest.approx(whole["artist-01"], abs=1e-12)
    assert found["artist-00"] == pytest.approx(whole["artist-00"], abs=1e-12)
    assert max(of_bob) - min(of_bob) < 1e-12


def test_entries_known_as_one_creators_only_later_play_in_one_union() -> None:
    """Their rows differ, as in an index built before: together they still get what one of them would."""
    centroids = unit(np.array([[1.0, 0, 0, 0, 0, 0], [0, 1, 0.1, 0, 0, 0], [0, 1, -0.1, 0, 0, 0]]))
    image = unit(AXES[0] + AXES[1])
    for value in (Value.BLEND, Value.NEAREST):
        apart = shares(inputs_of(value, image, centroids, ["ann", "bob", "cy"]))
        together = shares(inputs_of(value, image, centroids, ["ann", "bob", "bob"]))
        assert apart["artist-00"] < 0.45
        assert together["artist-00"] == pytest.approx(0.5, abs=0.01)


@given(st.integers(0, 10_000), st.sampled_from(CHOOSABLE_VALUES), st.integers(1, 6))
def test_a_record_gives_the_same_bits(seed: int, value: Value, artists: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = unit(np.abs(rng.normal(size=(artists, 6))))
    image = unit(np.abs(rng.normal(size=6)))
    creators = [f"c{rng.integers(artists)}" for _ in range(artists)]
    inputs = inputs_of(value, image, centroids, creators)
    read = from_text(value, json.loads(json.dumps(to_text(inputs))), inputs.certificate)
    assert read == inputs
    assert play(read, STYLE_ONLY) == play(inputs, STYLE_ONLY)
    assert sum(play(inputs, STYLE_ONLY).split.artists_e12) in (0, 10**12)
    assert 0.0 <= veto_part(inputs) <= 1.0 + 1e-9


def test_a_record_of_the_first_algorithm_has_every_entry_alone() -> None:
    told = {
        "players": [{"artist_id": name, "similarity": "0.6", "z": "0.5"} for name in ("a", "b", "c")],
        "delta": "0.2",
        "recognised": "1.0",
        "eligible_count": 3,
    }
    inputs = from_text(
        Value.NEAREST, told, nearest_inputs([], delta=0, recognised=1, eligible_count=0).certificate
    )
    assert play(inputs, STYLE_ONLY).split.artists_e12 == (333333333334, 333333333333, 333333333333)


@pytest.mark.parametrize("value", [Value.BLEND, Value.RECONSTRUCTION])
def test_a_creator_may_have_more_entries_than_can_be_enumerated(value: Value) -> None:
    image = unit(np.append(3.0, np.linspace(1.0, 1.1, 23)))
    game = inputs_of(value, image, np.eye(24), ["ann"] * 24)
    assert len(game.players) == 24
    assert sum(play(game, STYLE_ONLY).split.artists) == pytest.approx(1.0)
    assert veto_part(game) == pytest.approx(0.5)  # one creator, and a model that could veto
