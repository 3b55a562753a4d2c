"""What the page about one answer shows of money: facts, without a word of any language.

The one rule: amounts are exact fractions of minor units; those of a line sum to what it brought the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction

from fairbrush.reports.pages.image.people import Person


class Step(StrEnum):
    """What a part of revenue is for, in the order in which it is taken."""

    FEE = "fee"
    MODEL = "model"
    ARTIST = "artist"
    UNATTRIBUTED = "unattributed"


class Place(StrEnum):
    """Where a part of revenue is now."""

    PAID = "paid"
    ON_ITS_WAY = "on its way"
    OWED = "owed"
    UNCLAIMED = "held: nobody has claimed the style"
    OPTED_OUT = "held: the artist opted out"
    HELD = "held"
    DISPUTED = "in dispute"
    PLATFORM = "the platform's"
    FUND = "in the fund"


@dataclass(frozen=True)
class MoneyPart:
    """``artist``: None but for Step.ARTIST, and there where it is owed for somebody who was erased before;
    ``place``: of an example where it would be."""

    step: Step
    exact_minor: Fraction
    artist: Person | None = None
    place: Place = Place.OWED


@dataclass(frozen=True)
class Returning:
    """What was paid out, or proposed for payment, by a division that was taken back, and is no part of the
    one that stands. ``set_off_minor``: came back, since a later payout was smaller by it;
    ``owed_back_minor``: not yet."""

    step: Step
    artist: Person | None
    owed_back_minor: Fraction
    set_off_minor: Fraction


@dataclass(frozen=True)
class CameIn:
    """What came in for this image. ``amount_minor``: of the whole line; ``part``: this image's;
    ``cancelled_at``: UTC, None where it was not."""

    revenue_id: str
    reference: str
    currency: str
    amount_minor: int
    part: Fraction
    earned_to: date
    cancelled_at: datetime | None

    @property
    def exact_minor(self) -> Fraction:
        return self.amount_minor * self.part


@dataclass(frozen=True)
class EarnedLine(CameIn):
    """A line that this answer divided. ``settlement_number``, ``platform_fee``, ``policy_digest``: of its
    last division; ``divisions``: how many there were; ``parts``: none where the last one was taken back too;
    ``by_rule_minor``: what is nobody's by that policy, though of an artist's share."""

    settlement_number: int
    policy_digest: str
    platform_fee: Fraction
    divisions: int
    stands: bool
    parts: tuple[MoneyPart, ...]
    by_rule_minor: Fraction
    returning: tuple[Returning, ...]

    @property
    def owed_back_minor(self) -> Fraction:
        return sum((one.owed_back_minor for one in self.returning), Fraction(0))

    @property
    def set_off_minor(self) -> Fraction:
        return sum((one.set_off_minor for one in self.returning), Fraction(0))


@dataclass(frozen=True)
class Example:
    """What a bill would split into by today's policy. ``is_adopted``: False where no policy is in effect, and
    it is shared out without a fee; ``by_rule_minor``: as of a line."""

    currency: str
    amount_minor: int
    platform_fee: Fraction
    is_adopted: bool
    parts: tuple[MoneyPart, ...]
    by_rule_minor: Fraction = Fraction(0)


class Pays(StrEnum):
    """Whether money follows this answer."""

    SETTLED = "lines were settled by it"
    FIRST = "it would settle the image's revenue"
    OTHER = "another answer about the image does"
    UNPINNED = "the policy in effect asks for another kind of answer"
    NO_POLICY = "no policy is in effect"


@dataclass(frozen=True)
class Money:
    """``lines``: those whose division stands; ``gone``: those that were divided, and no division stands;
    ``undivided``: lines of the image that were never divided; ``elsewhere``: how many another answer divided;
    ``taken_back``: settlements of this answer's lines that were taken back; ``paying_id``: of
    ``Pays.OTHER``."""

    pays: Pays
    paying_id: str | None
    lines: tuple[EarnedLine, ...]
    gone: tuple[EarnedLine, ...]
    undivided: tuple[CameIn, ...]
    elsewhere: int
    taken_back: int
    example: Example | None

    @property
    def waiting(self) -> tuple[CameIn, ...]:
        """Lines that are to be divided."""
        return tuple(line for line in (*self.gone, *self.undivided) if line.cancelled_at is None)

    @property
    def by_currency(self) -> dict[str, list[EarnedLine]]:
        """What this answer divided, whether it stands or not."""
        found: dict[str, list[EarnedLine]] = {}
        for line in sorted((*self.lines, *self.gone), key=_order):
            found.setdefault(line.currency, []).append(line)
        return found

    @property
    def came_in(self) -> list[CameIn]:
        """Every line that this answer divided, or nobody yet."""
        return sorted((*self.lines, *self.gone, *self.undivided), key=_order)


def _order(line: CameIn) -> tuple[str, date, str]:
    return line.currency, line.earned_to, line.reference


def summed(parts: Sequence[MoneyPart]) -> list[MoneyPart]:
    """Parts of one currency added up by what they are for, whose and where; steps in order, the
    artist who gets most first."""
    sums: dict[tuple[Step, Person | None, Place], Fraction] = {}
    for part in parts:
        key = (part.step, part.artist, part.place)
        sums[key] = sums.get(key, Fraction(0)) + part.exact_minor
    of_artist: dict[Person | None, Fraction] = {}
    for (_, artist, _), exact in sums.items():
        of_artist[artist] = of_artist.get(artist, Fraction(0)) + exact
    found = [MoneyPart(step, exact, artist, place) for (step, artist, place), exact in sums.items() if exact]
    steps, places = list(Step), list(Place)

    def order(part: MoneyPart) -> tuple[int, Fraction, str, int]:
        whose = part.artist.artist_id if part.artist else ""
        return steps.index(part.step), -of_artist[part.artist], whose, places.index(part.place)

    return sorted(found, key=order)


def summed_returning(lines: Sequence[EarnedLine]) -> list[Returning]:
    """What is to come back of lines of one currency, added up by whose it is; who owes most first."""
    sums: dict[tuple[Step, Person | None], tuple[Fraction, Fraction]] = {}
    for one in [one for line in lines for one in line.returning]:
        owed, back = sums.get((one.step, one.artist), (Fraction(0), Fraction(0)))
        sums[one.step, one.artist] = (owed + one.owed_back_minor, back + one.set_off_minor)
    found = [Returning(step, artist, *amounts) for (step, artist), amounts in sums.items()]

    def order(one: Returning) -> tuple[Fraction, Fraction, str]:
        return -one.owed_back_minor, -one.set_off_minor, one.artist.artist_id if one.artist else ""

    return sorted(found, key=order)
