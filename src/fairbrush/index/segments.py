"""Segments: immutable files that hold artists' rows and their works' vectors.

Enters and leaves: ``ArtistEntry``. The one rule: a segment is named by the SHA-256 of its JSON, which holds
the digests of its other files, so its name vouches for every byte and nothing is changed in place.

``<name>.json``    who is in it, and what the other files must be
``<name>.faiss``   flat inner-product index; row: float32 ``[centroid, -offset]``, so that a query ``[x, 1]``
                   has the affinity z itself as inner product; artist after artist, one row a centroid
``<name>.works``   float32 (n_works, dim), the works' unit rows in style space, artist after artist
``<name>.names``   uint8 (n_works, 32), the works' SHA-256 in the same order
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from fairbrush.errors import IndexDamagedError
from fairbrush.index.faiss_door import import_faiss
from fairbrush.index.files import (
    REPAIR_STEP,
    canonical_json,
    digest_file,
    read_checked,
    sha256_of,
    write_file,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "fairbrush.segment/2"
FOLDER = "segments"
PARTS = ("faiss", "works", "names")
NAME_BYTES = 32
# faiss's limits on what it reads belong to the process (a terabyte and none, unset); each read sets its own.
_FAISS_LIMITS = Lock()


@dataclass(frozen=True, eq=False)
class ArtistEntry:
    """One artist as an index stores them.

    rows: float32 (n_centroids, dim + 1), each ``[centroid, -offset]``; works: float32 (n, dim), unit rows in
    style space, sorted by ``work_sha256s``; recognisability: None under five works.
    """

    artist_id: str
    creator_id: str
    rows: NDArray[np.float32]
    recognisability: float | None
    work_sha256s: tuple[str, ...]
    works: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredWorks:
    """works: float32 (n, dim), unit rows in style space, sorted by ``sha256s``."""

    sha256s: tuple[str, ...]
    works: NDArray[np.float32]


def pooled(parts: Iterable[StoredWorks]) -> NDArray[np.float32]:
    """The works of several entries, each once: float32 (n, dim), sorted by hash."""
    import numpy as np

    pool: dict[str, NDArray[np.float32]] = {}
    for part in parts:
        for sha256, work in zip(part.sha256s, part.works, strict=True):
            pool.setdefault(sha256, work)
    return np.stack([pool[sha256] for sha256 in sorted(pool)])


@dataclass(frozen=True)
class SegmentArtist:
    """One artist as a segment's JSON lists them; ``first_row`` and ``first`` are where their centroids and
    works begin."""

    artist_id: str
    creator_id: str
    centroids: int
    first_row: int
    works: int
    first: int
    works_sha256: str
    recognisability: float | None


@dataclass(frozen=True, eq=False)
class Segment:
    """An open segment: its JSON is checked, its other files are read when asked for, each checked."""

    folder: Path
    name: str
    dim: int
    artists: tuple[SegmentArtist, ...]
    digests: dict[str, str]

    def path(self, part: str) -> Path:
        return self.folder / f"{self.name}.{part}"

    @cached_property
    def position_of(self) -> dict[str, int]:
        return {artist.artist_id: position for position, artist in enumerate(self.artists)}

    @property
    def n_works(self) -> int:
        return sum(artist.works for artist in self.artists)

    @property
    def n_rows(self) -> int:
        return sum(artist.centroids for artist in self.artists)

    def rows(self, *, verify: bool = True) -> NDArray[np.float32]:
        """float32 (n_rows, dim + 1). Raises IndexDamagedError before faiss sees a changed byte.

        FAISS trusts what it reads, so the digest comes first and its limits are set to the file's size.
        """
        content = read_checked(self.path("faiss"), self.digests["faiss"] if verify else None)
        rows = decode_rows(content, source=self.path("faiss"))
        if rows.shape != (self.n_rows, self.dim + 1):
            raise self.damaged("faiss", f"it has shape {rows.shape}")
        return rows

    def works_of(self, artist: SegmentArtist, *, verify: bool = True) -> StoredWorks:
        """One artist's works, read from their place in the files; their digest is checked."""
        import numpy as np

        names = self._slice("names", artist.first * NAME_BYTES, artist.works * NAME_BYTES)
        works = self._slice("works", artist.first * self.dim * 4, artist.works * self.dim * 4)
        if verify and sha256_of(names + works) != artist.works_sha256:
            raise self.damaged("works", f"the works of artist {artist.artist_id} changed")
        return StoredWorks(
            tuple(names[i : i + NAME_BYTES].hex() for i in range(0, len(names), NAME_BYTES)),
            np.frombuffer(works, "<f4").reshape(artist.works, self.dim),
        )

    def rows_by_artist(self, *, verify: bool = True) -> list[NDArray[np.float32]]:
        """Of each artist, float32 (n_centroids, dim + 1). Raises IndexDamagedError."""
        rows = self.rows(verify=verify)
        return [rows[artist.first_row : artist.first_row + artist.centroids] for artist in self.artists]

    def entries(
        self, *, without: Collection[str] = (), only: Collection[str] | None = None
    ) -> Iterator[ArtistEntry]:
        """The artists with everything that is stored of them. Raises IndexDamagedError."""
        for artist, rows in zip(self.artists, self.rows_by_artist(), strict=True):
            if artist.artist_id not in without and (only is None or artist.artist_id in only):
                stored = self.works_of(artist)
                yield ArtistEntry(
                    artist.artist_id,
                    artist.creator_id,
                    rows,
                    artist.recognisability,
                    stored.sha256s,
                    stored.works,
                )

    def verify(self) -> None:
        """Compare every file with its digest. Raises IndexDamagedError."""
        for part in PARTS:
            if digest_file(self.path(part)) != self.digests[part]:
                raise self.damaged(part, "its digest is not the one on record")

    def damaged(self, part: str, what: str) -> IndexDamagedError:
        return IndexDamagedError(
            f"The index's file {self.path(part)} is damaged: {what}.", next_step=REPAIR_STEP
        )

    def _slice(self, part: str, start: int, length: int) -> bytes:
        try:
            with self.path(part).open("rb") as stream:
                stream.seek(start)
                content = stream.read(length)
        except OSError as error:
            raise self.damaged(part, str(error.strerror or error)) from error
        if len(content) != length:
            raise self.damaged(part, "it is too short")
        return content


def decode_rows(content: bytes, *, source: Path) -> NDArray[np.float32]:
    """The rows of a serialised flat index whose digest was checked. Raises IndexDamagedError."""
    import numpy as np

    faiss = import_faiss()
    with _FAISS_LIMITS:
        faiss.set_deserialization_vector_byte_limit(len(content))
        faiss.set_deserialization_loop_limit(1 << 16)
        try:
            index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        except RuntimeError as error:
            raise IndexDamagedError(
                f"faiss cannot read the index's file {source}.", next_step=REPAIR_STEP
            ) from error
    if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise IndexDamagedError(
            f"The index's file {source} holds no flat inner-product index.", next_step=REPAIR_STEP
        )
    rows: NDArray[np.float32] = index.reconstruct_n(0, index.ntotal).reshape(index.ntotal, index.d)
    return rows


def encode_rows(rows: NDArray[np.float32]) -> bytes:
    """A flat inner-product index of these rows, serialised."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    content: bytes = faiss.serialize_index(index).tobytes()
    return content


def write_segment(folder: Path, entries: Iterable[ArtistEntry]) -> Segment:
    """Write artists, sorted by id, as one segment; the same artists give the same files."""
    import numpy as np

    ordered = sorted(entries, key=lambda entry: entry.artist_id)
    assert ordered, "a segment has at least one artist"
    contents: dict[str, Callable[[], Iterator[bytes]]] = {
        "faiss": lambda: iter([encode_rows(np.concatenate([entry.rows for entry in ordered]))]),
        "works": lambda: (_work_bytes(entry) for entry in ordered),
        "names": lambda: (_name_bytes(entry) for entry in ordered),
    }
    digests = {part: _digest(chunks()) for part, chunks in contents.items()}
    body = {
        "schema": SCHEMA,
        "dim": ordered[0].rows.shape[1] - 1,
        "digests": digests,
        "artists": list(_listed(ordered)),
    }
    content = canonical_json(body)
    name = sha256_of(content)
    for part, chunks in contents.items():
        write_file(folder / f"{name}.{part}", chunks())
    write_file(folder / f"{name}.json", [content])  # last: its presence means the segment is complete
    return _parse(folder, name, json.loads(content))


def open_segment(folder: Path, name: str) -> Segment:
    """Raises IndexDamagedError where the JSON is missing or not the one its name promises."""
    return _parse(folder, name, json.loads(read_checked(folder / f"{name}.json", name)))


def _parse(folder: Path, name: str, body: dict[str, Any]) -> Segment:
    first = first_row = 0
    artists = []
    for listed in body["artists"]:
        artists.append(SegmentArtist(**listed, first=first, first_row=first_row))
        first += listed["works"]
        first_row += listed["centroids"]
    return Segment(folder, name, body["dim"], tuple(artists), body["digests"])


def _listed(ordered: Sequence[ArtistEntry]) -> Iterator[dict[str, Any]]:
    for entry in ordered:
        yield {
            "artist_id": entry.artist_id,
            "creator_id": entry.creator_id,
            "centroids": len(entry.rows),
            "works": len(entry.work_sha256s),
            "works_sha256": sha256_of(_name_bytes(entry) + _work_bytes(entry)),
            "recognisability": entry.recognisability,
        }


def _name_bytes(entry: ArtistEntry) -> bytes:
    return bytes.fromhex("".join(entry.work_sha256s))


def _work_bytes(entry: ArtistEntry) -> bytes:
    return entry.works.astype("<f4").tobytes()


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
