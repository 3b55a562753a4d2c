"""What disputes say about shares: which are contested now, and what was decided.

Leaves: a frozen ``Contests`` that settlement follows. The one rule: it knows ids and whole numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contest:
    """An open dispute over one attribution: the shares of ``artist_ids``, and ``unattributed`` too where
    somebody says that it is theirs, are set aside under ``dispute_id``."""

    dispute_id: str
    artist_ids: frozenset[str]
    unattributed: bool


@dataclass(frozen=True)
class Decision:
    """The shares of one attribution as a dispute decided them: whole numbers of 10^-12, which with the
    record's model_share_e12 sum to 10^12."""

    dispute_id: str
    shares_e12: tuple[tuple[str, int], ...]  # (artist_id, share)
    unattributed_e12: int


@dataclass(frozen=True)
class Contests:
    """``standings``: artist_id -> the open dispute over who they are; ``open``, ``decided``: by
    attribution_id."""

    standings: Mapping[str, str] = field(default_factory=dict)
    open: Mapping[str, Contest] = field(default_factory=dict)
    decided: Mapping[str, Decision] = field(default_factory=dict)
