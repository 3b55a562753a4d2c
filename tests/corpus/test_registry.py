"""The registry: artists, works, consent, membership, rosters, erase."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fairbrush.corpus.changes import open_registry, registry_change
from fairbrush.corpus.consent import ConsentEvent, consent_history, record_consents, set_consent
from fairbrush.corpus.eligibility import read_eligibility, write_eligibility
from fairbrush.corpus.erasure import erase_artist, finish_erasure, pending_erasures
from fairbrush.corpus.images import ImageLimits
from fairbrush.corpus.membership import (
    Membership,
    add_model,
    assign_model,
    find_model,
    list_models,
    record_memberships,
    roster,
)
from fairbrush.corpus.people import (
    add_creator,
    add_payee,
    assign_artist,
    assign_creator,
    find_creator,
    find_payee,
    list_creators,
    list_payees,
)
from fairbrush.corpus.registry import add_artist, add_works, change_aliases, find_artist, list_artists
from fairbrush.corpus.roster_file import RowStatus, read_roster
from fairbrush.corpus.roster_import import import_roster
from fairbrush.corpus.works import (
    PreparedWork,
    drop_work_files,
    list_works,
    prepare_works,
    thumbnail_path,
)
from fairbrush.domain import Consent, Trained
from fairbrush.errors import RegistryError, RosterError
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
DAY = timedelta(days=1)
MODEL = "sd-1.5"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace to copy, which takes a tenth of the time that making one takes."""
    folder = tmp_path_factory.mktemp("empty") / "space"
    create_workspace(folder)
    return folder


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Iterator[Store]:
    with open_registry(shutil.copytree(empty, tmp_path / "space")) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_store(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """For properties: each example uses an artist of its own."""
    with open_registry(shutil.copytree(empty, tmp_path_factory.mktemp("shared") / "space")) as opened:
        yield opened


def draw(path: Path, colour: str, size: tuple[int, int] = (600, 300)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


# artists, creators, payees


def test_ids_are_random_and_128_bit(store: Store) -> None:
    ids = {add_artist(store, "Ann", allow_same_name=True)[0].artist_id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(bytes.fromhex(artist_id)) == 16 for artist_id in ids)


def test_artist_gets_its_own_creator_and_payee(store: Store) -> None:
    numbers = count(1)
    ann, _ = add_artist(store, "Ann", new_id=lambda: f"id{next(numbers)}")
    assert (ann.payee_id, ann.creator_id, ann.artist_id) == ("id1", "id2", "id3")
    assert find_creator(store, "ann").payee_id == "id1"
    assert find_payee(store, "ANN").payee_id == "id1"
    assert ann.consent is Consent.UNCLAIMED


def test_same_name_twice_is_refused_unless_it_is_another_artist(store: Store) -> None:
    add_artist(store, "Claude Monet", aliases=["Oscar"])
    for taken in ("claude  MONET ", "oscar"):
        with pytest.raises(RegistryError, match=r"already.*--new"):
            add_artist(store, taken)
    add_artist(store, "Claude Monet", allow_same_name=True)
    with pytest.raises(RegistryError, match="2 artists are called 'Claude Monet'"):
        find_artist(store, "Claude Monet")


def test_aliases_are_given_and_taken_whatever_the_case(store: Store) -> None:
    monet, _ = add_artist(store, "Claude Monet", aliases=["Oscar"])

    def change(**how: list[str]) -> tuple[str, ...]:
        return change_aliases(store, monet.artist_id, **how).aliases

    assert change(add=["Monet", " monet ", "CLAUDE MONET", "oscar"]) == ("Monet", "Oscar")
    assert find_artist(store, "MONET").artist.artist_id == monet.artist_id
    assert change(remove=["OSCAR"], add=["C. Monet"]) == ("C. Monet", "Monet")
    assert change(remove=["monet"], add=["Monet"]) == ("C. Monet", "Monet")
    assert change(remove=["c. monet", "Monet"]) == ()


def test_aliases_that_cannot_be_change_nothing(store: Store) -> None:
    ann, _ = add_artist(store, "Ann", aliases=["Annie"])
    with pytest.raises(RegistryError, match=r"no alias 'Nan'\. It has: Annie"):
        change_aliases(store, ann.artist_id, remove=["Annie", "Nan"], add=["Anna"])
    with pytest.raises(RegistryError, match="control characters"):
        change_aliases(store, ann.artist_id, remove=["Annie"], add=["a\nb"])
    assert find_artist(store, "Ann").aliases == ("Annie",)
    erase_artist(store, ann.artist_id)
    with pytest.raises(RegistryError, match="erased; that is final"):
        change_aliases(store, ann.artist_id, add=["Annie"])


def test_unknown_name_gives_suggestions(store: Store) -> None:
    add_artist(store, "Claude Monet")
    with pytest.raises(RegistryError, match="Did you mean 'Claude Monet'"):
        find_artist(store, "Claude Manet")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "x" * 201, "\udcff"])
def test_name_that_cannot_be_kept_is_refused(store: Store, name: str) -> None:
    with pytest.raises(RegistryError):
        add_artist(store, name)
    assert list_artists(store) == []


def test_formula_like_and_quoted_names_are_data(store: Store) -> None:
    hostile = ["=1+1", "@SUM(A1)", "'; DROP TABLE artist; --", '"x"', "名前", "-2"]
    for name in hostile:
        add_artist(store, name)
    assert sorted(entry.artist.name for entry in list_artists(store)) == sorted(hostile)


def test_assignments_move_the_money(store: Store) -> None:
    ann, _ = add_artist(store, "Ann")
    studio = add_creator(store, "Studio")
    assign_artist(store, ann.artist_id, studio.creator_id)
    assert find_artist(store, "Ann").payee_name == "Studio"
    assign_creator(store, studio.creator_id, ann.payee_id)
    assert find_artist(store, "Ann").artist.payee_id == ann.payee_id


# works


def test_refused_images_do_not_stop_the_others(store: Store, tmp_path: Path) -> None:
    good = draw(tmp_path / "ann/a.png", "red")
    (tmp_path / "ann/bad.png").write_bytes(b"nonsense")
    prepared = prepare_works([[tmp_path / "ann", tmp_path / "absent"]], store.workspace, ImageLimits())[0]
    _, added = add_artist(store, "Ann", prepared.works)
    assert added.added == 1
    assert sorted(r.path.name for r in prepared.refusals) == ["absent", "bad.png"]
    assert [work.path for work in list_works(store)] == [good]


def test_thumbnail_is_small_webp_named_by_content(store: Store, tmp_path: Path) -> None:
    prepared = prepare_works([[draw(tmp_path / "a.png", "red")]], store.workspace, ImageLimits())[0]
    with Image.open(thumbnail_path(store.workspace, prepared.works[0].sha256)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (256, 128))


def test_same_work_under_two_artists_is_kept_and_reported(store: Store) -> None:
    ann, _ = add_artist(store, "Ann", [PreparedWork("ab" * 32, "/a.png")])
    bo, added = add_artist(store, "Bo", [PreparedWork("ab" * 32, "/b.png")])
    assert [(d.artist_id, d.other_artist_ids) for d in added.duplicates] == [(bo.artist_id, (ann.artist_id,))]
    assert {(work.artist_id, str(work.path)) for work in list_works(store)} == {
        (ann.artist_id, "/a.png"),
        (bo.artist_id, "/b.png"),
    }


def test_work_added_again_is_known_and_follows_its_file(store: Store) -> None:
    ann, _ = add_artist(store, "Ann", [PreparedWork("ab" * 32, "/absent/a.png")])
    again = add_works(store, ann.artist_id, [PreparedWork("ab" * 32, "/moved/a.png")])
    assert (again.added, again.known, again.moved) == (0, 1, 1)
    assert [str(work.path) for work in list_works(store)] == ["/moved/a.png"]


def test_copy_outlives_the_original_and_the_original_outlives_erase(store: Store, tmp_path: Path) -> None:
    original = draw(tmp_path / "a.PNG", "red")
    prepared = prepare_works([[original]], store.workspace, ImageLimits(), copy=True)[0]
    ann, _ = add_artist(store, "Ann", prepared.works)
    (work,) = list_works(store)
    assert work.path == store.workspace / f"works/{work.sha256}.png"
    assert work.path.read_bytes() == original.read_bytes()
    assert drop_work_files(store.workspace, erase_artist(store, ann.artist_id).unshared_sha256s) == 2
    assert not work.path.exists()
    assert original.exists()


# consent

events = st.lists(
    st.tuples(
        st.sampled_from([Consent.OPTED_IN, Consent.UNCLAIMED, Consent.OPTED_OUT]),
        st.integers(-3, 3),  # days from now
    ),
    max_size=6,
)
property_settings = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@property_settings
@given(said=events)
def test_latest_effective_consent_wins(shared_store: Store, said: list[tuple[Consent, int]]) -> None:
    with registry_change(shared_store) as connection:
        artist, _ = add_artist(shared_store, "X", allow_same_name=True, now=NOW - 10 * DAY)
        record_consents(
            connection,
            [ConsentEvent(artist.artist_id, c, NOW + days * DAY, NOW, "test") for c, days in said],
        )
    write_eligibility(shared_store, now=NOW)
    for days in (0, 2):
        moment = NOW + days * DAY
        past = [(at, position, consent) for position, (consent, at) in enumerate(said) if at <= days]
        expected = max(past)[2] if past else Consent.UNCLAIMED
        assert find_artist(shared_store, artist.artist_id, now=moment).artist.consent is expected
        # the file was written before those days: its upcoming events take effect by themselves
        read = read_eligibility(shared_store.workspace, now=moment)
        assert read.artists[artist.artist_id].consent is expected
        assert read.may_be_credited(artist.artist_id, MODEL) is (expected is not Consent.OPTED_OUT)


@property_settings
@given(before=events, after=events)
def test_erased_artist_never_becomes_eligible_again(
    shared_store: Store, before: list[tuple[Consent, int]], after: list[tuple[Consent, int]]
) -> None:
    with registry_change(shared_store) as connection:
        artist, _ = add_artist(shared_store, "X", allow_same_name=True, now=NOW)
        record_consents(
            connection,
            [ConsentEvent(artist.artist_id, c, NOW + days * DAY, NOW, "test") for c, days in before],
        )
    erase_artist(shared_store, artist.artist_id, now=NOW)
    for consent, days in after[:1]:
        with pytest.raises(RegistryError, match="erased"):
            set_consent(shared_store, artist.artist_id, consent, at=NOW + days * DAY)
    with registry_change(shared_store) as connection:
        # even where something writes behind the functions' back
        record_consents(
            connection,
            [ConsentEvent(artist.artist_id, c, NOW + days * DAY, NOW, "test") for c, days in after],
        )
    for days in (-30, 0, 30):
        moment = NOW + days * DAY
        assert find_artist(shared_store, artist.artist_id, now=moment).artist.consent is Consent.ERASED
        assert not read_eligibility(shared_store.workspace, now=moment).may_be_credited(
            artist.artist_id, MODEL
        )


def test_set_consent_keeps_the_history(store: Store) -> None:
    ann, _ = add_artist(store, "Ann", now=NOW - DAY)
    out = set_consent(store, ann.artist_id, Consent.OPTED_OUT, reason="letter", now=NOW)
    older = set_consent(store, ann.artist_id, Consent.OPTED_IN, at=NOW - 2 * DAY, now=NOW)
    assert (out, older) == (Consent.OPTED_OUT, Consent.OPTED_OUT)
    assert [(event.consent, event.reason) for event in consent_history(store, ann.artist_id)] == [
        (Consent.OPTED_IN, None),
        (Consent.UNCLAIMED, None),
        (Consent.OPTED_OUT, "letter"),
    ]


# erase


def test_erase_forgets_every_name_and_keeps_the_pseudonym(store: Store) -> None:
    ann, _ = add_artist(store, "Annabel", [PreparedWork("ab" * 32, "/home/Annabel/a.png")], aliases=["Annie"])
    studio = add_creator(store, "Annabel Works")
    set_consent(store, ann.artist_id, Consent.OPTED_IN, reason="Annabel said so")
    record_memberships(store, [Membership(MODEL, ann.artist_id, Trained.YES, "annabel.example")])
    assign_artist(store, ann.artist_id, studio.creator_id)
    pending = erase_artist(store, ann.artist_id)
    assert pending.work_sha256s == pending.unshared_sha256s == ("ab" * 32,)
    (entry,) = list_artists(store)
    assert (entry.artist.artist_id, entry.artist.consent) == (ann.artist_id, Consent.ERASED)
    assert {c.creator.name for c in list_creators(store)} == {""}
    assert {p.payee.name for p in list_payees(store)} == {""}
    tables = store.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    for (table,) in tables:
        assert "ann" not in str(store.connection.execute(f"FROM {table}").fetchall()).lower(), table
    store.close()
    assert b"Annabel" not in (store.workspace / "fairbrush.duckdb").read_bytes()
    assert b"Annabel" not in (store.workspace / "indexes/eligibility.json").read_bytes()


def test_erase_keeps_what_other_artists_share(store: Store) -> None:
    shared, own = PreparedWork("ab" * 32, "/s.png"), PreparedWork("cd" * 32, "/o.png")
    ann, _ = add_artist(store, "Ann", [shared, own])
    bo, _ = add_artist(store, "Bo", [shared], creator="Ann")
    pending = erase_artist(store, ann.artist_id)
    assert pending.work_sha256s == ("ab" * 32, "cd" * 32)
    assert pending.unshared_sha256s == ("cd" * 32,)
    assert [work.artist_id for work in list_works(store)] == [bo.artist_id]
    assert find_artist(store, "Bo").creator_name == "Ann"


def test_erase_is_pending_until_it_is_finished(store: Store) -> None:
    ann, _ = add_artist(store, "Ann", [PreparedWork("ab" * 32, "/a.png")])
    erase_artist(store, ann.artist_id)
    workspace = store.workspace
    store.close()
    with open_registry(workspace) as again:
        pending = pending_erasures(again)
        assert [one.artist_id for one in pending] == [ann.artist_id]
        finish_erasure(again, pending)
        assert pending_erasures(again) == []


# models


def test_fine_tune_inherits_the_roster_and_overrides_it(store: Store) -> None:
    ids = [add_artist(store, name)[0].artist_id for name in ("Ann", "Bo", "Cy")]
    add_model(store, "tune", base=MODEL, developer="Lab")
    add_model(store, "tune-2", base="tune")
    no, yes = Trained.NO, Trained.YES
    record_memberships(store, [Membership(MODEL, ids[0], yes), Membership(MODEL, ids[1], no)])
    record_memberships(store, [Membership("tune", ids[1], yes), Membership("tune-2", ids[2], no)])
    known = {a: (m.trained, m.model_id) for a, m in roster(store, "tune-2").items()}
    assert known == {ids[0]: (yes, MODEL), ids[1]: (yes, "tune"), ids[2]: (no, "tune-2")}
    eligibility = read_eligibility(store.workspace)
    assert eligibility.outside == {
        MODEL: frozenset({ids[1]}),
        "tune": frozenset(),
        "tune-2": frozenset({ids[2]}),
    }


def test_a_model_has_the_payee_it_was_given_last(store: Store) -> None:
    estate, lab = (add_payee(store, name) for name in ("Estate", "Lab"))
    assert add_model(store, "tune", base=MODEL, payee="estate").payee_id == estate.payee_id
    assert {model.model_id: model.payee_id for model in list_models(store)} == {
        MODEL: None,
        "tune": estate.payee_id,
    }
    assign_model(store, "tune", lab.payee_id)
    assert find_model(store, "tune").payee_id == lab.payee_id
    with pytest.raises(RegistryError, match="No payee"):
        add_model(store, "tune-2", payee="nobody")
    assert len(list_models(store)) == 2


def test_erasing_an_artist_leaves_the_name_of_a_payee_that_a_model_pays(store: Store) -> None:
    ann = add_artist(store, "Ann")[0]
    developer = add_payee(store, "Ann", allow_same_name=True)
    add_model(store, "tune", payee=developer.payee_id)
    erase_artist(store, ann.artist_id)
    assert [entry.payee.name for entry in list_payees(store)] == ["", "Ann"]


def test_default_model_is_there_and_others_are_added_once(store: Store) -> None:
    assert [model.model_id for model in list_models(store)] == [MODEL]
    with pytest.raises(RegistryError, match="registered already"):
        add_model(store, "SD-1.5")
    with pytest.raises(RegistryError, match="No model"):
        add_model(store, "tune", base="absent")


# rosters


def statuses(store: Store, file: Path) -> list[tuple[int, str, str]]:
    return [(row.line, row.name, str(row.status)) for row in import_roster(store, read_roster(file)).rows]


def test_roster_reports_new_changed_unchanged_and_refused_with_lines(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("name,consent,trained\nAnn,opted_in,yes\nBo,,\nann,,\nCy,maybe,\n=1+1,,\n")
    assert statuses(store, file) == [
        (2, "Ann", "new"),
        (3, "Bo", "new"),
        (4, "ann", "refused"),
        (5, "Cy", "refused"),
        (6, "=1+1", "new"),
    ]
    file.write_text("name,consent,trained\nAnn,,no\nBo,opted_in,\n")
    rows = import_roster(store, read_roster(file)).rows
    assert [(row.status, row.detail) for row in rows] == [
        (RowStatus.CHANGED, "trained:sd-1.5 no"),
        (RowStatus.CHANGED, "consent unclaimed to opted_in"),
    ]


def test_stale_roster_does_not_lift_an_opt_out(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("name,consent\nAnn,opted_in\n")
    import_roster(store, read_roster(file))
    set_consent(store, find_artist(store, "Ann").artist.artist_id, Consent.OPTED_OUT)
    assert statuses(store, file) == [(2, "Ann", "refused")]
    assert find_artist(store, "Ann").artist.consent is Consent.OPTED_OUT


def test_bad_rows_are_refused_and_the_others_go_in(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_bytes(
        b"\xef\xbb\xbfname,consent\n"
        b"Ren\xe9,\n"  # 2: Latin-1
        b"Ann,opted_in,extra\n"  # 3: one cell too many
        b"Bo,erased\n"  # 4
        b"\n"
        b"Cy,\n"  # 6
        b"a\x00b,\n" + b"x" * 70_000 + b",\n"  # 7  # 8
        b'"two\nlines",\n'  # 9-10
        b"Dee,\n"  # 11
    )
    assert [(line, status) for line, _, status in statuses(store, file)] == [
        (2, "refused"),
        (3, "refused"),
        (4, "refused"),
        (6, "new"),
        (7, "refused"),
        (8, "refused"),
        (9, "refused"),
        (11, "new"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"artist,works\nAnn,\n", "no column called name"),
        (b"", "no column called name"),
        (b"name,consnet\nAnn,opted_out\n", "'consnet' is not a column"),
        (b"name,name\nAnn,Bo\n", "twice"),
        ("name\nAnn\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_file_with_a_bad_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(RosterError, match=message):
        read_roster(tmp_path / "r.csv")


def test_creators_and_payees_of_a_roster(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(
        "name;creator;payee\nAnn;Studio;Estate\nAnn II;Studio;\nStudio;;\nBo;Studio;Other\nCy;;Estate\n"
    )
    assert [row[2] for row in statuses(store, file)] == ["new", "new", "new", "refused", "new"]
    assert [row[2] for row in statuses(store, file)] == ["unchanged"] * 3 + ["refused", "unchanged"]
    shown = {e.artist.name: (e.creator_name, e.payee_name) for e in list_artists(store)}
    assert shown == {
        "Ann": ("Studio", "Estate"),
        "Ann II": ("Studio", "Estate"),
        "Studio": ("Studio", "Studio"),
        "Cy": ("Cy", "Estate"),
    }


def test_folder_of_folders_is_a_roster(store: Store, tmp_path: Path) -> None:
    for artist, colour in (("Ann", "red"), ("Bo", "blue")):
        draw(tmp_path / "art" / artist / "a.png", colour)
    draw(tmp_path / "art/Bo/copy.png", "red")
    for expected in (("new", 3), ("unchanged", 0)):
        read = read_roster(tmp_path / "art")
        prepared = prepare_works([row.works for row in read.rows], store.workspace, ImageLimits())
        works = {row.name: one for row, one in zip(read.rows, prepared, strict=True)}
        before = len(list_works(store))
        result = import_roster(store, read, works)
        assert {str(row.status) for row in result.rows} == {expected[0]}
        assert len(list_works(store)) - before == expected[1]
        assert sorted(Path(d.path).name for d in result.duplicates) == ["a.png", "copy.png"]


names = st.sampled_from(["Ann", "ann ", "Bo", "=Cy", "Dée", "x" * 201, ""])
roster_rows = st.lists(
    st.tuples(
        names,
        st.sampled_from(["", "Ann", "Studio", "Bo"]),
        st.sampled_from(["", "Ann", "Estate"]),
        st.sampled_from(["", "opted_in", "opted_out", "unclaimed", "no"]),
        st.sampled_from(["", "A|B", "Bo"]),
        st.sampled_from(["", "yes", "no", "unknown"]),
    ),
    max_size=6,
)


@settings(max_examples=10, deadline=None)
@given(rows=roster_rows)
@example(rows=[("Ann", "Studio", "Ann", "", "", ""), ("Bo", "Ann", "", "", "", "")])
def test_importing_a_roster_again_changes_nothing(empty: Path, rows: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(empty, Path(folder) / "space")
        file = Path(folder) / "r.csv"
        lines = ["name,creator,payee,consent,aliases,trained", *(",".join(row) for row in rows)]
        file.write_text("\n".join(lines) + "\n")
        with open_registry(Path(folder) / "space") as store:
            first = import_roster(store, read_roster(file))
            before = list_artists(store), read_eligibility(store.workspace).digest
            second = import_roster(store, read_roster(file))
            assert (list_artists(store), read_eligibility(store.workspace).digest) == before
    expected = [
        RowStatus.REFUSED if row.status is RowStatus.REFUSED else RowStatus.UNCHANGED for row in first.rows
    ]
    assert [row.status for row in second.rows] == expected


def test_roster_of_1789_names_imports_in_seconds(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("name\n" + "".join(f"Artist {i}\n" for i in range(1789)))
    started = time.process_time()
    assert import_roster(store, read_roster(file)).counts[RowStatus.NEW] == 1789
    assert import_roster(store, read_roster(file)).counts[RowStatus.UNCHANGED] == 1789
    assert time.process_time() - started < 5
    assert len(read_eligibility(store.workspace).eligible(MODEL)) == 1789
