"""The revenue lines of an image, and how a record divided each of them.

Enters: a record's id, and the database. Leaves: lines, with a place for every part. The one rule: a line is
split by ``exact_earnings`` from what its settlement froze, as the settlement did it, so that the parts of all
images of a settlement sum to what it settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import attrgetter
from typing import TYPE_CHECKING

from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.earnings import (
    Line,
    Parts,
    Standing,
    exact_earnings,
    unattributed_accounts,
)
from fairbrush.ledger.lines import (
    LineImage,
    read_lines,
    shared_lines,
)
from fairbrush.ledger.moves import artist_of
from fairbrush.ledger.settled import Frozen, read_frozen
from fairbrush.ledger.terms import Terms, Unattributed
from fairbrush.reports.pages.image.earned import CameIn, EarnedLine, Step
from fairbrush.reports.pages.image.facts import E12
from fairbrush.reports.pages.image.people import People
from fairbrush.reports.pages.image.whereabouts import Credited, Division, Whereabouts, step_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FUND = Account(AccountKind.FUND)


# Each division of every line that a record ever divided: its entry in the book, and what took it back.
_DIVISIONS = """
    WITH own AS (SELECT DISTINCT revenue_id FROM settlement_line WHERE attribution_id = $attribution_id),
    line AS (
        SELECT settlement_id, revenue_id, attribution_id, entry.kind, reverses, entry.number AS entry
        FROM settlement_line JOIN own USING (revenue_id) JOIN settlement USING (settlement_id)
        JOIN entry ON reference = settlement_id AND entry.kind = settlement.kind
        WHERE image_sha256 = $image_sha256)
    SELECT line.revenue_id, line.settlement_id, line.attribution_id, line.entry, back.entry
    FROM line LEFT JOIN line AS back ON back.kind = 'reversal' AND back.reverses = line.settlement_id
        AND back.revenue_id = line.revenue_id
    WHERE line.kind = 'settlement' ORDER BY line.entry, line.revenue_id
"""


@dataclass(frozen=True)
class Settled:
    """One division of a line, by a settlement."""

    settlement_id: str
    attribution_id: str
    entry: int
    taken_back: int | None


def divided_lines(
    connection: DuckDBPyConnection, attribution_id: str, image_sha256: str
) -> dict[str, list[Settled]]:
    """The divisions of each line that this record divided last, in order."""
    found: dict[str, list[Settled]] = defaultdict(list)
    for revenue_id, *division in connection.execute(
        _DIVISIONS, {"attribution_id": attribution_id, "image_sha256": image_sha256}
    ).fetchall():
        found[revenue_id].append(Settled(*division))
    return {key: own for key, own in found.items() if own[-1].attribution_id == attribution_id}


def earned_lines(
    connection: DuckDBPyConnection,
    divided: Mapping[str, Sequence[Settled]],
    lines: Mapping[str, CameIn],
    people: People,
) -> Iterator[EarnedLine]:
    book = Whereabouts(connection, people)
    settled = [(revenue_id, one) for revenue_id, own in divided.items() for one in own]
    frozen = {one.settlement_id: read_frozen(connection, one.settlement_id) for _, one in settled}
    shared = _shared(connection, settled, frozen)
    for revenue_id, own in divided.items():
        divisions, line, last = [], lines[revenue_id], own[-1]
        for one in own:
            by = frozen[one.settlement_id]
            parts = split_line(
                shared[one.settlement_id, revenue_id],
                by.standings,
                by.contests,
                terms=by.policy.terms,
                developers=by.developers,
                people=people,
            )
            divisions.append(Division(one.entry, one.taken_back, tuple(parts)))
        placed, returning = book.place(divisions, line.currency)
        by = frozen[last.settlement_id]
        by_rule = of_artists_shares(
            shared[last.settlement_id, revenue_id],
            divisions[-1].parts,
            by.contests,
            fee=by.policy.terms.platform_fee,
        )
        yield EarnedLine(
            **vars(line),
            settlement_number=by.number,
            policy_digest=by.policy.digest,
            platform_fee=by.policy.terms.platform_fee,
            divisions=len(own),
            stands=last.taken_back is None,
            parts=tuple(replace(each, exact_minor=each.exact_minor * line.part) for each in placed),
            by_rule_minor=by_rule * line.part if placed else Fraction(0),
            returning=tuple(
                replace(
                    each,
                    owed_back_minor=each.owed_back_minor * line.part,
                    set_off_minor=each.set_off_minor * line.part,
                )
                for each in returning
            ),
        )


def _shared(
    connection: DuckDBPyConnection, settled: Sequence[tuple[str, Settled]], frozen: Mapping[str, Frozen]
) -> dict[tuple[str, str], Line]:
    """By settlement and line: the line as if this image alone had earned it."""
    by_settlement: dict[str, list[LineImage]] = defaultdict(list)
    for revenue_id, one in settled:
        by_settlement[one.settlement_id].append(LineImage(revenue_id, "", 1, one.attribution_id))
    whole = read_lines(connection, [revenue_id for revenue_id, _ in settled])
    return {
        (settlement_id, line.revenue_id): line
        for settlement_id, images in by_settlement.items()
        for line in shared_lines(
            connection,
            whole,
            sorted(images, key=attrgetter("revenue_id")),
            model_id=frozen[settlement_id].policy.split.model,
        )
    }


def lines_of(connection: DuckDBPyConnection, image_sha256: str) -> dict[str, CameIn]:
    """Every line that the image has a part in, by id."""
    rows = connection.execute(
        """
        WITH spread AS (
            SELECT revenue_id, sum(weight_e6) FILTER (image_sha256 = $1) AS own, sum(weight_e6) AS whole
            FROM revenue_image WHERE revenue_id IN (
                SELECT revenue_id FROM revenue_image WHERE image_sha256 = $1)
            GROUP BY revenue_id)
        SELECT revenue_id, reference, currency, amount_minor, coalesce(own, 1), coalesce(whole, 1), earned_to,
            (SELECT min(recorded_at) FROM revenue_event AS done
             WHERE done.revenue_id = revenue.revenue_id AND event = 'cancelled')
        FROM revenue LEFT JOIN spread USING (revenue_id)
        WHERE image_sha256 = $1 OR spread.revenue_id IS NOT NULL ORDER BY revenue_id
        """,
        [image_sha256],
    ).fetchall()
    return {
        key: CameIn(key, reference, currency, amount, Fraction(int(own), int(whole) or 1), day, cancelled_at)
        for key, reference, currency, amount, own, whole, day, cancelled_at in rows
    }


def ever_divided(connection: DuckDBPyConnection, image_sha256: str) -> set[str]:
    """The lines of the image that were divided, by whatever answer."""
    rows = connection.execute(
        "SELECT DISTINCT revenue_id FROM settlement_line WHERE image_sha256 = ?", [image_sha256]
    ).fetchall()
    return {revenue_id for (revenue_id,) in rows}


def split_line(
    line: Line,
    standings: Mapping[tuple[str, str], Standing],
    contests: Contests,
    *,
    terms: Terms,
    developers: Mapping[str, Parts],
    people: People,
) -> list[Credited]:
    """A line of one image, by what each part is for, and the account it is credited to.

    The unattributed part is kept apart from whoever it goes to, which may be the platform or the developers.
    """
    [earned] = exact_earnings(
        [line],
        standings,
        contests,
        terms=replace(terms, unattributed=Unattributed.FUND),
        developers=developers,
    ).values()
    found = []
    for account, exact in earned.items():
        if account == _FUND:
            for to, part in unattributed_accounts(terms, developers[line.model_id]):
                found.append(Credited(Step.UNATTRIBUTED, exact * part, None, to))
        else:
            found.append(Credited(step_of(account), exact, people.get(artist_of(account)), account))
    return found


def of_artists_shares(
    line: Line, parts: Sequence[Credited], contests: Contests, *, fee: Fraction
) -> Fraction:
    """How much of what is nobody's is so by the terms, and a part of an artist's share by the record."""
    [(_, record)] = line.images
    decision = contests.decided.get(record.attribution_id)
    share = record.unattributed_e12 if decision is None else decision.unattributed_e12
    nobodys = sum((part.exact_minor for part in parts if part.step is Step.UNATTRIBUTED), Fraction(0))
    return nobodys - (1 - fee) * line.amount_minor * Fraction(share, E12)
