"""Random histories of policies, revenue, settlements, corrections, disputes, consents, erasures and payouts.

After every step the book balances and says what happened, to the minor unit; at the end every settlement can
be computed again, and the chain over all of it verifies.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from fake_records import digest
from money import E12, NOW, adopted, artist, everything, look_up, publish, record

from fairbrush.chain.log import Append
from fairbrush.corpus import erasure
from fairbrush.corpus.changes import open_registry, registry_change
from fairbrush.corpus.consent import effective_consents, set_consent
from fairbrush.corpus.fidelity import record_fidelity
from fairbrush.corpus.membership import Membership, record_memberships
from fairbrush.domain import Consent, Trained
from fairbrush.errors import DisputeError, MoneyError, RegistryError, SettlementError
from fairbrush.ledger.apportion import apportion
from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.claims import claim
from fairbrush.ledger.closing import close_accounts, owed
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.ledger.disputes import Assigned, Divided, Rejected, State, Subject, read_disputes
from fairbrush.ledger.disputing import contest_attribution, contest_standing, resolve_dispute
from fairbrush.ledger.earnings import (
    Earnings,
    Line,
    Parts,
    SharedRecord,
    Standing,
    Treatment,
    exact_earnings,
)
from fairbrush.ledger.payouts import PayoutStatus, confirm, fail, list_payouts, propose
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.revenue import Spread, add_line, cancel_line, image_line, list_lines, period_line
from fairbrush.ledger.rounding import Part, whole_parts
from fairbrush.ledger.settled import list_settlements, read_carries, recheck_all
from fairbrush.ledger.settlement import correct, settle
from fairbrush.ledger.terms import Terms, Unattributed
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

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


@dataclass
class History:
    """A workspace in which things happen at random. ``done``: how often each."""

    store: Store
    rng: random.Random
    now_days: int = 0
    images: list[str] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def now(self):
        return NOW + timedelta(days=self.now_days)

    @property
    def connection(self):
        return self.store.connection

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], object]]] = [
            (6, self.revenue),
            (5, self.settle),
            (3, self.look_up),
            (2, self.consent),
            (2, self.payout),
            (2, self.finish_payout),
            (2, self.contest_attribution),
            (1, self.contest_standing),
            (3, self.resolve),
            (2, self.correct),
            (1, self.cancel),
            (1, self.claim),
            (1, self.policy),
            (1, self.facts),
            (1, self.erase),
        ]
        chosen = self.rng.choices([do for _, do in steps], [weight for weight, _ in steps])[0]
        self.now_days += self.rng.random() < 0.2
        try:
            chosen()
        except (DisputeError, MoneyError, RegistryError, SettlementError):
            self.done[f"{chosen.__name__} refused"] += 1
        else:
            self.done[chosen.__name__] += 1

    def policy(self) -> None:
        adopted(
            self.store,
            day=date(2026, self.rng.randint(1, 6), 1),
            platform_fee=self.rng.choice(("0", "0.1", "0.3", "1")),
            unattributed=self.rng.choice(list(Unattributed)),
            minimum_claim=self.rng.choice(("0", "0.05", "0.3")),
            membership=self.rng.choice(("ignore", "filter", "weight")),
            membership_unknown=self.rng.choice(("1", "0.5")),
            reproducibility=self.rng.choice(("ignore", "ignore", "weight")),
            unclaimed=self.rng.choice(("escrow", "unattributed")),
            opted_out=self.rng.choice(("escrow", "unattributed")),
            minimum_payout={"EUR": self.rng.choice(("0.01", "1", "50"))},
        )

    def look_up(self) -> None:
        image = f"image {len(self.images)}"
        model = self.rng.choice((0, E12 // 2, E12 // 3))
        parts, _ = shares_of(self.rng, E12 - model)
        alive = {name: share for name, share in parts if name not in self.erased}
        record(self.store, look_up(image, alive, model_e12=model))
        self.images.append(image)

    def revenue(self) -> None:
        reference = f"invoice {self.rng.randint(0, 400)}"
        month = self.rng.randint(1, 6)
        amount, currency = self.rng.choice(
            (("0.01", "EUR"), ("12.34", "EUR"), ("7", "JPY"), ("0.125", "KWD"))
        )
        if self.rng.random() < 0.7 or len(self.images) < 3:
            image = digest(self.rng.choice([*self.images, "nobody asked about it"]))
            day = date(2026, month, self.rng.randint(1, 28))
            line = image_line(reference, amount, currency=currency, image_sha256=image, day=day)
        else:
            chosen = self.rng.sample(self.images, 3)
            line = period_line(
                reference,
                amount,
                currency=currency,
                earned=parse_period(f"2026-{month:02}"),
                spread=Spread.WEIGHT,
                images=[(digest(name), self.rng.randint(1, 10**7)) for name in chosen],
            )
        add_line(self.store, line, now=self.now)

    def settle(self) -> None:
        settle(self.store, self.rng.choice((YEAR, parse_period("2026-Q1"))), now=self.now)

    def correct(self) -> None:
        lines = [line.revenue_id for line in list_lines(self.connection)]
        if lines:
            correct(self.store, revenue_ids=self.rng.sample(lines, 1), why="a mistake", now=self.now)

    def cancel(self) -> None:
        lines = list_lines(self.connection)
        if lines:
            cancel_line(self.store, self.rng.choice(lines).reference, reason="refunded", now=self.now)

    def consent(self) -> None:
        choice = self.rng.choice((Consent.OPTED_IN, Consent.OPTED_IN, Consent.OPTED_OUT, Consent.UNCLAIMED))
        set_consent(self.store, self.rng.choice(ARTISTS), choice, now=self.now)

    def claim(self) -> None:
        claim(self.store, self.rng.choice(ARTISTS), evidence="a letter", now=self.now)

    def facts(self) -> None:
        name = self.rng.choice([name for name in ARTISTS if name not in self.erased] or ["nobody"])
        if name == "nobody":
            return
        trained = self.rng.choice(list(Trained))
        record_memberships(self.store, [Membership("sd-1.5", name, trained)], now=self.now)
        self.measure(name)

    def measure(self, name: str) -> None:
        record_fidelity(
            self.store,
            "sd-1.5",
            name,
            fidelity_e6=self.rng.randint(0, 10**6),
            is_reproducible=True,
            source="measured",
            now=self.now,
        )

    def contest_attribution(self) -> None:
        rows = self.connection.execute("SELECT attribution_id FROM attribution ORDER BY 1").fetchall()
        if rows:
            contest_attribution(
                self.store,
                self.rng.choice(rows)[0],
                creator_id=f"c-{self.rng.choice(ARTISTS)}",
                claims_unattributed=self.rng.random() < 0.5,
                reason="that is mine",
                now=self.now,
            )

    def contest_standing(self) -> None:
        contest_standing(
            self.store,
            self.rng.choice(ARTISTS),
            creator_id=f"c-{self.rng.choice(ARTISTS)}",
            reason="that is me",
            now=self.now,
        )

    def resolve(self) -> None:
        waiting = [one for one in read_disputes(self.connection) if one.state is State.OPEN]
        if not waiting:
            return
        one = self.rng.choice(waiting)
        ruling: Rejected | Divided | Assigned = Rejected()
        if self.rng.random() < 0.7 and one.subject is Subject.ATTRIBUTION:
            given = {self.rng.choice(ARTISTS): Fraction(self.rng.randint(0, 3), 3)}
            ruling = Divided(given)
        elif self.rng.random() < 0.7 and one.subject is Subject.STANDING:
            ruling = Assigned(self.rng.choice((None, f"c-{self.rng.choice(ARTISTS)}")))
        resolve_dispute(self.store, one.dispute_id, ruling, reason="looked at", now=self.now)

    def payout(self) -> None:
        proposed = propose(self.store, now=self.now).payouts
        consents = effective_consents(self.connection, now=self.now)
        for payout in proposed:
            assert payout.amount_minor > 0
            for subject, amount in payout.parts:
                assert subject not in self.erased, "an erased artist is never paid"
                assert amount < 0 or consents.get(subject) is not Consent.OPTED_OUT
        assert propose(self.store, now=self.now).payouts == ()

    def finish_payout(self) -> None:
        waiting = list_payouts(self.connection, status=PayoutStatus.PROPOSED)
        if waiting:
            payout_id = self.rng.choice(waiting).payout_id
            if self.rng.random() < 0.6:
                confirm(self.store, payout_id, reference="B-1", now=self.now)
            else:
                fail(self.store, payout_id, reason="no such account", now=self.now)

    def erase(self) -> None:
        """As ``erasing.erase_artist`` in the database; its files are tested elsewhere."""
        alive = [name for name in ARTISTS if name not in self.erased]
        if len(alive) < 3 or self.rng.random() < 0.5:
            return
        name = self.rng.choice(alive)
        before = totals(self.connection)
        with registry_change(self.store) as connection:
            erasure.erase_artist(self.store, name, owed=set(owed(connection)), now=self.now)
            append = Append(connection)
            close_accounts(append, connection, name, reference=f"redaction/{name}", now=self.now)
            append.commit(now=self.now)
        self.erased.add(name)
        assert totals(self.connection) == before
        for account, _ in balances(self.connection):
            assert name not in (account.holder, account.subject), "settled money is under no artist's name"

    def assert_sound(self) -> None:
        """What always holds."""
        held = balances(self.connection)
        sums: Counter[str] = Counter()
        for (_, currency), amount in held.items():
            sums[currency] += amount
        assert not any(sums.values()), "the book balances"
        disputes = {one.dispute_id: one for one in read_disputes(self.connection)}
        payouts = {one.payout_id: one for one in list_payouts(self.connection)}
        bank: Counter[str] = Counter()
        for payout in payouts.values():
            if payout.status is PayoutStatus.CONFIRMED:
                bank[payout.currency] += payout.amount_minor
        for (account, currency), amount in held.items():
            if account.kind is AccountKind.DISPUTED:
                assert disputes[account.holder].state is State.OPEN, "a closed dispute holds nothing"
            if account.kind is AccountKind.TRANSIT:
                payout = payouts[account.holder]
                assert (payout.status, payout.currency) == (PayoutStatus.PROPOSED, currency)
                assert payout.amount_minor == amount
            if account.kind is AccountKind.BANK:
                assert amount == bank[currency], "what was confirmed has left, once"
        self.assert_revenue(held)
        for carries in read_carries(self.connection, before=10**9).values():
            assert sum(carries.values()) == 0
            assert all(abs(carry) < 2 for carry in carries.values())

    def assert_revenue(self, held: dict[tuple[Account, str], int]) -> None:
        """What came in is the amount of the settled lines, each once."""
        brought: Counter[str] = Counter()
        for line in list_lines(self.connection):
            if line.state == "settled":
                brought[line.currency] += line.amount_minor
        revenue = Account(AccountKind.REVENUE)
        found = {currency: -amount for (account, currency), amount in held.items() if account == revenue}
        assert found == {currency: amount for currency, amount in brought.items() if amount}

    def assert_final(self) -> None:
        """Every settlement again from what it froze; a second settling writes nothing; the chain verifies."""
        assert recheck_all(self.connection) == {}
        for name in ARTISTS:  # a policy may ask for the figure of somebody nobody measured
            if name not in self.erased:
                self.measure(name)
        settle(self.store, YEAR, now=self.now)
        before = everything(self.store)
        again = settle(self.store, YEAR, now=self.now)
        assert again.settlements == ()
        assert everything(self.store) == before
        verified = verify_ledger(self.connection)
        assert (verified.count, verified.notes) == (0, ())


def totals(connection) -> dict[str, int]:
    """What is owed to anybody, by currency: it may change hands, and not go away."""
    sums: Counter[str] = Counter()
    for (account, currency), amount in balances(connection).items():
        if account.kind not in (AccountKind.REVENUE, AccountKind.BANK):
            sums[currency] += amount
    return dict(sums)


def live(folder: Path, *, seed: int, steps: int) -> Counter[str]:
    """One history; what was done in it."""
    create_workspace(folder)
    with open_registry(folder) as store:
        publish(store)
        rng = random.Random(seed)
        for name in ARTISTS:
            artist(store, name, consent=rng.choice((Consent.OPTED_IN, Consent.OPTED_IN, Consent.UNCLAIMED)))
        history = History(store, rng)
        adopted(store, platform_fee="0.1")
        for _ in range(4):
            history.look_up()
        for number in range(steps):
            history.step()
            try:
                history.assert_sound()
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}, step {number}: {failure}") from failure
        history.assert_final()
        assert list_settlements(store.connection)
        return history.done


@pytest.mark.parametrize("seed", range(6))
def test_a_random_history_of_money_is_sound_after_every_step(tmp_path: Path, seed: int) -> None:
    done = live(tmp_path / "space", seed=seed, steps=40)
    assert done["settle"] > 0


@pytest.mark.slow  # ten thousand steps in a database: a quarter of an hour
def test_ten_thousand_random_steps_are_sound(tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    for seed in range(100, 200):
        done += live(tmp_path / str(seed), seed=seed, steps=100)
    assert all(done[step] > 50 for step in ("settle", "correct", "resolve", "payout", "policy", "cancel"))
