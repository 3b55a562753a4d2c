-- What each model makes of artists' names, the latest measurement of each artist and model, strongest first.
CREATE OR REPLACE VIEW recognitions AS
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    measured.model_id AS model,
    measured.fidelity,
    measured.low,
    measured.high,
    measured.p_value,
    measured.nulls AS other_styles,
    measured.contents,
    measured.images,
    measured.encoder_id,
    measured.recorded_at,
    measured.artist_id,
    measured.recognition_id
FROM recognition AS measured
LEFT JOIN artist USING (artist_id)
QUALIFY row_number() OVER (
    PARTITION BY measured.artist_id, measured.model_id
    ORDER BY measured.recorded_at DESC, measured.recognition_id
) = 1
ORDER BY measured.fidelity DESC NULLS LAST, artist, measured.artist_id, measured.model_id;
