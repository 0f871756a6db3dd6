-- DuckDB's own: as usage.sql, of the groups that come first: quantiles of their calls, and all else from the sums of
-- users (people.sql).
with numbers as (
    select {groups}, {numbers}, {users} as users
    from (
{people}
    )
    where {without} and {where}
    group by all
),
quantiles as (
    select
        {groups},
        quantile_cont(latency_ms, [0.5, 0.95, 0.99]) as latencies,
        quantile_cont(ttft_ms, [0.5, 0.95]) as ttfts,
        {cost} as cost_p95_usd
    from records
    where started_at >= $since and started_at < $until and {without} and {where} and status = 'ok'
    group by all
),
sessions as (
    select {groups}, count(distinct session) as sessions from {sessions} group by all
)
select
    numbers.* exclude (cost_usd, rates, rated),
    null::timestamp as start,
    cost_usd::double as cost_usd,
    rates / nullif(rated, 0) as tokens_per_s,
    latencies[1] as latency_p50_ms,
    latencies[2] as latency_p95_ms,
    latencies[3] as latency_p99_ms,
    ttfts[1] as ttft_p50_ms,
    ttfts[2] as ttft_p95_ms,
    cost_p95_usd,
    coalesce(sessions, 0) as sessions,
    0 as slow,
    0 as late,
    0 as costly
from numbers
left join quantiles on {same_quantiles}
left join sessions on {same_sessions}
order by {order}
limit $limit
