"""Disputes as they are recorded: a creator contests an attribution or a standing, and somebody decides.

Enters: events. Leaves: ``Dispute``s, and the ``Contests`` that settlement follows. The one rule: what was
contested and what was decided stand in two events that are never changed, so that either can be read again
as it was; the words of the reasons beside them can be forgotten. What disputes do to the money is
``fairbrush.ledger.disputing``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append
from fairbrush.chain.tables import DISPUTE_EVENTS
from fairbrush.errors import DisputeError
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.store import next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVENT_SCHEMA = "fairbrush.dispute_event/1"
SHORTEST_PREFIX = 8  # digits of an id that name it, where no other begins with them


class Subject(StrEnum):
    """What is contested: the shares of one look-up, or who an artist entry is."""

    ATTRIBUTION = "attribution"
    STANDING = "standing"


class Event(StrEnum):
    OPENED = "opened"
    RESOLVED = "resolved"


class State(StrEnum):
    OPEN = "open"
    REJECTED = "rejected"
    UPHELD = "upheld"


@dataclass(frozen=True)
class Rejected:
    """It is as it was."""


@dataclass(frozen=True)
class Divided:
    """An attribution: ``give`` to each artist a part of the contested whole; the rest is unattributed."""

    give: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True)
class Assigned:
    """A standing: the artist entry is this creator's. None: it is nobody's who is registered."""

    creator_id: str | None


Ruling = Rejected | Divided | Assigned


@dataclass(frozen=True)
class Resolution:
    """``decision``: the shares of the whole attribution from now on, where its contest was upheld."""

    ruling: Ruling
    decision: Decision | None
    resolved_at: datetime
    reason: str | None


@dataclass(frozen=True)
class Dispute:
    """``subject_id``: an attribution_id or an artist_id. ``contested``: whose shares are set aside, and with
    ``claims_unattributed`` what nobody was credited with. ``reason``: None once forgotten. Times are UTC."""

    dispute_id: str
    subject: Subject
    subject_id: str
    creator_id: str
    contested: tuple[str, ...]
    claims_unattributed: bool
    opened_at: datetime
    reason: str | None
    resolution: Resolution | None = None

    @property
    def state(self) -> State:
        if self.resolution is None:
            return State.OPEN
        return State.REJECTED if isinstance(self.resolution.ruling, Rejected) else State.UPHELD

    @property
    def contest(self) -> Contest:
        return Contest(self.dispute_id, frozenset(self.contested), self.claims_unattributed)


def read_contests(connection: DuckDBPyConnection) -> Contests:
    """What is contested and what was decided, now; of several decisions on one attribution the latest."""
    disputes = read_disputes(connection)
    waiting = [one for one in disputes if one.state is State.OPEN]
    return Contests(
        standings={one.subject_id: one.dispute_id for one in waiting if one.subject is Subject.STANDING},
        open={one.subject_id: one.contest for one in waiting if one.subject is Subject.ATTRIBUTION},
        # an attribution has one open dispute at most: the last that was opened is the last that was decided
        decided={
            one.subject_id: one.resolution.decision
            for one in disputes
            if one.resolution is not None and one.resolution.decision is not None
        },
    )


def read_disputes(connection: DuckDBPyConnection) -> list[Dispute]:
    """All of them, in the order in which they were opened. Raises DisputeError where one was altered."""
    rows = connection.execute(
        "SELECT sequence, event, body, recorded_at, reason FROM dispute_event ORDER BY sequence"
    ).fetchall()
    disputes: dict[str, Dispute] = {}
    for sequence, event, text, recorded_at, reason in rows:
        try:
            body = json.loads(text)
            dispute_id = body["dispute_id"]
            if event == Event.OPENED:
                disputes[dispute_id] = _opened(body, recorded_at, reason)
            else:
                resolution = _resolution(dispute_id, body["outcome"], recorded_at, reason)
                disputes[dispute_id] = replace(disputes[dispute_id], resolution=resolution)
        except (KeyError, TypeError, ValueError) as error:
            raise DisputeError(
                f"The event {sequence} of disputes is not as it was written.",
                next_step="See what was altered: fairbrush ledger verify",
            ) from error
    return list(disputes.values())


def find_dispute(connection: DuckDBPyConnection, prefix: str) -> Dispute:
    """By its id or the beginning of it. Raises DisputeError where none, or more than one, is meant."""
    disputes = {one.dispute_id: one for one in read_disputes(connection)}
    found = [dispute_id for dispute_id in disputes if _names(prefix, dispute_id)]
    _check_one(found, prefix, what="dispute", next_step="fairbrush dispute list shows them all.")
    return disputes[found[0]]


def set_aside(connection: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """dispute_id -> currency -> minor units that wait for its decision."""
    held: dict[str, dict[str, int]] = {}
    for (account, currency), amount in balances(connection, AccountKind.DISPUTED).items():
        of = held.setdefault(account.holder, {})
        of[currency] = of.get(currency, 0) + amount
    return held


def add_opening(connection: DuckDBPyConnection, append: Append, opened: Dispute) -> Dispute:
    """Write that a dispute was opened, as part of the batch ``append``; gives it with its dispute_id."""
    assert opened.reason is not None
    assert opened.resolution is None
    identity = {
        "creator_id": opened.creator_id,
        "subject": str(opened.subject),
        "subject_id": opened.subject_id,
        "contested": list(opened.contested),
        "claims_unattributed": opened.claims_unattributed,
        "sequence": next_sequence(connection, "dispute_event"),
    }
    named = replace(opened, dispute_id=canonical_digest(identity))
    _append(connection, append, named, Event.OPENED, named.opened_at, opened.reason, {})
    return named


def add_resolution(connection: DuckDBPyConnection, append: Append, resolved: Dispute) -> None:
    """Write how a dispute was resolved, as part of the batch ``append``."""
    resolution = resolved.resolution
    assert resolution is not None
    assert resolution.reason is not None
    outcome = {"outcome": _outcome(resolution)}
    _append(connection, append, resolved, Event.RESOLVED, resolution.resolved_at, resolution.reason, outcome)


def _append(
    connection: DuckDBPyConnection,
    append: Append,
    dispute: Dispute,
    event: Event,
    now: datetime,
    reason: str,
    more: Mapping[str, Any],
) -> None:
    body = {
        "schema": EVENT_SCHEMA,
        "dispute_id": dispute.dispute_id,
        "event": str(event),
        "subject": str(dispute.subject),
        "subject_id": dispute.subject_id,
        "creator_id": dispute.creator_id,
        "contested": list(dispute.contested),
        "claims_unattributed": dispute.claims_unattributed,
        **more,
    }
    row = (
        next_sequence(connection, "dispute_event"),
        dispute.dispute_id,
        str(event),
        str(dispute.subject),
        dispute.subject_id,
        dispute.creator_id,
        canonical_json(body).decode(),
        canonical_digest(body),
        now,
        *committed(reason).columns,
    )
    append.insert(DISPUTE_EVENTS, [row])


def _opened(body: Mapping[str, Any], recorded_at: datetime, reason: str | None) -> Dispute:
    return Dispute(
        dispute_id=body["dispute_id"],
        subject=Subject(body["subject"]),
        subject_id=body["subject_id"],
        creator_id=body["creator_id"],
        contested=tuple(body["contested"]),
        claims_unattributed=body["claims_unattributed"],
        opened_at=recorded_at,
        reason=reason,
    )


def _outcome(resolution: Resolution) -> dict[str, Any]:
    match resolution.ruling:
        case Rejected():
            return {"ruling": "rejected"}
        case Assigned(creator_id):
            return {"ruling": "assigned", "creator_id": creator_id}
        case Divided(give):
            assert resolution.decision is not None
            return {
                "ruling": "divided",
                "give": [
                    [artist_id, f"{part.numerator}/{part.denominator}"]
                    for artist_id, part in sorted(give.items())
                ],
                "shares_e12": [list(share) for share in resolution.decision.shares_e12],
                "unattributed_e12": resolution.decision.unattributed_e12,
            }


def _resolution(
    dispute_id: str, outcome: Mapping[str, Any], recorded_at: datetime, reason: str | None
) -> Resolution:
    decision: Decision | None = None
    ruling: Ruling
    match outcome["ruling"]:
        case "rejected":
            ruling = Rejected()
        case "assigned":
            ruling = Assigned(outcome["creator_id"])
        case _:
            ruling = Divided({artist_id: Fraction(part) for artist_id, part in outcome["give"]})
            shares = tuple((artist_id, share) for artist_id, share in outcome["shares_e12"])
            decision = Decision(dispute_id, shares, outcome["unattributed_e12"])
    return Resolution(ruling, decision, recorded_at, reason)


def _names(prefix: str, whole: str) -> bool:
    return prefix == whole or (len(prefix) >= SHORTEST_PREFIX and whole.startswith(prefix))


def _check_one(found: Collection[str], prefix: str, *, what: str, next_step: str) -> None:
    if not found:
        short = f" Give at least {SHORTEST_PREFIX} digits of its id." if len(prefix) < SHORTEST_PREFIX else ""
        raise DisputeError(f"No {what} has the id {prefix!r}.{short}", next_step=next_step)
    if len(found) > 1:
        raise DisputeError(
            f"{len(found)} {what}s have an id that begins with {prefix!r}.", next_step="Give more of it."
        )
