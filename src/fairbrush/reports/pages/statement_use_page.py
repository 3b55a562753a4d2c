"""The parts of a statement about use: how often a creator's works were drawn on, and how sure that is.

Enters: a ``Statement`` and where its pictures are found. Leaves: sections of blocks. The one rule: every word
that is not everyday is explained where it first stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from fairbrush.domain import Consent
from fairbrush.ledger.period import Period, parse_period
from fairbrush.reports.pages.blocks import (
    Block,
    Cell,
    Heading,
    Items,
    Picture,
    Pictures,
    Prose,
    Section,
    Table,
    code,
    name,
    number,
)
from fairbrush.reports.pages.statement_use import UNTOLD, Entry
from fairbrush.reports.pages.words import later, visible

if TYPE_CHECKING:
    from fairbrush.reports.pages.statement import Statement
    from fairbrush.reports.pages.statement_use import Answer, Evidence
    from fairbrush.reports.pages.words import Words

MOST_ANSWERS = 12  # with a picture each; --json gives all
MOST_WORKS = 8
FEWEST_NAMED = 2  # entries, from which on each row says whose it is
ID_SHOWN = 12  # digits of a digest, where it is no more than a mark
E12 = 10**12

CONSENTS = {
    Consent.OPTED_IN: later("opted in"),
    Consent.UNCLAIMED: later("not claimed by anybody"),
    Consent.OPTED_OUT: later("opted out"),
    Consent.ERASED: later("erased"),
}
_CONFIDENCES = {
    "clear": (
        later("clear"),
        later("Nine of ten other choices of works would have paid the same people, and mostly one."),
    ),
    "mixed": (
        later("mixed"),
        later("As steady as a clear answer, but several people share."),
    ),
    "weak": (
        later("weak"),
        later("Another choice of works might have credited somebody else, or nobody."),
    ),
    UNTOLD: (later("without a word"), later("It was given without asking how sure it is.")),
}
_VERDICTS = {
    "distinct": later("yes"),
    "hard to tell apart": later("hardly: somebody else's works look much like them"),
    "cannot be told apart with this encoder": later("no: most of the works would credit nobody"),
    "too few works to say": later("too few works to say"),
}
_NOT_EXAMINED = later("was not examined")


@dataclass(frozen=True)
class Sources:
    """Where pictures come from, each a ``data:`` address or None: a work's by its SHA-256, an image's by its
    answer."""

    work: Callable[[str], str | None]
    image: Callable[[Answer], str | None]


def entry_name(entry: Entry, words: Words) -> Cell:
    return name(entry.name) if entry.name else Cell(words.text("an erased entry"))


def names_of(statement: Statement, words: Words) -> dict[str, Cell]:
    """By artist_id, for whoever has several; of what is not an entry of the creator now there is no name."""
    if len(statement.use.entries) < FEWEST_NAMED:
        return {}
    return {entry.artist_id: entry_name(entry, words) for entry in statement.use.entries}


def span(period: Period, words: Words) -> str:
    """A day, a month, or days from one to another."""
    first, last = period.first, period.last
    if first == last:
        return words.day(first)
    if period == parse_period(f"{first:%Y-%m}"):
        from babel.dates import format_date

        month: str = format_date(first, "MMMM y", locale=words.locale)
        return month
    return words.text("%(first)s to %(last)s", first=words.day(first), last=words.day(last))


def share_text(share_e12: int, words: Words) -> str:
    return words.percent(Decimal(share_e12) / E12)


def use_sections(statement: Statement, words: Words, sources: Sources) -> list[Section]:
    return [
        Section(words.text("What was used, and how often"), _use(statement, words, sources)),
        Section(words.text("How sure that is"), _sure(statement, words)),
    ]


def _use(statement: Statement, words: Words, sources: Sources) -> list[Block]:
    use = statement.use
    blocks: list[Block] = [
        Prose(
            words.text(
                "For an image that a model made, the platform can ask whose styles it draws on. The answer "
                "is recorded. If it credits you, it says which share of the image's worth is yours. When the "
                "image earns money and that is shared out, we call it a settled use."
            )
        )
    ]
    if use.entries:
        blocks.append(_entries(statement, words))
    if not use.answers:
        return [*blocks, Prose(words.text("No answer of this period credits you."))]
    blocks.append(Heading(words.text("The images with your largest shares")))
    blocks.append(
        Prose(
            words.text(
                "Below each picture: your share, its margin in brackets, the day of the answer and the "
                "image's mark. The margin is where the share would lie in 95 of 100 cases if other works of "
                "the artists had been registered."
            )
        )
    )
    best = _best_by_image(use.answers)
    shown = [
        Picture(
            sources.image(one),
            words.text("Image %(mark)s", mark=one.image_sha256[:ID_SHOWN]),
            _answer_caption(one, words),
        )
        for one in best[:MOST_ANSWERS]
    ]
    blocks.append(Pictures(shown))
    if more := len(best) - len(shown):
        blocks.append(_more(more, words))
    if use.evidence:
        blocks.append(Heading(words.text("Your works that were the evidence most often")))
        works = [
            Picture(
                sources.work(one.work_sha256),
                words.text("Your work %(mark)s", mark=one.work_sha256[:ID_SHOWN]),
                _work_caption(one, words),
            )
            for one in use.evidence[:MOST_WORKS]
        ]
        blocks.append(Pictures(works))
        if more := len(use.evidence) - len(works):
            blocks.append(_more(more, words))
    return blocks


def _more(count: int, words: Words) -> Prose:
    text = words.plural(
        "And one more: the list with --json has all.",
        "And %(num)s more: the list with --json has all.",
        count,
    )
    return Prose(text, is_quiet=True)


def _entries(statement: Statement, words: Words) -> Table:
    return Table(
        words.text("Your artist entries, and how often each was credited in this period"),
        [
            words.text("Artist entry"),
            words.text("Standing"),
            words.text("Works"),
            words.text("Answers"),
            words.text("Images"),
            words.text("Settled uses"),
        ],
        [
            [
                entry_name(entry, words),
                Cell(words.text(CONSENTS[entry.consent])),
                *(
                    number(words.number(count))
                    for count in (entry.works, entry.answers, entry.images, entry.settled)
                ),
            ]
            for entry in statement.use.entries
        ],
    )


def _best_by_image(answers: tuple[Answer, ...]) -> list[Answer]:
    """The largest share of each image, in their order."""
    best: dict[str, Answer] = {}
    for one in answers:
        best.setdefault(one.image_sha256, one)
    return list(best.values())


def _answer_caption(answer: Answer, words: Words) -> str:
    share, day = share_text(answer.share_e12, words), words.day(answer.answered_at.date())
    mark = answer.image_sha256[:ID_SHOWN]
    if answer.low is None or answer.high is None:
        return words.text("%(share)s; %(day)s; %(mark)s", share=share, day=day, mark=mark)
    return words.text(
        "%(share)s (%(low)s to %(high)s); %(day)s; %(mark)s",
        share=share,
        low=words.percent(Decimal(answer.low)),
        high=words.percent(Decimal(answer.high)),
        day=day,
        mark=mark,
    )


def _work_caption(work: Evidence, words: Words) -> str:
    mark = work.work_sha256[:ID_SHOWN]
    return words.plural("In one answer; %(mark)s", "In %(num)s answers; %(mark)s", work.answers, mark=mark)


def _sure(statement: Statement, words: Words) -> list[Block]:
    use = statement.use
    blocks: list[Block] = [
        Prose(
            words.text(
                "An answer is a program's estimate. It compares an image with the works that are registered, "
                "and it can be wrong. It says in a word how sure it is."
            )
        )
    ]
    if use.answers:
        blocks.append(_confidences(statement, words))
    if use.with_interval:
        blocks.append(
            Prose(
                words.text(
                    "Margins of your shares that begin at nothing: %(some)s of %(all)s. Where one does, you "
                    "might have got nothing with other works.",
                    some=words.number(use.reaching_nothing),
                    all=words.number(use.with_interval),
                )
            )
        )
    alive = [entry for entry in use.entries if entry.name]
    if alive:
        blocks.append(Heading(words.text("Can your style be told apart?")))
        blocks.append(
            Prose(
                words.text(
                    "Each registered work was compared with all others as if its artist were not known. A "
                    "work comes home if its own artist is the nearest. This is of the works registered now."
                )
            )
        )
        blocks.append(_verdicts(alive, words))
    blocks.append(Heading(words.text("What was measured of the answers' errors")))
    blocks.append(Items([*_errors(statement, words)]))
    return blocks


def _confidences(statement: Statement, words: Words) -> Table:
    rows = [
        [Cell(words.text(word)), Cell(words.text(meaning)), number(words.number(count))]
        for key, (word, meaning) in _CONFIDENCES.items()
        if (count := statement.use.confidences.get(key, 0))
    ]
    return Table(
        words.text("How sure the answers are that credit you"),
        [words.text("Word"), words.text("What it means"), words.text("Answers")],
        rows,
    )


def _verdicts(entries: list[Entry], words: Words) -> Table:
    return Table(
        words.text("Whether your style can be told apart from the others that are registered"),
        [words.text("Artist entry"), words.text("Told apart"), words.text("Works that come home")],
        [
            [
                entry_name(entry, words),
                Cell(words.text(_VERDICTS.get(entry.verdict or "", _NOT_EXAMINED))),
                Cell(
                    ""
                    if entry.home is None or entry.judged is None
                    else words.text(
                        "%(home)s of %(works)s",
                        home=words.number(entry.home),
                        works=words.number(entry.judged),
                    )
                ),
            ]
            for entry in entries
        ],
    )


def _errors(statement: Statement, words: Words) -> list[str]:
    use = statement.use
    found = [
        words.plural(
            "One image of the model %(model)s was drawn again with and without each artist's style: of what "
            "artists get, %(part)s had gone to the wrong ones.",
            "%(num)s images of the model %(model)s were drawn again with and without each artist's style: of "
            "what artists get, %(part)s had gone to the wrong ones on average.",
            one.images,
            model=visible(one.model_id),
            part=words.percent(Decimal(one.mis_paid)),
        )
        for one in use.measured
    ]
    if not found:
        found.append(
            words.text(
                "How far off the answers about these images are was not measured on this platform by drawing "
                "images again."
            )
        )
    found += [
        words.text(
            "Audit %(plan)s checks images of %(period)s drawn at random, in %(draws)s draws: so "
            "far %(measured)s were measured, %(nobody)s turned out to be nobody's, %(failed)s could not be "
            "measured.",
            plan=one.plan_id[:ID_SHOWN],
            period=span(one.period, words),
            draws=words.number(one.draws),
            measured=words.number(one.measured),
            nobody=words.number(one.nobody),
            failed=words.number(one.failed),
        )
        for one in use.audited
    ]
    if not use.audited:
        found.append(words.text("No audit, a check of images drawn at random, covers this period."))
    return found


def mark(digest: str) -> Cell:
    """A digest's first digits, enough to name it in a command."""
    return code(digest[:ID_SHOWN])
