"""Erasing an artist: out of every version, as if never indexed.

Enters: an artist id. Leaves: the same versions without the artist's row and works. The one rule: every
version is rewritten, older ones and other style spaces' too, then what no manifest names is deleted; so no
rollback brings the artist back, and no file holds their bytes.

Whoever shared a creator with the artist is fitted again without the erased works, in every version.
Interrupted, it leaves whole versions, some not yet rewritten: run it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.index.build import LiveArtist, fit_entries, live_artists
from fairbrush.index.files import writer_lock
from fairbrush.index.segments import ArtistEntry, Segment, write_segment
from fairbrush.index.versions import (
    IndexVersion,
    SegmentRef,
    VersionFiles,
    drop_outdated,
    list_versions,
    prune_unlocked,
    write_manifest,
)
from fairbrush.style.affinity import OffsetRule, PanelScale, stranger_affinity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.strangers import Strangers


def erase_artist(folder: Path, artist_id: str) -> list[int]:
    """Remove an artist from every version; returns the numbers of the versions that held them.

    A version of an earlier format, which nothing can read, may hold them too: it is deleted, and counts.
    Nothing to do is no error: an artist without works was never indexed. Raises IndexDamagedError where a
    version cannot be read, since it may hold the artist; IndexBusyError.
    """
    if not any(folder.glob("*/*")):
        return []  # never written; a build that was killed before its first manifest leaves segments
    with writer_lock(folder):
        outdated = drop_outdated(folder)
        eraser = _Eraser(folder, artist_id)
        rewritten = [number for version in list_versions(folder) if (number := eraser.rewrite(version))]
        prune_unlocked(folder)
        return sorted([*outdated, *rewritten])


class _Eraser:
    """Remembers what it rewrote, since versions share segments and rows."""

    def __init__(self, folder: Path, artist_id: str) -> None:
        self._folder = folder
        self._artist_id = artist_id
        self._rewritten: dict[tuple[str, frozenset[str]], str] = {}
        self._stranger_z: dict[bytes, NDArray[np.float64]] = {}

    def rewrite(self, version: IndexVersion) -> int | None:
        """Write the version without the artist; its number, or None where they are not in it."""
        files = VersionFiles(self._folder, version.space_id)
        opened = files.open_segments(version)
        partners = _partners(opened, self._artist_id)
        if partners is None:
            return None
        live = live_artists(files, version)
        strangers = files.read_strangers(version)
        refitted = fit_entries(
            [live[partner].styled() for partner in sorted(partners)], strangers=strangers, rule=version.rule
        )
        gone = partners | {self._artist_id}
        refs = [self._without(ref, segment, gone) for ref, segment in opened]
        segments = [ref for ref in refs if ref is not None]
        if refitted:
            segments.append(SegmentRef(write_segment(files.segments, refitted).name))
        staying = {name: place for name, place in live.items() if name not in gone}
        scale = self._scale(staying, refitted, strangers, version.rule)
        delta, entry = scale.thresholds(version.alpha)
        rewritten = replace(
            version,
            delta=delta,
            entry=entry,
            artists=len(staying) + len(refitted),
            works=sum(p.listed.works for p in staying.values()) + sum(len(e.work_sha256s) for e in refitted),
            segments=tuple(segments),
            scale_sha256=files.write_array(scale.max_z),
            redactions=version.redactions + 1,
        )
        write_manifest(self._folder, rewritten)
        return version.number

    def _without(self, ref: SegmentRef, segment: Segment, gone: set[str]) -> SegmentRef | None:
        """The segment rewritten without some artists; None where nobody live is left in it."""
        here = {artist.artist_id for artist in segment.artists}
        superseded = tuple(sorted(set(ref.superseded) - gone))
        if not here & gone:
            return ref
        if here - gone == set(superseded):
            return None
        key = (segment.name, frozenset(gone))
        if key not in self._rewritten:
            kept = write_segment(segment.folder, segment.entries(without=gone))
            self._rewritten[key] = kept.name
        return SegmentRef(self._rewritten[key], superseded)

    def _scale(
        self,
        staying: Mapping[str, LiveArtist],
        refitted: Sequence[ArtistEntry],
        strangers: Strangers,
        rule: OffsetRule,
    ) -> PanelScale:
        """The panel's maximum over who stays; an artist's part in it is computed once for all versions."""
        scale = PanelScale.of_nobody(strangers)
        for rows in [*(place.rows for place in staying.values()), *(entry.rows for entry in refitted)]:
            key = rows.tobytes()
            if key not in self._stranger_z:
                self._stranger_z[key] = stranger_affinity(rows, strangers, rule=rule)
            scale = scale.with_artist(self._stranger_z[key])
        return scale


def _partners(opened: Sequence[tuple[SegmentRef, Segment]], artist_id: str) -> set[str] | None:
    """Who ever shared a creator with the artist, directly or through others; None where they are not here.

    Superseded rows count: they too may have been fitted on the artist's works.
    """
    listed = [artist for _, segment in opened for artist in segment.artists]
    reached = {artist_id} & {artist.artist_id for artist in listed}
    if not reached:
        return None
    while True:
        creators = {artist.creator_id for artist in listed if artist.artist_id in reached}
        wider = {artist.artist_id for artist in listed if artist.creator_id in creators}
        if wider == reached:
            return reached - {artist_id}
        reached = wider
