-- Who made what, who is paid, what they allowed, and which model was trained on whom.
-- Times are UTC. No foreign keys: DuckDB rewrites a row when an indexed column changes and then refuses the
-- update because of its children; the code that writes checks instead.

CREATE TABLE payee (
    payee_id VARCHAR PRIMARY KEY,
    name VARCHAR,                              -- NULL once erased
    added TIMESTAMP NOT NULL
);

CREATE TABLE creator (
    creator_id VARCHAR PRIMARY KEY,
    name VARCHAR,                              -- NULL once erased
    payee_id VARCHAR NOT NULL,
    added TIMESTAMP NOT NULL
);

CREATE TABLE artist (
    artist_id VARCHAR PRIMARY KEY,             -- random, never derived from the name
    name VARCHAR,                              -- NULL once erased; the id stays as a pseudonym
    creator_id VARCHAR NOT NULL,
    added TIMESTAMP NOT NULL
);

CREATE TABLE artist_alias (
    artist_id VARCHAR NOT NULL,
    alias VARCHAR NOT NULL,
    PRIMARY KEY (artist_id, alias)
);

CREATE TABLE work (
    sha256 VARCHAR NOT NULL,                   -- of the whole file
    artist_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,                     -- absolute; relative to the workspace for a copy
    added TIMESTAMP NOT NULL,
    PRIMARY KEY (sha256, artist_id)            -- the same file under two artists is two rows, and reported
);

-- Append-only. In effect: the latest (effective_at, sequence) that is not in the future; erased is final.
CREATE TABLE consent_event (
    sequence BIGINT PRIMARY KEY,
    artist_id VARCHAR NOT NULL,
    consent VARCHAR NOT NULL CHECK (consent IN ('opted_in', 'unclaimed', 'opted_out', 'erased')),
    effective_at TIMESTAMP NOT NULL,
    recorded_at TIMESTAMP NOT NULL,
    source VARCHAR NOT NULL,                   -- the command that wrote it
    reason VARCHAR                             -- free text; NULL once erased
);

CREATE TABLE model (
    model_id VARCHAR PRIMARY KEY,
    base_model_id VARCHAR,
    developer VARCHAR,
    added TIMESTAMP NOT NULL
);

-- A fine-tune inherits its base's rows; its own rows override them.
CREATE TABLE membership (
    model_id VARCHAR NOT NULL,
    artist_id VARCHAR NOT NULL,
    trained VARCHAR NOT NULL CHECK (trained IN ('yes', 'no', 'unknown')),
    source VARCHAR,                            -- the evidence; NULL once erased
    recorded_at TIMESTAMP NOT NULL,
    PRIMARY KEY (model_id, artist_id)
);

CREATE TABLE redaction_event (
    sequence BIGINT PRIMARY KEY,
    artist_id VARCHAR NOT NULL,
    erased_at TIMESTAMP NOT NULL,
    works INTEGER NOT NULL,
    reason VARCHAR
);

-- Works whose vectors, thumbnails, copies and index rows are still to be dropped after an erase.
CREATE TABLE redaction_pending (
    artist_id VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    PRIMARY KEY (artist_id, sha256)
);

-- One row. eligibility.json carries the revision it was written from.
CREATE TABLE registry_state (revision BIGINT NOT NULL);

INSERT INTO registry_state VALUES (0);
INSERT INTO model VALUES ('sd-1.5', NULL, NULL, TIMESTAMP '1970-01-01');
