-- What each payee has earned, by currency: owed (with what of it is held), on its way, and paid.
CREATE OR REPLACE VIEW earnings_by_payee AS
WITH sent AS (
    SELECT payout_id, arg_max(status, sequence) AS status
    FROM payout_event
    GROUP BY payout_id
),
consent AS (
    -- in effect now; erased is final
    SELECT artist_id, CASE WHEN bool_or(consent = 'erased') THEN 'erased' ELSE
        arg_max(consent, (effective_at, sequence)) FILTER (effective_at <= make_timestamp(epoch_us(now()))) END
        AS consent
    FROM consent_event
    GROUP BY artist_id
),
owed AS (
    SELECT holder AS payee_id, subject AS artist_id, currency, sum(amount_minor) AS amount_minor
    FROM posting
    WHERE account = 'payable'
    GROUP BY ALL
),
part AS (
    SELECT owed.payee_id, owed.currency, owed.amount_minor AS owed_minor,
        -- a debt of who opted out is set off all the same
        CASE WHEN consent = 'erased' OR (consent = 'opted_out' AND owed.amount_minor > 0)
            THEN owed.amount_minor ELSE 0 END AS held_minor,
        0 AS in_transit_minor, 0 AS paid_minor
    FROM owed
    LEFT JOIN consent USING (artist_id)
    UNION ALL
    SELECT payee_id, currency, 0, 0,
        CASE status WHEN 'proposed' THEN amount_minor ELSE 0 END,
        CASE status WHEN 'confirmed' THEN amount_minor ELSE 0 END
    FROM payout
    JOIN sent USING (payout_id)
)
SELECT
    coalesce(payee.name, '(erased)') AS payee,
    part.currency,
    sum(owed_minor + in_transit_minor + paid_minor)::BIGINT AS earned_minor,
    sum(owed_minor)::BIGINT AS owed_minor,
    sum(held_minor)::BIGINT AS held_minor,
    sum(in_transit_minor)::BIGINT AS in_transit_minor,
    sum(paid_minor)::BIGINT AS paid_minor,
    payee_id
FROM part
LEFT JOIN payee USING (payee_id)
GROUP BY ALL
ORDER BY part.currency, earned_minor DESC, payee, payee_id;
