"""From the registry to a published index version.

Enters: a workspace and an embedding session. Leaves: an ``IndexReport``. The rules: the database is held to
read the registry and while a version is published, so that nobody is erased between the two, and not while
images are embedded; an erased artist is never indexed; a work that cannot be embedded, or is no longer the
file that was registered, is left out and reported; the manifests are the truth, the database's row about
them is for reports.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.registry import ArtistEntry, list_artists
from fairbrush.corpus.works import list_works
from fairbrush.domain import Consent, EmbedOutcome, EmbedStatus, Work
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.erasing import drop_erased
from fairbrush.errors import IndexMismatchError
from fairbrush.index.build import ArtistWorks, build_index, extend_index, require_encoder
from fairbrush.index.clones import LookAlike, look_alikes
from fairbrush.index.distinctiveness import homecomings
from fairbrush.index.history import record_distinctiveness, record_versions
from fairbrush.index.search import open_index, works_by_artist
from fairbrush.index.versions import IndexVersion, manifest_files
from fairbrush.store import DEFAULT_WAIT_S, Store
from fairbrush.style.panel import Panel, bundled_panel, fit_panel
from fairbrush.workspace import INDEXES

if TYPE_CHECKING:
    from fairbrush.embedding.session import EmbeddingSession


CHANGED = "the file was changed since it was registered"


@dataclass(frozen=True)
class LeftOut:
    """What is registered and not indexed. ``path`` is None for an artist without any usable work."""

    artist_id: str
    name: str
    path: Path | None
    reason: str


@dataclass(frozen=True)
class IndexReport:
    """``changed``: the artists that are new or different in this version. ``look_alikes``: pairs in it."""

    version: IndexVersion
    is_new: bool
    changed: int
    left_out: tuple[LeftOut, ...]
    look_alikes: tuple[LookAlike, ...] = ()


def build_workspace_index(
    workspace: Path,
    session: EmbeddingSession,
    *,
    wait_s: float = DEFAULT_WAIT_S,
    panel: Panel | None = None,
    alpha: float | None = None,
    on_outcome: Callable[[EmbedOutcome], None] = lambda _: None,
) -> IndexReport:
    """Index every registered artist anew; ``alpha``: see ``build_index``.

    Raises PanelError, IndexUnusableError, CacheError.
    """
    registered = _registered(workspace, wait_s)
    artists, left_out = _embedded_artists(registered, session, on_outcome)
    fitted = fit_panel(session, panel or bundled_panel())
    strangers = fitted.strangers()
    folder = workspace / INDEXES
    with open_registry(workspace, wait_s=wait_s) as store:
        staying = _still_registered(store, registered, artists, session)
        before = manifest_files(folder)
        version = build_index(
            folder,
            staying,
            space=fitted.space,
            strangers=strangers,
            alpha=alpha,
            encoder_id=session.encoder.encoder_id,
            variant=session.encoder.variant,
        )
        record_versions(store, [version])
        # after it: where an older version is damaged, this one is the way out
        drop_erased(store, session.cache_folder)
        pairs = _measure(store, folder)
    is_new = version.number not in before
    return IndexReport(version, is_new, len(staying) if is_new else 0, tuple(left_out), pairs)


def extend_workspace_index(
    workspace: Path,
    session: EmbeddingSession,
    *,
    wait_s: float = DEFAULT_WAIT_S,
    panel: Panel | None = None,
    on_outcome: Callable[[EmbedOutcome], None] = lambda _: None,
) -> IndexReport:
    """Index the artists that are new, or whose works or creator changed, in one more segment.

    Raises IndexMissingError, IndexMismatchError, and what ``build_workspace_index`` raises.
    """
    folder = workspace / INDEXES
    with open_registry(workspace, wait_s=wait_s) as store:
        drop_erased(store, session.cache_folder)
    index = open_index(folder)
    encoder = session.encoder
    require_encoder(index.manifest, encoder_id=encoder.encoder_id, variant=encoder.variant, dim=encoder.dim)
    indexed = works_by_artist(index)
    registered = _registered(workspace, wait_s)
    artists, left_out = _embedded_artists(registered, session, on_outcome)
    gone = sorted(set(indexed) - {artist.artist_id for artist in artists})
    if gone:
        raise IndexMismatchError(
            f"Index {index.version} holds {len(gone)} artists that have no usable works any more.",
            next_step="Build it again without them: fairbrush index build",
        )
    changed = [
        artist
        for artist in artists
        if artist.artist_id not in indexed
        or sorted(artist.work_sha256s) != sorted(indexed[artist.artist_id])
        or artist.creator_id != index.creator_of(artist.artist_id)
    ]
    space = fit_panel(session, panel or bundled_panel()).space
    with open_registry(workspace, wait_s=wait_s) as store:
        staying = _still_registered(store, registered, changed, session)
        before = manifest_files(folder)
        version = extend_index(
            folder,
            staying,
            space=space,
            encoder_id=encoder.encoder_id,
            variant=encoder.variant,
        )
        record_versions(store, [version])
        pairs = _measure(store, folder)
    is_new = version.number not in before
    return IndexReport(version, is_new, len(staying) if is_new else 0, tuple(left_out), pairs)


def _measure(store: Store, folder: Path) -> tuple[LookAlike, ...]:
    """Keep how distinct each artist of the version just published is; who looks like whom."""
    index = open_index(folder)
    homes = list(homecomings(index))
    record_distinctiveness(store, index, homes)
    return tuple(look_alikes(index, homes))


@dataclass(frozen=True)
class _Registered:
    """Who may be indexed, and every work by artist."""

    entries: tuple[ArtistEntry, ...]
    works: Mapping[str, Sequence[Work]]


def _registered(workspace: Path, wait_s: float) -> _Registered:
    with open_registry(workspace, readonly=True, wait_s=wait_s) as store:
        entries = tuple(e for e in list_artists(store) if e.artist.consent is not Consent.ERASED)
        works: dict[str, list[Work]] = defaultdict(list)
        for work in list_works(store):
            works[work.artist_id].append(work)
    return _Registered(entries, works)


def _still_registered(
    store: Store, registered: _Registered, artists: Sequence[ArtistWorks], session: EmbeddingSession
) -> list[ArtistWorks]:
    """Without whom somebody erased while images were embedded; what was embedded of them goes too."""
    erased = {e.artist.artist_id for e in list_artists(store) if e.artist.consent is Consent.ERASED}
    embedded = {work.sha256 for artist_id in erased for work in registered.works.get(artist_id, ())}
    if left := embedded - {work.sha256 for work in list_works(store)}:
        with EmbeddingCache.open(session.cache_folder) as cache:
            cache.forget(sorted(left))
    return [artist for artist in artists if artist.artist_id not in erased]


def _embedded_artists(
    registered: _Registered, session: EmbeddingSession, on_outcome: Callable[[EmbedOutcome], None]
) -> tuple[list[ArtistWorks], list[LeftOut]]:
    """Every artist that may be indexed, with the vectors of its works."""
    import numpy as np

    entries, works = registered.entries, registered.works
    wanted = [work for entry in entries for work in works.get(entry.artist.artist_id, ())]
    problems = _embed(session, wanted, on_outcome)
    vectors = session.space.get_many(sorted({work.sha256 for work in wanted}))
    artists: list[ArtistWorks] = []
    left_out: list[LeftOut] = []
    for entry in entries:
        artist = entry.artist
        own = sorted(works.get(artist.artist_id, ()), key=lambda work: work.sha256)
        usable = [work.sha256 for work in own if work.sha256 in vectors]
        left_out += [
            LeftOut(
                artist.artist_id, artist.name, work.path, problems.get(work.sha256, "its vector is missing")
            )
            for work in own
            if work.sha256 not in vectors
        ]
        if usable:
            stacked = np.stack([vectors[sha256][0] for sha256 in usable])
            artists.append(ArtistWorks(artist.artist_id, artist.creator_id, usable, stacked))
        else:
            left_out.append(LeftOut(artist.artist_id, artist.name, None, "no usable works"))
    return artists, left_out


def _embed(
    session: EmbeddingSession, works: list[Work], on_outcome: Callable[[EmbedOutcome], None]
) -> dict[str, str]:
    """Embed what is missing; what went wrong by SHA-256, though another file may have served that work."""
    missing = set(session.space.missing([work.sha256 for work in works]))
    promised: dict[Path, set[str]] = defaultdict(set)  # a file that was registered, changed and registered
    for work in works:
        if work.sha256 in missing:
            promised[work.path].add(work.sha256)
    problems: dict[str, str] = {}
    for outcome in session.embed(list(promised)):
        on_outcome(outcome)
        is_failed = outcome.status is EmbedStatus.FAILED
        problem = f"{outcome.reason}: {outcome.detail}" if is_failed else CHANGED
        problems |= dict.fromkeys(promised[outcome.path] - {outcome.sha256}, problem)
        if is_failed and outcome.sha256:
            problems[outcome.sha256] = problem
    return problems
