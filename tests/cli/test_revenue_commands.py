"""``fairbrush revenue`` as a user types it: answers, exit codes, and what is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_records import digest, record
from workspaces import answer, command, pending, rows

from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS
from fairbrush.corpus.changes import open_registry
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.policies import Pins, adopt
from fairbrush.ledger.records import write_pending
from fairbrush.ledger.settlement import settle
from fairbrush.workspace import create_workspace

MOON, SUN = digest("moon"), digest("sun")
MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    create_workspace(tmp_path / "space")
    return tmp_path / "space"


def head(space: Path) -> Any:
    return rows(space, "SELECT max(batch) AS batch, count(*) AS n FROM chain_batch")


def write(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_a_line_for_an_image_file_is_known_by_its_content(space: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"moon")
    words = ("revenue", "add", "INV-7", "12.50", "EUR", "--image", tmp_path / "picture.png")
    ran = command(space, *words, "--date", "2026-01-31", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json == {
        "schema": "fairbrush.revenue_added/1",
        "outcome": "added",
        "reference": "INV-7",
        "amount": "12.50",
        "currency": "EUR",
        "earned_from": "2026-01-31",
        "earned_to": "2026-01-31",
        "model": None,
        "image": MOON,
        "spread": None,
        "images": 1,
        "state": "open",
    }
    assert "No answer to this image is recorded yet" in ran.stderr
    before = head(space)
    again = answer(space, "revenue", "add", "INV-7", "12.5", "EUR", "--image", MOON.upper())
    assert (again["outcome"], again["earned_to"]) == ("there already", "2026-01-31")
    refused = command(space, "revenue", "add", "INV-7", "13", "EUR", "--image", MOON)
    assert (refused.code, refused.stdout) == (2, b"")
    assert "amount 12.50 EUR, now 13.00 EUR" in refused.stderr
    assert "next: " in refused.stderr
    assert head(space) == before


def test_an_answer_that_is_still_pending_counts(space: Path) -> None:
    write_pending(space / "records", [record("moon"), record("sun")])
    ran = command(space, "revenue", "add", "A", "1", "EUR", "--image", MOON)
    assert (ran.code, ran.stderr) == (0, "")
    assert pending(space) == []
    line = answer(space, "revenue", "add", "B", "100", "JPY", "--period", MONTH)
    assert (line["spread"], line["images"], line["amount"]) == ("count", 2, "100")
    images = rows(space, "SELECT image_sha256, weight_e6 FROM revenue_image ORDER BY 1")
    assert images == [{"image_sha256": one, "weight_e6": 10**6} for one in sorted([MOON, SUN])]


def test_a_period_is_spread_over_a_list(space: Path, tmp_path: Path) -> None:
    over = write(tmp_path / "images.csv", "sha256,weight", f"{MOON},0.25", f"{SUN},1")
    words = ("revenue", "add", "Q1", "0.125", "KWD", "--period", "2026-Q1", "--over", over)
    line = answer(space, *words)
    assert (line["spread"], line["images"], line["earned_to"]) == ("weight", 2, "2026-03-31")
    assert answer(space, *words, "--by", "weight")["outcome"] == "there already"
    ran = command(space, *words, "--by", "count")
    assert (ran.code, "spread weight, now count" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("A", "1", "EUR"), "for one image or for a period"),
        (("A", "1", "EUR", "--image", MOON, "--period", "2026"), "for one image or for a period"),
        (("A", "1", "EUR", "--period", "2026", "--date", "2026-01-01"), "--date goes with --image"),
        (("A", "1", "EUR", "--image", MOON, "--by", "count"), "--over and --by go with --period"),
        (("A", "1", "EUR", "--period", "2026", "--by", "weight"), "By weight needs the images"),
        (("A", "1", "EUR", "--period", "2026"), "No answer to an image was recorded"),
        (("A", "1", "EUR", "--period", "2026-13"), "is no period"),
        (("A", "1", "EUR", "--period", "2026", "--over", "none.csv"), "cannot be read"),
        (("A", "1", "EUR", "--image", "none.png"), "neither an image's file nor a SHA-256"),
        (("A", "1", "EUR", "--image", "."), "neither an image's file nor a SHA-256"),
        (("A", "1", "EUR", "--image", MOON, "--date", "31.1.2026"), "is no day"),
        (("A", "1", "EUR", "--image", MOON, "--model", "none"), "is not registered"),
        (("A", "0", "EUR", "--image", MOON), "nothing that came in"),
        (("A", "1,50", "EUR", "--image", MOON), "is no amount"),
        (("A", "1", "DEM", "--image", MOON), "no currency of ISO 4217"),
        (("A\x1b[31m", "1", "EUR", "--image", MOON), "do not show"),
        (("A" * 201, "1", "EUR", "--image", MOON), "the limit is 200"),
        ((" ", "1", "EUR", "--image", MOON), "reference is empty"),
    ],
)
def test_what_cannot_be_recorded_says_what_to_do_and_leaves_nothing(
    space: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(space)
    ran = command(space, "revenue", "add", *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert told in ran.stderr
    assert "next: " in ran.stderr
    assert "\x1b" not in ran.stderr
    assert rows(space, "SELECT count(*) AS n FROM revenue") == [{"n": 0}]


def test_an_import_lists_its_bad_rows_and_keeps_the_good_ones(space: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "sales.csv",
        "reference;amount;currency;sha256;date",
        f"A;1.50;EUR;{MOON};2026-01-02",
        f"B;1,50;EUR;{MOON};2026-01-02",
        f"C;700;JPY;{SUN};2026-01-03",
        f"A;1.50;EUR;{MOON};2026-01-02",
        f"D;1.2345;CLF;{SUN};2026-01-04",
    )
    ran = command(space, "revenue", "import", file, "--json")
    assert ran.code == 1
    assert ran.json["counts"] == {"added": 3, "there_already": 0, "cancelled": 0, "refused": 2}
    assert [(row["line"], row["reference"]) for row in ran.json["refused"]] == [(3, "B"), (5, "A")]
    assert "refused: line 3: 'B': '1,50' is no amount." in ran.stderr
    before = head(space)
    assert before == [{"batch": 0, "n": 1}]
    again = command(space, "revenue", "import", file, "--json")
    assert (again.code, again.json["counts"]["there_already"]) == (1, 3)
    assert head(space) == before
    lines = answer(space, "revenue", "list", "--period", "2026-01-03..2026-02-01")["lines"]
    assert [(line["reference"], line["amount"]) for line in lines] == [("C", "700"), ("D", "1.2345")]


def test_a_file_that_is_no_table_records_nothing(space: Path, tmp_path: Path) -> None:
    ran = command(space, "revenue", "import", write(tmp_path / "a.csv", "reference,price"))
    assert (ran.code, "next: Known: reference" in ran.stderr) == (2, True)
    assert command(space, "revenue", "import", tmp_path / "none.csv").code == 2
    assert command(space, "revenue", "import", tmp_path).code == 2


def test_a_cancelled_line_is_listed_as_such(space: Path) -> None:
    for reference in ("A", "B"):
        assert command(space, "revenue", "add", reference, "1", "EUR", "--image", MOON).code == 0
    done = answer(space, "revenue", "cancel", "A", "--reason", "refunded")
    assert (done["was"], done["state"]) == ("open", "cancelled")
    again = command(space, "revenue", "cancel", "A", "--reason", "refunded", "--json")
    assert (again.code, again.json["was"]) == (0, "cancelled")
    assert "nothing was changed" in again.stderr
    added = command(space, "revenue", "add", "A", "1", "EUR", "--image", MOON)
    assert (added.code, "it will not be settled" in added.stderr) == (0, True)
    for state, reference in (("cancelled", "A"), ("open", "B")):
        lines = answer(space, "revenue", "list", "--state", state)["lines"]
        assert [line["reference"] for line in lines] == [reference]
    missing = command(space, "revenue", "cancel", "C", "--reason", "refunded")
    assert (missing.code, "next: fairbrush revenue list" in missing.stderr) == (2, True)


def test_cancelling_a_settled_line_takes_its_money_back(space: Path) -> None:
    """One line is settled beside it and stays so; both went to the fund, as nobody is credited."""
    now = datetime(2026, 2, 3, 12)
    for reference, amount in (("A", "2.00"), ("B", "0.40")):
        words = ("revenue", "add", reference, amount, "EUR", "--image", MOON, "--date", "2026-01-02")
        assert command(space, *words).code == 0
    with open_registry(space) as store:
        with store.transaction() as connection:
            row = (digest("v0001"), "v0001", None, "mini", "space", 5, 30, 0.25, now)
            insert_chained(connection, INDEX_VERSIONS, [row], now=now)
        policy = adopt(store, {}, effective_from=date(2026, 1, 1), now=now, current=Pins("space", "v0001"))
    one = record("moon", artists=())
    identity = {
        **one.body["identity"],
        "policy_digest": policy.split.digest,
        "value_function": {"name": policy.split.value, "parameters": {}},
    }
    write_pending(space / "records", [replace(one, body={**one.body, "identity": identity})])
    assert rows(space, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]
    with open_registry(space) as store:
        settle(store, parse_period("2026-01"), now=now)
    assert [line["state"] for line in answer(space, "revenue", "list")["lines"]] == ["settled", "settled"]
    assert answer(space, "revenue", "cancel", "A", "--reason", "refunded")["was"] == "settled"
    states = {line["reference"]: line["state"] for line in answer(space, "revenue", "list")["lines"]}
    assert states == {"A": "cancelled", "B": "settled"}
    with open_registry(space, readonly=True) as store:
        held = balances(store.connection)
    assert sum(held.values()) == 0
    assert {account.kind: amount for (account, _), amount in held.items()}[AccountKind.REVENUE] == -40


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are looked for in /proc")
def test_ctrl_c_in_an_import_leaves_nothing_half_written(space: Path, tmp_path: Path) -> None:
    assert command(space, "revenue", "list").code == 0
    before = head(space)
    lines = [f"R-{n},1,EUR,{digest(n)}" for n in range(25_000)]
    file = write(tmp_path / "many.csv", "reference,amount,currency,sha256", *lines)
    process = subprocess.Popen(
        [sys.executable, "-m", "fairbrush", "--workspace", str(space), "revenue", "import", str(file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not has_open(process.pid, file) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.3)  # some thousand rows
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert rows(space, "SELECT count(*) AS n FROM revenue") == [{"n": 0}]
    assert head(space) == before
    done = answer(space, "revenue", "import", file)
    assert done["counts"] == {"added": 25_000, "there_already": 0, "cancelled": 0, "refused": 0}


def has_open(process: int, file: Path) -> bool:
    """Whether a process is reading that file now."""
    opened = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            opened.add(str(link.readlink()))
    return str(file) in opened


def test_every_format_of_the_list(space: Path) -> None:
    assert command(space, "revenue", "list").stdout == b"(nothing)\n"
    assert command(space, "revenue", "list", "--csv").stdout.startswith(b"reference,amount,currency,")
    assert command(space, "revenue", "add", "=A", "1", "JPY", "--image", MOON).code == 0
    assert json.loads(command(space, "revenue", "list", "--nl").stdout)["reference"] == "=A"
    assert command(space, "revenue").code == 2
