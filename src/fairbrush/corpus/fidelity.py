"""Fidelity: how exactly a generating model can reproduce an artist's style, as somebody measured it.

The one rule: a figure is a fact with a source, replaced by a newer one; a fine-tune inherits its base's
figures, its own override.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.errors import RegistryError
from fairbrush.store import Store, as_utc

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

E6 = 10**6


@dataclass(frozen=True)
class Fidelity:
    """What is known of one model and one artist. ``model_id`` says whose figure it is: an inherited one is
    the base's. ``recorded_at``: UTC without a zone."""

    model_id: str
    artist_id: str
    fidelity_e6: int
    is_reproducible: bool
    source: str
    recorded_at: datetime

    @property
    def fraction(self) -> Fraction:
        """From 0, nothing of the style is reproduced, to 1."""
        return Fraction(self.fidelity_e6, E6)


def record_fidelity(
    store: Store,
    model_id: str,
    artist_id: str,
    *,
    fidelity_e6: int,
    is_reproducible: bool,
    source: str,
    now: datetime,
) -> Fidelity:
    """Keep a figure in place of an earlier one. Raises RegistryError for a model or an artist that is not
    registered, an erased artist, or a figure without a source."""
    assert 0 <= fidelity_e6 <= E6, f"a fidelity of {fidelity_e6} millionths"
    if not source.strip():
        raise RegistryError(
            "It is not said how the figure was measured.", next_step='Say it: --source "...".'
        )
    kept = Fidelity(model_id, artist_id, fidelity_e6, is_reproducible, source.strip(), as_utc(now))
    with store.transaction() as connection:
        _check_known(connection, model_id, artist_id)
        connection.execute(
            "INSERT OR REPLACE INTO fidelity VALUES (?, ?, ?, ?, ?, ?)",
            [model_id, artist_id, fidelity_e6, is_reproducible, kept.source, kept.recorded_at],
        )
    return kept


def parse_fidelity(text: str) -> int:
    """A number from 0 to 1 in millionths. Raises RegistryError.

    >>> parse_fidelity("0.85")
    850000
    """
    try:
        millionths = Decimal(text) * E6
    except InvalidOperation:
        millionths = Decimal("NaN")
    if not millionths.is_finite() or not 0 <= millionths <= E6 or millionths != int(millionths):
        raise RegistryError(
            f"A fidelity is a number from 0 to 1 with at most 6 decimals, not {text!r}.",
            next_step="Write 0.85 for 85 %.",
        )
    return int(millionths)


def read_fidelity(connection: DuckDBPyConnection) -> dict[tuple[str, str], Fidelity]:
    """What is known, own or inherited, by (model_id, artist_id)."""
    rows = connection.execute(
        """
        WITH RECURSIVE ancestry AS (
            SELECT model_id, model_id AS ancestor, 0 AS distance FROM model
            UNION ALL
            SELECT ancestry.model_id, model.base_model_id, distance + 1
            FROM ancestry JOIN model ON model.model_id = ancestry.ancestor
            WHERE model.base_model_id IS NOT NULL AND distance < (SELECT count(*) FROM model)
        )
        SELECT ancestry.model_id, fidelity.* FROM ancestry JOIN fidelity ON fidelity.model_id = ancestor
        QUALIFY row_number() OVER (PARTITION BY ancestry.model_id, artist_id ORDER BY distance) = 1
        ORDER BY ancestry.model_id, artist_id
        """
    ).fetchall()
    return {(model_id, row[1]): Fidelity(*row) for model_id, *row in rows}


def _check_known(connection: DuckDBPyConnection, model_id: str, artist_id: str) -> None:
    if not connection.execute("SELECT 1 FROM model WHERE model_id = ?", [model_id]).fetchall():
        raise RegistryError(
            f"No model is called {model_id!r}.", next_step="fairbrush model list shows them all."
        )
    rows = connection.execute("SELECT name FROM artist WHERE artist_id = ?", [artist_id]).fetchall()
    if not rows or rows[0][0] is None:
        state = "erased" if rows else "not registered"
        raise RegistryError(
            f"The artist {artist_id} is {state}.", next_step="fairbrush artist list shows them all."
        )
