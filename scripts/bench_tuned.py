"""Is a fine-tune's artist found, and nobody else? The miniature, tuned on one artist it never saw.

Enters: fine-tunes made by tune_mini_diffusion.py, each with the half of its artist's works that it was not
tuned on. Leaves: Markdown on stdout, and with ``--sheet`` a sheet of samples. The index holds the gallery's
13 artists and the artist of every fine-tune, by their references; each fine-tune is then asked about all of
them with ``fairbrush tuned``, against the base. What comes out of a fine-tune on somebody else is *before*.

    python scripts/bench_tuned.py build/tuned-marko build/tuned-bryce --sheet docs/tuned.png
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image, ImageDraw

from bench_mini_diffusion import panel_titles
from build_gallery import DATA, GALLERY_ARTISTS
from fairbrush.accuracy.markdown import table
from fairbrush.cli.app import run
from fairbrush.embedding.encoder import Device
from fairbrush.validation.generators import Request, Sampling, describe_generator
from fairbrush.validation.recognition.tuning import Effect
from fairbrush.validation.regenerate import regenerate
from train_mini_diffusion import NAME, SIDE

TEMPLATE = "{content} by {artists}"
STEPS, BATCH = 15, 32
LEVEL = 0.05
SHEET_COLUMNS = 10
MARGIN = 130


@dataclass(frozen=True)
class Drawing:
    seeds: int
    guidance: float


@dataclass(frozen=True)
class FineTune:
    """``kind``: as training.json says it was made."""

    folder: Path
    artist: str
    kind: str

    @classmethod
    def at(cls, folder: Path) -> FineTune:
        facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        tuning = facts["tuning"]
        name = "no name in the captions" if tuning["nameless"] else "named in the captions"
        prior = "prior preserved" if tuning["prior"] else "nothing preserved"
        works = len(facts["tuned_on_sha256"])
        return cls(folder, facts["artist"], f"{works} works, {tuning['steps']} steps, {name}, {prior}")

    @property
    def references(self) -> Path:
        return self.folder / "references" / self.artist


def do(workspace: Path, *words: object) -> None:
    with redirect_stdout(sys.stderr):
        code = run(["--workspace", str(workspace), *map(str, words)])
    if code:
        raise SystemExit(f"fairbrush {' '.join(map(str, words))}: exit code {code}")


def make_workspace(workspace: Path, tunes: Sequence[FineTune]) -> None:
    """The gallery's artists and the fine-tunes', indexed; the base and the fine-tunes, registered."""
    if (workspace / "fairbrush.toml").exists():
        return
    do(workspace, "init", workspace)
    for folder in sorted((DATA / "gallery/references").iterdir()):
        do(workspace, "artist", "add", folder.name, folder)
    for artist, folder in {tune.artist: tune.references for tune in tunes}.items():
        do(workspace, "artist", "add", artist, folder)
    do(workspace, "index", "build")
    do(workspace, "model", "add", NAME)
    for tune in tunes:
        do(workspace, "model", "add", tune.folder.name, "--base", NAME)


def ask(workspace: Path, tune: FineTune, artists: Sequence[str], contents: Path, drawing: Drawing) -> Any:
    """The document of ``fairbrush tuned``."""
    answer = workspace / "answer.json"
    words = ["--model", tune.folder.name, "--weights", tune.folder, "--contents", contents]
    words += ["--seeds", drawing.seeds]
    words += ["--template", TEMPLATE, "--steps", STEPS, "--guidance", drawing.guidance, "--batch", BATCH]
    do(workspace, "tuned", *artists, *words, "--error-level", LEVEL, "--json", "--output", answer)
    return json.loads(answer.read_text(encoding="utf-8"))


def effect_shown(effect: dict[str, float]) -> str:
    return (
        f"{effect['beyond_others']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}], p = {effect['p']:.3f}"
    )


def of_one(tune: FineTune, own: Any) -> list[str]:
    [found] = own["artists"]
    return [
        tune.folder.name,
        "yes" if found["found"] else "no",
        f"{found['p']:.3f}",
        *(effect_shown(found["effects"][effect]) for effect in Effect),
    ]


def report(tunes: Sequence[FineTune], documents: dict[Path, tuple[Any, Any]]) -> str:
    """documents: of each fine-tune, (asked about its own artist alone, asked about all)."""
    parts = ["| fine-tune | artist | how |\n|---|---|---|"]
    parts[0] += "".join(f"\n| {t.folder.name} | {t.artist} | {t.kind} |" for t in tunes)
    columns = ["fine-tune", "found", "p", *map(str, Effect)]
    parts += ["### The artist it was tuned on, asked about alone"]
    parts += [table(columns, [of_one(tune, documents[tune.folder][0]) for tune in tunes])]
    parts += ["### Everybody, asked about alone: p"]
    rows = []
    for artist in sorted(one["artist"] for one in documents[tunes[0].folder][1]["artists"]):
        cells = []
        for tune in tunes:
            [one] = [one for one in documents[tune.folder][1]["artists"] if one["artist"] == artist]
            cells.append(f"**{one['p']:.3f}**" if artist == tune.artist else f"{one['p']:.3f}")
        rows.append([artist, *cells])
    parts += [table(["artist", *(tune.folder.name for tune in tunes)], rows)]
    for tune in tunes:
        everybody = documents[tune.folder][1]["artists"]
        others = [one for one in everybody if one["artist"] != tune.artist]
        below = sum(one["p"] <= LEVEL for one in others)
        own_found = any(one["found"] for one in everybody if one["artist"] == tune.artist)
        parts.append(
            f"{tune.folder.name}: {below} of {len(others)} others have p at or below {LEVEL:g} if asked"
            f" about alone ({LEVEL * len(others):.1f} are expected by chance); asked about together,"
            f" {sum(one['found'] for one in others)} of them are found, and {tune.artist} is"
            f"{'' if own_found else ' not'}."
        )
    return "\n\n".join(parts)


def write_sheet(
    tune: FineTune, base: Path, titles: Sequence[str], drawing: Drawing, workspace: Path, out: Path
) -> None:
    """Base and fine-tune, with the name and without, each column from the same noise; below, the
    references."""
    titles = titles[:SHEET_COLUMNS]
    sampling = Sampling(steps=STEPS, guidance=drawing.guidance, scheduler=None, width=SIDE, height=SIDE)
    rows = []
    for folder, who in ((base, "base"), (tune.folder, "tuned")):
        generator = describe_generator(folder, device=Device.CPU)
        for named in (False, True):
            prompts = [f"{title} by {tune.artist}" if named else title for title in titles]
            wanted = [Request(prompt, place * drawing.seeds) for place, prompt in enumerate(prompts)]
            made = regenerate(wanted, sampling, generator, folder=workspace / "regenerations", batch=BATCH)
            rows.append((f"{who}, {'named' if named else 'no name'}", [one.path for one in made]))
    rows.append(("the artist's works", sorted(tune.references.iterdir())[:SHEET_COLUMNS]))
    sheet = Image.new("RGB", (MARGIN + SHEET_COLUMNS * SIDE, len(rows) * SIDE), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (label, files) in enumerate(rows):
        pen.text((4, row * SIDE + SIDE // 2 - 5), label, fill="black")
        for column, file in enumerate(files):
            sheet.paste(
                Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS),
                (MARGIN + column * SIDE, row * SIDE),
            )
    sheet.quantize(192).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tunes", type=Path, nargs="+", metavar="FINE_TUNE")
    parser.add_argument("--base", type=Path, default=DATA / "mini_diffusion")
    parser.add_argument("--out", type=Path, default=Path("build/bench-tuned"), help="a workspace, made once")
    parser.add_argument("--titles", type=int, default=40)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gallery", type=int, default=len(GALLERY_ARTISTS), help="how many of its artists")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    tunes = [FineTune.at(folder) for folder in args.tunes]
    make_workspace(args.out, tunes)
    titles, drawing = panel_titles(args.titles), Drawing(args.seeds, args.guidance)
    contents = args.out / f"contents-{hashlib.sha256(str(titles).encode()).hexdigest()[:8]}.txt"
    contents.write_text("\n".join(titles) + "\n", encoding="utf-8")
    alone = {t.folder: ask(args.out, t, [t.artist], contents, drawing) for t in tunes}
    whom = [*GALLERY_ARTISTS[: args.gallery], *dict.fromkeys(tune.artist for tune in tunes)]
    everybody = {t.folder: ask(args.out, t, whom, contents, drawing) for t in tunes}
    documents = {folder: (alone[folder], everybody[folder]) for folder in alone}
    first = documents[tunes[0].folder][1]
    print(
        f"{args.titles} titles, {args.seeds} seed(s), {STEPS} steps, guidance {args.guidance:g}; "
        f"{first['artists'][0]['other_styles']} other styles; encoder `{first['encoder_id']}`.\n"
    )
    print(report(tunes, documents))
    if args.sheet:
        write_sheet(tunes[0], args.base, titles, drawing, args.out, args.sheet)


if __name__ == "__main__":
    main()
