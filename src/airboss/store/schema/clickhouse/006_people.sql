-- Sums by the day and the person, made of every insert into records as rollups are (004). They choose rows of people and
-- count people. An erasure makes the person's days anew in the tables `remade_…`, and puts these days in place of those
-- that name them. Nothing is put in here any more: 007 makes all of these tables anew, with their views.
drop view if exists users_summed{cluster};

drop view if exists sessions_summed{cluster};

create table if not exists user_sums{cluster} (
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
    output_tokens SimpleAggregateFunction(sum, Int64),
    cost_usd SimpleAggregateFunction(sum, Nullable(Decimal(38, 12))), -- null where no call had a known price
    last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
) engine = {replicated}AggregatingMergeTree
partition by toDate(start)
order by (start, deployment, release, arm, model, provider, "key", operation, "user")
settings {window} = 10000, allow_nullable_key = 1;

create table if not exists session_sums{cluster} (
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
    output_tokens SimpleAggregateFunction(sum, Int64),
    cost_usd SimpleAggregateFunction(sum, Nullable(Decimal(38, 12))),
    last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
) engine = {replicated}AggregatingMergeTree
partition by toDate(start)
order by (start, deployment, release, arm, model, provider, "key", operation, session, "user")
settings {window} = 10000, allow_nullable_key = 1;

create table if not exists remade_user_sums{cluster} as user_sums;

create table if not exists remade_session_sums{cluster} as session_sums;
