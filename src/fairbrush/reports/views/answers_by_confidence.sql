-- How sure the answers were, by model and value function, the surest first; how many of them credit nobody.
CREATE OR REPLACE VIEW answers_by_confidence AS
WITH answer AS (
    SELECT
        model_id AS model,
        value_function,
        coalesce(about ->> '$.confidence', 'not asked') AS confidence,
        (about ->> '$.steadiness')::DOUBLE AS steadiness,
        attribution_id NOT IN (SELECT attribution_id FROM attribution_share) AS is_nobodys
    FROM attribution
)
SELECT
    model,
    value_function,
    confidence,
    count(*) AS lookups,
    count(*) FILTER (is_nobodys) AS nobody_credited,
    avg(steadiness) AS mean_steadiness
FROM answer
GROUP BY model, value_function, confidence
ORDER BY
    model,
    value_function,
    CASE confidence WHEN 'clear' THEN 0 WHEN 'mixed' THEN 1 WHEN 'weak' THEN 2 WHEN 'unknown' THEN 3 ELSE 4 END;
