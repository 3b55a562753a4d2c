"""A creator's statement as a page for a browser, and for paper.

Enters: a ``Statement``, a workspace, a language. Leaves: HTML, or PDF. The one rule: both say the same, from
the same blocks.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush import __version__
from fairbrush.reports.pages.blocks import (
    Block,
    Cell,
    Commands,
    Facts,
    Figures,
    Items,
    Notice,
    Pictures,
    Prose,
    Section,
    Table,
    code,
)
from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.pdf import render_pdf
from fairbrush.reports.pages.pictures import picture, thumbnail
from fairbrush.reports.pages.statement_dispute_page import dispute_section
from fairbrush.reports.pages.statement_money_page import money_sections
from fairbrush.reports.pages.statement_use_page import Sources, span, use_sections
from fairbrush.reports.pages.words import Words, visible

if TYPE_CHECKING:
    from fairbrush.reports.pages.statement import Statement
    from fairbrush.reports.pages.statement_use import Answer

_SMALL = 256  # pixels of the longer side of a generated image


def statement_html(statement: Statement, workspace: Path, words: Words) -> str:
    """Raises ReportError where the extra ``report`` is not installed."""
    return render(
        "statement.html",
        words=words,
        **_head(statement, words),
        sections=_sections(statement, workspace, words),
    )


def statement_pdf(statement: Statement, workspace: Path, words: Words) -> bytes:
    """Raises ReportError where the extra ``report`` is not installed, or the page cannot be set."""
    pictures: dict[str, bytes] = {}
    sections = [
        {"title": section.title, "blocks": [_for_paper(block, pictures) for block in section.blocks]}
        for section in _sections(statement, workspace, words)
    ]
    values = {
        **_head(statement, words),
        "language": str(words.language),
        "sections": sections,
        "gone": words.text("The picture is not here any more."),
        "foot": words.text("Made by fairbrush %(version)s", version=__version__),
        "page": words.text("Page"),
        "spelled_note": words.text(
            "Characters for which there was no font are written by their codes, as [U+738B]. The page for a "
            "browser shows them."
        ),
    }
    return render_pdf("statement.typ", values, now=statement.made_at, pictures=pictures)


def _head(statement: Statement, words: Words) -> dict[str, str]:
    named = visible(statement.creator_name)
    return {
        "title": words.text("Statement for %(name)s", name=named)
        if named
        else words.text("Statement for a creator who is erased"),
        "kicker": span(statement.period, words),
        "lede": words.text(
            "How often images drew on your works, how sure that is, what you earned by it, what was paid, "
            "and what is held and why."
        ),
    }


def _sections(statement: Statement, workspace: Path, words: Words) -> list[Section]:
    def of_work(sha256: str) -> str | None:
        return thumbnail(workspace, sha256)

    def of_image(answer: Answer) -> str | None:
        if answer.path is None:
            return None
        return picture(Path(answer.path), sha256=answer.image_sha256, most_pixels=_SMALL)

    return [
        Section(words.text("At a glance"), _glance(statement, words)),
        *use_sections(statement, words, Sources(of_work, of_image)),
        *money_sections(statement, words),
        dispute_section(statement, words),
        Section(words.text("What this statement cannot say"), [Items(_limits(words))]),
        Section(words.text("How to check it"), _check(statement, words)),
    ]


def _glance(statement: Statement, words: Words) -> list[Block]:
    blocks: list[Block] = []
    if not statement.is_over:
        blocks.append(
            Notice(
                words.text(
                    "The period is not over. This is how things stood on %(moment)s; what is recorded later "
                    "in the period is not in it.",
                    moment=words.moment(statement.made_at),
                )
            )
        )
    use = statement.use
    blocks.append(
        Figures(
            [
                (words.text("answers that credit you"), words.number(use.answer_count)),
                (words.text("images they are about"), words.number(use.image_count)),
                (words.text("settled uses"), words.number(use.settled_count)),
            ]
        )
    )
    for sheet in statement.sheets:
        pairs = [
            (words.text("kept for you at the beginning"), sheet.opening_total),
            (words.text("earned, after corrections"), sheet.earned + sheet.taken_back),
            (words.text("paid out"), sheet.paid),
            (words.text("kept for you at the end"), sheet.closing_total),
        ]
        if sheet.otherwise:
            pairs.insert(2, (words.text("moved by claims, disputes and erasures"), sheet.otherwise))
        blocks.append(Figures([(label, words.money(amount, sheet.currency)) for label, amount in pairs]))
    if not statement.sheets:
        blocks.append(Prose(words.text("No money was kept for you, and none moved, in this period.")))
    blocks.append(
        Facts(
            [
                (words.text("Statement number"), code(statement.number)),
                (words.text("Made on"), Cell(words.moment(statement.made_at))),
                (words.text("Your creator id"), code(statement.creator_id)),
            ]
        )
    )
    blocks.append(
        Prose(
            words.text(
                "Everything belongs to the day on which it was recorded (UTC): an answer to the day it was "
                "given, money to the day it was booked. What was earned in one month may be booked in a "
                "later one; it then stands in the later statement, with the days it was earned on."
            )
        )
    )
    return blocks


def _limits(words: Words) -> list[str]:
    return [
        words.text(
            "Similar style is no proof that a model was trained on your works, or that anybody copied them."
        ),
        words.text("A share is an estimate by an agreed rule. It is no judgment about rights."),
        words.text(
            "Only images that this platform asked about are in it, and only works that are registered."
        ),
        words.text(
            "What other people got, and who they are, is not in it. The rest of an image's worth is the "
            "platform's, the model's, other artists' or nobody's."
        ),
        words.text(
            "What you may earn as the developer of a model is not in it, even if it came with the same "
            "payment."
        ),
    ]


def _check(statement: Statement, words: Words) -> list[Block]:
    asked = f"fairbrush report statement {statement.creator_id} --period {statement.period} --json"
    return [
        Prose(
            words.text(
                "The statement number is a digest (SHA-256): a mark computed from everything that was "
                "recorded for this statement. If one amount were different, so would be the number. Names, "
                "and what is registered today, are not part of it. The platform can make the statement again:"
            )
        ),
        Commands([asked, "fairbrush ledger verify"]),
        Prose(
            words.text(
                "The first prints all facts and the number. The second checks that no record was altered "
                "since it was written. With a signed checkpoint, which the platform can give you, it cannot "
                "rewrite its records unseen."
            )
        ),
    ]


def _for_paper(block: Block, pictures: dict[str, bytes]) -> dict[str, Any]:
    """A block as data for the template; its pictures become files."""
    plain = asdict(block)
    if isinstance(block, Pictures):
        for one, shown in zip(plain["pictures"], block.pictures, strict=True):
            if shown.address is not None:
                one["file"] = f"{len(pictures)}.webp"
                pictures[one["file"]] = b64decode(shown.address.partition(",")[2])
            del one["address"]
    if isinstance(block, Table):
        plain["numeric"] = block.numeric
    return plain
