"""A creator's statement of a period, as facts: what was used, earned, paid and kept, and why.

Enters: an open store, a creator, a period. Leaves: a ``Statement`` and its document (schema
``fairbrush.statement/1``), whose digest is the statement's number. The one rule: everything belongs to the
day on which it was recorded (UTC), so that each period begins where the one before it ended, and a period
that is over reads the same whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.people import find_creator
from fairbrush.ledger.period import Period
from fairbrush.plain import plain
from fairbrush.reports.pages.statement_accounts import Sheet, sheets
from fairbrush.reports.pages.statement_money import (
    Contested,
    Kept,
    Line,
    Paid,
    Settled,
    read_contested,
    read_kept,
    read_lines,
    read_paid,
    read_settled,
)
from fairbrush.reports.pages.statement_moved import read_moved
from fairbrush.reports.pages.statement_use import Use, read_use
from fairbrush.store import Store, as_utc

if TYPE_CHECKING:
    from fairbrush.domain import Creator

SCHEMA = "fairbrush.statement/1"
# What may change once a period is over: when it was asked for, and what is registered now.
_UNHASHED = ("number", "made_at", "is_over", "creator_name", "payees")
_UNHASHED_OF_ENTRIES = ("name", "works", "verdict", "home", "judged")
# what a sheet is told by that is computed from its fields
_DERIVED = {Sheet: ("opening_total", "earned", "taken_back", "paid", "otherwise", "closing_total")}


@dataclass(frozen=True)
class Statement:
    """``creator_name``: empty once erased. ``payees``: the names of those who are paid in it, by id; none
    of an erased creator. ``is_over``: whether nothing can be added to the period any more."""

    creator_id: str
    creator_name: str
    period: Period
    made_at: datetime
    is_over: bool
    sheets: tuple[Sheet, ...]
    use: Use
    settled: tuple[Settled, ...]
    lines: tuple[Line, ...]
    paid: tuple[Paid, ...]
    kept: tuple[Kept, ...]
    contested: tuple[Contested, ...]
    payees: Mapping[str, str]

    @cached_property
    def number(self) -> str:
        """The digest of what was recorded: what a statement is quoted by."""
        return _digest(_facts(self))


def read_statement(store: Store, name_or_id: str, period: Period, *, now: datetime) -> Statement:
    """Raises RegistryError where no creator, or more than one, is meant."""
    creator, moment, connection = find_creator(store, name_or_id), as_utc(now), store.connection
    moved = read_moved(connection, creator.creator_id)
    lines = read_lines(connection, creator.creator_id, period)
    use = read_use(connection, creator.creator_id, period, lines, now=moment)
    paid = read_paid(connection, moved, period)
    kept = read_kept(connection, moved, period, now=moment)
    artist_ids = {entry.artist_id for entry in use.entries}
    return Statement(
        creator_id=creator.creator_id,
        creator_name=creator.name,
        period=period,
        made_at=moment,
        is_over=moment.date() > period.last,
        sheets=sheets(moved, period),
        use=use,
        settled=read_settled(connection, moved, lines, period),
        lines=lines,
        paid=paid,
        kept=kept,
        contested=read_contested(connection, creator.creator_id, artist_ids, period),
        payees=_payee_names(store, creator, {one.payee_id for one in paid}),
    )


def statement_document(statement: Statement) -> dict[str, Any]:
    """The schema ``fairbrush.statement/1``, ready for JSON: money in minor units, times in UTC, shares in
    10^-12."""
    facts = _facts(statement)
    number = _digest(facts)
    return {"schema": SCHEMA, "number": number, **{name: facts[name] for name in facts if name != "schema"}}


def _facts(statement: Statement) -> dict[str, Any]:
    facts = {"schema": SCHEMA, **plain(statement, _DERIVED)}
    for answer in facts["use"]["answers"]:
        del answer["path"]  # where a file lies is whoever made the image's
    return facts


def _digest(facts: Mapping[str, Any]) -> str:
    use = {
        name: value for name, value in facts["use"].items() if name != "evidence"
    }  # of works there are now
    use["entries"] = [_without(entry, _UNHASHED_OF_ENTRIES) for entry in use["entries"]]
    paid = [_without(payout, ("account",)) for payout in facts["paid"]]
    return canonical_digest({**_without(facts, _UNHASHED), "use": use, "paid": paid})


def _without(facts: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def _payee_names(store: Store, creator: Creator, payee_ids: set[str]) -> dict[str, str]:
    if not creator.name:
        return {}
    rows = store.connection.execute(
        "SELECT payee_id, name FROM payee WHERE name IS NOT NULL AND list_contains(?::TEXT[], payee_id)"
        " ORDER BY 1",
        [sorted(payee_ids)],
    ).fetchall()
    return dict(rows)
