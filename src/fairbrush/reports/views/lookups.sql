-- Every look-up, latest first: the model's share, what stayed unattributed, how many artists and who leads.
CREATE OR REPLACE VIEW lookups AS
SELECT
    lookup.recorded_at,
    lookup.image_path,
    lookup.model_id,
    lookup.model_share_e12::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS model_share,
    lookup.unattributed_e12::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS unattributed,
    count(share.artist_id) AS artists,
    max(coalesce(artist.name, '(erased)')) FILTER (WHERE share.rank = 1) AS first_artist,
    lookup.index_version,
    lookup.reason,
    lookup.image_sha256,
    lookup.attribution_id
FROM attribution AS lookup
LEFT JOIN attribution_share AS share USING (attribution_id)
LEFT JOIN artist USING (artist_id)
GROUP BY ALL
ORDER BY lookup.recorded_at DESC, lookup.attribution_id;
