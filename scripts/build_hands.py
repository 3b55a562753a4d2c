"""Hands to measure fairbrush on, as folders that ``fairbrush bench accuracy`` reads. None is bundled.

Enters: the unpacked openclipart and iconify (see clipart.py), and the list of training images that
train_mini_clip.py wrote beside its data. Leaves:
    clean/HAND/*.webp   hands that nothing of fairbrush was fitted on: the gallery's and the development hands
    seen/HAND/*.webp    works held out of mini's training, of hands that it was trained on: to fill an index
    clean/manifest.json, seen/manifest.json   licence and provenance of every file
The one rule: no clean hand is in the panel or in training, and no clean work nearly repeats a work of the
panel or of another clean hand (clipart.distinct, in all eight orientations and whatever the colours). Seen
works are not compared with clean ones: a likeness there would count as false credit.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from build_gallery import (
    SIDE,
    WORKS_PER_ARTIST,
    Roles,
    assign_roles,
    provenance,
    save,
    without_repeats,
    write_manifest,
)
from clipart import Drawing, IconHand, icon_hands, icon_images, slug
from train_mini_clip import held_out_rows

FEWEST_WORKS = 7  # a hand with fewer says little; with eight there would be fewer than 40 hands


@dataclass(frozen=True, eq=False)
class HandWork:
    """One work to be written. ``provenance``: what the manifest says of it besides the file."""

    hand: str
    title: str
    image: Image.Image
    provenance: Mapping[str, object]


def clean_works(roles: Roles) -> list[HandWork]:
    """The gallery's hands, with the bundled works, and the development hands."""
    # in this order: gallery works are those that are bundled, others give way to them and to the panel
    alone = without_repeats({**roles.gallery, **roles.panel, **roles.development}, turned=True)
    works = []
    for artist, drawn in {**roles.gallery, **roles.development}.items():
        chosen = [work for work in drawn if work[0].path in alone]
        random.Random(artist).shuffle(chosen)
        works += [of_drawing(drawing, image) for drawing, image in chosen[:WORKS_PER_ARTIST]]
    return enough(works)


def of_drawing(drawing: Drawing, image: Image.Image) -> HandWork:
    return HandWork(drawing.artist, drawing.title, image, provenance(drawing))


def enough(works: Sequence[HandWork], *, fewest: int = FEWEST_WORKS) -> list[HandWork]:
    """The works of hands that have as many as a half of them needs to say something."""
    by_hand: dict[str, list[HandWork]] = defaultdict(list)
    for work in works:
        by_hand[work.hand].append(work)
    return [work for own in by_hand.values() if len(own) >= fewest for work in own]


def held_out_titles(listed: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """What was held out of training, by hand. listed: train_mini_clip's hands and titles, a row each.

    Titles that a hand has twice are left out: which of the two was held out cannot be told from them.
    """
    times: dict[tuple[str, str], int] = defaultdict(int)
    for work in zip(listed["hands"], listed["titles"], strict=True):
        times[work] += 1
    titles: dict[str, set[str]] = defaultdict(set)
    for hand, title, out in zip(
        listed["hands"], listed["titles"], held_out_rows(listed["hands"]).tolist(), strict=True
    ):
        if out and times[hand, title] == 1:
            titles[hand].add(title)
    return dict(titles)


def seen_works(roles: Roles, iconify: Path, titles: Mapping[str, set[str]]) -> Iterator[HandWork]:
    """Held-out works, rendered as large as the clean ones: a difference in size would tell them apart."""
    for artist, drawn in roles.training.items():
        for drawing, image in drawn:
            if ", ".join([drawing.title, *drawing.keywords[:4]]) in titles.get(artist, ()):
                yield of_drawing(drawing, image)
    for hand in icon_hands(iconify):
        if hand.name in titles:
            yield from _of_icons(hand, iconify, titles[hand.name])


def _of_icons(hand: IconHand, iconify: Path, titles: set[str]) -> Iterator[HandWork]:
    facts = {"artist": hand.name, "licence": hand.licence, "drawn by": hand.author}
    for icon in icon_images(iconify, hand, side=SIDE, recipes=0):
        if icon.title in titles:
            source = f"@iconify/json: {hand.prefix}, {icon.title}"
            yield HandWork(hand.name, icon.title, Image.fromarray(icon.pixels), {**facts, "source": source})


def write_hands(works: Sequence[HandWork], out: Path) -> None:
    """Replace the folder ``out``."""
    shutil.rmtree(out, ignore_errors=True)
    entries, seen = [], dict[str, int]()
    for work in works:
        seen[work.hand] = number = seen.get(work.hand, 0) + 1
        folder = work.hand.replace("/", "-")
        file = out / folder / f"{number:02d}-{slug(work.title)}.webp"
        facts = save(work.image, file)
        entries.append(
            {
                "file": file.relative_to(out).as_posix(),
                **facts,
                "title": work.title,
                **work.provenance,
            }
        )
    write_manifest(out, entries, f"fairbrush measured hands, {out.name}: {SIDE} px, not bundled")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openclipart", type=Path, required=True)
    parser.add_argument("--iconify", type=Path, required=True)
    parser.add_argument(
        "--training",
        type=Path,
        default=Path("build/mini-training.json"),
        help="beside its --data",
    )
    parser.add_argument("--out", type=Path, default=Path("build/hands"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    roles = assign_roles(args.openclipart, workers=args.workers)
    write_hands(clean_works(roles), args.out / "clean")
    titles = held_out_titles(json.loads(args.training.read_text(encoding="utf-8")))
    write_hands(enough(list(seen_works(roles, args.iconify, titles))), args.out / "seen")


if __name__ == "__main__":
    main()
