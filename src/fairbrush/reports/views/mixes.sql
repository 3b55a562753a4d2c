-- Look-ups with inputs: each image something was mixed from, its weight, whose it is and what that artist got.
CREATE OR REPLACE VIEW mixes AS
WITH input AS (
    SELECT
        attribution_id,
        generate_subscripts(inputs, 1) AS input,
        unnest(inputs) AS mixed
    FROM (
        SELECT attribution_id, (body -> '$.identity.value_function.parameters.inputs')::JSON[] AS inputs
        FROM attribution
        WHERE value_function = 'mix'
    )
)
SELECT
    lookup.recorded_at,
    lookup.image_path AS image,
    input.input,
    (input.mixed ->> '$.weight')::DOUBLE AS weight,
    CASE WHEN input.mixed ->> '$.artist_id' IS NULL THEN NULL ELSE coalesce(artist.name, '(erased)') END AS artist,
    coalesce(share.share_e12, 0)::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS artist_share,
    lookup.model_id,
    input.mixed ->> '$.sha256' AS input_sha256,
    input.mixed ->> '$.artist_id' AS artist_id,
    attribution_id
FROM input
JOIN attribution AS lookup USING (attribution_id)
LEFT JOIN artist ON artist.artist_id = input.mixed ->> '$.artist_id'
LEFT JOIN attribution_share AS share
    ON share.attribution_id = input.attribution_id AND share.artist_id = input.mixed ->> '$.artist_id'
ORDER BY lookup.recorded_at DESC, attribution_id, input.input;
