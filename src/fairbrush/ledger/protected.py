"""What is said of a protected row elsewhere in the database, and must agree with what was committed.

Enters: an open database. Leaves: a ``Verification`` of chain, rows and all of this: bodies have their
digests; the columns of an attribution and its shares are those of its body; the images of a revenue line have
the digest it carries; the postings of an entry balance and make its id; a text that is there matches its
commitment. The one rule: text of a JSON column is compared as it is stored, never as it would be written.

Not protected, since they are facts that change or personal data: names, payees' accounts, models and their
rosters, fidelity, paths, evidence and the wording of answers, and when an attribution was recorded (its batch
says when it was committed).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from json.encoder import encode_basestring
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, canonical_json, parse_canonical
from fairbrush.chain.checkpoint import Checkpoint, against_checkpoint
from fairbrush.chain.commitment import commitment
from fairbrush.chain.findings import Altered, Damage
from fairbrush.chain.log import ChainedTable
from fairbrush.chain.rows import stream
from fairbrush.chain.tables import (
    ATTRIBUTIONS,
    AUDIT_PLANS,
    AUDIT_RESULTS,
    BODY_DIGESTS,
    CALIBRATIONS,
    CLAIMS,
    CONSENT_EVENTS,
    DISPUTE_EVENTS,
    ENTRIES,
    PAYOUT_EVENTS,
    POLICIES,
    POSTINGS,
    REDACTIONS,
    REVENUE,
    REVENUE_EVENTS,
    SETTLEMENTS,
)
from fairbrush.chain.verify import DEFAULT_LIMIT, Verification, verify_records
from fairbrush.errors import RecordError
from fairbrush.ledger.book import Line, entry_digest
from fairbrush.ledger.record_rows import attribution_columns, share_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SHARES_A_PART = 100_000
_BODY_COLUMNS = {  # of attribution: what is in the body, by its place in attribution_columns
    0: "image_sha256",
    2: "model_id",
    3: "encoder_id",
    4: "encoder_variant",
    6: "index_manifest_digest",
    7: "eligibility_digest",
    8: "calibration_id",
    9: "policy_digest",
    10: "value_function",
    11: "b",
    12: "w",
    13: "model_share_e12",
    14: "unattributed_e12",
}
# Where a text may have been forgotten on purpose: SQL that tells.
_FORGOTTEN = {
    CONSENT_EVENTS: "artist_id IN (SELECT artist_id FROM redaction_event)",
    REDACTIONS: "false",
    REVENUE_EVENTS: "false",
    PAYOUT_EVENTS: "payout_id IN"
    " (SELECT payout_id FROM payout JOIN payee USING (payee_id) WHERE name IS NULL)",
    CLAIMS: "artist_id IN (SELECT artist_id FROM redaction_event)",
    SETTLEMENTS: "false",
    DISPUTE_EVENTS: "creator_id IN (SELECT creator_id FROM creator WHERE name IS NULL)"
    " OR subject_id IN (SELECT artist_id FROM redaction_event)",
}
# Where it may have been, since an erasure takes whatever names the person: what is older than one. When a
# payee was erased is not known.
_NAMED_SOMEBODY = (
    "recorded_at <= (SELECT max(erased_at) FROM redaction_event)"
    " OR EXISTS (SELECT 1 FROM payee WHERE name IS NULL)"
)


def verify_ledger(
    connection: DuckDBPyConnection, *, limit: int = DEFAULT_LIMIT, checkpoints: Sequence[Checkpoint] = ()
) -> Verification:
    """Verify all there is: the chain, its rows, what is said of them elsewhere, and that the chain is one
    that these checkpoints saw. What they find comes first.

    checkpoints: their signatures were checked. Raises ChainError where records have no chain, and there is
    no checkpoint of one.
    """
    checks = (_check_bodies, _check_attributions, _check_images, _check_entries, _check_texts)
    at = {checkpoint.batches for checkpoint in checkpoints}
    found = verify_records(connection, checks=checks, limit=limit, at=at)
    against = [
        finding
        for checkpoint in checkpoints
        if (finding := against_checkpoint(checkpoint, end=found.end, seen=found.seen.get(checkpoint.batches)))
    ]
    return replace(
        found,
        count=found.count + len(against),
        findings=(*against, *found.findings)[: max(limit, len(against))],
    )


def _check_bodies(connection: DuckDBPyConnection, altered: Altered, notes: list[str]) -> None:
    for table in (POLICIES, SETTLEMENTS, DISPUTE_EVENTS, CALIBRATIONS, AUDIT_PLANS, AUDIT_RESULTS):
        (key,) = table.key
        rows = stream(
            connection, f"SELECT {key}, body::VARCHAR, {BODY_DIGESTS[table.kind]} FROM {table.table}"
        )
        for named, body, digest in rows:
            if _sha256(body) != digest:
                altered.add(table.kind, str(named), "its body has not the digest that was committed")


def _check_attributions(connection: DuckDBPyConnection, altered: Altered, notes: list[str]) -> None:
    shares = connection.execute("SELECT count(*) FROM attribution_share").fetchall()[0][0]
    parts = 1 + shares // _SHARES_A_PART
    for part in range(parts):
        of_part = f"WHERE hash(attribution_id) % {parts} = {part}" if parts > 1 else ""
        _check_part(connection, altered, of_part)


def _check_part(connection: DuckDBPyConnection, altered: Altered, of_part: str) -> None:
    stored: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in stream(
        connection,
        "SELECT attribution_id, artist_id, creator_id, payee_id, share_e12, phi, similarity, z, rank"
        f" FROM attribution_share {of_part} ORDER BY attribution_id, rank",
    ):
        stored[row[0]].append(row)
    columns = ", ".join(_BODY_COLUMNS.values())
    for attribution_id, digest, body, *values in stream(
        connection, f"SELECT attribution_id, body_digest, body::VARCHAR, {columns} FROM attribution {of_part}"
    ):
        shares = stored.pop(attribution_id, [])
        if problem := _attribution_problem(attribution_id, digest, body, values, shares):
            altered.add(ATTRIBUTIONS.kind, attribution_id, problem)
    for attribution_id in stored:
        altered.add(ATTRIBUTIONS.kind, attribution_id, "shares of no record", what=Damage.INSERTED)


def _attribution_problem(
    attribution_id: str, digest: str, body: str | None, values: list[Any], shares: list[tuple[Any, ...]]
) -> str | None:
    if body is None or _sha256(body) != digest:
        return "its body has not the digest that was committed"
    try:
        told = parse_canonical(body)
        if canonical_json(told) != body.encode():
            return "its body is not canonical JSON"
        if canonical_digest(told["identity"]) != attribution_id:
            return "its id is not the digest of what was asked"
        columns = attribution_columns(told, {})
        expected = [
            share_columns(attribution_id, rank, share) for rank, share in enumerate(told["shares"], start=1)
        ]
    except (RecordError, KeyError, TypeError, ValueError, AttributeError):
        return "its body is not that of a record"
    for (place, name), value in zip(_BODY_COLUMNS.items(), values, strict=True):
        if columns[place] != value:
            return f"{name} is not what its body says"
    if expected != shares:
        return "its shares are not those of its body"
    return None


def _check_images(connection: DuckDBPyConnection, altered: Altered, notes: list[str]) -> None:
    """``images_digest`` of every line that is spread, and no image of any other."""
    rows = stream(
        connection,
        "SELECT coalesce(r.revenue_id, i.revenue_id), r.revenue_id IS NOT NULL, r.images_digest,"
        " i.image_sha256, i.weight_e6 FROM revenue r FULL JOIN revenue_image i USING (revenue_id)"
        " WHERE r.images_digest IS NOT NULL OR i.revenue_id IS NOT NULL ORDER BY 1, 4, 5",
    )
    for (revenue_id, is_line, digest), images in groupby(rows, key=itemgetter(0, 1, 2)):
        found = _images_digest((image, weight) for *_, image, weight in images if image is not None)
        if not is_line:
            altered.add(REVENUE.kind, revenue_id, "images of no revenue line", what=Damage.INSERTED)
        elif found != digest:
            altered.add(REVENUE.kind, revenue_id, "its images are not those that it was spread over")


def _images_digest(images: Iterator[tuple[str, int]]) -> str:
    """The canonical digest of ``[[image_sha256, weight_e6], ...]``; images sorted, however many."""
    hashed = hashlib.sha256(b"[")
    for place, (image, weight) in enumerate(images):
        hashed.update(f"{',' if place else ''}[{encode_basestring(image)},{weight}]".encode())
    hashed.update(b"]")
    return hashed.hexdigest()


def _check_entries(connection: DuckDBPyConnection, altered: Altered, notes: list[str]) -> None:
    rows = stream(
        connection,
        "SELECT e.number, e.entry_id, e.kind, e.reference, e.policy_digest, p.line, p.account, p.holder,"
        " p.subject, p.currency, p.amount_minor, p.policy_digest FROM entry e"
        " LEFT JOIN posting p ON p.entry_number = e.number ORDER BY e.number, p.line",
    )
    # a posting that is wrong in itself is named by itself
    known = {key.partition("/")[0] for key in altered.keys(POSTINGS.kind)}
    for entry, found in groupby(rows, key=itemgetter(slice(0, 5))):
        number, entry_id, kind, reference, policy_digest = entry
        if str(number) in known:
            continue
        postings = [row[5:] for row in found if row[5] is not None]
        if problem := _entry_problem(entry_id, kind, reference, policy_digest, postings):
            altered.add(ENTRIES.kind, str(number), problem)


def _entry_problem(
    entry_id: str, kind: str, reference: str, policy_digest: str, postings: list[tuple[Any, ...]]
) -> str | None:
    lines: list[Line] = [
        (account, holder, subject, code, amount) for _, account, holder, subject, code, amount, _ in postings
    ]
    sums: dict[str, int] = defaultdict(int)
    for *_, currency, amount in lines:
        sums[currency] += amount
    if any(sums.values()):
        return "its postings do not sum to nought"
    if not lines or [posting[0] for posting in postings] != list(range(1, len(postings) + 1)):
        return "its postings are not numbered from 1 without a gap"
    if any(posting[-1] != policy_digest for posting in postings):
        return "its postings are of another policy"
    if entry_digest(kind, reference, policy_digest, lines) != entry_id:
        return "its postings are not those that it was committed with"
    return None


def _check_texts(connection: DuckDBPyConnection, altered: Altered, notes: list[str]) -> None:
    for table, is_forgotten in _FORGOTTEN.items():
        _check_text(connection, altered, table)
        may_be = "false" if table is REDACTIONS else _NAMED_SOMEBODY
        gone = connection.execute(
            f"SELECT coalesce({may_be}, false) AS may_be, count(*), min({table.key[0]}) FROM {table.table}"
            " WHERE reason IS NULL AND reason_commitment IS NOT NULL"
            f" AND NOT coalesce({is_forgotten}, false) GROUP BY may_be ORDER BY may_be"
        ).fetchall()
        for is_explained, count, first in gone:
            why = "an erasure takes those that name somebody" if is_explained else "no erasure explains it"
            notes.append(
                f"The reason of {count} {table.kind} record{'s' if count > 1 else ''} is gone, first that of"
                f" {table.kind}:{first}, and {why}."
            )


def _check_text(connection: DuckDBPyConnection, altered: Altered, table: ChainedTable) -> None:
    rows = stream(
        connection,
        f"SELECT {table.key[0]}, reason, reason_salt, reason_commitment FROM {table.table}"
        " WHERE reason IS NOT NULL OR reason_salt IS NOT NULL",
    )
    for key, reason, salt, committed in rows:
        if not _matches(reason, salt, committed):
            altered.add(table.kind, str(key), "its reason is not the one that was committed to")


def _matches(reason: str | None, salt: str | None, committed: str | None) -> bool:
    if reason is None:  # a text that was forgotten without its salt
        return committed is not None
    try:
        return salt is not None and commitment(reason, salt) == committed
    except ValueError:  # no hexadecimal salt
        return False


def _sha256(text: str | None) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()
