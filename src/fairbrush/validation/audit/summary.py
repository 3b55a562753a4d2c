"""Audits in a line each, for the overview of a platform.

Enters: an open database. Leaves: ``AuditFigure``s, of every audit of which something was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairbrush.errors import AuditError
from fairbrush.reports.pages.overview_quality import AuditFigure
from fairbrush.validation.audit.plan import list_plans
from fairbrush.validation.audit.report import make_report

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def audit_figures(connection: DuckDBPyConnection) -> tuple[AuditFigure, ...]:
    """In the order in which they were planned."""
    found = []
    for plan in list_plans(connection):
        try:
            report = make_report(connection, plan)
        except AuditError:
            continue  # nothing of it is measured yet
        found.append(
            AuditFigure(
                plan.plan_id,
                plan.period,
                plan.currency,
                report.used,
                plan.draws,
                report.mis_paid,
                report.bound,
                report.level,
            )
        )
    return tuple(found)
