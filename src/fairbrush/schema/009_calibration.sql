-- Calibrations: how what a look-up measures becomes what regeneration measured. Never changed, never deleted.

-- The body is canonical JSON whose SHA-256 is calibration_id: the map, the shift of the thresholds, and of each
-- model b and the centre of its queries. No image, prompt or name. The columns between them say what the body says.
CREATE TABLE calibration (
    calibration_id TEXT PRIMARY KEY,
    value_function TEXT NOT NULL,              -- it was fitted for
    encoder_id TEXT NOT NULL,
    space_id TEXT NOT NULL,
    body JSON NOT NULL,
    recorded_at TIMESTAMP NOT NULL             -- UTC
);
