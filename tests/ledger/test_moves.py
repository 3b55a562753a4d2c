"""Where settled money is after claims, erasures and disputes."""

from __future__ import annotations

import pytest

from fairbrush.ledger.book import Account, AccountKind, EntryKind
from fairbrush.ledger.moves import Move, artist_of, follow, follow_carry


def account(text: str) -> Account:
    """Of a kind, a holder and a subject, as ``payable p ann``."""
    kind, *rest = text.split()
    return Account(AccountKind(kind), *rest)


def move(kind: EntryKind, *accounts: str, reference: str = "d1", currency: str = "EUR") -> Move:
    return Move(1, kind, reference, currency, tuple(map(account, accounts)))


CLAIM = move(EntryKind.CLAIM, "escrow ann", "payable p ann")
ERASURE = move(
    EntryKind.ERASURE,
    "disputed d1 ann",
    "escrow ann",
    "fund",
    "payable p",
    "payable p ann",
    "payable q",
    "payable q ann",
)
TO_ESCROW = move(EntryKind.ERASURE, "disputed d1 ann", "escrow", "payable p", "payable p ann")
TO_MODEL = move(EntryKind.ERASURE, "escrow ann", "payable p", "payable p ann", "payable p model:m")
OPENED = move(EntryKind.DISPUTE_OPENED, "disputed d1 ann", "escrow ann", "payable p ann")
RESOLVED = move(
    EntryKind.DISPUTE_RESOLVED,
    "disputed d1",
    "disputed d1 ann",
    "disputed d1 bo",
    "disputed d1 cy",
    "disputed d2 bo",
    "fund",
    "payable q ann",
)


@pytest.mark.parametrize(
    ("moved", "source", "target"),
    [
        (CLAIM, "escrow ann", "payable p ann"),
        (CLAIM, "payable p ann", "payable p ann"),
        (CLAIM, "escrow bo", "escrow bo"),
        (ERASURE, "escrow ann", "fund"),
        (ERASURE, "disputed d1 ann", "fund"),
        (ERASURE, "payable p ann", "payable p"),
        (ERASURE, "payable q ann", "payable q"),
        (ERASURE, "payable p", "payable p"),
        (ERASURE, "fund", "fund"),
        (TO_ESCROW, "disputed d1 ann", "escrow"),
        (TO_MODEL, "escrow ann", "payable p model:m"),
        (TO_MODEL, "payable p ann", "payable p"),
        (OPENED, "payable p ann", "disputed d1 ann"),
        (OPENED, "escrow ann", "disputed d1 ann"),
        (RESOLVED, "disputed d1 ann", "payable q ann"),
        (RESOLVED, "disputed d1 bo", "disputed d2 bo"),
        (RESOLVED, "disputed d1 cy", "fund"),
        (RESOLVED, "disputed d1", "fund"),
        (RESOLVED, "disputed d2 bo", "disputed d2 bo"),
    ],
)
def test_an_entry_moves_the_accounts_it_empties_to_those_it_fills(
    moved: Move, source: str, target: str
) -> None:
    assert moved.target(account(source)) == account(target)


def test_money_is_followed_through_every_move_of_its_currency() -> None:
    moves = [CLAIM, OPENED, RESOLVED, move(EntryKind.CLAIM, "escrow ann", "payable z ann", currency="JPY")]
    assert follow(account("escrow ann"), "EUR", moves) == account("payable q ann")
    assert follow(account("escrow ann"), "JPY", moves) == account("payable z ann")


def test_a_fraction_goes_with_money_that_was_moved_whole_and_stays_of_who_is_erased() -> None:
    limited = Move(2, OPENED.kind, "d1", "EUR", OPENED.accounts, {account("payable p ann"): 1})
    assert follow_carry(account("escrow ann"), "EUR", [OPENED, RESOLVED]) == account("payable q ann")
    assert follow_carry(account("escrow ann"), "EUR", [CLAIM, limited]) == account("payable p ann")
    assert follow_carry(account("escrow ann"), "JPY", [CLAIM]) == account("escrow ann")
    assert follow_carry(account("escrow ann"), "EUR", [CLAIM, ERASURE]) == account("payable p ann")


@pytest.mark.parametrize(
    ("text", "artist_id"),
    [
        ("payable p ann", "ann"),
        ("payable p model:m", ""),
        ("payable p", ""),
        ("escrow ann", "ann"),
        ("escrow", ""),
        ("disputed d1 ann", "ann"),
        ("model m", ""),
        ("transit po", ""),
    ],
)
def test_an_account_names_the_artist_whose_earnings_it_holds(text: str, artist_id: str) -> None:
    assert artist_of(account(text)) == artist_id
