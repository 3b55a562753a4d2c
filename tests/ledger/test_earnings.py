"""Exact earnings, against the same rules applied share by share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.domain import Consent
from fairbrush.errors import SettlementError
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.ledger.earnings import (
    E12,
    Earnings,
    Line,
    Parts,
    SharedRecord,
    Standing,
    Treatment,
    credited,
    exact_earnings,
)
from fairbrush.ledger.terms import Terms, Unattributed

F = Fraction
ARTISTS = ("ann", "bo", "cy", "di")
MODELS = ("base", "tuned")
DEVELOPERS: dict[str, Parts] = {
    "base": ((Account(AccountKind.MODEL, "base"), F(1)),),
    "tuned": (
        (Account(AccountKind.PAYABLE, "p-tuned", "model:tuned"), F(2, 3)),
        (Account(AccountKind.MODEL, "base"), F(1, 3)),
    ),
}


def shares(draw: st.DrawFn, rest: int) -> tuple[tuple[tuple[str, int], ...], int]:
    """Shares of some artists that leave something of ``rest`` unattributed."""
    named = draw(st.lists(st.sampled_from(ARTISTS), unique=True))
    parts = []
    for artist in named:
        part = draw(st.integers(0, rest))
        rest -= part
        parts.append((artist, part))
    return tuple(parts), rest


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Line], dict[tuple[str, str], Standing], Contests, Terms]:
    records = []
    for number in range(draw(st.integers(1, 4))):
        model_share = draw(st.integers(0, E12))
        parts, rest = shares(draw, E12 - model_share)
        records.append(SharedRecord(f"a{number}", model_share, rest, parts))
    lines = []
    for number in range(draw(st.integers(0, 5))):
        images = draw(
            st.lists(st.tuples(st.integers(1, 5), st.sampled_from(records)), min_size=1, max_size=3)
        )
        lines.append(
            Line(
                f"r{number}",
                draw(st.sampled_from(["EUR", "JPY"])),
                draw(st.integers(1, 10**9)),
                draw(st.sampled_from(MODELS)),
                images,
            )
        )
    standings = {
        (model, artist): Standing(
            model,
            artist,
            f"c-{artist}",
            draw(st.sampled_from(["p1", "p2"])),
            Consent.OPTED_IN,
            draw(st.sampled_from(Treatment)),
            draw(st.fractions(0, 1, max_denominator=10)),
            draw(st.sampled_from([None, None, "d-standing"])),
        )
        for model in MODELS
        for artist in ARTISTS
    }
    contests, decisions = {}, {}
    for record in records:
        if draw(st.booleans()):
            artists = draw(st.frozensets(st.sampled_from(ARTISTS)))
            contests[record.attribution_id] = Contest("d-open", artists, draw(st.booleans()))
        if draw(st.booleans()):
            parts, rest = shares(draw, E12 - record.model_share_e12)
            decisions[record.attribution_id] = Decision("d-decided", parts, rest)
    terms = Terms(
        platform_fee=draw(st.fractions(0, 1, max_denominator=20)),
        unattributed=draw(st.sampled_from(Unattributed)),
        minimum_claim=draw(st.sampled_from([F(0), F(1, 3), F(1)])),
    )
    return lines, standings, Contests(open=contests, decided=decisions), terms


def share_by_share(lines, standings, contests: Contests, terms: Terms) -> Earnings:
    """One fraction after the other, as the rules are written."""
    earned: dict[str, dict[Account, F]] = defaultdict(lambda: defaultdict(F))
    for line in lines:
        total = sum(weight for weight, _ in line.images)
        for weight, record in line.images:
            gross = F(line.amount_minor * weight, total)
            accounts = earned[line.currency]
            accounts[Account(AccountKind.PLATFORM)] += gross * terms.platform_fee
            net = gross - gross * terms.platform_fee
            developers = DEVELOPERS[line.model_id]
            for account, part in developers:
                accounts[account] += net * F(record.model_share_e12, E12) * part
            decision = contests.decided.get(record.attribution_id)
            source = decision or record
            contest = contests.open.get(record.attribution_id)
            loose = net * F(source.unattributed_e12, E12)
            if contest and contest.unattributed:
                accounts[Account(AccountKind.DISPUTED, contest.dispute_id)] += loose
                loose = F(0)
            for artist, share_e12 in source.shares_e12:
                standing, share = standings[line.model_id, artist], F(share_e12, E12)
                if share < terms.minimum_claim:
                    loose += net * share
                    continue
                is_owed = standing.treatment is Treatment.OWED
                if standing.dispute_id:
                    account = Account(AccountKind.DISPUTED, standing.dispute_id, artist)
                elif standing.treatment is Treatment.UNATTRIBUTED:
                    loose += net * share
                    continue
                elif is_owed:
                    account = Account(AccountKind.PAYABLE, standing.payee_id)
                elif contest and artist in contest.artist_ids:
                    account = Account(AccountKind.DISPUTED, contest.dispute_id, artist)
                elif standing.treatment is Treatment.PAID:
                    account = Account(AccountKind.PAYABLE, standing.payee_id, artist)
                else:
                    account = Account(AccountKind.ESCROW, artist)
                accounts[account] += net * share * standing.factor
                loose += net * share * (1 - standing.factor)
            where: Parts = {
                Unattributed.FUND: ((Account(AccountKind.FUND), F(1)),),
                Unattributed.ESCROW: ((Account(AccountKind.ESCROW), F(1)),),
                Unattributed.PLATFORM: ((Account(AccountKind.PLATFORM), F(1)),),
                Unattributed.MODEL: developers,
            }[terms.unattributed]
            for account, part in where:
                accounts[account] += loose * part
    return {currency: {a: n for a, n in accounts.items() if n} for currency, accounts in earned.items()}


@given(worlds())
@settings(max_examples=120, deadline=None)
def test_sums_are_those_of_share_by_share_and_lose_nothing(world) -> None:
    lines, standings, contests, terms = world
    found = exact_earnings(lines, standings, contests, terms=terms, developers=DEVELOPERS)
    assert found == share_by_share(lines, standings, contests, terms)
    for currency, amounts in found.items():
        assert sum(amounts.values()) == sum(line.amount_minor for line in lines if line.currency == currency)


@given(worlds())
@settings(max_examples=30, deadline=None)
def test_only_the_standings_of_credited_artists_are_needed(world) -> None:
    lines, standings, contests, terms = world
    needed = {key: standings[key] for key in credited(lines, contests, terms=terms)}
    exact_earnings(lines, needed, contests, terms=terms, developers=DEVELOPERS)


def test_records_that_do_not_sum_to_one_are_refused() -> None:
    line = Line("r", "EUR", 1, "base", [(1, SharedRecord("a", E12 - 1, 0, ()))])
    with pytest.raises(SettlementError, match="do not sum to one"):
        exact_earnings([line], {}, Contests(), terms=Terms(), developers=DEVELOPERS)


def test_ten_percent_of_a_million_images_at_one_cent_are_a_thousand_euros() -> None:
    record = SharedRecord("a", E12 * 9 // 10, 0, (("ann", E12 // 10),))
    ann = Standing("base", "ann", "c", "p", Consent.OPTED_IN, Treatment.PAID, F(1))
    line = Line("r", "EUR", 1, "base", [(1, record)])
    lines = (replace(line, revenue_id=str(number)) for number in range(1_000_000))
    found = exact_earnings(lines, {("base", "ann"): ann}, Contests(), terms=Terms(), developers=DEVELOPERS)
    assert found["EUR"] == {
        Account(AccountKind.MODEL, "base"): F(900_000),
        Account(AccountKind.PAYABLE, "p", "ann"): F(100_000),
    }
