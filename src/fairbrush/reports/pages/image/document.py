"""The facts of one answer as JSON: the schema ``fairbrush.report_image/1``.

Enters: an ``ImageReport``. Leaves: a document of plain values. The one rule: shares are whole numbers of
10^-12 and amounts exact fractions of minor units as text, so that a reader's sums are exact too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fairbrush.ledger.exactly import fraction_text
from fairbrush.reports.pages.image.earned import CameIn, EarnedLine, Money, MoneyPart
from fairbrush.reports.pages.image.facts import Contested, Credit, ImageReport
from fairbrush.reports.pages.image.people import Person

SCHEMA = "fairbrush.report_image/1"


def document(report: ImageReport) -> dict[str, Any]:
    """For ``json.dumps``. Erased artists have a null name."""
    return {
        "schema": SCHEMA,
        "attribution_id": report.attribution_id,
        "image": {
            "sha256": report.image_sha256,
            "path": None if report.path is None else str(report.path),
            "is_kept_back": report.is_kept_back,
        },
        "recorded_at": _moment(report.recorded_at),
        "b": fraction_text(report.content_part),
        "w": fraction_text(report.artists_part),
        "model_share_e12": report.model_share_e12,
        "unattributed_e12": report.unattributed_e12,
        "unattributed_why": report.unexplained and report.unexplained.name.lower(),
        "reason": report.reason,
        "artists": [_credit(credit) for credit in report.credits],
        "decided": report.decided
        and {
            "dispute_id": report.decided.dispute_id,
            "artists": [
                {**_person(artist), "share_e12": share} for artist, share in report.decided.shares_e12
            ],
            "unattributed_e12": report.decided.unattributed_e12,
        },
        "confidence": report.confidence and str(report.confidence),
        "steadiness": report.steadiness,
        "runner_up": report.runner_up
        and {
            "artist": report.runner_up.artist and _person(report.runner_up.artist),
            "similarity": report.runner_up.similarity,
            "z": report.runner_up.z,
            "needed": report.runner_up.needed,
            "behind": report.runner_up.behind,
            "is_near": report.runner_up.is_near,
        },
        "inputs": [
            {
                "sha256": one.sha256,
                "weight": one.weight,
                "similarity": one.similarity,
                "artist": one.artist and _person(one.artist),
            }
            for one in report.mixed
        ],
        "hint": report.hinted
        and {
            "source": str(report.hinted.source),
            "artists": [_person(artist) for artist in report.hinted.artists],
            "others": report.hinted.others,
        },
        "disputes": [_contested(one) for one in report.disputes],
        "money": _money(report.money),
        "other_answers": [
            {
                "attribution_id": one.attribution_id,
                "recorded_at": _moment(one.recorded_at),
                "index_version": one.index_version,
                "model": one.model_id,
                "value_function": one.value_function,
                "artists": one.artists,
                "first": one.first and _person(one.first),
            }
            for one in report.others
        ],
        "chain": report.committed
        and {**vars(report.committed), "committed_at": _moment(report.committed.committed_at)},
        "versions": vars(report.versions),
    }


def _person(artist: Person) -> dict[str, Any]:
    return {
        "artist": artist.name or None,
        "artist_id": artist.artist_id,
        "consent": str(artist.consent),
    }


def _credit(credit: Credit) -> dict[str, Any]:
    return {
        **_person(credit.artist),
        "share_e12": credit.share_e12,
        "interval": None if credit.interval is None else list(credit.interval),
        "phi": credit.phi,
        "similarity": credit.similarity,
        "strangers": credit.strangers,
        "z": credit.z,
        "evidence": [
            {"work_sha256": work.sha256, "similarity": work.similarity, "is_shown": work.is_shown}
            for work in credit.evidence
        ],
    }


def _contested(one: Contested) -> dict[str, Any]:
    return {
        "dispute_id": one.dispute_id,
        "by": one.by or None,
        "state": str(one.state),
        "over": "standing" if one.is_standing else "attribution",
        "contested": [_person(artist) for artist in one.artists],
        "claims_unattributed": one.claims_unattributed,
        "opened_at": _moment(one.opened_at),
        "resolved_at": None if one.resolved_at is None else _moment(one.resolved_at),
    }


def _money(money: Money) -> dict[str, Any]:
    return {
        "pays": money.pays.name.lower(),
        "paying_attribution_id": money.paying_id,
        "lines": [_line(line) for line in money.lines],
        "taken_back": money.taken_back,
        "taken_back_lines": [_line(line) for line in money.gone],
        "waiting_lines": len(money.waiting),
        "undivided_lines": [_came_in(line) for line in money.undivided],
        "divided_elsewhere": money.elsewhere,
        "example": money.example
        and {
            "currency": money.example.currency,
            "amount_minor": money.example.amount_minor,
            "platform_fee": fraction_text(money.example.platform_fee),
            "is_adopted": money.example.is_adopted,
            "by_rule_minor": fraction_text(money.example.by_rule_minor),
            "parts": _parts(money.example.parts),
        },
    }


def _came_in(line: CameIn) -> dict[str, Any]:
    return {
        "revenue_id": line.revenue_id,
        "reference": line.reference,
        "currency": line.currency,
        "amount_minor": line.amount_minor,
        "earned_to": line.earned_to.isoformat(),
        "image_part": fraction_text(line.part),
        "exact_minor": fraction_text(line.exact_minor),
        "cancelled_at": None if line.cancelled_at is None else _moment(line.cancelled_at),
    }


def _line(line: EarnedLine) -> dict[str, Any]:
    return {
        **_came_in(line),
        "settlement_number": line.settlement_number,
        "divisions": line.divisions,
        "policy_digest": line.policy_digest,
        "by_rule_minor": fraction_text(line.by_rule_minor),
        "owed_back_minor": fraction_text(line.owed_back_minor),
        "set_off_minor": fraction_text(line.set_off_minor),
        "returning": [
            {
                "for": str(one.step),
                "artist_id": one.artist and one.artist.artist_id,
                "owed_back_minor": fraction_text(one.owed_back_minor),
                "set_off_minor": fraction_text(one.set_off_minor),
            }
            for one in line.returning
        ],
        "parts": _parts(line.parts),
    }


def _parts(parts: Sequence[MoneyPart]) -> list[dict[str, Any]]:
    return [
        {
            "for": str(part.step),
            "artist_id": part.artist and part.artist.artist_id,
            "exact_minor": fraction_text(part.exact_minor),
            "place": part.place.name.lower(),
        }
        for part in parts
    ]


def _moment(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"
