"""Calibrations as documents, and their maps: monotone, the same bits everywhere, refused where altered."""

import json
from pathlib import Path

import numpy as np
import pytest
from calibrations import MAPS, NOW, calibration, part
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain.canonical import canonical_json
from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Value
from fairbrush.errors import CalibrationError
from fairbrush.ledger.protected import verify_ledger
from fairbrush.style.calibration import (
    Isotonic,
    Power,
    calibration_file,
    calibration_from_bytes,
    map_from_text,
    read_calibration,
)
from fairbrush.style.kept_calibrations import (
    keep_calibration,
    kept_calibration,
    kept_calibrations,
    write_absent_files,
)
from fairbrush.workspace import create_workspace

WORTHS = st.lists(st.floats(0.0, 1.5, allow_subnormal=False), min_size=1, max_size=20).map(np.array)


@given(MAPS, WORTHS)
@settings(deadline=None)
def test_a_map_is_monotone_to_the_last_bit_0_for_0_and_the_same_alone_as_among_others(worth_map, worths):
    mapped = worth_map(np.sort(worths))
    assert (np.diff(mapped) >= 0.0).all()
    assert worth_map(np.zeros(2)).tolist() == [0.0, 0.0]
    assert [float(worth_map(np.array([w]))[0]) for w in worths] == worth_map(worths).tolist()
    assert worth_map(worths[None]).tolist() == [worth_map(worths).tolist()]
    assert map_from_text(json.loads(json.dumps(worth_map.to_text()))) == worth_map


@given(st.floats(1 / 64, 8.0), WORTHS)
@settings(deadline=None)
def test_a_power_is_what_pow_gives_but_for_rounding(gamma, worths):
    expected = worths**gamma
    assert Power(gamma)(worths) == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_powers_and_lines_are_these_bits_on_every_machine():
    """Products and roots alone: not what a mathematical library makes of pow."""
    worths = np.array([0.1, 0.3, 0.7])
    assert Power(0.7)(worths).tolist() == [0.19952623149688797, 0.43051162024993395, 0.7790559126704483]
    assert Power(0.5)(worths).tolist() == np.sqrt(worths).tolist()
    line = Isotonic(((0.0, 0.0), (0.2, 0.1), (0.6, 0.9)))
    assert line(worths).tolist() == [0.05, 0.3, 0.9]


def test_gamma_1_and_the_line_through_1_1_change_no_bit():
    worths = np.random.default_rng(0).random(1000)
    assert Power(1.0)(worths).tobytes() == worths.tobytes()
    assert Isotonic(((0.0, 0.0), (1.0, 1.0)))(worths).tobytes() == worths.tobytes()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Power(0.0),
        lambda: Power(float("nan")),
        lambda: Power(65.0),
        lambda: Isotonic(((0.0, 0.0),)),
        lambda: Isotonic(((0.0, 0.1), (1.0, 1.0))),
        lambda: Isotonic(((0.0, 0.0), (0.5, 0.6), (1.0, 0.5))),
        lambda: Isotonic(((0.0, 0.0), (0.5, 0.2), (0.5, 0.5))),
        lambda: Isotonic(((0.0, 0.0), (1.0, 0.0))),
        lambda: Isotonic(((0.0, 0.0), (1.0, float("inf")))),
        lambda: map_from_text({"kind": "cubic"}),
        lambda: map_from_text({"kind": "power", "gamma": "half"}),
        lambda: map_from_text({}),
        lambda: calibration(value=Value.RECONSTRUCTION),
        lambda: calibration(value=Value.MIX),
        lambda: calibration(shift=1.5),
        lambda: part("1.5"),
        lambda: part("half"),
        lambda: part("0.1234567890123"),
    ],
)
def test_what_no_look_up_could_apply_is_refused(make):
    with pytest.raises(CalibrationError):
        make()


def test_a_calibration_reads_back_to_the_same_bits_and_id():
    centre = np.random.default_rng(1).normal(size=5).astype(np.float32)
    one = calibration(models={"sd-1.5": part("0.50", centre), "mine": part(None)}, shift=1 / 3)
    content = canonical_json(one.body())
    again = calibration_from_bytes(content, calibration_id=one.calibration_id, source="it")
    assert canonical_json(again.body()) == content
    assert (again.calibration_id, again.map, again.shift) == (one.calibration_id, one.map, one.shift)
    assert again.models["sd-1.5"].centre.tobytes() == centre.tobytes()
    assert (again.content_part("sd-1.5"), again.models["mine"].centre) == ("0.5", None)
    for changed in ({"map": Power(0.71)}, {"shift": 0.0}, {"space_id": "other"}, {"models": {}}):
        assert calibration(**changed).calibration_id != calibration().calibration_id


def test_what_a_calibration_does_not_cover_is_refused_by_name():
    one = calibration(models={"sd-1.5": part(None)})
    fits = {"encoder_id": "mini", "space_id": "0123456789abcdef", "value": Value.BLEND}
    one.require(**fits)
    for name, other, said in [
        ("encoder_id", "clip", "for the encoder mini, not clip"),
        ("space_id", "fedcba", "for the style space 0123456789abcdef, not fedcba"),
        ("value", Value.NEAREST, "for the value function blend, not nearest"),
        ("value", Value.MIX, "for the value function blend, not mix"),
    ]:
        with pytest.raises(CalibrationError, match=said) as refused:
            one.require(**fits | {name: other})
        assert "--calibration none" in refused.value.next_step
    with pytest.raises(CalibrationError, match=r"does not cover the model mine: it was fitted on sd-1.5"):
        one.part_of("mine")
    with pytest.raises(CalibrationError, match=r"has no b for sd-1.5"):
        one.content_part("sd-1.5")


def test_what_is_kept_is_in_the_chain_and_in_a_file_and_kept_once(tmp_path: Path):
    create_workspace(tmp_path)
    one, other = calibration(), calibration(shift=0.0)
    with open_registry(tmp_path) as store:
        assert keep_calibration(store, tmp_path, one, now=NOW)
        assert not keep_calibration(store, tmp_path, one, now=NOW)
        assert keep_calibration(store, tmp_path, other, now=NOW.replace(hour=13))
        assert verify_ledger(store.connection).is_sound
        kept = [k.calibration.calibration_id for k in kept_calibrations(store.connection)]
        assert kept == [one.calibration_id, other.calibration_id]
        short = one.calibration_id[:8]
        assert kept_calibration(store.connection, short).calibration_id == one.calibration_id
        assert read_calibration(tmp_path, short.upper()).calibration_id == one.calibration_id
        calibration_file(tmp_path, one.calibration_id).unlink()
        with pytest.raises(CalibrationError, match="There is no calibration") as absent:
            read_calibration(tmp_path, one.calibration_id)
        assert "fairbrush calibration list" in absent.value.next_step
        assert write_absent_files(store.connection, tmp_path) == 1
        assert read_calibration(tmp_path, one.calibration_id).body() == one.body()
        store.connection.execute(
            "UPDATE calibration SET body = replace(body::TEXT, '0.7', '0.8') WHERE calibration_id = ?",
            [one.calibration_id],
        )
        with pytest.raises(CalibrationError, match="its digest is another"):
            kept_calibration(store.connection, one.calibration_id)
        (finding,) = verify_ledger(store.connection).findings
        assert (finding.kind, finding.key) == ("calibration", one.calibration_id)


def test_an_altered_file_is_refused_and_so_is_a_name_that_is_none(tmp_path: Path):
    create_workspace(tmp_path)
    with open_registry(tmp_path) as store:
        keep_calibration(store, tmp_path, calibration(), now=NOW)
    file = calibration_file(tmp_path, calibration().calibration_id)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"0.7"', b'"0.8"'))
    with pytest.raises(CalibrationError, match="its digest is another"):
        read_calibration(tmp_path, calibration().calibration_id)
    file.write_bytes(whole)
    file.with_name(f"{calibration().calibration_id[:8]}{'0' * 56}.json").write_bytes(whole)
    with pytest.raises(CalibrationError, match="2 calibrations begin with"):
        read_calibration(tmp_path, calibration().calibration_id[:8])
    for name in ("", "abc", "../../etc", "0123456z", None, 7):
        with pytest.raises(CalibrationError, match="is named by its id"):
            read_calibration(tmp_path, name)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"schema":"other/1"}', b"\xff"])
def test_bytes_that_are_no_calibration_are_refused(content: bytes):
    import hashlib

    with pytest.raises(CalibrationError):
        calibration_from_bytes(content, calibration_id=hashlib.sha256(content).hexdigest(), source="it")
