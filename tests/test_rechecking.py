"""Past answers computed again: from what the record carries, and from the image's vector."""

import json
from pathlib import Path
from typing import Any

import pytest
from workspaces import Gallery, command, rows

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.changes import open_registry
from fairbrush.errors import RecordError
from fairbrush.ledger.records import find_attribution
from fairbrush.rechecking import Outcome, Recheck, Rechecker, play_again


def recheck(workspace: Path, attribution_id: str) -> Recheck:
    with open_registry(workspace, readonly=True) as store:
        return Rechecker(store, cache_folder=workspace / "embeddings").recheck(attribution_id)


@pytest.fixture
def recorded(workspace: Path, gallery: Gallery) -> dict[str, Any]:
    """The record of an image that credits somebody."""
    assert command(workspace, "attribute", gallery.credited).code == 0
    (row,) = rows(workspace, "SELECT attribution_id, body::VARCHAR AS body FROM attribution")
    return {**row, "body": json.loads(row["body"])}


def test_an_answer_is_the_same_again_from_its_inputs_and_from_its_vector(
    workspace: Path, recorded: dict[str, Any]
) -> None:
    found = recheck(workspace, recorded["attribution_id"])
    assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.SAME)
    assert found.is_sound


@pytest.mark.parametrize("value", ["nearest", "facets", "blend", "reconstruction"])
def test_every_value_function_comes_out_the_same(workspace: Path, gallery: Gallery, value: str) -> None:
    works = next(iter(gallery.works.values()))
    assert command(workspace, "attribute", *works, "--value", value).code == 0
    ids = [row["attribution_id"] for row in rows(workspace, "SELECT attribution_id FROM attribution")]
    assert len(ids) == len(works)
    for attribution_id in ids:
        found = recheck(workspace, attribution_id)
        assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.SAME), found


def test_a_share_that_is_not_what_the_inputs_give_is_told(recorded: dict[str, Any]) -> None:
    body = recorded["body"]
    body["shares"][0]["share_e12"] -= 1
    body["model_share_e12"] += 1
    found = play_again(body)
    assert found.outcome is Outcome.DIFFERENT
    assert str(body["model_share_e12"]) in found.detail


def test_an_altered_record_is_told(workspace: Path, recorded: dict[str, Any]) -> None:
    body = recorded["body"]
    body["shares"][0]["share_e12"] -= 1
    with open_registry(workspace) as store:
        store.connection.execute("UPDATE attribution SET body = ?", [json.dumps(body)])
    found = recheck(workspace, recorded["attribution_id"])
    assert found.played.outcome is Outcome.DIFFERENT
    assert not found.is_sound


def test_after_consent_has_changed_the_credited_are_measured_again(
    workspace: Path, recorded: dict[str, Any], gallery: Gallery
) -> None:
    credited = recorded["body"]["shares"][0]["artist_id"]
    other = next(
        row["artist_id"]
        for row in rows(workspace, "SELECT artist_id FROM artist ORDER BY artist_id")
        if row["artist_id"] != credited
    )
    assert command(workspace, "artist", "consent", other, "opted_out").code == 0
    found = recheck(workspace, recorded["attribution_id"])
    assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.PARTLY)


def test_a_vector_that_is_not_the_one_recorded_is_told(workspace: Path, recorded: dict[str, Any]) -> None:
    body = recorded["body"]
    body["identity"]["image_sha256"] = next(
        row["sha256"]
        for row in rows(workspace, "SELECT sha256 FROM work ORDER BY sha256")
        if row["sha256"] != body["identity"]["image_sha256"]
    )
    forged = canonical_digest(body["identity"])
    with open_registry(workspace) as store:
        store.connection.execute(
            "UPDATE attribution SET attribution_id = ?, body = ?, body_digest = ?",
            [forged, json.dumps(body), canonical_digest(body)],
        )
    found = recheck(workspace, forged)
    assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.DIFFERENT)
    assert "game" in found.measured.detail


def test_without_the_vector_the_inputs_still_give_the_shares(
    workspace: Path, recorded: dict[str, Any], tmp_path: Path
) -> None:
    with open_registry(workspace, readonly=True) as store:
        found = Rechecker(store, cache_folder=tmp_path / "none").recheck(recorded["attribution_id"])
    assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.IMPOSSIBLE)
    assert found.is_sound


def test_a_record_is_found_by_the_beginning_of_its_id(workspace: Path, recorded: dict[str, Any]) -> None:
    with open_registry(workspace, readonly=True) as store:
        found = find_attribution(store.connection, recorded["attribution_id"][:8])
        assert found == recorded["attribution_id"]
        for unknown in (recorded["attribution_id"][:7], "0" * 64, ""):
            with pytest.raises(RecordError, match="There is no record"):
                find_attribution(store.connection, unknown)
