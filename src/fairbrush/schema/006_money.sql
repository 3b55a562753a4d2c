-- Policies, revenue, settlements, the book, payouts, disputes; and the chain that shows who altered a record.
-- Money is a whole number of minor units of an ISO 4217 currency. Nothing here is ever updated or deleted, but
-- for what is not hashed: texts and their salts (emptied by an erasure), payee_account, and fidelity.

-- A leaf a protected row, in the order they were committed. See fairbrush.chain.log.
CREATE TABLE chain_leaf (
    position BIGINT NOT NULL,                  -- from 0, without a gap
    batch BIGINT NOT NULL,
    kind TEXT NOT NULL,
    record_key TEXT NOT NULL,
    digest TEXT NOT NULL                       -- SHA-256 of the row's canonical JSON
);

CREATE TABLE chain_batch (
    batch BIGINT NOT NULL,                     -- from 0, without a gap
    first_position BIGINT NOT NULL,
    leaves BIGINT NOT NULL,
    root TEXT NOT NULL,                        -- Merkle root of the batch's leaves
    previous_head TEXT NOT NULL,
    head TEXT NOT NULL,
    committed_at TIMESTAMP NOT NULL            -- UTC
);

-- A free text, its salt, and the commitment that is hashed in its place.
ALTER TABLE consent_event ADD COLUMN reason_salt VARCHAR;
ALTER TABLE consent_event ADD COLUMN reason_commitment VARCHAR;
ALTER TABLE redaction_event ADD COLUMN reason_salt VARCHAR;
ALTER TABLE redaction_event ADD COLUMN reason_commitment VARCHAR;

ALTER TABLE model ADD COLUMN payee_id VARCHAR; -- who is paid for the developer; NULL: held until somebody is

-- How exactly a model can reproduce an artist's style, by whoever measured it. Replaced by a newer figure.
CREATE TABLE fidelity (
    model_id TEXT NOT NULL,
    artist_id TEXT NOT NULL,
    fidelity_e6 INTEGER NOT NULL,              -- 0 to 10^6
    is_reproducible BOOLEAN NOT NULL,
    source TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    PRIMARY KEY (model_id, artist_id)
);

-- How revenue is split from a day on. The body is canonical JSON whose SHA-256 is policy_digest.
CREATE TABLE policy (
    version INTEGER PRIMARY KEY,
    policy_digest TEXT NOT NULL,
    effective_from DATE NOT NULL,
    body JSON NOT NULL,
    recorded_at TIMESTAMP NOT NULL             -- UTC
);

-- One row a revenue line: earned by one image, or in a period and spread over many.
CREATE TABLE revenue (
    revenue_id TEXT PRIMARY KEY,               -- SHA-256 of the reference
    reference TEXT NOT NULL,                   -- the user's own: the same again changes nothing
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    earned_from DATE NOT NULL,
    earned_to DATE NOT NULL,                   -- the day that says which policy is in effect; inclusive
    image_sha256 TEXT,                         -- NULL where it is spread
    model_id TEXT,                             -- NULL: the policy's
    spread TEXT CHECK (spread IN ('count', 'weight')),
    images_digest TEXT,                        -- of the images it is spread over, and their weights
    recorded_at TIMESTAMP NOT NULL             -- UTC
);

CREATE TABLE revenue_image (
    revenue_id TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    weight_e6 BIGINT NOT NULL                  -- 10^6 for each time where it is spread by count
);

CREATE TABLE revenue_event (
    sequence BIGINT PRIMARY KEY,
    revenue_id TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('cancelled')),
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    reason TEXT,
    reason_salt TEXT,
    reason_commitment TEXT
);

-- One row a settlement, or a reversal of some lines of one. The body is canonical JSON.
CREATE TABLE settlement (
    settlement_id TEXT PRIMARY KEY,            -- SHA-256 of the body
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('settlement', 'reversal')),
    period_from DATE NOT NULL,
    period_to DATE NOT NULL,
    policy_digest TEXT NOT NULL,
    reverses TEXT,                             -- a settlement_id
    body JSON NOT NULL,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    reason TEXT,                               -- why lines were taken back
    reason_salt TEXT,
    reason_commitment TEXT
);

-- Which record settled which image of which revenue line.
CREATE TABLE settlement_line (
    settlement_id TEXT NOT NULL,
    revenue_id TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    attribution_id TEXT NOT NULL,
    contested_by TEXT,                         -- a dispute that was open
    decided_by TEXT                            -- a dispute whose decision changed the shares
);

-- What was known of each artist when it was settled.
CREATE TABLE settlement_standing (
    settlement_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    artist_id TEXT NOT NULL,
    creator_id TEXT NOT NULL,
    payee_id TEXT NOT NULL,
    consent TEXT NOT NULL,
    treatment TEXT NOT NULL,
    factor TEXT NOT NULL,                      -- of the share that is the artist's: a fraction as n/d
    dispute_id TEXT
);

-- What each account earned to the last fraction, and what was posted; the difference is carried forward.
CREATE TABLE settlement_part (
    settlement_id TEXT NOT NULL,
    account TEXT NOT NULL,
    holder TEXT NOT NULL,
    subject TEXT NOT NULL,
    currency TEXT NOT NULL,
    exact_minor TEXT NOT NULL,                 -- a fraction as n/d
    amount_minor BIGINT NOT NULL
);

-- The book: entries, each of postings that sum to nought in every currency. See fairbrush.ledger.book.
CREATE TABLE entry (
    number BIGINT PRIMARY KEY,
    entry_id TEXT NOT NULL,                    -- SHA-256 of kind, reference, policy and postings
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,                   -- what it books: a settlement, a payout, an event
    policy_digest TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL             -- UTC
);

CREATE TABLE posting (
    entry_number BIGINT NOT NULL,
    line INTEGER NOT NULL,                     -- from 1
    account TEXT NOT NULL,
    holder TEXT NOT NULL,
    subject TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,              -- credit positive: what is owed to the account's holder
    policy_digest TEXT NOT NULL
);

CREATE TABLE payout (
    payout_id TEXT PRIMARY KEY,
    payee_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL
);

CREATE TABLE payout_event (
    sequence BIGINT PRIMARY KEY,
    payout_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('proposed', 'confirmed', 'failed')),
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    reason TEXT,                               -- why it failed, or the bank's reference
    reason_salt TEXT,
    reason_commitment TEXT
);

-- Where a payee's money goes: personal, replaceable, in no hash, and gone with the payee.
CREATE TABLE payee_account (
    payee_id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    iban TEXT NOT NULL,
    bic TEXT,
    changed_at TIMESTAMP NOT NULL              -- UTC
);

-- Who was verified to be behind an unclaimed style.
CREATE TABLE claim_event (
    sequence BIGINT PRIMARY KEY,
    artist_id TEXT NOT NULL,
    creator_id TEXT NOT NULL,
    payee_id TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    reason TEXT,                               -- how it was verified
    reason_salt TEXT,
    reason_commitment TEXT
);

-- What creators contest, and what was decided. The body is canonical JSON whose SHA-256 is body_digest.
CREATE TABLE dispute_event (
    sequence BIGINT PRIMARY KEY,
    dispute_id TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('opened', 'resolved')),
    subject TEXT NOT NULL CHECK (subject IN ('attribution', 'standing')),
    subject_id TEXT NOT NULL,                  -- an attribution_id or an artist_id
    creator_id TEXT NOT NULL,                  -- who contests
    body JSON NOT NULL,
    body_digest TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    reason TEXT,
    reason_salt TEXT,
    reason_commitment TEXT
);
