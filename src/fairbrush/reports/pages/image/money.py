"""What one answer earned whom: each revenue line it settled, from what came in to where every part is now.

Enters: a record's id, and the store. Leaves: ``Money``. The one rule: a line is split by ``exact_earnings``
from what its settlement froze, as the settlement did it, so that the parts of all images of a settlement sum
to what it settled; only settlements that stand count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.errors import PolicyError, SettlementError
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.currency import parse_amount
from fairbrush.ledger.earnings import (
    Line,
    Parts,
    SharedRecord,
    Standing,
    credited,
    exact_earnings,
    unattributed_accounts,
)
from fairbrush.ledger.lines import (
    LineImage,
    RevenueLine,
    cancelled,
    paying_record,
    read_lines,
    settled_lines,
    shared_lines,
)
from fairbrush.ledger.moves import MODEL_SUBJECT, artist_of
from fairbrush.ledger.policies import policy_on
from fairbrush.ledger.settled import Frozen, read_frozen
from fairbrush.ledger.standings import assess, developer_accounts, read_facts
from fairbrush.ledger.terms import Terms, Unattributed
from fairbrush.reports.pages.image.earned import EarnedLine, Example, Money, MoneyPart, Pays, Step
from fairbrush.reports.pages.image.facts import E12
from fairbrush.reports.pages.image.people import Person
from fairbrush.reports.pages.image.whereabouts import Credited, Division, Whereabouts, rests

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.store import Store

EXAMPLE = "100"
EXAMPLE_CURRENCY = "EUR"
_FUND = Account(AccountKind.FUND)


def read_money(
    store: Store,
    record: SharedRecord,
    *,
    image_sha256: str,
    model_id: str,
    people: Mapping[str, Person],
    now: datetime,
) -> Money:
    """``people``: every artist by id. Raises SettlementError where a settlement was altered."""
    connection = store.connection
    lines = _earned_lines(connection, record.attribution_id, image_sha256, people)
    pays, paying_id = Pays.SETTLED, None
    if not lines:
        pays, paying_id = _pays(connection, record.attribution_id, image_sha256, model_id, now)
    return Money(
        pays,
        paying_id,
        tuple(lines),
        _taken_back(connection, record.attribution_id),
        _waiting(connection, image_sha256),
        None if lines else _example(store, record, model_id=model_id, people=people, now=now),
    )


def _earned_lines(
    connection: DuckDBPyConnection, attribution_id: str, image_sha256: str, people: Mapping[str, Person]
) -> list[EarnedLine]:
    settled = settled_lines(connection, attribution_ids=[attribution_id])
    if not settled:
        return []
    book, found = Whereabouts(connection, people), []
    for settlement_id, revenue_ids in settled.items():
        frozen = read_frozen(connection, settlement_id)
        for line in read_lines(connection, revenue_ids):
            stages = []
            for one_id, entry, taken_back in book.divisions(line.revenue_id):
                one = frozen if one_id == settlement_id else read_frozen(connection, one_id)
                shared, part = _shared(connection, one, line, image_sha256)
                terms = one.policy.terms
                parts = split_line(
                    shared,
                    one.standings,
                    one.contests,
                    terms=terms,
                    developers=one.developers,
                    people=people,
                )
                stages.append(Division(entry, taken_back, tuple(parts)))
            placed, owed_back = book.place(stages, line.currency)
            by_rule = _of_artists_shares(shared, parts, one.contests, fee=terms.platform_fee)
            found.append(
                EarnedLine(
                    line.revenue_id,
                    line.reference,
                    line.currency,
                    line.amount_minor,
                    part,
                    line.earned_to,
                    frozen.number,
                    frozen.policy.digest,
                    frozen.policy.terms.platform_fee,
                    tuple(replace(one, exact_minor=one.exact_minor * part) for one in placed),
                    by_rule * part,
                    owed_back * part,
                )
            )
    return found


def _shared(
    connection: DuckDBPyConnection, frozen: Frozen, line: RevenueLine, image_sha256: str
) -> tuple[Line, Fraction]:
    """A line as if this image alone had earned it, and the image's part of all the line's weights."""
    ((attribution_id, weight, total),) = connection.execute(
        "SELECT attribution_id, coalesce(weight_e6, 1), sum(coalesce(weight_e6, 1)) OVER ()"
        " FROM settlement_line line LEFT JOIN revenue_image USING (revenue_id, image_sha256)"
        " WHERE settlement_id = ? AND revenue_id = ? QUALIFY line.image_sha256 = ?",
        [frozen.settlement_id, line.revenue_id, image_sha256],
    ).fetchall()
    image = LineImage(line.revenue_id, image_sha256, weight, attribution_id)
    [shared] = shared_lines(connection, [line], [image], model_id=frozen.policy.split.model)
    return shared, Fraction(weight, int(total))


def split_line(
    line: Line,
    standings: Mapping[tuple[str, str], Standing],
    contests: Contests,
    *,
    terms: Terms,
    developers: Mapping[str, Parts],
    people: Mapping[str, Person],
) -> list[Credited]:
    """A line of one image, by what each part is for, and the account it is credited to.

    The unattributed part is kept apart from whoever it goes to, which may be the platform or the developers.
    """
    [earned] = exact_earnings(
        [line],
        standings,
        contests,
        terms=replace(terms, unattributed=Unattributed.FUND),
        developers=developers,
    ).values()
    found = []
    for account, exact in earned.items():
        if account == _FUND:
            for to, part in unattributed_accounts(terms, developers[line.model_id]):
                found.append(Credited(Step.UNATTRIBUTED, exact * part, None, to))
        else:
            found.append(Credited(_step(account), exact, people.get(artist_of(account)), account))
    return found


def _of_artists_shares(
    line: Line, parts: Sequence[Credited], contests: Contests, *, fee: Fraction
) -> Fraction:
    """How much of what is nobody's is so by the terms, and a part of an artist's share by the record."""
    [(_, record)] = line.images
    decision = contests.decided.get(record.attribution_id)
    share = record.unattributed_e12 if decision is None else decision.unattributed_e12
    nobodys = sum((part.exact_minor for part in parts if part.step is Step.UNATTRIBUTED), Fraction(0))
    return nobodys - (1 - fee) * line.amount_minor * Fraction(share, E12)


def _step(account: Account) -> Step:
    match account.kind:
        case AccountKind.PLATFORM:
            return Step.FEE
        case AccountKind.MODEL:
            return Step.MODEL
        case AccountKind.PAYABLE if account.subject.startswith(MODEL_SUBJECT):
            return Step.MODEL
        case AccountKind.DISPUTED if not account.subject:
            return Step.UNATTRIBUTED
        case _:
            return Step.ARTIST


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
    store: Store, record: SharedRecord, *, model_id: str, people: Mapping[str, Person], now: datetime
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
        _of_artists_shares(line, parts, facts.contests, fee=terms.platform_fee),
    )


def _taken_back(connection: DuckDBPyConnection, attribution_id: str) -> int:
    """How many settlements of this record's lines were taken back."""
    ((count,),) = connection.execute(
        "SELECT count(DISTINCT settlement_id) FROM settlement_line JOIN settlement USING (settlement_id)"
        " WHERE kind = 'reversal' AND attribution_id = ?",
        [attribution_id],
    ).fetchall()
    return int(count)


def _waiting(connection: DuckDBPyConnection, image_sha256: str) -> int:
    """How many revenue lines of the image are neither settled nor cancelled."""
    named = [
        revenue_id
        for (revenue_id,) in connection.execute(
            "SELECT revenue_id FROM revenue WHERE image_sha256 = $1"
            " UNION SELECT revenue_id FROM revenue_image WHERE image_sha256 = $1",
            [image_sha256],
        ).fetchall()
    ]
    settled = settled_lines(connection, revenue_ids=named)
    done = {revenue_id for revenue_ids in settled.values() for revenue_id in revenue_ids}
    return len({*named} - done - cancelled(connection, named))
