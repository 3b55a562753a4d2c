-- Images that were not read, latest first: which command refused them, why, and since when.
CREATE OR REPLACE VIEW refused_images AS
SELECT
    last_at,
    path,
    reason,
    doing,
    detail,
    first_at
FROM refusal
ORDER BY last_at DESC, path, reason, doing;
