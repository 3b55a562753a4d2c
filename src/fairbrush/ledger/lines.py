"""Revenue lines as a settlement reads them: which are open, and which record settles each of their images.

Enters: a connection. Leaves: lines and records. The one rule: of the records made under what a policy pins,
the first in the chain pays, so that nobody can ask again until an answer pleases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fairbrush.ledger.earnings import Line, SharedRecord
from fairbrush.ledger.period import Period
from fairbrush.ledger.policies import AdoptedPolicy, splits_by_model

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class RevenueLine:
    """What came in. ``earned_to``: the day that says which policy splits it; ``model_id``: None for the
    policy's."""

    revenue_id: str
    reference: str
    currency: str
    amount_minor: int
    earned_to: date
    model_id: str | None


@dataclass(frozen=True, slots=True)
class LineImage:
    """One image of a line, and what it weighs among them. ``attribution_id``: the record that settles it;
    None where there is none."""

    revenue_id: str
    image_sha256: str
    weight: int
    attribution_id: str | None


# Queries. A line is settled by what a settlement says and no reversal of it takes back.
SETTLED_LINES = """
    SELECT DISTINCT line.settlement_id, line.revenue_id
    FROM settlement_line line JOIN settlement USING (settlement_id)
    WHERE settlement.kind = 'settlement' AND NOT EXISTS (
        SELECT 1 FROM settlement_line back JOIN settlement reversal USING (settlement_id)
        WHERE reversal.reverses = line.settlement_id AND back.revenue_id = line.revenue_id)
"""
CANCELLED_LINES = "SELECT revenue_id FROM revenue_event WHERE event = 'cancelled'"
_LINE = "SELECT revenue_id, reference, currency, amount_minor, earned_to, model_id FROM revenue"
# Of the images in ``image``, by model: the record that pays under what a policy pins.
_PAYING = """
    SELECT image_sha256, model_id, arg_min(attribution_id, position) AS attribution_id
    FROM attribution JOIN chain_leaf ON kind = 'attribution' AND record_key = attribution_id
    JOIN (SELECT unnest($models::TEXT[]) AS model_id, unnest($policies::TEXT[]) AS policy_digest) split
        USING (model_id, policy_digest)
    WHERE value_function = $value AND calibration_id IS NOT DISTINCT FROM $calibration::TEXT
        AND list_contains($manifests::TEXT[], index_manifest_digest)
        AND image_sha256 IN (SELECT image_sha256 FROM image)
    GROUP BY ALL
"""


def open_lines(connection: DuckDBPyConnection, period: Period) -> list[RevenueLine]:
    """The lines earned in a period that are neither settled nor cancelled, by id."""
    rows = connection.execute(
        f"{_LINE} WHERE earned_to BETWEEN ? AND ?"
        f" AND revenue_id NOT IN ({CANCELLED_LINES})"
        f" AND revenue_id NOT IN (SELECT revenue_id FROM ({SETTLED_LINES})) ORDER BY revenue_id",
        [period.first, period.last],
    ).fetchall()
    return [RevenueLine(*row) for row in rows]


def read_lines(connection: DuckDBPyConnection, revenue_ids: Sequence[str]) -> list[RevenueLine]:
    """These lines, whatever became of them, by id."""
    rows = connection.execute(
        f"{_LINE} WHERE revenue_id IN (SELECT unnest(?::TEXT[])) ORDER BY revenue_id", [list(revenue_ids)]
    ).fetchall()
    return [RevenueLine(*row) for row in rows]


def cancelled(connection: DuckDBPyConnection, revenue_ids: Sequence[str]) -> set[str]:
    """Those of these lines that were cancelled."""
    rows = connection.execute(CANCELLED_LINES).fetchall()
    return {revenue_id for (revenue_id,) in rows} & set(revenue_ids)


def settled_lines(
    connection: DuckDBPyConnection, *, attribution_ids: Sequence[str] = (), revenue_ids: Sequence[str] = ()
) -> dict[str, list[str]]:
    """By settlement, in their order: the lines it settles that are named, or that one of the records did."""
    rows = connection.execute(
        f"""
        SELECT settlement_id, revenue_id
        FROM ({SETTLED_LINES} AND (line.revenue_id IN (SELECT unnest($1::TEXT[]))
            OR line.attribution_id IN (SELECT unnest($2::TEXT[]))))
        JOIN settlement USING (settlement_id) ORDER BY number, revenue_id
        """,
        [list(revenue_ids), list(attribution_ids)],
    ).fetchall()
    found: dict[str, list[str]] = defaultdict(list)
    for settlement_id, revenue_id in rows:
        found[settlement_id].append(revenue_id)
    return dict(found)


def choose_records(
    connection: DuckDBPyConnection, lines: Sequence[RevenueLine], policy: AdoptedPolicy
) -> list[LineImage]:
    """Every image of these lines with the record that settles it under ``policy``, by line and image.

    It was made under the policy's calibration, or under none where that names none, and with the b that the
    policy has for the line's model. Raises PolicyError.
    """
    model_ids = sorted({line.model_id or policy.split.model for line in lines})
    rows = connection.execute(
        f"""
        WITH line AS (
            SELECT revenue_id, coalesce(model_id, $model_id) AS model_id, image_sha256
            FROM revenue WHERE revenue_id IN (SELECT unnest($revenue_ids::TEXT[]))),
        image AS (
            SELECT revenue_id, model_id, image_sha256, 1::BIGINT AS weight
            FROM line WHERE image_sha256 IS NOT NULL
            UNION ALL
            SELECT revenue_id, model_id, revenue_image.image_sha256, weight_e6
            FROM line JOIN revenue_image USING (revenue_id) WHERE line.image_sha256 IS NULL),
        paying AS ({_PAYING})
        SELECT revenue_id, image_sha256, weight, attribution_id
        FROM image LEFT JOIN paying USING (image_sha256, model_id) ORDER BY revenue_id, image_sha256
        """,
        {
            "revenue_ids": [line.revenue_id for line in lines],
            "model_id": policy.split.model,
            **_pins(connection, policy, model_ids),
        },
    ).fetchall()
    return [LineImage(*row) for row in rows]


def paying_record(
    connection: DuckDBPyConnection, image_sha256: str, model_id: str, policy: AdoptedPolicy
) -> str | None:
    """The record that would settle this image of this model under ``policy``; None where there is none.

    Raises PolicyError.
    """
    rows = connection.execute(
        f"WITH image AS (SELECT $image_sha256 AS image_sha256) {_PAYING}",
        {"image_sha256": image_sha256, **_pins(connection, policy, [model_id])},
    ).fetchall()
    return str(rows[0][2]) if rows else None


def _pins(
    connection: DuckDBPyConnection, policy: AdoptedPolicy, model_ids: Sequence[str]
) -> dict[str, object]:
    splits = splits_by_model(connection, policy, model_ids)
    return {
        "value": policy.split.value,
        "calibration": policy.terms.calibration,
        "manifests": sorted(policy.index_versions.digests(connection)),
        "models": list(splits),
        "policies": [split.digest for split in splits.values()],
    }


def settled_images(
    connection: DuckDBPyConnection, settlement_id: str, revenue_ids: Sequence[str] | None = None
) -> list[LineImage]:
    """The images of the lines a settlement names (of some of them), with the records it names."""
    chosen = None if revenue_ids is None else list(revenue_ids)
    rows = connection.execute(
        """
        SELECT revenue_id, line.image_sha256, coalesce(weight_e6, 1), attribution_id
        FROM settlement_line line LEFT JOIN revenue_image USING (revenue_id, image_sha256)
        WHERE settlement_id = $1 AND ($2::TEXT[] IS NULL OR revenue_id IN (SELECT unnest($2::TEXT[])))
        ORDER BY revenue_id, line.image_sha256
        """,
        [settlement_id, chosen],
    ).fetchall()
    return [LineImage(*row) for row in rows]


def shared_lines(
    connection: DuckDBPyConnection,
    lines: Sequence[RevenueLine],
    images: Sequence[LineImage],
    *,
    model_id: str,
) -> list[Line]:
    """Lines with the records of their images, both sorted by line. model_id: for a line that names none."""
    records = _read_records(connection, images)
    by_line = {line.revenue_id: line for line in lines}
    return [
        Line(
            revenue_id,
            by_line[revenue_id].currency,
            by_line[revenue_id].amount_minor,
            by_line[revenue_id].model_id or model_id,
            [(image.weight, records[image.attribution_id]) for image in earning],
        )
        for revenue_id, earning in groupby(images, key=attrgetter("revenue_id"))
    ]


def _read_records(
    connection: DuckDBPyConnection, images: Sequence[LineImage]
) -> dict[str | None, SharedRecord]:
    wanted = sorted({image.attribution_id for image in images if image.attribution_id is not None})
    artists: dict[str, str] = {}  # one text an artist, not one a share
    shares: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for attribution_id, artist_id, share in _rows(
        connection,
        "SELECT attribution_id, artist_id, share_e12 FROM attribution_share"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[])) ORDER BY attribution_id, artist_id",
        wanted,
    ):
        shares[attribution_id].append((artists.setdefault(artist_id, artist_id), share))
    found: dict[str | None, SharedRecord] = {}
    for attribution_id, model_share, unattributed in _rows(
        connection,
        "SELECT attribution_id, model_share_e12, unattributed_e12 FROM attribution"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[]))",
        wanted,
    ):
        own = tuple(shares.pop(attribution_id, ()))
        found[attribution_id] = SharedRecord(attribution_id, model_share, unattributed, own)
    return found


def _rows(connection: DuckDBPyConnection, query: str, ids: list[str]) -> Iterator[tuple[Any, ...]]:
    """Some rows at a time: a million at once would fill the memory twice."""
    answer = connection.execute(query, [ids])
    while rows := answer.fetchmany(_ROWS_AT_ONCE):
        yield from rows
