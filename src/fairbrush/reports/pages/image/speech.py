"""Names, lists of names and numbers, as the page about one answer writes them.

Enters: facts. Leaves: text of one language, and names as markup that cannot reorder what is around them. The
one rule: two of one name are told apart, and who is erased has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.reports.pages.image import phrases
from fairbrush.reports.pages.image.earned import (
    CameIn,
    EarnedLine,
    MoneyPart,
    Returning,
    Step,
)
from fairbrush.reports.pages.image.facts import E12, ImageReport
from fairbrush.reports.pages.image.people import Person
from fairbrush.reports.pages.words import Words, visible

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_NAMED = 3  # artists in one sentence, the others are counted


class Speech:
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

    def step(self, part: MoneyPart | Returning) -> str:
        if part.step is Step.ARTIST:
            return self.plain(part.artist)
        return self.words.text(phrases.STEPS[part.step])

    def became(self, line: CameIn) -> str:
        """What became of a revenue line."""
        text, cancelled = self.words.text, line.cancelled_at and self.words.day(line.cancelled_at)
        if not isinstance(line, EarnedLine):
            if cancelled:
                return text("cancelled on %(day)s, before it was divided", day=cancelled)
            return text("not divided yet")
        if cancelled:
            return text(
                "divided by settlement %(number)s, cancelled on %(day)s",
                number=line.settlement_number,
                day=cancelled,
            )
        if not line.stands:
            return text("division taken back, not divided anew yet")
        if line.divisions > 1:
            return text("divided anew, by settlement %(number)s", number=line.settlement_number)
        return text("divided by settlement %(number)s", number=line.settlement_number)

    def place(self, part: MoneyPart) -> str:
        return self.words.text(phrases.PLACES[part.place])
