"""Settle a period: each revenue line once, by the records that its day's policy pins.

Enters: a period. Leaves: settlements, one a policy, each with an entry in the book. The one rule: what a
settlement was computed from is frozen beside it (records, standings, contests, developers), so that it can be
computed again and taken back; and all of it is written in one transaction and one batch of the chain.

A correction never changes a settlement: a reversal takes some of its lines back by what it froze, from
wherever the money is now, and the lines are settled again by what is known now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.chain.commitment import Committed, committed
from fairbrush.chain.log import Append
from fairbrush.chain.tables import SETTLEMENT_LINES, SETTLEMENT_PARTS, SETTLEMENT_STANDINGS, SETTLEMENTS
from fairbrush.domain import Consent
from fairbrush.errors import PolicyError
from fairbrush.ledger.book import Account, AccountKind, EntryKind, balances, post
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.earnings import (
    Earnings,
    Parts,
    Standing,
    credited,
    exact_earnings,
    unattributed_accounts,
)
from fairbrush.ledger.exactly import fraction_text
from fairbrush.ledger.lines import (
    LineImage,
    RevenueLine,
    cancelled,
    choose_records,
    open_lines,
    read_lines,
    settled_images,
    settled_lines,
    shared_lines,
)
from fairbrush.ledger.moves import Move, artist_of, follow_amount, follow_carry, read_moves
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import AdoptedPolicy, adopted_policies, policy_on
from fairbrush.ledger.rounding import Carried
from fairbrush.ledger.settled import (
    Carries,
    Frozen,
    Settlement,
    SettlementKind,
    account_names,
    add_carries,
    check_size,
    images_digest,
    last_entries,
    read_carries,
    read_frozen,
    read_passed,
    round_all,
    settlement_postings,
    standing_columns,
    standings_digest,
)
from fairbrush.ledger.standings import Facts, assess, developer_accounts, read_facts, unearned
from fairbrush.store import Store, as_utc, next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SETTLEMENT_SCHEMA = "fairbrush.settlement/1"
_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Unsettled:
    """A line that stays open, and why. ``missing``: its images without a record that may pay."""

    revenue_id: str
    reference: str
    currency: str
    amount_minor: int
    reason: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettlementReport:
    """``is_written``: False for a dry run."""

    period: Period
    settlements: tuple[Settlement, ...]
    unsettled: tuple[Unsettled, ...]
    is_written: bool = True


def settle(store: Store, period: Period, *, now: datetime, dry_run: bool = False) -> SettlementReport:
    """Settle what was earned in a period and is not settled yet. The same again settles nothing.

    Raises SettlementError where a line's record cannot be applied; nothing is written then.
    """
    moment = as_utc(now)
    with nullcontext(store.connection) if dry_run else store.transaction() as connection:
        work = _Work.begin(store, now=moment)
        settled, unsettled = work.settle(open_lines(connection, period), period)
        if not dry_run:
            work.write(settled)
    return SettlementReport(period, tuple(one.settlement for one in settled), tuple(unsettled), not dry_run)


def correct(
    store: Store,
    *,
    attribution_ids: Sequence[str] = (),
    revenue_ids: Sequence[str] = (),
    why: str,
    now: datetime,
) -> list[SettlementReport]:
    """Take back settled lines, those named and those that the records named settle, and settle them again by
    what is known now, under the policy that settled them; a cancelled line is only taken back. One report for
    each settlement that is corrected.

    why: kept beside the reversal; it can be forgotten. Raises SettlementError.
    """
    moment, reports = as_utc(now), []
    with store.transaction() as connection:
        found = settled_lines(connection, attribution_ids=attribution_ids, revenue_ids=revenue_ids)
        for settlement_id, ids in found.items():
            work = _Work.begin(store, now=moment)
            frozen = read_frozen(connection, settlement_id)
            reversal = work.reverse(frozen, ids, why=why)
            gone = cancelled(connection, ids)
            again = [line for line in read_lines(connection, ids) if line.revenue_id not in gone]
            settled, unsettled = work.settle(again, frozen.period, corrects=frozen)
            work.write([reversal, *settled])
            settlements = tuple(one.settlement for one in [reversal, *settled])
            reports.append(SettlementReport(frozen.period, settlements, tuple(unsettled)))
    return reports


@dataclass(frozen=True)
class _Computed:
    """A settlement and all of its rows."""

    settlement: Settlement
    body: Mapping[str, Any]
    images: Sequence[LineImage]
    standings: Sequence[Standing]
    contests: Contests
    reason: Committed = field(default_factory=Committed)


@dataclass
class _Work:
    """What several settlements of one transaction share: the facts, and what each leaves to the next."""

    store: Store
    connection: DuckDBPyConnection
    facts: Facts
    now: datetime
    number: int  # of the next settlement
    after_entry: int  # the last entry of the book before any of them
    carries: Carries
    moves: dict[str, list[Move]]  # by currency: since it was last settled, and its carries with it

    @classmethod
    def begin(cls, store: Store, *, now: datetime) -> _Work:
        connection = store.connection
        number = next_sequence(connection, "settlement", column="number")
        after_entry = next_sequence(connection, "entry", column="number") - 1
        carries, last = read_carries(connection, before=number), last_entries(connection)
        recent = read_moves(connection, after=min(last.values(), default=after_entry), until=after_entry)
        return cls(
            store=store,
            connection=connection,
            facts=read_facts(store, now=now),
            now=now,
            number=number,
            after_entry=after_entry,
            carries=carries,
            moves={
                currency: [one for one in recent if one.currency == currency and one.number > number_of_last]
                for currency, number_of_last in last.items()
            },
        )

    def settle(
        self, lines: Sequence[RevenueLine], period: Period, *, corrects: Frozen | None = None
    ) -> tuple[list[_Computed], list[Unsettled]]:
        """One settlement for each policy in effect on the lines' days, by its version; one that corrects
        another keeps its policy."""
        by_policy: Sequence[tuple[AdoptedPolicy, Sequence[RevenueLine]]]
        unsettled: list[Unsettled]
        if corrects is None:
            by_policy, unsettled = self._by_policy(lines)
        else:
            by_policy, unsettled = [(corrects.policy, lines)], []
        computed = []
        for policy, own in by_policy:
            ready, images, waiting = self._with_records(own, policy)
            unsettled += waiting
            if ready:
                computed.append(self._settlement(ready, images, policy, period, corrects))
        return computed, sorted(unsettled, key=attrgetter("reference"))

    def reverse(self, frozen: Frozen, revenue_ids: Sequence[str], *, why: str) -> _Computed:
        """Take lines of a settlement back by what it froze, from where the money is now."""
        images = settled_images(self.connection, frozen.settlement_id, revenue_ids)
        earned = frozen.earnings(self.connection, images)
        moves = read_moves(self.connection, after=frozen.after_entry, until=self.after_entry)
        before = read_passed(self.connection) if any(move.limits for move in moves) else {}
        passed = dict(before)
        disputed = balances(self.connection, AccountKind.DISPUTED)
        taken: Earnings = {}
        for currency, amounts in earned.items():
            back: dict[Account, Fraction] = defaultdict(Fraction)
            for account, amount in amounts.items():
                for holder, own in follow_amount(account, currency, amount, moves, passed).items():
                    is_empty = (holder, currency) not in disputed
                    for target, part in self._still_there(holder, frozen, is_empty=is_empty):
                        back[target] -= own * part
            taken[currency] = {account: amount for account, amount in sorted(back.items()) if amount}
        carried = self._carried(taken, frozen.policy)
        body = {
            **self._body(SettlementKind.REVERSAL, frozen.period, frozen.policy, images, carried),
            "reverses": frozen.settlement_id,
            "taken": [
                [currency, *account_names(account), fraction_text(amount)]
                for currency, amounts in taken.items()
                for account, amount in amounts.items()
            ],
            "passed": [
                [
                    number,
                    currency,
                    *account_names(source),
                    fraction_text(amount - before.get(way, Fraction(0))),
                ]
                for way, amount in sorted(passed.items())
                for number, currency, source in [way]
                if amount != before.get(way)
            ],
        }
        return self._computed(
            body, taken, carried, frozen.period, images, (), frozen.contests, committed(why)
        )

    def write(self, computed: Sequence[_Computed]) -> None:
        """Rows, entries and leaves, as one batch inside the caller's transaction."""
        append = Append(self.connection)
        for one in computed:
            _insert(append, one, now=self.now)
            settlement = one.settlement
            kinds = {
                SettlementKind.SETTLEMENT: EntryKind.SETTLEMENT,
                SettlementKind.REVERSAL: EntryKind.REVERSAL,
            }
            post(
                append,
                self.connection,
                kinds[settlement.kind],
                settlement_postings(settlement.parts),
                reference=settlement.settlement_id,
                policy_digest=settlement.policy_digest,
                now=self.now,
            )
        append.commit(now=self.now)

    def _by_policy(
        self, lines: Sequence[RevenueLine]
    ) -> tuple[list[tuple[AdoptedPolicy, list[RevenueLine]]], list[Unsettled]]:
        policies: dict[date, AdoptedPolicy | str] = {}
        for day in sorted({line.earned_to for line in lines}):
            try:
                policies[day] = policy_on(self.connection, day)
            except PolicyError as error:
                if adopted_policies(self.connection):
                    policies[day] = error.message
                else:
                    raise
        groups: dict[int, tuple[AdoptedPolicy, list[RevenueLine]]] = {}
        unsettled = []
        for line in lines:
            policy = policies[line.earned_to]
            if isinstance(policy, str):
                unsettled.append(_unsettled(line, policy))
            else:
                groups.setdefault(policy.version, (policy, []))[1].append(line)
        return [groups[version] for version in sorted(groups)], unsettled

    def _with_records(
        self, lines: Sequence[RevenueLine], policy: AdoptedPolicy
    ) -> tuple[list[RevenueLine], list[LineImage], list[Unsettled]]:
        """The lines that can be settled, their images, and the lines that cannot be."""
        known, unsettled = [], []
        for line in lines:
            model_id = line.model_id or policy.split.model
            if model_id in self.facts.models:
                known.append(line)
            else:
                unsettled.append(_unsettled(line, f"No model {model_id!r} is registered."))
        chosen = choose_records(self.connection, known, policy)
        by_line = {revenue_id: list(own) for revenue_id, own in groupby(chosen, attrgetter("revenue_id"))}
        ready, images = [], []
        for line in known:
            own = by_line.get(line.revenue_id, [])
            missing = tuple(image.image_sha256 for image in own if image.attribution_id is None)
            if missing:
                reason = f"{len(missing)} of {len(own)} images have no record under {_pinned(line, policy)}."
                unsettled.append(_unsettled(line, reason, missing))
            elif not sum(image.weight for image in own):
                unsettled.append(_unsettled(line, "It is spread over no images."))
            else:
                ready.append(line)
                images += own
        return ready, images, unsettled

    def _settlement(
        self,
        lines: Sequence[RevenueLine],
        images: Sequence[LineImage],
        policy: AdoptedPolicy,
        period: Period,
        corrects: Frozen | None,
    ) -> _Computed:
        facts, terms = self.facts, policy.terms
        shared = shared_lines(self.connection, lines, images, model_id=policy.split.model)
        contests = _concerning(facts.contests, images)
        before = None if corrects is None else corrects.standings
        standings = assess(facts, credited(shared, contests, terms=terms), terms=terms, before=before)
        developers = developer_accounts(facts, {line.model_id for line in shared}, terms=terms)
        earned = exact_earnings(shared, standings, contests, terms=terms, developers=developers)
        carried = self._carried(earned, policy)
        body = {
            **self._body(SettlementKind.SETTLEMENT, period, policy, images, carried),
            "reverses": None,
            "standings": standings_digest(list(standings.values())),
            "developers": {
                model_id: [[*account_names(account), fraction_text(part)] for account, part in parts]
                for model_id, parts in developers.items()
            },
            "contests": {
                attribution_id: [one.dispute_id, sorted(one.artist_ids), one.unattributed]
                for attribution_id, one in contests.open.items()
            },
            "decisions": {
                attribution_id: [
                    one.dispute_id,
                    [list(share) for share in one.shares_e12],
                    one.unattributed_e12,
                ]
                for attribution_id, one in contests.decided.items()
            },
        }
        return self._computed(
            body, earned, carried, period, images, tuple(standings.values()), contests, Committed()
        )

    def _body(
        self,
        kind: SettlementKind,
        period: Period,
        policy: AdoptedPolicy,
        images: Sequence[LineImage],
        carried: Sequence[Carried],
    ) -> dict[str, Any]:
        return {
            "schema": SETTLEMENT_SCHEMA,
            "number": self.number,
            "kind": str(kind),
            "period": [period.first.isoformat(), period.last.isoformat()],
            "policy_digest": policy.digest,
            "after_entry": self.after_entry,
            "images": len(images),
            "images_digest": images_digest(images),
            "carried": [
                [
                    one.currency,
                    account_names(one.source),
                    account_names(one.target),
                    fraction_text(one.amount),
                ]
                for one in carried
            ],
        }

    def _computed(
        self,
        body: Mapping[str, Any],
        earned: Earnings,
        carried: Sequence[Carried],
        period: Period,
        images: Sequence[LineImage],
        standings: Sequence[Standing],
        contests: Contests,
        reason: Committed,
    ) -> _Computed:
        """Round, and leave the carries to the next settlement."""
        parts = round_all(earned, self.carries, carried)
        check_size(parts)
        settlement = Settlement(
            canonical_digest(body),
            self.number,
            SettlementKind(body["kind"]),
            period,
            body["policy_digest"],
            body["reverses"],
            len({image.revenue_id for image in images}),
            len(images),
            tuple(parts),
        )
        self.number += 1
        add_carries(self.carries, parts)
        for currency in earned:
            self.moves.pop(currency, None)
        return _Computed(settlement, body, images, standings, contests, reason)

    def _carried(self, earned: Earnings, policy: AdoptedPolicy) -> list[Carried]:
        """What moves, of the fractions that are carried in these currencies, to where it can be paid."""
        nobody = self._nobody(policy)
        moved = []
        for currency in sorted(earned):
            for account, carry in sorted(self.carries.get(currency, {}).items()):
                # a fraction goes with the money that it was rounded away from, else one of the two is taken
                # back where the other is not
                now_at = follow_carry(account, currency, self.moves.get(currency, ()))
                targets = unearned(self.facts, now_at, nobody)
                pseudonym = Account(AccountKind.PAYABLE, now_at.holder)
                # what is taken back is rounded together with what was carried where it lies
                if now_at.kind is AccountKind.PAYABLE and pseudonym in earned[currency] and targets:
                    targets = ((pseudonym, Fraction(1)),)
                if now_at != account:
                    targets = targets or ((now_at, Fraction(1)),)
                elif account in earned[currency]:
                    targets = None
                moved += [Carried(account, to, currency, carry * part) for to, part in targets or ()]
        return moved

    def _nobody(self, policy: AdoptedPolicy) -> Parts:
        developers = developer_accounts(self.facts, [policy.split.model], terms=policy.terms)
        return unattributed_accounts(policy.terms, developers[policy.split.model])

    def _still_there(self, account: Account, frozen: Frozen, *, is_empty: bool) -> Parts:
        """An account, or what stands for it where it held nothing to move on when its artist was erased or
        its dispute was resolved. is_empty: no dispute holds anything in it now."""
        nobody = self._nobody(frozen.policy)
        if account.kind is AccountKind.DISPUTED and is_empty:
            return unearned(self.facts, account, nobody) or ((account, Fraction(1)),)
        if self.facts.consents.get(artist_of(account)) is not Consent.ERASED:
            return ((account, Fraction(1)),)
        if account.kind is AccountKind.PAYABLE:
            return ((Account(AccountKind.PAYABLE, account.holder), Fraction(1)),)
        return nobody


def _insert(append: Append, computed: _Computed, *, now: datetime) -> None:
    settlement, contests = computed.settlement, computed.contests
    settlement_id = settlement.settlement_id
    append.insert(
        SETTLEMENTS,
        [
            (
                settlement_id,
                settlement.number,
                str(settlement.kind),
                settlement.period.first,
                settlement.period.last,
                settlement.policy_digest,
                settlement.reverses,
                canonical_json(computed.body).decode(),
                now,
                *computed.reason.columns,
            )
        ],
    )
    for start in range(0, len(computed.images), _ROWS_AT_ONCE):
        rows = []
        for image in computed.images[start : start + _ROWS_AT_ONCE]:
            contest = contests.open.get(image.attribution_id or "")
            decision = contests.decided.get(image.attribution_id or "")
            rows.append(
                (
                    settlement_id,
                    image.revenue_id,
                    image.image_sha256,
                    image.attribution_id,
                    None if contest is None else contest.dispute_id,
                    None if decision is None else decision.dispute_id,
                )
            )
        append.insert(SETTLEMENT_LINES, rows)
    append.insert(
        SETTLEMENT_STANDINGS, [(settlement_id, *standing_columns(one)) for one in computed.standings]
    )
    append.insert(
        SETTLEMENT_PARTS,
        [
            (
                settlement_id,
                *account_names(part.account),
                part.currency,
                fraction_text(part.exact),
                part.amount_minor,
            )
            for part in settlement.parts
        ],
    )


def _concerning(contests: Contests, images: Sequence[LineImage]) -> Contests:
    """The contests over the records of these images, and over any standing."""
    if not contests.open and not contests.decided:
        return contests
    ids = {image.attribution_id for image in images}
    return Contests(
        contests.standings,
        {key: one for key, one in contests.open.items() if key in ids},
        {key: one for key, one in contests.decided.items() if key in ids},
    )


def _pinned(line: RevenueLine, policy: AdoptedPolicy) -> str:
    """A policy, and what of a look-up it asks for."""
    split, pins, calibration = policy.split, policy.index_versions, policy.terms.calibration
    b = split.b if split.calibrated_by is None else f"of calibration {split.calibrated_by[:12]}"
    under = "" if calibration is None else f", calibration {calibration[:12]}"
    return (
        f"policy {policy.version} (index {pins.version}, model {line.model_id or split.model}, "
        f"value {split.value}, b {b}, w {split.w}{under})"
    )


def _unsettled(line: RevenueLine, reason: str, missing: tuple[str, ...] = ()) -> Unsettled:
    return Unsettled(line.revenue_id, line.reference, line.currency, line.amount_minor, reason, missing)
