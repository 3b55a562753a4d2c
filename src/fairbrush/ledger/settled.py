"""Settlements as they were written: what each was computed from, and the same computed again.

Enters: a connection. Leaves: settlements, what they froze, what they carry forward, and how they differ from
what they must be. The one rule: everything here is computed from what is stored, not from what is known now.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, parse_canonical
from fairbrush.domain import Consent
from fairbrush.errors import FairbrushError, SettlementError
from fairbrush.ledger.book import MOST_POSTED, Account, AccountKind, EntryKind, Posting, merged
from fairbrush.ledger.contests import Contest, Contests, Decision
from fairbrush.ledger.earnings import Earnings, Parts, Standing, Treatment, exact_earnings
from fairbrush.ledger.exactly import fraction_text, parse_fraction
from fairbrush.ledger.lines import LineImage, read_lines, settled_images, shared_lines
from fairbrush.ledger.moves import MODEL_SUBJECT, Passed, artist_of, follow, read_moves
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import AdoptedPolicy, adopted_policies
from fairbrush.ledger.rounding import Carried, Part, whole_parts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Carries = dict[str, dict[Account, Fraction]]  # by currency
_SHORTEST = 8  # digits of an id that name it


class SettlementKind(StrEnum):
    SETTLEMENT = "settlement"
    REVERSAL = "reversal"


@dataclass(frozen=True)
class Settlement:
    """``lines``: how many revenue lines it settles or takes back; ``images``: of how many images."""

    settlement_id: str
    number: int
    kind: SettlementKind
    period: Period
    policy_digest: str
    reverses: str | None
    lines: int
    images: int
    parts: tuple[Part, ...]

    @property
    def totals(self) -> dict[str, int]:
        """What was settled, by currency, in minor units; negative where it was taken back."""
        sums: dict[str, int] = defaultdict(int)
        for part in self.parts:
            sums[part.currency] += part.amount_minor
        return dict(sorted(sums.items()))


class Purpose(StrEnum):
    """What a settled amount is for."""

    PLATFORM = "platform"
    MODELS = "models"
    ARTISTS = "artists"
    ESCROW = "escrow"
    DISPUTED = "disputed"
    UNATTRIBUTED = "unattributed"


def purpose(account: Account) -> Purpose:
    """Of an account that a settlement credits."""
    match account.kind:
        case AccountKind.PLATFORM:
            return Purpose.PLATFORM
        case AccountKind.MODEL:
            return Purpose.MODELS
        case AccountKind.PAYABLE:
            return Purpose.MODELS if account.subject.startswith(MODEL_SUBJECT) else Purpose.ARTISTS
        case AccountKind.DISPUTED:
            return Purpose.DISPUTED
        case AccountKind.ESCROW if account.holder:
            return Purpose.ESCROW
        case _:
            return Purpose.UNATTRIBUTED


def by_purpose(parts: Sequence[Part]) -> dict[str, dict[Purpose, int]]:
    """What parts come to, by currency; every purpose is there."""
    sums: dict[str, dict[Purpose, int]] = {}
    for part in sorted(parts, key=attrgetter("currency")):
        sums.setdefault(part.currency, dict.fromkeys(Purpose, 0))[purpose(part.account)] += part.amount_minor
    return sums


@dataclass(frozen=True)
class Frozen:
    """What a settlement was computed from."""

    settlement_id: str
    number: int
    period: Period
    policy: AdoptedPolicy
    after_entry: int
    standings: Mapping[tuple[str, str], Standing]
    developers: Mapping[str, Parts]
    contests: Contests

    def earnings(self, connection: DuckDBPyConnection, images: Sequence[LineImage]) -> Earnings:
        """What the lines of these images earned, computed again."""
        lines = read_lines(connection, sorted({image.revenue_id for image in images}))
        shared = shared_lines(connection, lines, images, model_id=self.policy.split.model)
        return exact_earnings(
            shared, self.standings, self.contests, terms=self.policy.terms, developers=self.developers
        )


def read_frozen(connection: DuckDBPyConnection, settlement_id: str) -> Frozen:
    """Of a settlement that is no reversal. Raises SettlementError where it is unknown."""
    body = read_body(connection, settlement_id)
    rows = connection.execute(
        "SELECT model_id, artist_id, creator_id, payee_id, consent, treatment, factor, dispute_id"
        " FROM settlement_standing WHERE settlement_id = ?",
        [settlement_id],
    ).fetchall()
    standings = [
        Standing(
            m, a, creator, payee, Consent(consent), Treatment(treatment), parse_fraction(factor), dispute
        )
        for m, a, creator, payee, consent, treatment, factor, dispute in rows
    ]
    return Frozen(
        settlement_id,
        body["number"],
        Period(*map(date.fromisoformat, body["period"])),
        policy_by_digest(connection, body["policy_digest"]),
        body["after_entry"],
        {(one.model_id, one.artist_id): one for one in standings},
        {
            model_id: tuple((named_account(names), parse_fraction(part)) for *names, part in parts)
            for model_id, parts in body["developers"].items()
        },
        Contests(
            open={
                attribution_id: Contest(dispute_id, frozenset(artist_ids), unattributed)
                for attribution_id, (dispute_id, artist_ids, unattributed) in body["contests"].items()
            },
            decided={
                attribution_id: Decision(dispute_id, tuple((a, e12) for a, e12 in shares), unattributed)
                for attribution_id, (dispute_id, shares, unattributed) in body["decisions"].items()
            },
        ),
    )


def read_body(connection: DuckDBPyConnection, settlement_id: str) -> dict[str, Any]:
    """Raises SettlementError where there is no such settlement."""
    rows = connection.execute(
        "SELECT body::TEXT FROM settlement WHERE settlement_id = ?", [settlement_id]
    ).fetchall()
    if not rows:
        raise SettlementError(
            f"There is no settlement {settlement_id}.", next_step="List them: fairbrush settlements"
        )
    body: dict[str, Any] = parse_canonical(rows[0][0])
    return body


def read_passed(connection: DuckDBPyConnection) -> Passed:
    """What all reversals took by way of entries that moved no more than was left of an account."""
    passed: Passed = defaultdict(Fraction)
    for (text,) in connection.execute(
        "SELECT body::TEXT FROM settlement WHERE kind = ?", [str(SettlementKind.REVERSAL)]
    ).fetchall():
        for number, currency, *names, amount in parse_canonical(text)["passed"]:
            passed[number, currency, named_account(names)] += parse_fraction(amount)
    return dict(passed)


def policy_by_digest(connection: DuckDBPyConnection, digest: str) -> AdoptedPolicy:
    for policy in adopted_policies(connection):
        if policy.digest == digest:
            return policy
    raise SettlementError(
        f"The policy {digest} of a settlement is not in the database.",
        next_step="See what was altered: fairbrush ledger verify",
    )


def read_carries(connection: DuckDBPyConnection, *, before: int) -> Carries:
    """What is carried forward, by currency and account: all that settlements with a smaller number earned
    exactly, less what they posted."""
    rows = connection.execute(
        "SELECT account, holder, subject, currency, exact_minor, amount_minor"
        " FROM settlement_part JOIN settlement USING (settlement_id) WHERE number < ?",
        [before],
    ).fetchall()
    carries: Carries = {}
    add_carries(
        carries,
        [
            Part(Account(AccountKind(kind), holder, subject), currency, parse_fraction(exact), amount)
            for kind, holder, subject, currency, exact, amount in rows
        ],
    )
    return carries


def add_carries(carries: Carries, parts: Sequence[Part]) -> None:
    """Add what these parts leave; an account that is left nothing is dropped."""
    for part in parts:
        own = carries.setdefault(part.currency, {})
        left = own.pop(part.account, Fraction(0)) + part.exact - part.amount_minor
        if left:
            own[part.account] = left


def last_entries(connection: DuckDBPyConnection) -> dict[str, int]:
    """The number of the entry by which each currency was last settled or taken back."""
    rows = connection.execute(
        "SELECT currency, max(number) FROM entry JOIN posting ON entry_number = number"
        " WHERE kind IN (SELECT unnest(?::TEXT[])) GROUP BY currency",
        [[str(EntryKind.SETTLEMENT), str(EntryKind.REVERSAL)]],
    ).fetchall()
    return dict(rows)


def round_all(earned: Earnings, carries: Carries, carried: Sequence[Carried]) -> list[Part]:
    """The parts of every currency that something was earned in."""
    return [
        part
        for currency, amounts in sorted(earned.items())
        for part in whole_parts(
            currency,
            amounts,
            carries.get(currency, {}),
            [one for one in carried if one.currency == currency],
        )
    ]


def check_size(parts: Sequence[Part]) -> None:
    """Raises SettlementError where they are together more than one posting can be."""
    sums: dict[str, int] = defaultdict(int)
    for part in parts:
        sums[part.currency] += abs(part.amount_minor)
    too_large = [currency for currency, amount in sums.items() if amount > MOST_POSTED]
    if too_large:
        raise SettlementError(
            f"What is settled in {too_large[0]} is more than one entry of the book can be.",
            next_step="Check the amounts: fairbrush revenue list; or settle a shorter period.",
        )


def settlement_postings(parts: Sequence[Part]) -> list[Posting]:
    """What each account is credited, and what revenue goes down by."""
    revenue = [Posting(Account(AccountKind.REVENUE), part.currency, -part.amount_minor) for part in parts]
    return merged([*(Posting(part.account, part.currency, part.amount_minor) for part in parts), *revenue])


def list_settlements(connection: DuckDBPyConnection, *, only: str | None = None) -> list[Settlement]:
    """All in order, or the one with this id."""
    counts = {
        settlement_id: (lines, images)
        for settlement_id, lines, images in connection.execute(
            "SELECT settlement_id, count(DISTINCT revenue_id), count(*) FROM settlement_line"
            " WHERE settlement_id = coalesce($1, settlement_id) GROUP BY ALL",
            [only],
        ).fetchall()
    }
    parts: dict[str, list[Part]] = defaultdict(list)
    for settlement_id, kind, holder, subject, currency, exact, amount in connection.execute(
        "SELECT settlement_id, account, holder, subject, currency, exact_minor, amount_minor"
        " FROM settlement_part WHERE settlement_id = coalesce($1, settlement_id)"
        " ORDER BY settlement_id, currency, account, holder, subject",
        [only],
    ).fetchall():
        account = Account(AccountKind(kind), holder, subject)
        parts[settlement_id].append(Part(account, currency, parse_fraction(exact), amount))
    rows = connection.execute(
        "SELECT settlement_id, number, kind, period_from, period_to, policy_digest, reverses"
        " FROM settlement WHERE settlement_id = coalesce($1, settlement_id) ORDER BY number",
        [only],
    ).fetchall()
    return [
        Settlement(
            settlement_id,
            number,
            SettlementKind(kind),
            Period(first, last),
            digest,
            reverses,
            *counts.get(settlement_id, (0, 0)),
            tuple(parts[settlement_id]),
        )
        for settlement_id, number, kind, first, last, digest, reverses in rows
    ]


def find_settlement(connection: DuckDBPyConnection, name: str) -> Settlement:
    """By number, id, or the beginning of an id (8 digits or more). Raises SettlementError."""
    rows = connection.execute("SELECT settlement_id, number FROM settlement").fetchall()
    found = [
        settlement_id
        for settlement_id, number in rows
        if name == str(number) or (len(name) >= _SHORTEST and settlement_id.startswith(name))
    ]
    if len(found) != 1:
        raise SettlementError(
            f"{'No settlement is' if not found else 'Several settlements are'} called {name!r}.",
            next_step="List them: fairbrush settlements",
        )
    return list_settlements(connection, only=found[0])[0]


def recheck(connection: DuckDBPyConnection, settlement_id: str) -> list[str]:
    """How a settlement differs from what it must be by what it froze, by the settlements before it and by the
    book; nothing where it does not. Raises SettlementError where it, or what it was computed from, is gone.
    """
    settlement = find_settlement(connection, settlement_id)
    return _recheck(connection, settlement, read_carries(connection, before=settlement.number))


def recheck_all(connection: DuckDBPyConnection) -> dict[str, list[str]]:
    """``recheck`` of every settlement, in their order, by id; those in order are left out."""
    carries: Carries = {}
    found = {}
    for settlement in list_settlements(connection):
        try:
            problems = _recheck(connection, settlement, carries)
        except FairbrushError as error:
            problems = [error.message]
        if problems:
            found[settlement.settlement_id] = problems
        add_carries(carries, settlement.parts)
    return found


def _recheck(connection: DuckDBPyConnection, settlement: Settlement, carries: Carries) -> list[str]:
    """carries: before this settlement."""
    settlement_id = settlement.settlement_id
    body = read_body(connection, settlement_id)
    if canonical_digest(body) != settlement_id:
        return ["its body is not the one it is named after"]
    found = []
    written = [
        settlement.number,
        str(settlement.kind),
        [settlement.period.first.isoformat(), settlement.period.last.isoformat()],
        settlement.policy_digest,
        settlement.reverses,
    ]
    if written != [body[name] for name in ("number", "kind", "period", "policy_digest", "reverses")]:
        found.append("its columns are not what its body says")
    images = settled_images(connection, settlement_id)
    if images_digest(images) != body["images_digest"]:
        return [*found, "its lines are not those it was computed from"]
    if settlement.kind is SettlementKind.REVERSAL:
        earned, problems = _taken(connection, body, images)
        found += problems
    else:
        frozen = read_frozen(connection, settlement_id)
        if standings_digest(list(frozen.standings.values())) != body["standings"]:
            return [*found, "its standings are not those it was computed from"]
        earned = frozen.earnings(connection, images)
    carried = [
        Carried(named_account(source), named_account(target), currency, parse_fraction(amount))
        for currency, source, target, amount in body["carried"]
    ]
    found += _moved_wrongly(carried, carries)
    parts = round_all(earned, carries, carried)
    found += _differences(parts, settlement.parts)
    if settlement_postings(parts) != _posted(connection, settlement_id):
        found.append("its entry in the book is not what it settled")
    return found


def images_digest(images: Sequence[LineImage]) -> str:
    """Of which record settled which image of which line, in their order."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.revenue_id} {image.image_sha256} {image.attribution_id}\n".encode())
    return digest.hexdigest()


def standings_digest(standings: Sequence[Standing]) -> str:
    """Of standings in any order."""
    return canonical_digest(sorted(map(standing_columns, standings), key=lambda columns: columns[:2]))


def standing_columns(one: Standing) -> list[Any]:
    """In the order of the table's columns, without the settlement."""
    return [
        one.model_id,
        one.artist_id,
        one.creator_id,
        one.payee_id,
        str(one.consent),
        str(one.treatment),
        fraction_text(one.factor),
        one.dispute_id,
    ]


def account_names(account: Account) -> list[str]:
    return [str(account.kind), account.holder, account.subject]


def named_account(names: Sequence[str]) -> Account:
    kind, holder, subject = names
    return Account(AccountKind(kind), holder, subject)


def _taken(
    connection: DuckDBPyConnection, body: Mapping[str, Any], images: Sequence[LineImage]
) -> tuple[Earnings, list[str]]:
    """What a reversal says that it took, and how that differs from what these lines earned."""
    taken: Earnings = {}
    for currency, *names, amount in body["taken"]:
        taken.setdefault(currency, {})[named_account(names)] = parse_fraction(amount)
    frozen = read_frozen(connection, body["reverses"])
    moves = read_moves(connection, after=frozen.after_entry, until=body["after_entry"])
    problems = []
    for currency, amounts in frozen.earnings(connection, images).items():
        back: dict[Account, Fraction] = defaultdict(Fraction)
        for account, amount in amounts.items():
            back[follow(account, currency, moves)] -= amount
        own = taken.get(currency, {})
        # what stood for an artist who was erased since, or for a closed dispute, lies elsewhere: of the one
        # only the sum over all is known, of the other the sum over the artist
        by_artist, own_by_artist = _by_artist(back), _by_artist(own)
        wrong = [artist_id for artist_id, sum_ in own_by_artist.items() if by_artist[artist_id] != sum_]
        if wrong or sum(own.values()) != sum(back.values()):
            problems.append(f"it did not take back what its lines earned in {currency}")
    return taken, problems


def _by_artist(amounts: Mapping[Account, Fraction]) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for account, amount in amounts.items():
        if artist_id := artist_of(account):
            sums[artist_id] += amount
    return sums


def _moved_wrongly(carried: Sequence[Carried], carries: Carries) -> list[str]:
    sums: dict[tuple[str, Account], Fraction] = defaultdict(Fraction)
    for one in carried:
        sums[one.currency, one.source] += one.amount
    return [
        f"it moved {moved} {currency} that were not carried by {' '.join(account_names(account))}"
        for (currency, account), moved in sums.items()
        if carries.get(currency, {}).get(account) != moved
    ]


def _differences(parts: Sequence[Part], stored: Sequence[Part]) -> list[str]:
    expected, found = ({(one.account, one.currency): one for one in each} for each in (parts, stored))
    return [
        f"the part of {' '.join(filter(None, account_names(account)))} in {currency} is not what it must be"
        for account, currency in sorted(expected.keys() | found.keys())
        if expected.get((account, currency)) != found.get((account, currency))
    ]


def _posted(connection: DuckDBPyConnection, settlement_id: str) -> list[Posting]:
    rows = connection.execute(
        "SELECT account, holder, subject, currency, amount_minor FROM entry JOIN posting"
        " ON entry_number = number WHERE reference = ? AND kind IN ('settlement', 'reversal')",
        [settlement_id],
    ).fetchall()
    return sorted(Posting(Account(AccountKind(kind), h, s), currency, n) for kind, h, s, currency, n in rows)
