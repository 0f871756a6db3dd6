-- The tables of DuckDB's schema in ClickHouse's words, a partition a day: what is too old goes by partition.
-- Inserts carry tokens, so that one repeated after a kill adds nothing; `move` tells which move of the journal
-- brought a row, so that the same move, repeated, does not take its own rows for somebody else's.
create table if not exists records{cluster} (
    seq Int64,
    id String,
    started_at DateTime64(6, 'UTC'),
    deployment LowCardinality(String),
    release LowCardinality(String),
    arm LowCardinality(String),
    plan Int64,
    model LowCardinality(String),
    provider LowCardinality(String),
    "key" LowCardinality(String),
    "user" Nullable(String),
    session Nullable(String),
    operation LowCardinality(String),
    stream Bool,
    status LowCardinality(String),
    error_type LowCardinality(Nullable(String)),
    finish_reason LowCardinality(Nullable(String)),
    input_tokens Nullable(Int64),
    output_tokens Nullable(Int64),
    cached_input_tokens Nullable(Int64),
    reasoning_tokens Nullable(Int64),
    usage_estimated Bool,
    cost_usd Nullable(Decimal(18, 12)),
    latency_ms Float64,
    ttft_ms Nullable(Float64),
    overhead_ms Float64,
    output_chars Int64,
    attempts String codec(ZSTD(1)), -- JSON
    cache LowCardinality(Nullable(String)),
    policy String codec(ZSTD(1)), -- JSON
    tags String codec(ZSTD(1)), -- JSON
    trace_id Nullable(String),
    cache_write_tokens Nullable(Int64),
    move UInt64,
    index by_id id type minmax granularity 1,
    index by_seq seq type minmax granularity 1,
    index by_user "user" type bloom_filter(0.01) granularity 4
) engine = {replicated}MergeTree
partition by toDate(started_at)
order by (started_at, id)
settings {window} = 10000;

create table if not exists bodies{cluster} (
    id String,
    started_at DateTime64(6, 'UTC'),
    request String codec(ZSTD(3)), -- JSON text as it came; empty where there is none
    response String codec(ZSTD(3)),
    index by_id id type minmax granularity 1
) engine = {replicated}MergeTree
partition by toDate(started_at)
order by (started_at, id)
settings {window} = 10000, index_granularity = 1024;

-- Open frames moved before their close was written. One that is joined gets a newer row that says so, and both
-- are deleted later, many at a time.
create table if not exists pending{cluster} (
    id String,
    segment String,
    opened String codec(ZSTD(1)),
    done UInt8
) engine = {replicated}ReplacingMergeTree(done)
order by id
settings {window} = 10000;

-- How many bytes of each journal segment have been taken (the row of the highest `version`). `begun`, where it is
-- not 0: rows of a move from `taken` to there may be in, and that move must be made again just so. `gone`: the
-- segment is deleted. `seq` is not used any more.
create table if not exists offsets{cluster} (
    segment String,
    version UInt64,
    taken Int64,
    begun Int64,
    seq Int64,
    gone UInt8
) engine = {replicated}ReplacingMergeTree(version)
order by segment
settings {window} = 10000;

create table if not exists scores{cluster} (
    id String,
    record_id String,
    name LowCardinality(String),
    source LowCardinality(String),
    "by" LowCardinality(String),
    scored_at DateTime64(6, 'UTC'),
    number Nullable(Float64), -- a number; yes is 1, no is 0
    yes_or_no Bool,
    label Nullable(String),
    unscored Nullable(String),
    comment Nullable(String),
    "user" Nullable(String),
    deployment LowCardinality(String),
    release LowCardinality(String),
    "key" LowCardinality(String),
    started_at DateTime64(6, 'UTC'),
    index by_id id type bloom_filter(0.01) granularity 1,
    index by_record record_id type minmax granularity 1,
    index by_scored scored_at type minmax granularity 1
) engine = {replicated}MergeTree
partition by toDate(started_at)
order by (started_at, record_id)
settings {window} = 10000;

-- Feedback whose record has not come yet, as JSON. `done` as in `pending`.
create table if not exists waiting_scores{cluster} (
    id String,
    record_id String,
    "by" String,
    moved_at DateTime64(6, 'UTC'),
    score String,
    done UInt8
) engine = {replicated}ReplacingMergeTree(done)
order by id
settings {window} = 10000;
