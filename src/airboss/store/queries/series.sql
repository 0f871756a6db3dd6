-- As stats.sql, in steps of $step_us microseconds since the epoch.
with used as (
    select
        deployment,
        make_timestamp(epoch_us(started_at) // $step_us * $step_us) as start,
        count(*) as requests,
        count(*) filter (status = 'error') as errors,
        count(*) filter (status = 'cancelled') as cancelled,
        count(*) filter (status = 'refused') as refused,
        quantile_cont(latency_ms, [0.5, 0.95]) filter (status = 'ok') as latencies,
        quantile_cont(ttft_ms, 0.5) filter (status = 'ok') as ttft_p50_ms,
        coalesce(sum(output_tokens), 0)::bigint as output_tokens,
        sum(cost_usd)::double as cost_usd
    from records
    where started_at >= $since and started_at < $until
    group by deployment, start
)
select * exclude (latencies), latencies[1] as latency_p50_ms, latencies[2] as latency_p95_ms
from used
order by deployment, start
