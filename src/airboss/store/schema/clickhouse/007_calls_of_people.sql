-- Sums by the day and the person hold every number that rows of usage show, and how long their answered calls took, one
-- by one, as DuckDB's of 012: rows of people are chosen and told without a look at records. Those of users lie in the
-- order of these; sessions are very many, and more often counted than shown. All of them are made anew, of the records
-- that are there; a start that is killed begins anew.
drop view if exists users_summed{cluster} sync;

drop view if exists sessions_summed{cluster} sync;

drop table if exists user_sums{cluster} sync;

drop table if exists session_sums{cluster} sync;

drop table if exists remade_user_sums{cluster} sync;

drop table if exists remade_session_sums{cluster} sync;

create table user_sums{cluster} (
    start DateTime('UTC'),
    deployment LowCardinality(String),
    release LowCardinality(String),
    arm LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    "key" LowCardinality(String),
    operation LowCardinality(String),
    "user" Nullable(String),
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    cancelled SimpleAggregateFunction(sum, UInt64),
    refused SimpleAggregateFunction(sum, UInt64),
    answered SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cost_usd SimpleAggregateFunction(sum, Nullable(Decimal(38, 12))), -- null where no call had a known price
    cost_unknown SimpleAggregateFunction(sum, UInt64),
    priced SimpleAggregateFunction(sum, UInt64), -- answered calls with a known price
    started SimpleAggregateFunction(sum, UInt64), -- answered calls with a first token
    rates SimpleAggregateFunction(sum, Float64), -- the sum of tokens a second of `rated` calls
    rated SimpleAggregateFunction(sum, UInt64),
    first_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    latencies SimpleAggregateFunction(groupArrayArray, Array(Float64)), -- milliseconds
    ttfts SimpleAggregateFunction(groupArrayArray, Array(Float64))
) engine = {replicated}AggregatingMergeTree
partition by toDate(start)
order by ("user", deployment, release, arm, model, provider, "key", operation, start)
settings {window} = 10000, allow_nullable_key = 1;

create table session_sums{cluster} (
    start DateTime('UTC'),
    deployment LowCardinality(String),
    release LowCardinality(String),
    arm LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    "key" LowCardinality(String),
    operation LowCardinality(String),
    session Nullable(String),
    "user" Nullable(String),
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    cancelled SimpleAggregateFunction(sum, UInt64),
    refused SimpleAggregateFunction(sum, UInt64),
    answered SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cost_usd SimpleAggregateFunction(sum, Nullable(Decimal(38, 12))),
    cost_unknown SimpleAggregateFunction(sum, UInt64),
    priced SimpleAggregateFunction(sum, UInt64),
    started SimpleAggregateFunction(sum, UInt64),
    rates SimpleAggregateFunction(sum, Float64),
    rated SimpleAggregateFunction(sum, UInt64),
    first_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    latencies SimpleAggregateFunction(groupArrayArray, Array(Float64)),
    ttfts SimpleAggregateFunction(groupArrayArray, Array(Float64))
) engine = {replicated}AggregatingMergeTree
partition by toDate(start)
order by (start, deployment, release, arm, model, provider, "key", operation, session, "user")
settings {window} = 10000, allow_nullable_key = 1;

create table remade_user_sums{cluster} as user_sums;

create table remade_session_sums{cluster} as session_sums;

insert into user_sums
{sum_users}
settings max_bytes_before_external_group_by = 500000000;

insert into session_sums
{sum_sessions}
settings max_bytes_before_external_group_by = 500000000;

create materialized view users_summed{cluster} to user_sums as
{sum_users};

create materialized view sessions_summed{cluster} to session_sums as
{sum_sessions};
