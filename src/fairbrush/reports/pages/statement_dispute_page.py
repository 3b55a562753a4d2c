"""The part of a statement for whoever disagrees: the disputes there are, and how to open one.

Enters: a ``Statement``. Leaves: a section of blocks. The one rule: nobody else in a dispute is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairbrush.ledger.disputes import State
from fairbrush.reports.pages.blocks import Block, Cell, Items, Kind, Prose, Section, Table
from fairbrush.reports.pages.statement_money import Role
from fairbrush.reports.pages.statement_use_page import mark
from fairbrush.reports.pages.words import later

if TYPE_CHECKING:
    from fairbrush.reports.pages.statement import Statement
    from fairbrush.reports.pages.words import Words

_ROLES = {
    Role.OPENED: later("opened by you"),
    Role.ENTRY: later("over who is behind your artist entry"),
    Role.SHARE: later("over your share of an image"),
    Role.GIVEN: later("gave you a share of an image"),
}
_STATES = {
    State.OPEN: later("open"),
    State.REJECTED: later("decided: rejected"),
    State.UPHELD: later("decided: upheld"),
}


def dispute_section(statement: Statement, words: Words) -> Section:
    blocks: list[Block] = []
    if statement.contested:
        blocks.append(_contested(statement, words))
    blocks.append(
        Items(
            [
                words.text(
                    "Say what is wrong: a share of an image, an image that credits nobody, or who is behind "
                    "an artist entry. Quote this statement's number and the image's mark."
                ),
                words.text(
                    "Send what shows it: dated originals, sketches, earlier publications, contracts, letters."
                ),
                words.text(
                    "The platform opens a dispute. From then on the contested money is set aside, settled or "
                    "not, and nobody is paid from it."
                ),
                words.text(
                    "Somebody decides, and writes down why. The money goes as decided; your next statement "
                    "shows it, as a correction or as moved."
                ),
            ],
            is_ordered=True,
        )
    )
    blocks.append(
        Prose(
            words.text(
                "You can also opt out. Then no later answer credits you, and what is still earned by earlier "
                "ones is held."
            )
        )
    )
    return Section(words.text("If you disagree"), blocks)


def _contested(statement: Statement, words: Words) -> Table:
    return Table(
        words.text("Disputes that were open in this period"),
        [
            words.text("Dispute"),
            words.text("What it is"),
            words.text("Image"),
            words.text("Opened on"),
            words.text("State"),
            words.text("Decided on"),
            words.text("Reason given"),
        ],
        [
            [
                mark(one.dispute_id),
                Cell(words.text(_ROLES[one.role])),
                mark(one.image_sha256) if one.image_sha256 else Cell(""),
                Cell(words.day(one.opened_at.date())),
                Cell(words.text(_STATES[one.state])),
                Cell(words.day(one.resolved_at.date()) if one.resolved_at else ""),
                Cell(one.reason or "", Kind.NAME),
            ]
            for one in statement.contested
        ],
    )
