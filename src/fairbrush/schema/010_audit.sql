-- Audits: which images were drawn before anything was regenerated, and what regenerating them said.

-- One row a plan. The body is canonical JSON whose SHA-256 is plan_id: period, currency, policies, digest of
-- the population, seed, how many are drawn, and how.
CREATE TABLE audit_plan (
    plan_id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,                   -- from 1, in the order they were made
    period_from DATE NOT NULL,
    period_to DATE NOT NULL,
    currency TEXT NOT NULL,
    draws INTEGER NOT NULL,
    body JSON NOT NULL,
    recorded_at TIMESTAMP NOT NULL             -- UTC
);

-- What a plan drew from, as it was then: a row an image and the record that pays for it. The body of the plan
-- carries the digest of all of them, sorted.
CREATE TABLE audit_population (
    plan_id TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    attribution_id TEXT NOT NULL,
    amount TEXT NOT NULL                       -- minor units in question, as a fraction n/d: what the record gives
                                               -- creators; where it credits nobody, what is unattributed
);

-- The draws of a plan, with replacement: an image may be drawn twice.
CREATE TABLE audit_draw (
    plan_id TEXT NOT NULL,
    position INTEGER NOT NULL,                 -- from 1, in the order they were drawn
    image_sha256 TEXT NOT NULL,
    attribution_id TEXT NOT NULL,
    probability TEXT NOT NULL                  -- of this image at each draw, as decimal text
);

-- What became of a drawn image. The first that is no failure counts; a failure may be followed by others. The
-- body is canonical JSON whose SHA-256 is body_digest: shares by creator id, and nobody's, as decimal text.
CREATE TABLE audit_result (
    sequence BIGINT PRIMARY KEY,
    plan_id TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    attribution_id TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('measured', 'nobody', 'failed')),
    protocol_digest TEXT NOT NULL,             -- of how it was measured: model, seeds, steps, template
    body JSON NOT NULL,
    body_digest TEXT NOT NULL,
    recorded_at TIMESTAMP NOT NULL             -- UTC
);
