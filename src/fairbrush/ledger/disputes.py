"""Disputes: a creator contests an attribution or a standing; the decision is an event with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairbrush.ledger.contests import Contests

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def read_contests(connection: DuckDBPyConnection) -> Contests:
    """What is contested and what was decided, now."""
    return Contests()
