-- Every audit that was planned: what it is drawn from, and how far it is. What it says: fairbrush audit report.
CREATE OR REPLACE VIEW audits AS
WITH outcome AS (
    -- the first that is no failure counts, else the last failure
    SELECT plan_id, image_sha256, attribution_id,
        coalesce(arg_min(outcome, sequence) FILTER (outcome <> 'failed'), 'failed') AS outcome
    FROM audit_result
    GROUP BY plan_id, image_sha256, attribution_id
),
drawn AS (
    SELECT
        draw.plan_id,
        min(draw.position) FILTER (outcome.outcome IS NULL) AS first_open,
        count(DISTINCT draw.image_sha256) AS images_drawn,
        count(DISTINCT draw.image_sha256) FILTER (outcome.outcome = 'measured') AS measured,
        count(DISTINCT draw.image_sha256) FILTER (outcome.outcome = 'nobody') AS nobody,
        count(DISTINCT draw.image_sha256) FILTER (outcome.outcome = 'failed') AS failed,
        count(DISTINCT draw.image_sha256) FILTER (outcome.outcome IS NULL) AS untried
    FROM audit_draw AS draw
    LEFT JOIN outcome USING (plan_id, image_sha256, attribution_id)
    GROUP BY draw.plan_id
),
population AS (
    SELECT plan_id, count(*) AS images,
        sum(split_part(amount, '/', 1)::DOUBLE / split_part(amount, '/', 2)::DOUBLE) AS amount_minor
    FROM audit_population
    GROUP BY plan_id
)
SELECT
    plan.number AS audit,
    plan.period_from,
    plan.period_to,
    plan.currency,
    coalesce(population.images, 0) AS images,
    round(coalesce(population.amount_minor, 0))::BIGINT AS amount_minor,
    plan.draws,
    -- only the draws before the first one that was not tried count
    coalesce(drawn.first_open - 1, plan.draws) AS draws_counted,
    coalesce(drawn.images_drawn, 0) AS images_drawn,
    coalesce(drawn.measured, 0) AS measured,
    coalesce(drawn.nobody, 0) AS nobody,
    coalesce(drawn.failed, 0) AS failed,
    coalesce(drawn.untried, 0) AS untried,
    'fairbrush audit report ' || plan.plan_id[:12] AS says,
    plan.recorded_at,
    plan.plan_id
FROM audit_plan AS plan
LEFT JOIN population USING (plan_id)
LEFT JOIN drawn USING (plan_id)
ORDER BY plan.number;
