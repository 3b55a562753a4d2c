"""Erasing and the proof of it, by everything that is known of an artist, and by every byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from people_worlds import ADA, BO, SHARED, World, every_byte, make_world
from workspaces import answer, command, rows

from fairbrush.absence import search_files, search_registry
from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.traces import Traces, artist_traces
from fairbrush.corpus.works import thumbnail_path
from fairbrush.store import Store

TOTALS = (
    "SELECT currency, sum(amount_minor)::BIGINT AS total FROM posting GROUP BY currency ORDER BY currency"
)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def traces(first: World) -> Traces:
    """What may tell of Ada, as it was before she was erased."""
    with Store.open(first.workspace) as store:
        return artist_traces(store, first.ids[ADA])


@pytest.fixture(scope="module")
def first_erased(first: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = copy(first, tmp_path_factory.mktemp("erased"))
    answer(world.workspace, "artist", "erase", ADA, "--yes")
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> World:
    return copy(first, tmp_path)


def copy(world: World, folder: Path) -> World:
    return replace(world, workspace=Path(shutil.copytree(world.workspace, folder / "space")))


def balances(world: World) -> dict[tuple[str, str, str, str], int]:
    query = (
        "SELECT account, holder, subject, currency, sum(amount_minor)::BIGINT AS minor FROM posting"
        " GROUP BY ALL HAVING sum(amount_minor) <> 0"
    )
    return {
        (one["account"], one["holder"], one["subject"], one["currency"]): one["minor"]
        for one in rows(world.workspace, query)
    }


def test_an_erased_artist_is_in_no_byte_and_the_proof_says_so(world: World, tmp_path: Path) -> None:
    held = every_byte(world.workspace)
    assert [needle for needle in world.needles(ADA) if needle in held], "else this shows nothing"
    before = rows(world.workspace, TOTALS)
    command(world.workspace, "payee", "rename", world.payees[ADA], "Quill Limited")
    proof = tmp_path / "proof.json"
    erased = answer(world.workspace, "artist", "erase", ADA, "--yes", "--proof", proof)
    held = every_byte(world.workspace)
    assert [needle for needle in world.needles(ADA) if needle in held and needle != ADA.encode()] == []
    assert (erased["works"], erased["vector_rows_dropped"], erased["files_dropped"]) == (4, 3, 3)
    assert (erased["damaged_records_cleared"], erased["damaged_records_deleted"]) == (1, 1)
    assert erased["proof"] == json.loads(proof.read_text())
    assert erased["proof"]["found"] == []
    assert erased["proof"]["searched_for"] == {
        "names": 2,
        "works": 3,
        "paths": 3,
        "names_others_bear_too": 0,
        "works_others_have_too": 1,
    }
    assert "work" not in erased["proof"]["pseudonym"]
    assert erased["proof"]["pseudonym"]["attribution_share"] == 3
    told = erased["proof"].pop("digest")
    assert told == canonical_digest(erased["proof"])
    text = json.dumps(erased).encode()
    assert [needle for needle in world.needles(ADA) if needle in text] == []
    assert rows(world.workspace, TOTALS) == before
    # Bo, and what both have, are as they were
    assert thumbnail_path(world.workspace, SHARED).exists()
    assert [work["sha256"] for work in answer(world.workspace, "artist", "works", BO)].sort() == world.works[
        BO
    ].sort()
    assert [needle for needle in world.needles(BO)[:1] if needle not in held] == []


@pytest.mark.parametrize("name", ["absent/proof.json", "x" * 300])
def test_nobody_is_erased_where_the_proof_cannot_be_written(world: World, tmp_path: Path, name: str) -> None:
    """Afterwards nobody knows any more what was searched for."""
    ran = command(world.workspace, "artist", "erase", ADA, "--yes", "--proof", tmp_path / name)
    assert (ran.code, "cannot be written" in ran.stderr) == (2, True)
    assert rows(world.workspace, "SELECT name FROM artist WHERE name IS NULL") == []


def test_the_money_of_an_erased_artist_moves_and_its_total_stays(world: World) -> None:
    before, payee = balances(world), world.payees[ADA]
    erased = answer(world.workspace, "artist", "erase", ADA, "--yes")
    ada = world.ids[ADA]
    assert balances(world) == {
        **{key: minor for key, minor in before.items() if ada not in key},
        ("payable", payee, "", "EUR"): 1234,
        ("fund", "", "", "JPY"): 500,
        ("fund", "", "", "EUR"): 700,
    }
    assert erased["owed"] == [{"payee_id": payee, "currency": "EUR", "amount_minor": 1234}]
    entry = rows(world.workspace, "SELECT kind, reference FROM entry ORDER BY number DESC LIMIT 1")
    assert entry == [{"kind": "erasure", "reference": "redaction/1"}]
    leaves = rows(
        world.workspace,
        "SELECT count(*) AS n FROM posting LEFT JOIN chain_leaf"
        " ON kind = 'posting' AND record_key = entry_number || '/' || line WHERE digest IS NULL",
    )
    assert leaves == [{"n": 0}]


def test_a_payee_who_is_owed_keeps_its_name_until_it_is_paid(world: World) -> None:
    payee = world.payees[ADA]
    ran = command(world.workspace, "artist", "erase", ADA, "--yes")
    assert (ran.code, f"Still owed to the payee {payee}: 12.34 EUR" in ran.stderr) == (0, True), ran.stderr
    assert "nothing that should not be there" in ran.text
    assert "backups and copies of the workspace" in ran.text
    assert rows(world.workspace, f"SELECT name FROM payee WHERE payee_id = '{payee}'") == [{"name": ADA}]
    refused = command(world.workspace, "payee", "erase", payee, "--yes")
    assert (refused.code, "money to come, owed or on its way: 12.34 EUR" in refused.stderr) == (2, True)
    with Store.open(world.workspace) as store, store.transaction() as connection:  # paid, as it were
        connection.execute(
            "INSERT INTO posting SELECT 3, row_number() OVER (), account, holder, subject, currency,"
            " -amount_minor, policy_digest FROM posting WHERE entry_number = 2 AND amount_minor > 0"
            " AND holder = ?",
            [payee],
        )
    erased = answer(world.workspace, "payee", "erase", payee, "--yes")
    assert erased["proof"]["searched_for"]["names"] == 3  # the name, the account, the account in groups
    assert (erased["proof"]["found"], erased["proof"]["absent"]) == ([], True)
    held = every_byte(world.workspace)
    assert [needle for needle in (*world.needles(ADA), b"DE89370400440532013000") if needle in held] == []
    assert rows(world.workspace, f"SELECT name FROM payee WHERE payee_id = '{payee}'") == [{"name": None}]
    again = command(world.workspace, "payee", "erase", payee, "--yes")
    assert (again.code, "is erased already" in again.stderr) == (2, True)


def test_a_payee_is_not_erased_while_somebodys_money_goes_to_it(world: World) -> None:
    with Store.open(world.workspace) as store, store.transaction() as connection:
        connection.execute("DELETE FROM posting")
    ran = command(world.workspace, "payee", "erase", BO, "--yes")
    assert (ran.code, f"the creator {world.creators[BO]}" in ran.stderr) == (2, True)
    assert "fairbrush payee assign" in ran.stderr
    assert rows(world.workspace, f"SELECT name FROM payee WHERE payee_id = '{world.payees[BO]}'") == [
        {"name": BO}
    ]


def test_the_words_that_name_an_erased_artist_are_gone_and_others_stay(world: World) -> None:
    answer(world.workspace, "artist", "erase", ADA, "--yes")
    query = "SELECT reason FROM {} ORDER BY sequence"
    assert rows(world.workspace, query.format("claim_event")) == [{"reason": None}]
    assert rows(world.workspace, query.format("dispute_event")) == [{"reason": None}]
    reasons = {one["reason"] for one in rows(world.workspace, query.format("consent_event"))}
    assert reasons == {None, f"a letter by {BO}"}
    assert rows(world.workspace, "SELECT source FROM membership") == [{"source": None}]
    assert rows(world.workspace, "SELECT * FROM fidelity") == []
    paths = rows(world.workspace, "SELECT image_path FROM attribution ORDER BY image_path NULLS LAST")
    assert [one["image_path"] for one in paths] == ["/in/p2.png", None, None]
    (evidence,) = {
        json.dumps(sorted(json.loads(one["about"])["evidence"]))
        for one in rows(world.workspace, "SELECT about::VARCHAR AS about FROM attribution")
    }
    assert json.loads(evidence) == [world.ids[BO]]


@pytest.mark.parametrize(
    ("plant", "place", "what"),
    [
        ("UPDATE artist_alias SET alias = 'ADA  quillfeather'", "artist_alias.alias", "name"),
        ("UPDATE model SET developer = 'x', payee_id = 'ada-quillfeather'", "model.payee_id", "name"),
        ("UPDATE attribution SET reason = '{work}'", "attribution.reason", "work"),
        ("INSERT INTO redaction_pending VALUES ('{id}', '')", "redaction_pending.artist_id", "id"),
        ("embeddings/note.mdb", "embeddings/note.mdb", "work"),
        ("thumbnails/{work}.webp", "thumbnails/(a file named so)", "name"),
        ("records/pending/x.jsonl", "records/pending/x.jsonl", "work"),
        ("indexes/v0001.json", "indexes/v0001.json", "work"),
    ],
)
def test_the_search_finds_what_an_eraser_would_leave(
    first_erased: World, traces: Traces, tmp_path: Path, plant: str, place: str, what: str
) -> None:
    world = copy(first_erased, tmp_path)
    planted = plant.format(work=world.works[ADA][0], id=world.ids[ADA])
    with Store.open(world.workspace) as store:
        clean = search_registry(store, world.cache, traces)
        assert clean.found == ()
        if " " in planted:
            with store.transaction() as connection:
                connection.execute(planted)
        absence = search_registry(store, world.cache, traces)
    if " " not in planted:
        (world.workspace / planted).write_bytes(b"\0" * 999 + bytes.fromhex(world.works[ADA][0]) + b"\1")
    absence = search_files(absence, world.workspace, world.cache, traces)
    assert (absence.found != ()) == (place != "artist_alias.alias")
    listed = {(one.place, one.what) for one in (*absence.found, *absence.stays)}
    assert (place, what) in listed


def test_a_file_of_the_users_own_stays_and_is_told(world: World) -> None:
    (world.workspace / "letters").mkdir()
    (world.workspace / "letters" / "1.txt").write_text(f"Dear {ADA}")
    (world.workspace / "letters" / f"{ADA}.txt").write_text(f"Dear {ADA}")
    erased = answer(world.workspace, "artist", "erase", ADA, "--yes")
    own = {one["place"] for one in erased["proof"]["stays"] if "your own" in one["why"]}
    assert own == {"letters/1.txt", "letters/(a file named so)"}


def test_a_name_counts_by_its_words() -> None:
    ada = Traces("x", names=("Ada Lovelace", "北斎"))
    assert [
        ada.names_in(text) for text in ("ADA_lovelace-2", "adalovelace", "Canada Lovelaces", "葛飾北斎画")
    ] == [
        True,
        False,
        False,
        True,
    ]


KILLED = """
import os, signal, sys
import fairbrush.erasing as erasing
from fairbrush.cli.app import run
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.store import Store
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
where = {"wipe": EmbeddingCache, "compact": Store, "copy_to": Store}
setattr(where.get(sys.argv[3], erasing), sys.argv[3], die)
run(["--workspace", sys.argv[1], "artist", "erase", sys.argv[2], "--yes"])
"""


@pytest.mark.parametrize(
    "point",
    ["_forget_mentions", "discard_drained", "wipe", "forget_pending", "compact", "copy_to", "finish_erasure"],
)
def test_an_erasure_killed_anywhere_is_finished_by_the_next_command(world: World, point: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(world.workspace), ADA, point],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if point == "_forget_mentions":  # before the commit: nothing has happened
        assert answer(world.workspace, "artist", "show", ADA)["works"] != []
        assert command(world.workspace, "artist", "erase", ADA, "--yes").code == 0
    else:
        ran = command(world.workspace, "artist", "add", "Somebody Else")
        assert (ran.code, "Finished an interrupted erasure" in ran.stderr) == (0, True), ran.stderr
    held = every_byte(world.workspace)
    kept = ADA.encode()  # the payee is owed
    assert [needle for needle in world.needles(ADA) if needle in held and needle != kept] == []
    assert rows(world.workspace, "SELECT * FROM redaction_pending") == []
    assert [one["total"] for one in rows(world.workspace, TOTALS)] == [0, 0]
    assert [file.name for file in world.workspace.glob("*duckdb*")] == ["fairbrush.duckdb"]
