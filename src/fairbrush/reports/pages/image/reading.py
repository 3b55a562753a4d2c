"""The facts of one answer, read from the database.

Enters: a store, opened for reading, after what was pending was drained; a record's id. Leaves: an
``ImageReport``. The one rule: everything is read from the record and the book; nothing is measured anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.domain import Consent, HintSource, Value
from fairbrush.errors import RecordError
from fairbrush.ledger.disputes import Dispute, State, Subject, read_contests, read_disputes
from fairbrush.ledger.earnings import SharedRecord
from fairbrush.reports.pages.image.facts import (
    Committed,
    Contested,
    Credit,
    Decided,
    EvidenceWork,
    Hinted,
    ImageReport,
    MixedImage,
    OtherAnswer,
    RunnerUp,
    Unexplained,
    Versions,
)
from fairbrush.reports.pages.image.money import read_money
from fairbrush.reports.pages.image.people import People, Person, read_people
from fairbrush.uncertainty import Confidence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store


def read_report(store: Store, attribution_id: str, *, now: datetime) -> ImageReport:
    """``attribution_id``: whole. now: UTC without a zone.

    Raises RecordError, SettlementError, DisputeError.
    """
    connection = store.connection
    rows = connection.execute(
        "SELECT body::TEXT, body_digest, about::TEXT, recorded_at FROM attribution WHERE attribution_id = ?",
        [attribution_id],
    ).fetchall()
    if not rows:
        raise RecordError(f"There is no record {attribution_id!r}.")
    ((text, digest, about_text, recorded_at),) = rows
    body, about = json.loads(text), json.loads(about_text)
    identity, game = body["identity"], body["game"]
    people = read_people(connection, now=now)
    kept_back = _works_kept_back(connection, people)
    shares = tuple((share["artist_id"], share["share_e12"]) for share in body["shares"])
    record = SharedRecord(attribution_id, body["model_share_e12"], body["unattributed_e12"], shares)
    return ImageReport(
        attribution_id=attribution_id,
        image_sha256=identity["image_sha256"],
        path=Path(about["path"]) if about.get("path") else None,
        is_kept_back=identity["image_sha256"] in kept_back,
        recorded_at=recorded_at,
        content_part=Fraction(body["policy"]["b"]),
        artists_part=Fraction(body["policy"]["w"]),
        delta=float(game["delta"]),
        entry=float(game.get("entry", game["delta"])),
        model_share_e12=record.model_share_e12,
        unattributed_e12=record.unattributed_e12,
        decided=_decided(connection, attribution_id, people),
        credits=tuple(_credit(share, about, people, kept_back) for share in body["shares"]),
        unexplained=_unexplained(body, about),
        reason=about.get("reason"),
        confidence=Confidence(about["confidence"]) if about.get("confidence") else None,
        steadiness=float(about["steadiness"]) if about.get("steadiness") else None,
        runner_up=_runner_up(game, about, people),
        mixed=tuple(_mixed(one, people, kept_back) for one in game.get("mixed", ())),
        hinted=_hinted(identity["hint"], people),
        disputes=_disputes(store, attribution_id, [artist_id for artist_id, _ in shares], people),
        money=read_money(
            store,
            record,
            image_sha256=identity["image_sha256"],
            model_id=identity["model_id"],
            people=people,
            now=now,
        ),
        others=_others(connection, attribution_id, identity["image_sha256"], people),
        committed=_committed(connection, attribution_id),
        versions=_versions(identity, about, digest),
    )


def _person(artist_id: str, people: People) -> Person:
    return people.get(artist_id) or Person(artist_id, artist_id, Consent.UNCLAIMED)


def _works_kept_back(connection: DuckDBPyConnection, people: People) -> frozenset[str]:
    """Files that are a work of somebody who is not pictured, whoever else's they are said to be."""
    hidden = [artist_id for artist_id, person in people.items() if not person.is_pictured]
    rows = connection.execute(
        "SELECT DISTINCT sha256 FROM work WHERE artist_id IN (SELECT unnest(?::TEXT[]))", [hidden]
    ).fetchall()
    return frozenset(sha256 for (sha256,) in rows)


def _credit(
    share: Mapping[str, Any], about: Mapping[str, Any], people: People, kept_back: Collection[str]
) -> Credit:
    artist = _person(share["artist_id"], people)
    interval = (about.get("intervals") or {}).get(artist.artist_id)
    works = (about.get("evidence") or {}).get(artist.artist_id, ())
    similarity, z = float(share["similarity"]), float(share["z"])
    return Credit(
        artist=artist,
        share_e12=share["share_e12"],
        phi=float(share["phi"]),
        similarity=similarity,
        strangers=similarity - z,
        z=z,
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        evidence=tuple(
            EvidenceWork(
                work["work_sha256"],
                float(work["similarity"]),
                artist.is_pictured and work["work_sha256"] not in kept_back,
            )
            for work in works
        ),
    )


def _unexplained(body: Mapping[str, Any], about: Mapping[str, Any]) -> Unexplained | None:
    """By the record's own inputs; None where nothing is unattributed."""
    game, is_mix = body["game"], body["identity"]["value_function"]["name"] == Value.MIX
    runner_up = about.get("runner_up")
    if not body["unattributed_e12"]:
        return None
    if game["players"]:
        return Unexplained.PARTLY_NOBODYS_INPUTS if is_mix else Unexplained.NOT_RECOGNISED
    if is_mix:
        is_somebodys = any(one["artist_id"] is not None for one in game.get("mixed", ()))
        return Unexplained.UNLIKE_INPUTS if is_somebodys else Unexplained.NOBODYS_INPUTS
    if not game["eligible_count"]:
        return Unexplained.NO_ARTIST
    is_near = runner_up is not None and float(runner_up["z"]) > float(game["delta"])
    return Unexplained.CALIBRATED_AWAY if is_near and "affinity_map" in game else Unexplained.TOO_FAR


def _runner_up(game: Mapping[str, Any], about: Mapping[str, Any], people: People) -> RunnerUp | None:
    hit = about.get("runner_up")
    if hit is None:
        return None
    person = _person(hit["artist_id"], people)
    best = max((float(player["z"]) for player in game["players"]), default=None)
    z, delta = float(hit["z"]), game["delta"]
    needed = float(game.get("entry", delta) if game["players"] else delta)
    return RunnerUp(
        artist=person if person.is_pictured else None,
        similarity=float(hit["similarity"]),
        z=z,
        needed=needed,
        behind=None if best is None else best - z,
    )


def _mixed(one: Mapping[str, Any], people: People, kept_back: Collection[str]) -> MixedImage:
    person = None if one["artist_id"] is None else _person(one["artist_id"], people)
    return MixedImage(
        one["sha256"],
        float(one["weight"]),
        float(one["similarity"]),
        person,
        is_shown=person is not None and person.is_pictured and one["sha256"] not in kept_back,
    )


def _hinted(hint: Mapping[str, Any] | None, people: People) -> Hinted | None:
    if hint is None:
        return None
    named = [_person(artist_id, people) for artist_id in hint["artist_ids"]]
    shown = tuple(person for person in named if person.is_pictured)
    return Hinted(HintSource(hint["source"]), shown, len(named) - len(shown))


def _decided(connection: DuckDBPyConnection, attribution_id: str, people: People) -> Decided | None:
    decision = read_contests(connection).decided.get(attribution_id)
    if decision is None:
        return None
    shares = sorted(decision.shares_e12, key=lambda share: (-share[1], share[0]))
    named = tuple((_person(artist_id, people), share) for artist_id, share in shares if share)
    return Decided(decision.dispute_id, named, decision.unattributed_e12)


def _disputes(
    store: Store, attribution_id: str, credited: Sequence[str], people: People
) -> tuple[Contested, ...]:
    """Over this answer; and over who one of its artists is, as long as they are open."""
    names = dict(store.connection.execute("SELECT creator_id, coalesce(name, '') FROM creator").fetchall())
    found = [
        one
        for one in read_disputes(store.connection)
        if one.subject_id == attribution_id
        or (one.subject is Subject.STANDING and one.subject_id in credited and one.state is State.OPEN)
    ]
    return tuple(_contested(one, names, people) for one in found)


def _contested(one: Dispute, creators: Mapping[str, str], people: People) -> Contested:
    return Contested(
        dispute_id=one.dispute_id,
        by=creators.get(one.creator_id, one.creator_id),
        state=one.state,
        is_standing=one.subject is Subject.STANDING,
        artists=tuple(_person(artist_id, people) for artist_id in one.contested),
        claims_unattributed=one.claims_unattributed,
        opened_at=one.opened_at,
        resolved_at=one.resolution.resolved_at if one.resolution else None,
    )


def _others(
    connection: DuckDBPyConnection, attribution_id: str, image_sha256: str, people: People
) -> tuple[OtherAnswer, ...]:
    """In the order in which they were recorded."""
    rows = connection.execute(
        "SELECT attribution_id, any_value(recorded_at), any_value(index_version), any_value(model_id),"
        " any_value(value_function), count(artist_id), any_value(artist_id) FILTER (rank = 1)"
        " FROM attribution LEFT JOIN attribution_share USING (attribution_id)"
        " WHERE image_sha256 = ? AND attribution_id <> ? GROUP BY attribution_id ORDER BY 2, 1",
        [image_sha256, attribution_id],
    ).fetchall()
    return tuple(
        OtherAnswer(key, at, index, model, value, artists, None if first is None else _person(first, people))
        for key, at, index, model, value, artists, first in rows
    )


def _committed(connection: DuckDBPyConnection, attribution_id: str) -> Committed | None:
    rows = connection.execute(
        "SELECT position, batch, committed_at, head,"
        " (SELECT arg_max(head, batch) FROM chain_batch)"
        " FROM chain_leaf JOIN chain_batch USING (batch) WHERE kind = 'attribution' AND record_key = ?",
        [attribution_id],
    ).fetchall()
    return Committed(*rows[0]) if rows else None


def _versions(identity: Mapping[str, Any], about: Mapping[str, Any], digest: str) -> Versions:
    return Versions(
        record_digest=digest,
        model_id=identity["model_id"],
        encoder_id=identity["encoder_id"],
        encoder_variant=identity["encoder_variant"],
        index_version=about.get("index_version"),
        index_manifest_digest=identity["index_manifest_digest"],
        eligibility_digest=identity["eligibility_digest"],
        policy_digest=identity["policy_digest"],
        calibration_id=identity.get("calibration_id"),
        value_function=identity["value_function"]["name"],
        algorithm=identity["algorithm"],
    )
