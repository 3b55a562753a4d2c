"""What needs somebody's attention, each with the command that comes next.

Enters: what the overview has read, and the registry. Leaves: ``Matter``s, most pressing first. The one rule:
nothing is done here, and what is in order is not mentioned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.lines import CANCELLED_LINES, SETTLED_LINES
from fairbrush.ledger.payouts import Payout, Proposal, list_payouts
from fairbrush.reports.pages.overview_money import Revenue
from fairbrush.reports.pages.overview_quality import Quality, Quarrels
from fairbrush.reports.pages.overview_styles import NoStyles, Styles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LONG = timedelta(days=14)  # a payout is proposed, and the bank should have answered


class Kind(StrEnum):
    """What it is; the words a terminal shows."""

    INDEX_UNREADABLE = "the index cannot be read"
    NO_INDEX = "there is no index"
    REFUSED_RECORDS = "damaged files of records"
    CONFLICTS = "records that came again with other numbers"
    DISPUTES = "open disputes"
    NO_POLICY = "revenue, and no policy"
    UNASKED = "open revenue lines whose image nobody looked up"
    UNSETTLED = "open revenue lines of past days"
    OLD_PAYOUTS = "payouts proposed two weeks ago or more"
    PAYABLE = "payouts that could be proposed"
    UNCLAIMED = "unclaimed styles that earn"
    BEHIND = "artists with works that are not in the index"
    DUPLICATES = "files that are works of several creators"


@dataclass(frozen=True)
class Matter:
    """``count``: of what ``kind`` says; ``amounts``: minor units by currency, where money hangs on it."""

    kind: Kind
    count: int
    command: str
    amounts: Mapping[str, int] = field(default_factory=dict)


def find_matters(
    connection: DuckDBPyConnection,
    *,
    now: datetime,
    quality: Quality,
    quarrels: Quarrels,
    revenue: list[Revenue],
    proposal: Proposal,
    styles: Styles | NoStyles,
) -> list[Matter]:
    """``revenue``: all there is. ``now``: UTC without a zone. Those of nothing are left out."""
    policies = _count(connection, "SELECT count(*) FROM policy")
    lines = sum(sum(one.lines.values()) for one in revenue)
    unasked, _ = _open_lines(connection, now, _UNASKED)
    unsettled, amounts = _open_lines(connection, now, "TRUE")
    old = [
        one for one in list_payouts(connection, status=PayoutStatus.PROPOSED) if one.proposed_at <= now - LONG
    ]
    found = [
        Matter(Kind.REFUSED_RECORDS, quality.refused_records, "fairbrush doctor"),
        Matter(Kind.CONFLICTS, quality.conflicts, "fairbrush ledger verify"),
        Matter(Kind.DISPUTES, quarrels.open, "fairbrush dispute list --open", quarrels.aside),
        Matter(Kind.NO_POLICY, 0 if policies else lines, "fairbrush policy adopt --from DAY"),
        Matter(Kind.UNASKED, unasked, "fairbrush attribute IMAGES"),
        Matter(Kind.UNSETTLED, unsettled, "fairbrush settle PERIOD --dry-run", amounts),
        Matter(Kind.OLD_PAYOUTS, len(old), "fairbrush payout list --status proposed", _sums(old)),
        Matter(Kind.PAYABLE, len(proposal.payouts), "fairbrush payout propose", _sums(proposal.payouts)),
        _unclaimed(connection, now),
        _behind(connection, now, styles),
        Matter(Kind.DUPLICATES, quality.duplicates, "fairbrush artist clones"),
    ]
    if isinstance(styles, NoStyles) and not styles.is_missing:
        found.insert(0, Matter(Kind.INDEX_UNREADABLE, 1, "fairbrush doctor"))
    return [matter for matter in found if matter.count]


def _unclaimed(connection: DuckDBPyConnection, now: datetime) -> Matter:
    consents = effective_consents(connection, now=now)
    artists = set()
    amounts: dict[str, int] = {}
    for (account, currency), amount in balances(connection, AccountKind.ESCROW).items():
        if consents.get(account.holder) is Consent.UNCLAIMED:
            artists.add(account.holder)
            amounts[currency] = amounts.get(currency, 0) + amount
    return Matter(Kind.UNCLAIMED, len(artists), "fairbrush artist claim ARTIST --evidence TEXT", amounts)


def _behind(connection: DuckDBPyConnection, now: datetime, styles: Styles | NoStyles) -> Matter:
    """Artists who are not in the index, or have other works than it knows."""
    consents = effective_consents(connection, now=now)
    rows = connection.execute("SELECT artist_id, count(*) FROM work GROUP BY 1").fetchall()
    registered = {one: works for one, works in rows if consents.get(one) is not Consent.ERASED}
    if isinstance(styles, NoStyles):
        if styles.is_missing and registered:
            return Matter(Kind.NO_INDEX, len(registered), "fairbrush index build")
        return Matter(Kind.BEHIND, 0, "")
    behind = [one for one, works in registered.items() if styles.indexed_works.get(one) != works]
    return Matter(Kind.BEHIND, len(behind), "fairbrush index extend")


_UNASKED = (
    "coalesce(image_sha256 NOT IN (SELECT image_sha256 FROM attribution), FALSE)"  # spread lines have none
)


def _open_lines(connection: DuckDBPyConnection, now: datetime, condition: str) -> tuple[int, dict[str, int]]:
    """Lines of past days that are neither settled nor cancelled: how many, and their sums."""
    rows = connection.execute(
        f"""
        SELECT currency, count(*), sum(amount_minor) FROM revenue
        WHERE earned_to < ? AND {condition}
        AND revenue_id NOT IN ({CANCELLED_LINES})
        AND revenue_id NOT IN (SELECT revenue_id FROM ({SETTLED_LINES}))
        GROUP BY currency ORDER BY currency
        """,
        [now.date()],
    ).fetchall()
    return sum(lines for _, lines, _ in rows), {currency: int(amount) for currency, _, amount in rows}


def _sums(payouts: Iterable[Payout]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in payouts:
        sums[one.currency] = sums.get(one.currency, 0) + one.amount_minor
    return dict(sorted(sums.items()))


def _count(connection: DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
