"""Audits without a generator: what is drawn from, plans, results as they are kept, and what is reported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fake_records import digest
from money import E12, NOW, adopted, artist, bring, cancel, look_up, publish, record

from fairbrush.cli.audit_words import words
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.eligibility import write_eligibility
from fairbrush.corpus.erasure import erase_artist
from fairbrush.domain import Consent
from fairbrush.errors import AuditError, PolicyError
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.period import Period, parse_period
from fairbrush.ledger.policy import Policy, read_policy
from fairbrush.ledger.protected import verify_ledger
from fairbrush.ledger.revenue import revenue_id
from fairbrush.ledger.settlement import settle
from fairbrush.reports.pages.overview_quality import AuditFigure
from fairbrush.store import Store
from fairbrush.validation.audit.betting import upper_bound
from fairbrush.validation.audit.conformal import trust_threshold
from fairbrush.validation.audit.estimators import audited_totals
from fairbrush.validation.audit.plan import Plan, find_plan, list_plans, make_plan
from fairbrush.validation.audit.population import LeftOut, Population, Unit, read_population
from fairbrush.validation.audit.report import (
    ERASED,
    NOBODY,
    AuditReport,
    Group,
    agreement_of,
    make_report,
    score_of,
)
from fairbrush.validation.audit.results import Failure, Outcome, Result, keep_result, read_results
from fairbrush.validation.audit.run import Record, read_records
from fairbrush.validation.audit.sampling import draw_probabilities, importance_weights
from fairbrush.validation.audit.summary import audit_figures
from fairbrush.workspace import create_workspace

YEAR = parse_period("2026")
HALF = E12 // 2
PROTOCOL = {"model": "sd-1.5", "seeds": 4}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ann and bo, opted in, a published index, and a policy that leaves the platform a tenth; to copy."""
    workspace = tmp_path_factory.mktemp("empty") / "space"
    create_workspace(workspace)
    with open_registry(workspace) as opened:
        publish(opened)
        artist(opened, "ann")
        artist(opened, "bo")
        adopted(opened, platform_fee="0.1")
    return workspace


@pytest.fixture(scope="module")
def earned(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """And four images: three credit ann, of which x has nearly all the money, and one credits nobody."""
    workspace = Path(shutil.copytree(empty, tmp_path_factory.mktemp("earned") / "space"))
    with open_registry(workspace) as opened:
        answered(opened, "x", "y", "z")
        answered(opened, "w", shares={})
        for name, amount in {"x": 10_000, "y": 200, "z": 200, "w": 2000}.items():
            bring(opened, f"INV-{name}", amount, image=name)
    return workspace


@contextmanager
def copied(workspace: Path, folder: Path) -> Iterator[Store]:
    with open_registry(Path(shutil.copytree(workspace, folder / "space"))) as opened:
        yield opened


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Iterator[Store]:
    with copied(empty, tmp_path) as opened:
        yield opened


@pytest.fixture
def earning(earned: Path, tmp_path: Path) -> Iterator[Store]:
    with copied(earned, tmp_path) as opened:
        yield opened


def answered(store: Store, *images: str, shares: Mapping[str, int] | None = None) -> list[str]:
    """Records of images that credit ann with all of the style, or as ``shares`` says."""
    records = [look_up(one, {"ann": HALF} if shares is None else shares, model_e12=HALF) for one in images]
    record(store, *records)
    return [one.attribution_id for one in records]


def population(store: Store, period: Period = YEAR, currency: str | None = None) -> Population:
    return read_population(store.connection, period, currency=currency)


def planned(store: Store, *, draws: int = 8, seed: int = 1) -> Plan:
    return make_plan(store, population(store), draws=draws, seed=seed, now=NOW)[0]


def keep(store: Store, plan: Plan, at: int, result: Result) -> bool:
    with store.transaction() as connection:
        return keep_result(connection, plan.plan_id, plan.units[at], result, now=NOW)


def measured(shares: Mapping[str, float], *, unaudited: float = 0.0) -> Result:
    nobody = 1.0 - sum(shares.values())
    return Result(Outcome.MEASURED, shares, nobody, unaudited, protocol=PROTOCOL)


FAILED = Result(Outcome.FAILED, reason=Failure.NO_FILE, protocol=PROTOCOL)


def reported(store: Store, plan: Plan, **options: object) -> AuditReport:
    return make_report(store.connection, plan, **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------ what is drawn from


def test_money_is_what_the_paying_record_splits_among_styles(store: Store) -> None:
    [record_id] = answered(store, "x")
    bring(store, "INV-1", 1001, image="x")
    found = population(store)
    # nine tenths are left after the fee, and half of that after the model
    assert found.units == (Unit(digest("x"), record_id, Fraction(1001 * 9, 20)),)
    assert (found.currency, found.total, found.left_out) == ("EUR", Fraction(9009, 20), LeftOut())


def test_what_is_unattributed_beside_creators_is_no_money_of_theirs(store: Store) -> None:
    """A record that knows a fifth of the style: what ann gets by the audit is what a settlement gives her."""
    [partly] = answered(store, "x", shares={"ann": E12 // 10})
    [silent] = answered(store, "y", shares={})
    for image in "xy":
        bring(store, f"INV-{image}", 1000, image=image)
    found = population(store)
    assert {unit.attribution_id: unit.amount for unit in found.units} == {
        partly: Fraction(1000 * 9, 100),
        silent: Fraction(1000 * 9, 20),
    }
    settle(store, YEAR, now=NOW)
    assert population(store) == found
    plan = planned(store)
    for at in plan.drawn:
        keep(store, plan, at, measured({"c-ann": 1.0}))
    of_ann = next(line for line in reported(store, plan).lines if line.name == "ann")
    [hers] = balances(store.connection, AccountKind.ESCROW, AccountKind.PAYABLE).values()
    assert (of_ann.fast, hers) == (90.0, 90)


def test_an_image_of_several_lines_is_one_with_all_its_money(store: Store) -> None:
    one, two = answered(store, "x", "y")
    bring(store, "INV-1", 100, image="x")
    bring(store, "INV-2", 300, images={"x": 1, "y": 2})
    assert {unit.attribution_id: unit.amount for unit in population(store).units} == {
        one: Fraction(200 * 9, 20),
        two: Fraction(200 * 9, 20),
    }


def test_settling_changes_neither_records_nor_money(store: Store) -> None:
    """Also where a later policy would choose otherwise."""
    answered(store, "x")
    bring(store, "INV-1", 100, image="x")
    before = population(store)
    settle(store, YEAR, now=NOW)
    assert population(store) == before
    adopted(store, platform_fee="0.5", value="nearest")
    assert population(store) == before
    record(store, look_up("z", {"bo": HALF}, model_e12=HALF, value="nearest"))
    bring(store, "INV-2", 100, image="z")
    found = {unit.image_sha256: unit.amount for unit in population(store).units}
    assert found == {digest("x"): Fraction(45), digest("z"): Fraction(25)}
    assert len(population(store).policies) == 2


def test_lines_that_cannot_be_settled_are_counted_and_cancelled_ones_are_not(store: Store) -> None:
    answered(store, "x")
    bring(store, "INV-1", 100, image="x")
    bring(store, "INV-2", 700, images={"x": 1, "y": 1, "z": 1})
    cancel(store, bring(store, "INV-3", 900, image="q"))
    bring(store, "INV-4", 50, image="x", day=date(2025, 12, 31))
    assert population(store).left_out == LeftOut(1, 700, 2)
    early = population(store, parse_period("2025-12-01..2026-12-31"))
    assert early.left_out == LeftOut(2, 750, 2)  # no policy was in effect


def test_one_currency_a_plan(store: Store) -> None:
    answered(store, "x")
    with pytest.raises(AuditError, match="no revenue in 2026"):
        population(store)
    bring(store, "INV-1", 100, image="x")
    bring(store, "INV-2", 5, image="x", currency="JPY")
    with pytest.raises(AuditError, match="2 currencies: EUR, JPY") as refused:
        population(store)
    assert refused.value.next_step == "An audit is of one of them: --currency EUR"
    assert population(store, currency="jpy").total == Fraction(9, 4)
    with pytest.raises(AuditError, match="no revenue in USD"):
        population(store, currency="USD")


def test_where_nothing_can_be_audited_it_is_said_why(store: Store) -> None:
    bring(store, "INV-1", 100, image="x")
    with pytest.raises(AuditError, match="1 lines have no record"):
        population(store)
    record(store, look_up("x", {}, model_e12=E12))
    with pytest.raises(AuditError, match="the model gets all of it"):
        population(store)


def test_without_any_policy_it_says_so(tmp_path: Path) -> None:
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        bring(store, "INV-1", 100, image="x")
        with pytest.raises(PolicyError, match="No policy is in effect"):
            population(store)


# ------------------------------------------------------------------ plans


def test_the_same_money_and_seed_give_the_same_plan_and_another_seed_another(earning: Store) -> None:
    first, is_new = make_plan(earning, population(earning), draws=8, seed=1, now=NOW)
    again, is_new_too = make_plan(earning, population(earning), draws=8, seed=1, now=NOW)
    assert (is_new, is_new_too, again.plan_id) == (True, False, first.plan_id)
    other = planned(earning, seed=2)
    assert other.plan_id != first.plan_id
    assert [one.number for one in list_plans(earning.connection)] == [1, 2]
    assert find_plan(earning.connection).plan_id == other.plan_id
    assert find_plan(earning.connection, first.plan_id[:8]).of_period == 2


def test_plans_of_nearly_the_same_days_are_counted_too(earning: Store) -> None:
    """Else ten plans could be made, each of a day more, and one shown."""
    first = planned(earning)
    longer = population(earning, parse_period("2026-01-01..2027-01-01"))
    assert make_plan(earning, longer, draws=8, seed=1, now=NOW)[0].of_period == 2
    assert find_plan(earning.connection, first.plan_id).of_period == 2
    bring(earning, "INV-9", 100, image="x", day=date(2027, 5, 1))
    other = population(earning, parse_period("2027-05"))
    assert make_plan(earning, other, draws=8, seed=1, now=NOW)[0].of_period == 1


def test_nine_tenths_are_drawn_by_revenue_and_one_evenly(earning: Store) -> None:
    plan = planned(earning, draws=4000)
    of_x = [unit.image_sha256 for unit in plan.units].index(digest("x"))
    assert plan.probabilities[of_x] == pytest.approx(0.9 * 10_000 / 12_400 + 0.1 / 4)
    assert plan.probabilities == pytest.approx(draw_probabilities(plan.amounts))
    seen = (plan.positions == of_x).mean()
    assert seen == pytest.approx(plan.probabilities[of_x], abs=0.04)


def test_more_draws_of_the_same_seed_begin_with_the_same(earning: Store) -> None:
    few, many = planned(earning, draws=5), planned(earning, draws=9)
    assert many.positions[:5].tolist() == few.positions.tolist()


def test_a_plan_is_chained_and_read_back_as_it_was_made(earning: Store) -> None:
    plan = planned(earning)
    read = find_plan(earning.connection, plan.plan_id)
    assert (read.units, read.positions.tolist()) == (plan.units, plan.positions.tolist())
    kinds = dict(
        earning.connection.execute(
            "SELECT kind, count(*) FROM chain_leaf WHERE kind LIKE 'audit%' GROUP BY kind"
        ).fetchall()
    )
    assert kinds == {"audit_plan": 1, "audit_draw": 8}
    assert verify_ledger(earning.connection).is_sound


@pytest.mark.parametrize(
    "alter",
    [
        "UPDATE audit_population SET amount = '1/1' WHERE amount = '90/1'",
        "DELETE FROM audit_population WHERE amount = '90/1'",
        "UPDATE audit_draw SET attribution_id = 'x' WHERE position = 1",
        "DELETE FROM audit_draw WHERE position = 8",
        "UPDATE audit_plan SET body = replace(body::TEXT, '\"seed\":1', '\"seed\":2')",
    ],
)
def test_a_plan_that_was_altered_is_refused(earning: Store, alter: str) -> None:
    planned(earning)
    earning.connection.execute(alter)
    with pytest.raises(AuditError, match="not the one that was made"):
        find_plan(earning.connection)


def test_an_unknown_plan_is_refused(earning: Store) -> None:
    with pytest.raises(AuditError, match="No audit is planned"):
        find_plan(earning.connection)
    planned(earning)
    for wrong in ("0123456789", "abc", ""):
        with pytest.raises(AuditError, match="There is no plan"):
            find_plan(earning.connection, wrong)
    with pytest.raises(AuditError, match="0 draws"):
        planned(earning, draws=0)


# ------------------------------------------------------------------ results


def test_what_was_measured_first_counts_and_only_a_failure_is_tried_again(earning: Store) -> None:
    plan = planned(earning)
    at = plan.drawn[0]
    unit = plan.units[at]
    key = (unit.image_sha256, unit.attribution_id)
    assert keep(earning, plan, at, FAILED)
    assert not keep(earning, plan, at, FAILED), "the same failure is not written twice"
    assert read_results(earning.connection, plan.plan_id)[key].reason is Failure.NO_FILE
    first = measured({"c-ann": 0.25})
    assert keep(earning, plan, at, first)
    assert not keep(earning, plan, at, measured({"c-ann": 1.0}))
    assert read_results(earning.connection, plan.plan_id) == {key: first}
    assert verify_ledger(earning.connection).is_sound
    earning.connection.execute("UPDATE audit_result SET body = replace(body::TEXT, '0.25', '0.75')")
    with pytest.raises(AuditError, match="not what was kept"):
        read_results(earning.connection, plan.plan_id)
    assert not verify_ledger(earning.connection).is_sound


# ------------------------------------------------------------------ reports


def test_a_report_says_what_the_pure_functions_say(earning: Store) -> None:
    """Ann's images are really half bo's; w, which credits nobody, is ann's by a quarter."""
    plan = planned(earning, draws=12, seed=3)
    names = {digest(name): name for name in "wxyz"}
    truth = {name: {"c-ann": 0.5, "c-bo": 0.5} for name in "xyz"} | {"w": {"c-ann": 0.25}}
    for at in plan.drawn:
        assert keep(earning, plan, at, measured(truth[names[plan.units[at].image_sha256]]))
    assert {names[plan.units[at].image_sha256] for at in plan.drawn} >= {"x", "w"}
    found = reported(earning, plan, target=0.6)
    is_w = np.array([names[unit.image_sha256] == "w" for unit in plan.units])
    fast = np.where(is_w[:, None], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    said = np.where(is_w[:, None], [0.25, 0.0, 0.75], [0.5, 0.5, 0.0])
    chances = draw_probabilities(plan.amounts)
    expected = audited_totals(plan.amounts, fast, plan.positions, said[plan.positions], chances)
    by_name = {line.name: line for line in found.lines}
    assert list(by_name) == ["ann", "bo", NOBODY]
    for place, name in enumerate(("ann", "bo", NOBODY)):
        line = by_name[name]
        assert [line.fast, line.estimate, line.low, line.high] == pytest.approx(
            [column[place] for column in (expected.fast, expected.estimate, expected.low, expected.high)]
        )
    assert sum(line.fast for line in found.lines) == pytest.approx(float(plan.total))
    assert sum(line.estimate for line in found.lines) == pytest.approx(float(plan.total))
    losses = np.where(is_w, 0.25, 0.5)[plan.positions]
    weights = importance_weights(plan.amounts, chances, plan.positions)
    assert found.bound == upper_bound(losses, weights, 0.95)
    assert found.mis_paid == pytest.approx(float((losses * weights).mean()))
    assert found.rule == trust_threshold(np.full(12, 0.25), losses, weights, 0.6)
    assert (found.used, found.outcomes, found.reasons) == (12, {Outcome.MEASURED: len(plan.drawn)}, {})
    assert [one.is_audited for one in found.judged] == [at in plan.drawn for at in range(4)]


def test_of_a_partial_audit_the_draws_before_the_first_gap_count(earning: Store) -> None:
    plan = planned(earning, draws=12, seed=3)
    with pytest.raises(AuditError, match="Nothing of the audit"):
        reported(earning, plan)
    for at in plan.drawn[1:]:
        keep(earning, plan, at, measured({"c-bo": 1.0}))
    with pytest.raises(AuditError, match="Nothing of the audit"):
        reported(earning, plan)  # the first draw is not there, so nothing is in order
    whole = {at: measured({"c-ann": 1.0}) for at in plan.drawn}
    other = planned(earning, draws=13, seed=3)
    keep(earning, other, other.drawn[0], whole[other.drawn[0]])
    found = reported(earning, other)
    gap = other.positions.tolist().index(other.drawn[1])
    assert 0 < found.used == gap < 13
    assert any(f"the first {gap} of 13 draws are used" in note for note in found.notes)
    weights = importance_weights(other.amounts, other.probabilities, other.positions[:gap])
    assert found.bound == upper_bound([0.0] * gap, weights, planned=13)
    assert any("2 audits of EUR" in note for note in found.notes)


def test_a_failed_draw_is_mis_paid_whole_in_the_bound_and_right_in_the_totals(earning: Store) -> None:
    plan = planned(earning, draws=12, seed=3)
    of_x = [unit.image_sha256 for unit in plan.units].index(digest("x"))
    for at in plan.drawn:
        is_w = plan.units[at].image_sha256 == digest("w")
        right = measured({}) if is_w else measured({"c-ann": 1.0})
        keep(earning, plan, at, FAILED if at == of_x else right)
    found = reported(earning, plan)
    assert [(line.name, round(line.fast, 6)) for line in found.lines] == [("ann", 4680.0), (NOBODY, 900.0)]
    assert [line.estimate for line in found.lines] == pytest.approx([4680.0, 900.0])
    weights = importance_weights(plan.amounts, plan.probabilities, plan.positions)
    assert found.bound == upper_bound((plan.positions == of_x).astype(float), weights, 0.95)
    assert found.reasons == {"no file": 1}
    assert found.trusted == []


def test_money_of_those_who_are_gone_stays_and_counts_as_mis_paid(earning: Store) -> None:
    """A record pays ann, who may not be measured any more: all of it is the fast answer's own."""
    plan = planned(earning, draws=12, seed=3)
    for at in plan.drawn:
        is_w = plan.units[at].image_sha256 == digest("w")
        keep(earning, plan, at, measured({}) if is_w else measured({"c-ann": 1.0}, unaudited=1.0))
    erase_artist(earning, "ann", now=NOW)
    found = reported(earning, plan)
    assert [(line.name, line.group_id) for line in found.lines] == [(ERASED, None), (NOBODY, None)]
    assert [line.estimate for line in found.lines] == pytest.approx([4680.0, 900.0])
    of_w = [unit.image_sha256 for unit in plan.units].index(digest("w"))
    weights = importance_weights(plan.amounts, plan.probabilities, plan.positions)
    assert found.bound == upper_bound((plan.positions != of_w).astype(float), weights, 0.95)
    assert found.unaudited == pytest.approx(float((weights * (plan.positions != of_w)).mean()))


def test_words_say_what_the_figures_say(earning: Store) -> None:
    plan = planned(earning, draws=12, seed=3)
    for at in plan.drawn:
        is_w = plan.units[at].image_sha256 == digest("w")
        keep(earning, plan, at, measured({}) if is_w else measured({"c-ann": 1.0}))
    all_right = reported(earning, plan, target=0.5)
    assert round(all_right.bound, 4) == 0.3151
    said = " ".join(words(all_right).split())
    assert "and at most 31.6 % (95 % confidence" in said, "a bound is never rounded down"
    assert "trust 4 of 4 images, 100 % of the money: any score will do." in said
    assert "inf" not in said.replace("in the interval", "")
    said = " ".join(words(reported(earning, plan, target=0.05)).split())
    assert "no image can be trusted unseen at a target of 5 %" in said
    assert "it takes 22, and more where any is mis-paid" in said


def test_who_may_be_credited_has_a_line_drawn_or_not(earning: Store) -> None:
    """Else only those would be shown whom a draw happened to find, and intervals would hold of fewer."""
    plan = planned(earning, draws=12, seed=3)
    for at in plan.drawn:
        keep(earning, plan, at, measured({"c-ann": 1.0}))
    assert [line.name for line in reported(earning, plan).lines] == ["ann", NOBODY]
    artist(earning, "cy", consent=Consent.OPTED_OUT)
    found = reported(earning, plan, eligibility=write_eligibility(earning))
    assert [line.name for line in found.lines] == ["ann", "bo", NOBODY]
    unseen = found.lines[1]
    assert (unseen.fast, unseen.estimate, unseen.low, unseen.high > 0.0) == (0.0, 0.0, 0.0, True)
    assert sum(line.estimate for line in found.lines) == pytest.approx(float(plan.total))


def test_groups_add_up_to_the_same_money(earning: Store) -> None:
    plan = planned(earning, draws=12, seed=3)
    for at in plan.drawn:
        keep(earning, plan, at, measured({"c-bo": 1.0}))
    by_group = {group: reported(earning, plan, group=group) for group in Group}
    names = {group: [line.name for line in found.lines] for group, found in by_group.items()}
    assert names == {
        Group.CREATOR: ["ann", "bo", NOBODY],
        Group.PAYEE: ["ann", "bo", NOBODY],
        Group.SIZE: ["large", "uncredited", NOBODY],
    }
    assert [line.group_id for line in by_group[Group.PAYEE].lines] == ["p-ann", "p-bo", None]
    for found in by_group.values():
        assert sum(line.estimate for line in found.lines) == pytest.approx(float(plan.total))
    said = {group: " ".join(words(found).split()) for group, found in by_group.items()}
    by_luck = [group for group, text in said.items() if "found by a lucky draw" in text]
    assert by_luck == [Group.CREATOR, Group.PAYEE], "sizes were grouped before drawing"
    with pytest.raises(AuditError, match="--target 0 is not between"):
        reported(earning, plan, target=0.0)


def test_a_plan_stands_when_the_money_changes_and_the_report_says_so(earning: Store) -> None:
    plan = planned(earning)
    for at in plan.drawn:
        keep(earning, plan, at, measured({"c-ann": 1.0}))
    before = reported(earning, plan)
    assert not any("stands" in note for note in before.notes)
    bring(earning, "INV-9", 10**6, image="y")
    found = reported(earning, plan)
    assert found.lines == before.lines
    assert any("The money changed since the plan was made: 4 images then, 4 now." in n for n in found.notes)
    for name in ("w", "x", "y", "z"):
        cancel(earning, revenue_id(f"INV-{name}"))
    cancel(earning, revenue_id("INV-9"))
    assert any("is not there any more" in note for note in reported(earning, plan).notes)


@pytest.mark.parametrize(
    ("named", "credited", "agreement"),
    [
        ({"ann"}, True, 0.75),
        ({"ann", "bo"}, True, 1.0),
        ({"cy"}, True, 0.0),
        ({"ann"}, False, 0.0),
        (set(), False, 1.0),
        (set(), True, 0.5),
        (None, True, 0.5),
        (None, False, 0.5),
    ],
)
def test_an_answer_is_surer_where_the_prompt_agrees(
    named: set[str] | None, credited: bool, agreement: float
) -> None:
    shares = {"c-ann": 0.75, "c-bo": 0.25} if credited else {}
    artists = (("ann", "c-ann"), ("bo", "c-bo")) if credited else ()
    known = None if named is None else frozenset(named)
    assert agreement_of(Record("m", None, shares, artists, named=known)) == agreement
    assert score_of(Record("m", None, shares, artists, 0.5, named=known)) == (0.5 + agreement) / 2


def test_a_record_tells_under_what_a_look_up_answers_alike(store: Store) -> None:
    under = digest("calibration")
    split = Policy(b="0.25", w="0.5")
    one = look_up("x", {"ann": HALF}, model_e12=HALF, value="nearest", split=split, calibration=under)
    plain = look_up("x", {"ann": HALF}, model_e12=HALF)
    record(store, one, plain)
    found = read_records(store.connection, [one.attribution_id, plain.attribution_id])
    table = {"model": "sd-1.5", "value": "nearest", "b": "0.25", "w": "0.5"}
    assert found[one.attribution_id].policy == table | {"calibration": under}
    assert "calibration" not in found[plain.attribution_id].policy
    assert read_policy(found[one.attribution_id].policy) == replace(split, value="nearest")


def test_a_record_tells_its_score_and_an_older_one_its_word(store: Store) -> None:
    def asked(image: str, **about: str | None) -> str:
        one = look_up(image, {"ann": HALF}, model_e12=HALF)
        identity = {**one.body["identity"], "hint": {"source": "prompt", "artist_ids": ["ann"]}}
        told = replace(one, body={**one.body, "identity": identity}, about={**one.about, **about})
        record(store, told)
        return told.attribution_id

    ids = [asked("x", steadiness="0.5", confidence="weak"), asked("y", confidence="clear"), asked("z")]
    found = read_records(store.connection, ids)
    assert [score_of(found[one]) for one in ids] == pytest.approx([0.75, 0.975, 0.5])


def test_an_overview_has_the_audits_that_measured_something(earning: Store) -> None:
    plan, later = planned(earning), planned(earning, seed=2)
    for at in plan.drawn:
        keep(earning, plan, at, measured({"c-ann": 0.75, "c-bo": 0.25}))
    report = reported(earning, plan)
    assert audit_figures(earning.connection) == (
        AuditFigure(plan.plan_id, YEAR, "EUR", 8, 8, report.mis_paid, report.bound, 0.95),
    )
    assert later.plan_id != plan.plan_id
