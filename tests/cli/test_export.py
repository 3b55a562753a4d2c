"""What an artist gets of all that is held about them: theirs, whole, and nobody else's."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_records import digest, record
from people_worlds import ADA, BO, NOW, SHARED, World, every_byte, make_world
from workspaces import answer, command

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import DISPUTE_EVENTS
from fairbrush.corpus.registry import add_artist
from fairbrush.store import Store

LISTS = ("works", "consents", "attributions", "validations", "tunings", "earnings", "postings", "chain")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("world"))
    with Store.open(made.workspace) as store, store.transaction() as connection:
        _add_settled_line(connection, made)
        _add_payout(connection, made)
    return made


def _add_settled_line(connection: Any, world: World) -> None:
    """The image p1 earned 20.00 EUR; Ada was paid a part by the settlement s1."""
    day = NOW.date()
    connection.execute(
        "INSERT INTO revenue VALUES ('r1', 'invoice 7', 'EUR', 2000, ?, ?, ?, NULL, NULL, NULL, ?)",
        [day, day, digest("p1"), NOW],
    )
    connection.execute(
        "INSERT INTO settlement VALUES ('s1', 1, 'settlement', ?, ?, 'p', NULL, '{}', ?, NULL, NULL, NULL)",
        [day, day, NOW],
    )
    record_id = record("p1").attribution_id
    connection.execute(
        "INSERT INTO settlement_line VALUES ('s1', 'r1', ?, ?, NULL, NULL)", [digest("p1"), record_id]
    )
    for name in (ADA, BO):
        ids = [world.ids[name], world.creators[name], world.payees[name]]
        connection.execute(
            "INSERT INTO settlement_standing VALUES"
            " ('s1', 'sd-1.5', ?, ?, ?, 'opted_in', 'paid', '1/1', NULL)",
            ids,
        )
        connection.execute(
            "INSERT INTO settlement_part VALUES ('s1', 'payable', ?, ?, 'EUR', '3703/3', 1234)",
            [ids[2], ids[0]],
        )


def _add_payout(connection: Any, world: World) -> None:
    """Of a payout of 15.00 EUR to Ada's payee, 12.34 were Ada's."""
    payee = world.payees[ADA]
    connection.execute("INSERT INTO payout VALUES ('out1', ?, 'EUR', 1500)", [payee])
    connection.execute("INSERT INTO payout_event VALUES (1, 'out1', 'proposed', ?, NULL, NULL, NULL)", [NOW])
    connection.execute("INSERT INTO entry VALUES (2, 'e2', 'payout_proposed', 'out1', 'p', ?)", [NOW])
    for line, (account, holder, subject, minor) in enumerate(
        [
            ("payable", payee, world.ids[ADA], -1234),
            ("payable", payee, "somebody", -266),
            ("transit", "out1", "", 1500),
        ],
        start=1,
    ):
        connection.execute(
            "INSERT INTO posting VALUES (2, ?, ?, ?, ?, 'EUR', ?, 'p')",
            [line, account, holder, subject, minor],
        )


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of Ada."""
    target = tmp_path_factory.mktemp("export") / "ada"
    written = answer(world.workspace, "artist", "export", ADA, target)
    assert (written["works"], written["attributions"], written["postings"]) == (4, 3, 4)
    return target


@pytest.fixture(scope="module")
def document(folder: Path) -> Any:
    return json.loads((folder / "export.json").read_text())


def test_an_export_has_all_that_is_held_about_an_artist(world: World, document: Any) -> None:
    ada = world.ids[ADA]
    assert document["schema"] == "fairbrush.export/1"
    assert (document["artist"]["artist_id"], document["artist"]["name"]) == (ada, ADA)
    assert document["artist"]["aliases"] == ["Quillfeather the Elder"]
    assert [event["consent"] for event in document["consents"]] == ["unclaimed", "opted_in"]
    assert document["consents"][1]["reason"] == f"a letter by {ADA}"
    assert sorted(work["sha256"] for work in document["works"]) == sorted(world.works[ADA])
    assert document["fidelity"][0]["source"] == f"seen by {ADA}"
    assert document["claims"][0]["reason"] == f"{ADA} came"
    assert [row["image_sha256"] for row in document["attributions"]] != []
    waited = next(row for row in document["attributions"] if row["image_sha256"] == digest("p3"))
    assert (waited["share_e12"], waited["is_credited"], waited["is_named"]) == (25 * 10**10, True, False)
    assert [one["work_sha256"] for one in waited["evidence"]] == world.works[ADA]
    assert {(row["account"], row["currency"]): row["amount_minor"] for row in document["balances"]} == {
        ("payable", "EUR"): 0,
        ("escrow", "JPY"): 500,
        ("disputed", "EUR"): 700,
    }
    assert [row["subject"] for row in document["disputes"]] == ["attribution"]
    kinds = {leaf["kind"] for leaf in document["chain"]}
    assert kinds == {"consent", "claim", "attribution", "posting"}


def test_an_export_tells_each_line_that_was_earned_and_paid(world: World, document: Any) -> None:
    (line,) = document["earnings"]
    assert (line["reference"], line["line_amount_minor"], line["currency"]) == ("invoice 7", 2000, "EUR")
    assert (line["image_sha256"], line["share_e12"], line["factor"]) == (digest("p1"), 25 * 10**10, "1/1")
    (part,) = document["settled"]
    assert (part["exact_minor"], part["amount_minor"]) == ("3703/3", 1234)
    (payout,) = document["payouts"]
    assert (payout["payout_id"], payout["amount_minor"], payout["status"]) == ("out1", 1234, "proposed")


def test_an_export_tells_what_a_dispute_decided(world: World, tmp_path: Path) -> None:
    """Zed is in no record; a dispute gives them half of the image p1, and Ada none of it."""
    with Store.open(world.workspace) as store:
        zed, _ = add_artist(store, "Zed Zonker", [], now=NOW)
        record_id, half = record("p1").attribution_id, 5 * 10**11
        outcome = {"shares_e12": [[zed.artist_id, half]], "unattributed_e12": half}
        dispute = (7, "d7", "resolved", "attribution", record_id, world.creators[BO])
        body = json.dumps({"dispute_id": "d7", "outcome": outcome})
        with store.transaction() as connection:
            told = committed("between Bo and Zed")
            insert_chained(
                connection, DISPUTE_EVENTS, [(*dispute, body, digest(body), NOW, *told.columns)], now=NOW
            )
            connection.execute(
                "INSERT INTO settlement VALUES ('s2', 2, 'settlement', ?, ?, 'p', NULL, '{}', ?, NULL, NULL,"
                " NULL)",
                [NOW.date(), NOW.date(), NOW],
            )
            connection.execute(
                "INSERT INTO settlement_line VALUES ('s2', 'r1', ?, ?, NULL, 'd7')", [digest("p1"), record_id]
            )
    documents = {}
    for name in ("Zed Zonker", ADA):
        command(world.workspace, "artist", "export", name, tmp_path / name)
        documents[name] = json.loads((tmp_path / name / "export.json").read_text())
    lines = {
        name: [(line["number"], line["share_e12"], line["recorded_share_e12"]) for line in one["earnings"]]
        for name, one in documents.items()
    }
    quarter = 25 * 10**10
    assert lines == {"Zed Zonker": [(2, half, 0)], ADA: [(1, quarter, quarter), (2, 0, quarter)]}
    (own,) = documents["Zed Zonker"]["attributions"]
    assert (own["attribution_id"], own["share_e12"], own["is_credited"]) == (record_id, None, False)
    (own,) = documents["Zed Zonker"]["disputes"]
    assert (own["dispute_id"], own["reason"]) == ("d7", None)
    assert {leaf["kind"] for leaf in documents["Zed Zonker"]["chain"]} == {
        "consent",
        "dispute",
        "attribution",
    }


def test_an_export_holds_nothing_of_another_artist(world: World, folder: Path) -> None:
    held = every_byte(folder)
    assert [needle for needle in world.needles(BO) if needle in held] == []
    for one in (world.ids[BO], world.payees[BO], world.creators[BO]):
        assert one.encode() not in held
    dispute = json.loads((folder / "export.json").read_text())["disputes"][0]
    assert (dispute["reason"], dispute["is_theirs"]) == (None, False)  # Bo wrote it


def test_the_files_beside_the_document_say_the_same(world: World, folder: Path, document: Any) -> None:
    for name in LISTS:
        with (folder / f"{name}.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == len(document[name])
    assert sorted(file.stem for file in (folder / "thumbnails").iterdir()) == sorted(world.works[ADA])
    (home,) = (folder / "vectors").iterdir()
    assert json.loads((home / "encoder.json").read_text()) == {"encoder_id": "mini", "variant": "torch-fp32"}
    place = sorted({*world.works[ADA], *world.works[BO]}).index(SHARED)
    assert np.load(home / f"{SHARED}.npy").tolist() == [[place] * 8]
    assert "export.json" in (folder / "README.txt").read_text()


def test_a_zip_holds_the_same_and_nothing_is_overwritten(world: World, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "ada.zip"
    answer(world.workspace, "artist", "export", ADA, target)
    with zipfile.ZipFile(target) as packed:
        assert sorted(packed.namelist()) == sorted(
            file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
        )
    before = target.read_bytes()
    for taken in (target, folder, tmp_path):
        ran = command(world.workspace, "artist", "export", ADA, taken)
        assert (ran.code, f"{taken} exists" in ran.stderr) == (2, True)
    assert target.read_bytes() == before
    ran = command(world.workspace, "artist", "export", ADA, tmp_path / "no" / "where")
    assert (ran.code, "cannot be written" in ran.stderr) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["ada.zip"]


def test_an_erased_artist_gets_what_is_left_of_them(world: World, tmp_path: Path) -> None:
    made = make_world(tmp_path)
    answer(made.workspace, "artist", "erase", ADA, "--yes")
    answer(made.workspace, "artist", "export", made.ids[ADA], tmp_path / "left")
    left = json.loads((tmp_path / "left" / "export.json").read_text())
    assert (left["artist"]["name"], left["works"], left["fidelity"]) == (None, [], [])
    assert len(left["attributions"]) == 3
    assert [row["amount_minor"] for row in left["balances"]] == [0, 0, 0]
    ran = command(made.workspace, "artist", "export", "Nobody", tmp_path / "x")
    assert (ran.code, "No artist is called" in ran.stderr) == (2, True)
