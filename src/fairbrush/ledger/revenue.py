"""Revenue: what came in, for one image or for a period and spread over many.

Enters: ``Line``s. Leaves: rows of ``revenue``, ``revenue_image`` and ``revenue_event``. The one rule: a line
is known by the user's reference; the same again changes nothing, and with other content it is refused. A
line is never changed; it can be cancelled.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append, insert_chained
from fairbrush.chain.tables import ATTRIBUTIONS, REVENUE, REVENUE_EVENTS
from fairbrush.corpus.membership import list_models
from fairbrush.errors import MoneyError
from fairbrush.ledger.choices import LineState, Outcome, Spread
from fairbrush.ledger.currency import format_amount, parse_amount, shown
from fairbrush.ledger.lines import CANCELLED_LINES, SETTLED_LINES
from fairbrush.ledger.period import Period
from fairbrush.store import Store, as_utc, insert_rows, next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_REFERENCE = 200
LONGEST_REASON = 2000
E6 = 10**6
MOST_WEIGHT_E6 = 10**18  # of one image
_IMAGES_AT_ONCE = 50_000

Weights = tuple[tuple[str, int], ...]  # (image_sha256, weight_e6), sorted, each image once


@dataclass(frozen=True)
class Line:
    """What somebody says came in. None: not said, and so no reason to refuse a line that is there.

    ``image_sha256``: of an image line; else ``spread`` over ``images``, which are those answered in the
    period where they are not said. ``earned``: today where an image line does not say.
    """

    reference: str
    currency: str
    amount_minor: int
    earned: Period | None
    model_id: str | None = None
    image_sha256: str | None = None
    spread: Spread | None = None
    images: Weights | None = None

    @cached_property
    def revenue_id(self) -> str:
        return revenue_id(self.reference)


@dataclass(frozen=True)
class Recorded:
    """A line as it is in the database. ``n_images``: how many it is spread over, or 1."""

    revenue_id: str
    reference: str
    currency: str
    amount_minor: int
    earned: Period
    model_id: str | None
    image_sha256: str | None
    spread: Spread | None
    images_digest: str | None
    n_images: int
    state: LineState
    recorded_at: datetime


@dataclass(frozen=True)
class LineTotal:
    """What the lines of a currency in one state come to."""

    currency: str
    state: LineState
    lines: int
    amount_minor: int


@dataclass(frozen=True)
class Added:
    """``problem``: why the line was refused."""

    line: Line
    outcome: Outcome
    problem: MoneyError | None = None


def image_line(
    reference: str,
    amount: str,
    *,
    currency: str,
    image_sha256: str,
    day: date | None = None,
    model_id: str | None = None,
) -> Line:
    """A line for one image. Raises MoneyError.

    >>> image_line("INV-7", "12.50", currency="EUR", image_sha256="ab" * 32).amount_minor
    1250
    """
    earned = None if day is None else Period(day, day)
    minor = _positive(amount, currency)
    image = checked_image(image_sha256)
    return Line(checked_reference(reference), currency, minor, earned, model_id, image)


def period_line(
    reference: str,
    amount: str,
    *,
    currency: str,
    earned: Period,
    spread: Spread = Spread.COUNT,
    images: Iterable[tuple[str, int]] | None = None,
    model_id: str | None = None,
) -> Line:
    """A line for a period; ``images`` with their weights of 10^-6, each image once. Raises MoneyError."""
    if images is None and spread is Spread.WEIGHT:
        raise MoneyError("By weight needs the images and their weights.", next_step="Add --over IMAGES.csv.")
    weights = None if images is None else tuple(sorted(images))
    if weights is not None:
        _check_weights(weights)
    minor = _positive(amount, currency)
    return Line(checked_reference(reference), currency, minor, earned, model_id, None, spread, weights)


def revenue_id(reference: str) -> str:
    """What the line of a reference is called in every other table."""
    return canonical_digest({"reference": reference})


def images_digest(pairs: Iterable[tuple[str, int]]) -> str:
    """Of the images a line is spread over, and their weights, in whatever order they come.

    >>> images_digest([("b", 2), ("a", 1)]) == images_digest([("a", 1), ("b", 2)])
    True
    """
    return canonical_digest(sorted([image, weight] for image, weight in pairs))


def checked_reference(text: str) -> str:
    """The reference as it is kept: trimmed, composed. Raises MoneyError."""
    kept = unicodedata.normalize("NFC", text.strip())
    if not kept:
        raise MoneyError("A reference is empty.", next_step="Give each line one of its own.")
    if len(kept) > LONGEST_REFERENCE:
        raise MoneyError(
            f"The reference {shown(kept)} has {len(kept):,} characters; the limit is {LONGEST_REFERENCE}.",
            next_step="Shorten it.",
        )
    if not kept.isprintable() and any(unicodedata.category(c) in _UNSHOWN for c in kept):
        raise MoneyError(
            f"The reference {shown(kept)} has characters that do not show, or is not UTF-8.",
            next_step="Write it in letters, digits and signs.",
        )
    return kept


def checked_image(text: str) -> str:
    """An image's SHA-256 as it is kept: small letters. Raises MoneyError."""
    kept = text.strip().lower()
    if not _SHA256.fullmatch(kept):
        raise MoneyError(
            f"{shown(text)} is no SHA-256 of an image.", next_step="It has 64 digits of 0 to 9 and a to f."
        )
    return kept


def add_line(store: Store, line: Line, *, now: datetime) -> Added:
    """Record one line. Raises MoneyError where it is refused."""
    added = add_lines(store, [line], now=now)[0]
    if added.problem is not None:
        raise added.problem
    return added


def add_lines(store: Store, lines: Iterable[Line], *, now: datetime) -> list[Added]:
    """Record many lines, in one transaction and one batch of the chain; one outcome each, in order."""
    with recording(store, now=now) as recorder:
        return recorder.add(list(lines))


@contextmanager
def recording(store: Store, *, now: datetime) -> Iterator[Recorder]:
    """One transaction and one batch of the chain for all that is recorded inside the block."""
    moment = as_utc(now)
    with store.transaction() as connection:
        recorder = Recorder(store, Append(connection), moment)
        yield recorder
        recorder.append.commit(now=moment)


class Recorder:
    """Records lines, a few thousand at once, inside the transaction of ``recording``."""

    def __init__(self, store: Store, append: Append, now: datetime) -> None:
        self.append = append
        self._connection, self._now = store.connection, now
        self._models = {model.model_id.casefold(): model.model_id for model in list_models(store)}
        self._answered: dict[tuple[Period, str | None], Weights] = {}

    def add(self, lines: Sequence[Line]) -> list[Added]:
        """One outcome each, in order. A refused line stops no other."""
        known = _find(self._connection, [line.revenue_id for line in lines])
        rows: list[tuple[Any, ...]] = []
        added = []
        for given in lines:
            try:
                line = self._with_model(given)
                stored = known.get(line.revenue_id)
                if stored is None:
                    line = self._completed(line)
                    stored = known[line.revenue_id] = _as_recorded(line, self._now)
                    rows.append(_revenue_row(stored))
                    self._insert_images(line)
                    added.append(Added(line, Outcome.ADDED))
                else:
                    _check_same(line, stored)
                    is_cancelled = stored.state is LineState.CANCELLED
                    added.append(Added(line, Outcome.CANCELLED if is_cancelled else Outcome.THERE))
            except MoneyError as problem:
                added.append(Added(given, Outcome.REFUSED, problem))
        self.append.insert(REVENUE, rows)
        return added

    def _with_model(self, line: Line) -> Line:
        if line.model_id is None:
            return line
        model_id = self._models.get(line.model_id.casefold())
        if model_id is None:
            raise MoneyError(
                f"The model {shown(line.model_id)} is not registered.",
                next_step="fairbrush model list shows them all; fairbrush model add MODEL adds one.",
            )
        return line if line.model_id == model_id else replace(line, model_id=model_id)

    def _completed(self, line: Line) -> Line:
        """With the day and the images that were not said."""
        if line.earned is None:
            line = replace(line, earned=Period(self._now.date(), self._now.date()))
        if line.spread is None or line.images is not None:
            return line
        assert line.earned is not None, "it was just filled in"
        images = self._images_answered(line.earned, line.model_id)
        if not images:
            by = f" by {line.model_id}" if line.model_id else ""
            raise MoneyError(
                f"No answer to an image{by} was recorded in {shown_days(line.earned)}.",
                next_step="Say which images earned it: --over IMAGES.csv",
            )
        return replace(line, images=images)

    def _images_answered(self, earned: Period, model_id: str | None) -> Weights:
        """Images with a record that the chain took in within these days (UTC), each counted once."""
        if (earned, model_id) not in self._answered:
            found = self._connection.execute(
                "SELECT DISTINCT image_sha256 FROM attribution"
                " JOIN chain_leaf ON kind = ? AND record_key = attribution_id JOIN chain_batch USING (batch)"
                " WHERE committed_at >= ? AND committed_at < ?::TIMESTAMP + INTERVAL 1 DAY"
                " AND (?::TEXT IS NULL OR model_id = ?::TEXT) ORDER BY image_sha256",
                [ATTRIBUTIONS.kind, earned.first, earned.last, model_id, model_id],
            ).fetchall()
            self._answered[earned, model_id] = tuple((image, E6) for (image,) in found)
        return self._answered[earned, model_id]

    def _insert_images(self, line: Line) -> None:
        rows = ((line.revenue_id, image, weight) for image, weight in line.images or ())
        while some := list(islice(rows, _IMAGES_AT_ONCE)):
            insert_rows(self._connection, "revenue_image", some)


def list_lines(
    connection: DuckDBPyConnection, *, period: Period | None = None, state: LineState | None = None
) -> list[Recorded]:
    """The lines, in the order they were earned. ``period``: those it settles, by their last day."""
    conditions: list[str] = []
    values: list[Any] = []
    if period is not None:
        conditions.append("earned_to BETWEEN ? AND ?")
        values += [period.first, period.last]
    if state is not None:
        conditions.append("state = ?")
        values.append(str(state))
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = connection.execute(
        f"{_RECORDED} {where} ORDER BY earned_to, reference, revenue_id", values
    ).fetchall()
    return [_recorded(row) for row in rows]


def line_totals(connection: DuckDBPyConnection, *, period: Period | None = None) -> list[LineTotal]:
    """By currency and state. ``period``: of the lines it settles, by their last day."""
    first, last = (None, None) if period is None else (period.first, period.last)
    rows = connection.execute(
        f"SELECT currency, state, count(*), sum(amount_minor) FROM ({_RECORDED})"
        " WHERE $1::DATE IS NULL OR earned_to BETWEEN $1 AND $2 GROUP BY ALL ORDER BY ALL",
        [first, last],
    ).fetchall()
    return [LineTotal(currency, LineState(state), lines, int(sum_)) for currency, state, lines, sum_ in rows]


def cancel_line(store: Store, reference: str, *, reason: str, now: datetime) -> Recorded:
    """Say that a line is not to be paid out; gives it as it was before, and changes nothing where it was
    cancelled already. What it settled is reversed. Raises MoneyError.
    """
    why, moment = checked_reason(reason), as_utc(now)
    with store.transaction() as connection:
        line = find_line(connection, reference)
        if line.state is LineState.CANCELLED:
            return line
        number = next_sequence(connection, "revenue_event")
        row = (number, line.revenue_id, "cancelled", moment, *committed(why).columns)
        insert_chained(connection, REVENUE_EVENTS, [row], now=moment)
        if line.state is LineState.SETTLED:
            from fairbrush.ledger.settlement import correct

            correct(store, revenue_ids=[line.revenue_id], why=f"revenue_event {number}", now=moment)
    return line


def find_line(connection: DuckDBPyConnection, reference: str) -> Recorded:
    """By the reference, written as it was when it was added. Raises MoneyError."""
    kept = checked_reference(reference)
    found = _find(connection, [revenue_id(kept)])
    if not found:
        raise MoneyError(
            f"No revenue has the reference {shown(kept)}.",
            next_step="fairbrush revenue list shows them all.",
        )
    return found[revenue_id(kept)]


def is_answered(connection: DuckDBPyConnection, image_sha256: str | None) -> bool:
    """Whether any record could settle a line of this image."""
    found = connection.execute(
        "SELECT 1 FROM attribution WHERE image_sha256 = ? LIMIT 1", [image_sha256]
    ).fetchall()
    return bool(found)


def checked_reason(text: str) -> str:
    """Raises MoneyError."""
    kept = text.strip()
    if not kept:
        raise MoneyError("The reason is empty.", next_step="Say in a few words why.")
    if len(kept) > LONGEST_REASON or any("\ud800" <= c <= "\udfff" for c in kept):
        raise MoneyError(
            f"The reason has {len(kept):,} characters or is not UTF-8; the limit is {LONGEST_REASON:,}.",
            next_step="Say it in fewer words.",
        )
    return kept


def parse_day(text: str) -> date:
    """Raises MoneyError.

    >>> str(parse_day("2026-01-31"))
    '2026-01-31'
    """
    try:
        if _DAY.fullmatch(text.strip()):
            return date.fromisoformat(text.strip())
    except ValueError:
        pass
    raise MoneyError(f"{shown(text)} is no day.", next_step="Write year, month and day, as 2026-01-31.")


def shown_days(earned: Period) -> str:
    """
    >>> shown_days(Period(date(2026, 1, 2), date(2026, 1, 2)))
    '2026-01-02'
    """
    return str(earned.first) if earned.first == earned.last else str(earned)


_RECORDED = f"""
    WITH settled AS (
        SELECT DISTINCT revenue_id FROM ({SETTLED_LINES})
    ), cancelled AS (
        SELECT DISTINCT revenue_id FROM ({CANCELLED_LINES})
    ), spread_over AS (
        SELECT revenue_id, count(*) AS images FROM revenue_image GROUP BY revenue_id
    ), recorded AS (
        SELECT revenue.*, coalesce(images, 1) AS images, CASE
            WHEN cancelled.revenue_id IS NOT NULL THEN 'cancelled'
            WHEN settled.revenue_id IS NOT NULL THEN 'settled' ELSE 'open' END AS state
        FROM revenue LEFT JOIN settled USING (revenue_id) LEFT JOIN cancelled USING (revenue_id)
        LEFT JOIN spread_over USING (revenue_id)
    )
    SELECT revenue_id, reference, currency, amount_minor, earned_from, earned_to, model_id, image_sha256,
        spread, images_digest, images, state, recorded_at FROM recorded
"""


def _find(connection: DuckDBPyConnection, revenue_ids: Sequence[str]) -> dict[str, Recorded]:
    """Those of these lines that are there."""
    rows = connection.execute(
        f"{_RECORDED} WHERE revenue_id IN (SELECT unnest(?::TEXT[]))", [list(revenue_ids)]
    ).fetchall()
    return {line.revenue_id: line for line in map(_recorded, rows)}


def _recorded(row: Sequence[Any]) -> Recorded:
    line_id, reference, currency, minor, first, last, model_id, image, spread, digest, n_images, state, at = (
        row
    )
    return Recorded(
        line_id,
        reference,
        currency,
        int(minor),
        Period(first, last),
        model_id,
        image,
        None if spread is None else Spread(spread),
        digest,
        int(n_images),
        LineState(state),
        at,
    )


def _as_recorded(line: Line, now: datetime) -> Recorded:
    assert line.earned is not None, "a line is completed before it is written"
    return Recorded(
        line.revenue_id,
        line.reference,
        line.currency,
        line.amount_minor,
        line.earned,
        line.model_id,
        line.image_sha256,
        line.spread,
        None if line.images is None else images_digest(line.images),
        1 if line.images is None else len(line.images),
        LineState.OPEN,
        now,
    )


def _revenue_row(line: Recorded) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    return (
        line.revenue_id,
        line.reference,
        line.currency,
        line.amount_minor,
        line.earned.first,
        line.earned.last,
        line.image_sha256,
        line.model_id,
        None if line.spread is None else str(line.spread),
        line.images_digest,
        line.recorded_at,
    )


def _check_same(line: Line, stored: Recorded) -> None:
    """Raises MoneyError with what differs."""
    differing = [
        f"{what} {was}, now {is_now}" for what, was, is_now in _compared(line, stored) if was != is_now
    ]
    if line.images is not None and not differing and images_digest(line.images) != stored.images_digest:
        differing = [f"spread over {stored.n_images} images, now over {len(line.images)} others or by others"]
    if differing:
        raise MoneyError(
            f"The reference {shown(line.reference)} is known with other content: {'; '.join(differing)}.",
            next_step="Use another reference; if that line was wrong: fairbrush revenue cancel REFERENCE",
        )


def _compared(line: Line, stored: Recorded) -> Iterator[tuple[str, str, str]]:
    """What, as it is stored, as it is said now."""
    yield (
        "amount",
        f"{format_amount(stored.amount_minor, stored.currency)} {stored.currency}",
        f"{format_amount(line.amount_minor, line.currency)} {line.currency}",
    )
    if line.earned is not None:
        yield "earned", shown_days(stored.earned), shown_days(line.earned)
    yield "model", stored.model_id or "the policy's", line.model_id or "the policy's"
    yield "image", stored.image_sha256 or "none", line.image_sha256 or "none"
    yield "spread", stored.spread or "not", line.spread or "not"


def _positive(amount: str, currency: str) -> int:
    minor = parse_amount(amount, currency)
    if minor <= 0:
        raise MoneyError(
            f"{amount.strip()} {currency} is nothing that came in.",
            next_step="For a refund, cancel what came in: fairbrush revenue cancel REFERENCE",
        )
    return minor


def _check_weights(weights: Weights) -> None:
    if not weights:
        raise MoneyError("There is no image to spread it over.", next_step="Name one or more.")
    for image, weight in weights:
        checked_image(image)
        if not 0 < weight <= MOST_WEIGHT_E6:
            raise MoneyError(
                f"The weight of the image {image} is 0, less, or too large.",
                next_step="Correct it, or leave it out.",
            )
    for (image, _), (following, _) in pairwise(weights):
        if image == following:
            raise MoneyError(f"The image {image} is named twice.", next_step="Name each image once.")
