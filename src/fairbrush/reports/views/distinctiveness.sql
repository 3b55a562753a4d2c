-- Who can be told apart in the index version published last, weakest first; shares with their interval at 95 %.
CREATE OR REPLACE VIEW distinctiveness AS
WITH latest AS (
    SELECT manifest_digest, version, delta
    FROM index_version
    WHERE manifest_digest IN (SELECT manifest_digest FROM artist_distinctiveness)
    ORDER BY published_at DESC, version DESC
    LIMIT 1
),
style AS (
    -- Wilson 1927, doi:10.1080/01621459.1927.10502953; 3.8415 is the square of 1.96
    SELECT
        *,
        (home + 1.9207) / (works + 3.8415) AS middle,
        1.96 * sqrt(home * (works - home) / works + 0.9604) / (works + 3.8415) AS reach
    FROM artist_distinctiveness
)
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    style.verdict,
    CASE WHEN style.nearest_artist_id IS NOT NULL THEN coalesce(nearest.name, '(erased)') END AS nearest,
    style.works,
    style.home / style.works AS home_share,
    CASE WHEN style.home IS NOT NULL THEN greatest(0, middle - reach) END AS home_low,
    CASE WHEN style.home IS NOT NULL THEN least(1, middle + reach) END AS home_high,
    style.credited / style.works AS credited_share,
    style.margin,
    style.look_alikes,
    style.recognisability,
    latest.delta,
    latest.version,
    style.artist_id
FROM style
JOIN latest USING (manifest_digest)
LEFT JOIN artist ON artist.artist_id = style.artist_id
LEFT JOIN artist AS nearest ON nearest.artist_id = style.nearest_artist_id
ORDER BY style.home / style.works NULLS FIRST, style.margin, artist, style.artist_id;
