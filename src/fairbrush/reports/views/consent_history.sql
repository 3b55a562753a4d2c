-- Every consent an artist gave or withdrew: from when, until when, and what recorded it. Of an erased one no name.
CREATE OR REPLACE VIEW consent_history AS
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    event.consent,
    event.effective_at,
    lead(event.effective_at) OVER (
        PARTITION BY event.artist_id ORDER BY event.effective_at, event.sequence
    ) AS until,
    event.recorded_at,
    event.source,
    event.reason,
    event.artist_id
FROM consent_event AS event
LEFT JOIN artist USING (artist_id)
ORDER BY event.effective_at, event.sequence;
