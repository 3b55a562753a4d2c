-- Images whose coalitions were regenerated, and what that measured beside the fast answer.

-- One row a measurement. The body is canonical JSON whose SHA-256 is body_digest: every coalition, and the
-- similarity of each of its images, from which all figures can be computed again. No prompt and no name.
CREATE TABLE validation (
    validation_id TEXT PRIMARY KEY,
    image_sha256 TEXT NOT NULL,
    image_path TEXT,
    model_id TEXT NOT NULL,
    generator_digest TEXT NOT NULL,            -- of the weights and their configuration
    encoder_id TEXT NOT NULL,                  -- that measured
    is_independent BOOLEAN NOT NULL,           -- whether another encoder gave the fast answer
    index_manifest_digest TEXT NOT NULL,
    value_function TEXT NOT NULL,              -- of the fast answer
    coalitions INTEGER NOT NULL,
    seeds INTEGER NOT NULL,
    is_exact BOOLEAN NOT NULL,                 -- all coalitions were regenerated, and not a sample
    b_hat DOUBLE,                              -- NULL where it is undefined
    b_hat_error DOUBLE,                        -- standard errors; NULL with one seed
    mis_paid DOUBLE NOT NULL,                  -- half the L1 distance of the creators' normalised shares
    rank_correlation DOUBLE,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    body JSON NOT NULL,
    body_digest TEXT NOT NULL
);

-- One row a creator who was a player. Normalised shares: of what the creators get together; NULL: nobody does.
CREATE TABLE validation_share (
    validation_id TEXT NOT NULL,
    creator_id TEXT NOT NULL,
    fast DOUBLE,
    regenerated DOUBLE,
    regenerated_error DOUBLE,
    PRIMARY KEY (validation_id, creator_id)
);
