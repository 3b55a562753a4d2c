-- Every credit of every artist: which image, when, which share and why so near. Filter by artist or artist_id.
CREATE OR REPLACE VIEW by_artist AS
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    lookup.recorded_at,
    lookup.image_path,
    share.share_e12::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS share,
    share.rank,
    share.similarity,
    share.z,
    lookup.model_id,
    lookup.image_sha256,
    share.artist_id,
    share.creator_id,
    share.payee_id,
    share.attribution_id
FROM attribution_share AS share
JOIN attribution AS lookup USING (attribution_id)
LEFT JOIN artist USING (artist_id)
ORDER BY artist, lookup.recorded_at, share.attribution_id;
