-- Whether a fine-tune was tuned on an artist: what drawing with and without it, with and without the name, says.

-- One row a fine-tune, an artist and a way of drawing. Each effect is how much nearer, in cosine in style space,
-- images of the fine-tune are to the artist's works than its base's, beyond the mean of other people's styles;
-- low and high are a 95 % interval over contents. The body is canonical JSON whose SHA-256 is body_digest, from
-- which all figures can be computed again; no prompt and no name. Of artists in the registry alone; rows go when
-- the artist is erased. Over how many artists was asked at once is not kept, so neither is who was found.
CREATE TABLE tuning_test (
    test_id TEXT PRIMARY KEY,
    artist_id TEXT NOT NULL,
    model_id TEXT NOT NULL,                    -- of a LoRA: the model it is put on
    generator_digest TEXT NOT NULL,            -- of the fine-tune's weights and their configuration
    base_model_id TEXT,                        -- NULL where only the base's weights were named
    base_digest TEXT NOT NULL,
    encoder_id TEXT NOT NULL,                  -- that measured
    index_manifest_digest TEXT NOT NULL,
    contents INTEGER NOT NULL,
    seeds INTEGER NOT NULL,
    other_styles INTEGER NOT NULL,             -- p is a rank among them
    p DOUBLE NOT NULL,                         -- of the largest effect
    p_named DOUBLE NOT NULL,                   -- of one effect alone
    p_behind_name DOUBLE NOT NULL,
    p_leak DOUBLE NOT NULL,
    named DOUBLE NOT NULL,                     -- with the name
    named_low DOUBLE NOT NULL,
    named_high DOUBLE NOT NULL,
    behind_name DOUBLE NOT NULL,               -- with the name more than without
    behind_name_low DOUBLE NOT NULL,
    behind_name_high DOUBLE NOT NULL,
    leak DOUBLE NOT NULL,                      -- without the name
    leak_low DOUBLE NOT NULL,
    leak_high DOUBLE NOT NULL,
    recorded_at TIMESTAMP NOT NULL,            -- UTC
    body JSON NOT NULL,
    body_digest TEXT NOT NULL
);
