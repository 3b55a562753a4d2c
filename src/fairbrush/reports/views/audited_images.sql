-- Every image an audit drew: how often, with what chance, what a draw of it weighs, and what became of it.
CREATE OR REPLACE VIEW audited_images AS
WITH outcome AS (
    SELECT plan_id, image_sha256, attribution_id,
        coalesce(arg_min(outcome, sequence) FILTER (outcome <> 'failed'), 'failed') AS outcome,
        arg_max(body ->> '$.reason', sequence) FILTER (outcome = 'failed') AS failure,
        count(*) FILTER (outcome = 'failed') AS failures,
        max(recorded_at) AS last_tried_at
    FROM audit_result
    GROUP BY plan_id, image_sha256, attribution_id
),
unit AS (
    SELECT plan_id, image_sha256, attribution_id,
        amount,
        sum(amount) OVER (PARTITION BY plan_id) AS whole
    FROM (
        SELECT plan_id, image_sha256, attribution_id,
            split_part(amount, '/', 1)::DOUBLE / split_part(amount, '/', 2)::DOUBLE AS amount
        FROM audit_population
    )
),
drawn AS (
    SELECT plan_id, image_sha256, attribution_id, count(*) AS draws, min(position) AS first_draw,
        any_value(probability)::DOUBLE AS probability
    FROM audit_draw
    GROUP BY ALL
)
SELECT
    plan.number AS audit,
    lookup.image_path AS image,
    drawn.draws,
    drawn.first_draw,
    drawn.probability,
    round(unit.amount)::BIGINT AS amount_minor,
    plan.currency,
    unit.amount / nullif(unit.whole, 0) / drawn.probability AS weight,
    coalesce(outcome.outcome, 'untried') AS outcome,
    CASE WHEN outcome.outcome = 'failed' THEN outcome.failure END AS failure,
    coalesce(outcome.failures, 0) AS failures,
    outcome.last_tried_at,
    image_sha256,
    attribution_id,
    plan_id
FROM drawn
JOIN audit_plan AS plan USING (plan_id)
JOIN unit USING (plan_id, image_sha256, attribution_id)
LEFT JOIN outcome USING (plan_id, image_sha256, attribution_id)
LEFT JOIN attribution AS lookup USING (attribution_id)
ORDER BY plan.number, drawn.first_draw;
