"""Does ``fairbrush recognize`` know whom the bundled miniature was trained on? docs/recognition.md's figures.

Enters: the unpacked openclipart (see clipart.py). Leaves: Markdown on stdout or, below the heading
``Measured``, in ``--document``, and with ``--figure`` an SVG. The gallery's 13 artists, on other works of
whom the miniature was trained, are measured beside the development hands, whom it never saw. The encoder was
trained on neither, but chosen on the latter. One index holds them all, the gallery's artists by the bundled
references alone, so that no work in it was ever shown to the generator.

Contents are titles of panel works, in the wording the miniature learned captions in. Everything is made by
the code that ``fairbrush recognize`` runs; images are kept in ``--work`` and used again.

    python scripts/bench_recognition.py --openclipart build/openclipart --work build/recognition \\
        --document docs/recognition.md --figure docs/recognition.svg
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_mini_diffusion import panel_titles
from build_gallery import DATA, GALLERY_ARTISTS, Roles, assign_roles
from build_hands import clean_works, write_hands
from fairbrush.accuracy.figure import styled
from fairbrush.accuracy.markdown import table
from fairbrush.cli.app import run
from fairbrush.config import load_settings
from fairbrush.embedding.encoder import Device
from fairbrush.validation.order import Order
from fairbrush.validation.prompts import Template
from fairbrush.validation.recognition.kept import Verdicts, keep_survey
from fairbrush.validation.recognition.lifts import adjusted_p_values
from fairbrush.validation.recognition.recognition import Recognition
from fairbrush.validation.recognition.recognize import Survey, Wanted, recognize
from fairbrush.validation.regenerate import Progress

MODEL = "mini-diffusion"
LEVELS = (0.05, 0.1, 0.2)
HEADING = "## Measured"


def build_workspace(work: Path, roles: Roles) -> Path:
    """A workspace that has the gallery's references and the development hands indexed; made once."""
    workspace = work / "space"
    if (workspace / "indexes" / "CURRENT").exists():
        return workspace
    hands = work / "hands"
    write_hands(clean_works(roles), hands)
    for name in GALLERY_ARTISTS:
        shutil.rmtree(hands / name, ignore_errors=True)
        shutil.copytree(DATA / "gallery" / "references" / name, hands / name)
    here = ["--workspace", str(workspace)]
    for words in (
        ["init", str(workspace)],
        [*here, "artist", "import", str(hands)],
        [*here, "index", "build"],
    ):
        assert run(words) == 0, words
    assert run([*here, "model", "add", MODEL]) == 0
    return workspace


def measure(workspace: Path, *, contents: int, seeds: int) -> tuple[Survey, Verdicts]:
    settings = load_settings(workspace=workspace, environ={})
    order = Order(
        image=None,
        model=MODEL,
        template=Template.parse("{content} by {artists}"),
        seeds=seeds,
        steps=15,
        guidance=4.0,
        batch=32,
        device=Device.CPU,
    )
    survey = recognize(settings, order, Wanted((), tuple(panel_titles(contents))), report=tell)
    assert not survey.pending, survey.pending
    return survey, keep_survey(settings, survey, level=LEVELS[0])


def tell(progress: Progress) -> None:
    if progress.done % 256 < 32:
        print(f"{progress.done} of {progress.total} images", file=sys.stderr)


@dataclass(frozen=True)
class Auc:
    """How often a trained artist comes before an untrained one; a tie counts half. low, high: 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def auc(trained: NDArray[np.float64], untrained: NDArray[np.float64]) -> Auc:
    """Mann & Whitney's statistic, with the interval of DeLong et al. 1988, doi:10.2307/2531595, on the logit.

    trained, untrained: float64 scores, larger for who is known.
    """
    wins = (trained[:, None] > untrained) + 0.5 * (trained[:, None] == untrained)
    value = float(wins.mean())
    of_trained, of_untrained = wins.mean(axis=1).var(ddof=1), wins.mean(axis=0).var(ddof=1)
    error = np.sqrt(of_trained / len(trained) + of_untrained / len(untrained))
    if not 0 < value < 1:
        return Auc(value, value, value)
    reach = 1.959964 * float(error) / (value * (1 - value))
    middle = np.log(value / (1 - value))
    low, high = (1 / (1 + np.exp(-(middle + side * reach))) for side in (-1, 1))
    return Auc(value, float(low), float(high))


def report(survey: Survey, verdicts: Verdicts, works: Mapping[str, int]) -> str:
    known = [one for one in survey.measured if one.name in GALLERY_ARTISTS]
    others = [one for one in survey.measured if one.name not in GALLERY_ARTISTS]
    protocol = survey.protocol
    lines = [
        f"{len(known)} artists the model was trained on, {len(others)} it never saw;"
        f" {len(protocol.contents)} contents of {protocol.seeds} images each, 15 steps, guidance 4,"
        f" template `{protocol.template.both}`;"
        f" {len(known[0].cosines.nulls)} other styles; generator {survey.model_digest[:16]}, encoder"
        f" `{survey.encoder_id}`.",
        "",
        table(
            ["what ranks them", "AUC, trained before untrained"],
            [
                ["p-value", str(auc(-p_values(known), -p_values(others)))],
                ["standardised lift", str(auc(*(lifts(group) for group in (known, others))))],
                ["fidelity, 0 where undefined", str(auc(*(fidelities(group) for group in (known, others))))],
                [
                    "p-value, against the untrained of ten works or more",
                    str(auc(-p_values(known), -p_values([one for one in others if works[one.name] >= 10]))),
                ],
            ],
        ),
        "",
        table(
            [
                "error level",
                "trained called so",
                "untrained called so",
                "uncorrected p-values at or below",
            ],
            [[f"{level:g}", *called(known, others, level)] for level in LEVELS],
        ),
        "",
        f"Nobody can be called so at {LEVELS[0]:g} unless {verdicts.fewest} artists rank first."
        f" Of the untrained the mean p-value is {p_values(others).mean():.2f}, and"
        f" {np.mean(p_values(others) <= 0.1):.2f} of them are at or below 0.1.",
        "",
        "The artists it was trained on:",
        "",
        table(
            ["artist", "p-value", "fidelity", "95 % interval", "baseline", "own works"],
            [artist_row(one) for one in sorted(known, key=lambda one: one.figures.p_value)],
        ),
    ]
    return "\n".join(lines)


def artist_row(one: Recognition) -> list[str]:
    figure = one.figures.fidelity
    value, low, high = ("-" if n is None else f"{n:.2f}" for n in (figure.value, figure.low, figure.high))
    return [
        one.name,
        f"{one.figures.p_value:.3f}",
        value,
        "undefined" if figure.raw is None else f"[{low}, {high}]",
        f"{figure.baseline:.2f}",
        f"{figure.own:.2f}",
    ]


def called(known: Sequence[Recognition], others: Sequence[Recognition], level: float) -> list[str]:
    defined = [one.figures.fidelity.raw is not None for one in (*known, *others)]
    p = np.where(defined, p_values([*known, *others]), 1.0)
    told = adjusted_p_values(p) <= level
    n = len(known)
    alone = f"{(p[:n] <= level).sum()} of {n}, {(p[n:] <= level).sum()} of {len(others)}"
    return [f"{told[:n].sum()} of {n}", f"{told[n:].sum()} of {len(others)}", alone]


def p_values(group: Sequence[Recognition]) -> NDArray[np.float64]:
    return np.array([one.figures.p_value for one in group])


def lifts(group: Sequence[Recognition]) -> NDArray[np.float64]:
    return np.array([one.figures.lift for one in group])


def fidelities(group: Sequence[Recognition]) -> NDArray[np.float64]:
    return np.array([one.figures.fidelity.value or 0.0 for one in group])


def figure(survey: Survey) -> str:
    """Every artist's p-value and standardised lift, as SVG."""
    import altair
    import vl_convert

    values = [
        {
            "group": "trained on" if one.name in GALLERY_ARTISTS else "never seen",
            "p": one.figures.p_value,
            "lift": one.figures.lift,
        }
        for one in survey.measured
    ]
    chart = (
        altair.Chart(altair.Data(values=values), width=420, height=220)
        .mark_circle(size=60, opacity=0.8)
        .encode(
            x=altair.X("p:Q").scale(type="log").title("p-value, log scale"),
            y=altair.Y("lift:Q").title("standardised lift of the artist's own style"),
            color=altair.Color("group:N").title(None),
        )
    )
    return str(vl_convert.vegalite_to_svg(styled(chart).to_json()))


def write_into(document: Path, text: str) -> None:
    """Replace what is below the heading."""
    said = document.read_text(encoding="utf-8")
    assert HEADING in said, f"{document} has no heading {HEADING!r}"
    document.write_text(f"{said.partition(HEADING)[0]}{HEADING}\n\n{text}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openclipart", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/recognition"))
    parser.add_argument("--contents", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--document", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    # rendered only where the workspace is still to be made
    is_made = (args.work / "space" / "indexes" / "CURRENT").exists()
    roles = Roles({}, {}, {}, {}) if is_made else assign_roles(args.openclipart, workers=args.workers)
    workspace = build_workspace(args.work, roles)
    survey, verdicts = measure(workspace, contents=args.contents, seeds=args.seeds)
    works = {one.name: len(one.cosines.works) for one in survey.measured}
    text = report(survey, verdicts, works)
    if args.document:
        write_into(args.document, text)
    else:
        print(text)
    if args.figure:
        args.figure.write_text(figure(survey), encoding="utf-8")


if __name__ == "__main__":
    main()
