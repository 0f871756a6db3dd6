-- Sums of long stretches of records by the day and their tags, told apart by all that rollups are, with whose calls
-- they were. `start` is a day's midnight, UTC. An erasure takes people and their tags out of them as well.
create table tag_sums (
    start timestamp not null,
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    model varchar not null,
    provider varchar not null,
    "key" varchar not null,
    operation varchar not null,
    status varchar not null,
    error_type varchar,
    finish_reason varchar,
    tags varchar not null, -- JSON, without those that untold_tags names
    requests bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd decimal(38, 12), -- null where no call had a known price
    priced bigint not null,
    rates double not null, -- the sum of tokens a second of `rated` calls
    rated bigint not null,
    started bigint not null, -- answered calls with a first token
    first_at timestamp not null,
    last_at timestamp not null,
    latency map(smallint, uinteger), -- histograms as those of rollups
    ttft map(smallint, uinteger),
    cost map(smallint, uinteger),
    users ubigint[], -- 64 bits of hash of each, once
    sessions ubigint[]
);

-- By which DuckDB people are hashed: another's hashes may differ, and it makes these sums anew.
create table hashed_by (engine varchar not null);
insert into hashed_by values ('none');

-- Tags that had too many values in a stretch of records to be in its sums. `since` and `until` are midnights before
-- the first of its records and before the last.
create table untold_tags (
    name varchar, -- null: the stretch is in no sum
    first bigint not null,
    last bigint not null,
    since timestamp not null,
    until timestamp not null
);

insert into summed_people values ('tag_sums', 0, null);
