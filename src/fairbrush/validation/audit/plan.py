"""Plans of audits: what is drawn, before anything is regenerated.

Enters: a ``Population``, how many draws, a seed. Leaves: a ``Plan``, kept and chained. The one rule: the same
population and seed give the same draws and the same id, so nobody chooses images; how many plans were made
of a period is told, so nobody chooses plans unseen.

A plan keeps all it drew from. When revenue comes in or is cancelled afterwards, the plan stands: it speaks of
the money as it was when it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import canonical_digest, canonical_json, decimal_text, parse_canonical
from fairbrush.chain.log import Append
from fairbrush.chain.tables import AUDIT_DRAWS, AUDIT_PLANS
from fairbrush.errors import AuditError, RecordError
from fairbrush.ledger.exactly import fraction_text
from fairbrush.ledger.period import Period
from fairbrush.ledger.records import SHORTEST_PREFIX
from fairbrush.store import as_utc, next_sequence
from fairbrush.validation.audit.population import (
    Population,
    Unit,
    amounts,
    keep_population,
    kept_units,
    units_digest,
)
from fairbrush.validation.audit.sampling import REVENUE_PART, draw, draw_probabilities

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from fairbrush.store import Store

PLAN_SCHEMA = "fairbrush.audit_plan/1"
MOST_DRAWS = 100_000
SEEDS = 2**63  # below this


@dataclass(frozen=True, eq=False)
class Plan:
    """``units``: what was drawn from, sorted; ``positions``: intp (draws,), places in ``units``, as drawn.

    ``number``: which of all plans it is; ``of_period``: how many there are of its currency and of any of its
    days, this one too.
    """

    plan_id: str
    number: int
    period: Period
    currency: str
    policies: tuple[str, ...]
    seed: int
    units: tuple[Unit, ...]
    positions: NDArray[np.intp]
    made_at: datetime
    of_period: int

    @cached_property
    def amounts(self) -> NDArray[np.float64]:
        """Minor units of each unit: float64 (units,)."""
        return amounts(self.units)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each unit at each draw: float64 (units,)."""
        return draw_probabilities(self.amounts)

    @property
    def draws(self) -> int:
        return len(self.positions)

    @property
    def drawn(self) -> list[int]:
        """Places in ``units``, each once, in the order in which they were first drawn."""
        return list(dict.fromkeys(self.positions.tolist()))

    @property
    def total(self) -> Fraction:
        return sum((unit.amount for unit in self.units), Fraction(0))

    @cached_property
    def population_digest(self) -> str:
        return units_digest(self.units)

    @property
    def body(self) -> dict[str, Any]:
        """What ``plan_id`` is the digest of."""
        return _body(
            self.period,
            self.currency,
            self.policies,
            population=self.population_digest,
            units=len(self.units),
            total=self.total,
            seed=self.seed,
            draws=self.draws,
        )


def make_plan(
    store: Store, population: Population, *, draws: int, seed: int, now: datetime
) -> tuple[Plan, bool]:
    """Draw and keep, in one transaction; and whether it is new. Raises AuditError."""
    if not 1 <= draws <= MOST_DRAWS:
        raise AuditError(
            f"An audit of {draws} draws cannot be planned.", next_step=f"Use --budget 1 to {MOST_DRAWS}."
        )
    assert 0 <= seed < SEEDS
    chances = draw_probabilities(amounts(population.units))
    positions = draw(chances, draws, np.random.default_rng(seed))
    body = _body(
        population.period,
        population.currency,
        population.policies,
        population=population.digest,
        units=len(population.units),
        total=population.total,
        seed=seed,
        draws=draws,
    )
    plan_id = canonical_digest(body)
    with store.transaction() as connection:
        known = connection.execute("SELECT 1 FROM audit_plan WHERE plan_id = ?", [plan_id]).fetchall()
        if not known:
            append = Append(connection)
            period = population.period
            row = (
                plan_id,
                next_sequence(connection, "audit_plan", column="number"),
                period.first,
                period.last,
                population.currency,
                draws,
                canonical_json(body).decode(),
                as_utc(now),
            )
            append.insert(AUDIT_PLANS, [row])
            append.insert(AUDIT_DRAWS, _draw_rows(plan_id, population.units, positions, chances))
            keep_population(connection, plan_id, population.units)
            append.commit(now=as_utc(now))
    return read_plan(store.connection, plan_id), not known


def find_plan(connection: DuckDBPyConnection, prefix: str | None = None) -> Plan:
    """The plan whose id begins so; without one, the last that was made. Raises AuditError."""
    rows = connection.execute(
        "SELECT plan_id FROM audit_plan WHERE starts_with(plan_id, ?) ORDER BY number DESC",
        [(prefix or "").strip().lower()],
    ).fetchall()
    if prefix is None and not rows:
        raise AuditError(
            "No audit is planned.", next_step="Plan one: fairbrush audit plan --period 2026-01 --budget 50"
        )
    if prefix is not None and (len(prefix.strip()) < SHORTEST_PREFIX or not rows):
        raise AuditError(
            f"There is no plan {prefix!r}.",
            next_step="fairbrush audit list shows them; eight characters of an id are enough.",
        )
    if prefix is not None and len(rows) > 1:
        raise AuditError(f"{prefix!r} is the beginning of several plans.", next_step="Write more of the id.")
    return read_plan(connection, str(rows[0][0]))


def list_plans(connection: DuckDBPyConnection) -> list[Plan]:
    """All plans, in the order they were made. Raises AuditError."""
    rows = connection.execute("SELECT plan_id FROM audit_plan ORDER BY number").fetchall()
    return [read_plan(connection, plan_id) for (plan_id,) in rows]


def read_plan(connection: DuckDBPyConnection, plan_id: str) -> Plan:
    """Raises AuditError where the plan, what it drew from, or its draws are not what was kept."""
    [[number, text, made_at, of_period]] = connection.execute(
        "SELECT number, body::TEXT, recorded_at, (SELECT count(*) FROM audit_plan o WHERE"
        " o.currency = p.currency AND o.period_from <= p.period_to AND p.period_from <= o.period_to)"
        " FROM audit_plan p WHERE plan_id = ?",
        [plan_id],
    ).fetchall()
    units = kept_units(connection, plan_id)
    places = {(unit.image_sha256, unit.attribution_id): place for place, unit in enumerate(units)}
    rows = connection.execute(
        "SELECT image_sha256, attribution_id, probability FROM audit_draw WHERE plan_id = ?"
        " ORDER BY position",
        [plan_id],
    ).fetchall()
    try:
        body = parse_canonical(text)
        first, last = map(date.fromisoformat, body["period"])
        plan = Plan(
            plan_id=plan_id,
            number=number,
            period=Period(first, last),
            currency=body["currency"],
            policies=tuple(body["policies"]),
            seed=body["seed"],
            units=units,
            positions=np.array([places[image, record] for image, record, _ in rows], np.intp),
            made_at=made_at,
            of_period=of_period,
        )
        chances = np.array([float(probability) for *_, probability in rows])
        is_sound = canonical_digest(plan.body) == plan_id and body == plan.body
    except (RecordError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _altered(plan_id) from error
    # not to the last bit: another machine may add up in another order
    if not is_sound or not np.allclose(plan.probabilities[plan.positions], chances, rtol=1e-9, atol=0.0):
        raise _altered(plan_id)
    return plan


def is_drawn_by_seed(plan: Plan) -> bool:
    """Whether the seed gives these draws, on this machine and with this numpy."""
    again = draw(plan.probabilities, plan.draws, np.random.default_rng(plan.seed))
    return bool((again == plan.positions).all())


def _body(
    period: Period,
    currency: str,
    policies: tuple[str, ...],
    *,
    population: str,
    units: int,
    total: Fraction,
    seed: int,
    draws: int,
) -> dict[str, Any]:
    return {
        "schema": PLAN_SCHEMA,
        "period": [period.first.isoformat(), period.last.isoformat()],
        "currency": currency,
        "policies": list(policies),
        "population": {"digest": population, "units": units, "total": fraction_text(total)},
        "design": {"drawn_by_revenue": decimal_text(REVENUE_PART), "with_replacement": True},
        "seed": seed,
        "draws": draws,
    }


def _draw_rows(
    plan_id: str, units: tuple[Unit, ...], positions: NDArray[np.intp], chances: NDArray[np.float64]
) -> list[tuple[Any, ...]]:
    return [
        (
            plan_id,
            number,
            units[place].image_sha256,
            units[place].attribution_id,
            decimal_text(float(chances[place])),
        )
        for number, place in enumerate(positions.tolist(), start=1)
    ]


def _altered(plan_id: str) -> AuditError:
    return AuditError(
        f"The audit plan {plan_id[:12]} in the database is not the one that was made.",
        next_step="See what was altered: fairbrush ledger verify",
    )
