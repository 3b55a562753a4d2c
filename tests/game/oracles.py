"""Slow solvers straight from the definitions, games to try them on, and what hypothesis draws."""

from itertools import pairwise, permutations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

# many ties and zeros on purpose
GAIN = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1, allow_subnormal=False)
FEW = settings(max_examples=60, deadline=None)


class Listed:
    """A game given by the worth of each frozenset of players."""

    def __init__(self, players, worth):
        self.players = players
        self.of = worth

    def worth(self, coalitions):
        return np.array([self.of(frozenset(np.flatnonzero(row).tolist())) for row in coalitions], float)


def by_orderings(players, worth, allowed=lambda order: True):
    """Shapley (or Owen, with ``allowed``) from the definition: average marginals over orderings."""
    phi, count = np.zeros(players), 0
    for order in permutations(range(players)):
        if not allowed(order):
            continue
        count += 1
        before = frozenset()
        for player in order:
            after = before | {player}
            phi[player] += worth(after) - worth(before)
            before = after
    return phi / count


def unions_stay_together(unions):
    """Owen 1977, doi:10.1007/978-3-642-45494-3_7: orderings in which each union arrives as one block."""

    def allowed(order):
        labels = [unions[player] for player in order]
        return sum(a != b for a, b in pairwise(labels)) == len(set(unions)) - 1

    return allowed


def random_game(players, seed):
    table = np.random.default_rng(seed).random(1 << players)
    table[0] = 0.0
    return Listed(players, lambda coalition: table[sum(1 << player for player in coalition)])


def image_and_centroids(players, seed, *, dim=16, alike=0.5, noise=0.4):
    """Unit centroids that have ``alike`` in common, and a unit blend of the first ones with noise."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((players, dim)) + alike * rng.standard_normal(dim)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    x = rng.dirichlet(np.ones(min(players, 3))) @ centroids[:3] + noise / dim**0.5 * rng.standard_normal(dim)
    return x / np.linalg.norm(x), centroids
