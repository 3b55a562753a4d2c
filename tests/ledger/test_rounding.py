"""Rounding, and what is carried from one settlement to the next."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.rounding import Carried, Part, whole_parts
from fairbrush.ledger.settled import Carries, add_carries

F = Fraction
ANN = Account(AccountKind.PAYABLE, "p", "ann")
PEN = Account(AccountKind.PAYABLE, "p", "ann's pen name")
BO = Account(AccountKind.PAYABLE, "q", "bo")
FUND = Account(AccountKind.FUND)
MAKER = Account(AccountKind.MODEL, "m")


def test_ten_percent_of_a_cent_is_paid_after_a_thousand_settlements_of_one_image() -> None:
    carries: Carries = {}
    posted: dict[Account, int] = defaultdict(int)
    for _ in range(1000):
        parts = whole_parts("EUR", {MAKER: F(9, 10), ANN: F(1, 10)}, carries.get("EUR", {}), ())
        assert all(part.amount_minor >= 0 for part in parts)
        add_carries(carries, parts)
        for part in parts:
            posted[part.account] += part.amount_minor
    assert posted == {MAKER: 900, ANN: 100}
    assert carries == {"EUR": {}}


@given(st.lists(st.lists(st.integers(0, 60), min_size=4, max_size=4), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_nobody_is_ever_a_unit_away_from_what_they_earned(rounds: list[list[int]]) -> None:
    carries: Carries = {}
    for sixtieths in rounds:
        earned = {account: F(n, 60) for account, n in zip((ANN, PEN, BO, MAKER), sixtieths, strict=True)}
        earned[FUND] = F(-sum(sixtieths) % 60, 60)
        parts = whole_parts("EUR", earned, carries.get("EUR", {}), ())
        assert sum(part.amount_minor for part in parts) == sum(earned.values())
        add_carries(carries, parts)
        left = carries.get("EUR", {})
        assert sum(left.values()) == 0
        # a payee is rounded as one; what was rounded up before is not taken back, so less than two units
        assert abs(left.get(ANN, F(0)) + left.get(PEN, F(0))) < 2
        assert all(abs(left.get(account, F(0))) < 2 for account in (BO, MAKER, FUND))


def test_what_is_moved_from_an_account_is_paid_from_another() -> None:
    carries = {ANN: F(6, 10), FUND: F(-6, 10)}
    parts = whole_parts("EUR", {MAKER: F(1)}, carries, [Carried(ANN, BO, "EUR", F(6, 10))])
    assert parts == [
        Part(MAKER, "EUR", F(1), 1),
        Part(ANN, "EUR", F(-6, 10), 0),
        Part(BO, "EUR", F(6, 10), 0),
    ]
