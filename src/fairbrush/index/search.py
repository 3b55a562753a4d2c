"""Searching an index: a raw vector in, the nearest artists by affinity out.

The one rule: FAISS proposes in float32, float64 decides. Proposals are fetched until no artist outside them
can be among the nearest, and every affinity that leaves is computed in float64 one row at a time; so a
batch, a loop, a CPU and a GPU give the same numbers, and ties go by artist id.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fairbrush.domain import Evidence, Hit
from fairbrush.errors import DeviceUnavailableError, IndexDamagedError, IndexMissingError
from fairbrush.index.faiss_door import import_faiss
from fairbrush.index.segments import Segment, SegmentArtist, StoredWorks, pooled
from fairbrush.index.versions import IndexVersion, VersionFiles, current_manifest, read_version
from fairbrush.style.affinity import PanelScale, detectability_floor, style_rows
from fairbrush.style.centroids import ArtistStyle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace
    from fairbrush.style.strangers import Strangers

# How far a float32 inner product of unit rows may lie from the float64 one: n * 2^-24 * |x| |y| for
# dims up to a few thousand, with room. TensorFloat-32 would break it, and is switched off.
FLOAT32_SLACK = 5e-4
SPARE_PROPOSALS = 16
GROWTH = 4
MOST_ON_GPU = 2048  # proposals a query; faiss-gpu's own limit
WORTH_A_GPU = 50_000  # rows; below, moving them costs more than searching them
QUERIES_AT_A_TIME = 256
OPEN_ATTEMPTS = 5


class SearchDevice(StrEnum):
    """``AUTO`` takes a GPU where faiss has one and the index is large."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Neighbours:
    """hits: in descending z, ties by artist id. complete: no allowed artist above delta is missing."""

    hits: list[Hit]
    complete: bool


def open_index(folder: Path, *, verify: bool = True, device: SearchDevice = SearchDevice.AUTO) -> StyleIndex:
    """Open the current version. With ``verify``, nothing is used before its digest was compared.

    Only files that the manifest names are read. A version that is rewritten meanwhile is opened anew.
    Raises IndexMissingError, IndexDamagedError, StyleSpaceError, FaissInstallError.
    """
    for attempt in range(OPEN_ATTEMPTS):
        manifest = current_manifest(folder)
        before = _bytes_of(manifest)
        try:
            return StyleIndex.load(folder, read_version(manifest), verify=verify, device=device)
        except IndexDamagedError:
            # An erasure replaces the manifest, then deletes what it named.
            unchanged = current_manifest(folder) == manifest and _bytes_of(manifest) == before
            if unchanged or attempt == OPEN_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


@dataclass(frozen=True, eq=False)
class StyleIndex:
    """A version in memory. rows: float32 (n_rows, dim + 1), one or several an artist, in the order of
    ``artist_ids``, which are sorted; owners: int (n_rows,), whose each is, a position in ``artist_ids``.
    ``shift`` of the thresholds and ``query_centre``: a calibration's, see ``index.calibrated``."""

    folder: Path
    manifest: IndexVersion
    space: StyleSpace
    artist_ids: tuple[str, ...]
    rows: NDArray[np.float32]
    owners: NDArray[np.intp]
    places: dict[str, tuple[Segment, SegmentArtist]]
    proposers: tuple[Any, ...]  # faiss indexes: a GPU's first where there is one, the CPU's last
    verify: bool
    shift: float = 0.0
    query_centre: NDArray[np.float32] | None = None

    @classmethod
    def load(cls, folder: Path, version: IndexVersion, *, verify: bool, device: SearchDevice) -> Self:
        """Open one version; see ``open_index``."""
        import numpy as np

        files = VersionFiles(folder, version.space_id)
        space = files.read_space(version, verify=verify)
        found: dict[str, NDArray[np.float32]] = {}
        places: dict[str, tuple[Segment, SegmentArtist]] = {}
        for ref, segment in files.open_segments(version):
            for listed, rows in zip(segment.artists, segment.rows_by_artist(verify=verify), strict=True):
                if listed.artist_id not in ref.superseded:
                    assert listed.artist_id not in found, f"{listed.artist_id} is live in two segments"
                    found[listed.artist_id] = rows
                    places[listed.artist_id] = (segment, listed)
        if len(places) != version.artists:
            raise IndexDamagedError(
                f"Index {version.label} holds {len(places)} artists, its manifest says {version.artists}.",
                next_step="Rebuild: fairbrush index build",
            )
        artist_ids = tuple(sorted(found))
        empty = np.empty((0, version.dim + 1), np.float32)
        rows = np.concatenate([empty, *(found[artist_id] for artist_id in artist_ids)])
        owners = np.repeat(np.arange(len(found)), [len(found[artist_id]) for artist_id in artist_ids])
        return cls(folder, version, space, artist_ids, rows, owners, places, _proposers(rows, device), verify)

    @property
    def version(self) -> str:
        """Such as ``v0007``."""
        return self.manifest.label

    @property
    def manifest_digest(self) -> str:
        return self.manifest.manifest_digest

    @property
    def encoder_id(self) -> str:
        return self.manifest.encoder_id

    @property
    def variants(self) -> tuple[str, ...]:
        return self.manifest.variants

    @property
    def space_id(self) -> str:
        return self.manifest.space_id

    @property
    def delta(self) -> float:
        return self.manifest.delta + self.shift

    @property
    def entry(self) -> float:
        """Above which an artist may share in an image that somebody is above ``delta`` for."""
        return self.manifest.entry + self.shift

    @property
    def dim(self) -> int:
        return self.manifest.dim

    @cached_property
    def _query_space(self) -> StyleSpace:
        """Where queries are brought to: as works are, but for the centre."""
        import numpy as np

        if self.query_centre is None:
            return self.space
        return replace(self.space, centre=self.query_centre.astype(np.float64))

    @property
    def device(self) -> SearchDevice:
        """Where proposals are really made: CPU or GPU."""
        return SearchDevice.GPU if len(self.proposers) > 1 else SearchDevice.CPU

    def is_current(self) -> bool:
        """Whether CURRENT still names this very version, and nobody was erased from it meanwhile."""
        return read_version(current_manifest(self.folder)).manifest_digest == self.manifest_digest

    def search(
        self, vector: NDArray[np.float32], *, k: int, allowed: Collection[str] | None = None
    ) -> Neighbours:
        """The ``k`` allowed artists of highest affinity. vector: raw float32 (dim,). None: all are allowed.

        Raises VectorRefusedError.
        """
        return self.search_many(vector[None], k=k, allowed=allowed)[0]

    def search_many(
        self, vectors: NDArray[np.float32], *, k: int, allowed: Collection[str] | None = None
    ) -> list[Neighbours]:
        """``search`` for each row of raw float32 (n, dim), with the same numbers."""
        import numpy as np

        assert k >= 1, f"k is {k}"
        styled = style_rows(self._query_space, vectors)
        is_allowed = self._allowed(allowed)[self.owners]
        if not is_allowed.any():
            return [Neighbours([], complete=True) for _ in styled]
        queries = np.hstack([styled, np.ones((len(styled), 1))]).astype(np.float32)
        rows_an_artist = -(-len(self.rows) // len(self.artist_ids))
        wanted = min(len(self.rows), (k + 1) * rows_an_artist + SPARE_PROPOSALS)
        answers = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            batch = queries[start : start + QUERIES_AT_A_TIME]
            scores, positions = self._propose(batch, wanted)
            for row in range(len(batch)):
                at = start + row
                found = (scores[row], positions[row])
                answers.append(self._settle(styled[at], batch[row : row + 1], found, k, is_allowed))
        return answers

    def affinities(self, vector: NDArray[np.float32], artist_ids: Collection[str]) -> list[Hit]:
        """These artists, near or not, each once: the numbers and the order that ``search`` gives.

        Raises IndexMissingError for an artist that is not in the index, VectorRefusedError.
        """
        import numpy as np

        for artist_id in artist_ids:
            self._place(artist_id)
        [styled] = style_rows(self._query_space, vector[None])
        return self._rank(styled, np.flatnonzero(self._allowed(set(artist_ids))[self.owners]))

    def nearest_works(self, vector: NDArray[np.float32], artist_id: str, k: int) -> list[Evidence]:
        """The ``k`` works of an artist most similar to an image, ties by hash. Raises IndexMissingError."""
        import numpy as np

        stored = self.stored_works(artist_id)
        [query] = style_rows(self._query_space, vector[None])
        similarities = [float(work @ query) for work in stored.works.astype(np.float64)]
        ranked = sorted(zip(stored.sha256s, similarities, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return [Evidence(sha256, similarity) for sha256, similarity in ranked[:k]]

    def delta_at(self, alpha: float) -> float:
        """The threshold of another level. Raises IndexDamagedError."""
        return self._scale.delta(alpha)

    def passing_at(self, threshold: float) -> float:
        """The part of the panel's works by strangers that some artist passes a threshold on.

        Raises IndexDamagedError.
        """
        return self._scale.passing(threshold)

    @cached_property
    def _scale(self) -> PanelScale:
        return VersionFiles(self.folder, self.manifest.space_id).read_scale(self.manifest)

    @cached_property
    def strangers(self) -> Strangers:
        """The panel that offsets and threshold were measured on. Raises IndexDamagedError."""
        return VersionFiles(self.folder, self.manifest.space_id).read_strangers(self.manifest)

    @cached_property
    def detectability_floor(self) -> float:
        """See ``style.affinity.detectability_floor``: of the artists of five works or more."""
        import numpy as np

        h = dict(zip(self.owners.tolist(), (-self.rows[:, -1]).tolist(), strict=True))
        known = [
            (q + h[owner], h[owner])
            for owner, artist_id in enumerate(self.artist_ids)
            if (q := self.places[artist_id][1].recognisability) is not None
        ]
        return detectability_floor(np.array(known, np.float64).reshape(-1, 2), self.entry)

    def styled(self, vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 (dim,), a unit row in style space, of raw float32 (dim,). Raises VectorRefusedError."""
        row: NDArray[np.float64] = style_rows(self._query_space, vector[None])[0]
        return row

    def centroids_of(self, artist_id: str) -> NDArray[np.float64]:
        """float64 (n_centroids, dim). Raises IndexMissingError."""
        import numpy as np

        self._place(artist_id)
        mine = self.owners == bisect_left(self.artist_ids, artist_id)
        return self.rows[mine, :-1].astype(np.float64)

    def style_of(self, artist_id: str) -> ArtistStyle:
        """An artist's centroids and what they were fitted on: the works of all of the creator's entries.

        Raises IndexMissingError.
        """
        import numpy as np

        works = self.pooled_works(self.creator_of(artist_id)).astype(np.float64)
        return ArtistStyle(works, self.centroids_of(artist_id))

    def pooled_works(self, creator_id: str) -> NDArray[np.float32]:
        """The works of all entries of a creator, each once: float32 (n, dim), sorted by hash."""
        return pooled(self.stored_works(artist_id) for artist_id in self.entries_of[creator_id])

    @cached_property
    def entries_of(self) -> dict[str, list[str]]:
        """Artist ids by creator."""
        entries: dict[str, list[str]] = {}
        for artist_id in self.artist_ids:
            entries.setdefault(self.creator_of(artist_id), []).append(artist_id)
        return entries

    def works_of(self, artist_id: str) -> tuple[str, ...]:
        """The SHA-256 of the works this version knows of an artist. Raises IndexMissingError."""
        return self.stored_works(artist_id).sha256s

    @cached_property
    def artists_by_work(self) -> dict[str, tuple[str, ...]]:
        """Whose each work is, by its file's SHA-256. Raises IndexMissingError."""
        found: dict[str, tuple[str, ...]] = {}
        for artist_id in self.artist_ids:
            for sha256 in self.works_of(artist_id):
                found[sha256] = (*found.get(sha256, ()), artist_id)
        return found

    def stored_works(self, artist_id: str) -> StoredWorks:
        """An artist's works as they are stored, in style space. Raises IndexMissingError."""
        return self._stored(*self._place(artist_id))

    def creator_of(self, artist_id: str) -> str:
        """Whose works these were when the artist was indexed. Raises IndexMissingError."""
        return self._place(artist_id)[1].creator_id

    def recognisability(self, artist_id: str) -> float | None:
        """``q``; at or below ``delta`` the artist cannot be told apart. None under five works."""
        return self._place(artist_id)[1].recognisability

    def _place(self, artist_id: str) -> tuple[Segment, SegmentArtist]:
        try:
            return self.places[artist_id]
        except KeyError:
            raise IndexMissingError(
                f"Index {self.manifest.label} has no artist {artist_id}.",
                next_step="Add them: fairbrush index extend",
            ) from None

    def _stored(self, segment: Segment, listed: SegmentArtist) -> StoredWorks:
        try:
            return segment.works_of(listed, verify=self.verify)
        except IndexDamagedError as damage:
            if segment.path("works").exists() or self.is_current():
                raise
            raise IndexMissingError(
                f"Index {self.manifest.label} was rewritten since it was opened.", next_step="Open it again."
            ) from damage

    def _allowed(self, allowed: Collection[str] | None) -> NDArray[np.bool_]:
        import numpy as np

        if allowed is None:
            return np.ones(len(self.artist_ids), bool)
        known = allowed if isinstance(allowed, set | frozenset | dict) else set(allowed)
        return np.array([artist_id in known for artist_id in self.artist_ids], bool)

    def _propose(
        self, queries: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        proposer = self.proposers[0] if wanted <= MOST_ON_GPU else self.proposers[-1]
        scores, positions = proposer.search(queries, wanted)
        return scores, positions

    def _settle(
        self,
        styled: NDArray[np.float64],
        query: NDArray[np.float32],
        proposals: tuple[NDArray[np.float32], NDArray[np.int64]],
        k: int,
        is_allowed: NDArray[np.bool_],
    ) -> Neighbours:
        """Fetch until the k + 1 nearest are certain, then answer from float64."""
        scores, positions = proposals
        while True:
            ranked = self._rank(styled, positions[is_allowed[positions]])
            everyone = len(positions) == len(self.rows)
            if everyone or (len(ranked) > k and ranked[k].z > float(scores[-1]) + FLOAT32_SLACK):
                complete = len(ranked) <= k or ranked[k].z <= self.delta
                return Neighbours(ranked[:k], complete)
            [scores], [positions] = self._propose(query, min(len(self.rows), GROWTH * len(positions)))

    def _rank(self, styled: NDArray[np.float64], positions: NDArray[np.int64]) -> list[Hit]:
        """Hits by descending z, ties by artist id, of the artists of some rows, each by the best of them."""
        import numpy as np

        rows = self.rows[np.sort(positions)].astype(np.float64)
        # not a matrix product, which rounds a row differently with other rows beside it
        similarities = np.einsum("ij,j->i", rows[:, :-1], styled).tolist()
        best: dict[int, Hit] = {}
        for owner, similarity, h in zip(
            self.owners[np.sort(positions)].tolist(), similarities, rows[:, -1].tolist(), strict=True
        ):
            if owner not in best or similarity > best[owner].similarity:
                best[owner] = Hit(self.artist_ids[owner], similarity, similarity + h)
        return sorted(best.values(), key=lambda hit: -hit.z)  # stable: in the order of artist ids


def _proposers(rows: NDArray[np.float32], device: SearchDevice) -> tuple[Any, ...]:
    faiss = import_faiss()
    on_cpu = faiss.IndexFlatIP(rows.shape[1])
    on_cpu.add(rows)
    if device is SearchDevice.CPU or (device is SearchDevice.AUTO and len(rows) < WORTH_A_GPU):
        return (on_cpu,)
    if not (hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus()):
        if device is SearchDevice.AUTO:
            return (on_cpu,)
        raise DeviceUnavailableError(
            "faiss has no GPU here.", next_step='Install "fairbrush[gpu]" on Linux with CUDA, or use the CPU.'
        )
    # cuBLAS reads this once, at its start; the slack above holds for full float32 only.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    return (faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, on_cpu), on_cpu)


def _bytes_of(manifest: Path) -> bytes | None:
    try:
        return manifest.read_bytes()
    except OSError:
        return None


def works_by_artist(index: StyleIndex) -> dict[str, tuple[str, ...]]:
    """The works of every artist of an open index: what a caller compares with the registry to extend."""
    return {artist_id: index.works_of(artist_id) for artist_id in index.artist_ids}
