-- Spans of traces, as 005_spans.sql of DuckDB's schema; ids of traces are text here, for there is an index on them.
create table if not exists spans{cluster} (
    id String,
    trace_id String,
    span_id String,
    parent_id Nullable(String),
    gateway Bool,
    name String,
    kind LowCardinality(String),
    service LowCardinality(String),
    started_at DateTime64(6, 'UTC'),
    duration_ms Float64,
    status LowCardinality(String),
    message Nullable(String),
    "key" LowCardinality(String),
    "user" Nullable(String),
    session Nullable(String),
    sampled Bool,
    attributes String codec(ZSTD(1)), -- JSON; empty where there is none
    events String codec(ZSTD(1)),
    move UInt64,
    index by_id id type minmax granularity 1,
    index by_trace trace_id type bloom_filter(0.001) granularity 1
) engine = {replicated}MergeTree
partition by toDate(started_at)
order by (toStartOfHour(started_at), trace_id, started_at)
settings {window} = 10000;

-- Model calls that spans tell of, until it is known whether they are calls of their own. `done` as in `pending`.
create table if not exists waiting_calls{cluster} (
    id String,
    trace_id String,
    moved_at DateTime64(6, 'UTC'),
    record String codec(ZSTD(1)), -- JSON of the record that it becomes
    done UInt8
) engine = {replicated}ReplacingMergeTree(done)
order by id
settings {window} = 10000;
