-- At each month's end: what lay unattributed, in escrow for artists and contested, and what was owed to payees.
CREATE OR REPLACE VIEW held_by_month AS
WITH change AS (
    SELECT
        date_trunc('month', entry.recorded_at)::DATE AS month,
        currency,
        coalesce(sum(amount_minor) FILTER (
            account = 'fund' OR (account = 'escrow' AND holder = '')
        ), 0) AS unattributed,
        coalesce(sum(amount_minor) FILTER (account = 'escrow' AND holder <> ''), 0) AS escrow,
        coalesce(sum(amount_minor) FILTER (account = 'disputed'), 0) AS disputed,
        coalesce(sum(amount_minor) FILTER (account = 'payable'), 0) AS owed
    FROM posting
    JOIN entry ON entry.number = posting.entry_number
    WHERE account IN ('fund', 'escrow', 'disputed', 'payable')
    GROUP BY ALL
),
months AS (
    -- those in which nothing moved too
    SELECT currency, unnest(generate_series(min(month), (SELECT max(month) FROM change), INTERVAL 1 MONTH))::DATE
        AS month
    FROM change
    GROUP BY currency
)
SELECT
    month,
    currency,
    (sum(coalesce(change.unattributed, 0)) OVER until_then)::BIGINT AS unattributed_minor,
    (sum(coalesce(change.escrow, 0)) OVER until_then)::BIGINT AS escrow_minor,
    (sum(coalesce(change.disputed, 0)) OVER until_then)::BIGINT AS disputed_minor,
    (sum(coalesce(change.owed, 0)) OVER until_then)::BIGINT AS owed_minor
FROM months
LEFT JOIN change USING (month, currency)
WINDOW until_then AS (PARTITION BY currency ORDER BY month)
ORDER BY month, currency;
