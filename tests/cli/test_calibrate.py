"""``fairbrush calibrate`` as a user types it, on studies whose similarities are made up and kept for real."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from validation.tiny import digest_of
from workspaces import Gallery, answer, command, rows

from fairbrush.config import load_settings
from fairbrush.corpus.eligibility import read_eligibility
from fairbrush.domain import Artist, Value
from fairbrush.index.search import open_index
from fairbrush.lookup import Lookup
from fairbrush.store import Store
from fairbrush.validation.budget import measured_split, plan_permutations
from fairbrush.validation.calibration import calibrate, fit
from fairbrush.validation.calibration.answers import Asked, Change, FastAnswers
from fairbrush.validation.calibration.evidence import LeftOut, Row, read_rows, studies
from fairbrush.validation.generators import Sampling
from fairbrush.validation.kept import keep
from fairbrush.validation.measured import Measurement, compare, content_part
from fairbrush.validation.prompts import Template
from fairbrush.validation.study import Question, Reading, players_of
from fairbrush.validation.validate import Study

NOON = datetime(2026, 1, 2, 12)
SEEDS = 3
Worth = Callable[[Path, Artist, bool], float]  # what a name brings to an image that is, or is not, credited


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid of few changes, so that a fit is quick."""
    monkeypatch.setattr(fit, "LEVELS", (0.005, 0.01, 0.05, 0.1, 0.3))
    monkeypatch.setattr(fit, "GAMMAS", (0.5, 1.0, 2.0))


def reading(view: str, space_id: str, artists: list[Artist], brings: list[float], seed: int) -> Reading:
    """What a view would measure where each name brings so much style, and the content 0.2 of 0.5."""
    plan = plan_permutations(len(artists), budget=None, rng=np.random.default_rng(0))
    bits = plan.coalitions[:, None] >> np.arange(len(artists) + 1) & 1
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 0.002, (2, len(bits), SEEDS))
    worths = bits @ np.array([0.1, *brings])
    style = Measurement(len(artists), plan.coalitions, worths[:, None] + noise[0])
    whole = np.array([0.2, *[0.3 / len(artists)] * len(artists)])
    content = Measurement(len(artists), plan.coalitions, (bits @ whole)[:, None] + noise[1])
    split = measured_split(style, plan)
    return Reading(
        encoder_id=view,
        space_id=space_id,
        is_independent=view == "another",
        content=content,
        style=style,
        surrogate=None,
        b=content_part(content),
        split=split,
        fast=None,
        agreement=compare(None, split.shares),
    )


def kept(
    gallery: Gallery,
    folder: Path,
    *,
    worth: Worth,
    independent: Worth | None = None,
    each: int = 4,
    model: str = "",
) -> Path:
    """A copy of the gallery's workspace; each artist's first works were studied, beside the next artist."""
    workspace = Path(shutil.copytree(gallery.workspace, folder / "space"))
    names = list(gallery.works)
    works = [(work, name) for name, mine in gallery.works.items() for work in mine[:each]]
    settings = load_settings(workspace=workspace, environ={})
    with Lookup(settings, record=False, intervals=False) as lookup, Store.open(workspace) as store:
        answers = lookup.attribute([work for work, _ in works])
        for seed, ((work, name), found) in enumerate(zip(works, answers, strict=True)):
            assert found.attribution is not None
            after = names[(names.index(name) + 1) % len(names)]
            artists = [lookup.artist_named(one) for one in (name, after)]
            space_id = lookup.index.space_id
            is_credited = bool(found.attribution.artists)
            brings = [worth(work, artist, is_credited) for artist in artists]
            readings = [reading(lookup.index.encoder_id, space_id, artists, brings, seed)]
            if independent is not None:
                brings = [independent(work, artist, is_credited) for artist in artists]
                readings.append(reading("another", "its own", artists, brings, seed + 100))
            study = Study(
                question=Question(
                    work,
                    players_of(artists),
                    "a fox",
                    Template(),
                    "",
                    (1, 2, 3),
                    Sampling(2, 5.0, None, 64, 64),
                ),
                plan=plan_permutations(2, budget=None, rng=np.random.default_rng(0)),
                attribution=found.attribution,
                model_id="sd-1.5",
                model_digest=model or "d" * 64,
                precision="float32",
                readings=tuple(readings),
                images=24,
                made=24,
                notes=(),
            )
            assert keep(store, study, now=NOON) == len(readings)
    return workspace


def own(image: Path, artist: Artist, is_credited: bool) -> float:
    if not is_credited:
        return -0.1
    return 0.3 if image.parent.name == artist.name else 0.0


def nobodys(image: Path, artist: Artist, is_credited: bool) -> float:
    return -0.1


@pytest.fixture(scope="module")
def agreed(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Regeneration says of each work what the fast answer says; for reading only."""
    return kept(gallery, tmp_path_factory.mktemp("agreed"), worth=own)


@pytest.fixture(scope="module")
def denied(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder that answers agrees, an independent one sees nobody in any image; for reading only."""
    return kept(gallery, tmp_path_factory.mktemp("denied"), worth=own, independent=nobodys, each=6)


@pytest.fixture
def space(agreed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(agreed, tmp_path / "space"))


def refusal(workspace: Path, *words: Any) -> str:
    ran = command(workspace, "calibrate", *words)
    assert (ran.code, ran.stdout) == (2, b""), ran.text
    assert "\n  next: " in ran.stderr
    assert "\\n" not in ran.stderr
    assert not list((workspace / "calibrations").glob("*"))
    return ran.stderr


# ------------------------------------------------------------------ a fit, and what it says


def test_where_fast_and_regenerated_agree_the_fit_changes_nothing(agreed: Path) -> None:
    ran = command(agreed, "calibrate", "--dry-run")
    assert ran.code == 0, ran.stderr
    assert "The fit changes nothing" in ran.text
    assert "Not recommended" in ran.stderr
    assert "Nothing was kept" in ran.stderr
    document = answer(agreed, "calibrate", "--dry-run")
    assert document["schema"] == "fairbrush.calibration_fit/1"
    assert (document["map"], document["shift"]) == ({"kind": "power", "gamma": "1.0"}, 0.0)
    assert (document["images"], document["artists"], document["left_out"]) == (20, 5, {})
    [judged] = document["cross_validation"]["judged"]
    assert judged["before"] == judged["after"]
    assert (judged["is_independent"], document["is_recommended"], document["is_kept"]) == (
        False,
        False,
        False,
    )
    # an image of two of five artists has those of the other three to be fitted on: two of five
    assert document["cross_validation"]["trained_on"] == 8.0
    [part] = document["models"].values()
    assert part["b"] == pytest.approx(0.4, abs=0.01)
    assert (part["images"], part["b_defined_alone"]) == (20, 20)


def test_an_independent_encoder_judges_where_it_measured_every_image(denied: Path) -> None:
    document = answer(denied, "calibrate", "--dry-run")
    first, second = document["cross_validation"]["judged"]
    assert (first["encoder_id"], first["is_independent"]) == ("another", True)
    assert second["is_independent"] is False
    # whoever is credited is so in vain: the threshold rises, as far as it must
    assert document["shift"] > 0.0
    assert first["after"]["mis_paid"] < first["before"]["mis_paid"]
    assert first["change"]["high"] < 0.0
    assert document["is_recommended"] is True
    assert second["after"]["mis_paid"] > second["before"]["mis_paid"]
    answering = answer(denied, "calibrate", "--dry-run", "--readings", "answering")
    assert answering["cross_validation"]["judged"][0]["encoder_id"] != "another"
    assert answering["calibration_id"] != document["calibration_id"]


def test_a_calibration_is_kept_once_under_the_digest_of_what_it_says(denied: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(denied, tmp_path / "space"))
    before = rows(workspace, "SELECT * FROM attribution")
    first, again = answer(workspace, "calibrate"), answer(workspace, "calibrate")
    assert first == again
    [row] = rows(workspace, "SELECT calibration_id, value_function, body FROM calibration")
    assert (row["calibration_id"], row["value_function"]) == (first["calibration_id"], "blend")
    [file] = (workspace / "calibrations").glob("*.json")
    body = json.loads(file.read_bytes())
    assert (file.stem, body) == (first["calibration_id"], json.loads(row["body"]))
    assert body["fitted_from"]["images"] == 30
    assert body["cross_validation"]["judged"][0]["encoder_id"] == "another"
    for artist in rows(workspace, "SELECT artist_id, creator_id, name FROM artist"):
        assert not any(text in file.read_text() for text in artist.values())
    assert rows(workspace, "SELECT * FROM attribution") == before
    assert command(workspace, "ledger", "verify").code == 0


def test_every_format_has_the_same_figures(agreed: Path, tmp_path: Path) -> None:
    document = answer(agreed, "calibrate", "--dry-run")
    lines = command(agreed, "calibrate", "--dry-run", "--nl").text.splitlines()
    figures = {row["figure"]: row for row in map(json.loads, lines)}
    file = tmp_path / "fit.parquet"
    assert command(agreed, "calibrate", "--dry-run", "--format", "parquet", "-o", file).code == 0
    assert len(duckdb.sql(f"SELECT * FROM '{file}'").fetchall()) == len(figures)
    [judged] = document["cross_validation"]["judged"]
    assert figures["mis_paid"]["after"] == judged["after"]["mis_paid"]
    assert figures["b sd-1.5"]["after"] == document["models"]["sd-1.5"]["b"]
    assert figures["panel_credited"]["before"] == document["false_credit"]["panel"]["before"]


def test_images_without_a_name_give_a_centre_to_try(agreed: Path, gallery: Gallery) -> None:
    art = gallery.workspace.parent / "art"
    document = answer(agreed, "calibrate", "--dry-run", "--value", "nearest", "--unnamed", art)
    assert document["value_function"] == "nearest"
    assert document["false_credit"]["unnamed"]["sd-1.5"]["images"] == 30
    assert document["prices"][0]["unnamed"] is not None
    few = next(iter(gallery.works.values()))[0].parent
    said = refusal(agreed, "--unnamed", few)
    assert "6 images of sd-1.5 without a name are too few" in said


def test_a_model_draws_its_images_without_a_name_once(
    gallery: Gallery, agreed: Path, tiny: Path, tmp_path: Path
) -> None:
    workspace = kept(gallery, tmp_path, worth=own, model=digest_of(tiny))
    words = ["--dry-run", "--draw-unnamed", 20, "--weights", tiny]
    first = answer(workspace, "calibrate", *words, "--batch", 20)
    drawn = sorted((workspace / "regenerations").rglob("*.png"))
    assert len(drawn) == 20
    assert first["false_credit"]["unnamed"]["sd-1.5"]["images"] == 20
    assert answer(workspace, "calibrate", *words)["calibration_id"] == first["calibration_id"]
    assert sorted((workspace / "regenerations").rglob("*.png")) == drawn
    assert "by other weights" in refusal(agreed, *words)


# ------------------------------------------------------------------ what is left out


def test_who_was_erased_or_opted_out_is_no_evidence_and_that_is_said(space: Path, gallery: Gallery) -> None:
    first, second, *_ = gallery.works
    assert command(space, "artist", "consent", first, "opted_out").code == 0
    said = refusal(space)
    # each artist plays in the images of its own and of the one before
    assert "12 images in which 4 artists played are too few" in said
    assert "8 left out: somebody who played may not be credited now" in said
    assert command(space, "artist", "erase", second, "--yes").code == 0
    said = refusal(space)
    assert "8 left out: somebody who played is erased or unknown" in said
    assert "4 left out: somebody who played may not be credited now" in said


def test_images_whose_vectors_are_gone_are_left_out(space: Path) -> None:
    shutil.rmtree(space / "embeddings")
    said = refusal(space)
    assert "20 left out: its vector is gone from the cache" in said
    assert "next: Embed these images again" in said


def test_a_row_that_was_altered_is_no_evidence(space: Path) -> None:
    with Store.open(space) as store, store.transaction() as connection:
        connection.execute(
            "UPDATE validation SET body = replace(body::TEXT, '\"seeds\":[1,2,3]', '\"seeds\":[1,2,4]')::JSON"
            " WHERE validation_id = (SELECT min(validation_id) FROM validation)"
        )
    document = answer(space, "calibrate", "--dry-run")
    assert document["left_out"] == {"its record is damaged": 1}
    assert document["images"] == 19


def test_the_same_image_counts_once(space: Path, gallery: Gallery) -> None:
    work = next(iter(gallery.works.values()))[0]
    with Lookup(load_settings(workspace=space, environ={}), record=False, intervals=False) as lookup:
        [found] = lookup.attribute([work])
        artists = [lookup.artist_named(name) for name in list(gallery.works)[:3]]
        more = reading(lookup.index.encoder_id, lookup.index.space_id, artists, [0.3, 0.0, 0.0], 7)
    assert found.attribution is not None
    question = Question(
        work, players_of(artists), "a fox", Template(), "", (1, 2, 3), Sampling(2, 5.0, None, 64, 64)
    )
    plan = plan_permutations(3, budget=None, rng=np.random.default_rng(0))
    study = Study(
        question,
        plan,
        found.attribution,
        "sd-1.5",
        "d" * 64,
        "float32",
        (more,),
        images=48,
        made=48,
        notes=(),
    )
    with Store.open(space) as store:
        keep(store, replace(study, precision="float16"), now=NOON)
    document = answer(space, "calibrate", "--dry-run")
    assert document["images"] == 20
    assert document["left_out"] == {
        "it was measured again, by an independent encoder, with more images or later": 1
    }


# ------------------------------------------------------------------ what cannot be fitted


def test_without_validations_it_says_what_to_run(gallery: Gallery) -> None:
    said = refusal(gallery.workspace)
    assert "No image was validated here." in said
    assert "next: Measure images of several artists first: fairbrush validate" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--value", "reconstruction"], "reconstruction cannot be calibrated"),
        (["--model", "nope"], "'nope' is not registered"),
        (["--readings", "mine"], "--readings 'mine' is not known"),
        (["--readings", "independent"], "No independent encoder measured any image"),
        (["--most-false-credit", "nan"], "--most-false-credit must lie between 0 and 1, not nan"),
        (["--unnamed", "nowhere"], "--unnamed nowhere: missing. There is no such file."),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_a_next_step(
    agreed: Path, words: list[str], expected: str
) -> None:
    assert expected in refusal(agreed, *words)


def test_a_model_without_validations_is_named(space: Path) -> None:
    assert command(space, "model", "add", "other").code == 0
    assert "No image of other was validated here." in refusal(space, "--model", "other")


def test_an_isotonic_map_is_held_against_the_power_where_pairs_suffice(
    agreed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(agreed, "calibrate", "--dry-run")["cross_validation"]["isotonic_less_power"] is None
    monkeypatch.setattr(calibrate, "LEAST_PAIRS", 5)
    document = answer(agreed, "calibrate", "--dry-run")
    crossed = document["cross_validation"]
    assert crossed["isotonic_pairs"] >= 5
    assert crossed["isotonic_less_power"]["mean"] == pytest.approx(0.0, abs=0.05)
    assert document["map"]["kind"] == "power", "as good is not better"


@dataclass(frozen=True)
class Other:
    """An index as a fit asks after it."""

    encoder_id: str
    space_id: str
    artist_ids: tuple[str, ...]


def test_images_of_other_encoders_spaces_and_registries_are_told_apart(agreed: Path) -> None:
    with Store.open(agreed, readonly=True) as store:
        found = read_rows(store.connection)
    eligibility, index = read_eligibility(agreed), open_index(agreed / "indexes")
    this = Other(index.encoder_id, index.space_id, index.artist_ids)

    def left_out(index: Other, rows: list[Row] = found, registry: Any = eligibility) -> dict[LeftOut, int]:
        used, left = studies(rows, index=index, eligibility=registry)
        assert len(used) + sum(left.values()) == len(rows)
        return dict(left)

    assert left_out(this) == {}
    assert left_out(replace(this, encoder_id="another")) == {LeftOut.OTHER_ENCODER: 20}
    assert left_out(replace(this, space_id="another")) == {LeftOut.OTHER_SPACE: 20}
    assert left_out(replace(this, artist_ids=())) == {LeftOut.NOT_INDEXED: 20}
    one = {artist_id: replace(artist, creator_id="c") for artist_id, artist in eligibility.artists.items()}
    assert left_out(this, registry=replace(eligibility, artists=one)) == {LeftOut.REGROUPED: 20}

    def changed(**identity: Any) -> list[Row]:
        return [replace(r, body={**r.body, "identity": {**r.body["identity"], **identity}}) for r in found]

    assert left_out(this, changed(inputs=[["ab" * 32], []])) == {LeftOut.MIX: 20}
    single = [
        replace(r, body={**r.body, **{s: [row[:1] for row in r.body[s]] for s in ("style", "content")}})
        for r in found
    ]
    assert left_out(this, single) == {LeftOut.NO_ERROR: 20}
    assert left_out(this, [replace(r, is_independent=True) for r in found]) == {LeftOut.DAMAGED: 20}


def test_a_study_by_an_independent_encoder_is_not_displaced_by_one_without(denied: Path) -> None:
    with Store.open(denied, readonly=True) as store:
        found = read_rows(store.connection)
    eligibility, index = read_eligibility(denied), open_index(denied / "indexes")
    later = [
        replace(row, body={**row.body, "identity": {**row.body["identity"], "precision": "float16"}})
        for row in found
        if not row.is_independent
    ]
    used, left = studies([*found, *later], index=index, eligibility=eligibility)
    assert all(image.independent == ("another",) for image in used)
    assert (len(used), dict(left)) == (30, {LeftOut.REPEATED: 30})


def test_calibrations_are_listed_where_their_files_cannot_be_written(space: Path) -> None:
    kept_as = answer(space, "calibrate")["calibration_id"]
    shutil.rmtree(space / "calibrations")
    (space / "calibrations").touch()
    ran = command(space, "calibration", "list", "--csv")
    assert (ran.code, kept_as in ran.text) == (2, True), ran.stderr
    assert "cannot be written" in ran.stderr
    assert command(space, "calibration", "show", kept_as[:8]).code == 0


def test_an_answer_that_was_tried_is_the_one_a_look_up_gives_under_the_calibration(
    denied: Path, gallery: Gallery, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(denied, tmp_path / "space"))
    found = answer(workspace, "calibrate")
    images = [work for mine in gallery.works.values() for work in mine[:2]]
    settings = load_settings(workspace=workspace, environ={})
    index, eligibility = open_index(workspace / "indexes"), read_eligibility(workspace)
    digests = [hashlib.sha256(work.read_bytes()).hexdigest() for work in images]
    vectors = calibrate._cached(settings, index, Value.BLEND, digests)
    asked = [Asked(sha256, "sd-1.5", vectors[sha256]) for sha256 in digests]
    tried = FastAnswers(index, eligibility, Value.BLEND, asked)
    change = Change(found["shift"], float(found["map"]["gamma"]), False, 0.0)
    words = ["--calibration", found["calibration_id"], "--no-record", "--no-intervals", "--nl"]
    ran = command(workspace, "attribute", *images, *words)
    assert ran.code == 0, ran.stderr
    credited = 0
    for at, line in enumerate(ran.text.splitlines()):
        artists = json.loads(line)["artists"]
        whole = sum(one["share"] for one in artists)
        by_name = {eligibility.artists[one["artist_id"]].creator_id: one["share"] / whole for one in artists}
        assert tried.shares(at, change) == pytest.approx(by_name, abs=1e-9)
        credited += bool(artists)
    assert 0 < credited < len(images)
