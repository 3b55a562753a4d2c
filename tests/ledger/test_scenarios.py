"""Random histories of policies, revenue, settlements, corrections, disputes, consents, erasures and payouts.

After every step the book balances and says what happened, to the minor unit; at the end every settlement can
be computed again, and the chain over all of it verifies.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from money import E12
from money_histories import live

from fairbrush.domain import Consent
from fairbrush.ledger.apportion import apportion
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.ledger.earnings import (
    Earnings,
    Line,
    Parts,
    SharedRecord,
    Standing,
    Treatment,
    exact_earnings,
)
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.rounding import Part, whole_parts
from fairbrush.ledger.terms import Terms, Unattributed

ARTISTS = ("ann", "bo", "cy", "di", "ed")
YEAR = parse_period("2026")
DEVELOPERS: dict[str, Parts] = {
    "base": ((Account(AccountKind.MODEL, "base"), Fraction(1)),),
    "tuned": (
        (Account(AccountKind.PAYABLE, "p1", "model:tuned"), Fraction(2, 3)),
        (Account(AccountKind.MODEL, "base"), Fraction(1, 3)),
    ),
}


# ten thousand worlds, without a database


def shares_of(rng: random.Random, rest: int) -> tuple[tuple[tuple[str, int], ...], int]:
    parts = []
    for name in rng.sample(ARTISTS, rng.randint(0, len(ARTISTS))):
        part = rng.randint(0, rest)
        parts.append((name, part))
        rest -= part
    return tuple(parts), rest


@dataclass
class PaperWorld:
    """One random policy, some records, disputes, standings, and lines in two currencies."""

    terms: Terms
    lines: list[Line]
    standings: dict[tuple[str, str], Standing]
    contests: Contests

    @classmethod
    def drawn(cls, rng: random.Random) -> PaperWorld:
        records = []
        for number in range(rng.randint(1, 3)):
            model = rng.randint(0, E12)
            parts, rest = shares_of(rng, E12 - model)
            records.append(SharedRecord(f"a{number}", model, rest, parts))
        terms = Terms(
            platform_fee=Fraction(rng.randint(0, 10**6), 10**6),
            unattributed=rng.choice(list(Unattributed)),
            minimum_claim=Fraction(rng.choice((0, 0, 10_000, 300_000)), 10**6),
        )
        lines = [
            Line(
                f"r{number}",
                rng.choice(("EUR", "JPY")),
                rng.choice((1, 2, 99, 1234, rng.randint(1, 10**12))),
                rng.choice(tuple(DEVELOPERS)),
                [(rng.randint(1, 9), rng.choice(records)) for _ in range(rng.randint(1, 3))],
            )
            for number in range(rng.randint(1, 5))
        ]
        standings = {}
        for name in ARTISTS:
            consent = rng.choice(list(Consent))
            for model_id in DEVELOPERS:
                standings[model_id, name] = Standing(
                    model_id,
                    name,
                    f"c-{name}",
                    rng.choice(("p1", "p2")),
                    consent,
                    _TREATED[consent],
                    Fraction(rng.randint(0, 4), 4),
                    rng.choice((None, None, None, "d-standing")) if consent is not Consent.ERASED else None,
                )
        contests = Contests(
            open={
                one.attribution_id: Contest(
                    "d-open", frozenset(rng.sample(ARTISTS, rng.randint(0, 3))), rng.random() < 0.5
                )
                for one in records
                if rng.random() < 0.3
            },
            decided={
                one.attribution_id: Decision("d-decided", *shares_of(rng, E12 - one.model_share_e12))
                for one in records
                if rng.random() < 0.3
            },
        )
        return cls(terms, lines, standings, contests)

    def earnings(self, lines: list[Line]) -> Earnings:
        return exact_earnings(lines, self.standings, self.contests, terms=self.terms, developers=DEVELOPERS)


_TREATED = {
    Consent.OPTED_IN: Treatment.PAID,
    Consent.UNCLAIMED: Treatment.ESCROW,
    Consent.OPTED_OUT: Treatment.ESCROW,
    Consent.ERASED: Treatment.UNATTRIBUTED,
}


def rounded(currency: str, earned: dict[Account, Fraction], carries: dict[Account, Fraction]) -> list[Part]:
    parts = whole_parts(currency, earned, carries, ())
    for part in parts:
        carries[part.account] = carries.get(part.account, Fraction(0)) + part.exact - part.amount_minor
    return parts


def test_ten_thousand_random_worlds_balance_to_the_minor_unit() -> None:
    """Each is settled in two halves that carry over, its lines in another order: then one half is corrected,
    taken back and settled again."""
    rng = random.Random(20260101)
    paid = corrected = 0
    for _ in range(10_000):
        world = PaperWorld.drawn(rng)
        carried: dict[str, dict[Account, Fraction]] = defaultdict(dict)
        posted: dict[str, Counter[Account]] = defaultdict(Counter)
        shuffled = rng.sample(world.lines, len(world.lines))
        whole = world.earnings(world.lines)
        assert world.earnings(shuffled) == whole
        middle = rng.randint(0, len(shuffled))
        first, second = shuffled[:middle], shuffled[middle:]
        steps = [(1, first), (1, second)]
        if rng.random() < 0.5:  # a correction: a reversal, and the same lines again
            steps += [(-1, first), (1, first)]
            corrected += 1
        for sign, lines in steps:
            for currency, earned in world.earnings(lines).items():
                signed = {account: sign * amount for account, amount in earned.items()}
                parts = rounded(currency, signed, carried[currency])
                total = sign * sum(line.amount_minor for line in lines if line.currency == currency)
                assert sum(part.amount_minor for part in parts) == total
                assert sign < 0 or min((part.amount_minor for part in parts), default=0) >= 0
                for part in parts:
                    posted[currency][part.account] += part.amount_minor
        for currency, earned in whole.items():
            assert sum(carried[currency].values()) == 0
            brought = sum(line.amount_minor for line in world.lines if line.currency == currency)
            assert posted[currency].total() == brought
            for account, amount in posted[currency].items():
                # what was posted is what was earned, but for what is carried
                assert amount == earned.get(account, 0) - carried[currency].get(account, 0)
                if account.kind is AccountKind.PAYABLE and not account.subject.startswith("model:"):
                    consent = world.standings["base", account.subject].consent
                    assert consent is Consent.OPTED_IN, account
                    paid += amount
    assert paid > 0
    assert corrected > 4_000


def test_a_tenth_of_every_cent_is_paid_over_a_hundred_thousand_settlements() -> None:
    """Each settles one line of one cent; after none of them is anybody a whole cent away."""
    tenth = {"platform": Fraction(1, 10), "artist": Fraction(9, 20), "model": Fraction(9, 20)}
    carried = dict.fromkeys(tenth, Fraction(0))
    posted: Counter[str] = Counter()
    for _ in range(100_000):
        due = {key: tenth[key] + carried[key] for key in tenth}
        amounts = apportion(due, 1, exact=tenth)
        posted.update(amounts)
        carried = {key: due[key] - amounts[key] for key in tenth}
        assert all(abs(carry) < 1 for carry in carried.values())
    assert posted == {"platform": 10_000, "artist": 45_000, "model": 45_000}


# histories in a database


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_of_money_is_sound_after_every_step(tmp_path: Path, seed: int) -> None:
    done = live(tmp_path / "space", seed=seed, steps=40)
    assert done["settle"] > 0


@pytest.mark.slow  # ten thousand steps in a database, each checked by the oracle: about an hour
def test_ten_thousand_random_steps_are_sound(tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    for seed in range(100, 200):
        done += live(tmp_path / str(seed), seed=seed, steps=100)
    assert all(done[step] > 50 for step in ("settle", "correct", "resolve", "payout", "policy", "cancel"))
