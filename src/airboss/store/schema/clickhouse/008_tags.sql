-- Sums by the day and tags, as DuckDB's of 011. They are made of whole days that are over, one after the other, when there
-- is time: which tags are left out is seen of a day's records, not of one insert. Each day's replace what was there,
-- by way of `remade_tag_sums`; they are taken where they are of as many records as there are of this day.
create table if not exists tag_sums{cluster} (
    start DateTime('UTC'),
    deployment LowCardinality(String),
    release LowCardinality(String),
    arm LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    "key" LowCardinality(String),
    operation LowCardinality(String),
    status LowCardinality(String),
    error_type LowCardinality(Nullable(String)),
    finish_reason LowCardinality(Nullable(String)),
    tags String codec(ZSTD(1)), -- JSON, without those that `untold` names
    requests UInt64,
    input_tokens Int64,
    output_tokens Int64,
    cost_usd Nullable(Decimal(38, 12)), -- null where no call had a known price
    priced UInt64,
    rates Float64, -- the sum of tokens a second of `rated` calls
    rated UInt64,
    started UInt64, -- answered calls with a first token
    first_at DateTime64(6, 'UTC'),
    last_at DateTime64(6, 'UTC'),
    latency Map(Int16, UInt64), -- histograms as those of rollups
    ttft Map(Int16, UInt64),
    cost Map(Int16, UInt64),
    users AggregateFunction(uniqExact, Nullable(UInt64)), -- 64 bits of hash of each
    sessions AggregateFunction(uniqExact, Nullable(UInt64)),
    untold Array(String) -- tags of this day with too many values; an empty one: all, and the row only counts calls
) engine = {replicated}MergeTree
partition by toDate(start)
order by (deployment, release, model, "key", tags)
settings {window} = 10000;

create table if not exists remade_tag_sums{cluster} as tag_sums;
