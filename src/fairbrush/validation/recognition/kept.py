"""What was measured of artists, kept; and who of all of them is told at a stated error level.

Enters: a ``Survey``. Leaves: rows in ``recognition``, a figure an artist in ``fidelity``, and ``Verdicts``.
The rules: a row of ``recognition`` is never changed; who is told is decided anew whenever somebody is added,
over all artists that were measured of one model under one protocol by one encoder, since an error level is
about all of them; a figure that somebody else stated, or another protocol, stays until its artist is
measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.corpus.fidelity import E6, read_fidelity, record_fidelity
from fairbrush.store import insert_rows, utc_now
from fairbrush.validation.keeping import keeping
from fairbrush.validation.recognition.lifts import adjusted_p_values, fewest_told

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.config import Settings
    from fairbrush.store import Store
    from fairbrush.validation.recognition.recognition import Recognition
    from fairbrush.validation.recognition.recognize import Survey

_SHOWN_ID = 16


@dataclass(frozen=True)
class Verdict:
    """What is said of one artist. ``adjusted``: the smallest error level at which the style is told;
    ``fidelity``: None where it is undefined; ``nulls``: styles it was ranked among."""

    recognition_id: str
    model_id: str
    artist_id: str
    fidelity: float | None
    p_value: float
    nulls: int
    adjusted: float
    is_reproducible: bool


@dataclass(frozen=True)
class Verdicts:
    """Of all artists of one model and protocol, by artist id. ``new``: measurements that were not kept
    before; ``other_protocols``: under which the model was measured too; ``fewest``: how many must rank first
    for any to be told."""

    level: float
    by_artist: Mapping[str, Verdict]
    new: int
    other_protocols: int

    @property
    def fewest(self) -> int:
        nulls = max((one.nulls for one in self.by_artist.values()), default=0)
        return fewest_told(nulls, len(self.by_artist), self.level)


def keep_survey(settings: Settings, survey: Survey, *, level: float) -> Verdicts:
    """Keep what was measured, and decide. Raises DatabaseBusyError, StoreError; keeps all or nothing."""
    with keeping(settings, else_="What was measured is not recorded.") as store:
        return keep(store, survey, level=level, now=utc_now())


def keep(store: Store, survey: Survey, *, level: float, now: datetime) -> Verdicts:
    with store.transaction() as connection:
        there = _known_artists(connection)  # whoever was erased meanwhile is not
        measured = [one for one in survey.measured if one.artist_id in there]
        new = [one for one in measured if not _is_kept(connection, one.recognition_id)]
        insert_rows(connection, "recognition", [_row(survey, one, now) for one in new])
        family = _family(connection, survey)
        verdicts = _decide(_latest(family, measured), level)
        ours = {_named(row[0]) for row in family}
        _state(store, verdicts, measured, ours, level=level, now=now)
        others = _other_protocols(connection, survey)
    return Verdicts(level, verdicts, len(new), others)


def _known_artists(connection: DuckDBPyConnection) -> set[str]:
    return {
        one for (one,) in connection.execute("SELECT artist_id FROM artist WHERE name IS NOT NULL").fetchall()
    }


def _is_kept(connection: DuckDBPyConnection, recognition_id: str) -> bool:
    found = connection.execute("SELECT 1 FROM recognition WHERE recognition_id = ?", [recognition_id])
    return bool(found.fetchall())


def _family(connection: DuckDBPyConnection, survey: Survey) -> list[tuple[Any, ...]]:
    """All that can be compared, in the order it was recorded."""
    return connection.execute(
        """
        SELECT recognition_id, model_id, artist_id, fidelity, p_value, nulls FROM recognition
        WHERE model_digest = ? AND encoder_id = ? AND space_id = ? AND protocol = ?
        ORDER BY recorded_at, recognition_id
        """,
        [survey.model_digest, survey.encoder_id, survey.space_id, survey.protocol_id],
    ).fetchall()


def _latest(family: Sequence[tuple[Any, ...]], measured: Sequence[Recognition]) -> list[tuple[Any, ...]]:
    """One row an artist: this run's, else the latest."""
    latest = {row[2]: row for row in family}
    now = {one.recognition_id for one in measured}
    latest |= {row[2]: row for row in family if row[0] in now}
    return list(latest.values())


def _other_protocols(connection: DuckDBPyConnection, survey: Survey) -> int:
    [(found,)] = connection.execute(
        "SELECT count(DISTINCT protocol) FROM recognition WHERE model_digest = ? AND protocol <> ?",
        [survey.model_digest, survey.protocol_id],
    ).fetchall()
    return int(found)


def _decide(family: Sequence[tuple[Any, ...]], level: float) -> dict[str, Verdict]:
    """An undefined fidelity counts as a p-value of 1: who cannot be told apart cannot be recognised."""
    adjusted = adjusted_p_values([1.0 if row[3] is None else row[4] for row in family]).tolist()
    verdicts = {}
    for row, value in zip(family, adjusted, strict=True):
        recognition_id, model_id, artist_id, fidelity, p_value, nulls = row
        told = fidelity is not None and value <= level
        verdicts[artist_id] = Verdict(
            recognition_id, model_id, artist_id, fidelity, p_value, nulls, value, told
        )
    return verdicts


def _state(
    store: Store,
    verdicts: Mapping[str, Verdict],
    measured: Sequence[Recognition],
    ours: Set[str],
    *,
    level: float,
    now: datetime,
) -> None:
    """Write each figure where policies look for it. ``ours``: how sources that may be replaced start."""
    known = read_fidelity(store.connection)
    just_now = {one.artist_id for one in measured}
    for one in verdicts.values():
        stated = known.get((one.model_id, one.artist_id))
        is_free = stated is None or stated.model_id != one.model_id or stated.source.split(":")[0] in ours
        if one.artist_id not in just_now and not is_free:
            continue
        record_fidelity(
            store,
            one.model_id,
            one.artist_id,
            fidelity_e6=round((one.fidelity or 0.0) * E6),
            is_reproducible=one.is_reproducible,
            source=_source(one, level=level, tested=len(verdicts)),
            now=now,
        )


def _named(recognition_id: str) -> str:
    return f"recognition {recognition_id[:_SHOWN_ID]}"


def _source(one: Verdict, *, level: float, tested: int) -> str:
    undefined = "; fidelity is undefined" if one.fidelity is None else ""
    return (
        f"{_named(one.recognition_id)}: p = {one.p_value:.4g} among {one.nulls} other styles,"
        f" decided at a false discovery rate of {level:g} over {tested} artists{undefined}"
    )


def _row(survey: Survey, one: Recognition, now: datetime) -> tuple[Any, ...]:
    fidelity, body = one.figures.fidelity, one.body
    return (
        one.recognition_id,
        survey.model_id,
        survey.model_digest,
        one.artist_id,
        survey.encoder_id,
        survey.space_id,
        survey.protocol_id,
        one.identity["index_manifest_digest"],
        len(one.cosines.before),
        one.images,
        fidelity.value,
        fidelity.low,
        fidelity.high,
        fidelity.raw,
        one.figures.p_value,
        len(one.cosines.nulls),
        now,
        canonical_json(body).decode(),
        canonical_digest(body),
    )
