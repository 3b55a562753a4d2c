"""How far the answers can be trusted, and what state the platform's records and people are in.

Enters: an open store. Leaves: ``Quality``, ``People``, ``Quarrels``. The one rule: what was measured is told
with how often; what was not measured is said to be so; the chain of records is not checked here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent
from fairbrush.index.distinctiveness import Verdict
from fairbrush.ledger.disputes import State, read_disputes, set_aside
from fairbrush.ledger.period import Period
from fairbrush.uncertainty import Confidence
from fairbrush.workspace import RECORDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store

MOST_VERSIONS = 8


@dataclass(frozen=True)
class Measured:
    """Images that were regenerated. ``mis_paid``: the mean part of what creators get that went to others than
    regeneration says; ``least``, ``most``: of one image. ``is_independent``: by another encoder."""

    is_independent: bool
    images: int
    mis_paid: float
    least: float
    most: float


@dataclass(frozen=True)
class AuditFigure:
    """One audit. ``mis_paid``: the estimated part of the money; at most ``bound`` at ``level``. ``draws``:
    that count, of ``planned``."""

    plan_id: str
    period: Period
    currency: str
    draws: int
    planned: int
    mis_paid: float
    bound: float
    level: float


@dataclass(frozen=True)
class Version:
    """An index version. ``lookups``: how many were asked of it. None: nobody told the database of it."""

    version: str
    published_at: datetime | None
    artists: int | None
    works: int | None
    lookups: int


@dataclass(frozen=True)
class Quality:
    """``words``: look-ups by the word of their answer; None: none was given. ``verdicts``: artists of the
    current index version; empty where that was not measured. ``duplicates``: files that are works of several
    creators' artists. ``refused_images``: different files. ``leaves``: records in the chain,
    which are **not** checked here, ``committed_at``: the last of them."""

    words: Mapping[Confidence | None, int]
    verdicts: Mapping[Verdict, int]
    measured: tuple[Measured, ...]
    audits: tuple[AuditFigure, ...]
    duplicates: int
    refused_images: int
    refused_records: int
    conflicts: int
    versions: tuple[Version, ...]
    versions_before: int
    leaves: int
    batches: int
    committed_at: datetime | None

    @property
    def distinct(self) -> int:
        """Artists who can be told apart."""
        return self.verdicts.get(Verdict.DISTINCT, 0)


@dataclass(frozen=True)
class People:
    """``consents``: artist entries by the consent in effect; every one is there."""

    consents: Mapping[Consent, int]
    works: int

    @property
    def artists(self) -> int:
        """Without who is erased."""
        return sum(self.consents.values()) - self.consents[Consent.ERASED]


@dataclass(frozen=True)
class Quarrels:
    """Disputes by state; ``oldest``: the day the oldest open one was opened; ``aside``: what waits for
    decisions, in minor units by currency."""

    states: Mapping[State, int]
    oldest: date | None
    aside: Mapping[str, int]

    @property
    def open(self) -> int:
        return self.states[State.OPEN]


def read_quality(
    store: Store, period: Period | None, *, manifest_digest: str | None, audits: tuple[AuditFigure, ...] = ()
) -> Quality:
    """``period``: of look-ups; all else is as it is. ``manifest_digest``: of the current index version."""
    connection = store.connection
    versions = _versions(connection)
    leaves, batches, committed_at = connection.execute(
        "SELECT (SELECT count(*) FROM chain_leaf), count(*), max(committed_at) FROM chain_batch"
    ).fetchall()[0]
    refused = store.workspace / RECORDS / "refused"
    return Quality(
        words=_words(connection, period),
        verdicts=_verdicts(connection, manifest_digest),
        measured=_measured(connection),
        audits=audits,
        duplicates=_one(
            connection,
            "SELECT count(*) FROM (SELECT sha256 FROM work JOIN artist USING (artist_id)"
            " GROUP BY sha256 HAVING count(DISTINCT creator_id) > 1)",
        ),
        refused_images=_one(connection, "SELECT count(DISTINCT path) FROM refusal"),
        refused_records=len(list(refused.glob("*.jsonl"))) if refused.is_dir() else 0,
        conflicts=_one(connection, "SELECT count(*) FROM attribution_conflict"),
        versions=versions[:MOST_VERSIONS],
        versions_before=len(versions[MOST_VERSIONS:]),
        leaves=leaves,
        batches=batches,
        committed_at=committed_at,
    )


def read_people(connection: DuckDBPyConnection, *, now: datetime) -> People:
    counts = Counter(effective_consents(connection, now=now).values())
    works = _one(connection, "SELECT count(DISTINCT sha256) FROM work")
    return People({consent: counts[consent] for consent in Consent}, works)


def read_quarrels(connection: DuckDBPyConnection) -> Quarrels:
    disputes = read_disputes(connection)
    counts = Counter(one.state for one in disputes)
    aside: dict[str, int] = {}
    for amounts in set_aside(connection).values():
        for currency, amount in amounts.items():
            aside[currency] = aside.get(currency, 0) + amount
    waiting = [one.opened_at.date() for one in disputes if one.state is State.OPEN]
    return Quarrels(
        {state: counts[state] for state in State},
        min(waiting, default=None),
        {currency: amount for currency, amount in sorted(aside.items()) if amount},
    )


def _words(connection: DuckDBPyConnection, period: Period | None) -> dict[Confidence | None, int]:
    first, last = (None, None) if period is None else (period.first, period.last)
    rows = connection.execute(
        "SELECT about->>'$.confidence', count(*) FROM attribution WHERE $1::DATE IS NULL"
        " OR recorded_at >= $1::DATE AND recorded_at < $2::TIMESTAMP + INTERVAL 1 DAY GROUP BY 1",
        [first, last],
    ).fetchall()
    found: dict[Confidence | None, int] = {}
    for text, count in rows:
        word = Confidence(text) if text in [*Confidence] else None
        found[word] = found.get(word, 0) + count
    return {word: found[word] for word in (*Confidence, None) if word in found}


def _verdicts(connection: DuckDBPyConnection, manifest_digest: str | None) -> dict[Verdict, int]:
    rows = connection.execute(
        "SELECT verdict, count(*) FROM artist_distinctiveness WHERE manifest_digest = ? GROUP BY 1",
        [manifest_digest],
    ).fetchall()
    counts = dict(rows)
    return {verdict: counts[verdict] for verdict in Verdict if verdict in counts}


def _measured(connection: DuckDBPyConnection) -> tuple[Measured, ...]:
    rows = connection.execute(
        "SELECT is_independent, count(DISTINCT image_sha256), avg(mis_paid), min(mis_paid), max(mis_paid)"
        " FROM validation GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return tuple(Measured(*row) for row in rows)


def _versions(connection: DuckDBPyConnection) -> tuple[Version, ...]:
    """Newest first."""
    rows = connection.execute(
        """
        SELECT coalesce(published.version, asked.version), published_at, artist_count, work_count,
            coalesce(lookups, 0)
        FROM index_version published FULL JOIN (
            SELECT index_manifest_digest AS manifest_digest, any_value(index_version) AS version,
                count(*) AS lookups
            FROM attribution GROUP BY 1) asked USING (manifest_digest)
        ORDER BY published_at DESC NULLS LAST, 1 DESC, manifest_digest
        """
    ).fetchall()
    return tuple(Version(*row) for row in rows)


def _one(connection: DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
