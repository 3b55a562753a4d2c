"""The page about one answer, for an artist who need not know how it is computed.

Enters: an ``ImageReport``, the workspace for its pictures, and the words. Leaves: HTML. The one rule: it says
what the facts say and nothing else; what is uncertain is said to be.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import ImageLimits, hash_file
from fairbrush.errors import ImageRefusedError, ReportError
from fairbrush.reports.pages.charts import COLOURS
from fairbrush.reports.pages.image import phrases
from fairbrush.reports.pages.image.drawn import Bar, bars_svg
from fairbrush.reports.pages.image.facts import E12, Credit, ImageReport
from fairbrush.reports.pages.image.flow import money_flow, said_sum
from fairbrush.reports.pages.image.speech import Speech
from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.pictures import picture, thumbnail
from fairbrush.reports.pages.words import Words

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN_DIGITS = 16  # of an id that a person may have to type
MOST_DRAWN = 12  # bars of a chart


def image_page(report: ImageReport, *, workspace: Path, words: Words, image: Path | None = None) -> str:
    """``image``: a file that is the image, whose digest was checked. Raises ReportError."""
    speech = Speech(words, report)
    example = report.money.example
    return render(
        "image.html",
        words=words,
        report=report,
        E12=E12,
        phrases=phrases,
        speech=speech,
        image_id=report.attribution_id[:SHOWN_DIGITS],
        picture=_picture(report, image),
        works={
            work.sha256: thumbnail(workspace, work.sha256)
            for credit in report.credits
            for work in credit.evidence
            if work.is_shown
        },
        inputs={one.sha256: thumbnail(workspace, one.sha256) for one in report.mixed if one.is_shown},
        shares_chart=_shares_chart(report, speech),
        flows=[
            money_flow(currency, [part for line in lines for part in line.parts], speech, lines=lines)
            for currency, lines in report.money.by_currency.items()
        ],
        waiting=said_sum(report.money.waiting, words),
        example=None
        if example is None
        else money_flow(example.currency, example.parts, speech, bill=example),
        example_bill=None
        if example is None
        else words.fine_money(Fraction(example.amount_minor), example.currency, finer=0),
    )


def check_image(image: Path, report: ImageReport) -> None:
    """Raises ReportError where a file is not the image of the answer, or cannot be read."""
    try:
        found = hash_file(image, ImageLimits())
    except ImageRefusedError as error:
        raise ReportError(
            f"{image} cannot be read: {error.detail or error.reason}", next_step="Name the image's file."
        ) from error
    if found != report.image_sha256:
        raise ReportError(
            f"{image} is not the image of this answer: its SHA-256 is {found[:16]}..., the answer's"
            f" {report.image_sha256[:16]}...",
            next_step="Name the very file that was looked up; a copy that was saved anew is another one.",
        )


def _picture(report: ImageReport, image: Path | None) -> str | None:
    if image is not None:
        return picture(image, sha256=report.image_sha256)
    if report.path is None or report.is_kept_back:
        return None
    return picture(report.path, sha256=report.image_sha256)


def _shares_chart(report: ImageReport, speech: Speech) -> Markup:
    words = speech.words
    bars = [_share_bar(credit, speech) for credit in report.credits[:MOST_DRAWN]]
    rest = sum(credit.share_e12 for credit in report.credits[MOST_DRAWN:])
    others = [
        (rest, words.text("other artists"), COLOURS[1]),
        (report.model_share_e12, words.text("Makers of the model"), COLOURS[4]),
        (report.unattributed_e12, words.text("Nobody's part"), COLOURS[4]),
    ]
    bars += [
        Bar(name, 0.0, share / E12, speech.share(share), colour) for share, name, colour in others if share
    ]
    label = words.text(
        "Bars: which part of what the image earns goes to whom. The table below has the numbers."
    )
    return bars_svg(bars, label=label, words=words, has_axis=True)


def _share_bar(credit: Credit, speech: Speech) -> Bar:
    low, high = credit.interval or (None, None)
    share = credit.share_e12
    return Bar(speech.plain(credit.artist), 0.0, share / E12, speech.share(share), COLOURS[1], low, high)
