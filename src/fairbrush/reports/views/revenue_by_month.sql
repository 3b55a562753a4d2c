-- What came in, by the month of its last day and currency, and how much of it is settled, open or cancelled.
CREATE OR REPLACE VIEW revenue_by_month AS
WITH standing AS (
    SELECT line.revenue_id,
        count(DISTINCT settlement_id) FILTER (settlement.kind = 'settlement')
            > count(DISTINCT settlement_id) FILTER (settlement.kind = 'reversal') AS is_settled
    FROM settlement_line AS line
    JOIN settlement USING (settlement_id)
    GROUP BY line.revenue_id
),
line AS (
    SELECT
        date_trunc('month', revenue.earned_to)::DATE AS month,
        revenue.currency,
        revenue.amount_minor,
        CASE
            WHEN coalesce(standing.is_settled, false) THEN 'settled'
            WHEN revenue_id IN (SELECT revenue_id FROM revenue_event WHERE event = 'cancelled') THEN 'cancelled'
            ELSE 'open'
        END AS state
    FROM revenue
    LEFT JOIN standing USING (revenue_id)
)
SELECT
    month,
    currency,
    count(*) AS lines,
    sum(amount_minor)::BIGINT AS amount_minor,
    coalesce(sum(amount_minor) FILTER (state = 'settled'), 0)::BIGINT AS settled_minor,
    coalesce(sum(amount_minor) FILTER (state = 'open'), 0)::BIGINT AS open_minor,
    coalesce(sum(amount_minor) FILTER (state = 'cancelled'), 0)::BIGINT AS cancelled_minor
FROM line
GROUP BY ALL
ORDER BY month, currency;
