"""What is kept of a study: rows that are never changed, and a body that gives its figures again."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from workspaces import Gallery

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.config import load_settings
from fairbrush.domain import Artist, Consent
from fairbrush.errors import ValidationError
from fairbrush.lookup import Lookup
from fairbrush.store import Store
from fairbrush.validation.budget import plan_permutations
from fairbrush.validation.generators import Sampling
from fairbrush.validation.kept import Figures, body_of, keep, recompute, to_json, validation_id
from fairbrush.validation.prompts import Template
from fairbrush.validation.study import Question, Reading, players_of, read
from fairbrush.validation.validate import Study
from fairbrush.validation.views import Similarities

NOON, LATER = datetime(2026, 1, 2, 12), datetime(2026, 1, 3, 12)
ARTISTS = [
    Artist(f"id {n}", name, f"creator {n}", f"payee {n}", Consent.UNCLAIMED)
    for n, name in enumerate(["Ann", "Bo", "Cy", "Di"])
]


def reading(creators: int, budget: int | None, seeds: int, *, encoder: str = "e1") -> tuple[Any, Reading]:
    rng = np.random.default_rng([creators, seeds, budget or 0])
    plan = plan_permutations(creators, budget=budget, rng=rng)
    shape = (len(plan.coalitions), seeds)
    seen = Similarities(rng.uniform(0.2, 0.9, shape), rng.uniform(-0.3, 0.6, shape))
    eye: Any = SimpleNamespace(
        encoder_id=encoder,
        is_independent=encoder != "e1",
        space=SimpleNamespace(space_id="s"),
        similarities=lambda image, made: seen,
    )
    fast = rng.dirichlet(np.ones(creators)) if seeds > 1 else None
    worths = np.maximum.reduce(np.arange(2**creators)[:, None] >> np.arange(creators) & 1, axis=1) * 0.4
    made = [[Path("x.png")] * seeds] * len(plan.coalitions)
    return plan, read(eye, Path("x.png"), plan, made, fast=fast, fast_worths=worths)


@pytest.fixture
def study(gallery: Gallery) -> Study:
    with Lookup(load_settings(workspace=gallery.workspace, environ={}), record=False) as lookup:
        [found] = lookup.attribute([gallery.credited])
    assert found.attribution is not None
    plan, first = reading(3, None, 2)
    return Study(
        question=Question(
            gallery.credited,
            players_of(ARTISTS[:3]),
            "a secret fox",
            Template(),
            "a secret blur",
            (7, 8),
            Sampling(2, 7.5, None, 64, 64),
        ),
        plan=plan,
        attribution=found.attribution,
        model_id="sd-1.5",
        model_digest="d" * 64,
        precision="float32",
        readings=(first, replace(first, encoder_id="e2", is_independent=True)),
        images=32,
        made=32,
        notes=(),
    )


def stored(store: Store) -> list[Any]:
    return store.connection.execute("SELECT * FROM validation ORDER BY validation_id").fetchall()


def test_a_reading_is_kept_once_and_never_changed(study: Study, workspace: Path) -> None:
    with Store.open(workspace) as store:
        assert keep(store, replace(study, readings=study.readings[:1]), now=NOON) == 1
        assert keep(store, study, now=LATER) == 1
        rows = stored(store)
        assert keep(store, study, now=LATER) == 0
        assert stored(store) == rows
        assert {row[0] for row in rows} == {validation_id(study, one) for one in study.readings}
        shares = store.connection.execute(
            "SELECT creator_id, fast, regenerated, regenerated_error FROM validation_share "
            "WHERE validation_id = ? ORDER BY creator_id",
            [validation_id(study, study.readings[0])],
        ).fetchall()
    split, fast = study.readings[0].split, study.readings[0].fast
    assert split.shares is not None
    assert split.share_error is not None
    assert fast is not None
    assert shares == [(f"creator {n}", fast[n], split.shares[n], split.share_error[n]) for n in range(3)]


def test_a_body_is_hashed_and_holds_neither_prompt_nor_name_nor_path(study: Study, workspace: Path) -> None:
    with Store.open(workspace) as store:
        keep(store, study, now=NOON)
        found = store.connection.execute("SELECT body, body_digest FROM validation").fetchall()
    for body, digest in found:
        assert canonical_digest(json.loads(body)) == digest
        for word in ("secret", "Ann", "Bo", str(study.question.image), "2026"):
            assert word not in body


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (7, 9)},
        {"content": "a cat"},
        {"negative_prompt": ""},
        {"sampling": Sampling(3, 7.5, None, 64, 64)},
        {"sampling": Sampling(2, 7.5, "Euler", 64, 64)},
        {"template": Template.parse("{content}, by {artists}")},
        {"players": players_of([ARTISTS[0], ARTISTS[1], ARTISTS[3]])},
    ],
)
def test_another_question_is_another_measurement(study: Study, change: dict[str, Any]) -> None:
    other = replace(study, question=replace(study.question, **change))
    assert validation_id(other, study.readings[0]) != validation_id(study, study.readings[0])
    moved = replace(study, question=replace(study.question, image=Path("elsewhere.png")), made=0)
    assert validation_id(moved, study.readings[0]) == validation_id(study, study.readings[0])


def bits(figures: Figures | Reading) -> list[Any]:
    split = figures.split
    arrays = [split.phi, split.phi_error, split.shares, split.share_error]
    return [
        *(None if array is None else array.tobytes() for array in arrays),
        *(split.seeds, split.orders, figures.b, figures.agreement),
    ]


@pytest.mark.parametrize("budget", [None, 7, 14, 20])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_stored_body_gives_all_figures_again_to_the_bit(
    study: Study, budget: int | None, seeds: int
) -> None:
    plan, found = reading(4, budget, seeds)
    asked = replace(study.question, players=players_of(ARTISTS), seeds=tuple(range(seeds)))
    kept = replace(study, question=asked, plan=plan, readings=(found,))
    body = body_of(kept, found)
    assert (body["surrogate"] is None) == (budget is None)
    read_back = json.loads(canonical_json(body))
    assert read_back == body
    assert bits(recompute(read_back)) == bits(found)


def test_what_is_no_body_is_refused(study: Study) -> None:
    body = body_of(study, study.readings[0])
    for damaged in (
        {},
        {**body, "schema": "fairbrush.validation-body/2"},
        {**body, "style": [["x"]]},
        {**body, "style": body["style"][:-1]},
        {**body, "content": [[*row[:-1], "nan"] for row in body["content"]]},
        {**body, "identity": {}},
    ):
        with pytest.raises(ValidationError):
            recompute(damaged)


def test_the_answer_is_plain_json(study: Study) -> None:
    document = to_json(study)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    [first, second] = document["readings"]
    assert (first["is_independent"], second["is_independent"]) == (False, True)
    assert [one["artists"] for one in first["creators"]] == [["Ann"], ["Bo"], ["Cy"]]
