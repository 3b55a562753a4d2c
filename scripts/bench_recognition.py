"""Does ``fairbrush recognize`` know whom the bundled miniature was trained on? docs/recognition.md's figures.

Enters: the unpacked openclipart (see clipart.py). Leaves: Markdown on stdout or, below the heading
``Measured``, in ``--document``, and with ``--figure`` an SVG. The gallery's 13 artists, on other works of
whom the miniature was trained, are measured beside the development hands, whom it never saw. The encoder was
trained on neither, but chosen on the latter. One index holds them all, the gallery's artists by the bundled
references alone, so that no work in it was ever shown to the generator.

Contents are titles of panel works, in the wording the miniature learned captions in. Everything is made by
the code that ``fairbrush recognize`` runs; images are kept in ``--work`` and used again. What is compared
with is tried three ways: images without a name, with invented names, and with those dealt in other ways.

    python scripts/bench_recognition.py --openclipart build/openclipart --work build/recognition \\
        --document docs/recognition.md --figure docs/recognition.svg
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench_mini_diffusion import panel_titles
from build_gallery import DATA, GALLERY_ARTISTS, Roles, assign_roles
from build_hands import clean_works, write_hands
from fairbrush.accuracy.figure import styled
from fairbrush.accuracy.markdown import table
from fairbrush.cli.app import run
from fairbrush.config import Settings, load_settings
from fairbrush.embedding.encoder import Device
from fairbrush.validation.order import Order
from fairbrush.validation.prompts import Template
from fairbrush.validation.recognition import controls
from fairbrush.validation.recognition.controls import INVENTED, Control
from fairbrush.validation.recognition.kept import Verdicts, keep_survey
from fairbrush.validation.recognition.lifts import adjusted_p_values
from fairbrush.validation.recognition.recognition import Recognition
from fairbrush.validation.recognition.recognize import Survey, Wanted, recognize
from fairbrush.validation.regenerate import Progress

MODEL = "mini-diffusion"
LEVELS = (0.05, 0.1, 0.2)
ROTATIONS = (32, 16, 5, 37, 21, 10, 42)  # of the invented names: other deals of them to images
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


def measure(
    workspace: Path, control: Control = Control.INVENTED, *, contents: int, seeds: int, rotation: int = 0
) -> Survey:
    """``rotation``: the invented names start with this one."""
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
    wanted = Wanted((), tuple(panel_titles(contents)), control)
    with mock.patch.object(controls, "INVENTED", (*INVENTED[rotation:], *INVENTED[:rotation])):
        survey = recognize(settings_of(workspace), order, wanted, report=tell)
    assert not survey.pending, survey.pending
    return survey


def settings_of(workspace: Path) -> Settings:
    return load_settings(workspace=workspace, environ={})


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


@dataclass(frozen=True)
class Groups:
    known: list[Recognition]
    others: list[Recognition]

    @classmethod
    def of(cls, survey: Survey) -> Groups:
        named = [one.name in GALLERY_ARTISTS for one in survey.measured]
        both = list(zip(survey.measured, named, strict=True))
        return cls(
            [one for one, is_known in both if is_known], [one for one, is_known in both if not is_known]
        )

    def told(self, level: float) -> tuple[int, int]:
        """How many of the trained and of the untrained are called reproducible."""
        told = adjusted_p_values(np.concatenate([tested(self.known), tested(self.others)])) <= level
        return int(told[: len(self.known)].sum()), int(told[len(self.known) :].sum())

    def summary(self) -> dict[str, float]:
        p = p_values(self.others)
        figures = {
            "AUC by p-value": auc(-p_values(self.known), -p).value,
            "AUC by lift": auc(lifts(self.known), lifts(self.others)).value,
            "untrained: mean p-value": float(p.mean()),
            **{f"untrained: part at or below {level:g}": np.mean(p <= level) for level in LEVELS[:2]},
        }
        for level in LEVELS[1:]:
            trained, untrained = self.told(level)
            figures |= {f"trained called so at {level:g}": trained, f"untrained at {level:g}": untrained}
        return figures


def compared(unnamed: Survey, deals: Sequence[Survey]) -> str:
    """What comes of what images with a name are compared with."""
    without, dealt = Groups.of(unnamed).summary(), [Groups.of(survey).summary() for survey in deals]
    rows = []
    for figure, value in without.items():
        those = np.array([summary[figure] for summary in dealt])
        digits = 2 if isinstance(value, float) else 0
        across = f"{those.mean():.2f} ± {those.std(ddof=1):.2f}"
        rows.append([figure, f"{value:.{digits}f}", f"{those[0]:.{digits}f}", across])
    logs = np.array([[np.log10(one.figures.p_value) for one in survey.measured] for survey in deals])
    head = [
        "compared with",
        "images without a name",
        "with invented names",
        f"the same dealt in {len(deals)} ways, ± deviation",
    ]
    return "\n".join(
        [
            table(head, rows),
            "",
            f"An artist's log10 p-value varies by {logs.std(axis=0, ddof=1).mean():.2f} from deal to deal"
            " (standard deviation, mean over artists).",
        ]
    )


def report(survey: Survey, verdicts: Verdicts, works: Mapping[str, int]) -> str:
    groups = Groups.of(survey)
    known, others = groups.known, groups.others
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
            [[f"{level:g}", *called(groups, level)] for level in LEVELS],
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


def called(groups: Groups, level: float) -> list[str]:
    sizes = (len(groups.known), len(groups.others))
    alone = [(tested(group) <= level).sum() for group in (groups.known, groups.others)]
    trained, untrained = (f"{told} of {n}" for told, n in zip(groups.told(level), sizes, strict=True))
    return [trained, untrained, f"{alone[0]} of {sizes[0]}, {alone[1]} of {sizes[1]}"]


def p_values(group: Sequence[Recognition]) -> NDArray[np.float64]:
    return np.array([one.figures.p_value for one in group])


def tested(group: Sequence[Recognition]) -> NDArray[np.float64]:
    """p-values as they are decided by: whose fidelity is undefined cannot be told."""
    undefined = [one.figures.fidelity.raw is None for one in group]
    return np.where(undefined, 1.0, p_values(group))


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
    with redirect_stdout(sys.stderr):
        workspace = build_workspace(args.work, roles)
    of = {"contents": args.contents, "seeds": args.seeds}
    survey = measure(workspace, **of)
    verdicts = keep_survey(settings_of(workspace), survey, level=LEVELS[0])
    unnamed = measure(workspace, Control.UNNAMED, **of)
    deals = [survey, *(measure(workspace, rotation=one, **of) for one in ROTATIONS)]
    works = {one.name: len(one.cosines.works) for one in survey.measured}
    text = f"{report(survey, verdicts, works)}\n\n{compared(unnamed, deals)}"
    if args.document:
        write_into(args.document, text)
    else:
        print(text)
    if args.figure:
        args.figure.write_text(figure(survey), encoding="utf-8")


if __name__ == "__main__":
    main()
