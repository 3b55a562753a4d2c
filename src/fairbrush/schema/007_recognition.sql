-- What a generating model makes of artists' names.

-- One row a measurement of one artist; never changed, and gone when the artist is erased. The body is canonical
-- JSON whose SHA-256 is body_digest: every cosine from which all figures can be computed again. No prompt and no
-- name; other artists' styles are numbers in falling order.
CREATE TABLE recognition (
    recognition_id TEXT PRIMARY KEY,           -- SHA-256 of what was asked of whom
    model_id TEXT NOT NULL,
    model_digest TEXT NOT NULL,                -- of the weights and their configuration
    artist_id TEXT NOT NULL,
    encoder_id TEXT NOT NULL,                  -- that measured
    space_id TEXT NOT NULL,
    protocol TEXT NOT NULL,                    -- digest of contents, seeds, wording and sampling: comparable
    index_manifest_digest TEXT NOT NULL,       -- whose styles it was held against
    contents INTEGER NOT NULL,
    images INTEGER NOT NULL,                   -- that name the artist; as many do not
    fidelity DOUBLE,                           -- 0 to 1; NULL, and the next three, where it is undefined
    low DOUBLE,                                -- 95 % interval
    high DOUBLE,
    raw DOUBLE,                                -- the same before it was clipped
    p_value DOUBLE NOT NULL,
    nulls INTEGER NOT NULL,                    -- styles of others it was ranked among
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    body JSON NOT NULL,
    body_digest TEXT NOT NULL
);
