"""What one answer earned whom: each revenue line it settled, from what came in to where every part is now.

Enters: a record's id, and the store. Leaves: ``Money``. The one rule: a line is split by ``exact_earnings``
from what its settlement froze, as the settlement did it, so that the parts of all images of a settlement sum
to what it settled; only settlements that stand count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.domain import Consent
from fairbrush.errors import PolicyError, SettlementError
from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.choices import PayoutStatus
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
    cancelled,
    paying_record,
    read_lines,
    settled_lines,
    shared_lines,
)
from fairbrush.ledger.moves import MODEL_SUBJECT, Move, artist_of, read_moves
from fairbrush.ledger.payouts import list_payouts
from fairbrush.ledger.policies import policy_on
from fairbrush.ledger.settled import Frozen, read_frozen
from fairbrush.ledger.standings import assess, developer_accounts, read_facts
from fairbrush.ledger.terms import Terms, Unattributed
from fairbrush.reports.pages.image.facts import (
    EarnedLine,
    Example,
    Money,
    MoneyPart,
    Pays,
    Person,
    Place,
    Step,
)

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
    lines = _earned_lines(connection, record.attribution_id, people)
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
    connection: DuckDBPyConnection, attribution_id: str, people: Mapping[str, Person]
) -> list[EarnedLine]:
    book = _Book(connection, people)
    found = []
    for settlement_id, revenue_ids in settled_lines(connection, attribution_ids=[attribution_id]).items():
        frozen = read_frozen(connection, settlement_id)
        for line in read_lines(connection, revenue_ids):
            image, part = _image_of(connection, settlement_id, line.revenue_id, attribution_id)
            [shared] = shared_lines(connection, [line], [image], model_id=frozen.policy.split.model)
            locate = book.locator(frozen, line.currency)
            parts = split_line(
                shared,
                frozen.standings,
                frozen.contests,
                terms=frozen.policy.terms,
                developers=frozen.developers,
                people=people,
                locate=locate,
            )
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
                    tuple(replace(one, exact_minor=one.exact_minor * part) for one in parts),
                )
            )
    return found


def split_line(
    line: Line,
    standings: Mapping[tuple[str, str], Standing],
    contests: Contests,
    *,
    terms: Terms,
    developers: Mapping[str, Parts],
    people: Mapping[str, Person],
    locate: Callable[[Account], Place],
) -> list[MoneyPart]:
    """A line of one image, by what each part is for. locate: where an account's money is.

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
                found.append(MoneyPart(Step.UNATTRIBUTED, exact * part, place=locate(to)))
        else:
            step, artist = _step(account), people.get(artist_of(account))
            found.append(MoneyPart(step, exact, artist, locate(account)))
    return found


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


def _image_of(
    connection: DuckDBPyConnection, settlement_id: str, revenue_id: str, attribution_id: str
) -> tuple[LineImage, Fraction]:
    """This record's image of a line, and its part of all the line's weights."""
    rows = connection.execute(
        "SELECT line.image_sha256, coalesce(weight_e6, 1), sum(coalesce(weight_e6, 1)) OVER ()"
        " FROM settlement_line line LEFT JOIN revenue_image USING (revenue_id, image_sha256)"
        " WHERE settlement_id = ? AND revenue_id = ? QUALIFY attribution_id = ?",
        [settlement_id, revenue_id, attribution_id],
    ).fetchall()
    ((image_sha256, weight, total),) = rows
    return LineImage(revenue_id, image_sha256, weight, attribution_id), Fraction(weight, int(total))


class _Book:
    """Where money is that a settlement credited: moved on since, or paid out."""

    def __init__(self, connection: DuckDBPyConnection, people: Mapping[str, Person]) -> None:
        self._connection = connection
        self._people = people
        entries = connection.execute(
            "SELECT reference, number FROM entry WHERE kind = ?", [str(EntryKind.SETTLEMENT)]
        ).fetchall()
        self._entry_of = dict(entries)
        status = {payout.payout_id: payout.status for payout in list_payouts(connection)}
        self._departures: dict[tuple[str, str, str], list[tuple[int, PayoutStatus]]] = defaultdict(list)
        for payout_id, number, holder, subject, currency in connection.execute(
            "SELECT reference, number, holder, subject, currency FROM entry JOIN posting"
            " ON entry_number = number WHERE kind = ? AND account = ? ORDER BY number",
            [str(EntryKind.PAYOUT_PROPOSED), str(AccountKind.PAYABLE)],
        ).fetchall():
            self._departures[holder, subject, currency].append((number, status[payout_id]))

    def locator(self, frozen: Frozen, currency: str) -> Callable[[Account], Place]:
        entry = self._entry_of[frozen.settlement_id]
        (last,) = self._connection.execute("SELECT max(number) FROM entry").fetchall()[0]
        moves = [m for m in read_moves(self._connection, after=entry, until=last) if m.currency == currency]
        return lambda account: self._place(account, currency, entry, moves)

    def _place(self, account: Account, currency: str, entry: int, moves: Sequence[Move]) -> Place:
        """What an account held left it with the next payout, or was moved on before that."""
        since = entry
        for move in moves:
            target = move.target(account)
            if target == account:
                continue
            if left := self._left(account, currency, after=since, until=move.number):
                return left
            account, since = target, move.number
        return self._left(account, currency, after=since) or _rests(account, self._people)

    def _left(self, account: Account, currency: str, *, after: int, until: int | None = None) -> Place | None:
        """A payout takes all that a payable account holds, so the first that did not fail took this."""
        if account.kind is not AccountKind.PAYABLE:
            return None
        for number, status in self._departures[account.holder, account.subject, currency]:
            if number > after and (until is None or number < until) and status is not PayoutStatus.FAILED:
                return Place.PAID if status is PayoutStatus.CONFIRMED else Place.ON_ITS_WAY
        return None


def _rests(account: Account, people: Mapping[str, Person]) -> Place:
    match account.kind:
        case AccountKind.PLATFORM:
            return Place.PLATFORM
        case AccountKind.FUND:
            return Place.FUND
        case AccountKind.PAYABLE:
            return Place.OWED
        case AccountKind.DISPUTED:
            return Place.DISPUTED
        case AccountKind.ESCROW if account.holder in people:
            held = {Consent.UNCLAIMED: Place.UNCLAIMED, Consent.OPTED_OUT: Place.OPTED_OUT}
            return held.get(people[account.holder].consent, Place.HELD)
        case _:
            return Place.HELD


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
    parts = split_line(
        line,
        standings,
        facts.contests,
        terms=terms,
        developers=developers,
        people=people,
        locate=lambda account: _rests(account, people),
    )
    return Example(currency, amount_minor, terms.platform_fee, is_adopted, tuple(parts))


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
