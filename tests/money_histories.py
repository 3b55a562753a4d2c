"""Random histories of money in a database: policies, revenue, settlements, corrections, disputes, claims,
consents, people and models who are assigned anew, erasures and payouts.

After every step the book balances and says what happened, to the minor unit, and what was settled is what an
oracle finds; at the end every settlement can be computed again, and the chain over all of it verifies until
one thing is altered.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import duckdb
from fake_records import digest
from money import E12, NOW, adopted, artist, everything, look_up, publish, record
from money_oracle import Exact, Oracle

from fairbrush.chain.log import Append, ChainedTable
from fairbrush.chain.rows import row_reader
from fairbrush.chain.tables import BODY_DIGESTS, CHAINED_TABLES
from fairbrush.corpus import erasure
from fairbrush.corpus.changes import open_registry, registry_change
from fairbrush.corpus.consent import effective_consents, set_consent
from fairbrush.corpus.fidelity import record_fidelity
from fairbrush.corpus.membership import Membership, add_model, assign_model, record_memberships
from fairbrush.corpus.people import add_creator, add_payee, assign_artist, assign_creator
from fairbrush.domain import Consent, Trained
from fairbrush.errors import DisputeError, MoneyError, RegistryError, SettlementError
from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.claims import claim
from fairbrush.ledger.closing import close_accounts, owed
from fairbrush.ledger.disputes import Assigned, Divided, Rejected, State, Subject, read_disputes
from fairbrush.ledger.disputing import contest_attribution, contest_standing, resolve_dispute
from fairbrush.ledger.exactly import parse_fraction
from fairbrush.ledger.payouts import Payout, PayoutStatus, confirm, fail, list_payouts, propose
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.revenue import Spread, add_line, cancel_line, image_line, list_lines, period_line
from fairbrush.ledger.settled import list_settlements, named_account, read_carries, recheck_all
from fairbrush.ledger.settlement import correct, settle
from fairbrush.ledger.terms import Unattributed
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

ARTISTS = ("ann", "bo", "cy", "di", "ed")
MODELS = ("sd-1.5", "tune", "tuner", "other")  # tuner is a fine-tune of tune, which is one of sd-1.5
CREATORS = (*(f"c-{name}" for name in ARTISTS), "c-both", "c-late")
PAYEES = (*(f"p-{name}" for name in ARTISTS), "p-both", "p-late", "p-tune", "p-society")
YEAR = parse_period("2026")
ROUNDED = 3  # minor units: what carries may take from an account in all


@dataclass(frozen=True)
class Seen:
    """What a step begins with."""

    consents: dict[str, Consent]
    nameless: frozenset[str]
    earned: dict[tuple[str, str, str], int]  # (payee, subject, currency): owed, on its way and paid


@dataclass
class History:
    """A workspace in which things happen at random. ``done``: how often each."""

    store: Store
    rng: random.Random
    now_days: int = 0
    images: list[tuple[str, str]] = field(default_factory=list)  # and their models
    erased: set[str] = field(default_factory=set)
    exact: dict[str, dict[str, Exact]] = field(default_factory=dict)  # by settlement and line
    corrected: dict[str, str] = field(default_factory=dict)  # by line: the settlement last taken back
    done: Counter[str] = field(default_factory=Counter)
    last: str = ""

    @property
    def now(self) -> datetime:
        return NOW + timedelta(days=self.now_days)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return self.store.connection

    @property
    def alive(self) -> list[str]:
        return [name for name in ARTISTS if name not in self.erased]

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], object]]] = [
            (7, self.revenue),
            (6, self.settle),
            (3, self.look_up),
            (3, self.consent),
            (3, self.payout),
            (3, self.finish_payout),
            (2, self.contest_attribution),
            (2, self.contest_standing),
            (3, self.resolve),
            (3, self.correct),
            (2, self.cancel),
            (1, self.claim),
            (1, self.policy),
            (1, self.facts),
            (2, self.assign),
            (1, self.assign_model),
            (1, self.erase),
            (1, self.erase_payee),
        ]
        chosen = self.rng.choices([do for _, do in steps], [weight for weight, _ in steps])[0]
        self.now_days += self.rng.choice((0, 0, 0, 0, 1, 3))
        self.last = chosen.__name__
        seen = self.look()
        try:
            chosen()
        except (DisputeError, MoneyError, RegistryError, SettlementError):
            self.done[f"{chosen.__name__} refused"] += 1
        else:
            self.done[chosen.__name__] += 1
        self.assert_settled()
        self.assert_held_back(seen)
        self.assert_sound()

    def policy(self) -> None:
        adopted(
            self.store,
            day=date(2026, self.rng.randint(1, 6), 1),
            model=self.rng.choice(("sd-1.5", "sd-1.5", "tuner")),
            platform_fee=self.rng.choice(("0", "0.1", "0.3", "1")),
            unattributed=self.rng.choice(list(Unattributed)),
            minimum_claim=self.rng.choice(("0", "0.05", "0.3")),
            membership=self.rng.choice(("ignore", "filter", "weight")),
            membership_unknown=self.rng.choice(("1", "0.5")),
            reproducibility=self.rng.choice(("ignore", "ignore", "filter", "weight")),
            unclaimed=self.rng.choice(("escrow", "unattributed")),
            opted_out=self.rng.choice(("escrow", "unattributed")),
            fine_tune_weight=self.rng.choice(("0", "0.3", "1")),
            minimum_payout={"EUR": self.rng.choice(("0.01", "1", "50"))},
        )

    def look_up(self) -> None:
        image, model_id = f"image {len(self.images)}", self.rng.choice(MODELS)
        if self.images and self.rng.random() < 0.4:  # one more answer about it
            image, _ = self.rng.choice(self.images)
        model = self.rng.choice((0, E12 // 2, E12 // 3))
        rest, shares = E12 - model, {}
        for name in self.rng.sample(ARTISTS, self.rng.randint(0, len(ARTISTS))):
            share = self.rng.choice((0, rest, self.rng.randint(0, rest)))
            rest -= share
            if name not in self.erased:
                shares[name] = share
        hint = f"{len(self.images)}"
        record(self.store, look_up(image, shares, model_e12=model, model_id=model_id, hint=hint))
        self.images.append((image, model_id))

    def revenue(self) -> None:
        reference = f"invoice {self.rng.randint(0, 400)}"
        month = self.rng.randint(1, 6)
        amount, currency = self.rng.choice(
            (
                ("0.01", "EUR"),
                ("12.34", "EUR"),
                ("9876.54", "EUR"),
                ("7", "JPY"),
                ("31415", "JPY"),
                ("0.125", "KWD"),
            )
        )
        image, own_model = self.rng.choice([*self.images, ("nobody asked about it", "sd-1.5")])
        model_id = self.rng.choice((own_model, own_model, None))
        if self.rng.random() < 0.7 or len(self.images) < 3:
            day = date(2026, month, self.rng.randint(1, 28))
            line = image_line(
                reference, amount, currency=currency, image_sha256=digest(image), day=day, model_id=model_id
            )
        else:
            chosen = self.rng.sample(
                sorted({name for name, model in self.images if model == own_model} | {image}), 1
            )
            more = [name for name, model in self.images if model == own_model]
            chosen = sorted({*chosen, *self.rng.sample(more, min(len(more), 2))})
            line = period_line(
                reference,
                amount,
                currency=currency,
                earned=parse_period(f"2026-{month:02}"),
                spread=Spread.WEIGHT,
                images=[(digest(name), self.rng.randint(1, 10**7)) for name in chosen],
                model_id=model_id,
            )
        add_line(self.store, line, now=self.now)

    def settle(self) -> None:
        period = self.rng.choice((YEAR, parse_period("2026-Q1")))
        told = settle(self.store, period, now=self.now, dry_run=True)
        assert settle(self.store, period, now=self.now).settlements == told.settlements

    def correct(self) -> None:
        lines = [line.revenue_id for line in list_lines(self.connection) if line.state == "settled"]
        if lines:
            chosen = self.rng.sample(lines, min(len(lines), self.rng.choice((1, 1, 3))))
            correct(self.store, revenue_ids=chosen, why="a mistake", now=self.now)

    def cancel(self) -> None:
        lines = list_lines(self.connection)
        if lines:
            cancel_line(self.store, self.rng.choice(lines).reference, reason="refunded", now=self.now)

    def consent(self) -> None:
        choice = self.rng.choice((Consent.OPTED_IN, Consent.OPTED_IN, Consent.OPTED_OUT, Consent.UNCLAIMED))
        at = self.now + timedelta(days=self.rng.choice((0, 0, 2, 9, -5)))
        set_consent(self.store, self.rng.choice(ARTISTS), choice, at=at, now=self.now)

    def claim(self) -> None:
        who = self.rng.choice(
            ({}, {}, {"creator": self.rng.choice(CREATORS)}, {"payee": self.rng.choice(PAYEES)})
        )
        claim(self.store, self.rng.choice(ARTISTS), evidence="a letter", now=self.now, **who)

    def assign(self) -> None:
        """Somebody else is behind an artist, or is paid for a creator."""
        if self.rng.random() < 0.5:
            assign_artist(self.store, self.rng.choice(self.alive), self.named("creator", CREATORS))
        else:
            assign_creator(self.store, self.named("creator", CREATORS), self.named("payee", PAYEES))

    def assign_model(self) -> None:
        assign_model(self.store, self.rng.choice(MODELS), self.named("payee", PAYEES))

    def named(self, table: str, ids: tuple[str, ...]) -> str:
        """One of these who is not erased."""
        rows = self.connection.execute(f"SELECT {table}_id FROM {table} WHERE name IS NULL").fetchall()
        return self.rng.choice([one for one in ids if (one,) not in rows])

    def facts(self) -> None:
        name = self.rng.choice(self.alive)
        trained = self.rng.choice(list(Trained))
        model_id = self.rng.choice(MODELS)
        record_memberships(self.store, [Membership(model_id, name, trained)], now=self.now)
        self.measure(model_id, name)

    def measure(self, model_id: str, name: str) -> None:
        record_fidelity(
            self.store,
            model_id,
            name,
            fidelity_e6=self.rng.randint(0, 10**6),
            is_reproducible=self.rng.random() < 0.7,
            source="measured",
            now=self.now,
        )

    def contest_attribution(self) -> None:
        rows = self.connection.execute("SELECT attribution_id FROM attribution ORDER BY 1").fetchall()
        if rows:
            contest_attribution(
                self.store,
                self.rng.choice(rows)[0],
                creator_id=self.rng.choice(CREATORS),
                claims_unattributed=self.rng.random() < 0.5,
                reason="that is mine",
                now=self.now,
            )

    def contest_standing(self) -> None:
        contest_standing(
            self.store,
            self.rng.choice(ARTISTS),
            creator_id=self.rng.choice(CREATORS),
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
            ruling = Assigned(self.rng.choice((None, *CREATORS)))
        resolve_dispute(self.store, one.dispute_id, ruling, reason="looked at", now=self.now)

    def payout(self) -> None:
        proposed = propose(self.store, now=self.now).payouts
        consents = effective_consents(self.connection, now=self.now)
        nameless = self.nameless()
        for payout in proposed:
            assert payout.amount_minor > 0
            assert payout.payee_id not in nameless, "an erased payee is never paid"
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
        if len(self.alive) < 3 or self.rng.random() < 0.5:
            return
        name = self.rng.choice(self.alive)
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

    def erase_payee(self) -> None:
        """As ``erasing.erase_payee`` in the database, of one nothing is owed to; others step in."""
        gone = self.nameless()
        free = [one for one in PAYEES if one not in owed(self.connection) and one not in gone]
        if not free or len(gone) > len(PAYEES) // 2:
            return
        payee_id = self.rng.choice(free)
        for kind, assign in (("creator", assign_creator), ("model", assign_model)):
            rows = self.connection.execute(
                f"SELECT {kind}_id FROM {kind} WHERE payee_id = ?", [payee_id]
            ).fetchall()
            for (one,) in rows:
                other_id = self.rng.choice([other for other in PAYEES if other not in gone | {payee_id}])
                assign(self.store, one, other_id)
        erasure.erase_payee(self.store, payee_id)

    # what always holds

    def nameless(self) -> frozenset[str]:
        rows = self.connection.execute("SELECT payee_id FROM payee WHERE name IS NULL").fetchall()
        return frozenset(payee_id for (payee_id,) in rows)

    def look(self) -> Seen:
        return Seen(effective_consents(self.connection, now=self.now), self.nameless(), self.earned_ever())

    def earned_ever(self) -> dict[tuple[str, str, str], int]:
        sums: Counter[tuple[str, str, str]] = Counter()
        for (account, currency), amount in balances(self.connection, AccountKind.PAYABLE).items():
            sums[account.holder, account.subject, currency] += amount
        for payout in self.payouts():
            for subject, amount in payout.parts:
                pseudonym = "" if subject in self.erased else subject
                sums[payout.payee_id, pseudonym, payout.currency] += amount
        return dict(sums)

    def payouts(self) -> list[Payout]:
        return [one for one in list_payouts(self.connection) if one.status is not PayoutStatus.FAILED]

    def assert_settled(self) -> None:
        """What was settled since is what the oracle finds now; what was taken back is what was settled."""
        oracle: Oracle | None = None
        for settlement_id, number, reverses, policy, text in self.connection.execute(
            "SELECT settlement_id, number, reverses, policy_digest, body::VARCHAR FROM settlement"
            " ORDER BY number"
        ).fetchall():
            if settlement_id in self.exact:
                continue
            body = json.loads(text)
            lines = [
                line
                for (line,) in self.connection.execute(
                    "SELECT DISTINCT revenue_id FROM settlement_line WHERE settlement_id = ? ORDER BY 1",
                    [settlement_id],
                ).fetchall()
            ]
            stored = self.stored(settlement_id, body)
            if reverses is None:
                oracle = oracle or Oracle(self.store, now=self.now)
                self.exact[settlement_id] = {
                    line: oracle.earned(line, policy, self.corrected.get(line)) for line in lines
                }
                expected = self.summed(self.exact[settlement_id])
                assert stored == expected, f"settlement {number} is not what the oracle finds"
            else:
                taken = self.summed({line: self.exact[reverses].pop(line) for line in lines})
                self.exact[settlement_id] = {}
                self.corrected |= dict.fromkeys(lines, reverses)
                self.assert_taken_back(stored, taken)

    def stored(self, settlement_id: str, body: dict) -> dict[str, Exact]:
        """What a settlement says was earned, without what was carried from account to account."""
        found: dict[str, Exact] = defaultdict(lambda: defaultdict(Fraction))
        for currency, kind, holder, subject, exact in self.connection.execute(
            "SELECT currency, account, holder, subject, exact_minor FROM settlement_part"
            " WHERE settlement_id = ?",
            [settlement_id],
        ).fetchall():
            found[currency][Account(AccountKind(kind), holder, subject)] += parse_fraction(exact)
        for currency, source, target, amount in body["carried"]:
            found[currency][named_account(source)] += parse_fraction(amount)
            found[currency][named_account(target)] -= parse_fraction(amount)
        return without_nought(found)

    def summed(self, by_line: dict[str, Exact]) -> dict[str, Exact]:
        currencies = dict(self.connection.execute("SELECT revenue_id, currency FROM revenue").fetchall())
        found: dict[str, Exact] = defaultdict(lambda: defaultdict(Fraction))
        for revenue_id, exact in by_line.items():
            for account, amount in exact.items():
                found[currencies[revenue_id]][account] += amount
        return without_nought(found)

    def assert_taken_back(self, back: dict[str, Exact], settled: dict[str, Exact]) -> None:
        assert back.keys() == settled.keys()
        for currency, amounts in settled.items():
            assert sum(amounts.values()) == -sum(back[currency].values())
            assert all(amount < 0 for amount in back[currency].values()), "taking back gives nobody anything"

    def assert_held_back(self, seen: Seen) -> None:
        """Nobody who is opted out or erased before and after a step earns anything by it."""
        consents = effective_consents(self.connection, now=self.now)
        for (payee_id, subject, currency), amount in self.earned_ever().items():
            grown = amount - seen.earned.get((payee_id, subject, currency), 0)
            if payee_id in seen.nameless:
                # a correction takes back what was paid for somebody erased, and leaves it there, rounded anew
                most = 0 if subject else ROUNDED
                assert grown <= most, f"the erased {payee_id} earned {grown} {currency} of {subject}"
            assert grown == 0 or subject not in self.erased
            both = (seen.consents.get(subject), consents.get(subject))
            if both == (Consent.OPTED_OUT, Consent.OPTED_OUT) and self.last != "resolve":
                assert grown <= 0, f"{subject} is opted out, and {payee_id} earned {grown} {currency}"

    def assert_sound(self) -> None:
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
            if account.kind not in (AccountKind.REVENUE, AccountKind.PAYABLE):
                assert amount >= -ROUNDED, f"{account} has {amount} {currency}"
        self.assert_debts()
        self.assert_revenue(held)
        carried = self.carried()
        read = read_carries(self.connection, before=10**9)
        assert {currency: own for currency, own in read.items() if own} == carried
        for carries in carried.values():
            assert sum(carries.values()) == 0
            assert all(abs(carry) < 2 for carry in carries.values())

    def assert_debts(self) -> None:
        """Nobody owes more than they were paid; nobody was paid more than they earned, but where it was taken
        back since."""
        sums: Counter[tuple[str, str]] = Counter()
        for (payee_id, subject, currency), amount in self.earned_ever().items():
            sums[payee_id, currency] += amount
            if subject:  # what of an erased artist was paid, and what is owed since, is under one pseudonym
                assert amount >= -ROUNDED, f"{payee_id} earned {amount} {currency} of {subject}"
        for (payee_id, currency), amount in sums.items():
            assert amount >= -ROUNDED, f"{payee_id} earned {amount} {currency}"

    def carried(self) -> dict[str, Exact]:
        """All that was earned exactly, less what was posted, by account."""
        found: dict[str, Exact] = defaultdict(lambda: defaultdict(Fraction))
        for currency, kind, holder, subject, exact, amount in self.connection.execute(
            "SELECT currency, account, holder, subject, exact_minor, amount_minor FROM settlement_part"
        ).fetchall():
            found[currency][Account(AccountKind(kind), holder, subject)] += parse_fraction(exact) - amount
        return without_nought(found)

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
        """Every settlement again from what it froze; a second settling writes nothing; the chain verifies,
        and whatever is altered then is named."""
        assert recheck_all(self.connection) == {}
        for name in self.alive:
            self.measure("sd-1.5", name)
            self.measure("other", name)
        settle(self.store, YEAR, now=self.now)
        self.assert_settled()
        before = everything(self.store)
        again = settle(self.store, YEAR, now=self.now)
        assert again.settlements == ()
        assert everything(self.store) == before
        verified = verify_ledger(self.connection)
        assert (verified.count, verified.notes) == (0, ())
        for tamper in (self.alter, self.alter, self.remove, self.insert):
            tamper()

    # tampering

    def alter(self) -> None:
        table = self.protected()
        columns = [*table.hashed, *(["body"] if table.kind in BODY_DIGESTS else [])]
        column = self.rng.choice([one for one in columns if one not in table.key] or columns)
        with undone(self.connection, table):
            ((rowid, value, key),) = self.row(table, column)
            try:
                self.connection.execute(
                    f"UPDATE {table.table} SET {column} = ? WHERE rowid = ?", [other(value, self.rng), rowid]
                )
            except (duckdb.ConstraintException, duckdb.ConversionException):
                return
            self.assert_named(table, key, f"{column} of {table.kind}:{key} was altered")

    def remove(self) -> None:
        table = self.protected()
        with undone(self.connection, table):
            ((rowid, _, key),) = self.row(table, table.key[0])
            self.connection.execute(f"DELETE FROM {table.table} WHERE rowid = ?", [rowid])
            self.assert_named(table, key, f"{table.kind}:{key} was removed")

    def insert(self) -> None:
        """A copy of a row, under another key."""
        table = self.protected()
        with undone(self.connection, table):
            ((rowid, value, _),) = self.row(table, table.key[0])
            new = value + 10**6 if isinstance(value, int) else digest(value)
            self.connection.execute(
                f"INSERT INTO {table.table} SELECT * REPLACE (? AS {table.key[0]}) FROM {table.table}"
                " WHERE rowid = ?",
                [new, rowid],
            )
            reader = row_reader(self.connection, table).key
            ((key,),) = self.connection.execute(
                f"SELECT {reader} FROM {table.table} WHERE {table.key[0]} = ?", [new]
            ).fetchall()
            self.assert_named(table, key, f"{table.kind}:{key} was inserted")

    def protected(self) -> ChainedTable:
        """One that has rows."""
        counts = {
            table: self.connection.execute(f"SELECT count(*) FROM {table.table}").fetchall()[0][0]
            for table in CHAINED_TABLES
        }
        return self.rng.choice([table for table, count in counts.items() if count])

    def row(self, table: ChainedTable, column: str) -> list[tuple]:
        key = row_reader(self.connection, table).key
        rows = self.connection.execute(
            f"SELECT rowid, {column}, {key} FROM {table.table} ORDER BY rowid"
        ).fetchall()
        return [self.rng.choice(rows)]

    def assert_named(self, table: ChainedTable, key: str, what: str) -> None:
        found = verify_ledger(self.connection)
        assert (table.kind, key) in {(one.kind, one.key) for one in found.findings}, what


def without_nought(found: dict[str, Exact]) -> dict[str, Exact]:
    kept = {
        currency: {account: amount for account, amount in amounts.items() if amount}
        for currency, amounts in found.items()
    }
    return {currency: amounts for currency, amounts in kept.items() if amounts}


@contextmanager
def undone(connection: duckdb.DuckDBPyConnection, table: ChainedTable) -> Iterator[None]:
    """Whatever is done to a table within is undone."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM {table.table}")
    try:
        yield
    finally:
        connection.execute(f"DELETE FROM {table.table}")
        connection.execute(f"INSERT INTO {table.table} SELECT * FROM kept")


def other(value: object, rng: random.Random) -> object:
    """Another value of the same type."""
    match value:
        case None:
            return rng.choice(["x", 1])
        case int():
            return value + rng.choice((-1, 1, 1000))
        case float():
            return value + 1
        case datetime():
            return value + timedelta(microseconds=rng.choice((1, -1, 10**9)))
        case date():
            return value + timedelta(days=rng.choice((1, -1)))
        case _:
            text = str(value)
            return text[:-1] + ',"x":1}' if text.startswith("{") else text + "x"


def totals(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """What is owed to anybody, by currency: it may change hands, and not go away."""
    sums: Counter[str] = Counter()
    for (account, currency), amount in balances(connection).items():
        if account.kind not in (AccountKind.REVENUE, AccountKind.BANK):
            sums[currency] += amount
    return dict(sums)


def begin(store: Store, rng: random.Random) -> History:
    publish(store)
    for name in ARTISTS:
        artist(store, name, consent=rng.choice((Consent.OPTED_IN, Consent.OPTED_IN, Consent.UNCLAIMED)))
    for payee_id in PAYEES[len(ARTISTS) :]:
        add_payee(store, payee_id, now=NOW, new_id=lambda payee_id=payee_id: payee_id)
    for creator_id in CREATORS[len(ARTISTS) :]:
        payee_id = creator_id.replace("c-", "p-")
        add_creator(
            store, creator_id, payee=payee_id, now=NOW, new_id=lambda creator_id=creator_id: creator_id
        )
    add_model(store, "tune", base="sd-1.5", payee="p-tune", now=NOW)
    add_model(store, "tuner", base="tune", now=NOW)
    add_model(store, "other", now=NOW)
    adopted(store, platform_fee="0.1")
    history = History(store, rng)
    for _ in range(6):
        history.look_up()
    return history


def live(folder: Path, *, seed: int, steps: int) -> Counter[str]:
    """One history; what was done in it."""
    create_workspace(folder)
    with open_registry(folder) as store:
        history = begin(store, random.Random(seed))
        for number in range(steps):
            try:
                history.step()
            except Exception as failure:
                raise AssertionError(f"seed {seed}, step {number}, {history.last}: {failure}") from failure
        history.assert_final()
        assert list_settlements(store.connection)
        return history.done
