"""The report: verdicts, tables, plain values; the figure, where its extra is installed."""

import json
import math
import sys
from itertools import pairwise

import pytest

from fairbrush.accuracy.experiments import BASE_RATIO, Finding, Section, beside_best
from fairbrush.accuracy.figure import draw
from fairbrush.accuracy.gallery import LeftOut
from fairbrush.accuracy.markdown import markdown, table
from fairbrush.accuracy.measures import Estimate
from fairbrush.accuracy.report import (
    TWO,
    AccuracyReport,
    RunFacts,
    Verdict,
    document,
    judge,
    rows,
)
from fairbrush.accuracy.trials import Plan
from fairbrush.errors import FigureError

WHERE = "gallery, 13 artists"


def estimate(low: float, mean: float, high: float) -> Estimate:
    return Estimate(mean, low, high, 20, 5)


@pytest.fixture
def report() -> AccuracyReport:
    facts = RunFacts(
        "fairbrush bench accuracy", "mini#1", "f", "art", 20, 9, "2 cores", Plan(), (LeftOut("Bo", "few"),), 3
    )
    engine = "fairbrush nearest"
    findings = [
        Finding(Section.MIXTURES, WHERE, TWO, engine, BASE_RATIO, estimate(0.3, 0.4, 0.45)),
        Finding(Section.MIXTURES, WHERE, TWO, engine, "mispaid", estimate(0.2, 0.25, 0.3)),
        Finding(Section.MIXTURES, WHERE, TWO, "raw nearest centroid", BASE_RATIO, estimate(1, 1, 1)),
        Finding(
            Section.ONE_ARTIST, WHERE, "1 artist", engine, beside_best("raw"), estimate(-0.2, -0.1, -0.05)
        ),
        Finding(Section.UNKNOWN, WHERE, "unknown artist", engine, "credits", estimate(0.01, 0.06, 0.1)),
        Finding(Section.CURVE, WHERE, "unknown artist", "affinity z", "0.05", estimate(0.01, 0.06, 0.1)),
        Finding(Section.CURVE, WHERE, "1 artist", "affinity z", "0.05", estimate(0.2, 0.3, 0.4)),
        Finding(Section.INTERVALS, WHERE, "1 and 2 artists", engine, "covered", None),
        Finding(Section.CLONES, WHERE, "2 entries", engine, "change", estimate(math.nan, 0.0, math.nan)),
        Finding(Section.CLONES, WHERE, "2 entries", engine, "largest", estimate(0.1, 0.1, 0.1)),
    ]
    return AccuracyReport(facts, tuple(findings))


def test_goals_are_judged_by_their_whole_interval(report: AccuracyReport) -> None:
    assert [(goal.method, goal.verdict) for goal in report.goals] == [
        ("fairbrush nearest", Verdict.MET),
        ("fairbrush nearest", Verdict.MISSED),
        ("fairbrush nearest", Verdict.OPEN),
        ("fairbrush nearest", Verdict.NOT_GIVEN),
    ]


def test_a_goal_on_both_sides_is_met_inside_only() -> None:
    assert judge(estimate(0.935, 0.95, 0.96), 0.93, 0.97) is Verdict.MET
    assert judge(estimate(0.98, 0.99, 1), 0.93, 0.97) is Verdict.MISSED
    assert judge(estimate(math.nan, 0.95, math.nan), 0.93, 0.97) is Verdict.OPEN


def test_the_text_has_the_numbers_the_goals_and_who_was_left_out(report: AccuracyReport) -> None:
    text = markdown(report, figure="figure.svg")
    assert "0.250 [0.200, 0.300]" in text
    assert "- Bo: few" in text
    assert "](figure.svg)" in text
    assert "+0.000 (+0.100)" in text
    assert "| gallery, 13 artists | 0.05 | 0.060 [0.010, 0.100] | 0.300 [0.200, 0.400] |" in text


def test_every_table_of_the_text_is_square(report: AccuracyReport) -> None:
    lines = markdown(report).splitlines()
    for above, line in pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|")


def test_json_has_no_nan_and_each_finding_once(report: AccuracyReport) -> None:
    text = json.dumps(document(report), allow_nan=False)
    assert len(json.loads(text)["findings"]) == len(rows(report)) == 10
    assert {tuple(row) for row in rows(report)} == {tuple(rows(report)[0])}


def test_a_bar_in_a_name_does_not_break_a_table() -> None:
    assert table(["artist"], [["A|B\nC"]]).splitlines()[-1] == "| A\\|B C |"


def test_without_the_extra_the_figure_says_what_to_install(
    report: AccuracyReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(FigureError, match=r"fairbrush\[report\]"):
        draw(report)


def test_the_figure_is_drawn_as_svg_and_png(report: AccuracyReport) -> None:
    pytest.importorskip("altair", reason="the extra report is not installed")
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    figure = draw(report)
    assert figure.svg.startswith("<svg")
    assert "Two artists mixed" in figure.svg
    assert figure.png.startswith(b"\x89PNG")
