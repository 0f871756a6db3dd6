-- What people and scorers think of records. Never changed; a second opinion is a second row. With what there is
-- to know of the record, so that no question about scores reads the records as well.
create table scores (
    id varchar not null,
    record_id varchar not null,
    name varchar not null,
    source varchar not null,
    "by" varchar not null,
    scored_at timestamp not null, -- UTC
    number double, -- a number; yes is 1, no is 0
    yes_or_no boolean not null, -- whether `number` stands for one
    label varchar,
    unscored varchar, -- the cause; exactly one of `number`, `label` and `unscored` is set
    comment varchar,
    "user" varchar,
    deployment varchar not null,
    release varchar not null,
    "key" varchar not null, -- the record's
    started_at timestamp not null -- the record's, UTC
);

-- Feedback whose record has not come yet, as JSON.
create table waiting_scores (
    id varchar not null,
    record_id varchar not null,
    "by" varchar not null, -- the key that gave it
    moved_at timestamp not null, -- UTC
    score varchar not null
);
