-- Every dispute: who contests what and why, what is set aside for it, how it was decided, and how long it took.
CREATE OR REPLACE VIEW disputes AS
WITH aside AS (
    SELECT holder AS dispute_id, currency, sum(amount_minor) AS amount_minor
    FROM posting
    WHERE account = 'disputed'
    GROUP BY ALL
    HAVING sum(amount_minor) <> 0
),
ended AS (
    SELECT dispute_id, recorded_at, body -> '$.outcome' AS outcome, reason
    FROM dispute_event
    WHERE event = 'resolved'
)
SELECT
    opened.recorded_at AS opened_at,
    coalesce(creator.name, '(erased)') AS contested_by,
    opened.subject,
    CASE opened.subject WHEN 'attribution' THEN lookup.image_path ELSE coalesce(subject.name, '(erased)') END AS about,
    opened.reason,
    (
        SELECT string_agg(coalesce(artist.name, '(erased)'), ', ' ORDER BY artist.name, artist_id)
        FROM (SELECT unnest((opened.body -> '$.contested')::VARCHAR[]) AS artist_id)
        LEFT JOIN artist USING (artist_id)
    ) AS artists,
    (opened.body ->> '$.claims_unattributed')::BOOLEAN AS claims_unattributed,
    CASE
        WHEN ended.dispute_id IS NULL THEN 'open'
        WHEN ended.outcome ->> '$.ruling' = 'rejected' THEN 'rejected'
        ELSE 'upheld'
    END AS state,
    ended.outcome ->> '$.ruling' AS ruling,
    ended.reason AS ruling_reason,
    aside.currency,
    coalesce(aside.amount_minor, 0)::BIGINT AS set_aside_minor,
    ended.recorded_at AS resolved_at,
    date_diff(
        'day',
        opened.recorded_at::DATE,
        coalesce(ended.recorded_at, make_timestamp(epoch_us(now())))::DATE
    ) AS days_open,
    opened.subject_id,
    opened.creator_id,
    opened.dispute_id
FROM dispute_event AS opened
LEFT JOIN ended USING (dispute_id)
LEFT JOIN aside USING (dispute_id)
LEFT JOIN creator USING (creator_id)
LEFT JOIN attribution AS lookup ON opened.subject = 'attribution' AND lookup.attribution_id = opened.subject_id
LEFT JOIN artist AS subject ON opened.subject = 'standing' AND subject.artist_id = opened.subject_id
WHERE opened.event = 'opened'
ORDER BY opened.recorded_at, opened.sequence, aside.currency;
