"""Policies that name calibrations: adopted only where they can be met, and paid only by records made so."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from calibrations import calibration, part
from money import E12, JANUARY, NOW, adopted, artist, bring, held, look_up, publish, record

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.membership import add_model
from fairbrush.domain import Value
from fairbrush.errors import PolicyError
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.policies import adopted_policies, compare
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.settled import recheck_all
from fairbrush.ledger.settlement import settle
from fairbrush.store import Store
from fairbrush.style.calibration import Calibration
from fairbrush.style.kept_calibrations import keep_calibration
from fairbrush.workspace import create_workspace

YEAR = parse_period("2026")
MODELS = {"sd-1.5": part("0.4"), "other": part("0.3"), "undefined": part(None)}
ONE = calibration(models=MODELS)
PLAIN = "b 0.5, w 1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Ann, four models, a published index, and the calibration ``ONE`` of three of the models."""
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as opened:
        publish(opened)
        artist(opened, "ann")
        for model in ("other", "undefined", "later"):
            add_model(opened, model, now=NOW)
        keep(opened)
        yield opened


def keep(store: Store, **changed: Any) -> Calibration:
    one = calibration(models=MODELS, **changed)
    keep_calibration(store, store.workspace, one, now=NOW)
    return one


def paid(store: Store) -> int:
    settle(store, YEAR, now=NOW)
    assert recheck_all(store.connection) == {}
    assert verify_ledger(store.connection).is_sound
    return held(store).get("payable p-ann ann", 0)


def test_a_policy_is_adopted_with_the_whole_ids_of_its_calibrations(store: Store) -> None:
    short = ONE.calibration_id[:8]
    table = {"calibration": short.upper(), "b": f"calibrated:{short}"}
    one = adopted(store, **table)
    assert one.terms.calibration == ONE.calibration_id
    assert one.split.b == f"calibrated:{ONE.calibration_id}"
    assert one.body["terms"]["calibration"] == ONE.calibration_id
    assert adopted_policies(store.connection) == [one]
    assert adopted(store, **{**table, "calibration": ONE.calibration_id}) == one
    assert compare(store.connection, table, day=JANUARY, current=one.index_versions).differing == ()
    differing = compare(store.connection, {}, day=JANUARY, current=one.index_versions).differing
    assert set(differing) == {"b", "calibration"}


@pytest.mark.parametrize(
    ("table", "changed", "message"),
    [
        ({"calibration": "00000000"}, {}, "calibration: There is no calibration 00000000"),
        ({"b": "calibrated:00000000"}, {}, "b: There is no calibration 00000000"),
        ({"model": "later", "calibration": ""}, {}, "calibration: .* does not cover the model later"),
        ({"model": "undefined", "b": "calibrated:"}, {}, "b: .* has no b for undefined"),
        ({"value": "nearest", "calibration": ""}, {}, "for the value function blend, not nearest"),
        ({"calibration": ""}, {"encoder_id": "clip"}, "for the encoder clip, not mini"),
        ({"b": "calibrated:"}, {"encoder_id": "clip"}, "for the encoder clip, not mini"),
        ({"calibration": ""}, {"space_id": "ff"}, "for the style space ff, not 0123456789abcdef"),
        ({"calibration": ""}, {"value": Value.FACETS}, "for the value function facets, not blend"),
    ],
)
def test_what_no_look_up_could_meet_is_not_adopted(
    store: Store, table: dict[str, str], changed: dict[str, Any], message: str
) -> None:
    one = keep(store, **changed)
    if table.get("calibration") == "":
        table = {**table, "calibration": one.calibration_id}
    if table.get("b") == "calibrated:":
        table = {**table, "b": f"calibrated:{one.calibration_id}"}
    with pytest.raises(PolicyError, match=message):
        adopted(store, **table)
    assert adopted_policies(store.connection) == []


def test_a_calibrated_record_pays_only_under_a_policy_that_names_its_calibration(store: Store) -> None:
    other = keep(store, shift=0.0)
    record(
        store,
        look_up("x", {"ann": E12 // 4}),
        look_up("x", {"ann": E12 // 2}, calibration=ONE.calibration_id),
        look_up("x", {"ann": E12}, calibration=other.calibration_id),
    )
    for number, table in enumerate(
        [{}, {"calibration": ONE.calibration_id}, {"calibration": other.calibration_id}], start=1
    ):
        day = date(2026, number, 1)
        adopted(store, day=day, **table)
        bring(store, f"r{number}", 100, image="x", day=day)
    assert paid(store) == 25 + 50 + 100


def test_without_a_record_under_its_calibration_a_line_stays_open_and_says_which(store: Store) -> None:
    adopted(store, calibration=ONE.calibration_id, b=f"calibrated:{ONE.calibration_id}")
    record(store, look_up("x", {"ann": E12}), look_up("x", {"ann": E12}, split=Policy(b="0.4")))
    bring(store, "r1", 100, image="x")
    [line] = settle(store, YEAR, now=NOW).unsettled
    short = ONE.calibration_id[:12]
    assert line.reason == (
        "1 of 1 images have no record under policy 1 (index v0001, model sd-1.5, value blend,"
        f" b of calibration {short}, w 1, calibration {short})."
    )
    record(store, look_up("x", {"ann": E12}, split=Policy(b="0.4"), calibration=ONE.calibration_id))
    assert paid(store) == 100


def test_each_models_images_are_paid_by_records_with_that_models_b(store: Store) -> None:
    adopted(store, b=f"calibrated:{ONE.calibration_id}")
    record(
        store,
        look_up("x", {"ann": E12 // 2}, split=Policy(b="0.4")),
        look_up("y", {"ann": E12 // 4}, split=Policy(b="0.3"), model_id="other"),
        look_up("z", {"ann": E12}, split=Policy(b="0.4"), model_id="other"),  # the b of another model
        look_up("u", {"ann": E12}, split=Policy(b="0.4"), model_id="undefined"),
        look_up("l", {"ann": E12}, split=Policy(b="0.4"), model_id="later"),
    )
    bring(store, "r1", 100, image="x")
    bring(store, "r2", 100, image="y", model="other")
    bring(store, "r3", 100, image="z", model="other")
    bring(store, "r4", 100, image="u", model="undefined")
    bring(store, "r5", 100, image="l", model="later")
    assert paid(store) == 50 + 25
    unsettled = settle(store, YEAR, now=NOW).unsettled
    assert sorted(line.reference for line in unsettled) == ["r3", "r4", "r5"]


def test_an_altered_calibration_settles_nothing(store: Store) -> None:
    adopted(store, b=f"calibrated:{ONE.calibration_id}")
    record(store, look_up("x", {"ann": E12}, split=Policy(b="0.9")))
    bring(store, "r1", 100, image="x")
    store.connection.execute("UPDATE calibration SET body = replace(body::TEXT, '\"0.4\"', '\"0.9\"')")
    with pytest.raises(PolicyError, match=r"its digest is another"):
        settle(store, YEAR, now=NOW)
    assert held(store) == {}
