"""What a creator earned, was paid, and is kept waiting for, and why.

Enters: an open database, and a creator's part of the book. Leaves: settlements with their lines, payouts,
held amounts, disputes. The one rule: of a settlement, a payout or a dispute that concerns several, only this
creator's part is told, and nobody else is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from enum import StrEnum
from typing import TYPE_CHECKING

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent
from fairbrush.ledger.bank_details import masked
from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.disputes import Dispute, State, Subject, read_disputes
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import adopted_policies
from fairbrush.ledger.settled import SettlementKind
from fairbrush.reports.pages.statement_accounts import closing_accounts
from fairbrush.reports.pages.statement_moved import Moved, Place

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Settled:
    """What one settlement, or a reversal of one, booked for a creator in one currency. ``lines`` and
    ``images``: those that credit them; none where only a fraction of before was made whole."""

    number: int
    settlement_id: str
    kind: SettlementKind
    reverses: int | None
    earned: Period
    booked_at: datetime
    currency: str
    amounts: Mapping[Place, int]
    lines: int
    images: int

    @property
    def total(self) -> int:
        return sum(self.amounts.values())


@dataclass(frozen=True)
class Line:
    """One image of one revenue line in one settlement. ``share_e12``: of the image, as it was recorded or as
    a dispute decided; ``images``: over how many the line's amount is spread."""

    settlement: int
    kind: SettlementKind
    revenue_id: str
    earned_from: date
    earned_to: date
    image_sha256: str
    attribution_id: str
    artist_id: str
    share_e12: int
    currency: str
    line_amount_minor: int
    images: int


@dataclass(frozen=True)
class Paid:
    """A creator's part of a payout, as it stood at the end of the period. ``account``: masked; None where no
    account is known, or another may have been paid: only the last one is kept."""

    payout_id: str
    payee_id: str
    currency: str
    amount_minor: int
    status: PayoutStatus
    proposed_at: datetime
    changed_at: datetime
    note: str | None
    account: str | None


class Why(StrEnum):
    """Why money is not paid, each of which some part of a closing balance is kept for."""

    UNCLAIMED = "unclaimed"
    OPTED_OUT = "opted_out"
    TO_RELEASE = "to_release"
    DISPUTED = "disputed"
    ON_ITS_WAY = "on_its_way"
    DUE = "due"
    BELOW_MINIMUM = "below_minimum"
    OWED_BACK = "owed_back"
    PAYEE_ERASED = "payee_erased"


@dataclass(frozen=True)
class Kept:
    """``about``: the dispute, the payout or the payee. ``minimum_minor``: where that is the reason."""

    why: Why
    place: Place
    currency: str
    amount_minor: int
    artist_id: str
    about: str
    minimum_minor: int | None = None


class Role(StrEnum):
    """What a dispute has to do with a creator."""

    OPENED = "opened"
    ENTRY = "entry"
    SHARE = "share"
    GIVEN = "given"


@dataclass(frozen=True)
class Contested:
    """``state``: at the end of the period. ``image_sha256``: of the answer it is over. ``reason``: only of
    one's own, or of one over who one is."""

    dispute_id: str
    role: Role
    subject: Subject
    subject_id: str
    image_sha256: str | None
    state: State
    opened_at: datetime
    resolved_at: datetime | None
    reason: str | None


def end_of(period: Period) -> datetime:
    """Its last moment, to the microsecond, as finely as the database keeps times."""
    return datetime.combine(period.last, time.max)


def consents_at_end(connection: DuckDBPyConnection, period: Period, *, now: datetime) -> dict[str, Consent]:
    """What was in effect in its last moment, or is now, and was recorded by then."""
    return effective_consents(connection, now=min(now, end_of(period)), as_recorded=True)


def read_settled(
    connection: DuckDBPyConnection, moved: Sequence[Moved], lines: Sequence[Line], period: Period
) -> tuple[Settled, ...]:
    """In their order."""
    amounts: dict[tuple[str, str], dict[Place, int]] = defaultdict(lambda: dict.fromkeys(Place, 0))
    for one in moved:
        if one.kind in (EntryKind.SETTLEMENT, EntryKind.REVERSAL) and one.booked_at.date() in period:
            amounts[one.reference, one.currency][one.place] += one.amount_minor
    rows = connection.execute(
        "SELECT one.settlement_id, one.number, one.kind, other.number, one.period_from, one.period_to,"
        " one.recorded_at FROM settlement one LEFT JOIN settlement other"
        " ON other.settlement_id = one.reverses"
        " WHERE list_contains($1::TEXT[], one.settlement_id) ORDER BY one.number",
        [sorted({settlement_id for settlement_id, _ in amounts})],
    ).fetchall()
    currencies: dict[str, list[str]] = defaultdict(list)
    for settlement_id, currency in sorted(amounts):
        currencies[settlement_id].append(currency)
    own: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for line in lines:
        own[line.settlement, line.currency].append(line)
    found = []
    for settlement_id, number, kind, reverses, first, last, booked_at in rows:
        for currency in currencies[settlement_id]:
            found.append(
                Settled(
                    number,
                    settlement_id,
                    SettlementKind(kind),
                    reverses,
                    Period(first, last),
                    booked_at,
                    currency,
                    amounts[settlement_id, currency],
                    len({line.revenue_id for line in own[number, currency]}),
                    len({line.image_sha256 for line in own[number, currency]}),
                )
            )
    return tuple(found)


# What decided disputes give whom: dispute_id, artist_id, share_e12.
_GIVEN = """
    SELECT dispute_id, pair ->> 0 AS artist_id, (pair ->> 1)::BIGINT AS share_e12
    FROM (SELECT dispute_id, unnest(json_extract(body, '$.outcome.shares_e12[*]')) AS pair
          FROM dispute_event WHERE event = 'resolved')
"""


def read_lines(connection: DuckDBPyConnection, creator_id: str, period: Period) -> tuple[Line, ...]:
    """Every image of every line that credits the creator in settlements booked in the period."""
    rows = connection.execute(
        f"""
        WITH line AS (
            SELECT settlement_line.*, number, kind, coalesce(reverses, settlement_id) AS frozen_by
            FROM settlement_line JOIN settlement USING (settlement_id)
            WHERE recorded_at::DATE BETWEEN $first AND $last),
        share AS (
            SELECT line.*, artist_id, share_e12 FROM line JOIN attribution_share USING (attribution_id)
            WHERE decided_by IS NULL
            UNION ALL
            SELECT line.*, artist_id, share_e12 FROM line JOIN ({_GIVEN}) ON dispute_id = decided_by),
        spread AS (SELECT revenue_id, count(*) AS images FROM revenue_image GROUP BY revenue_id)
        SELECT number, share.kind, revenue_id, earned_from, earned_to, share.image_sha256,
            share.attribution_id, share.artist_id, share_e12, revenue.currency, amount_minor,
            coalesce(spread.images, 1)
        FROM share JOIN artist USING (artist_id) JOIN revenue USING (revenue_id)
        JOIN attribution USING (attribution_id)
        LEFT JOIN spread USING (revenue_id)
        LEFT JOIN settlement_standing AS standing ON standing.settlement_id = frozen_by
            AND standing.artist_id = share.artist_id AND standing.model_id = attribution.model_id
        WHERE share_e12 > 0 AND $creator = CASE
            WHEN treatment = 'paid' AND standing.dispute_id IS NULL THEN standing.creator_id
            ELSE artist.creator_id END
        ORDER BY number, earned_from, earned_to, share.image_sha256, share.artist_id, revenue_id
        """,
        {"creator": creator_id, "first": period.first, "last": period.last},
    ).fetchall()
    return tuple(Line(number, SettlementKind(kind), *row) for number, kind, *row in rows)


def read_paid(connection: DuckDBPyConnection, moved: Sequence[Moved], period: Period) -> tuple[Paid, ...]:
    """Payouts that were proposed, confirmed or failed in the period, and those on their way at its end."""
    amounts: dict[tuple[str, str], int] = defaultdict(int)
    for one in moved:
        if one.kind is EntryKind.PAYOUT_PROPOSED and one.place is Place.TRANSIT:
            amounts[one.holder, one.currency] += one.amount_minor
    rows = connection.execute(
        "SELECT payout_id, payee_id, currency, arg_max(status, sequence), min(recorded_at),"
        " max(recorded_at), arg_max(reason, sequence) FROM payout JOIN payout_event USING (payout_id)"
        " WHERE recorded_at <= $end AND list_contains($payouts::TEXT[], payout_id)"
        " GROUP BY ALL ORDER BY min(sequence)",
        {"end": end_of(period), "payouts": sorted({payout_id for payout_id, _ in amounts})},
    ).fetchall()
    accounts = {
        payee_id: (masked(iban), since)
        for payee_id, iban, since in connection.execute(
            "SELECT payee_id, iban, changed_at FROM payee_account"
        ).fetchall()
    }

    def account(payee_id: str, proposed_at: datetime) -> str | None:
        iban, since = accounts.get(payee_id, (None, proposed_at))
        return iban if since <= proposed_at else None

    return tuple(
        Paid(
            payout_id,
            payee_id,
            currency,
            amounts[payout_id, currency],
            PayoutStatus(status),
            proposed_at,
            changed_at,
            note,
            account(payee_id, proposed_at),
        )
        for payout_id, payee_id, currency, status, proposed_at, changed_at, note in rows
        if changed_at.date() in period or status == PayoutStatus.PROPOSED
    )


def read_kept(
    connection: DuckDBPyConnection, moved: Sequence[Moved], period: Period, *, now: datetime
) -> tuple[Kept, ...]:
    """What makes up the closing balance, by reason; amounts of a currency sum to it."""
    consents = consents_at_end(connection, period, now=now)
    payees = dict(connection.execute("SELECT payee_id, name IS NOT NULL FROM payee").fetchall())
    ready = _ready(connection, consents, period)
    minimums = _minimums(connection, period)
    found = []
    for (place, holder, artist_id, currency), amount in closing_accounts(moved, period).items():
        consent, minimum = consents.get(artist_id), None
        match place:
            case Place.TRANSIT:
                why = Why.ON_ITS_WAY
            case Place.DISPUTED:
                why = Why.DISPUTED
            case Place.ESCROW if consent is Consent.OPTED_OUT:
                why = Why.OPTED_OUT
            case Place.ESCROW:
                why = Why.UNCLAIMED if consent is Consent.UNCLAIMED else Why.TO_RELEASE
            case _ if not payees.get(holder):
                why = Why.PAYEE_ERASED
            case _ if amount < 0:
                why = Why.OWED_BACK
            case _ if consent is Consent.OPTED_OUT:
                why = Why.OPTED_OUT
            case _:
                minimum = max(1, minimums.get(currency, 1))
                why = Why.DUE if ready.get((holder, currency), 0) >= minimum else Why.BELOW_MINIMUM
        shown = minimum if why is Why.BELOW_MINIMUM else None
        found.append(Kept(why, place, currency, amount, artist_id, holder, shown))
    return tuple(sorted(found, key=lambda one: (one.currency, list(Why).index(one.why), one.artist_id)))


def _ready(
    connection: DuckDBPyConnection, consents: Mapping[str, Consent], period: Period
) -> dict[tuple[str, str], int]:
    """What each payee could be paid at the end of the period, by currency: theirs is no creator's alone."""
    rows = connection.execute(
        "SELECT holder, currency, subject, sum(amount_minor) FROM posting JOIN entry ON number = entry_number"
        " WHERE account = 'payable' AND recorded_at <= ? GROUP BY ALL",
        [end_of(period)],
    ).fetchall()
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for payee_id, currency, subject, amount in rows:
        if amount < 0 or consents.get(subject) is not Consent.OPTED_OUT:
            sums[payee_id, currency] += int(amount)
    return sums


def _minimums(connection: DuckDBPyConnection, period: Period) -> Mapping[str, int]:
    """By the policy of the last day, of those that were adopted by then."""
    known = connection.execute(
        "SELECT version FROM policy WHERE effective_from <= ? AND recorded_at <= ?",
        [period.last, end_of(period)],
    ).fetchall()
    begun = [one for one in adopted_policies(connection) if (one.version,) in known]
    last = max(begun, key=lambda one: (one.effective_from, one.version), default=None)
    return last.terms.minimum_payout if last else {}


def read_contested(
    connection: DuckDBPyConnection, creator_id: str, artist_ids: Collection[str], period: Period
) -> tuple[Contested, ...]:
    """Disputes by a creator or about them that were open at some time of the period."""
    end, found = end_of(period), []
    disputes = read_disputes(connection)
    images = dict(
        connection.execute(
            "SELECT attribution_id, image_sha256 FROM attribution"
            " WHERE list_contains(?::TEXT[], attribution_id)",
            [[one.subject_id for one in disputes]],
        ).fetchall()
    )
    for dispute in disputes:
        resolution = dispute.resolution
        if resolution is not None and resolution.resolved_at > end:
            resolution = None
        one = replace(dispute, resolution=resolution)
        role = _role(one, creator_id, artist_ids)
        if role is None or one.opened_at > end:
            continue
        if resolution is not None and resolution.resolved_at.date() < period.first:
            continue
        is_told = role in (Role.OPENED, Role.ENTRY)
        found.append(
            Contested(
                one.dispute_id,
                role,
                one.subject,
                one.subject_id,
                images.get(one.subject_id),
                one.state,
                one.opened_at,
                None if resolution is None else resolution.resolved_at,
                one.reason if is_told else None,
            )
        )
    return tuple(found)


def _role(dispute: Dispute, creator_id: str, artist_ids: Collection[str]) -> Role | None:
    if dispute.creator_id == creator_id:
        return Role.OPENED
    if dispute.subject is Subject.STANDING:
        return Role.ENTRY if dispute.subject_id in artist_ids else None
    if set(dispute.contested) & set(artist_ids):
        return Role.SHARE
    decision = dispute.resolution and dispute.resolution.decision
    given = {artist_id for artist_id, share in decision.shares_e12 if share} if decision else set()
    return Role.GIVEN if given & set(artist_ids) else None
