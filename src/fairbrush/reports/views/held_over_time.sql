-- After each entry of the book that changed them: what lies unattributed, in escrow for artists, and contested.
CREATE OR REPLACE VIEW held_over_time AS
WITH change AS (
    SELECT
        entry_number,
        currency,
        coalesce(sum(amount_minor) FILTER (
            account = 'fund' OR (account = 'escrow' AND holder = '')
        ), 0) AS unattributed,
        coalesce(sum(amount_minor) FILTER (account = 'escrow' AND holder <> ''), 0) AS escrow,
        coalesce(sum(amount_minor) FILTER (account = 'disputed'), 0) AS disputed
    FROM posting
    WHERE account IN ('fund', 'escrow', 'disputed')
    GROUP BY ALL
)
SELECT
    entry.recorded_at,
    change.entry_number AS entry,
    entry.kind,
    change.currency,
    change.unattributed::BIGINT AS unattributed_change_minor,
    (sum(change.unattributed) OVER after)::BIGINT AS unattributed_minor,
    change.escrow::BIGINT AS escrow_change_minor,
    (sum(change.escrow) OVER after)::BIGINT AS escrow_minor,
    change.disputed::BIGINT AS disputed_change_minor,
    (sum(change.disputed) OVER after)::BIGINT AS disputed_minor,
    entry.reference
FROM change
JOIN entry ON entry.number = change.entry_number
WINDOW after AS (PARTITION BY change.currency ORDER BY change.entry_number)
ORDER BY change.entry_number, change.currency;
