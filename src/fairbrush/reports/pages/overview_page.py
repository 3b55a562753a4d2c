"""The overview as a page: what each figure is called, its charts, its pictures.

Enters: an ``Overview``, words, and the workspace for thumbnails. Leaves: HTML. The one rule: nothing is
computed here that the document does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.corpus.works import thumbnail_path
from fairbrush.domain import Consent
from fairbrush.index.distinctiveness import Verdict
from fairbrush.ledger.choices import LineState
from fairbrush.ledger.disputes import State
from fairbrush.ledger.settled import Purpose
from fairbrush.reports.pages.overview_charts import (
    Row,
    bucket_name,
    staircase,
    unattributed_chart,
    volumes_chart,
)
from fairbrush.reports.pages.overview_matters import Kind, Matter
from fairbrush.reports.pages.overview_money import Flow, Place, Ranking, Standing
from fairbrush.reports.pages.overview_styles import Style, Styles
from fairbrush.reports.pages.overview_volumes import Cause
from fairbrush.reports.pages.page import render
from fairbrush.reports.pages.pictures import picture
from fairbrush.reports.pages.words import later
from fairbrush.uncertainty import Confidence

if TYPE_CHECKING:
    from markupsafe import Markup

    from fairbrush.reports.pages.overview import Overview
    from fairbrush.reports.pages.words import Words

MOST_CHARTED = 2  # currencies with charts; all have their tables
PICTURE_PIXELS = 160  # twice what a picture on the map is wide, for fine screens
_NAME_LENGTHS = {64: 10, 92: 12, 120: 16}  # characters below a picture, by the cell's width

PURPOSES = {
    Purpose.PLATFORM: later("platform"),
    Purpose.MODELS: later("models' developers"),
    Purpose.ARTISTS: later("artists, payable"),
    Purpose.ESCROW: later("artists, held"),
    Purpose.DISPUTED: later("in dispute"),
    Purpose.UNATTRIBUTED: later("nobody's"),
}
PLACES = {
    Place.PAID: later("paid out"),
    Place.PROPOSED: later("proposed payouts"),
    Place.OWED: later("owed, not proposed"),
    Place.WITHHELD: later("owed, held back"),
    Place.ESCROW: later("held for artists"),
    Place.DISPUTED: later("set aside, in dispute"),
    Place.UNATTRIBUTED: later("nobody's, kept"),
    Place.MODELS: later("held for developers"),
    Place.PLATFORM: later("platform's"),
}
CAUSES = {
    Cause.NOBODY_NEAR: later("No registered style is near enough to the image."),
    Cause.NOBODY_ALLOWED: later("No artist may be credited for images of this model."),
    Cause.NO_SUCH_MIX: later("The image is like no mix of what it is said to be mixed from."),
    Cause.CALIBRATED: later("A style is near, and the calibration makes nothing of it."),
    Cause.PART: later("Somebody is credited, for a part of the style only."),
    Cause.OTHER: later("For another reason, which the record tells in its own words."),
    Cause.TOO_SMALL: later("The share is below the minimum that the policy pays."),
    Cause.FILTERED: later(
        "The policy filters it: the model was not trained on the artist, or cannot draw so."
    ),
    Cause.UNCLAIMED: later("Nobody has claimed the style, and the policy holds nothing for it."),
    Cause.OPTED_OUT: later("The artist opted out after the answer, and the policy holds nothing for them."),
    Cause.ERASED: later("The artist is erased."),
}
WORDS = {
    Confidence.CLEAR: later(
        "clear: other samples of the artists' works would pay the same hands, mostly one"
    ),
    Confidence.MIXED: later("mixed: just as steady, and several artists share"),
    Confidence.WEAK: later("weak: another sample of works might credit somebody else, or nobody"),
    Confidence.UNKNOWN: later("unknown: nobody is credited"),
    None: later("no word was given"),
}
VERDICTS = {
    Verdict.DISTINCT: later("can be told apart"),
    Verdict.HARD: later("hard to tell apart from somebody else"),
    Verdict.UNRECOGNISABLE: later("cannot be told apart with this encoder"),
    Verdict.TOO_FEW: later("too few works to say"),
}
CONSENTS = {
    Consent.OPTED_IN: later("opted in: may be credited and paid"),
    Consent.UNCLAIMED: later("unclaimed: may be credited; the money waits until the artist is known"),
    Consent.OPTED_OUT: later("opted out: not credited any more"),
    Consent.ERASED: later("erased: forgotten, but for the sums in the books"),
}
STATES = {
    State.OPEN: later("open"),
    State.UPHELD: later("decided: upheld"),
    State.REJECTED: later("decided: rejected"),
}


@dataclass(frozen=True)
class Money:
    """One currency as the page shows it."""

    currency: str
    flow: Flow | None
    standing: Standing | None
    settled: Markup | None
    places: Markup | None


@dataclass(frozen=True)
class Pinned:
    """A picture on the map: ``address`` is None where its thumbnail is gone."""

    left: float
    top: float
    x: float
    y: float
    moved: bool
    name: str
    short: str
    address: str | None


def overview_page(overview: Overview, words: Words, *, workspace: Path) -> str:
    """Raises ReportError where the extra ``report`` is not installed."""
    volumes = overview.volumes
    return render(
        "overview.html",
        words=words,
        overview=overview,
        bucket_names=[bucket_name(bucket, volumes.step, words) for bucket in volumes.buckets],
        volumes_chart=volumes_chart(volumes, words),
        unattributed_chart=unattributed_chart(volumes, words),
        monies=_monies(overview, words),
        rankings=_in_order(overview),
        most=MOST_CHARTED,
        matters=[(matter_text(one, words), one) for one in overview.matters],
        pins=_pins(overview.styles, workspace) if isinstance(overview.styles, Styles) else [],
        has_map=isinstance(overview.styles, Styles),
        style_names=_style_names(overview),
        purposes=PURPOSES,
        places=PLACES,
        causes=CAUSES,
        quality_words=_named(overview.quality.words, WORDS, words),
        quality_verdicts=_named(overview.quality.verdicts, VERDICTS, words),
        people_consents=_named(overview.people.consents, CONSENTS, words),
        dispute_rows=_named(overview.quarrels.states, STATES, words),
        states=LineState,
    )


def matter_text(matter: Matter, words: Words) -> str:
    """What needs attention, in a sentence."""
    n = matter.count
    match matter.kind:
        case Kind.INDEX_UNREADABLE:
            return words.text("The index cannot be read, so no image can be attributed.")
        case Kind.NO_INDEX:
            return words.plural(
                "There is no index yet: %(num)s artist with works waits for it.",
                "There is no index yet: %(num)s artists with works wait for it.",
                n,
            )
        case Kind.REFUSED_RECORDS:
            return words.plural(
                "%(num)s file of records is damaged and was set aside.",
                "%(num)s files of records are damaged and were set aside.",
                n,
            )
        case Kind.CONFLICTS:
            return words.plural(
                "%(num)s answer came again with other numbers; the first one counts.",
                "%(num)s answers came again with other numbers; the first ones count.",
                n,
            )
        case Kind.DISPUTES:
            return words.plural(
                "%(num)s dispute waits for a decision.", "%(num)s disputes wait for a decision.", n
            )
        case Kind.NO_POLICY:
            return words.plural(
                "%(num)s line of revenue is there, and no policy says how to split it.",
                "%(num)s lines of revenue are there, and no policy says how to split them.",
                n,
            )
        case Kind.UNASKED:
            return words.plural(
                "%(num)s open line of revenue is for an image that nobody looked up.",
                "%(num)s open lines of revenue are for images that nobody looked up.",
                n,
            )
        case Kind.UNSETTLED:
            return words.plural(
                "%(num)s line of revenue of past days is not settled.",
                "%(num)s lines of revenue of past days are not settled.",
                n,
            )
        case Kind.OLD_PAYOUTS:
            return words.plural(
                "%(num)s payout was proposed two weeks ago or more, and is neither confirmed nor failed.",
                "%(num)s payouts were proposed two weeks ago or more, and are neither confirmed nor failed.",
                n,
            )
        case Kind.PAYABLE:
            return words.plural("%(num)s payout could be proposed.", "%(num)s payouts could be proposed.", n)
        case Kind.UNCLAIMED:
            return words.plural(
                "%(num)s style that nobody has claimed has money waiting.",
                "%(num)s styles that nobody has claimed have money waiting.",
                n,
            )
        case Kind.BEHIND:
            return words.plural(
                "%(num)s artist has works that the index does not know.",
                "%(num)s artists have works that the index does not know.",
                n,
            )
        case Kind.DUPLICATES:
            return words.plural(
                "%(num)s file is registered as a work of several creators.",
                "%(num)s files are registered as works of several creators.",
                n,
            )


def _named(counts: Mapping[Any, int], names: Mapping[Any, str], words: Words) -> list[tuple[str, int]]:
    return [(words.text(names[key]), count) for key, count in counts.items()]


def _monies(overview: Overview, words: Words) -> list[Money]:
    """A currency each, those with most lines of revenue first."""
    first = [one.currency for one in overview.revenue]
    others = sorted((overview.flows.keys() | overview.standings.keys()) - set(first))
    found = []
    for place, currency in enumerate([*first, *others]):
        flow, standing = overview.flows.get(currency), overview.standings.get(currency)
        if flow is None and standing is None:
            continue
        charted = place < MOST_CHARTED
        settled = _flow_chart(flow, words) if charted and flow else None
        places = _standing_chart(standing, words) if charted and standing else None
        found.append(Money(currency, flow, standing, settled, places))
    return found


def _in_order(overview: Overview) -> list[Ranking]:
    """The currencies with most lines of revenue first."""
    places = {one.currency: place for place, one in enumerate(overview.revenue)}
    return sorted(overview.rankings, key=lambda one: places.get(one.currency or "", len(places)))


def _flow_chart(flow: Flow, words: Words) -> Markup | None:
    whole = words.money(flow.settled_minor, flow.currency)
    return staircase(
        [Row(words.text(PURPOSES[purpose]), amount) for purpose, amount in flow.purposes.items()],
        flow.currency,
        words,
        total=words.text("settled"),
        label=words.text(
            "What the settled %(amount)s are for; the table below has the numbers.", amount=whole
        ),
    )


def _standing_chart(standing: Standing, words: Words) -> Markup | None:
    whole = words.money(standing.settled_minor, standing.currency)
    return staircase(
        [Row(words.text(PLACES[place]), amount) for place, amount in standing.places.items()],
        standing.currency,
        words,
        total=words.text("ever settled"),
        label=words.text(
            "Where the %(amount)s ever settled are now; the table below has the numbers.", amount=whole
        ),
    )


def _pins(styles: Styles, workspace: Path) -> list[Pinned]:
    canvas = styles.canvas
    if canvas is None:
        return []
    found = []
    for position, cell in sorted(canvas.cells.items()):
        style = styles.styles[position]
        middle = (cell.left + canvas.cell_width / 2, cell.top + canvas.cell_height / 2)
        moved = (
            abs(middle[0] - cell.x) > canvas.cell_width / 2
            or abs(middle[1] - cell.y) > canvas.cell_height / 2
        )
        address = None
        if style.work_sha256 is not None:
            file = thumbnail_path(workspace, style.work_sha256)
            address = picture(file, most_pixels=PICTURE_PIXELS)
        longest = _NAME_LENGTHS[canvas.cell_width]
        found.append(
            Pinned(
                cell.left,
                cell.top,
                cell.x,
                cell.y,
                moved,
                style.name,
                _shortened(style.name, longest),
                address,
            )
        )
    return found


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1].rstrip()}…"


def _style_names(overview: Overview) -> dict[str, Style]:
    styles = overview.styles
    return {one.artist_id: one for one in styles.styles} if isinstance(styles, Styles) else {}
