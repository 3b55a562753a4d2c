"""What was measured, judged by the goals; as rows and as JSON.

Enters: findings with the facts of their run. Leaves: goals and plain values. The one rule: a goal is judged
by the whole interval: met or missed where it lies on one side, open where it does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairbrush.accuracy.experiments import BASE_RATIO, PAID_RATIO, Finding, Section, beside_best
from fairbrush.accuracy.gallery import LeftOut
from fairbrush.accuracy.measures import Estimate
from fairbrush.accuracy.methods import RAW_CENTROID, VIEWS
from fairbrush.accuracy.trials import ONE, UNKNOWN, Plan

SCHEMA = "fairbrush.accuracy/1"
ENGINE = "fairbrush "
TWO = "2 artists, all"
THREE = "3 artists, all"
MOST_OF_RAW = 0.5
COVERED = (0.93, 0.97)


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    OPEN = "open"
    NOT_GIVEN = "no intervals"


@dataclass(frozen=True)
class RunFacts:
    """What was run, so that it can be run again."""

    command: str
    encoder_id: str | None
    variant: str | None
    gallery: str | None
    works: int
    panel_works: int
    machine: str
    plan: Plan
    left_out: tuple[LeftOut, ...]
    elapsed_s: float


@dataclass(frozen=True)
class Goal:
    """One goal in one setting, and how it came out."""

    goal: str
    setting: str
    method: str
    estimate: Estimate | None
    verdict: Verdict


@dataclass(frozen=True)
class AccuracyReport:
    facts: RunFacts
    findings: tuple[Finding, ...]

    def of(self, section: Section, measure: str, kind: str | None = None) -> list[Finding]:
        return [
            one
            for one in self.findings
            if one.section is section and one.measure == measure and kind in (None, one.kind)
        ]

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goals as the project set them, for each of fairbrush's value functions."""
        alpha = self.facts.plan.alpha
        found = [
            _goal(
                f"two artists: mis-paid at most {MOST_OF_RAW:.0%} of {RAW_CENTROID}'s", one, most=MOST_OF_RAW
            )
            for one in self.of(Section.MIXTURES, BASE_RATIO, TWO)
        ]
        found += [
            _goal(
                f"two artists: mis-paid, where anybody is credited, at most {MOST_OF_RAW:.0%} of"
                f" {RAW_CENTROID}'s on the same images",
                one,
                most=MOST_OF_RAW,
            )
            for one in self.of(Section.MIXTURES, PAID_RATIO, TWO)
        ]
        for view in VIEWS:
            found += [
                _goal(f"one artist: ranked right no less often than the best {view} baseline", one, least=0)
                for one in self.of(Section.ONE_ARTIST, beside_best(view), ONE.label)
            ]
        found += [
            _goal(f"unknown artist: credits anybody at most {alpha:.0%} of the time", one, most=alpha)
            for one in self.of(Section.UNKNOWN, "credits", UNKNOWN.label)
        ]
        found += [
            _goal(
                f"95 % intervals hold the share {COVERED[0]:.0%} to {COVERED[1]:.0%} of the time",
                one,
                least=COVERED[0],
                most=COVERED[1],
            )
            for one in self.of(Section.INTERVALS, "covered")
        ]
        return tuple(goal for goal in found if goal.method.startswith(ENGINE))


def _goal(name: str, finding: Finding, *, least: float = -math.inf, most: float = math.inf) -> Goal:
    return Goal(name, finding.setting, finding.method, finding.estimate, judge(finding.estimate, least, most))


def judge(estimate: Estimate | None, least: float, most: float) -> Verdict:
    """Whether an interval lies in, or out of, [least, most].

    >>> judge(Estimate(0.04, 0.03, 0.07, 100, 10), 0, 0.05)
    <Verdict.OPEN: 'open'>
    """
    if estimate is None:
        return Verdict.NOT_GIVEN
    if math.isnan(estimate.low):
        return Verdict.OPEN
    if least <= estimate.low and estimate.high <= most:
        return Verdict.MET
    return Verdict.MISSED if estimate.low > most or estimate.high < least else Verdict.OPEN


def rows(report: AccuracyReport) -> list[dict[str, Any]]:
    """Every finding as plain values; no number is None."""
    return [
        {
            "section": str(one.section),
            "setting": one.setting,
            "kind": one.kind,
            "method": one.method,
            "measure": one.measure,
            **_plain(one.estimate),
        }
        for one in report.findings
    ]


def _plain(estimate: Estimate | None) -> dict[str, float | int | None]:
    if estimate is None:
        return {"mean": None, "low": None, "high": None, "images": 0, "groups": 0}
    numbers = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
    known = {name: None if math.isnan(value) else round(value, 6) for name, value in numbers.items()}
    return {**known, "images": estimate.images, "groups": estimate.groups}


def document(report: AccuracyReport) -> dict[str, Any]:
    """The schema ``fairbrush.accuracy/1``, ready for ``json.dumps``."""
    facts = report.facts
    return {
        "schema": SCHEMA,
        "command": facts.command,
        "encoder": {"id": facts.encoder_id, "variant": facts.variant},
        "gallery": {"source": facts.gallery, "works": facts.works, "panel_works": facts.panel_works},
        "plan": {
            "splits": facts.plan.splits,
            "seed": facts.plan.seed,
            "alpha": facts.plan.alpha,
            "synthetic_sizes": list(facts.plan.synthetic_sizes),
        },
        "machine": facts.machine,
        "elapsed_s": round(facts.elapsed_s, 1),
        "left_out": [{"what": one.what, "reason": one.reason} for one in facts.left_out],
        "goals": [
            {
                "goal": one.goal,
                "setting": one.setting,
                "method": one.method,
                "verdict": str(one.verdict),
                **_plain(one.estimate),
            }
            for one in report.goals
        ],
        "findings": rows(report),
    }
