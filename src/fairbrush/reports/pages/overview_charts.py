"""The overview's charts. Each shows what stands in a table beside it.

Enters: figures and words. Leaves: SVG. The one rule: labels are written here, in the reader's language, and
not by the chart's library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Any

from fairbrush.reports.pages.charts import COLOURS, chart_svg, import_altair
from fairbrush.reports.pages.overview_volumes import Bucket, Step, Volumes, next_begin

if TYPE_CHECKING:
    from markupsafe import Markup

    from fairbrush.reports.pages.words import Words

_AXIS_DAYS = {Step.DAY: "%Y-%m-%d", Step.WEEK: "%Y-%m-%d", Step.MONTH: "%Y-%m", Step.YEAR: "%Y"}
_BAR = 0.85  # of its day, week, month or year
_TICKS = 5
_BAR_HEIGHT = 22
_LABELS = 165  # room for them: the browser's font may be wider than the renderer's


@dataclass(frozen=True)
class Row:
    """One bar of a staircase: it begins where the one before it ended."""

    label: str
    amount_minor: int


def bucket_name(bucket: Bucket, step: Step, words: Words) -> str:
    from babel.dates import format_date

    match step:
        case Step.DAY:
            return words.day(bucket.begins)
        case Step.WEEK:
            return words.text("week from %(day)s", day=words.day(bucket.begins))
        case Step.MONTH:
            return str(format_date(bucket.begins, "MMMM y", locale=words.locale))
        case Step.YEAR:
            return str(bucket.begins.year)


def volumes_chart(volumes: Volumes, words: Words) -> Markup | None:
    """How many look-ups there were, and how many credited somebody; None of a single bar."""
    if len(volumes.buckets) < 2:
        return None
    altair = import_altair()
    somebody, nobody = words.text("somebody credited"), words.text("nobody credited")
    values = []
    for bucket in volumes.buckets:
        span = _span(bucket, volumes.step)
        values.append({**span, "credit": somebody, "low": 0, "high": bucket.credited})
        values.append({**span, "credit": nobody, "low": bucket.credited, "high": bucket.lookups})
    colour = altair.Scale(domain=[somebody, nobody], range=[COLOURS[0], COLOURS[4]])
    chart = (
        altair.Chart(altair.Data(values=values))
        .mark_bar()
        .encode(
            x=_time_axis(altair, volumes.step),
            x2="ends:T",
            y=altair.Y("low:Q", title=words.text("look-ups"), axis=altair.Axis(format="d", tickMinStep=1)),
            y2="high:Q",
            # one below the other: the browser's font may be wider than the renderer's
            color=altair.Color("credit:N", title=None, scale=colour, legend=altair.Legend(columns=1)),
        )
        .properties(height=220)
    )
    return chart_svg(
        chart,
        label=words.text(
            "Look-ups over time: %(lookups)s in all, of which %(credited)s credited somebody.",
            lookups=words.number(volumes.lookups),
            credited=words.number(volumes.credited),
        ),
    )


def unattributed_chart(volumes: Volumes, words: Words) -> Markup | None:
    """Which part of the style nobody was credited with, over time; None of a single bar."""
    if len(volumes.buckets) < 2 or volumes.unattributed_share is None:
        return None
    altair = import_altair()
    values = [
        {**_span(bucket, volumes.step), "none": 0, "part": 100 * bucket.unattributed_share}
        for bucket in volumes.buckets
        if bucket.unattributed_share is not None
    ]
    chart = (
        altair.Chart(altair.Data(values=values))
        .mark_bar(color=COLOURS[4])
        .encode(
            x=_time_axis(altair, volumes.step),
            x2="ends:T",
            y=altair.Y(
                "part:Q",
                title=words.text("% of the style"),
                scale=altair.Scale(domain=[0, 100]),
                axis=altair.Axis(format="d", tickCount=5),
            ),
            y2="none:Q",
        )
        .properties(height=180)
    )
    return chart_svg(
        chart,
        label=words.text(
            "The part of the style that nobody is credited with, over time: %(part)s in all.",
            part=words.percent(volumes.unattributed_share),
        ),
    )


def staircase(rows: Sequence[Row], currency: str, words: Words, *, total: str, label: str) -> Markup | None:
    """What a sum consists of: a bar for the whole, then each part from where the last one ended. None of
    nothing."""
    parts = [row for row in rows if row.amount_minor]
    if not parts:
        return None
    altair = import_altair()
    whole = sum(row.amount_minor for row in parts)
    values = [_stair(total, 0, whole, COLOURS[4], currency, words)]
    done = 0
    for row in parts:
        colour = COLOURS[0] if row.amount_minor > 0 else COLOURS[1]
        values.append(_stair(row.label, done, done + row.amount_minor, colour, currency, words))
        done += row.amount_minor
    ends = [end for value in values for end in (value["left"], value["right"])]
    reach = max(ends) - min(ends)
    base = altair.Chart(altair.Data(values=values)).encode(
        y=altair.Y(
            "label:N",
            sort=None,
            title=None,
            axis=altair.Axis(ticks=False, domain=False, minExtent=_LABELS, labelPadding=6),
        ),
    )
    # room for the amounts, which stand to the right of their bars
    across = altair.Scale(domain=[min(ends), max(ends) + 0.45 * reach], nice=False, zero=False)
    bars = base.mark_bar(height=_BAR_HEIGHT - 6).encode(
        x=altair.X("left:Q", scale=across, axis=None),
        x2="right:Q",
        color=altair.Color("colour:N", scale=None),
    )
    texts = base.mark_text(align="left", dx=5).encode(
        x=altair.X("right:Q", scale=across, axis=None), text="text:N"
    )
    return chart_svg((bars + texts).properties(height=_BAR_HEIGHT * len(values)), label=label)


def _stair(label: str, start: int, end: int, colour: str, currency: str, words: Words) -> dict[str, Any]:
    return {
        "label": label,
        "left": min(start, end),
        "right": max(start, end),
        "colour": colour,
        "text": words.money(end - start, currency),
    }


def _span(bucket: Bucket, step: Step) -> dict[str, str]:
    begins = datetime.combine(bucket.begins, time())
    long = datetime.combine(next_begin(bucket.begins, step), time()) - begins
    return {"begins": f"{begins.isoformat()}Z", "ends": f"{(begins + long * _BAR).isoformat()}Z"}


def _time_axis(altair: Any, step: Step) -> Any:
    return altair.X(
        "begins:T",
        title=None,
        scale=altair.Scale(type="utc"),
        axis=altair.Axis(format=_AXIS_DAYS[step], tickCount=_TICKS, labelOverlap=True, grid=False),
    )
