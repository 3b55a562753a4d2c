-- Look-ups that credit nobody, latest first: why, and who was nearest.
CREATE OR REPLACE VIEW nobody_credited AS
SELECT
    lookup.recorded_at,
    lookup.image_path AS image,
    lookup.model_id AS model,
    lookup.reason,
    CASE
        WHEN lookup.about ->> '$.runner_up.artist_id' IS NOT NULL THEN coalesce(artist.name, '(erased)')
    END AS nearest,
    (lookup.about ->> '$.runner_up.z')::DOUBLE AS nearest_z,
    lookup.unattributed_e12::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS unattributed,
    lookup.about ->> '$.runner_up.artist_id' AS nearest_id,
    lookup.image_sha256,
    lookup.attribution_id
FROM attribution AS lookup
LEFT JOIN artist ON artist.artist_id = lookup.about ->> '$.runner_up.artist_id'
WHERE lookup.attribution_id NOT IN (SELECT attribution_id FROM attribution_share)
ORDER BY lookup.recorded_at DESC, lookup.attribution_id;
