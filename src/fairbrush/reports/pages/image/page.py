"""The page about one answer, for an artist who need not know how it is computed.

Enters: an ``ImageReport``, the workspace for its pictures, and the words. Leaves: HTML. The one rule: it says
what the facts say and nothing else; what is uncertain is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.images import ImageLimits, hash_file
from fairbrush.errors import ImageRefusedError, ReportError
from fairbrush.reports.pages.charts import COLOURS
from fairbrush.reports.pages.image import phrases
from fairbrush.reports.pages.image.drawn import Bar, bars_svg
from fairbrush.reports.pages.image.earned import EarnedLine, MoneyPart, Place, Step, summed
from fairbrush.reports.pages.image.facts import E12, Credit, ImageReport
from fairbrush.reports.pages.image.people import Person
from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.pictures import picture, thumbnail
from fairbrush.reports.pages.words import Words, visible

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN_DIGITS = 16  # of an id that a person may have to type
MOST_NAMED = 3  # artists in one sentence, the others are counted
MOST_DRAWN = 12  # bars of a chart


@dataclass(frozen=True)
class Row:
    """A step of the money: whose, how much, and where that is, as text."""

    whose: str
    amount: str
    where: str
    is_artist: bool


@dataclass(frozen=True)
class Flow:
    """The money of one currency. ``is_exact``: no amount has a fraction of a cent; ``paid``: None where it is
    an example; ``by_rule``, ``owed_back``: None where there is nothing of it."""

    currency: str
    total: str
    rows: tuple[Row, ...]
    artists: str
    paid: str | None
    is_exact: bool
    artists_get: bool
    by_rule: str | None
    owed_back: str | None
    chart: Markup
    legend: tuple[tuple[str, str], ...]
    lines: tuple[EarnedLine, ...]


def image_page(report: ImageReport, *, workspace: Path, words: Words, image: Path | None = None) -> str:
    """``image``: a file that is the image, whose digest was checked. Raises ReportError."""
    speech = _Speech(words, report)
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
            _flow(
                currency,
                [part for line in lines for part in line.parts],
                speech,
                by_rule=sum((line.by_rule_minor for line in lines), Fraction(0)),
                lines=lines,
            )
            for currency, lines in report.money.by_currency.items()
        ],
        example=None
        if example is None
        else _flow(example.currency, example.parts, speech, by_rule=example.by_rule_minor, is_example=True),
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


class _Speech:
    """What needs more than a message: names, lists of names, and what is written of a number."""

    def __init__(self, words: Words, report: ImageReport) -> None:
        self.words = words
        self._image_sha256 = report.image_sha256
        people = [credit.artist for credit in report.credits]
        names = [person.name for person in people]
        self._twice = {name for name in names if names.count(name) > 1}

    def plain(self, person: Person | None) -> str:
        """A name for a chart or a caption; two of one name are told apart by their ids."""
        if person is None or not person.name:
            return self.words.text("(erased)")
        if person.name in self._twice:
            return f"{person.name} ({person.artist_id[:8]})"
        return person.name

    def name(self, person: Person | None) -> Markup:
        from markupsafe import Markup

        return Markup("<bdi>{}</bdi>").format(visible(self.plain(person)))

    def names(self, people: Sequence[Person]) -> Markup:
        """All of them, or the first few and how many more there are."""
        from markupsafe import Markup, escape

        shown = [str(self.name(person)) for person in people[:MOST_NAMED]]
        if more := len(people) - len(shown):
            shown.append(str(escape(self.words.plural("one more", "%(num)s more", more))))
        return Markup(self.words.listing(shown))

    def division(self, report: ImageReport) -> Markup:
        """``32.7% to Ann, 17.3% to Bo and 50.0% to ...``, of what is left after the fee."""
        from markupsafe import Markup, escape

        text = self.words.text
        pattern = escape(text("%(share)s to %(who)s"))
        shares = [(credit.share_e12, self.name(credit.artist)) for credit in report.credits[:MOST_NAMED]]
        rest = sum(credit.share_e12 for credit in report.credits[MOST_NAMED:])
        shares += [
            (rest, escape(text("other artists"))),
            (report.model_share_e12, escape(text("the makers of the model"))),
            (report.unattributed_e12, escape(text("no one"))),
        ]
        parts = [str(pattern % {"share": self.share(share), "who": who}) for share, who in shares if share]
        return Markup(self.words.listing(parts))

    def share(self, share_e12: int) -> str:
        return self.part(Fraction(share_e12, E12))

    def part(self, fraction: Fraction) -> str:
        return self.words.percent(Decimal(fraction.numerator) / fraction.denominator)

    def nearness(self, similarity: float, sha256: str | None = None) -> str:
        if sha256 == self._image_sha256:
            return self.words.text("this very picture")
        number = self.words.number(similarity, digits=2)
        message = next(text for least, text in phrases.NEARNESS if similarity >= least or least == -1.0)
        return self.words.text(message, number=number)

    def caption(self, person: Person | None, nearness: str) -> str:
        return self.words.text("By %(artist)s: %(near)s", artist=self.plain(person), near=nearness)

    def short(self, number: float) -> str:
        return self.words.number(number, digits=3 if number else 0)

    def step(self, part: MoneyPart) -> str:
        if part.step is Step.ARTIST:
            return self.plain(part.artist)
        return self.words.text(phrases.STEPS[part.step])

    def place(self, part: MoneyPart) -> str:
        return self.words.text(phrases.PLACES[part.place])


def _shares_chart(report: ImageReport, speech: _Speech) -> Markup:
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


def _share_bar(credit: Credit, speech: _Speech) -> Bar:
    low, high = credit.interval or (None, None)
    share = credit.share_e12
    return Bar(speech.plain(credit.artist), 0.0, share / E12, speech.share(share), COLOURS[1], low, high)


def _flow(
    currency: str,
    parts: Sequence[MoneyPart],
    speech: _Speech,
    *,
    by_rule: Fraction,
    lines: Sequence[EarnedLine] = (),
    is_example: bool = False,
) -> Flow:
    words = speech.words
    steps = summed(parts)
    finer = 2 if any(part.exact_minor.denominator != 1 for part in steps) else 0

    def amount(exact_minor: Fraction) -> str:
        return words.fine_money(exact_minor, currency, finer=finer)

    def money(parts: Sequence[MoneyPart]) -> str:
        return amount(sum((part.exact_minor for part in parts), Fraction(0)))

    owed_back = sum((line.owed_back_minor for line in lines), Fraction(0))

    artists = [part for part in steps if part.step is Step.ARTIST]
    whole = words.text("The bill") if is_example else words.text("Earned by the image")
    bars = _waterfall(steps, money, speech, whole=whole)
    label = words.text("Steps: how what the image earned is taken apart. The table below has the numbers.")
    colours = dict.fromkeys(bar.colour for bar in bars[1:])
    return Flow(
        currency,
        money(steps),
        tuple(
            Row(speech.step(part), money([part]), speech.place(part), part.step is Step.ARTIST)
            for part in steps
        ),
        money(artists),
        None if is_example else money([part for part in artists if part.place is Place.PAID]),
        finer == 0,
        bool(artists),
        amount(by_rule) if by_rule else None,
        amount(owed_back) if owed_back else None,
        bars_svg(bars, label=label, words=words, has_axis=False),
        tuple((colour, text) for colour, text in phrases.LEGEND.items() if colour in colours),
        tuple(lines),
    )


def _waterfall(
    steps: Sequence[MoneyPart], money: Callable[[Sequence[MoneyPart]], str], speech: _Speech, *, whole: str
) -> list[Bar]:
    """All that came in, then each step from where the one before ended; parts of one label in one row."""
    left = sum((part.exact_minor for part in steps), Fraction(0))
    bars = [Bar(whole, 0.0, float(left), money(steps), COLOURS[4])]
    of_label: dict[str, list[MoneyPart]] = {}
    for part in steps:
        of_label.setdefault(speech.step(part), []).append(part)
    for label, own in of_label.items():
        text = money(own)
        for part in own:
            after = left - part.exact_minor
            bars.append(Bar(label, float(after), float(left), text, phrases.COLOUR_OF[part.place]))
            left, text = after, ""
    return bars
