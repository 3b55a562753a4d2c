"""An audit as rows and documents, for whoever reads them with a program.

Enters: a plan, a run, a report. Leaves: what ``--json``, ``--nl`` and ``--csv`` hold. The one rule: names of
a published schema are added to, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fairbrush.cli.audit_words import figures, finite, loud, money_text
from fairbrush.cli.output import Row

if TYPE_CHECKING:
    from fairbrush.validation.audit.bands import Reach
    from fairbrush.validation.audit.plan import Plan
    from fairbrush.validation.audit.population import Population
    from fairbrush.validation.audit.report import AuditReport, Judged
    from fairbrush.validation.audit.run import RunReport, Tried

_TRUSTED = {float("inf"): "none", float("-inf"): "all"}  # by the threshold


def described(made: Plan) -> dict[str, Any]:
    return {
        "plan_id": made.plan_id,
        "period": str(made.period),
        "currency": made.currency,
        "images": len(made.units),
        "money": money_text(float(made.total), made.currency),
        "draws": made.draws,
        "drawn_images": len(made.drawn),
        "seed": made.seed,
        "population": made.population_digest,
        "policies": list(made.policies),
        "made_at": f"{made.made_at.isoformat(timespec='seconds')}Z",
    }


def plan_document(
    made: Plan, population: Population, bought: Sequence[Reach], *, is_new: bool
) -> dict[str, Any]:
    """The schema ``fairbrush.audit_plan_made/1``."""
    return {
        "schema": "fairbrush.audit_plan_made/1",
        **described(made),
        "new": is_new,
        "left_out": {
            "lines": population.left_out.lines,
            "amount_minor": population.left_out.amount_minor,
            "images": population.left_out.images,
        },
        "images_of_erased": population.erased,
        "expected": [reach_row(made, one) for one in bought],
        "drawn": [dict(row) for row in draw_rows(made)],
    }


def draw_rows(made: Plan) -> list[Row]:
    return [
        {
            "position": number,
            "image": made.units[at].image_sha256,
            "attribution_id": made.units[at].attribution_id,
            "amount": money_text(float(made.amounts[at]), made.currency),
            "probability": float(made.probabilities[at]),
        }
        for number, at in enumerate(made.positions.tolist(), start=1)
    ]


def reach_row(made: Plan, one: Reach) -> Row:
    return {
        "creators": str(one.band),
        "count": one.creators,
        "fast": money_text(one.fast, made.currency),
        "expected_draws": one.expected_draws,
        "half_width": money_text(one.half_width, made.currency),
    }


def tried_row(one: Tried) -> Row:
    return {
        "image": one.unit.image_sha256,
        "file": None if one.path is None else str(one.path),
        "outcome": str(one.result.outcome),
        "reason": one.result.reason and str(one.result.reason),
        "nobody": one.result.nobody if one.result.is_done else None,
        "images_made": one.made,
    }


def how_far(ran: RunReport) -> dict[str, Any]:
    done = sum(result.is_done for result in ran.results.values())
    return {
        "plan_id": ran.plan.plan_id,
        "drawn_images": len(ran.plan.drawn),
        "measured": done,
        "failed": len(ran.results) - done,
        "waiting": len(ran.plan.drawn) - len(ran.results),
    }


def report_document(found: AuditReport) -> dict[str, Any]:
    """The schema ``fairbrush.audit_report/1``."""
    rule = found.rule
    return {
        "schema": "fairbrush.audit_report/1",
        **described(found.plan),
        "draws_used": found.used,
        "effective_draws": found.effective,
        "outcomes": {str(outcome): count for outcome, count in found.outcomes.items()},
        "failures": dict(found.reasons),
        "unaudited": found.unaudited,
        "level": found.level,
        "mis_paid": found.mis_paid,
        "mis_paid_at_most": found.bound,
        "kappa": found.kappa,
        "group": str(found.group),
        "totals": [dict(figures(found, line)) for line in found.lines],
        "trust": {
            "target": rule.target,
            "threshold": finite(rule.threshold),
            "trusts": _TRUSTED.get(rule.threshold, "some"),
            "images": len(found.trusted),
            "money": money_text(sum(one.amount for one in found.trusted), found.plan.currency),
            "risk": rule.risk,
            "risk_among_trusted": rule.risk_among_trusted,
            "ranking": found.ranking,
        },
        "images_judged": [dict(judged_row(found, one)) for one in found.judged],
        "notes": loud(found),
    }


def judged_row(found: AuditReport, one: Judged) -> Row:
    return {
        "image": one.image_sha256,
        "attribution_id": one.attribution_id,
        "amount": money_text(one.amount, found.plan.currency),
        "score": one.score,
        "verdict": "trust" if one.is_trusted else "regenerate",
        "audited": one.is_audited,
    }
