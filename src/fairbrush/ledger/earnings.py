"""Who earns what of revenue lines, to the last fraction.

Enters: lines with the records of their images, what is known of each artist, the terms, what is contested.
Leaves: an exact fraction of minor units for each account and currency. The one rule: nothing is rounded and
nothing is lost, the fractions of a currency sum to what its lines brought in.

Of an amount the platform gets its fee first. The rest is split as the record says: to the model's
developers, to artists, and what is unattributed. An artist's part goes where the artist's standing says.

A million shares are summed as whole numbers (amount x weight x share), and made fractions once an artist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import ceil, gcd, lcm

from fairbrush.domain import Consent
from fairbrush.errors import SettlementError
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.terms import Terms, Unattributed

E12 = 10**12

Earnings = dict[str, dict[Account, Fraction]]  # by currency and account, in minor units
Parts = tuple[tuple[Account, Fraction], ...]  # of one


class Treatment(StrEnum):
    """What becomes of an artist's part that is not in dispute."""

    PAID = "paid"
    ESCROW = "escrow"
    UNATTRIBUTED = "unattributed"
    OWED = "owed"  # was paid before the artist was erased: stays the payee's, under nobody's name


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """What an attribution record says of shares, in 10^-12; all of them sum to 10^12."""

    attribution_id: str
    model_share_e12: int
    unattributed_e12: int
    shares_e12: tuple[tuple[str, int], ...]  # (artist_id, share)


@dataclass(frozen=True, slots=True)
class Line:
    """A revenue line and the images that earned it, each with its weight (the record of one image: 1)."""

    revenue_id: str
    currency: str
    amount_minor: int
    model_id: str
    images: Sequence[tuple[int, SharedRecord]]


@dataclass(frozen=True)
class Standing:
    """What is known of an artist as one model's artist. ``factor``: of the share, the rest is unattributed.
    ``dispute_id``: an open dispute over who the artist is."""

    model_id: str
    artist_id: str
    creator_id: str
    payee_id: str
    consent: Consent
    treatment: Treatment
    factor: Fraction
    dispute_id: str | None = None

    @property
    def account(self) -> Account | None:
        """Whose the artist's part is; None where it is unattributed."""
        if self.dispute_id is not None:
            return Account(AccountKind.DISPUTED, self.dispute_id, self.artist_id)
        match self.treatment:
            case Treatment.PAID:
                return Account(AccountKind.PAYABLE, self.payee_id, self.artist_id)
            case Treatment.ESCROW:
                return Account(AccountKind.ESCROW, self.artist_id)
            case Treatment.UNATTRIBUTED:
                return None
            case Treatment.OWED:
                return Account(AccountKind.PAYABLE, self.payee_id)


def exact_earnings(
    lines: Iterable[Line],
    standings: Mapping[tuple[str, str], Standing],
    contests: Contests,
    *,
    terms: Terms,
    developers: Mapping[str, Parts],
) -> Earnings:
    """What each account earns. standings: by (model_id, artist_id); developers: by model_id, parts of one.

    Raises SettlementError where a record's shares do not sum to one.

    >>> record = SharedRecord("a1", 5 * 10**11, 10**11, (("ann", 4 * 10**11),))
    >>> ann = Standing("m", "ann", "c", "p", Consent.OPTED_IN, Treatment.PAID, Fraction(1))
    >>> maker = {"m": ((Account(AccountKind.MODEL, "m"), Fraction(1)),)}
    >>> line = Line("r1", "EUR", 1, "m", [(1, record)])
    >>> found = exact_earnings([line], {("m", "ann"): ann}, Contests(), terms=Terms(), developers=maker)
    >>> str(found["EUR"][Account(AccountKind.PAYABLE, "p", "ann")])
    '2/5'
    """
    brought: dict[str, int] = defaultdict(int)
    pots: dict[tuple[str, str], dict[int, _Pot]] = defaultdict(lambda: defaultdict(_Pot))
    least = least_share(terms)
    for line in lines:
        common = gcd(*(weight for weight, _ in line.images))
        total = sum(weight for weight, _ in line.images) // common
        _pour(pots[line.currency, line.model_id][total], line, contests, least, common=common)
        brought[line.currency] += line.amount_minor
    platform = Account(AccountKind.PLATFORM)
    earned: dict[str, dict[Account, Fraction]] = {}
    for currency, amount in brought.items():
        earned[currency] = defaultdict(Fraction, {platform: terms.platform_fee * amount})
    for (currency, model_id), by_total in pots.items():
        common_total = lcm(*by_total)
        pot = _Pot()
        for total, part in by_total.items():
            pot.add(part, times=common_total // total)
        unit = (1 - terms.platform_fee) / (common_total * E12)
        nobody = unattributed_accounts(terms, developers[model_id])
        _share_out(earned[currency], pot, model_id, unit, standings, developers[model_id], nobody)
    for currency, amounts in earned.items():
        if sum(amounts.values()) != brought[currency]:
            raise SettlementError(
                f"The shares of the records that settle {currency} do not sum to one.",
                next_step="See what was altered: fairbrush ledger verify",
            )
    return {
        currency: {account: amount for account, amount in sorted(amounts.items()) if amount}
        for currency, amounts in sorted(earned.items())
    }


def credited(lines: Iterable[Line], contests: Contests, *, terms: Terms) -> set[tuple[str, str]]:
    """The (model_id, artist_id) of every share that is large enough to be claimed."""
    least = least_share(terms)
    found: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        artists = found[line.model_id]
        for _, record in line.images:
            artists.update(artist_id for artist_id, share in _shares(record, contests) if share >= least)
    return {(model_id, artist_id) for model_id, artists in found.items() for artist_id in artists}


def least_share(terms: Terms) -> int:
    """The smallest share, in 10^-12, that can be claimed; one of nought never can."""
    return max(1, ceil(terms.minimum_claim * E12))


def unattributed_accounts(terms: Terms, developers: Parts) -> Parts:
    """Where it goes what nobody can be credited with."""
    match terms.unattributed:
        case Unattributed.MODEL:
            return developers
        case Unattributed.PLATFORM:
            kind = AccountKind.PLATFORM
        case Unattributed.ESCROW:
            kind = AccountKind.ESCROW
        case Unattributed.FUND:
            kind = AccountKind.FUND
    return ((Account(kind), Fraction(1)),)


@dataclass
class _Pot:
    """Whole sums of amount x weight x share, of lines of one currency, model and total weight."""

    model: int = 0
    unattributed: int = 0
    artists: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    contested: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    contested_unattributed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, other: _Pot, *, times: int) -> None:
        self.model += times * other.model
        self.unattributed += times * other.unattributed
        for artist_id, amount in other.artists.items():
            self.artists[artist_id] += times * amount
        for claim, amount in other.contested.items():
            self.contested[claim] += times * amount
        for dispute_id, amount in other.contested_unattributed.items():
            self.contested_unattributed[dispute_id] += times * amount


def _shares(record: SharedRecord, contests: Contests) -> tuple[tuple[str, int], ...]:
    decision = contests.decided.get(record.attribution_id)
    return record.shares_e12 if decision is None else decision.shares_e12


def _pour(pot: _Pot, line: Line, contests: Contests, least: int, *, common: int) -> None:
    """Add a line's shares. common: what all of its weights are divided by."""
    artists, contests_open, decided = pot.artists, contests.open, contests.decided
    for weight, record in line.images:
        unit = line.amount_minor * (weight // common)
        decision = decided.get(record.attribution_id)
        contest = contests_open.get(record.attribution_id)
        unattributed = record.unattributed_e12 if decision is None else decision.unattributed_e12
        shares = record.shares_e12 if decision is None else decision.shares_e12
        pot.model += unit * record.model_share_e12
        if contest is not None and contest.unattributed:
            pot.contested_unattributed[contest.dispute_id] += unit * unattributed
        else:
            pot.unattributed += unit * unattributed
        for artist_id, share in shares:
            if share < least:
                pot.unattributed += unit * share
            elif contest is not None and artist_id in contest.artist_ids:
                pot.contested[contest.dispute_id, artist_id] += unit * share
            else:
                artists[artist_id] += unit * share


def _share_out(
    earned: dict[Account, Fraction],
    pot: _Pot,
    model_id: str,
    unit: Fraction,
    standings: Mapping[tuple[str, str], Standing],
    developers: Parts,
    nobody: Parts,
) -> None:
    """Add a pot to the accounts it goes to. unit: what one of its whole numbers is worth."""
    unattributed = pot.unattributed * unit
    for account, part in developers:
        earned[account] += part * (pot.model * unit)
    for dispute_id, amount in pot.contested_unattributed.items():
        earned[Account(AccountKind.DISPUTED, dispute_id)] += amount * unit
    claims: list[tuple[str, str | None, int]] = [
        *((artist_id, None, amount) for artist_id, amount in pot.artists.items()),
        *((artist_id, dispute_id, amount) for (dispute_id, artist_id), amount in pot.contested.items()),
    ]
    for artist_id, contested_by, amount in claims:
        standing = standings[model_id, artist_id]
        holder = standing.account
        is_kept = holder is None or holder.kind is AccountKind.DISPUTED
        # what is owed to an erased artist's payee is nobody's to contest
        if contested_by is not None and not is_kept and standing.treatment is not Treatment.OWED:
            holder = Account(AccountKind.DISPUTED, contested_by, artist_id)
        whole = amount * unit
        claimed = whole * standing.factor if holder is not None else Fraction(0)
        if holder is not None:
            earned[holder] += claimed
        unattributed += whole - claimed
    for account, part in nobody:
        earned[account] += part * unattributed
