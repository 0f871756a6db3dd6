-- Sums by the day and the person, made of every insert into records as rollups are (004), and begun anew likewise. They
-- choose rows of people and count people. An erasure makes the person's days anew in the tables `remade_…`, and puts
-- these days in place of those that name them.
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

truncate table user_sums{cluster};

truncate table session_sums{cluster};

insert into user_sums
{sum_users}
settings max_bytes_before_external_group_by = 500000000;

insert into session_sums
{sum_sessions}
settings max_bytes_before_external_group_by = 500000000;

create materialized view if not exists users_summed{cluster} to user_sums as
{sum_users};

create materialized view if not exists sessions_summed{cluster} to session_sums as
{sum_sessions};
