-- How the revenue of each settled period was split, by currency, with corrections taken into account.
CREATE OR REPLACE VIEW earnings_by_period AS
SELECT
    settlement.period_from,
    settlement.period_to,
    part.currency,
    sum(part.amount_minor)::BIGINT AS revenue_minor,
    coalesce(sum(part.amount_minor) FILTER (part.account = 'platform'), 0)::BIGINT AS platform_minor,
    coalesce(sum(part.amount_minor) FILTER (
        part.account = 'model' OR (part.account = 'payable' AND part.subject LIKE 'model:%')
    ), 0)::BIGINT AS models_minor,
    coalesce(sum(part.amount_minor) FILTER (
        part.account = 'payable' AND part.subject NOT LIKE 'model:%'
    ), 0)::BIGINT AS artists_minor,
    coalesce(sum(part.amount_minor) FILTER (part.account = 'escrow' AND part.holder <> ''), 0)::BIGINT
        AS escrow_minor,
    coalesce(sum(part.amount_minor) FILTER (part.account = 'disputed'), 0)::BIGINT AS disputed_minor,
    coalesce(sum(part.amount_minor) FILTER (
        part.account = 'fund' OR (part.account = 'escrow' AND part.holder = '')
    ), 0)::BIGINT AS unattributed_minor,
    count(DISTINCT settlement_id) FILTER (settlement.kind = 'settlement') AS settlements,
    count(DISTINCT settlement_id) FILTER (settlement.kind = 'reversal') AS reversals
FROM settlement_part AS part
JOIN settlement USING (settlement_id)
GROUP BY ALL
ORDER BY settlement.period_from, settlement.period_to, part.currency;
