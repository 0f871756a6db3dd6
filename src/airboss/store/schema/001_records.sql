-- One row a call, never changed. `seq` counts arrivals: it keys the bodies and orders what is followed.
-- No index: rows arrive almost in order of time, and ids (UUID version 7) too, so that the least and greatest
-- value kept for every few thousand rows finds one row in milliseconds. An index would cost memory and ingest.
create table records (
    seq bigint not null,
    id varchar not null,
    started_at timestamp not null, -- UTC
    deployment varchar not null,
    release varchar not null,
    arm varchar not null,
    plan bigint not null,
    model varchar not null,
    provider varchar not null,
    "key" varchar not null,
    "user" varchar,
    session varchar,
    operation varchar not null,
    stream boolean not null,
    status varchar not null,
    error_type varchar,
    finish_reason varchar,
    input_tokens bigint,
    output_tokens bigint,
    cached_input_tokens bigint,
    reasoning_tokens bigint,
    usage_estimated boolean not null,
    cost_usd decimal(18, 12),
    latency_ms double not null,
    ttft_ms double,
    overhead_ms double not null,
    output_chars bigint not null,
    attempts varchar not null, -- JSON
    cache varchar,
    policy varchar not null, -- JSON
    tags varchar not null, -- JSON
    trace_id varchar
);

-- Apart from `records`, so that lists and charts never read them and erasing one never rewrites a record.
-- In parts of at most 8,192 characters: DuckDB holds 2,048 rows of a column in memory at once, and with whole
-- bodies a few of 20 MB made a checkpoint, and every start after it, run out of memory.
create table bodies (
    seq bigint not null,
    part integer not null, -- from 0; `request` and `response` are null in parts beyond their end
    request varchar using compression zstd, -- JSON text as it came
    response varchar using compression zstd
);

-- Open frames moved before their close was written, in parts like those of `bodies`.
create table pending (
    id varchar not null,
    segment varchar not null,
    part integer not null,
    opened varchar not null
);

-- How many bytes of each journal segment have been taken.
create table offsets (
    segment varchar primary key,
    taken bigint not null
);
