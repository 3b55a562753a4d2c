-- Artists by what they got over all look-ups: how often credited, the sum of their shares, the best affinity.
CREATE OR REPLACE VIEW top_artists AS
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    count(*) AS lookups,
    sum(share.share_e12)::DECIMAL(25, 0) * 0.000000000001::DECIMAL(13, 12) AS share_sum,
    max(share.z) AS best_z,
    share.artist_id
FROM attribution_share AS share
LEFT JOIN artist USING (artist_id)
GROUP BY share.artist_id, artist.name
ORDER BY share_sum DESC, artist, share.artist_id;
