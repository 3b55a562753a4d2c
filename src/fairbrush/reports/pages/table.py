"""Any rows as a page: what ``--format html`` gives.

Enters: columns and rows of plain values. Leaves: HTML. The one rule: values are those of the other formats;
only measured numbers are rounded, to four digits, as in a table on a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.words import Language, Words


def table_page(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    title: str,
    lede: str = "",
    language: str = Language.ENGLISH,
) -> str:
    """Raises ReportError where the extra ``report`` is not installed."""
    numeric = [
        position
        for position in range(len(columns))
        if any(row[position] is not None for row in rows)
        and all(isinstance(row[position], int | float | Decimal | None) for row in rows)
    ]
    return render(
        "table.html",
        words=Words.of(language),
        title=title,
        lede=lede,
        columns=columns,
        rows=[list(map(_shown, row)) for row in rows],
        numeric=numeric,
    )


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return (
        f"{cell:.4g}"
        if isinstance(cell, float)
        else format(cell, "f")
        if isinstance(cell, Decimal)
        else str(cell)
    )
