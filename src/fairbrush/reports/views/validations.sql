-- How far the fast answer was from regeneration, an image and encoder each, newest first.
CREATE OR REPLACE VIEW validations AS
SELECT
    image_path AS image,
    model_id AS model,
    value_function,
    mis_paid,
    rank_correlation,
    b_hat,
    b_hat_error,
    CASE WHEN is_independent THEN encoder_id ELSE 'the answering one' END AS measured_by,
    coalitions,
    seeds,
    is_exact,
    recorded_at,
    validation_id
FROM validation
ORDER BY recorded_at DESC, validation_id;
