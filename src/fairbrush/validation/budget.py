"""Which coalitions to regenerate when not all can be, and the split they give.

Enters: a budget of coalitions, worths the fast answer predicts, what was measured. Leaves: a plan, and a
``Split``. The one rule: which orders are drawn never depends on a worth, so the split is right on average.

The players arrive one by one, the model first or last (so unions stay together: Owen 1977,
doi:10.1007/978-3-642-45494-3_7), the creators in random order; phi is a player's mean marginal (Castro et al.
2009, doi:10.1016/j.cor.2008.04.004). Only what a surrogate does not predict is sampled (SurrogateSHAP,
arXiv:2601.22276): ``phi = phi_surrogate + mean over orders of (true - surrogate marginal)``.

Orders are drawn in pairs, one and its reverse. So each pair gives the model and the creators together exactly
what is theirs, and a pair costs as many new coalitions whatever its creators are called: to stop at the first
pair beyond the budget favours no creator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.validation.measured import (
    MODEL,
    Measurement,
    Split,
    everyone,
    exact_split,
    owen_with_model,
    split_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_EXACT = 10  # creators: 2^11 coalitions to regenerate
MOST_PLANNED = 16  # creators: the surrogate has 2^17 worths


@dataclass(frozen=True, eq=False)
class Plan:
    """What to regenerate for one image.

    coalitions: intp (n_coalitions,), ascending codes: the empty one, the model alone and all are among them.
    orders: intp (n_draws, 1 or 2, n+1), the players in order of arrival, a draw being an order or a pair;
    None where all coalitions are there, so that no order is needed.
    """

    creators: int
    coalitions: NDArray[np.intp]
    orders: NDArray[np.intp] | None


def least_budget(creators: int) -> int:
    """Coalitions of the cheapest plan: the empty one, one more an arrival, and the model alone.

    >>> [least_budget(creators) for creators in (1, 2, 4)]
    [4, 5, 7]
    """
    return min(creators + 3, everyone(creators) + 1)


def plan_permutations(creators: int, *, budget: int | None, rng: np.random.Generator) -> Plan:
    """The coalitions to regenerate: at most ``budget``, of which all count, the empty one too; None: all.

    All where the budget reaches; else different random pairs of orders until one does not fit. One pair where
    two fit only if they share coalitions, one order where no pair fits. Raises ValidationError.

    >>> plan = plan_permutations(4, budget=7, rng=np.random.default_rng(0))
    >>> plan.orders.tolist(), plan.coalitions.tolist()
    ([[[0, 3, 1, 2, 4]]], [0, 1, 9, 11, 15, 31])
    """
    whole = everyone(creators) + 1
    _check_budget(creators, budget)
    if budget is None or budget >= whole:
        return Plan(creators, np.arange(whole), orders=None)
    # two pairs that fit only by what they share are alike: their spread would tell too small an error
    if budget < 4 * creators:
        pair = _pair(rng.permutation(creators))
        return _plan(creators, pair[None] if budget >= 2 * creators + 2 else pair[None, [rng.integers(2)]])
    return _plan(creators, np.stack(_pairs_within(creators, budget, rng)))


def _check_budget(creators: int, budget: int | None) -> None:
    if creators > MOST_PLANNED:
        raise ValidationError(
            f"{creators} creators are too many to measure; at most {MOST_PLANNED}.",
            next_step="Name fewer with --artists.",
        )
    if budget is None and creators > MOST_EXACT:
        raise ValidationError(
            f"{creators} creators and the model have {everyone(creators) + 1} coalitions.",
            next_step="Give a --budget of coalitions to regenerate.",
        )
    if budget is not None and budget < least_budget(creators):
        raise ValidationError(
            f"A budget of {budget} coalitions is too small for {creators} creators and the model.",
            next_step=f"Give a --budget of {least_budget(creators)} or more.",
        )


def _pairs_within(creators: int, budget: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    needed = {0}
    pairs: list[NDArray[np.intp]] = []
    drawn: set[tuple[int, ...]] = set()
    while True:  # all pairs together need every coalition, which is beyond the budget
        order = rng.permutation(creators)
        if tuple(order) in drawn:
            continue
        pair = _pair(order)
        needed |= set(_met(pair).ravel().tolist())
        if len(needed) > budget:
            return pairs
        drawn.add(tuple(order))
        pairs.append(pair)


def _pair(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """intp (2, n+1): the model, then the creators in this order; and the reverse."""
    model_first = np.concatenate([[0], order + 1])
    return np.stack([model_first, model_first[::-1]])


def _met(orders: NDArray[np.intp]) -> NDArray[np.intp]:
    """The codes after each arrival, in the shape of ``orders``."""
    return np.cumsum(1 << orders, axis=-1)


def _plan(creators: int, orders: NDArray[np.intp]) -> Plan:
    return Plan(creators, np.union1d([0, MODEL], _met(orders)), orders)


def surrogate_of(style: NDArray[np.float64], *, scale: float) -> NDArray[np.float64]:
    """Worths the fast answer predicts: ``scale A(T without the model)``, so the model adds nothing.

    style: float64 (2^n,), A of every coalition of creators; leaves float64 (2^(n+1),). The scale may depend
    on the worths that every plan measures (all, the model alone), and on no others.

    >>> surrogate_of(np.array([0.0, 1.0]), scale=0.5).tolist()
    [0.0, 0.0, 0.5, 0.5]
    """
    return scale * np.repeat(style, 2)


def measured_split(
    measurement: Measurement, plan: Plan, *, surrogate: NDArray[np.float64] | None = None
) -> Split:
    """The Owen split of what the plan measured; it sums to ``v(all)``, and is right on average over plans.

    surrogate: float64 (2^(n+1),), worths fixed before any was measured; None: 0. Standard errors add the
    variance over the draws of orders to that over seeds, so what both do together counts twice; they do not
    cover another model, prompt or encoder. With a single draw there are none.
    Raises ValidationError.

    >>> rng = np.random.default_rng(0)
    >>> plan = plan_permutations(4, budget=7, rng=rng)
    >>> adds = np.array([0.5, 0.25, 0.125, 0.0, 0.125])  # each player, whoever is there
    >>> worths = (plan.coalitions[:, None] >> np.arange(5) & 1) @ adds
    >>> measured_split(Measurement(4, plan.coalitions, worths[:, None]), plan).phi.tolist()
    [0.5, 0.25, 0.125, 0.0, 0.125]
    """
    if plan.orders is None:
        return exact_split(measurement)
    predicted = _checked_surrogate(surrogate, coalitions=everyone(plan.creators) + 1)
    codes = _met(plan.orders)
    unpredicted = measurement.worth(codes) - predicted[codes]
    marginals = np.diff(unpredicted, axis=-1, prepend=0.0)  # in order of arrival
    by_player = np.empty_like(marginals)
    np.put_along_axis(by_player, np.broadcast_to(plan.orders, marginals.shape), marginals, axis=-1)
    # (n_seeds, n_draws, n+1)
    phi = owen_with_model(predicted[None])[0] + by_player.mean(axis=2)
    by_seed, by_draw = phi.mean(axis=1), phi.mean(axis=0)
    return split_of(by_seed, [by_seed, by_draw], orders=plan.orders.shape[0] * plan.orders.shape[1])


def _checked_surrogate(surrogate: NDArray[np.float64] | None, *, coalitions: int) -> NDArray[np.float64]:
    if surrogate is None:
        return np.zeros(coalitions)
    if surrogate.shape != (coalitions,) or not np.isfinite(surrogate).all() or surrogate[0] != 0.0:
        raise ValidationError(
            f"A surrogate gives {coalitions} finite worths, 0 for nobody; got shape {surrogate.shape}.",
            next_step="Predict every coalition of the model and the creators.",
        )
    return surrogate
