-- Sums by the minute (`width` 60) and the hour (3,600), as DuckDB's of 007 and 008, made of every insert into
-- records by the view, under the same token, so that one repeated after a kill adds nothing here either. What is
-- there already is summed up before the view is; a migration killed in between begins anew. `latency`, `ttft` and
-- `cost` (millionths of a dollar) are histograms of answered calls: how many values lie nearest to 1.04 ^ bin.
drop view if exists rolled_up{cluster};

create table if not exists rollups{cluster} (
    width UInt32,
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
    requests SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cost_usd SimpleAggregateFunction(sum, Nullable(Decimal(38, 12))), -- null where no call had a known price
    priced SimpleAggregateFunction(sum, UInt64),
    rates SimpleAggregateFunction(sum, Float64), -- the sum of tokens a second of `rated` calls
    rated SimpleAggregateFunction(sum, UInt64),
    started SimpleAggregateFunction(sum, UInt64), -- answered calls with a first token
    first_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    latency SimpleAggregateFunction(sumMap, Map(Int16, UInt64)),
    ttft SimpleAggregateFunction(sumMap, Map(Int16, UInt64)),
    cost SimpleAggregateFunction(sumMap, Map(Int16, UInt64))
) engine = {replicated}AggregatingMergeTree
partition by toDate(start)
order by (
    width, start, deployment, release, arm, model, provider, "key", operation, status, error_type, finish_reason
)
settings {window} = 10000, allow_nullable_key = 1;

truncate table rollups{cluster};

insert into rollups
{roll_up}
settings max_bytes_before_external_group_by = 500000000;

create materialized view if not exists rolled_up{cluster} to rollups as
{roll_up};
