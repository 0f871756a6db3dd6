-- DuckDB's own: as usage.sql, of the groups that come first, from the sums of people (people.sql).
with of_sums as materialized (
    select {groups}, {held}
    from (
{sums}
    )
    where {without} and {where}
),
of_records as materialized (
    select {groups}, {of_records}
    from (
{records}
    )
    where {without} and {where}
),
numbers as (
    select {keys}, {numbers}, {users} as users, {sessions} as sessions
    from (
        select {keys}, {people}, {added} from of_sums
        union all
        select {keys}, {people}, {added}
        from (
{calls}
        )
    )
    group by all
),
quantiles as (
    select
        {keys},
        quantile_cont(latency_ms, [0.5, 0.95, 0.99]) as latencies,
        quantile_cont(ttft_ms, [0.5, 0.95]) as ttfts
    from (
        select {keys}, unnest(latencies) as latency_ms, unnest(ttfts) as ttft_ms from of_sums
        union all
        select {keys}, latency_ms, ttft_ms from of_records where status = 'ok'
    )
    group by all
),
counted as (
    select {groups}, count(distinct hash(session)) as counted from {counted} where session is not null group by all
)
select
    numbers.* exclude (cost_usd, rates, rated, sessions),
    null::timestamp as start,
    cost_usd::double as cost_usd,
    rates / nullif(rated, 0) as tokens_per_s,
    latencies[1] as latency_p50_ms,
    latencies[2] as latency_p95_ms,
    latencies[3] as latency_p99_ms,
    ttfts[1] as ttft_p50_ms,
    ttfts[2] as ttft_p95_ms,
    null as cost_p95_usd,
    sessions + coalesce(counted, 0) as sessions,
    0 as slow,
    0 as late,
    0 as costly
from numbers
left join quantiles on {same_quantiles}
left join counted on {same_counted}
order by {order}
limit $limit
