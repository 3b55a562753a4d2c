"""How much is asked, how much of it nobody is credited with, and why: what the records of look-ups say.

Enters: a connection, and a period. Leaves: ``Volumes``, and ``Gap``s. The one rule: everything is summed in
the database; no look-up is read one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fairbrush.domain import Consent
from fairbrush.ledger.earnings import E12, Treatment, least_share
from fairbrush.ledger.lines import SETTLED_LINES
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import adopted_policies

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_DAYS = 45  # shown day by day
MOST_WEEKS = 53
MOST_MONTHS = 120


class Step(StrEnum):
    """How long one bar of the charts is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True)
class Bucket:
    """The look-ups of one day, week, month or year. ``style_e12``: all that their model does not get, in
    10^-12 of one image's bill; ``unattributed_e12``: what of it nobody is credited with."""

    begins: date
    lookups: int = 0
    credited: int = 0
    images: int = 0
    style_e12: int = 0
    unattributed_e12: int = 0

    @property
    def nobody(self) -> int:
        return self.lookups - self.credited

    @property
    def unattributed_share(self) -> float | None:
        return self.unattributed_e12 / self.style_e12 if self.style_e12 else None


@dataclass(frozen=True)
class Volumes:
    """``images``, ``artists``: different ones. ``first``, ``last``: days (UTC) of look-ups; None of none."""

    step: Step
    buckets: tuple[Bucket, ...]
    lookups: int
    credited: int
    images: int
    artists: int
    style_e12: int
    unattributed_e12: int
    first: date | None
    last: date | None

    @property
    def unattributed_share(self) -> float | None:
        return self.unattributed_e12 / self.style_e12 if self.style_e12 else None


class Cause(StrEnum):
    """Why nobody is credited with a part of the style."""

    NOBODY_NEAR = "nobody near"
    NOBODY_ALLOWED = "nobody allowed"
    NO_SUCH_MIX = "no such mix"
    CALIBRATED = "calibrated away"
    PART = "only a part recognised"
    OTHER = "other"
    TOO_SMALL = "below the minimum"
    FILTERED = "filtered"
    UNCLAIMED = "unclaimed"
    OPTED_OUT = "opted out"
    ERASED = "erased"


# as fairbrush.attribution writes them
_BEGINNINGS = {
    "No artist is near enough": Cause.NOBODY_NEAR,
    "No artist in the index may": Cause.NOBODY_ALLOWED,
    "No artist of the inputs may": Cause.NOBODY_ALLOWED,
    "The image is like no mix": Cause.NO_SUCH_MIX,
    "The nearest artist has affinity": Cause.CALIBRATED,
}


@dataclass(frozen=True)
class Gap:
    """``share``: of the style that nobody is credited with; of the gaps of one table they sum to 1."""

    cause: Cause
    lookups: int
    share: float


def read_volumes(connection: DuckDBPyConnection, period: Period | None) -> Volumes:
    """By the day (UTC) a look-up was recorded."""
    where, days = _recorded_within(period)
    lookups, credited, images, style, nobody, first, last = connection.execute(
        f"SELECT {_SUMS}, min(recorded_at)::DATE, max(recorded_at)::DATE FROM attribution {where}", days
    ).fetchall()[0]
    artists = connection.execute(
        "SELECT count(DISTINCT artist_id) FROM attribution_share JOIN attribution USING (attribution_id)"
        f" {where} {'AND' if where else 'WHERE'} share_e12 > 0",
        days,
    ).fetchall()[0][0]
    step = choose_step(first, last)
    rows = connection.execute(
        f"SELECT date_trunc('{step}', recorded_at)::DATE, {_SUMS} FROM attribution {where}"
        " GROUP BY 1 ORDER BY 1",
        days,
    ).fetchall()
    buckets = tuple(_without_gaps([_bucket(row) for row in rows], step))
    return Volumes(
        step, buckets, lookups, credited, images, artists, int(style or 0), int(nobody or 0), first, last
    )


def read_gaps(connection: DuckDBPyConnection, period: Period | None) -> list[Gap]:
    """Why, of the unattributed part of all look-ups, largest first."""
    where, days = _recorded_within(period)
    rows = connection.execute(
        f"SELECT {_CAUSE}, count(*), sum(unattributed_e12) FROM attribution {where}"
        f" {'AND' if where else 'WHERE'} unattributed_e12 > 0 GROUP BY 1",
        days,
    ).fetchall()
    return _as_gaps([(Cause(cause), lookups, float(sum_)) for cause, lookups, sum_ in rows])


def read_settled_gaps(connection: DuckDBPyConnection, period: Period | None) -> dict[str, list[Gap]]:
    """The same of what settlements left unattributed, by currency, each image by what it earned.

    Of lines that nothing took back. An image that is or was disputed is left out: its shares are the
    dispute's, not the record's. Shares are floats: they say how large a cause is, and pay nobody.
    """
    first, last = (None, None) if period is None else (period.first, period.last)
    found: dict[str, dict[Cause, tuple[int, float]]] = {}
    for policy in adopted_policies(connection):
        terms = policy.terms
        rows = connection.execute(
            _SETTLED_GAPS,
            [
                policy.digest,
                first,
                last,
                policy.split.model,
                least_share(terms),
                float(1 - terms.platform_fee),
            ],
        ).fetchall()
        for currency, cause, lookups, amount in rows:
            known = found.setdefault(currency, {})
            before = known.get(Cause(cause), (0, 0.0))
            known[Cause(cause)] = (before[0] + lookups, before[1] + amount)
    return {
        currency: _as_gaps([(cause, n, amount) for cause, (n, amount) in causes.items()])
        for currency, causes in sorted(found.items())
    }


def choose_step(first: date | None, last: date | None) -> Step:
    """
    >>> str(choose_step(date(2026, 1, 1), date(2026, 2, 1))), str(choose_step(None, None))
    ('day', 'day')
    """
    days = 0 if first is None or last is None else (last - first).days + 1
    if days <= MOST_DAYS:
        return Step.DAY
    if days <= 7 * MOST_WEEKS:
        return Step.WEEK
    return Step.MONTH if days <= 30 * MOST_MONTHS else Step.YEAR


def next_begin(day: date, step: Step) -> date:
    """When the next day, week, month or year begins."""
    match step:
        case Step.YEAR:
            return day.replace(year=min(day.year + 1, date.max.year))
        case Step.MONTH:
            return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        case _:
            return day + timedelta(days=7 if step is Step.WEEK else 1)


_CAUSE = (
    f"CASE WHEN reason IS NULL THEN '{Cause.PART}' "
    + " ".join(f"WHEN starts_with(reason, '{text}') THEN '{cause}'" for text, cause in _BEGINNINGS.items())
    + f" ELSE '{Cause.OTHER}' END"
)

_SUMS = (
    "count(*), count(*) FILTER (WHERE model_share_e12 + unattributed_e12 < 1000000000000),"
    " count(DISTINCT image_sha256), sum(1000000000000 - model_share_e12), sum(unattributed_e12)"
)

# $1 policy, $2 and $3 the period, $4 the policy's model, $5 the least share, $6 what the platform leaves
_SETTLED_GAPS = f"""
    WITH line AS (
        SELECT line.* FROM settlement_line line JOIN settlement own USING (settlement_id)
        JOIN ({SETTLED_LINES}) USING (settlement_id, revenue_id)
        WHERE own.policy_digest = $1 AND ($2::DATE IS NULL OR own.period_to BETWEEN $2 AND $3)),
    earned AS (
        SELECT line.settlement_id, line.attribution_id, line.contested_by, line.decided_by, revenue.currency,
            coalesce(revenue.model_id, $4) AS model_id, $6 * revenue.amount_minor
            * coalesce(weight_e6, 1) / sum(coalesce(weight_e6, 1)) OVER (
                PARTITION BY line.settlement_id, line.revenue_id) AS amount
        FROM line JOIN revenue USING (revenue_id)
        LEFT JOIN revenue_image ON revenue_image.revenue_id = line.revenue_id
            AND revenue_image.image_sha256 = line.image_sha256),
    record AS (
        SELECT earned.*, {_CAUSE} AS cause, unattributed_e12
        FROM earned JOIN attribution USING (attribution_id)
        WHERE contested_by IS NULL AND decided_by IS NULL),
    share AS (
        SELECT record.currency, attribution_id, amount * share_e12 / {E12} AS amount, CASE
            WHEN share_e12 < $5 THEN '{Cause.TOO_SMALL}'
            WHEN standing.dispute_id IS NOT NULL THEN NULL
            WHEN treatment = '{Treatment.UNATTRIBUTED}' AND consent = '{Consent.ERASED}' THEN '{Cause.ERASED}'
            WHEN treatment = '{Treatment.UNATTRIBUTED}' AND consent = '{Consent.OPTED_OUT}'
                THEN '{Cause.OPTED_OUT}'
            WHEN treatment = '{Treatment.UNATTRIBUTED}' THEN '{Cause.UNCLAIMED}'
            WHEN factor <> '1/1' THEN '{Cause.FILTERED}' END AS cause,
            CASE WHEN share_e12 >= $5 AND treatment <> '{Treatment.UNATTRIBUTED}'
                THEN 1 - split_part(factor, '/', 1)::DOUBLE / split_part(factor, '/', 2)::DOUBLE
                ELSE 1 END AS lost
        FROM record JOIN attribution_share USING (attribution_id)
        LEFT JOIN settlement_standing standing ON standing.settlement_id = record.settlement_id
            AND standing.model_id = record.model_id AND standing.artist_id = attribution_share.artist_id)
    SELECT currency, cause, count(DISTINCT attribution_id), sum(amount) FROM (
        SELECT currency, cause, attribution_id, amount * unattributed_e12 / {E12} AS amount FROM record
        UNION ALL SELECT currency, cause, attribution_id, amount * lost FROM share WHERE cause IS NOT NULL)
    WHERE amount > 0 GROUP BY ALL
"""


def _recorded_within(period: Period | None) -> tuple[str, list[Any]]:
    if period is None:
        return "", []
    return "WHERE recorded_at >= ? AND recorded_at < ?::TIMESTAMP + INTERVAL 1 DAY", [
        period.first,
        period.last,
    ]


def _bucket(row: Sequence[Any]) -> Bucket:
    begins, lookups, credited, images, style, unattributed = row
    return Bucket(begins, lookups, credited, images, int(style), int(unattributed))


def _without_gaps(buckets: Sequence[Bucket], step: Step) -> Iterator[Bucket]:
    """With those between in which nothing was asked; years are too few and too far to fill."""
    for position, bucket in enumerate(buckets):
        if position and step is not Step.YEAR:
            day = next_begin(buckets[position - 1].begins, step)
            while day < bucket.begins:
                yield Bucket(day)
                day = next_begin(day, step)
        yield bucket


def _as_gaps(found: Sequence[tuple[Cause, int, float]]) -> list[Gap]:
    whole = sum(amount for _, _, amount in found)
    ordered = sorted(found, key=lambda one: (-one[2], one[0]))
    return [Gap(cause, lookups, amount / whole) for cause, lookups, amount in ordered]
