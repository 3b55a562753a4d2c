"""Build the bundled gallery and background panel from the public-domain drawings of openclipart.

Enters: ``--openclipart DIR`` (see clipart.py for how to get it). Leaves under ``src/fairbrush/data``:
    gallery/references/<Artist>/*.webp   what an index is built from
    gallery/queries/<Artist>/*.webp      works of the same artists that no index has seen
    panel/*.webp                         works by other hands: what the style space is fitted on
    gallery/manifest.json, panel/manifest.json   licence and provenance of every file
Every drawing is public domain by its own metadata. Deterministic: the same package gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from clipart import Drawing, RenderError, distinct, openclipart_drawings, render_drawing, slug

DATA = Path(__file__).parents[1] / "src/fairbrush/data"
SIDE = 256
WORKS_PER_ARTIST = 40
REFERENCE_FRACTION = 0.6
PANEL_WORKS_PER_HAND = 4

# Chosen by eye from contact sheets: a recognisable hand, at least 24 distinct works. Left out: flags,
# semaphore, spirographs, and, after the first measurements, an artist of mostly maps of one country.
GALLERY_ARTISTS = (
    "Alan Horkan",
    "Andy Fitzsimon",
    "Benji Park",
    "Danny Allen",
    "Jarno Vasamaa",
    "Jean-Victor Balin",
    "John Cliff",
    "Jon Phillips",
    "Jose Hevia",
    "Juliane Krug",
    "Nathan Eady",
    "Yutaka Kachi",
    "Yves Guillou",
)
# Emblems drawn to a norm, one figure repeated, or no person's name: they would teach content, not a hand.
NOT_A_HAND = (
    "Anonymous",
    "Galion Public Library",
    "none",
    "open sourced GEM clipart",
    "U.S. Army (public domain clipart)",
    "unknown",
    "Caleb Moore",
    "Cezary Biele",
    "International Code of Signals",
    "Lauris Kaplinski",
    "Moisés Rincón Maza",
    "Patricia Fidi",
    "Royal Navy",
    "Tobias Jakobs",
    "codifiedivining",
)


@dataclass(frozen=True)
class Roles:
    """Who serves for what; no hand has two roles. Each value: (drawing, render), near-duplicates removed."""

    gallery: dict[str, list[tuple[Drawing, Image.Image]]]
    panel: dict[str, list[tuple[Drawing, Image.Image]]]
    development: dict[str, list[tuple[Drawing, Image.Image]]]
    training: dict[str, list[tuple[Drawing, Image.Image]]]


def render_file(path: Path) -> bytes | None:
    """A drawing as an RGB render's raw bytes, or None where there is nothing to see."""
    try:
        return render_drawing(path.read_text(encoding="utf-8", errors="replace"), side=SIDE).tobytes()
    except (RenderError, ValueError):
        return None


def assign_roles(openclipart: Path, *, workers: int) -> Roles:
    """Render every drawing and give each hand its one role.

    Hands of 2 to 7 distinct works make the panel, of 8 to 31 the development set (encoders are chosen on
    it), the gallery is only ever measured, and the rest trains.
    """
    drawings = openclipart_drawings(openclipart)
    folder = openclipart / "usr/share/openclipart/svg"
    with ProcessPoolExecutor(workers) as pool:
        renders = list(pool.map(render_file, [folder / d.path for d in drawings], chunksize=16))
    by_artist: dict[str, list[tuple[Drawing, Image.Image]]] = defaultdict(list)
    seen: set[bytes] = set()
    for drawing, render in zip(drawings, renders, strict=True):
        if render is None or (digest := hashlib.sha256(render).digest()) in seen:
            continue
        seen.add(digest)  # one render under two names: the first keeps it
        by_artist[drawing.artist].append((drawing, Image.frombytes("RGB", (SIDE, SIDE), render)))
    roles = Roles({}, {}, {}, {})
    for artist, works in sorted(by_artist.items()):
        kept = [works[i] for i in distinct([image for _, image in works])]
        if artist in GALLERY_ARTISTS:
            roles.gallery[artist] = kept
        elif artist in NOT_A_HAND or is_joint(artist):
            continue
        elif 2 <= len(kept) <= 7:
            roles.panel[artist] = kept
        elif 8 <= len(kept) <= 31:
            roles.development[artist] = kept
        else:
            roles.training[artist] = kept
    measured = {**roles.gallery, **roles.development, **roles.panel}
    # nor does a copy of a measured work train
    alone = without_repeats({**measured, **roles.training}, turned=False)
    training = {a: [w for w in works if w[0].path in alone] for a, works in roles.training.items()}
    return replace(roles, training={artist: works for artist, works in training.items() if works})


def is_joint(artist: str) -> bool:
    """Whether a name is several people's, or mentions a gallery artist ("converted by ...")."""
    return (
        " and " in artist
        or "et al" in artist
        or any(name in artist and name != artist for name in GALLERY_ARTISTS)
    )


def save(image: Image.Image, file: Path) -> dict[str, object]:
    """Write a lossless WebP; gives what the manifest says of the file itself."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=True, quality=75, method=4)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(stream.getvalue())
    return {"bytes": stream.tell(), "sha256": hashlib.sha256(stream.getvalue()).hexdigest()}


def provenance(drawing: Drawing) -> dict[str, object]:
    return {
        "artist": drawing.artist,
        "title": drawing.title,
        "source": f"openclipart-svg 0.18: {drawing.path}",
        "source_sha256": drawing.svg_sha256,
        "licence": drawing.licence,
    }


def without_repeats(groups: dict[str, list[tuple[Drawing, Image.Image]]], *, turned: bool) -> set[str]:
    """Paths of the drawings that no earlier drawing of any group nearly repeats."""
    flat = [work for works in groups.values() for work in works]
    return {flat[i][0].path for i in distinct([image for _, image in flat], turned=turned)}


def build_gallery(works_of: dict[str, list[tuple[Drawing, Image.Image]]], out: Path) -> None:
    entries = []
    # two artists may have drawn the same road sign: nobody keeps the second
    alone = without_repeats(works_of, turned=True)
    for artist, works in works_of.items():
        chosen = [work for work in works if work[0].path in alone]
        random.Random(artist).shuffle(chosen)
        chosen = chosen[:WORKS_PER_ARTIST]
        references = round(REFERENCE_FRACTION * len(chosen))
        assert len(chosen) >= 24, f"{artist} has only {len(chosen)} distinct works"
        for number, (drawing, image) in enumerate(chosen):
            part = "references" if number < references else "queries"
            file = out / part / artist / f"{number + 1:02d}-{slug(drawing.title)}.webp"
            facts = save(image, file)
            entries.append({"file": file.relative_to(out).as_posix(), **facts, **provenance(drawing)})
    write_manifest(out, entries, "fairbrush gallery: public-domain clip art, 256 px")


def build_panel(
    works_of: dict[str, list[tuple[Drawing, Image.Image]]],
    gallery: dict[str, list[tuple[Drawing, Image.Image]]],
    out: Path,
) -> None:
    entries = []
    # the style space must not be fitted on copies of the works it is measured on
    alone = without_repeats({**gallery, **works_of}, turned=True)
    for artist, works in works_of.items():
        chosen = [work for work in works if work[0].path in alone][:PANEL_WORKS_PER_HAND]
        if len(chosen) < 2:
            continue
        for number, (drawing, image) in enumerate(chosen):
            file = out / f"{slug(artist)}-{number + 1}.webp"
            assert not file.exists(), f"two hands share the file name {file.name}"
            facts = save(image, file)
            entries.append({"file": file.name, **facts, **provenance(drawing)})
    write_manifest(out, entries, "fairbrush background panel: public-domain clip art by other hands, 256 px")


def write_manifest(out: Path, entries: Sequence[dict[str, object]], name: str) -> None:
    manifest = {"name": name, "schema": "fairbrush.collection/1", "side": SIDE, "works": list(entries)}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    size = sum(int(str(entry["bytes"])) for entry in entries)
    hands = len({entry["artist"] for entry in entries})
    print(f"{out.name}: {len(entries)} works by {hands} hands, {size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--openclipart", type=Path, required=True, help="the unpacked openclipart-svg package"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    roles = assign_roles(args.openclipart, workers=args.workers)
    missing = set(GALLERY_ARTISTS) - set(roles.gallery)
    assert not missing, f"not in the package: {missing}"
    for part in ("gallery", "panel"):
        shutil.rmtree(args.out / part, ignore_errors=True)
    build_gallery(roles.gallery, args.out / "gallery")
    build_panel(roles.panel, roles.gallery, args.out / "panel")


if __name__ == "__main__":
    main()
