"""What one answer earned whom: each revenue line it settled, from what came in to where every part is now.

Enters: a record's id, and the store. Leaves: ``Money``. The one rule: every line of the image is told, also
one that was cancelled or waits; only a division that stands says where money is.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from fairbrush.errors import PolicyError, SettlementError
from fairbrush.ledger.currency import parse_amount
from fairbrush.ledger.earnings import (
    Line,
    SharedRecord,
    credited,
)
from fairbrush.ledger.lines import (
    paying_record,
)
from fairbrush.ledger.policies import policy_on
from fairbrush.ledger.standings import assess, developer_accounts, read_facts
from fairbrush.ledger.terms import Terms
from fairbrush.reports.pages.image.divided import (
    divided_lines,
    earned_lines,
    ever_divided,
    lines_of,
    of_artists_shares,
    split_line,
)
from fairbrush.reports.pages.image.earned import Example, Money, MoneyPart, Pays
from fairbrush.reports.pages.image.people import People
from fairbrush.reports.pages.image.whereabouts import rests

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store

EXAMPLE = "100"
EXAMPLE_CURRENCY = "EUR"


def read_money(
    store: Store,
    record: SharedRecord,
    *,
    image_sha256: str,
    model_id: str,
    people: People,
    now: datetime,
) -> Money:
    """``people``: every artist by id. Raises SettlementError where a settlement was altered."""
    connection = store.connection
    of_image = lines_of(connection, image_sha256)
    divided = divided_lines(connection, record.attribution_id, image_sha256)
    ever = ever_divided(connection, image_sha256)
    earned = sorted(
        earned_lines(connection, divided, of_image, people),
        key=attrgetter("settlement_number", "revenue_id"),
    )
    lines = tuple(line for line in earned if line.stands)
    pays, paying_id = Pays.SETTLED, None
    if not lines:
        pays, paying_id = _pays(connection, record.attribution_id, image_sha256, model_id, now)
    return Money(
        pays,
        paying_id,
        lines,
        gone=tuple(line for line in earned if not line.stands),
        undivided=tuple(line for line in of_image.values() if line.revenue_id not in ever),
        elsewhere=len(ever - divided.keys()),
        taken_back=_taken_back(connection, record.attribution_id),
        example=None if lines else _example(store, record, model_id=model_id, people=people, now=now),
    )


def _pays(
    connection: DuckDBPyConnection, attribution_id: str, image_sha256: str, model_id: str, now: datetime
) -> tuple[Pays, str | None]:
    try:
        policy = policy_on(connection, now.date())
        paying_id = paying_record(connection, image_sha256, model_id, policy)
    except PolicyError:
        return Pays.NO_POLICY, None
    if paying_id is None:
        return Pays.UNPINNED, None
    return (Pays.FIRST, None) if paying_id == attribution_id else (Pays.OTHER, paying_id)


def _example(
    store: Store, record: SharedRecord, *, model_id: str, people: People, now: datetime
) -> Example | None:
    """A bill shared out by what holds now; None where it could not be settled now."""
    try:
        terms, is_adopted = policy_on(store.connection, now.date()).terms, True
    except PolicyError:
        terms, is_adopted = Terms(), False
    currency = min(terms.minimum_payout, default=EXAMPLE_CURRENCY)
    amount_minor = parse_amount(EXAMPLE, currency)
    line = Line("example", currency, amount_minor, model_id, [(1, record)])
    try:
        facts = read_facts(store, now=now)
        standings = assess(facts, credited([line], facts.contests, terms=terms), terms=terms)
        developers = developer_accounts(facts, [model_id], terms=terms)
    except SettlementError:
        return None
    parts = split_line(line, standings, facts.contests, terms=terms, developers=developers, people=people)
    return Example(
        currency,
        amount_minor,
        terms.platform_fee,
        is_adopted,
        tuple(MoneyPart(one.step, one.exact_minor, one.artist, rests(one.account, people)) for one in parts),
        of_artists_shares(line, parts, facts.contests, fee=terms.platform_fee),
    )


def _taken_back(connection: DuckDBPyConnection, attribution_id: str) -> int:
    """How many settlements of this record's lines were taken back."""
    ((count,),) = connection.execute(
        "SELECT count(DISTINCT settlement_id) FROM settlement_line JOIN settlement USING (settlement_id)"
        " WHERE kind = 'reversal' AND attribution_id = ?",
        [attribution_id],
    ).fetchall()
    return int(count)
