"""Charts of a page, drawn by Vega-Altair and its bundled renderer: no browser, no network.

Enters: an Altair chart. Leaves: SVG that takes its text's colour from the page, light or dark. The one rule:
a chart has a sentence that says what it shows, and its numbers stand in a table beside it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fairbrush.errors import ReportError
from fairbrush.reports.pages.words import INSTALL, visible

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 480  # of a whole chart, in pixels: what still can be read when a phone shows it smaller
# at least 3 : 1 against the page, light and dark (WCAG 1.4.11); a test computes it
COLOURS = ("#0a78b8", "#cf5a00", "#0a8a66", "#b0609a", "#7a7a7a")
_OPEN = re.compile(r"<svg\b[^>]*?viewBox=\"([^\"]*)\"[^>]*>")


def chart_svg(chart: Any, *, label: str, width: int = WIDTH) -> Markup:
    """``chart``: an ``altair`` chart without a theme or a width. ``label``: what it shows, in a sentence.

    Raises ReportError where the extra ``report`` is not installed.
    """
    import_altair()
    from markupsafe import Markup
    from vl_convert import vegalite_to_svg

    dressed = chart.properties(
        width=width, autosize={"type": "fit-x", "contains": "padding"}, background="transparent"
    ).configure(
        font="system-ui, sans-serif",
        axis={
            "labelColor": "currentColor",
            "titleColor": "currentColor",
            "domainColor": "currentColor",
            "tickColor": "currentColor",
            "gridColor": "currentColor",
            "gridOpacity": 0.15,
            "labelFontSize": 13,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "labelLimit": 160,
        },
        legend={
            "labelColor": "currentColor",
            "titleColor": "currentColor",
            "labelFontSize": 13,
            "titleFontSize": 13,
            "orient": "bottom",
        },
        text={"color": "currentColor", "fontSize": 13},
        view={"stroke": None},
        range={"category": list(COLOURS)},
    )
    svg: str = vegalite_to_svg(dressed.to_dict())
    opened = _OPEN.match(svg)
    assert opened, "the renderer gives an SVG with a view box"
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="chart" '
        'role="img" aria-label="{label}" viewBox="{box}">'
    ).format(label=visible(label), box=opened[1])
    return head + Markup(svg[opened.end() :])


def import_altair() -> Any:
    """Raises ReportError where it is not installed."""
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ReportError(f"Charts need more packages ({error}).", next_step=INSTALL) from error
    return altair
