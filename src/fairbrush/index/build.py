"""Building an index, and extending it: artists' raw vectors in, a published version out.

The one rule: ``extend_index`` gives what ``build_index`` of all the works would. So works are styled one
at a time, rounded to float32 as they are stored, and every centroid is fitted on the stored numbers of the
creator's pooled works, sorted by hash.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexUnusableError,
    VectorRefusedError,
)
from fairbrush.index.files import writer_lock
from fairbrush.index.segments import ArtistEntry, Segment, SegmentArtist, StoredWorks, pooled, write_segment
from fairbrush.index.versions import (
    IndexVersion,
    SegmentRef,
    VersionFiles,
    current_manifest,
    current_version,
    drop_outdated,
    next_number,
    publish,
    read_version,
)
from fairbrush.style.affinity import OffsetRule, PanelScale, stranger_affinity, style_rows
from fairbrush.style.centroids import fit_style
from fairbrush.style.space_file import encode_space
from fairbrush.style.strangers import encode_strangers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.style.space import StyleSpace
    from fairbrush.style.strangers import Strangers

ALPHA = 0.05
MOST_SEGMENTS = 16
REBUILD_STEP = "Rebuild: fairbrush index build"


@dataclass(frozen=True, eq=False)
class ArtistWorks:
    """What is indexed of an artist. vectors: raw float32 (n, dim), one a work, in the order of the hashes."""

    artist_id: str
    creator_id: str
    work_sha256s: Sequence[str]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StyledArtist:
    """An artist's works in style space, rounded as they are stored, sorted by hash."""

    artist_id: str
    creator_id: str
    stored: StoredWorks


def build_index(
    folder: Path,
    artists: Sequence[ArtistWorks],
    *,
    space: StyleSpace,
    strangers: Strangers,
    encoder_id: str,
    variant: str,
    alpha: float | None = None,
    rule: OffsetRule = OffsetRule.QUANTILE,
) -> IndexVersion:
    """Index these artists, and nobody else, in one segment; publish it and return the version.

    ``strangers``: the panel that ``space`` was fitted on; ``alpha``: the stated rate of false credit, the
    current version's where None, and else 5 %. Where the current version already is this index, it is
    returned and nothing is written. Versions of an earlier format go once this one is published.

    Raises VectorRefusedError, IndexUnusableError, IndexBusyError.
    """
    if not artists:
        raise IndexUnusableError(
            "An index needs at least one artist with works.", next_step="Add one: fairbrush artist add"
        )
    styled = style_artists(artists, space)
    files = VersionFiles(folder, space.space_id)
    with writer_lock(folder):
        entries = fit_entries(styled, strangers=strangers, rule=rule)
        segment = write_segment(files.segments, entries)
        scale = PanelScale.of_artists([entry.rows for entry in entries], strangers, rule=rule)
        parent = _readable_parent(folder)
        alpha = alpha or (parent.alpha if parent else ALPHA)
        delta, entry = scale.thresholds(alpha)
        version = IndexVersion(
            number=next_number(folder),
            parent=parent.number if parent else None,
            encoder_id=encoder_id,
            variants=(variant,),
            space_id=space.space_id,
            dim=len(space.centre),
            rule=rule,
            alpha=alpha,
            delta=delta,
            entry=entry,
            artists=len(entries),
            works=segment.n_works,
            segments=(SegmentRef(segment.name),),
            space_sha256=files.write_shared(encode_space(space), "npz"),
            panel_sha256=files.write_shared(encode_strangers(strangers), "npz"),
            panel_hands=strangers.n_hands,
            scale_sha256=files.write_array(scale.max_z),
        )
        if not (parent and parent.same_index(version)):
            parent = publish(folder, version)
        drop_outdated(folder)
        return parent


def extend_index(
    folder: Path,
    artists: Sequence[ArtistWorks],
    *,
    space: StyleSpace,
    encoder_id: str,
    variant: str,
) -> IndexVersion:
    """Add artists, or replace those whose works changed, in one more segment.

    ``artists``: the new and the changed ones, each with all their works. Others who share a creator with
    them are fitted again from what is stored. Where nothing changes, the current version is returned.
    Raises IndexMissingError, IndexMismatchError, IndexDamagedError, and what ``build_index`` raises.
    """
    styled = style_artists(artists, space)
    with writer_lock(folder):
        base = current_version(folder)
        files = VersionFiles(folder, base.space_id)
        require_encoder(base, encoder_id=encoder_id, variant=variant, dim=len(space.centre))
        if space.space_id != base.space_id:
            raise IndexMismatchError(
                f"Index {base.label} uses style space {base.space_id}, not {space.space_id}.",
                next_step=REBUILD_STEP,
            )
        live = live_artists(files, base)
        strangers = files.read_strangers(base)
        entries = _changed_entries(styled, live, strangers=strangers, rule=base.rule)
        if not entries:
            return base
        return publish(folder, _extended(folder, base, live, entries, strangers))


def require_encoder(version: IndexVersion, *, encoder_id: str, variant: str, dim: int) -> None:
    """Raises IndexMismatchError where an encoder's vectors cannot be compared with a version's."""
    what = None
    if version.dim != dim:
        what = f"has {version.dim} dims, encoder gives {dim}"
    elif version.encoder_id != encoder_id:
        what = f"was built with encoder {version.encoder_id}, not {encoder_id}"
    elif variant not in version.variants:
        what = f"serves variants {', '.join(version.variants)}, not {variant}"
    if what:
        raise IndexMismatchError(f"Index {version.label} {what}.", next_step=REBUILD_STEP)


def style_artists(artists: Sequence[ArtistWorks], space: StyleSpace) -> list[StyledArtist]:
    """Move raw vectors into style space. Raises VectorRefusedError, IndexUnusableError."""
    repeated = [artist_id for artist_id, n in Counter(a.artist_id for a in artists).items() if n > 1]
    if repeated:
        raise IndexUnusableError(
            f"Artist {repeated[0]} is given twice.", next_step="Give each artist once, with all their works."
        )
    return [_style_artist(artist, space) for artist in artists]


def _style_artist(artist: ArtistWorks, space: StyleSpace) -> StyledArtist:
    import numpy as np

    assert len(artist.work_sha256s) == len(artist.vectors), "one vector a work"
    if not artist.work_sha256s:
        raise IndexUnusableError(
            f"Artist {artist.artist_id} has no works to index.", next_step="Add works, or leave them out."
        )
    first_at: dict[str, int] = {}
    for position, sha256 in enumerate(artist.work_sha256s):
        first_at.setdefault(sha256, position)
    order = sorted(first_at)
    try:
        rows = style_rows(space, artist.vectors[[first_at[sha256] for sha256 in order]])
    except VectorRefusedError as refused:
        raise VectorRefusedError(
            f"Artist {artist.artist_id}: {refused.message}", next_step=refused.next_step
        ) from refused
    return StyledArtist(
        artist.artist_id, artist.creator_id, StoredWorks(tuple(order), rows.astype(np.float32))
    )


def fit_entries(
    artists: Iterable[StyledArtist], *, strangers: Strangers, rule: OffsetRule
) -> list[ArtistEntry]:
    """The rows of each artist, fitted on the pooled works of their creator; sorted by artist id.

    ``artists`` must hold every entry of each creator named.
    """
    import numpy as np

    by_creator: dict[str, list[StyledArtist]] = defaultdict(list)
    for artist in sorted(artists, key=lambda artist: artist.artist_id):
        by_creator[artist.creator_id].append(artist)
    entries = []
    for members in by_creator.values():
        works = pooled(member.stored for member in members).astype(np.float64)
        style = fit_style(works, strangers, rule=rule)
        offsets = np.full((len(style.centroids), 1), -style.h, np.float32)
        rows, q = np.hstack([style.centroids, offsets]), style.recognisability
        entries += [
            ArtistEntry(m.artist_id, m.creator_id, rows, q, m.stored.sha256s, m.stored.works) for m in members
        ]
    return sorted(entries, key=lambda entry: entry.artist_id)


@dataclass(frozen=True, eq=False)
class LiveArtist:
    """Where an artist of a version is stored, and their rows."""

    segment: Segment
    listed: SegmentArtist
    rows: NDArray[np.float32]

    def read(self) -> ArtistEntry:
        stored = self.segment.works_of(self.listed)
        return ArtistEntry(
            self.listed.artist_id,
            self.listed.creator_id,
            self.rows,
            self.listed.recognisability,
            stored.sha256s,
            stored.works,
        )

    def styled(self) -> StyledArtist:
        return StyledArtist(self.listed.artist_id, self.listed.creator_id, self.segment.works_of(self.listed))


def live_artists(files: VersionFiles, version: IndexVersion) -> dict[str, LiveArtist]:
    """The artists of a version by id. Raises IndexDamagedError."""
    live: dict[str, LiveArtist] = {}
    for ref, segment in files.open_segments(version):
        for listed, rows in zip(segment.artists, segment.rows_by_artist(), strict=True):
            if listed.artist_id not in ref.superseded:
                assert listed.artist_id not in live, f"{listed.artist_id} is live in two segments"
                live[listed.artist_id] = LiveArtist(segment, listed, rows)
    return live


def _changed_entries(
    styled: Sequence[StyledArtist],
    live: Mapping[str, LiveArtist],
    *,
    strangers: Strangers,
    rule: OffsetRule,
) -> list[ArtistEntry]:
    """The given artists, and those who share a creator with them, that are not stored as they now are."""
    given = {artist.artist_id: artist for artist in styled}
    creators = {artist.creator_id for artist in styled}
    # An artist who moved from one creator to another changes both creators' pools.
    creators |= {live[artist_id].listed.creator_id for artist_id in given if artist_id in live}
    partners = [
        place.styled()
        for artist_id, place in live.items()
        if artist_id not in given and place.listed.creator_id in creators
    ]
    entries = fit_entries([*styled, *partners], strangers=strangers, rule=rule)
    return [e for e in entries if e.artist_id not in live or not _same(e, live[e.artist_id].read())]


def _same(one: ArtistEntry, other: ArtistEntry) -> bool:
    return (
        one.creator_id == other.creator_id
        and one.work_sha256s == other.work_sha256s
        and one.rows.tobytes() == other.rows.tobytes()
        and one.works.tobytes() == other.works.tobytes()
    )


def _extended(
    folder: Path,
    base: IndexVersion,
    live: Mapping[str, LiveArtist],
    entries: Sequence[ArtistEntry],
    strangers: Strangers,
) -> IndexVersion:
    files = VersionFiles(folder, base.space_id)
    new_ids = {entry.artist_id for entry in entries}
    staying = {artist_id: place for artist_id, place in live.items() if artist_id not in new_ids}
    if len(staying) == len(live):
        scale = files.read_scale(base)
        for entry in entries:
            scale = scale.with_artist(stranger_affinity(entry.rows, strangers, rule=base.rule))
    else:  # a row left, and a maximum cannot forget
        rows = [place.rows for place in staying.values()] + [entry.rows for entry in entries]
        scale = PanelScale.of_artists(rows, strangers, rule=base.rule)
    delta, sharing = scale.thresholds(base.alpha)
    refs = [_without(ref, segment, new_ids) for ref, segment in files.open_segments(base)]
    kept = [ref for ref in refs if ref is not None]
    if len(kept) < MOST_SEGMENTS:
        segments = (*kept, SegmentRef(write_segment(files.segments, entries).name))
    else:
        everyone = [*(place.read() for place in staying.values()), *entries]
        segments = (SegmentRef(write_segment(files.segments, everyone).name),)
    works = sum(place.listed.works for place in staying.values()) + sum(len(e.work_sha256s) for e in entries)
    return replace(
        base,
        number=next_number(folder),
        parent=base.number,
        delta=delta,
        entry=sharing,
        artists=len(staying) + len(entries),
        works=works,
        segments=segments,
        scale_sha256=files.write_array(scale.max_z),
        redactions=0,
    )


def _without(ref: SegmentRef, segment: Segment, replaced: set[str]) -> SegmentRef | None:
    """The segment with more artists superseded; None where nobody is left in it."""
    here = {artist.artist_id for artist in segment.artists}
    superseded = set(ref.superseded) | (replaced & here)
    return SegmentRef(ref.name, tuple(sorted(superseded))) if superseded != here else None


def _readable_parent(folder: Path) -> IndexVersion | None:
    """The current version; None where there is none, or where a rebuild is the way out of its damage."""
    try:
        return read_version(current_manifest(folder))
    except (IndexMissingError, IndexDamagedError):
        return None
