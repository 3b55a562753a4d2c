-- Every index version that was published or asked, with how much it holds and how often it was asked.
CREATE OR REPLACE VIEW index_history AS
WITH asked AS (
    SELECT
        index_manifest_digest AS manifest_digest,
        any_value(index_version) AS version,
        count(*) AS lookups,
        max(recorded_at) AS last_asked_at
    FROM attribution
    GROUP BY index_manifest_digest
)
SELECT
    coalesce(published.version, asked.version) AS version,
    published.published_at,
    published.artist_count AS artists,
    published.work_count AS works,
    published.delta,
    coalesce(asked.lookups, 0) AS lookups,
    asked.last_asked_at,
    published.parent,
    manifest_digest
FROM index_version AS published
FULL JOIN asked USING (manifest_digest)
ORDER BY published.published_at NULLS LAST, version;
