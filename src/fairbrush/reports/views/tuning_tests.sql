-- Whether a fine-tune draws nearer to an artist than its base does, the latest test of each artist and fine-tune.
CREATE OR REPLACE VIEW tuning_tests AS
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    test.model_id AS model,
    test.base_model_id AS base_model,
    test.p,
    test.named,
    test.named_low,
    test.named_high,
    test.behind_name,
    test.behind_name_low,
    test.behind_name_high,
    test.leak,
    test.leak_low,
    test.leak_high,
    test.other_styles,
    test.contents,
    test.seeds,
    test.encoder_id,
    test.recorded_at,
    test.generator_digest,
    test.artist_id,
    test.test_id
FROM tuning_test AS test
LEFT JOIN artist USING (artist_id)
QUALIFY row_number() OVER (
    PARTITION BY test.artist_id, test.generator_digest ORDER BY test.recorded_at DESC, test.test_id
) = 1
ORDER BY test.p, artist, test.artist_id, test.generator_digest;
