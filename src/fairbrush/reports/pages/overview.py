"""The overview of a platform: what is asked, what is earned, how good it is, what needs attention.

Enters: an open store, a period. Leaves: an ``Overview``, and from it a document and a page. The one rule:
look-ups count by the day (UTC) they were recorded, money by the last day it was earned on; who is registered,
where the money is, the index and what is open are as they are now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fairbrush.corpus.consent import effective_consents
from fairbrush.ledger.period import Period
from fairbrush.plain import plain
from fairbrush.reports.pages.overview_matters import Matter, find_matters
from fairbrush.reports.pages.overview_money import (
    Flow,
    Ranking,
    Revenue,
    Standing,
    read_flows,
    read_rankings,
    read_revenue,
    read_standings,
)
from fairbrush.reports.pages.overview_quality import (
    AuditFigure,
    People,
    Quality,
    Quarrels,
    read_people,
    read_quality,
    read_quarrels,
)
from fairbrush.reports.pages.overview_styles import NoStyles, Styles, read_styles
from fairbrush.reports.pages.overview_volumes import (
    Gap,
    Volumes,
    read_gaps,
    read_settled_gaps,
    read_volumes,
)
from fairbrush.store import as_utc

if TYPE_CHECKING:
    from fairbrush.store import Store

SCHEMA = "fairbrush.overview/1"
# what a figure is told by that is computed from its fields
_DERIVED = {
    Volumes: ("unattributed_share",),
    Flow: ("settled_minor",),
    Revenue: ("received_minor",),
    Ranking: ("first_part",),
    Quality: ("distinct",),
    People: ("artists",),
}


@dataclass(frozen=True, eq=False)
class Overview:
    """``now``: UTC without a zone. ``period``: None for all there is. ``settled_gaps``, ``flows``,
    ``standings``: by currency."""

    now: datetime
    period: Period | None
    volumes: Volumes
    gaps: tuple[Gap, ...]
    settled_gaps: Mapping[str, list[Gap]]
    revenue: tuple[Revenue, ...]
    flows: Mapping[str, Flow]
    standings: Mapping[str, Standing]
    rankings: tuple[Ranking, ...]
    quality: Quality
    people: People
    quarrels: Quarrels
    styles: Styles | NoStyles
    matters: tuple[Matter, ...]


def read_overview(
    store: Store, period: Period | None = None, *, now: datetime, audits: tuple[AuditFigure, ...] = ()
) -> Overview:
    """All of it, from an open store and its workspace's index. Raises MoneyError, DisputeError, PolicyError
    where what is recorded was altered."""
    moment, connection = as_utc(now), store.connection
    names = dict(connection.execute("SELECT artist_id, name FROM artist").fetchall())
    styles = read_styles(store.workspace, names, effective_consents(connection, now=moment))
    digest = styles.manifest_digest if isinstance(styles, Styles) else None
    quality = read_quality(store, period, manifest_digest=digest, audits=audits)
    quarrels = read_quarrels(connection)
    standings, proposal = read_standings(store, now=moment)
    matters = find_matters(
        connection,
        now=moment,
        quality=quality,
        quarrels=quarrels,
        revenue=read_revenue(connection, None),
        proposal=proposal,
        styles=styles,
    )
    return Overview(
        moment,
        period,
        read_volumes(connection, period),
        tuple(read_gaps(connection, period)),
        read_settled_gaps(connection, period),
        tuple(read_revenue(connection, period)),
        read_flows(connection, period),
        standings,
        tuple(read_rankings(connection, period)),
        quality,
        read_people(connection, now=moment),
        quarrels,
        styles,
        tuple(matters),
    )


def overview_document(overview: Overview) -> dict[str, Any]:
    """For ``--json``: amounts in minor units, what ends in e12 in 10^-12, else fractions; times in UTC."""
    document = {"schema": SCHEMA, **plain(overview, _DERIVED)}
    styles = document["styles"]
    for name in ("canvas", "indexed_works", "manifest_digest"):  # of the page alone
        styles.pop(name, None)
    return document
