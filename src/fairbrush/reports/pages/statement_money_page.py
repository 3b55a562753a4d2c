"""The parts of a statement about money: what was earned, paid and held, and how it adds up.

Enters: a ``Statement``. Leaves: sections of blocks. The one rule: every amount is one that was booked, and
each table's amounts sum to the total below them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.period import Period
from fairbrush.ledger.settled import SettlementKind
from fairbrush.reports.pages.blocks import (
    Block,
    Cell,
    Heading,
    Kind,
    Prose,
    Section,
    Table,
    number,
)
from fairbrush.reports.pages.statement_money import Kept, Paid, Settled, Why
from fairbrush.reports.pages.statement_moved import Place
from fairbrush.reports.pages.statement_use_page import mark, names_of, share_text, span
from fairbrush.reports.pages.words import later

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairbrush.reports.pages.statement import Statement
    from fairbrush.reports.pages.statement_accounts import Sheet
    from fairbrush.reports.pages.words import Words

MOST_LINES = 20  # of the lines that were settled; --json gives all

_PLACES = {
    Place.PAYABLE: later("to be paid"),
    Place.ESCROW: later("held"),
    Place.DISPUTED: later("set aside"),
    Place.TRANSIT: later("on its way"),
}
_STATUSES = {
    PayoutStatus.PROPOSED: later("on its way, not yet confirmed by the bank"),
    PayoutStatus.CONFIRMED: later("paid"),
    PayoutStatus.FAILED: later("failed; it is owed to you again"),
}
_WHY = {
    Why.UNCLAIMED: later("Nobody has claimed this artist entry. Show that it is yours, and it is paid."),
    Why.OPTED_OUT: later("This artist entry is opted out. What it earned is held until it opts in again."),
    Why.TO_RELEASE: later("It was held earlier. Ask the platform to release it: the entry is claimed anew."),
    Why.DISPUTED: later("It is contested. It is set aside until the dispute is decided."),
    Why.ON_ITS_WAY: later("It was proposed for payment, and the bank has not confirmed it."),
    Why.DUE: later("It is due, and goes with the next payment."),
    Why.BELOW_MINIMUM: later("It is less than is paid at once, %(minimum)s. It is carried forward."),
    Why.OWED_BACK: later(
        "More was paid than is yours now: some of it was taken back, or set aside. Later earnings make it "
        "good first."
    ),
    Why.PAYEE_ERASED: later("Whoever was paid for you is erased. Name somebody else who is paid."),
}
_MOVEMENTS = {
    EntryKind.SETTLEMENT: later("Earned in settlements"),
    EntryKind.REVERSAL: later("Taken back by corrections"),
    EntryKind.CLAIM: later("Released when an entry was claimed"),
    EntryKind.DISPUTE_OPENED: later("Set aside for a dispute"),
    EntryKind.DISPUTE_RESOLVED: later("Moved as a dispute was decided"),
    EntryKind.ERASURE: later("Moved as an artist entry was erased"),
    EntryKind.PAYOUT_PROPOSED: later("Proposed for payment"),
    EntryKind.PAYOUT_CONFIRMED: later("Paid out"),
    EntryKind.PAYOUT_FAILED: later("Payments that failed"),
}


def money_sections(statement: Statement, words: Words) -> list[Section]:
    return [
        Section(words.text("What you earned"), _earned(statement, words)),
        Section(words.text("What was paid"), _paid(statement, words)),
        Section(words.text("What is held, and why"), _kept(statement, words)),
        Section(words.text("How it adds up"), _sheets(statement, words)),
    ]


def _earned(statement: Statement, words: Words) -> list[Block]:
    blocks: list[Block] = [
        Prose(
            words.text(
                "A settlement shares out what images earned in a period: first the platform's fee, then the "
                "model's part, then the artists' shares as the answers say. A correction takes a "
                "settlement's lines back and settles them anew."
            )
        )
    ]
    if not statement.settled:
        return [*blocks, Prose(words.text("Nothing was settled for you in this period."))]
    rows = [
        [
            Cell(_settlement_name(one, words)),
            Cell(words.day(one.booked_at.date())),
            Cell(span(one.earned, words)),
            number(words.number(one.images)),
            Cell(words.listing([words.text(_PLACES[place]) for place in Place if one.amounts[place]])),
            _money(one.total, one.currency, words),
        ]
        for one in statement.settled
    ]
    totals = _totals(((one.currency, one.total) for one in statement.settled), len(rows[0]), words)
    blocks.append(
        Table(
            words.text("Settlements booked in this period, and what each brought you"),
            [
                words.text("Settlement"),
                words.text("Booked on"),
                words.text("Earned in"),
                words.text("Images"),
                words.text("Where it went"),
                words.text("Amount"),
            ],
            [*rows, *totals],
            totals=len(totals),
        )
    )
    blocks.append(
        Prose(
            words.text(
                "Only whole cents are booked (or whole yen, and so on). A fraction that is left over is kept "
                "for the next settlement, so an amount can be one cent more or less than the share says, "
                "even without an image."
            ),
            is_quiet=True,
        )
    )
    if statement.lines:
        blocks += _lines(statement, words)
    return blocks


def _settlement_name(one: Settled, words: Words) -> str:
    if one.kind is SettlementKind.SETTLEMENT:
        return words.text("No. %(number)s", number=one.number)
    return words.text("No. %(number)s, takes back from no. %(other)s", number=one.number, other=one.reverses)


def _lines(statement: Statement, words: Words) -> list[Block]:
    shown = statement.lines[:MOST_LINES]
    names = names_of(statement, words)
    blocks: list[Block] = [
        Heading(words.text("Line by line")),
        Table(
            words.text("Images that were settled, your share of each, and what the line of revenue brought"),
            [
                words.text("Image"),
                words.text("Artist entry"),
                words.text("Settlement"),
                words.text("Earned on"),
                words.text("Your share"),
                words.text("Revenue"),
                words.text("Spread over images"),
            ],
            [
                [
                    mark(line.image_sha256),
                    names.get(line.artist_id, Cell("")),
                    Cell(
                        words.text("no. %(number)s", number=line.settlement)
                        if line.kind is SettlementKind.SETTLEMENT
                        else words.text("no. %(number)s, taken back", number=line.settlement)
                    ),
                    Cell(span(Period(line.earned_from, line.earned_to), words)),
                    number(share_text(line.share_e12, words)),
                    _money(line.line_amount_minor, line.currency, words),
                    number(words.number(line.images) if line.images > 1 else ""),
                ]
                for line in shown
            ],
        ),
    ]
    if more := len(statement.lines) - len(shown):
        text = words.plural(
            "And one more line: the list with --json has all.",
            "And %(num)s more lines: the list with --json has all.",
            more,
        )
        blocks.append(Prose(text, is_quiet=True))
    return blocks


def _paid(statement: Statement, words: Words) -> list[Block]:
    if not statement.paid:
        return [Prose(words.text("Nothing was paid or proposed for payment in this period."))]
    return [
        Prose(
            words.text(
                "A payout is proposed first, then sent to the bank, and confirmed or failed. Only your part "
                "of each is shown, if somebody is paid for several people."
            )
        ),
        Table(
            words.text("Payouts of this period, as they stood at its end"),
            [
                words.text("Payout"),
                words.text("Status"),
                words.text("Proposed on"),
                words.text("Since"),
                words.text("Paid to"),
                words.text("Account"),
                words.text("Reference or reason"),
                words.text("Amount"),
            ],
            [_payout(one, statement, words) for one in statement.paid],
        ),
    ]


def _payout(one: Paid, statement: Statement, words: Words) -> list[Cell]:
    payee = statement.payees.get(one.payee_id)
    return [
        mark(one.payout_id),
        Cell(words.text(_STATUSES[one.status])),
        Cell(words.day(one.proposed_at.date())),
        Cell(words.day(one.changed_at.date())),
        Cell(payee, Kind.NAME) if payee else mark(one.payee_id),
        Cell(one.account or ""),
        Cell(one.note or "", Kind.NAME),
        _money(one.amount_minor, one.currency, words),
    ]


def _kept(statement: Statement, words: Words) -> list[Block]:
    if not statement.kept:
        return [Prose(words.text("Nothing is held for you, and nothing is owed to you."))]
    names = names_of(statement, words)
    rows = [
        [
            Cell(_why(one, words)),
            names.get(one.artist_id, Cell("")),
            mark(one.about) if one.place in (Place.DISPUTED, Place.TRANSIT) else Cell(""),
            _money(one.amount_minor, one.currency, words),
        ]
        for one in statement.kept
    ]
    totals = _totals(((one.currency, one.amount_minor) for one in statement.kept), len(rows[0]), words)
    return [
        Table(
            words.text("What was not paid at the end of the period, and what it waits for"),
            [
                words.text("Why"),
                words.text("Artist entry"),
                words.text("Dispute or payout"),
                words.text("Amount"),
            ],
            [*rows, *totals],
            totals=len(totals),
        )
    ]


def _why(one: Kept, words: Words) -> str:
    if one.minimum_minor is None:
        return words.text(_WHY[one.why])
    return words.text(_WHY[one.why], minimum=words.money(one.minimum_minor, one.currency))


def _sheets(statement: Statement, words: Words) -> list[Block]:
    if not statement.sheets:
        return [Prose(words.text("No money was kept for you, and none moved, in this period."))]
    blocks: list[Block] = [
        Prose(
            words.text(
                "Every movement on your accounts. To be paid: owed to you. Held: until an entry is claimed, "
                "or opts in again. Set aside: for a dispute. On its way: proposed for payment. The last row "
                "is the first of the next statement, as long as your entries stay yours."
            )
        )
    ]
    return [*blocks, *(_sheet(sheet, words) for sheet in statement.sheets)]


def _sheet(sheet: Sheet, words: Words) -> Table:
    rows = [
        (words.text("At the beginning"), sheet.opening),
        *((words.text(_MOVEMENTS[one.kind]), one.amounts) for one in sheet.movements),
        (words.text("At the end"), sheet.closing),
    ]
    return Table(
        words.text("Your accounts in %(currency)s", currency=sheet.currency),
        [words.text("Movement"), *(words.text(_PLACES[place]) for place in Place), words.text("Together")],
        [
            [
                Cell(label),
                *(_money(amounts[place], sheet.currency, words) for place in Place),
                _money(sum(amounts.values()), sheet.currency, words),
            ]
            for label, amounts in rows
        ],
        totals=1,
    )


def _money(amount_minor: int, currency: str, words: Words) -> Cell:
    return number(words.money(amount_minor, currency))


def _totals(amounts: Iterable[tuple[str, int]], width: int, words: Words) -> Sequence[list[Cell]]:
    """A row a currency."""
    sums: dict[str, int] = defaultdict(int)
    for currency, amount in amounts:
        sums[currency] += amount
    blank = [Cell("")] * (width - 2)
    return [
        [
            Cell(words.text("Together, in %(currency)s", currency=currency)),
            *blank,
            _money(total, currency, words),
        ]
        for currency, total in sorted(sums.items())
    ]
