"""Which tables are protected, and what of their rows is hashed.

The one rule: every column is hashed but those that hold what may have to be forgotten: a text and its salt
beside their commitment, a path, a place on disk. A table that keeps canonical JSON is hashed by that body's
digest; that its other columns say the same is checked by ``fairbrush ledger verify``.
"""

from __future__ import annotations

from fairbrush.chain.log import ChainedTable

ATTRIBUTIONS = ChainedTable(
    kind="attribution",
    table="attribution",
    key=("attribution_id",),
    hashed=("attribution_id", "body_digest", "recorded_at"),
)
CONSENT_EVENTS = ChainedTable(
    kind="consent",
    table="consent_event",
    key=("sequence",),
    hashed=(
        "sequence",
        "artist_id",
        "consent",
        "effective_at",
        "recorded_at",
        "source",
        "reason_commitment",
    ),
)
REDACTIONS = ChainedTable(
    kind="redaction",
    table="redaction_event",
    key=("sequence",),
    hashed=("sequence", "artist_id", "erased_at", "works", "reason_commitment"),
)
INDEX_VERSIONS = ChainedTable(
    kind="index_version",
    table="index_version",
    key=("manifest_digest",),
    hashed=(
        "manifest_digest",
        "version",
        "parent",
        "encoder_id",
        "space_id",
        "artist_count",
        "work_count",
        "delta",
        "published_at",
    ),
)
POLICIES = ChainedTable(
    kind="policy",
    table="policy",
    key=("version",),
    hashed=("version", "policy_digest", "effective_from", "recorded_at"),
)
REVENUE = ChainedTable(
    kind="revenue",
    table="revenue",
    key=("revenue_id",),
    hashed=(
        "revenue_id",
        "reference",
        "currency",
        "amount_minor",
        "earned_from",
        "earned_to",
        "image_sha256",
        "model_id",
        "spread",
        "images_digest",
        "recorded_at",
    ),
)
REVENUE_EVENTS = ChainedTable(
    kind="revenue_event",
    table="revenue_event",
    key=("sequence",),
    hashed=("sequence", "revenue_id", "event", "recorded_at", "reason_commitment"),
)
SETTLEMENTS = ChainedTable(
    kind="settlement",
    table="settlement",
    key=("settlement_id",),
    hashed=(
        "settlement_id",
        "number",
        "kind",
        "period_from",
        "period_to",
        "policy_digest",
        "reverses",
        "recorded_at",
        "reason_commitment",
    ),
)
SETTLEMENT_LINES = ChainedTable(
    kind="settlement_line",
    table="settlement_line",
    key=("settlement_id", "revenue_id", "image_sha256"),
    hashed=("settlement_id", "revenue_id", "image_sha256", "attribution_id", "contested_by", "decided_by"),
)
SETTLEMENT_STANDINGS = ChainedTable(
    kind="settlement_standing",
    table="settlement_standing",
    key=("settlement_id", "model_id", "artist_id"),
    hashed=(
        "settlement_id",
        "model_id",
        "artist_id",
        "creator_id",
        "payee_id",
        "consent",
        "treatment",
        "factor",
        "dispute_id",
    ),
)
SETTLEMENT_PARTS = ChainedTable(
    kind="settlement_part",
    table="settlement_part",
    key=("settlement_id", "account", "holder", "subject", "currency"),
    hashed=("settlement_id", "account", "holder", "subject", "currency", "exact_minor", "amount_minor"),
)
ENTRIES = ChainedTable(
    kind="entry",
    table="entry",
    key=("number",),
    hashed=("number", "entry_id", "kind", "reference", "policy_digest", "recorded_at"),
)
POSTINGS = ChainedTable(
    kind="posting",
    table="posting",
    key=("entry_number", "line"),
    hashed=(
        "entry_number",
        "line",
        "account",
        "holder",
        "subject",
        "currency",
        "amount_minor",
        "policy_digest",
    ),
)
PAYOUTS = ChainedTable(
    kind="payout",
    table="payout",
    key=("payout_id",),
    hashed=("payout_id", "payee_id", "currency", "amount_minor"),
)
PAYOUT_EVENTS = ChainedTable(
    kind="payout_event",
    table="payout_event",
    key=("sequence",),
    hashed=("sequence", "payout_id", "status", "recorded_at", "reason_commitment"),
)
CLAIMS = ChainedTable(
    kind="claim",
    table="claim_event",
    key=("sequence",),
    hashed=("sequence", "artist_id", "creator_id", "payee_id", "recorded_at", "reason_commitment"),
)
DISPUTE_EVENTS = ChainedTable(
    kind="dispute",
    table="dispute_event",
    key=("sequence",),
    hashed=(
        "sequence",
        "dispute_id",
        "event",
        "subject",
        "subject_id",
        "creator_id",
        "body_digest",
        "recorded_at",
        "reason_commitment",
    ),
)
CALIBRATIONS = ChainedTable(
    kind="calibration",
    table="calibration",
    key=("calibration_id",),
    hashed=("calibration_id", "value_function", "encoder_id", "space_id", "recorded_at"),
)

AUDIT_PLANS = ChainedTable(
    kind="audit_plan",
    table="audit_plan",
    key=("plan_id",),
    hashed=("plan_id", "number", "period_from", "period_to", "currency", "draws", "recorded_at"),
)
AUDIT_DRAWS = ChainedTable(
    kind="audit_draw",
    table="audit_draw",
    key=("plan_id", "position"),
    hashed=("plan_id", "position", "image_sha256", "attribution_id", "probability"),
)
AUDIT_RESULTS = ChainedTable(
    kind="audit_result",
    table="audit_result",
    key=("sequence",),
    hashed=(
        "sequence",
        "plan_id",
        "image_sha256",
        "attribution_id",
        "outcome",
        "protocol_digest",
        "body_digest",
        "recorded_at",
    ),
)

CHAINED_TABLES = (
    ATTRIBUTIONS,
    CONSENT_EVENTS,
    REDACTIONS,
    INDEX_VERSIONS,
    POLICIES,
    REVENUE,
    REVENUE_EVENTS,
    SETTLEMENTS,
    SETTLEMENT_LINES,
    SETTLEMENT_STANDINGS,
    SETTLEMENT_PARTS,
    ENTRIES,
    POSTINGS,
    PAYOUTS,
    PAYOUT_EVENTS,
    CLAIMS,
    DISPUTE_EVENTS,
    CALIBRATIONS,
    AUDIT_PLANS,
    AUDIT_DRAWS,
    AUDIT_RESULTS,
)

# Of the tables that keep a body, in the column ``body``: the column that is the SHA-256 of its text.
BODY_DIGESTS = {
    ATTRIBUTIONS.kind: "body_digest",
    POLICIES.kind: "policy_digest",
    SETTLEMENTS.kind: "settlement_id",
    DISPUTE_EVENTS.kind: "body_digest",
    CALIBRATIONS.kind: "calibration_id",
    AUDIT_PLANS.kind: "plan_id",
    AUDIT_RESULTS.kind: "body_digest",
}
