-- DuckDB's own: the sums by the day and tags of some records. People are told apart before they are hashed: lists of
-- different hashes, made at once, took four times as long as all else.
with stretch as not materialized (
    select
        date_trunc('day', started_at) as start,
        *,
        if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from (
{records}
    )
),
numbers as (
    select
        start,
        {apart},
{numbers}
    from stretch
    group by start, {apart}
),
users as (
    select start, {apart}, list(hash(person)) as users
    from (select distinct start, {apart}, "user" as person from stretch where "user" is not null)
    group by start, {apart}
),
sessions as (
    select start, {apart}, list(hash(person)) as sessions
    from (select distinct start, {apart}, session as person from stretch where session is not null)
    group by start, {apart}
)
select numbers.*, users, sessions
from numbers
left join users on {same_users}
left join sessions on {same_sessions}
order by numbers.start, numbers.deployment, numbers.release, numbers.model, numbers."key", numbers.tags
