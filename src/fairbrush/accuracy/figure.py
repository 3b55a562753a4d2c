"""The report's figure: who is mis-paid by how much, and what the false credit costs.

Enters: findings. Leaves: SVG and PNG. The one rule: a figure shows numbers of the report and computes none.
Needs the extra ``report`` (Altair, vl-convert), and no browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairbrush.accuracy.experiments import Finding, Section
from fairbrush.accuracy.report import COVERED, TWO, AccuracyReport
from fairbrush.accuracy.trials import ONE, UNKNOWN
from fairbrush.errors import FigureError

PALETTE = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#6b4c9a", "#8d8d8d")
GREY = "#8a8f98"
WIDTH, HEIGHT = 330, 300
PNG_SCALE = 2.0


@dataclass(frozen=True)
class Figure:
    svg: str
    png: bytes


def draw(report: AccuracyReport) -> Figure:
    """Raises FigureError where the extra is not installed, or nothing was measured."""
    try:
        import altair
        import vl_convert
    except ImportError as error:
        raise FigureError(
            f"No figure is drawn: {error.name} is not installed.",
            next_step='Install it: pip install "fairbrush[report]"',
        ) from error
    panels = [
        panel
        for panel in (
            _mispaid(altair, report),
            _curve(altair, report),
            _levels(altair, report),
            _coverage(altair, report),
        )
        if panel is not None
    ]
    if not panels:
        raise FigureError("No figure is drawn: nothing to show.", next_step="Measure mixtures.")
    columns = len(panels) if len(panels) < 4 else 2
    chart = altair.concat(*panels, columns=columns, spacing=36).resolve_scale(
        y="independent", x="independent"
    )
    specification = styled(chart).to_json()
    return Figure(
        vl_convert.vegalite_to_svg(specification), vl_convert.vegalite_to_png(specification, scale=PNG_SCALE)
    )


def styled(chart: Any) -> Any:
    return (
        chart.configure(font="DejaVu Sans, Arial, sans-serif", background="white", padding=14)
        .configure_view(stroke="#d5d8dd")
        .configure_axis(
            labelFontSize=11, titleFontSize=11, titleFontWeight="normal", gridColor="#eceef1", labelLimit=220
        )
        .configure_title(fontSize=13, anchor="start", subtitleFontSize=11, subtitleColor=GREY, offset=8)
        .configure_legend(labelFontSize=11, titleFontSize=11, titleFontWeight="normal", labelLimit=220)
    )


def _points(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A finding a row; those without a number are left out, missing bounds are the number itself."""
    made = []
    for one in findings:
        if one.estimate is None or math.isnan(one.estimate.mean):
            continue
        low, high = one.estimate.low, one.estimate.high
        made.append(
            {
                "where": world(one.setting),
                "kind": one.kind,
                "method": one.method,
                "measure": one.measure,
                "mean": one.estimate.mean,
                "low": one.estimate.mean if math.isnan(low) else low,
                "high": one.estimate.mean if math.isnan(high) else high,
            }
        )
    return made


def world(setting: str) -> str:
    """One colour for the gallery, whether all its artists are indexed or some are left out.

    >>> world("gallery, 12 artists"), world("synthetic, 12 artists")
    ('gallery', 'synthetic, 12 artists')
    """
    return "gallery" if setting.startswith("gallery") else setting


def _worlds(report: AccuracyReport) -> list[str]:
    return list(dict.fromkeys(world(one.setting) for one in report.findings))


def _colours(altair: Any, report: AccuracyReport) -> Any:
    """The same in every panel, with one legend."""
    scale = altair.Scale(domain=_worlds(report), range=list(PALETTE))
    return altair.Color("where:N").scale(scale).title(None).legend(orient="top", symbolType="circle")


def _mispaid(altair: Any, report: AccuracyReport) -> Any | None:
    points = _points(report.of(Section.MIXTURES, "mispaid", TWO))
    if not points:
        return None
    data = altair.Data(values=points)
    methods = list(dict.fromkeys(one["method"] for one in points))
    rows = altair.Y("method:N").sort(methods).title(None)
    offset = altair.YOffset("where:N").sort(_worlds(report))
    colour = _colours(altair, report)
    base = altair.Chart(data)
    share = altair.X("low:Q").title("mis-paid share").scale(domain=[0, 1]).axis(format="%")
    bars = base.mark_rule(strokeWidth=2).encode(x=share, x2="high:Q", y=rows, yOffset=offset, color=colour)
    dots = base.mark_circle(size=45, opacity=1).encode(x="mean:Q", y=rows, yOffset=offset, color=colour)
    return (bars + dots).properties(
        title={
            "text": "Two artists mixed: how much is mis-paid",
            "subtitle": "crediting nobody counts as wrong",
        },
        width=WIDTH,
        height=max(HEIGHT, 33 * len(methods)),
    )


def _curve(altair: Any, report: AccuracyReport) -> Any | None:
    known: dict[tuple[str, str, str], dict[str, float]] = {}
    for one in _points([one for one in report.findings if one.section is Section.CURVE]):
        part = known.setdefault((one["where"], one["method"], one["measure"]), {})
        part["credit" if one["kind"] == ONE.label else "false"] = one["mean"]
    points: list[dict[str, Any]] = [
        {"where": where, "method": method, "alpha": float(alpha), **part}
        for (where, method, alpha), part in known.items()
        if len(part) == 2
    ]
    if not points:
        return None
    base = altair.Chart(altair.Data(values=points)).encode(
        x=altair.X("false:Q")
        .title("false credit: images by unknown artists that credit anybody")
        .axis(format="%"),
        y=altair.Y("credit:Q").title("known artists' images credited").axis(format="%").scale(domain=[0, 1]),
        color=_colours(altair, report),
        order="alpha:Q",
    )
    dash = (
        altair.StrokeDash("method:N")
        .scale(domain=["affinity z", "raw cosine"], range=[[1, 0], [4, 3]])
        .legend(None)
    )
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    dots = base.transform_filter("datum.method == 'affinity z'").mark_circle(size=28, opacity=1)
    return (lines + dots).properties(
        title={"text": "What a threshold costs", "subtitle": "solid: affinity z; dashed: raw cosine"},
        width=WIDTH,
        height=HEIGHT,
    )


def _levels(altair: Any, report: AccuracyReport) -> Any | None:
    points = [
        {**one, "alpha": float(one["measure"])}
        for one in _points([one for one in report.findings if one.section is Section.CURVE])
        if one["kind"] == UNKNOWN.label and one["method"] == "affinity z" and float(one["measure"]) <= 0.3
    ]
    if not points:
        return None
    base = altair.Chart(altair.Data(values=points)).encode(
        x=altair.X("alpha:Q").title("alpha, the level the threshold is placed for").axis(format="%"),
        color=_colours(altair, report),
    )
    lines = base.mark_line(strokeWidth=2).encode(y=altair.Y("mean:Q").title("measured").axis(format="%"))
    band = base.mark_area(opacity=0.12).encode(y="low:Q", y2="high:Q")
    dots = base.mark_circle(size=28, opacity=1).encode(y="mean:Q")
    ideal = (
        altair.Chart(altair.Data(values=[{"at": 0}, {"at": 0.3}]))
        .mark_line(color=GREY, strokeDash=[3, 3])
        .encode(x="at:Q", y="at:Q")
    )
    return (ideal + band + lines + dots).properties(
        title={
            "text": "False credit against its level",
            "subtitle": "dashed: as promised; shaded: 95 % over artists",
        },
        width=WIDTH,
        height=HEIGHT,
    )


def _coverage(altair: Any, report: AccuracyReport) -> Any | None:
    found = _points(report.of(Section.INTERVALS, "covered"))
    # a row each: an offset within rows would be laid out by another panel's
    points = [{**one, "row": f"{one['method']}, {one['where'].partition(',')[0]}"} for one in found]
    if not points:
        return None
    rows = altair.Y("row:N").sort([one["row"] for one in points]).title(None)
    colour = _colours(altair, report)
    base = altair.Chart(altair.Data(values=points))
    share = altair.Scale(domain=[0.5, 1], zero=False)
    title = "intervals that hold the share"
    goal = (
        altair.Chart(altair.Data(values=[{"from": COVERED[0], "to": COVERED[1]}]))
        .mark_rect(color="#66a182", opacity=0.2)
        .encode(x=altair.X("from:Q").scale(share).title(title).axis(format="%"), x2="to:Q")
    )
    bars = base.mark_rule(strokeWidth=2, clip=True).encode(
        x=altair.X("low:Q").scale(share).title(title), x2="high:Q", y=rows, color=colour
    )
    dots = base.mark_circle(size=45, opacity=1, clip=True).encode(x="mean:Q", y=rows, color=colour)
    return (goal + bars + dots).properties(
        title={"text": "95 % intervals", "subtitle": "green: the goal"}, width=WIDTH, height=HEIGHT
    )
