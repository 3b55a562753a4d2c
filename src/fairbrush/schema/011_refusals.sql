-- Images that were not read, and why: one row a path, reason and command, however often it came again.

-- In no hash and no chain. Rows of an artist who is erased go: paths in the folders of their works, and texts that
-- name them.
CREATE TABLE refusal (
    path TEXT NOT NULL,                        -- absolute; what is no UTF-8 in it, escaped
    reason TEXT NOT NULL,
    doing TEXT NOT NULL,                       -- the command that refused it
    detail TEXT NOT NULL,                      -- of the last time: the numbers, and what to do
    first_at TIMESTAMP NOT NULL,               -- UTC
    last_at TIMESTAMP NOT NULL,                -- UTC
    PRIMARY KEY (path, reason, doing)
);
