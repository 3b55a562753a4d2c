"""Who of the candidates plays an image's style game.

Enters: affinities and centroids of the candidates, best first. Leaves: ``GameInputs``. The one rule: an image
whose best affinity is not above the index's threshold ``delta`` credits nobody, whatever the value function.

Where somebody is above it, ``blend``, ``reconstruction`` and, in each facet, ``facets`` let in whoever is
above the index's lower ``entry``: a second artist's part of an image is seldom as strong as a whole one.
``mix`` has no threshold: which images were mixed is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.domain import Value
from fairbrush.game.selection import survivors
from fairbrush.game.shares import Certificate, blend_certificate, exact_certificate
from fairbrush.game.values import mapped
from fairbrush.playing import GameInputs, MixedInput, Player, columns_of, mix_of, worth_of_players

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.style.calibration import AffinityMap

CANDIDATES = 32  # creators, nearest first, of whom all but nearest choose
_TINY = 5e-324  # the least float64 above 0
_KIND = {Value.BLEND: "blend, 2^m coalitions", Value.RECONSTRUCTION: "reconstruction, closed form"}


def nearest_inputs(
    candidates: Sequence[Player],
    *,
    delta: float,
    recognised: float,
    eligible_count: int,
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Everybody above the threshold plays. candidates: best first."""
    near = tuple(player for player in candidates if player.hit.z > delta)
    certificate = exact_certificate("airport closed form")
    return _worth_playing(
        GameInputs(
            Value.NEAREST,
            near,
            delta,
            delta,
            recognised,
            eligible_count,
            certificate,
            affinity_map=affinity_map,
        )
    )


def facet_inputs(
    candidates: Sequence[Player],
    facet_z: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
    artists_part: float,
    named: Collection[str] = (),
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Where the whole image passes ``delta``, those play who are above the entry in any facet.

    candidates: best first for the whole image; facet_z: float64 (n_facets, n_candidates), the whole image
    first; named: artist ids, who stay however many others gain more. The creators with the largest gains
    stay; whoever else is above the entry gains at most what the last of them does, so together at most this
    part of v, and so much too much have those who stay.
    """
    kind = "airport closed form a facet"
    nobody = GameInputs(
        Value.FACETS,
        (),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate(kind),
        affinity_map=affinity_map,
    )
    if not candidates or candidates[0].hit.z <= delta:
        return nobody
    gains = np.maximum(facet_z - entry, 0.0)
    best = gains.max(axis=0)
    gain_of: dict[str, float] = {}  # largest first
    for position in np.argsort(-best, kind="stable").tolist():
        if best[position] > 0.0:
            gain_of.setdefault(candidates[position].creator_id, float(best[position]))
    creators = list(gain_of)[:CANDIDATES]
    staying = {*creators, *(one.creator_id for one in candidates if one.hit.artist_id in named)}
    playing = [at for at, one in enumerate(candidates) if best[at] > 0.0 and one.creator_id in staying]
    certificate = exact_certificate(kind)
    if len(creators) == CANDIDATES:
        last, whole = np.array(gain_of[creators[-1]]), gains[:, playing].max(axis=1)
        # of a monotone map the same holds, with what it makes of both
        part = float(mapped(last, affinity_map)) / max(float(mapped(whole, affinity_map).mean()), _TINY)
        certificate = Certificate(f"{kind}, truncated", False, min(part, 1.0) * artists_part)
    return _worth_playing(
        replace(
            nobody,
            players=tuple(candidates[position] for position in playing),
            certificate=certificate,
            facet_z=tuple(tuple(row) for row in facet_z[:, playing].tolist()),
        )
    )


def mix_inputs(
    value: Value,
    candidates: Sequence[Player],
    gram: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
    artists_part: float,
    affinity_map: AffinityMap | None = None,
) -> GameInputs:
    """Of the candidates those whom the best non-negative mix needs; look-alikes are explained away.

    candidates: best first, all above ``entry``; gram: float64 (n, n) of their centroids.
    """
    nobody = GameInputs(
        value,
        (),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate(_KIND[value]),
        affinity_map=affinity_map,
    )
    if not candidates or candidates[0].hit.z <= delta:
        return nobody
    columns = columns_of(candidates)
    gains = np.array([candidates[column[0]].hit.z - entry for column in columns])
    first = [column[0] for column in columns]
    chosen = survivors(
        gains, gram[np.ix_(first, first)], unions=[candidates[position].creator_id for position in first]
    )
    staying = sorted(position for index in chosen.indices for position in columns[index])
    rows = tuple(tuple(row) for row in gram[np.ix_(staying, staying)].tolist())
    told = blend_certificate(chosen, artists_part=artists_part)
    kind = told.kind.replace(_KIND[Value.BLEND], _KIND[value])
    # what those dropped may add to worths that are mapped is not bounded by what they add to worths
    bound = artists_part if affinity_map is not None and not told.exact else told.bound
    return _worth_playing(
        replace(
            nobody,
            players=tuple(candidates[position] for position in staying),
            certificate=Certificate(kind, told.exact, bound),
            gram=rows,
        )
    )


def image_mix_inputs(
    players: Sequence[Player],
    mixed: Sequence[MixedInput],
    gram: NDArray[np.float64],
    *,
    delta: float,
    entry: float,
    recognised: float,
    eligible_count: int,
) -> GameInputs:
    """The creators of an image's inputs play, each with all of theirs; nobody where the image is like no mix.

    players: an entry each artist of a creditable input, best first; gram: float64 (n, n) of the inputs' own
    vectors, unit rows in style space.
    """
    game = GameInputs(
        Value.MIX,
        tuple(players),
        delta,
        entry,
        recognised,
        eligible_count,
        exact_certificate("mix, 2^m coalitions"),
        gram=tuple(tuple(row) for row in gram.tolist()),
        mixed=tuple(mixed),
    )
    return game if players and mix_of(game).part_of_paid > 0.0 else replace(game, players=())


def _worth_playing(game: GameInputs) -> GameInputs:
    """Nobody plays where a calibration makes nothing of what all explain."""
    if game.affinity_map is None or not game.players:
        return game
    if worth_of_players(game) > 0.0:
        return game
    return replace(
        game, players=(), gram=(), facet_z=(), certificate=exact_certificate(game.certificate.kind)
    )
