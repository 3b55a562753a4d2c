-- What each creator has earned, by currency: owed, held, contested, on its way and paid, as the book has it now.
CREATE OR REPLACE VIEW earnings_by_creator AS
WITH sent AS (
    SELECT payout_id, arg_max(status, sequence) AS status
    FROM payout_event
    GROUP BY payout_id
),
part AS (
    SELECT account AS place, CASE account WHEN 'escrow' THEN holder ELSE subject END AS artist_id, holder,
        currency, amount_minor
    FROM posting
    WHERE account IN ('payable', 'escrow', 'disputed')
    UNION ALL
    -- what left a payable account for a payout that did not fail, by whose it was
    SELECT sent.status, posting.subject, posting.holder, posting.currency, -posting.amount_minor
    FROM posting
    JOIN entry ON entry.number = posting.entry_number AND entry.kind = 'payout_proposed'
    JOIN sent ON sent.payout_id = entry.reference
    WHERE posting.account = 'payable' AND sent.status <> 'failed'
)
SELECT
    coalesce(creator.name, '(erased)') AS creator,
    part.currency,
    sum(part.amount_minor)::BIGINT AS earned_minor,
    coalesce(sum(part.amount_minor) FILTER (part.place = 'payable'), 0)::BIGINT AS owed_minor,
    coalesce(sum(part.amount_minor) FILTER (part.place = 'escrow'), 0)::BIGINT AS escrow_minor,
    coalesce(sum(part.amount_minor) FILTER (part.place = 'disputed'), 0)::BIGINT AS disputed_minor,
    coalesce(sum(part.amount_minor) FILTER (part.place = 'proposed'), 0)::BIGINT AS in_transit_minor,
    coalesce(sum(part.amount_minor) FILTER (part.place = 'confirmed'), 0)::BIGINT AS paid_minor,
    creator.creator_id
FROM part
LEFT JOIN artist USING (artist_id)
LEFT JOIN creator USING (creator_id)
-- neither a model's developer, nor what is nobody's
WHERE part.artist_id NOT LIKE 'model:%' AND (part.artist_id <> '' OR part.place NOT IN ('escrow', 'disputed'))
GROUP BY ALL
HAVING (owed_minor, escrow_minor, disputed_minor, in_transit_minor, paid_minor) <> (0, 0, 0, 0, 0)
ORDER BY part.currency, earned_minor DESC, creator, creator.creator_id;
