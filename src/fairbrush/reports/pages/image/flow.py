"""The money of one answer as text and charts, a currency at a time.

Enters: what the answer divided, or an example. Leaves: a ``Flow``. The one rule: the steps go from what came
in to where every part is, and what was taken back is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.reports.pages.charts import COLOURS
from fairbrush.reports.pages.image import phrases
from fairbrush.reports.pages.image.drawn import Bar, bars_svg
from fairbrush.reports.pages.image.earned import (
    CameIn,
    EarnedLine,
    Example,
    MoneyPart,
    Place,
    Step,
    summed,
    summed_returning,
)
from fairbrush.reports.pages.image.speech import Speech
from fairbrush.reports.pages.words import Words

if TYPE_CHECKING:
    from markupsafe import Markup


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
    an example; ``above``: what came in and what of it was taken back, where something was; ``cancelled``,
    ``reopened``, ``by_rule``: None where there is nothing of it; ``returning``: whose, what is owed back,
    what was set off. What ends in ``_said`` stands in a sentence, the others in a column."""

    currency: str
    total: str
    total_said: str
    above: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    artists: str
    paid: str | None
    paid_said: str
    is_exact: bool
    artists_get: bool
    came_in: str
    cancelled: str | None
    reopened: str | None
    by_rule: str | None
    returning: tuple[tuple[str, str, str], ...]
    owed_back: str
    set_off: str
    chart: Markup
    legend: tuple[tuple[str, str], ...]


def said_sum(lines: Sequence[CameIn], words: Words) -> str:
    """What lines brought the image, a sum a currency."""
    sums: dict[str, Fraction] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, Fraction(0)) + line.exact_minor
    return _listed(sums, words)


def _listed(sums: Mapping[str, Fraction], words: Words) -> str:
    """Amounts by currency, as a sentence says them: with no more decimals than each has."""
    return words.listing(
        [words.fine_money(exact, currency, finer=_finer([exact])) for currency, exact in sums.items()]
    )


def _finer(amounts: Iterable[Fraction]) -> int:
    """How many decimals more than the currency has."""
    return 2 if any(exact.denominator != 1 for exact in amounts) else 0


def _sum(amounts: Iterable[Fraction]) -> Fraction:
    return sum(amounts, Fraction(0))


def money_flow(
    currency: str,
    parts: Sequence[MoneyPart],
    speech: Speech,
    *,
    lines: Sequence[EarnedLine] = (),
    bill: Example | None = None,
) -> Flow:
    """Of ``lines``, or of an example."""
    words = speech.words
    steps, returning = summed(parts), summed_returning(lines)
    came_in = _sum(line.exact_minor for line in lines)
    gone = _sum(line.exact_minor for line in lines if not line.stands)
    cancelled = _sum(line.exact_minor for line in lines if line.cancelled_at)
    by_rule = _sum(line.by_rule_minor for line in lines) if bill is None else bill.by_rule_minor
    back = [amount for one in returning for amount in (one.owed_back_minor, one.set_off_minor)]
    finer = _finer((came_in, cancelled, by_rule, *back, *(part.exact_minor for part in steps)))

    def amount(exact_minor: Fraction) -> str:
        return words.fine_money(exact_minor, currency, finer=finer)

    def money(parts: Sequence[MoneyPart]) -> str:
        return amount(_sum(part.exact_minor for part in parts))

    def said(exact_minor: Fraction) -> str:
        return _listed({currency: exact_minor}, words)

    artists = [part for part in steps if part.step is Step.ARTIST]
    paid = _sum(part.exact_minor for part in artists if part.place is Place.PAID)
    earned = came_in - gone if bill is None else Fraction(bill.amount_minor)
    above = _taken_back(came_in, cancelled, gone - cancelled, amount, words)
    name = words.text("Earned by the image") if bill is None else words.text("The bill")
    bars = [
        Bar(label, float(start), float(end), text, COLOURS[4])
        for label, start, end, text in [*above, (name, Fraction(0), earned, amount(earned))]
    ]
    steps_drawn = _waterfall(steps, money, speech)
    colours = {bar.colour for bar in steps_drawn}
    label = words.text("Steps: how what the image earned is taken apart. The table below has the numbers.")
    return Flow(
        currency=currency,
        total=amount(earned),
        total_said=said(earned),
        above=tuple((name, text) for name, _, _, text in above),
        rows=tuple(
            Row(speech.step(part), money([part]), speech.place(part), part.step is Step.ARTIST)
            for part in steps
        ),
        artists=said(_sum(part.exact_minor for part in artists)),
        paid=amount(paid) if bill is None else None,
        paid_said=said(paid),
        is_exact=finer == 0,
        artists_get=bool(artists),
        came_in=said(came_in),
        cancelled=said(cancelled) if cancelled else None,
        reopened=said(gone - cancelled) if gone - cancelled else None,
        by_rule=said(by_rule) if by_rule else None,
        returning=tuple(
            (speech.step(one), amount(one.owed_back_minor), amount(one.set_off_minor)) for one in returning
        ),
        owed_back=amount(_sum(one.owed_back_minor for one in returning)),
        set_off=amount(_sum(one.set_off_minor for one in returning)),
        chart=bars_svg([*bars, *steps_drawn], label=label, words=words, has_axis=False),
        legend=tuple((colour, text) for colour, text in phrases.LEGEND.items() if colour in colours),
    )


def _taken_back(
    came_in: Fraction,
    cancelled: Fraction,
    reopened: Fraction,
    amount: Callable[[Fraction], str],
    words: Words,
) -> list[tuple[str, Fraction, Fraction, str]]:
    """What stands above what the image earned, where not all that was divided stands: (name, start, end,
    text)."""
    if not cancelled + reopened:
        return []
    found = [(words.text("Came in, and was divided"), Fraction(0), came_in, amount(came_in))]
    if cancelled:
        found.append((words.text("Cancelled since"), came_in - cancelled, came_in, amount(-cancelled)))
    if reopened:
        rest = came_in - cancelled
        found.append((words.text("To be divided anew"), rest - reopened, rest, amount(-reopened)))
    return found


def _waterfall(
    steps: Sequence[MoneyPart], money: Callable[[Sequence[MoneyPart]], str], speech: Speech
) -> list[Bar]:
    """Each step from where the one before ended; parts of one label in one row."""
    left = _sum(part.exact_minor for part in steps)
    bars = []
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
