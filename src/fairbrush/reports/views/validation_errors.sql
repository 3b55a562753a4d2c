-- How far fast answers were from regeneration, by value function, model and measuring encoder, with standard errors.
CREATE OR REPLACE VIEW validation_errors AS
SELECT
    value_function,
    model_id AS model,
    CASE WHEN is_independent THEN encoder_id ELSE 'the answering one' END AS measured_by,
    count(*) AS measurements,
    count(DISTINCT image_sha256) AS images,
    avg(mis_paid) AS mis_paid,
    stddev_samp(mis_paid) / sqrt(count(*)) AS mis_paid_error,
    count(rank_correlation) AS ranked,
    avg(rank_correlation) AS rank_correlation,
    stddev_samp(rank_correlation) / sqrt(count(rank_correlation)) AS rank_correlation_error,
    count(b_hat) AS with_b,
    avg(b_hat) AS b_hat,
    max(recorded_at) AS last_measured_at
FROM validation
GROUP BY ALL
ORDER BY value_function, model, measured_by;
