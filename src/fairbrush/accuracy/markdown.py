"""The report as Markdown: goals first, then every section as tables.

Enters: an ``AccuracyReport``. Leaves: text. The one rule: nothing is computed here; a number that is not
among the findings is in no table.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

from fairbrush.accuracy.experiments import BASE_RATIO, PAID_RATIO, WORDS, Finding, Section, right_when
from fairbrush.accuracy.measures import Estimate
from fairbrush.accuracy.methods import RAW_CENTROID
from fairbrush.accuracy.report import ENGINE, THREE, TWO, AccuracyReport
from fairbrush.accuracy.trials import ONE, UNKNOWN
from fairbrush.domain import Value

WIDTH = 120


def markdown(report: AccuracyReport, *, figure: str | None = None) -> str:
    """The whole report. figure: the file to show, where one was drawn."""
    parts = [_opening(report), _goals(report)]
    if figure:
        parts.append(f"![What is mis-paid, what a threshold costs, false credit against its level]({figure})")
    parts += [
        _retrieval(report),
        _one_artist(report),
        _mixtures(report),
        _unknown(report),
        _intervals(report),
        _words(report),
        _clones(report),
        _limits(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(report: AccuracyReport) -> str:
    facts = report.facts
    measured = []
    if facts.gallery:
        measured.append(
            f"""Gallery: {facts.gallery}, {facts.works} works, embedded with `{facts.encoder_id}`; the style
            space and the threshold are from {facts.panel_works} works by other hands."""
        )
    if facts.plan.synthetic_sizes:
        measured.append(
            """Synthetic: made-up vectors with CLIP-like geometry (`fairbrush.accuracy.synthetic`); each
            split is a world of its own, with its own panel."""
        )
    lines = [
        "# Accuracy",
        f"    {facts.command}",
        prose(" ".join(measured)),
        prose(
            f"""{facts.plan.splits} split{"s" * (facts.plan.splits > 1)}, seed {facts.plan.seed}, alpha
            {facts.plan.alpha:g}; {facts.elapsed_s:.0f} s on {facts.machine}. In brackets: 95 % bootstrap
            intervals over artists. Every method answers the same images."""
        ),
    ]
    if facts.left_out:
        lines.append("Left out:\n\n" + "\n".join(f"- {one.what}: {one.reason}" for one in facts.left_out))
    return "\n\n".join(lines)


def _goals(report: AccuracyReport) -> str:
    head = ["goal", "where", "method", "measured", "verdict"]
    body = [
        [one.goal, one.setting, one.method, shown(one.estimate), str(one.verdict)] for one in report.goals
    ]
    return "## Goals\n\n" + table(head, body) if body else ""


def _retrieval(report: AccuracyReport) -> str:
    found = [one for one in report.findings if one.section is Section.RETRIEVAL]
    if not found:
        return ""
    return (
        "## Style retrieval, as CSD measures it\n\n"
        + prose(
            """Somepalli et al. 2024 ([arXiv 2404.01292](https://arxiv.org/abs/2404.01292)): a work is
            relevant when it is by the query's artist; mAP@k is the mean over queries of the mean precision
            at 1 to k; Recall@k is the part of queries with a relevant work among the k nearest. Run on
            WikiArt with their split file (`wikiart.csv`) and a real CLIP, these compare with the numbers
            they publish."""
        )
        + "\n\n"
        + _pivot(found, row=lambda one: one.method, column=lambda one: one.measure, corner="vectors")
    )


def _by_setting(report: AccuracyReport, section: Section, measure: str, kind: str) -> str:
    """A method a row. The baselines always pay, so what nobody gets is shown of fairbrush alone."""
    only_engine = measure in ("unattributed", "credits")
    return _pivot(
        [
            one
            for one in report.of(section, measure, kind)
            if one.method.startswith(ENGINE) or not only_engine
        ],
        row=lambda one: one.method,
        column=lambda one: one.setting,
        corner="method",
    )


def _one_artist(report: AccuracyReport) -> str:
    def of(measure: str) -> str:
        return _by_setting(report, Section.ONE_ARTIST, measure, ONE.label)

    return (
        "## Images by one artist\n\n"
        "**Ranked right**: the artist is the method's first, whether anything is paid or not.\n\n"
        + of("ranked_right")
        + "\n\n"
        + prose(
            """**Mis-paid**: total variation between what is paid and what is true. Nobody is a recipient
            who is due nothing, so an answer that credits nobody is wholly mis-paid."""
        )
        + "\n\n"
        + of("mispaid")
        + "\n\n**To wrong hands**: what others than the artist are paid.\n\n"
        + of("to_wrong")
        + "\n\n**Unattributed**: what nobody is paid. The baselines always pay.\n\n"
        + of("unattributed")
    )


def _mixtures(report: AccuracyReport) -> str:
    def of(measure: str, kind: str = TWO) -> str:
        return _by_setting(report, Section.MIXTURES, measure, kind)

    by_kind = _pivot(
        [one for one in report.of(Section.MIXTURES, "mispaid") if _is_shown_by_kind(one)],
        row=lambda one: f"{one.setting}: {one.kind}",
        column=lambda one: one.method,
        corner="mixture",
    )
    return (
        "## Mixtures\n\n"
        + prose(
            """Works of two and three artists put side by side (true shares: areas), blended (alpha) and
            added up in embedding space (weights); 50/50, 70/30 and thirds. Synthetic worlds have no images,
            so there works are mixed in embedding space only."""
        )
        + "\n\n"
        "**Two artists, mis-paid**, with nobody as a recipient.\n\n"
        + of("mispaid")
        + f"\n\n**Two artists, mis-paid as a part of {RAW_CENTROID}'s.**\n\n"
        + of(BASE_RATIO)
        + "\n\n**Two artists, mis-paid where anybody is credited**, paid shares scaled to 1.\n\n"
        + of("mispaid_paid")
        + f"\n\n**The same as a part of {RAW_CENTROID}'s** on the images that credit anybody.\n\n"
        + of(PAID_RATIO)
        + "\n\n**Two artists, to wrong hands**: what is paid beyond what is due.\n\n"
        + of("to_wrong")
        + "\n\n**Two artists, unattributed.**\n\n"
        + of("unattributed")
        + "\n\n**Three artists, mis-paid.**\n\n"
        + of("mispaid", THREE)
        + "\n\n**Mis-paid by kind of mixture.**\n\n"
        + by_kind
    )


def _is_shown_by_kind(one: Finding) -> bool:
    is_pooled = one.kind in (TWO, THREE)
    return not is_pooled and (one.method.startswith(ENGINE) or one.method.startswith("raw"))


def _unknown(report: AccuracyReport) -> str:
    curve = {
        (one.setting, one.measure, one.method, one.kind): one.estimate
        for one in report.findings
        if one.section is Section.CURVE
    }
    rankings = list(dict.fromkeys(method for _, _, method, _ in curve))
    head = ["where", "alpha"]
    head += [f"{method}: {what}" for method in rankings for what in ("false credit", "credit of the known")]
    body = [
        [where, alpha]
        + [
            shown(curve[where, alpha, method, kind])
            for method in rankings
            for kind in (UNKNOWN.label, ONE.label)
        ]
        for where, alpha in dict.fromkeys((where, alpha) for where, alpha, _, _ in curve)
    ]
    return (
        "## Images by artists who are not in the index\n\n"
        + prose(
            """On the gallery each artist is left out in turn; synthetic unknown artists are of the same law
            and schools. No artist measured here is in the panel that places the threshold."""
        )
        + "\n\n"
        + prose(
            f"""**False credit**: the part of their images that credit anybody, at alpha
            {report.facts.plan.alpha:g}. The baselines always pay."""
        )
        + "\n\n"
        + _by_setting(report, Section.UNKNOWN, "credits", UNKNOWN.label)
        + "\n\n"
        + prose(
            """**Against the credit of known artists**, with the threshold placed on the panel at each
            alpha; *raw cosine* is the cosine to the nearest raw centroid with a threshold placed the same
            way."""
        )
        + "\n\n"
        + table(head, body)
    )


def _intervals(report: AccuracyReport) -> str:
    found = [one for one in report.findings if one.section is Section.INTERVALS]
    if not found:
        return ""
    return (
        "## Intervals\n\n"
        + prose(
            """How often a credited artist's 95 % interval holds their share: synthetic, the share under the
            true centroids (of a thousand works each); gallery, the share that all reference works give
            while the index holds half of them. The half is part of all, so there an interval that is right
            for new works would cover too often, about 99 % of the time, and one at 95 % is right for the
            works at hand. *covered_due* counts artists, too, who are due a share, got none and so have no
            interval."""
        )
        + "\n\n"
        + _pivot(
            found,
            row=lambda one: f"{one.setting}: {one.method}",
            column=lambda one: one.measure,
            corner="where",
            none="no intervals",
        )
    )


def _words(report: AccuracyReport) -> str:
    found = {
        (one.setting, one.method, one.kind, one.measure): one.estimate
        for one in report.findings
        if one.section is Section.WORDS
    }
    kinds = list(dict.fromkeys(kind for _, _, kind, _ in found))
    head = ["where", "word"]
    for kind in kinds:
        head += [f"{kind}: said"] + ([f"{kind}: right"] if kind != UNKNOWN.label else [])
    body = []
    default = f"{ENGINE}{Value.BLEND}"
    for setting in dict.fromkeys(setting for setting, *_ in found):
        for word in WORDS:
            cells = []
            for kind in kinds:
                cells.append(shown(found.get((setting, default, kind, word))))
                if kind != UNKNOWN.label:
                    cells.append(shown(found.get((setting, default, kind, right_when(word)))))
            body.append([setting, word, *cells])
    if not body:
        return ""
    return (
        "## What the words mean\n\n"
        + prose(
            f"""Each answer says in a word how sure it is (`fairbrush.uncertainty.Confidence`). *Said*: of how
            many images of a kind; *right*: of these, how often the first artist is in the image (nobody is
            credited for *unknown*, so there it is who would come first). Of {default}."""
        )
        + "\n\n"
        + table(head, body)
    )


def _clones(report: AccuracyReport) -> str:
    found = [one for one in report.findings if one.section is Section.CLONES]
    if not found:
        return ""
    largest = {(o.setting, o.kind, o.method): o for o in found if o.measure == "largest"}
    body = []
    changes = [one for one in found if one.measure == "change"]
    labels = list(dict.fromkeys(one.kind for one in changes))
    for setting, method in dict.fromkeys((one.setting, one.method) for one in changes):
        cells = []
        for label in labels:
            mean = next(
                (o for o in changes if (o.setting, o.kind, o.method) == (setting, label, method)), None
            )
            most = largest.get((setting, label, method))
            known = mean and mean.estimate and most and most.estimate
            cells.append(f"{mean.estimate.mean:+.3f} ({most.estimate.mean:+.3f})" if known else "")  # type: ignore[union-attr]
        body.append([setting, method, *cells])
    return (
        "## One artist under several entries\n\n"
        + prose(
            """An artist's works are dealt out over 2, 5 and 20 entries of the same creator: by how much the
            creator's part of the style changes over the images with that artist in them, on average (and at
            most). Beside it, what the artist loses when the works are registered a second time by somebody
            else: no invariance is promised there."""
        )
        + "\n\n"
        + table(["where", "method", *labels], body)
    )


LIMITS = (
    "Similar style is no proof that an image was made from somebody's work.",
    "Mixtures of whole works are not what a generator makes when two artists are prompted.",
    """An interval over artists says how far another gallery of such artists would differ; it does not cover
    another panel, encoder or kind of art.""",
    """The synthetic world is one law among many. It shows how errors grow with the number of artists, not
    how large they are for yours.""",
)


def _limits() -> str:
    lines = [
        textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="- ", subsequent_indent="  ")
        for text in LIMITS
    ]
    return "## What this does not say\n\n" + "\n".join(lines)


def prose(text: str) -> str:
    """One paragraph, wrapped; links and code stay whole."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _pivot(
    findings: Sequence[Finding],
    *,
    row: Callable[[Finding], str],
    column: Callable[[Finding], str],
    corner: str,
    none: str = "",
) -> str:
    columns = list(dict.fromkeys(map(column, findings)))
    cells: dict[str, dict[str, str]] = {}
    for one in findings:
        cells.setdefault(row(one), {})[column(one)] = shown(one.estimate) if one.estimate else none
    return table(
        [corner, *columns], [[name, *(known.get(c, "") for c in columns)] for name, known in cells.items()]
    )


def shown(estimate: Estimate | None) -> str:
    """
    >>> shown(Estimate(0.25, 0.2, 0.3, 10, 5)), shown(Estimate(0.25, math.nan, math.nan, 10, 1))
    ('0.250 [0.200, 0.300]', '0.250')
    """
    if estimate is None:
        return ""
    if math.isnan(estimate.mean):
        return "-"
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.mean:.3f}{interval}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a cell's own bars and line breaks are shown, not obeyed.

    >>> print(table(["artist", "works"], [["A|B", "3"]]))
    | artist | works |
    |---|---|
    | A\\|B | 3 |
    """

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), "|---" * len(head) + "|", *map(line, body)])
