"""How often a creator's works were drawn on, which of them, and how sure that is.

Enters: an open database, a creator, a period. Leaves: their artist entries, the answers that credit them, the
works that were the evidence, and what was measured of the answers' error. The one rule: of an answer that
credits several only this creator's rows are read, and of an erased entry none.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import decimal_text
from fairbrush.domain import Consent
from fairbrush.ledger.period import Period
from fairbrush.ledger.settled import SettlementKind
from fairbrush.reports.pages.statement_money import Line, consents_at_end, end_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNTOLD = "none"  # the confidence of an answer that was given without one


@dataclass(frozen=True)
class Entry:
    """An artist entry of a creator; an erased one has no name, and nothing is counted for it. ``settled``:
    images of revenue lines that were settled, less those taken back. ``verdict``: whether the style can be
    told apart in the index version published last; ``home``, of ``judged`` works: how many come home."""

    artist_id: str
    name: str
    consent: Consent
    works: int
    answers: int
    images: int
    settled: int
    verdict: str | None
    home: int | None
    judged: int | None


@dataclass(frozen=True)
class Answer:
    """One entry's row of one answer. ``share_e12``: of the image, with ``low`` and ``high`` as decimal text
    where they were computed. ``path``: where the image lay."""

    attribution_id: str
    artist_id: str
    answered_at: datetime
    image_sha256: str
    path: str | None
    model_id: str
    share_e12: int
    low: str | None
    high: str | None
    confidence: str


@dataclass(frozen=True)
class Evidence:
    """A work, and in how many answers it was among those that looked most like the image."""

    work_sha256: str
    artist_id: str
    answers: int


@dataclass(frozen=True)
class Measured:
    """How far answers about a model's images were from drawing them again, over ``images``; ``mis_paid``: the
    mean part of what creators get that went to the wrong ones, as decimal text."""

    model_id: str
    images: int
    mis_paid: str


@dataclass(frozen=True)
class Audited:
    """A plan by which answers are checked at random. ``measured``, ``nobody``, ``failed``: drawn images."""

    plan_id: str
    period: Period
    draws: int
    measured: int
    nobody: int
    failed: int


@dataclass(frozen=True)
class Use:
    """``confidences``: answers by their word. ``reaching_nothing``: answers with a share whose interval
    begins at nothing, of ``with_interval``."""

    entries: tuple[Entry, ...]
    answers: tuple[Answer, ...]
    evidence: tuple[Evidence, ...]
    confidences: Mapping[str, int]
    with_interval: int
    reaching_nothing: int
    measured: tuple[Measured, ...]
    audited: tuple[Audited, ...]

    @property
    def answer_count(self) -> int:
        return len({one.attribution_id for one in self.answers})

    @property
    def image_count(self) -> int:
        return len({one.image_sha256 for one in self.answers})

    @property
    def settled_count(self) -> int:
        return sum(entry.settled for entry in self.entries)


def read_use(
    connection: DuckDBPyConnection,
    creator_id: str,
    period: Period,
    lines: Sequence[Line],
    *,
    now: datetime,
) -> Use:
    """lines: of the settlements of the period, from ``read_lines``."""
    answers, evidence = _read_answers(connection, creator_id, period)
    ranged = [one for one in answers if one.low is not None]
    words = {one.attribution_id: one.confidence for one in answers}
    return Use(
        entries=_read_entries(
            connection, creator_id, period, answers, lines, consents_at_end(connection, period, now=now)
        ),
        answers=tuple(answers),
        evidence=evidence,
        confidences=dict(sorted(Counter(words.values()).items())),
        with_interval=len(ranged),
        reaching_nothing=sum(float(one.low or 1) <= 0 for one in ranged),
        measured=_read_measured(connection, {one.model_id for one in answers}, period),
        audited=_read_audited(connection, period),
    )


_ENTRIES = """
    SELECT added, artist_id, coalesce(name, ''),
        (SELECT count(*) FROM work WHERE work.artist_id = artist.artist_id),
        verdict, home, CASE WHEN home IS NOT NULL THEN told.works END
    FROM artist LEFT JOIN (
        SELECT * FROM artist_distinctiveness WHERE manifest_digest = (
            SELECT manifest_digest FROM index_version
            WHERE manifest_digest IN (SELECT manifest_digest FROM artist_distinctiveness)
            ORDER BY published_at DESC, version DESC LIMIT 1)) AS told USING (artist_id)
    WHERE creator_id = ? ORDER BY 3, 2
"""


def _read_entries(
    connection: DuckDBPyConnection,
    creator_id: str,
    period: Period,
    answers: Sequence[Answer],
    lines: Sequence[Line],
    consents: Mapping[str, Consent],
) -> tuple[Entry, ...]:
    """Those there were in the period; one that was registered later is not in it."""
    own: dict[str, list[Answer]] = defaultdict(list)
    for one in answers:
        own[one.artist_id].append(one)
    settled = Counter[str]()
    for line in lines:
        settled[line.artist_id] += 1 if line.kind is SettlementKind.SETTLEMENT else -1
    found = []
    for added, artist_id, name, works, *told in connection.execute(_ENTRIES, [creator_id]).fetchall():
        given = own[artist_id]
        counts = (
            len({one.attribution_id for one in given}),
            len({one.image_sha256 for one in given}),
            settled[artist_id],
        )
        if added > end_of(period) and not any(counts):
            continue
        consent = consents[artist_id]
        kept = (0, 0, 0) if consent is Consent.ERASED else counts
        found.append(Entry(artist_id, name, consent, works, *kept, *told))
    return tuple(found)


def _read_answers(
    connection: DuckDBPyConnection, creator_id: str, period: Period
) -> tuple[list[Answer], tuple[Evidence, ...]]:
    """The largest shares first."""
    rows = connection.execute(
        """
        SELECT attribution_id, artist_id, recorded_at, image_sha256, image_path, model_id, share_e12,
            about -> '$.intervals' ->> artist_id, about ->> '$.confidence',
            about -> '$.evidence' ->> artist_id
        FROM attribution_share JOIN attribution USING (attribution_id) JOIN artist USING (artist_id)
        WHERE artist.creator_id = $creator AND artist.name IS NOT NULL AND share_e12 > 0
            AND recorded_at::DATE BETWEEN $first AND $last
        ORDER BY share_e12 DESC, recorded_at, attribution_id, artist_id
        """,
        {"creator": creator_id, "first": period.first, "last": period.last},
    ).fetchall()
    known = set(
        connection.execute(
            "SELECT artist_id, sha256 FROM work JOIN artist USING (artist_id) WHERE creator_id = ?",
            [creator_id],
        ).fetchall()
    )
    answers, seen = [], Counter[tuple[str, str]]()
    for *facts, interval, confidence, evidence in rows:
        attribution_id, artist_id, answered_at, image_sha256, path, model_id, share_e12 = facts
        low, high = json.loads(interval) if interval else (None, None)
        answers.append(
            Answer(
                attribution_id,
                artist_id,
                answered_at,
                image_sha256,
                path,
                model_id,
                share_e12,
                low,
                high,
                confidence or UNTOLD,
            )
        )
        seen.update({(artist_id, work["work_sha256"]) for work in json.loads(evidence or "[]")} & known)
    ranked = sorted(seen.items(), key=lambda one: (-one[1], one[0]))
    return answers, tuple(Evidence(sha256, artist_id, count) for (artist_id, sha256), count in ranked)


def _read_measured(
    connection: DuckDBPyConnection, model_ids: set[str], period: Period
) -> tuple[Measured, ...]:
    rows = connection.execute(
        "SELECT model_id, count(DISTINCT image_sha256), avg(mis_paid) FROM validation"
        " WHERE list_contains(?::TEXT[], model_id) AND recorded_at <= ? GROUP BY model_id ORDER BY 1",
        [sorted(model_ids), end_of(period)],
    ).fetchall()
    return tuple(Measured(model_id, images, decimal_text(mean)) for model_id, images, mean in rows)


def _read_audited(connection: DuckDBPyConnection, period: Period) -> tuple[Audited, ...]:
    """Plans over money of days in the period, and what was found by its end. The first result of an image
    that is no failure counts."""
    rows = connection.execute(
        """
        WITH told AS (
            SELECT plan_id, image_sha256, attribution_id,
                coalesce(arg_min(outcome, sequence) FILTER (WHERE outcome <> 'failed'), 'failed') AS outcome
            FROM audit_result WHERE recorded_at <= $end GROUP BY ALL)
        SELECT plan_id, period_from, period_to, draws,
            count(*) FILTER (WHERE outcome = 'measured'), count(*) FILTER (WHERE outcome = 'nobody'),
            count(*) FILTER (WHERE outcome = 'failed')
        FROM audit_plan LEFT JOIN told USING (plan_id)
        WHERE recorded_at <= $end AND period_from <= $last AND period_to >= $first
        GROUP BY plan_id, period_from, period_to, draws, number ORDER BY number
        """,
        {"end": end_of(period), "first": period.first, "last": period.last},
    ).fetchall()
    return tuple(Audited(plan_id, Period(first, last), *counts) for plan_id, first, last, *counts in rows)
