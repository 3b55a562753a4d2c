"""The policy: exact, validated, one digest for one meaning."""

import tomllib
from fractions import Fraction

import pytest

from fairbrush.errors import PolicyError
from fairbrush.ledger.policy import Policy, read_policy


def test_defaults_are_half_content_and_all_style_to_artists():
    policy = read_policy({})
    assert (policy.b, policy.w, policy.model) == ("0.5", "1", "sd-1.5")
    assert (policy.content, policy.to_artists) == (Fraction(1, 2), Fraction(1))


def test_a_file_gives_exact_fractions():
    policy = read_policy(tomllib.loads('b = 0.1\nw = "0.750"\nmodel = "my-model"\n'))
    assert (policy.b, policy.content, policy.to_artists) == ("0.1", Fraction(1, 10), Fraction(3, 4))


def test_the_same_meaning_has_the_same_digest_and_another_has_not():
    same = {read_policy({"b": b}).digest for b in (0.5, "0.5", "0.50", "5e-1")}
    assert same == {Policy().digest}
    assert Policy(w="0.5").digest != Policy().digest != Policy(b="0.4").digest
    assert Policy().digest == Policy(model="other").digest  # the model stands in the id by itself
    assert read_policy({"b": 0}) == read_policy({"b": "-0.0"}) == Policy(b="0")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"b": 1.5}, "b must be a number from 0 to 1"),
        ({"b": "nan"}, "b must be a number"),
        ({"w": True}, "w must be a number"),
        ({"w": "half"}, "w must be a number"),
        ({"w": "0.1234567890123"}, "at most 12 decimals"),
        ({"b": "1e-400"}, "at most 12 decimals"),
        ({"b": "calibrated:abc"}, r"b = 'abc': A calibration is named by its id"),
        ({"w": "calibrated:0123abcd"}, "w must be a number"),
        ({"model": " "}, "model must name"),
        ({"value": "mix"}, "must name a value function, not 'mix'"),
        ({"beta": 1}, "beta is not known. Known: b, w, model"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(table, message):
    with pytest.raises(PolicyError, match=message):
        read_policy(table)
