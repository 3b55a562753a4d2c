"""eligibility.json: follows every change, survives a crash, needs no database to be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest

from fairbrush import store as store_module
from fairbrush.corpus import consent, registry
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.eligibility import (
    ELIGIBILITY_NAME,
    Eligibility,
    UpcomingConsent,
    read_eligibility,
    write_eligibility,
)
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.membership import Membership, record_memberships
from fairbrush.corpus.people import rename_creator
from fairbrush.corpus.registry import add_artist, change_aliases
from fairbrush.domain import Artist, Consent, Trained
from fairbrush.errors import EligibilityError, RegistryError
from fairbrush.workspace import create_workspace

MODEL = "sd-1.5"
NOW = datetime(2026, 6, 1)


def entry(consent: Consent, artist_id: str = "a", name: str = "Ann") -> Artist:
    return Artist(artist_id, name, "c", "p", consent)


def workspace_with(tmp_path: Path, *names: str) -> tuple[Path, list[str]]:
    folder = tmp_path / "space"
    create_workspace(folder)
    with open_registry(folder) as store:
        return folder, [add_artist(store, name)[0].artist_id for name in names]


@pytest.mark.parametrize(
    ("consent", "credited"), [("opted_in", True), ("unclaimed", True), ("opted_out", False)]
)
def test_consent_decides_who_may_be_credited(consent: str, credited: bool) -> None:
    eligibility = Eligibility({"a": entry(Consent(consent))}, {MODEL: frozenset(), "other": frozenset("a")})
    assert eligibility.may_be_credited("a", MODEL) is credited
    assert eligibility.eligible(MODEL) == (["a"] if credited else [])
    assert eligibility.eligible("other") == []
    assert not eligibility.may_be_credited("absent", MODEL)
    with pytest.raises(RegistryError, match=r"not registered.*other, sd-1.5"):
        eligibility.eligible("absent")


def test_digest_covers_ids_consent_and_outside_but_no_name() -> None:
    base = Eligibility({"a": entry(Consent.UNCLAIMED)}, {MODEL: frozenset()})
    renamed = Eligibility({"a": entry(Consent.UNCLAIMED, name="Bo")}, {MODEL: frozenset()}, revision=7)
    assert renamed.digest == base.digest
    others = [
        Eligibility({"a": entry(Consent.OPTED_IN)}, {MODEL: frozenset()}),
        Eligibility({"a": entry(Consent.UNCLAIMED)}, {MODEL: frozenset("a")}),
        Eligibility({"a": entry(Consent.UNCLAIMED)}, {}),
        Eligibility({}, {MODEL: frozenset()}),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 5


def test_upcoming_consent_takes_effect_at_its_time() -> None:
    later = UpcomingConsent(NOW, "a", Consent.OPTED_OUT)
    eligibility = Eligibility({"a": entry(Consent.UNCLAIMED)}, {MODEL: frozenset()}, 1, (later,))
    before, after = eligibility.at(NOW - timedelta(seconds=1)), eligibility.at(NOW)
    assert before.eligible(MODEL) == ["a"]
    assert after.eligible(MODEL) == []
    assert before.digest != after.digest


def test_every_change_is_in_the_file_when_the_call_returns(tmp_path: Path) -> None:
    folder, (ann, bo) = workspace_with(tmp_path, "Ann", "Bo")
    assert read_eligibility(folder).eligible(MODEL) == sorted([ann, bo])
    with open_registry(folder) as store:
        set_consent(store, ann, Consent.OPTED_OUT)
        assert read_eligibility(folder).eligible(MODEL) == [bo]
        set_consent(store, ann, Consent.OPTED_IN)
        assert read_eligibility(folder).eligible(MODEL) == sorted([ann, bo])
        record_memberships(store, [Membership(MODEL, bo, Trained.NO)])
        assert read_eligibility(folder).eligible(MODEL) == [ann]
        rename_creator(store, read_eligibility(folder).artists[ann].creator_id, "Studio")
        erase_artist(store, ann)
    assert read_eligibility(folder).eligible(MODEL) == []
    assert list(read_eligibility(folder).artists) == [bo]


def test_upcoming_event_is_written_and_read_back(tmp_path: Path) -> None:
    folder, (ann,) = workspace_with(tmp_path, "Ann")
    with open_registry(folder) as store:
        assert set_consent(store, ann, Consent.OPTED_OUT, at=datetime(9000, 1, 1)) is Consent.UNCLAIMED
    assert read_eligibility(folder).eligible(MODEL) == [ann]
    assert read_eligibility(folder, now=datetime(9000, 1, 2)).eligible(MODEL) == []


def test_event_that_falls_due_while_the_file_is_written_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (ann,) = workspace_with(tmp_path, "Ann")
    due = datetime(9000, 1, 1)
    with open_registry(folder) as store:
        set_consent(store, ann, Consent.OPTED_OUT, at=due)
        clock = count()

        def passing() -> datetime:  # each look at the clock is later: before the event, then after it
            return due + timedelta(seconds=2 * next(clock) - 1)

        for module in (store_module, registry, consent):
            monkeypatch.setattr(module, "utc_now", passing)
        write_eligibility(store)
    assert read_eligibility(folder, now=due + timedelta(hours=1)).eligible(MODEL) == []


def test_kill_between_commit_and_file_is_repaired_by_the_next_command(tmp_path: Path) -> None:
    folder, (ann,) = workspace_with(tmp_path, "Ann")
    program = f"""
        import os, signal
        from pathlib import Path
        from fairbrush.corpus import changes
        from fairbrush.corpus.consent import set_consent
        from fairbrush.domain import Consent
        changes.write_eligibility = lambda store: os.kill(os.getpid(), signal.SIGKILL)
        with changes.open_registry(Path({str(folder)!r})) as store:
            set_consent(store, {ann!r}, Consent.OPTED_OUT)
        """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert read_eligibility(folder).eligible(MODEL) == [ann]  # the change was committed, the file is behind
    with open_registry(folder, readonly=True):
        assert read_eligibility(folder).eligible(MODEL) == []


@pytest.mark.parametrize("damage", ["absent", "no json", "list", "digest", "consent", "schema", "upcoming"])
def test_damaged_file_is_refused_then_written_again(tmp_path: Path, damage: str) -> None:
    folder, (ann,) = workspace_with(tmp_path, "Ann")
    file = folder / ELIGIBILITY_NAME
    document = json.loads(file.read_text())
    match damage:
        case "absent":
            file.unlink()
        case "no json":
            file.write_bytes(file.read_bytes()[:40])
        case "list":
            file.write_text("[]")
        case "digest":
            file.write_text(json.dumps({**document, "digest": "0" * 64}))
        case "schema":
            file.write_text(json.dumps({**document, "schema": "fairbrush.eligibility/2"}))
        case "upcoming":
            event = {"effective_at": "2026-01-01T00:00:00", "artist_id": "nobody", "consent": "opted_out"}
            file.write_text(json.dumps({**document, "upcoming": [event]}))
        case "consent":
            document["artists"][ann]["consent"] = "opted_in"
            file.write_text(json.dumps(document))
    with pytest.raises(EligibilityError, match="fairbrush artist list"):
        read_eligibility(folder)
    with open_registry(folder, readonly=True):
        assert read_eligibility(folder).eligible(MODEL) == [ann]


def test_aliases_are_in_the_file_and_in_no_digest(tmp_path: Path) -> None:
    folder, (ann, bo) = workspace_with(tmp_path, "Ann", "Bo")
    before = read_eligibility(folder)
    with open_registry(folder) as store:
        change_aliases(store, ann, add=["Annie", "=cmd()"])
    after = read_eligibility(folder)
    assert after.names == {ann: ("Ann", "=cmd()", "Annie"), bo: ("Bo",)}
    assert after.digest == before.digest
    assert after.revision == before.revision + 1
    with open_registry(folder) as store:
        erase_artist(store, ann)
    assert read_eligibility(folder).names == {bo: ("Bo",)}
    assert b"Annie" not in (folder / ELIGIBILITY_NAME).read_bytes()


def test_a_file_from_before_aliases_is_read_and_then_completed(tmp_path: Path) -> None:
    folder, (ann,) = workspace_with(tmp_path, "Ann")
    with open_registry(folder) as store:
        change_aliases(store, ann, add=["Annie"])
    complete = (folder / ELIGIBILITY_NAME).read_bytes()
    old = json.loads(complete)
    del old["artists"][ann]["aliases"], old["sha256"]
    canonical = json.dumps(old, sort_keys=True, separators=(",", ":")).encode()
    (folder / ELIGIBILITY_NAME).write_text(json.dumps({**old, "sha256": sha256(canonical).hexdigest()}))
    assert read_eligibility(folder).eligible(MODEL) == [ann]
    assert read_eligibility(folder).names == {ann: ("Ann",)}
    with open_registry(folder, readonly=True):
        assert read_eligibility(folder).names == {ann: ("Ann", "Annie")}
    assert (folder / ELIGIBILITY_NAME).read_bytes() == complete


def test_reading_imports_neither_duckdb_nor_numpy(tmp_path: Path) -> None:
    folder, _ = workspace_with(tmp_path, "Ann")
    program = f"""
        import sys
        from pathlib import Path
        from fairbrush.corpus.eligibility import read_eligibility
        print(len(read_eligibility(Path({str(folder)!r})).eligible("sd-1.5")))
        print({{"duckdb", "numpy", "PIL", "torch", "typer"}} & set(sys.modules))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == ["1", "set()", ""]


def test_a_scheduled_opt_out_cannot_be_taken_out_of_the_file_in_silence(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    with open_registry(tmp_path) as store:
        artist, _ = add_artist(store, "Ann")
        set_consent(store, artist.artist_id, Consent.OPTED_OUT, at=datetime(2999, 1, 1))
    file = tmp_path / "indexes" / "eligibility.json"
    document = json.loads(file.read_text())
    assert document["upcoming"]
    assert read_eligibility(tmp_path).upcoming
    file.write_text(json.dumps({**document, "upcoming": []}))
    with pytest.raises(EligibilityError, match="damaged"):
        read_eligibility(tmp_path)
