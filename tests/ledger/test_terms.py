"""The payment terms of [policy]: exact, closed sets, and none of a look-up's business."""

import tomllib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.errors import PolicyError
from fairbrush.ledger.policy import Policy, read_policy
from fairbrush.ledger.terms import TERM_NAMES, Rule, Terms, Unattributed, Withheld, read_terms

WHOLE = """
platform_fee = 0.15
unattributed = "escrow"
minimum_claim = 0.001
membership = "weight"
membership_unknown = 0.5
reproducibility = "filter"
unclaimed = "unattributed"
opted_out = "unattributed"
fine_tune_weight = 0.25
index = "v0007"

[minimum_payout]
EUR = "10.00"
JPY = 500
KWD = 1.125

[fine_tune_weights]
"my-model" = 0.75
"""


def test_defaults_take_no_fee_withhold_nothing_and_pay_any_amount() -> None:
    assert read_terms({}) == Terms(
        platform_fee=Fraction(0),
        unattributed=Unattributed.FUND,
        minimum_claim=Fraction(0),
        minimum_payout={},
        membership=Rule.FILTER,
        membership_unknown=Fraction(1),
        reproducibility=Rule.IGNORE,
        unclaimed=Withheld.ESCROW,
        opted_out=Withheld.ESCROW,
        fine_tune_weight=Fraction(1, 2),
        fine_tune_weights={},
        index=None,
        calibration=None,
    )


def test_a_file_gives_exact_fractions_and_minor_units() -> None:
    assert read_terms(tomllib.loads(WHOLE)) == Terms(
        platform_fee=Fraction(3, 20),
        unattributed=Unattributed.ESCROW,
        minimum_claim=Fraction(1, 1000),
        minimum_payout={"EUR": 1000, "JPY": 500, "KWD": 1125},
        membership=Rule.WEIGHT,
        membership_unknown=Fraction(1, 2),
        reproducibility=Rule.FILTER,
        unclaimed=Withheld.UNATTRIBUTED,
        opted_out=Withheld.UNATTRIBUTED,
        fine_tune_weight=Fraction(1, 4),
        fine_tune_weights={"my-model": Fraction(3, 4)},
        index="v0007",
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"platform_fee": 1.5}, "platform_fee must be a number from 0 to 1"),
        ({"platform_fee": "0.1234567"}, "at most 6 decimals"),
        ({"platform_fee": True}, "platform_fee must be a number"),
        ({"minimum_claim": -0.1}, "minimum_claim must be a number from 0 to 1"),
        ({"membership_unknown": "nan"}, "membership_unknown must be a number"),
        ({"fine_tune_weight": []}, "fine_tune_weight must be a number"),
        ({"unattributed": "artists"}, "'artists'. One of fund, escrow, model, platform"),
        ({"membership": ["filter"]}, "One of ignore, filter, weight"),
        ({"unclaimed": "fund"}, "One of escrow, unattributed"),
        ({"minimum_payout": 10}, "minimum_payout must be a table of currencies"),
        ({"minimum_payout": {"eur": 10}}, "minimum_payout.eur: 'eur' is no currency"),
        ({"minimum_payout": {"XAU": 10}}, "minimum_payout.XAU: 'XAU' is no currency"),
        ({"minimum_payout": {"EUR": "10.005"}}, "minimum_payout.EUR: 10.005 EUR has more decimals"),
        ({"minimum_payout": {"JPY": 0.5}}, "minimum_payout.JPY: 0.5 JPY has more decimals"),
        ({"minimum_payout": {"EUR": True}}, "minimum_payout.EUR: 'True' is no amount"),
        ({"minimum_payout": {"EUR": -1}}, "minimum_payout.EUR cannot be less than 0"),
        ({"fine_tune_weights": 0.5}, "fine_tune_weights must be a table of models"),
        ({"fine_tune_weights": {"mine": 2}}, "fine_tune_weights.mine must be a number from 0 to 1"),
        ({"index": 7}, "index must be text"),
        ({"index": " "}, "index must be text"),
        ({"calibration": "abc"}, "calibration = 'abc': A calibration is named by its id"),
        ({"calibration": 7}, "calibration = 7: A calibration is named by its id"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        read_terms(table)


def test_a_look_up_knows_the_names_of_terms_and_leaves_their_values_alone() -> None:
    broken = dict.fromkeys(TERM_NAMES, "nonsense")
    assert read_policy({"b": 0.25, **broken}) == Policy(b="0.25")
    with pytest.raises(PolicyError, match=r"platform_fees is not known. Known: b, .*, platform_fee,"):
        read_policy({"platform_fees": 0.1})


@given(
    b=st.integers(0, 100),
    fee=st.integers(0, 100),
    others=st.dictionaries(st.sampled_from(TERM_NAMES), st.integers(), max_size=len(TERM_NAMES)),
)
def test_terms_never_change_what_a_look_up_is_called_by(b: int, fee: int, others: dict[str, int]) -> None:
    table = {"b": b / 100}
    with_terms = {**others, **table, "platform_fee": fee / 100}
    assert read_policy(with_terms) == read_policy(table)
    assert read_policy(with_terms).digest == read_policy(table).digest


@given(millionths=st.integers(0, 10**6))
def test_a_number_in_the_file_is_the_decimal_that_was_written(millionths: int) -> None:
    exact = Fraction(millionths, 10**6)
    in_a_file = tomllib.loads(f"platform_fee = {millionths / 10**6!r}")
    for written in (in_a_file["platform_fee"], f"{millionths / 10**6:.6f}"):
        assert read_terms({"platform_fee": written}).platform_fee == exact
