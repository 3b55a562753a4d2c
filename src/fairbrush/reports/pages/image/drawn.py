"""The charts of the page about one answer.

Enters: bars with their words. Leaves: SVG. The one rule: a chart shows what stands in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairbrush.reports.pages.charts import COLOURS, chart_svg, import_altair
from fairbrush.reports.pages.words import Language, Words, visible

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH = 350  # pixels: as wide as a phone, so that what is written is as large as on the page
_BAR, _ROW, _ABOVE = 16, 48, 18  # pixels; a label stands above its bar, so that it may be long
_ROOM = 1.4  # beside the longest bar, for what is written there


@dataclass(frozen=True)
class Bar:
    """A part from ``start`` to ``end``, as ``text`` writes it; ``low``, ``high``: an interval around its end.
    Bars of one label share a row; one without a text adds nothing to what is written there."""

    label: str
    start: float
    end: float
    text: str
    colour: str = COLOURS[0]
    low: float | None = None
    high: float | None = None


def bars_svg(bars: Sequence[Bar], *, label: str, words: Words, has_axis: bool) -> Markup:
    """``has_axis``: of per cent. Raises ReportError."""
    altair = import_altair()
    longest = max(max(bar.end, bar.high or 0.0) for bar in bars) or 1.0
    values = [
        {
            "label": visible(bar.label),
            "start": bar.start,
            "end": bar.end,
            "low": bar.low,
            "high": bar.high,
            "text": bar.text,
            "beside": max(bar.end, bar.high or 0.0),
            "colour": bar.colour,
        }
        for bar in bars
    ]
    percent = "'%'" if words.language is Language.ENGLISH else "' %'"
    axis = altair.Axis(
        title=None,
        tickCount=4,
        domain=False,
        ticks=False,
        labelExpr=f"round(datum.value * 100) + {percent}",
    )
    base = altair.Chart(altair.Data(values=values)).encode(y=altair.Y("label:N", sort=None, axis=None))
    scale = altair.Scale(domain=[0, longest * _ROOM], nice=False)
    x = altair.X("start:Q", scale=scale, axis=axis if has_axis else None)
    layers = [
        base.mark_bar(height=_BAR, cornerRadius=2).encode(
            x=x, x2="end:Q", color=altair.Color("colour:N", scale=None)
        ),
        base.mark_text(align="left", dx=8).encode(x="beside:Q", text="text:N"),
        base.transform_filter("datum.text != ''")
        .mark_text(align="left", dy=-_ABOVE, limit=_WIDTH)
        .encode(x=altair.value(0), text="label:N"),
    ]
    if any(bar.low is not None for bar in bars):  # a mark without any data has no name for a screen reader
        ranged = base.transform_filter("isValid(datum.low)")
        end = ranged.mark_tick(color="currentColor", thickness=2, size=10)
        layers += [
            ranged.mark_rule(color="currentColor", strokeWidth=2).encode(x="low:Q", x2="high:Q"),
            end.encode(x="low:Q"),
            end.encode(x="high:Q"),
        ]
    rows = len(dict.fromkeys(bar.label for bar in bars))
    return chart_svg(altair.layer(*layers).properties(height=_ROW * rows), label=label, width=_WIDTH)
