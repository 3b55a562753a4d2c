"""Fidelity: figures with a source, inherited by fine-tunes, gone with an erased artist."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from workspaces import answer, command

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.erasure import erase_artist
from fairbrush.corpus.fidelity import Fidelity, parse_fidelity, read_fidelity, record_fidelity
from fairbrush.corpus.membership import add_model
from fairbrush.corpus.registry import add_artist
from fairbrush.errors import RegistryError
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
BASE = "sd-1.5"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_workspace(tmp_path)
    with open_registry(tmp_path) as opened:
        add_model(opened, "tune", base=BASE, now=NOW)
        add_model(opened, "tune-2", base="tune", now=NOW)
        yield opened


def artist(store: Store, name: str) -> str:
    return add_artist(store, name)[0].artist_id


def record(store: Store, model_id: str, artist_id: str, fidelity_e6: int, **changed: object) -> Fidelity:
    said = {"is_reproducible": True, "source": "by eye", "now": NOW} | changed
    return record_fidelity(store, model_id, artist_id, fidelity_e6=fidelity_e6, **said)  # type: ignore[arg-type]


def test_a_fine_tune_inherits_and_its_own_figure_overrides(store: Store) -> None:
    ann, bo = artist(store, "Ann"), artist(store, "Bo")
    of_base, of_bo = record(store, BASE, ann, 800_000), record(store, BASE, bo, 100_000)
    of_tune = record(store, "tune", ann, 0, is_reproducible=False)
    assert read_fidelity(store.connection) == {
        (BASE, ann): of_base,
        (BASE, bo): of_bo,
        ("tune", ann): of_tune,
        ("tune", bo): of_bo,
        ("tune-2", ann): of_tune,
        ("tune-2", bo): of_bo,
    }
    assert (of_base.fraction, of_base.model_id) == (Fraction(4, 5), BASE)


def test_a_newer_figure_replaces_the_older(store: Store) -> None:
    ann = artist(store, "Ann")
    record(store, BASE, ann, 800_000)
    later = record(store, BASE, ann, 700_000, source="regenerated 40 times", now=NOW + timedelta(days=1))
    assert read_fidelity(store.connection)[BASE, ann] == later
    assert store.connection.execute("SELECT count(*) FROM fidelity").fetchall() == [(1,)]


def test_an_erased_artist_has_no_figure_and_gets_none(store: Store) -> None:
    ann, bo = artist(store, "Ann"), artist(store, "Bo")
    record(store, BASE, ann, 800_000)
    kept = record(store, BASE, bo, 100_000)
    erase_artist(store, ann)
    assert set(read_fidelity(store.connection).values()) == {kept}
    with pytest.raises(RegistryError, match="is erased"):
        record(store, BASE, ann, 800_000)


def test_a_figure_needs_a_model_an_artist_and_a_source(store: Store) -> None:
    ann = artist(store, "Ann")
    with pytest.raises(RegistryError, match="No model is called 'absent'"):
        record(store, "absent", ann, 0)
    with pytest.raises(RegistryError, match="is not registered"):
        record(store, BASE, "nobody", 0)
    with pytest.raises(RegistryError, match="how the figure was measured"):
        record(store, BASE, ann, 0, source=" ")
    assert read_fidelity(store.connection) == {}


@pytest.mark.parametrize("text", ["1.1", "-0.1", "0.1234567", "nan", "inf", "high", "", "1e400", "1e-400"])
def test_a_fidelity_is_a_number_from_0_to_1(text: str) -> None:
    with pytest.raises(RegistryError, match="number from 0 to 1 with at most 6 decimals"):
        parse_fidelity(text)


def test_a_figure_is_recorded_and_listed_by_command(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    for words in (["artist", "add", "Ann"], ["model", "add", "tune", "--base", BASE]):
        assert command(tmp_path, *words).code == 0
    recorded = command(
        tmp_path, "model", "fidelity", BASE, "ann", "0.85", "--reproducible", "--source", "by eye"
    )
    assert recorded.code == 0, recorded.stderr
    document = answer(tmp_path, "model", "fidelity", "tune")
    (row,) = document["artists"]
    assert document["schema"] == "fairbrush.model_fidelity/1"
    assert (row["artist"], row["fidelity"], row["reproducible"], row["from"], row["source"]) == (
        "Ann",
        0.85,
        True,
        BASE,
        "by eye",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Ann"], "belong together"),
        (["Ann", "0.5", "--source", "x"], "belong together"),
        (["Ann", "0.5", "--reproducible"], "belong together"),
        (["Ann", "85", "--reproducible", "--source", "x"], "number from 0 to 1"),
        (["Bo", "0.5", "--reproducible", "--source", "x"], "No artist is called 'Bo'"),
        (["--source", "x"], "belong together"),
    ],
)
def test_a_figure_that_is_half_said_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    create_workspace(tmp_path)
    assert command(tmp_path, "artist", "add", "Ann").code == 0
    ran = command(tmp_path, "model", "fidelity", BASE, *words)
    assert (ran.code, message in ran.stderr) == (2, True), ran.stderr
    assert answer(tmp_path, "model", "fidelity", BASE)["artists"] == []
