"""One content, one text, one digest."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.chain.canonical import (
    canonical_digest,
    canonical_json,
    decimal_text,
    flat_json,
    parse_canonical,
)
from fairbrush.errors import RecordError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(CONTENT)
def test_what_is_written_reads_back_and_writes_the_same(content):
    text = canonical_json(content)
    assert parse_canonical(text) == content
    assert canonical_json(parse_canonical(text)) == text
    assert json.loads(text) == content


@given(st.dictionaries(TEXT, st.integers(), max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(content, rng: random.Random):
    keys = list(content)
    rng.shuffle(keys)
    assert canonical_digest({key: content[key] for key in keys}) == canonical_digest(content)


@given(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=8))
def test_the_fast_way_of_a_flat_object_writes_the_same(content):
    assert flat_json(content) == canonical_json(content)


@pytest.mark.parametrize("content", [{"x": 0.5}, {"x": b"x"}, {"x": "\ud800"}])
def test_the_fast_way_refuses_the_same(content):
    with pytest.raises(RecordError):
        flat_json(content)


def test_known_digest_of_a_known_content():
    assert canonical_json({"b": [True, None, 3], "a": "é\n"}) == '{"a":"é\\n","b":[true,null,3]}'.encode()
    assert canonical_digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"z": [1, 0.5]}, r"\$\.z\[1\]: a float"),
        ({1: "x"}, "the key 1 is not text"),
        ({"x": b"x"}, "a bytes has no canonical form"),
        ("\ud800", "surrogate"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_place(content, message):
    with pytest.raises(RecordError, match=message):
        canonical_json(content)


@pytest.mark.parametrize("text", ['{"a":0.5}', '{"a":NaN}', '{"a":1,"a":2}', "{", "[" * 100_000])
def test_what_was_never_canonical_is_not_read(text):
    with pytest.raises(RecordError, match="Not canonical"):
        parse_canonical(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_text_reads_back_to_the_same_bits(number):
    assert float(decimal_text(number)) == number


def test_a_number_that_is_none_is_not_recorded():
    with pytest.raises(RecordError, match="nan"):
        decimal_text(float("nan"))
