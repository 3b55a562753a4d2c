"""Look-ups under a calibration: only where asked, covered or refused, recorded, recomputed, explained."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrations import NOW, calibration, part
from running import Fairbrush
from test_import_hygiene import HEAVY, REPORT
from workspaces import Gallery, answer, command, pending, rows

from fairbrush.attribution import Attribution
from fairbrush.config import load_settings
from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Value
from fairbrush.errors import CalibrationError, PolicyError
from fairbrush.index.search import open_index
from fairbrush.lookup import Lookup
from fairbrush.rechecking import Outcome, Rechecker
from fairbrush.style.calibration import Calibration, Isotonic, Power, calibration_file
from fairbrush.style.kept_calibrations import keep_calibration


def keep(workspace: Path, **changed: Any) -> Calibration:
    """A calibration for the workspace's own index, kept in it."""
    index = open_index(workspace / "indexes")
    said = {"encoder_id": index.encoder_id, "space_id": index.space_id, "models": {"sd-1.5": part()}}
    one = calibration(**said | changed)
    with open_registry(workspace) as store:
        keep_calibration(store, workspace, one, now=NOW)
    return one


def policy(workspace: Path, text: str) -> None:
    file = workspace / "fairbrush.toml"
    file.write_text(file.read_text().partition("\n[policy]\n")[0] + f"\n[policy]\n{text}\n")


def look_up(workspace: Path, images: Sequence[Path], **options: Any) -> list[Attribution]:
    settings = load_settings(workspace=workspace, environ={})
    with Lookup(settings, record=False, **options) as lookup:
        found = [one.attribution for one in lookup.attribute(images)]
    assert None not in found
    return [one for one in found if one is not None]


def beside_the_panel(workspace: Path) -> np.ndarray:
    """A centre of queries a little off the panel's mean."""
    mean = open_index(workspace / "indexes").space.centre
    spread = 0.05 * np.abs(mean).mean()
    return (mean + np.random.default_rng(0).normal(scale=spread, size=mean.size)).astype(np.float32)


def every_work(gallery: Gallery) -> list[Path]:
    return [path for paths in gallery.works.values() for path in paths]


@pytest.mark.parametrize("value", [Value.BLEND, Value.NEAREST, Value.FACETS])
def test_gamma_1_without_shift_and_centre_gives_todays_shares_under_another_id(
    workspace: Path, gallery: Gallery, value: Value
) -> None:
    same = keep(workspace, map=Power(1.0), shift=0.0, value=value)
    works = every_work(gallery)[:8]
    plain = look_up(workspace, works, value=value)
    mapped = look_up(workspace, works, value=value, calibration=same.calibration_id[:8])
    for one, other in zip(plain, mapped, strict=True):
        assert [(a.artist, a.share_e12, a.phi, a.z) for a in one.artists] == [
            (a.artist, a.share_e12, a.phi, a.z) for a in other.artists
        ]
        assert (one.model_share_e12, one.unattributed_e12) == (other.model_share_e12, other.unattributed_e12)
        assert one.identity | {"calibration_id": same.calibration_id} == other.identity
        assert one.attribution_id != other.attribution_id


def test_nothing_is_calibrated_unless_asked_and_none_switches_the_policys_off(
    workspace: Path, gallery: Gallery
) -> None:
    one = keep(workspace)
    image = [gallery.credited]
    [before] = look_up(workspace, image)
    assert (before.identity["calibration_id"], before.calibration) == (None, None)
    policy(workspace, f'calibration = "{one.calibration_id[:8]}"')
    [under] = look_up(workspace, image)
    assert under.identity["calibration_id"] == one.calibration_id
    parameters = under.identity["value_function"]["parameters"]
    assert (float(parameters["delta"]), float(parameters["entry"])) == (under.game.delta, under.game.entry)
    assert under.game.delta == before.game.delta + 0.02
    [off] = look_up(workspace, image, calibration="none")
    assert (off.attribution_id, off.artists) == (before.attribution_id, before.artists)
    other = keep(workspace, shift=0.01)
    [asked] = look_up(workspace, image, calibration=other.calibration_id)
    assert asked.identity["calibration_id"] == other.calibration_id


def test_b_is_the_models_own_and_the_policys_digest_is_of_that(workspace: Path, gallery: Gallery) -> None:
    one = keep(workspace, models={"sd-1.5": part("0.25"), "mine": part(None)})
    assert command(workspace, "model", "add", "mine").code == 0
    policy(workspace, "b = 0.25")
    [plain] = look_up(workspace, [gallery.credited])
    policy(workspace, f'b = "calibrated:{one.calibration_id}"')
    [measured] = look_up(workspace, [gallery.credited])
    assert measured.attribution_id == plain.attribution_id  # b is all that it was asked for
    assert measured.policy.b == "0.25"
    with pytest.raises(CalibrationError, match="has no b for mine"):
        look_up(workspace, [gallery.credited], model="mine")


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, {"value": Value.NEAREST}, "for the value function blend, not nearest"),
        ({}, {"value": Value.RECONSTRUCTION}, "for the value function blend, not reconstruction"),
        ({"encoder_id": "clip"}, {}, "for the encoder clip, not"),
        ({"space_id": "other"}, {}, "for the style space other, not"),
        ({"models": {"mine": part()}}, {}, "does not cover the model sd-1.5: it was fitted on mine"),
        ({"models": {"sd-1.5": part(centre=np.zeros(3, np.float32))}}, {}, "centres queries of 3 dims"),
    ],
)
def test_what_a_calibration_does_not_cover_is_refused_not_ignored(
    workspace: Path, gallery: Gallery, changed: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    one = keep(workspace, **changed)
    with pytest.raises(CalibrationError, match=message):
        look_up(workspace, [gallery.credited], calibration=one.calibration_id, **options)


def test_unknown_altered_and_badly_named_calibrations_cannot_run(workspace: Path, gallery: Gallery) -> None:
    one = keep(workspace)
    image = gallery.credited
    for name, message in [("0" * 8, "There is no calibration 00000000"), ("best", "is named by its id")]:
        ran = command(workspace, "attribute", image, "--calibration", name)
        assert (ran.code, ran.stdout, message in ran.stderr) == (2, b"", True), ran.stderr
    ran = command(workspace, "validate", image, "--calibration", "0" * 8)
    assert (ran.code, "There is no calibration 00000000" in ran.stderr) == (2, True), ran.stderr
    inputs = command(
        workspace, "attribute", image, "--inputs", f"{image}:1", "--calibration", one.calibration_id
    )
    assert (inputs.code, "for the value function blend, not mix" in inputs.stderr) == (2, True), inputs.stderr
    assert "--calibration none" in inputs.stderr
    policy(workspace, 'calibration = "best"')
    with pytest.raises(PolicyError, match="calibration = 'best'"):
        look_up(workspace, [image])
    policy(workspace, f'calibration = "{one.calibration_id}"')
    file = calibration_file(workspace, one.calibration_id)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"0.02"', b'"0.03"'))
    ran = command(workspace, "attribute", image)
    assert (ran.code, "its digest is another" in ran.stderr) == (2, True)
    assert "its digest is another" in command(workspace, "doctor").text
    assert pending(workspace) == []
    file.unlink()
    assert command(workspace, "attribute", image).code == 2
    listed = command(workspace, "calibration", "list")
    assert (listed.code, "Written again for look-ups: 1." in listed.stderr) == (0, True)
    assert file.read_bytes() == whole
    assert command(workspace, "attribute", image).code == 0


@pytest.mark.parametrize("value", [Value.BLEND, Value.NEAREST, Value.FACETS])
def test_records_under_a_calibration_come_out_the_same_and_old_ones_stay(
    workspace: Path, gallery: Gallery, value: Value
) -> None:
    works = next(iter(gallery.works.values()))[:3]
    assert command(workspace, "attribute", *works, "--value", value).code == 0
    old = rows(workspace, "SELECT attribution_id, body_digest FROM attribution ORDER BY ALL")
    bent = Isotonic(((0.0, 0.0), (0.05, 0.001), (0.5, 0.2), (1.0, 1.0)))
    centred = {"sd-1.5": part(centre=beside_the_panel(workspace))}
    one = keep(workspace, map=bent, shift=-0.05, value=value, models=centred)
    words = ("attribute", *works, "--value", value, "--calibration", one.calibration_id)
    assert command(workspace, *words).code == 0
    known = {row["attribution_id"] for row in old}
    ids = [row["attribution_id"] for row in rows(workspace, "SELECT attribution_id FROM attribution")]
    assert len(ids) == 6
    assert rows(
        workspace,
        "SELECT count(*) AS n FROM attribution JOIN attribution_share USING (attribution_id)"
        " WHERE calibration_id IS NOT NULL",
    )[0]["n"]
    stored = rows(workspace, "SELECT attribution_id, body_digest FROM attribution ORDER BY ALL")
    assert [row for row in stored if row["attribution_id"] in known] == old
    with open_registry(workspace) as store:
        rechecker = Rechecker(store, cache_folder=workspace / "embeddings")
        for attribution_id in ids:
            found = rechecker.recheck(attribution_id)
            assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.SAME), found
        store.connection.execute("DELETE FROM calibration")
        rechecker = Rechecker(store, cache_folder=workspace / "embeddings")
        for attribution_id in set(ids) - known:
            found = rechecker.recheck(attribution_id)
            assert (found.played.outcome, found.measured.outcome) == (Outcome.SAME, Outcome.IMPOSSIBLE)
            assert "There is no calibration" in found.measured.detail


@pytest.mark.parametrize("worth_map", [Power(0.5), Power(2.0)])
def test_intervals_hold_the_calibrated_shares(workspace: Path, gallery: Gallery, worth_map: Power) -> None:
    one = keep(workspace, map=worth_map, shift=-0.1)
    found = look_up(workspace, every_work(gallery)[:12], calibration=one.calibration_id)
    shares = [share for attribution in found for share in attribution.artists]
    mixed = [share for share in shares if share.share < 0.5]
    assert mixed
    for share in shares:
        assert share.interval is not None
        assert share.interval[0] - 1e-9 <= share.share <= share.interval[1] + 1e-9


def test_explain_names_the_calibration_and_what_it_changed(workspace: Path, gallery: Gallery) -> None:
    centre = part(centre=beside_the_panel(workspace))
    one = keep(workspace, map=Power(0.5), shift=-0.1, models={"sd-1.5": centre})
    words = ("attribute", gallery.credited, "--calibration", one.calibration_id, "--explain", "--no-record")
    ran = command(workspace, *words)
    said = (
        f"calibrated by {one.calibration_id[:12]}: a worth v counts as v^0.5; the thresholds moved by -0.1000"
    )
    assert f"{said}, the query centred at what sd-1.5 draws for nobody" in ran.text
    assert "without that map" in ran.text
    [document] = answer(workspace, *words)["attributions"]
    told = document["explain"]["calibration"]
    assert (told["calibration_id"], told["shift"], told["is_centred"]) == (one.calibration_id, -0.1, True)
    assert told["map"] == {"kind": "power", "gamma": "0.5"}
    assert sum(row["share"] for row in told["without_map"]) == pytest.approx(0.5)
    assert document["calibration_id"] == one.calibration_id
    plain = answer(workspace, "attribute", gallery.credited, "--explain", "--no-record")["attributions"][0]
    assert plain["explain"]["calibration"] is None


def test_an_erased_artist_is_never_credited_whatever_the_calibration(
    workspace: Path, gallery: Gallery
) -> None:
    artist, works = next((a, w) for a, w in gallery.works.items() if gallery.credited in w)
    one = keep(workspace, shift=-1.0)
    policy(workspace, f'calibration = "{one.calibration_id}"\nb = "calibrated:{one.calibration_id}"')
    settings = load_settings(workspace=workspace, environ={})
    with Lookup(settings, record=False) as lookup:  # opened before
        copy = workspace / "copy.webp"
        copy.write_bytes(gallery.credited.read_bytes())
        [before] = lookup.attribute([copy])
        assert before.attribution is not None
        assert artist in {share.artist.name for share in before.attribution.artists}
        assert command(workspace, "artist", "erase", artist, "--yes").code == 0
        for found in lookup.attribute([copy, works[-1]]):
            assert found.attribution is not None
            assert artist not in {share.artist.name for share in found.attribution.artists}
            assert found.attribution.identity["calibration_id"] == one.calibration_id


def test_a_cached_look_up_under_a_calibration_loads_no_database_and_no_encoder(
    fairbrush: Fairbrush, gallery: Gallery, workspace: Path
) -> None:
    one = keep(workspace)
    policy(workspace, f'calibration = "{one.calibration_id}"\nb = "calibrated:{one.calibration_id}"')
    arguments = ("--workspace", workspace, "attribute", gallery.credited, "--json")
    ran = fairbrush(*arguments, program=("-c", REPORT))
    assert ran.json["attributions"][0]["calibration_id"] == one.calibration_id
    assert ran.json["attributions"][0]["b"] == 0.4
    assert len(pending(workspace)) == 1
    assert set(ran.stderr.split()) & (HEAVY | {"PIL", "scipy"}) == {"lmdb", "faiss"}


def test_calibrations_are_listed_and_shown(workspace: Path) -> None:
    empty = command(workspace, "calibration", "list")
    assert (empty.code, "next: fairbrush calibrate" in empty.stderr) == (0, True)
    one = keep(workspace, models={"sd-1.5": part("0.40"), "mine": part(None)})
    [listed] = answer(workspace, "calibration", "list")["calibrations"]
    assert listed["calibration_id"] == one.calibration_id
    assert (listed["value"], listed["map"], listed["models"]) == (
        "blend",
        "a worth v counts as v^0.7",
        "mine, sd-1.5",
    )
    shown = answer(workspace, "calibration", "show", one.calibration_id[:10])
    assert shown["calibration"] == json.loads(json.dumps(one.body()))
    table = command(workspace, "calibration", "show", one.calibration_id)
    assert (table.code, "0.4 " in table.text, "sd-1.5" in table.text) == (0, True, True)
    unknown = command(workspace, "calibration", "show", "0" * 12)
    assert (unknown.code, "There is no calibration" in unknown.stderr) == (2, True)


def test_a_model_that_the_policys_calibration_does_not_cover_can_still_be_measured(
    workspace: Path, gallery: Gallery
) -> None:
    """Else no calibration could ever be fitted for it."""
    one = keep(workspace)
    assert command(workspace, "model", "add", "mine").code == 0
    policy(workspace, f'b = "calibrated:{one.calibration_id}"\ncalibration = "{one.calibration_id}"')
    asked = [gallery.credited, "--model", "mine", "--calibration", "none"]
    ran = command(workspace, "attribute", *asked)
    assert (ran.code, "has no b for mine" in ran.stderr) == (2, True), ran.stderr
    assert "b = 0.5" in ran.stderr
    assert "--calibration none" not in ran.stderr, "that would not help"
    # what draws is looked for after the look-up was opened
    nowhere = ["--weights", workspace / "nowhere"]
    for words in (["validate", *asked, "--prompt", "a fox"], ["recognize", "--all", "--model", "mine"]):
        ran = command(workspace, *words, *nowhere)
        assert (ran.code, "There is no model at" in ran.stderr) == (2, True), ran.stderr
    settings = load_settings(workspace=workspace, environ={})
    with Lookup(settings, record=False, model="mine", calibration="none", needs_b=False) as lookup:
        assert (lookup.policy.b, lookup.index.shift) == ("0.5", 0.0)
        assert "b = 0.5 is assumed" in lookup.assumed_b
    with Lookup(settings, record=False, needs_b=False) as lookup:
        assert (lookup.policy.b, lookup.assumed_b) == ("0.4", "")
