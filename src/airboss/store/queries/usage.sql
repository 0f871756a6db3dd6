-- What calls used, by {groups}; steps as in series.sql. Quantiles are exact, of answered calls; those of one
-- column are taken together, which sorts it once.
with used as (
    select
        {groups},
        {start} as start,
        count(*) as requests,
        count(*) filter (status = 'error') as errors,
        count(*) filter (status = 'cancelled') as cancelled,
        count(*) filter (status = 'refused') as refused,
        count(*) filter (status = 'ok') as answered,
        quantile_cont(latency_ms, [0.5, 0.95, 0.99]) filter (status = 'ok') as latencies,
        quantile_cont(ttft_ms, [0.5, 0.95]) filter (status = 'ok') as ttfts,
        avg(output_tokens / writing_ms * 1000) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1) as tokens_per_s,
        coalesce(sum(input_tokens), 0)::bigint as input_tokens,
        coalesce(sum(output_tokens), 0)::bigint as output_tokens,
        sum(cost_usd)::double as cost_usd,
        {cost} as cost_p95_usd,
        count(*) - count(cost_usd) as cost_unknown,
        {users} as users,
        {sessions} as sessions,
        min(started_at) as first_at,
        max(started_at) as last_at,
        {slow} as slow,
        {late} as late,
        {costly} as costly,
        count(*) filter (status = 'ok' and cost_usd is not null) as priced,
        count(*) filter (status = 'ok' and ttft_ms is not null) as started
    from (select *, if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms from records)
    where started_at >= $since and started_at < $until and ($without is null or "key" <> $without)
        and {where}
    group by all
    having count(*) > 0
)
select
    * exclude (latencies, ttfts),
    latencies[1] as latency_p50_ms,
    latencies[2] as latency_p95_ms,
    latencies[3] as latency_p99_ms,
    ttfts[1] as ttft_p50_ms,
    ttfts[2] as ttft_p95_ms
from used
order by {order}
limit $limit
