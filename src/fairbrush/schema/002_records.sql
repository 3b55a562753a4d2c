-- Records of look-ups, and the index versions they were asked of.

-- One row a look-up. The body is the canonical JSON whose SHA-256 is body_digest; about holds what is not
-- hashed (path, evidence) and may be emptied when an artist is erased.
CREATE TABLE attribution (
    attribution_id TEXT PRIMARY KEY,
    image_sha256 TEXT NOT NULL,
    image_path TEXT,
    model_id TEXT NOT NULL,
    encoder_id TEXT NOT NULL,
    encoder_variant TEXT NOT NULL,
    index_version TEXT,
    index_manifest_digest TEXT NOT NULL,
    eligibility_digest TEXT NOT NULL,
    calibration_id TEXT,
    policy_digest TEXT NOT NULL,
    value_function TEXT NOT NULL,
    b TEXT NOT NULL,
    w TEXT NOT NULL,
    model_share_e12 BIGINT NOT NULL,
    unattributed_e12 BIGINT NOT NULL,
    reason TEXT,
    recorded_at TIMESTAMP NOT NULL,  -- UTC
    body JSON NOT NULL,
    body_digest TEXT NOT NULL,
    about JSON NOT NULL
);

-- One row a credited artist of a look-up; rank 1 is the largest share.
CREATE TABLE attribution_share (
    attribution_id TEXT NOT NULL,
    artist_id TEXT NOT NULL,
    creator_id TEXT NOT NULL,
    payee_id TEXT NOT NULL,
    share_e12 BIGINT NOT NULL,
    phi DOUBLE NOT NULL,
    similarity DOUBLE NOT NULL,
    z DOUBLE NOT NULL,
    rank INTEGER NOT NULL,
    PRIMARY KEY (attribution_id, artist_id)
);

-- Answers that came again under a known id with another body: kept aside, never counted.
CREATE TABLE attribution_conflict (
    attribution_id TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    stored_digest TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL,  -- UTC
    body JSON NOT NULL,
    about JSON NOT NULL,
    PRIMARY KEY (attribution_id, body_digest)
);

-- One row a published index version; the manifests are the truth, this is for reports.
CREATE TABLE index_version (
    manifest_digest TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    parent TEXT,
    encoder_id TEXT NOT NULL,
    space_id TEXT NOT NULL,
    artist_count INTEGER NOT NULL,
    work_count INTEGER NOT NULL,
    delta DOUBLE NOT NULL,
    published_at TIMESTAMP NOT NULL  -- UTC
);
