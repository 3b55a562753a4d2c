"""Clones in a workspace: works that several artists have, and artists whose works cannot be told apart.

Enters: a workspace. Leaves: ``ClonePair``s with their evidence, and what there is to say of a newcomer. The
rules: a copy is told from thumbnails alone, so it is found before anything is embedded or indexed; nothing
is decided here, a pair is for a person to look at; entries of one creator may share works.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.likeness import (
    Likeness,
    Match,
    Outlines,
    Picture,
    compare,
    outline_turns,
)
from fairbrush.corpus.registry import ArtistEntry, list_artists
from fairbrush.corpus.works import thumbnail_path
from fairbrush.domain import Work
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.errors import IndexMissingError
from fairbrush.index.build import require_encoder
from fairbrush.index.clones import HALF, LookAlike, close_pairs, look_alikes
from fairbrush.index.distinctiveness import Hands, Share, come_home, homecomings
from fairbrush.index.search import StyleIndex, open_index
from fairbrush.style.affinity import style_rows
from fairbrush.style.centroids import FEWEST_WORKS, fit_style, own_affinities
from fairbrush.workspace import INDEXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.embedding.session import EmbeddingSession

MOST_NEW = 500  # works compared as they are added; more are left to ``find_clones``
MOST_JUDGED = 32  # works of a newcomer that are embedded to judge the style
LIKE_OUTLINE = 0.85
LIKE_STYLE = 0.8
_KEPT_PICTURES = 32  # of up to 3 MB each


@dataclass(frozen=True)
class CopiedWork:
    """A work of one artist and a work of another that are one picture."""

    work: Work
    other: Work
    likeness: Likeness
    similarity: float


@dataclass(frozen=True)
class ClonePair:
    """Two artists, the one who was registered first as ``one``, and why they are named together.

    Either ``copies`` (best first) or ``look_alike``. Where ``same_creator``, the copies are harmless.
    """

    one: ArtistEntry
    other: ArtistEntry
    copies: tuple[CopiedWork, ...] = ()
    look_alike: LookAlike | None = None

    @property
    def same_creator(self) -> bool:
        return self.one.artist.creator_id == self.other.artist.creator_id

    @property
    def similarity(self) -> float:
        return self.look_alike.similarity if self.look_alike else self.copies[0].similarity


@dataclass(frozen=True)
class FoundClones:
    """``index_version``: where look-alikes were looked for; None where there is no index yet."""

    pairs: tuple[ClonePair, ...]
    index_version: str | None


@dataclass(frozen=True)
class Resemblance:
    """Works of a newcomer for which a registered artist would be credited, and no less."""

    artist_id: str
    taken: Share


class _Listed(NamedTuple):
    """A row of ``work``, cheap by the ten thousand. ``outline`` is empty where there is none."""

    sha256: str
    artist_id: str
    path: str
    creator_id: str
    outline: bytes


@dataclass(frozen=True)
class _Known:
    """Everybody and everything registered; works by path."""

    workspace: Path
    artists: Mapping[str, ArtistEntry]
    works: Sequence[_Listed]

    def work(self, listed: _Listed) -> Work:
        return Work(listed.sha256, listed.artist_id, self.workspace / listed.path)


def keep_outlines(workspace: Path, *, wait_s: float) -> None:
    """Store the outline of every work that has none yet; the database is not held while they are made.

    3 to 5 ms a work, once. Raises DatabaseBusyError, StoreError.
    """
    query = "SELECT DISTINCT sha256 FROM work WHERE outline IS NULL ORDER BY sha256"
    with open_registry(workspace, readonly=True, wait_s=wait_s) as store:
        missing = [sha256 for (sha256,) in store.connection.execute(query).fetchall()]
    if not missing:
        return
    pictures = (Picture.of_thumbnail(thumbnail_path(workspace, sha256)) for sha256 in missing)
    outlines = [b"" if picture is None else picture.outline for picture in pictures]
    with open_registry(workspace, wait_s=wait_s) as store, store.transaction() as connection:
        connection.execute(
            "UPDATE work SET outline = made.outline"
            " FROM (SELECT unnest(?::VARCHAR[]) AS sha256, unnest(?::BLOB[]) AS outline) AS made"
            " WHERE work.sha256 = made.sha256",
            [missing, outlines],
        )


def copies_of_new(workspace: Path, new: Mapping[str, Collection[str]], *, wait_s: float) -> list[CopiedWork]:
    """Which new works are pictures that another creator has; the best match of each.

    new: SHA-256s by artist id. Same files are left out: whoever records works reports them. Raises
    DatabaseBusyError, StoreError.
    """
    keep_outlines(workspace, wait_s=wait_s)
    known = _known(workspace, wait_s)
    compared = [listed for listed in known.works if listed.outline]
    proposer = Outlines([listed.outline for listed in compared])
    picture = _pictures(workspace)
    found = []
    for listed in known.works:
        image = picture(listed.sha256) if listed.sha256 in new.get(listed.artist_id, ()) else None
        if image is None:
            continue
        same_hand = [row for row, other in enumerate(compared) if other.creator_id == listed.creator_id]
        matches = []
        for row in proposer.propose(image, leave_out=same_hand):
            other = compared[row]
            another = picture(other.sha256)
            if other.sha256 != listed.sha256 and another and (match := compare(image, another)):
                matches.append(
                    CopiedWork(known.work(listed), known.work(other), match.likeness, match.similarity)
                )
        found += sorted(matches, key=lambda copy: -copy.similarity)[:1]
    return found


def resembled(
    workspace: Path, artist_id: str, open_session: Callable[[], EmbeddingSession], *, wait_s: float
) -> list[Resemblance]:
    """Whose style the works of a new artist cannot be told from; the most alike first.

    Embeds at most ``MOST_JUDGED`` works of the artist's creator, which stay in the cache. Nothing can be said
    without an index, or with too few works; no encoder is opened then. Raises IndexMismatchError,
    IndexDamagedError, CacheError, and what ``open_session`` raises.
    """
    known = _known(workspace, wait_s)
    creator_id = known.artists[artist_id].artist.creator_id
    own = {one.sha256: known.work(one).path for one in known.works if one.creator_id == creator_id}
    if len(own) < FEWEST_WORKS:
        return []
    try:
        index = open_index(workspace / INDEXES)
    except IndexMissingError:
        return []
    session = open_session()
    encoder = session.encoder
    require_encoder(index.manifest, encoder_id=encoder.encoder_id, variant=encoder.variant, dim=encoder.dim)
    judged = sorted(own)[:MOST_JUDGED]
    with session:
        for _ in session.embed([own[sha256] for sha256 in judged]):
            pass
        vectors = session.space.get_many(judged)
    _forget_erased(workspace, judged, session.cache_folder, wait_s)
    return _resemblances(index, creator_id, vectors)


def _forget_erased(workspace: Path, embedded: Sequence[str], cache_folder: Path, wait_s: float) -> None:
    """Drop the vectors of works that somebody erased while they were embedded."""
    registered = {listed.sha256 for listed in _known(workspace, wait_s).works}
    if gone := [sha256 for sha256 in embedded if sha256 not in registered]:
        with EmbeddingCache.open(cache_folder) as cache:
            cache.forget(gone)


def find_clones(workspace: Path, *, wait_s: float, artist_id: str | None = None) -> FoundClones:
    """Every pair of artists with a reason to look at both; or only those that an artist is in.

    Copies first, then look-alikes. Raises IndexDamagedError, DatabaseBusyError, StoreError.
    """
    keep_outlines(workspace, wait_s=wait_s)
    known = _known(workspace, wait_s)
    try:
        index = open_index(workspace / INDEXES)
    except IndexMissingError:
        index = None
    pairs = _copy_pairs(workspace, known, index)
    if index is not None:
        pairs += _look_alike_pairs(known, index)
    if artist_id is not None:
        asked = known.artists[artist_id].artist
        pairs = [pair for pair in pairs if _concerns(pair, asked.artist_id, asked.creator_id)]
    return FoundClones(tuple(pairs), index.version if index else None)


def _concerns(pair: ClonePair, artist_id: str, creator_id: str) -> bool:
    """A style is its creator's, a copy the artist's."""
    both = (pair.one.artist, pair.other.artist)
    if pair.look_alike:
        return creator_id in [artist.creator_id for artist in both]
    return artist_id in [artist.artist_id for artist in both]


def _known(workspace: Path, wait_s: float) -> _Known:
    query = """
        SELECT sha256, artist_id, path, creator_id, coalesce(outline, ''::BLOB)
        FROM work JOIN artist USING (artist_id) ORDER BY path, sha256, artist_id
    """
    with open_registry(workspace, readonly=True, wait_s=wait_s) as store:
        artists = {entry.artist.artist_id: entry for entry in list_artists(store)}
        return _Known(
            workspace, artists, [_Listed(*row) for row in store.connection.execute(query).fetchall()]
        )


def _pictures(workspace: Path) -> Callable[[str], Picture | None]:
    """Reads works' thumbnails by SHA-256; the latest are kept."""

    @lru_cache(_KEPT_PICTURES)
    def read(sha256: str) -> Picture | None:
        return Picture.of_thumbnail(thumbnail_path(workspace, sha256))

    return read


def _resemblances(
    index: StyleIndex, creator_id: str, vectors: Mapping[str, NDArray[np.float32]]
) -> list[Resemblance]:
    import numpy as np

    if len(vectors) < FEWEST_WORKS:
        return []
    rows = style_rows(index.space, np.concatenate([vectors[sha256] for sha256 in sorted(vectors)]))
    works = rows.astype(np.float32)
    wide, rule = works.astype(np.float64), index.manifest.rule
    style = fit_style(wide, index.strangers, rule=rule)
    own_z = own_affinities(wide, index.strangers, count=len(style.centroids), h=style.h, rule=rule)
    hands = Hands.of_index(index)
    home = come_home(works, own_z, hands, creator_id=creator_id, artist_ids=())
    alike = [
        Resemblance(hands.entries[other][0], home.taken_for(other))
        for other in home.taken
        if home.taken_for(other).fraction >= HALF
    ]
    return sorted(alike, key=lambda one: (-one.taken.k, one.artist_id))


def _copy_pairs(workspace: Path, known: _Known, index: StyleIndex | None) -> list[ClonePair]:
    """Pairs of artists with copied works; the ones with most copies first, one creator's last."""
    by_artists: dict[tuple[str, str], set[CopiedWork]] = defaultdict(set)
    works_of: dict[str, list[Work]] = defaultdict(list)
    for listed in known.works:
        works_of[listed.sha256].append(known.work(listed))
    for (one, other), match in _same_pictures(workspace, known, index):
        for work in works_of[one]:
            for another in works_of[other]:
                first, second = _in_order(known, work, another)
                if first.artist_id != second.artist_id:
                    by_artists[first.artist_id, second.artist_id].add(
                        CopiedWork(first, second, match.likeness, match.similarity)
                    )
    pairs = [
        ClonePair(
            known.artists[one],
            known.artists[other],
            tuple(sorted(copies, key=lambda copy: (-copy.similarity, copy.work.sha256, copy.other.sha256))),
        )
        for (one, other), copies in by_artists.items()
    ]
    return sorted(
        pairs,
        key=lambda p: (p.same_creator, -len(p.copies), p.one.artist.artist_id, p.other.artist.artist_id),
    )


def _in_order(known: _Known, work: Work, another: Work) -> tuple[Work, Work]:
    """The work of the artist who was registered first, first."""
    first, second = sorted(
        (work, another), key=lambda one: (known.artists[one.artist_id].added, one.artist_id)
    )
    return first, second


def _same_pictures(
    workspace: Path, known: _Known, index: StyleIndex | None
) -> Iterator[tuple[tuple[str, str], Match]]:
    """Files of several artists, and pairs of different files that are one picture, by SHA-256."""
    owners: dict[str, set[str]] = defaultdict(set)
    for work in known.works:
        owners[work.sha256].add(work.artist_id)
    for sha256, artist_ids in owners.items():
        if len(artist_ids) > 1:
            yield (sha256, sha256), Match(Likeness.SAME_FILE, 1.0)
    picture = _pictures(workspace)
    for one, other in sorted(_alike_in_outline(known, owners) | _alike_in_style(known, index, owners)):
        first, second = picture(one), picture(other)
        if first and second and (match := compare(first, second)):
            yield (one, other), match


def _alike_in_outline(known: _Known, owners: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Pairs of files with one outline in some orientation."""
    outlines = {listed.sha256: listed.outline for listed in known.works if listed.outline}
    names = sorted(outlines)
    directions = Outlines([outlines[sha256] for sha256 in names]).directions
    groups = [_group(owners[sha256]) for sha256 in names]
    close = close_pairs(directions, groups, floor=LIKE_OUTLINE, turns=outline_turns()[1:])
    return {(names[one], names[other]) for one, other, _ in close}


def _alike_in_style(
    known: _Known, index: StyleIndex | None, owners: Mapping[str, set[str]]
) -> set[tuple[str, str]]:
    """Pairs of files that lie close together in style space, as cropped ones do."""
    import numpy as np

    if index is None or not index.artist_ids:
        return set()
    stored = [index.stored_works(artist_id) for artist_id in index.artist_ids]
    names = [sha256 for works in stored for sha256 in works.sha256s]
    rows = np.concatenate([works.works for works in stored])
    groups = [_group(owners.get(sha256, set())) for sha256 in names]
    close = close_pairs(rows, groups, floor=LIKE_STYLE)
    named = {tuple(sorted((names[one], names[other]))) for one, other, _ in close}
    return {(one, other) for one, other in named if one != other and {one, other} <= owners.keys()}


def _group(artist_ids: Collection[str]) -> str:
    """Files of the very same artists need no comparison."""
    return " ".join(sorted(artist_ids))


def _look_alike_pairs(known: _Known, index: StyleIndex) -> list[ClonePair]:
    entry_of = {creator_id: ids[0] for creator_id, ids in Hands.of_index(index).entries.items()}
    pairs = []
    for alike in look_alikes(index, homecomings(index)):
        both = [known.artists.get(entry_of[creator_id]) for creator_id in (alike.one, alike.other)]
        if both[0] and both[1]:
            pairs.append(ClonePair(both[0], both[1], look_alike=alike))
    return pairs
