"""An audit's report in words, for whoever is no statistician.

Enters: an ``AuditReport``. Leaves: text. The one rule: what is promised is told apart from what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from fairbrush.cli.output import Row, printable, table

if TYPE_CHECKING:
    from fairbrush.validation.audit.report import AuditReport
    from fairbrush.validation.audit.report import Line as TotalLine

MOST_SHOWN = 30  # lines of a table of totals
ID_SHOWN = 12  # characters
WIDTH = 100  # of a paragraph
AMOUNTS = ("fast", "estimate", "low", "high")


def figures(found: AuditReport, line: TotalLine) -> Row:
    """One line of totals, in money."""
    return {
        "name": line.name,
        "id": line.group_id,
        "creators": line.creators,
        **{name: money_text(getattr(line, name), found.plan.currency) for name in AMOUNTS},
        "verdict": line.verdict,
    }


def words(found: AuditReport) -> str:
    """The totals, and what all of it means."""
    made = found.plan
    rows = [_without_id(figures(found, line)) for line in found.lines]
    shown = rows if len(rows) <= MOST_SHOWN else [*rows[: MOST_SHOWN - 1], rows[-1]]
    more = len(rows) - len(shown)
    whole = f"{money_text(float(made.total), made.currency)} {made.currency}"
    paragraphs = [
        f"Audit {made.plan_id[:ID_SHOWN]} of {made.period}: {whole} that records give creators"
        f" or nobody, of {len(made.units)} images; {found.used} of {made.draws} draws.",
        _aligned(shown) + (f"and {more} more: --csv has all\n" if more else ""),
        *(fill(text, WIDTH) for text in (_of_totals(found), _of_mis_paid(found), _of_trust(found))),
    ]
    return "\n".join(map(_printed, paragraphs))


def loud(found: AuditReport) -> list[str]:
    """What a reader of the figures must know."""
    lines = []
    if failed := sum(found.reasons.values()):
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(found.reasons.items()))
        lines.append(
            f"FAILED: {failed} drawn images could not be measured ({why}). They count as mis-paid whole in"
            " the bound and in what to trust, and as right in the totals: run the audit again."
        )
    if found.unaudited > 0.0:
        lines.append(
            f"NOT MEASURED: {percent(found.unaudited)} of the drawn money is of creators who may not be"
            " measured any more. It counts as mis-paid in the bound, and as right in the totals."
        )
    return [*lines, *found.notes]


def money_text(minor: float, currency: str) -> str:
    from fairbrush.ledger.currency import format_amount

    return format_amount(round(minor), currency)


def percent(part: float) -> str:
    """
    >>> percent(0.0451), percent(0.5), percent(1.0)
    ('4.5 %', '50 %', '100 %')
    """
    return f"{100 * part:.3g} %" if part >= 0.1 else f"{100 * part:.2g} %"


def finite(number: float) -> float | None:
    """JSON has no infinity."""
    return number if abs(number) != float("inf") else None


def _of_totals(found: AuditReport) -> str:
    from fairbrush.validation.audit.report import Group

    apart = sum(line.verdict != "in the interval" for line in found.lines)
    whose = {"creator": "creators", "payee": "payees", "size": "groups"}[str(found.group)]
    text = (
        "fast: what the records give. estimate, low, high: what regeneration would give, and between which"
        f" bounds it lies with {percent(found.level)} confidence, each by itself. Of {len(found.lines)} lines"
        f" ({whose}, and nobody) {apart} were given more or less than that."
    )
    if found.group is not Group.SIZE and any(not one.fast and one.estimate > 0.0 for one in found.lines[:-1]):
        text += (
            " Who is in no record (fast 0) and yet has an estimate was found by a lucky draw: that they were"
            " given too little is seen, how much too little is often overstated."
        )
    return text


def _of_mis_paid(found: AuditReport) -> str:
    at_most = min(math.ceil(found.bound * 1000.0) / 1000.0, 1.0)  # a bound is never rounded down
    return (
        f"Mis-paid: about {percent(found.mis_paid)} of this money goes, by the records, to other hands than"
        f" regeneration says, and at most {percent(at_most)} ({percent(found.level)} confidence, for any"
        " number of draws)."
    )


def _of_trust(found: AuditReport) -> str:
    from fairbrush.validation.audit.conformal import fewest_draws

    rule, made = found.rule, found.plan
    target = percent(rule.target)
    if not found.trusted:
        text = f"Trust or regenerate: no image can be trusted unseen at a target of {target}."
        if found.used < (least := fewest_draws(rule.target)):
            text += f" So few draws promise nothing: it takes {least}, and more where any is mis-paid."
    else:
        money = sum(one.amount for one in found.trusted)
        few = rule.threshold != -math.inf
        which = f", those of a score above {rule.threshold:.3g}" if few else ": any score will do"
        text = (
            f"Trust or regenerate: trust {len(found.trusted)} of {len(found.judged)} images,"
            f" {percent(money / float(made.total))} of the money{which}. What is mis-paid on them is, on"
            f" average over audits, at most {target} of all the money."
        )
        if few:
            text += " Regenerate the others; --trust --csv lists them."
        if rule.risk_among_trusted is not None:
            text += (
                f" As seen in this audit, and promised by nothing: {percent(rule.risk_among_trusted)} of the"
                " trusted money was mis-paid."
            )
    if found.ranking is not None:
        text += (
            " The score, how steady an answer is and whether the prompt agrees, puts"
            f" {percent(found.ranking)} of pairs of audited images in the right order; 50 % is chance."
        )
    return text


def _without_id(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "id"}


def _aligned(rows: Sequence[Row]) -> str:
    """As a table, amounts to the right although they are text."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in AMOUNTS}
    return table(
        [
            {name.rjust(widths.get(name, 0)): _padded(value, widths.get(name)) for name, value in row.items()}
            for row in rows
        ]
    )


def _padded(value: object, width: int | None) -> object:
    return value if width is None else str(value).rjust(width)


def _printed(paragraph: str) -> str:
    return "\n".join(map(printable, paragraph.rstrip("\n").split("\n"))) + "\n"
