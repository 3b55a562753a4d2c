"""Policies as they were adopted: versioned, in effect from a day on, never changed.

Enters: the ``[policy]`` table of fairbrush.toml, and a day. Leaves: ``AdoptedPolicy``s. The one rule: what
is in effect on a day is the adopted one with the latest ``effective_from`` not after it, the later version
where two begin on one day; all of it, and the index version it pins, is in the digest that postings carry.
Calibrations are adopted by their whole ids, of what the database holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, parse_canonical
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import POLICIES
from fairbrush.domain import Value
from fairbrush.errors import CalibrationError, FairbrushError, PolicyError
from fairbrush.ledger.currency import format_amount
from fairbrush.ledger.policy import Policy, read_policy
from fairbrush.ledger.terms import Rule, Terms, Unattributed, Withheld, read_terms
from fairbrush.store import Store, as_utc, next_sequence
from fairbrush.style.kept_calibrations import kept_calibration

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.style.calibration import Calibration

POLICY_SCHEMA = "fairbrush.adopted_policy/1"
NO_POLICY = "0" * 64  # stands for a policy's digest where none is in effect
_INDEX = re.compile(r"(?:(?P<space_id>[0-9a-f]+)/)?(?P<version>v\d{4,})")


@dataclass(frozen=True)
class Pins:
    """The index version whose records pay. An erasure rewrites a version under another manifest digest:
    every digest it ever had is meant.

    >>> str(Pins("0123456789abcdef", "v0007"))
    '0123456789abcdef/v0007'
    """

    space_id: str
    version: str

    def __str__(self) -> str:
        return f"{self.space_id}/{self.version}"

    def digests(self, connection: DuckDBPyConnection) -> frozenset[str]:
        """The manifest digests of this version; empty where the database does not know it."""
        rows = connection.execute(
            "SELECT manifest_digest FROM index_version WHERE space_id = ? AND version = ?",
            [self.space_id, self.version],
        ).fetchall()
        return frozenset(digest for (digest,) in rows)


@dataclass(frozen=True)
class Comparison:
    """``file``: what fairbrush.toml says, as ``policy_table``; ``differing``: the names of which it says
    otherwise than what is in effect; empty where nothing is."""

    file: Mapping[str, Any]
    in_effect: AdoptedPolicy | None
    differing: tuple[str, ...]


@dataclass(frozen=True)
class AdoptedPolicy:
    """``terms.index`` names the pinned version in full. ``digest``: SHA-256 of ``body``."""

    version: int
    effective_from: date
    split: Policy
    terms: Terms
    index_versions: Pins
    digest: str

    @property
    def body(self) -> dict[str, Any]:
        """All of it but the digest, for canonical JSON: fractions as ``n/d``, amounts in minor units."""
        return {
            "schema": POLICY_SCHEMA,
            "version": self.version,
            "effective_from": self.effective_from.isoformat(),
            "split": {field.name: getattr(self.split, field.name) for field in fields(Policy)},
            "terms": {name: _plain(getattr(self.terms, name)) for name in _BODY_TERMS},
            "index": {"space_id": self.index_versions.space_id, "version": self.index_versions.version},
        }


# the index is pinned beside the terms
_BODY_TERMS = tuple(field.name for field in fields(Terms) if field.name != "index")


def adopt(
    store: Store,
    table: Mapping[str, Any],
    *,
    effective_from: date,
    now: datetime,
    current: Pins | None = None,
) -> AdoptedPolicy:
    """Adopt a ``[policy]`` table from a day on. The same again for the same day changes nothing: the version
    there is comes back.

    current: the index version to pin where the table names none. Raises PolicyError for what cannot be
    read, a model that is not registered, an index version or a calibration the database does not know, or a
    calibration under which no look-up in that index could be made.
    """
    split, terms = read_policy(table), read_terms(table)
    with store.transaction() as connection:
        _check_models(connection, split, terms)
        pins = _pinned(connection, terms.index, current)
        split, terms = _with_calibrations(connection, split, terms)
        _check_calibrations(connection, split, terms, pins)
        adopted = _sealed(
            next_sequence(connection, "policy", column="version"),
            effective_from,
            split,
            replace(terms, index=str(pins)),
            pins,
        )
        same_day = [one for one in adopted_policies(connection) if one.effective_from == effective_from]
        if same_day and same_day[-1].body == {**adopted.body, "version": same_day[-1].version}:
            return same_day[-1]
        body = canonical_json(adopted.body).decode()
        row = (adopted.version, adopted.digest, effective_from, body, as_utc(now))
        insert_chained(connection, POLICIES, [row], now=as_utc(now))
    return adopted


def adopted_policies(connection: DuckDBPyConnection) -> list[AdoptedPolicy]:
    """Every one, by version. Raises PolicyError where one is not what was adopted."""
    rows = connection.execute(
        "SELECT version, policy_digest, effective_from, body::TEXT FROM policy ORDER BY version"
    ).fetchall()
    return [_read(*row) for row in rows]


def policy_on(connection: DuckDBPyConnection, day: date) -> AdoptedPolicy:
    """What is in effect on a day. Raises PolicyError where nothing is."""
    begun = [one for one in adopted_policies(connection) if one.effective_from <= day]
    if not begun:
        raise PolicyError(
            f"No policy is in effect on {day}.", next_step=f"Adopt one: fairbrush policy adopt --from {day}"
        )
    return max(begun, key=lambda one: (one.effective_from, one.version))


def acting_digest(connection: DuckDBPyConnection, day: date) -> str:
    """The digest of what is in effect on a day, ``NO_POLICY`` where nothing is."""
    rows = connection.execute(
        "SELECT policy_digest FROM policy WHERE effective_from <= ?"
        " ORDER BY effective_from DESC, version DESC LIMIT 1",
        [day],
    ).fetchall()
    return str(rows[0][0]) if rows else NO_POLICY


def compare(
    connection: DuckDBPyConnection, table: Mapping[str, Any], *, day: date, current: Pins | None = None
) -> Comparison:
    """What a ``[policy]`` table says beside what is in effect on a day. Raises PolicyError.

    current: the index version that is meant where the table names none; None where there is none yet.
    """
    split, terms = read_policy(table), read_terms(table)
    if terms.index is not None or current is not None:
        terms = replace(terms, index=str(_pinned(connection, terms.index, current)))
    split, terms = _with_calibrations(connection, split, terms)
    file = policy_table(split, terms)
    if acting_digest(connection, day) == NO_POLICY:
        return Comparison(file, None, ())
    in_effect = policy_on(connection, day)
    theirs = policy_table(in_effect.split, in_effect.terms)
    return Comparison(file, in_effect, tuple(name for name in theirs if theirs[name] != file[name]))


def splits_by_model(
    connection: DuckDBPyConnection, policy: AdoptedPolicy, model_ids: Collection[str]
) -> dict[str, Policy]:
    """The split of each model's images, b a number; without the models of which no b was measured.

    Raises PolicyError where the calibration of b is not what was kept.
    """
    named = policy.split.calibrated_by
    if named is None:
        return dict.fromkeys(model_ids, policy.split)
    calibration = _kept(connection, "b", named)
    measured = [m for m in model_ids if m in calibration.models and calibration.models[m].b is not None]
    return {model_id: policy.split.resolved(calibration, model_id) for model_id in measured}


def policy_table(split: Policy, terms: Terms) -> dict[str, Any]:
    """The ``[policy]`` table that says all of this; numbers as decimal text, None for what is left open."""
    written = {field.name: _written(getattr(terms, field.name)) for field in fields(Terms)}
    amounts = {code: format_amount(minor, code) for code, minor in terms.minimum_payout.items()}
    return {field.name: getattr(split, field.name) for field in fields(Policy)} | {
        **written,
        "minimum_payout": amounts,
    }


def _written(value: Any) -> Any:
    """A term as fairbrush.toml has it."""
    if isinstance(value, Fraction):
        return format((Decimal(value.numerator) / value.denominator).normalize(), "f")
    if isinstance(value, Mapping):
        return {key: _written(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, StrEnum) else value


def _check_models(connection: DuckDBPyConnection, split: Policy, terms: Terms) -> None:
    known = {model_id for (model_id,) in connection.execute("SELECT model_id FROM model").fetchall()}
    named = {"model": split.model} | {
        f"fine_tune_weights.{model}": model for model in terms.fine_tune_weights
    }
    for name, model_id in named.items():
        if model_id not in known:
            raise PolicyError(
                f"[policy] {name}: no model {model_id!r} is registered.",
                next_step="Register it: fairbrush model add; fairbrush model list shows them all.",
            )


def _kept(connection: DuckDBPyConnection, name: str, calibration: str) -> Calibration:
    try:
        return kept_calibration(connection, calibration)
    except CalibrationError as error:
        raise PolicyError(f"[policy] {name}: {error.message}", next_step=error.next_step) from error


def _with_calibrations(connection: DuckDBPyConnection, split: Policy, terms: Terms) -> tuple[Policy, Terms]:
    """The same, with calibrations by their whole ids. Raises PolicyError where there is none such."""
    if split.calibrated_by is not None:
        split = split.naming(_kept(connection, "b", split.calibrated_by).calibration_id)
    if terms.calibration is not None:
        kept = _kept(connection, "calibration", terms.calibration)
        terms = replace(terms, calibration=kept.calibration_id)
    return split, terms


def _check_calibrations(connection: DuckDBPyConnection, split: Policy, terms: Terms, pins: Pins) -> None:
    """That look-ups can be made under them, in the pinned index and for the policy's model."""
    rows = connection.execute(
        "SELECT DISTINCT encoder_id FROM index_version WHERE space_id = ? AND version = ?",
        [pins.space_id, pins.version],
    ).fetchall()
    encoder_id = rows[0][0]
    named = "b"
    try:
        if split.calibrated_by is not None:
            calibration = kept_calibration(connection, split.calibrated_by)
            calibration.require_encoder(encoder_id)
            calibration.content_part(split.model)
        named = "calibration"
        if terms.calibration is not None:
            calibration = kept_calibration(connection, terms.calibration)
            calibration.require(encoder_id=encoder_id, space_id=pins.space_id, value=Value(split.value))
            calibration.part_of(split.model)
    except CalibrationError as error:
        raise PolicyError(
            f"[policy] {named}: {error.message}",
            next_step="Adopt one that fits this index and model; fairbrush calibration list shows them all.",
        ) from error


def _pinned(connection: DuckDBPyConnection, index: str | None, current: Pins | None) -> Pins:
    if index is None:
        if current is None:
            raise PolicyError(
                "There is no index version to pin.", next_step="Build one: fairbrush index build"
            )
        if not current.digests(connection):
            raise PolicyError(
                f"The current index version {current} is not in the database.",
                next_step="Build it again: fairbrush index build",
            )
        return current
    named = _INDEX.fullmatch(index)
    rows = connection.execute(
        "SELECT DISTINCT space_id, version FROM index_version WHERE version = ?"
        " AND (?::TEXT IS NULL OR space_id = ?) ORDER BY ALL",
        [named["version"] if named else None, *([named["space_id"] if named else None] * 2)],
    ).fetchall()
    found = [Pins(*row) for row in rows]
    if not found:
        raise PolicyError(
            f"[policy] index = {index!r}: there is no such index version.",
            next_step='fairbrush index list shows them; write one as index = "v0001".',
        )
    if len(found) > 1:
        raise PolicyError(
            f"[policy] index = {index!r} names {len(found)} index versions.",
            next_step=f"Write one of {', '.join(map(str, found))}.",
        )
    return found[0]


def _sealed(version: int, effective_from: date, split: Policy, terms: Terms, pins: Pins) -> AdoptedPolicy:
    unsealed = AdoptedPolicy(version, effective_from, split, terms, pins, digest="")
    return replace(unsealed, digest=canonical_digest(unsealed.body))


def _plain(value: Any) -> Any:
    """A term as canonical JSON has it."""
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, StrEnum) else value


def _read(version: int, digest: str, effective_from: date, text: str) -> AdoptedPolicy:
    """Raises PolicyError where the body is not the one that was adopted."""
    try:
        body = parse_canonical(text)
        pins = Pins(**body["index"])
        terms = _terms(body["terms"], index=str(pins))
        adopted = _sealed(version, effective_from, Policy(**body["split"]), terms, pins)
    except (FairbrushError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _altered(version) from error
    if adopted.digest != digest or canonical_json(adopted.body).decode() != text:
        raise _altered(version)
    return adopted


def _terms(body: Mapping[str, Any], *, index: str) -> Terms:
    weights = {model: Fraction(weight) for model, weight in body["fine_tune_weights"].items()}
    return Terms(
        platform_fee=Fraction(body["platform_fee"]),
        unattributed=Unattributed(body["unattributed"]),
        minimum_claim=Fraction(body["minimum_claim"]),
        minimum_payout=dict(body["minimum_payout"]),
        membership=Rule(body["membership"]),
        membership_unknown=Fraction(body["membership_unknown"]),
        reproducibility=Rule(body["reproducibility"]),
        unclaimed=Withheld(body["unclaimed"]),
        opted_out=Withheld(body["opted_out"]),
        fine_tune_weight=Fraction(body["fine_tune_weight"]),
        fine_tune_weights=weights,
        index=index,
        calibration=body["calibration"],
    )


def _altered(version: int) -> PolicyError:
    return PolicyError(
        f"Policy {version} in the database is not the one that was adopted.",
        next_step="See what was altered: fairbrush ledger verify",
    )
