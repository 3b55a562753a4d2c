"""The whole main job on the bundled gallery: a workspace, an index, and attributed images.

Enters: a folder. Leaves: a workspace in it, the images asked about, and a ``DemoReport``. The rules: the
queries are taken by rule (the first held-out works of each artist), never picked by their answers; every
figure of the report is counted from these answers; a run that was interrupted is gone on with.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.accuracy.mixtures import SIDE, blended, side_by_side
from fairbrush.attribution import Attribution
from fairbrush.config import Settings, load_settings
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.images import decoding_workers, image_limits
from fairbrush.corpus.registry import list_artists
from fairbrush.corpus.roster_file import Roster, read_roster
from fairbrush.corpus.roster_import import import_roster
from fairbrush.corpus.works import prepare_works
from fairbrush.domain import EmbedOutcome
from fairbrush.durable import DRAFT_PREFIX, write_durably
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import AttributionError, WorkspaceError
from fairbrush.index.search import open_index
from fairbrush.indexing import IndexReport, build_workspace_index
from fairbrush.lookup import Lookup
from fairbrush.reports.recorded import drain_records
from fairbrush.reports.sql import run_read_only
from fairbrush.store import DATABASE_NAME
from fairbrush.style.panel import bundled_panel
from fairbrush.workspace import INDEXES, create_workspace

if TYPE_CHECKING:
    from PIL import Image

Mix = Callable[["Sequence[Image.Image]", Sequence[float]], "Image.Image"]
SCHEMA = "fairbrush.demo_state/1"
MARK = "demo.json"
GALLERY = Path(__file__).parent / "data" / "gallery"
# A hand anybody recognises, safety signs, with a look-alike among the others, road signs: what does the
# look-alike get when the real one is missing?
LEFT_OUT = "Yves Guillou"
LEFT_OUT_FOLDER = "left-out"
QUERIES = "queries"
MIXED_HANDS = ("Danny Allen", "John Cliff")
UNKNOWN_QUERIES = 4
HALVES = (0.5, 0.5)
TOP_ARTISTS = 5
TOP_ARTISTS_QUERY = "SELECT * FROM top_artists"


class QueryKind(StrEnum):
    SINGLE = "single"
    MIXED = "mixed"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """How an answer fits what is known of the image.

    ``RIGHT``: the largest shares went to the hands that drew it; where these are unknown, to nobody.
    ``PARTLY``: to one of the two. ``MISSED``: to nobody. ``WRONG``: to others.
    """

    RIGHT = "right"
    PARTLY = "partly"
    MISSED = "missed"
    WRONG = "wrong"


@dataclass(frozen=True)
class DemoQuery:
    """One image that is asked about, and whose hands are in it."""

    kind: QueryKind
    path: Path
    drawn_by: tuple[str, ...]


@dataclass(frozen=True)
class DemoAnswer:
    query: DemoQuery
    attribution: Attribution
    verdict: Verdict


@dataclass(frozen=True)
class DemoStep:
    """A step that is done, in words, and how long it took."""

    name: str
    detail: str
    elapsed_s: float


@dataclass(frozen=True)
class Tally:
    """How the answers of one kind came out."""

    asked: int
    verdicts: Mapping[Verdict, int]

    def __getitem__(self, verdict: Verdict) -> int:
        return self.verdicts.get(verdict, 0)


@dataclass(frozen=True)
class DemoReport:
    """``left_out_is_known``: somebody registered the unknown artist since, as the demo proposes.

    ``told_apart``: how many of the indexed artists are recognisable above the threshold.
    """

    workspace: Path
    steps: tuple[DemoStep, ...]
    index: IndexReport
    alpha: float
    told_apart: int
    answers: tuple[DemoAnswer, ...]
    left_out_is_known: bool
    top_columns: tuple[str, ...]
    top_rows: tuple[tuple[Any, ...], ...]

    def tally(self, kind: QueryKind) -> Tally:
        verdicts = [answer.verdict for answer in self.answers if answer.query.kind is kind]
        return Tally(len(verdicts), {verdict: verdicts.count(verdict) for verdict in Verdict})


@dataclass(frozen=True)
class Watcher:
    """Whom a run tells: of each step that is done, and of what it is at now."""

    step: Callable[[DemoStep], None] = lambda _: None
    busy: Callable[[str], None] = lambda _: None


def run_demo(folder: Path, watcher: Watcher | None = None) -> DemoReport:
    """Do the main job in ``folder``. Raises WorkspaceError for a folder that is somebody else's.

    Raises also what making a workspace, embedding, indexing and looking up raise.
    """
    watcher = watcher or Watcher()
    steps: list[DemoStep] = []

    @contextmanager
    def step(name: str, doing: str) -> Iterator[Callable[[str], None]]:
        started = time.monotonic()
        watcher.busy(doing)
        said: list[str] = []
        yield said.append
        steps.append(DemoStep(name, said[-1], time.monotonic() - started))
        watcher.step(steps[-1])

    references = _gallery_part("references")
    claim_folder(folder)
    with step("workspace", "making the workspace") as done:
        is_new = create_workspace(folder)
        settings = load_settings(workspace=folder)
        done(f"{'made' if is_new else 'there already'}: {folder}, encoder {settings.encoder}")
    with step("artists", "reading the artists' works") as done:
        done(_import_artists(settings, folder, references))
    with step("queries", "preparing the images to ask about") as done:
        queries = prepare_queries(folder, references)
        done(f"{len(queries)} images that no index has seen, in {folder / QUERIES}")
    with step("index", "embedding") as done:
        built, on_device = _build_index(settings, folder, watcher)
        done(
            f"{built.version.label}: {built.version.artists} artists, {built.version.works} works,"
            f" {len(bundled_panel().works)} background works, on {on_device}"
        )
    with step("answers", "attributing") as done:
        answers = _attribute(settings, queries)
        done(f"{len(answers)} images attributed")
    with step("records", "recording") as done:
        drained = drain_records(folder, wait_s=settings.database_wait_s)
        done(f"{drained.recorded} new in {DATABASE_NAME}, {drained.repeated} there already")
    top = run_read_only(folder / DATABASE_NAME, TOP_ARTISTS_QUERY, limit=TOP_ARTISTS)
    index = open_index(folder / INDEXES)
    recognisable = [index.recognisability(artist_id) for artist_id in index.artist_ids]
    return DemoReport(
        workspace=folder,
        steps=tuple(steps),
        index=built,
        alpha=index.manifest.alpha,
        told_apart=sum(q is not None and q > index.delta for q in recognisable),
        answers=tuple(answers),
        left_out_is_known=_is_registered(settings, folder, LEFT_OUT),
        top_columns=top.columns,
        top_rows=tuple(top.rows),
    )


def claim_folder(folder: Path) -> None:
    """Mark a folder as a demo's: a new or empty one, or one that is. Raises WorkspaceError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MARK).exists():
            _read_state(folder)
            return
        # what a killed writer of the mark left behind is ours
        drafts = set(folder.glob(f"{DRAFT_PREFIX}*-{MARK}"))
        others = [entry.name for entry in folder.iterdir() if entry not in drafts]
        if others:
            raise WorkspaceError(
                f"{folder} is not empty and holds no demo: {', '.join(sorted(others)[:3])}.",
                next_step="Name a folder that is empty or does not exist: fairbrush demo DIR",
            )
        _write_state(folder, imported=False)
    except OSError as error:
        raise WorkspaceError(
            f"No demo can be made in {folder}: {error.strerror or error}.",
            next_step="Choose another folder: fairbrush demo DIR",
        ) from error


def _read_state(folder: Path) -> Mapping[str, Any]:
    try:
        state = json.loads((folder / MARK).read_bytes())
        if state["schema"] == SCHEMA and isinstance(state["imported"], bool):
            return dict(state)
    except (ValueError, KeyError, TypeError):
        pass  # somebody else's file of the same name
    raise WorkspaceError(
        f"{folder / MARK} is not what a demo writes.",
        next_step="Name a folder that is empty or does not exist: fairbrush demo DIR",
    )


def _write_state(folder: Path, *, imported: bool) -> None:
    state = {"schema": SCHEMA, "imported": imported, "left_out": LEFT_OUT}
    write_durably(folder / MARK, json.dumps(state, indent=1).encode() + b"\n")


def _gallery_part(part: str) -> Path:
    if not (GALLERY / part).is_dir():
        raise WorkspaceError(
            f"The bundled gallery is not in {GALLERY}.",
            next_step="Reinstall fairbrush: pip install --force-reinstall --no-deps fairbrush",
        )
    return GALLERY / part


def _import_artists(settings: Settings, folder: Path, references: Path) -> str:
    """Register the gallery once: what its user changes afterwards (consent, erasures) stays."""
    if _read_state(folder)["imported"]:
        with open_registry(folder, readonly=True, wait_s=settings.database_wait_s) as store:
            entries = [entry for entry in list_artists(store) if entry.artist.name]
        return f"{len(entries)} artists with {sum(e.n_works for e in entries)} works, there already"
    roster = read_roster(references)
    rows = [row for row in roster.rows if row.name != LEFT_OUT]
    limits = image_limits(settings)
    workers = decoding_workers(settings)
    prepared = prepare_works([row.works for row in rows], folder, limits, workers=workers)
    works = {row.name: one for row, one in zip(rows, prepared, strict=True)}
    with open_registry(folder, wait_s=settings.database_wait_s) as store:
        import_roster(store, Roster(rows, roster.refused), works)
    _write_state(folder, imported=True)
    n_works = sum(len(one.works) for one in prepared)
    return f"{len(rows)} of the gallery's artists with {n_works} works; {LEFT_OUT} is left out"


def prepare_queries(folder: Path, references: Path) -> list[DemoQuery]:
    """Put the images to ask about, and the left-out artist's works, under the demo's folder.

    Of each artist the first held-out work, in the order of their numbers; then the mixtures; then the first
    works of the artist nobody registered.
    """
    held_out = _gallery_part("queries")
    target = folder / QUERIES
    try:
        target.mkdir(exist_ok=True)
        names = sorted(artist.name for artist in held_out.iterdir() if artist.is_dir())
        first = {name: sorted((held_out / name).glob("*.webp")) for name in names}
        queries = [
            DemoQuery(QueryKind.SINGLE, _copied(first[name][0], target / f"{_slug(name)}.webp"), (name,))
            for name in names
            if name != LEFT_OUT
        ]
        one, other = (first[name][0] for name in MIXED_HANDS)
        for way, mix in MIXTURES.items():
            path = target / f"mixed-{way}.png"
            _write_if_new(path, mixed_png(one, other, mix))
            queries.append(DemoQuery(QueryKind.MIXED, path, MIXED_HANDS))
        for number, work in enumerate(first[LEFT_OUT][:UNKNOWN_QUERIES], start=1):
            path = _copied(work, target / f"unknown-{number}.webp")
            queries.append(DemoQuery(QueryKind.UNKNOWN, path, (LEFT_OUT,)))
        own = folder / LEFT_OUT_FOLDER
        own.mkdir(exist_ok=True)
        for work in sorted((references / LEFT_OUT).glob("*.webp")):
            _copied(work, own / work.name)
    except OSError as error:
        raise WorkspaceError(
            f"{folder} cannot be written: {error.strerror or error}.",
            next_step=f"Check the disk's space and permissions, then again: fairbrush demo {folder}",
        ) from error
    return queries


def inset(works: Sequence[Image.Image], _weights: Sequence[float]) -> Image.Image:
    """The second, small, in the lower right corner of the first."""
    one, other = works
    canvas, small = one.copy(), SIDE * 2 // 5
    canvas.paste(other.resize((small, small)), (SIDE - small, SIDE - small))
    return canvas


MIXTURES: Mapping[str, Mix] = {"side-by-side": side_by_side, "inset": inset, "overlay": blended}


def mixed_png(one: Path, other: Path, mix: Mix) -> bytes:
    """Two works as one PNG; the same works give the same bytes."""
    import io

    from PIL import Image

    opened = []
    for path in (one, other):
        with Image.open(path) as image:
            opened.append(image.convert("RGB").resize((SIDE, SIDE)))
    stream = io.BytesIO()
    mix(opened, HALVES).save(stream, "PNG")
    return stream.getvalue()


def _copied(source: Path, target: Path) -> Path:
    _write_if_new(target, source.read_bytes())
    return target


def _write_if_new(file: Path, content: bytes) -> None:
    """Whole or not at all; a file that is what it should be is left alone."""
    if not file.exists() or hashlib.sha256(file.read_bytes()).digest() != hashlib.sha256(content).digest():
        write_durably(file, content)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def _build_index(settings: Settings, folder: Path, watcher: Watcher) -> tuple[IndexReport, str]:
    seen = 0

    def count(_: EmbedOutcome) -> None:
        nonlocal seen
        seen += 1
        watcher.busy(f"embedding: {seen} works are done")

    with EmbeddingSession.open(settings) as session:
        built = build_workspace_index(folder, session, wait_s=settings.database_wait_s, on_outcome=count)
        return built, session.encoder.device


def _attribute(settings: Settings, queries: Sequence[DemoQuery]) -> list[DemoAnswer]:
    with Lookup(settings) as lookup:
        found = list(lookup.attribute([query.path for query in queries]))
        eligible = lookup.eligibility.eligible(lookup.model)
        known = {lookup.eligibility.artists[artist_id].name for artist_id in eligible}
    answers = []
    for query, answer in zip(queries, found, strict=True):
        if answer.attribution is None:
            raise AttributionError(
                f"{query.path}: {answer.reason}. {answer.detail}",
                next_step=f"Delete the file and run again: fairbrush demo {settings.workspace}",
            )
        credited = [one.artist.name for one in answer.attribution.artists]
        answers.append(DemoAnswer(query, answer.attribution, judge(query.drawn_by, credited, known)))
    return answers


def judge(drawn_by: Sequence[str], credited: Sequence[str], known: set[str]) -> Verdict:
    """Compare who drew an image with who is credited, largest share first. ``known``: who may be credited.

    >>> judge(["Ann"], ["Ann", "Bo"], {"Ann", "Bo"}), judge(["Cy"], ["Bo"], {"Ann", "Bo"})
    (<Verdict.RIGHT: 'right'>, <Verdict.WRONG: 'wrong'>)
    """
    hands = {name for name in drawn_by if name in known}
    if not credited:
        return Verdict.MISSED if hands else Verdict.RIGHT
    if hands and set(credited[: len(hands)]) == hands:
        return Verdict.RIGHT
    if len(hands) > 1 and hands & set(credited):
        return Verdict.PARTLY
    return Verdict.WRONG


def _is_registered(settings: Settings, folder: Path, name: str) -> bool:
    with open_registry(folder, readonly=True, wait_s=settings.database_wait_s) as store:
        return any(entry.artist.name == name for entry in list_artists(store))


def next_commands(report: DemoReport) -> list[tuple[str, str]]:
    """What to type next, from inside the demo's folder: (command, what it shows)."""
    mixtures = [answer for answer in report.answers if answer.query.kind is QueryKind.MIXED]
    mixed = max(mixtures, key=lambda answer: len(answer.attribution.artists)).query.path
    commands = [
        (f"fairbrush attribute {QUERIES}/{mixed.name} --explain", "why the shares are what they are"),
        ("fairbrush report lookups --limit 5", "the latest answers, as recorded"),
        ("fairbrush report overview -o overview.html", "it all as a page, with a map of styles"),
    ]
    if not report.left_out_is_known:
        commands += [
            (f'fairbrush artist add "{LEFT_OUT}" {LEFT_OUT_FOLDER}', "register the unknown artist"),
            ("fairbrush index extend", "add this one artist to the index"),
            (f"fairbrush attribute {QUERIES}/unknown-*.webp", "and ask again"),
        ]
    commands += [
        (f'fairbrush artist consent "{MIXED_HANDS[1]}" opted_out', "who then is credited no more"),
        ("fairbrush doctor", "is everything in order?"),
    ]
    return commands
