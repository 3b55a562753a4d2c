"""A gallery on disk as vectors: who made what, split into references and queries.

Enters: a folder. Leaves: a ``Gallery`` of embedded works, halves of it, vectors of mixtures. The one rule:
an artist of the gallery is nowhere in the background panel, and a work of the references is never a query.

Three layouts: ``GALLERY/ARTIST/...``; ``GALLERY/references/ARTIST/...`` with ``GALLERY/queries/ARTIST/...``;
Three layouts: ``GALLERY/ARTIST/...``; ``GALLERY/references/ARTIST/...`` and ``GALLERY/queries/ARTIST/...``;
Retrieval is measured on the gallery's own split where it has one; all else on random halves.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.accuracy.methods import Background
from fairbrush.accuracy.mixtures import COMPOSITIONS, squared
from fairbrush.corpus.images import Refusal, decoding_workers, image_limits
from fairbrush.corpus.reader import ImageReader
from fairbrush.domain import EmbedOutcome
from fairbrush.errors import GalleryError, PanelError
from fairbrush.index.build import ArtistWorks
from fairbrush.style.panel import Panel, fit_panel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from fairbrush.config import Settings
    from fairbrush.embedding.session import EmbeddingSession

BUNDLED_GALLERY = Path(__file__).parents[1] / "data" / "gallery"
DATABASE_PART, QUERY_PART = "references", "queries"
SPLIT_FILE = "wikiart.csv"
SPLIT_COLUMNS = ("artist", "path", "split")
FEWEST_WORKS = 8
FEWEST_ARTISTS = 4
EMBEDDED_AT_A_TIME = 32


@dataclass(frozen=True)
class GalleryFile:
    """One file and whose it is. ``is_query``: None where the gallery does not say."""

    path: Path
    artist: str
    is_query: bool | None = None


@dataclass(frozen=True)
class LeftOut:
    """What is not measured, and why: an artist or a file. ``failed``: a file that could not be read."""

    what: str
    reason: str
    failed: bool = False


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embedded works, sorted by artist and hash. vectors: raw float32 (n, dim)."""

    source: Path
    artists: tuple[str, ...]
    paths: tuple[Path, ...]
    sha256s: tuple[str, ...]
    vectors: NDArray[np.float32]
    is_query: NDArray[np.bool_] | None
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.artists)))

    def halves(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """A random half of each artist's works, the smaller one, is the references: bool (n,)."""
        import numpy as np

        labels = np.asarray(self.artists)
        is_reference = np.zeros(len(labels), bool)
        for name in self.names:
            works = rng.permutation(np.flatnonzero(labels == name))
            is_reference[works[: len(works) // 2]] = True
        return is_reference

    def indexed(self, chosen: NDArray[np.bool_], *, without: Sequence[str] = ()) -> list[ArtistWorks]:
        """The chosen works as an index takes them, each artist their own creator."""
        positions: dict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(self.artists):
            if chosen[position] and name not in without:
                positions[name].append(position)
        return [
            ArtistWorks(name, name, [self.sha256s[at] for at in own], self.vectors[own])
            for name, own in sorted(positions.items())
        ]


def read_gallery(folder: Path) -> list[GalleryFile]:
    """The files of a gallery, in whichever layout it has. Raises GalleryError."""
    if not folder.is_dir():
        raise GalleryError(f"The gallery {folder} is not a folder.", next_step="Name a folder of folders.")
    if (folder / SPLIT_FILE).is_file():
        return _read_split_file(folder)
    if (folder / DATABASE_PART).is_dir() and (folder / QUERY_PART).is_dir():
        database = _read_folders(folder / DATABASE_PART, is_query=False)
        return database + _read_folders(folder / QUERY_PART, is_query=True)
    return _read_folders(folder, is_query=None)


def _read_folders(folder: Path, *, is_query: bool | None) -> list[GalleryFile]:
    from fairbrush.corpus.images import find_images

    found = [path for path in find_images([folder]).images if path.parent != folder]
    if not found:
        raise GalleryError(
            f"{folder} has no images in folders.",
            next_step="Put each artist's works in a folder of its name.",
        )
    return [GalleryFile(path, path.relative_to(folder).parts[0], is_query) for path in found]


def _read_split_file(folder: Path) -> list[GalleryFile]:
    file = folder / SPLIT_FILE
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise GalleryError(f"{file} cannot be read: {error}.", next_step="Save it as CSV UTF-8.") from error
    missing = [name for name in SPLIT_COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise GalleryError(
            f"{file} has no column {missing[0]}, or no rows.",
            next_step=f"Its columns must be {', '.join(SPLIT_COLUMNS)}; others are passed over.",
        )
    strange = {row["split"] for row in rows} - {"database", "query"}
    if strange:
        raise GalleryError(
            f"{file} has a split {min(map(str, strange))!r}.", next_step="Write database or query."
        )
    return [GalleryFile(folder / row["path"], row["artist"], row["split"] == "query") for row in rows]


def embed_gallery(
    session: EmbeddingSession,
    folder: Path,
    *,
    fewest_works: int = FEWEST_WORKS,
    most_works: int | None = None,
    on_outcome: Callable[[EmbedOutcome], None] = lambda _: None,
) -> Gallery:
    """Embed what the cache lacks. Artists with too few works, and files that fail, are left out and listed.

    ``most_works``: an artist's first so many files only. Raises GalleryError where too few artists stay.
    """
    import numpy as np

    files = _first_of_each(read_gallery(folder), most_works)
    file_at = {file.path: file for file in files}
    left_out: list[LeftOut] = []
    files_of: dict[str, list[GalleryFile]] = defaultdict(list)
    for outcome in session.embed(list(file_at)):
        on_outcome(outcome)
        if outcome.sha256 is None or outcome.reason:
            left_out.append(LeftOut(str(outcome.path), f"{outcome.reason}. {outcome.detail}", failed=True))
        else:
            files_of[outcome.sha256].append(file_at[outcome.path])
    found: dict[str, GalleryFile] = {}
    for sha256, same in files_of.items():
        # of copies the one in the database is kept: a query that is there too would be no test
        first, *copies = sorted(same, key=lambda file: (file.is_query is True, file.path))
        left_out += [LeftOut(str(copy.path), f"the same file as {first.path}") for copy in copies]
        if len({file.artist for file in same}) == 1:
            found[sha256] = first
        else:
            left_out.append(LeftOut(str(first.path), "it lies under two artists"))
    works = Counter(file.artist for file in found.values())
    few = sorted(name for name, count in works.items() if count < fewest_works)
    left_out += [LeftOut(name, f"{works[name]} works, fewer than {fewest_works}") for name in few]
    kept = sorted(
        (sha256 for sha256, file in found.items() if file.artist not in few),
        key=lambda sha256: (found[sha256].artist, sha256),
    )
    artists = tuple(found[sha256].artist for sha256 in kept)
    if len(set(artists)) < FEWEST_ARTISTS:
        raise GalleryError(
            f"{folder} has {len(set(artists))} artists with at least {fewest_works} works;"
            f" {FEWEST_ARTISTS} are needed.",
            next_step="Add artists or works, or lower --fewest-works.",
        )
    stored = session.space.get_many(kept)
    parts = [found[sha256].is_query for sha256 in kept]
    return Gallery(
        source=folder,
        artists=artists,
        paths=tuple(found[sha256].path for sha256 in kept),
        sha256s=tuple(kept),
        vectors=np.stack([stored[sha256][0] for sha256 in kept]),
        is_query=np.array(parts, bool) if set(parts) == {False, True} else None,
        left_out=tuple(sorted(left_out, key=lambda one: one.what)),
    )


def _first_of_each(files: Sequence[GalleryFile], most_works: int | None) -> list[GalleryFile]:
    seen: Counter[tuple[str, bool | None]] = Counter()
    kept = []
    for file in files:
        seen[file.artist, file.is_query] += 1
        limit = most_works if file.is_query is None or most_works is None else most_works // 2
        if limit is None or seen[file.artist, file.is_query] <= limit:
            kept.append(file)
    return kept


def gallery_background(session: EmbeddingSession, panel: Panel, gallery: Gallery) -> Background:
    """The panel's style space. Raises PanelError where an artist of the gallery is in the panel."""
    hands = {work.hand.casefold(): work.hand for work in panel.works}
    both = [name for name in gallery.names if name.casefold() in hands]
    if both:
        raise PanelError(
            f"{both[0]} is both in the gallery {gallery.source} and in the panel {panel.source}.",
            next_step="Use a panel by other hands, or the error rates mean nothing.",
        )
    fitted = fit_panel(session, panel)
    encoder = session.encoder
    return Background(fitted.space, fitted.vectors, fitted.strangers(), encoder.encoder_id, encoder.variant)


@dataclass(frozen=True)
class Recipe:
    """One mixture to compose: which works, how, and how much of each."""

    works: tuple[Path, ...]
    composition: str
    weights: tuple[float, ...]


def compose(recipes: Sequence[Recipe], session: EmbeddingSession, settings: Settings) -> NDArray[np.float32]:
    """Embed mixtures, without the cache: float32 (n, dim). Raises GalleryError for a work that is gone."""
    import numpy as np

    squares = _squares(sorted({path for recipe in recipes for path in recipe.works}), settings)
    rows = []
    for start in range(0, len(recipes), EMBEDDED_AT_A_TIME):
        mixed = [
            np.asarray(
                COMPOSITIONS[recipe.composition]([squares[path] for path in recipe.works], recipe.weights)
            )
            for recipe in recipes[start : start + EMBEDDED_AT_A_TIME]
        ]
        rows.append(session.encoder.embed(mixed))
    return np.concatenate(rows)


def _squares(paths: Sequence[Path], settings: Settings) -> dict[Path, Image.Image]:
    squares = {}
    with ImageReader(image_limits(settings), workers=decoding_workers(settings)) as reader:
        for path, read in reader.read(paths):
            if isinstance(read, Refusal):
                raise GalleryError(f"{path} cannot be read any more: {read.detail}", next_step="Run again.")
            squares[path] = squared(read.pixels)
    return squares
