"""What an audit says: totals with intervals, a bound on what was mis-paid, whom to trust unseen.

Enters: a plan and its results. Leaves: an ``AuditReport``. The rules: only the draws before the first one
that was not tried count, so that whatever was left out was left out by chance; a failed draw counts as
mis-paid whole in the bound and the trust rule, and corrects nothing in the totals; nobody who was erased is
named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import AuditError
from fairbrush.uncertainty import Confidence
from fairbrush.validation.audit.bands import BANDS, Reach, plan_precision, size_bands
from fairbrush.validation.audit.betting import upper_bound
from fairbrush.validation.audit.conformal import TrustRule, trust_threshold
from fairbrush.validation.audit.estimators import Totals, audited_totals
from fairbrush.validation.audit.plan import Plan, is_drawn_by_seed
from fairbrush.validation.audit.population import read_population
from fairbrush.validation.audit.results import Outcome, Result, read_results
from fairbrush.validation.audit.run import Record, read_records
from fairbrush.validation.audit.sampling import effective_draws, importance_weights
from fairbrush.validation.audit.shares import Shares, mis_paid

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from fairbrush.corpus.eligibility import Eligibility

NOBODY = "(nobody)"
ERASED = "(erased)"
FEW_DRAWS = 30  # below, intervals that rest on many draws are rough
# of a record from before steadiness was kept: what its word stands for
_STEADINESS_OF = {
    Confidence.CLEAR: 0.95,
    Confidence.MIXED: 0.95,
    Confidence.WEAK: 0.6,
    Confidence.UNKNOWN: 0.6,
}


class Group(StrEnum):
    """Whose totals: every creator's, every payee's, or those of large, middle, small creators (``bands``)."""

    CREATOR = "creator"
    PAYEE = "payee"
    SIZE = "size"


@dataclass(frozen=True)
class Line:
    """Money of one creator or group, in minor units. ``group_id``: None for nobody, the erased and sizes."""

    name: str
    group_id: str | None
    creators: int
    fast: float
    estimate: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says of the fast answer."""
        if self.fast < self.low:
            return "too little"
        return "too much" if self.fast > self.high else "in the interval"


@dataclass(frozen=True)
class Judged:
    """One image of the population: its score, higher is surer, and whether it may be trusted unseen."""

    image_sha256: str
    attribution_id: str
    amount: float
    score: float
    is_trusted: bool
    is_audited: bool


@dataclass(frozen=True, eq=False)
class AuditReport:
    """``used``: draws that count; ``outcomes``: of the images behind them; ``mis_paid``: the estimated part
    of the money that went to wrong hands, ``bound``: at most so much at ``level``; ``effective``: how many
    equal draws the used ones are worth; ``ranking``: see there; ``unaudited``: the part of the drawn money
    whose creators may not be measured any more."""

    plan: Plan
    level: float
    used: int
    outcomes: Mapping[Outcome, int]
    reasons: Mapping[str, int]
    unaudited: float
    lines: tuple[Line, ...]
    group: Group
    mis_paid: float
    bound: float
    effective: float
    rule: TrustRule
    ranking: float | None
    judged: tuple[Judged, ...]
    kappa: float
    notes: tuple[str, ...]

    @property
    def trusted(self) -> list[Judged]:
        return [one for one in self.judged if one.is_trusted]


def make_report(
    connection: DuckDBPyConnection,
    plan: Plan,
    *,
    group: Group = Group.CREATOR,
    target: float = 0.1,
    level: float = 0.95,
    eligibility: Eligibility | None = None,
) -> AuditReport:
    """eligibility: everybody who may be credited has a line, drawn or not: an interval holds at its level of
    a line that was not picked for what was drawn. None: only who is in a record or was measured.

    Raises AuditError where nothing was measured yet, or a target or level is none.
    """
    _check_part(target, "--target")
    _check_part(level, "--level")
    kept = read_results(connection, plan.plan_id)
    results = {at: kept[key] for at in plan.drawn if (key := _key(plan, at)) in kept}
    used = next((n for n, at in enumerate(plan.positions.tolist()) if at not in results), plan.draws)
    positions = plan.positions[:used]
    behind = {at: results[at] for at in positions.tolist()}
    if not any(one.is_done for one in behind.values()):
        raise AuditError(
            f"Nothing of the audit {plan.plan_id[:12]} is measured yet.",
            next_step=f"Measure: fairbrush audit run {plan.plan_id[:12]}",
        )
    records = read_records(connection, [unit.attribution_id for unit in plan.units])
    tables = _Tables.of(plan, records, behind, also=_eligible_creators(eligibility, records))
    measured = tables.measured(positions, behind)
    fast = tables.fast
    losses = np.minimum(mis_paid(measured, fast.take(positions)) + tables.unmeasured(positions, behind), 1.0)
    weights = importance_weights(plan.amounts, plan.probabilities, positions)
    names = _names(connection)
    groups = _groups(connection, group, tables.creators, fast.totals(plan.amounts)[:-1], names)
    totals = audited_totals(
        plan.amounts,
        fast,
        positions,
        measured,
        plan.probabilities,
        groups=groups.of_column,
        level=level,
    )
    scores = np.array([score_of(records[unit.attribution_id]) for unit in plan.units])
    rule = trust_threshold(scores[positions], losses, weights, target)
    firsts = list(dict.fromkeys(positions.tolist()))
    of_image = dict(zip(positions.tolist(), losses.tolist(), strict=True))
    return AuditReport(
        plan=plan,
        level=level,
        used=used,
        outcomes=Counter(one.outcome for one in behind.values()),
        reasons=Counter(str(one.reason) for one in behind.values() if one.reason is not None),
        unaudited=float((weights * [behind[at].unaudited for at in positions.tolist()]).sum() / used),
        lines=tuple(_lines(groups, totals)),
        group=group,
        mis_paid=min(float((losses * weights).mean()), 1.0),
        bound=upper_bound(losses, weights, level, planned=plan.draws),
        effective=effective_draws(weights),
        rule=rule,
        ranking=ranking(scores[firsts], np.array([of_image[at] for at in firsts])),
        judged=tuple(
            Judged(
                unit.image_sha256,
                unit.attribution_id,
                float(amount),
                float(score),
                rule.trusts(float(score)),
                at in behind,
            )
            for at, (unit, amount, score) in enumerate(zip(plan.units, plan.amounts, scores, strict=True))
        ),
        kappa=totals.kappa,
        notes=tuple(_notes(connection, plan, used, totals)),
    )


def score_of(record: Record) -> float:
    """How sure a record is, from 0 to 1: half its answer's steadiness (how often another sample of each
    artist's works would have paid the same hands, or nobody where it pays nobody), half ``agreement_of``.

    A record from before steadiness was kept has its word's typical one; one without any is the least sure.

    >>> score_of(Record("m", None, {"c": 1.0}, (("ann", "c"),), steadiness=0.75, named=frozenset({"ann"})))
    0.875
    """
    steadiness = record.steadiness
    if steadiness is None:
        steadiness = 0.0 if record.confidence is None else _STEADINESS_OF[Confidence(record.confidence)]
    return (steadiness + agreement_of(record)) / 2.0


def agreement_of(record: Record) -> float:
    """How far an answer and the image's prompt agree, from 0 to 1: the part of the creators' money that goes
    to whom the prompt names, and 1 where both are silent. Half where the prompt is not known, or names nobody
    whom we know: then it neither confirms nor contradicts who is credited.

    >>> agreement_of(Record("m", None, {}, (), named=frozenset({"ann"})))
    0.0
    """
    if not record.named:
        return 1.0 if record.named is not None and not record.shares else 0.5
    creators = {creator for artist, creator in record.artists if artist in record.named}
    return sum((record.shares[creator] for creator in creators), 0.0)


def ranking(scores: NDArray[np.float64], losses: NDArray[np.float64]) -> float | None:
    """Of all pairs of images that were mis-paid differently, how often the higher score was mis-paid less;
    equal scores count half. 0.5 is chance; None without such a pair. scores, losses: float64 (n,).

    >>> ranking(np.array([0.9, 0.5, 0.5]), np.array([0.0, 1.0, 0.5]))
    0.8333333333333334
    """
    pairs, balance = 0, 0.0
    for at in range(len(scores)):  # row by row: all pairs at once would not fit the memory
        apart = np.sign(losses[at] - losses[at + 1 :])
        pairs += int(np.count_nonzero(apart))
        balance += float(apart @ np.sign(scores[at + 1 :] - scores[at]))
    return 0.5 + 0.5 * balance / pairs if pairs else None


def _eligible_creators(eligibility: Eligibility | None, records: Mapping[str, Record]) -> set[str]:
    if eligibility is None:
        return set()
    eligible = {
        artist_id
        for model_id in {record.model_id for record in records.values()}
        for artist_id in eligibility.eligible(model_id)
    }
    return {eligibility.artists[artist_id].creator_id for artist_id in eligible}


@dataclass(frozen=True, eq=False)
class _Tables:
    """Shares by column: creators, sorted by id, then nobody. ``fast``: (units, creators + 1)."""

    creators: tuple[str, ...]
    fast: Shares
    records: Mapping[str, Record]
    plan: Plan

    @classmethod
    def of(
        cls,
        plan: Plan,
        records: Mapping[str, Record],
        behind: Mapping[int, Result],
        *,
        also: Collection[str] = (),
    ) -> _Tables:
        creators = {creator for record in records.values() for creator in record.shares} | set(also)
        creators |= {creator for one in behind.values() for creator in one.shares}
        ordered = tuple(sorted(creators))
        rows = [_paid(records[unit.attribution_id]) for unit in plan.units]
        return cls(ordered, _table(rows, ordered), records, plan)

    def measured(self, positions: NDArray[np.intp], behind: Mapping[int, Result]) -> Shares:
        """A row a draw; of a failed one the fast answer's own, which corrects nothing."""
        rows = []
        for at in positions.tolist():
            one = behind[at]
            failed = not one.is_done
            paid = _paid(self.records[self.plan.units[at].attribution_id])
            rows.append(paid if failed else ({**one.shares}, one.nobody))
        return _table(rows, self.creators)

    def unmeasured(self, positions: NDArray[np.intp], behind: Mapping[int, Result]) -> NDArray[np.float64]:
        """The part of each draw that was not measured, and so counts as mis-paid: float64 (n,)."""
        return np.array(
            [behind[at].unaudited if behind[at].is_done else 1.0 for at in positions.tolist()], np.float64
        )


_Paid = tuple[Mapping[str, float], float]  # by creator, and nobody's


def _paid(record: Record) -> _Paid:
    return record.shares, 0.0 if record.shares else 1.0


def _table(rows: Sequence[_Paid], creators: Sequence[str]) -> Shares:
    places = {creator: place for place, creator in enumerate(creators)}
    triplets = [
        (row, places[creator], share)
        for row, (shares, _) in enumerate(rows)
        for creator, share in shares.items()
    ]
    triplets += [(row, len(creators), nobody) for row, (_, nobody) in enumerate(rows) if nobody > 0.0]
    found = np.array(triplets, np.float64).reshape(-1, 3)
    at, column = found[:, 0].astype(np.intp), found[:, 1].astype(np.intp)
    return Shares.of_triplets(at, column, found[:, 2], shape=(len(rows), len(creators) + 1))


@dataclass(frozen=True, eq=False)
class _Groups:
    """``of_column``: intp (creators,), the group of each; ``names``, ``ids``, ``sizes``: of each group."""

    of_column: NDArray[np.intp]
    names: tuple[str, ...]
    ids: tuple[str | None, ...]
    sizes: tuple[int, ...]


def _groups(
    connection: DuckDBPyConnection,
    group: Group,
    creators: Sequence[str],
    fast: NDArray[np.float64],
    names: Mapping[str, str | None],
) -> _Groups:
    """Nobody is a group of its own, the last; all who were erased are one."""
    if group is Group.SIZE:
        keys: list[tuple[str | None, str]] = [(None, str(BANDS[code])) for code in size_bands(fast)]
    else:
        found = {creator: (creator, names.get(creator)) for creator in creators}
        if group is Group.PAYEE:
            found = _payees(connection, creators)
        keys = [
            (None, ERASED) if names.get(creator) is None else (found[creator][0], found[creator][1] or ERASED)
            for creator in creators
        ]
    order = list(dict.fromkeys(sorted(keys, key=lambda key: (key[1], key[0] or ""))))
    place = {key: number for number, key in enumerate(order)}
    of_column = np.array([place[key] for key in keys], np.intp)
    sizes = Counter(of_column.tolist())
    return _Groups(
        of_column,
        (*(name for _, name in order), NOBODY),
        (*(key for key, _ in order), None),
        (*(sizes[number] for number in range(len(order))), 0),
    )


def _lines(groups: _Groups, totals: Totals) -> list[Line]:
    """By what the fast answer gives, largest first; nobody last."""
    found = [
        Line(name, group_id, size, *map(float, numbers))
        for name, group_id, size, *numbers in zip(
            groups.names,
            groups.ids,
            groups.sizes,
            totals.fast,
            totals.estimate,
            totals.low,
            totals.high,
            strict=True,
        )
    ]
    return [*sorted(found[:-1], key=lambda line: (-line.fast, -line.estimate, line.name)), found[-1]]


def _names(connection: DuckDBPyConnection) -> dict[str, str | None]:
    """Every creator's name; None for one who was erased."""
    return dict(connection.execute("SELECT creator_id, name FROM creator").fetchall())


def _payees(connection: DuckDBPyConnection, creators: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    rows = connection.execute(
        "SELECT creator_id, payee_id, payee.name FROM creator JOIN payee USING (payee_id)"
        " WHERE creator_id IN (SELECT unnest(?::TEXT[]))",
        [list(creators)],
    ).fetchall()
    return {creator: (payee_id, name) for creator, payee_id, name in rows}


def _notes(connection: DuckDBPyConnection, plan: Plan, used: int, totals: Totals) -> list[str]:
    notes = []
    if used < plan.draws:
        notes.append(
            f"Partial: the first {used} of {plan.draws} draws are used, in the order they were drawn."
            " Stopping here for what it says would void the intervals and whom to trust, not the bound."
        )
    if used < FEW_DRAWS:
        notes.append(
            f"The intervals rest on many draws; {used} are few, and they may be too narrow."
            " The bound holds for any number."
        )
    if plan.of_period > 1:
        notes.append(
            f"{plan.of_period} audits of {plan.currency} in days of {plan.period} were planned: ask why,"
            " and for all of their reports."
        )
    if not is_drawn_by_seed(plan):
        notes.append(
            "The seed does not give these draws here: another version of numpy, or they were chosen."
        )
    if changed := _changed(connection, plan):
        notes.append(changed)
    return notes


def _changed(connection: DuckDBPyConnection, plan: Plan) -> str | None:
    stands = "The plan stands, and speaks of the money as it was when it was made."
    try:
        now = read_population(connection, plan.period, currency=plan.currency)
    except AuditError as error:
        return f"What the plan was drawn from is not there any more: {error.message} {stands}"
    if now.digest == plan.population_digest:
        return None
    return (
        f"The money changed since the plan was made: {len(plan.units)} images then, {len(now.units)} now."
        f" {stands}"
    )


def _key(plan: Plan, at: int) -> tuple[str, str]:
    return plan.units[at].image_sha256, plan.units[at].attribution_id


def _check_part(number: float, option: str) -> None:
    if not 0.0 < number < 1.0:
        raise AuditError(
            f"{option} {number:g} is not between 0 and 1.", next_step=f"Write {option} 0.1, say."
        )


def expected_precision(
    plan: Plan, records: Mapping[str, Record], *, level: float = 0.95
) -> tuple[Reach, ...]:
    """What the draws of a plan buy, before any is measured: expected half-widths, in minor units, where
    nothing is known yet of how right the fast shares are."""
    tables = _Tables.of(plan, records, {})
    return plan_precision(plan.amounts, tables.fast, plan.draws, level=level)
