"""Who plays the game of an image's facets, and what they are paid."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.choosing import CANDIDATES, facet_inputs
from fairbrush.domain import Hit, Value
from fairbrush.game.shapley import shapley_by_enumeration
from fairbrush.game.values import Facets
from fairbrush.ledger.policy import Policy
from fairbrush.playing import Player, from_text, play, to_text

DELTA, ENTRY = 0.4, 0.1
LEVELS = {"delta": DELTA, "entry": ENTRY, "recognised": 1.0, "artists_part": 1.0}
ALL_STYLE = Policy(b="0", w="1")


def inputs(facet_z, **changed):
    """Candidates a, b, c, ... each of a creator of their own, best first for the whole image."""
    z = np.asarray(facet_z, float)
    candidates = [Player(Hit(f"a{at:03d}", value, value), f"c{at:03d}") for at, value in enumerate(z[0])]
    settled = {
        "delta": DELTA,
        "entry": ENTRY,
        "recognised": 1.0,
        "eligible_count": len(candidates),
        "artists_part": 1.0,
    }
    return facet_inputs(candidates, z, **settled | changed)


def shares(game):
    return dict(
        zip(
            [player.hit.artist_id for player in game.players],
            play(game, ALL_STYLE).split.artists,
            strict=True,
        )
    )


def test_a_crop_alone_credits_nobody():
    """An image is known by the whole of it, so facets credit no more strangers than nearest does."""
    assert inputs([[0.4, 0.1], [0.9, 0.9]]).players == ()
    assert shares(inputs([[0.41, 0.1], [0.9, 0.1]])) == {"a000": 1.0}


def test_whoever_passes_the_entry_in_any_crop_of_a_known_image_plays():
    game = inputs([[0.5, 0.05, 0.0], [0.1, 0.3, 0.1], [0.3, 0.0, 0.05]])
    # gains over the entry: 0.4, then 0.2 of the second, then 0.2; the third artist has none
    assert shares(game) == pytest.approx({"a000": 0.75, "a001": 0.25})
    assert (game.delta, game.entry, game.certificate.exact) == (DELTA, ENTRY, True)


@given(st.integers(1, 7), st.integers(0, 10_000))
def test_shares_are_those_of_enumeration(players, seed):
    z = np.random.default_rng(seed).uniform(-0.2, 0.8, (5, players)).round(1)
    z[0] = -np.sort(-z[0])
    z[0, 0] = 0.8
    game = Facets(z, delta=ENTRY, weights=np.full(5, 0.2))
    phi = shapley_by_enumeration(game)
    paid = shares(inputs(z))
    assert [paid.get(f"a{at:03d}", 0.0) for at in range(players)] == pytest.approx(phi / phi.sum(), abs=1e-9)


@given(st.integers(0, 10_000))
def test_the_certificate_bounds_what_leaving_artists_out_overpays(seed):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.0, 0.5, (5, CANDIDATES + rng.integers(0, 20)))
    z[0] = -np.sort(-z[0])
    z[0, 0] = 0.8
    game = inputs(z)
    everybody = replace(
        game,
        players=tuple(Player(Hit(f"a{at:03d}", v, v), f"c{at:03d}") for at, v in enumerate(z[0])),
        facet_z=tuple(map(tuple, z)),
    )
    assert len(game.players) <= CANDIDATES
    whole = shares(everybody)
    assert all(paid - whole[name] <= game.certificate.bound + 1e-9 for name, paid in shares(game).items())


def test_the_limit_on_who_plays_counts_creators():
    assert len(inputs(np.full((2, CANDIDATES + 2), 0.5)).players) == CANDIDATES
    hits = [Hit(f"a{at:03d}", 0.5, 0.5) for at in range(CANDIDATES + 2)]
    candidates = [Player(hit, "c0" if at < 10 else f"c{at}") for at, hit in enumerate(hits)]
    game = facet_inputs(candidates, np.full((2, len(hits)), 0.5), **LEVELS, eligible_count=9)
    assert len(game.players) == CANDIDATES + 2
    assert game.certificate.exact


def test_a_record_gives_the_game_back():
    game = inputs([[0.5, 0.05], [0.1, 0.3]])
    assert from_text(Value.FACETS, to_text(game), game.certificate) == game
