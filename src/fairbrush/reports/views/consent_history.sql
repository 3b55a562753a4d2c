-- Every consent an artist gave or withdrew: from when, until when, and what recorded it. Of an erased one no name.
CREATE OR REPLACE VIEW consent_history AS
WITH dated AS (
    SELECT
        *,
        lead(effective_at) OVER (PARTITION BY artist_id ORDER BY effective_at, sequence) AS next_at,
        min(effective_at) FILTER (consent = 'erased') OVER (PARTITION BY artist_id) AS erased_at
    FROM consent_event
)
SELECT
    coalesce(artist.name, '(erased)') AS artist,
    event.consent,
    event.effective_at,
    -- erased is final: what was to follow it never begins
    CASE
        WHEN event.consent = 'erased' THEN NULL
        WHEN event.effective_at > event.erased_at THEN event.effective_at
        ELSE least(event.next_at, event.erased_at)
    END AS until,
    event.recorded_at,
    event.source,
    event.reason,
    event.artist_id
FROM dated AS event
LEFT JOIN artist USING (artist_id)
ORDER BY event.effective_at, event.sequence;
