-- What images of each generating model brought in and is settled, and what the model's developer earned of it.
CREATE OR REPLACE VIEW earnings_by_model AS
WITH standing AS (
    -- a line is settled as long as it was settled more often than taken back; the last settlement of it counts
    SELECT line.revenue_id,
        arg_max(attribution.model_id, settlement.number) FILTER (settlement.kind = 'settlement') AS model_id,
        count(DISTINCT line.image_sha256) AS images
    FROM settlement_line AS line
    JOIN settlement USING (settlement_id)
    JOIN attribution USING (attribution_id)
    GROUP BY line.revenue_id
    HAVING count(DISTINCT settlement_id) FILTER (settlement.kind = 'settlement')
        > count(DISTINCT settlement_id) FILTER (settlement.kind = 'reversal')
),
settled AS (
    SELECT standing.model_id, revenue.currency, count(*) AS lines, sum(standing.images) AS images,
        sum(revenue.amount_minor) AS revenue_minor
    FROM standing
    JOIN revenue USING (revenue_id)
    GROUP BY ALL
),
developed AS (
    SELECT CASE account WHEN 'model' THEN holder ELSE substr(subject, 7) END AS model_id, currency,
        sum(amount_minor) FILTER (entry.kind NOT LIKE 'payout_%') AS developer_minor,
        sum(amount_minor) FILTER (account = 'model') AS unassigned_minor
    FROM posting
    JOIN entry ON entry.number = posting.entry_number
    WHERE account = 'model' OR (account = 'payable' AND subject LIKE 'model:%')
    GROUP BY ALL
)
SELECT
    model_id AS model,
    currency,
    coalesce(settled.lines, 0) AS lines,
    coalesce(settled.images, 0)::BIGINT AS images,
    coalesce(settled.revenue_minor, 0)::BIGINT AS revenue_minor,
    coalesce(developed.developer_minor, 0)::BIGINT AS developer_minor,
    coalesce(developed.unassigned_minor, 0)::BIGINT AS unassigned_minor,
    model.base_model_id AS base_model,
    model.payee_id
FROM settled
FULL JOIN developed USING (model_id, currency)
LEFT JOIN model USING (model_id)
ORDER BY currency, revenue_minor DESC, model;
