"""Freely licensed vector drawings, as rendered images with the name of the hand that drew them.

Enters: the unpacked Debian package ``openclipart-svg`` and the unpacked npm package ``@iconify/json``.
Leaves: ``Drawing`` records and their renders. Shared by build_gallery.py and train_mini_clip.py.
The one rule: nothing passes whose licence is not named in its own metadata and on ``PERMISSIVE``.

Getting the sources (the only step that needs a network; both are package registries):
    apt-get download openclipart-svg && dpkg-deb -x openclipart-svg_*.deb sources/openclipart
    npm pack @iconify/json && mkdir -p sources/iconify && tar xzf iconify-json-*.tgz -C sources/iconify
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import random
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

PERMISSIVE = {"MIT", "Apache-2.0", "ISC", "CC0-1.0", "BSD-3-Clause", "BSD-2-Clause", "Unlicense"}
NEVER = ("twemoji", "openmoji", "emojione", "streamline")
# Sets that copy other people's marks, repeat another set, or hold animations: no hand of their own.
NOT_A_HAND = {
    "boxicons", "heroicons", "iconmind", "keyline-icons", "svg-spinners", "material-symbols-light", "f7",
    "k8s", "unjs", "geo", "file-icons", "devicon-plain", "devicon", "mono-icons", "medical-icon",
    "fluent-mdl2", "la", "icons8", "vscode-icons", "skill-icons", "gcp",
}  # fmt: skip
NOT_A_HAND_CATEGORY = {"Logos", "Flags / Maps"}

DC = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
# One person under several names, as the metadata itself shows (e-mail, full name, a slip of the pen).
# Spellings that differ in case or accents alone are merged without being listed.
SAME_PERSON = {
    "Rollandin Francesco": "Architetto Francesco Rollandin",
    "Francesco Rollandin": "Architetto Francesco Rollandin",
    "Jean-Victor Balin (balin_j@epita.fr)": "Jean-Victor Balin",
    "Andrew Fitzsimon": "Andy Fitzsimon",
    "Jonadab the Unsightly One": "Nathan Eady",
    "A.J. Ashton": "AJ Ashton",
    "Jean-Vitor Balin": "Jean-Victor Balin",
    "Jose Fco. Hevia": "Jose Hevia",
    "yves GUILLOU": "Yves Guillou",
}
PUBLIC_DOMAIN = {
    "http://web.resource.org/cc/PublicDomain",
    "http://creativecommons.org/licenses/publicdomain/",
    "http://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class Drawing:
    """One drawing of openclipart: where it lies, who drew it, what it is called."""

    path: str
    artist: str
    title: str
    keywords: tuple[str, ...]
    licence: str
    svg_sha256: str


class RenderError(ValueError):
    """A drawing that resvg cannot turn into a picture with something on it."""


def openclipart_drawings(root: Path) -> list[Drawing]:
    """Every public-domain drawing under ``root`` with a named artist, sorted by path."""
    folder = root / "usr/share/openclipart/svg"
    drawings = []
    for file in sorted(folder.rglob("*.svg")):
        content = file.read_bytes()
        drawing = _read_metadata(content, file.relative_to(folder).as_posix())
        if drawing is not None:
            drawings.append(drawing)
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for drawing in drawings:
        spellings[slug(drawing.artist)][drawing.artist] += 1
    name_of = {key: max(sorted(names), key=names.__getitem__) for key, names in spellings.items()}
    return [replace(drawing, artist=name_of[slug(drawing.artist)]) for drawing in drawings]


def slug(text: str) -> str:
    """Lower-case ASCII with hyphens, at most 40 characters: a file name, and a name whatever its spelling."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40] or "untitled"


def _read_metadata(content: bytes, path: str) -> Drawing | None:
    try:
        tree = ET.fromstring(content)
    except ET.ParseError:
        return None
    licences = {
        value for node in tree.iter() if node.tag.endswith("}license") for value in node.attrib.values()
    }
    granted = sorted(licences & PUBLIC_DOMAIN)
    creator = tree.find(f".//{DC}creator//{DC}title")
    artist = (creator.text or "").strip() if creator is not None else ""
    if not granted or not artist:
        return None
    work = next((node for node in tree.iter() if node.tag.endswith("}Work")), None)
    title = work.findtext(f"{DC}title", "") if work is not None else ""
    keywords = [(node.text or "").strip() for node in tree.iter(f"{RDF}li")]
    return Drawing(
        path=path,
        artist=SAME_PERSON.get(artist, artist),
        title=" ".join(title.split()),
        keywords=tuple(word for word in keywords if word),
        licence=granted[0],
        svg_sha256=hashlib.sha256(content).hexdigest(),
    )


def _rasterise(svg: str, **size: float) -> Image.Image:
    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, dpi=96, skip_system_fonts=True, **size)
    except BaseException as error:  # resvg's panics derive from BaseException alone
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise RenderError(str(error)) from None
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page.convert("RGB")


def render_drawing(svg: str, *, side: int = 256, margin: int = 4) -> Image.Image:
    """A drawing trimmed to its ink and centred on a white square of ``side`` pixels."""
    target = side - 2 * margin
    image = _rasterise(svg, width=2 * side)
    box = image.getchannel("A").getbbox()
    if box is None:
        raise RenderError("empty drawing")
    ink = max(box[2] - box[0], box[3] - box[1])
    if ink < target:  # a small drawing on a large page: render again, large enough
        zoom = min(4096 / max(image.size), 2 * target / ink)
        image = _rasterise(svg, width=max(1, round(2 * side * zoom)))
        box = image.getchannel("A").getbbox()
    drawing = _on_white(image.crop(box))
    scale = target / max(drawing.size)
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    drawing = drawing.resize(size, Image.Resampling.LANCZOS)
    if drawing.convert("L").getextrema()[0] > 245:
        raise RenderError("blank drawing")
    square = Image.new("RGB", (side, side), "white")
    square.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return square


def distinct(images: Sequence[Image.Image], *, turned: bool = False) -> list[int]:
    """Positions of ``images`` that are not near-duplicates of an earlier one.

    Two images are near-duplicates when their 16x16 thumbnails differ by less than 7 of 255 a channel on
    average, or their 256-bit difference hashes (of luminance) by at most 14 bits: recoloured copies too.
    ``turned`` also compares every mirror image and quarter turn, and calls drawings with the same outlines
    (correlation of 32x32 edge maps above .87) near-duplicates however they are coloured.
    """
    views = 8 if turned else 1
    kept: list[int] = []
    thumbnails = np.empty((views * len(images), 16 * 16 * 3), np.float32)
    outlines = np.empty((views * len(images), 32 * 32), np.float32)
    hashes = np.empty((len(images), 256), np.bool_)
    for position, image in enumerate(images):
        thumbnail = np.asarray(image.resize((16, 16), Image.Resampling.BOX), np.float32)
        grey = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BOX), np.int16)
        bits = (grey[:, 1:] > grey[:, :-1] + 1).ravel()
        outline = _outline(image)
        seen = len(kept)
        if seen:
            colour_gap = np.abs(thumbnails[: views * seen] - thumbnail.ravel()).mean(axis=1).min()
            hash_gap = (hashes[:seen] != bits).sum(axis=1).min()
            same_outline = turned and (outlines[: views * seen] @ outline.ravel()).max() > 0.87
            if colour_gap < 7 or hash_gap <= 14 or same_outline:
                continue
        rows = slice(views * seen, views * (seen + 1))
        thumbnails[rows] = _turns(thumbnail)[:views]
        outlines[rows] = _turns(outline)[:views]
        hashes[seen] = bits
        kept.append(position)
    return kept


def _turns(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A square array in its eight orientations, itself first, each flattened."""
    ways = (picture, picture[:, ::-1])
    return np.stack([np.rot90(way, quarter).ravel() for way in ways for quarter in range(4)])


def _outline(image: Image.Image) -> NDArray[np.float32]:
    """Edge strength whatever the colours: float32 (32, 32) with mean 0 and length 1."""
    colours = np.asarray(image.resize((64, 64), Image.Resampling.BOX), np.float32)
    colours = np.pad(colours, ((0, 1), (0, 1), (0, 0)), mode="edge")
    change = np.abs(np.diff(colours, axis=0))[:, :-1] + np.abs(np.diff(colours, axis=1))[:-1]
    edges = np.sqrt(change.sum(axis=2).reshape(32, 2, 32, 2).mean(axis=(1, 3)))
    edges -= edges.mean()
    return edges / max(float(np.linalg.norm(edges)), 1e-6)


# --- icon sets -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IconHand:
    """One style of one icon set: every icon of it is drawn to the same rules."""

    prefix: str
    suffix: str
    names: tuple[str, ...]
    coloured: bool
    licence: str
    author: str

    @property
    def name(self) -> str:
        return f"{self.prefix}-{self.suffix}" if self.suffix else self.prefix


def icon_hands(root: Path, *, least: int = 60) -> list[IconHand]:
    """The hands of the permissively licensed icon sets under ``root``, sorted by name."""
    package = root / "package"
    hands = []
    for prefix, about in sorted(json.loads((package / "collections.json").read_text()).items()):
        licence = about["license"].get("spdx")
        if prefix.startswith(NEVER) or licence not in PERMISSIVE:
            continue
        if prefix in NOT_A_HAND or about.get("category") in NOT_A_HAND_CATEGORY:
            continue
        icons = load_icons(root, prefix)
        suffixes = sorted((s for s in icons.get("suffixes") or {} if s), key=len, reverse=True)
        groups: dict[str, list[str]] = {}
        for name in sorted(n for n, icon in icons["icons"].items() if not icon.get("hidden")):
            suffix = next((s for s in suffixes if name.endswith(f"-{s}")), "")
            groups.setdefault(suffix, []).append(name)
        hands += [
            IconHand(
                prefix, suffix, tuple(names), bool(about.get("palette")), licence, about["author"]["name"]
            )
            for suffix, names in groups.items()
            if len(names) >= least
        ]
    return hands


def load_icons(root: Path, prefix: str) -> dict:
    """One icon set's own JSON."""
    return json.loads((root / "package/json" / f"{prefix}.json").read_text())


@dataclass(frozen=True)
class Recipe:
    """How a monochrome set is coloured: one recipe on one set is one more hand."""

    kind: str
    dark: str
    light: str
    accent: str
    stroke: float
    direction: tuple[int, int]
    corner: float
    shift: float


def random_recipe(rng: random.Random) -> Recipe:
    def colour(lightness: tuple[float, float]) -> str:
        red, green, blue = colorsys.hls_to_rgb(rng.random(), rng.uniform(*lightness), rng.uniform(0.2, 1))
        return f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"

    kinds = ["flat", "flat", "gradient", "radial", "tile", "tile", "outline", "shadow", "duo", "gloss"]
    return Recipe(
        kind=rng.choice(kinds),
        dark=colour((0.15, 0.55)),
        light=colour((0.5, 0.9)),
        accent=colour((0.05, 0.9)),
        stroke=rng.uniform(0.02, 0.08),
        direction=rng.choice([(0, 1), (1, 0), (1, 1)]),
        corner=rng.choice([0, 0.2, 0.5]),
        shift=rng.uniform(0.02, 0.06),
    )


def icon_svg(icons: dict, name: str, recipe: Recipe | None, *, side: int) -> str:
    """One icon as a stand-alone SVG of ``side`` pixels, black or coloured by ``recipe``."""
    icon = icons["icons"][name]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    margin = 0.06 * max(width, height)
    box = (left - margin, top - margin, width + 2 * margin, height + 2 * margin)
    body = icon["body"]
    drawn = body.replace("currentColor", "#000") if recipe is None else _apply(recipe, body, box, margin)
    view = " ".join(str(number) for number in box)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view}" width="{side}" height="{side}">{drawn}</svg>'
    )


def _apply(recipe: Recipe, body: str, box: tuple[float, float, float, float], margin: float) -> str:
    left, top = box[0] + margin, box[1] + margin
    width, height = box[2] - 2 * margin, box[3] - 2 * margin
    stops = f'<stop offset="0" stop-color="{recipe.light}"/><stop offset="1" stop-color="{recipe.dark}"/>'

    def ink(paint: str) -> str:
        return body.replace("currentColor", paint)

    def tile(paint: str) -> str:
        place = f'x="{box[0]}" y="{box[1]}" width="{box[2]}" height="{box[3]}"'
        return f'<rect {place} rx="{recipe.corner * width}" fill="{paint}"/>'

    linear = (
        f'<linearGradient id="G" gradientUnits="userSpaceOnUse" x1="{left}" y1="{top}" '
        f'x2="{left + width * recipe.direction[0]}" y2="{top + height * recipe.direction[1]}">'
        f"{stops}</linearGradient>"
    )
    match recipe.kind:
        case "gradient":
            return linear + ink("url(#G)")
        case "gloss":
            return linear + tile(recipe.accent) + ink("url(#G)")
        case "radial":
            return (
                f'<radialGradient id="G" gradientUnits="userSpaceOnUse" cx="{left + width * 0.4}" '
                f'cy="{top + height * 0.35}" r="{width * 0.7}">{stops}</radialGradient>' + ink("url(#G)")
            )
        case "tile":
            middle = (left + width / 2, top + height / 2)
            shrink = f"translate({middle[0]} {middle[1]}) scale(.72) translate({-middle[0]} {-middle[1]})"
            return tile(recipe.light) + f'<g transform="{shrink}">{ink(recipe.dark)}</g>'
        case "outline":
            edge = (
                f'stroke="{recipe.accent}" stroke-width="{2 * recipe.stroke * width}" stroke-linejoin="round"'
            )
            return f"<g {edge}>{ink(recipe.accent)}</g>" + ink(recipe.light)
        case "shadow":
            move = f"translate({recipe.shift * width} {recipe.shift * height})"
            return f'<g opacity=".45" transform="{move}">{ink("#000")}</g>' + ink(recipe.dark)
        case "duo":
            move = f"translate({1.5 * recipe.shift * width} {recipe.shift * height})"
            return f'<g transform="{move}">{ink(recipe.light)}</g>' + ink(recipe.dark)
        case _:
            return ink(recipe.dark)


def render_icon(svg: str, *, side: int) -> NDArray[np.uint8]:
    """An icon on a white square: uint8 (side, side, 3)."""
    icon = _rasterise(svg)
    page = Image.new("RGBA", (side, side), "white")
    page.alpha_composite(icon, ((side - icon.width) // 2, (side - icon.height) // 2))
    return np.asarray(page.convert("RGB"))


@dataclass(frozen=True, eq=False)
class IconImage:
    hand: str
    title: str
    pixels: NDArray[np.uint8]


def icon_images(
    root: Path, hand: IconHand, *, side: int, most: int = 130, recipes: int = 2
) -> Iterator[IconImage]:
    """Renders of one hand and, where its set is monochrome by design, of ``recipes`` coloured hands more.

    Deterministic: the choice of icons and recipes is seeded by the hand's name.
    """
    icons = load_icons(root, hand.prefix)
    rng = random.Random(hand.name)
    names = list(hand.names)
    rng.shuffle(names)

    def draw(label: str, chosen: Sequence[str], recipe: Recipe | None) -> Iterator[IconImage]:
        for name in chosen:
            try:
                pixels = render_icon(icon_svg(icons, name, recipe, side=side), side=side)
            except (RenderError, ValueError):
                continue
            if pixels.min() > 235 or pixels.std() < 4:  # nothing to see: white ink, text, animation frames
                continue
            title = name.removesuffix(f"-{hand.suffix}") if hand.suffix else name
            yield IconImage(label, title.replace("-", " "), pixels)

    yield from draw(hand.name, names[:most], None)
    for number in range(0 if hand.coloured else recipes):
        recipe = random_recipe(rng)
        start = most + 60 * number
        chosen = (
            names[start : start + 60] if len(names) >= start + 60 else rng.sample(names, min(60, len(names)))
        )
        yield from draw(f"{hand.name} in {recipe.kind} {number + 1}", chosen, recipe)
