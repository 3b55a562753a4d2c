"""What a model earns, over its developer and those of the models it was tuned from."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.corpus.membership import Model
from fairbrush.errors import SettlementError
from fairbrush.ledger.developers import developer_parts
from fairbrush.ledger.terms import Terms

CHAIN = [Model("base"), Model("tune", "base"), Model("tune-2", "tune"), Model("stranger")]
HALF = Fraction(1, 2)


def test_a_model_without_a_base_keeps_all() -> None:
    terms = Terms(fine_tune_weight=Fraction(0), fine_tune_weights={"base": Fraction(0)})
    assert developer_parts(CHAIN, terms, "base") == {"base": 1}


def test_a_fine_tune_passes_on_what_it_does_not_keep() -> None:
    assert developer_parts(CHAIN, Terms(), "tune") == {"tune": HALF, "base": HALF}
    assert developer_parts(CHAIN, Terms(), "tune-2") == {
        "tune-2": HALF,
        "tune": Fraction(1, 4),
        "base": Fraction(1, 4),
    }


def test_a_model_may_have_a_weight_of_its_own() -> None:
    terms = Terms(
        fine_tune_weight=Fraction(1, 10),
        fine_tune_weights={"tune-2": Fraction(2, 3), "base": Fraction(1, 7)},
    )
    assert developer_parts(CHAIN, terms, "tune-2") == {
        "tune-2": Fraction(2, 3),
        "tune": Fraction(1, 30),
        "base": Fraction(3, 10),
    }


def test_who_gets_nothing_is_left_out() -> None:
    assert developer_parts(CHAIN, Terms(fine_tune_weight=Fraction(1)), "tune-2") == {"tune-2": 1}
    assert developer_parts(CHAIN, Terms(fine_tune_weight=Fraction(0)), "tune-2") == {"base": 1}


@pytest.mark.parametrize("weight", [Fraction(0), HALF, Fraction(1)])
def test_a_model_tuned_from_itself_is_refused(weight: Fraction) -> None:
    circle = [Model("a", "c"), Model("b", "a"), Model("c", "b")]
    with pytest.raises(SettlementError, match="'a' is a fine-tune of itself: a of c of b of a"):
        developer_parts(circle, Terms(fine_tune_weight=weight), "a")
    with pytest.raises(SettlementError, match="'me' is a fine-tune of itself"):
        developer_parts([Model("me", "me")], Terms(fine_tune_weight=weight), "me")


def test_a_model_or_a_base_that_is_not_registered_is_refused() -> None:
    with pytest.raises(SettlementError, match="No model 'absent' is registered"):
        developer_parts(CHAIN, Terms(), "absent")
    with pytest.raises(SettlementError, match="No model 'absent' is registered"):
        developer_parts([Model("tune", "absent")], Terms(), "tune")


@given(weights=st.lists(st.fractions(0, 1), min_size=1, max_size=12), asked=st.integers(0, 11))
def test_parts_are_the_products_along_the_chain_and_sum_to_one(weights: list[Fraction], asked: int) -> None:
    asked %= len(weights)
    models = [Model(f"m{n}", f"m{n - 1}" if n else None) for n in range(len(weights))]
    terms = Terms(fine_tune_weights={f"m{n}": weight for n, weight in enumerate(weights)})
    parts = developer_parts(models, terms, f"m{asked}")
    assert sum(parts.values()) == 1
    rest = Fraction(1)
    for n in range(asked, -1, -1):
        expected = rest * (weights[n] if n else 1)
        assert parts.get(f"m{n}", 0) == expected
        rest -= expected
