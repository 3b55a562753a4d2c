-- What each calibration says of each model it was fitted on: its content part b, and how worths are mapped.
CREATE OR REPLACE VIEW calibrations AS
WITH fitted AS (
    SELECT *, unnest(map_entries((body -> '$.models')::MAP(VARCHAR, JSON))) AS entry
    FROM calibration
)
SELECT
    entry.key AS model,
    (entry.value ->> '$.b')::DOUBLE AS b,
    (entry.value ->> '$.b_error')::DOUBLE AS b_error,
    (entry.value ->> '$.images')::BIGINT AS images,
    entry.value ->> '$.centre' IS NOT NULL AS is_centred,
    value_function,
    body ->> '$.map.kind' AS map,
    (body ->> '$.map.gamma')::DOUBLE AS gamma,
    (body ->> '$.shift')::DOUBLE AS shift,
    (
        SELECT count(*) FROM attribution WHERE attribution.calibration_id = fitted.calibration_id
            AND attribution.model_id = entry.key
    ) AS lookups,
    encoder_id,
    recorded_at,
    calibration_id
FROM fitted
ORDER BY recorded_at, calibration_id, model;
